//! `exp`, `nbf`, `iat`, and the clocks that they are held against.

use super::*;

#[test]
fn times_end_and_begin_on_the_second() {
    let strict = policy();
    let lenient = with(|policy| policy.leeway = Duration::from_secs(30));
    for (claims, with_none, with_30) in [
        (r#"{"exp":1000001}"#, Ok(()), Ok(())),
        (r#"{"exp":1000000}"#, Err(Expired), Ok(())),
        (r#"{"exp":999971}"#, Err(Expired), Ok(())),
        (r#"{"exp":999970}"#, Err(Expired), Err(Expired)),
        (r#"{"exp":0}"#, Err(Expired), Err(Expired)),
        (r#"{"exp":-0.0}"#, Err(Expired), Err(Expired)),
        (r#"{"exp":-0}"#, Err(Expired), Err(Expired)),
        (r#"{"exp":1000000.000001}"#, Ok(()), Ok(())),
        (r#"{"exp":1000000.0}"#, Err(Expired), Ok(())),
        (r#"{"exp":999999.999999}"#, Err(Expired), Ok(())),
        (r#"{"exp":999970.5}"#, Err(Expired), Ok(())),
        (r#"{"exp":1.000001e6}"#, Ok(()), Ok(())),
        (r#"{"exp":1e6}"#, Err(Expired), Ok(())),
        (r#"{"exp":9223372036854775807}"#, Ok(()), Ok(())),
        (r#"{}"#, Err(MissingClaim), Err(MissingClaim)),
        (r#"{"Exp":1000001}"#, Err(MissingClaim), Err(MissingClaim)),
        (r#"{"exp":1000001,"nbf":1000000}"#, Ok(()), Ok(())),
        (r#"{"exp":1000001,"nbf":1000000.0}"#, Ok(()), Ok(())),
        (
            r#"{"exp":1000001,"nbf":1000000.5}"#,
            Err(NotYetValid),
            Ok(()),
        ),
        (r#"{"exp":1000001,"nbf":1000001}"#, Err(NotYetValid), Ok(())),
        (r#"{"exp":1000001,"nbf":1000030}"#, Err(NotYetValid), Ok(())),
        (
            r#"{"exp":1000001,"nbf":1000031}"#,
            Err(NotYetValid),
            Err(NotYetValid),
        ),
        (
            r#"{"exp":1000001,"nbf":9223372036854775807}"#,
            Err(NotYetValid),
            Err(NotYetValid),
        ),
        (r#"{"exp":1000001,"nbf":0}"#, Ok(()), Ok(())),
        (r#"{"exp":1000001,"nbf":-1}"#, Ok(()), Ok(())),
        (r#"{"exp":1000001,"nbf":-0.5}"#, Ok(()), Ok(())),
        (
            r#"{"exp":1000001,"nbf":-9223372036854775808}"#,
            Ok(()),
            Ok(()),
        ),
        // Without a limit of age, nobody asks when it was issued.
        (r#"{"exp":1000001,"iat":2000000}"#, Ok(()), Ok(())),
        (
            r#"{"exp":1000001,"iat":9223372036854775807}"#,
            Ok(()),
            Ok(()),
        ),
        (r#"{"exp":1000001,"iat":-1}"#, Ok(()), Ok(())),
    ] {
        assert_eq!(judge_claims(claims, &strict), with_none, "{claims}");
        assert_eq!(judge_claims(claims, &lenient), with_30, "{claims}");
    }
}

#[test]
fn the_default_leeway_is_30_seconds() {
    let policy = Policy::default();
    for (claims, expected) in [
        (r#"{"exp":999971}"#, Ok(())),
        (r#"{"exp":999970}"#, Err(Expired)),
        (r#"{"exp":1000001,"nbf":1000030}"#, Ok(())),
        (r#"{"exp":1000001,"nbf":1000031}"#, Err(NotYetValid)),
    ] {
        assert_eq!(judge_claims(claims, &policy), expected, "{claims}");
    }
}

#[test]
fn times_are_numbers_that_a_clock_can_show() {
    let endless = with(|policy| policy.leeway = Duration::MAX);
    for value in [
        r#""1000060""#,
        r#""""#,
        "true",
        "false",
        "null",
        "[1000060]",
        "[]",
        r#"{"exp":1000060}"#,
        "{}",
        "9223372036854775808",
        "18446744073709551615",
        "18446744073709551616",
        "-9223372036854775809",
        "9.3e18",
        "1e300",
        "-1e300",
        "1.7976931348623157e308",
        "1e999",
        "-1e999",
        "NaN",
        "Infinity",
        "-Infinity",
        "0x10",
        "01000060",
        "+1000060",
        "1000060.",
        ".5",
    ] {
        for claims in [
            format!(r#"{{"exp":{value}}}"#),
            format!(r#"{{"exp":1000060,"nbf":{value}}}"#),
            format!(r#"{{"exp":1000060,"iat":{value}}}"#),
        ] {
            assert_eq!(judge_claims(&claims, &policy()), Err(Malformed), "{claims}");
            assert_eq!(judge_claims(&claims, &endless), Err(Malformed), "{claims}");
            let registered = judge_claims_as::<RegisteredClaims>(&claims, &policy());
            assert_eq!(registered, Err(Malformed), "{claims}");
        }
    }
}

#[test]
fn a_negative_end_is_malformed_and_not_only_long_ago() {
    let endless = with(|policy| policy.leeway = Duration::MAX);
    for exp in ["-1", "-0.5", "-1e9", "-9223372036854775808"] {
        let claims = format!(r#"{{"exp":{exp}}}"#);
        assert_eq!(judge_claims(&claims, &endless), Err(Malformed), "{claims}");
    }
}

#[test]
fn a_limited_age_is_counted_from_iat() {
    let limited = |leeway| {
        with(|policy| {
            policy.max_token_age = Some(Duration::from_secs(100));
            policy.leeway = Duration::from_secs(leeway);
        })
    };
    let (strict, lenient) = (limited(0), limited(30));
    for (iat, with_none, with_30) in [
        ("1000000", Ok(()), Ok(())),
        ("999901", Ok(()), Ok(())),
        ("999900.5", Ok(()), Ok(())),
        ("999900", Err(TooOld), Ok(())),
        ("999871", Err(TooOld), Ok(())),
        ("999870", Err(TooOld), Err(TooOld)),
        ("0", Err(TooOld), Err(TooOld)),
        ("-1", Err(TooOld), Err(TooOld)),
        ("-9223372036854775808", Err(TooOld), Err(TooOld)),
        ("1000001", Err(NotYetValid), Ok(())),
        ("1000030", Err(NotYetValid), Ok(())),
        ("1000031", Err(NotYetValid), Err(NotYetValid)),
        ("9223372036854775807", Err(NotYetValid), Err(NotYetValid)),
        ("null", Err(Malformed), Err(Malformed)),
        (r#""1000000""#, Err(Malformed), Err(Malformed)),
    ] {
        let claims = format!(r#"{{"exp":1000060,"iat":{iat}}}"#);
        assert_eq!(judge_claims(&claims, &strict), with_none, "{claims}");
        assert_eq!(judge_claims(&claims, &lenient), with_30, "{claims}");
    }
    for claims in [r#"{"exp":1000060}"#, r#"{"exp":1000060,"nbf":999990}"#] {
        assert_eq!(judge_claims(claims, &lenient), Err(MissingClaim));
    }
    // The age limits besides `exp` and `nbf`, and not instead of them.
    for (claims, expected) in [
        (r#"{"exp":999970,"iat":999990}"#, Err(Expired)),
        (
            r#"{"exp":1000060,"iat":999990,"nbf":1000031}"#,
            Err(NotYetValid),
        ),
    ] {
        assert_eq!(judge_claims(claims, &lenient), expected, "{claims}");
    }
}

#[test]
fn no_duration_overflows() {
    for duration in [
        Duration::MAX,
        Duration::from_secs(u64::MAX),
        Duration::from_secs(1 << 62),
    ] {
        let endless = with(|policy| {
            policy.leeway = duration;
            policy.max_token_age = Some(duration);
        });
        for claims in [
            r#"{"exp":0,"nbf":0,"iat":0}"#,
            r#"{"exp":9223372036854775807,"nbf":-9223372036854775808,"iat":1}"#,
            r#"{"exp":1,"nbf":1000000,"iat":1000000}"#,
        ] {
            assert_eq!(judge_claims(claims, &endless), Ok(()), "{claims}");
        }
    }
    let ageless = with(|policy| policy.max_token_age = Some(Duration::ZERO));
    let claims = r#"{"exp":1000060,"iat":1000000}"#;
    assert_eq!(judge_claims(claims, &ageless), Err(TooOld));
}

#[test]
fn a_clock_before_the_epoch_is_no_panic() {
    let before = Now::new(
        SystemTime::UNIX_EPOCH - Duration::from_secs(5),
        Duration::ZERO,
    );
    let keys = [trusted(&secret(1))];
    let judge = |claims| {
        judge_with(
            &token_of(&secret(1), HS256, claims),
            &keys,
            &policy(),
            before,
        )
    };
    assert_eq!(judge(r#"{"exp":0}"#), Ok(0));
    assert_eq!(judge(r#"{"exp":0,"nbf":-5}"#), Ok(0));
    assert_eq!(judge(r#"{"exp":0,"nbf":-4.5}"#), Err(NotYetValid));
    assert_eq!(judge(r#"{"exp":0,"nbf":0}"#), Err(NotYetValid));
}
