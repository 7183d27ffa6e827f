//! One bounded GET, over https.

use std::{error::Error, net::IpAddr, sync::Arc, time::Duration};

use http::{
    HeaderMap, StatusCode,
    header::{ACCEPT, CONTENT_TYPE},
};
use reqwest::{Client, Response, Url, redirect};

use super::fresh::{Condition, retry_after};
use crate::source::{SourceError, SourceErrorKind};

/// The longest body that is read.
const MAX_BYTES: usize = 1024 * 1024;

const MAX_REDIRECTS: usize = 3;

/// A server that does not even accept should not use up a long `fetch_limit`.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// How much of a URL an error shows: it may be what a stranger wrote.
const LONGEST_URL: usize = 400;

const UNREADABLE: &str = "an unreadable URL";

/// How much of a content type an error shows.
const SHOWN_CHARS: usize = 64;

/// A client that follows few redirects, and none away from https.
#[derive(Clone, Debug)]
pub(super) struct Http {
    client: Client,
    allow_http: bool,
}

pub(super) enum Answer {
    NotModified(HeaderMap),
    Body(HeaderMap, Vec<u8>),
}

impl Http {
    /// For requests to this URL, and to where it leads.
    pub(super) fn new(first: &str, allow_http: bool) -> Result<Self, SourceError> {
        let redirects = redirect::Policy::custom(move |attempt| {
            match why_not_follow(attempt.previous(), attempt.url(), allow_http) {
                Some(reason) => attempt.error(reason),
                None => attempt.follow(),
            }
        });
        let mut client = Client::builder()
            .redirect(redirects)
            .connect_timeout(CONNECT_LIMIT)
            .user_agent(concat!("tower-secrets/", env!("CARGO_PKG_VERSION")));
        // The environment's proxy must not come between this process and its own machine.
        if Url::parse(first).is_ok_and(|url| is_loopback(&url)) {
            client = client.no_proxy();
        }
        let client = client
            .build()
            .map_err(|error| failed(SourceErrorKind::Other, "no HTTP client", error))?;
        Ok(Self { client, allow_http })
    }

    /// # Errors
    /// When there is no whole answer within `limit`, another status than 200 and 304, or more than
    /// 1 MiB.
    pub(super) async fn get(
        &self,
        url: &str,
        condition: Option<&Condition>,
        limit: Duration,
    ) -> Result<Answer, SourceError> {
        let url = checked(url, self.allow_http)?;
        let place = shown(&url);
        let mut request = self
            .client
            .get(url)
            .timeout(limit)
            .header(ACCEPT, "application/jwk-set+json, application/json");
        if let Some((name, value)) = condition {
            request = request.header(name, value);
        }
        let answered = request.send().await;
        let mut response = answered.map_err(|error| unanswered(&place, error))?;
        let headers = std::mem::take(response.headers_mut());
        match response.status() {
            StatusCode::NOT_MODIFIED if condition.is_some() => Ok(Answer::NotModified(headers)),
            StatusCode::OK => Ok(Answer::Body(headers, read(&place, response).await?)),
            status => {
                let error = SourceError::new(kind_of(status), format!("{place} answered {status}"));
                Err(match rest(status, &headers) {
                    Some(rest) => error.with_retry_after(rest),
                    None => error,
                })
            }
        }
    }
}

async fn read(place: &str, mut response: Response) -> Result<Vec<u8>, SourceError> {
    let mut body = Vec::new();
    loop {
        let chunk = response.chunk().await;
        let Some(chunk) = chunk.map_err(|error| unanswered(place, error))? else {
            return Ok(body);
        };
        if body.len() + chunk.len() > MAX_BYTES {
            return Err(SourceError::new(
                SourceErrorKind::Malformed,
                format!("{place}: the answer is longer than 1 MiB"),
            ));
        }
        body.extend_from_slice(&chunk);
    }
}

/// A URL that may be asked: https, or http where nobody is in between.
pub(super) fn checked(text: &str, allow_http: bool) -> Result<Url, SourceError> {
    let refused = |why: &str| {
        // The text may hold a password, so it is not shown.
        SourceError::new(SourceErrorKind::InvalidRequest, format!("the URL {why}"))
    };
    let url = Url::parse(text).map_err(|error| refused(&format!("cannot be read: {error}")))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refused(
            "holds credentials, which a public key set does not need",
        ));
    }
    if !is_allowed(&url, allow_http) {
        let why = "is not https: whoever is in between could serve keys of their own. \
                   `.dangerously_allow_http()` takes it all the same";
        let text = format!("{} {why}", shown(&url));
        return Err(SourceError::new(SourceErrorKind::InvalidRequest, text));
    }
    Ok(url)
}

fn is_allowed(url: &Url, allow_http: bool) -> bool {
    match url.scheme() {
        "https" => true,
        "http" => allow_http || is_loopback(url),
        _ => false,
    }
}

fn is_loopback(url: &Url) -> bool {
    let Some(host) = url.host_str() else {
        return false;
    };
    let address = host.trim_start_matches('[').trim_end_matches(']').parse();
    host == "localhost" || address.is_ok_and(|address: IpAddr| address.is_loopback())
}

fn why_not_follow(previous: &[Url], next: &Url, allow_http: bool) -> Option<&'static str> {
    if previous.len() > MAX_REDIRECTS {
        return Some("more than 3 redirects");
    }
    let was_https = previous.iter().any(|url| url.scheme() == "https");
    if !is_allowed(next, allow_http) || (was_https && next.scheme() != "https") {
        return Some("a redirect away from https");
    }
    None
}

/// Without credentials and query.
pub(super) fn shown(url: &Url) -> String {
    // `user:password@host` is a URL, too: of a scheme and a path.
    if url.cannot_be_a_base() {
        return UNREADABLE.to_owned();
    }
    let port = url.port().map(|port| format!(":{port}"));
    format!(
        "{}://{}{}{}",
        url.scheme(),
        url.host_str().unwrap_or_default(),
        port.unwrap_or_default(),
        url.path()
    )
    .chars()
    .take(LONGEST_URL)
    .collect()
}

/// The same for a text that may be no URL.
pub(super) fn shown_text(text: &str) -> Arc<str> {
    Url::parse(text).map_or_else(|_| UNREADABLE.into(), |url| shown(&url).into())
}

pub(super) fn content_type(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    Some(text.chars().take(SHOWN_CHARS).collect())
}

fn rest(status: StatusCode, headers: &HeaderMap) -> Option<Duration> {
    matches!(status.as_u16(), 429 | 503)
        .then(|| retry_after(headers))
        .flatten()
}

fn kind_of(status: StatusCode) -> SourceErrorKind {
    match status.as_u16() {
        404 | 410 => SourceErrorKind::NotFound,
        401 => SourceErrorKind::Unauthenticated,
        403 => SourceErrorKind::PermissionDenied,
        429 => SourceErrorKind::Throttled,
        408 | 425 | 500.. => SourceErrorKind::Unavailable,
        _ => SourceErrorKind::Other,
    }
}

fn unanswered(place: &str, error: reqwest::Error) -> SourceError {
    let kind = if error.is_timeout() {
        SourceErrorKind::TimedOut
    } else if error.is_redirect() {
        SourceErrorKind::Other
    } else {
        SourceErrorKind::Unavailable
    };
    failed(kind, place, error)
}

/// Says what lies at the bottom: the layers above it repeat each other, and name the URL.
fn failed(kind: SourceErrorKind, what: &str, error: reqwest::Error) -> SourceError {
    let error = error.without_url();
    let mut deepest: &dyn Error = &error;
    while let Some(below) = deepest.source() {
        deepest = below;
    }
    SourceError::new(kind, format!("{what}: {deepest}")).with_source(error)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn https_or_loopback_or_danger() {
        for (url, plain, dangerous) in [
            ("https://idp.example/keys", true, true),
            ("http://idp.example/keys", false, true),
            ("http://localhost:8080/keys", true, true),
            ("http://127.0.0.1/keys", true, true),
            ("http://127.9.9.9/keys", true, true),
            ("http://[::1]:1/keys", true, true),
            ("http://localhost.evil.example/", false, true),
            ("http://127.0.0.1.evil.example/", false, true),
            ("http://10.0.0.1/", false, true),
            ("http://[::ffff:10.0.0.1]/", false, true),
            ("file:///etc/keys.json", false, false),
            ("ftp://localhost/keys", false, false),
            ("https://user:pass@idp.example/keys", false, false),
            ("idp.example/keys", false, false),
            ("", false, false),
        ] {
            assert_eq!(checked(url, false).is_ok(), plain, "{url}");
            assert_eq!(checked(url, true).is_ok(), dangerous, "{url}");
        }
    }

    #[test]
    fn no_error_shows_a_password_or_a_query() {
        for url in [
            "http://user:hunter2@idp.example/keys?k=hunter2",
            "http://idp.example/keys?k=hunter2",
            "http://hunter2 /",
            "user:hunter2@idp.example/keys",
        ] {
            let text = checked(url, false).unwrap_err().to_string();
            assert!(!text.contains("hunter2"), "{text}");
            assert!(!shown_text(url).contains("hunter2"));
        }
    }

    #[test]
    fn redirects_are_few_and_stay_on_https() {
        let urls = |texts: &[&str]| -> Vec<Url> {
            texts.iter().map(|text| Url::parse(text).unwrap()).collect()
        };
        let why = |previous: &[&str], next: &str| {
            why_not_follow(&urls(previous), &Url::parse(next).unwrap(), false)
        };
        let a = "https://a.example/";
        assert_eq!(why(&[a], "https://b.example/"), None);
        assert_eq!(why(&[a; 3], "https://b.example/"), None);
        assert!(why(&[a; 4], "https://b.example/").is_some());
        assert!(why(&[a], "http://a.example/").is_some());
        assert!(why(&[a], "http://127.0.0.1/").is_some());
        assert_eq!(why(&["http://127.0.0.1/"], "http://127.0.0.1/b"), None);
        assert!(why(&["http://127.0.0.1/"], "http://a.example/").is_some());
        assert!(why(&["http://127.0.0.1/", a], "http://127.0.0.1/").is_some());
    }
}
