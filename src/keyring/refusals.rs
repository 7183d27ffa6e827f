//! What upstreams refused lately, and who waits for the next credential: what all calls of
//! `try_each` share.
//!
//! Nothing here keeps a keyring alive: a call that waits holds this, and hears of the loop's end.

use std::{
    collections::VecDeque,
    sync::{Arc, PoisonError},
    time::Duration,
};

use crate::{
    source::VersionId,
    sync::{Instant, Mutex, MutexGuard, Notify, sleep_until, watch},
};

/// At most one refresh in this time is asked for by upstreams that refuse a credential. For so long
/// a single user's credential is left alone at first.
pub(super) const COOL_DOWN: Duration = Duration::from_secs(10);

/// How often that pause doubles: after 10, 20, 40 and 80 s it stays at 160 s. With the three refusals
/// before them, a dead credential costs nine logins in ten minutes.
const DOUBLINGS: u32 = 4;

/// A single user's credential is left alone after so many refusals in a row: the first ones of three
/// replicas stay below the usual lock-out after ten. Not after the first, because a pool has living
/// sessions, which go on working where a new login is refused.
pub(super) const REFUSALS: u32 = 3;

/// How often the source is asked while somebody waits for a flip.
pub(crate) const FLIP_INTERVAL: Duration = Duration::from_secs(1);

/// How many polls at that pace one refused version is worth: a minute of them.
pub(super) const FLIP_POLLS: u32 = 60;

/// After this long without a new waiter, or without a refusal, a refusal of the same version is
/// another incident.
pub(super) const NEW_INCIDENT: Duration = Duration::from_secs(600);

/// Of how many versions something is remembered.
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
    /// What single users' upstreams said, the newest first. Nothing is there of a current version that
    /// was never refused.
    records: VecDeque<Record>,
    waiters: usize,
    incident: Option<Incident>,
}

impl State {
    fn record(&mut self, version: &VersionId) -> Option<&mut Record> {
        self.records.iter_mut().find(|it| it.version == *version)
    }

    fn remember(&mut self, record: Record) {
        self.records.push_front(record);
        self.records.truncate(REMEMBERED);
    }
}

/// A version that was refused, or that is not known to work yet.
struct Record {
    version: VersionId,
    /// Refusals in a row.
    times: u32,
    refused_at: Duration,
    /// Seen to work, and not refused since.
    works: bool,
    in_flight: u32,
    /// When one call may try it although it is left alone.
    next_try: Duration,
    /// How many did.
    retries: u32,
}

impl Record {
    fn new(version: VersionId, now: Duration) -> Self {
        let mut record = Self {
            version,
            times: 0,
            refused_at: Duration::ZERO,
            works: false,
            in_flight: 0,
            next_try: now,
            retries: 0,
        };
        record.pause(now);
        record
    }

    /// Left alone: those under way count as refused until they say otherwise.
    fn is_left_alone(&self) -> bool {
        !self.works && self.times.saturating_add(self.in_flight) >= REFUSALS
    }

    /// Whether a call may begin, and if so, whether it is counted.
    fn begin(&mut self, now: Duration) -> Option<bool> {
        if self.works {
            return Some(false);
        }
        if self.is_left_alone() {
            if now < self.next_try {
                return None;
            }
            self.retries = self.retries.saturating_add(1);
            self.pause(now);
        }
        self.in_flight += 1;
        Some(true)
    }

    fn pause(&mut self, now: Duration) {
        let pause = COOL_DOWN * (1 << self.retries.min(DOUBLINGS));
        self.next_try = now.saturating_add(pause);
    }

    fn refuse(&mut self, now: Duration) {
        if self.times > 0 && now.saturating_sub(self.refused_at) >= NEW_INCIDENT {
            self.times = 0;
            self.retries = 0;
        }
        self.times = self.times.saturating_add(1);
        self.refused_at = now;
        self.works = false;
        self.pause(now);
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

    /// Leave for a call to try this version, unless it is left alone; then the call waits for what
    /// others find. A version that is current and was never refused is free for all.
    pub(crate) fn begin(
        self: &Arc<Self>,
        version: &VersionId,
        is_proven: bool,
        now: Duration,
    ) -> Option<Try> {
        let mut state = self.state();
        let is_counted = match state.record(version) {
            Some(record) => record.begin(now)?,
            None if is_proven => false,
            None => {
                let mut record = Record::new(version.clone(), now);
                let is_counted = record.begin(now)?;
                state.remember(record);
                is_counted
            }
        };
        drop(state);
        Some(Try {
            refusals: self.clone(),
            version: version.clone(),
            began: now,
            is_counted,
        })
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

    /// How long until somebody may try a version that is left alone.
    pub(super) fn next_try_in(&self, now: Duration) -> Option<Duration> {
        let state = self.state();
        let left_alone = state.records.iter().filter(|it| it.is_left_alone());
        let pauses = left_alone.map(|it| it.next_try.saturating_sub(now));
        pauses.filter(|pause| !pause.is_zero()).min()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One call under way with a single user's credential; dropping it ends it without a verdict.
pub(crate) struct Try {
    refusals: Arc<Refusals>,
    version: VersionId,
    began: Duration,
    is_counted: bool,
}

impl Try {
    pub(crate) fn refused(self, now: Duration) {
        let mut state = self.refusals.state();
        if let Some(record) = state.record(&self.version) {
            record.refuse(now);
        } else {
            let mut record = Record::new(self.version.clone(), now);
            record.refuse(now);
            state.remember(record);
        }
    }

    /// It works after all. A call that began before the last refusal says nothing: a session opened
    /// earlier outlives its password.
    pub(crate) fn accepted(self) {
        let mut state = self.refusals.state();
        let Some(record) = state.record(&self.version) else {
            return;
        };
        // Of one that was never refused it is zero.
        let is_stale = record.refused_at > self.began;
        if record.works || is_stale {
            return;
        }
        record.works = true;
        record.times = 0;
        record.retries = 0;
        drop(state);
        self.refusals.tell_news();
    }
}

impl Drop for Try {
    fn drop(&mut self) {
        if !self.is_counted {
            return;
        }
        if let Some(record) = self.refusals.state().record(&self.version) {
            record.in_flight = record.in_flight.saturating_sub(1);
        }
        // There may be leave for another, or a pause to wait for.
        self.refusals.tell_news();
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
