//! The secret that sessions and request states are bound with, and what is derived from it.

use std::{fmt, sync::Arc};

use aws_lc_rs::{aead, hkdf, hmac};
use base64_simd::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer, de};
use zeroize::Zeroizing;

use super::key::{KeyError, KeyErrorKind, KeyId, may_be_known};

/// RFC 5869, section 3.1: a salt need not be secret, and keeps these keys apart from those that
/// others may derive from the same secret.
const SALT: &[u8] = b"tower-secrets session key v1";

// One label for each use: knowing one derived key says nothing of another (RFC 5869, section 3.2).
const ID_LABEL: &[u8] = b"key id";
const BINDING_LABEL: &[u8] = b"session binding";
const STATE_LABEL: &[u8] = b"request state";

const KEY_BYTES: usize = 32;

/// Of the derived id, what is shown.
const SHOWN_ID_BYTES: usize = 16;

/// As for HS256: 256 bits.
const MIN_BYTES: usize = 32;
/// Larger than anybody's secret.
const MAX_BYTES: usize = 64 * 1024;

/// The secret that MCP sessions and request states are bound to their users with, where several
/// replicas share them. It is a field of your bundle, beside [`JwtKey`](super::JwtKey) and never the
/// same as that: who may sign tokens need not be able to take over sessions, and a key that verifies
/// tokens may be known to everybody.
///
/// ```
/// use tower_secrets::keyring::SessionKey;
///
/// #[derive(serde::Deserialize)]
/// struct App {
///     session_key: SessionKey,
/// }
///
/// # fn main() -> Result<(), serde_json::Error> {
/// let app: App = serde_json::from_str(
///     r#"{ "session_key": "at least 32 bytes from a random generator" }"#,
/// )?;
/// assert_eq!(format!("{:?}", app.session_key), "SessionKey([redacted])");
/// assert!(serde_json::from_str::<App>(r#"{ "session_key": "too short" }"#).is_err());
/// # Ok(())
/// # }
/// ```
///
/// In the document it is a string of 32 bytes to 64 KiB that is no key or certificate itself. Anything
/// else refuses the version, with an error that names the field. It is never used as it is:
/// HKDF-SHA256 ([RFC 5869]) derives a key for each use from it, so its entropy counts, not its form.
///
/// The text is wiped from memory when the last clone is dropped.
///
/// [RFC 5869]: https://www.rfc-editor.org/rfc/rfc5869
#[derive(Clone, PartialEq, Eq)]
pub struct SessionKey(Arc<Zeroizing<Vec<u8>>>);

impl SessionKey {
    /// A key from random bytes, for bundles that write it otherwise than as a string.
    ///
    /// # Errors
    /// When it has fewer than 32 bytes or more than 64 KiB, or is a key or a certificate itself.
    pub fn from_secret(secret: impl Into<Vec<u8>>) -> Result<Self, KeyError> {
        let secret = Zeroizing::new(secret.into());
        let refused = |kind, reason: &'static str| Err(KeyError::new(kind, reason));
        match secret.len() {
            0 => refused(KeyErrorKind::Empty, "the session key is empty"),
            len if len < MIN_BYTES => refused(
                KeyErrorKind::Weak,
                "the session key is shorter than 32 bytes",
            ),
            len if len > MAX_BYTES => refused(
                KeyErrorKind::Unsupported,
                "the session key is longer than 64 KiB",
            ),
            _ if may_be_known(&secret) => refused(
                KeyErrorKind::Malformed,
                "the session key is a key or a certificate, which others may know; give it random \
                 bytes",
            ),
            _ => Ok(Self(Arc::new(secret))),
        }
    }

    pub(crate) fn secret(&self) -> &[u8] {
        &self.0
    }

    /// Derives the keys.
    pub(crate) fn prepare(&self) -> Result<PreparedSessionKey, KeyError> {
        PreparedSessionKey::derive(&self.0)
            .ok_or_else(|| KeyError::new(KeyErrorKind::Unsupported, "HKDF failed"))
    }
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(_) = self;
        f.write_str("SessionKey([redacted])")
    }
}

impl<'de> Deserialize<'de> for SessionKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Zeroizing::new(deserializer.deserialize_any(TextVisitor)?);
        // serde's words, because what a type says in its own is left out of errors.
        let refused = |expected: &'static str| {
            de::Error::invalid_value(de::Unexpected::Other("string"), &expected)
        };
        Self::from_secret(text.as_bytes()).map_err(|error| match error.kind() {
            KeyErrorKind::Malformed => {
                refused("a session key of random bytes that is no other key or certificate")
            }
            _ => refused("a session key of 32 bytes to 64 KiB"),
        })
    }
}

struct TextVisitor;

impl de::Visitor<'_> for TextVisitor {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a session key as a string")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }

    fn visit_string<E: de::Error>(self, text: String) -> Result<String, E> {
        Ok(text)
    }

    // serde's own put the value into the error.
    fn visit_bool<E: de::Error>(self, _: bool) -> Result<String, E> {
        self.refuse("a boolean")
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<String, E> {
        self.refuse("a number")
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<String, E> {
        self.refuse("a number")
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<String, E> {
        self.refuse("a number")
    }
}

impl TextVisitor {
    fn refuse<E: de::Error>(self, found: &'static str) -> Result<String, E> {
        Err(E::invalid_type(de::Unexpected::Other(found), &self))
    }
}

/// What is derived from a session key, once for each version of a bundle.
pub(crate) struct PreparedSessionKey {
    identity: [u8; KEY_BYTES],
    binding: hmac::Key,
    state: aead::LessSafeKey,
}

impl PreparedSessionKey {
    /// `None` where the crypto library fails.
    pub(super) fn derive(secret: &[u8]) -> Option<Self> {
        let secret = hkdf::Salt::new(hkdf::HKDF_SHA256, SALT).extract(secret);
        let derive = |label: &[u8]| {
            let mut key = Zeroizing::new([0; KEY_BYTES]);
            let labels = [label];
            let derived = secret.expand(&labels, hkdf::HKDF_SHA256).ok()?;
            derived.fill(&mut *key).ok()?;
            Some(key)
        };
        let state = derive(STATE_LABEL)?;
        Some(Self {
            identity: *derive(ID_LABEL)?,
            binding: hmac::Key::new(hmac::HMAC_SHA256, &*derive(BINDING_LABEL)?),
            state: aead::LessSafeKey::new(aead::UnboundKey::new(&aead::AES_256_GCM, &*state).ok()?),
        })
    }

    /// Equal on every replica that holds the key, and reveals nothing of it.
    pub(crate) fn id(&self) -> KeyId {
        KeyId::new(URL_SAFE_NO_PAD.encode_to_string(&self.identity[..SHOWN_ID_BYTES]))
    }

    /// Equal for two keys exactly when they are the same secret.
    pub(crate) fn identity(&self) -> &[u8; KEY_BYTES] {
        &self.identity
    }

    /// Binds sessions (HMAC-SHA256).
    #[cfg_attr(
        not(feature = "rmcp"),
        allow(
            dead_code,
            reason = "sessions are of MCP; tests of the keys ask for it"
        )
    )]
    pub(crate) fn binding(&self) -> &hmac::Key {
        &self.binding
    }

    /// Seals request states (AES-256-GCM).
    #[cfg_attr(not(feature = "rmcp"), expect(dead_code, reason = "states are of MCP"))]
    pub(crate) fn state(&self) -> &aead::LessSafeKey {
        &self.state
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const SECRET: &str = "a session key of more than 32 bytes";

    #[test]
    fn one_secret_gives_one_id_and_different_keys_for_different_uses() {
        let prepared = || SessionKey::from_secret(SECRET).unwrap().prepare().unwrap();
        let other = SessionKey::from_secret(format!("{SECRET}!")).unwrap();
        assert_eq!(prepared().id(), prepared().id());
        assert_ne!(prepared().id(), other.prepare().unwrap().id());
        // The key that binds is none of the others: not the id's, and not the secret itself.
        let tag = |key: &[u8]| {
            let key = hmac::Key::new(hmac::HMAC_SHA256, key);
            hmac::sign(&key, b"text").as_ref().to_vec()
        };
        let bound = hmac::sign(prepared().binding(), b"text").as_ref().to_vec();
        assert_ne!(bound, tag(SECRET.as_bytes()));
        assert_ne!(bound, tag(prepared().identity()));
    }

    #[test]
    fn hkdf_is_that_of_the_rfc() {
        // RFC 5869, sections 2.2 and 2.3, by hand: one block is as long as the hash.
        let extract = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SALT), SECRET.as_bytes());
        let expand = hmac::sign(
            &hmac::Key::new(hmac::HMAC_SHA256, extract.as_ref()),
            &[ID_LABEL, &[1]].concat(),
        );
        let prepared = PreparedSessionKey::derive(SECRET.as_bytes()).unwrap();
        assert_eq!(prepared.identity(), expand.as_ref());
    }

    #[test]
    fn what_is_no_random_secret_is_refused() {
        let public_key = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA\n-----END PUBLIC KEY-----";
        for (secret, kind) in [
            ("", KeyErrorKind::Empty),
            ("0123456789abcdef0123456789abcde", KeyErrorKind::Weak),
            (&"x".repeat(64 * 1024 + 1), KeyErrorKind::Unsupported),
            (public_key, KeyErrorKind::Malformed),
            (
                r#"{"kty":"oct","k":"AAAAAAAAAAAAAAAAAAAAAA"}"#,
                KeyErrorKind::Malformed,
            ),
        ] {
            let error = SessionKey::from_secret(secret).unwrap_err();
            assert_eq!(error.kind(), kind, "{error}");
        }
        for bytes in [32, 64 * 1024] {
            assert!(SessionKey::from_secret("x".repeat(bytes)).is_ok());
        }
    }

    #[test]
    fn it_is_read_from_a_document_that_is_parsed_already() {
        let read: SessionKey = serde_json::from_value(SECRET.into()).unwrap();
        assert_eq!(read.secret(), SECRET.as_bytes());
    }

    #[test]
    fn an_error_names_the_field_and_no_value() {
        #[derive(Debug, Deserialize)]
        #[expect(dead_code, reason = "only its parsing is of interest")]
        struct App {
            session_key: SessionKey,
        }
        for (document, expected) in [
            (r#"{"session_key":"hunter2"}"#, "a session key of 32 bytes"),
            (
                r#"{"session_key":"{\"kty\":\"oct\",\"k\":\"hunter2hunter2\"}"}"#,
                "a session key of random bytes",
            ),
            (
                r#"{"session_key":["hunter2"]}"#,
                "a session key as a string",
            ),
            (r#"{"session_key":70000}"#, "a session key as a string"),
            (r#"{"session_key":-70000}"#, "a session key as a string"),
            (r#"{"session_key":70000.5}"#, "a session key as a string"),
            (r#"{"session_key":true}"#, "a session key as a string"),
            (r#"{"session_key":null}"#, "a session key as a string"),
        ] {
            let error = crate::refresh::parse::<App>(document.as_bytes()).unwrap_err();
            assert!(error.contains("`session_key`"), "{error}");
            assert!(error.contains(expected), "{error}");
            let foreign = serde_json::from_str::<App>(document)
                .unwrap_err()
                .to_string();
            for error in [error, foreign] {
                assert!(
                    !error.contains("hunter2") && !error.contains("70000"),
                    "{error}"
                );
            }
        }
    }
}
