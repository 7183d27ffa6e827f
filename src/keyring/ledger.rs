//! Who is trusted, and until when: the bookkeeping behind the snapshots.
//!
//! A [`Ledger`] is changed under one lock by the refresh loop, by revocations and by the end of
//! windows; each change composes the next snapshot from it. It decides no cryptography and waits
//! for nothing.
//!
//! The rules, from the design: windows belong to *keys*, so rotating another field of a bundle
//! opens none; a deadline is fixed once and never moves later; at most two keys overlap, besides a
//! pending one; an absent previous means "forget it"; a revocation wins over everything.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    hash::Hash,
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::key::PreparedKey;
use crate::{
    clock::Now,
    event::Event,
    snapshot::{Held, Trust, TrustedKey},
    source::{Stage, VersionId},
};

/// A digest of the key itself: two keys with one `kid` are two keys here.
type Identity = [u8; 32];

/// How many versions and keys of the past are remembered, so that one that was let go cannot come
/// back with a fresh window. Bounded, because a process may live through any number of rotations.
const REMEMBERED: usize = 1024;

/// A version that has passed its steps on the way to a snapshot.
pub(crate) struct Proved<T> {
    pub(crate) id: VersionId,
    /// `None` where only the keys are of use: pending, and previous under a `prepare` step.
    pub(crate) bundle: Option<Arc<T>>,
    pub(crate) keys: Vec<Arc<PreparedKey>>,
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
    Proved(Proved<T>),
}

/// One whole view of the source, proved.
pub(crate) struct Candidate<T> {
    pub(crate) current: Proved<T>,
    pub(crate) previous: Beside<T>,
    pub(crate) pending: Beside<T>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Windows {
    pub(crate) overlap: Duration,
    pub(crate) max_pending: Duration,
    pub(crate) release_previous_at_swap: bool,
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
    pub(crate) pending_since: Option<Duration>,
    pub(crate) current_since: Now,
    previous_seen: Option<VersionId>,
    keys: Memory<Identity, KeyRecord>,
    versions: Memory<VersionId, VersionRecord>,
    /// Revoked versions, each with the keys that its revocation spares.
    revoked: HashMap<VersionId, HashSet<Identity>>,
}

struct KeyRecord {
    trust: Arc<Trust>,
    was_current: bool,
}

struct VersionRecord {
    trust: Arc<Trust>,
    keys: Vec<Identity>,
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
            pending_since: None,
            current_since: now,
            previous_seen: None,
            keys: Memory::default(),
            versions: Memory::default(),
            revoked: HashMap::new(),
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
        } = candidate;
        let first = self.current_keys.is_empty() && self.versions.is_empty();
        let flipped = !first && current.id != self.current.id;
        let created_at = current.created_at;

        let before = self.current.clone();
        let before_keys = std::mem::take(&mut self.current_keys);
        self.install_current(current, flipped, now);
        let fresh: HashSet<Identity> = identities(&self.current_keys).collect();
        let leaving = || {
            let gone = |held: &&TrustedKey| !fresh.contains(held.key.identity());
            before_keys.iter().filter(gone).map(as_previous)
        };

        let absent = matches!(previous, Beside::Absent);
        let named = match previous {
            // A previous that did not move along with a flip is one the store has not caught up
            // with (or an operator who wrote current alone): what we saw leave is previous then.
            Beside::Proved(named) if !flipped || self.is_moved(&named.id) => Some(named),
            Beside::Proved(_) | Beside::Unusable | Beside::Absent => None,
        };
        let moved = named.as_ref().is_some_and(|named| self.is_moved(&named.id));

        let mut replaced: Vec<TrustedKey> = match &named {
            Some(named) => self.enter_window(named, &fresh, &before_keys, now),
            None => Vec::new(),
        };
        if replaced.is_empty() && flipped && !absent {
            replaced = leaving().collect();
            for held in &replaced {
                held.trust.end_after(now, self.windows.overlap);
            }
        }
        if replaced.is_empty() && !absent {
            let kept = |held: &TrustedKey| !fresh.contains(held.key.identity());
            replaced = self
                .replaced
                .iter()
                .filter(|held| kept(held))
                .cloned()
                .collect();
        }
        let entered: HashSet<Identity> = identities(&replaced).collect();
        let ended = std::mem::take(&mut self.replaced)
            .into_iter()
            .chain(leaving())
            .filter(|held| !fresh.contains(held.key.identity()))
            .filter(|held| !entered.contains(held.key.identity()));
        let mut told = HashSet::new();
        for held in ended {
            let was_open = held.trust.holds(now);
            held.trust.end_after(now, Duration::ZERO);
            if was_open && !absent && told.insert(*held.key.identity()) {
                events.push(Event::WindowCutShort {
                    version: held.version.clone(),
                    key_id: held.key.id().clone(),
                });
            }
        }
        self.replaced = replaced;
        self.install_previous(named, absent, flipped.then_some(before), moved, now, events);
        self.install_pending(pending, created_at, now, events);
    }

    fn is_moved(&self, previous: &VersionId) -> bool {
        self.previous_seen.as_ref() != Some(previous)
    }

    fn install_current(&mut self, current: Proved<T>, flipped: bool, now: Now) {
        let trust = self.record_version(&current, true);
        if flipped {
            self.current_since = now;
        }
        // The store made it current: the deadline of an earlier replacement is void.
        trust.reopen();
        self.current_keys = current
            .keys
            .iter()
            .map(|key| {
                let record = self.key_record(key);
                record.was_current = true;
                record.trust.reopen();
                TrustedKey {
                    key: key.clone(),
                    stage: Stage::Current,
                    version: current.id.clone(),
                    trust: record.trust.clone(),
                }
            })
            .collect();
        if let Some(bundle) = current.bundle {
            self.current = Held {
                id: current.id,
                bundle,
                trust,
            };
        } else {
            self.current.trust = trust;
        }
    }

    /// The keys of a named previous that are not current's, their deadlines fixed.
    fn enter_window(
        &mut self,
        named: &Proved<T>,
        fresh: &HashSet<Identity>,
        before: &[TrustedKey],
        now: Now,
    ) -> Vec<TrustedKey> {
        self.record_version(named, true);
        let overlap = self.windows.overlap;
        let mut entered = Vec::new();
        for key in &named.keys {
            if fresh.contains(key.identity()) {
                continue;
            }
            let seen_leaving = before
                .iter()
                .any(|held| held.key.identity() == key.identity());
            let record = self.key_record(key);
            if !std::mem::replace(&mut record.was_current, true) {
                // It was pending here and current in between, unseen: that deadline is void.
                record.trust.reopen();
            }
            let window = if seen_leaving {
                overlap
            } else {
                rest_of_window(overlap, named.replaced_at, now)
            };
            record.trust.end_after(now, window);
            limit(&record.trust, named.not_after, now);
            let trust = record.trust.clone();
            if trust.holds(now) || trust.is_revoked() {
                entered.push(TrustedKey {
                    key: key.clone(),
                    stage: Stage::Previous,
                    version: named.id.clone(),
                    trust,
                });
            }
        }
        entered
    }

    fn install_previous(
        &mut self,
        named: Option<Proved<T>>,
        absent: bool,
        before: Option<Held<T>>,
        moved: bool,
        now: Now,
        events: &mut Vec<Event>,
    ) {
        let overlap = self.windows.overlap;
        if absent {
            self.previous_seen = None;
            let dropped = self.previous.take().or(before);
            if let Some(held) = dropped {
                held.trust.end_after(now, Duration::ZERO);
                events.push(Event::PreviousWithdrawn { version: held.id });
            }
            return;
        }
        let flipped = before.is_some();
        let holds = [before, self.previous.take()];
        let held = match named {
            Some(named) => {
                let record = self.versions.get(&named.id).map(|it| it.trust.clone());
                let trust = record.unwrap_or_else(Trust::open);
                let seen = holds
                    .iter()
                    .flatten()
                    .find(|held| held.id == named.id)
                    .map(|held| held.bundle.clone());
                let window = if flipped && seen.is_some() {
                    overlap
                } else if moved {
                    rest_of_window(overlap, named.replaced_at, now)
                } else {
                    Duration::MAX
                };
                if window != Duration::MAX {
                    trust.end_after(now, window);
                }
                limit(&trust, named.not_after, now);
                self.previous_seen = Some(named.id.clone());
                let bundle = seen.or(named.bundle);
                bundle.map(|bundle| Held {
                    id: named.id,
                    bundle,
                    trust,
                })
            }
            None => {
                let [before, previous] = holds;
                if let Some(before) = &before {
                    before.trust.end_after(now, overlap);
                }
                before.or(previous)
            }
        };
        let wanted = !self.windows.release_previous_at_swap;
        self.previous = held
            .filter(|held| wanted && (held.trust.holds(now) || held.trust.is_revoked()))
            .filter(|held| held.id != self.current.id);
    }

    fn install_pending(
        &mut self,
        pending: Beside<T>,
        current_created_at: Option<SystemTime>,
        now: Now,
        events: &mut Vec<Event>,
    ) {
        let was = self.pending.take();
        let since = self.pending_since.take();
        let pending = match pending {
            Beside::Absent => {
                self.pending_keys.clear();
                return;
            }
            Beside::Unusable => {
                self.pending = was;
                self.pending_since = since;
                return;
            }
            Beside::Proved(pending) => pending,
        };
        self.pending_keys.clear();
        if let Some(reason) = self.why_not_pending(&pending, current_created_at) {
            events.push(Event::StageSkipped {
                stage: Stage::Pending,
                version: Some(pending.id),
                reason: reason.to_owned(),
            });
            return;
        }
        self.record_version(&pending, false);
        let max_pending = self.windows.max_pending;
        let taken: HashSet<Identity> = identities(&self.current_keys)
            .chain(identities(&self.replaced))
            .collect();
        for key in &pending.keys {
            if taken.contains(key.identity()) {
                continue;
            }
            let record = self.key_record(key);
            if record.was_current {
                continue;
            }
            record.trust.end_after(now, max_pending);
            let trust = record.trust.clone();
            self.pending_keys.push(TrustedKey {
                key: key.clone(),
                stage: Stage::Pending,
                version: pending.id.clone(),
                trust,
            });
        }
        self.pending_since = since.filter(|_| was.as_ref() == Some(&pending.id));
        self.pending_since.get_or_insert(now.mono);
        self.pending = Some(pending.id);
    }

    fn why_not_pending(
        &self,
        pending: &Proved<T>,
        current_created_at: Option<SystemTime>,
    ) -> Option<&'static str> {
        if let (Some(pending), Some(current)) = (pending.created_at, current_created_at)
            && pending < current
        {
            return Some("it is older than the current version");
        }
        let known = self.versions.get(&pending.id);
        known
            .is_some_and(|record| record.was_in_use)
            .then_some("it was in use before")
    }

    /// The source was read, the new current was refused, and no previous is vouched for any more:
    /// a withdrawal must not wait for a good current.
    pub(crate) fn withdraw_previous(&mut self, now: Now) -> Vec<Event> {
        let dropped = self.previous.take();
        let mut gone: Vec<VersionId> = dropped
            .iter()
            .map(|held| held.id.clone())
            .chain(self.replaced.iter().map(|held| held.version.clone()))
            .collect();
        gone.dedup();
        for trust in self.replaced.iter().map(|held| &held.trust) {
            trust.end_after(now, Duration::ZERO);
        }
        if let Some(held) = dropped {
            held.trust.end_after(now, Duration::ZERO);
        }
        self.replaced.clear();
        self.previous_seen = None;
        gone.into_iter()
            .map(|version| Event::PreviousWithdrawn { version })
            .collect()
    }

    /// An unchanged view may still bring an earlier end (`not_after`).
    pub(crate) fn shorten_previous(&self, previous: &VersionId, not_after: SystemTime, now: Now) {
        let replaced = self.replaced.iter().filter(|it| it.version == *previous);
        let held = self.previous.iter().filter(|it| it.id == *previous);
        let trusts = replaced.map(|it| &it.trust).chain(held.map(|it| &it.trust));
        for trust in trusts {
            limit(trust, Some(not_after), now);
        }
    }

    /// Lets go of what is no longer trusted; `None` where there is nothing to let go.
    pub(crate) fn expire(&mut self, now: Now) -> Option<Vec<VersionId>> {
        let over = |trust: &Trust| trust.remaining(now).is_some_and(|rest| rest.is_zero());
        let mut gone = Vec::new();
        let mut changed = false;
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
        gone.sort();
        gone.dedup();
        (changed || !gone.is_empty()).then_some(gone)
    }

    /// How long until something ends by itself.
    pub(crate) fn next_end(&self, now: Now) -> Option<Duration> {
        let keys = self.replaced.iter().chain(&self.pending_keys);
        keys.map(|held| &held.trust)
            .chain(self.previous.iter().map(|held| &held.trust))
            .filter_map(|trust| trust.remaining(now))
            .min()
    }

    /// Revokes a version's keys and bundle, in whatever stage it is or will be; with
    /// `spare_current`, not the keys that it shares with current. Tells whether a key of current
    /// was hit.
    pub(crate) fn revoke(&mut self, version: &VersionId, spare_current: bool) -> bool {
        let spared: HashSet<Identity> = if spare_current {
            identities(&self.current_keys).collect()
        } else {
            HashSet::new()
        };
        if let Some(record) = self.versions.get(version) {
            record.trust.revoke();
            let hit = record.keys.iter().filter(|key| !spared.contains(*key));
            for key in hit.filter_map(|key| self.keys.get(key)) {
                key.trust.revoke();
            }
        }
        self.revoked.insert(version.clone(), spared);
        *version == self.current.id || self.current_keys.iter().any(|key| key.trust.is_revoked())
    }

    /// Takes a revocation back; `false` where there was none.
    pub(crate) fn restore(&mut self, version: &VersionId) -> bool {
        if self.revoked.remove(version).is_none() {
            return false;
        }
        let still = |identity: &Identity| {
            self.revoked.iter().any(|(other, spared)| {
                let record = self.versions.get(other);
                record.is_some_and(|record| record.keys.contains(identity))
                    && !spared.contains(identity)
            })
        };
        if let Some(record) = self.versions.get(version) {
            record.trust.restore();
            for identity in record.keys.iter().filter(|identity| !still(identity)) {
                if let Some(key) = self.keys.get(identity) {
                    key.trust.restore();
                }
            }
        }
        true
    }

    /// What the previous stage is made of, for `revoke_previous`.
    pub(crate) fn previous_versions(&self) -> Vec<VersionId> {
        let replaced = self.replaced.iter().map(|held| &held.version);
        let held = self.previous.iter().map(|held| &held.id);
        let mut versions: Vec<_> = held.chain(replaced).cloned().collect();
        versions.sort();
        versions.dedup();
        versions
    }

    pub(crate) fn is_revoked(&self, version: &VersionId) -> bool {
        self.revoked.contains_key(version)
    }

    /// The keys of the next snapshot, in the order they are tried.
    pub(crate) fn trusted_keys(&self, now: Now) -> Box<[TrustedKey]> {
        let beside = self.replaced.iter().chain(&self.pending_keys);
        let beside = beside.filter(|held| held.trust.holds(now));
        self.current_keys.iter().chain(beside).cloned().collect()
    }

    /// The bundle of the next snapshot's previous stage.
    pub(crate) fn trusted_previous(&self, now: Now) -> Option<Held<T>> {
        self.previous
            .as_ref()
            .filter(|held| held.trust.holds(now))
            .cloned()
    }

    fn key_record(&mut self, key: &PreparedKey) -> &mut KeyRecord {
        self.keys.get_or_insert(*key.identity(), || KeyRecord {
            trust: Trust::open(),
            was_current: false,
        })
    }

    /// Enters a version into the books; its keys take over a revocation that was waiting for it.
    fn record_version(&mut self, version: &Proved<T>, in_use: bool) -> Arc<Trust> {
        let keys: Vec<Identity> = version.keys.iter().map(|key| *key.identity()).collect();
        let record = self
            .versions
            .get_or_insert(version.id.clone(), || VersionRecord {
                trust: Trust::open(),
                keys: Vec::new(),
                was_in_use: false,
            });
        record.was_in_use |= in_use;
        record.keys.clone_from(&keys);
        let trust = record.trust.clone();
        if let Some(spared) = self.revoked.get(&version.id).cloned() {
            trust.revoke();
            for key in &version.keys {
                if !spared.contains(key.identity()) {
                    self.key_record(key).trust.revoke();
                }
            }
        }
        trust
    }
}

fn identities(keys: &[TrustedKey]) -> impl Iterator<Item = Identity> + '_ {
    keys.iter().map(|held| *held.key.identity())
}

fn as_previous(held: &TrustedKey) -> TrustedKey {
    TrustedKey {
        stage: Stage::Previous,
        ..held.clone()
    }
}

/// What is left of a window that began before this process could see it. With no word from the
/// source about when, it begins now.
fn rest_of_window(overlap: Duration, began: Option<SystemTime>, now: Now) -> Duration {
    let age = began.and_then(|began| now.wall.duration_since(began).ok());
    overlap.saturating_sub(age.unwrap_or_default())
}

fn limit(trust: &Trust, not_after: Option<SystemTime>, now: Now) {
    if let Some(not_after) = not_after {
        let left = not_after.duration_since(now.wall).unwrap_or_default();
        trust.end_after(now, left);
    }
}

/// A map that forgets its oldest entries beyond [`REMEMBERED`].
struct Memory<K, V> {
    entries: HashMap<K, V>,
    order: VecDeque<K>,
}

impl<K, V> Default for Memory<K, V> {
    fn default() -> Self {
        Self {
            entries: HashMap::new(),
            order: VecDeque::new(),
        }
    }
}

impl<K: Hash + Eq + Clone, V> Memory<K, V> {
    fn get(&self, key: &K) -> Option<&V> {
        self.entries.get(key)
    }

    fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Entering an entry again makes it the newest.
    fn get_or_insert(&mut self, key: K, value: impl FnOnce() -> V) -> &mut V {
        if self.order.back() != Some(&key) {
            self.order.retain(|other| *other != key);
            self.order.push_back(key.clone());
        }
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.entries.remove(&oldest);
        }
        self.entries.entry(key).or_insert_with(value)
    }
}
