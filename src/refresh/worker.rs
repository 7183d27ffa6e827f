//! The loop that refreshes a keyring until its last handle is gone.
//!
//! It holds the keyring weakly. `stop` ends it: either `shutdown` says so, or the last handle was
//! dropped and its sender with it. A refresh under way is then dropped, not finished. Since the
//! loop and the refresh are one task, nothing is left behind.

use std::{
    future::{Future, pending},
    mem,
    pin::Pin,
    sync::{Arc, Weak},
    time::Duration,
};

use serde::de::DeserializeOwned;
use tokio::{
    sync::{Notify, mpsc, watch},
    time::{Instant, sleep_until},
};

use super::{
    RefreshError, Refreshed, Step, Trigger,
    asked::Asked,
    attempt::Refresher,
    trigger::{Backoff, Hangups, first_pause, jittered},
};
use crate::{
    event::Event,
    guard::{FAR, guarded, let_go},
    keyring::{FLIP_INTERVAL, Failure, Keyring, LoopEnds, Reply, Request, Shared},
    metrics::Meter,
    snapshot::Retired,
    source::{BoxSource, Source, SourceError},
};

/// A pending version that stays this long is a failed rotation, not one under way.
const PENDING_SOON: Duration = Duration::from_secs(600);
/// Signals within this time count as one.
const SIGNAL_SPACING: Duration = Duration::from_secs(1);
/// A source that reports changes without end is asked no more often than this.
const CHANGE_SPACING: Duration = Duration::from_millis(100);
/// However soon a refused version may be tried again.
const SHORTEST_RETRY: Duration = Duration::from_secs(1);

type Outcome = Option<Result<Refreshed, RefreshError>>;
type Running<Raw, T> = Pin<Box<dyn Future<Output = (Refresher<Raw, T>, Outcome)> + Send>>;

pub(super) struct Worker<Raw, T> {
    shared: Weak<Shared<T>>,
    source: Arc<BoxSource>,
    /// At home while no refresh runs.
    refresher: Option<Refresher<Raw, T>>,
    running: Option<Running<Raw, T>>,
    asked: Asked<Reply>,
    requests: mpsc::UnboundedReceiver<Request>,
    stop: watch::Receiver<bool>,
    retired: Arc<Retired>,
    /// Somebody waits for a flip.
    awaited: Arc<Notify>,
    hangups: Hangups,
    hangup_due: Option<Instant>,
    hangup_rests_until: Instant,
    change: Pin<Box<dyn Future<Output = ()> + Send>>,
    poll_at: Instant,
    /// When to look while somebody waits for a flip; `None` after a failure, when the back-off
    /// decides.
    flip_poll_at: Option<Instant>,
    pace: Pace,
    backoff: Backoff,
    /// Until when a store wants to be left alone, but for who asks.
    rests_until: Instant,
    told_stale: bool,
    // Dropped last: `shutdown` waits for it.
    _done: watch::Sender<()>,
}

/// How often the source is asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    pub(super) interval: Duration,
    /// While a pending version is seen, where that is to be more often.
    pub(super) while_pending: Option<Duration>,
}

impl<Raw, T> Worker<Raw, T>
where
    Raw: DeserializeOwned + Send + Sync + 'static,
    T: Send + Sync + 'static,
{
    pub(super) fn new(
        refresher: Refresher<Raw, T>,
        keyring: &Keyring<T>,
        ends: LoopEnds,
        hangups: Hangups,
        pace: Pace,
    ) -> Self {
        let LoopEnds {
            requests,
            stop,
            done,
            retired,
            awaited,
        } = ends;
        let source = refresher.source();
        let now = Instant::now();
        Self {
            shared: Arc::downgrade(keyring.shared()),
            change: Box::pin(next_change(source.clone(), Duration::ZERO)),
            source,
            refresher: Some(refresher),
            running: None,
            asked: Asked::new(),
            requests,
            stop,
            _done: done,
            retired,
            awaited,
            hangups,
            hangup_due: None,
            hangup_rests_until: now,
            poll_at: now + first_pause(pace.interval),
            flip_poll_at: Some(now + jittered(FLIP_INTERVAL)),
            pace,
            backoff: Backoff::new(pace.interval),
            rests_until: now,
            told_stale: false,
        }
    }

    pub(super) async fn run(mut self) {
        loop {
            self.start_what_is_due();
            let Some(wake_at) = self.next_wake() else {
                return;
            };
            tokio::select! {
                biased;
                () = stopped(&mut self.stop) => return,
                (refresher, outcome) = finished(&mut self.running) => {
                    self.running = None;
                    let Some(outcome) = outcome else { return };
                    self.finish(refresher, outcome);
                }
                () = self.hangups.next() => {
                    self.hangup_due.get_or_insert(self.hangup_rests_until);
                }
                Some(request) = self.requests.recv() => self.note(request),
                () = &mut self.change => {
                    self.change = Box::pin(next_change(self.source.clone(), CHANGE_SPACING));
                    self.asked.want(Trigger::Change);
                }
                () = self.retired.for_loop.notified() => self.tell_drained(),
                // What is due next is worked out anew.
                () = self.awaited.notified() => {}
                () = sleep_until(wake_at) => self.keep_house(),
            }
        }
    }

    fn note(&mut self, request: Request) {
        self.asked.note(request.trigger, request.reply);
        while let Ok(request) = self.requests.try_recv() {
            self.asked.note(request.trigger, request.reply);
        }
    }

    fn start_what_is_due(&mut self) {
        if self.running.is_some() {
            return;
        }
        let now = Instant::now();
        if self.hangup_due.is_some_and(|due| due <= now) {
            self.hangup_due = None;
            self.hangup_rests_until = now + SIGNAL_SPACING;
            self.asked.want(Trigger::Signal);
        }
        if self.poll_at <= now {
            self.asked.want(Trigger::Timer);
        } else if self.next_poll() <= now {
            self.with_shared(|shared| shared.refusals.count_poll());
            self.asked.want(Trigger::Timer);
        }
        let Some(trigger) = self.asked.begin() else {
            return;
        };
        let Some(mut refresher) = self.refresher.take() else {
            return;
        };
        self.with_shared(|shared| shared.events.tell(Event::ReloadRequested { trigger }));
        self.running = Some(Box::pin(async move {
            let began = Instant::now();
            // The user's code is guarded where it is called; this is the net below, for a `Drop`.
            let outcome = guarded(FAR, || refresher.refresh(trigger)).await;
            let outcome = outcome.unwrap_or_else(|fault| Some(Err(refresher.broke_off(fault))));
            if let Some(outcome) = &outcome {
                let outcome = outcome.as_ref().map(Refreshed::is_swapped);
                refresher.meter.refreshed(trigger, outcome, began.elapsed());
            }
            (refresher, outcome)
        }));
    }

    fn finish(&mut self, refresher: Refresher<Raw, T>, outcome: Result<Refreshed, RefreshError>) {
        let now = Instant::now();
        let rest = rest_wanted(&refresher, &outcome);
        let failed = outcome.as_ref().err().and_then(RefreshError::failed_step);
        let answered = failed != Some(Step::Fetch);
        self.note_rest(now, answered, rest);
        // Anybody can send such a token: it is worth one call, and no other tries.
        let by_token = !answered && self.asked.was_by_tokens_alone() && self.poll_at > now;
        let due = if by_token {
            self.poll_at
        } else {
            self.poll_after(now, &refresher, &outcome)
        };
        self.poll_at = due.max(self.rests_until);
        let flip_poll = (now + jittered(FLIP_INTERVAL)).max(self.rests_until);
        self.flip_poll_at = (answered || by_token).then_some(flip_poll);
        self.with_shared(|shared| {
            note_health(shared, &refresher, &outcome);
            shared.note_refresh(outcome.is_ok(), rest);
        });
        self.refresher = Some(refresher);
        for reply in self.asked.end() {
            if let Reply::Answer(reply) = reply {
                // Whoever dropped the future does not want to know.
                let _ = reply.send(outcome.clone());
            }
        }
        self.keep_house();
    }

    /// What somebody asked for puts no poll off: all replicas that were asked at once would poll in step
    /// from then on.
    fn poll_after(
        &mut self,
        now: Instant,
        refresher: &Refresher<Raw, T>,
        outcome: &Result<Refreshed, RefreshError>,
    ) -> Instant {
        let is_polled = self.poll_at <= now;
        let due = now + self.pause_after(refresher, outcome);
        if is_polled {
            due
        } else {
            due.min(self.poll_at)
        }
    }

    fn pause_after(
        &mut self,
        refresher: &Refresher<Raw, T>,
        outcome: &Result<Refreshed, RefreshError>,
    ) -> Duration {
        let mut pause = jittered(self.pace.interval);
        // After a fetch that failed, no version is known to wait.
        let fetched = !matches!(outcome, Err(error) if error.failed_step() == Some(Step::Fetch));
        let waiting = refresher.next_try_in().filter(|_| fetched);
        if let Some(next_try) = waiting {
            pause = pause.min(next_try.max(SHORTEST_RETRY));
        }
        let while_pending = self.pace.while_pending.filter(|_| outcome.is_ok());
        if let Some(interval) = while_pending.filter(|_| self.flip_is_near()) {
            pause = pause.min(jittered(interval));
        }
        // Where only a version is refused, the source is well.
        let is_well = outcome.is_ok() || waiting.is_some();
        if is_well && refresher.stale_parts().is_empty() {
            self.backoff.reset();
            return pause;
        }
        pause.min(self.backoff.next())
    }

    /// How long the store wants to be left alone, whoever asked it; one that answers, and wants nothing, may
    /// be asked again.
    fn note_rest(&mut self, now: Instant, answered: bool, rest: Duration) {
        if !rest.is_zero() {
            // All replicas are told the same time.
            let rest = rest.mul_f64(1.0 + 0.1 * fastrand::f64());
            let until = now + rest.min(jittered(self.pace.interval));
            self.rests_until = until.max(self.rests_until);
        } else if answered {
            self.rests_until = now;
        }
    }

    fn flip_is_near(&self) -> bool {
        let Some(shared) = self.shared.upgrade() else {
            return false;
        };
        let age = shared.pending_for(shared.clock.now());
        age.is_some_and(|age| age < PENDING_SOON)
    }

    /// The interval's next poll, or an earlier one where somebody waits for a flip.
    fn next_poll(&self) -> Instant {
        let awaited = |shared: Arc<Shared<T>>| shared.refusals.is_flip_awaited();
        match self.flip_poll_at {
            Some(at) if self.shared.upgrade().is_some_and(awaited) => at.min(self.poll_at),
            _ => self.poll_at,
        }
    }

    /// When the loop has something to do by itself; `None` when the keyring is gone.
    fn next_wake(&self) -> Option<Instant> {
        let shared = self.shared.upgrade()?;
        let now = shared.clock.now();
        let start = Instant::now();
        let mut wake = start + FAR;
        if self.running.is_none() {
            wake = wake.min(self.next_poll());
            wake = self.hangup_due.map_or(wake, |due| wake.min(due));
        }
        if let Some(end) = shared.next_end(now) {
            wake = wake.min(start + end.min(FAR));
        }
        if let Some(limit) = shared.settings.max_staleness.filter(|_| !self.told_stale) {
            let left = limit.saturating_sub(shared.staleness(now));
            wake = wake.min(start + left.min(FAR) + Duration::from_millis(1));
        }
        if let Some(pause) = Meter::SAMPLE_EVERY {
            wake = wake.min(start + pause);
        }
        Some(wake)
    }

    /// Lets go of what is over and tells of a source that is silent.
    fn keep_house(&mut self) {
        let mut stale = None;
        self.with_shared(|shared| {
            shared.expire();
            let age = shared.staleness(shared.clock.now());
            let limit = shared.settings.max_staleness;
            stale = limit.filter(|limit| age > *limit).map(|_| age);
        });
        match stale {
            Some(age) if !self.told_stale => {
                self.told_stale = true;
                self.with_shared(|shared| shared.events.tell(Event::Stale { age }));
            }
            Some(_) => {}
            None => self.told_stale = false,
        }
        self.with_shared(Shared::sample);
    }

    fn tell_drained(&self) {
        let (mut unused, mut in_use) = (Vec::new(), Vec::new());
        self.with_shared(|shared| {
            (unused, in_use) = shared.tell_drained();
            shared.sample();
        });
        if !unused.is_empty() {
            self.source.drained(&unused, &in_use);
        }
    }

    fn with_shared(&self, f: impl FnOnce(&Shared<T>)) {
        if let Some(shared) = self.shared.upgrade() {
            f(&shared);
        }
    }
}

/// For how long a store that failed asks to be left alone.
fn rest_wanted<Raw, T>(
    refresher: &Refresher<Raw, T>,
    outcome: &Result<Refreshed, RefreshError>,
) -> Duration
where
    Raw: DeserializeOwned + Send + Sync + 'static,
    T: Send + Sync + 'static,
{
    let failed = outcome.as_ref().err().and_then(RefreshError::source_error);
    let parts = refresher.stale_parts().iter().map(|part| &part.error);
    let rests = failed
        .into_iter()
        .chain(parts)
        .filter_map(SourceError::retry_after);
    rests.max().unwrap_or_default().min(FAR)
}

fn note_health<Raw, T>(
    shared: &Shared<T>,
    refresher: &Refresher<Raw, T>,
    outcome: &Result<Refreshed, RefreshError>,
) where
    Raw: DeserializeOwned + Send + Sync + 'static,
    T: Send + Sync + 'static,
{
    let at = shared.clock.now().wall;
    let mut health = shared.health();
    let before = (
        mem::replace(&mut health.quarantine, refresher.quarantined()),
        mem::replace(&mut health.refused_parts, refresher.refused_parts()),
        mem::replace(&mut health.stale_parts, refresher.stale_parts().to_vec()),
        outcome.is_err().then(|| health.last_failure.take()),
    );
    match outcome {
        Ok(_) => {
            health.last_success = Some(at);
            health.consecutive_failures = 0;
            drop(health);
        }
        Err(error) => {
            health.consecutive_failures = health.consecutive_failures.saturating_add(1);
            let error = error.clone();
            health.last_failure = Some(Failure {
                at,
                error: error.clone(),
            });
            drop(health);
            shared.events.tell(match error.failed_step() {
                Some(Step::Fetch) => Event::ReloadError(error),
                _ => Event::ReloadFailed(error),
            });
        }
    }
    // They may hold errors of the user's.
    let_go(|| drop(before));
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error says that the last handle was dropped.
    let _ = stop.wait_for(|stop| *stop).await;
}

async fn finished<F: Future + ?Sized>(running: &mut Option<Pin<Box<F>>>) -> F::Output {
    match running {
        Some(running) => running.await,
        None => pending().await,
    }
}

async fn next_change(source: Arc<BoxSource>, pause: Duration) {
    tokio::time::sleep(pause).await;
    source.changed().await;
}
