//! Which keys a token may be tried with, and which of them signed it.

use super::{Buffer, ClaimsSet, Compact, VerifyErrorKind, json::Text};
use crate::{
    clock::Now,
    keyring::key::{Algorithm, PreparedKey},
    snapshot::TrustedKey,
};

/// The most signature checks that one token may cost.
const MAX_TRIES: usize = 8;

/// The most keys whose usual headers a token's is compared with. It bounds what junk costs; the keys
/// after them are found the longer way.
const MAX_COMPARED: usize = 32;

/// The signature of an RSA key of 4096 bits; longer ones cost an allocation.
const SIGNATURE_BYTES: usize = 512;

/// The key whose id and algorithm the header states, found without decoding it.
pub(super) fn key_of_usual_header<'k>(
    compact: &Compact<'_>,
    keys: &'k [TrustedKey],
) -> Option<&'k PreparedKey> {
    keys.iter()
        .take(MAX_COMPARED)
        .map(|held| &*held.key)
        .find(|key| key.is_usual_header(compact.header))
}

/// The first key, in the order of `keys`, whose signature the token carries.
pub(super) fn find_key(
    compact: &Compact<'_>,
    kid: Option<&str>,
    algorithm: Algorithm,
    keys: &[TrustedKey],
    now: Now,
) -> Result<usize, VerifyErrorKind> {
    let choice = Choice::of(kid, keys, now);
    let mut candidates = trusted(keys, now)
        .filter(|(_, held)| choice.admits(held) && held.key.alg() == algorithm)
        .take(MAX_TRIES)
        .peekable();
    if candidates.peek().is_none() {
        return Err(choice.without_candidates());
    }
    let mut buffer = Buffer::<SIGNATURE_BYTES>::new();
    let signature = compact.signature(&mut buffer)?;
    candidates
        .find(|(_, held)| held.key.verifies(compact.signing_input, signature))
        .map(|(index, _)| index)
        .ok_or(VerifyErrorKind::BadSignature)
}

/// A key that is bound to an issuer is for its tokens alone; a twin of it may be bound to another.
pub(super) fn key_of_issuer(
    key: usize,
    claims: &ClaimsSet<'_>,
    payload: &[u8],
    keys: &[TrustedKey],
    now: Now,
) -> Result<usize, VerifyErrorKind> {
    let signer = &*keys[key].key;
    if signer.issuer().is_none() {
        return Ok(key);
    }
    let Some(Text::Is(iss)) = &claims.iss else {
        return Err(VerifyErrorKind::WrongIssuer);
    };
    let fits = |key: &PreparedKey| {
        key.issuer()
            .is_none_or(|issuer| issuer.is(iss, payload) == Ok(true))
    };
    if fits(signer) {
        return Ok(key);
    }
    trusted(keys, now)
        .find(|(_, held)| held.key.is_twin_of(signer) && fits(&held.key))
        .map(|(index, _)| index)
        .ok_or(VerifyErrorKind::WrongIssuer)
}

#[derive(Clone, Copy)]
enum Choice<'a> {
    /// A key answers to the token's `kid`: it and no other.
    Named(&'a str),
    /// The token's `kid` is nobody's here; a key without a declared id may still be meant.
    Undeclared,
    /// The token has no `kid`.
    Any,
}

impl<'a> Choice<'a> {
    fn of(kid: Option<&'a str>, keys: &[TrustedKey], now: Now) -> Self {
        match kid {
            None => Self::Any,
            Some(kid) if trusted(keys, now).any(|(_, held)| held.answers_to(kid)) => {
                Self::Named(kid)
            }
            Some(_) => Self::Undeclared,
        }
    }

    fn admits(self, held: &TrustedKey) -> bool {
        match self {
            Self::Named(kid) => held.answers_to(kid),
            Self::Undeclared => !held.key.declares_kid(),
            Self::Any => true,
        }
    }

    fn without_candidates(self) -> VerifyErrorKind {
        match self {
            // The named key is for another algorithm.
            Self::Named(_) => VerifyErrorKind::Unsupported,
            Self::Undeclared | Self::Any => VerifyErrorKind::UnknownKey,
        }
    }
}

fn trusted(keys: &[TrustedKey], now: Now) -> impl Iterator<Item = (usize, &TrustedKey)> {
    keys.iter()
        .enumerate()
        .filter(move |(_, held)| held.trust.holds(now))
}
