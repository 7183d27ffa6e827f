//! What was seen, and the table at the end.

use std::{
    collections::BTreeMap,
    fmt::{self, Display},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// A call counts as inside a rotation until so long after the swap.
const AFTER_SWAP: Duration = Duration::from_millis(500);

#[derive(Clone, Default)]
pub(crate) struct Tally(Arc<Mutex<Seen>>);

#[derive(Default)]
pub(crate) struct Seen {
    calls: Vec<(Instant, Duration)>,
    failures: BTreeMap<&'static str, u64>,
    examples: Vec<String>,
    expected_refusals: u64,
    breach_refusals: u64,
    with_previous: u64,
    torn: u64,
    generations: BTreeMap<u64, String>,
    swaps: Vec<Instant>,
    triggers: BTreeMap<&'static str, u64>,
    refused_bundles: u64,
}

impl Tally {
    pub(crate) fn call(&self, start: Instant, result: Result<(), &'static str>) {
        let mut seen = self.seen();
        seen.calls.push((start, start.elapsed()));
        if let Err(cause) = result {
            *seen.failures.entry(cause).or_default() += 1;
        }
    }

    pub(crate) fn failure(&self, cause: &'static str) {
        *self.seen().failures.entry(cause).or_default() += 1;
    }

    /// Keeps the first few texts, to show what a count means.
    pub(crate) fn example(&self, what: &str, error: impl Display) {
        let mut seen = self.seen();
        if seen.examples.len() < 5 {
            seen.examples.push(format!("{what}: {error}"));
        }
    }

    pub(crate) fn refusal(&self, is_expected: bool) {
        if is_expected {
            self.seen().expected_refusals += 1;
        } else {
            self.failure("token of a trusted key refused");
        }
    }

    pub(crate) fn breach_refusal(&self) {
        self.seen().breach_refusals += 1;
    }

    pub(crate) fn stage(&self, is_previous: bool) {
        self.seen().with_previous += u64::from(is_previous);
    }

    pub(crate) fn torn(&self) {
        self.seen().torn += 1;
    }

    /// Whether the generation has had this version whenever it was seen.
    pub(crate) fn generation(&self, generation: u64, version: &str) -> bool {
        let mut seen = self.seen();
        let known = seen
            .generations
            .entry(generation)
            .or_insert_with(|| version.to_owned());
        known == version
    }

    pub(crate) fn swap(&self, trigger: &'static str) {
        let mut seen = self.seen();
        seen.swaps.push(Instant::now());
        *seen.triggers.entry(trigger).or_default() += 1;
    }

    pub(crate) fn refused_bundle(&self) {
        self.seen().refused_bundles += 1;
    }

    pub(crate) fn calls(&self) -> usize {
        self.seen().calls.len()
    }

    pub(crate) fn failures(&self) -> u64 {
        self.seen().failures.values().sum()
    }

    pub(crate) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    /// What keeps the run from being a success.
    pub(crate) fn faults(&self, least_calls: usize, swaps: usize) -> Vec<String> {
        let mut faults = Vec::new();
        let mut check = |is_good: bool, fault: String| {
            if !is_good {
                faults.push(fault);
            }
        };
        check(self.failures.is_empty(), "there were failures".to_owned());
        check(self.torn == 0, "there were torn snapshots".to_owned());
        let calls = self.calls.len();
        check(
            calls >= least_calls,
            format!("{calls} calls are fewer than {least_calls}"),
        );
        check(
            self.swaps.len() == swaps,
            format!("{} swaps instead of {swaps}", self.swaps.len()),
        );
        check(
            self.refused_bundles == 1,
            "the bad bundle was not refused".to_owned(),
        );
        check(
            self.breach_refusals > 0,
            "no token was refused after the breach".to_owned(),
        );
        check(
            self.triggers.contains_key("sighup"),
            "no reload came by SIGHUP".to_owned(),
        );
        faults
    }

    /// Latencies inside and outside of rotations, each sorted.
    fn latencies(&self) -> [Vec<Duration>; 2] {
        let mut sorted = [Vec::new(), Vec::new()];
        for &(start, took) in &self.calls {
            let is_inside = self
                .swaps
                .iter()
                .any(|&swap| start <= swap + AFTER_SWAP && start + took >= swap);
            sorted[usize::from(!is_inside)].push(took);
        }
        sorted.iter_mut().for_each(|side| side.sort_unstable());
        sorted
    }
}

fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let last = sorted.len().saturating_sub(1);
    sorted
        .get(last * percent / 100)
        .copied()
        .unwrap_or_default()
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut row = |name: &str, value: &dyn Display| writeln!(f, "  {name:<44} {value}");
        row("calls", &self.calls.len())?;
        row("failures", &self.failures.values().sum::<u64>())?;
        for (cause, count) in &self.failures {
            row(&format!("  {cause}"), count)?;
        }
        for example in &self.examples {
            row("  for example", example)?;
        }
        row("torn snapshots", &self.torn)?;
        row("answered on the previous key", &self.with_previous)?;
        row("expected refusals (key ended)", &self.expected_refusals)?;
        row("  after the breach, asked directly", &self.breach_refusals)?;
        row("bad bundles refused by a probe", &self.refused_bundles)?;
        row("generations seen", &self.generations.len())?;
        row("reloads", &self.swaps.len())?;
        for (trigger, count) in &self.triggers {
            row(&format!("  by {trigger}"), count)?;
        }
        for (name, side) in ["inside", "outside"].iter().zip(self.latencies()) {
            let (p50, p99) = (percentile(&side, 50), percentile(&side, 99));
            let text = format!("{p50:.1?} / {p99:.1?}  ({} calls)", side.len());
            row(&format!("p50 / p99 {name} of rotations"), &text)?;
        }
        Ok(())
    }
}
