//! When a window began that this process did not see begin.

use std::time::SystemTime;

/// How a process that starts after a rotation takes the moment at which it happened.
///
/// A process that sees the flip uses the moment it saw it. One that starts later has the store's
/// word only, and stores write down no time at which a label moved: AWS knows when the secret was
/// last changed in any way, when the value was *put* (as pending, maybe days before), and, where it
/// runs the rotation itself, when that ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WindowStart {
    /// The latest moment possible: the secret's last change. Valid tokens are not refused; the old
    /// key may be trusted for up to one window too long after a restart.
    #[default]
    Lenient,
    /// The earliest moment that fits: the later of the current value's creation and the last
    /// rotation run by the store. The old key is not trusted for too long; where the value was
    /// staged long before its flip, valid tokens are refused after a restart. The
    /// [`activation_delay`](crate::Builder::activation_delay) of a process that starts counts from it too.
    ///
    /// After a rollback current is older than previous, and its creation says nothing of the flip:
    /// it is left out then.
    Strict,
}

/// What a store says of times, each where it says so.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Dates {
    /// When current's value was written.
    pub(crate) current_created: Option<SystemTime>,
    /// When previous' value was written.
    pub(crate) previous_created: Option<SystemTime>,
    /// When the secret was changed last, in any way.
    pub(crate) last_changed: Option<SystemTime>,
    /// When the store's own rotation ended last.
    pub(crate) last_rotated: Option<SystemTime>,
}

impl WindowStart {
    /// When previous stopped being current; `None` where no date tells, so that the window starts
    /// with the process.
    pub(crate) fn of(self, dates: &Dates) -> Option<SystemTime> {
        match self {
            Self::Lenient => dates.last_changed,
            Self::Strict => {
                let is_rollback = dates.current_created < dates.previous_created;
                let created = dates.current_created.filter(|_| !is_rollback);
                created.max(dates.last_rotated)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(hour: Option<u64>) -> Option<SystemTime> {
        hour.map(|hour| SystemTime::UNIX_EPOCH + Duration::from_secs(hour * 3600))
    }

    #[test]
    fn the_rule() {
        type Hour = Option<u64>;
        struct Case {
            what: &'static str,
            /// Current's creation, previous', last change, last rotation.
            dates: [Hour; 4],
            lenient: Hour,
            strict: Hour,
        }
        let case = |what, dates, lenient, strict| Case {
            what,
            dates,
            lenient,
            strict,
        };
        let cases = [
            case(
                "put and flipped at once, no rotation by the store",
                [Some(10), Some(1), Some(10), None],
                Some(10),
                Some(10),
            ),
            case(
                "staged days before the flip, which the store ran",
                [Some(10), Some(1), Some(60), Some(60)],
                Some(60),
                Some(60),
            ),
            case(
                "staged days before the flip, which a person did",
                [Some(10), Some(1), Some(60), None],
                Some(60),
                Some(10),
            ),
            case(
                "a tag was changed long after the flip",
                [Some(10), Some(1), Some(90), Some(11)],
                Some(90),
                Some(11),
            ),
            case(
                "a direct put after the last rotation that the store ran",
                [Some(30), Some(10), Some(30), Some(11)],
                Some(30),
                Some(30),
            ),
            case(
                "a rollback",
                [Some(1), Some(10), Some(20), None],
                Some(20),
                None,
            ),
            case(
                "a rollback after a rotation that the store ran",
                [Some(1), Some(10), Some(20), Some(11)],
                Some(20),
                Some(11),
            ),
            case(
                "both put in one second",
                [Some(10), Some(10), Some(10), None],
                Some(10),
                Some(10),
            ),
            case(
                "only the value's date",
                [Some(10), None, None, None],
                None,
                Some(10),
            ),
            // Whether it is a rollback cannot be told, so the date is not used.
            case(
                "only previous' date",
                [None, Some(10), None, None],
                None,
                None,
            ),
            case("no date at all", [None; 4], None, None),
        ];
        for case in cases {
            let [current, previous, changed, rotated] = case.dates.map(at);
            let dates = Dates {
                current_created: current,
                previous_created: previous,
                last_changed: changed,
                last_rotated: rotated,
            };
            assert_eq!(
                WindowStart::Lenient.of(&dates),
                at(case.lenient),
                "{}",
                case.what
            );
            assert_eq!(
                WindowStart::Strict.of(&dates),
                at(case.strict),
                "{}",
                case.what
            );
        }
    }
}
