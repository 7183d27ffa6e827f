#![allow(clippy::unwrap_used)]

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{
    keyring::{
        JwtKey, RegisteredClaims,
        key::{
            Curve,
            testing::{SECRET, b64, ec, ed, from_json, one, rsa},
        },
    },
    snapshot::Trust,
    source::{Stage, VersionId},
};

const NOW: u64 = 1_000_000;

fn at(seconds: u64) -> Now {
    Now::new(
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds),
        Duration::from_secs(seconds),
    )
}

fn policy() -> Policy {
    with(|_| ())
}

fn with(change: impl FnOnce(&mut Policy)) -> Policy {
    let mut policy = Policy::default();
    policy.change(|policy| policy.leeway = Duration::ZERO);
    policy.change(change);
    policy
}

fn trusted(key: &JwtKey) -> TrustedKey {
    TrustedKey {
        key: one(key),
        stage: Stage::Current,
        version: VersionId::new("v"),
        trust: Trust::open(),
    }
}

fn secret(n: u8) -> JwtKey {
    JwtKey::from_secret([n; 32])
}

fn named(n: u8, kid: &str) -> JwtKey {
    from_json(&json!({ "kty": "oct", "k": b64([n; 32]), "kid": kid }))
}

fn judge(token: &str, keys: &[TrustedKey]) -> Result<usize, VerifyErrorKind> {
    judge_with(token, keys, &policy(), at(NOW))
}

fn judge_with(
    token: &str,
    keys: &[TrustedKey],
    policy: &Policy,
    now: Now,
) -> Result<usize, VerifyErrorKind> {
    verify::<Value>(token.as_bytes(), keys, policy, now)
        .map(|verified| verified.key)
        .map_err(|error| error.kind())
}

fn good_claims() -> Value {
    json!({ "sub": "s", "exp": NOW + 60 })
}

/// A token with a header of the test's choice, signed by the key whatever the header says.
fn token(key: &JwtKey, header: &Value, claims: &Value) -> String {
    token_of_bytes(
        key,
        header.to_string().as_bytes(),
        claims.to_string().as_bytes(),
    )
}

fn token_of_bytes(key: &JwtKey, header: &[u8], claims: &[u8]) -> String {
    let input = format!("{}.{}", b64(header), b64(claims));
    let signature = one(key).sign(input.as_bytes()).unwrap();
    format!("{input}.{}", b64(signature))
}

fn hs256(key: &JwtKey, kid: Option<&str>) -> String {
    let header = match kid {
        Some(kid) => json!({ "alg": "HS256", "kid": kid }),
        None => json!({ "alg": "HS256" }),
    };
    token(key, &header, &good_claims())
}

fn with_claims(claims: &Value) -> String {
    token(&secret(1), &json!({ "alg": "HS256" }), claims)
}

fn judge_claims(claims: &Value, policy: &Policy) -> Result<(), VerifyErrorKind> {
    let keys = [trusted(&secret(1))];
    judge_with(&with_claims(claims), &keys, policy, at(NOW)).map(|_| ())
}

#[test]
fn what_a_key_mints_it_verifies() {
    let claims = RegisteredClaims::new("s").expires_at(at(NOW + 60).wall);
    let pss = {
        let mut jwk = rsa().private_jwk.clone();
        jwk["alg"] = json!("PS512");
        jwk
    };
    for (private, public) in [
        (JwtKey::from_secret(SECRET), JwtKey::from_secret(SECRET)),
        (
            JwtKey::from_pem(&rsa().private_pem),
            JwtKey::from_pem(&rsa().public_pem),
        ),
        (from_json(&pss), from_json(&pss)),
        {
            let key = ec(Curve::P256);
            (from_json(&key.private_jwk), from_json(&key.public_jwk))
        },
        {
            let key = ec(Curve::P384);
            (
                JwtKey::from_pem(&key.private_pem),
                from_json(&key.public_jwk),
            )
        },
        {
            let key = ed();
            (
                from_json(&key.private_jwk),
                JwtKey::from_pem(&key.public_pem),
            )
        },
    ] {
        let token = one(&private).mint(&claims).unwrap();
        let keys = [trusted(&secret(1)), trusted(&public)];
        let verified =
            verify::<RegisteredClaims>(token.as_bytes(), &keys, &policy(), at(NOW)).unwrap();
        assert_eq!(verified.key, 1);
        assert_eq!(verified.claims.downcast_ref(), Some(&claims));
        assert_eq!(
            judge(&tampered(&token), &keys),
            Err(VerifyErrorKind::BadSignature)
        );
    }
}

/// Other claims under the old signature.
fn tampered(token: &str) -> String {
    let parts: Vec<&str> = token.split('.').collect();
    let claims = json!({ "sub": "root", "exp": NOW + 60 }).to_string();
    format!("{}.{}.{}", parts[0], b64(claims), parts[2])
}

#[test]
fn a_kid_that_a_key_answers_to_selects_that_key_alone() {
    let keys = [trusted(&secret(1)), trusted(&named(2, "two"))];
    assert_eq!(judge(&hs256(&secret(2), Some("two")), &keys), Ok(1));
    // The first key would fit, and is not asked.
    assert_eq!(
        judge(&hs256(&secret(1), Some("two")), &keys),
        Err(VerifyErrorKind::BadSignature)
    );
    let computed = one(&secret(2)).id().to_string();
    assert_eq!(judge(&hs256(&secret(2), Some(&computed)), &keys), Ok(1));
}

#[test]
fn all_keys_of_one_name_are_tried() {
    let keys = [trusted(&named(1, "k")), trusted(&named(2, "k"))];
    assert_eq!(judge(&hs256(&secret(2), Some("k")), &keys), Ok(1));
}

#[test]
fn an_unknown_kid_leaves_the_keys_without_a_declared_one() {
    let keys = [trusted(&named(1, "one")), trusted(&secret(2))];
    assert_eq!(judge(&hs256(&secret(2), Some("elsewhere")), &keys), Ok(1));
    assert_eq!(
        judge(&hs256(&secret(1), Some("elsewhere")), &keys),
        Err(VerifyErrorKind::BadSignature)
    );
    assert_eq!(
        judge(&hs256(&secret(1), Some("elsewhere")), &keys[..1]),
        Err(VerifyErrorKind::UnknownKey)
    );
}

#[test]
fn a_token_without_kid_is_tried_with_every_key_of_its_algorithm() {
    let keys = [
        trusted(&JwtKey::from_pem(&ed().public_pem)),
        trusted(&named(1, "one")),
        trusted(&secret(2)),
    ];
    assert_eq!(judge(&hs256(&secret(1), None), &keys), Ok(1));
    assert_eq!(judge(&hs256(&secret(2), None), &keys), Ok(2));
    assert_eq!(
        judge(&hs256(&secret(3), None), &keys),
        Err(VerifyErrorKind::BadSignature)
    );
    assert_eq!(
        judge(&hs256(&secret(3), None), &keys[..1]),
        Err(VerifyErrorKind::UnknownKey)
    );
    assert_eq!(
        judge(&hs256(&secret(3), None), &[]),
        Err(VerifyErrorKind::UnknownKey)
    );
}

#[test]
fn a_token_costs_at_most_eight_signatures() {
    let keys: Vec<TrustedKey> = (0..9).map(|n| trusted(&secret(n))).collect();
    assert_eq!(judge(&hs256(&secret(7), None), &keys), Ok(7));
    assert_eq!(
        judge(&hs256(&secret(8), None), &keys),
        Err(VerifyErrorKind::BadSignature)
    );
    let ninth = one(&secret(8)).id().to_string();
    assert_eq!(judge(&hs256(&secret(8), Some(&ninth)), &keys), Ok(8));
}

#[test]
fn an_ended_key_is_not_asked() {
    let keys = [trusted(&secret(1)), trusted(&secret(2))];
    keys[0].trust.end_after(at(NOW), Duration::from_secs(10));
    let token = hs256(&secret(1), None);
    let judge_at = |seconds| judge_with(&token, &keys, &policy(), at(seconds));
    assert_eq!(judge_at(NOW + 9), Ok(0));
    assert_eq!(judge_at(NOW + 10), Err(VerifyErrorKind::BadSignature));

    let token = hs256(&secret(2), Some(one(&secret(2)).id().as_str()));
    keys[1].trust.revoke();
    assert_eq!(
        judge_with(&token, &keys, &policy(), at(NOW + 10)),
        Err(VerifyErrorKind::UnknownKey)
    );
}

#[test]
fn once_a_signature_fits_its_claims_decide() {
    let keys = [trusted(&secret(1)), trusted(&secret(2))];
    let token = token(&secret(2), &json!({ "alg": "HS256" }), &json!({ "exp": 1 }));
    assert_eq!(judge(&token, &keys), Err(VerifyErrorKind::Expired));
}

#[test]
fn a_public_key_is_no_secret() {
    let forms = rsa();
    let keys = [trusted(&JwtKey::from_pem(&forms.public_pem))];
    let id = keys[0].key.id().to_string();
    // The attacker's tool does not refuse what JwtKey refuses.
    for secret in [forms.public_pem.as_str(), forms.public_pem.trim()] {
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret.as_bytes());
        let forge = |header: Value| {
            let input = format!(
                "{}.{}",
                b64(header.to_string()),
                b64(good_claims().to_string())
            );
            let tag = aws_lc_rs::hmac::sign(&key, input.as_bytes());
            format!("{input}.{}", b64(tag))
        };
        assert_eq!(
            judge(&forge(json!({ "alg": "HS256" })), &keys),
            Err(VerifyErrorKind::UnknownKey)
        );
        assert_eq!(
            judge(&forge(json!({ "alg": "HS256", "kid": id })), &keys),
            Err(VerifyErrorKind::Unsupported)
        );
        assert_eq!(
            judge(&forge(json!({ "alg": "RS256" })), &keys),
            Err(VerifyErrorKind::BadSignature)
        );
    }
}

#[test]
fn a_key_has_one_algorithm() {
    let key = from_json(&rsa().private_jwk);
    let mut rs512 = rsa().private_jwk.clone();
    rs512["alg"] = json!("RS512");
    let token = token(
        &from_json(&rs512),
        &json!({ "alg": "RS512" }),
        &good_claims(),
    );
    assert_eq!(
        judge(&token, &[trusted(&key)]),
        Err(VerifyErrorKind::UnknownKey)
    );
    assert_eq!(
        judge(&token, &[trusted(&key), trusted(&from_json(&rs512))]),
        Ok(1)
    );
}

#[test]
fn what_the_header_may_not_say() {
    use VerifyErrorKind::{Malformed, Unsupported};
    let keys = [trusted(&secret(1))];
    for (header, kind) in [
        (r#"{"alg":"none"}"#, Unsupported),
        (r#"{"alg":"None"}"#, Unsupported),
        (r#"{"alg":"hs256"}"#, Unsupported),
        (r#"{"alg":"HS256","crit":["exp"]}"#, Unsupported),
        (r#"{"alg":"HS256","crit":null}"#, Unsupported),
        (r#"{"alg":"HS256","alg":"HS256"}"#, Malformed),
        (r#"{"alg":"HS256","kid":1}"#, Malformed),
        (r#"{"alg":1}"#, Malformed),
        (r#"{}"#, Malformed),
        (r#"["HS256"]"#, Malformed),
        (r#""HS256""#, Malformed),
        (r#"{"alg":"HS256"} x"#, Malformed),
        ("", Malformed),
    ] {
        let token = token_of_bytes(
            &secret(1),
            header.as_bytes(),
            good_claims().to_string().as_bytes(),
        );
        assert_eq!(judge(&token, &keys), Err(kind), "{header}");
    }
    let unsigned = format!(
        "{}.{}.",
        b64(r#"{"alg":"none"}"#),
        b64(good_claims().to_string())
    );
    assert_eq!(judge(&unsigned, &keys), Err(Unsupported));
}

#[test]
fn malformed_tokens() {
    let keys = [trusted(&secret(1))];
    let good = hs256(&secret(1), None);
    assert_eq!(judge(&good, &keys), Ok(0));
    let parts: Vec<&str> = good.split('.').collect();
    for token in [
        String::new(),
        "..".to_owned(),
        parts[..2].join("."),
        format!("{good}."),
        format!("{good}.x.y"),
        format!("{good}="),
        format!(" {good}"),
        format!("{good}\n"),
        token_of_bytes(&secret(1), br#"{"alg":"HS256"}"#, b"[]"),
        token_of_bytes(&secret(1), br#"{"alg":"HS256"}"#, b"{"),
        token_of_bytes(&secret(1), br#"{"alg":"HS256"}"#, b"\xff"),
    ] {
        assert_eq!(
            judge(&token, &keys),
            Err(VerifyErrorKind::Malformed),
            "{token}"
        );
    }
    let no_signature = format!("{}.{}.", parts[0], parts[1]);
    assert_eq!(
        judge(&no_signature, &keys),
        Err(VerifyErrorKind::BadSignature)
    );
    let short = with(|policy| policy.max_token_bytes = good.len() - 1);
    assert_eq!(
        judge_with(&good, &keys, &short, at(NOW)),
        Err(VerifyErrorKind::TooLong)
    );
}

#[test]
fn times_end_and_begin_on_the_second() {
    use VerifyErrorKind::{Expired, Malformed, MissingClaim, NotYetValid};
    let strict = policy();
    let lenient = with(|policy| policy.leeway = Duration::from_secs(30));
    let later = NOW + 60;
    for (claims, with_none, with_30) in [
        (json!({ "exp": NOW + 1 }), Ok(()), Ok(())),
        (json!({ "exp": NOW }), Err(Expired), Ok(())),
        (json!({ "exp": NOW - 29 }), Err(Expired), Ok(())),
        (json!({ "exp": NOW - 30 }), Err(Expired), Err(Expired)),
        (json!({ "exp": NOW as f64 + 0.5 }), Ok(()), Ok(())),
        (json!({ "exp": NOW as f64 - 0.5 }), Err(Expired), Ok(())),
        (json!({ "exp": u64::MAX }), Err(Malformed), Err(Malformed)),
        (json!({ "exp": f64::MAX }), Err(Malformed), Err(Malformed)),
        (json!({ "exp": f64::MIN }), Err(Malformed), Err(Malformed)),
        (json!({ "exp": i64::MIN }), Err(Malformed), Err(Malformed)),
        (
            json!({ "exp": later.to_string() }),
            Err(Malformed),
            Err(Malformed),
        ),
        (json!({ "exp": null }), Err(Malformed), Err(Malformed)),
        (json!({}), Err(MissingClaim), Err(MissingClaim)),
        (json!({ "exp": later, "nbf": NOW }), Ok(()), Ok(())),
        (
            json!({ "exp": later, "nbf": NOW + 1 }),
            Err(NotYetValid),
            Ok(()),
        ),
        (
            json!({ "exp": later, "nbf": NOW + 30 }),
            Err(NotYetValid),
            Ok(()),
        ),
        (
            json!({ "exp": later, "nbf": NOW + 31 }),
            Err(NotYetValid),
            Err(NotYetValid),
        ),
        (
            json!({ "exp": later, "nbf": f64::MAX }),
            Err(Malformed),
            Err(Malformed),
        ),
        (
            json!({ "exp": later, "nbf": f64::MIN }),
            Err(Malformed),
            Err(Malformed),
        ),
        (json!({ "exp": later, "nbf": -1 }), Ok(()), Ok(())),
        (
            json!({ "exp": later, "nbf": "0" }),
            Err(Malformed),
            Err(Malformed),
        ),
    ] {
        assert_eq!(judge_claims(&claims, &strict), with_none, "{claims}");
        assert_eq!(judge_claims(&claims, &lenient), with_30, "{claims}");
    }
    let endless = with(|policy| policy.leeway = Duration::MAX);
    assert_eq!(
        judge_claims(&json!({ "exp": 1, "nbf": i64::MAX }), &endless),
        Ok(())
    );
}

#[test]
fn a_clock_before_the_epoch_is_no_panic() {
    let before = Now::new(
        SystemTime::UNIX_EPOCH - Duration::from_secs(5),
        Duration::ZERO,
    );
    let keys = [trusted(&secret(1))];
    let judge = |claims: Value| judge_with(&with_claims(&claims), &keys, &policy(), before);
    assert_eq!(judge(json!({ "exp": 0 })), Ok(0));
    assert_eq!(
        judge(json!({ "exp": 0, "nbf": 0 })),
        Err(VerifyErrorKind::NotYetValid)
    );
}

#[test]
fn issuer_and_audience_are_required_where_configured() {
    use VerifyErrorKind::{Malformed, MissingClaim, WrongAudience, WrongIssuer};
    let policy = with(|policy| {
        policy.issuers = vec!["i".to_owned(), "j".to_owned()];
        policy.audiences = vec!["a".to_owned(), "b".to_owned()];
    });
    for (iss, aud, expected) in [
        (json!("i"), json!("a"), Ok(())),
        (json!("j"), json!(["x", "b"]), Ok(())),
        (json!("I"), json!("a"), Err(WrongIssuer)),
        (json!(["i"]), json!("a"), Err(Malformed)),
        (json!("i"), json!("x"), Err(WrongAudience)),
        (json!("i"), json!([]), Err(WrongAudience)),
        (json!("i"), json!(["a", 1]), Err(Malformed)),
        (json!("i"), json!({ "a": 1 }), Err(Malformed)),
        (json!("i"), json!(null), Err(Malformed)),
    ] {
        let claims = json!({ "exp": NOW + 60, "iss": iss, "aud": aud });
        assert_eq!(judge_claims(&claims, &policy), expected, "{claims}");
    }
    for claims in [
        json!({ "exp": NOW + 60, "iss": "i" }),
        json!({ "exp": NOW + 60, "aud": "a" }),
    ] {
        assert_eq!(judge_claims(&claims, &policy), Err(MissingClaim));
    }
}

#[test]
fn claims_of_another_shape_are_wrong_claims() {
    let token = with_claims(&json!({ "exp": NOW + 60, "jti": ["Pr1vate"] }));
    let keys = [trusted(&secret(1))];
    let error =
        verify::<RegisteredClaims>(token.as_bytes(), &keys, &policy(), at(NOW)).unwrap_err();
    assert_eq!(error.kind(), VerifyErrorKind::WrongClaims);
    assert!(!format!("{error} {error:?}").contains("Pr1vate"));
}

// RFC 6750, section 3: the characters that an error_description may hold.
#[test]
fn descriptions_fit_into_a_challenge() {
    use VerifyErrorKind::*;
    for kind in [
        Malformed,
        Unsupported,
        UnknownKey,
        BadSignature,
        Expired,
        NotYetValid,
        MissingClaim,
        WrongIssuer,
        WrongAudience,
        WrongClaims,
    ] {
        let error = VerifyError::from(kind);
        assert!(
            error
                .description()
                .bytes()
                .all(|b| matches!(b, 0x20..=0x21 | 0x23..=0x5b | 0x5d..=0x7e))
        );
        assert_eq!(error.to_string(), error.description());
    }
}

fn all_kinds() -> Vec<TrustedKey> {
    vec![
        trusted(&secret(1)),
        trusted(&JwtKey::from_pem(&rsa().public_pem)),
        trusted(&from_json(&ec(Curve::P256).public_jwk)),
        trusted(&from_json(&ed().public_jwk)),
    ]
}

proptest! {
    #[test]
    fn no_text_is_a_panic_or_a_token(text in "\\PC*", dotted in "[a-zA-Z0-9_=-]{0,40}\\.[a-zA-Z0-9_-]{0,40}\\.[a-zA-Z0-9_-]{0,90}") {
        let keys = all_kinds();
        prop_assert!(judge(&text, &keys).is_err());
        prop_assert!(judge(&dotted, &keys).is_err());
    }

    #[test]
    fn no_signature_is_a_panic_or_fits(
        alg in "(HS256|RS256|ES256|EdDSA)",
        signature in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let header = json!({ "alg": alg }).to_string();
        let token = format!("{}.{}.{}", b64(header), b64(good_claims().to_string()), b64(signature));
        prop_assert_eq!(judge(&token, &all_kinds()), Err(VerifyErrorKind::BadSignature));
    }

    #[test]
    fn no_number_is_a_panic(exp in any::<f64>(), nbf in any::<i64>(), leeway in any::<u64>()) {
        let policy = with(|policy| policy.leeway = Duration::from_secs(leeway));
        let _ = judge_claims(&json!({ "exp": exp, "nbf": nbf }), &policy);
    }
}

#[test]
fn prepared_keys_are_shared_between_threads() {
    fn shared<T: Send + Sync>(_: &Arc<T>) {}
    shared(&one(&secret(1)));
}
