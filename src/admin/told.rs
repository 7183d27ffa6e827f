//! What happened last, in the words of the page.

use serde::Serialize;

use super::report::rfc3339;
use crate::{
    event::{Event, RecentEvent},
    refresh::RefreshError,
};

#[derive(Serialize)]
pub(super) struct Entry {
    at: Option<String>,
    kind: &'static str,
    level: &'static str,
    text: String,
    times: u64,
}

impl Entry {
    pub(super) fn new(told: RecentEvent) -> Self {
        let (kind, level, text) = told_as(&told.event);
        Self {
            at: rfc3339(told.at),
            kind,
            level,
            text,
            times: told.times,
        }
    }
}

/// An event's name, whether it is good or bad news, and what it says.
fn told_as(event: &Event) -> (&'static str, &'static str, String) {
    let refused = |error: &RefreshError| format!("{error}; what was in use stays");
    match event {
        Event::Reloaded {
            version, trigger, ..
        } => (
            "reloaded",
            "good",
            format!("version {version} is in use; asked for by {trigger}"),
        ),
        Event::Unchanged { .. } => ("unchanged", "note", "nothing new".to_owned()),
        Event::ReloadRequested { trigger } => (
            "reload_requested",
            "note",
            format!("asked for by {trigger}"),
        ),
        Event::ReloadFailed(error) => ("reload_failed", "bad", refused(error)),
        Event::ReloadError(error) => ("reload_error", "bad", refused(error)),
        Event::ProbeWarning {
            probe,
            version,
            reason,
        } => (
            "probe_warning",
            "bad",
            format!(
                "probe {probe} refused version {version} at the start, and it is in use: {reason}"
            ),
        ),
        Event::StageSkipped {
            stage,
            version,
            reason,
        } => {
            let version = version.as_ref().map(|it| format!(", version {it},"));
            let version = version.unwrap_or_default();
            (
                "stage_skipped",
                "bad",
                format!("{stage}{version} is left out: {reason}"),
            )
        }
        Event::KeySkipped {
            version, reason, ..
        } => (
            "key_skipped",
            "bad",
            format!("a key of version {version} is left out: {reason}"),
        ),
        Event::PreviousExpired { version, .. } => (
            "previous_expired",
            "note",
            format!("version {version} is trusted no more: its window ended"),
        ),
        Event::PreviousWithdrawn { version } => (
            "previous_withdrawn",
            "note",
            format!("version {version} is trusted no more: the store withdrew it"),
        ),
        Event::WindowCutShort { version, .. } => (
            "window_cut_short",
            "bad",
            format!("the window of a key of version {version} was cut short"),
        ),
        Event::TokensCutOff { version, cut_off } => (
            "tokens_cut_off",
            "bad",
            format!("version {version}: {cut_off}"),
        ),
        Event::Revoked { version } => (
            "revoked",
            "bad",
            format!("version {version} was revoked in this process"),
        ),
        Event::Restored { version } => (
            "restored",
            "note",
            format!("the revocation of version {version} was taken back"),
        ),
        Event::Drained {
            generation,
            version,
        } => (
            "drained",
            "note",
            format!("the last reader of generation {generation} (version {version}) is gone"),
        ),
        Event::PartStale { part, error } => (
            "part_stale",
            "bad",
            format!("part {part} stays as it is: {error}"),
        ),
        Event::Stale { age } => (
            "stale",
            "bad",
            format!("the source has not answered for {} s", age.as_secs()),
        ),
        Event::Missed(lost) => ("missed", "note", format!("{lost} events were lost")),
    }
}
