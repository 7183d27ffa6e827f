//! Tokens that a replaced key has verified, and that go on after its window.

use std::{
    collections::HashSet,
    fmt,
    time::{Duration, SystemTime},
};

use super::{Identity, KeyRecord, Ledger, identities};
use crate::{clock::Now, event::Event, keyring::KeyId, source::VersionId};

/// Tokens of a replaced key that are refused before they end, because its window ends first: the overlap is
/// shorter than they live, or somebody signs with the key still.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CutOff {
    /// The key.
    pub key_id: KeyId,
    /// The latest `exp` of the tokens that it has verified in this process.
    pub latest_exp: SystemTime,
    /// The end of its window.
    pub at: SystemTime,
}

impl CutOff {
    /// How long before its end the last of these tokens is refused.
    #[must_use]
    pub fn early_by(&self) -> Duration {
        self.latest_exp.duration_since(self.at).unwrap_or_default()
    }
}

impl fmt::Display for CutOff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Quoted and escaped: a `kid` is what its issuer wrote.
        let (key, seconds) = (self.key_id.as_str(), self.early_by().as_secs_f64().ceil());
        write!(
            f,
            "its window ends {seconds} s before the last token of key {key:?}"
        )
    }
}

impl KeyRecord {
    /// While there are such tokens. A revocation is meant to refuse them.
    fn cut_off(&self, now: Now) -> Option<CutOff> {
        let latest_exp = self.trust.latest_exp.get()?;
        let at = self.trust.ends_at()?;
        let is_early = at < latest_exp && now.wall < latest_exp && !self.trust.is_revoked();
        let key_id = self.names.last().filter(|_| is_early)?.clone();
        Some(CutOff {
            key_id,
            latest_exp,
            at,
        })
    }
}

impl<T> Ledger<T> {
    /// Of the tokens under those keys of a version that current does not have.
    pub(crate) fn latest_exp(&self, version: &VersionId) -> Option<SystemTime> {
        let keys = self.own_keys(version);
        keys.filter_map(|it| it.trust.latest_exp.get()).max()
    }

    pub(crate) fn cut_offs(&self, version: &VersionId, now: Now) -> Vec<CutOff> {
        let keys = self.own_keys(version);
        keys.filter_map(|record| record.cut_off(now)).collect()
    }

    fn own_keys(&self, version: &VersionId) -> impl Iterator<Item = &KeyRecord> {
        let of_current: HashSet<Identity> = identities(&self.current_keys).collect();
        let record = self.versions.get(version).into_iter();
        let keys = record.flat_map(|record| &record.keys);
        keys.filter(move |it| !of_current.contains(*it))
            .filter_map(|it| self.keys.get(it))
    }

    /// Those of keys inside their windows that were not told.
    pub(crate) fn new_cut_offs(&mut self, now: Now) -> Vec<Event> {
        let mut events = Vec::new();
        for held in &self.replaced {
            if let Some(record) = self.keys.get_mut(held.key.identity())
                && !record.told_cut_off
                && let Some(cut_off) = record.cut_off(now)
            {
                record.told_cut_off = true;
                events.push(Event::TokensCutOff {
                    version: held.version.clone(),
                    cut_off,
                });
            }
        }
        events
    }
}
