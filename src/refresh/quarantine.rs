//! Versions that were refused by a step which touches other systems: when they are tried again.

use std::{collections::VecDeque, time::Duration};

use aws_lc_rs::digest::{SHA256, digest};

use super::{RefreshError, trigger::reprobe_pauses};
use crate::{
    keyring::Refused,
    source::{Version, VersionId},
};

/// How many refused versions are remembered.
const REMEMBERED: usize = 16;

/// The refused versions. One is remembered beyond a moment in which the source offers another,
/// or a store whose replicas disagree could make every poll a login.
#[derive(Default)]
pub(super) struct Quarantine {
    waiting: VecDeque<Waiting>,
    /// Whether the newest view offers the first of them.
    is_offered: bool,
}

pub(super) struct Waiting {
    pub(super) version: VersionId,
    pub(super) tries: u32,
    /// On the monotonic clock.
    pub(super) next_try: Duration,
    /// A corrected document under the same name is another one.
    document: [u8; 32],
    error: RefreshError,
    pauses: Box<dyn Iterator<Item = Duration> + Send + Sync>,
}

impl Quarantine {
    /// The refused version that the source offers now.
    pub(super) fn offered(&self) -> Option<&Waiting> {
        self.waiting.front().filter(|_| self.is_offered)
    }

    pub(super) fn nothing_offered(&mut self) {
        self.is_offered = false;
    }

    /// What to say instead of trying, while the version's pause lasts.
    pub(super) fn told_again(&mut self, version: &Version, now: Duration) -> Option<RefreshError> {
        let at = self.position(version)?;
        let waiting = self.waiting.remove(at)?;
        let pause = waiting.next_try.saturating_sub(now);
        let told = (!pause.is_zero()).then(|| waiting.error.quarantined(pause));
        self.waiting.push_front(waiting);
        self.is_offered = true;
        told
    }

    pub(super) fn refused(&mut self, version: &Version, error: &RefreshError, now: Duration) {
        let known = self
            .position(version)
            .and_then(|at| self.waiting.remove(at));
        let mut waiting = known.unwrap_or_else(|| Waiting {
            version: version.id().clone(),
            tries: 0,
            next_try: now,
            document: fingerprint(version),
            error: error.clone(),
            pauses: Box::new(reprobe_pauses()),
        });
        waiting.error = error.clone();
        waiting.tries += 1;
        waiting.next_try = now + waiting.pauses.next().unwrap_or_default();
        self.waiting.push_front(waiting);
        self.waiting.truncate(REMEMBERED);
        self.is_offered = true;
    }

    pub(super) fn passed(&mut self, version: &Version) {
        self.waiting
            .retain(|waiting| waiting.version != *version.id());
        self.is_offered = false;
    }

    fn position(&self, version: &Version) -> Option<usize> {
        let document = fingerprint(version);
        let is_it =
            |waiting: &Waiting| waiting.version == *version.id() && waiting.document == document;
        self.waiting.iter().position(is_it)
    }
}

impl Waiting {
    /// For the status.
    pub(super) fn told(&self) -> Refused {
        (self.version.clone(), self.tries, self.next_try)
    }
}

fn fingerprint(version: &Version) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest(&SHA256, version.document()).as_ref());
    bytes
}
