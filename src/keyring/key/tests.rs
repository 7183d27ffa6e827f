#![allow(clippy::unwrap_used)]

use aws_lc_rs::{
    encoding::AsDer,
    signature::{ECDSA_P521_SHA512_FIXED_SIGNING, KeyPair},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    testing::{SECRET, b64, ec, ec_pair, ed, from_json, one, pem, rsa},
    *,
};

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

// Replicas of different releases must agree, so these values never change.
#[test]
fn ids_are_stable() {
    assert_eq!(
        one(&JwtKey::from_secret(SECRET)).id().as_str(),
        "b9hFO9myJJFp-I6YV7mnyA"
    );
}

#[test]
fn the_thumbprint_is_that_of_rfc_7638() {
    let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
    let jwk = json!({ "kty": "RSA", "n": n, "e": "AQAB", "alg": "RS256", "kid": "2011-04-29" });
    let key = one(&from_json(&jwk));
    let thumbprint = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs";
    assert_eq!(key.id().as_str(), "2011-04-29");
    assert!(key.declares_kid());
    assert!(key.answers_to("2011-04-29") && key.answers_to(thumbprint) && !key.answers_to("x"));
    assert_eq!(
        one(&from_json(&without(&jwk, "kid"))).id().as_str(),
        thumbprint
    );
}

#[test]
fn zeros_before_a_modulus_change_nothing() {
    let jwk = &rsa().public_jwk;
    let n = URL_SAFE_NO_PAD.decode(jwk["n"].as_str().unwrap()).unwrap();
    let padded = [vec![0, 0], n].concat();
    assert_eq!(
        one(&from_json(&with(jwk, "n", json!(b64(padded))))).id(),
        one(&from_json(jwk)).id()
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
    let secret = |n| material::Material::hmac(&[n; 32], Hash::Sha256, false).unwrap();
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
fn weak_secrets_need_permission_and_empty_ones_are_refused_always() {
    let short = JwtKey::from_secret([1; 31]);
    assert_eq!(refused(&short).kind(), KeyErrorKind::Weak);
    assert!(prepare(&short, true).is_ok());
    assert!(prepare(&JwtKey::from_secret([1; 32]), false).is_ok());
    let empty = prepare(&JwtKey::from_secret(""), true).unwrap_err();
    assert_eq!(empty.kind(), KeyErrorKind::Empty);
    assert_eq!(
        refused_kind(&json!({ "kty": "oct", "k": b64([1; 31]) })),
        KeyErrorKind::Weak
    );
}

#[test]
fn small_rsa_keys_are_refused() {
    let mut n = [0xab; 128];
    n[127] = 1;
    let jwk = json!({ "kty": "RSA", "n": b64(n), "e": "AQAB" });
    assert_eq!(refused_kind(&jwk), KeyErrorKind::Weak);
    let pkcs1 = [
        &[0x30, 0x81, 0x89, 0x02, 0x81, 0x81, 0x00][..],
        &n,
        &[0x02, 0x03, 0x01, 0x00, 0x01],
    ]
    .concat();
    let small = JwtKey::from_pem(&pem("RSA PUBLIC KEY", &pkcs1));
    assert_eq!(refused(&small).kind(), KeyErrorKind::Weak);
    n[0] = 0;
    let jwk = json!({ "kty": "RSA", "n": b64([&[0; 200][..], &n].concat()), "e": "AQAB" });
    assert_eq!(refused_kind(&jwk), KeyErrorKind::Weak);
}

#[test]
fn bad_exponents_are_refused() {
    for e in [&[1][..], &[2], &[0], &[0xff; 40]] {
        let jwk = with(&rsa().public_jwk, "e", json!(b64(e)));
        assert_eq!(refused_kind(&jwk), KeyErrorKind::Malformed);
    }
}

#[test]
fn unsupported_types_curves_and_algorithms_are_refused() {
    let p256 = &ec(Curve::P256).public_jwk;
    for jwk in [
        with(p256, "crv", json!("P-521")),
        with(p256, "crv", json!("secp256k1")),
        with(p256, "alg", json!("ES512")),
        with(p256, "alg", json!("none")),
        with(p256, "kty", json!("AKP")),
        with(&ed().public_jwk, "crv", json!("Ed448")),
        with(&rsa().public_jwk, "alg", json!("RSA-OAEP")),
        with(&rsa().private_jwk, "oth", json!([])),
    ] {
        assert_eq!(refused_kind(&jwk), KeyErrorKind::Unsupported, "{jwk}");
    }
    let p521 = ec_pair(&ECDSA_P521_SHA512_FIXED_SIGNING);
    let public = p521.public_key().as_der().unwrap();
    for pem in [
        pem("PRIVATE KEY", p521.to_pkcs8v1().unwrap().as_ref()),
        pem("PUBLIC KEY", public.as_ref()),
    ] {
        assert_eq!(
            refused(&JwtKey::from_pem(&pem)).kind(),
            KeyErrorKind::Unsupported
        );
    }
}

#[test]
fn parts_that_do_not_fit_are_refused() {
    let (p256, p384, ed) = (ec(Curve::P256), ec(Curve::P384), ed());
    let other = self::ed().private_jwk;
    for jwk in [
        with(&rsa().public_jwk, "alg", json!("HS256")),
        with(&rsa().public_jwk, "alg", json!("ES256")),
        with(&p256.public_jwk, "alg", json!("ES384")),
        with(&ed.public_jwk, "alg", json!("HS256")),
        json!({ "kty": "oct", "k": b64(SECRET), "alg": "RS256" }),
        with(
            &p256.private_jwk,
            "d",
            ec(Curve::P256).private_jwk["d"].clone(),
        ),
        with(&ed.private_jwk, "d", other["d"].clone()),
        with(&rsa().private_jwk, "p", rsa().private_jwk["q"].clone()),
    ] {
        assert_eq!(refused_kind(&jwk), KeyErrorKind::Inconsistent, "{jwk}");
    }
    for jwk in [
        with(&p256.public_jwk, "crv", json!("P-384")),
        with(&p384.public_jwk, "y", p384.public_jwk["x"].clone()),
        with(&ed.public_jwk, "x", json!("AA")),
        with(&ed.public_jwk, "x", json!(7)),
        with(&ed.public_jwk, "kid", json!(7)),
        with(&p256.public_jwk, "x", json!("not/base64url")),
        without(&p256.public_jwk, "crv"),
        without(&rsa().private_jwk, "qi"),
        json!({ "kty": 1 }),
        json!({}),
        json!({ "keys": {} }),
    ] {
        assert_eq!(refused_kind(&jwk), KeyErrorKind::Malformed, "{jwk}");
    }
}

#[test]
fn keys_for_other_uses_are_refused() {
    let (private, public) = (&rsa().private_jwk, &rsa().public_jwk);
    for jwk in [
        with(public, "use", json!("enc")),
        with(public, "key_ops", json!(["encrypt"])),
        with(public, "key_ops", json!(["sign"])),
        with(private, "key_ops", json!([])),
    ] {
        assert_eq!(refused_kind(&jwk), KeyErrorKind::WrongUse);
    }
    let sign_only = one(&from_json(&with(private, "key_ops", json!(["sign"]))));
    assert!(sign_only.can_sign());
    let verify_only = one(&from_json(&with(private, "key_ops", json!(["verify"]))));
    assert!(!verify_only.can_sign());
    assert!(!one(&from_json(&with(public, "use", json!("sig")))).can_sign());
}

#[test]
fn pem_refusals_say_what_to_do() {
    let ed = ed();
    for (text, kind, says) in [
        (
            pem("EC PRIVATE KEY", b"x"),
            KeyErrorKind::Unsupported,
            "PKCS#8",
        ),
        (
            format!(
                "{}{}",
                pem("EC PARAMETERS", b"x"),
                pem("EC PRIVATE KEY", b"x")
            ),
            KeyErrorKind::Unsupported,
            "PKCS#8",
        ),
        (
            pem("ENCRYPTED PRIVATE KEY", b"x"),
            KeyErrorKind::Unsupported,
            "decrypt",
        ),
        (
            pem("CERTIFICATE", b"x"),
            KeyErrorKind::Unsupported,
            "public key",
        ),
        (
            format!("{}{}", ed.public_pem, ed.private_pem),
            KeyErrorKind::Malformed,
            "more than one",
        ),
        (
            ed.public_pem.replace('\n', "\\n"),
            KeyErrorKind::Malformed,
            "backslash",
        ),
        (
            ed.public_pem.replace("END PUBLIC", "END PRIVATE"),
            KeyErrorKind::Malformed,
            "last line",
        ),
        (
            ed.public_pem[..40].to_owned(),
            KeyErrorKind::Malformed,
            "cut off",
        ),
        (
            pem("PUBLIC KEY", b"junk"),
            KeyErrorKind::Unsupported,
            "type",
        ),
        (
            pem("OPENSSH PRIVATE KEY", b"x"),
            KeyErrorKind::Unsupported,
            "no key",
        ),
    ] {
        let error = refused(&from_json(&json!(text)));
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(says), "{error}");
    }
}

#[test]
fn public_text_never_becomes_a_secret() {
    let forms = rsa();
    let bare: String = forms
        .public_pem
        .lines()
        .filter(|line| !line.starts_with('-'))
        .collect();
    let cut = forms.public_jwk.to_string();
    for text in [
        bare,
        cut[..cut.len() - 1].to_owned(),
        format!("[{cut}]"),
        format!("{cut} x"),
    ] {
        assert_eq!(refused_kind(&json!(text)), KeyErrorKind::Malformed);
    }
    let as_secret = JwtKey::from_secret(forms.public_pem.as_str());
    assert_eq!(refused(&as_secret).kind(), KeyErrorKind::Malformed);
    assert_eq!(
        refused(&JwtKey::from_pem(SECRET)).kind(),
        KeyErrorKind::Malformed
    );
    assert_eq!(
        refused(&JwtKey::from_jwk(SECRET)).kind(),
        KeyErrorKind::Malformed
    );
}

#[test]
fn a_secret_may_look_like_json_or_base64() {
    for text in [
        r#"{"not": "a key but a passphrase in braces"}"#,
        "{ 32 bytes or more that begin with a brace",
        "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA0123456789",
    ] {
        assert_eq!(one(&from_json(&json!(text))).algorithm(), "HS256");
    }
}

#[test]
fn a_bad_key_of_a_set_is_skipped_and_named() {
    let good = with(&ed().public_jwk, "kid", json!("good"));
    let set = json!({ "keys": [
        { "kty": "AKP", "kid": "new\nkind" },
        good,
        "no object",
        good,
        with(&rsa().public_jwk, "use", json!("enc")),
    ] });
    let prepared = prepare(&from_json(&set), false).unwrap();
    assert_eq!(prepared.keys.len(), 1);
    assert_eq!(prepared.keys[0].id().as_str(), "good");
    let texts: Vec<String> = prepared.skipped.iter().map(ToString::to_string).collect();
    assert_eq!(texts.len(), 3);
    assert!(texts[0].starts_with(r#"key 0 of the set, kid "new\nkind": "#));
    assert!(texts[1].starts_with("key 2 of the set: "));
    assert!(texts[2].starts_with("key 4 of the set: "));
}

#[test]
fn a_set_without_a_usable_key_is_refused() {
    for set in [json!({ "keys": [] }), json!({ "keys": [{ "kty": "AKP" }] })] {
        assert_eq!(refused_kind(&set), KeyErrorKind::Empty);
    }
}

#[test]
fn a_set_is_read_up_to_a_limit() {
    let keys: Vec<Value> = (0..150)
        .map(|n| json!({ "kty": "oct", "k": b64([n; 32]) }))
        .collect();
    let prepared = prepare(&from_json(&json!({ "keys": keys })), false).unwrap();
    assert_eq!((prepared.keys.len(), prepared.skipped.len()), (100, 1));
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
