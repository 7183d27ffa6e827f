//! Whether a token is good: a pure function of the token, the keys, the policy and the time.
//!
//! The order is fixed: size, parts, header, choice of keys, signature, claims. Nothing that the
//! token says of itself is believed before its signature, except which key to ask, and that only
//! among the keys held here.
//!
//! This file alone knows that jsonwebtoken checks the signature. Its own checks of claims are off,
//! because here the time is a parameter.

use std::time::{Duration, SystemTime};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Validation, errors::ErrorKind};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, IgnoredAny},
};
use serde_json::{Map, Number, Value};

use super::key::{Algorithm, PreparedKey};
use crate::{clock::Now, snapshot::TrustedKey};

mod error;
pub use error::{VerifyError, VerifyErrorKind};

#[cfg(test)]
mod tests;

/// The most signatures that one token may cost.
const MAX_TRIES: usize = 8;

type Claims = Map<String, Value>;

/// What a layer asks of a token besides its signature.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    /// Empty: `iss` is not looked at. Otherwise it is required and must be one of these.
    pub(crate) issuers: Vec<String>,
    /// Empty: `aud` is not looked at. Otherwise it is required and must name one of these.
    pub(crate) audiences: Vec<String>,
    pub(crate) leeway: Duration,
    pub(crate) max_token_bytes: usize,
}

/// A token that passed: its claims, and the key (an index into the keys given) that fits.
#[derive(Debug)]
pub(crate) struct Verified<C> {
    pub(crate) claims: C,
    pub(crate) key: usize,
}

/// Judges a compact JWS (RFC 7515, section 7.1) whose payload is a claims set (RFC 7519).
///
/// `keys` are in the order current, previous, pending, each key once.
pub(crate) fn verify<C: DeserializeOwned>(
    token: &str,
    keys: &[TrustedKey],
    policy: &Policy,
    now: Now,
) -> Result<Verified<C>, VerifyError> {
    let header = Header::read(token, policy)?;
    let (key, claims) = check_signature(token, &header, keys, now)?;
    check_time(&claims, policy.leeway, now)?;
    check_issuer(&claims, &policy.issuers)?;
    check_audience(&claims, &policy.audiences)?;
    let claims =
        serde_json::from_value(Value::Object(claims)).map_err(|_| VerifyErrorKind::WrongClaims)?;
    Ok(Verified { claims, key })
}

/// Has jsonwebtoken work with aws-lc-rs. It panics on first use when its features leave the choice
/// open, and which are on depends on the whole graph of the user. Another provider that the user
/// installed before is left in place.
pub(crate) fn install_crypto_provider() {
    let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
}

struct Header {
    algorithm: Algorithm,
    kid: Option<String>,
}

impl Header {
    fn read(token: &str, policy: &Policy) -> Result<Self, VerifyError> {
        if token.len() > policy.max_token_bytes {
            return Err(VerifyErrorKind::Malformed.into());
        }
        let mut parts = token.split('.');
        let (Some(header), Some(_), Some(_), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(VerifyErrorKind::Malformed.into());
        };
        let json = URL_SAFE_NO_PAD
            .decode(header)
            .map_err(|_| VerifyErrorKind::Malformed)?;
        // serde takes an array for a struct, too.
        if json.first() != Some(&b'{') {
            return Err(VerifyErrorKind::Malformed.into());
        }
        let raw: RawHeader =
            serde_json::from_slice(&json).map_err(|_| VerifyErrorKind::Malformed)?;
        if raw.crit {
            return Err(VerifyErrorKind::Unsupported.into());
        }
        Ok(Self {
            algorithm: Algorithm::from_name(&raw.alg).ok_or(VerifyErrorKind::Unsupported)?,
            kid: raw.kid,
        })
    }
}

#[derive(Deserialize)]
struct RawHeader {
    alg: String,
    #[serde(default)]
    kid: Option<String>,
    // No extension is understood here, so its presence decides (RFC 7515, section 4.1.11).
    #[serde(default, deserialize_with = "present")]
    crit: bool,
}

fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}

/// Which keys a token may be tried with.
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
    fn of(header: &'a Header, keys: &[TrustedKey], now: Now) -> Self {
        match header.kid.as_deref() {
            None => Self::Any,
            Some(kid) if trusted(keys, now).any(|(_, key)| key.answers_to(kid)) => Self::Named(kid),
            Some(_) => Self::Undeclared,
        }
    }

    fn admits(self, key: &PreparedKey) -> bool {
        match self {
            Self::Named(kid) => key.answers_to(kid),
            Self::Undeclared => !key.declares_kid(),
            Self::Any => true,
        }
    }
}

fn trusted(keys: &[TrustedKey], now: Now) -> impl Iterator<Item = (usize, &PreparedKey)> {
    keys.iter()
        .enumerate()
        .filter(move |(_, trusted)| trusted.trust.holds(now))
        .map(|(index, trusted)| (index, &*trusted.key))
}

fn check_signature(
    token: &str,
    header: &Header,
    keys: &[TrustedKey],
    now: Now,
) -> Result<(usize, Claims), VerifyError> {
    let choice = Choice::of(header, keys, now);
    let candidates = trusted(keys, now)
        .filter(|(_, key)| choice.admits(key))
        .filter(|(_, key)| key.alg() == header.algorithm)
        .take(MAX_TRIES);
    let mut tried = false;
    for (index, key) in candidates {
        match claims_signed_by(key, token) {
            Ok(claims) => return Ok((index, claims)),
            Err(Refused::BySignature) => tried = true,
            Err(Refused::ByForm) => return Err(VerifyErrorKind::Malformed.into()),
        }
    }
    Err(no_key_fits(choice, tried))
}

fn no_key_fits(choice: Choice<'_>, tried: bool) -> VerifyError {
    let kind = match (tried, choice) {
        (true, _) => VerifyErrorKind::BadSignature,
        // The named key is for another algorithm.
        (false, Choice::Named(_)) => VerifyErrorKind::Unsupported,
        (false, Choice::Undeclared | Choice::Any) => VerifyErrorKind::UnknownKey,
    };
    kind.into()
}

enum Refused {
    /// Another key may fit.
    BySignature,
    /// No key will.
    ByForm,
}

fn claims_signed_by(key: &PreparedKey, token: &str) -> Result<Claims, Refused> {
    let validation = signature_only(key.alg());
    match jsonwebtoken::decode::<Claims>(token, key.decoding(), &validation) {
        Ok(data) => Ok(data.claims),
        Err(error) => Err(match error.kind() {
            ErrorKind::InvalidToken
            | ErrorKind::Base64(_)
            | ErrorKind::Json(_)
            | ErrorKind::Utf8(_) => Refused::ByForm,
            _ => Refused::BySignature,
        }),
    }
}

fn signature_only(algorithm: Algorithm) -> Validation {
    let mut validation = Validation::new(algorithm.into());
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    validation
}

impl From<Algorithm> for jsonwebtoken::Algorithm {
    fn from(algorithm: Algorithm) -> Self {
        use super::key::{Curve::*, Hash::*, RsaPadding::*};
        match algorithm {
            Algorithm::Hmac(Sha256) => Self::HS256,
            Algorithm::Hmac(Sha384) => Self::HS384,
            Algorithm::Hmac(Sha512) => Self::HS512,
            Algorithm::Rsa(Pkcs1, Sha256) => Self::RS256,
            Algorithm::Rsa(Pkcs1, Sha384) => Self::RS384,
            Algorithm::Rsa(Pkcs1, Sha512) => Self::RS512,
            Algorithm::Rsa(Pss, Sha256) => Self::PS256,
            Algorithm::Rsa(Pss, Sha384) => Self::PS384,
            Algorithm::Rsa(Pss, Sha512) => Self::PS512,
            Algorithm::Ecdsa(P256) => Self::ES256,
            Algorithm::Ecdsa(P384) => Self::ES384,
            Algorithm::EdDsa => Self::EdDSA,
        }
    }
}

/// RFC 7519, sections 4.1.4 and 4.1.5: the current time must be before `exp`, and not before `nbf`.
fn check_time(claims: &Claims, leeway: Duration, now: Now) -> Result<(), VerifyErrorKind> {
    let now = wall_nanos(now.wall);
    let leeway = i128::try_from(leeway.as_nanos()).unwrap_or(i128::MAX);
    let exp = date(claims, "exp")?.ok_or(VerifyErrorKind::MissingClaim)?;
    if now >= exp.saturating_add(leeway) {
        return Err(VerifyErrorKind::Expired);
    }
    match date(claims, "nbf")? {
        Some(nbf) if now < nbf.saturating_sub(leeway) => Err(VerifyErrorKind::NotYetValid),
        _ => Ok(()),
    }
}

/// A NumericDate in nanoseconds since the epoch.
fn date(claims: &Claims, name: &str) -> Result<Option<i128>, VerifyErrorKind> {
    match claims.get(name) {
        None => Ok(None),
        Some(Value::Number(seconds)) => Ok(Some(nanos(seconds))),
        Some(_) => Err(VerifyErrorKind::Malformed),
    }
}

fn nanos(seconds: &Number) -> i128 {
    const PER_SECOND: i128 = 1_000_000_000;
    match (seconds.as_u64(), seconds.as_i64()) {
        (Some(whole), _) => i128::from(whole) * PER_SECOND,
        (None, Some(whole)) => i128::from(whole) * PER_SECOND,
        // The cast saturates.
        (None, None) => (seconds.as_f64().unwrap_or_default() * 1e9) as i128,
    }
}

fn wall_nanos(wall: SystemTime) -> i128 {
    let nanos = |duration: Duration| i128::try_from(duration.as_nanos()).unwrap_or(i128::MAX);
    match wall.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => nanos(since),
        Err(before) => -nanos(before.duration()),
    }
}

fn check_issuer(claims: &Claims, accepted: &[String]) -> Result<(), VerifyErrorKind> {
    if accepted.is_empty() {
        return Ok(());
    }
    match claims.get("iss") {
        None => Err(VerifyErrorKind::MissingClaim),
        Some(Value::String(issuer)) if accepted.contains(issuer) => Ok(()),
        Some(Value::String(_)) => Err(VerifyErrorKind::WrongIssuer),
        Some(_) => Err(VerifyErrorKind::Malformed),
    }
}

/// RFC 7519, section 4.1.3: one string, or an array of strings.
fn check_audience(claims: &Claims, accepted: &[String]) -> Result<(), VerifyErrorKind> {
    if accepted.is_empty() {
        return Ok(());
    }
    let named = match claims.get("aud") {
        None => return Err(VerifyErrorKind::MissingClaim),
        Some(Value::Array(named)) => named.as_slice(),
        Some(one) => std::slice::from_ref(one),
    };
    if !named.iter().all(Value::is_string) {
        return Err(VerifyErrorKind::Malformed);
    }
    let is_ours = |name: &Value| accepted.iter().any(|ours| name == ours);
    if !named.iter().any(is_ours) {
        return Err(VerifyErrorKind::WrongAudience);
    }
    Ok(())
}
