//! Why a token was refused.

use std::{error::Error, fmt};

/// A token was refused. It holds nothing of the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifyError {
    kind: VerifyErrorKind,
}

impl VerifyError {
    /// Why it was refused.
    #[must_use]
    pub fn kind(&self) -> VerifyErrorKind {
        self.kind
    }

    /// The fixed text that a client may see, the same for every token refused for this reason. It
    /// fits into an `error_description` (RFC 6750, section 3) as it stands.
    #[must_use]
    pub fn description(&self) -> &'static str {
        match self.kind {
            VerifyErrorKind::Malformed => "the token is malformed",
            VerifyErrorKind::TooLong => "the token is too long",
            VerifyErrorKind::Unsupported => {
                "the token's type, algorithm or header extension is not supported"
            }
            VerifyErrorKind::UnknownKey => "the token's key is not known",
            VerifyErrorKind::BadSignature => "the token's signature is not valid",
            VerifyErrorKind::Expired => "the token has expired",
            VerifyErrorKind::NotYetValid => "the token is not yet valid",
            VerifyErrorKind::TooOld => "the token was issued too long ago",
            VerifyErrorKind::MissingClaim => "the token lacks a required claim",
            VerifyErrorKind::WrongIssuer => "the token's issuer is not accepted",
            VerifyErrorKind::WrongSubject => "the token's subject is not accepted",
            VerifyErrorKind::WrongAudience => "the token is not for this service",
            VerifyErrorKind::WrongUse => "the token is not an access token",
            VerifyErrorKind::WrongClaims => "the token's claims are not the expected ones",
        }
    }
}

impl From<VerifyErrorKind> for VerifyError {
    fn from(kind: VerifyErrorKind) -> Self {
        Self { kind }
    }
}

impl fmt::Display for VerifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.description())
    }
}

impl Error for VerifyError {}

/// What was wrong with a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum VerifyErrorKind {
    /// It is not a compact JWS in canonical base64url, its header or payload is no JSON object or has
    /// a member twice, or a time or a claim that the layer checks has the wrong type.
    Malformed,
    /// It has more bytes than the layer reads.
    TooLong,
    /// Its `alg` is `none`, unknown, or not the one of the key that it names; its `typ` is not
    /// accepted here; or its header has `crit`, `b64`, `zip`, `enc` or a nested `cty`.
    Unsupported,
    /// No trusted key here can have signed it.
    UnknownKey,
    /// It does not fit any key that may have signed it.
    BadSignature,
    /// Its `exp` has passed, leeway included.
    Expired,
    /// Its `nbf`, or its `iat` where the layer limits the age, has not come, leeway included.
    NotYetValid,
    /// Its `iat` is longer ago than the layer allows, leeway included.
    TooOld,
    /// It has no `exp`, or lacks an `iss`, `sub`, `aud` or `iat` where the layer checks them.
    MissingClaim,
    /// Its `iss` is none of the layer's.
    WrongIssuer,
    /// Its `sub` is none of the layer's.
    WrongSubject,
    /// Its `aud` names none of the layer's.
    WrongAudience,
    /// It is not an access token: its claims are those of an ID or refresh token, or lack what the
    /// layer asks for.
    WrongUse,
    /// Its claims do not deserialise into the layer's claims type.
    WrongClaims,
}

impl VerifyErrorKind {
    /// In the order of declaration.
    #[cfg(feature = "metrics")]
    pub(crate) const ALL: [Self; 14] = [
        Self::Malformed,
        Self::TooLong,
        Self::Unsupported,
        Self::UnknownKey,
        Self::BadSignature,
        Self::Expired,
        Self::NotYetValid,
        Self::TooOld,
        Self::MissingClaim,
        Self::WrongIssuer,
        Self::WrongSubject,
        Self::WrongAudience,
        Self::WrongUse,
        Self::WrongClaims,
    ];

    /// A short, stable name for logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::TooLong => "too_long",
            Self::Unsupported => "unsupported",
            Self::UnknownKey => "unknown_key",
            Self::BadSignature => "bad_signature",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::TooOld => "too_old",
            Self::MissingClaim => "missing_claim",
            Self::WrongIssuer => "wrong_issuer",
            Self::WrongSubject => "wrong_subject",
            Self::WrongAudience => "wrong_audience",
            Self::WrongUse => "wrong_use",
            Self::WrongClaims => "wrong_claims",
        }
    }
}
