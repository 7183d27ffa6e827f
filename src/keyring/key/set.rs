//! A JSON document that is a JWK or a JWKS (RFC 7517, section 5).

use std::sync::Arc;

use serde_json::Value;

use super::{
    KeyError, KeyErrorKind, PreparedKey, PreparedKeys,
    json::SecretJson,
    jwk::{Jwk, not_an_object},
};

/// More keys than anybody's set holds; each one costs time at load.
const MAX_KEYS: usize = 100;

pub(super) fn is_key_or_set(document: &SecretJson) -> bool {
    let value = document.value();
    // Null is an object that names a member twice.
    value.is_null() || value.get("kty").is_some() || value.get("keys").is_some()
}

pub(super) fn prepare(document: &SecretJson, allow_weak: bool) -> Result<PreparedKeys, KeyError> {
    let value = document.value();
    if value.get("kty").is_some() {
        return Jwk::new(value)?.prepare(allow_weak).map(Into::into);
    }
    match value.get("keys") {
        Some(Value::Array(keys)) => prepare_set(keys, allow_weak),
        Some(_) => Err(malformed("the member `keys` of the JWKS is no array")),
        None if value.is_object() => Err(malformed("the key is an object without `kty` or `keys`")),
        None => Err(not_an_object()),
    }
}

fn prepare_set(members: &[Value], allow_weak: bool) -> Result<PreparedKeys, KeyError> {
    if members.is_empty() {
        return Err(KeyError::new(KeyErrorKind::Empty, "the JWKS is empty"));
    }
    let mut set = PreparedKeys {
        keys: Vec::new(),
        skipped: Vec::new(),
    };
    for (index, member) in members.iter().enumerate().take(MAX_KEYS) {
        match Jwk::new(member).and_then(|jwk| jwk.prepare(allow_weak)) {
            Ok(key) if is_repeated(&set, &key) => {}
            Ok(key) => set.keys.push(Arc::new(key)),
            Err(error) => {
                let kid = member.get("kid").and_then(Value::as_str);
                set.skipped.push(error.in_set(index, kid));
            }
        }
    }
    if members.len() > MAX_KEYS {
        let reason = "a set is read up to 100 keys; this key and those after it are not";
        let error = KeyError::new(KeyErrorKind::Unsupported, reason);
        set.skipped.push(error.in_set(MAX_KEYS, None));
    }
    if set.keys.is_empty() {
        return Err(none_usable(&set.skipped));
    }
    Ok(set)
}

fn is_repeated(set: &PreparedKeys, key: &PreparedKey) -> bool {
    set.keys.iter().any(|other| {
        other.identity() == key.identity()
            && other.id() == key.id()
            && other.can_sign() == key.can_sign()
    })
}

fn none_usable(skipped: &[KeyError]) -> KeyError {
    let first = skipped.first().map(ToString::to_string);
    KeyError::new(
        KeyErrorKind::Empty,
        format!(
            "no key of the JWKS can be used; {}",
            first.unwrap_or_default()
        ),
    )
}

fn malformed(reason: &'static str) -> KeyError {
    KeyError::new(KeyErrorKind::Malformed, reason)
}
