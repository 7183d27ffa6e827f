//! One refresh: the steps from the source's answer to a published snapshot.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use serde::de::DeserializeOwned;

use super::{
    Parts, RefreshError, Refreshed, Step, Trigger,
    error::Subject,
    guard::{Fault, catch, guarded},
    parse::{parse, redact},
    probe,
    quarantine::Quarantine,
    recipe::{Make, Recipe},
    view::View,
};
use crate::{
    clock::Clock,
    event::{Event, Teller},
    keyring::{
        Keyring, Shared, UnknownKey,
        key::{PreparedKey, PreparedKeys, prepare},
        ledger::{Beside, Candidate, Proved},
    },
    source::{
        BoxSource, Side, Source, SourceError, SourceErrorKind, Stage, Version, VersionId, Versions,
    },
};

/// The first proved view, and what goes beside it.
pub(super) struct First<T> {
    pub(super) candidate: Candidate<T>,
    pub(super) bundle: Arc<T>,
    pub(super) degraded: bool,
}

/// Runs refreshes, one at a time, and remembers between them what must not be done twice.
pub(super) struct Refresher<Raw, T> {
    recipe: Recipe<Raw, T>,
    source_name: String,
    clock: Arc<dyn Clock>,
    shared: Weak<Shared<T>>,
    parts: Parts,
    view: Option<View>,
    quarantine: Quarantine,
}

/// A current version that passed.
struct Fresh<T> {
    bundle: Arc<T>,
    keys: Vec<Arc<PreparedKey>>,
    parts: Option<Parts>,
}

impl<Raw, T> Refresher<Raw, T>
where
    Raw: DeserializeOwned + Send + Sync + 'static,
    T: Send + Sync + 'static,
{
    pub(super) fn new(recipe: Recipe<Raw, T>, clock: Arc<dyn Clock>) -> Self {
        Self {
            source_name: recipe.source_name(),
            recipe,
            clock,
            shared: Weak::new(),
            parts: Parts::default(),
            view: None,
            quarantine: Quarantine::default(),
        }
    }

    pub(super) fn source(&self) -> Arc<BoxSource> {
        self.recipe.source.clone()
    }

    pub(super) fn source_name(&self) -> &str {
        &self.source_name
    }

    /// What the source asks for where the builder was told nothing.
    pub(super) fn default_unknown_key(&self) -> UnknownKey {
        if catch(|| self.recipe.source.refresh_on_unknown_key()).unwrap_or(false) {
            UnknownKey::new().on_bad_signatures()
        } else {
            UnknownKey::never()
        }
    }

    pub(super) fn has_jwt_key(&self) -> bool {
        self.recipe.jwt_key.is_some()
    }

    /// From here on the snapshots of this keyring are refreshed.
    pub(super) fn adopt(&mut self, keyring: &Keyring<T>) {
        self.shared = Arc::downgrade(keyring.shared());
        self.tell_source(keyring.current().version());
    }

    /// The refresh inside `build`, when there is nothing to protect yet.
    pub(super) async fn first(&mut self, events: &Teller) -> Result<First<T>, RefreshError> {
        let versions = self.fetch().await?;
        let fresh = self.prove(&versions.current, true, events).await?;
        let bundle = fresh.bundle.clone();
        let degraded = versions.degraded;
        let view = View::of(&versions);
        let parts = fresh.parts.clone();
        let candidate = self.candidate(versions, fresh, events);
        self.took(view, parts);
        Ok(First {
            candidate,
            bundle,
            degraded,
        })
    }

    /// One refresh. `None` when the keyring is gone.
    pub(super) async fn refresh(
        &mut self,
        trigger: Trigger,
    ) -> Option<Result<Refreshed, RefreshError>> {
        if trigger.wants_news() && catch(|| self.recipe.source.invalidate()).is_err() {
            tracing::error!(source = self.source_name, "secrets_source_panicked");
        }
        let versions = match self.fetch().await {
            Ok(versions) => versions,
            Err(error) => return Some(Err(error)),
        };
        let (held, events) = {
            let shared = self.shared.upgrade()?;
            shared.answered(self.clock.now());
            (shared.snapshot(), shared.events.clone())
        };
        let view = View::of(&versions);
        if self.view.as_ref() == Some(&view) {
            self.quarantine.nothing_offered();
            return self.unchanged(&versions, held.generation);
        }
        let degraded = versions.degraded;
        let withdrawn = matches!(versions.previous, Side::Absent);
        let same_current = versions.current.id() == &held.current.id;
        let fresh = if same_current {
            self.quarantine.nothing_offered();
            self.again(&versions.current, &held.current.bundle)
        } else {
            self.prove_unless_quarantined(&versions.current, trigger, &events)
                .await
        };
        // A snapshot held here would be one that never drains.
        let old = held.current.bundle.clone();
        drop(held);
        let shared = self.shared.upgrade()?;
        let fresh = match fresh {
            Ok(fresh) => fresh,
            Err(error) => {
                if withdrawn {
                    shared.withdraw_previous();
                }
                return Some(Err(error));
            }
        };
        let parts = fresh.parts.clone();
        let bundle = fresh.bundle.clone();
        let version = versions.current.id().clone();
        let candidate = self.candidate(versions, fresh, &events);
        let generation = shared.accept(candidate);
        shared.health().degraded = degraded;
        drop(shared);
        self.took(view, parts);
        self.tell_source(&version);
        if !same_current {
            self.tell_swap(&old, &bundle);
        }
        let swapped = Refreshed::Swapped {
            generation,
            version: version.clone(),
        };
        events.tell(Event::Reloaded {
            generation,
            version,
            trigger,
        });
        Some(Ok(swapped))
    }

    /// A refresh that ended where none may end.
    pub(super) fn broke_off(&self, fault: Fault) -> RefreshError {
        let error = SourceError::new(SourceErrorKind::Other, format!("the refresh {fault}"));
        RefreshError::fetch(error, &self.source_name)
    }

    fn unchanged(
        &self,
        versions: &Versions,
        generation: u64,
    ) -> Option<Result<Refreshed, RefreshError>> {
        let shared = self.shared.upgrade()?;
        if let Some(previous) = versions.previous.version()
            && let Some(not_after) = previous.expires()
        {
            shared.shorten_previous(previous.id(), not_after);
        }
        shared.health().degraded = versions.degraded;
        shared.events.tell(Event::Unchanged { generation });
        Some(Ok(Refreshed::Unchanged { generation }))
    }

    /// How long until a refused version is tried again.
    pub(super) fn next_try_in(&self) -> Option<Duration> {
        let now = self.clock.now().mono;
        let waiting = self.quarantine.offered()?;
        Some(waiting.next_try.saturating_sub(now))
    }

    pub(super) fn quarantined(&self) -> Option<(VersionId, u32, Duration)> {
        let waiting = self.quarantine.offered()?;
        Some((waiting.version.clone(), waiting.tries, waiting.next_try))
    }

    async fn fetch(&self) -> Result<Versions, RefreshError> {
        let source = &self.recipe.source;
        let answer = guarded(self.recipe.fetch_limit, || source.fetch()).await;
        answer
            .unwrap_or_else(|fault| {
                let kind = match fault {
                    Fault::TimedOut(_) => SourceErrorKind::TimedOut,
                    Fault::Panicked => SourceErrorKind::Other,
                };
                Err(SourceError::new(kind, format!("the source {fault}")))
            })
            .map_err(|error| RefreshError::fetch(error, &self.source_name))
    }

    async fn prove_unless_quarantined(
        &mut self,
        version: &Version,
        trigger: Trigger,
        events: &Teller,
    ) -> Result<Fresh<T>, RefreshError> {
        let told = self.quarantine.told_again(version, self.clock.now().mono);
        if let Some(error) = told.filter(|_| !trigger.is_deliberate()) {
            return Err(error);
        }
        let outcome = self.prove(version, false, events).await;
        match &outcome {
            Ok(_) => self.quarantine.passed(version),
            Err(error) if matches!(error.failed_step(), Some(Step::Prepare | Step::Probe)) => {
                let now = self.clock.now().mono;
                self.quarantine.refused(version, error, now);
            }
            Err(_) => self.quarantine.nothing_offered(),
        }
        outcome
    }

    /// Parse, keys, prepare, probes: all that must hold before a version is current.
    async fn prove(
        &self,
        version: &Version,
        first: bool,
        events: &Teller,
    ) -> Result<Fresh<T>, RefreshError> {
        let subject = self.subject(version);
        let raw = Arc::new(self.parsed(version)?);
        let keys = self.keys(&raw, version, Stage::Current, events)?;
        let limit = self.recipe.probe_limit;
        let refusals = probe::run_all(&self.recipe.raw_probes, &raw, limit).await;
        judge(refusals, version, subject, first, events)?;
        let (bundle, parts) = match &self.recipe.make {
            Make::Same(same) => (same(raw), None),
            Make::Prepared(prepare) => {
                let parts = self.parts.retry();
                let prepared = guarded(limit, || prepare(raw, parts.clone())).await;
                let refused = |message: String| {
                    RefreshError::step(Step::Prepare, subject, redact(message, version.document()))
                };
                let bundle = prepared
                    .map_err(|fault| refused(format!("the step {fault}")))?
                    .map_err(|error| refused(probe::told(&*error)))?;
                (Arc::new(bundle), Some(parts))
            }
        };
        let refusals = probe::run_all(&self.recipe.probes, &bundle, limit).await;
        judge(refusals, version, subject, first, events)?;
        Ok(Fresh {
            bundle,
            keys,
            parts,
        })
    }

    /// The version in use, seen again beside other side stages: nothing is built anew.
    fn again(&self, version: &Version, bundle: &Arc<T>) -> Result<Fresh<T>, RefreshError> {
        let raw = self.parsed(version)?;
        Ok(Fresh {
            bundle: bundle.clone(),
            keys: self.prepared_keys(&raw, version)?.keys,
            parts: None,
        })
    }

    fn subject<'a>(&'a self, version: &'a Version) -> Subject<'a> {
        Subject {
            place: version.place().unwrap_or(&self.source_name),
            version: version.id(),
        }
    }

    fn parsed(&self, version: &Version) -> Result<Raw, RefreshError> {
        let refused = |why: String| RefreshError::step(Step::Parse, self.subject(version), why);
        catch(|| parse(version.document()))
            .map_err(|fault| refused(format!("the bundle's type {fault}")))?
            .map_err(refused)
    }

    fn keys(
        &self,
        raw: &Raw,
        version: &Version,
        stage: Stage,
        events: &Teller,
    ) -> Result<Vec<Arc<PreparedKey>>, RefreshError> {
        let prepared = self.prepared_keys(raw, version)?;
        events.tell_all(prepared.skipped.iter().map(|error| Event::KeySkipped {
            stage,
            version: version.id().clone(),
            reason: error.to_string(),
        }));
        Ok(prepared.keys)
    }

    fn prepared_keys(&self, raw: &Raw, version: &Version) -> Result<PreparedKeys, RefreshError> {
        let Some(field) = &self.recipe.jwt_key else {
            return Ok(PreparedKeys::default());
        };
        let refused = |why: String| RefreshError::step(Step::Keys, self.subject(version), why);
        catch(|| prepare(field(raw), self.recipe.allow_weak))
            .map_err(|fault| refused(format!("the choice of the field {fault}")))?
            .map_err(|error| refused(error.to_string()))
    }

    fn candidate(&self, versions: Versions, fresh: Fresh<T>, events: &Teller) -> Candidate<T> {
        let current = proved(&versions.current, Some(fresh.bundle), fresh.keys);
        Candidate {
            current,
            previous: self.beside(versions.previous, Stage::Previous, events),
            pending: self.beside(versions.pending, Stage::Pending, events),
        }
    }

    /// A side stage that cannot be used is left out, and never stops a good current.
    fn beside(&self, side: Side, stage: Stage, events: &Teller) -> Beside<T> {
        let (version, reason) = match side {
            Side::Absent => return Beside::Absent,
            Side::Stageless { keep_withdrawn } => return Beside::Stageless { keep_withdrawn },
            Side::Unreadable(error) => (None, error.to_string()),
            Side::Present(version) => match self.proved_beside(&version, stage, events) {
                Ok(proved) => return Beside::Proved(proved),
                Err(error) => (Some(version.id().clone()), error.reason().to_owned()),
            },
        };
        events.tell(Event::StageSkipped {
            stage,
            version,
            reason,
        });
        Beside::Unusable
    }

    fn proved_beside(
        &self,
        version: &Version,
        stage: Stage,
        events: &Teller,
    ) -> Result<Proved<T>, RefreshError> {
        let raw = Arc::new(self.parsed(version)?);
        let keys = self.keys(&raw, version, stage, events)?;
        let bundle = match &self.recipe.make {
            Make::Same(same) => Some(same(raw)),
            Make::Prepared(_) => None,
        };
        Ok(proved(version, bundle, keys))
    }

    fn took(&mut self, view: View, parts: Option<Parts>) {
        self.view = Some(view);
        if let Some(parts) = parts {
            self.parts = parts.next();
        }
    }

    fn tell_source(&self, current: &VersionId) {
        if catch(|| self.recipe.source.published(current)).is_err() {
            tracing::error!(source = self.source_name, "secrets_source_panicked");
        }
    }

    fn tell_swap(&self, old: &Arc<T>, new: &Arc<T>) {
        if let Some(on_swap) = &self.recipe.on_swap
            && catch(|| on_swap(old, new)).is_err()
        {
            tracing::error!(source = self.source_name, "secrets_on_swap_panicked");
        }
    }
}

fn proved<T>(version: &Version, bundle: Option<Arc<T>>, keys: Vec<Arc<PreparedKey>>) -> Proved<T> {
    Proved {
        id: version.id().clone(),
        bundle,
        keys,
        created_at: version.created(),
        replaced_at: version.replaced(),
        not_after: version.expires(),
    }
}

/// At the first build a refusal only warns, unless the probe was declared to be required.
fn judge(
    refusals: Vec<probe::Refusal>,
    version: &Version,
    subject: Subject<'_>,
    first: bool,
    events: &Teller,
) -> Result<(), RefreshError> {
    for refusal in refusals {
        let reason = redact(refusal.message, version.document());
        if !first || refusal.required {
            return Err(RefreshError::probe(&refusal.name, subject, reason));
        }
        events.tell(Event::ProbeWarning {
            probe: refusal.name,
            version: version.id().clone(),
            reason,
        });
    }
    Ok(())
}
