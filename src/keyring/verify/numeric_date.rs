//! NumericDate (RFC 7519, section 2): seconds since the epoch, perhaps with a fraction.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use serde::{
    Deserialize, Deserializer,
    de::{Error, Visitor},
};

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

    const MAX: Self = Self::whole(i64::MAX);

    pub(super) const fn whole(seconds: i64) -> Self {
        Self { seconds, nanos: 0 }
    }

    pub(super) fn is_negative(self) -> bool {
        self.seconds < 0
    }

    /// Whole seconds, the fraction cut off; 0 before the epoch.
    pub(crate) fn seconds(self) -> u64 {
        u64::try_from(self.seconds).unwrap_or(0)
    }

    /// How long after that moment it is; nothing where it is over.
    pub(crate) fn since(self, wall: SystemTime) -> Duration {
        let Self { seconds, nanos } = Self::from(wall);
        let rest = |date: &Self| {
            i128::from(date.seconds) * i128::from(NANOS_PER_SECOND) + i128::from(date.nanos)
        };
        let rest = rest(&self) - rest(&Self { seconds, nanos });
        u64::try_from(rest.max(0)).map_or(Duration::MAX, Duration::from_nanos)
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

    pub(crate) fn minus(self, duration: Duration) -> Self {
        let borrowed = self.nanos < duration.subsec_nanos();
        let nanos = self.nanos + u32::from(borrowed) * NANOS_PER_SECOND - duration.subsec_nanos();
        self.seconds
            .checked_sub_unsigned(duration.as_secs())
            .and_then(|seconds| seconds.checked_sub_unsigned(u64::from(borrowed)))
            .map_or(Self::MIN, |seconds| Self { seconds, nanos })
    }

    fn from_f64(number: f64) -> Option<Self> {
        let seconds = number.floor();
        let nanos = (number - seconds) * f64::from(NANOS_PER_SECOND);
        (number.abs() < END).then_some(Self {
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
        // Not `deserialize_any`: under serde_json's `arbitrary_precision` that gives numbers as maps.
        deserializer.deserialize_f64(NumberVisitor)
    }
}

struct NumberVisitor;

impl Visitor<'_> for NumberVisitor {
    type Value = NumericDate;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a time that a clock can show")
    }

    fn visit_u64<E: Error>(self, seconds: u64) -> Result<NumericDate, E> {
        let seconds = i64::try_from(seconds).map_err(E::custom)?;
        self.visit_i64(seconds)
    }

    fn visit_i64<E>(self, seconds: i64) -> Result<NumericDate, E> {
        Ok(NumericDate::whole(seconds))
    }

    fn visit_f64<E: Error>(self, seconds: f64) -> Result<NumericDate, E> {
        NumericDate::from_f64(seconds).ok_or_else(|| E::custom("a time that no clock can show"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn just_before_the_epoch_is_less_than_a_second_before_it() {
        // Too small a part of a second for the number itself: what is left of it is 1.
        let date = NumericDate::from_f64(-1e-20);
        let nanos = NANOS_PER_SECOND - 1;
        assert_eq!(date, Some(NumericDate { seconds: -1, nanos }));
    }

    #[test]
    fn fractions_count() {
        let date = NumericDate::from_f64(1.25);
        let wall = SystemTime::UNIX_EPOCH + Duration::from_millis(500);
        let rest = date.map(|date| date.since(wall));
        assert_eq!(rest, Some(Duration::from_millis(750)));
    }
}
