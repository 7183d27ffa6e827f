//! Metrics through the facade of the crate `metrics`, for whatever recorder the program installs:
//! Prometheus, OpenTelemetry, StatsD.
//!
//! **Install the recorder before [`build`](crate::Builder::build)**: a keyring takes its handles there,
//! once, so that counting a verification costs neither an allocation nor a lock. What is built before
//! counts into nothing.
//!
//! ```no_run
//! # use tower_secrets::{Keyring, source::BoxSource};
//! # struct App;
//! # impl<'de> serde::Deserialize<'de> for App {
//! #     fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> { Ok(App) }
//! # }
//! # async fn start(recorder: impl metrics::Recorder + Sync + 'static, source: BoxSource) -> Result<(), Box<dyn std::error::Error>> {
//! metrics::set_global_recorder(recorder).map_err(|_| "there is another")?; // or the exporter's `install`
//! let keyring = Keyring::<App>::builder(source).build().await?; // and only then the keyring
//! # Ok(())
//! # }
//! ```
//!
//! Each metric has the label `secret`, the name of the [source](crate::source::Source::name). Two keyrings of one
//! process should not share one: their gauges would overwrite each other.
//!
//! | metric | kind | further labels |
//! |---|---|---|
//! | `tower_secrets_refreshes_total` | counter | `trigger`: [`Trigger::as_str`](crate::refresh::Trigger::as_str); `outcome`: `swapped`, `unchanged`, `failed_fetch`, `failed_parse`, `failed_keys`, `failed_prepare`, `failed_probe`, or `quarantined` where a version that was refused before was not tried again |
//! | `tower_secrets_refresh_duration_seconds` | histogram | |
//! | `tower_secrets_consecutive_failures` | gauge | |
//! | `tower_secrets_source_calls_total` | counter | `outcome`: `ok`, or [`SourceErrorKind::as_str`](crate::source::SourceErrorKind::as_str) |
//! | `tower_secrets_probe_failures_total` | counter | `probe`: the name given to the builder |
//! | `tower_secrets_snapshot_age_seconds` | gauge | |
//! | `tower_secrets_last_answer_timestamp_seconds` | gauge | |
//! | `tower_secrets_generation` | gauge | |
//! | `tower_secrets_version_info` | gauge | `version`; `stage`: `current`, `previous`, `pending` |
//! | `tower_secrets_window_remaining_seconds` | gauge | |
//! | `tower_secrets_windows_cut_short_total` | counter | |
//! | `tower_secrets_verifications_total` | counter | `outcome`: `accepted`, or [`VerifyErrorKind::as_str`](crate::VerifyErrorKind::as_str); `stage`: that of the key where it was accepted, else `none` |
//! | `tower_secrets_token_cache_total` | counter | `result`: `hit`, `miss` |
//! | `tower_secrets_unknown_key_refreshes_total` | counter | |
//! | `tower_secrets_unknown_key_waiters` | gauge | |
//! | `tower_secrets_requests_in_flight` | gauge | `stage`: `current`, `previous`, `older` |
//!
//! No label grows without bound. The label `version` is the only one that a rotation adds values to:
//! what is no longer in its stage is set to 0, and a process that has shown 256 versions calls
//! all later ones `other`. The number of secrets is yours, and that of probes your builder's.
//!
//! Gauges are set when something happens and every 15 s; [`Keyring::record_metrics`](crate::Keyring::record_metrics) sets them when
//! somebody scrapes. A recorder that drops series which rest for a while loses the counters of a quiet
//! service for good: switch that off for counters and histograms.
//!
//! A dashboard for Grafana and alert rules for Prometheus are in `examples/grafana` and
//! `examples/prometheus` of the repository.

use ::metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

mod meter;
pub(crate) use meter::{Meter, Waiting};

mod versions;

enum Kind {
    Counter,
    Gauge,
    Histogram,
}

struct Metric {
    name: &'static str,
    kind: Kind,
    unit: Unit,
    description: &'static str,
}

/// Of each row a public name, whose docs are what the recorder is told of it.
macro_rules! table {
    ($($(#[doc = $line:literal])+ $id:ident: $kind:ident, $unit:ident = $name:literal;)+) => {
        $($(#[doc = $line])+ pub const $id: &str = $name;)+

        const TABLE: &[Metric] = &[$(Metric {
            name: $name,
            kind: Kind::$kind,
            unit: Unit::$unit,
            description: concat!($($line),+),
        }),+];
    };
}

table! {
    /// Refreshes that have ended, by what asked for them and what they came to.
    REFRESHES: Counter, Count = "tower_secrets_refreshes_total";
    /// How long a refresh took, fetch and probes included.
    REFRESH_DURATION: Histogram, Seconds = "tower_secrets_refresh_duration_seconds";
    /// How many refreshes in a row did not end well.
    CONSECUTIVE_FAILURES: Gauge, Count = "tower_secrets_consecutive_failures";
    /// How often the source was asked, by what it answered. One fetch may be more than one call of a store.
    SOURCE_CALLS: Counter, Count = "tower_secrets_source_calls_total";
    /// How often a probe refused a version, by the probe's name.
    PROBE_FAILURES: Counter, Count = "tower_secrets_probe_failures_total";
    /// How long ago the source last vouched for what is in use.
    SNAPSHOT_AGE: Gauge, Seconds = "tower_secrets_snapshot_age_seconds";
    /// When the source last answered, in seconds since the epoch. For alerts: it tells of a loop that hangs, too.
    LAST_ANSWER: Gauge, Seconds = "tower_secrets_last_answer_timestamp_seconds";
    /// The newest snapshot's generation.
    GENERATION: Gauge, Count = "tower_secrets_generation";
    /// 1 for each version in its stage, 0 for one that was there before.
    VERSION_INFO: Gauge, Count = "tower_secrets_version_info";
    /// How long the previous version is still trusted; 0 where there is none.
    WINDOW_REMAINING: Gauge, Seconds = "tower_secrets_window_remaining_seconds";
    /// Windows that ended early, because the key that had replaced theirs was replaced too.
    WINDOWS_CUT_SHORT: Counter, Count = "tower_secrets_windows_cut_short_total";
    /// Tokens that were judged. One that waited for a refresh is judged again.
    VERIFICATIONS: Counter, Count = "tower_secrets_verifications_total";
    /// Look-ups in the memory of verified tokens. Tokens that it is of no use for, as of HMAC keys, are not looked up.
    TOKEN_CACHE: Counter, Count = "tower_secrets_token_cache_total";
    /// Refreshes that tokens of unknown keys have asked for.
    UNKNOWN_KEY_REFRESHES: Counter, Count = "tower_secrets_unknown_key_refreshes_total";
    /// Requests that wait for such a refresh now.
    UNKNOWN_KEY_WAITERS: Gauge, Count = "tower_secrets_unknown_key_waiters";
    /// How many times requests and streams hold the current version, the one before it, and older ones. A request may hold one more than once; 0 is exact.
    REQUESTS_IN_FLIGHT: Gauge, Count = "tower_secrets_requests_in_flight";
}

/// Tells the recorder what each metric means, and its unit.
fn describe() {
    for metric in TABLE {
        let Metric { name, unit, .. } = *metric;
        let description = metric.description.trim_start();
        match metric.kind {
            Kind::Counter => describe_counter!(name, unit, description),
            Kind::Gauge => describe_gauge!(name, unit, description),
            Kind::Histogram => describe_histogram!(name, unit, description),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_in_the_docs_is_the_one_that_is_exported() {
        let source = include_str!("metrics.rs");
        let documented: Vec<_> = source
            .lines()
            .filter_map(|line| line.strip_prefix("//! | `"))
            .map(|row| row.split(" | ").take(2).collect::<Vec<_>>())
            .collect();
        let exported: Vec<_> = TABLE
            .iter()
            .map(|metric| {
                let kind = match metric.kind {
                    Kind::Counter => "counter",
                    Kind::Gauge => "gauge",
                    Kind::Histogram => "histogram",
                };
                (format!("{}`", metric.name), kind)
            })
            .collect();
        let exported: Vec<_> = exported
            .iter()
            .map(|(name, kind)| vec![name.as_str(), *kind])
            .collect();
        assert_eq!(documented, exported);
    }

    #[test]
    fn names_follow_the_convention() {
        for metric in TABLE {
            let is_counter = matches!(metric.kind, Kind::Counter);
            let name = metric.name;
            assert!(name.starts_with("tower_secrets_"), "{name}");
            assert_eq!(name.ends_with("_total"), is_counter, "{name}");
            let in_seconds = metric.unit == Unit::Seconds;
            assert_eq!(name.ends_with("_seconds"), in_seconds, "{name}");
        }
    }
}
