//! What upstreams refused lately, and who waits for the next credential: what all calls of
//! `try_each` share.
//!
//! Nothing here keeps a keyring alive: a call that waits holds this, and hears of the loop's end.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep_until},
};

use crate::source::VersionId;

/// At most one refresh in this time is asked for by upstreams that refuse a credential, and at
/// most one login in this time tries a single user's credential that is left alone.
const COOL_DOWN: Duration = Duration::from_secs(10);

/// A single user's credential is left alone after so many refusals in a row: three replicas stay
/// below the usual lock-out after ten. Not after the first, because a pool has living sessions, which
/// go on working where a new login is refused.
const REFUSALS: u32 = 3;

/// How often the source is asked while somebody waits for a flip.
pub(crate) const FLIP_INTERVAL: Duration = Duration::from_secs(1);

/// How many polls at that pace one refused version is worth: a minute of them.
const FLIP_POLLS: u32 = 60;

/// After this long without a new waiter, a refusal of the same version is another incident.
const NEW_INCIDENT: Duration = Duration::from_secs(600);

/// How many refused versions are remembered.
const REMEMBERED: usize = 8;

pub(crate) struct Refusals {
    state: Mutex<State>,
    /// Changes when those who wait should look again.
    news: watch::Sender<()>,
    /// Wakes the refresh loop when somebody begins to wait.
    awaited: Arc<Notify>,
    /// Its sender goes with the refresh loop.
    done: watch::Receiver<()>,
}

#[derive(Default)]
struct State {
    /// The last refresh that refusals asked for: since when, and whether it has ended.
    refresh: Option<(Duration, watch::Receiver<()>)>,
    /// What a single user's upstream refused, the newest first.
    refused: VecDeque<Refused>,
    waiters: usize,
    incident: Option<Incident>,
}

struct Refused {
    version: VersionId,
    /// In a row.
    times: u32,
    /// The last refusal, or when a call was let through to try again.
    since: Duration,
}

impl Refused {
    fn is_left_alone(&self) -> bool {
        self.times >= REFUSALS
    }
}

/// A version that was refused, and what was done to meet its successor.
struct Incident {
    version: VersionId,
    last_waiter: Duration,
    polls: u32,
}

impl Refusals {
    pub(super) fn new(done: watch::Receiver<()>) -> Self {
        Self {
            state: Mutex::default(),
            news: watch::Sender::new(()),
            awaited: Arc::default(),
            done,
        }
    }

    pub(super) fn awaited(&self) -> Arc<Notify> {
        self.awaited.clone()
    }

    /// The refresh under way or just over, or a new one, which `ask` asks for.
    pub(super) fn refresh(
        &self,
        now: Duration,
        ask: impl FnOnce(watch::Sender<()>),
    ) -> watch::Receiver<()> {
        let mut state = self.state();
        match &state.refresh {
            Some((begun, ended)) if now.saturating_sub(*begun) < COOL_DOWN => ended.clone(),
            _ => {
                let (end, ended) = watch::channel(());
                ask(end);
                state.refresh = Some((now, ended.clone()));
                ended
            }
        }
    }

    /// Whether a call may try this version: not in the 10 s after it was refused three times in a
    /// row. Then one call may, and the others wait for what it finds.
    pub(crate) fn may_try(&self, version: &VersionId, now: Duration) -> bool {
        let mut state = self.state();
        let mut refused = state.refused.iter_mut();
        let Some(it) = refused.find(|it| it.version == *version && it.is_left_alone()) else {
            return true;
        };
        let may = now.saturating_sub(it.since) >= COOL_DOWN;
        if may {
            it.since = now;
        }
        may
    }

    pub(crate) fn refused(&self, version: &VersionId, now: Duration) {
        let mut state = self.state();
        let known = state.refused.iter().position(|it| it.version == *version);
        let earlier = known.and_then(|at| state.refused.remove(at));
        let earlier = earlier.filter(|it| now.saturating_sub(it.since) < COOL_DOWN);
        state.refused.push_front(Refused {
            version: version.clone(),
            times: earlier.map_or(1, |it| it.times.saturating_add(1)),
            since: now,
        });
        state.refused.truncate(REMEMBERED);
    }

    /// It works after all. A call that `began` before the last refusal says nothing: a session opened
    /// earlier outlives its password.
    pub(crate) fn accepted(&self, version: &VersionId, began: Duration) {
        let mut state = self.state();
        let before = state.refused.len();
        state
            .refused
            .retain(|it| it.version != *version || it.since > began);
        if state.refused.len() < before {
            drop(state);
            self.tell_news();
        }
    }

    pub(super) fn tell_news(&self) {
        self.news.send_replace(());
    }

    /// Begins to wait for the successor of `version`. While anybody waits, the refresh loop looks
    /// once a second, up to [`FLIP_POLLS`] times.
    pub(crate) fn wait_for_flip(self: Arc<Self>, version: VersionId, now: Duration) -> FlipWait {
        let news = self.news.subscribe();
        let mut state = self.state();
        state.waiters += 1;
        match &mut state.incident {
            Some(it)
                if it.version == version && now.saturating_sub(it.last_waiter) < NEW_INCIDENT =>
            {
                it.last_waiter = now;
            }
            other => {
                *other = Some(Incident {
                    version: version.clone(),
                    last_waiter: now,
                    polls: 0,
                });
            }
        }
        drop(state);
        self.awaited.notify_one();
        FlipWait {
            done: self.done.clone(),
            refusals: self,
            news,
            version,
        }
    }

    pub(crate) fn is_flip_awaited(&self) -> bool {
        let state = self.state();
        let polls = state.incident.as_ref().map_or(0, |it| it.polls);
        state.waiters > 0 && polls < FLIP_POLLS
    }

    pub(crate) fn count_poll(&self) {
        if let Some(incident) = &mut self.state().incident {
            incident.polls += 1;
        }
    }

    /// How long until somebody may try a refused version again.
    fn next_try_in(&self, now: Duration) -> Option<Duration> {
        let state = self.state();
        let left_alone = state.refused.iter().filter(|it| it.is_left_alone());
        let pauses = left_alone.map(|it| it.since.saturating_add(COOL_DOWN).saturating_sub(now));
        pauses.filter(|pause| !pause.is_zero()).min()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One call that waits; dropping it ends the waiting.
pub(crate) struct FlipWait {
    refusals: Arc<Refusals>,
    news: watch::Receiver<()>,
    done: watch::Receiver<()>,
    version: VersionId,
}

impl FlipWait {
    /// What was current when the waiting began.
    pub(crate) fn version(&self) -> &VersionId {
        &self.version
    }

    /// Waits until there may be something else to try; `false` at the `limit`, and when the refresh
    /// loop has ended.
    pub(crate) async fn news(&mut self, limit: Instant, now: Duration) -> bool {
        let pause = self.refusals.next_try_in(now);
        let wake = pause.map_or(limit, |pause| limit.min(Instant::now() + pause));
        tokio::select! {
            biased;
            // Nothing is ever sent: an error says that the loop has ended.
            _ = self.done.changed() => false,
            _ = self.news.changed() => true,
            () = sleep_until(wake) => wake < limit,
        }
    }
}

impl Drop for FlipWait {
    fn drop(&mut self) {
        self.refusals.state().waiters -= 1;
    }
}
