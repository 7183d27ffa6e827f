//! Whether a token is good: a pure function of the token, the keys, the policy and the time.
//!
//! The order is fixed: length, parts, header, choice of keys, signature, claims. Nothing that the
//! token says of itself is believed before its signature, except which key to ask, and that only
//! among the keys held here. Each part is decoded once, and the keys were prepared before.

#[cfg(test)]
use serde::de::DeserializeOwned;

use super::key::KeyId;
use crate::{clock::Now, snapshot::TrustedKey};

mod any_claims;
pub(crate) use any_claims::{AnyClaims, ReadClaims, read_as};

mod checks;
pub(crate) use checks::Validity;

mod claims;
pub(crate) use claims::ClaimsSet;

mod compact;
use compact::{Buffer, Compact};

mod error;
pub use error::{VerifyError, VerifyErrorKind};

mod header;
use header::Header;

mod issuer;
pub(crate) use issuer::{IssuerName, claimed_issuer};

mod json;

mod numeric_date;
pub(crate) use numeric_date::NumericDate;

mod policy;
pub(crate) use policy::{AcceptedUse, Policy, PolicyId};

mod signature;

#[cfg(test)]
pub(super) mod tests;

/// Decoded, the claims of most tokens fit into this many bytes; longer ones cost an allocation.
const CLAIMS_BYTES: usize = 1024;

/// A token that passed.
#[derive(Clone, Debug)]
pub(crate) struct Verified {
    pub(crate) claims: AnyClaims,
    /// The key that fits, as an index into the keys given.
    pub(crate) key: usize,
    /// While the wall clock is in here, its times need no other look.
    pub(crate) validity: Validity,
}

/// Judges a compact JWS (RFC 7515, section 7.1) whose payload is a claims set (RFC 7519).
///
/// `keys` are in the order current, previous, pending, each key once. The claims that come back are
/// of type `C`.
#[cfg(test)]
pub(crate) fn verify<C>(
    token: &[u8],
    keys: &[TrustedKey],
    policy: &Policy,
    now: Now,
) -> Result<Verified, VerifyError>
where
    C: DeserializeOwned + Send + Sync + 'static,
{
    verify_with(token, keys, policy, now, read_as::<C>)
}

/// [`verify`], with the way in which claims are read as a value. A caller who knows the type gives the
/// function itself, which is then no call through a pointer.
pub(crate) fn verify_with(
    token: &[u8],
    keys: &[TrustedKey],
    policy: &Policy,
    now: Now,
    read: impl Fn(&ClaimsSet<'_>, &[u8]) -> Result<AnyClaims, VerifyErrorKind>,
) -> Result<Verified, VerifyError> {
    let (compact, key) = authenticate(token, keys, policy, now)?;
    let mut buffer = Buffer::<CLAIMS_BYTES>::new();
    let payload = compact.payload(&mut buffer)?;
    let claims = ClaimsSet::read(payload)?;
    let validity = policy.check(&claims, payload, now)?;
    let key = signature::key_of_issuer(key, &claims, payload, keys, now)?;
    let claims = read(&claims, payload)?;
    Ok(Verified {
        claims,
        key,
        validity,
    })
}

/// All that can be said of a token without its payload: its parts, and the key that signed it.
fn authenticate<'t>(
    token: &'t [u8],
    keys: &[TrustedKey],
    policy: &Policy,
    now: Now,
) -> Result<(Compact<'t>, usize), VerifyErrorKind> {
    if token.len() > policy.max_token_bytes {
        return Err(VerifyErrorKind::TooLong);
    }
    let compact = Compact::split(token)?;
    if policy.token_types.is_empty()
        && let Some(named) = signature::key_of_usual_header(&compact, keys)
    {
        let kid = Some(named.id().as_str());
        let key = signature::find_key(&compact, kid, named.alg(), keys, now)?;
        return Ok((compact, key));
    }
    let mut buffer = Buffer::<{ header::BYTES }>::new();
    let header = Header::read(compact.decode_header(&mut buffer)?)?;
    let algorithm = header.check(policy)?;
    let key = signature::find_key(&compact, header.kid(), algorithm, keys, now)?;
    Ok((compact, key))
}

/// What is known of keys, for a token that none of them has verified.
#[derive(Clone, Copy)]
pub(crate) struct KnownKeys<'s> {
    pub(crate) keys: &'s [TrustedKey],
    /// The names of those that were revoked.
    pub(crate) revoked: &'s [KeyId],
}

impl KnownKeys<'_> {
    fn may_be_new(self, kid: &str, now: Now, bad_signatures: bool) -> bool {
        let is_here = |held: &TrustedKey| held.answers_to(kid) && held.trust.holds(now);
        if self.keys.iter().any(is_here) {
            return bad_signatures;
        }
        !self.revoked.iter().any(|name| name.as_str() == kid)
    }
}

/// Whether a token that was refused because of its key may be good once more keys are known: no key
/// here has its name (or, with `bad_signatures`, some key does), nor had one that is revoked, and all else
/// that it says of itself is what the policy asks for. Nothing of that is believed; it keeps junk from
/// asking for refreshes.
pub(crate) fn may_be_of_new_key(
    token: &[u8],
    known: KnownKeys<'_>,
    policy: &Policy,
    now: Now,
    bad_signatures: bool,
) -> bool {
    let judge = || -> Result<bool, VerifyErrorKind> {
        let compact = Compact::split(token)?;
        let mut buffer = Buffer::<{ header::BYTES }>::new();
        let header = Header::read(compact.decode_header(&mut buffer)?)?;
        header.check(policy)?;
        if header
            .kid()
            .is_some_and(|kid| !known.may_be_new(kid, now, bad_signatures))
        {
            return Ok(false);
        }
        let mut buffer = Buffer::<CLAIMS_BYTES>::new();
        let payload = compact.payload(&mut buffer)?;
        let claims = ClaimsSet::read(payload)?;
        policy.check(&claims, payload, now).map(|_| true)
    };
    token.len() <= policy.max_token_bytes && judge().unwrap_or(false)
}

/// Whether a token's header is one that issuers usually write for an HMAC key of these.
pub(crate) fn names_secret(token: &[u8], keys: &[TrustedKey]) -> bool {
    Compact::split(token)
        .ok()
        .and_then(|compact| signature::key_of_usual_header(&compact, keys))
        .is_some_and(|key| !key.is_asymmetric())
}
