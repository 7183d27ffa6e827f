//! What of a fetch's time a side stage may take.

use std::{
    future::Future,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, timeout};

use crate::guard::{FAR, Fault};

/// How long one fetch may take; what [`Source::set_fetch_limit`](super::Source::set_fetch_limit) told.
pub(super) struct FetchLimit(Mutex<Duration>);

impl FetchLimit {
    pub(super) fn set(&self, limit: Duration) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = limit;
    }

    /// A fetch begins now.
    pub(super) fn begin(&self) -> FetchTime {
        let limit = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        FetchTime {
            ends: Instant::now() + limit.min(FAR),
        }
    }
}

/// The keyring's default, for a source that nobody told.
impl Default for FetchLimit {
    fn default() -> Self {
        Self(Mutex::new(Duration::from_secs(10)))
    }
}

/// When a fetch is given up, with all that it has read.
#[derive(Clone, Copy)]
pub(super) struct FetchTime {
    ends: Instant,
}

impl FetchTime {
    /// Reads a side stage in half of the time that is left: one that hangs must not cost current, which
    /// may have been read already.
    pub(super) async fn side<F: Future>(self, read: F) -> Result<F::Output, Fault> {
        let limit = self.ends.saturating_duration_since(Instant::now()) / 2;
        let answer = timeout(limit, read).await;
        answer.map_err(|_| Fault::TimedOut(limit))
    }
}
