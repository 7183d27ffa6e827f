//! The grammar of `Authorization: Bearer ..`.
//!
//! Only the header is read (RFC 6750 section 2.1). A token in the form body or the query string
//! (sections 2.2 and 2.3) is never looked for: those end up in logs.

use http::{HeaderMap, header::AUTHORIZATION};

const BEARER: &[u8] = b"bearer";

/// What the `Authorization` header of a request holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Credentials<'a> {
    /// `Bearer`, spaces and something. Whether that has the form of a token ([`is_b64token`]) is
    /// asked only of one that does not verify.
    Token(&'a [u8]),
    /// No header, or an empty one.
    Absent,
    /// Credentials of another scheme.
    OtherScheme,
    /// `Bearer`, followed by nothing or by other white space.
    Malformed,
    /// More than one header. Which of them counts is not ours to guess.
    Repeated,
}

/// Reads the header: RFC 9110 section 11.6.2, RFC 6750 section 2.1.
pub(crate) fn credentials(headers: &HeaderMap) -> Credentials<'_> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    match (values.next(), values.next()) {
        (None, _) => Credentials::Absent,
        (Some(_), Some(_)) => Credentials::Repeated,
        (Some(value), None) => parse(value.as_bytes()),
    }
}

fn parse(value: &[u8]) -> Credentials<'_> {
    // Space around a field value is not part of it (RFC 9110 section 5.5).
    let value = value.trim_ascii();
    if value.is_empty() {
        return Credentials::Absent;
    }
    let rest = match value.split_at_checked(BEARER.len()) {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case(BEARER) => rest,
        _ => return Credentials::OtherScheme,
    };
    // The scheme's name may go on.
    if rest.first().is_some_and(|byte| is_tchar(*byte)) {
        return Credentials::OtherScheme;
    }
    let spaces = rest.iter().take_while(|byte| **byte == b' ').count();
    // No space at the end of the value is left, so something follows these.
    match spaces {
        0 => Credentials::Malformed,
        _ => Credentials::Token(&rest[spaces..]),
    }
}

/// `b64token = 1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"="`
pub(super) fn is_b64token(token: &[u8]) -> bool {
    let body = token.iter().take_while(|byte| is_b64char(**byte)).count();
    body > 0 && token[body..].iter().all(|byte| *byte == b'=')
}

fn is_b64char(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte)
}

/// `tchar`, of which a scheme's name is made (RFC 9110 section 5.6.2).
fn is_tchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use http::HeaderValue;
    use proptest::prelude::*;

    use super::{Credentials::*, *};

    fn with(values: &[&[u8]]) -> HeaderMap {
        values
            .iter()
            .map(|value| (AUTHORIZATION, HeaderValue::from_bytes(value).unwrap()))
            .collect()
    }

    /// What a request without a good token is told.
    fn judged(credentials: Credentials<'_>) -> Credentials<'_> {
        match credentials {
            Token(token) if !is_b64token(token) => Malformed,
            other => other,
        }
    }

    #[test]
    fn the_grammar() {
        let table: &[(&[u8], Credentials<'_>)] = &[
            (b"Bearer abc", Token(b"abc")),
            (b"bearer abc", Token(b"abc")),
            (b"BEARER abc", Token(b"abc")),
            (b"bEaReR a.b-c_d~e+f/g", Token(b"a.b-c_d~e+f/g")),
            (b"Bearer abc==", Token(b"abc==")),
            (b"Bearer   abc", Token(b"abc")),
            (b" Bearer abc ", Token(b"abc")),
            (b"Bearer abc\t", Token(b"abc")),
            (b"", Absent),
            (b"  ", Absent),
            (b"Basic dXNlcjpwdw==", OtherScheme),
            (b"Bearerabc", OtherScheme),
            (b"Bearer-abc def", OtherScheme),
            (b"DPoP abc", OtherScheme),
            (b"\"Bearer\" abc", OtherScheme),
            (b"Digest username=\"x\", realm=\"y\"", OtherScheme),
            (b"Bearer", Malformed),
            (b"Bearer ", Malformed),
            (b"Bearer\tabc", Malformed),
            (b"Bearer \tabc", Malformed),
            (b"Bearer abc def", Malformed),
            (b"Bearer abc,def", Malformed),
            (b"Bearer abc, Basic x", Malformed),
            (b"Bearer,abc", Malformed),
            (b"Bearer=abc", Malformed),
            (b"Bearer/abc", Malformed),
            (b"Bearer =", Malformed),
            (b"Bearer a=b", Malformed),
            (b"Bearer \"abc\"", Malformed),
            (b"Bearer token=\"abc\"", Malformed),
            (b"Bearer \xc3\xa9", Malformed),
            (b"Bearer abc\xff", Malformed),
            (b"Bearer\xff abc", Malformed),
        ];
        for (value, expected) in table {
            let headers = with(&[value]);
            let text = String::from_utf8_lossy(value);
            assert_eq!(judged(credentials(&headers)), *expected, "{text:?}");
        }
    }

    #[test]
    fn no_header_and_two_headers() {
        assert_eq!(credentials(&HeaderMap::new()), Absent);
        for values in [
            [&b"Bearer a"[..], b"Bearer a"],
            [b"Bearer a", b"Basic b"],
            [b"Basic a", b"Basic b"],
            [b"", b"Bearer a"],
        ] {
            assert_eq!(credentials(&with(&values)), Repeated);
        }
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = judged(parse(&bytes));
        }

        #[test]
        fn bytes_after_the_scheme(
            spaces in " {1,3}",
            tail in proptest::collection::vec(any::<u8>(), 0..32),
        ) {
            let value = [b"Bearer", spaces.as_bytes(), &tail].concat();
            match judged(parse(&value)) {
                Token(token) => prop_assert_eq!(token, tail.trim_ascii()),
                other => prop_assert_eq!(other, Malformed),
            }
        }

        #[test]
        fn every_b64token_passes(token in "[A-Za-z0-9._~+/-]{1,64}={0,2}") {
            let value = format!("Bearer {token}");
            prop_assert_eq!(judged(parse(value.as_bytes())), Token(token.as_bytes()));
        }
    }
}
