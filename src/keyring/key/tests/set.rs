//! Sets of keys.

use super::{
    super::testing::{b64, ec, ed, rsa},
    *,
};

fn set(keys: &[Value]) -> JwtKey {
    from_json(&json!({ "keys": keys }))
}

#[test]
fn a_bad_key_of_a_set_is_skipped_and_named() {
    let good = with(&ed().public_jwk, "kid", json!("good"));
    let keys = [
        json!({ "kty": "AKP", "kid": "new\nkind" }),
        good.clone(),
        json!("no object"),
        good,
        with(&rsa().public_jwk, "use", json!("enc")),
    ];
    let prepared = prepare(&set(&keys), false).unwrap();
    assert_eq!(prepared.keys.len(), 1);
    assert_eq!(prepared.keys[0].id().as_str(), "good");
    let texts: Vec<String> = prepared.skipped.iter().map(ToString::to_string).collect();
    assert_eq!(texts.len(), 3);
    assert!(texts[0].starts_with(r#"key 0 of the set, kid "new\nkind": "#));
    assert!(texts[1].starts_with("key 2 of the set: "));
    assert!(texts[2].starts_with("key 4 of the set: "));
}

#[test]
fn any_bad_key_of_a_set_leaves_the_rest_in_use() {
    let (p256, ed25519) = (&ec(Curve::P256), &ed());
    let bad = [
        with(&ed25519.public_jwk, "kid", json!(7)),
        json!({ "kty": "unheard of" }),
        with(&rsa().public_jwk, "use", json!("enc")),
        with(&rsa().public_jwk, "key_ops", json!(["sign"])),
        with(&rsa().public_jwk, "alg", json!("ES256")),
        with(&rsa().public_jwk, "n", json!(b64([0xab; 128]))),
        with(&rsa().public_jwk, "e", json!("Aw")),
        with(&p256.public_jwk, "crv", json!("secp256k1")),
        with(&p256.public_jwk, "y", p256.public_jwk["x"].clone()),
        with(&p256.public_jwk, "x", json!("AA")),
        with(&ed25519.public_jwk, "crv", json!("X25519")),
        with(&ed25519.public_jwk, "x", json!(b64([0; 32]))),
        json!({ "kty": "oct", "k": b64([7; 31]) }),
        json!({ "kty": "oct", "k": b64(&rsa().public_pem) }),
    ];
    for bad in bad {
        let keys = [
            rsa().public_jwk.clone(),
            bad.clone(),
            ed25519.public_jwk.clone(),
        ];
        let prepared = prepare(&set(&keys), false).unwrap();
        let names: Vec<&str> = prepared.keys.iter().map(|key| key.algorithm()).collect();
        assert_eq!(names, ["RS256", "EdDSA"], "{bad}");
        assert_eq!(prepared.skipped.len(), 1, "{bad}");
    }
}

#[test]
fn a_key_that_names_a_member_twice_is_skipped() {
    let good = ed().public_jwk;
    let twice = good
        .to_string()
        .replacen('{', r#"{"kid":"a","kid":"b","#, 1);
    let text = format!(r#"{{"keys":[{twice},{good}]}}"#);
    for key in [JwtKey::from_jwk(&text), from_json(&json!(text))] {
        let prepared = prepare(&key, false).unwrap();
        assert_eq!((prepared.keys.len(), prepared.skipped.len()), (1, 1));
        assert!(!prepared.keys[0].declares_kid());
    }
}

#[test]
fn two_keys_with_one_kid_both_stay() {
    let pairs = [ed(), ed()];
    let keys = pairs
        .each_ref()
        .map(|pair| with(&pair.public_jwk, "kid", json!("same")));
    let prepared = prepare(&set(&keys), false).unwrap();
    assert_eq!((prepared.keys.len(), prepared.skipped.len()), (2, 0));
    for (key, pair) in prepared.keys.iter().zip(&pairs) {
        assert!(key.answers_to("same"));
        let signature = testing::one(&from_json(&pair.private_jwk))
            .sign(INPUT)
            .unwrap();
        assert!(key.verifies(INPUT, &signature));
    }
}

#[test]
fn a_set_without_a_usable_key_is_refused() {
    for keys in [&[][..], &[json!({ "kty": "AKP" })]] {
        assert_eq!(refused(&set(keys)).kind(), KeyErrorKind::Empty);
    }
}

#[test]
fn a_set_is_read_up_to_a_limit() {
    let keys: Vec<Value> = (0..150)
        .map(|n| json!({ "kty": "oct", "k": b64([n; 32]) }))
        .collect();
    for (keys, skipped) in [(&keys[..], 1), (&keys[..100], 0)] {
        let prepared = prepare(&set(keys), false).unwrap();
        let counts = (prepared.keys.len(), prepared.skipped.len());
        assert_eq!(counts, (100, skipped));
    }
}
