//! Tokens whose key is not known: when one may ask for a refresh, and who may wait for it.
//!
//! Anybody can send such a token, so the [`Gate`] bounds what they cost: one refresh in each
//! cool-down whatever comes, and so many requests waiting for so long. While it is closed, a token
//! costs one look at an atomic number more than any other that is refused.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// Nobody means more, and a tenth more of it cannot overflow.
const LONGEST_COOL_DOWN: Duration = Duration::from_secs(365 * 86_400);

/// No pause after failures is longer, but for a cool-down that is.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// When a token of an unknown key asks for a refresh; given to
/// [`Builder::refresh_on_unknown_key`](crate::Builder::refresh_on_unknown_key).
///
/// | setting | default |
/// |---|---|
/// | [`cool_down`](Self::cool_down) | 10 s |
/// | [`max_wait`](Self::max_wait) | 5 s |
/// | [`max_waiters`](Self::max_waiters) | 1,000 |
/// | [`on_bad_signatures`](Self::on_bad_signatures) | off; on where the source asks for it by itself, as `Jwks` does |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownKey {
    is_on: bool,
    cool_down: Duration,
    max_wait: Duration,
    max_waiters: usize,
    on_bad_signatures: bool,
}

impl UnknownKey {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self {
            is_on: true,
            cool_down: Duration::from_secs(10),
            max_wait: Duration::from_secs(5),
            max_waiters: 1_000,
            on_bad_signatures: false,
        }
    }

    /// No token asks for anything, for a source that would let them.
    #[must_use]
    pub fn never() -> Self {
        Self {
            is_on: false,
            ..Self::new()
        }
    }

    /// At most one refresh in this time is asked for by tokens, counted from its beginning; each
    /// cool-down is drawn up to a tenth longer. After each of them that fails it is twice as long, up to
    /// the refresh interval or 5 min where that is shorter, until a refresh succeeds. Default: 10 s.
    #[must_use]
    pub fn cool_down(mut self, time: Duration) -> Self {
        self.cool_down = time.min(LONGEST_COOL_DOWN);
        self
    }

    /// How long a request waits for the refresh at most; then it is judged by the keys that there
    /// are. Default: 5 s.
    #[must_use]
    pub fn max_wait(mut self, time: Duration) -> Self {
        self.max_wait = time;
        self
    }

    /// How many requests wait at the same time; one more is refused at once. With 0 a token asks for
    /// the refresh and is refused, so that its sender finds the new key at the next try. Default:
    /// 1,000.
    #[must_use]
    pub fn max_waiters(mut self, requests: usize) -> Self {
        self.max_waiters = requests.min(Semaphore::MAX_PERMITS);
        self
    }

    /// Also for a token that names a known key and does not fit it: some providers use a key's id
    /// again for another key.
    #[must_use]
    pub fn on_bad_signatures(mut self) -> Self {
        self.on_bad_signatures = true;
        self
    }
}

impl Default for UnknownKey {
    fn default() -> Self {
        Self::new()
    }
}

/// What all layers over one keyring share.
pub(super) struct Gate {
    policy: UnknownKey,
    longest_pause: Duration,
    /// Until when no refresh may be asked for: monotonic, in nanoseconds. Only a hint, for speed.
    opens_at: AtomicU64,
    last: Mutex<Option<Last>>,
    places: Arc<Semaphore>,
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
            last: Mutex::default(),
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
        is_open || (self.places.available_permits() > 0 && self.is_running())
    }

    fn is_running(&self) -> bool {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.as_ref().is_some_and(|last| !last.has_ended())
    }

    /// A refresh has come to its end, whoever asked for it; its watchers are not told yet.
    pub(super) fn note(&self, is_good: bool) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(last) = &mut *last else {
            return;
        };
        if is_good {
            (last.failures_before, last.failures) = (0, 0);
        } else if !last.has_ended() {
            last.failures = last.failures_before.saturating_add(1);
        }
        self.close(last);
    }

    fn close(&self, last: &Last) {
        let next_at = nanos(self.next_at(last));
        self.opens_at.store(next_at, Ordering::Release);
    }

    fn next_at(&self, last: &Last) -> Duration {
        let factor = 2_u32.saturating_pow(last.failures);
        let pause = self.policy.cool_down.saturating_mul(factor);
        let pause = pause.min(self.longest_pause).mul_f64(last.jitter);
        last.began.saturating_add(pause)
    }

    /// Joins the refresh that runs, or asks for one where that is allowed. `None`: there is nothing
    /// to wait for, or no place to wait.
    pub(super) fn enter(
        &self,
        now: Duration,
        ask: impl FnOnce(watch::Sender<()>),
    ) -> Option<Waiter> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let ended = match &*last {
            Some(running) if !running.has_ended() => running.ended.clone(),
            Some(last) if now < self.next_at(last) => return None,
            before => {
                let (end, ended) = watch::channel(());
                let failures = before.as_ref().map_or(0, |before| before.failures);
                self.close(last.insert(Last {
                    began: now,
                    jitter: 1.0 + 0.1 * fastrand::f64(),
                    failures_before: failures,
                    failures,
                    ended: ended.clone(),
                }));
                ask(end);
                ended
            }
        };
        drop(last);
        let place = self.places.clone().try_acquire_owned().ok()?;
        Some(Waiter {
            ended,
            max_wait: self.policy.max_wait,
            _place: place,
        })
    }
}

/// One request that may wait. Dropping it gives up its place and ends nothing for the others.
#[derive(Debug)]
pub(crate) struct Waiter {
    ended: watch::Receiver<()>,
    max_wait: Duration,
    _place: OwnedSemaphorePermit,
}

impl Waiter {
    /// Until the refresh has ended, well or not, the keyring was shut down, or the time is over.
    pub(crate) async fn wait(mut self) {
        // An error of the channel says that the refresh has ended; nothing is ever sent.
        let _ = tokio::time::timeout(self.max_wait, self.ended.changed()).await;
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
        let enter = |now| gate.enter(now, |end| asked.lock().unwrap().push(end));
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
                let _ = gate.enter(now, |it| end = Some(it));
                assert!(end.is_some(), "closed at {now:?}");
                gate.note(is_good);
                // Somebody else's, while that one runs, counts once.
                gate.note(is_good);
                drop(end);
                gate.note(false);
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
    fn those_who_come_while_it_runs_share_it() {
        let (gate, asked) = gate(UnknownKey::new().max_waiters(3).cool_down(SECOND));
        let enter = |now| gate.enter(now, |end| asked.lock().unwrap().push(end));
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
        let enter = || gate.enter(SECOND, |end| asked.lock().unwrap().push(end));
        let start = tokio::time::Instant::now();
        enter().unwrap().wait().await;
        assert_eq!(start.elapsed(), 5 * SECOND);
        let waiter = enter().unwrap();
        asked.lock().unwrap().clear();
        waiter.wait().await;
        assert_eq!(start.elapsed(), 5 * SECOND);
        assert!(enter().is_none(), "over, and the cool-down lasts");
    }

    #[test]
    fn without_places_a_refresh_is_asked_for_all_the_same() {
        let (gate, asked) = gate(UnknownKey::new().max_waiters(0));
        assert!(
            gate.enter(SECOND, |end| asked.lock().unwrap().push(end))
                .is_none()
        );
        assert_eq!(asked.lock().unwrap().len(), 1);
        assert!(Gate::new(UnknownKey::never(), SECOND).is_none());
    }
}
