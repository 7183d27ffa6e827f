//! An authorization server that says anything: its key set, its metadata, its headers.
//!
//! One letter, and what is read.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, header::CACHE_CONTROL, header::ETAG};
use serde_json::Value;
use tokio::time::Instant;

use super::{
    Jwks,
    discovery::{Metadata, uri_of, well_known},
    fresh::{condition, lifetime, retry_after},
    http_get::{checked, content_type},
    set,
};
use crate::{
    JwtKey,
    fuzz::{assert_untold, texts},
    refresh::parse,
    source::{SourceError, Version},
};

const PLACE: &str = "https://idp.example/keys";
const ISSUER: &str = "https://idp.example";

/// Judges one answer.
pub fn jwks(bytes: &[u8]) {
    let Some((asked, rest)) = bytes.split_first() else {
        return;
    };
    match asked {
        b's' => key_set(rest),
        b'h' => headers(rest),
        b'm' => metadata(rest),
        b'u' => issuer(rest),
        _ => {}
    }
}

fn key_set(body: &[u8]) {
    let version = match set::version(PLACE, body, None) {
        Ok(version) => version,
        Err(error) => return told(&error, body),
    };
    let served: Value = parsed(body);
    if parsed(served.to_string().as_bytes()) != served {
        return; // serde_json reads some long numbers a little off; none of them is part of a key.
    }
    let kept: Value = parsed(version.document());
    let (Some(served), Some(kept)) = (served["keys"].as_array(), kept["keys"].as_array()) else {
        panic!("it is no set");
    };
    assert!(!kept.is_empty(), "an empty set was taken");
    for key in kept {
        assert!(served.contains(key), "a key that was not served: {key}");
        assert!(
            key.get("k").is_none() && key.get("d").is_none(),
            "a secret was kept"
        );
        assert_ne!(key.get("use"), Some(&Value::from("enc")));
    }
    let again = set::version(PLACE, version.document(), None);
    let mut turned = kept.clone();
    turned.reverse();
    let turned = serde_json::json!({ "more": 1, "keys": turned }).to_string();
    let turned = set::version(PLACE, turned.as_bytes(), None);
    for same in [again, turned] {
        let same = same.unwrap_or_else(|error| panic!("what was taken is refused: {error}"));
        assert_eq!(same.id(), version.id());
        assert_eq!(same.document(), version.document());
    }
    if let Err(error) = parse::<JwtKey>(version.document()) {
        assert_untold(&error, texts(&parsed(version.document())));
    }
}

/// What is told of an answer that is none.
fn told(error: &SourceError, body: &[u8]) {
    if let Ok(body) = serde_json::from_slice(body) {
        assert_untold(&error.to_string(), texts(&body));
    }
}

fn parsed(json: &[u8]) -> Value {
    serde_json::from_slice(json)
        .unwrap_or_else(|error| panic!("what was taken is no JSON: {error}"))
}

/// `name: value` in each line.
fn headers(lines: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in lines.split(|byte| *byte == b'\n') {
        let Some(at) = line.iter().position(|byte| *byte == b':') else {
            continue;
        };
        let name = HeaderName::from_bytes(&line[..at]);
        let value = HeaderValue::from_bytes(line[at + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    let _ = (retry_after(&headers), content_type(&headers));
    assert_ne!(lifetime(&headers), Some(Duration::ZERO));
    if let Some((_, value)) = condition(&headers) {
        let etag = headers.get(ETAG);
        assert!(
            etag.is_none_or(|etag| *etag == value),
            "another ETag than the first"
        );
    }
    let source = Jwks::new(PLACE);
    source.note(&headers, Some(Version::new("1", "{}")));
    let latest = Instant::now() + source.max_freshness;
    let stale_at = *source.stale_at.borrow();
    assert!(stale_at.is_none_or(|at| at <= latest), "fresh for too long");

    let mut shorter = headers.clone();
    shorter.append(CACHE_CONTROL, HeaderValue::from_static("max-age=1"));
    let second = Duration::from_secs(1);
    assert!(lifetime(&shorter).is_none_or(|lifetime| lifetime <= second));
    headers.append(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    assert_eq!(lifetime(&headers), None);
}

fn metadata(body: &[u8]) {
    let Ok(metadata) = serde_json::from_slice::<Metadata>(body) else {
        return;
    };
    match uri_of(metadata, ISSUER, PLACE) {
        Ok(uri) => {
            // A member that nobody reads may hold bytes that are no text.
            if let Ok(told) = serde_json::from_slice::<Value>(body) {
                assert_eq!(told["issuer"], ISSUER, "somebody else's keys");
                assert_eq!(told["jwks_uri"], *uri);
            }
            assert!(uri.starts_with("https:"), "{uri}");
            url(&uri);
        }
        Err(error) => assert!(!error.to_string().contains(char::is_control), "{error}"),
    }
}

/// What may be asked, and without what it is told.
fn url(text: &str) {
    match checked(text, false) {
        Ok(url) => {
            assert!(url.username().is_empty() && url.password().is_none());
            assert!(!super::http_get::shown(&url).contains(['?', '#']));
        }
        Err(error) => assert!(!error.to_string().contains('?'), "{error}"),
    }
}

fn issuer(text: &[u8]) {
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    url(text);
    // Of another scheme nothing is asked, wherever its places would be.
    let (Ok(_), Ok(places)) = (checked(text, true), well_known(text)) else {
        return;
    };
    let host = |text: &str| {
        let url = reqwest::Url::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        (
            url.scheme().to_owned(),
            url.host_str().map(str::to_owned),
            url.port(),
        )
    };
    for place in &places {
        assert_eq!(host(place), host(text), "another server is asked");
    }
}
