//! What was told of late, for whoever asks afterwards.

use std::{
    collections::VecDeque,
    fmt, mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use super::Event;
use crate::{clock::Clock, guard::let_go};

/// How much is remembered.
const REMEMBERED: usize = 32;

/// An event, and when it was told.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RecentEvent {
    /// When, the last time.
    pub at: SystemTime,
    /// What.
    pub event: Event,
    /// How often in a row: refreshes that change nothing, and the same failure again, are remembered once.
    pub times: u64,
}

pub(super) struct Recent {
    clock: Arc<dyn Clock>,
    told: Mutex<VecDeque<RecentEvent>>,
}

impl Recent {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            told: Mutex::default(),
        }
    }

    pub(super) fn note(&self, event: &Event) {
        // What it comes to is told next.
        if matches!(event, Event::ReloadRequested { .. }) {
            return;
        }
        let at = self.clock.wall();
        let mut all = self.all();
        let last = all.back_mut().filter(|last| is_again(&last.event, event));
        let gone = if let Some(last) = last {
            last.at = at;
            last.times += 1;
            Some(mem::replace(&mut last.event, event.clone()))
        } else {
            all.push_back(RecentEvent {
                at,
                event: event.clone(),
                times: 1,
            });
            let oldest = if all.len() > REMEMBERED {
                all.pop_front()
            } else {
                None
            };
            oldest.map(|it| it.event)
        };
        drop(all);
        // It may hold an error of the user's.
        let_go(|| drop(gone));
    }

    pub(super) fn newest_first(&self) -> Vec<RecentEvent> {
        self.all().iter().rev().cloned().collect()
    }

    fn all(&self) -> MutexGuard<'_, VecDeque<RecentEvent>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a store that is down, or a version that waits to be tried again, says at each poll must not
/// push out what happened before.
fn is_again(last: &Event, next: &Event) -> bool {
    match (last, next) {
        (Event::Unchanged { .. }, Event::Unchanged { .. }) => true,
        (Event::ReloadFailed(last), Event::ReloadFailed(next)) => {
            last.version() == next.version() && last.reason() == next.reason()
        }
        (Event::ReloadError(last), Event::ReloadError(next)) => last.reason() == next.reason(),
        _ => false,
    }
}

impl fmt::Debug for Recent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recent").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock::SystemClock, source::VersionId};

    #[test]
    fn repetitions_count_once_and_the_oldest_goes() {
        let recent = Recent::new(Arc::new(SystemClock::new()));
        let revoked = |n: u64| Event::Revoked {
            version: VersionId::from(n.to_string()),
        };
        recent.note(&revoked(0));
        for generation in 1..=40 {
            recent.note(&Event::Unchanged { generation });
        }
        let told = recent.newest_first();
        assert_eq!(told.len(), 2);
        assert_eq!((told[0].times, told[1].times), (40, 1));
        assert!(matches!(told[0].event, Event::Unchanged { generation: 40 }));

        (1..=100).for_each(|n| recent.note(&revoked(n)));
        let told = recent.newest_first();
        assert_eq!(told.len(), REMEMBERED);
        assert!(matches!(&told[0].event, Event::Revoked { version } if version.as_str() == "100"));
    }
}
