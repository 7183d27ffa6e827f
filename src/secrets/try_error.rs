//! How a call of [`Secrets::try_each_as`](crate::Secrets::try_each_as) ended without an answer.

use std::{error::Error, fmt};

use crate::source::VersionId;

/// Why [`Secrets::try_each_as`](crate::Secrets::try_each_as) has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TryError<E> {
    /// What the call itself said; it is shown as if it stood here alone.
    Failed(E),
    /// Nothing was sent, because the upstream refused the single user's current credential too often,
    /// or others are just finding out whether it works. A later call may be let through.
    #[non_exhaustive]
    LeftAlone {
        /// The current one.
        version: VersionId,
    },
    /// Nothing was sent, because the single user's current credential was revoked here or its window
    /// ended, and no other may be tried.
    #[non_exhaustive]
    Untrusted {
        /// The current one.
        version: VersionId,
    },
}

impl<E> TryError<E> {
    /// What the call itself said, if there was one.
    #[must_use]
    pub fn into_inner(self) -> Option<E> {
        match self {
            Self::Failed(error) => Some(error),
            Self::LeftAlone { .. } | Self::Untrusted { .. } => None,
        }
    }
}

impl<E: fmt::Display> fmt::Display for TryError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(error) => error.fmt(f),
            Self::LeftAlone { version } => write!(
                f,
                "version {version} was not sent: the upstream refused it too often, and more logins \
                 could lock the account"
            ),
            Self::Untrusted { version } => write!(
                f,
                "version {version} was not sent: it was revoked or its window ended"
            ),
        }
    }
}

impl<E: Error> Error for TryError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Failed(error) => error.source(),
            Self::LeftAlone { .. } | Self::Untrusted { .. } => None,
        }
    }
}
