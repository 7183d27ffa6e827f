//! Why a key cannot be used, and why it did not sign.

use std::{borrow::Cow, error::Error, fmt, sync::Arc};

/// How much of a `kid` an error shows.
const SHOWN_KID_CHARS: usize = 64;

/// What is wrong with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeyErrorKind {
    /// It is not what it claims to be: a broken PEM, a JWK without a required member.
    Malformed,
    /// It protects nothing: it is too short, or of a form that lets others sign.
    Weak,
    /// Its type, curve, algorithm or container is not supported.
    Unsupported,
    /// Its parts do not fit each other: an algorithm of another key type, a private key that is not
    /// the public key's.
    Inconsistent,
    /// It says of itself that it is not for signatures.
    WrongUse,
    /// There is no key: an empty secret, an empty set, a set without a usable key.
    Empty,
}

/// A key cannot be used. It names the reason, and of a set the key's index and `kid`; never a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyError {
    kind: KeyErrorKind,
    reason: Cow<'static, str>,
    in_set: Option<InSet>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct InSet {
    index: usize,
    kid: Option<Box<str>>,
}

impl KeyError {
    pub(in crate::keyring) fn new(
        kind: KeyErrorKind,
        reason: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            kind,
            reason: reason.into(),
            in_set: None,
        }
    }

    pub(super) fn in_set(mut self, index: usize, kid: Option<&str>) -> Self {
        let kid = kid.map(|kid| kid.chars().take(SHOWN_KID_CHARS).collect());
        self.in_set = Some(InSet { index, kid });
        self
    }

    /// What is wrong.
    #[must_use]
    pub fn kind(&self) -> KeyErrorKind {
        self.kind
    }
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.in_set {
            None => {}
            Some(InSet { index, kid: None }) => write!(f, "key {index} of the set: ")?,
            // Quoted and escaped: it goes to logs.
            Some(InSet {
                index,
                kid: Some(kid),
            }) => write!(f, "key {index} of the set, kid {kid:?}: ")?,
        }
        f.write_str(&self.reason)
    }
}

impl Error for KeyError {}

/// Why no token was signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SignErrorKind {
    /// The keyring was built without `.jwt_key(..)`.
    NoKey,
    /// The key is a public one, or its `key_ops` do not allow signing.
    CannotSign,
    /// The current key was revoked, and the store has no newer one yet.
    Revoked,
    /// The claims could not be serialised, or are no JSON object.
    Claims,
    /// The crypto library refused.
    Crypto,
}

/// No token was signed.
#[derive(Clone)]
pub struct SignError {
    kind: SignErrorKind,
    source: Option<Arc<serde_json::Error>>,
}

impl SignError {
    pub(in crate::keyring) fn new(kind: SignErrorKind) -> Self {
        Self { kind, source: None }
    }

    pub(super) fn claims(error: serde_json::Error) -> Self {
        Self {
            kind: SignErrorKind::Claims,
            source: Some(Arc::new(error)),
        }
    }

    /// Why.
    #[must_use]
    pub fn kind(&self) -> SignErrorKind {
        self.kind
    }
}

impl fmt::Display for SignError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            SignErrorKind::NoKey => "the keyring was built without `.jwt_key(..)`",
            SignErrorKind::Revoked => "the current key was revoked and has no successor yet",
            SignErrorKind::CannotSign => {
                "the key cannot sign: it is a public key, or its key_ops forbid it"
            }
            SignErrorKind::Claims => "the claims cannot be serialised to a JSON object",
            SignErrorKind::Crypto => "the signature could not be made",
        })
    }
}

// The error below comes from the user's type, so it is named by its presence only.
impl fmt::Debug for SignError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, source } = self;
        f.debug_struct("SignError")
            .field("kind", kind)
            .field("has_source", &source.is_some())
            .finish()
    }
}

impl Error for SignError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|error| error as _)
    }
}
