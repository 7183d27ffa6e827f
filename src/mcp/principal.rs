//! Whom a session or a request state belongs to.

use http::Extensions;

use crate::{claims::Authentication, layer::Anonymous};

/// A caller, in a form that no two callers share: who issued the token, whom it is about, and the client
/// that got it. Not the token itself, which is renewed in the middle of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Principal(Box<[u8]>);

/// Why there is no principal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoPrincipal {
    /// No layer of this crate has looked at the caller.
    MissingLayer,
    /// The token names neither a subject nor a client, so everybody with such a token of this issuer
    /// would be the same.
    Nameless,
}

impl Principal {
    /// Of an HTTP request that passed one of this crate's layers.
    pub(super) fn of(extensions: &Extensions) -> Result<Self, NoPrincipal> {
        match extensions.get::<Authentication>() {
            Some(caller) => Self::of_caller(caller),
            None if extensions.get::<Anonymous>().is_some() => Ok(Self::anonymous()),
            None => Err(NoPrincipal::MissingLayer),
        }
    }

    /// Everybody who needs no token.
    pub(super) fn anonymous() -> Self {
        Self(Box::from([0]))
    }

    fn of_caller(caller: &Authentication) -> Result<Self, NoPrincipal> {
        // Where claims are of another form than RFC 7519 has them, they cannot be told apart either.
        let claims = caller.registered().ok_or(NoPrincipal::Nameless)?;
        Self::named(claims.iss(), claims.sub(), claims.client_id()).ok_or(NoPrincipal::Nameless)
    }

    fn named(issuer: Option<&str>, subject: Option<&str>, client: Option<&str>) -> Option<Self> {
        [subject, client]
            .into_iter()
            .flatten()
            .find(|name| !name.is_empty())?;
        let mut bytes = vec![1];
        for claim in [issuer, subject, client] {
            bytes.push(u8::from(claim.is_some()));
            push_field(&mut bytes, claim.unwrap_or_default().as_bytes());
        }
        Some(Self(bytes.into()))
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Appends a field so that where it ends cannot be mistaken.
pub(super) fn push_field(bytes: &mut Vec<u8>, field: &[u8]) {
    bytes.extend((field.len() as u64).to_be_bytes());
    bytes.extend(field);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_two_callers_are_the_same() {
        let values = [
            None,
            Some(""),
            Some("a"),
            Some("ab"),
            Some("b"),
            Some("a\0b"),
        ];
        let mut seen = HashSet::from([Principal::anonymous().0]);
        let mut named = 1;
        for issuer in values {
            for subject in values {
                for client in values {
                    let Some(principal) = Principal::named(issuer, subject, client) else {
                        continue;
                    };
                    named += 1;
                    seen.insert(principal.0);
                }
            }
        }
        // All but those whose subject and client are both missing or empty.
        assert_eq!(named, 1 + 6 * (36 - 4));
        assert_eq!(seen.len(), named);
    }

    #[test]
    fn who_is_named_by_nothing_is_nobody_in_particular() {
        for (subject, client) in [
            (None, None),
            (Some(""), None),
            (None, Some("")),
            (Some(""), Some("")),
        ] {
            assert_eq!(
                Principal::named(Some("https://login.example"), subject, client),
                None
            );
        }
        assert!(Principal::named(None, None, Some("client")).is_some());
    }

    #[test]
    fn without_a_layer_there_is_no_principal() {
        let mut extensions = Extensions::new();
        assert_eq!(Principal::of(&extensions), Err(NoPrincipal::MissingLayer));
        extensions.insert(Anonymous::default());
        assert_eq!(Principal::of(&extensions).unwrap(), Principal::anonymous());
    }
}
