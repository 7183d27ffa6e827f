//! When the source is asked again.

use std::{fmt, time::Duration};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

/// What asked for a refresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Trigger {
    /// `build()`.
    Start,
    /// The refresh interval, or a retry after a failure.
    Timer,
    /// SIGHUP.
    Signal,
    /// A call of `Keyring::refresh`.
    Manual,
    /// The source itself saw a change.
    Change,
    /// An upstream refused the credential in `Secrets::try_each` or `try_each_as`.
    Refused,
    /// The version that is current was revoked.
    Revoked,
    /// A token came whose key is not known.
    UnknownKey,
}

impl Trigger {
    /// The lower-case name, as events use it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Timer => "timer",
            Self::Signal => "sighup",
            Self::Manual => "manual",
            Self::Change => "change",
            Self::Refused => "refused",
            Self::Revoked => "revoked",
            Self::UnknownKey => "unknown_key",
        }
    }

    /// A person asked: a version that a probe refused is tried again at once.
    pub(crate) fn is_deliberate(self) -> bool {
        matches!(self, Self::Start | Self::Signal | Self::Manual)
    }

    /// Anybody may have sent what asked.
    pub(crate) fn is_for_token(self) -> bool {
        self == Self::UnknownKey
    }

    /// There is a reason to think that what is known is old: the source should not answer from
    /// memory.
    pub(crate) fn wants_news(self) -> bool {
        !matches!(self, Self::Start | Self::Timer | Self::Change)
    }
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The interval, 0 to 10 % shorter: never longer, or the overlap window's arithmetic would not
/// hold; and not equal on all replicas, or they would ask in step.
pub(crate) fn jittered(interval: Duration) -> Duration {
    interval.mul_f64(1.0 - 0.1 * fastrand::f64())
}

/// The pause after the start: up to three quarters shorter, because those that start at once would go on
/// asking in step for hours otherwise.
pub(crate) fn first_pause(interval: Duration) -> Duration {
    interval.mul_f64(1.0 - 0.75 * fastrand::f64())
}

const FIRST_RETRY: Duration = Duration::from_secs(1);

/// Pauses after failures: 1 s, doubled each time with jitter, never longer than the refresh
/// interval.
#[derive(Debug)]
pub(crate) struct Backoff {
    longest: Duration,
    pauses: ExponentialBackoff,
}

impl Backoff {
    pub(crate) fn new(longest: Duration) -> Self {
        Self {
            longest,
            pauses: pauses(FIRST_RETRY.min(longest), 2.0, longest),
        }
    }

    pub(crate) fn next(&mut self) -> Duration {
        self.pauses.next().unwrap_or(self.longest).min(self.longest)
    }

    pub(crate) fn reset(&mut self) {
        *self = Self::new(self.longest);
    }
}

const FIRST_REPROBE: Duration = Duration::from_secs(60);
const LONGEST_REPROBE: Duration = Duration::from_secs(3600);

/// Pauses before a version that a probe refused is tried again: one minute, then four times as
/// long, up to an hour. Three replicas with a bad password make fewer than ten failed logins in ten
/// minutes, which keeps the usual account lock-out away.
pub(crate) fn reprobe_pauses() -> impl Iterator<Item = Duration> + Send + Sync {
    pauses(FIRST_REPROBE, 4.0, LONGEST_REPROBE).map(|pause| pause.min(LONGEST_REPROBE))
}

fn pauses(first: Duration, factor: f32, longest: Duration) -> ExponentialBackoff {
    ExponentialBuilder::new()
        .with_min_delay(first)
        .with_max_delay(longest)
        .with_factor(factor)
        .without_max_times()
        .with_jitter()
        .build()
}

/// SIGHUPs, registered before the first fetch: an early signal would end the process otherwise.
#[derive(Debug, Default)]
pub(crate) struct Hangups {
    #[cfg(unix)]
    signal: Option<tokio::signal::unix::Signal>,
}

impl Hangups {
    pub(crate) fn listen() -> std::io::Result<Self> {
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            let signal = Some(signal(SignalKind::hangup())?);
            Ok(Self { signal })
        }
        #[cfg(not(unix))]
        Ok(Self::default())
    }

    /// Resolves at the next SIGHUP; several that came together count as one. Cancel safe.
    pub(crate) async fn next(&mut self) {
        #[cfg(unix)]
        if let Some(signal) = &mut self.signal
            && signal.recv().await.is_some()
        {
            return;
        }
        std::future::pending().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_only_ever_shortens_and_by_a_tenth_at_most() {
        let interval = Duration::from_secs(300);
        for _ in 0..10_000 {
            let next = jittered(interval);
            assert!(next <= interval && next >= interval.mul_f64(0.9));
        }
    }

    #[test]
    fn backoff_grows_and_never_passes_the_interval() {
        let longest = Duration::from_secs(30);
        let mut backoff = Backoff::new(longest);
        let first = backoff.next();
        assert!(first >= FIRST_RETRY && first <= 2 * FIRST_RETRY);
        assert!((0..100).all(|_| backoff.next() <= longest));
        assert!(backoff.next() >= longest.mul_f64(0.5));
        backoff.reset();
        assert!(backoff.next() <= 2 * FIRST_RETRY);
        let mut short = Backoff::new(Duration::from_millis(50));
        assert!((0..10).all(|_| short.next() <= Duration::from_millis(50)));
    }

    #[test]
    fn a_refused_version_is_tried_at_most_three_times_in_ten_minutes() {
        for _ in 0..1000 {
            let mut pauses = reprobe_pauses();
            let mut at = Duration::ZERO;
            let mut tries = 1;
            loop {
                at += pauses.next().unwrap_or_default();
                if at > Duration::from_secs(600) {
                    break;
                }
                tries += 1;
            }
            assert!(tries <= 3, "{tries}");
        }
    }
}
