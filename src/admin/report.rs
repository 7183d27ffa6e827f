//! The state of all keyrings as JSON. Its shape is a promise: [the module's documentation](super#status).

use std::{
    sync::LazyLock,
    time::{Duration, SystemTime},
};

use serde::Serialize;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{row::Row, told::Entry};
use crate::keyring::{
    CutOff, Failure, InUse, NotSafe, Quarantine, ReplacedStatus, Status, VersionStatus,
};

pub(super) const SCHEMA: u32 = 1;

static INSTANCE: LazyLock<String> = LazyLock::new(|| format!("{:016x}", fastrand::u64(..)));

#[derive(Serialize)]
pub(super) struct Report {
    schema: u32,
    instance: &'static str,
    at: Option<String>,
    safe_to_revoke: bool,
    may_revoke: bool,
    keyrings: Vec<Secret>,
}

impl Report {
    pub(super) fn new(rows: &[Row], may_revoke: bool) -> Self {
        let keyrings: Vec<_> = rows.iter().map(Secret::new).collect();
        let now = rows
            .first()
            .map_or_else(SystemTime::now, |row| row.keyring.now());
        Self {
            schema: SCHEMA,
            instance: &INSTANCE,
            at: rfc3339(now),
            safe_to_revoke: !keyrings.is_empty() && keyrings.iter().all(|it| it.safe_to_revoke),
            may_revoke,
            keyrings,
        }
    }
}

#[derive(Serialize)]
struct Secret {
    name: String,
    source: String,
    is_running: bool,
    generation: u64,
    safe_to_revoke: bool,
    reasons: Vec<Reason>,
    warnings: Vec<Reason>,
    current: Version,
    previous: Option<Version>,
    pending: Option<Version>,
    replaced: Vec<Replaced>,
    last_success: Option<String>,
    last_failure: Option<Failed>,
    consecutive_failures: u32,
    staleness_seconds: f64,
    is_stale: bool,
    refuses: bool,
    is_degraded: bool,
    quarantine: Option<Waiting>,
    stale_parts: Vec<StalePart>,
    refused_parts: Vec<Waiting>,
    recent: Vec<Entry>,
}

impl Secret {
    fn new(row: &Row) -> Self {
        let now = row.keyring.now();
        let status = row.keyring.state();
        let is_running = row.keyring.is_running();
        let not_safe = status.safe_to_revoke().err().unwrap_or_default();
        let mut reasons: Vec<_> = not_safe.iter().map(Reason::new).collect();
        if !is_running {
            reasons.push(Reason::stopped());
        }
        let Status {
            source,
            generation,
            current,
            previous,
            pending,
            last_success,
            last_failure,
            consecutive_failures,
            staleness,
            is_stale,
            refuses,
            is_degraded,
            quarantine,
            stale_parts,
            refused_parts,
            replaced,
            recent,
        } = status;
        let version = |version| Version::new(version, now);
        let warnings = replaced.iter().flat_map(|it| {
            let cut_offs = it.cut_offs.iter();
            cut_offs.map(|cut_off| Reason::cut_off(cut_off).of(it.id.to_string()))
        });
        let stale_parts = stale_parts.into_iter().map(|it| StalePart {
            part: it.part,
            since: rfc3339(it.since),
            text: it.error.to_string(),
        });
        let refused_parts = refused_parts.into_iter();
        let refused_parts = refused_parts.map(|it| Waiting::new(Some(it.part), it.quarantine));
        Self {
            name: row.name.clone(),
            source,
            is_running,
            generation,
            safe_to_revoke: reasons.is_empty(),
            reasons,
            warnings: warnings.collect(),
            current: version(current),
            previous: previous.map(version),
            pending: pending.map(version),
            replaced: replaced.into_iter().map(Replaced::new).collect(),
            last_success: rfc3339(last_success),
            last_failure: last_failure.map(Failed::new),
            consecutive_failures,
            staleness_seconds: seconds(staleness),
            is_stale,
            refuses,
            is_degraded,
            quarantine: quarantine.map(|it| Waiting::new(None, it)),
            stale_parts: stale_parts.collect(),
            refused_parts: refused_parts.collect(),
            recent: recent.into_iter().map(Entry::new).collect(),
        }
    }
}

#[derive(Serialize)]
struct Version {
    id: String,
    key_ids: Vec<String>,
    since: Option<String>,
    age_seconds: Option<f64>,
    expires_in_seconds: Option<f64>,
    is_revoked: bool,
    latest_exp: Option<String>,
}

impl Version {
    fn new(version: VersionStatus, now: SystemTime) -> Self {
        let since = version.age.and_then(|age| now.checked_sub(age));
        Self {
            id: version.id.to_string(),
            key_ids: version.key_ids.iter().map(ToString::to_string).collect(),
            since: since.and_then(rfc3339),
            age_seconds: version.age.map(seconds),
            expires_in_seconds: version.expires_in.map(seconds),
            is_revoked: version.is_revoked,
            latest_exp: version.latest_exp.and_then(rfc3339),
        }
    }
}

#[derive(Serialize)]
struct Replaced {
    id: String,
    replaced_at: Option<String>,
    safe_to_revoke: bool,
    reasons: Vec<Reason>,
    holders: usize,
    revoke_upstream_not_before: Option<String>,
    latest_exp: Option<String>,
    warnings: Vec<Reason>,
}

impl Replaced {
    fn new(replaced: ReplacedStatus) -> Self {
        let reasons: Vec<_> = replaced.in_use.iter().map(Reason::in_use).collect();
        Self {
            id: replaced.id.to_string(),
            replaced_at: replaced.replaced_at.and_then(rfc3339),
            safe_to_revoke: reasons.is_empty(),
            holders: reasons.iter().find_map(|it| it.holders).unwrap_or(0),
            reasons,
            revoke_upstream_not_before: replaced.revoke_upstream_not_before.and_then(rfc3339),
            latest_exp: replaced.latest_exp.and_then(rfc3339),
            warnings: replaced.cut_offs.iter().map(Reason::cut_off).collect(),
        }
    }
}

#[derive(Serialize)]
struct Reason {
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    holders: Option<usize>,
}

impl Reason {
    fn new(reason: &NotSafe) -> Self {
        match reason {
            NotSafe::Stale { staleness } => Self {
                kind: "stale",
                version: None,
                text: reason.to_string(),
                seconds: Some(seconds(*staleness)),
                holders: None,
            },
            NotSafe::InUse { version, in_use } => Self::in_use(in_use).of(version.to_string()),
        }
    }

    /// Beside those of other versions.
    fn of(self, version: String) -> Self {
        Self {
            text: format!("version {version}: {}", self.text),
            version: Some(version),
            ..self
        }
    }

    fn cut_off(cut_off: &CutOff) -> Self {
        Self {
            kind: "tokens_cut_off",
            version: None,
            text: cut_off.to_string(),
            seconds: Some(seconds(cut_off.early_by())),
            holders: None,
        }
    }

    /// It learns of no rotation any more.
    fn stopped() -> Self {
        Self {
            kind: "stopped",
            version: None,
            text: "it is refreshed no more".to_owned(),
            seconds: None,
            holders: None,
        }
    }

    fn in_use(in_use: &InUse) -> Self {
        let (kind, time, holders) = match in_use {
            InUse::Current => ("current", None, None),
            InUse::Trusted { ends_in } => ("trusted", Some(*ends_in), None),
            InUse::SessionKey { ends_in } => ("session_key", Some(*ends_in), None),
            InUse::Held { holders } => ("held", None, Some(*holders)),
            InUse::PreparedResource => ("prepared_resource", None, None),
            InUse::TriedUpstream { ago } => ("tried_upstream", Some(*ago), None),
        };
        Self {
            kind,
            version: None,
            text: in_use.to_string(),
            seconds: time.map(seconds),
            holders,
        }
    }
}

#[derive(Serialize)]
struct Failed {
    at: Option<String>,
    step: Option<&'static str>,
    probe: Option<String>,
    part: Option<String>,
    version: Option<String>,
    text: String,
}

impl Failed {
    fn new(failure: Failure) -> Self {
        let Failure { at, error } = failure;
        Self {
            at: rfc3339(at),
            step: error.failed_step().map(|step| step.as_str()),
            probe: error.probe_name().map(str::to_owned),
            part: error.part().map(str::to_owned),
            version: error.version().map(ToString::to_string),
            text: error.to_string(),
        }
    }
}

#[derive(Serialize)]
struct Waiting {
    part: Option<String>,
    version: String,
    tries: u32,
    next_try_in_seconds: f64,
}

impl Waiting {
    fn new(part: Option<String>, quarantine: Quarantine) -> Self {
        Self {
            part,
            version: quarantine.version.to_string(),
            tries: quarantine.tries,
            next_try_in_seconds: seconds(quarantine.next_try_in),
        }
    }
}

#[derive(Serialize)]
struct StalePart {
    part: String,
    since: Option<String>,
    text: String,
}

/// To the millisecond: nobody wants to read more.
fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1000.0).round() / 1000.0
}

/// `None` for a time that the format has no words for, beyond the year 9999.
pub(super) fn rfc3339(at: SystemTime) -> Option<String> {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    let millis = i128::try_from(since.as_millis()).ok()?;
    let at = OffsetDateTime::from_unix_timestamp_nanos(millis.checked_mul(1_000_000)?).ok()?;
    at.format(&Rfc3339).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_utc_and_absurd_ones_are_none() {
        let at = |millis| SystemTime::UNIX_EPOCH + Duration::from_millis(millis);
        assert_eq!(rfc3339(at(0)).as_deref(), Some("1970-01-01T00:00:00Z"));
        let text = rfc3339(at(1_896_091_200_500));
        assert_eq!(text.as_deref(), Some("2030-01-31T12:00:00.5Z"));
        assert_eq!(rfc3339(at(1_000_000_000_000_000)), None);
        assert_eq!(
            rfc3339(SystemTime::UNIX_EPOCH - Duration::from_secs(1)),
            None
        );
        assert_eq!(seconds(Duration::from_micros(1_234_567)), 1.235);
    }
}
