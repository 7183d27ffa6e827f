//! How trust is taken back before its time: by an operator here, or by the store for everybody.

use std::{
    collections::{BTreeSet, HashSet},
    time::Duration,
};

use super::{Identity, Ledger, Withdrawn, identities};
use crate::{
    clock::Now,
    event::Event,
    source::{VersionId, combined::part_ids},
};

/// A revocation, besides the name of the version.
#[derive(Clone)]
pub(super) struct Revoked {
    /// The keys that it spares.
    pub(super) spared: HashSet<Identity>,
    /// Of a combination, the values that are revoked in every other one as well.
    parts: HashSet<(String, VersionId)>,
    /// Whether it was current then: what a later current has of it is in use still.
    was_current: bool,
}

impl<T> Ledger<T> {
    /// The new current was refused or could not be read, and previous or pending is vouched for no more: a
    /// withdrawal must not wait for a good current. `None` where there was nothing to withdraw.
    pub(crate) fn withdraw(&mut self, what: Withdrawn, now: Now) -> Option<Vec<Event>> {
        let unstaged = self.withdraw_pending(what, now);
        let mut gone = BTreeSet::new();
        if what.bundle
            && let Some(held) = self.previous.take()
        {
            held.trust.end_after(now, Duration::ZERO);
            gone.insert(held.id);
        }
        if what.keys {
            for held in self.replaced.drain(..) {
                held.trust.end_after(now, Duration::ZERO);
                gone.insert(held.version);
            }
        }
        if what.bundle {
            gone.extend(self.sessions.withdraw(now));
        }
        let told = |version| Event::PreviousWithdrawn { version };
        (unstaged || !gone.is_empty()).then(|| gone.into_iter().map(told).collect())
    }

    /// Revokes a version's keys and bundle, in whatever stage it is or will be; with
    /// `spare_current`, not the keys that it shares with current. Tells whether a key of current
    /// was hit.
    pub(crate) fn revoke(&mut self, version: &VersionId, spare_current: bool) -> bool {
        let mut spared: HashSet<Identity> = if spare_current {
            let session = self.sessions.current_identity();
            identities(&self.current_keys).chain(session).collect()
        } else {
            HashSet::new()
        };
        // What an earlier call did not spare stays revoked.
        if let Some(earlier) = self.revoked.get(version) {
            spared.retain(|key| earlier.spared.contains(key));
        }
        let was_current = *version == self.current.id;
        let mut parts = self.parts_of(version);
        if !was_current {
            let in_use = self.parts_of(&self.current.id);
            parts.retain(|part| !in_use.contains(part));
        }
        if let Some(record) = self.versions.get(version) {
            let hit = record.keys.iter().filter(|key| !spared.contains(*key));
            for key in hit.filter_map(|key| self.keys.get(key)) {
                key.trust.revoke();
            }
        }
        let revoked = Revoked {
            spared,
            parts,
            was_current,
        };
        self.revoked.insert(version.clone(), revoked);
        for (_, record) in self.versions.iter().filter(|(id, _)| self.is_revoked(id)) {
            record.trust.revoke();
        }
        *version == self.current.id || self.current_keys.iter().any(|key| key.trust.is_revoked())
    }

    /// Takes a revocation back; `false` where there was none.
    pub(crate) fn restore(&mut self, version: &VersionId) -> bool {
        if self.revoked.remove(version).is_none() {
            return false;
        }
        let still = |identity: &Identity| {
            self.revoked.iter().any(|(other, revoked)| {
                let record = self.versions.get(other);
                record.is_some_and(|record| record.keys.contains(identity))
                    && !revoked.spared.contains(identity)
            })
        };
        for (_, record) in self.versions.iter().filter(|(id, _)| !self.is_revoked(id)) {
            record.trust.restore();
        }
        if let Some(record) = self.versions.get(version) {
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

    /// Whether it was revoked, by its name or for a value that it has in common with what was.
    pub(crate) fn is_revoked(&self, version: &VersionId) -> bool {
        if self.revoked.contains_key(version) {
            return true;
        }
        let parts = self.parts_of(version);
        if parts.is_empty() || self.revoked.is_empty() {
            return false;
        }
        let in_use = self.parts_of(&self.current.id);
        self.revoked.values().any(|revoked| {
            let mut common = parts.intersection(&revoked.parts);
            common.any(|part| !revoked.was_current || !in_use.contains(part))
        })
    }

    /// Whether the session key of current was revoked with it, and not only with another version that
    /// has the same.
    pub(super) fn current_session_is_revoked(&self) -> bool {
        let session = self.sessions.current_identity();
        let spared = |session: &Identity| {
            let revoked = self.revoked.get(&self.current.id);
            revoked.is_some_and(|it| it.spared.contains(session))
        };
        self.is_revoked(&self.current.id) && session.is_some_and(|session| !spared(&session))
    }

    /// The session keys of revoked versions. Where current has one of them, that one goes on.
    pub(super) fn revoked_sessions(&self) -> HashSet<Identity> {
        if self.revoked.is_empty() {
            return HashSet::new();
        }
        let spares = |id: &VersionId, session: &Identity| {
            let revoked = self.revoked.get(id);
            revoked.is_some_and(|it| it.spared.contains(session))
        };
        self.versions
            .iter()
            .filter(|(id, _)| self.is_revoked(id))
            .filter_map(|(id, record)| record.session.filter(|session| !spares(id, session)))
            .collect()
    }

    fn parts_of(&self, version: &VersionId) -> HashSet<(String, VersionId)> {
        let ids = part_ids(version).filter(|_| self.is_composed);
        let owned = |(name, id): (&str, VersionId)| (name.to_owned(), id);
        ids.unwrap_or_default().into_iter().map(owned).collect()
    }
}
