//! Time as a value, so that windows can be tested without waiting for them.
//!
//! A [`Now`] holds both clocks at one moment. Overlap windows run on the monotonic one; token
//! claims are judged by the wall clock. Tests and simulations give the builder a
//! [`TokioClock`], which follows tokio's pausable time.

use std::{
    fmt,
    sync::atomic::{AtomicI64, Ordering},
    time::{Duration, Instant, SystemTime},
};

/// Both clocks, read at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Now {
    /// Wall-clock time, as `exp` and `nbf` mean it.
    pub wall: SystemTime,
    /// Monotonic time since an origin that is fixed for the life of the clock.
    pub mono: Duration,
}

impl Now {
    /// Puts two readings together.
    #[must_use]
    pub const fn new(wall: SystemTime, mono: Duration) -> Self {
        Self { wall, mono }
    }
}

/// Where the time comes from. The default is [`SystemClock`].
pub trait Clock: Send + Sync + 'static {
    /// Reads both clocks. Called for many requests, so it should be cheap.
    fn now(&self) -> Now;

    /// Reads the wall clock alone, where that is cheaper. It is all that most requests need.
    fn wall(&self) -> SystemTime {
        self.now().wall
    }
}

/// The operating system's clocks.
#[derive(Clone, Debug)]
pub struct SystemClock {
    origin: Instant,
}

impl SystemClock {
    /// A clock whose monotonic origin is this moment.
    #[must_use]
    pub fn new() -> Self {
        Self {
            origin: Instant::now(),
        }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Now {
        Now::new(SystemTime::now(), self.origin.elapsed())
    }

    fn wall(&self) -> SystemTime {
        SystemTime::now()
    }
}

/// tokio's clock: it stands still under `tokio::time::pause` and moves with
/// `tokio::time::advance`.
///
/// The wall clock starts at a time of your choice and can be skewed at any moment, to test what a
/// server does when NTP steps its clock.
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use tower_secrets::clock::{Clock, TokioClock};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let clock = TokioClock::starting_at(SystemTime::UNIX_EPOCH);
/// clock.set_skew_millis(-2_000);
/// assert!(clock.now().mono < Duration::from_secs(1));
/// # }
/// ```
pub struct TokioClock {
    start: SystemTime,
    origin: tokio::time::Instant,
    skew_millis: AtomicI64,
}

impl TokioClock {
    /// A clock whose wall time is the system's now and moves with tokio's time.
    #[must_use]
    pub fn new() -> Self {
        Self::starting_at(SystemTime::now())
    }

    /// A clock whose wall time starts at `start`.
    #[must_use]
    pub fn starting_at(start: SystemTime) -> Self {
        Self {
            start,
            origin: tokio::time::Instant::now(),
            skew_millis: AtomicI64::new(0),
        }
    }

    /// Moves the wall clock, and it alone, to `millis` milliseconds ahead of (or behind) where it
    /// would be; replaces an earlier skew.
    pub fn set_skew_millis(&self, millis: i64) {
        self.skew_millis.store(millis, Ordering::Relaxed);
    }
}

impl Default for TokioClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for TokioClock {
    fn now(&self) -> Now {
        let mono = self.origin.elapsed();
        let skew = self.skew_millis.load(Ordering::Relaxed);
        let shift = Duration::from_millis(skew.unsigned_abs());
        let wall = self.start.checked_add(mono).and_then(|wall| {
            if skew < 0 {
                wall.checked_sub(shift)
            } else {
                wall.checked_add(shift)
            }
        });
        Now::new(wall.unwrap_or(self.start), mono)
    }
}

impl fmt::Debug for TokioClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokioClock")
            .field("start", &self.start)
            .field("skew_millis", &self.skew_millis)
            .finish_non_exhaustive()
    }
}

impl<C: Clock + ?Sized> Clock for std::sync::Arc<C> {
    fn now(&self) -> Now {
        (**self).now()
    }

    fn wall(&self) -> SystemTime {
        (**self).wall()
    }
}
