//! What the books say: for the next snapshot, for the status, and for whoever waits.

use std::{iter, sync::Arc, time::Duration};

use super::{Beside, Candidate, Ledger};
use crate::{
    clock::Now,
    keyring::{
        key::{KeyId, PreparedKey},
        session_keys::RingView,
    },
    snapshot::{Held, TrustedKey},
    source::VersionId,
};

impl<T> Candidate<T> {
    /// All bundles, each for whoever must be the last to hold it.
    pub(crate) fn bundles(&self) -> Vec<Arc<T>> {
        let side = self.key_side.as_ref().map(|side| &side.previous);
        let beside = [&self.previous, &self.pending].into_iter().chain(side);
        let beside = beside.filter_map(|stage| match stage {
            Beside::Proved(proved) => proved.bundle.clone(),
            _ => None,
        });
        self.current
            .bundle
            .clone()
            .into_iter()
            .chain(beside)
            .collect()
    }
}

impl<T> Ledger<T> {
    /// The same of the books.
    pub(crate) fn bundles(&self) -> Vec<Arc<T>> {
        let beside = self.previous.iter().chain(&self.pending_bundle);
        let held = iter::once(&self.current).chain(beside);
        held.map(|held| held.bundle.clone()).collect()
    }

    /// The keys of the next snapshot, in the order they are tried.
    pub(crate) fn trusted_keys(&self, now: Now) -> Box<[TrustedKey]> {
        let beside = self.replaced.iter().chain(&self.pending_keys);
        let beside = beside.filter(|held| held.trust.holds(now));
        let named = |held: &TrustedKey| {
            let record = self.keys.get(held.key.identity());
            TrustedKey {
                other_names: self.other_names(&held.key),
                signs_from: record.map_or(Duration::ZERO, |record| record.signs_from),
                ..held.clone()
            }
        };
        self.current_keys.iter().chain(beside).map(named).collect()
    }

    fn other_names(&self, key: &PreparedKey) -> Arc<[KeyId]> {
        let record = self.keys.get(key.identity());
        let names = record.into_iter().flat_map(|record| &record.names);
        names.filter(|name| *name != key.id()).cloned().collect()
    }

    /// The bundle of the next snapshot's previous stage.
    pub(crate) fn trusted_previous(&self, now: Now) -> Option<Held<T>> {
        self.previous
            .as_ref()
            .filter(|held| held.trust.holds(now))
            .cloned()
    }

    /// The bundle of the next snapshot's pending stage.
    pub(crate) fn trusted_pending(&self, now: Now) -> Option<Held<T>> {
        self.pending_bundle
            .as_ref()
            .filter(|held| held.trust.holds(now))
            .cloned()
    }

    /// What those who bind with session keys see from now on.
    pub(crate) fn session_keys(&self, now: Now) -> RingView {
        let revoked = self.revoked_sessions();
        let of_current = self.current_session_is_revoked();
        self.sessions.view(revoked, of_current, now)
    }

    /// What keys were called that were in use here and are revoked: their tokens are no news. Of those that
    /// are withdrawn or past their windows the store may have news, that they are in use again.
    pub(crate) fn revoked_names(&self) -> Box<[KeyId]> {
        let records = self.keys.iter().map(|(_, record)| record);
        let revoked = records.filter(|it| it.was_current && it.trust.is_revoked());
        revoked.flat_map(|it| it.names.iter().cloned()).collect()
    }

    /// Whether this version was seen here.
    pub(crate) fn knows(&self, version: &VersionId) -> bool {
        self.versions.get(version).is_some()
    }

    /// For how long anything of a version that is not current is still trusted.
    pub(crate) fn trusted_for(&self, version: &VersionId, now: Now) -> Option<Duration> {
        let keys = self.replaced.iter().chain(&self.pending_keys);
        let keys = keys
            .filter(|held| held.version == *version)
            .map(|held| &held.trust);
        let bundles = self.previous.iter().chain(&self.pending_bundle);
        let bundles = bundles
            .filter(|held| held.id == *version)
            .map(|held| &held.trust);
        let trusted = keys.chain(bundles).filter(|trust| trust.holds(now));
        trusted
            .map(|trust| trust.remaining(now).unwrap_or(Duration::MAX))
            .max()
    }

    /// For how long the session key of a replaced version opens what it has bound; `None` where current
    /// has it too, which is no matter of that version.
    pub(crate) fn session_key_opens_for(&self, version: &VersionId, now: Now) -> Option<Duration> {
        let session = self.versions.get(version)?.session?;
        let is_revoked = self.revoked_sessions().contains(&session);
        self.sessions
            .opens_for(&session, now)
            .filter(|_| !is_revoked)
    }

    /// The versions whose replaced session keys open what they have bound.
    pub(crate) fn session_versions(&self, now: Now) -> Vec<VersionId> {
        // Several versions may have a key in common.
        let known = self.versions.iter().filter(|(_, record)| record.was_in_use);
        let known = known.map(|(id, _)| id);
        let opens = |id: &&VersionId| self.session_key_opens_for(id, now).is_some();
        let mut versions: Vec<_> = known.filter(opens).cloned().collect();
        versions.sort();
        versions
    }

    /// How long this version has been previous here.
    pub(crate) fn previous_age(&self, id: &VersionId, now: Now) -> Option<Duration> {
        let (shown, since) = self.previous_since.as_ref()?;
        (shown == id).then(|| now.mono.saturating_sub(*since))
    }

    /// How long until something ends by itself.
    pub(crate) fn next_end(&self, now: Now) -> Option<Duration> {
        let keys = self.replaced.iter().chain(&self.pending_keys);
        let bundles = self.previous.iter().chain(&self.pending_bundle);
        keys.map(|held| &held.trust)
            .chain(bundles.map(|held| &held.trust))
            .filter_map(|trust| trust.remaining(now))
            .chain(self.sessions.next_end(now))
            .min()
    }
}
