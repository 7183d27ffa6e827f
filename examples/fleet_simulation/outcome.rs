//! What came of one variant.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{
    day::{Day, OPENING, Variant},
    store::{Rotation, Store},
};

/// The plot's resolution.
pub(crate) const BUCKET: Duration = Duration::from_secs(20);

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caller {
    Honest,
    /// With a token of the key that was withdrawn: a thief, or somebody who must log in anew.
    OfWithdrawnKey,
    Junk,
}

#[derive(Clone, Copy)]
pub(crate) struct Call {
    pub(crate) caller: Caller,
    pub(crate) at: Duration,
    pub(crate) is_cut_off: bool,
}

pub(crate) struct Tally {
    leak: Duration,
    counts: Mutex<Counts>,
}

#[derive(Clone, Default)]
pub(crate) struct Counts {
    pub(crate) verified: u64,
    pub(crate) rejected: u64,
    /// At replicas that can reach the store.
    pub(crate) rejected_connected: u64,
    /// When the first and the last were rejected.
    pub(crate) rejected_between: Option<(Duration, Duration)>,
    /// How many there were, and were rejected, in each bucket.
    pub(crate) over_time: Vec<(u32, u32)>,
    pub(crate) waited: u64,
    pub(crate) revoked_accepted: u64,
    pub(crate) revoked_refused: u64,
    pub(crate) revoked_accepted_for: Duration,
    pub(crate) junk: u64,
    pub(crate) junk_accepted: u64,
}

impl Tally {
    pub(crate) fn new(day: &Day) -> Self {
        let buckets = day.end().as_secs() / BUCKET.as_secs() + 1;
        let counts = Counts {
            over_time: vec![(0, 0); buckets as usize],
            ..Counts::default()
        };
        Self {
            leak: day.leak(),
            counts: Mutex::new(counts),
        }
    }

    pub(crate) fn note_waiting(&self) {
        self.counts().waited += 1;
    }

    pub(crate) fn note(&self, call: Call, is_accepted: bool) {
        let mut counts = self.counts();
        match (call.caller, is_accepted) {
            (Caller::Honest, _) => counts.honest(call, is_accepted),
            (Caller::OfWithdrawnKey, true) => {
                counts.revoked_accepted += 1;
                counts.revoked_accepted_for = counts.revoked_accepted_for.max(call.at - self.leak);
            }
            (Caller::OfWithdrawnKey, false) => counts.revoked_refused += 1,
            (Caller::Junk, _) => {
                counts.junk += 1;
                counts.junk_accepted += u64::from(is_accepted);
            }
        }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    fn honest(&mut self, call: Call, is_accepted: bool) {
        let rejected = u32::from(!is_accepted);
        self.verified += 1;
        self.rejected += u64::from(rejected);
        let bucket = (call.at.as_secs() / BUCKET.as_secs()) as usize;
        if let Some((all, lost)) = self.over_time.get_mut(bucket) {
            *all += 1;
            *lost += rejected;
        }
        if is_accepted {
            return;
        }
        self.rejected_connected += u64::from(!call.is_cut_off);
        let (first, last) = self.rejected_between.unwrap_or((call.at, call.at));
        self.rejected_between = Some((first.min(call.at), last.max(call.at)));
    }
}

pub(crate) struct Outcome {
    pub(crate) variant: Variant,
    pub(crate) counts: Counts,
    /// In each second.
    pub(crate) calls: Vec<u32>,
    pub(crate) throttled: u64,
    pub(crate) rotations: Vec<Rotation>,
}

impl Outcome {
    pub(crate) fn of(variant: Variant, tally: &Tally, store: &Store) -> Self {
        Self {
            variant,
            counts: tally.counts().clone(),
            calls: store.calls(),
            throttled: store.throttled(),
            rotations: store.rotations(),
        }
    }

    /// Calls per second while nothing but polls happens.
    pub(crate) fn steady(&self, day: &Day) -> f64 {
        let quiet = day.quiet();
        let seconds = quiet.start.as_secs() as usize..quiet.end.as_secs() as usize;
        let length = seconds.len() as f64;
        let calls: u32 = self.calls[seconds].iter().sum();
        f64::from(calls) / length
    }

    /// Calls per second at the busiest moment after the start.
    pub(crate) fn peak(&self, day: &Day) -> f64 {
        self.peak_over(day, Duration::from_secs(1))
    }

    /// The same over a longer time, where that is not longer anyway.
    pub(crate) fn peak_over(&self, day: &Day, time: Duration) -> f64 {
        let open = &self.calls[OPENING.as_secs() as usize..];
        let seconds = day.calls_counted_over().max(time.as_secs() as usize);
        let sums = open
            .windows(seconds)
            .map(|window| window.iter().sum::<u32>());
        f64::from(sums.max().unwrap_or_default()) / seconds as f64
    }

    /// Of all rotations: how long it took until the replicas that can reach the store had the new key as
    /// current, in the middle case and the longest.
    pub(crate) fn converged_in(&self) -> (Duration, Duration) {
        let mut took: Vec<_> = self.rotations.iter().map(|it| it.connected_took).collect();
        took.sort();
        let longest = took.last().copied().unwrap_or_default();
        (
            took.get(took.len() / 2).copied().unwrap_or_default(),
            longest,
        )
    }

    /// The longest with those that were cut off.
    pub(crate) fn all_converged_in(&self) -> Duration {
        self.rotations
            .iter()
            .map(|it| it.took)
            .max()
            .unwrap_or_default()
    }

    pub(crate) fn has_converged(&self, day: &Day) -> bool {
        self.rotations.iter().all(|it| it.converged == day.replicas)
    }
}
