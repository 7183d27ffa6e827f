//! NumericDate (RFC 7519, section 2): seconds since the epoch, perhaps with a fraction.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Deserializer, de::Error};
use serde_json::Number;

const NANOS_PER_SECOND: i128 = 1_000_000_000;

/// Where the time of today's systems ends, in seconds.
const END: f64 = i64::MAX as f64;

/// Nanoseconds since the epoch. Sums with any [`Duration`] are far from overflow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NumericDate(i128);

impl NumericDate {
    pub(super) const MIN: Self = Self(i128::MIN);

    pub(super) fn is_negative(self) -> bool {
        self.0 < 0
    }

    pub(super) fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(nanos(duration)))
    }

    pub(super) fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(nanos(duration)))
    }

    /// Whole seconds, the fraction cut off; 0 before the epoch.
    pub(super) fn seconds(self) -> u64 {
        u64::try_from(self.0 / NANOS_PER_SECOND).unwrap_or(0)
    }

    fn from_number(number: &Number) -> Option<Self> {
        if let Some(whole) = number.as_i64() {
            return Some(Self(i128::from(whole) * NANOS_PER_SECOND));
        }
        let seconds = number.as_f64().filter(|seconds| seconds.abs() < END)?;
        // Apart, because their product would round to some hundred nanoseconds.
        let whole = seconds.trunc();
        let rest = (seconds - whole) * 1e9;
        Some(Self(whole as i128 * NANOS_PER_SECOND + rest as i128))
    }
}

impl From<SystemTime> for NumericDate {
    fn from(time: SystemTime) -> Self {
        Self(match time.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(since) => nanos(since),
            Err(before) => -nanos(before.duration()),
        })
    }
}

impl<'de> Deserialize<'de> for NumericDate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // By way of `Number`, which reads numbers under `arbitrary_precision`, too.
        Self::from_number(&Number::deserialize(deserializer)?)
            .ok_or_else(|| D::Error::custom("a time that no clock can show"))
    }
}

/// At most 2^64 seconds, so it always fits.
fn nanos(duration: Duration) -> i128 {
    i128::try_from(duration.as_nanos()).unwrap_or(i128::MAX)
}
