//! Why a source could not answer.

use std::{error::Error, fmt, sync::Arc, time::Duration};

use crate::guard::Fault;

/// What kind of failure it was, for an operator's alert. It decides one thing: at the first build
/// `NotFound`, `Malformed`, `Deleted`, `WrongRegion` and `InvalidRequest` are errors at once, all
/// others are tried again within the start budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SourceErrorKind {
    /// The secret, or its current version, does not exist.
    NotFound,
    /// The store does not let this caller read the secret.
    PermissionDenied,
    /// The caller has no valid identity: its credentials could not be loaded, have expired or were
    /// revoked.
    Unauthenticated,
    /// The store asked for fewer calls.
    Throttled,
    /// The store could not be reached, or answered that it cannot serve.
    Unavailable,
    /// The store is locked until an operator unlocks it: a sealed Vault.
    Sealed,
    /// The server that was asked is a standby, and passes no questions on.
    Standby,
    /// The store did not answer in time.
    TimedOut,
    /// The store answered with something that is no secret document.
    Malformed,
    /// The secret is deleted, or about to be: it exists and gives no value.
    Deleted,
    /// The store could not decrypt the value, as where the caller may not use its key.
    DecryptionFailed,
    /// The secret is in another Region than the one that was asked.
    WrongRegion,
    /// The store cannot understand the question, as where the secret's name is none.
    InvalidRequest,
    /// Anything else.
    Other,
}

impl SourceErrorKind {
    /// Whether the secret itself, or how it is named, is at fault, so that another try ends alike.
    pub(crate) const fn is_lasting(self) -> bool {
        matches!(
            self,
            Self::NotFound
                | Self::Malformed
                | Self::Deleted
                | Self::WrongRegion
                | Self::InvalidRequest
        )
    }

    /// A short, stable name for logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::PermissionDenied => "permission_denied",
            Self::Unauthenticated => "unauthenticated",
            Self::Throttled => "throttled",
            Self::Unavailable => "unavailable",
            Self::Sealed => "sealed",
            Self::Standby => "standby",
            Self::TimedOut => "timed_out",
            Self::Malformed => "malformed",
            Self::Deleted => "deleted",
            Self::DecryptionFailed => "decryption_failed",
            Self::WrongRegion => "wrong_region",
            Self::InvalidRequest => "invalid_request",
            Self::Other => "other",
        }
    }
}

/// A source could not give an answer. It names what, where and why, and never a value.
#[derive(Clone)]
pub struct SourceError {
    kind: SourceErrorKind,
    message: Arc<str>,
    retry_after: Option<Duration>,
    source: Option<Arc<dyn Error + Send + Sync>>,
    /// The name of the source whose store shows that there is no previous.
    withdrawn_by: Option<Arc<str>>,
}

impl SourceError {
    /// An error with a message for the operator. The message goes to logs: it must not hold a
    /// value of a secret.
    pub fn new(kind: SourceErrorKind, message: impl Into<Arc<str>>) -> Self {
        Self {
            kind,
            message: message.into(),
            retry_after: None,
            source: None,
            withdrawn_by: None,
        }
    }

    /// Says for how long the store asks to be left alone, as HTTP's `Retry-After` does. The keyring
    /// waits so long before it asks again by itself, or for a token of an unknown key; never longer than
    /// one refresh interval, and at the start never beyond its budget. A refresh that somebody asks
    /// for does not wait.
    #[must_use]
    pub fn with_retry_after(mut self, pause: Duration) -> Self {
        self.retry_after = Some(pause);
        self
    }

    /// Adds the error below this one, for [`Error::source`].
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(Arc::from(source.into()));
        self
    }

    /// Says that current cannot be read, and that the store of `source` shows all the same that it vouches
    /// for no previous any more.
    pub(crate) fn without_previous(mut self, source: impl Into<Arc<str>>) -> Self {
        self.withdrawn_by = Some(source.into());
        self
    }

    /// Whether `source` withdrew its previous version. Where another source passes the error on, it says
    /// nothing of what that one vouches for.
    pub(crate) fn withdraws_previous_of(&self, source: &str) -> bool {
        self.withdrawn_by.as_deref() == Some(source)
    }

    /// The same failure, named as that of one part.
    pub(crate) fn in_part(&self, part: &str) -> Self {
        Self {
            kind: self.kind,
            message: format!("part `{part}`: {}", self.message).into(),
            retry_after: self.retry_after,
            source: self.source.clone(),
            withdrawn_by: None,
        }
    }

    /// What kind of failure it was.
    #[must_use]
    pub fn kind(&self) -> SourceErrorKind {
        self.kind
    }

    /// For how long the store asks to be left alone, where it does.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
}

/// What a store said, fit to be told: on one line, and of so many characters at most. Whoever answers in
/// its place must not write lines of their own into a log.
#[cfg(any(feature = "aws", feature = "vault"))]
pub(super) fn one_line(text: &str, longest: usize) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().take(longest).map(plain).collect()
}

/// A source that hung or panicked.
impl From<Fault> for SourceError {
    fn from(fault: Fault) -> Self {
        let kind = match fault {
            Fault::TimedOut(_) => SourceErrorKind::TimedOut,
            Fault::Panicked => SourceErrorKind::Other,
        };
        Self::new(kind, format!("the source {fault}"))
    }
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

// The error below may be anybody's, so it is named by its presence only.
impl fmt::Debug for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kind,
            message,
            retry_after,
            source,
            withdrawn_by,
        } = self;
        f.debug_struct("SourceError")
            .field("kind", kind)
            .field("message", message)
            .field("retry_after", retry_after)
            .field("has_source", &source.is_some())
            .field("withdrawn_by", withdrawn_by)
            .finish()
    }
}

impl Error for SourceError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|e| e as _)
    }
}
