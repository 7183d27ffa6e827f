//! Who is trusted, and until when: the bookkeeping behind the snapshots.
//!
//! A [`Ledger`] is changed under one lock by the refresh loop, by revocations and by the end of
//! windows; each change composes the next snapshot from it. It decides no cryptography and waits
//! for nothing.
//!
//! The rules: windows belong to *keys*, so rotating another field of a bundle
//! opens none; a deadline is fixed once and never moves later; at most two keys overlap, besides a
//! pending one (unless the source has a key set without stages and asks for a window for each key that
//! vanishes from it); an absent previous means "forget it"; a revocation wins over everything.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{
    key::{KeyId, PreparedKey},
    session_key::PreparedSessionKey,
};
use crate::{
    clock::Now,
    event::Event,
    snapshot::{Held, Trust, TrustedKey},
    source::VersionId,
};

mod cut_off;
pub use cut_off::CutOff;

mod lookups;

mod remembered;
use remembered::Remembered;

mod revoke;
use revoke::Revoked;

mod sessions;
use sessions::{Brought, Sessions, Staged};

mod stages;
pub(crate) use stages::rest_of_window;

/// How many names of one key are remembered.
const MAX_NAMES: usize = 8;

/// How many keys of a key set are inside their windows at most.
const MAX_REPLACED: usize = 100;

/// A digest of the key itself: two keys with one `kid` are two keys here.
type Identity = [u8; 32];

/// A version that has passed its steps on the way to a snapshot.
pub(crate) struct Proved<T> {
    pub(crate) id: VersionId,
    /// `None` where only the keys are of use: pending, and previous under a `prepare` step.
    pub(crate) bundle: Option<Arc<T>>,
    pub(crate) keys: Vec<Arc<PreparedKey>>,
    pub(crate) session: Option<Arc<PreparedSessionKey>>,
    pub(crate) created_at: Option<SystemTime>,
    pub(crate) replaced_at: Option<SystemTime>,
    pub(crate) not_after: Option<SystemTime>,
}

/// What a refresh learned of a stage other than current.
pub(crate) enum Beside<T> {
    /// The source has none.
    Absent,
    /// The source has one that cannot be used.
    Unusable,
    /// The source has no stages; whether what leaves current stays until its own window ends.
    Stageless {
        keep_withdrawn: bool,
    },
    Proved(Proved<T>),
}

/// One whole view of the source, proved.
pub(crate) struct Candidate<T> {
    pub(crate) current: Proved<T>,
    pub(crate) previous: Beside<T>,
    pub(crate) pending: Beside<T>,
    /// For an ordinary secret the version as a whole says which keys leave, and until when they are
    /// trusted. In a combined one the part does that they are in.
    pub(crate) key_side: Option<KeySide<T>>,
    /// When the store says that previous ends. A combined one has an end besides, that of the windows of
    /// its parts, which is not that of session keys.
    pub(crate) previous_ends: Option<SystemTime>,
    /// Whether the source vouches for no previous version, or no longer for one of a part.
    pub(crate) takes_back: bool,
    /// Whether versions are combinations of those of several secrets.
    pub(crate) is_composed: bool,
}

/// What became of the part that the verification keys are in.
pub(crate) struct KeySide<T> {
    /// Whether its current version is another one than before.
    pub(crate) flipped: bool,
    /// The keys of its previous version, and its dates.
    pub(crate) previous: Beside<T>,
}

/// What is withdrawn where a new current was refused, or could not be read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Withdrawn {
    pub(crate) bundle: bool,
    pub(crate) keys: bool,
    pub(crate) pending_bundle: bool,
    pub(crate) pending_keys: bool,
}

impl Withdrawn {
    /// Of previous, all; of pending nothing is known.
    pub(crate) const PREVIOUS: Self = Self {
        bundle: true,
        keys: true,
        pending_bundle: false,
        pending_keys: false,
    };
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Windows {
    pub(crate) overlap: Duration,
    pub(crate) session_keys: Duration,
    pub(crate) max_pending: Duration,
    pub(crate) release_previous_at_swap: bool,
    /// How long a key has to be known before it signs.
    pub(crate) activation_delay: Duration,
}

pub(crate) struct Ledger<T> {
    pub(crate) windows: Windows,
    pub(crate) current: Held<T>,
    pub(crate) previous: Option<Held<T>>,
    current_keys: Vec<TrustedKey>,
    /// Keys that were current and are inside their window.
    replaced: Vec<TrustedKey>,
    pending_keys: Vec<TrustedKey>,
    pub(crate) pending: Option<VersionId>,
    /// For `try_each` alone; `None` where a `prepare` step makes the bundles.
    pending_bundle: Option<Held<T>>,
    pub(crate) pending_since: Option<Duration>,
    pub(crate) current_since: Now,
    /// What the previous stage shows, and since when.
    previous_since: Option<(VersionId, Duration)>,
    sessions: Sessions,
    keys: Remembered<Identity, KeyRecord>,
    versions: Remembered<VersionId, VersionRecord>,
    revoked: HashMap<VersionId, Revoked>,
    /// Whether versions are combinations of those of several secrets.
    is_composed: bool,
}

struct KeyRecord {
    trust: Arc<Trust>,
    was_current: bool,
    /// Since when it has been pending here; monotonic, like the next.
    pending_since: Option<Duration>,
    /// From when on it signs, because every other process knows it by then. Set as it becomes current.
    signs_from: Duration,
    /// What it was called, the newest last.
    names: Vec<KeyId>,
    /// Whether it was told that its window ends before its tokens.
    told_cut_off: bool,
}

impl KeyRecord {
    fn learn(&mut self, name: &KeyId) {
        if self.names.contains(name) {
            return;
        }
        if self.names.len() == MAX_NAMES {
            self.names.remove(0);
        }
        self.names.push(name.clone());
    }
}

struct VersionRecord {
    trust: Arc<Trust>,
    keys: Vec<Identity>,
    session: Option<Identity>,
    /// Seen here as current or previous: never accepted as pending.
    was_in_use: bool,
}

impl<T> Ledger<T> {
    /// The books of a process that just read its first view. The events tell what was left out.
    pub(crate) fn open(
        candidate: Candidate<T>,
        bundle: Arc<T>,
        windows: Windows,
        now: Now,
    ) -> (Self, Vec<Event>) {
        let trust = Trust::open();
        let mut ledger = Self {
            windows,
            current: Held {
                id: candidate.current.id.clone(),
                bundle,
                trust: trust.clone(),
            },
            previous: None,
            current_keys: Vec::new(),
            replaced: Vec::new(),
            pending_keys: Vec::new(),
            pending: None,
            pending_bundle: None,
            pending_since: None,
            current_since: now,
            previous_since: None,
            sessions: Sessions::new(windows),
            keys: Remembered::default(),
            versions: Remembered::default(),
            revoked: HashMap::new(),
            is_composed: candidate.is_composed,
        };
        let mut events = Vec::new();
        ledger.take(candidate, now, &mut events);
        (ledger, events)
    }

    /// Takes a proved view over. Tells what it ended and left out.
    pub(crate) fn accept(&mut self, candidate: Candidate<T>, now: Now) -> Vec<Event> {
        let mut events = Vec::new();
        self.take(candidate, now, &mut events);
        events
    }

    fn take(&mut self, candidate: Candidate<T>, now: Now, events: &mut Vec<Event>) {
        let Candidate {
            current,
            previous,
            pending,
            key_side,
            previous_ends,
            takes_back,
            is_composed,
        } = candidate;
        self.is_composed = is_composed;
        let first = self.current_keys.is_empty() && self.versions.is_empty();
        let flipped = !first && current.id != self.current.id;
        let before = self.current.clone();
        let before_keys = std::mem::take(&mut self.current_keys);
        let delay = if first {
            self.first_delay(&current, &previous, now)
        } else {
            self.windows.activation_delay
        };
        let keys = Brought::beside(&previous).map(|it| it.ending(previous_ends));
        let others = (keys, Staged::by(&pending));
        self.sessions
            .take((Brought::by(&current), delay), others, now, events);
        let sessions = takes_back.then(|| self.sessions.withdraw(now));
        self.install_current((current, delay), flipped, &before_keys, now);

        let previous = match previous {
            // A copy of current, as an operator makes it before the rotation: none yet.
            Beside::Proved(copy) if copy.id == self.current.id => Beside::Unusable,
            other => other,
        };
        let (keys_flipped, keys) = match &key_side {
            Some(part) => (part.flipped, &part.previous),
            None => (flipped, &previous),
        };
        let withdrawn = self.replace_keys(keys, keys_flipped, &before_keys, now, events);
        // Of the whole, `install_previous` tells it.
        if !matches!(previous, Beside::Absent) {
            let told = |version| Event::PreviousWithdrawn { version };
            events.extend(withdrawn.into_iter().map(told));
        }
        self.install_previous(previous, flipped.then_some(before), now, events);
        let told = |event: &Event| match event {
            Event::PreviousWithdrawn { version } => Some(version.clone()),
            _ => None,
        };
        let told: BTreeSet<_> = events.iter().filter_map(told).collect();
        let untold = sessions
            .into_iter()
            .flatten()
            .filter(|it| !told.contains(it));
        events.extend(untold.map(|version| Event::PreviousWithdrawn { version }));
        let since = self.previous_since.take();
        self.previous_since = self.shown_previous().map(|id| match since {
            Some((shown, since)) if shown == id => (shown, since),
            _ => (id, now.mono),
        });
        self.install_pending(pending, now, events);
    }

    fn shown_previous(&self) -> Option<VersionId> {
        let held = self.previous.as_ref().map(|held| &held.id);
        held.or_else(|| self.replaced.first().map(|held| &held.version))
            .cloned()
    }

    /// An unchanged view may still bring an earlier end (`not_after`) of the previous bundle ..
    pub(crate) fn shorten_bundle(&self, version: &VersionId, not_after: SystemTime, now: Now) {
        for held in self.previous.iter().filter(|it| it.id == *version) {
            limit(&held.trust, Some(not_after), now);
        }
    }

    /// .. and of its keys.
    pub(crate) fn shorten_keys(&mut self, version: &VersionId, not_after: SystemTime, now: Now) {
        for held in self.replaced.iter().filter(|it| it.version == *version) {
            limit(&held.trust, Some(not_after), now);
        }
        self.sessions.shorten(version, not_after, now);
    }

    /// Lets go of what is no longer trusted; `None` where there is nothing to let go.
    pub(crate) fn expire(&mut self, now: Now) -> Option<Vec<VersionId>> {
        let over = |trust: &Trust| trust.remaining(now).is_some_and(|rest| rest.is_zero());
        let mut gone = Vec::new();
        let mut changed = self.sessions.expire(now);
        self.replaced.retain(|held| {
            let keep = !over(&held.trust);
            if !keep {
                gone.push(held.version.clone());
            }
            keep
        });
        if let Some(held) = self.previous.take_if(|held| over(&held.trust)) {
            gone.push(held.id);
        }
        let before = self.pending_keys.len();
        self.pending_keys.retain(|held| !over(&held.trust));
        changed |= before != self.pending_keys.len();
        let pending = self.pending_bundle.take_if(|held| over(&held.trust));
        changed |= pending.is_some();
        gone.sort();
        gone.dedup();
        (changed || !gone.is_empty()).then_some(gone)
    }

    fn key_record(&mut self, key: &PreparedKey) -> &mut KeyRecord {
        let fresh = || KeyRecord {
            trust: Trust::open(),
            was_current: false,
            pending_since: None,
            signs_from: Duration::ZERO,
            names: Vec::new(),
            told_cut_off: false,
        };
        let record = self
            .keys
            .get_or_insert(*key.identity(), fresh, |record| matters(&record.trust));
        record.learn(key.id());
        record
    }

    /// Enters a version into the books; its keys take over a revocation that was waiting for it.
    fn record_version(&mut self, version: &Proved<T>, in_use: bool) -> Arc<Trust> {
        let keys: Vec<Identity> = version.keys.iter().map(|key| *key.identity()).collect();
        let fresh = || VersionRecord {
            trust: Trust::open(),
            keys: Vec::new(),
            session: None,
            was_in_use: false,
        };
        let record = self
            .versions
            .get_or_insert(version.id.clone(), fresh, |record| matters(&record.trust));
        record.keys.clone_from(&keys);
        if let Some(key) = &version.session {
            record.session = Some(*key.identity());
        }
        let trust = record.trust.clone();
        if in_use && !std::mem::replace(&mut record.was_in_use, true) {
            // It may have been pending here: that deadline is void.
            trust.reopen();
        }
        for key in &version.keys {
            self.key_record(key);
        }
        if self.is_revoked(&version.id) {
            trust.revoke();
        }
        if let Some(revoked) = self.revoked.get(&version.id).cloned() {
            for key in &version.keys {
                if !revoked.spared.contains(key.identity()) {
                    self.key_record(key).trust.revoke();
                }
            }
        }
        trust
    }
}

/// Whether forgetting it would undo a revocation, or part it from a snapshot that holds it.
fn matters(trust: &Arc<Trust>) -> bool {
    trust.is_revoked() || Arc::strong_count(trust) > 1
}

fn identities(keys: &[TrustedKey]) -> impl Iterator<Item = Identity> + '_ {
    keys.iter().map(|held| *held.key.identity())
}

fn limit(trust: &Trust, not_after: Option<SystemTime>, now: Now) {
    if let Some(not_after) = not_after {
        let left = not_after.duration_since(now.wall).unwrap_or_default();
        trust.end_after(now, left);
    }
}
