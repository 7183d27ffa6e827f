//! What is still in use of versions that were replaced, and when nothing of one is any more.
//!
//! Requests pay nothing for it: they hold snapshots, and the books point at replaced snapshots weakly.
//! Nothing inside of a snapshot points back at one.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    error::Error,
    fmt,
    sync::{Arc, Weak},
    time::{Duration, SystemTime},
};

use super::{
    CutOff, Keyring, Sample, Shared,
    drain::{Need, until_unused},
    ledger::Ledger,
};
use crate::{
    clock::Now,
    event::Event,
    per_thread::{Holders, PerThread},
    snapshot::Snapshot,
    source::VersionId,
};

#[cfg(test)]
mod tests;

/// How many replaced versions are remembered. More than a window has room for: at most two keys overlap.
const MAX_REPLACED: usize = 32;

/// A timer knows nothing of a wall clock that is stepped, or of a machine that slept.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// What was replaced, the newest last.
pub(super) struct InFlight<T> {
    snapshots: Vec<Replaced<T>>,
    versions: VecDeque<ReplacedVersion<T>>,
    /// The versions that were in use before, perhaps in another process, with which `try_each` has called an
    /// upstream. Forgotten after an overlap window, where nobody keeps the bundle.
    used: HashMap<VersionId, Used<T>>,
}

struct Used<T> {
    /// The last time: monotonic.
    at: Duration,
    bundle: Weak<T>,
}

struct Replaced<T> {
    generation: u64,
    version: VersionId,
    /// Those whose bundles it holds, that one included.
    versions: HashSet<VersionId>,
    holders: Holders<Snapshot<T>>,
}

struct ReplacedVersion<T> {
    id: VersionId,
    at: Now,
    /// Another version may go on with it, where a `prepare` step found nothing to make anew.
    bundle: Weak<T>,
}

/// Why it is not safe to revoke a version upstream, or to forget it: what is still in use.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InUse {
    /// It is the version in use.
    Current,
    /// Its key, or its bundle as previous, is still trusted.
    Trusted {
        /// For how long, unless it is withdrawn or revoked.
        ends_in: Duration,
    },
    /// Requests, or streams, began when it was current, and hold it.
    Held {
        /// How many times it is held. A request may hold it more than once; none is exact.
        holders: usize,
    },
    /// Its session key opens what it has bound, sessions and request states, until its
    /// [window](crate::Builder::session_key_window) is over. No request waits for that, so
    /// [`drained`](Keyring::drained) does not; but who removes the version from the store ends them.
    SessionKey {
        /// For how long, unless it is withdrawn or revoked.
        ends_in: Duration,
    },
    /// A resource that was prepared from it is not closed.
    PreparedResource,
    /// An upstream was called with it by `try_each` less than an overlap window ago, because
    /// the current credential was refused.
    TriedUpstream {
        /// How long ago.
        ago: Duration,
    },
}

impl fmt::Display for InUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Current => f.write_str("it is the version in use"),
            Self::Trusted { ends_in } => {
                write!(
                    f,
                    "it is trusted for {} s more",
                    ends_in.as_secs_f64().ceil()
                )
            }
            Self::Held { holders } => write!(
                f,
                "it is held {holders} times by requests that began with it"
            ),
            Self::SessionKey { ends_in } => {
                write!(
                    f,
                    "its session key opens for {} s more",
                    ends_in.as_secs_f64().ceil()
                )
            }
            Self::PreparedResource => f.write_str("a resource prepared from it is not closed"),
            Self::TriedUpstream { ago } => {
                write!(f, "an upstream was called with it {} s ago", ago.as_secs())
            }
        }
    }
}

/// A version that was in use in this process, or that the store has called previous, and what still uses it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ReplacedStatus {
    /// The version.
    pub id: VersionId,
    /// When this process replaced it; `None` for one that was replaced before the start, or between two refreshes.
    pub replaced_at: Option<SystemTime>,
    /// What still uses it here; nothing: it is safe to revoke, as far as this process goes.
    pub in_use: Vec<InUse>,
    /// The moment from which on `try_each` sends it to no upstream: an overlap window after it was replaced
    /// here. What holds it may go on, and other processes may have replaced it later.
    pub revoke_upstream_not_before: Option<SystemTime>,
    /// The latest `exp` of the tokens that its keys have verified here, without those keys that the current
    /// version has too. `None`: there was none.
    pub latest_exp: Option<SystemTime>,
    /// Warnings, and no reasons not to revoke: which keys' windows end before their tokens do.
    pub cut_offs: Vec<CutOff>,
}

/// No version of this name is known here: it was never seen, or so long ago that it is forgotten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownVersion(VersionId);

impl fmt::Display for UnknownVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(version) = self;
        write!(f, "no version {version} is known to this process")
    }
}

impl Error for UnknownVersion {}

impl<T> InFlight<T> {
    pub(super) fn new() -> Self {
        Self {
            snapshots: Vec::new(),
            versions: VecDeque::new(),
            used: HashMap::new(),
        }
    }

    /// A snapshot was replaced, by one of these books.
    pub(super) fn replaced(
        &mut self,
        old: &Arc<PerThread<Snapshot<T>>>,
        ledger: &Ledger<T>,
        now: Now,
    ) {
        let next = &ledger.current.id;
        self.snapshots.push(Replaced {
            generation: old.generation,
            version: old.current.id.clone(),
            versions: old.versions().cloned().collect(),
            holders: Holders::of(old),
        });
        self.versions.retain(|replaced| replaced.id != *next);
        self.used.remove(next);
        let id = &old.current.id;
        if id == next || self.versions.iter().any(|replaced| replaced.id == *id) {
            return;
        }
        // What is still in use is listed, however long ago it was replaced; of the rest so many.
        let ids = self.versions.iter().map(|it| &it.id);
        let unused = ids.filter(|id| uses_of(ledger, self, id, now).is_empty());
        let mut forgotten: Vec<VersionId> = unused.cloned().collect();
        forgotten.truncate((forgotten.len() + 1).saturating_sub(MAX_REPLACED));
        self.versions.retain(|it| !forgotten.contains(&it.id));
        self.versions.push_back(ReplacedVersion {
            id: id.clone(),
            at: now,
            bundle: Arc::downgrade(&old.current.bundle),
        });
    }

    /// How long ago an upstream was called with it, where that is less than a window.
    fn used_ago(&self, version: &VersionId, ledger: &Ledger<T>, now: Now) -> Option<Duration> {
        let ago = now.mono.saturating_sub(self.used.get(version)?.at);
        (ago < ledger.windows.overlap).then_some(ago)
    }

    fn holders(&self, version: &VersionId) -> usize {
        let held = self.snapshots.iter().filter(|old| old.version == *version);
        held.map(|old| old.holders.count()).sum()
    }
}

impl<T> Shared<T> {
    /// Tells of the older snapshots whose last reader is gone. Gives the versions that no snapshot
    /// needs any more, and those that one does.
    pub(crate) fn tell_drained(&self) -> (Vec<VersionId>, Vec<VersionId>) {
        let mut books = self.books();
        let gone = |old: &mut Replaced<T>| old.holders.count() == 0;
        let drained: Vec<_> = books.in_flight.snapshots.extract_if(.., gone).collect();
        // Another can be stored under this lock only, so the last reader is not this one.
        let newest = self.snapshot();
        let needed = books
            .in_flight
            .snapshots
            .iter()
            .flat_map(|old| &old.versions);
        let in_use: HashSet<VersionId> = needed.chain(newest.versions()).cloned().collect();
        let gone: HashSet<&VersionId> = drained.iter().flat_map(|old| &old.versions).collect();
        let unused = gone.into_iter().filter(|id| !in_use.contains(*id));
        let unused = unused.cloned().collect();
        drop(newest);
        drop(books);
        for old in drained {
            self.events.tell(Event::Drained {
                generation: old.generation,
                version: old.version,
            });
        }
        (unused, in_use.into_iter().collect())
    }

    /// Shows what an operator wants to see as gauges.
    pub(crate) fn sample(&self) {
        self.events.meter.sample(|| Sample {
            at: self.clock.now().wall,
            status: self.status(),
            holders: self.holders_by_age(),
        });
    }

    /// How often the current version, the one before it, and older ones are held.
    fn holders_by_age(&self) -> [usize; 3] {
        let books = self.books();
        let in_flight = &books.in_flight;
        let before = in_flight.versions.back();
        // Another can be stored under this lock only.
        let mut holders = [self.readers(), 0, 0];
        for old in &in_flight.snapshots {
            let age = match before {
                _ if old.version == books.ledger.current.id => 0,
                Some(before) if old.version == before.id => 1,
                _ => 2,
            };
            holders[age] += old.holders.count();
        }
        holders
    }

    /// An upstream is about to be called with a version that is not current.
    pub(crate) fn note_use(&self, version: &VersionId, bundle: &Arc<T>) {
        let now = self.clock.now().mono;
        let mut guard = self.books();
        let books = &mut *guard;
        let overlap = books.ledger.windows.overlap;
        let in_flight = &mut books.in_flight;
        let was_current = in_flight.versions.iter().any(|it| it.id == *version);
        if was_current || books.ledger.previous_versions().contains(version) {
            let is_of_use = |used: &Used<T>| {
                now.saturating_sub(used.at) < overlap || used.bundle.strong_count() > 0
            };
            in_flight.used.retain(|_, used| is_of_use(used));
            let used = Used {
                at: now,
                bundle: Arc::downgrade(bundle),
            };
            in_flight.used.insert(version.clone(), used);
        }
    }

    /// Whether this process has seen a version and not forgotten it.
    #[cfg(feature = "admin")]
    pub(crate) fn knows(&self, version: &VersionId) -> bool {
        self.books().ledger.knows(version)
    }

    /// What uses a version now; `None` for one that is not known.
    fn uses_of(&self, version: &VersionId, now: Now) -> Option<Vec<InUse>> {
        let books = self.books();
        let known = books.ledger.knows(version);
        known.then(|| uses_of(&books.ledger, &books.in_flight, version, now))
    }

    pub(super) fn replaced_status(
        &self,
        ledger: &Ledger<T>,
        in_flight: &InFlight<T>,
        now: Now,
    ) -> Vec<ReplacedStatus> {
        let overlap = ledger.windows.overlap;
        let mut all: Vec<ReplacedStatus> = in_flight
            .versions
            .iter()
            .rev()
            .map(|replaced| ReplacedStatus {
                id: replaced.id.clone(),
                replaced_at: Some(replaced.at.wall),
                in_use: uses_of(ledger, in_flight, &replaced.id, now),
                revoke_upstream_not_before: replaced.at.wall.checked_add(overlap),
                latest_exp: ledger.latest_exp(&replaced.id),
                cut_offs: ledger.cut_offs(&replaced.id, now),
            })
            .collect();
        // And what this process never had as current: it started later, or missed a rotation.
        let sessions = ledger.session_versions(now);
        let used = in_flight.used.keys();
        let used = used.filter(|id| !uses_of(ledger, in_flight, id, now).is_empty());
        let mut used: Vec<_> = used.cloned().collect();
        used.sort();
        let others = ledger.previous_versions().into_iter().chain(sessions);
        for id in others.chain(used) {
            let is_current = id == ledger.current.id;
            if !is_current && !all.iter().any(|replaced| replaced.id == id) {
                all.push(ReplacedStatus {
                    in_use: uses_of(ledger, in_flight, &id, now),
                    latest_exp: ledger.latest_exp(&id),
                    cut_offs: ledger.cut_offs(&id, now),
                    id,
                    replaced_at: None,
                    revoke_upstream_not_before: None,
                });
            }
        }
        all
    }
}

fn uses_of<T>(
    ledger: &Ledger<T>,
    in_flight: &InFlight<T>,
    version: &VersionId,
    now: Now,
) -> Vec<InUse> {
    let mut uses = Vec::new();
    if *version == ledger.current.id {
        uses.push(InUse::Current);
    }
    if let Some(ends_in) = ledger.trusted_for(version, now) {
        uses.push(InUse::Trusted { ends_in });
    }
    if let Some(ends_in) = ledger.session_key_opens_for(version, now) {
        uses.push(InUse::SessionKey { ends_in });
    }
    match in_flight.holders(version) {
        0 => {}
        holders => uses.push(InUse::Held { holders }),
    }
    let replaced = in_flight.versions.iter().find(|it| it.id == *version);
    let replaced = replaced.map(|it| &it.bundle);
    let used = || in_flight.used.get(version).map(|it| &it.bundle);
    if let Some(bundle) = replaced.or_else(used) {
        let is_held = uses
            .iter()
            .any(|it| matches!(it, InUse::Held { .. } | InUse::Trusted { .. }));
        let of_current = bundle.as_ptr() == Arc::as_ptr(&ledger.current.bundle);
        // What the books keep of a revoked one, for it may be restored, nobody can reach.
        let kept = ledger.previous.as_ref();
        let kept = kept.filter(|held| Arc::as_ptr(&held.bundle) == bundle.as_ptr());
        let kept = usize::from(kept.is_some());
        if !is_held && !of_current && bundle.strong_count() > kept {
            uses.push(InUse::PreparedResource);
        }
    }
    if let Some(ago) = in_flight.used_ago(version, ledger, now) {
        uses.push(InUse::TriedUpstream { ago });
    }
    uses
}

impl<T: Send + Sync + 'static> Keyring<T> {
    /// Resolves when nothing here needs this version any more: it is not current, no request holds a
    /// snapshot in which it was, and its window has closed or it is revoked. What was copied out of
    /// [`Secrets`](crate::Secrets), and resources that were prepared from it and taken elsewhere, are
    /// not seen; [`Status::safe_to_revoke`](crate::Status::safe_to_revoke) also looks at the latter, and at
    /// session keys inside their window, which are not waited for here.
    ///
    /// It is of this process alone: ask every one before a credential is revoked for all.
    ///
    /// ```
    /// # use tower_secrets::{Keyring, keyring::UnknownVersion};
    /// async fn retire<App: Send + Sync + 'static>(keyring: &Keyring<App>) -> Result<(), UnknownVersion> {
    ///     let old = keyring.current().version().clone();
    ///     // The store rotates, the keyring follows ..
    /// #   return Ok(());
    ///     keyring.drained(&old).await?;
    ///     println!("nobody here uses {old} any more");
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// When no such version is known.
    ///
    /// # Cancellation safety
    /// Dropping the future changes nothing.
    pub async fn drained(&self, version: &VersionId) -> Result<(), UnknownVersion> {
        let changes = self.shared.changes.subscribe();
        let last_reader = &self.shared.retired().for_waiters;
        until_unused(changes, last_reader, || self.need(version)).await
    }

    fn need(&self, version: &VersionId) -> Result<Need, UnknownVersion> {
        let uses = self.shared.uses_of(version, self.clock().now());
        let uses = uses.ok_or_else(|| UnknownVersion(version.clone()))?;
        let mut need = Need::Nothing;
        for it in uses {
            let pause = match it {
                InUse::Current | InUse::Held { .. } => LOOK_AGAIN,
                InUse::Trusted { ends_in } => ends_in.min(LOOK_AGAIN),
                InUse::SessionKey { .. }
                | InUse::PreparedResource
                | InUse::TriedUpstream { .. } => continue,
            };
            need = need.sooner(pause);
        }
        Ok(need)
    }
}
