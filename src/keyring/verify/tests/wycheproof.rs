//! The JOSE vectors of Project Wycheproof. They are not part of this repository: the test reads them
//! from the folder that `WYCHEPROOF_DIR` names.

use std::collections::BTreeMap;

use super::*;
use crate::keyring::key::{prepare, testing::wycheproof};

/// Each vector whose label is not our verdict, with the reason.
const SIGNATURE_EXCEPTIONS: &[(u64, &str)] = &[
    (
        346,
        "RFC 7520, figure 20, is a PS384 token; the group's key says PS256",
    ),
    (
        347,
        "ES512 is not supported, and the group's key says ES521",
    ),
    (
        350,
        "RFC 7520, figure 20, is a PS384 token; the group's key says PS256",
    ),
    (
        351,
        "ES512 is not supported, and the group's key says ES521",
    ),
    (367, "labelled invalid, and equal to the valid 357"),
    (370, "labelled invalid, and equal to the valid 357"),
    (372, "labelled valid, with a question mark in the header"),
    (373, "labelled valid, with a question mark in the payload"),
];

const CRYPTO_EXCEPTIONS: &[(u64, &str)] = &[(
    47,
    "a set may mix key types: each key has one algorithm, so none is taken for another",
)];

#[test]
fn every_vector_gets_its_label() {
    for (file, exceptions, at_least) in [
        ("json_web_signature_test.json", SIGNATURE_EXCEPTIONS, 401),
        ("json_web_crypto_test.json", CRYPTO_EXCEPTIONS, 49),
    ] {
        let Some(vectors) = wycheproof(file) else {
            continue;
        };
        let run = check(&vectors, exceptions);
        println!(
            "{file}: {run} vectors, {} of them exceptions",
            exceptions.len()
        );
        assert!(run >= at_least, "{file}: only {run} vectors");
    }
}

/// How many vectors were run.
fn check(document: &Value, exceptions: &[(u64, &str)]) -> usize {
    let mut exceptions: BTreeMap<u64, &str> = exceptions.iter().copied().collect();
    let mut run = 0;
    for group in document["testGroups"].as_array().unwrap() {
        // A group of JWE has tests of another form.
        let tests = group["tests"].as_array().unwrap().iter();
        for test in tests.filter(|test| test.get("jws").is_some()) {
            run += 1;
            let id = test["tcId"].as_u64().unwrap();
            let expected = test["result"] == "valid";
            let agrees = accepts(group, &test["jws"]) == expected;
            let excepted = exceptions.remove(&id).is_some();
            assert_ne!(agrees, excepted, "vector {id}, {}", test["comment"]);
        }
    }
    assert!(exceptions.is_empty(), "no such vectors: {exceptions:?}");
    run
}

fn accepts(group: &Value, jws: &Value) -> bool {
    let jwk = group.get("public").unwrap_or(&group["private"]);
    let Ok(prepared) = prepare(&from_json(jwk), false) else {
        return false;
    };
    let held = |key| TrustedKey {
        key,
        stage: Stage::Current,
        version: VersionId::new("v"),
        trust: Trust::open(),
        other_names: Arc::default(),
        signs_from: Duration::ZERO,
    };
    let keys: Vec<TrustedKey> = prepared.keys.into_iter().map(held).collect();
    // The JSON serialisation is an object here.
    let token = jws.as_str().map_or_else(|| jws.to_string(), str::to_owned);
    let Ok((compact, _)) = authenticate(token.as_bytes(), &keys, &policy(), at(NOW)) else {
        return false;
    };
    // The payloads are no claims, so all that can be asked of them is their base64url.
    compact.payload(&mut Buffer::<CLAIMS_BYTES>::new()).is_ok()
}
