//! Which session keys are trusted, and until when.
//!
//! Windows belong to the keys here too, and are longer than those of keys that verify tokens, because
//! a session outlives many tokens. So more than one replaced key is inside its window at once, and the
//! previous stage, which names one at most, is not all there is. What it does not name ends by time;
//! but a source that names none at all has taken all of them back.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{
    Beside, Identity, Proved, Windows, limit, matters, remembered::Remembered, rest_of_window,
};
use crate::{
    clock::Now,
    event::Event,
    keyring::{
        session_key::PreparedSessionKey,
        session_keys::{RingKey, RingView},
    },
    snapshot::Trust,
    source::VersionId,
};

/// How many replaced keys are inside their windows at most: each is tried with whatever no other key
/// opens. One an hour for a day, and some more.
const MAX_REPLACED: usize = 32;

pub(super) struct Sessions {
    windows: Windows,
    /// When current seals, monotonic.
    seals_from: Duration,
    current: Option<RingKey>,
    /// The newest first.
    replaced: Vec<RingKey>,
    pending: Option<RingKey>,
    records: Remembered<Identity, Record>,
}

struct Record {
    trust: Arc<Trust>,
    /// The last one that it was in.
    version: VersionId,
    was_current: bool,
    pending_since: Option<Duration>,
    /// It ended otherwise than by time.
    was_cut: bool,
    /// Holds until the end that the store has named. The window may be over before.
    named_end: Option<Arc<Trust>>,
}

impl Record {
    fn limit(&mut self, not_after: Option<SystemTime>, now: Now) {
        if not_after.is_some() {
            limit(&self.trust, not_after, now);
            limit(
                self.named_end.get_or_insert_with(Trust::open),
                not_after,
                now,
            );
        }
    }
}

/// A key as a version brings it.
pub(super) struct Brought {
    key: Option<Arc<PreparedSessionKey>>,
    version: VersionId,
    replaced_at: Option<SystemTime>,
    not_after: Option<SystemTime>,
}

impl Brought {
    pub(super) fn by<T>(version: &Proved<T>) -> Self {
        Self {
            key: version.session.clone(),
            version: version.id.clone(),
            replaced_at: version.replaced_at,
            not_after: version.not_after,
        }
    }

    /// What the store says of the end.
    pub(super) fn ending(mut self, not_after: Option<SystemTime>) -> Self {
        self.not_after = not_after;
        self
    }

    fn identity(&self) -> Option<Identity> {
        self.key.as_ref().map(|key| *key.identity())
    }

    pub(super) fn beside<T>(stage: &Beside<T>) -> Option<Self> {
        match stage {
            Beside::Proved(version) => Some(Self::by(version)),
            Beside::Absent | Beside::Unusable | Beside::Stageless { .. } => None,
        }
    }
}

/// What the pending stage says.
pub(super) enum Staged {
    Known(Option<Brought>),
    /// There is one that cannot be read: it takes nothing back.
    Unknown,
}

impl Staged {
    pub(super) fn by<T>(stage: &Beside<T>) -> Self {
        match stage {
            Beside::Unusable => Self::Unknown,
            _ => Self::Known(Brought::beside(stage)),
        }
    }
}

impl Sessions {
    pub(super) fn new(windows: Windows) -> Self {
        Self {
            windows,
            seals_from: Duration::ZERO,
            current: None,
            replaced: Vec::new(),
            pending: None,
            records: Remembered::default(),
        }
    }

    /// Takes the keys of a proved view over.
    pub(super) fn take(
        &mut self,
        current: (Brought, Duration),
        (previous, pending): (Option<Brought>, Staged),
        now: Now,
        events: &mut Vec<Event>,
    ) {
        let before = self.current.take();
        self.install_current(current, &before, now);
        self.replaced.retain(|held| !is(&self.current, held));
        if let Some(before) = before.filter(|before| !is(&self.current, before)) {
            before.trust.end_after(now, self.windows.session_keys);
            self.replaced.insert(0, before);
        }
        if let Some(previous) = previous {
            self.enter_window(previous, now);
        }
        self.cap(now, events);
        match pending {
            Staged::Unknown => {
                self.pending = self.pending.take().filter(|it| !is(&self.current, it))
            }
            Staged::Known(pending) => {
                let staged = pending.as_ref().and_then(Brought::identity);
                self.pending = pending.and_then(|pending| self.entered_pending(pending, now));
                self.unstage_others(staged);
            }
        }
    }

    /// What was pending and is no more begins anew when it is back; and what it has opened here ends, unless
    /// it has become current meanwhile.
    fn unstage_others(&mut self, staged: Option<Identity>) {
        let unstaged = |(identity, _): &(&Identity, &mut Record)| Some(**identity) != staged;
        for (_, record) in self.records.iter_mut().filter(unstaged) {
            let was_pending = record.pending_since.take().is_some();
            record.was_cut |= was_pending && !record.was_current;
        }
    }

    fn install_current(
        &mut self,
        (current, delay): (Brought, Duration),
        before: &Option<RingKey>,
        now: Now,
    ) {
        let Some(key) = current.key else { return };
        let stays = same(before, &key);
        let record = self.record(&key, &current.version);
        // Others open with a key while it is in its window, so it may seal when it is back.
        let is_known = record.was_current && record.trust.holds(now);
        let pending = record.pending_since.filter(|_| record.trust.holds(now));
        let since = pending.unwrap_or(now.mono);
        record.was_current = true;
        record.was_cut = false;
        record.named_end = None;
        // The store made it current: the deadline of an earlier replacement is void.
        record.trust.reopen();
        let trust = record.trust.clone();
        if !stays {
            self.seals_from = if is_known {
                now.mono
            } else {
                since.saturating_add(delay)
            };
        }
        self.current = Some(RingKey {
            key,
            trust,
            version: current.version,
        });
    }

    /// The key of the previous version may be one that this process never saw as current.
    fn enter_window(&mut self, previous: Brought, now: Now) {
        let window = self.windows.session_keys;
        let Some(key) = previous.key else { return };
        if same(&self.current, &key) {
            return;
        }
        let record = self.record(&key, &previous.version);
        if !std::mem::replace(&mut record.was_current, true) {
            // It was pending here and current in between, unseen: that deadline is void.
            record.trust.reopen();
            record.was_cut = false;
        }
        if record.trust.remaining(now).is_none() {
            let rest = rest_of_window(window, previous.replaced_at, now);
            record.trust.end_after(now, rest);
        }
        record.limit(previous.not_after, now);
        let is_over = !record.trust.holds(now);
        let held = RingKey {
            trust: record.trust.clone(),
            key,
            version: previous.version,
        };
        let is_known = self
            .replaced
            .iter()
            .any(|it| it.key.identity() == held.key.identity());
        if !is_known && !is_over {
            self.replaced.insert(0, held);
        }
    }

    /// For opening alone: another replica may have seen the flip already.
    fn entered_pending(&mut self, pending: Brought, now: Now) -> Option<RingKey> {
        let max_pending = self.windows.max_pending;
        let key = pending.key?;
        if same(&self.current, &key) {
            return None;
        }
        let record = self.record(&key, &pending.version);
        if record.was_current {
            return None;
        }
        record.trust.end_after(now, max_pending);
        record.pending_since.get_or_insert(now.mono);
        record.was_cut = false;
        Some(RingKey {
            trust: record.trust.clone(),
            key,
            version: pending.version,
        })
    }

    fn cap(&mut self, now: Now, events: &mut Vec<Event>) {
        if self.replaced.len() <= MAX_REPLACED {
            return;
        }
        for held in self.replaced.drain(MAX_REPLACED..) {
            held.trust.end_after(now, Duration::ZERO);
            events.push(Event::WindowCutShort {
                version: held.version,
                key_id: held.key.id(),
            });
        }
    }

    /// The source takes back all that is not current: what is inside its window, and what others
    /// remember beyond it. Gives the versions of those that it cut.
    pub(super) fn withdraw(&mut self, now: Now) -> BTreeSet<VersionId> {
        self.replaced.clear();
        let mut versions = BTreeSet::new();
        for (_, record) in past(&mut self.records, &self.current) {
            record.trust.end_after(now, Duration::ZERO);
            if !std::mem::replace(&mut record.was_cut, true) {
                versions.insert(record.version.clone());
            }
        }
        versions
    }

    pub(super) fn shorten(&mut self, version: &VersionId, not_after: SystemTime, now: Now) {
        let past = past(&mut self.records, &self.current);
        for (_, record) in past.filter(|(_, record)| record.version == *version) {
            record.limit(Some(not_after), now);
        }
    }

    /// For how long a key that current has not goes on opening what it has bound.
    pub(super) fn opens_for(&self, identity: &Identity, now: Now) -> Option<Duration> {
        let mut replaced = self.replaced.iter();
        let held = replaced.find(|held| held.key.identity() == identity)?;
        let holds = held.trust.holds(now);
        holds.then(|| held.trust.remaining(now).unwrap_or(Duration::MAX))
    }

    /// Lets go of what is over; tells whether anything was.
    pub(super) fn expire(&mut self, now: Now) -> bool {
        let over = |held: &RingKey| held.trust.remaining(now).is_some_and(|rest| rest.is_zero());
        let before = self.replaced.len();
        self.replaced.retain(|held| !over(held));
        let pending = self.pending.take_if(|held| over(held));
        before != self.replaced.len() || pending.is_some()
    }

    pub(super) fn next_end(&self, now: Now) -> Option<Duration> {
        let ending = self.replaced.iter().chain(&self.pending);
        ending.filter_map(|held| held.trust.remaining(now)).min()
    }

    /// What those who use the keys see. A revocation is a matter of versions, and they may have the key
    /// in common with current, which goes on, unless current itself is one of them.
    pub(super) fn view(
        &self,
        revoked: HashSet<Identity>,
        current_is_revoked: bool,
        now: Now,
    ) -> RingView {
        let is_good =
            |held: &&RingKey| held.trust.holds(now) && !revoked.contains(held.key.identity());
        let others = self.replaced.iter().chain(&self.pending).filter(is_good);
        let others = others.cloned().collect();
        // Where current was revoked none seals until the store has another.
        let before = self.replaced.first().filter(is_good);
        let before =
            before.filter(|held| !current_is_revoked && self.was_replaced_only_now(held, now));
        let records = || self.records.iter();
        let cut = records().filter(|(_, record)| record.was_cut);
        let mut cut: HashSet<Identity> =
            cut.map(|(identity, _)| *identity).chain(revoked).collect();
        let current = self.current.clone().filter(|_| !current_is_revoked);
        if let Some(current) = &current {
            cut.remove(current.key.identity());
        }
        let named_ends =
            records().filter_map(|(identity, record)| Some((*identity, record.named_end.clone()?)));
        RingView {
            current,
            before: before.cloned().map(|held| (held, self.seals_from)),
            others,
            cut,
            named_ends: named_ends.collect(),
        }
    }

    /// Whether others may not know the key after it yet, as far as the rest of its window tells. Then they
    /// have it for as long as what it seals is good for; a key that is about to end seals nothing.
    fn was_replaced_only_now(&self, held: &RingKey, now: Now) -> bool {
        let record = self.records.get(held.key.identity());
        let window = match record {
            // The store says when it ends, which may be before the window is over.
            Some(Record {
                named_end: Some(_), ..
            }) => self.windows.overlap.min(self.windows.session_keys),
            _ => self.windows.session_keys,
        };
        let rest = held.trust.remaining(now).unwrap_or_default();
        rest.saturating_add(self.windows.activation_delay) >= window
    }

    pub(super) fn current_identity(&self) -> Option<Identity> {
        self.current.as_ref().map(|held| *held.key.identity())
    }

    fn record(&mut self, key: &PreparedSessionKey, version: &VersionId) -> &mut Record {
        let fresh = || Record {
            trust: Trust::open(),
            version: version.clone(),
            was_current: false,
            pending_since: None,
            was_cut: false,
            named_end: None,
        };
        let keep = |record: &Record| {
            record.was_cut || record.named_end.is_some() || matters(&record.trust)
        };
        let record = self.records.get_or_insert(*key.identity(), fresh, keep);
        record.version.clone_from(version);
        record
    }
}

/// The keys that were current, and are not.
fn past<'a>(
    records: &'a mut Remembered<Identity, Record>,
    current: &Option<RingKey>,
) -> impl Iterator<Item = (&'a Identity, &'a mut Record)> {
    let current = current.as_ref().map(|held| *held.key.identity());
    let records = records.iter_mut();
    records.filter(move |(identity, record)| record.was_current && Some(**identity) != current)
}

fn is(held: &Option<RingKey>, other: &RingKey) -> bool {
    same(held, &other.key)
}

fn same(held: &Option<RingKey>, key: &PreparedSessionKey) -> bool {
    held.as_ref()
        .is_some_and(|held| held.key.identity() == key.identity())
}
