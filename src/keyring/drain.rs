//! Waiting until nothing uses a version any more, without missing the moment.

use std::time::Duration;

use crate::sync::{Instant, Notify, sleep_until, watch};

/// What a look at the books has shown.
pub(super) enum Need {
    Nothing,
    /// Look again after this time at the latest, whatever happens.
    LookAgain(Duration),
}

impl Need {
    /// The same, and a look after this time.
    pub(super) fn sooner(self, pause: Duration) -> Self {
        match self {
            Self::Nothing => Self::LookAgain(pause),
            Self::LookAgain(other) => Self::LookAgain(pause.min(other)),
        }
    }
}

/// Looks until nothing is needed: at first, when something was published, when the last reader of a
/// snapshot is gone, and when it is time.
///
/// # Cancellation safety
/// Dropping the future changes nothing.
pub(super) async fn until_unused<E>(
    mut changes: watch::Receiver<()>,
    last_reader: &Notify,
    mut look: impl FnMut() -> Result<Need, E>,
) -> Result<(), E> {
    loop {
        // Both are armed before the look, so that nothing is missed.
        changes.mark_unchanged();
        let last_reader_gone = last_reader.notified();
        let pause = match look()? {
            Need::Nothing => return Ok(()),
            Need::LookAgain(pause) => pause,
        };
        tokio::select! {
            // All lead to another look; by chance no model could be run again.
            biased;
            _ = changes.changed() => {}
            () = last_reader_gone => {}
            () = sleep_until(Instant::now() + pause) => {}
        }
    }
}
