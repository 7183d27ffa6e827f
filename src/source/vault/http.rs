//! One call to the server: the request, its bounds, and what an answer means.

use std::{error::Error, fmt, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header::LOCATION};
use reqwest::{Certificate, Client, Url, redirect::Policy};
use serde::{Deserialize, de::IgnoredAny};
use zeroize::Zeroizing;

use super::super::{SourceError, SourceErrorKind, error::one_line};

/// More than Vault takes for one secret.
const MAX_BODY: usize = 2 * 1024 * 1024;
/// How much of the server's own words is told.
const MAX_WORDS: usize = 300;

/// A token, which is also the header that carries it.
pub(super) struct Token {
    header: HeaderValue,
    text: Zeroizing<String>,
}

impl Token {
    pub(super) fn new(text: Zeroizing<String>) -> Result<Self, SourceError> {
        let mut header = HeaderValue::from_str(&text).map_err(|_| {
            let message = "the token has a character that no token has";
            SourceError::new(SourceErrorKind::Unauthenticated, message)
        })?;
        header.set_sensitive(true);
        Ok(Self { header, text })
    }

    pub(super) fn is_same(&self, other: &Self) -> bool {
        *self.text == *other.text
    }
}

/// What is asked of the server.
pub(super) struct Request {
    pub(super) method: Method,
    /// Below `v1/`.
    pub(super) path: String,
    pub(super) version: Option<u64>,
    pub(super) body: Option<Zeroizing<Vec<u8>>>,
}

impl Request {
    pub(super) fn get(path: impl Into<String>) -> Self {
        Self {
            method: Method::GET,
            path: path.into(),
            version: None,
            body: None,
        }
    }

    pub(super) fn post(path: impl Into<String>, body: impl Into<Zeroizing<Vec<u8>>>) -> Self {
        Self {
            method: Method::POST,
            body: Some(body.into()),
            ..Self::get(path)
        }
    }

    /// Asks for this version of a secret.
    pub(super) fn version(mut self, number: u64) -> Self {
        self.version = Some(number);
        self
    }
}

/// The way to one server.
pub(super) struct Http {
    client: Client,
    base: Url,
    headers: HeaderMap,
}

impl Http {
    pub(super) fn new(
        address: &str,
        namespace: Option<&str>,
        authorities: Option<Vec<Certificate>>,
        connect_timeout: Duration,
        timeout: Duration,
    ) -> Result<Self, SourceError> {
        let base = base(address)?;
        let mut headers = HeaderMap::new();
        // An agent in front of the server may insist on it, against requests that a browser forged.
        headers.insert("x-vault-request", HeaderValue::from_static("true"));
        if let Some(namespace) = namespace {
            let value = HeaderValue::from_str(namespace)
                .map_err(|_| invalid(format!("`{namespace}` is no namespace")))?;
            headers.insert("x-vault-namespace", value);
        }
        let client = Client::builder()
            .connect_timeout(connect_timeout)
            .timeout(timeout)
            .referer(false)
            .redirect(Policy::none());
        // The system's certificates may be missing, which matters to nobody who uses plain HTTP.
        let client = match authorities {
            Some(authorities) => client.tls_certs_only(authorities),
            None if base.scheme() == "http" => client.tls_certs_only([]),
            None => client,
        };
        let client = client
            .build()
            .map_err(|error| invalid(format!("no TLS client: {}", chain(&error))))?;
        Ok(Self {
            client,
            base,
            headers,
        })
    }

    /// Sends a request and reads the whole answer, whatever its status.
    pub(super) async fn send(
        &self,
        request: &Request,
        token: Option<&Token>,
    ) -> Result<Answer, SourceError> {
        let url = self.url(request)?;
        let mut response = self.send_to(url, request, token).await?;
        // A standby may name the active server instead of asking it itself.
        if response.status() == StatusCode::TEMPORARY_REDIRECT {
            let url = self.elsewhere(&response)?;
            response = self.send_to(url, request, token).await?;
        }
        let status = response.status();
        let too_many = || {
            let message = format!("`{}`: an answer of more than 2 MiB", request.path);
            SourceError::new(SourceErrorKind::Malformed, message)
        };
        let expected = response
            .content_length()
            .map_or(Ok(MAX_BODY), usize::try_from)
            .unwrap_or(usize::MAX);
        if expected > MAX_BODY {
            return Err(too_many());
        }
        // It never grows, so it leaves no copy behind.
        let mut body = Zeroizing::new(Vec::with_capacity(expected));
        while let Some(chunk) = response.chunk().await.map_err(|e| self.unreachable(&e))? {
            if body.len() + chunk.len() > expected {
                return Err(too_many());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer {
            status,
            body,
            path: request.path.clone(),
        })
    }

    async fn send_to(
        &self,
        url: Url,
        request: &Request,
        token: Option<&Token>,
    ) -> Result<reqwest::Response, SourceError> {
        let mut call = self
            .client
            .request(request.method.clone(), url)
            .headers(self.headers.clone());
        if let Some(token) = token {
            call = call.header("x-vault-token", token.header.clone());
        }
        if let Some(body) = &request.body {
            // Wiped when the client lets go of it.
            call = call.body(Bytes::from_owner(body.clone()));
        }
        call.send().await.map_err(|e| self.unreachable(&e))
    }

    fn url(&self, request: &Request) -> Result<Url, SourceError> {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .map_err(|()| invalid("the address cannot have a path".to_owned()))?
            .pop_if_empty()
            .push("v1")
            .extend(request.path.split('/'));
        if let Some(version) = request.version {
            url.query_pairs_mut()
                .append_pair("version", &version.to_string());
        }
        Ok(url)
    }

    /// Where a redirect leads: never from https to http.
    fn elsewhere(&self, response: &reqwest::Response) -> Result<Url, SourceError> {
        let refused = |why: &str| {
            let message = format!("{}: {why}", self.base);
            SourceError::new(SourceErrorKind::Standby, message)
        };
        let location = response
            .headers()
            .get(LOCATION)
            .and_then(|value| value.to_str().ok())
            .ok_or_else(|| refused("a redirect to nowhere"))?;
        let url = response
            .url()
            .join(location)
            .map_err(|_| refused("a redirect to what is no address"))?;
        if url.scheme() != self.base.scheme() {
            return Err(refused("a redirect to another scheme"));
        }
        Ok(url)
    }

    fn unreachable(&self, error: &reqwest::Error) -> SourceError {
        let kind = if error.is_timeout() && !error.is_connect() {
            SourceErrorKind::TimedOut
        } else {
            SourceErrorKind::Unavailable
        };
        SourceError::new(kind, format!("{}: {}", self.base, chain(error)))
    }
}

impl fmt::Display for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.base, f)
    }
}

fn base(address: &str) -> Result<Url, SourceError> {
    let shown = shown(address);
    let url = Url::parse(address).map_err(|error| invalid(format!("{shown}: {error}")))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(invalid(format!(
            "{shown} begins with neither https:// nor http://"
        )));
    }
    if !url.username().is_empty() || url.password().is_some() {
        // Not named: it holds a password.
        return Err(invalid("the address holds a user or a password".to_owned()));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(invalid(format!("{shown} has more than a host and a path")));
    }
    Ok(url)
}

/// An address as errors name it: what comes before an `@` may be a password, also where it cannot be
/// told from a host or a scheme.
pub(super) fn shown(address: &str) -> String {
    match address.contains('@') {
        true => "the address, which holds an `@`,".to_owned(),
        false => format!("`{address}`"),
    }
}

pub(super) fn invalid(message: String) -> SourceError {
    SourceError::new(SourceErrorKind::InvalidRequest, message)
}

/// An error and those below it. reqwest's own text names the whole URL, which says nothing new.
fn chain(error: &reqwest::Error) -> String {
    let mut text = match () {
        () if error.is_timeout() => "no answer in time",
        () if error.is_connect() => "cannot be reached",
        () if error.is_builder() => "cannot be asked",
        () => "the answer broke off",
    }
    .to_owned();
    let mut below = error.source();
    while let Some(error) = below {
        text = format!("{text}: {error}");
        below = error.source();
    }
    text
}

/// A whole answer, whatever its status.
pub(super) struct Answer {
    status: StatusCode,
    body: Zeroizing<Vec<u8>>,
    path: String,
}

#[derive(Deserialize)]
struct Body<D> {
    data: Option<D>,
    #[serde(default)]
    errors: Vec<String>,
}

impl Answer {
    #[cfg(any(fuzzing, test))]
    pub(super) fn of(status: StatusCode, body: Vec<u8>) -> Self {
        Self {
            status,
            body: Zeroizing::new(body),
            path: "fuzz".to_owned(),
        }
    }

    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    pub(super) fn is_bad_request(&self) -> bool {
        self.status == StatusCode::BAD_REQUEST
    }

    pub(super) fn is_forbidden(&self) -> bool {
        self.status == StatusCode::FORBIDDEN
    }

    pub(super) fn is_not_found(&self) -> bool {
        self.status == StatusCode::NOT_FOUND
    }

    pub(super) fn is_success(&self) -> bool {
        self.status.is_success()
    }

    /// Whether a 404 tells of a version that was deleted or destroyed.
    pub(super) fn has_data(&self) -> bool {
        serde_json::from_slice::<Body<IgnoredAny>>(&self.body).is_ok_and(|body| body.data.is_some())
    }

    /// The `data` of a success.
    ///
    /// # Errors
    /// When it is none, or not what was expected. The text quotes no value.
    pub(super) fn data<'a, D: Deserialize<'a>>(&'a self) -> Result<D, SourceError> {
        let body: Body<D> = self.parsed()?;
        body.data.ok_or_else(|| self.malformed("it has no `data`"))
    }

    /// The whole body of a success.
    pub(super) fn parsed<'a, B: Deserialize<'a>>(&'a self) -> Result<B, SourceError> {
        if !self.is_success() {
            return Err(self.refusal(None));
        }
        serde_json::from_slice(&self.body).map_err(|error| {
            // serde's own text may quote what it found.
            let (what, line, column) = (error.classify(), error.line(), error.column());
            self.malformed(&format!("{what:?} error at line {line} column {column}"))
        })
    }

    pub(super) fn malformed(&self, why: &str) -> SourceError {
        let message = format!("`{}`: not the answer of a Vault: {why}", self.path);
        SourceError::new(SourceErrorKind::Malformed, message)
    }

    /// What a status other than success means, for [the statuses that Vault
    /// documents](https://openbao.org/api-docs/#http-status-codes). `credential` is kept out of the
    /// text, whatever the server says.
    pub(super) fn refusal(&self, credential: Option<&str>) -> SourceError {
        let words = self.words(credential);
        let (kind, meaning) = match self.status.as_u16() {
            307 => (
                SourceErrorKind::Standby,
                "a standby that was sent to sends on",
            ),
            // An engine that was just made, or is made one of versions.
            400 if words.starts_with("Upgrading from non-versioned") => {
                (SourceErrorKind::Unavailable, "the engine is not ready yet")
            }
            400 => (SourceErrorKind::InvalidRequest, "the request is invalid"),
            403 => (SourceErrorKind::PermissionDenied, "it is not allowed"),
            404 => (SourceErrorKind::NotFound, "there is nothing"),
            412 => (SourceErrorKind::Unavailable, "the server lags behind"),
            429 if words.contains("quota") => (SourceErrorKind::Throttled, "a quota was exceeded"),
            429 => (SourceErrorKind::Standby, "the server is a standby"),
            472 => (
                SourceErrorKind::Standby,
                "the server is a disaster recovery secondary",
            ),
            473 => (
                SourceErrorKind::Standby,
                "the server is a performance standby",
            ),
            503 if words.contains("sealed") => (SourceErrorKind::Sealed, "the server is sealed"),
            503 => (
                SourceErrorKind::Unavailable,
                "the server is sealed or down for maintenance",
            ),
            500..600 => (SourceErrorKind::Unavailable, "the server failed"),
            _ => (SourceErrorKind::Other, "an unexpected status"),
        };
        let status = self.status.as_u16();
        let words = if words.is_empty() {
            words
        } else {
            format!(": {words}")
        };
        SourceError::new(
            kind,
            format!("`{}`: {meaning} ({status}){words}", self.path),
        )
    }

    /// The server's own words, on one line.
    fn words(&self, credential: Option<&str>) -> String {
        let body = serde_json::from_slice::<Body<IgnoredAny>>(&self.body);
        let mut words = body.map(|body| body.errors.join("; ")).unwrap_or_default();
        if let Some(credential) = credential.filter(|it| !it.is_empty()) {
            words = words.replace(credential, "[redacted]");
        }
        one_line(&words, MAX_WORDS)
    }
}
