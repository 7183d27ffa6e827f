//! What a claims set must be, and what a policy asks of `iss`, `aud` and `sub`.

use serde::Deserialize;

use super::*;

/// A user's type that wants nothing: what it does not read is checked all the same.
#[derive(Deserialize)]
struct Nothing {}

/// The verdict on these claims, which must be the same for every claims type.
fn judge_as_all(claims: impl AsRef<[u8]>) -> Result<(), VerifyErrorKind> {
    let claims = claims.as_ref();
    let verdict = judge_claims_as::<RegisteredClaims>(claims, &policy());
    assert_eq!(judge_claims_as::<Value>(claims, &policy()), verdict);
    assert_eq!(judge_claims_as::<Nothing>(claims, &policy()), verdict);
    verdict
}

#[test]
fn the_payload_is_one_json_object() {
    for (claims, expected) in [
        (r#"{"exp":1000060}"#, Ok(())),
        (" \r\n\t{\"exp\" : 1000060 }\n ", Ok(())),
        ("\u{feff}{\"exp\":1000060}", Err(Malformed)),
        (r#"{"exp":1000060} x"#, Err(Malformed)),
        (r#"{"exp":1000060}{}"#, Err(Malformed)),
        ("{\"exp\":1000060}\0", Err(Malformed)),
        (r#"{"exp":1000060,}"#, Err(Malformed)),
        (r#"{"exp":1000060"#, Err(Malformed)),
        // The fields of RegisteredClaims, in their order.
        (r#"["i","s","a",1000060]"#, Err(Malformed)),
        // Those of jsonwebtoken's claims.
        (r#"[1000060,0,"s","i","a"]"#, Err(Malformed)),
        (r#"[{"exp":1000060}]"#, Err(Malformed)),
        (r#""exp""#, Err(Malformed)),
        ("1000060", Err(Malformed)),
        ("null", Err(Malformed)),
        ("true", Err(Malformed)),
        ("[]", Err(Malformed)),
        ("{", Err(Malformed)),
        ("", Err(Malformed)),
    ] {
        assert_eq!(judge_as_all(claims), expected, "{claims}");
    }
    assert_eq!(judge_as_all(b"\xff"), Err(Malformed));
}

#[test]
fn no_member_that_is_read_is_there_twice() {
    let names = [
        ("iss", r#""i""#),
        ("sub", r#""s""#),
        ("aud", r#""a""#),
        ("exp", "1000060"),
        ("nbf", "0"),
        ("iat", "0"),
        ("jti", r#""j""#),
        ("scope", r#""s""#),
        ("client_id", r#""c""#),
        ("azp", r#""c""#),
        ("appid", r#""c""#),
        ("cid", r#""c""#),
        ("scp", r#"["s"]"#),
        ("nonce", r#""n""#),
        ("at_hash", r#""h""#),
        ("c_hash", r#""h""#),
        ("events", "{}"),
        ("typ", r#""JWT""#),
    ];
    for (name, value) in names {
        let escaped = format!(r"\u{:04x}{}", name.as_bytes()[0], &name[1..]);
        for (one, other) in [(name, name), (name, &escaped), (&escaped, name)] {
            let exp = if name == "exp" { "x" } else { "exp" };
            let claims = format!(r#"{{"{one}":{value},"{exp}":1000060,"{other}":{value}}}"#);
            assert_eq!(judge_as_all(&claims), Err(Malformed), "{claims}");
        }
        if name != "exp" {
            let null_first = format!(r#"{{"exp":1000060,"{name}":null,"{name}":{value}}}"#);
            assert_eq!(judge_as_all(&null_first), Err(Malformed), "{null_first}");
        }
    }
    // Nobody can be misled by what nobody reads.
    assert_eq!(judge_as_all(r#"{"exp":1000060,"x":1,"x":2}"#), Ok(()));
    let deep = r#"{"exp":1000060,"x":{"exp":1,"exp":2}}"#;
    assert_eq!(judge_as_all(deep), Ok(()));
}

#[test]
fn what_nobody_reads_is_still_text() {
    for claims in [
        &b"{\"exp\":1000060,\"x\":\"\xff\"}"[..],
        b"{\"exp\":1000060,\"x\":\"\xed\xa0\x80\"}",
        b"{\"exp\":1000060,\"\xc0\xaf\":1}",
        br#"{"exp":1000060,"x":"\ud800"}"#,
        br#"{"exp":1000060,"x":"\udc00"}"#,
        br#"{"exp":1000060,"x":"\ud800\ud800"}"#,
        br#"{"exp":1000060,"x":["\ud800"]}"#,
        br#"{"exp":1000060,"x":{"\ud800":1}}"#,
        br#"{"exp":1000060,"\ud800":1}"#,
        br#"{"exp":1000060,"jti":"\ud800"}"#,
        br#"{"exp":1000060,"aud":["\ud800"]}"#,
        br#"{"exp":1000060,"x":1e999}"#,
        br#"{"exp":1000060,"x":NaN}"#,
    ] {
        assert_eq!(judge_as_all(claims), Err(Malformed), "{claims:?}");
    }
    let pair = r#"{"exp":1000060,"x":"\ud83d\ude00","\ud83d\ude00":1}"#;
    assert_eq!(judge_as_all(pair), Ok(()));
}

#[test]
fn nesting_is_bounded() {
    for (depth, expected) in [
        (126, Ok(())),
        (127, Err(Malformed)),
        (128, Err(Malformed)),
        (5_000, Err(Malformed)),
    ] {
        let claims = format!(r#"{{"exp":1000060,"x":{}}}"#, nested(depth));
        assert_eq!(judge_as_all(&claims), expected, "{depth}");
        let claims = format!(r#"{{"exp":1000060,"jti":{}}}"#, nested(depth));
        assert_eq!(judge_claims(&claims, &policy()), expected, "{depth}");
    }
}

/// What `iss` and `sub` may be where they are checked; `good` is accepted.
fn each_text(otherwise: VerifyErrorKind) -> Vec<(&'static str, Result<(), VerifyErrorKind>)> {
    vec![
        (r#""good""#, Ok(())),
        (r#""g\u006fod""#, Ok(())),
        (r#""also good""#, Ok(())),
        (r#""Good""#, Err(otherwise)),
        (r#""good ""#, Err(otherwise)),
        (r#""good\u0000""#, Err(otherwise)),
        (r#""""#, Err(otherwise)),
        (r#"["good"]"#, Err(Malformed)),
        (r#"{"good":null}"#, Err(Malformed)),
        ("null", Err(Malformed)),
        ("true", Err(Malformed)),
        ("1", Err(Malformed)),
        ("-1", Err(Malformed)),
        ("0.5", Err(Malformed)),
    ]
}

#[test]
fn issuer_and_subject_are_required_where_configured() {
    let names = || vec!["good".to_owned(), "also good".to_owned()];
    let issuers = with(|policy| {
        policy.issuers = names()
            .iter()
            .map(|name| IssuerName::template(name))
            .collect()
    });
    let subjects = with(|policy| policy.subjects = names());
    for (claim, policy, otherwise) in [
        ("iss", issuers, WrongIssuer),
        ("sub", subjects, WrongSubject),
    ] {
        for (value, expected) in each_text(otherwise) {
            let claims = format!(r#"{{"exp":1000060,"{claim}":{value}}}"#);
            assert_eq!(judge_claims(&claims, &policy), expected, "{claims}");
        }
        assert_eq!(
            judge_claims(r#"{"exp":1000060}"#, &policy),
            Err(MissingClaim)
        );
    }
}

#[test]
fn the_audience_is_required_where_configured() {
    let policy = with(|policy| policy.audiences = vec!["a".to_owned(), "b".to_owned()]);
    for (aud, expected) in [
        (r#""a""#, Ok(())),
        (r#""b""#, Ok(())),
        (r#""\u0061""#, Ok(())),
        (r#"["a"]"#, Ok(())),
        (r#"["x","b"]"#, Ok(())),
        (r#"["b","a","a"]"#, Ok(())),
        (r#""A""#, Err(WrongAudience)),
        (r#""a b""#, Err(WrongAudience)),
        (r#""""#, Err(WrongAudience)),
        (r#"["x","y"]"#, Err(WrongAudience)),
        ("[]", Err(WrongAudience)),
        (r#"["a",1]"#, Err(Malformed)),
        (r#"[1,"a"]"#, Err(Malformed)),
        (r#"["a",null]"#, Err(Malformed)),
        (r#"["a",["a"]]"#, Err(Malformed)),
        (r#"[["a"]]"#, Err(Malformed)),
        (r#"[{"a":1}]"#, Err(Malformed)),
        (r#"{"a":1}"#, Err(Malformed)),
        ("{}", Err(Malformed)),
        ("null", Err(Malformed)),
        ("false", Err(Malformed)),
        ("1", Err(Malformed)),
        ("0.5", Err(Malformed)),
    ] {
        let claims = format!(r#"{{"exp":1000060,"aud":{aud}}}"#);
        assert_eq!(judge_claims(&claims, &policy), expected, "{claims}");
    }
    assert_eq!(
        judge_claims(r#"{"exp":1000060}"#, &policy),
        Err(MissingClaim)
    );
}

#[test]
fn every_check_of_a_policy_is_made() {
    let policy = with(|policy| {
        policy.issuers = vec![IssuerName::template("i")];
        policy.audiences = vec!["a".to_owned()];
        policy.subjects = vec!["s".to_owned()];
    });
    for (iss, aud, sub, expected) in [
        ("i", "a", "s", Ok(())),
        ("x", "a", "s", Err(WrongIssuer)),
        ("i", "x", "s", Err(WrongAudience)),
        ("i", "a", "x", Err(WrongSubject)),
    ] {
        let claims = json!({ "exp": NOW + 60, "iss": iss, "aud": aud, "sub": sub }).to_string();
        assert_eq!(judge_claims(&claims, &policy), expected, "{claims}");
    }
}

#[test]
fn what_no_policy_checks_is_the_claims_types_business() {
    for (claims, registered) in [
        (
            r#"{"exp":1000060,"iss":null,"sub":null,"jti":null}"#,
            Ok(()),
        ),
        (r#"{"exp":1000060,"aud":[]}"#, Ok(())),
        (r#"{"exp":1000060,"iss":1}"#, Err(WrongClaims)),
        (r#"{"exp":1000060,"sub":["s"]}"#, Err(WrongClaims)),
        (r#"{"exp":1000060,"aud":null}"#, Err(WrongClaims)),
        (r#"{"exp":1000060,"aud":["a",1]}"#, Err(WrongClaims)),
        (r#"{"exp":1000060,"jti":1}"#, Err(WrongClaims)),
        (r#"{"exp":1000060,"scope":["s",1]}"#, Err(WrongClaims)),
        (r#"{"exp":1000060,"client_id":{}}"#, Err(WrongClaims)),
    ] {
        let verdict = judge_claims_as::<RegisteredClaims>(claims, &policy());
        assert_eq!(verdict, registered, "{claims}");
        let verdict = judge_claims_as::<Nothing>(claims, &policy());
        assert_eq!(verdict, Ok(()), "{claims}");
    }
}

#[test]
fn a_client_goes_by_the_name_that_its_issuer_gives_it() {
    for (claims, client) in [
        (
            r#""client_id":"a","azp":"b","appid":"c","cid":"d""#,
            Some("a"),
        ),
        (r#""cid":"d","appid":"c","azp":"b""#, Some("b")),
        (r#""cid":"d","appid":"c""#, Some("c")),
        (r#""client_id":null,"cid":"d""#, Some("d")),
        (r#""azp":1,"appid":["c"],"cid":{}"#, None),
        (r#""azp":1,"cid":"d""#, Some("d")),
        (r#""sub":"s""#, None),
    ] {
        let claims = format!(r#"{{"exp":1000060,{claims}}}"#);
        let token = token_of(&secret(1), HS256, &claims);
        let keys = [trusted(&secret(1))];
        let verified = verify::<Value>(token.as_bytes(), &keys, &policy(), at(NOW)).unwrap();
        let registered = verified.claims.registered().unwrap();
        assert_eq!(registered.client_id(), client, "{claims}");
        let read: RegisteredClaims = serde_json::from_str(&claims).unwrap();
        assert_eq!(read, *registered, "{claims}");
    }
}

#[test]
fn claims_come_back_as_the_type_asked_for() {
    #[derive(Debug, Deserialize, PartialEq)]
    struct Own {
        tenant: String,
    }

    let keys = [trusted(&secret(1))];
    let verify = |claims: &str| {
        let token = token_of(&secret(1), HS256, claims);
        verify::<Own>(token.as_bytes(), &keys, &policy(), at(NOW))
    };
    let verified = verify(r#"{"exp":1000060,"tenant":"t"}"#).unwrap();
    let expected = Own {
        tenant: "t".to_owned(),
    };
    assert_eq!(verified.claims.downcast_ref(), Some(&expected));
    for claims in [
        r#"{"exp":1000060}"#,
        r#"{"exp":1000060,"tenant":1}"#,
        r#"{"exp":1000060,"tenant":"t","tenant":"u"}"#,
    ] {
        let error = verify(claims).unwrap_err();
        assert_eq!(error.kind(), WrongClaims, "{claims}");
    }
    // The rules come first.
    let error = verify(r#"{"exp":1}"#).unwrap_err();
    assert_eq!(error.kind(), Expired);
}
