#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    testing::{b64, from_json, pem},
    *,
};

mod curves;
mod hmac;
mod jwk;
mod names;
mod pem;
mod rfc;
mod rsa;
mod set;
mod signing;
mod wycheproof;

const INPUT: &[u8] = b"header.payload";

fn refused(key: &JwtKey) -> KeyError {
    prepare(key, false).unwrap_err()
}

fn refused_kind(value: &Value) -> KeyErrorKind {
    refused(&from_json(value)).kind()
}

fn with(jwk: &Value, name: &str, value: Value) -> Value {
    let mut jwk = jwk.clone();
    jwk[name] = value;
    jwk
}

fn without(jwk: &Value, name: &str) -> Value {
    let mut jwk = jwk.clone();
    jwk.as_object_mut().unwrap().remove(name);
    jwk
}

/// That a key loads is little: it must verify what its other half signs, and nothing else.
#[track_caller]
fn assert_verifies(key: &JwtKey, signer: &JwtKey) {
    let key = testing::one(key);
    let signature = testing::one(signer).sign(INPUT).unwrap();
    assert!(key.verifies(INPUT, &signature));
    assert!(!key.verifies(b"header.other", &signature));
}

/// Each refusal, with the error's kind and what its text holds.
#[track_caller]
fn assert_refused(key: &JwtKey, kind: KeyErrorKind, says: &str) {
    let error = refused(key);
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.to_string().contains(says), "{error}");
}

#[test]
fn other_json_types_are_errors_that_name_the_type_only() {
    for (text, json_type) in [
        ("73577357", "a number"),
        ("-73577357", "a number"),
        ("7357.7357", "a number"),
        ("true", "a boolean"),
        ("null", "null"),
        (r#"["73577357"]"#, "an array"),
    ] {
        let error = serde_json::from_str::<JwtKey>(text)
            .unwrap_err()
            .to_string();
        assert!(error.contains(json_type), "{error}");
        assert!(
            !error.contains("7357") && !error.contains("true"),
            "{error}"
        );
    }
}

#[test]
fn nothing_shows_a_secret() {
    let secret = "Pr1vate-Pr1vate-Pr1vate-Pr1vate-Pr1vate";
    let jwk = json!({ "kty": "oct", "k": b64(secret), "kid": "k" });
    for key in [
        JwtKey::from_secret(secret),
        from_json(&json!(secret)),
        from_json(&jwk),
    ] {
        let prepared = prepare(&key, false).unwrap();
        let shown = format!("{key:?} {prepared:?} {:#?}", prepared.keys[0]);
        assert!(
            !shown.contains("Pr1vate") && !shown.contains(&b64(secret)),
            "{shown}"
        );
    }
    for value in [
        json!("Pr1vate"),
        json!({ "kty": "Pr1vate", "k": "Pr1vate" }),
        json!({ "kty": "oct", "k": "Pr1vate!" }),
        json!({ "kty": "oct", "k": "Pr1vate", "alg": "Pr1vate" }),
        json!({ "kty": "oct", "use": "Pr1vate" }),
        json!({ "keys": "Pr1vate" }),
        json!("-----BEGIN Pr1vate-----"),
        json!("-----BEGIN X-----\nPr1vate\n-----END X-----"),
    ] {
        let error = refused(&from_json(&value));
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("Pr1vate"), "{shown}");
    }
}

#[test]
fn equal_texts_are_equal_keys() {
    let one: JwtKey = serde_json::from_str(r#"{"kty":"oct","k":"AA"}"#).unwrap();
    let two: JwtKey = serde_json::from_str(r#"{ "k": "AA", "kty": "oct" }"#).unwrap();
    assert_eq!(one, two);
    assert_ne!(one, JwtKey::from_secret("AA"));
}

// 1 MiB of anything is more than a set of 100 keys needs.
#[test]
fn what_is_too_long_is_refused_unread() {
    const LIMIT: usize = 1 << 20;
    let long = " ".repeat(LIMIT + 1);
    for key in [
        from_json(&json!(long)),
        JwtKey::from_secret(long.as_str()),
        JwtKey::from_pem(&long),
        JwtKey::from_jwk(&long),
    ] {
        assert_refused(&key, KeyErrorKind::Unsupported, "1 MiB");
    }
    let jwk = testing::ed().private_jwk.to_string();
    let longest = JwtKey::from_jwk(&(jwk.clone() + &" ".repeat(LIMIT - jwk.len())));
    assert!(prepare(&longest, false).is_ok());
}

proptest! {
    #[test]
    fn any_text_is_a_key_or_an_error(text in ".{0,200}", prefix in "(|\\{|-----BEGIN |M)") {
        let _ = prepare(&JwtKey::new(Form::Text(Zeroizing::new(format!("{prefix}{text}")))), false);
    }

    #[test]
    fn any_der_is_a_key_or_an_error(
        der in proptest::collection::vec(any::<u8>(), 0..200),
        label in "(PUBLIC KEY|PRIVATE KEY|RSA PUBLIC KEY|RSA PRIVATE KEY)",
    ) {
        let _ = prepare(&JwtKey::from_pem(&pem(&label, &der)), false);
    }
}
