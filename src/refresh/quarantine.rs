//! Versions that were refused: when they are tried again.

use std::time::Duration;

use super::{RefreshError, trigger::reprobe_pauses};
use crate::source::VersionId;

/// A version that was refused by a step which touches other systems, and is not to knock on them
/// at every poll.
pub(super) struct Quarantine {
    pub(super) version: VersionId,
    pub(super) tries: u32,
    /// On the monotonic clock.
    pub(super) next_try: Duration,
    error: RefreshError,
    pauses: Box<dyn Iterator<Item = Duration> + Send + Sync>,
}

impl Quarantine {
    /// For a version that was refused for the first time.
    pub(super) fn new(version: &VersionId, error: &RefreshError, now: Duration) -> Self {
        let mut quarantine = Self {
            version: version.clone(),
            tries: 0,
            next_try: now,
            error: error.clone(),
            pauses: Box::new(reprobe_pauses()),
        };
        quarantine.refused_again(error, now);
        quarantine
    }

    pub(super) fn refused_again(&mut self, error: &RefreshError, now: Duration) {
        self.error = error.clone();
        self.tries += 1;
        self.next_try = now + self.pauses.next().unwrap_or_default();
    }

    /// What to say instead of trying, while its pause lasts.
    pub(super) fn told_again(&self, now: Duration) -> Option<RefreshError> {
        let pause = self.next_try.checked_sub(now).filter(|it| !it.is_zero())?;
        Some(self.error.quarantined(pause))
    }
}
