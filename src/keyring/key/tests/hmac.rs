//! HMAC secrets.

use aws_lc_rs::{
    encoding::AsDer,
    signature::{ECDSA_P256K1_SHA256_FIXED_SIGNING, KeyPair},
};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};

use super::{
    super::testing::{SECRET, b64, der, ec, ec_pair, ed, one, pem, rsa},
    *,
};

fn oct(secret: &[u8], alg: &str) -> JwtKey {
    from_json(&json!({ "kty": "oct", "k": b64(secret), "alg": alg }))
}

/// A secret by every way in.
fn ways_in(secret: &str) -> [JwtKey; 4] {
    [
        from_json(&json!(secret)),
        JwtKey::from_secret(secret),
        oct(secret.as_bytes(), "HS256"),
        JwtKey::from_jwk(&json!({ "kty": "oct", "k": b64(secret) }).to_string()),
    ]
}

#[test]
fn a_secret_is_as_long_as_its_hash_or_needs_permission() {
    for (alg, len) in [("HS256", 32), ("HS384", 48), ("HS512", 64)] {
        let short = oct(&vec![7; len - 1], alg);
        assert_refused(&short, KeyErrorKind::Weak, &len.to_string());
        let permitted = prepare(&short, true).unwrap();
        assert_eq!(permitted.keys[0].algorithm(), alg);
        let enough = oct(&vec![7; len], alg);
        assert_verifies(&enough, &enough);
        let empty = prepare(&oct(&[], alg), true).unwrap_err();
        assert_eq!(empty.kind(), KeyErrorKind::Empty);
    }
    for key in ways_in(&SECRET[..31]) {
        assert_refused(&key, KeyErrorKind::Weak, "32 bytes");
        assert!(prepare(&key, true).is_ok());
    }
    for key in ways_in(&SECRET[..32]) {
        assert!(prepare(&key, false).is_ok());
    }
}

#[test]
fn a_very_long_secret_is_refused() {
    assert_verifies(
        &JwtKey::from_secret([7; 64 * 1024]),
        &JwtKey::from_secret([7; 64 * 1024]),
    );
    let key = JwtKey::from_secret([7; 64 * 1024 + 1]);
    assert_refused(&key, KeyErrorKind::Unsupported, "64 KiB");
}

#[test]
fn a_pem_is_no_secret_by_any_way_in() {
    let forms = [rsa(), &ec(Curve::P256), &ed()].map(|forms| forms.public_pem.clone());
    let certificate = pem("CERTIFICATE", &[7; 300]);
    for text in forms.into_iter().chain([
        certificate,
        rsa().public_pem.replace('\n', "\r\n"),
        format!("\u{feff}some text\n{}", ed().public_pem),
        rsa().private_pem.clone(),
    ]) {
        // As a string of the document a PEM is a PEM.
        for key in &ways_in(&text)[1..] {
            for allow_short in [false, true] {
                let error = prepare(key, allow_short).unwrap_err();
                assert_eq!(error.kind(), KeyErrorKind::Malformed, "{error}");
                assert!(error.to_string().contains("PEM"), "{error}");
            }
        }
    }
}

#[test]
fn a_string_that_holds_a_pem_is_never_a_secret() {
    for text in [
        rsa().public_pem.clone(),
        rsa().public_pem.replace("END PUBLIC", "END"),
        pem("CERTIFICATE", &[7; 300]),
        pem("ANYTHING", &[7; 300]),
    ] {
        let prepared = prepare(&from_json(&json!(text)), true);
        let is_hmac = |key: &Arc<PreparedKey>| key.algorithm().starts_with("HS");
        assert!(!prepared.is_ok_and(|prepared| prepared.keys.iter().any(is_hmac)));
    }
}

/// Every kind of key that some library gives out in DER.
fn ders() -> Vec<Vec<u8>> {
    let secp256k1 = ec_pair(&ECDSA_P256K1_SHA256_FIXED_SIGNING);
    let small_rsa = {
        let n = der(2, &[&[0, 0xab][..], &[7; 127]].concat());
        der(0x30, &[n, der(2, &[1, 0, 1])].concat())
    };
    let certificate = der(0x30, &der(0x30, &[7; 300]));
    let mut ders = vec![
        secp256k1.public_key().as_der().unwrap().as_ref().to_vec(),
        small_rsa,
        certificate,
    ];
    for forms in [rsa(), &ec(Curve::P256), &ec(Curve::P384), &ed()] {
        let pkcs1 = forms.pkcs1.iter().flat_map(|(a, b)| [a, b]);
        let pems = [&forms.public_pem, &forms.private_pem]
            .into_iter()
            .chain(pkcs1);
        ders.extend(pems.map(|pem| STANDARD.decode(body(pem).replace('\n', "")).unwrap()));
    }
    ders
}

fn body(pem: &str) -> String {
    let lines = pem.lines().filter(|line| !line.starts_with('-'));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn a_key_in_der_is_no_secret() {
    for der in ders() {
        let jwk = json!({ "kty": "oct", "k": b64(&der) });
        for key in [JwtKey::from_secret(der.as_slice()), from_json(&jwk)] {
            assert_refused(&key, KeyErrorKind::Malformed, "DER");
            assert!(prepare(&key, true).is_err());
        }
    }
}

#[test]
fn a_key_in_base64_is_no_secret() {
    for der in ders() {
        for text in [
            STANDARD.encode(&der),
            STANDARD_NO_PAD.encode(&der),
            b64(&der),
            body(&pem("X", &der)),
            body(&pem("X", &der)).replace('\n', "\r\n"),
            format!("\u{feff} {}\n", STANDARD.encode(&der)),
        ] {
            for key in ways_in(&text) {
                assert_refused(&key, KeyErrorKind::Malformed, "DER");
                assert!(prepare(&key, true).is_err());
            }
        }
    }
}

#[test]
fn a_jwk_is_no_secret() {
    let jwk = rsa().public_jwk.to_string();
    let cut = &jwk[..jwk.len() - 1];
    for text in [
        cut.to_owned(),
        format!("[{jwk}]"),
        format!("{jwk} x"),
        format!("\u{feff} {cut}"),
    ] {
        for key in ways_in(&text) {
            assert_refused(&key, KeyErrorKind::Malformed, "JWK");
        }
    }
    for key in &ways_in(&jwk)[1..] {
        assert_refused(key, KeyErrorKind::Malformed, "JWK");
    }
    let twice = r#"{"keys":[],"keys":[],"x":"a passphrase of more than 32 bytes"}"#;
    assert_refused(&from_json(&json!(twice)), KeyErrorKind::Malformed, "once");
}

#[test]
fn only_a_secret_becomes_one() {
    for key in [JwtKey::from_pem(SECRET), JwtKey::from_jwk(SECRET)] {
        assert_eq!(refused(&key).kind(), KeyErrorKind::Malformed);
    }
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
