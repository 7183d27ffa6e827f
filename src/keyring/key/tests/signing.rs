//! What a key signs, at load and later.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{
    super::testing::{SECRET, b64, ec, ed, one, rsa},
    *,
};

#[test]
fn every_algorithm_of_a_jwk_signs_and_verifies() {
    let oct = json!({ "kty": "oct", "k": b64([7; 64]) });
    for (jwk, names) in [
        (&oct, &["HS256", "HS384", "HS512"][..]),
        (
            &rsa().private_jwk,
            &["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"],
        ),
        (&ec(Curve::P256).private_jwk, &["ES256"]),
        (&ec(Curve::P384).private_jwk, &["ES384"]),
        (&ed().private_jwk, &["EdDSA"]),
    ] {
        for name in names {
            // Preparing includes a signature that the key verified.
            let key = one(&from_json(&with(jwk, "alg", json!(name))));
            assert_eq!(key.algorithm(), *name);
            assert!(key.can_sign());
        }
    }
}

#[test]
fn a_key_that_does_not_verify_what_it_signs_is_refused() {
    let secret = |n| material::Material::hmac(&[n; 32], Hash::Sha256);
    let mut chimera = secret(1);
    chimera.signing = secret(2).signing;
    let error = PreparedKey::new(chimera, None).unwrap_err();
    assert_eq!(error.kind(), KeyErrorKind::Inconsistent);
}

#[test]
fn a_minted_token_names_its_key() {
    let key = one(&JwtKey::from_secret(SECRET));
    let token = key.mint(&json!({ "sub": "s" })).unwrap();
    let parts: Vec<Vec<u8>> = token
        .split('.')
        .map(|part| URL_SAFE_NO_PAD.decode(part).unwrap())
        .collect();
    let header: Value = serde_json::from_slice(&parts[0]).unwrap();
    assert_eq!(
        header,
        json!({ "alg": "HS256", "typ": "JWT", "kid": key.id().as_str() })
    );
    assert_eq!(parts[1], br#"{"sub":"s"}"#);
    assert_eq!(parts[2].len(), 32);
}

#[test]
fn what_cannot_be_minted() {
    let secret = one(&JwtKey::from_secret(SECRET));
    let public = one(&JwtKey::from_pem(&ed().public_pem));
    assert_eq!(
        secret.mint(&"text").unwrap_err().kind(),
        SignErrorKind::Claims
    );
    assert_eq!(
        public.mint(&json!({})).unwrap_err().kind(),
        SignErrorKind::CannotSign
    );
}

#[test]
fn what_a_type_says_when_it_does_not_serialise_is_below_the_error_and_not_in_it() {
    struct Broken;

    impl serde::Serialize for Broken {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("hunter2"))
        }
    }

    let key = one(&JwtKey::from_secret(SECRET));
    let error = key.mint(&Broken).unwrap_err();
    assert_eq!(error.kind(), SignErrorKind::Claims);
    assert!(!format!("{error} {error:?}").contains("hunter2"));
    let below = std::error::Error::source(&error).unwrap();
    assert!(below.to_string().contains("hunter2"));
}
