//! Times as stores write them.

use std::time::{Duration, SystemTime};

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// A time as [RFC 3339](https://www.rfc-editor.org/rfc/rfc3339) has it.
pub(super) fn rfc3339(text: &str) -> Option<SystemTime> {
    let at = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    // A time before 1970 is as past as 1970 itself.
    let seconds = u64::try_from(at.unix_timestamp()).unwrap_or(0);
    SystemTime::UNIX_EPOCH.checked_add(Duration::new(seconds, at.nanosecond()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn times_with_offsets_and_fractions() {
        let at = |text| rfc3339(text).map(|at| at.duration_since(SystemTime::UNIX_EPOCH).unwrap());
        assert_eq!(at("1970-01-01T00:00:10Z"), Some(Duration::from_secs(10)));
        assert_eq!(
            at("1970-01-01T02:00:10.5+02:00"),
            Some(Duration::from_millis(10_500))
        );
        assert_eq!(at("1915-01-01T00:00:00Z"), Some(Duration::ZERO));
        for bad in [
            "",
            "tomorrow",
            "2030-01-31",
            "2030-01-31T12:00:00",
            "2030-02-31T12:00:00Z",
        ] {
            assert_eq!(at(bad), None, "{bad}");
        }
    }
}
