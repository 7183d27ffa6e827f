//! The keys that a bundle holds, and what is prepared from them once for each version.
//!
//! [`JwtKey`] is what the user's bundle has in a field. Deserialising it judges nothing, so that a
//! bad key is reported as a bad key and not as a bad document; [`prepare`] judges, before any swap.
//!
//! A key has two names. Its [`KeyId`] is what tokens carry as `kid`: public, and chosen by whoever
//! wrote the JWK, so two different keys may share one. Its *identity* covers the material, the
//! algorithm and the issuer that a JWK may name, and nothing else; windows and revocations go by that.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Deserializer, de};
use zeroize::Zeroizing;

mod algorithm;
pub(in crate::keyring) use algorithm::Algorithm;
#[cfg(test)]
pub(in crate::keyring) use algorithm::Curve;
use algorithm::Hash;

mod der;

mod ecdsa;

mod ed25519;

mod error;
pub use error::{KeyError, KeyErrorKind, SignError, SignErrorKind};

mod json;
use json::SecretJson;

mod jwk;

mod material;

mod pem;

mod usual_headers;

mod prepared;
pub(crate) use prepared::PreparedKey;

mod rsa;

mod secret;
pub(in crate::keyring) use secret::may_be_known;

mod set;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

/// Larger than anybody's set of keys.
const MAX_BYTES: usize = 1024 * 1024;

/// The longest `kid` of a token, and so of a key; a digest in hexadecimal has 64 to 128.
pub(in crate::keyring) const MAX_KID_BYTES: usize = 256;

/// A key, or a set of keys, that verifies bearer tokens and, where it is secret or private, signs
/// them. It is a field of your bundle:
///
/// ```
/// use tower_secrets::keyring::JwtKey;
///
/// #[derive(serde::Deserialize)]
/// struct App {
///     jwt_secret: JwtKey,
///     api_key: String,
/// }
///
/// # fn main() -> Result<(), serde_json::Error> {
/// let app: App = serde_json::from_str(
///     r#"{ "jwt_secret": "at least 32 bytes from a random generator", "api_key": "k" }"#,
/// )?;
/// assert_eq!(format!("{:?}", app.jwt_secret), "JwtKey([redacted])");
/// # Ok(())
/// # }
/// ```
///
/// | in the document | what it is | algorithm |
/// |---|---|---|
/// | a string | an HMAC secret: its UTF-8 bytes, 32 or more | HS256 |
/// | a string that holds a PEM | a public key (SPKI, or PKCS#1 for RSA) or a private key (PKCS#8, or PKCS#1 for RSA) | RS256; ES256 or ES384 by the curve; EdDSA |
/// | an object with `kty`, or a string that holds one | a JWK ([RFC 7517]), public or private | its `alg`, else as above |
/// | an object with `keys`, or a string that holds one | a JWKS of at most 100 keys | each key its own |
///
/// A private key signs, and its public half verifies. A key has exactly one algorithm; a token of
/// another is not its token. Supported are HS256/384/512, RS256/384/512, PS256/384/512 (RSA of 2048
/// to 8192 bits with an odd exponent of 65537 to 33 bits), ES256, ES384 and EdDSA with Ed25519.
///
/// * A PEM is one block; text around it, a byte order mark and Windows line ends do not matter.
///   Certificates, encrypted keys and SEC1 (`EC PRIVATE KEY`) are refused with a hint.
/// * A JWK with a `use` other than `sig`, or with `key_ops` that lack `verify`, is refused. A
///   *private* JWK with `sign` alone is used, because its public half verifies; one with `verify`
///   alone does not sign. A JWK that names a member twice is refused, and a `kid` has at most 256
///   bytes.
/// * A JWK with the member `issuer`, as Microsoft Entra writes it, verifies tokens of that `iss` and
///   no others; `{tenantid}` in it stands for the token's claim `tid`.
/// * Of a JWKS, such keys are skipped with a warning, and the rest are used. Two different keys
///   with one `kid` are both used.
///
/// Anything else in that place of the document is an error that names its JSON type. Whether the
/// key is any good is judged later, when the keyring prepares it: an unusable key leaves the version
/// before it in use, with a [`KeyError`] that says why.
///
/// A token's `kid` may be any name that the key had in the versions seen by this process, so a key
/// can be renamed while tokens are out. More than eight keys of one algorithm in a set need `kid`s,
/// for a token without one is tried with eight.
///
/// # Danger
/// An HMAC secret shorter than its hash (HS256: 32 bytes, HS384: 48, HS512: 64) can be guessed
/// offline by anybody who holds one token. It is refused unless the keyring's builder was told
/// otherwise, by a method named for the danger. Refused always are an empty one, one over 64 KiB,
/// and one that is itself a key or a certificate, in PEM, DER, base64 of DER or as a JWK: everybody
/// may know a public key, and could sign with it.
///
/// The text is wiped from memory when the last clone is dropped.
///
/// [RFC 7517]: https://www.rfc-editor.org/rfc/rfc7517
#[derive(Clone, PartialEq, Eq)]
pub struct JwtKey(Arc<Form>);

#[derive(PartialEq, Eq)]
enum Form {
    /// A string of the document: it says itself what it is.
    Text(Zeroizing<String>),
    Secret(Zeroizing<Vec<u8>>),
    Pem(Zeroizing<String>),
    Json(Zeroizing<String>),
}

impl Form {
    fn len(&self) -> usize {
        match self {
            Self::Text(text) | Self::Pem(text) | Self::Json(text) => text.len(),
            Self::Secret(secret) => secret.len(),
        }
    }
}

impl JwtKey {
    /// An HMAC secret for HS256. Bytes that are a key or a certificate are not taken for a secret; the
    /// keyring refuses them.
    #[must_use]
    pub fn from_secret(secret: impl Into<Vec<u8>>) -> Self {
        Self::new(Form::Secret(Zeroizing::new(secret.into())))
    }

    /// A public or private key in PEM form. Text that is no PEM never becomes an HMAC secret; the
    /// keyring refuses it.
    #[must_use]
    pub fn from_pem(pem: &str) -> Self {
        Self::new(Form::Pem(Zeroizing::new(pem.to_owned())))
    }

    /// The JSON text of a JWK or a JWKS. Other text never becomes an HMAC secret; the keyring
    /// refuses it.
    #[must_use]
    pub fn from_jwk(json: &str) -> Self {
        Self::new(Form::Json(Zeroizing::new(json.to_owned())))
    }

    /// Whether this is its text, or its secret.
    pub(crate) fn is_text_of(&self, secret: &[u8]) -> bool {
        let own = match &*self.0 {
            Form::Text(text) | Form::Pem(text) | Form::Json(text) => text.as_bytes(),
            Form::Secret(own) => own,
        };
        own == secret
    }

    fn new(form: Form) -> Self {
        Self(Arc::new(form))
    }
}

impl fmt::Debug for JwtKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(_) = self;
        f.write_str("JwtKey([redacted])")
    }
}

impl<'de> Deserialize<'de> for JwtKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(KeyVisitor)
    }
}

struct KeyVisitor;

impl KeyVisitor {
    // serde's own methods put the unexpected value into the error.
    fn refuse<E: de::Error>(&self, json_type: &'static str) -> Result<JwtKey, E> {
        Err(E::invalid_type(de::Unexpected::Other(json_type), self))
    }
}

impl<'de> de::Visitor<'de> for KeyVisitor {
    type Value = JwtKey;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key as a string or an object")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<JwtKey, E> {
        self.visit_string(text.to_owned())
    }

    fn visit_string<E: de::Error>(self, text: String) -> Result<JwtKey, E> {
        Ok(JwtKey::new(Form::Text(Zeroizing::new(text))))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<JwtKey, A::Error> {
        let object = SecretJson::deserialize(de::value::MapAccessDeserializer::new(map))?;
        Ok(JwtKey::new(Form::Json(object.to_text())))
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, _: A) -> Result<JwtKey, A::Error> {
        self.refuse("an array")
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<JwtKey, E> {
        self.refuse("a boolean")
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<JwtKey, E> {
        self.refuse("a number")
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<JwtKey, E> {
        self.refuse("a number")
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<JwtKey, E> {
        self.refuse("a number")
    }

    fn visit_unit<E: de::Error>(self) -> Result<JwtKey, E> {
        self.refuse("null")
    }
}

/// The public name of a key, as tokens carry it in `kid`.
///
/// It is the JWK's own `kid`; else the [RFC 7638] thumbprint of a public key; else, for an HMAC
/// secret, a truncated HMAC of a fixed label under it. It is equal on every replica that holds the
/// key, and reveals nothing of it.
///
/// [RFC 7638]: https://www.rfc-editor.org/rfc/rfc7638
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(Arc<str>);

impl KeyId {
    pub(crate) fn new(id: impl Into<Arc<str>>) -> Self {
        Self(id.into())
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// What [`prepare`] makes of a [`JwtKey`]: at least one usable key, in the order of the set.
#[derive(Debug, Default)]
pub(crate) struct PreparedKeys {
    pub(crate) keys: Vec<Arc<PreparedKey>>,
    /// The keys of a set that cannot be used, for a warning each.
    pub(crate) skipped: Vec<KeyError>,
}

impl From<PreparedKey> for PreparedKeys {
    fn from(key: PreparedKey) -> Self {
        Self {
            keys: vec![Arc::new(key)],
            skipped: Vec::new(),
        }
    }
}

/// Judges and prepares a key. CPU-bound: a private RSA key takes some milliseconds, for it proves
/// itself by a signature.
pub(crate) fn prepare(key: &JwtKey, allow_weak: bool) -> Result<PreparedKeys, KeyError> {
    if key.0.len() > MAX_BYTES {
        let reason = "the key is longer than 1 MiB";
        return Err(KeyError::new(KeyErrorKind::Unsupported, reason));
    }
    match &*key.0 {
        Form::Text(text) => prepare_text(text, allow_weak),
        Form::Secret(secret) => prepare_secret(secret, allow_weak),
        Form::Pem(text) => pem::prepare(text).map(Into::into),
        Form::Json(text) => {
            let document = SecretJson::parse(text).ok_or(KeyError::new(
                KeyErrorKind::Malformed,
                "the key is not valid JSON",
            ))?;
            set::prepare(&document, allow_weak)
        }
    }
}

fn prepare_text(text: &str, allow_weak: bool) -> Result<PreparedKeys, KeyError> {
    if pem::is_pem(text.as_bytes()) {
        return pem::prepare(text).map(Into::into);
    }
    let trimmed = text.trim_start_matches('\u{feff}').trim();
    if trimmed.starts_with(['{', '['])
        && let Some(document) = SecretJson::parse(trimmed)
        && set::is_key_or_set(&document)
    {
        return set::prepare(&document, allow_weak);
    }
    prepare_secret(text.as_bytes(), allow_weak)
}

fn prepare_secret(secret: &[u8], allow_weak: bool) -> Result<PreparedKeys, KeyError> {
    secret::prepare(secret, Hash::Sha256, allow_weak)
        .and_then(|material| PreparedKey::new(material, None))
        .map(Into::into)
}
