//! Until when the tokens go on that a key has verified.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime},
};

use super::verify::NumericDate;

/// 9999-12-31T23:59:59Z, beyond which formats of time have no words.
const LAST: u64 = 253_402_300_799;

/// The latest `exp` seen, in whole seconds since the epoch; 0 before the first.
// Beside what is read for each token anyway: there is a new maximum once a second at most.
#[derive(Debug, Default)]
pub(crate) struct LatestExp(AtomicU64);

impl LatestExp {
    /// A look, and a write only where it is later.
    pub(crate) fn note(&self, exp: NumericDate) {
        let seconds = exp.seconds();
        if seconds > self.0.load(Ordering::Relaxed) {
            self.0.fetch_max(seconds, Ordering::Relaxed);
        }
    }

    pub(crate) fn get(&self) -> Option<SystemTime> {
        let seconds = self.0.load(Ordering::Relaxed).min(LAST);
        let since = Duration::from_secs(seconds);
        (seconds > 0)
            .then(|| SystemTime::UNIX_EPOCH.checked_add(since))
            .flatten()
    }
}
