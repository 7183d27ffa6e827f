//! From an issuer to the place of its keys: RFC 8414 and OpenID Connect Discovery 1.0.

use std::time::Duration;

use reqwest::Url;
use serde::Deserialize;
use tokio::time::Instant;

use super::http_get::{Answer, Http, shown_text};
use crate::source::{SourceError, SourceErrorKind};

/// What is read of the metadata.
#[derive(Deserialize)]
pub(super) struct Metadata {
    issuer: String,
    jwks_uri: Option<String>,
}

/// Asks the well-known places in turn, until one is of this issuer and names its keys. Each gets an
/// equal share of the time that is left, so that one that hangs does not stand for all.
///
/// # Errors
/// When none answers so within `limit`: the last of the reasons that say most.
pub(super) async fn jwks_uri(
    http: &Http,
    issuer: &str,
    limit: Duration,
) -> Result<String, SourceError> {
    let ends = Instant::now() + limit;
    let mut places = well_known(issuer)?.into_iter();
    let mut told: Option<SourceError> = None;
    while let Some(place) = places.next() {
        let left = ends.saturating_duration_since(Instant::now());
        let share = left.div_f64((places.len() + 1) as f64);
        let answer = metadata(http, &place, share).await;
        match answer.and_then(|metadata| uri_of(metadata, issuer, &place)) {
            Ok(uri) => return Ok(uri),
            Err(error) if told.as_ref().is_some_and(|it| weight(it) > weight(&error)) => {}
            Err(error) => told = Some(error),
        }
    }
    // There is at least one place.
    Err(told.unwrap_or_else(|| malformed(issuer, "has no well-known place")))
}

/// What may be over soon says more than what stays wrong, and an absence says least.
fn weight(error: &SourceError) -> u8 {
    match error.kind() {
        SourceErrorKind::NotFound => 0,
        kind if kind.is_lasting() => 1,
        _ => 2,
    }
}

async fn metadata(http: &Http, place: &str, limit: Duration) -> Result<Metadata, SourceError> {
    match http.get(place, None, limit).await? {
        Answer::Body(_, body) => serde_json::from_slice(&body)
            .map_err(|_| malformed(place, "answered with something that is no metadata")),
        Answer::NotModified(_) => Err(malformed(place, "answered 304 to nothing")),
    }
}

pub(super) fn uri_of(metadata: Metadata, issuer: &str, place: &str) -> Result<String, SourceError> {
    // RFC 8414, section 3.3: identical, or somebody else's keys would be taken for this issuer's.
    if metadata.issuer != issuer {
        let found = shown_text(&metadata.issuer);
        let text = format!("is of the issuer `{found}`, and not of the one that was asked for");
        return Err(malformed(place, &text));
    }
    let uri = metadata
        .jwks_uri
        .ok_or_else(|| malformed(place, "names no `jwks_uri`"))?;
    // http to a loopback host is for issuers there.
    if issuer.starts_with("https:") && !uri.starts_with("https:") {
        return Err(malformed(place, "leads away from https"));
    }
    Ok(uri)
}

/// RFC 8414, section 3.1: the well-known part goes between host and path. OpenID Connect Discovery
/// 1.0, section 4: it goes after the path. A `/` at the end is taken off first.
pub(super) fn well_known(issuer: &str) -> Result<Vec<String>, SourceError> {
    let unreadable = |_| SourceError::new(SourceErrorKind::InvalidRequest, "the issuer is no URL");
    let url = Url::parse(issuer).map_err(unreadable)?;
    if url.query().is_some() || url.fragment().is_some() || url.cannot_be_a_base() {
        let text = "the issuer has a query or a fragment";
        return Err(SourceError::new(SourceErrorKind::InvalidRequest, text));
    }
    let path = url.path().trim_end_matches('/').to_owned();
    let at = |path: String| {
        let mut url = url.clone();
        url.set_path(&path);
        String::from(url)
    };
    let mut places = vec![
        at(format!("/.well-known/oauth-authorization-server{path}")),
        at(format!("{path}/.well-known/openid-configuration")),
    ];
    if !path.is_empty() {
        places.push(at(format!("/.well-known/openid-configuration{path}")));
    }
    Ok(places)
}

fn malformed(place: &str, what: &str) -> SourceError {
    let place = shown_text(place);
    SourceError::new(SourceErrorKind::Malformed, format!("{place} {what}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn well_known_places() {
        for root in ["https://idp.example", "https://idp.example/"] {
            assert_eq!(
                well_known(root).unwrap(),
                [
                    "https://idp.example/.well-known/oauth-authorization-server",
                    "https://idp.example/.well-known/openid-configuration",
                ]
            );
        }
        assert_eq!(
            well_known("https://idp.example/realms/a").unwrap(),
            [
                "https://idp.example/.well-known/oauth-authorization-server/realms/a",
                "https://idp.example/realms/a/.well-known/openid-configuration",
                "https://idp.example/.well-known/openid-configuration/realms/a",
            ]
        );
        for bad in [
            "https://idp.example/?x=1",
            "https://idp.example/#x",
            "idp.example",
        ] {
            assert!(well_known(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_issuer_is_compared_to_the_letter() {
        let metadata = |issuer: &str| Metadata {
            issuer: issuer.to_owned(),
            jwks_uri: Some("https://idp.example/keys".to_owned()),
        };
        let ours = "https://idp.example";
        let place = "https://idp.example/.well-known/openid-configuration";
        assert!(uri_of(metadata(ours), ours, place).is_ok());
        for other in [
            "https://idp.example/",
            "https://IDP.example",
            "http://idp.example",
            "",
        ] {
            let error = uri_of(metadata(other), ours, place).unwrap_err();
            assert!(error.to_string().contains("is of the issuer"), "{error}");
        }
        // What a stranger wrote is not told at any length.
        let long = format!("https://idp.example/{}", "\u{fc}".repeat(100_000));
        let error = uri_of(metadata(&long), ours, place)
            .unwrap_err()
            .to_string();
        assert!(error.len() < 1_000, "{} bytes", error.len());
        assert!(shown_text(&long).len() < 1_000);
        let plain = Metadata {
            issuer: ours.to_owned(),
            jwks_uri: Some("http://127.0.0.1/keys".to_owned()),
        };
        let error = uri_of(plain, ours, place).unwrap_err();
        assert!(error.to_string().contains("away from https"), "{error}");
        let without = Metadata {
            issuer: ours.to_owned(),
            jwks_uri: None,
        };
        let error = uri_of(without, ours, place).unwrap_err();
        assert!(error.to_string().contains("jwks_uri"), "{error}");
    }
}
