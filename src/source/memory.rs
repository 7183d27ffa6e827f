//! Versions put in by the program itself.

use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::watch;

use super::{Source, SourceError, Version, VersionId, Versions, version::Side};

/// How many versions that are used no more are remembered: a soak rotates without end.
const REMEMBERED: usize = 1024;

/// A source whose versions are set by the program, to test a server against rotations, outages
/// and revocations.
///
/// A clone is a handle to the same versions: give one to the keyring and keep the other. Nothing
/// in here waits for time; a test decides when each thing happens.
///
/// By default [`changed`](Source::changed) never resolves, so that the test chooses what triggers
/// a refresh; a [`watched`](Memory::watched) handle reports each change, as a file watch does.
///
/// ```
/// use tower_secrets::source::{Memory, Source};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tower_secrets::source::SourceError> {
/// let memory = Memory::new(r#"{"api_key":"first"}"#);
/// let next = memory.rotate(r#"{"api_key":"second"}"#);
///
/// let versions = memory.fetch().await?;
/// assert_eq!(versions.current().id(), &next);
/// assert_eq!(versions.previous().map(|v| v.id().as_str()), Some("1"));
/// # Ok(())
/// # }
/// ```
pub struct Memory {
    shared: Arc<Shared>,
    watched: bool,
    /// The changes that this handle has reported; each handle reports each change once.
    reported: AtomicU64,
}

struct Shared {
    state: Mutex<State>,
    changes: watch::Sender<u64>,
    fetches: watch::Sender<u64>,
    paused: watch::Sender<bool>,
}

struct State {
    versions: Versions,
    last_id: u64,
    failures: usize,
    failure: Option<SourceError>,
    published: Option<VersionId>,
    drained: VecDeque<VersionId>,
}

impl Memory {
    /// A source whose current version, named `1`, is this JSON document.
    pub fn new(document: impl Into<Vec<u8>>) -> Self {
        let state = State {
            versions: Versions::new(Version::new("1", document)),
            last_id: 1,
            failures: 0,
            failure: None,
            published: None,
            drained: VecDeque::new(),
        };
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new(state),
                changes: watch::Sender::new(0),
                fetches: watch::Sender::new(0),
                paused: watch::Sender::new(false),
            }),
            watched: false,
            reported: AtomicU64::new(0),
        }
    }

    /// Makes this handle, and the clones made from it, report each change through
    /// [`changed`](Source::changed).
    #[must_use]
    pub fn watched(mut self) -> Self {
        self.watched = true;
        self
    }

    /// Makes this document current and what was current previous. Names count up: `2`, `3`, ..
    pub fn rotate(&self, document: impl Into<Vec<u8>>) -> VersionId {
        self.change(|state| {
            let next = state.version(document.into());
            state.advance(next)
        })
    }

    /// Makes this document pending. Names count up together with those of [`rotate`](Self::rotate).
    pub fn stage_pending(&self, document: impl Into<Vec<u8>>) -> VersionId {
        self.change(|state| {
            let pending = state.version(document.into());
            let id = pending.id().clone();
            state.versions.pending = Side::Present(pending);
            id
        })
    }

    /// Makes the pending version current and what was current previous, as the flip of a store
    /// does. Returns the new current's name; without a pending version nothing moves and it is `None`.
    pub fn promote_pending(&self) -> Option<VersionId> {
        self.change(|state| {
            let pending = state.versions.pending.version().cloned()?;
            state.versions.pending = Side::Absent;
            Some(state.advance(pending))
        })
    }

    /// Forgets the pending version.
    pub fn drop_pending(&self) {
        self.change(|state| state.versions.pending = Side::Absent);
    }

    /// Forgets the previous version: the store withdraws it.
    pub fn drop_previous(&self) {
        self.change(|state| state.versions.previous = Side::Absent);
    }

    /// Replaces the whole view, for names, times and unreadable stages of your choice. Names given
    /// out later go on counting where they were.
    pub fn set(&self, versions: Versions) {
        self.change(|state| state.versions = versions);
    }

    /// Makes the next `n` fetches fail with this error; replaces an earlier order. `0` ends it.
    pub fn fail_next(&self, n: usize, error: SourceError) {
        let mut state = self.lock();
        state.failures = n;
        state.failure = Some(error);
    }

    /// Makes fetches wait until [`resume`](Self::resume), like a store that hangs.
    pub fn pause(&self) {
        self.shared.paused.send_replace(true);
    }

    /// Lets waiting fetches go on. They see the versions of that moment.
    pub fn resume(&self) {
        self.shared.paused.send_replace(false);
    }

    /// How many fetches have begun, failed and waiting ones included.
    #[must_use]
    pub fn fetches(&self) -> u64 {
        *self.shared.fetches.borrow()
    }

    /// Waits until at least `n` fetches have begun.
    ///
    /// # Cancellation safety
    /// Dropping the future changes nothing.
    pub async fn wait_for_fetches(&self, n: u64) {
        let mut fetches = self.shared.fetches.subscribe();
        // The sender lives as long as `self`, so this cannot fail.
        let _ = fetches.wait_for(|begun| *begun >= n).await;
    }

    /// The version that a keyring last swapped in, if any did.
    #[must_use]
    pub fn last_published(&self) -> Option<VersionId> {
        self.lock().published.clone()
    }

    /// The versions that a keyring uses no more, in the order in which it said so; the last 1,024.
    #[must_use]
    pub fn drained_versions(&self) -> Vec<VersionId> {
        self.lock().drained.iter().cloned().collect()
    }

    fn change<R>(&self, apply: impl FnOnce(&mut State) -> R) -> R {
        let result = apply(&mut self.lock());
        self.shared.changes.send_modify(|count| *count += 1);
        result
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn version(&mut self, document: Vec<u8>) -> Version {
        self.last_id += 1;
        Version::new(self.last_id.to_string(), document)
    }

    fn advance(&mut self, next: Version) -> VersionId {
        let id = next.id().clone();
        let replaced = std::mem::replace(&mut self.versions.current, next);
        self.versions.previous = Side::Present(replaced);
        id
    }

    fn answer(&mut self) -> Result<Versions, SourceError> {
        if let (1.., Some(error)) = (self.failures, &self.failure) {
            self.failures -= 1;
            return Err(error.clone());
        }
        Ok(self.versions.clone())
    }
}

impl Source for Memory {
    async fn fetch(&self) -> Result<Versions, SourceError> {
        let mut paused = self.shared.paused.subscribe();
        self.shared.fetches.send_modify(|begun| *begun += 1);
        // The sender lives as long as `self`, so this cannot fail.
        let _ = paused.wait_for(|paused| !paused).await;
        self.lock().answer()
    }

    async fn changed(&self) {
        if !self.watched {
            return std::future::pending().await;
        }
        let mut changes = self.shared.changes.subscribe();
        let reported = self.reported.load(Ordering::Acquire);
        let seen = changes.wait_for(|count| *count != reported).await;
        if let Ok(count) = seen {
            self.reported.fetch_max(*count, Ordering::AcqRel);
        }
    }

    fn published(&self, current: &VersionId) {
        self.lock().published = Some(current.clone());
    }

    fn drained(&self, versions: &[VersionId], _: &[VersionId]) {
        let drained = &mut self.lock().drained;
        drained.extend(versions.iter().cloned());
        let too_many = drained.len().saturating_sub(REMEMBERED);
        drained.drain(..too_many);
    }

    fn name(&self) -> String {
        "memory".to_owned()
    }
}

impl Clone for Memory {
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
            watched: self.watched,
            reported: AtomicU64::new(self.reported.load(Ordering::Acquire)),
        }
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            shared,
            watched,
            reported: _,
        } = self;
        let Shared {
            state: _,
            changes: _,
            fetches: _,
            paused,
        } = &**shared;
        // `Versions` redacts its documents itself.
        let versions = self.lock().versions.clone();
        f.debug_struct("Memory")
            .field("versions", &versions)
            .field("paused", &*paused.borrow())
            .field("watched", watched)
            .finish_non_exhaustive()
    }
}
