//! One immutable generation of a secret, and the cell that holds the newest.
//!
//! This is the only file that names arc-swap. What the crate relies on: [`Cell::load`] returns a
//! snapshot that was stored whole by one pointer store, so a reader sees either the old
//! generation or the new one, never parts of both, and whoever learns of a generation from another
//! thread sees it or a later one; and a snapshot lives as long as its last reader, so a request that
//! pinned one keeps it whatever is published meanwhile.

use std::{
    fmt,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use serde::de::DeserializeOwned;
use tokio::sync::{Notify, futures::Notified};

use crate::{
    clock::{Clock, Now},
    keyring::{
        LatestExp, Shared,
        cache::TokenCache,
        key::{KeyId, PreparedKey},
        verify::{AnyClaims, ClaimsSet, Policy, Verified, VerifyError, VerifyErrorKind, read_as},
    },
    metrics::Meter,
    per_thread::{PerThread, Share},
    source::{Stage, VersionId},
};

/// How far the wall clock may run ahead of the monotonic one before it counts as a machine that
/// slept: more than NTP corrects in a step under normal operation, less than a useful window.
const SLEEP_TOLERANCE: Duration = Duration::from_secs(5);

const NEVER: u64 = u64::MAX;

/// How long something is trusted: one shared flag for its whole life, so that snapshots held by
/// long requests obey a deadline or a revocation that came after them.
///
/// The deadline is monotonic. Its wall-clock twin is only there for a machine that slept: suspended
/// time does not count on the monotonic clock, yet it passed.
pub(crate) struct Trust {
    deadline_mono: AtomicU64,
    deadline_wall: AtomicU64,
    revoked: AtomicBool,
    /// Of the tokens that it has verified, where it is that of a key.
    pub(crate) latest_exp: LatestExp,
    /// Told when any of these changes.
    changed: Notify,
}

impl Trust {
    pub(crate) fn open() -> Arc<Self> {
        Arc::new(Self {
            deadline_mono: AtomicU64::new(NEVER),
            deadline_wall: AtomicU64::new(NEVER),
            revoked: AtomicBool::new(false),
            latest_exp: LatestExp::default(),
            changed: Notify::new(),
        })
    }

    /// Whether it is trusted at this moment.
    pub(crate) fn holds(&self, now: Now) -> bool {
        if self.is_revoked() {
            return false;
        }
        !self.has_deadline() || self.remaining(now).is_none_or(|rest| !rest.is_zero())
    }

    /// The same, without reading the clock where it has no deadline.
    pub(crate) fn holds_by(&self, clock: &dyn Clock) -> bool {
        if self.has_deadline() {
            self.holds(clock.now())
        } else {
            !self.is_revoked()
        }
    }

    /// Asked first, so that the arithmetic of a deadline is out of the way of the usual key.
    fn has_deadline(&self) -> bool {
        self.deadline_mono.load(Ordering::Acquire) != NEVER
    }

    /// When it ends, by the wall clock of the moment at which that was fixed.
    pub(crate) fn ends_at(&self) -> Option<SystemTime> {
        let wall = self.deadline_wall.load(Ordering::Acquire);
        let since = Duration::from_nanos(wall);
        (wall != NEVER)
            .then(|| SystemTime::UNIX_EPOCH.checked_add(since))
            .flatten()
    }

    /// Ends the trust `after` this moment, or earlier where a deadline already says so.
    pub(crate) fn end_after(&self, now: Now, after: Duration) {
        // The wall-clock twin first: a reader looks at it only once the monotonic one is set.
        self.deadline_wall.fetch_min(
            wall_nanos(now.wall).saturating_add(nanos(after)),
            Ordering::AcqRel,
        );
        self.deadline_mono
            .fetch_min(nanos(now.mono.saturating_add(after)), Ordering::AcqRel);
        self.changed.notify_waiters();
    }

    /// Ends it for all that rest on it. What comes back is for its next time, and no longer than this was.
    pub(crate) fn take_back(&self, now: Now) -> Arc<Self> {
        let next = Self::open();
        if let Some(rest) = self.remaining(now) {
            next.end_after(now, rest);
        }
        if self.is_revoked() {
            next.revoke();
        }
        self.end_after(now, Duration::ZERO);
        next
    }

    /// The store made it current again: the deadline of its earlier replacement is void.
    pub(crate) fn reopen(&self) {
        self.deadline_mono.store(NEVER, Ordering::Release);
        self.deadline_wall.store(NEVER, Ordering::Release);
    }

    pub(crate) fn revoke(&self) {
        self.revoked.store(true, Ordering::Release);
        self.changed.notify_waiters();
    }

    /// Resolves when a deadline is set or the trust is revoked, from the call on and not from the first
    /// poll.
    pub(crate) fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }

    pub(crate) fn restore(&self) {
        self.revoked.store(false, Ordering::Release);
    }

    pub(crate) fn is_revoked(&self) -> bool {
        self.revoked.load(Ordering::Acquire)
    }

    /// How long its deadline is away, whether it was revoked or not; `None` while it has none.
    #[inline(never)]
    pub(crate) fn remaining(&self, now: Now) -> Option<Duration> {
        let mono = self.deadline_mono.load(Ordering::Acquire);
        if mono == NEVER {
            return None;
        }
        let wall = self.deadline_wall.load(Ordering::Acquire);
        let slept_through = wall_nanos(now.wall) >= wall.saturating_add(nanos(SLEEP_TOLERANCE));
        let rest = if slept_through {
            0
        } else {
            mono.saturating_sub(nanos(now.mono))
        };
        Some(Duration::from_nanos(rest))
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(NEVER - 1)
}

fn wall_nanos(wall: SystemTime) -> u64 {
    nanos(
        wall.duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default(),
    )
}

/// A version's bundle, and how long the version as a whole is trusted.
pub(crate) struct Held<T> {
    pub(crate) id: VersionId,
    pub(crate) bundle: Arc<T>,
    pub(crate) trust: Arc<Trust>,
}

impl<T> Clone for Held<T> {
    fn clone(&self) -> Self {
        Self {
            id: self.id.clone(),
            bundle: self.bundle.clone(),
            trust: self.trust.clone(),
        }
    }
}

/// A verification key in the role it plays in one snapshot.
#[derive(Clone)]
pub(crate) struct TrustedKey {
    pub(crate) key: Arc<PreparedKey>,
    pub(crate) stage: Stage,
    pub(crate) version: VersionId,
    pub(crate) trust: Arc<Trust>,
    /// What the same key was called in other versions.
    pub(crate) other_names: Arc<[KeyId]>,
    /// From when on it signs: monotonic.
    pub(crate) signs_from: Duration,
}

/// What is said of the key that verified a token; shared, so that saying it costs one count.
pub(crate) struct VerifiedBy {
    pub(crate) stage: Stage,
    pub(crate) version: VersionId,
    pub(crate) generation: u64,
    pub(crate) id: KeyId,
    /// For those who ask later whether the token would still be accepted. It points at no snapshot.
    pub(crate) trust: Arc<Trust>,
    pub(crate) clock: Arc<dyn Clock>,
}

/// So few that looking at the deadlines of all costs less than reading a clock.
const FEW_KEYS: usize = 4;

/// The time, for these keys to be judged by. The monotonic clock is not read where none of them has a
/// deadline: one that is set from here on, by a rotation at this moment, ends after it.
pub(crate) fn now_for(keys: &[TrustedKey], clock: &dyn Clock) -> Now {
    let is_open = |held: &TrustedKey| !held.trust.has_deadline();
    if keys.len() <= FEW_KEYS && keys.iter().all(is_open) {
        Now::new(clock.wall(), Duration::ZERO)
    } else {
        clock.now()
    }
}

impl TrustedKey {
    /// Whether a token's `kid` names this key, by its name now or by an earlier one: windows follow
    /// the key, and giving it another name refuses no token.
    pub(crate) fn answers_to(&self, kid: &str) -> bool {
        self.key.answers_to(kid) || self.other_names.iter().any(|name| name.as_str() == kid)
    }

    pub(crate) fn verified_by(&self, generation: u64, clock: &Arc<dyn Clock>) -> VerifiedBy {
        VerifiedBy {
            stage: self.stage,
            version: self.version.clone(),
            generation,
            id: self.key.id().clone(),
            trust: self.trust.clone(),
            clock: clock.clone(),
        }
    }
}

impl fmt::Debug for VerifiedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            stage,
            version,
            generation,
            id,
            trust: _,
            clock: _,
        } = self;
        f.debug_struct("VerifiedBy")
            .field("stage", stage)
            .field("version", version)
            .field("generation", generation)
            .field("id", id)
            .finish()
    }
}

/// One immutable generation.
pub(crate) struct Snapshot<T> {
    pub(crate) generation: u64,
    pub(crate) current: Held<T>,
    pub(crate) previous: Option<Held<T>>,
    /// Shown to nobody: only `try_each` may send it, and only where the current one was refused.
    pub(crate) pending: Option<Held<T>>,
    /// In the order they are tried: current, previous, pending; each key once.
    pub(crate) keys: Box<[TrustedKey]>,
    /// Of keys that are not among them any more.
    pub(crate) revoked_names: Box<[KeyId]>,
    /// One for each key.
    pub(crate) verified_by: Box<[Arc<VerifiedBy>]>,
    pub(crate) tokens: TokenCache,
    pub(crate) clock: Arc<dyn Clock>,
    /// Weak, so that a long request does not keep the refresh loop alive.
    pub(crate) keyring: Weak<Shared<T>>,
    pub(crate) meter: Meter,
    /// Wakes the refresh loop when the last reader is gone. It points at no snapshot.
    pub(crate) _on_drop: DropSignal,
}

impl<T> Snapshot<T> {
    /// Judges a token by the keys of this generation, and by its memory.
    pub(crate) fn verify<C>(&self, token: &[u8], policy: &Policy) -> Result<Verified, VerifyError>
    where
        C: DeserializeOwned + Send + Sync + 'static,
    {
        self.verify_with(token, policy, read_as::<C>)
    }

    /// The same, for a caller who has the type of the claims only as a way to read them.
    pub(crate) fn verify_with(
        &self,
        token: &[u8],
        policy: &Policy,
        read: impl Fn(&ClaimsSet<'_>, &[u8]) -> Result<AnyClaims, VerifyErrorKind>,
    ) -> Result<Verified, VerifyError> {
        let outcome = self
            .tokens
            .verify(token, &self.keys, policy, &*self.clock, read);
        self.meter.judged(&outcome, &self.keys);
        outcome
    }

    /// The versions whose bundles it holds.
    pub(crate) fn versions(&self) -> impl Iterator<Item = &VersionId> {
        let previous = self.previous.iter().map(|held| &held.id);
        previous.chain([&self.current.id])
    }

    /// The keys of one stage.
    pub(crate) fn keys_of(&self, stage: Stage) -> impl Iterator<Item = &TrustedKey> {
        self.keys.iter().filter(move |held| held.stage == stage)
    }

    /// The bundle that was current before, while it is trusted.
    pub(crate) fn previous(&self) -> Option<&Held<T>> {
        self.previous
            .as_ref()
            .filter(|held| held.trust.holds(self.clock.now()))
    }

    /// The bundle that is to be current next, while it is trusted.
    pub(crate) fn pending(&self) -> Option<&Held<T>> {
        self.pending
            .as_ref()
            .filter(|held| held.trust.holds(self.clock.now()))
    }
}

/// Told when the last reader of a snapshot is gone.
#[derive(Default)]
pub(crate) struct Retired {
    /// Kept for the refresh loop until it looks.
    pub(crate) for_loop: Notify,
    pub(crate) for_waiters: Notify,
}

/// Notifies when dropped.
pub(crate) struct DropSignal(pub(crate) Arc<Retired>);

impl Drop for DropSignal {
    fn drop(&mut self) {
        self.0.for_loop.notify_one();
        self.0.for_waiters.notify_waiters();
    }
}

/// A reader's hold on a snapshot.
pub(crate) type Reader<T> = Arc<Share<Snapshot<T>>>;

/// The one place where the newest snapshot is kept.
pub(crate) struct Cell<T>(ArcSwap<PerThread<Snapshot<T>>>);

impl<T> Cell<T> {
    pub(crate) fn new(first: Snapshot<T>) -> Self {
        Self(ArcSwap::from_pointee(PerThread::new(first)))
    }

    /// Takes part in the newest generation. Never blocks, and changes nothing that another thread
    /// reads or changes at each request.
    pub(crate) fn load(&self) -> Reader<T> {
        self.0.load().share()
    }

    /// Publishes: the one pointer store. Returns what was there before.
    pub(crate) fn store(&self, next: Snapshot<T>) -> Arc<PerThread<Snapshot<T>>> {
        self.0.swap(Arc::new(PerThread::new(next)))
    }

    /// How many readers the newest generation has.
    pub(crate) fn readers(&self) -> usize {
        self.0.load().shares()
    }
}
