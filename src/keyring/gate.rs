//! Who may ask for a refresh because of a token whose key is not known, and who may wait for it.
//!
//! Anybody can send such a token, so the [`Gate`] bounds what they cost: one refresh in each
//! cool-down whatever comes, and so many requests waiting for so long. While it is closed, a token
//! costs one look at an atomic number more than any other that is refused.

use std::{
    sync::{Arc, PoisonError, atomic::Ordering},
    time::Duration,
};

use super::unknown_key::{LONGEST_COOL_DOWN, UnknownKey};
use crate::{
    metrics::{Meter, Waiting},
    sync::{
        AtomicBool, AtomicU64, Instant, Mutex, MutexGuard, OwnedSemaphorePermit, Semaphore,
        sleep_until, timeout_at, watch,
    },
};

/// No pause after failures is longer, but for a cool-down that is.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// What all layers over one keyring share.
pub(super) struct Gate {
    policy: UnknownKey,
    longest_pause: Duration,
    /// Until when no refresh may be asked for: monotonic, in nanoseconds. Only a hint, for speed.
    opens_at: AtomicU64,
    /// Whether one that was asked for may still run: a hint, too, which keeps a flood off the lock.
    may_run: AtomicBool,
    books: Mutex<Books>,
    places: Arc<Semaphore>,
}

#[derive(Default)]
pub(super) struct Books {
    last: Option<Last>,
    /// Until when a store asked to be left alone: monotonic.
    rests_until: Duration,
}

/// The last refresh that was asked for.
struct Last {
    began: Duration,
    /// By how much its cool-down is longer than the one that was set.
    jitter: f64,
    /// Those in a row that failed before it.
    failures_before: u32,
    /// The same with it, where it failed.
    failures: u32,
    /// Its sender is dropped when it has ended.
    ended: watch::Receiver<()>,
}

impl Last {
    fn has_ended(&self) -> bool {
        self.ended.has_changed().is_err()
    }
}

impl Gate {
    /// `None` where tokens ask for nothing.
    pub(super) fn new(policy: UnknownKey, refresh_every: Duration) -> Option<Self> {
        policy.is_on.then(|| Self {
            longest_pause: LONGEST_PAUSE.min(refresh_every).max(policy.cool_down),
            opens_at: AtomicU64::new(0),
            may_run: AtomicBool::new(false),
            books: Mutex::default(),
            places: Arc::new(Semaphore::new(policy.max_waiters)),
            policy,
        })
    }

    pub(super) fn on_bad_signatures(&self) -> bool {
        self.policy.on_bad_signatures
    }

    /// Whether it is worth a closer look at a token: a refresh may be asked for, or one runs.
    pub(super) fn may_admit(&self, now: Duration) -> bool {
        let is_open = nanos(now) >= self.opens_at.load(Ordering::Acquire);
        let may_join =
            || self.may_run.load(Ordering::Acquire) && self.places.available_permits() > 0;
        is_open || (may_join() && self.is_running())
    }

    fn is_running(&self) -> bool {
        let books = self.books();
        let last = books.last.as_ref();
        let runs = last.is_some_and(|last| !last.has_ended());
        // The next one begins under this lock.
        self.may_run.store(runs, Ordering::Release);
        runs
    }

    /// A refresh has come to its end, whoever asked for it, and a store wants to be left alone for so
    /// long; its watchers are not told yet.
    pub(super) fn note(&self, is_good: bool, now: Duration, rest: Duration) {
        let mut books = self.books();
        let rests_until = now.saturating_add(rest.min(self.longest_pause));
        // Who asks all the same, in vain, does not end it.
        books.rests_until = if is_good {
            rests_until
        } else {
            rests_until.max(books.rests_until)
        };
        if let Some(last) = &mut books.last {
            if is_good {
                (last.failures_before, last.failures) = (0, 0);
            } else if !last.has_ended() {
                last.failures = last.failures_before.saturating_add(1);
            }
        }
        self.close(&books);
    }

    fn close(&self, books: &Books) {
        let next_at = nanos(self.next_at(books));
        self.opens_at.store(next_at, Ordering::Release);
    }

    fn next_at(&self, books: &Books) -> Duration {
        let Some(last) = &books.last else {
            return books.rests_until;
        };
        let factor = 2_u32.saturating_pow(last.failures);
        let pause = self.policy.cool_down.saturating_mul(factor);
        let pause = pause.min(self.longest_pause).mul_f64(last.jitter);
        last.began.saturating_add(pause).max(books.rests_until)
    }

    pub(super) fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Joins the refresh that runs, or asks for one where that is allowed; `before` is the place of one
    /// who has waited already. `None`: there is nothing to wait for, or no place to wait.
    pub(super) fn enter(
        &self,
        before: Option<Waiter>,
        now: Duration,
        ask: impl FnOnce(watch::Sender<()>),
    ) -> Option<Waiter> {
        if let Some(waiter) = before {
            return self.enter_again(waiter, now, ask);
        }
        let turn = self.turn(now, ask);
        if let Turn::Closed(_) = turn {
            return None;
        }
        let place = self.places.clone().try_acquire_owned().ok()?;
        let until = Instant::now() + self.policy.max_wait.min(LONGEST_COOL_DOWN);
        Some(Waiter {
            is_late: matches!(turn, Turn::Joined(_)),
            awaits: turn.into(),
            until,
            shown: None,
            _place: place,
        })
    }

    /// For one whom the refresh that it waited for did not help. Where that had begun before it asked,
    /// it may have read the keys too early, and the next one counts: the one that runs by now, or
    /// one as soon as it is allowed. `None`: there is none within the time that is left.
    fn enter_again(
        &self,
        waiter: Waiter,
        now: Duration,
        ask: impl FnOnce(watch::Sender<()>),
    ) -> Option<Waiter> {
        let time = Instant::now();
        if !waiter.is_late || time >= waiter.until {
            return None;
        }
        let turn = self.turn(now, ask);
        if let Turn::Closed(left) = turn
            && left > waiter.until - time
        {
            return None;
        }
        Some(Waiter {
            is_late: matches!(turn, Turn::Closed(_)),
            awaits: turn.into(),
            ..waiter
        })
    }

    fn turn(&self, now: Duration, ask: impl FnOnce(watch::Sender<()>)) -> Turn {
        let mut books = self.books();
        match &books.last {
            Some(running) if !running.has_ended() => return Turn::Joined(running.ended.clone()),
            _ => {}
        }
        let next_at = self.next_at(&books);
        if now < next_at {
            return Turn::Closed(next_at - now);
        }
        let (end, ended) = watch::channel(());
        let failures = books.last.as_ref().map_or(0, |before| before.failures);
        books.last = Some(Last {
            began: now,
            jitter: 1.0 + 0.1 * fastrand::f64(),
            failures_before: failures,
            failures,
            ended: ended.clone(),
        });
        self.may_run.store(true, Ordering::Release);
        self.close(&books);
        ask(end);
        Turn::Began(ended)
    }
}

/// What there is for one who asks.
enum Turn {
    /// A refresh begins.
    Began(watch::Receiver<()>),
    /// One has begun before.
    Joined(watch::Receiver<()>),
    /// None may begin for so long.
    Closed(Duration),
}

#[derive(Debug)]
enum Awaits {
    Refresh(watch::Receiver<()>),
    Opening(Instant),
}

impl From<Turn> for Awaits {
    fn from(turn: Turn) -> Self {
        match turn {
            Turn::Began(ended) | Turn::Joined(ended) => Self::Refresh(ended),
            Turn::Closed(left) => Self::Opening(Instant::now() + left),
        }
    }
}

/// One request that may wait. Dropping it gives up its place and ends nothing for the others.
#[derive(Debug)]
pub(crate) struct Waiter {
    awaits: Awaits,
    /// Whether it may look once more: what it waits for had begun before it asked, or is no refresh yet.
    is_late: bool,
    until: Instant,
    shown: Option<Waiting>,
    _place: OwnedSemaphorePermit,
}

impl Waiter {
    /// Counts it among those that wait, once.
    pub(super) fn shown_by(mut self, meter: &Meter) -> Self {
        self.shown.get_or_insert_with(|| meter.waiting());
        self
    }

    /// Until the refresh has ended, well or not, one may be asked for, the keyring was shut down, or
    /// the time is over.
    pub(crate) async fn wait(&mut self) {
        let awaited = async {
            match &mut self.awaits {
                // An error of the channel says that the refresh has ended; nothing is ever sent.
                Awaits::Refresh(ended) => drop(ended.changed().await),
                Awaits::Opening(at) => sleep_until(*at).await,
            }
        };
        let _ = timeout_at(self.until, awaited).await;
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
