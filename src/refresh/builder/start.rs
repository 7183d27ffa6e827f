//! From settings to a running keyring: what contradicts itself is refused, and the first refresh is made.

use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::{Builder, session};
use crate::{
    event::{Event, Teller},
    keyring::{Keyring, Settings, ledger::Windows},
    metrics::Meter,
    refresh::{
        BuildError, BuildErrorKind, RefreshError, Step, Trigger,
        attempt::Refresher,
        trigger::{Backoff, Hangups},
        worker::{Pace, Worker},
    },
    source::{Source, SourceError},
};

/// The default overlap window, unless the refresh interval and the time limits ask for more.
const OVERLAP: Duration = Duration::from_secs(900);

/// The default time limit of a fetch and of a probe.
const LIMIT: Duration = Duration::from_secs(10);

/// Nobody means more, and sums with it cannot overflow.
const LONGEST_INTERVAL: Duration = Duration::from_secs(365 * 86_400);

impl<Raw, T> Builder<Raw, T>
where
    Raw: DeserializeOwned + Send + Sync + 'static,
    T: Send + Sync + 'static,
{
    /// Fetches, proves and publishes the first snapshot, and starts the refresh loop on the
    /// current tokio runtime. There is no keyring without a snapshot.
    ///
    /// A source that gives no answer is tried again within the
    /// [`start_budget`](Self::start_budget). A secret that does not exist or is malformed (see
    /// [`SourceErrorKind`](crate::source::SourceErrorKind)), and a required probe or `prepare` step that refuses, is an error at once: trying again could lock
    /// an account. With [`jwt_key`](Self::jwt_key), one token is signed and verified before anybody
    /// gets the keyring.
    ///
    /// # Errors
    /// When settings contradict each other (the text shows the numbers), when the first refresh
    /// failed, and when the crypto library does not work.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    ///
    /// # Cancellation safety
    /// Dropping the future leaves nothing running.
    pub async fn build(mut self) -> Result<Keyring<T>, BuildError> {
        let limit = LIMIT.min(self.refresh_every);
        let or_default = |set: Option<Duration>| set.unwrap_or(limit).min(LONGEST_INTERVAL);
        self.recipe.fetch_limit = or_default(self.fetch_limit);
        self.recipe.probe_limit = or_default(self.probe_limit);
        let windows = self.check()?;
        let hangups = if self.reload_on_sighup {
            Hangups::listen()
                .map_err(|e| BuildError::config(format!("no SIGHUP handler could be set: {e}")))?
        } else {
            Hangups::default()
        };
        let meter = Meter::new(&self.recipe.source_name());
        let events = Teller::new(meter, self.clock.clone());
        let fetch_limit = self.recipe.fetch_limit;
        self.recipe.source.set_fetch_limit(fetch_limit);
        let mut refresher = Refresher::new(
            self.recipe,
            self.clock.clone(),
            windows.overlap,
            events.meter.clone(),
        );
        events.tell(Event::ReloadRequested {
            trigger: Trigger::Start,
        });
        let settings = Settings {
            source_name: refresher.source_name().to_owned(),
            has_jwt_key: refresher.has_jwt_key(),
            has_session_key: refresher.has_session_key(),
            max_staleness: self.max_staleness,
            refuse_after: self.refuse_after,
            token_cache: self.token_cache,
            unknown_key: self
                .unknown_key
                .unwrap_or_else(|| refresher.default_unknown_key()),
            refresh_every: self.refresh_every,
            token_life: self.signing.token_life(),
        };
        let start = Instant::now();
        let mut backoff = Backoff::new(self.refresh_every);
        let first = loop {
            let began = Instant::now();
            let first = refresher.first(&events).await;
            let count = |outcome| {
                let meter = &events.meter;
                meter.refreshed(Trigger::Start, outcome, began.elapsed());
            };
            let error = match first {
                Ok(first) => {
                    count(Ok(true));
                    break first;
                }
                Err(error) => error,
            };
            let BuildErrorKind::FirstRefresh(refused) = error.kind() else {
                return Err(error);
            };
            count(Err(refused));
            events.tell(match refused.failed_step() {
                Some(Step::Fetch) => Event::ReloadError(refused.clone()),
                _ => Event::ReloadFailed(refused.clone()),
            });
            let pause = backoff.next();
            let left = self.start_budget.saturating_sub(start.elapsed());
            if !may_pass(refused) || pause > left {
                return Err(error);
            }
            let rest = refused.source_error().and_then(SourceError::retry_after);
            tokio::time::sleep(pause.max(rest.unwrap_or_default().min(left))).await;
        };
        let (keyring, ends) = Keyring::open(
            first.candidate,
            first.bundle,
            windows,
            self.clock,
            events,
            settings,
        );
        if !keyring.passes_self_test() {
            return Err(BuildError::crypto());
        }
        keyring.shared().opened(first.degraded);
        keyring.shared().sample();
        refresher.adopt(&keyring);
        let pace = Pace {
            interval: self.refresh_every,
            while_pending: self.refresh_while_pending,
        };
        let worker = Worker::new(refresher, &keyring, ends, hangups, pace);
        tokio::spawn(worker.run());
        Ok(keyring)
    }

    fn check(&self) -> Result<Windows, BuildError> {
        if self.refresh_every.is_zero() || self.refresh_every > LONGEST_INTERVAL {
            return Err(BuildError::config(format!(
                "refresh_every is {:?}; it must be more than zero and at most {LONGEST_INTERVAL:?}",
                self.refresh_every,
            )));
        }
        if self.refresh_while_pending.is_some_and(|it| it.is_zero()) {
            return Err(BuildError::config(
                "refresh_while_pending is zero; it must be more".to_owned(),
            ));
        }
        let longest_probe = self.recipe.longest_proof();
        let limits = self.recipe.fetch_limit.saturating_add(longest_probe);
        // Of a change that a refresh just missed: the rest of that, the interval, and the next.
        let detection = self.refresh_every.saturating_add(limits.saturating_mul(2));
        let activation_delay = self.signing.activation_delay(detection);
        let three = (self.refresh_every * 3).saturating_add(limits);
        // The last process to see a rotation signs with the key before for so long.
        let used = if self.recipe.jwt_key.is_some() || self.recipe.session_key.is_some() {
            detection.saturating_add(activation_delay)
        } else {
            Duration::ZERO
        };
        let least = three.max(used.saturating_add(self.signing.token_life()));
        let overlap = self.overlap.unwrap_or_else(|| OVERLAP.max(least));
        if overlap < least {
            let sum = if least == three {
                format!(
                    "3 x refresh_every ({:?}) + fetch_limit ({:?}) + the limits of prepare and probes \
                     ({longest_probe:?}); with less, some process would still use a key when it ends",
                    self.refresh_every, self.recipe.fetch_limit,
                )
            } else {
                format!(
                    "the time until the last process sees a rotation ({detection:?}: refresh_every, and \
                     twice the {limits:?} of fetch_limit and of the limits of prepare and probes) + \
                     activation_delay ({activation_delay:?}){}; with less, what the replaced key signed \
                     would be refused before its end",
                    self.signing.told_life(),
                )
            };
            return Err(BuildError::config(format!(
                "overlap is {overlap:?}, which is less than {least:?}: {sum}"
            )));
        }
        let session_keys = session::window(self.session_key_window, overlap, three.max(used))?;
        if let Some(limit) = self.refuse_after
            && limit < self.refresh_every * 10
        {
            return Err(BuildError::config(format!(
                "refuse_after is {limit:?}, which is less than 10 x refresh_every ({:?}); a short \
                 outage of the store would become one of this service",
                self.refresh_every,
            )));
        }
        Ok(Windows {
            overlap,
            session_keys,
            max_pending: self.max_pending,
            release_previous_at_swap: self.release_previous_at_swap,
            activation_delay,
        })
    }
}

/// Whether another try may end better: not where the secret itself is at fault.
fn may_pass(error: &RefreshError) -> bool {
    match error.source_error() {
        Some(error) => !error.kind().is_lasting(),
        // Knocking again on what a probe or `prepare` knocked on could lock an account.
        None => false,
    }
}
