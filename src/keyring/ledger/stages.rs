//! How a view moves through the stages: what becomes current, what enters its window, what pends.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{Beside, Identity, Ledger, MAX_REPLACED, Proved, Withdrawn, identities, limit};
use crate::{
    clock::Now,
    event::Event,
    snapshot::{Held, TrustedKey},
    source::{Stage, VersionId},
};

/// How far the clocks of the store and of this process may be apart.
const CLOCKS: Duration = Duration::from_secs(30);

impl<T> Ledger<T> {
    /// How long a process that starts leaves signing to the key before. Others know a version since it is
    /// in the store, as pending or as current; but for one that was named neither, or too long ago, which
    /// they know since the store was changed last.
    pub(super) fn first_delay(
        &self,
        current: &Proved<T>,
        previous: &Beside<T>,
        now: Now,
    ) -> Duration {
        let delay = self.windows.activation_delay;
        let known_since = match previous {
            Beside::Proved(previous) if previous.created_at <= current.created_at => {
                let created = previous.created_at.and(current.created_at);
                created.map(|at| previous.replaced_at.map_or(at, |changed| changed.max(at)))
            }
            _ => None,
        };
        rest_of_window(delay.saturating_add(CLOCKS), known_since, now).min(delay)
    }

    pub(super) fn install_current(
        &mut self,
        (current, delay): (Proved<T>, Duration),
        flipped: bool,
        before: &[TrustedKey],
        now: Now,
    ) {
        let was_current: HashSet<Identity> = identities(before).collect();
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
                // Others verify with a key while it is in its window, so it may sign when it is back.
                let is_known = was_current.contains(key.identity())
                    || record.was_current && record.trust.holds(now);
                if !is_known {
                    let pending = record.pending_since.filter(|_| record.trust.holds(now));
                    let since = pending.unwrap_or(now.mono);
                    record.signs_from = since.saturating_add(delay).max(now.mono);
                }
                record.was_current = true;
                record.trust.reopen();
                record.told_cut_off = false;
                TrustedKey {
                    key: key.clone(),
                    stage: Stage::Current,
                    version: current.id.clone(),
                    trust: record.trust.clone(),
                    other_names: Arc::default(),
                    signs_from: Duration::ZERO,
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

    /// Moves the keys that are no longer current's into their windows. Returns the versions whose keys
    /// were withdrawn.
    pub(super) fn replace_keys(
        &mut self,
        previous: &Beside<T>,
        flipped: bool,
        before: &[TrustedKey],
        now: Now,
        events: &mut Vec<Event>,
    ) -> BTreeSet<VersionId> {
        let fresh: HashSet<Identity> = identities(&self.current_keys).collect();
        let is_fresh = |held: &TrustedKey| fresh.contains(held.key.identity());
        let leaving = || before.iter().filter(|it| !is_fresh(it)).map(as_previous);
        let (absent, keep_each) = match previous {
            Beside::Absent => (true, false),
            Beside::Stageless { keep_withdrawn } => (!keep_withdrawn, *keep_withdrawn),
            Beside::Unusable | Beside::Proved(_) => (false, false),
        };

        let named = match previous {
            Beside::Proved(named) => self.enter_window(named, &fresh, before, now),
            Beside::Absent | Beside::Unusable | Beside::Stageless { .. } => None,
        };
        let names_none = named.is_none();
        let mut replaced = named.unwrap_or_default();
        if names_none && flipped && !absent {
            replaced = leaving().collect();
            for held in &replaced {
                held.trust.end_after(now, self.windows.overlap);
            }
        }
        if keep_each || (names_none && replaced.is_empty() && !absent) {
            let kept = self.replaced.iter().filter(|it| !is_fresh(it));
            replaced.extend(kept.cloned());
            // The newest come first; a set that changes with every look must not grow without end.
            replaced.truncate(MAX_REPLACED);
        }
        let entered: HashSet<Identity> = identities(&replaced).collect();
        let ended = std::mem::replace(&mut self.replaced, replaced)
            .into_iter()
            .chain(leaving())
            .filter(|held| !is_fresh(held) && !entered.contains(held.key.identity()));
        let mut withdrawn = BTreeSet::new();
        for held in ended {
            // Of one that is there twice only the first time: they share their trust.
            let was_open = held.trust.holds(now);
            held.trust.end_after(now, Duration::ZERO);
            if !was_open {
                continue;
            }
            if absent {
                withdrawn.insert(held.version);
            } else {
                events.push(Event::WindowCutShort {
                    version: held.version,
                    key_id: held.key.id().clone(),
                });
            }
        }
        withdrawn
    }

    /// The keys of a named previous that are not current's, their deadlines fixed; `None` where it has none.
    /// Those whose window is over are left out, and no other key takes their place.
    fn enter_window(
        &mut self,
        named: &Proved<T>,
        fresh: &HashSet<Identity>,
        before: &[TrustedKey],
        now: Now,
    ) -> Option<Vec<TrustedKey>> {
        self.record_version(named, true);
        let overlap = self.windows.overlap;
        let mut entered = Vec::new();
        let own = named
            .keys
            .iter()
            .filter(|key| !fresh.contains(key.identity()));
        let mut own = own.peekable();
        own.peek()?;
        for key in own {
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
            // Fixed once: what the store says of the time is no reason to shorten it later.
            if record.trust.remaining(now).is_none() {
                record.trust.end_after(now, window);
            }
            limit(&record.trust, named.not_after, now);
            let trust = record.trust.clone();
            if trust.holds(now) || trust.is_revoked() {
                entered.push(TrustedKey {
                    key: key.clone(),
                    stage: Stage::Previous,
                    version: named.id.clone(),
                    trust,
                    other_names: Arc::default(),
                    signs_from: Duration::ZERO,
                });
            }
        }
        Some(entered)
    }

    pub(super) fn install_previous(
        &mut self,
        previous: Beside<T>,
        before: Option<Held<T>>,
        now: Now,
        events: &mut Vec<Event>,
    ) {
        let overlap = self.windows.overlap;
        let is_stageless = matches!(previous, Beside::Stageless { .. });
        if let Beside::Absent
        | Beside::Stageless {
            keep_withdrawn: false,
        } = previous
        {
            for held in self.previous.take().into_iter().chain(before) {
                held.trust.end_after(now, Duration::ZERO);
                // Another key set is no withdrawal; that of its keys was told.
                if !is_stageless {
                    events.push(Event::PreviousWithdrawn { version: held.id });
                }
            }
            return;
        }
        let flipped = before.is_some();
        let holds = [before, self.previous.take()];
        let held = match previous {
            Beside::Proved(named) => {
                let trust = self.record_version(&named, true);
                let seen = holds
                    .iter()
                    .flatten()
                    .find(|held| held.id == named.id)
                    .map(|held| held.bundle.clone());
                if trust.remaining(now).is_none() {
                    let window = if flipped && seen.is_some() {
                        overlap
                    } else {
                        rest_of_window(overlap, named.replaced_at, now)
                    };
                    trust.end_after(now, window);
                }
                limit(&trust, named.not_after, now);
                let bundle = seen.or(named.bundle);
                bundle.map(|bundle| Held {
                    id: named.id,
                    bundle,
                    trust,
                })
            }
            Beside::Absent | Beside::Unusable | Beside::Stageless { .. } => {
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

    pub(super) fn install_pending(
        &mut self,
        pending: Beside<T>,
        now: Now,
        events: &mut Vec<Event>,
    ) {
        let pending = match pending {
            Beside::Unusable | Beside::Stageless { .. } => return,
            Beside::Absent => None,
            Beside::Proved(pending) => Some(pending),
        };
        let before = std::mem::take(&mut self.pending_keys);
        let was = self.pending.take();
        let since = self.pending_since.take();
        self.pending_bundle = None;
        if let Some(pending) = pending {
            let since = since.filter(|_| was.as_ref() == Some(&pending.id));
            self.accept_pending(pending, since.unwrap_or(now.mono), now, events);
        }
        self.unstage(&before, now);
    }

    /// Whether there was anything. A session key stays: it is known by no name, and may have come into use.
    pub(super) fn withdraw_pending(&mut self, what: Withdrawn, now: Now) -> bool {
        let mut any = false;
        if what.pending_bundle {
            any |= self.pending.take().is_some();
            self.pending_since = None;
            self.pending_bundle = None;
        }
        if what.pending_keys {
            let before = std::mem::take(&mut self.pending_keys);
            any |= !before.is_empty();
            self.unstage(&before, now);
        }
        any
    }

    /// Ends the trust in those of these keys that are in no stage any more. They may be staged again, when
    /// others have forgotten them.
    fn unstage(&mut self, before: &[TrustedKey], now: Now) {
        let still: HashSet<Identity> = identities(&self.pending_keys).collect();
        let in_use: HashSet<Identity> = identities(&self.current_keys)
            .chain(identities(&self.replaced))
            .collect();
        for identity in identities(before).filter(|key| !still.contains(key)) {
            if let Some(record) = self.keys.get_mut(&identity) {
                record.pending_since = None;
                if !in_use.contains(&identity) {
                    record.trust = record.trust.take_back(now);
                }
            }
        }
    }

    fn accept_pending(
        &mut self,
        pending: Proved<T>,
        since: Duration,
        now: Now,
        events: &mut Vec<Event>,
    ) {
        if self
            .versions
            .get(&pending.id)
            .is_some_and(|it| it.was_in_use)
        {
            events.push(Event::StageSkipped {
                stage: Stage::Pending,
                version: Some(pending.id),
                reason: "it was in use before".to_owned(),
            });
            return;
        }
        let trust = self.record_version(&pending, false);
        let max_pending = self.windows.max_pending;
        trust.end_after(now, max_pending);
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
            record.pending_since.get_or_insert(now.mono);
            let trust = record.trust.clone();
            self.pending_keys.push(TrustedKey {
                key: key.clone(),
                stage: Stage::Pending,
                version: pending.id.clone(),
                trust,
                other_names: Arc::default(),
                signs_from: Duration::ZERO,
            });
        }
        self.pending_since = Some(since);
        self.pending = Some(pending.id.clone());
        self.pending_bundle = pending.bundle.map(|bundle| Held {
            id: pending.id,
            bundle,
            trust,
        });
    }
}

fn as_previous(held: &TrustedKey) -> TrustedKey {
    TrustedKey {
        stage: Stage::Previous,
        ..held.clone()
    }
}

/// What is left of a window that began before this process could see it. With no word from the
/// source about when, it begins now.
pub(crate) fn rest_of_window(overlap: Duration, began: Option<SystemTime>, now: Now) -> Duration {
    let age = began.and_then(|began| now.wall.duration_since(began).ok());
    overlap.saturating_sub(age.unwrap_or_default())
}
