//! From the books to the snapshot that requests live on.

use std::sync::{Arc, Weak};

use super::{Shared, cache::TokenCache, ledger::Ledger};
use crate::{
    clock::{Clock, Now},
    metrics::Meter,
    snapshot::{DropSignal, Retired, Snapshot},
};

/// What all snapshots of a keyring have in common.
pub(super) struct Frame<T> {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) retired: Arc<Retired>,
    pub(super) token_cache: usize,
    pub(super) keyring: Weak<Shared<T>>,
    pub(super) meter: Meter,
}

impl<T> Frame<T> {
    /// The snapshot that the books make.
    pub(super) fn compose(&self, ledger: &Ledger<T>, generation: u64, now: Now) -> Snapshot<T> {
        let keys = ledger.trusted_keys(now);
        let verified_by = keys
            .iter()
            .map(|held| Arc::new(held.verified_by(generation, &self.clock)));
        Snapshot {
            generation,
            current: ledger.current.clone(),
            previous: ledger.trusted_previous(now),
            pending: ledger.trusted_pending(now),
            verified_by: verified_by.collect(),
            revoked_names: ledger.revoked_names(),
            tokens: TokenCache::new(self.token_cache, &keys, self.meter.clone()),
            keys,
            clock: self.clock.clone(),
            keyring: self.keyring.clone(),
            meter: self.meter.clone(),
            _on_drop: DropSignal(self.retired.clone()),
        }
    }
}
