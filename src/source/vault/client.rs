//! One server and one login, shared by all that is read there.

use std::{env, fmt, fs, path::PathBuf, sync::Arc, time::Duration};

use reqwest::Certificate;
use tokio::{sync::watch, time::Instant};

use super::{
    super::SourceError,
    auth::VaultAuth,
    http::{Answer, Http, Request, invalid, shown},
    pass::Pass,
    session::{Session, Status},
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(4);

/// A Vault or OpenBao server, and who this process is there.
///
/// A clone is a handle to the same connections and the same token, so that several sources make one
/// login. Nothing is asked of the server before a source is read.
///
/// ```
/// use tower_secrets::source::{VaultAuth, VaultClient};
///
/// # fn main() -> Result<(), tower_secrets::source::SourceError> {
/// let vault = VaultClient::builder("https://vault.example:8200")
///     .namespace("payments")
///     .auth(VaultAuth::app_role("a role id", "a secret id"))
///     .build()?;
/// # let _ = vault;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct VaultClient(Arc<Inner>);

struct Inner {
    http: Http,
    session: Session,
}

impl VaultClient {
    /// Describes a server at this address, such as `https://vault.example:8200`.
    pub fn builder(address: impl Into<String>) -> VaultClientBuilder {
        VaultClientBuilder {
            address: address.into(),
            namespace: None,
            authorities: Vec::new(),
            connect_timeout: CONNECT_TIMEOUT,
            request_timeout: REQUEST_TIMEOUT,
            auth: None,
        }
    }

    /// What the command line client reads: `VAULT_ADDR` (`https://127.0.0.1:8200` without it),
    /// `VAULT_TOKEN`, else the file `.vault-token` in `HOME`, `VAULT_NAMESPACE` and the file
    /// `VAULT_CACERT`. Each may begin with `BAO_` instead, which wins.
    ///
    /// # Errors
    /// When there is no token, and as [`build`](VaultClientBuilder::build).
    pub fn from_env() -> Result<Self, SourceError> {
        Self::from_variables(|name| env::var(name).ok())
    }

    pub(super) fn from_variables(
        read: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, SourceError> {
        let variable = |name: &str| {
            let set = |prefix: &str| read(&format!("{prefix}_{name}"));
            set("BAO")
                .or_else(|| set("VAULT"))
                .filter(|it| !it.is_empty())
        };
        let address = variable("ADDR").unwrap_or_else(|| "https://127.0.0.1:8200".to_owned());
        let mut builder = Self::builder(address);
        builder.namespace = variable("NAMESPACE");
        builder.auth = variable("TOKEN").map(VaultAuth::token).or_else(|| {
            let file = PathBuf::from(read("HOME")?).join(".vault-token");
            file.is_file().then(|| VaultAuth::token_file(file))
        });
        if let Some(path) = variable("CACERT") {
            let pem = fs::read(&path).map_err(|error| invalid(format!("`{path}`: {error}")))?;
            builder = builder.ca_certificates(pem);
        }
        builder.build()
    }

    /// Asks with the token at hand. Where the server refuses, and knows the token no more, it is
    /// asked once again with a new one.
    pub(super) async fn ask(&self, request: &Request) -> Result<(Answer, Pass), SourceError> {
        let Inner { http, session } = &*self.0;
        let began = Instant::now();
        let (answer, pass) = self.ask_once(request).await?;
        // "permission denied" is said of an unknown token, too.
        if !answer.is_forbidden() || session.is_known(http, &pass, request, began).await? {
            return Ok((answer, pass));
        }
        let pass = session.replace(http, &pass).await?;
        let answer = http.send(request, Some(&pass.token)).await?;
        pass.note(request, &answer);
        if answer.is_forbidden() {
            // What is learnt of it counts for the next time.
            session.is_known(http, &pass, request, began).await?;
        }
        Ok((answer, pass))
    }

    /// Asks with the token at hand, whatever the answer: for what a policy need not allow, so that
    /// a refusal says nothing of the token.
    pub(super) async fn ask_once(&self, request: &Request) -> Result<(Answer, Pass), SourceError> {
        let Inner { http, session } = &*self.0;
        let pass = session.pass(http).await?;
        let answer = http.send(request, Some(&pass.token)).await?;
        pass.note(request, &answer);
        Ok((answer, pass))
    }

    /// Tells when another token takes over.
    pub(super) fn token(&self) -> watch::Receiver<Status> {
        self.0.session.status()
    }

    /// Renews the token whenever that is due, and never resolves. Cancel safe.
    pub(super) async fn keep_alive(&self) {
        self.0.session.keep_alive(&self.0.http).await;
    }
}

impl fmt::Debug for VaultClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { http, session: _ } = &*self.0;
        f.debug_struct("VaultClient")
            .field("address", &format_args!("{http}"))
            .finish_non_exhaustive()
    }
}

/// Settings of a [`VaultClient`]; made by [`VaultClient::builder`].
#[must_use = "a builder does nothing until `build` is called"]
pub struct VaultClientBuilder {
    address: String,
    namespace: Option<String>,
    authorities: Vec<Vec<u8>>,
    connect_timeout: Duration,
    request_timeout: Duration,
    auth: Option<VaultAuth>,
}

impl VaultClientBuilder {
    /// How this process proves who it is. Required.
    pub fn auth(mut self, auth: VaultAuth) -> Self {
        self.auth = Some(auth);
        self
    }

    /// The namespace of the auth method and of everything that is read. None by default.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = Some(namespace.into());
        self
    }

    /// Trusts the authorities in this PEM text, and only those, instead of the system's. May be
    /// called more than once.
    pub fn ca_certificates(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.authorities.push(pem.into());
        self
    }

    /// How long it may take to connect. Default 2 s.
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.connect_timeout = limit;
        self
    }

    /// How long one call may take, connecting included. Default 4 s: keep it below half the
    /// keyring's `fetch_limit` (10 s by default), so that an error names the call that hung.
    pub fn request_timeout(mut self, limit: Duration) -> Self {
        self.request_timeout = limit;
        self
    }

    /// A client with these settings. Nothing is asked of the server yet.
    ///
    /// # Errors
    /// [`InvalidRequest`](super::super::SourceErrorKind::InvalidRequest) when the address is not an
    /// HTTP URL, when there is no way to authenticate, or when a certificate cannot be read.
    pub fn build(self) -> Result<VaultClient, SourceError> {
        let auth = self.auth.ok_or_else(|| {
            invalid(format!(
                "no way to authenticate at {}: a token is missing",
                shown(&self.address)
            ))
        })?;
        let http = Http::new(
            &self.address,
            self.namespace.as_deref(),
            certificates(&self.authorities)?,
            self.connect_timeout,
            self.request_timeout,
        )?;
        let session = Session::new(auth);
        Ok(VaultClient(Arc::new(Inner { http, session })))
    }
}

fn certificates(texts: &[Vec<u8>]) -> Result<Option<Vec<Certificate>>, SourceError> {
    let mut all = Vec::new();
    for pem in texts {
        let some = Certificate::from_pem_bundle(pem).unwrap_or_default();
        if some.is_empty() {
            return Err(invalid("a CA certificate is not in PEM form".to_owned()));
        }
        all.extend(some);
    }
    Ok((!all.is_empty()).then_some(all))
}

impl fmt::Debug for VaultClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            address: _, // it may hold a password
            namespace,
            authorities,
            connect_timeout,
            request_timeout,
            auth,
        } = self;
        f.debug_struct("VaultClientBuilder")
            .field("namespace", namespace)
            .field("authorities", &authorities.len())
            .field("connect_timeout", connect_timeout)
            .field("request_timeout", request_timeout)
            .field("auth", auth)
            .finish_non_exhaustive()
    }
}
