//! What holds for every input.

use proptest::prelude::*;

use super::*;
use crate::keyring::key::{
    Curve,
    testing::{ec, rsa},
};

fn all_kinds() -> Vec<TrustedKey> {
    vec![
        trusted(&secret(1)),
        trusted(&JwtKey::from_pem(&rsa().public_pem)),
        trusted(&from_json(&ec(Curve::P256).public_jwk)),
        trusted(&from_json(&ed().public_jwk)),
    ]
}

/// JSON text of a claim: of its own type, of a wrong one, a number in any spelling.
fn any_value() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => any::<u32>().prop_map(|n| n.to_string()),
        2 => any::<i64>().prop_map(|n| n.to_string()),
        1 => any::<u64>().prop_map(|n| n.to_string()),
        2 => (-1e12..1e12).prop_map(|n: f64| json!(n).to_string()),
        1 => any::<f64>().prop_map(|n| json!(n).to_string()),
        1 => (any::<i16>(), -30..330).prop_map(|(n, e)| format!("{n}e{e}")),
        4 => "[a-z\\PC]{0,8}".prop_map(|text| json!(text).to_string()),
        3 => proptest::collection::vec("[a-c]{0,2}", 0..3).prop_map(|names| json!(names).to_string()),
        1 => Just(r#"["a",1]"#.to_owned()),
        1 => Just(r#"{"a":["b",null]}"#.to_owned()),
        1 => Just("null".to_owned()),
        1 => any::<bool>().prop_map(|b| b.to_string()),
    ]
}

fn any_name() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "iss",
        "sub",
        "aud",
        "nbf",
        "iat",
        "jti",
        "scope",
        "client_id",
        "x",
        r"\u0073ub",
    ])
}

/// An object that mostly has an `exp`, and any other members, some of them twice.
fn any_claims() -> impl Strategy<Value = String> {
    let exp = prop_oneof![
        6 => any::<u32>().prop_map(|n| Some(n.to_string())),
        3 => any_value().prop_map(Some),
        1 => Just(None),
    ];
    let others = proptest::collection::vec((any_name(), any_value()), 0..5);
    (exp, others).prop_map(|(exp, others)| {
        let exp = exp.map(|exp| ("exp", exp));
        let members: Vec<String> = others
            .into_iter()
            .chain(exp)
            .map(|(name, value)| format!(r#""{name}":{value}"#))
            .collect();
        format!("{{{}}}", members.join(","))
    })
}

/// Why we refuse claims that serde takes: a time that no clock can show, an end before 1970, or a number,
/// wherever it is, that no double holds.
fn is_refused_by_us_alone(claims: &str) -> bool {
    let Ok(claims) = serde_json::from_str::<Value>(claims) else {
        return true;
    };
    let beyond = |name: &str| {
        let time = claims[name].as_f64();
        time.is_some_and(|time| time.abs() >= i64::MAX as f64)
    };
    let negative = claims["exp"].as_f64().is_some_and(|exp| exp < 0.0);
    negative || ["exp", "nbf", "iat"].into_iter().any(beyond)
}

fn registered(claims: &str) -> Result<RegisteredClaims, VerifyErrorKind> {
    // So that no time is the reason.
    let endless = with(|policy| policy.leeway = Duration::MAX);
    let token = token_of(&secret(1), HS256, claims);
    let keys = [trusted(&secret(1))];
    let verified = verify::<RegisteredClaims>(token.as_bytes(), &keys, &endless, at(NOW));
    let claims = verified.map_err(|error| error.kind())?.claims;
    Ok(claims.downcast_ref::<RegisteredClaims>().unwrap().clone())
}

proptest! {
    #[test]
    fn no_text_is_a_panic_or_a_token(
        text in "\\PC*",
        dotted in "[a-zA-Z0-9_=-]{0,40}\\.[a-zA-Z0-9_-]{0,40}\\.[a-zA-Z0-9_-]{0,90}",
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let keys = all_kinds();
        prop_assert!(judge(&text, &keys).is_err());
        prop_assert!(judge(&dotted, &keys).is_err());
        prop_assert!(verify::<Value>(&bytes, &keys, &policy(), at(NOW)).is_err());
    }

    #[test]
    fn no_signature_is_a_panic_or_fits(
        alg in "(HS256|RS256|ES256|EdDSA)",
        signature in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let header = json!({ "alg": alg }).to_string();
        let claims = b64(good_claims().to_string());
        let token = format!("{}.{claims}.{}", b64(header), b64(signature));
        prop_assert_eq!(judge(&token, &all_kinds()), Err(BadSignature));
    }

    #[test]
    fn no_signed_bytes_are_a_panic(
        header in proptest::collection::vec(any::<u8>(), 0..60),
        claims in proptest::collection::vec(any::<u8>(), 0..60),
    ) {
        prop_assert_eq!(judge_header(header, &policy()), Err(Malformed));
        prop_assert!(judge_claims(claims, &policy()).is_err());
    }

    #[test]
    fn no_byte_changed_in_signed_json_is_a_panic(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let changed = |json: String| {
            let mut json = json.into_bytes();
            for (place, byte) in &changes {
                let place = place.index(json.len());
                json[place] = *byte;
            }
            json
        };
        let header = changed(json!({ "alg": "HS256", "typ": "JWT", "kid": "k" }).to_string());
        let claims = changed(good_claims().to_string());
        for json in [&header, &claims] {
            let is_object = serde_json::from_slice::<serde_json::Map<String, Value>>(json).is_ok();
            if !is_object {
                prop_assert!(judge_header(json.clone(), &policy()).is_err());
                prop_assert!(judge_claims(json.clone(), &policy()).is_err());
            }
        }
        let _ = (judge_header(header, &policy()), judge_claims(claims, &policy()));
    }

    #[test]
    fn a_token_with_one_byte_changed_is_refused(at_byte in any::<prop::sample::Index>(), byte: u8) {
        let good = hs256(&secret(1), None);
        let mut token = good.clone().into_bytes();
        let place = at_byte.index(token.len());
        prop_assume!(token[place] != byte);
        token[place] = byte;
        prop_assert!(verify::<Value>(&token, &all_kinds(), &policy(), at(NOW)).is_err());
    }

    #[test]
    fn no_number_is_a_panic(exp: f64, nbf: i64, iat: i64, leeway: u64, age: u64) {
        let policy = with(|policy| {
            policy.leeway = Duration::from_secs(leeway);
            policy.max_token_age = Some(Duration::from_secs(age));
        });
        let claims = json!({ "exp": exp, "nbf": nbf, "iat": iat }).to_string();
        let verdict = judge_claims(claims, &policy);
        prop_assert!(matches!(
            verdict,
            Ok(()) | Err(Malformed | Expired | NotYetValid | TooOld)
        ));
    }

    #[test]
    fn the_default_claims_are_what_serde_reads(claims in any_claims()) {
        match (registered(&claims), serde_json::from_str::<RegisteredClaims>(&claims)) {
            (Ok(ours), Ok(theirs)) => prop_assert_eq!(ours, theirs),
            (Ok(_), Err(error)) => prop_assert!(false, "serde refuses: {}", error),
            (Err(_), Ok(_)) => prop_assert!(is_refused_by_us_alone(&claims), "only we refuse"),
            (Err(_), Err(_)) => {}
        }
    }
}

#[test]
fn prepared_keys_are_shared_between_threads() {
    fn shared<T: Send + Sync>(_: &Arc<T>) {}
    shared(&one(&secret(1)));
}
