//! From a body to the version that it is, or to the reason why it is no set of keys.

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::{Value, json};

use crate::{
    guard::log,
    source::{SourceError, SourceErrorKind, Version},
};

/// What gives away that a key is not only for verifying: a secret, and what is private in a pair.
const SECRET_MEMBERS: [&str; 2] = ["k", "d"];

/// How many such keys the event names, and how much of each name it shows.
const NAMED: usize = 3;
const SHOWN_CHARS: usize = 64;

/// Reads a JWKS (RFC 7517, section 5). What stays of it are the keys that may be for signatures, in
/// an order of their own, so that replicas behind a server whose order varies see one version.
///
/// # Errors
/// When it is no set, or no such key is left. Whether a key is any good is judged later, one by one.
pub(super) fn version(
    place: &str,
    body: &[u8],
    content_type: Option<&str>,
) -> Result<Version, SourceError> {
    let refused =
        |why: String| SourceError::new(SourceErrorKind::Malformed, format!("{place}: {why}"));
    let document: Value = serde_json::from_slice(body).map_err(|_| {
        let of_type = content_type.map(|it| format!(", and its content type is `{it}`"));
        refused(format!(
            "the answer is no JSON{}",
            of_type.unwrap_or_default()
        ))
    })?;
    let Some(served) = document.get("keys").and_then(Value::as_array) else {
        return Err(refused(
            "the answer is no JWKS: it has no array `keys`".to_owned(),
        ));
    };
    if served.is_empty() {
        return Err(refused("the JWKS is empty".to_owned()));
    }
    let (secret, public): (Vec<&Value>, Vec<&Value>) =
        served.iter().partition(|key| is_secret(key));
    tell(place, &secret);
    let mut keys: Vec<&Value> = public.into_iter().filter(|key| is_of_use(key)).collect();
    if keys.is_empty() {
        return Err(refused(format!(
            "none of the {} keys of the JWKS is a public key for signatures",
            served.len()
        )));
    }
    keys.sort_by_cached_key(|key| key.to_string());
    let document = json!({ "keys": keys }).to_string();
    let id = hex(digest(&SHA256, document.as_bytes()).as_ref());
    Ok(Version::new(id, document).with_origin(place))
}

/// A secret or a private key that is served to everybody could be used by everybody to sign.
fn is_secret(key: &Value) -> bool {
    SECRET_MEMBERS.iter().any(|name| key.get(name).is_some())
}

/// Once for the whole set, which may hold thousands of them.
fn tell(place: &str, secret: &[&Value]) {
    if secret.is_empty() {
        return;
    }
    let name = |key: &&Value| -> String {
        let kid = key
            .get("kid")
            .and_then(Value::as_str)
            .unwrap_or("without kid");
        kid.chars().take(SHOWN_CHARS).collect()
    };
    let first: Vec<String> = secret.iter().take(NAMED).map(name).collect();
    let keys = secret.len();
    log(|| tracing::error!(source = place, keys, ?first, "secrets_jwks_secret_served"));
}

/// Keys for encryption are none of our business.
fn is_of_use(key: &Value) -> bool {
    let usage = key.get("use").and_then(Value::as_str);
    key.is_object() && usage.is_none_or(|usage| usage == "sig")
}

/// The first half: enough to tell versions apart, and short enough for logs.
fn hex(digest: &[u8]) -> String {
    digest[..16]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn read(document: &Value) -> Result<Version, SourceError> {
        version(
            "https://idp.example/keys",
            document.to_string().as_bytes(),
            None,
        )
    }

    fn key(kid: &str) -> Value {
        json!({ "kty": "RSA", "kid": kid, "n": "AQAB", "e": "AQAB" })
    }

    #[test]
    fn the_order_and_what_is_around_the_keys_do_not_matter() {
        let one = read(&json!({ "keys": [key("a"), key("b")] })).unwrap();
        let other = read(&json!({ "keys": [key("b"), key("a")], "x": 1 })).unwrap();
        assert_eq!(one.id(), other.id());
        assert_eq!(one.document(), other.document());
        let third = read(&json!({ "keys": [key("a"), key("c")] })).unwrap();
        assert_ne!(one.id(), third.id());
    }

    #[test]
    fn what_is_no_set_is_refused_and_says_why() {
        let html = version("https://idp.example/keys", b"<html>", Some("text/html"));
        let text = html.unwrap_err().to_string();
        assert!(
            text.contains("no JSON") && text.contains("text/html"),
            "{text}"
        );
        assert!(text.contains("https://idp.example/keys"), "{text}");
        for (document, part) in [
            (json!({ "keys": [] }), "is empty"),
            (json!({ "error": "x" }), "no array `keys`"),
            (json!({ "keys": {} }), "no array `keys`"),
            (json!([]), "no array `keys`"),
            (json!("keys"), "no array `keys`"),
            (json!({ "keys": [1, "x"] }), "none of the 2 keys"),
        ] {
            let error = read(&document).unwrap_err();
            assert_eq!(error.kind(), SourceErrorKind::Malformed);
            assert!(error.to_string().contains(part), "{error}");
        }
    }

    #[test]
    fn secrets_private_keys_and_keys_for_encryption_are_left_out() {
        let bad = [
            json!({ "kty": "oct", "kid": "s", "k": "c2VjcmV0" }),
            json!({ "kty": "RSA", "kid": "p", "n": "AQAB", "e": "AQAB", "d": "AQAB" }),
            json!({ "kty": "RSA", "kid": "e", "n": "AQAB", "e": "AQAB", "use": "enc" }),
        ];
        for bad in bad {
            let version = read(&json!({ "keys": [bad, key("a")] })).unwrap();
            let kept: Value = serde_json::from_slice(version.document()).unwrap();
            assert_eq!(kept["keys"], json!([key("a")]));
            assert!(read(&json!({ "keys": [bad] })).is_err());
        }
    }
}
