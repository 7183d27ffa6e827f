//! AWS's times.

use std::time::SystemTime;

use aws_sdk_secretsmanager::primitives::DateTime;

/// `None` where it is out of the range of the system's.
pub(super) fn system_time(time: DateTime) -> Option<SystemTime> {
    time.try_into().ok()
}
