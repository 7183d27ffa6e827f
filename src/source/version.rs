//! One immutable value of a secret, and the answer that names all of them at one moment.

use std::{
    borrow::Borrow,
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use zeroize::Zeroizing;

use super::{SourceError, combined::Part};

/// The role that a version plays at one moment: AWS's AWSCURRENT, AWSPREVIOUS and AWSPENDING.
///
/// Where one version holds several roles, the first in this order counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Stage {
    /// In use.
    Current,
    /// In use before the last rotation; trusted until its window ends.
    Previous,
    /// About to come into use; accepted for verification only.
    Pending,
}

impl Stage {
    /// In the order of declaration.
    #[cfg(feature = "metrics")]
    pub(crate) const ALL: [Self; 3] = [Self::Current, Self::Previous, Self::Pending];

    /// The lower-case name, as events and the status page use it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Previous => "previous",
            Self::Pending => "pending",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The name of one immutable value, given by its source: an AWS version id, a Vault version
/// number with its creation time, a digest of a file's content. It is public: it appears in logs,
/// events and the status page.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VersionId(Arc<str>);

impl VersionId {
    /// Names a version.
    pub fn new(id: impl Into<Arc<str>>) -> Self {
        Self(id.into())
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for VersionId {
    fn from(id: &str) -> Self {
        Self::new(id)
    }
}

impl From<String> for VersionId {
    fn from(id: String) -> Self {
        Self::new(id)
    }
}

impl From<&VersionId> for VersionId {
    fn from(id: &VersionId) -> Self {
        id.clone()
    }
}

impl Borrow<str> for VersionId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for VersionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for VersionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// One immutable value of a secret: a JSON document and what the source knows about it.
///
/// The bytes are wiped from memory when the last clone is dropped.
#[derive(Clone)]
pub struct Version {
    id: VersionId,
    document: Arc<Zeroizing<Vec<u8>>>,
    created_at: Option<SystemTime>,
    replaced_at: Option<SystemTime>,
    not_after: Option<SystemTime>,
    origin: Option<Arc<str>>,
}

impl Version {
    /// A version and its JSON document.
    pub fn new(id: impl Into<VersionId>, document: impl Into<Vec<u8>>) -> Self {
        Self {
            id: id.into(),
            document: Arc::new(Zeroizing::new(document.into())),
            created_at: None,
            replaced_at: None,
            not_after: None,
            origin: None,
        }
    }

    /// Where exactly it came from, such as the path of one file, for errors. Without it they name
    /// the source.
    #[must_use]
    pub fn with_origin(mut self, origin: impl Into<Arc<str>>) -> Self {
        self.origin = Some(origin.into());
        self
    }

    /// When the value was written, where the store knows. A pending version that is older than
    /// current is not accepted. A process that starts counts the
    /// [`activation_delay`](crate::Builder::activation_delay) of current from it, or from
    /// [`with_replaced_at`](Self::with_replaced_at) of previous where that is later; but only where previous
    /// has this date too and is not newer.
    #[must_use]
    pub fn with_created_at(mut self, at: SystemTime) -> Self {
        self.created_at = Some(at);
        self
    }

    /// For a previous version: when it stopped being current, as well as the store can tell. Read
    /// only by a process that did not see the change itself.
    #[must_use]
    pub fn with_replaced_at(mut self, at: SystemTime) -> Self {
        self.replaced_at = Some(at);
        self
    }

    /// For a previous version: when its window ends, whatever the keyring's overlap allows; never
    /// later than that.
    #[must_use]
    pub fn with_not_after(mut self, at: SystemTime) -> Self {
        self.not_after = Some(at);
        self
    }

    /// The version's name.
    #[must_use]
    pub fn id(&self) -> &VersionId {
        &self.id
    }

    /// The secret itself. Handle with care: nothing redacts these bytes.
    #[must_use]
    pub fn document(&self) -> &[u8] {
        &self.document
    }

    /// The same value under another name.
    pub(crate) fn renamed(mut self, id: VersionId) -> Self {
        self.id = id;
        self
    }

    /// The same value without what was said of its time as a previous one.
    pub(crate) fn undated(mut self) -> Self {
        self.replaced_at = None;
        self.not_after = None;
        self
    }

    pub(crate) fn created_at(&self) -> Option<SystemTime> {
        self.created_at
    }

    pub(crate) fn replaced_at(&self) -> Option<SystemTime> {
        self.replaced_at
    }

    pub(crate) fn origin(&self) -> Option<&str> {
        self.origin.as_deref()
    }

    pub(crate) fn not_after(&self) -> Option<SystemTime> {
        self.not_after
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            id,
            document: _,
            created_at,
            replaced_at,
            not_after,
            origin,
        } = self;
        f.debug_struct("Version")
            .field("id", id)
            .field("document", &"[redacted]")
            .field("created_at", created_at)
            .field("replaced_at", replaced_at)
            .field("not_after", not_after)
            .field("origin", origin)
            .finish()
    }
}

/// What a source says of a stage other than current.
#[derive(Clone, Debug, Default)]
pub(crate) enum Side {
    /// The store has none: what is held of it is forgotten.
    #[default]
    Absent,
    /// The store has it.
    Present(Version),
    /// The store has something that cannot be used: what is held of it stays until its deadline.
    Unreadable(SourceError),
    /// The store has no stages at all.
    Stageless {
        /// Whether what vanishes from current stays until its window ends.
        keep_withdrawn: bool,
    },
}

impl Side {
    pub(crate) fn version(&self) -> Option<&Version> {
        match self {
            Self::Present(version) => Some(version),
            Self::Absent | Self::Unreadable(_) | Self::Stageless { .. } => None,
        }
    }
}

/// All stages of a secret, from one consistent view of its store.
///
/// A stage that is not set is *absent*, and that is a statement: an absent previous means that the
/// store no longer vouches for it, so the keyring stops trusting it at once (that is how a leaked
/// key is withdrawn from a fleet).
#[derive(Clone, Debug)]
pub struct Versions {
    pub(crate) current: Version,
    pub(crate) previous: Side,
    pub(crate) pending: Side,
    pub(crate) degraded: bool,
    /// How long ago the store said so.
    pub(crate) age: Duration,
    /// What it was composed of, in name order; empty for a secret of its own.
    pub(crate) parts: Vec<Part>,
}

impl Versions {
    /// A view in which only current exists. What a keyring holds of previous and pending is
    /// withdrawn by it.
    #[must_use]
    pub fn new(current: Version) -> Self {
        Self {
            current,
            previous: Side::Absent,
            pending: Side::Absent,
            degraded: false,
            age: Duration::ZERO,
            parts: Vec::new(),
        }
    }

    // Where a stage of a composed view is set by hand, it is no longer what its parts make of it.

    /// Adds the version that was current before.
    #[must_use]
    pub fn with_previous(mut self, previous: Version) -> Self {
        self.parts.clear();
        self.previous = Side::Present(previous);
        self
    }

    /// Adds the version that is about to become current.
    #[must_use]
    pub fn with_pending(mut self, pending: Version) -> Self {
        self.parts.clear();
        self.pending = Side::Present(pending);
        self
    }

    /// Says that a side stage exists and could not be read. The keyring keeps a copy that it
    /// already holds until its deadline, and reports the error.
    ///
    /// For [`Stage::Current`], which is required, return the error from [`Source::fetch`] instead;
    /// here it changes nothing.
    ///
    /// [`Source::fetch`]: super::Source::fetch
    #[must_use]
    pub fn with_unreadable(mut self, stage: Stage, error: SourceError) -> Self {
        match stage {
            Stage::Current => {}
            Stage::Previous => self.previous = Side::Unreadable(error),
            Stage::Pending => self.pending = Side::Unreadable(error),
        }
        self.parts.clear();
        self
    }

    /// Says that the store has no stages, as a served set of keys has none. A key that vanishes from
    /// it is refused from then on or, with `keep_withdrawn`, trusted for the overlap window, counted
    /// for each key from the moment this process saw it vanish; none of up to 100 such windows is cut
    /// short because other keys vanish later. A process that starts later does not know such keys.
    #[must_use]
    pub fn stageless(mut self, keep_withdrawn: bool) -> Self {
        self.parts.clear();
        self.previous = Side::Stageless { keep_withdrawn };
        self
    }

    /// Marks the view as coming from a substitute for the real store; shown in the status.
    #[must_use]
    pub fn degraded(mut self) -> Self {
        self.degraded = true;
        self
    }

    /// Says that this is what the store answered so long ago, and that it was not asked again: for a
    /// source that answers from memory while its last answer is fresh. What the keyring tells and
    /// bounds as [staleness](crate::Builder::max_staleness) is counted from the store's own answer.
    #[must_use]
    pub fn answered_ago(mut self, age: Duration) -> Self {
        self.age = age;
        self
    }

    /// The version in use.
    #[must_use]
    pub fn current(&self) -> &Version {
        &self.current
    }

    /// The version that was in use before, if the store has it.
    #[must_use]
    pub fn previous(&self) -> Option<&Version> {
        self.previous.version()
    }

    /// The version that is about to come into use, if the store has one.
    #[must_use]
    pub fn pending(&self) -> Option<&Version> {
        self.pending.version()
    }

    /// Whether a substitute for the real store gave this view.
    #[must_use]
    pub fn is_degraded(&self) -> bool {
        self.degraded
    }
}
