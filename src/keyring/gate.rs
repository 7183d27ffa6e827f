//! Who may ask for a refresh because of a token whose key is not known, and who may wait for it.
//!
//! Anybody can send such a token, so the [`Gate`] bounds what they cost: one refresh in each
//! cool-down whatever comes, and so many requests waiting for so long. While it is closed, a token
//! costs one look at an atomic number more than any other that is refused.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{Instant, sleep_until, timeout_at},
};

use super::unknown_key::{LONGEST_COOL_DOWN, UnknownKey};
use crate::metrics::{Meter, Waiting};

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
struct Books {
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
        books.rests_until = now.saturating_add(rest.min(self.longest_pause));
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

    fn books(&self) -> MutexGuard<'_, Books> {
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn gate(policy: UnknownKey) -> (Gate, Mutex<Vec<watch::Sender<()>>>) {
        (Gate::new(policy, 3600 * SECOND).unwrap(), Mutex::default())
    }

    #[test]
    fn one_refresh_in_each_cool_down_whatever_comes() {
        let (gate, asked) = gate(UnknownKey::new());
        let enter = |now| gate.enter(None, now, |end| asked.lock().unwrap().push(end));
        let mut waiters = 0;
        for tenth in 0..1_000 {
            let now = tenth * SECOND / 10;
            waiters += usize::from(gate.may_admit(now) && enter(now).is_some());
            // Each refresh ends soon.
            if let Some(end) = asked.lock().unwrap().last_mut() {
                *end = watch::channel(()).0;
            }
        }
        let asked = asked.lock().unwrap().len();
        assert!((9..=10).contains(&asked), "{asked} in 100 s");
        assert_eq!(waiters, asked);
    }

    #[test]
    fn the_pause_doubles_with_each_failure_up_to_a_bound() {
        for (refresh_every, bound) in [(3600, 300), (60, 60), (5, 10)] {
            let gate = Gate::new(UnknownKey::new(), refresh_every * SECOND).unwrap();
            let mut now = Duration::ZERO;
            let mut pause_after = |is_good| {
                let mut end = None;
                let _ = gate.enter(None, now, |it| end = Some(it));
                assert!(end.is_some(), "closed at {now:?}");
                gate.note(is_good, now, Duration::ZERO);
                // Somebody else's, while that one runs, counts once.
                gate.note(is_good, now, Duration::ZERO);
                drop(end);
                gate.note(false, now, Duration::ZERO);
                let began = now;
                while !gate.may_admit(now) {
                    now += SECOND / 10;
                }
                (now - began).as_secs_f64()
            };
            for n in 1..=40 {
                let expected = f64::from(10_u32.saturating_mul(2_u32.saturating_pow(n)).min(bound));
                let pause = pause_after(false);
                assert!(
                    (expected..=expected * 1.1 + 0.1).contains(&pause),
                    "{n}: {pause}"
                );
            }
            let pause = pause_after(true);
            assert!((10.0..=11.1).contains(&pause), "{pause}");
        }
    }

    #[test]
    fn a_store_that_wants_to_be_left_alone_is() {
        let gate = Gate::new(UnknownKey::new(), 60 * SECOND).unwrap();
        let asks = |now: Duration| {
            let mut asked = false;
            let _ = gate.enter(None, now, |_| asked = true);
            asked
        };
        // Before any token has asked.
        gate.note(false, SECOND, 30 * SECOND);
        assert!(!gate.may_admit(30 * SECOND) && !asks(30 * SECOND));
        assert!(gate.may_admit(31 * SECOND) && asks(31 * SECOND));
        // Longer than a cool-down, and no longer than the longest pause.
        gate.note(true, 32 * SECOND, 86_400 * SECOND);
        assert!(!asks(91 * SECOND) && asks(92 * SECOND));
    }

    #[tokio::test(start_paused = true)]
    async fn who_joined_late_gets_one_that_began_after_where_there_is_time() {
        for (max_wait, is_served) in [(20, true), (5, false)] {
            let policy = UnknownKey::new().max_wait(max_wait * SECOND);
            let (gate, asked) = gate(policy);
            let enter =
                |before, now| gate.enter(before, now, |end| asked.lock().unwrap().push(end));
            let first = enter(None, SECOND).unwrap();
            let mut late = enter(None, 2 * SECOND).unwrap();
            asked.lock().unwrap().clear();
            late.wait().await;
            assert!(enter(Some(first), 3 * SECOND).is_none(), "it had its own");
            let Some(mut late) = enter(Some(late), 3 * SECOND) else {
                assert!(!is_served);
                continue;
            };
            assert!(is_served);
            let begin = Instant::now();
            late.wait().await;
            let passed = begin.elapsed();
            assert!((8 * SECOND..=9 * SECOND).contains(&passed), "{passed:?}");
            assert!(asked.lock().unwrap().is_empty(), "not before it may");
            let own = enter(Some(late), 12 * SECOND).unwrap();
            assert_eq!(asked.lock().unwrap().len(), 1);
            asked.lock().unwrap().clear();
            assert!(enter(Some(own), 30 * SECOND).is_none(), "one more, no more");
        }
    }

    #[test]
    fn those_who_come_while_it_runs_share_it() {
        let (gate, asked) = gate(UnknownKey::new().max_waiters(3).cool_down(SECOND));
        let enter = |now| gate.enter(None, now, |end| asked.lock().unwrap().push(end));
        // Longer than the cool-down: still only one.
        let waiters: Vec<_> = (0..10).filter_map(|now| enter(now * SECOND)).collect();
        assert_eq!((waiters.len(), asked.lock().unwrap().len()), (3, 1));
        assert!(!gate.may_admit(SECOND / 2), "no place is left");
        drop(waiters);
        assert!(gate.may_admit(SECOND / 2), "to join");
        assert!(enter(SECOND).is_some(), "their places are free again");
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_ends_with_the_refresh_or_in_time() {
        let (gate, asked) = gate(UnknownKey::new());
        let enter = || gate.enter(None, SECOND, |end| asked.lock().unwrap().push(end));
        let start = tokio::time::Instant::now();
        enter().unwrap().wait().await;
        assert_eq!(start.elapsed(), 5 * SECOND);
        let mut waiter = enter().unwrap();
        asked.lock().unwrap().clear();
        waiter.wait().await;
        assert_eq!(start.elapsed(), 5 * SECOND);
        assert!(enter().is_none(), "over, and the cool-down lasts");
    }

    #[test]
    fn while_it_is_closed_nobody_waits_for_a_lock() {
        let (gate, asked) = gate(UnknownKey::new());
        let enter = || gate.enter(None, SECOND, |end| asked.lock().unwrap().push(end));
        drop(enter());
        assert!(gate.may_admit(2 * SECOND), "to join");
        asked.lock().unwrap().clear();
        // Whoever looks first notes that it has ended.
        assert!(!gate.may_admit(2 * SECOND));
        let books = gate.books();
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            scope.spawn(|| tell.send(gate.may_admit(2 * SECOND)));
            let told = told.recv_timeout(10 * SECOND);
            drop(books);
            assert_eq!(told, Ok(false));
        });
    }

    #[test]
    fn without_places_a_refresh_is_asked_for_all_the_same() {
        let (gate, asked) = gate(UnknownKey::new().max_waiters(0));
        assert!(
            gate.enter(None, SECOND, |end| asked.lock().unwrap().push(end))
                .is_none()
        );
        assert_eq!(asked.lock().unwrap().len(), 1);
        assert!(Gate::new(UnknownKey::never(), SECOND).is_none());
    }
}
