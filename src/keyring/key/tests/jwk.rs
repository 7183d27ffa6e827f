//! The members of a JWK that are not the key itself.

use super::{
    super::testing::{SECRET, b64, ec, ed, one, rsa},
    *,
};

fn oct() -> Value {
    json!({ "kty": "oct", "k": b64([7; 64]) })
}

#[test]
fn an_algorithm_fits_the_type_and_the_curve() {
    let (p256, p384, ed) = (ec(Curve::P256), ec(Curve::P384), ed());
    let fitting = [
        (oct(), &["HS256", "HS384", "HS512"][..]),
        (
            rsa().private_jwk.clone(),
            &["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"],
        ),
        (p256.private_jwk, &["ES256"]),
        (p384.private_jwk, &["ES384"]),
        (ed.private_jwk, &["EdDSA"]),
    ];
    let all: Vec<&str> = fitting
        .iter()
        .flat_map(|(_, names)| *names)
        .copied()
        .collect();
    for (jwk, names) in fitting {
        for name in &all {
            let key = from_json(&with(&jwk, "alg", json!(name)));
            if names.contains(name) {
                assert_eq!(one(&key).algorithm(), *name);
            } else {
                assert_refused(&key, KeyErrorKind::Inconsistent, "`alg`");
            }
        }
        for name in [
            "ES512", "ES256K", "none", "RSA-OAEP", "A256GCM", "hs256", "",
        ] {
            let key = from_json(&with(&jwk, "alg", json!(name)));
            assert_refused(&key, KeyErrorKind::Unsupported, "`alg`");
        }
    }
}

#[test]
fn a_use_other_than_sig_is_refused() {
    for jwk in [
        oct(),
        rsa().public_jwk.clone(),
        ec(Curve::P256).private_jwk,
        ed().public_jwk,
    ] {
        assert!(prepare(&from_json(&with(&jwk, "use", json!("sig"))), false).is_ok());
        for other in ["enc", "Sig", "", "signature"] {
            let key = from_json(&with(&jwk, "use", json!(other)));
            assert_refused(&key, KeyErrorKind::WrongUse, "`use`");
        }
        let number = from_json(&with(&jwk, "use", json!(1)));
        assert_refused(&number, KeyErrorKind::Malformed, "`use`");
    }
}

#[test]
fn key_ops_say_whether_a_key_verifies_and_signs() {
    let (private, public) = (&rsa().private_jwk, &rsa().public_jwk);
    // Whether it can sign, or no answer where it is refused.
    for (ops, of_private, of_public, of_secret) in [
        (json!(["verify"]), Some(false), Some(false), Some(false)),
        (
            json!(["sign", "verify"]),
            Some(true),
            Some(false),
            Some(true),
        ),
        // A private key's public half verifies; a secret has none, and a public key cannot sign.
        (json!(["sign"]), Some(true), None, None),
        (
            json!(["verify", "of my own"]),
            Some(false),
            Some(false),
            Some(false),
        ),
        (
            json!(["verify", "encrypt"]),
            Some(false),
            Some(false),
            Some(false),
        ),
        (json!(["encrypt", "decrypt"]), None, None, None),
        (json!([]), None, None, None),
    ] {
        for (jwk, expected) in [
            (private, of_private),
            (public, of_public),
            (&oct(), of_secret),
        ] {
            let key = from_json(&with(jwk, "key_ops", ops.clone()));
            match expected {
                Some(can_sign) => assert_eq!(one(&key).can_sign(), can_sign, "{ops}"),
                None => assert_refused(&key, KeyErrorKind::WrongUse, "`key_ops`"),
            }
        }
    }
    let sign_only = with(private, "key_ops", json!(["sign"]));
    assert_verifies(&from_json(&sign_only), &from_json(private));
}

#[test]
fn key_ops_are_an_array_of_strings_that_all_differ() {
    for ops in [
        json!("verify"),
        json!({ "verify": true }),
        json!(null),
        json!(["verify", 1]),
        json!(["verify", null]),
        json!(["verify", ["sign"]]),
        json!(["verify", "verify"]),
        json!(["verify", "sign", "sign"]),
        json!(["verify", "x", "x"]),
    ] {
        let key = from_json(&with(&ed().public_jwk, "key_ops", ops));
        assert_refused(&key, KeyErrorKind::Malformed, "`key_ops`");
    }
}

#[test]
fn use_and_key_ops_agree() {
    let jwk = with(&ed().public_jwk, "use", json!("sig"));
    assert!(prepare(&from_json(&with(&jwk, "key_ops", json!(["verify"]))), false).is_ok());
    for other in [
        "encrypt",
        "decrypt",
        "wrapKey",
        "unwrapKey",
        "deriveKey",
        "deriveBits",
    ] {
        let key = from_json(&with(&jwk, "key_ops", json!(["verify", other])));
        assert_refused(&key, KeyErrorKind::WrongUse, "contradict");
    }
}

#[test]
fn a_kid_is_a_string_of_at_most_256_bytes() {
    let jwk = ed().public_jwk;
    for kid in [json!(7), json!(null), json!(["a"]), json!("k".repeat(257))] {
        let key = from_json(&with(&jwk, "kid", kid));
        assert_refused(&key, KeyErrorKind::Malformed, "`kid`");
    }
    let longest = "k".repeat(256);
    let key = one(&from_json(&with(&jwk, "kid", json!(longest))));
    assert_eq!(key.id().as_str(), longest);
    let empty = one(&from_json(&with(&jwk, "kid", json!(""))));
    assert!(!empty.declares_kid());
}

// Another reader of the same text may take the first value, or the last.
#[test]
fn a_member_named_twice_is_refused() {
    let jwk = with(&ed().public_jwk, "kid", json!("a")).to_string();
    for more in [
        r#""kid":"a""#,
        r#""kid":"b""#,
        r#""kty":"OKP""#,
        r#""\u006bid":"b""#,
        r#""alg":"EdDSA","alg":"EdDSA""#,
        r#""unknown":1,"unknown":1"#,
    ] {
        let text = jwk.replacen('{', &format!("{{{more},"), 1);
        for key in [
            JwtKey::from_jwk(&text),
            from_json(&json!(text)),
            serde_json::from_str(&text).unwrap(),
        ] {
            assert_refused(&key, KeyErrorKind::Malformed, "once");
        }
    }
    let set = format!(r#"{{"keys":[{jwk}],"keys":[{jwk}]}}"#);
    assert_refused(&JwtKey::from_jwk(&set), KeyErrorKind::Malformed, "once");
    let elsewhere = jwk.replacen('{', r#"{"unknown":{"a":1,"a":2},"#, 1);
    assert!(prepare(&JwtKey::from_jwk(&elsewhere), false).is_ok());
}

#[test]
fn members_that_say_nothing_here_are_passed_over_whatever_they_are() {
    let jwk = ed().public_jwk;
    let plain = one(&from_json(&jwk));
    for value in [
        json!(-1),
        json!(1.5),
        json!(7),
        json!(true),
        json!(null),
        json!([{ "a": -1 }]),
    ] {
        let key = one(&from_json(&with(&jwk, "x-more", value)));
        assert_eq!(key.identity(), plain.identity());
    }
}

#[test]
fn what_is_no_jwk_is_malformed() {
    let (p256, ed) = (&ec(Curve::P256).public_jwk, &ed().public_jwk);
    for jwk in [
        with(ed, "x", json!(7)),
        with(p256, "x", json!("not/base64url")),
        with(ed, "x", json!(format!("{}=", ed["x"].as_str().unwrap()))),
        with(ed, "x", json!(format!(" {}", ed["x"].as_str().unwrap()))),
        without(p256, "crv"),
        without(p256, "y"),
        without(ed, "x"),
        json!({ "kty": "oct" }),
        json!({ "kty": 1 }),
        json!({}),
        json!({ "keys": {} }),
    ] {
        assert_eq!(refused_kind(&jwk), KeyErrorKind::Malformed, "{jwk}");
    }
    assert_eq!(
        refused_kind(&with(p256, "kty", json!("AKP"))),
        KeyErrorKind::Unsupported
    );
    for (text, says) in [
        ("null", "names each member once"),
        ("7", "names each member once"),
        ("[]", "names each member once"),
        ("\"kty\"", "names each member once"),
        (SECRET, ""),
        ("{}", "without `kty` or `keys`"),
    ] {
        let refused = refused(&JwtKey::from_jwk(text));
        assert_eq!(refused.kind(), KeyErrorKind::Malformed);
        assert!(refused.to_string().contains(says), "{refused}");
    }
}

// Trailing bits that no encoder writes would give one key two texts.
#[test]
fn base64url_has_one_form() {
    let x = ed().public_jwk["x"].as_str().unwrap().to_owned();
    let last = x.chars().last().unwrap();
    let after = char::from(last as u8 + 1);
    let jwk = with(
        &ed().public_jwk,
        "x",
        json!(format!("{}{after}", &x[..x.len() - 1])),
    );
    assert_refused(&from_json(&jwk), KeyErrorKind::Malformed, "base64url");
}
