//! The store that all replicas ask: it takes its time, has a quota, and some cannot reach it for a while.

use std::{
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use tokio::time::{Instant, sleep};
use tower_secrets::source::{Source, SourceError, SourceErrorKind, Version, VersionId, Versions};

use crate::day::{Day, OVERLAP, POLL};

/// How many times the steady rate the store bears.
const QUOTA: f64 = 10.0;
/// How long it takes until a replica that is cut off gives up.
const CONNECT: Duration = Duration::from_secs(3);

pub(crate) struct Store {
    begin: Instant,
    begin_wall: SystemTime,
    replicas: usize,
    /// Which replicas cannot reach it, and when.
    cut_off: Range<usize>,
    outage: Range<Duration>,
    state: Mutex<State>,
}

struct State {
    rng: fastrand::Rng,
    versions: Versions,
    next: Version,
    keys: u32,
    /// Calls that are left of the quota, and when that was true.
    allowance: f64,
    allowance_at: Duration,
    calls: Vec<u32>,
    throttled: u64,
    rotations: Vec<Rotation>,
}

/// When the replicas came to use one version.
#[derive(Clone)]
pub(crate) struct Rotation {
    version: VersionId,
    at: Duration,
    pub(crate) converged: usize,
    pub(crate) took: Duration,
    /// The same without those that are cut off.
    pub(crate) connected_took: Duration,
}

impl Store {
    pub(crate) fn new(day: &Day, has_outage: bool) -> Self {
        let mut rng = fastrand::Rng::with_seed(day.seed);
        let (first, next) = (version(1, &mut rng), version(2, &mut rng));
        Self {
            begin: Instant::now(),
            // Any time will do, as long as it is always the same.
            begin_wall: SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000),
            replicas: day.replicas,
            cut_off: if has_outage { day.cut_off() } else { 0..0 },
            outage: day.outage(),
            state: Mutex::new(State {
                rng,
                versions: Versions::new(first),
                next,
                keys: 2,
                allowance: 0.0,
                allowance_at: Duration::ZERO,
                calls: vec![0; day.end().as_secs() as usize + 60],
                throttled: 0,
                rotations: Vec::new(),
            }),
        }
    }

    pub(crate) fn begin(&self) -> Instant {
        self.begin
    }

    pub(crate) fn begin_wall(&self) -> SystemTime {
        self.begin_wall
    }

    pub(crate) fn now(&self) -> Duration {
        self.begin.elapsed()
    }

    pub(crate) fn is_cut_off(&self, replica: usize) -> bool {
        self.cut_off.contains(&replica)
    }

    /// The document in use, as somebody who steals it has it.
    pub(crate) fn stolen(&self) -> Version {
        self.lock().versions.current().clone()
    }

    pub(crate) fn stage(&self) {
        let mut state = self.lock();
        state.versions = state.versions.clone().with_pending(state.next.clone());
    }

    /// The next key becomes current, and the one before is previous, with an end that is the same for all.
    pub(crate) fn flip(&self) {
        let at = self.now();
        let mut state = self.lock();
        state.keys += 1;
        let number = state.keys;
        let after = version(number, &mut state.rng);
        let current = std::mem::replace(&mut state.next, after);
        let replaced = state.versions.current().clone();
        let end = self.begin_wall + at + OVERLAP;
        state.rotations.push(Rotation {
            version: current.id().clone(),
            at,
            converged: 0,
            took: Duration::ZERO,
            connected_took: Duration::ZERO,
        });
        state.versions = Versions::new(current).with_previous(replaced.with_not_after(end));
    }

    /// The key has leaked: the store names it no more.
    pub(crate) fn withdraw_previous(&self) -> Option<VersionId> {
        let mut state = self.lock();
        let leaked = state.versions.previous().map(|it| it.id().clone());
        state.versions = Versions::new(state.versions.current().clone());
        leaked
    }

    /// In each second.
    pub(crate) fn calls(&self) -> Vec<u32> {
        self.lock().calls.clone()
    }

    pub(crate) fn throttled(&self) -> u64 {
        self.lock().throttled
    }

    pub(crate) fn rotations(&self) -> Vec<Rotation> {
        self.lock().rotations.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One call arrives.
    fn arrive(&self) -> Result<Versions, SourceError> {
        let now = self.now();
        let mut state = self.lock();
        if let Some(second) = state.calls.get_mut(now.as_secs() as usize) {
            *second += 1;
        }
        let quota = QUOTA * self.replicas as f64 / POLL.as_secs_f64();
        let earned = quota * (now - state.allowance_at).as_secs_f64();
        // A second's worth may come at once; a small fleet's store bears a few calls, too.
        state.allowance = (state.allowance + earned).min(quota.max(10.0));
        state.allowance_at = now;
        if state.allowance < 1.0 {
            state.throttled += 1;
            return Err(SourceError::new(
                SourceErrorKind::Throttled,
                "the quota is used up",
            ));
        }
        state.allowance -= 1.0;
        Ok(state.versions.clone())
    }

    /// Some 30 ms; one call in a hundred takes seconds.
    fn half_of_latency(&self) -> Duration {
        let rng = &mut self.lock().rng;
        let usual = 0.005 - 0.010 * (1.0 - rng.f64()).ln();
        let slow = if rng.u32(..100) == 0 {
            1.5 * rng.f64()
        } else {
            0.0
        };
        Duration::from_secs_f64(usual + slow)
    }

    fn note_published(&self, replica: usize, version: &VersionId) {
        let now = self.now();
        let is_connected = !self.is_cut_off(replica);
        let mut state = self.lock();
        if let Some(rotation) = state.rotations.iter_mut().find(|it| it.version == *version) {
            rotation.converged += 1;
            rotation.took = now - rotation.at;
            if is_connected {
                rotation.connected_took = rotation.took;
            }
        }
    }
}

fn version(number: u32, rng: &mut fastrand::Rng) -> Version {
    let secret: String = (0..32).map(|_| format!("{:02x}", rng.u8(..))).collect();
    let document = format!(r#"{{"jwt_secret":"{secret}"}}"#);
    Version::new(format!("key-{number}"), document)
}

/// What one replica has of the store.
pub(crate) struct Connection {
    pub(crate) store: Arc<Store>,
    pub(crate) replica: usize,
    pub(crate) published: Mutex<Option<VersionId>>,
}

impl Source for Connection {
    async fn fetch(&self) -> Result<Versions, SourceError> {
        let store = &self.store;
        if store.is_cut_off(self.replica) && store.outage.contains(&store.now()) {
            sleep(CONNECT).await;
            return Err(SourceError::new(
                SourceErrorKind::Unavailable,
                "no connection",
            ));
        }
        sleep(store.half_of_latency()).await;
        let answer = store.arrive();
        sleep(store.half_of_latency()).await;
        answer
    }

    fn published(&self, current: &VersionId) {
        let mut published = self
            .published
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if published.as_ref() != Some(current) {
            self.store.note_published(self.replica, current);
            *published = Some(current.clone());
        }
    }

    fn name(&self) -> String {
        "simulated".to_owned()
    }
}
