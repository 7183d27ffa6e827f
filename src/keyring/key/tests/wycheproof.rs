//! The keys of Project Wycheproof: `json_web_key_test.json`, and those of
//! `json_web_crypto_test.json`. They are not copied here; `WYCHEPROOF_DIR` names their folder.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use super::*;

const KEYS: &str = "json_web_key_test.json";
const CRYPTO: &str = "json_web_crypto_test.json";

/// Vectors that are decided otherwise here, and why.
const SKIPPED: [(&str, u64, &str); 3] = [
    (
        KEYS,
        1,
        "flagged Ambiguous: a set may hold keys of several types, each for its own algorithm",
    ),
    (CRYPTO, 47, "the same vector again"),
    (
        KEYS,
        4,
        "flagged Ambiguous: keys with one kid are both tried",
    ),
];

#[test]
fn keys_are_taken_or_refused_as_wycheproof_says() {
    for (file, count) in [(KEYS, 26), (CRYPTO, 83)] {
        let Some(vectors) = testing::wycheproof(file) else {
            continue;
        };
        let groups = vectors["testGroups"].as_array().unwrap();
        let skipped: usize = groups.iter().map(|group| check_group(file, group)).sum();
        assert_eq!(vectors["numberOfTests"], count);
        assert_eq!(
            skipped,
            SKIPPED.iter().filter(|(of, ..)| *of == file).count()
        );
        println!("{file}: {count} vectors, {skipped} skipped");
    }
}

/// Returns how many vectors were skipped.
fn check_group(file: &str, group: &Value) -> usize {
    // A verifier holds the public half where there is one.
    let document = group.get("public").unwrap_or(&group["private"]);
    let keys = prepare(&from_json(document), false);
    let mut skipped = 0;
    for test in group["tests"].as_array().unwrap() {
        let id = test["tcId"].as_u64().unwrap();
        if SKIPPED
            .iter()
            .any(|(of, vector, _)| *of == file && *vector == id)
        {
            skipped += 1;
            continue;
        }
        // What is for encryption is no key here, whatever the vector does with it.
        let valid = test["result"] == "valid" && test.get("jwe").is_none();
        let token = test["jws"].as_str().unwrap_or_default();
        let accepted = keys.as_ref().is_ok_and(|keys| accepts(&keys.keys, token));
        assert_eq!(accepted, valid, "{file} {id}: {:?}", keys.as_ref().err());
        if is_about_the_key(test) {
            assert_eq!(keys.is_ok(), valid, "{file} {id}");
        }
    }
    skipped
}

/// Whether an invalid vector is so because of its key. In the others the token is.
fn is_about_the_key(test: &Value) -> bool {
    let about_the_key = [
        "acceptsValid",
        "rejectsWrongUse",
        "rejectsKeyWithRocaVulnerability",
        "rejects1024bitRsaKey",
        "rejectsPublicExponent1",
        "key_too_short",
        "long_key",
        "empty_key",
        "mismatchedAlgAndCurve",
        "rejectsModifiedKey",
        "rejectsAesKey",
    ];
    about_the_key
        .iter()
        .any(|comment| test["comment"] == *comment)
}

/// The signature alone: these payloads are no claims.
fn accepts(keys: &[Arc<PreparedKey>], token: &str) -> bool {
    let parts: Vec<&str> = token.split('.').collect();
    let &[header, payload, signature] = parts.as_slice() else {
        return false;
    };
    let Ok(json) = URL_SAFE_NO_PAD.decode(header) else {
        return false;
    };
    let (Ok(header), Ok(signature)) = (
        serde_json::from_slice::<Value>(&json),
        URL_SAFE_NO_PAD.decode(signature),
    ) else {
        return false;
    };
    let input = &token[..token.len() - 1 - parts[2].len()];
    assert!(input.ends_with(payload));
    keys.iter()
        .filter(|key| header["alg"] == key.algorithm())
        .filter(|key| {
            header["kid"]
                .as_str()
                .is_some_and(|kid| key.answers_to(kid))
        })
        .any(|key| key.verifies(input.as_bytes(), &signature))
}
