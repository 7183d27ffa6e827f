//! Why an extractor found nothing.

use std::{any::type_name, error::Error, fmt};

use http::{HeaderValue, StatusCode};

use crate::claims::ClaimsError;

/// [`Secrets`](crate::Secrets) or [`Claims`](crate::Claims) could not be taken from a request.
///
/// In an axum handler it is the rejection. Its text names the type, the layer that is missing and
/// the mend; all but [`NoToken`](ExtractErrorKind::NoToken) are mistakes in the program.
#[derive(Clone, Debug)]
pub struct ExtractError(Reason);

#[derive(Clone, Debug)]
enum Reason {
    NoSecrets { bundle: &'static str },
    NoLayer { claims: &'static str },
    NoTokenLayer { claims: &'static str },
    NoToken { challenge: HeaderValue },
    OtherClaims(ClaimsError),
}

/// The kinds of [`ExtractError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ExtractErrorKind {
    /// The request did not pass a layer that could have put it there: 500.
    MissingLayer,
    /// The layer reads claims as another type: 500.
    OtherClaims,
    /// `.allow_anonymous()` let the request through without a token, and the handler needs one:
    /// 401 with a challenge. `Option<Claims<C>>` is `None` there.
    NoToken,
}

impl ExtractError {
    /// What kind of failure it was.
    #[must_use]
    pub fn kind(&self) -> ExtractErrorKind {
        match self.0 {
            Reason::NoSecrets { .. } | Reason::NoLayer { .. } | Reason::NoTokenLayer { .. } => {
                ExtractErrorKind::MissingLayer
            }
            Reason::NoToken { .. } => ExtractErrorKind::NoToken,
            Reason::OtherClaims(_) => ExtractErrorKind::OtherClaims,
        }
    }

    /// The status that the rejection carries.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self.kind() {
            ExtractErrorKind::NoToken => StatusCode::UNAUTHORIZED,
            ExtractErrorKind::MissingLayer | ExtractErrorKind::OtherClaims => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
        }
    }

    /// The value of `WWW-Authenticate`, on the 401.
    #[must_use]
    pub fn challenge(&self) -> Option<&HeaderValue> {
        match &self.0 {
            Reason::NoToken { challenge } => Some(challenge),
            _ => None,
        }
    }

    pub(crate) fn no_secrets<T>() -> Self {
        Self(Reason::NoSecrets {
            bundle: type_name::<T>(),
        })
    }

    pub(crate) fn no_layer<C>() -> Self {
        Self(Reason::NoLayer {
            claims: type_name::<C>(),
        })
    }

    pub(crate) fn no_token_layer<C>() -> Self {
        Self(Reason::NoTokenLayer {
            claims: type_name::<C>(),
        })
    }

    pub(crate) fn no_token(challenge: HeaderValue) -> Self {
        Self(Reason::NoToken { challenge })
    }
}

impl From<ClaimsError> for ExtractError {
    fn from(error: ClaimsError) -> Self {
        Self(Reason::OtherClaims(error))
    }
}

impl fmt::Display for ExtractError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Reason::NoSecrets { bundle } => write!(
                f,
                "`Secrets<{bundle}>` is missing: add `JwtRotationLayer::new(keyring)`, or \
                 `SecretsLayer::new(keyring)` where no token is needed, with a \
                 `Keyring<{bundle}>` around this handler"
            ),
            Reason::NoLayer { claims } => write!(
                f,
                "`Claims<{claims}>` is missing: add `JwtRotationLayer::new(keyring)` around this \
                 handler"
            ),
            Reason::NoTokenLayer { claims } => write!(
                f,
                "`Claims<{claims}>` is missing: only `Secrets` are provided here and no token is \
                 read; use `JwtRotationLayer::new(keyring)` around this handler, or take \
                 `Option<Claims<..>>`"
            ),
            Reason::NoToken { .. } => f.write_str("this resource needs a bearer token"),
            Reason::OtherClaims(error) => error.fmt(f),
        }
    }
}

// `Display` shows the error below whole, so it is not repeated as a source.
impl Error for ExtractError {}
