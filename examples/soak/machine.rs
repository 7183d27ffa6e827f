//! What the process holds of the machine. Linux tells; elsewhere it is not measured, and says so.

use std::{fmt, fs, time::Duration};

/// How much more memory is no leak, in percent: after the whole warm-up, and in a run too short for it,
/// where pools are still filling.
const MOST_GROWTH: u64 = 5;
const MOST_GROWTH_IN_SHORT: u64 = 20;
/// Before it is through, caches and pools fill.
const WARM_UP: Duration = Duration::from_secs(120);
/// How many samples what is warm and the end are the median of.
const SAMPLES: usize = 9;

/// Resident memory at the start, after the warm-up, and at the end. The last two are compared.
pub(crate) struct Memory {
    warm_up: Duration,
    start: Option<u64>,
    warm: Vec<u64>,
    end: Vec<u64>,
}

impl Memory {
    pub(crate) fn begin(length: Duration) -> Self {
        Self {
            warm_up: WARM_UP.min(length / 2),
            start: resident(),
            warm: Vec::new(),
            end: Vec::new(),
        }
    }

    pub(crate) fn sample(&mut self, elapsed: Duration) {
        let Some(bytes) = resident().filter(|_| elapsed >= self.warm_up) else {
            return;
        };
        if self.warm.len() < SAMPLES {
            self.warm.push(bytes);
        }
        if self.end.len() == SAMPLES {
            self.end.remove(0);
        }
        self.end.push(bytes);
    }

    fn ends(&self) -> Option<(u64, u64)> {
        Some((median(&self.warm)?, median(&self.end)?))
    }

    /// What keeps the run from being a success.
    pub(crate) fn fault(&self) -> Option<String> {
        let (warm, end) = self.ends()?;
        let is_short = self.warm_up < WARM_UP;
        let percent = if is_short {
            MOST_GROWTH_IN_SHORT
        } else {
            MOST_GROWTH
        };
        let most = warm + warm * percent / 100;
        (end > most).then(|| format!("memory has grown from {warm} to {end} bytes"))
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((start, (warm, end))) = self.start.zip(self.ends()) else {
            return write!(f, "{:<44} not measured here", "resident memory");
        };
        let mib = |bytes: u64| bytes as f64 / (1024.0 * 1024.0);
        let growth = (end as f64 / warm as f64 - 1.0) * 100.0;
        write!(
            f,
            "{:<44} {:.1} MiB at the start, {:.1} after {} s, {:.1} at the end: {growth:+.1} %",
            "resident memory",
            mib(start),
            mib(warm),
            self.warm_up.as_secs(),
            mib(end),
        )
    }
}

fn median(samples: &[u64]) -> Option<u64> {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied()
}

fn resident() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}

pub(crate) fn open_files() -> Option<usize> {
    Some(fs::read_dir("/proc/self/fd").ok()?.count())
}
