//! The user's code and its limits: what a refresh runs.

use std::{
    collections::BTreeMap, error::Error, future::Future, pin::Pin, sync::Arc, time::Duration,
};

use super::{Parts, Probe};
use crate::{
    keyring::{JwtKey, SessionKey},
    source::{BoxSource, Source},
};

type BoxError = Box<dyn Error + Send + Sync>;
type PrepareFn<Raw, T> = dyn Fn(Arc<Raw>, Parts) -> Pin<Box<dyn Future<Output = Result<T, BoxError>> + Send>>
    + Send
    + Sync;
type KeyField<Raw> = dyn for<'a> Fn(&'a Raw) -> &'a JwtKey + Send + Sync;
type SessionKeyField<Raw> = dyn for<'a> Fn(&'a Raw) -> &'a SessionKey + Send + Sync;
type OnSwap<T> = dyn Fn(&Arc<T>, &Arc<T>) + Send + Sync;

/// From the document to the bundle.
pub(super) enum Make<Raw, T> {
    /// They are the same.
    Same(fn(Arc<Raw>) -> Arc<T>),
    Prepared(Box<PrepareFn<Raw, T>>),
}

/// The user's code and its limits.
pub(super) struct Recipe<Raw, T> {
    pub(super) source: Arc<BoxSource>,
    pub(super) jwt_key: Option<Box<KeyField<Raw>>>,
    pub(super) session_key: Option<Box<SessionKeyField<Raw>>>,
    pub(super) allow_weak: bool,
    pub(super) raw_probes: Vec<Probe<Raw>>,
    pub(super) make: Make<Raw, T>,
    pub(super) probes: Vec<Probe<T>>,
    pub(super) on_swap: Option<Box<OnSwap<T>>>,
    /// Both limits are set by `build`.
    pub(super) fetch_limit: Duration,
    pub(super) probe_limit: Duration,
}

impl<Raw> Recipe<Raw, Raw> {
    pub(super) fn new(source: BoxSource) -> Self {
        Self {
            source: Arc::new(source),
            jwt_key: None,
            session_key: None,
            allow_weak: false,
            raw_probes: Vec::new(),
            make: Make::Same(|raw| raw),
            probes: Vec::new(),
            on_swap: None,
            fetch_limit: Duration::ZERO,
            probe_limit: Duration::ZERO,
        }
    }

    pub(super) fn with_make<T>(self, make: Make<Raw, T>) -> Recipe<Raw, T> {
        Recipe {
            source: self.source,
            jwt_key: self.jwt_key,
            session_key: self.session_key,
            allow_weak: self.allow_weak,
            raw_probes: self.probes,
            make,
            probes: Vec::new(),
            on_swap: None,
            fetch_limit: self.fetch_limit,
            probe_limit: self.probe_limit,
        }
    }
}

impl<Raw, T> Recipe<Raw, T> {
    pub(super) fn source_name(&self) -> String {
        self.source.name()
    }

    /// How long the proof of a new version may take: probes of one kind run at the same time.
    pub(super) fn longest_proof(&self) -> Duration {
        let raw = self
            .raw_probes
            .iter()
            .map(|it| it.limit_or(self.probe_limit));
        let made = self.probes.iter().map(|it| it.limit_or(self.probe_limit));
        let preparing = match self.make {
            Make::Same(_) => Duration::ZERO,
            Make::Prepared(_) => self.probe_limit,
        };
        let longest = |limits: Option<Duration>| limits.unwrap_or_default();
        // After a part was refused, the rest is proved again without it.
        let rounds = 1 + self.probed_parts().count();
        longest(raw.max())
            .saturating_add(preparing)
            .saturating_add(longest(made.max()))
            .saturating_mul(u32::try_from(rounds).unwrap_or(u32::MAX))
    }

    /// The parts that probes judge by themselves, each with such a probe's name.
    pub(super) fn probed_parts(&self) -> impl Iterator<Item = (&str, &str)> {
        let raw = self.raw_probes.iter().map(Probe::judged);
        let made = self.probes.iter().map(Probe::judged);
        let judged: BTreeMap<_, _> = raw.chain(made).flatten().collect();
        judged.into_iter()
    }
}
