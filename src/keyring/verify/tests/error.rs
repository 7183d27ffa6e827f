//! What an error tells, and what it never does.

use std::collections::HashSet;

use super::*;

/// Appears wherever a token has room for it.
const MARKER: &str = "M4rk3r";

/// A refused token for each kind of error.
fn refused_for_each_kind() -> Vec<(VerifyErrorKind, VerifyError)> {
    let header = |more: &str| format!(r#"{{"alg":"HS256","x":"{MARKER}"{more}}}"#);
    let claims = |more: &str| format!(r#"{{"x":"{MARKER}","jti":["{MARKER}"]{more}}}"#);
    let plain = || header("");
    let good = || claims(r#","exp":1000060,"iss":"i","sub":"s","aud":"a","iat":999999"#);
    let strict = with(|policy| {
        policy.issuers = vec![IssuerName::template("i")];
        policy.subjects = vec!["s".to_owned()];
        policy.audiences = vec!["a".to_owned()];
        policy.max_token_age = Some(Duration::from_secs(100));
        policy.max_token_bytes = 600;
    });
    let fitting = secret(1);
    let odd = |more: &str| claims(&format!(r#","exp":1000060{more}"#));
    let marked = |claim: &str| {
        let good = r#","iss":"i","sub":"s","aud":"a","iat":999999"#;
        odd(&good.replace(
            &format!(r#""{claim}":"{}""#, &claim[..1]),
            &format!(r#""{claim}":"{MARKER}""#),
        ))
    };
    [
        (Malformed, token_of(&fitting, MARKER, good())),
        (
            Malformed,
            token_of(&fitting, header(r#","kid":["M4rk3r"]"#), good()),
        ),
        (
            Malformed,
            token_of(&fitting, plain(), claims(r#","exp":"M4rk3r""#)),
        ),
        (Malformed, token_of_parts(&fitting, MARKER, "M4rk3r=")),
        (TooLong, MARKER.repeat(200)),
        (
            Unsupported,
            token_of(&fitting, header(r#","typ":"M4rk3r""#), good()),
        ),
        (
            Unsupported,
            token_of(&fitting, r#"{"alg":"M4rk3r"}"#, good()),
        ),
        (
            Unsupported,
            token_of(&fitting, header(r#","crit":["M4rk3r"]"#), good()),
        ),
        (
            UnknownKey,
            token_of(&fitting, r#"{"alg":"EdDSA","kid":"M4rk3r"}"#, good()),
        ),
        (
            BadSignature,
            token_of(&secret(2), header(r#","kid":"M4rk3r""#), good()),
        ),
        (Expired, token_of(&fitting, plain(), claims(r#","exp":1"#))),
        (
            NotYetValid,
            token_of(&fitting, plain(), odd(r#","iat":2000000"#)),
        ),
        (TooOld, token_of(&fitting, plain(), odd(r#","iat":1"#))),
        (MissingClaim, token_of(&fitting, plain(), odd(""))),
        (WrongIssuer, token_of(&fitting, plain(), marked("iss"))),
        (WrongSubject, token_of(&fitting, plain(), marked("sub"))),
        (WrongAudience, token_of(&fitting, plain(), marked("aud"))),
        (
            WrongUse,
            token_of(
                &fitting,
                plain(),
                claims(
                    r#","exp":1000060,"iss":"i","sub":"s","aud":"a","iat":999999,"at_hash":"M4rk3r""#,
                ),
            ),
        ),
        (WrongClaims, token_of(&fitting, plain(), good())),
    ]
    .into_iter()
    .map(|(kind, token)| {
        let keys = [trusted(&fitting)];
        let error = verify::<RegisteredClaims>(token.as_bytes(), &keys, &strict, at(NOW));
        (kind, error.unwrap_err())
    })
    .collect()
}

/// A new kind does not compile here. Once counted, it needs a token above.
fn number_of_kinds() -> usize {
    let all = |kind| match kind {
        Malformed | TooLong | Unsupported | UnknownKey | BadSignature | Expired | NotYetValid
        | TooOld | MissingClaim | WrongIssuer | WrongSubject | WrongAudience | WrongUse
        | WrongClaims => 14,
    };
    all(Malformed)
}

#[test]
fn texts_are_fixed_by_kind_and_echo_nothing() {
    let refused = refused_for_each_kind();
    for (kind, error) in &refused {
        assert_eq!(error.kind(), *kind);
        assert_eq!(error.description(), VerifyError::from(*kind).description());
        assert_eq!(error.to_string(), error.description());
        let all = format!("{error} {error:?} {error:#?} {}", kind.as_str());
        assert!(!all.contains(MARKER), "{all}");
        assert!(std::error::Error::source(error).is_none());
    }
    let distinct = |name: fn(&VerifyError) -> &'static str| {
        let names: HashSet<_> = refused.iter().map(|(_, error)| name(error)).collect();
        names.len()
    };
    assert_eq!(distinct(VerifyError::description), number_of_kinds());
    assert_eq!(distinct(|error| error.kind().as_str()), number_of_kinds());
}

// RFC 6750, section 3: the characters that an error_description may hold.
#[test]
fn descriptions_fit_into_a_challenge() {
    for (_, error) in refused_for_each_kind() {
        let fits = |b| matches!(b, 0x20..=0x21 | 0x23..=0x5b | 0x5d..=0x7e);
        assert!(error.description().bytes().all(fits), "{error}");
    }
}
