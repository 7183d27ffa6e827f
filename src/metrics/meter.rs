//! What one keyring counts and shows. Its handles are made once; to count is to add to an atomic number.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use ::metrics::{Counter, Gauge, Histogram, SharedString, counter, gauge, histogram};

use super::versions::Versions;
use crate::{
    guard::log,
    keyring::{
        Sample,
        verify::{Verified, VerifyError, VerifyErrorKind},
    },
    refresh::{RefreshError, Step, Trigger},
    snapshot::TrustedKey,
    source::{SourceErrorKind, Stage},
};

/// Cheap to clone. Its recorder is the user's: where the refresh loop counts, a panic ends nothing.
#[derive(Clone)]
pub(crate) struct Meter(Arc<Handles>);

struct Handles {
    secret: SharedString,
    /// By stage, and by kind, in the order of declaration.
    accepted: [Counter; Stage::ALL.len()],
    refused: [Counter; VerifyErrorKind::ALL.len()],
    cache_hits: Counter,
    cache_misses: Counter,
    refresh_duration: Histogram,
    windows_cut_short: Counter,
    unknown_key_refreshes: Counter,
    waiters: Gauge,
    waiting: AtomicUsize,
    /// Those that are set together.
    sampled: Mutex<Sampled>,
}

struct Sampled {
    snapshot_age: Gauge,
    last_answer: Gauge,
    generation: Gauge,
    consecutive_failures: Gauge,
    window_remaining: Gauge,
    in_flight: [Gauge; 3],
    versions: Versions,
}

impl Meter {
    /// How often the gauges are set while nothing happens.
    pub(crate) const SAMPLE_EVERY: Option<Duration> = Some(Duration::from_secs(15));

    pub(crate) fn new(secret: &str) -> Self {
        super::describe();
        let secret = SharedString::from_shared(secret.into());
        let count = |name| counter!(name, "secret" => secret.clone());
        let show = |name| gauge!(name, "secret" => secret.clone());
        let verified = |stage, outcome| {
            counter!(super::VERIFICATIONS,
                "secret" => secret.clone(), "stage" => stage, "outcome" => outcome)
        };
        let looked_up =
            |result| counter!(super::TOKEN_CACHE, "secret" => secret.clone(), "result" => result);
        let in_flight =
            |stage| gauge!(super::REQUESTS_IN_FLIGHT, "secret" => secret.clone(), "stage" => stage);
        let sampled = Sampled {
            snapshot_age: show(super::SNAPSHOT_AGE),
            last_answer: show(super::LAST_ANSWER),
            generation: show(super::GENERATION),
            consecutive_failures: show(super::CONSECUTIVE_FAILURES),
            window_remaining: show(super::WINDOW_REMAINING),
            in_flight: ["current", "previous", "older"].map(in_flight),
            versions: Versions::new(secret.clone()),
        };
        Self(Arc::new(Handles {
            accepted: Stage::ALL.map(|stage| verified(stage.as_str(), "accepted")),
            refused: VerifyErrorKind::ALL.map(|kind| verified("none", kind.as_str())),
            cache_hits: looked_up("hit"),
            cache_misses: looked_up("miss"),
            refresh_duration: histogram!(super::REFRESH_DURATION, "secret" => secret.clone()),
            windows_cut_short: count(super::WINDOWS_CUT_SHORT),
            unknown_key_refreshes: count(super::UNKNOWN_KEY_REFRESHES),
            waiters: show(super::UNKNOWN_KEY_WAITERS),
            waiting: AtomicUsize::new(0),
            sampled: Mutex::new(sampled),
            secret,
        }))
    }

    /// By these keys.
    pub(crate) fn judged(&self, outcome: &Result<Verified, VerifyError>, keys: &[TrustedKey]) {
        match outcome {
            Ok(verified) => {
                let stage = keys.get(verified.key).map(|held| held.stage as usize);
                if let Some(accepted) = stage.and_then(|stage| self.0.accepted.get(stage)) {
                    accepted.increment(1);
                }
            }
            Err(error) => self.refused(error.kind()),
        }
    }

    pub(crate) fn refused(&self, kind: VerifyErrorKind) {
        if let Some(refused) = self.0.refused.get(kind as usize) {
            refused.increment(1);
        }
    }

    pub(crate) fn looked_up(&self, is_hit: bool) {
        let Handles {
            cache_hits,
            cache_misses,
            ..
        } = &*self.0;
        let result = if is_hit { cache_hits } else { cache_misses };
        result.increment(1);
    }

    /// A refresh has ended; `Ok` says whether something was swapped in.
    pub(crate) fn refreshed(
        &self,
        trigger: Trigger,
        outcome: Result<bool, &RefreshError>,
        took: Duration,
    ) {
        let outcome = match outcome {
            Ok(true) => "swapped",
            Ok(false) => "unchanged",
            Err(error) if error.is_quarantined() => "quarantined",
            Err(error) => match error.failed_step() {
                Some(Step::Fetch) => "failed_fetch",
                Some(Step::Parse) => "failed_parse",
                Some(Step::Keys) => "failed_keys",
                Some(Step::Prepare) => "failed_prepare",
                Some(Step::Probe) => "failed_probe",
                // Nothing was tried.
                None => return,
            },
        };
        let secret = self.0.secret.clone();
        let trigger = trigger.as_str();
        log(|| {
            counter!(super::REFRESHES, "secret" => secret, "trigger" => trigger, "outcome" => outcome)
                .increment(1);
            self.0.refresh_duration.record(took.as_secs_f64());
        });
    }

    /// The source has answered, or failed.
    pub(crate) fn fetched(&self, failure: Option<SourceErrorKind>) {
        let outcome = failure.map_or("ok", SourceErrorKind::as_str);
        let secret = self.0.secret.clone();
        log(|| {
            counter!(super::SOURCE_CALLS, "secret" => secret, "outcome" => outcome).increment(1);
        });
    }

    pub(crate) fn probe_refused(&self, probe: &str) {
        let secret = self.0.secret.clone();
        log(|| {
            counter!(super::PROBE_FAILURES, "secret" => secret, "probe" => probe.to_owned())
                .increment(1);
        });
    }

    pub(crate) fn window_cut_short(&self) {
        log(|| self.0.windows_cut_short.increment(1));
    }

    pub(crate) fn asked_for_key(&self) {
        log(|| self.0.unknown_key_refreshes.increment(1));
    }

    /// A request waits until this is dropped.
    pub(crate) fn waiting(&self) -> Waiting {
        self.0.waiting.fetch_add(1, Ordering::Relaxed);
        self.show_waiters();
        Waiting(self.clone())
    }

    fn show_waiters(&self) {
        let waiting = self.0.waiting.load(Ordering::Relaxed);
        log(|| self.0.waiters.set(waiting as f64));
    }

    /// Sets the gauges. The look is taken under a lock, so that an older one never overwrites a newer one.
    pub(crate) fn sample(&self, look: impl FnOnce() -> Sample) {
        let sampled = &self.0.sampled;
        let mut sampled = sampled.lock().unwrap_or_else(PoisonError::into_inner);
        log(|| sampled.show(&look()));
        self.show_waiters();
    }
}

impl Sampled {
    fn show(&mut self, look: &Sample) {
        let Sample {
            at,
            status,
            holders,
        } = look;
        let at = at.duration_since(SystemTime::UNIX_EPOCH);
        let answered = at.unwrap_or_default().saturating_sub(status.staleness);
        let previous = status.previous.as_ref();
        let window = previous.and_then(|it| it.expires_in).unwrap_or_default();
        self.snapshot_age.set(status.staleness.as_secs_f64());
        self.last_answer.set(answered.as_secs_f64());
        self.generation.set(status.generation as f64);
        self.consecutive_failures.set(status.consecutive_failures);
        self.window_remaining.set(window.as_secs_f64());
        for (gauge, holders) in self.in_flight.iter().zip(holders) {
            gauge.set(*holders as f64);
        }
        let beside = previous.into_iter().chain(&status.pending);
        self.versions
            .show([&status.current].into_iter().chain(beside));
    }
}

impl fmt::Debug for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meter")
            .field("secret", &self.0.secret)
            .finish_non_exhaustive()
    }
}

/// One request that waits for the keys that a refresh may bring.
pub(crate) struct Waiting(Meter);

impl Drop for Waiting {
    fn drop(&mut self) {
        let Self(meter) = self;
        meter.0.waiting.fetch_sub(1, Ordering::Relaxed);
        meter.show_waiters();
    }
}

impl fmt::Debug for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Waiting")
    }
}
