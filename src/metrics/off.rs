//! What stands in for the meter where the feature `metrics` is off: nothing.

use std::time::Duration;

use crate::{
    keyring::{
        Sample,
        verify::{Verified, VerifyError, VerifyErrorKind},
    },
    refresh::{RefreshError, Trigger},
    snapshot::TrustedKey,
    source::SourceErrorKind,
};

#[derive(Clone, Debug)]
pub(crate) struct Meter;

#[derive(Debug)]
pub(crate) struct Waiting;

impl Meter {
    pub(crate) const SAMPLE_EVERY: Option<Duration> = None;

    pub(crate) fn new(_: &str) -> Self {
        Self
    }

    pub(crate) fn judged(&self, _: &Result<Verified, VerifyError>, _: &[TrustedKey]) {}

    pub(crate) fn refused(&self, _: VerifyErrorKind) {}

    pub(crate) fn looked_up(&self, _is_hit: bool) {}

    pub(crate) fn refreshed(&self, _: Trigger, _: Result<bool, &RefreshError>, _: Duration) {}

    pub(crate) fn fetched(&self, _: Option<SourceErrorKind>) {}

    pub(crate) fn probe_refused(&self, _: &str) {}

    pub(crate) fn window_cut_short(&self) {}

    pub(crate) fn asked_for_key(&self) {}

    pub(crate) fn waiting(&self) -> Waiting {
        Waiting
    }

    pub(crate) fn sample(&self, _: impl FnOnce() -> Sample) {}
}
