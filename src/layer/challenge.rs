//! The `WWW-Authenticate: Bearer ..` header: RFC 6750 section 3, RFC 9110 section 11.6.1.

use std::{error::Error, fmt, sync::Arc};

use http::HeaderValue;

/// The protection space that a challenge names, checked to be fit for a header.
#[derive(Clone, Debug)]
pub(super) struct Realm(Arc<str>);

impl Realm {
    /// Takes printable ASCII and spaces, the part of a quoted-string (RFC 9110 section 5.6.4) that
    /// every client reads the same way.
    pub(super) fn new(name: impl Into<Arc<str>>) -> Result<Self, InvalidRealm> {
        let name = name.into();
        match name.char_indices().find(|(_, c)| !matches!(c, ' '..='~')) {
            Some((at, _)) => Err(InvalidRealm { at }),
            None => Ok(Self(name)),
        }
    }
}

impl Default for Realm {
    fn default() -> Self {
        Self(Arc::from("restricted"))
    }
}

/// A realm that a header cannot carry; see [`JwtRotationLayer::realm`](super::JwtRotationLayer::realm).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidRealm {
    at: usize,
}

impl fmt::Display for InvalidRealm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a realm is printable ASCII and spaces; the character at byte {} is not",
            self.at
        )
    }
}

impl Error for InvalidRealm {}

/// What went wrong, in the words of RFC 6750 section 3.1.
#[derive(Clone, Copy, Debug)]
pub(super) struct BearerError {
    pub(super) code: &'static str,
    pub(super) description: &'static str,
}

/// What a challenge says. `error` is left out where no credentials were given: a client that did not
/// try is told nothing more (RFC 6750 section 3.1).
#[derive(Clone, Copy, Debug)]
pub(super) struct Challenge<'a> {
    pub(super) realm: &'a Realm,
    /// Names with spaces between them, fit for a header.
    pub(super) scope: Option<&'a str>,
    pub(super) error: Option<BearerError>,
    /// A URL, fit for a header (RFC 9728 section 5.1).
    pub(super) resource_metadata: Option<&'a str>,
}

impl Challenge<'_> {
    /// The header's value.
    pub(super) fn header(self) -> HeaderValue {
        let Self {
            realm,
            scope,
            error,
            resource_metadata,
        } = self;
        // The realm also keeps the challenge legal: `Bearer` must be followed by some parameter.
        let mut value = String::from("Bearer ");
        push_param(&mut value, "realm", &realm.0);
        if let Some(scope) = scope {
            push_next(&mut value, "scope", scope);
        }
        if let Some(BearerError { code, description }) = error {
            push_next(&mut value, "error", code);
            push_next(&mut value, "error_description", description);
        }
        if let Some(url) = resource_metadata {
            push_next(&mut value, "resource_metadata", url);
        }
        HeaderValue::try_from(value).unwrap_or_else(|_| HeaderValue::from_static("Bearer"))
    }
}

fn push_next(out: &mut String, name: &str, value: &str) {
    out.push_str(", ");
    push_param(out, name, value);
}

fn push_param(out: &mut String, name: &str, value: &str) {
    out.push_str(name);
    out.push_str("=\"");
    for c in value.chars() {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn challenge(realm: &Realm, error: Option<BearerError>) -> HeaderValue {
        Challenge {
            realm,
            scope: None,
            error,
            resource_metadata: None,
        }
        .header()
    }

    #[test]
    fn without_and_with_an_error() {
        let realm = Realm::default();
        assert_eq!(challenge(&realm, None), "Bearer realm=\"restricted\"");
        let error = BearerError {
            code: "invalid_token",
            description: "the token has expired",
        };
        assert_eq!(
            challenge(&realm, Some(error)),
            "Bearer realm=\"restricted\", error=\"invalid_token\", \
             error_description=\"the token has expired\""
        );
    }

    #[test]
    fn quotes_and_backslashes_are_escaped() {
        let realm = Realm::new(r#"a "b" \c"#).unwrap();
        assert_eq!(challenge(&realm, None), r#"Bearer realm="a \"b\" \\c""#);
    }

    #[test]
    fn what_a_header_cannot_carry_is_refused() {
        for (name, at) in [
            ("a\r\nSet-Cookie: x", 1),
            ("\u{e9}", 0),
            ("ab\t", 2),
            ("\u{7f}", 0),
        ] {
            let error = Realm::new(name).unwrap_err();
            assert_eq!(error, InvalidRealm { at }, "{name:?}");
            assert!(error.to_string().contains(&format!("byte {at} ")));
        }
        assert!(Realm::new("").is_ok());
    }

    proptest! {
        #[test]
        fn a_legal_realm_always_makes_a_header(name in "[ -~]{0,40}") {
            let value = challenge(&Realm::new(name).unwrap(), None);
            prop_assert!(value.to_str().unwrap().starts_with("Bearer realm=\""));
        }
    }
}
