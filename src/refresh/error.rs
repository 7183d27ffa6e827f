//! What a refresh came to.

use std::{error::Error, fmt, sync::Arc, time::Duration};

use crate::source::{SourceError, VersionId};

/// A step on the way from a source to a published snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Step {
    /// Asking the source.
    Fetch,
    /// Deserialising the document into the bundle.
    Parse,
    /// Preparing the verification keys.
    Keys,
    /// Building what the bundle owns, such as a connection pool.
    Prepare,
    /// Proving that the new credentials work.
    Probe,
}

impl Step {
    /// The lower-case name, as events and the status use it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fetch => "fetch",
            Self::Parse => "parse",
            Self::Keys => "keys",
            Self::Prepare => "prepare",
            Self::Probe => "probe",
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a refresh did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refreshed {
    /// The source has the versions that are already in use.
    #[non_exhaustive]
    Unchanged {
        /// The generation that stays.
        generation: u64,
    },
    /// A new snapshot was published.
    #[non_exhaustive]
    Swapped {
        /// The new snapshot's generation.
        generation: u64,
        /// The version that is current in it.
        version: VersionId,
    },
}

impl Refreshed {
    /// The generation in use after the refresh.
    #[must_use]
    pub fn generation(&self) -> u64 {
        match self {
            Self::Unchanged { generation } | Self::Swapped { generation, .. } => *generation,
        }
    }

    /// Whether a new snapshot was published.
    #[must_use]
    pub fn is_swapped(&self) -> bool {
        matches!(self, Self::Swapped { .. })
    }
}

/// A refresh left everything as it was, and why. Cheap to clone.
#[derive(Clone)]
pub struct RefreshError(Arc<Inner>);

struct Inner {
    cause: Cause,
    /// Where the version came from.
    place: String,
    part: Option<String>,
    version: Option<VersionId>,
    message: String,
    source: Option<SourceError>,
}

/// A version that is being proved, as errors name it.
#[derive(Clone, Copy)]
pub(crate) struct Subject<'a> {
    pub(crate) place: &'a str,
    pub(crate) part: Option<&'a str>,
    pub(crate) version: &'a VersionId,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Cause {
    Stopped,
    Step(Step),
    Probe(Arc<str>),
    /// A version refused before, which is not probed again before its pause is over.
    Quarantined(Step, Option<Arc<str>>, Duration),
}

impl RefreshError {
    pub(crate) fn stopped() -> Self {
        Self(Arc::new(Inner {
            cause: Cause::Stopped,
            place: String::new(),
            part: None,
            version: None,
            message: "the keyring was shut down".to_owned(),
            source: None,
        }))
    }

    pub(crate) fn fetch(error: SourceError, source_name: &str) -> Self {
        let text = error.to_string();
        let message = if text.contains(source_name) {
            text
        } else {
            format!("{source_name}: {text}")
        };
        Self(Arc::new(Inner {
            cause: Cause::Step(Step::Fetch),
            place: source_name.to_owned(),
            part: None,
            version: None,
            message,
            source: Some(error),
        }))
    }

    pub(crate) fn step(step: Step, subject: Subject<'_>, message: String) -> Self {
        Self::of(Cause::Step(step), subject, message)
    }

    pub(crate) fn probe(name: &Arc<str>, subject: Subject<'_>, message: String) -> Self {
        Self::of(Cause::Probe(name.clone()), subject, message)
    }

    fn of(cause: Cause, subject: Subject<'_>, message: String) -> Self {
        Self(Arc::new(Inner {
            cause,
            place: subject.place.to_owned(),
            part: subject.part.map(str::to_owned),
            version: Some(subject.version.clone()),
            message,
            source: None,
        }))
    }

    /// The same refusal, told again without another try.
    pub(crate) fn quarantined(&self, pause: Duration) -> Self {
        let (Some(step), Some(version)) = (self.failed_step(), &self.0.version) else {
            return self.clone();
        };
        let probe = self.0.probe_name().cloned();
        let subject = Subject {
            place: &self.0.place,
            part: self.part(),
            version,
        };
        let cause = Cause::Quarantined(step, probe, pause);
        Self::of(cause, subject, self.0.message.clone())
    }

    /// Whether the keyring was shut down, or its last handle dropped, so that nothing refreshes
    /// any more.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.0.cause == Cause::Stopped
    }

    /// The step that refused; `None` after a shutdown.
    #[must_use]
    pub fn failed_step(&self) -> Option<Step> {
        match &self.0.cause {
            Cause::Stopped => None,
            Cause::Step(step) | Cause::Quarantined(step, ..) => Some(*step),
            Cause::Probe(_) => Some(Step::Probe),
        }
    }

    /// The name of the probe that refused, if it was one.
    #[must_use]
    pub fn probe_name(&self) -> Option<&str> {
        self.0.probe_name().map(|name| &**name)
    }

    /// The part of a [`Combined`](crate::source::Combined) source that alone was refused, by a
    /// [part probe](super::Builder::part_probe).
    #[must_use]
    pub fn part(&self) -> Option<&str> {
        self.0.part.as_deref()
    }

    /// The version that was refused, of the part where it was one; `None` where none was read.
    #[must_use]
    pub fn version(&self) -> Option<&VersionId> {
        self.0.version.as_ref()
    }

    /// The source's own error, where it was the fetch that failed.
    #[must_use]
    pub fn source_error(&self) -> Option<&SourceError> {
        self.0.source.as_ref()
    }

    /// Why, without naming the step again.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.0.message
    }

    /// Whether nothing was tried this time, because this version was refused shortly before.
    #[must_use]
    pub fn is_quarantined(&self) -> bool {
        matches!(self.0.cause, Cause::Quarantined(..))
    }
}

impl Inner {
    fn probe_name(&self) -> Option<&Arc<str>> {
        match &self.cause {
            Cause::Probe(name) | Cause::Quarantined(_, Some(name), _) => Some(name),
            _ => None,
        }
    }
}

impl fmt::Display for RefreshError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.0;
        if let (Some(step), Some(version)) = (self.failed_step(), &inner.version) {
            let place = &inner.place;
            write!(f, "{place}: version `{version}`")?;
            if let Some(part) = &inner.part {
                write!(f, " of part `{part}`")?;
            }
            write!(f, " was refused at step {step}")?;
            if let Some(name) = inner.probe_name() {
                write!(f, " `{name}`")?;
            }
            f.write_str(": ")?;
        }
        f.write_str(&inner.message)?;
        if let Cause::Quarantined(_, _, pause) = &inner.cause {
            write!(f, " (refused before; next try in {} s)", pause.as_secs())?;
        }
        Ok(())
    }
}

impl fmt::Debug for RefreshError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner {
            cause,
            place,
            part,
            version,
            message,
            source: _,
        } = &*self.0;
        f.debug_struct("RefreshError")
            .field("cause", cause)
            .field("place", place)
            .field("part", part)
            .field("version", version)
            .field("message", message)
            .finish()
    }
}

impl Error for RefreshError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        // The source's error is part of `Display` already; what lies below it is not.
        self.0.source.as_ref().and_then(|error| error.source())
    }
}

/// A keyring could not be built.
#[derive(Debug)]
pub struct BuildError(BuildErrorKind);

/// What stood in the way of [`build`](super::Builder::build).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum BuildErrorKind {
    /// Settings that contradict each other; the text shows the numbers.
    Config(String),
    /// The first refresh failed for as long as the budget allowed.
    FirstRefresh(RefreshError),
    /// The crypto library did not verify a token that it had signed the moment before.
    Crypto,
}

impl BuildError {
    pub(crate) fn config(message: impl Into<String>) -> Self {
        Self(BuildErrorKind::Config(message.into()))
    }

    pub(crate) fn first_refresh(error: RefreshError) -> Self {
        Self(BuildErrorKind::FirstRefresh(error))
    }

    pub(crate) fn crypto() -> Self {
        Self(BuildErrorKind::Crypto)
    }

    /// What stood in the way.
    #[must_use]
    pub fn kind(&self) -> &BuildErrorKind {
        &self.0
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            BuildErrorKind::Config(message) => f.write_str(message),
            BuildErrorKind::FirstRefresh(error) => write!(f, "the first refresh failed: {error}"),
            BuildErrorKind::Crypto => {
                f.write_str("the crypto library did not verify a token that it had just signed")
            }
        }
    }
}

impl Error for BuildError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.0 {
            BuildErrorKind::Config(_) | BuildErrorKind::Crypto => None,
            BuildErrorKind::FirstRefresh(error) => error.source(),
        }
    }
}
