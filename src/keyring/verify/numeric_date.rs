//! NumericDate (RFC 7519, section 2): seconds since the epoch, perhaps with a fraction.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Deserializer, de::Error};
use serde_json::Number;

const NANOS_PER_SECOND: u32 = 1_000_000_000;

/// Where the time of today's systems ends, in seconds; exactly 2^63.
const END: f64 = i64::MAX as f64;

/// A moment, before or after the epoch. Sums stop at the ends of what it can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NumericDate {
    // Rounded down, so that the order of the fields is that of time.
    seconds: i64,
    /// Less than a second, and added to the seconds.
    nanos: u32,
}

impl NumericDate {
    pub(super) const MIN: Self = Self {
        seconds: i64::MIN,
        nanos: 0,
    };

    const MAX: Self = Self {
        seconds: i64::MAX,
        nanos: NANOS_PER_SECOND - 1,
    };

    pub(super) fn is_negative(self) -> bool {
        self.seconds < 0
    }

    /// Whole seconds, the fraction cut off; 0 before the epoch.
    pub(super) fn seconds(self) -> u64 {
        u64::try_from(self.seconds).unwrap_or(0)
    }

    pub(super) fn plus(self, duration: Duration) -> Self {
        let nanos = self.nanos + duration.subsec_nanos();
        self.seconds
            .checked_add_unsigned(duration.as_secs())
            .and_then(|seconds| seconds.checked_add_unsigned(u64::from(nanos / NANOS_PER_SECOND)))
            .map_or(Self::MAX, |seconds| Self {
                seconds,
                nanos: nanos % NANOS_PER_SECOND,
            })
    }

    pub(super) fn minus(self, duration: Duration) -> Self {
        let borrowed = self.nanos < duration.subsec_nanos();
        let nanos = self.nanos + u32::from(borrowed) * NANOS_PER_SECOND - duration.subsec_nanos();
        self.seconds
            .checked_sub_unsigned(duration.as_secs())
            .and_then(|seconds| seconds.checked_sub_unsigned(u64::from(borrowed)))
            .map_or(Self::MIN, |seconds| Self { seconds, nanos })
    }

    fn from_number(number: &Number) -> Option<Self> {
        if let Some(seconds) = number.as_i64() {
            return Some(Self { seconds, nanos: 0 });
        }
        let number = number.as_f64().filter(|number| number.abs() < END)?;
        let seconds = number.floor();
        let nanos = (number - seconds) * f64::from(NANOS_PER_SECOND);
        Some(Self {
            seconds: seconds as i64,
            nanos: (nanos as u32).min(NANOS_PER_SECOND - 1),
        })
    }
}

impl From<SystemTime> for NumericDate {
    fn from(time: SystemTime) -> Self {
        const EPOCH: NumericDate = NumericDate {
            seconds: 0,
            nanos: 0,
        };
        match time.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(since) => EPOCH.plus(since),
            Err(before) => EPOCH.minus(before.duration()),
        }
    }
}

impl<'de> Deserialize<'de> for NumericDate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // By way of `Number`, which reads numbers under `arbitrary_precision`, too.
        Self::from_number(&Number::deserialize(deserializer)?)
            .ok_or_else(|| D::Error::custom("a time that no clock can show"))
    }
}
