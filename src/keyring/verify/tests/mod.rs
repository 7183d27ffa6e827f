//! What the tests of the verifier share: a time, keys, policies, and tokens that say anything.

#![allow(clippy::unwrap_used)]

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use serde_json::{Value, json};

use super::{VerifyErrorKind::*, *};
use crate::{
    keyring::{
        JwtKey, RegisteredClaims,
        key::testing::{b64, ed, from_json, one},
    },
    snapshot::Trust,
    source::{Stage, VersionId},
};

mod claims;
mod error;
mod form;
mod header;
mod key_choice;
mod properties;
mod purpose;
mod rfc;
mod time;
mod wycheproof;

/// The verdict on a token: the key that signed it, or why it was refused.
type Verdict = Result<usize, VerifyErrorKind>;

pub(in crate::keyring) const NOW: u64 = 1_000_000;

/// A header that has nothing wrong with it, for keys made by [`secret`].
const HS256: &str = r#"{"alg":"HS256"}"#;

pub(in crate::keyring) fn at(seconds: u64) -> Now {
    Now::new(
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds),
        Duration::from_secs(seconds),
    )
}

fn policy() -> Policy {
    with(|_| ())
}

/// A policy without leeway, changed.
pub(in crate::keyring) fn with(change: impl FnOnce(&mut Policy)) -> Policy {
    let mut policy = Policy::default();
    policy.change(|policy| policy.leeway = Duration::ZERO);
    policy.change(change);
    policy
}

pub(in crate::keyring) fn trusted(key: &JwtKey) -> TrustedKey {
    TrustedKey {
        key: one(key),
        stage: Stage::Current,
        version: VersionId::new("v"),
        trust: Trust::open(),
        other_names: Arc::default(),
        signs_from: Duration::ZERO,
    }
}

pub(in crate::keyring) fn secret(n: u8) -> JwtKey {
    JwtKey::from_secret([n; 32])
}

fn named(n: u8, kid: &str) -> JwtKey {
    from_json(&json!({ "kty": "oct", "k": b64([n; 32]), "kid": kid }))
}

fn judge(token: &str, keys: &[TrustedKey]) -> Verdict {
    judge_with(token, keys, &policy(), at(NOW))
}

fn judge_with(token: &str, keys: &[TrustedKey], policy: &Policy, now: Now) -> Verdict {
    verify::<Value>(token.as_bytes(), keys, policy, now)
        .map(|verified| verified.key)
        .map_err(|error| error.kind())
}

fn good_claims() -> Value {
    json!({ "sub": "s", "exp": NOW + 60 })
}

/// A token with a header of the test's choice, signed by the key whatever the header says.
pub(in crate::keyring) fn token(key: &JwtKey, header: &Value, claims: &Value) -> String {
    token_of(key, header.to_string(), claims.to_string())
}

/// The same of any bytes, JSON or not.
fn token_of(key: &JwtKey, header: impl AsRef<[u8]>, claims: impl AsRef<[u8]>) -> String {
    token_of_parts(key, &b64(header), &b64(claims))
}

/// The same of any text, base64url or not.
fn token_of_parts(key: &JwtKey, header: &str, payload: &str) -> String {
    let input = format!("{header}.{payload}");
    let signature = one(key).sign(input.as_bytes()).unwrap();
    format!("{input}.{}", b64(signature))
}

fn hs256(key: &JwtKey, kid: Option<&str>) -> String {
    let header = match kid {
        Some(kid) => json!({ "alg": "HS256", "kid": kid }),
        None => json!({ "alg": "HS256" }),
    };
    token(key, &header, &good_claims())
}

/// Judges a header of any bytes, in a token that is good otherwise.
fn judge_header(header: impl AsRef<[u8]>, policy: &Policy) -> Result<(), VerifyErrorKind> {
    let token = token_of(&secret(1), header, good_claims().to_string());
    judge_with(&token, &[trusted(&secret(1))], policy, at(NOW)).map(|_| ())
}

/// Judges claims of any bytes, read as `C`, in a token that is good otherwise.
fn judge_claims_as<C>(claims: impl AsRef<[u8]>, policy: &Policy) -> Result<(), VerifyErrorKind>
where
    C: DeserializeOwned + Send + Sync + 'static,
{
    let token = token_of(&secret(1), HS256, claims);
    verify::<C>(token.as_bytes(), &[trusted(&secret(1))], policy, at(NOW))
        .map(|_| ())
        .map_err(|error| error.kind())
}

fn judge_claims(claims: impl AsRef<[u8]>, policy: &Policy) -> Result<(), VerifyErrorKind> {
    judge_claims_as::<Value>(claims, policy)
}

/// JSON in which arrays are nested this deep.
fn nested(depth: usize) -> String {
    format!("{}{}", "[".repeat(depth), "]".repeat(depth))
}
