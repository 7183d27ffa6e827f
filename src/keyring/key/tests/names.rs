//! A key's id and its identity.

use std::collections::HashSet;

use super::{
    super::testing::{SECRET, b64, ec, ed, one, rsa},
    *,
};

#[test]
fn every_form_of_one_pair_is_the_same_key() {
    for (forms, algorithm) in [
        (rsa(), "RS256"),
        (&ec(Curve::P256), "ES256"),
        (&ec(Curve::P384), "ES384"),
        (&ed(), "EdDSA"),
    ] {
        let first = one(&JwtKey::from_pem(&forms.public_pem));
        assert_eq!(first.algorithm(), algorithm);
        for (keys, can_sign) in [(forms.private(), true), (forms.public(), false)] {
            for key in keys {
                let key = one(&key);
                assert_eq!(key.id(), first.id());
                assert_eq!(key.identity(), first.identity());
                assert_eq!(key.algorithm(), algorithm);
                assert_eq!(key.can_sign(), can_sign);
                assert_eq!(key.sign(b"x").is_ok(), can_sign);
                assert!(!key.declares_kid());
            }
        }
    }
}

#[test]
fn a_secret_is_the_same_key_in_every_form() {
    let text = one(&from_json(&json!(SECRET)));
    let bytes = one(&JwtKey::from_secret(SECRET));
    let jwk = one(&from_json(&json!({ "kty": "oct", "k": b64(SECRET) })));
    assert_eq!(text.algorithm(), "HS256");
    assert!(text.can_sign());
    assert_eq!(text.id(), bytes.id());
    assert_eq!(text.id(), jwk.id());
    assert_eq!(text.identity(), jwk.identity());
    assert_ne!(
        text.identity(),
        one(&JwtKey::from_secret(format!("{SECRET}!"))).identity()
    );
}

#[test]
fn ids_are_stable() {
    assert_eq!(
        one(&JwtKey::from_secret(SECRET)).id().as_str(),
        "b9hFO9myJJFp-I6YV7mnyA"
    );
}

#[test]
fn identity_ignores_the_kid_and_respects_the_algorithm() {
    let jwk = &rsa().public_jwk;
    let named = one(&from_json(&with(jwk, "kid", json!("a"))));
    let renamed = one(&from_json(&with(jwk, "kid", json!("b"))));
    let pss = one(&from_json(&with(jwk, "alg", json!("PS256"))));
    let other = one(&from_json(&with(&ed().public_jwk, "kid", json!("a"))));
    assert_eq!(named.identity(), renamed.identity());
    assert_ne!(named.id(), renamed.id());
    assert_ne!(named.identity(), pss.identity());
    assert_eq!(named.id(), other.id());
    assert_ne!(named.identity(), other.identity());
}

#[test]
fn keys_of_two_issuers_are_two_keys() {
    let jwk = |issuer: &str| {
        let issuer = json!(issuer);
        with(
            &json!({ "kty": "oct", "k": b64([7; 32]), "kid": "k" }),
            "issuer",
            issuer,
        )
    };
    let set = json!({ "keys": [jwk("a"), jwk("b"), jwk("a"), without(&jwk("a"), "issuer")] });
    let set = prepare(&from_json(&set), false).unwrap();
    let identities: HashSet<_> = set.keys.iter().map(|key| *key.identity()).collect();
    assert_eq!((set.keys.len(), identities.len()), (3, 3));
    for bad in [json!(1), json!(null), json!(["a"])] {
        let bad = from_json(&with(&jwk("a"), "issuer", bad));
        assert_eq!(refused(&bad).kind(), KeyErrorKind::Malformed);
    }
}
