//! What was seen, and the table at the end. Nothing in it grows with the length of a run.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt::{self, Display},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tower_secrets::event::Event;

use crate::{server, store::Number};

const EXAMPLES: usize = 10;
/// How many faults an example tells.
const RECENT: usize = 5;
const GENERATIONS: usize = 256;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Plain,
    Mcp,
    /// One request of an MCP client, of which a call may take several.
    McpMessage,
    Forged,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain calls",
            Self::Mcp => "MCP calls",
            Self::McpMessage => "MCP requests",
            Self::Forged => "forged tokens",
        }
    }
}

#[derive(Clone, Default)]
pub(crate) struct Tally(Arc<Mutex<Seen>>);

#[derive(Default)]
pub(crate) struct Seen {
    answered: BTreeMap<Kind, Latencies>,
    refused: BTreeMap<Kind, u64>,
    broken_off: BTreeMap<Kind, u64>,
    ended_with_token: u64,
    failures: BTreeMap<&'static str, u64>,
    examples: Vec<String>,
    faults: BTreeMap<&'static str, u64>,
    /// The newest of them last, of one a second.
    recent: VecDeque<&'static str>,
    events: BTreeMap<String, u64>,
    generations: VecDeque<(u64, String)>,
}

impl Tally {
    pub(crate) fn answered(&self, kind: Kind, took: Duration) {
        self.seen().answered.entry(kind).or_default().add(took);
    }

    pub(crate) fn refused(&self, kind: Kind) {
        *self.seen().refused.entry(kind).or_default() += 1;
    }

    pub(crate) fn broken_off(&self, kind: Kind) {
        *self.seen().broken_off.entry(kind).or_default() += 1;
    }

    pub(crate) fn ended_with_token(&self) {
        self.seen().ended_with_token += 1;
    }

    pub(crate) fn fault(&self, name: &'static str) {
        let mut seen = self.seen();
        *seen.faults.entry(name).or_default() += 1;
        seen.recent.push_back(name);
        if seen.recent.len() > RECENT {
            seen.recent.pop_front();
        }
    }

    pub(crate) fn event(&self, event: &Event) {
        let text = format!("{event:?}");
        let name = text.split(|c: char| !c.is_alphanumeric()).next();
        let name = name.unwrap_or_default().to_owned();
        *self.seen().events.entry(name).or_default() += 1;
    }

    pub(crate) fn failure(&self, cause: &'static str) {
        *self.seen().failures.entry(cause).or_default() += 1;
    }

    /// A failure with a text; the first few are kept, to show what a count means.
    pub(crate) fn example(&self, cause: &'static str, text: impl Display) {
        self.failure(cause);
        let mut seen = self.seen();
        if seen.examples.len() < EXAMPLES {
            let second: u64 = seen.faults.values().sum();
            let example = format!("{cause}: {text}; second {second}, after {:?}", seen.recent);
            seen.examples.push(example);
        }
    }

    /// What a call saw that had a token of this key.
    pub(crate) fn saw(&self, what: &server::Seen, key: Number) {
        if what.key_version != key.id() {
            let text = format!("{} instead of {}", what.key_version, key.id());
            self.example("a token was verified by another key", text);
        }
        self.saw_with_any(what);
    }

    /// A generation is one version for ever.
    pub(crate) fn saw_with_any(&self, what: &server::Seen) {
        if !what.is_whole {
            self.failure("a torn snapshot");
        }
        let mut seen = self.seen();
        let known = seen
            .generations
            .iter()
            .find(|(known, _)| *known == what.generation);
        let is_same = known.is_none_or(|(_, version)| *version == what.version);
        if known.is_none() {
            seen.generations
                .push_back((what.generation, what.version.clone()));
            if seen.generations.len() > GENERATIONS {
                seen.generations.pop_front();
            }
        }
        drop(seen);
        if !is_same {
            self.failure("two versions in one generation");
        }
    }

    pub(crate) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    /// What keeps the run from being a success.
    pub(crate) fn faults(&self) -> Vec<String> {
        let failed = self
            .failures
            .iter()
            .map(|(cause, count)| format!("{cause}: {count} times"));
        let idle = [Kind::Plain, Kind::Mcp]
            .into_iter()
            .filter(|kind| !self.answered.contains_key(kind));
        failed
            .chain(idle.map(|kind| format!("no {}", kind.name())))
            .collect()
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut row = |name: &str, value: &dyn Display| writeln!(f, "  {name:<44} {value}");
        for (name, count) in &self.faults {
            row(name, count)?;
        }
        for (name, count) in &self.events {
            row(&format!("event: {name}"), count)?;
        }
        for (kind, latencies) in &self.answered {
            row(&format!("{}, p50 / p99 / p99.9", kind.name()), latencies)?;
        }
        for (kind, count) in &self.refused {
            row(
                &format!("{} refused, judged by the books", kind.name()),
                count,
            )?;
        }
        for (kind, count) in &self.broken_off {
            row(&format!("{} broken off by the client", kind.name()), count)?;
        }
        row("MCP answers ended with their token", &self.ended_with_token)?;
        row("unexpected failures", &self.failures.values().sum::<u64>())?;
        for (cause, count) in &self.failures {
            row(&format!("  {cause}"), count)?;
        }
        for example in &self.examples {
            row("  for example", example)?;
        }
        Ok(())
    }
}

/// Counts in classes, each a twelfth wider than the one before, from one microsecond on.
#[derive(Default)]
struct Latencies {
    classes: Vec<u64>,
    count: u64,
}

const STEP: f64 = 13.0 / 12.0;

impl Latencies {
    fn add(&mut self, took: Duration) {
        let micros = took.as_secs_f64() * 1e6;
        let class = micros.max(1.0).log(STEP) as usize;
        if self.classes.len() <= class {
            self.classes.resize(class + 1, 0);
        }
        self.classes[class] += 1;
        self.count += 1;
    }

    /// The upper end of the class in which it is.
    fn percentile(&self, part: f64) -> Duration {
        let wanted = (self.count as f64 * part).ceil() as u64;
        let mut seen = 0;
        let class = self.classes.iter().position(|count| {
            seen += count;
            seen >= wanted
        });
        let end = STEP.powi(class.unwrap_or_default() as i32 + 1);
        Duration::from_secs_f64(end / 1e6)
    }
}

impl fmt::Display for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|part| self.percentile(part));
        write!(
            f,
            "{p50:.1?} / {p99:.1?} / {p999:.1?}  ({} in all)",
            self.count
        )
    }
}
