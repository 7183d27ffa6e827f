//! How a process proves to Vault who it is.

use std::{
    fmt,
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use serde_json::json;
use tokio::{sync::Mutex, task::spawn_blocking, time::timeout};
use zeroize::Zeroizing;

use super::super::{SourceError, SourceErrorKind};

/// Where Kubernetes mounts the token of a pod's service account.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";
/// No token of a service account is as long.
const MAX_FILE: u64 = 64 * 1024;
/// A file system that is gone may hang for ever.
const READ_TIMEOUT: Duration = Duration::from_secs(2);

/// How to get a token from Vault. A file that cannot be read within 2 s counts as unreadable.
///
/// ```
/// use tower_secrets::source::VaultAuth;
///
/// let by_role = VaultAuth::app_role("a role id", "a secret id");
/// let in_a_pod = VaultAuth::kubernetes("my-server").mount("kubernetes-eu");
/// assert!(!format!("{by_role:?}").contains("a secret id"));
/// # let _ = in_a_pod;
/// ```
#[derive(Clone)]
pub struct VaultAuth {
    method: Method,
    mount: Option<String>,
}

#[derive(Clone)]
enum Method {
    Token(Secret),
    AppRole { role_id: String, secret_id: Secret },
    Kubernetes { role: String, jwt: Secret },
}

#[derive(Clone)]
enum Secret {
    Given(Zeroizing<String>),
    /// Locked while it is read, so that a file that hangs holds one thread and no more.
    File(PathBuf, Arc<Mutex<()>>),
}

/// What is shown to Vault.
pub(super) enum Proof {
    /// A token that needs no login.
    Token(Zeroizing<String>),
    /// What goes to `auth/{mount}/login`.
    Login {
        mount: String,
        body: Zeroizing<Vec<u8>>,
        /// To be kept out of what is told of a refusal.
        secret: Zeroizing<String>,
    },
}

impl VaultAuth {
    /// This token. It is renewed before it ends; once it has ended, or is at its maximum, nothing
    /// can replace it.
    pub fn token(token: impl Into<String>) -> Self {
        Self::new(Method::Token(Secret::Given(Zeroizing::new(token.into()))))
    }

    /// The token in this file, such as the sink of a Vault agent, read again whenever a new one is
    /// needed.
    pub fn token_file(path: impl Into<PathBuf>) -> Self {
        Self::new(Method::Token(Secret::file(path)))
    }

    /// Logs in by [AppRole](https://openbao.org/docs/auth/approle/), at `auth/approle`.
    pub fn app_role(role_id: impl Into<String>, secret_id: impl Into<String>) -> Self {
        Self::new(Method::AppRole {
            role_id: role_id.into(),
            secret_id: Secret::Given(Zeroizing::new(secret_id.into())),
        })
    }

    /// Logs in by AppRole with the secret id in this file, read again at each login.
    pub fn app_role_file(role_id: impl Into<String>, secret_id: impl Into<PathBuf>) -> Self {
        Self::new(Method::AppRole {
            role_id: role_id.into(),
            secret_id: Secret::file(secret_id),
        })
    }

    /// Logs in by [Kubernetes](https://openbao.org/docs/auth/kubernetes/), at `auth/kubernetes`,
    /// with the token of the pod's service account. Kubernetes replaces that file, so it is read
    /// again at each login.
    pub fn kubernetes(role: impl Into<String>) -> Self {
        Self::new(Method::Kubernetes {
            role: role.into(),
            jwt: Secret::file(SERVICE_ACCOUNT),
        })
    }

    fn new(method: Method) -> Self {
        Self {
            method,
            mount: None,
        }
    }

    /// The path where the auth method is mounted, without `auth/`: `approle` and `kubernetes` by
    /// default. A token has none.
    #[must_use]
    pub fn mount(mut self, mount: impl Into<String>) -> Self {
        self.mount = Some(mount.into());
        self
    }

    /// Where the token of the service account is, if not where Kubernetes mounts it. Only
    /// [`kubernetes`](Self::kubernetes) reads it.
    #[must_use]
    pub fn service_account_token(mut self, path: impl Into<PathBuf>) -> Self {
        if let Method::Kubernetes { jwt, .. } = &mut self.method {
            *jwt = Secret::file(path);
        }
        self
    }

    /// Whether there may be another token when this one is of no use any more.
    pub(super) fn can_replace_token(&self) -> bool {
        !matches!(self.method, Method::Token(Secret::Given(_)))
    }

    /// Reads what is to be read.
    pub(super) async fn proof(&self) -> Result<Proof, SourceError> {
        let (mount, name, id, secret) = match &self.method {
            Method::Token(secret) => return Ok(Proof::Token(secret.read().await?)),
            Method::AppRole { role_id, secret_id } => {
                ("approle", ["role_id", "secret_id"], role_id, secret_id)
            }
            Method::Kubernetes { role, jwt } => ("kubernetes", ["role", "jwt"], role, jwt),
        };
        let secret = secret.read().await?;
        let [id_field, secret_field] = name;
        // An escape has six characters at most, so the buffer never moves.
        let mut body = Zeroizing::new(Vec::with_capacity(64 + 6 * (id.len() + secret.len())));
        body.extend_from_slice(
            format!("{{\"{id_field}\":{},\"{secret_field}\":", json!(id)).as_bytes(),
        );
        serde_json::to_writer(&mut *body, secret.as_str()).map_err(|error| {
            SourceError::new(SourceErrorKind::Other, format!("the login: {error}"))
        })?;
        body.push(b'}');
        Ok(Proof::Login {
            mount: self.mount.clone().unwrap_or_else(|| mount.to_owned()),
            body,
            secret,
        })
    }
}

impl Secret {
    fn file(path: impl Into<PathBuf>) -> Self {
        Self::File(path.into(), Arc::default())
    }

    async fn read(&self) -> Result<Zeroizing<String>, SourceError> {
        self.read_within(READ_TIMEOUT).await
    }

    async fn read_within(&self, limit: Duration) -> Result<Zeroizing<String>, SourceError> {
        let (path, lock) = match self {
            Self::Given(secret) => return Ok(secret.clone()),
            Self::File(path, lock) => (path, lock.clone()),
        };
        let read = async {
            let guard = lock.lock_owned().await;
            let path = path.clone();
            let read = spawn_blocking(move || {
                let _guard = guard;
                read_line(&path)
            });
            read.await.map_err(|error| {
                SourceError::new(SourceErrorKind::Other, format!("reading stopped: {error}"))
            })?
        };
        timeout(limit, read)
            .await
            .unwrap_or_else(|_| Err(refused(path, format!("not read within {limit:?}"))))
    }
}

fn refused(path: &Path, why: String) -> SourceError {
    let message = format!("`{}`: {why}", path.display());
    SourceError::new(SourceErrorKind::Unauthenticated, message)
}

fn read_line(path: &Path) -> Result<Zeroizing<String>, SourceError> {
    let refused = |why: String| refused(path, why);
    let file = std::fs::File::open(path).map_err(|error| refused(error.to_string()))?;
    let mut text = Zeroizing::new(String::with_capacity(MAX_FILE as usize));
    file.take(MAX_FILE)
        .read_to_string(&mut text)
        .map_err(|error| refused(error.to_string()))?;
    let line = text.trim();
    if line.is_empty() {
        return Err(refused("it is empty".to_owned()));
    }
    Ok(Zeroizing::new(line.to_owned()))
}

impl fmt::Debug for VaultAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { method, mount } = self;
        f.debug_struct("VaultAuth")
            .field("method", method)
            .field("mount", mount)
            .finish()
    }
}

impl fmt::Debug for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token(secret) => f.debug_tuple("Token").field(secret).finish(),
            Self::AppRole { role_id, secret_id } => f
                .debug_struct("AppRole")
                .field("role_id", role_id)
                .field("secret_id", secret_id)
                .finish(),
            Self::Kubernetes { role, jwt } => f
                .debug_struct("Kubernetes")
                .field("role", role)
                .field("jwt", jwt)
                .finish(),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Given(_) => f.write_str("[redacted]"),
            Self::File(path, _) => fmt::Debug::fmt(path, f),
        }
    }
}

#[cfg(all(test, unix))]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{fs, process::Command};

    use super::*;

    #[tokio::test]
    async fn a_file_that_hangs_is_given_up_and_read_again_once_it_answers() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        // One that nobody writes to.
        let made = Command::new("mkfifo").arg(&path).status().unwrap();
        assert!(made.success());
        let secret = Secret::file(&path);
        for _ in 0..2 {
            let read = secret.read_within(Duration::from_millis(50)).await;
            let error = read.unwrap_err();
            assert_eq!(error.kind(), SourceErrorKind::Unauthenticated);
            assert!(error.to_string().contains("not read within"), "{error}");
        }
        fs::write(&path, "late").unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, "token\n").unwrap();
        assert_eq!(*secret.read().await.unwrap(), "token");
    }
}
