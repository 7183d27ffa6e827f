//! For what and by whom a token was made, and whether a key that is not known yet may be its own.

use super::*;

fn accepting(accepted_use: AcceptedUse) -> Policy {
    with(|policy| policy.accepted_use = accepted_use)
}

#[test]
fn marks_of_an_id_token() {
    let by_default = policy();
    let access = accepting(AcceptedUse::Access);
    let any = accepting(AcceptedUse::Any);
    for (claims, default, access_only) in [
        ("", Ok(()), Ok(())),
        (r#","typ":"Bearer""#, Ok(()), Ok(())),
        (r#","typ":"anything else""#, Ok(()), Ok(())),
        (r#","typ":1"#, Ok(()), Ok(())),
        (r#","nonce":"n""#, Ok(()), Err(WrongUse)),
        (r#","nonce":"n","typ":"Bearer""#, Ok(()), Ok(())),
        (r#","events":{}"#, Ok(()), Err(WrongUse)),
        (r#","events":{},"typ":"Bearer""#, Ok(()), Err(WrongUse)),
        (r#","at_hash":"h""#, Err(WrongUse), Err(WrongUse)),
        (r#","c_hash":"h""#, Err(WrongUse), Err(WrongUse)),
        (
            r#","at_hash":"h","typ":"Bearer""#,
            Err(WrongUse),
            Err(WrongUse),
        ),
        (r#","typ":"ID""#, Err(WrongUse), Err(WrongUse)),
        (r#","typ":"Refresh""#, Err(WrongUse), Err(WrongUse)),
        (r#","typ":"Offline""#, Err(WrongUse), Err(WrongUse)),
        (r#","typ":"Logout""#, Err(WrongUse), Err(WrongUse)),
    ] {
        let claims = format!(r#"{{"exp":1000060{claims}}}"#);
        assert_eq!(judge_claims(&claims, &by_default), default, "{claims}");
        assert_eq!(judge_claims(&claims, &access), access_only, "{claims}");
        assert_eq!(judge_claims(&claims, &any), Ok(()), "{claims}");
    }
}

#[test]
fn a_claim_may_be_required_with_its_text() {
    let policy = with(|policy| {
        let claim = ("token_use".to_owned(), "access".to_owned());
        policy.required_claims.push(claim);
    });
    for (value, expected) in [
        (r#","token_use":"access""#, Ok(())),
        (r#","token_use":"acc\u0065ss""#, Ok(())),
        (r#","token\u005fuse":"access""#, Ok(())),
        (r#","token_use":"id""#, Err(WrongUse)),
        (r#","token_use":["access"]"#, Err(WrongUse)),
        (r#","x":{"token_use":"access"}"#, Err(WrongUse)),
        (r#","token_use":"access","token_use":"id""#, Err(Malformed)),
        ("", Err(WrongUse)),
    ] {
        let claims = format!(r#"{{"exp":1000060{value}}}"#);
        assert_eq!(judge_claims(&claims, &policy), expected, "{claims}");
    }
}

#[test]
fn the_audience_may_be_in_another_claim() {
    let policy = with(|policy| {
        policy.audiences = vec!["ours".to_owned()];
        policy.audience_claim = Some("client_id".to_owned());
    });
    for (value, expected) in [
        (r#","client_id":"ours""#, Ok(())),
        (r#","client_id":"ours","aud":"x""#, Ok(())),
        (r#","client_id":"x","aud":"ours""#, Err(WrongAudience)),
        (r#","aud":"ours""#, Err(MissingClaim)),
        (r#","client_id":1"#, Err(Malformed)),
    ] {
        let claims = format!(r#"{{"exp":1000060{value}}}"#);
        assert_eq!(judge_claims(&claims, &policy), expected, "{claims}");
    }
}

#[test]
fn what_a_token_says_of_its_issuer() {
    let claimed =
        |claims: &str| claimed_issuer(token_of(&secret(1), HS256, claims).as_bytes(), 1_000);
    assert_eq!(claimed(r#"{"iss":"i","x":[1,{}]}"#), Ok("i".to_owned()));
    assert_eq!(claimed("{}"), Err(MissingClaim));
    for bad in [
        r#"{"iss":1}"#,
        r#"{"iss":null}"#,
        r#"{"iss":"a","iss":"b"}"#,
        "[]",
        "x",
    ] {
        assert_eq!(claimed(bad), Err(Malformed), "{bad}");
    }
    assert_eq!(claimed_issuer(&[b'x'; 1_001], 1_000), Err(TooLong));
    assert_eq!(claimed_issuer(b"a.b", 1_000), Err(Malformed));
}

#[test]
fn only_what_is_good_but_for_its_key_may_be_of_a_new_one() {
    let keys = [trusted(&named(1, "old")), trusted(&secret(2))];
    let policy = with(|policy| policy.audiences = vec!["a".to_owned()]);
    let good = r#"{"exp":1000060,"aud":"a"}"#;
    let of = |header: &str, claims: &str| token_of(&secret(3), header, claims);
    let may = |token: &str, bad_signatures| {
        let revoked = [KeyId::new("revoked")];
        let known = KnownKeys {
            keys: &keys,
            revoked: &revoked,
        };
        may_be_of_new_key(token.as_bytes(), known, &policy, at(NOW), bad_signatures)
    };
    let revoked = of(r#"{"alg":"HS256","kid":"revoked"}"#, good);
    assert!(!may(&revoked, false) && !may(&revoked, true));
    for header in [
        r#"{"alg":"HS256","kid":"new"}"#,
        r#"{"alg":"ES256","kid":"new"}"#,
        r#"{"alg":"HS256"}"#,
    ] {
        assert!(may(&of(header, good), false), "{header}");
        for claims in [
            r#"{"exp":1,"aud":"a"}"#,
            r#"{"exp":1000060,"aud":"b"}"#,
            r#"{"exp":1000060}"#,
            r#"{"exp":1000060,"aud":"a","at_hash":"h"}"#,
            "x",
        ] {
            assert!(!may(&of(header, claims), true), "{claims}");
        }
    }
    for header in [
        r#"{"alg":"none","kid":"new"}"#,
        r#"{"alg":"HS256","kid":"new","crit":["b64"]}"#,
        "{}",
    ] {
        assert!(!may(&of(header, good), true), "{header}");
    }
    let of_known_name = of(r#"{"alg":"HS256","kid":"old"}"#, good);
    assert!(!may(&of_known_name, false));
    assert!(
        may(&of_known_name, true),
        "its id may be another key's by now"
    );
    assert!(!may("a.b.c", true));
    assert!(!may(&"x".repeat(20_000), true));
}
