//! One refresh: the steps from the source's answer to a published snapshot.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use serde::de::DeserializeOwned;

use super::{
    BuildError, Parts, RefreshError, Refreshed, Trigger,
    compose::{KeyPart, PartWindows},
    held_back::HeldBack,
    prove::{Fresh, Refusal},
    quarantine::{Quarantine, Waiting},
    recipe::Recipe,
    settle::{InUse, LeftOut, Settled},
    view::View,
};
use crate::{
    clock::Clock,
    event::{Event, Teller},
    guard::{Fault, catch, guarded, let_go, log},
    keyring::{
        Keyring, Refused, Shared, StalePart, UnknownKey,
        ledger::{Candidate, Withdrawn},
    },
    metrics::Meter,
    source::{
        BoxSource, Source, SourceError, SourceErrorKind, Version, VersionId, Versions,
        combined::combination,
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
    pub(super) recipe: Recipe<Raw, T>,
    pub(super) source_name: String,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) overlap: Duration,
    shared: Weak<Shared<T>>,
    pub(super) parts: Parts,
    view: Option<View>,
    pub(super) in_use: InUse,
    pub(super) quarantine: Quarantine,
    pub(super) held_back: HeldBack,
    pub(super) key_part: KeyPart,
    pub(super) part_windows: PartWindows,
    pub(super) meter: Meter,
}

/// What a refresh proposes to take over.
struct Offer {
    fetched: Versions,
    /// The same, with some parts held back.
    versions: Versions,
    left_out: Vec<LeftOut>,
    /// Why a probe's verdict holds parts back.
    refused: Vec<RefreshError>,
}

impl Offer {
    fn view(&self) -> View {
        View::of(&self.versions, &self.left_out)
    }
}

impl<Raw, T> Refresher<Raw, T>
where
    Raw: DeserializeOwned + Send + Sync + 'static,
    T: Send + Sync + 'static,
{
    pub(super) fn new(
        recipe: Recipe<Raw, T>,
        clock: Arc<dyn Clock>,
        overlap: Duration,
        meter: Meter,
    ) -> Self {
        Self {
            source_name: recipe.source_name(),
            recipe,
            clock,
            overlap,
            shared: Weak::new(),
            parts: Parts::default(),
            view: None,
            in_use: InUse::default(),
            quarantine: Quarantine::default(),
            held_back: HeldBack::default(),
            key_part: KeyPart::default(),
            part_windows: PartWindows::default(),
            meter,
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
        if self.recipe.source.refresh_on_unknown_key() {
            UnknownKey::new().on_bad_signatures()
        } else {
            UnknownKey::never()
        }
    }

    pub(super) fn has_jwt_key(&self) -> bool {
        self.recipe.jwt_key.is_some()
    }

    pub(super) fn has_session_key(&self) -> bool {
        self.recipe.session_key.is_some()
    }

    /// From here on the snapshots of this keyring are refreshed.
    pub(super) fn adopt(&mut self, keyring: &Keyring<T>) {
        self.shared = Arc::downgrade(keyring.shared());
        self.recipe.source.published(keyring.current().version());
    }

    /// The refresh inside `build`, when there is nothing to protect yet.
    pub(super) async fn first(&mut self, events: &Teller) -> Result<First<T>, BuildError> {
        let fetched = self.fetch().await.map_err(BuildError::first_refresh)?;
        self.check_names(&fetched)?;
        self.held_back
            .note_stale(&fetched, self.clock.now(), events);
        let offer = self.offer(fetched);
        let fresh =
            self.prove(&offer.versions, true, events)
                .await
                .map_err(|refusal| match refusal {
                    Refusal::Whole(error) | Refusal::Parts(error, _) => {
                        BuildError::first_refresh(error)
                    }
                })?;
        let bundle = fresh.bundle.clone();
        let degraded = offer.versions.degraded;
        let candidate = self.take(offer, fresh, &[], events);
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
        if trigger.wants_news() {
            self.recipe.source.invalidate();
        }
        let fetched = match self.fetch().await {
            Ok(fetched) => fetched,
            Err(error) => {
                if self.is_withdrawal(&error) {
                    self.shared.upgrade()?.withdraw(Withdrawn::PREVIOUS);
                }
                return Some(Err(error));
            }
        };
        let now = self.clock.now();
        let (held, events) = {
            let shared = self.shared.upgrade()?;
            self.held_back.note_stale(&fetched, now, &shared.events);
            if self.held_back.stale().is_empty() {
                shared.answered(now, fetched.age);
            }
            (shared.snapshot(), shared.events.clone())
        };
        let mut offer = self.offer(fetched);
        offer.refused = self
            .held_back
            .wait(&mut offer.versions, &self.in_use, trigger, now.mono);
        let fresh = loop {
            if self.view.as_ref() == Some(&offer.view()) {
                self.quarantine.nothing_offered();
                return self.unchanged(offer, held.generation);
            }
            let fresh = if offer.versions.current.id() == &held.current.id {
                self.quarantine.nothing_offered();
                self.again(&offer.versions, &held.current.bundle)
            } else {
                self.prove_unless_quarantined(&offer.versions, trigger, &events)
                    .await
            };
            match fresh {
                Err(Refusal::Parts(error, others)) => {
                    self.hold_back(&mut offer, error);
                    for error in others {
                        self.hold_back(&mut offer, error);
                    }
                }
                Err(Refusal::Whole(error)) => break Err(error),
                Ok(fresh) => break Ok(fresh),
            }
        };
        // A snapshot held here would be one that never drains.
        let old = held.current.bundle.clone();
        let same_current = offer.versions.current.id() == &held.current.id;
        let built = [
            held.previous().map(|it| it.id.clone()),
            Some(held.current.id.clone()),
        ];
        let built: Vec<VersionId> = built.into_iter().flatten().collect();
        drop(held);
        let shared = self.shared.upgrade()?;
        events.tell_all(offer.refused.drain(..).map(Event::ReloadFailed));
        let fresh = match fresh {
            Ok(fresh) => fresh,
            Err(error) => {
                self.held_back.not_to_blame(&offer.versions, &self.in_use);
                if shared.withdraw(self.withdrawn(&offer.versions)) {
                    // Should the store come back to it, it is another one than what is in use.
                    self.view = None;
                }
                return Some(Err(error));
            }
        };
        let degraded = offer.versions.degraded;
        let bundle = fresh.bundle.clone();
        let version = offer.versions.current.id().clone();
        let candidate = self.take(offer, fresh, &built, &events);
        let generation = shared.accept(candidate);
        shared.health().degraded = degraded;
        drop(shared);
        self.recipe.source.published(&version);
        if !same_current {
            self.tell_swap(&old, &bundle);
        }
        let_go(|| drop(old));
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

    fn is_withdrawal(&self, error: &RefreshError) -> bool {
        let error = error.source_error();
        error.is_some_and(|it| it.withdraws_previous_of(&self.source_name))
    }

    /// A refresh that ended where none may end. Whatever it had come to, the next one begins anew.
    pub(super) fn broke_off(&mut self, fault: Fault) -> RefreshError {
        self.view = None;
        let error = SourceError::new(SourceErrorKind::Other, format!("the refresh {fault}"));
        RefreshError::fetch(error, &self.source_name)
    }

    fn offer(&self, fetched: Versions) -> Offer {
        let Settled { versions, left_out } = self.in_use.settle(fetched.clone());
        Offer {
            fetched,
            versions,
            left_out,
            refused: Vec::new(),
        }
    }

    fn hold_back(&mut self, offer: &mut Offer, error: RefreshError) {
        let now = self.clock.now().mono;
        self.held_back
            .refuse(&mut offer.versions, &self.in_use, &error, now);
        offer.refused.push(error);
    }

    /// From here on this view is in use.
    fn take(
        &mut self,
        offer: Offer,
        fresh: Fresh<T>,
        built: &[VersionId],
        events: &Teller,
    ) -> Candidate<T> {
        self.view = Some(offer.view());
        events.tell_all(offer.left_out.iter().map(LeftOut::event));
        let parts = fresh.parts.clone();
        let candidate = self.candidate(&offer.versions, fresh, built, events);
        self.in_use.take(&offer.fetched, offer.versions);
        if let Some(parts) = parts {
            let before = std::mem::replace(&mut self.parts, parts.next());
            let_go(|| drop(before));
        }
        candidate
    }

    /// Nothing is new, or nothing but what was refused.
    fn unchanged(
        &self,
        mut offer: Offer,
        generation: u64,
    ) -> Option<Result<Refreshed, RefreshError>> {
        let shared = self.shared.upgrade()?;
        self.shorten_previous(&shared, &offer.versions);
        shared.health().degraded = offer.versions.degraded;
        let refused = offer.refused.pop();
        shared
            .events
            .tell_all(offer.refused.into_iter().map(Event::ReloadFailed));
        if let Some(error) = refused {
            return Some(Err(error));
        }
        shared.events.tell(Event::Unchanged { generation });
        Some(Ok(Refreshed::Unchanged { generation }))
    }

    /// The same view may bring an earlier end of what is previous.
    fn shorten_previous(&self, shared: &Shared<T>, versions: &Versions) {
        let Some(previous) = versions.previous() else {
            return;
        };
        let keys_end = match self.key_part.of(versions) {
            Some(part) => part.versions.previous().and_then(Version::not_after),
            None => previous.not_after(),
        };
        if let Some(end) = keys_end {
            shared.shorten_keys(previous.id(), end);
        }
        let shown = shared.snapshot().previous().map(|held| held.id.clone());
        let Some(shown) = shown else { return };
        let shown_end = match combination(&versions.parts, &shown) {
            Some(combination) => combination.not_after(),
            None => previous.not_after().filter(|_| shown == *previous.id()),
        };
        if let Some(end) = shown_end {
            shared.shorten_bundle(&shown, end);
        }
    }

    /// How long until a refused version is tried again.
    pub(super) fn next_try_in(&self) -> Option<Duration> {
        let now = self.clock.now().mono;
        let parts = self.held_back.refused().map(|(_, waiting)| waiting);
        let waiting = self.quarantine.offered().into_iter().chain(parts);
        waiting.map(|it| it.next_try.saturating_sub(now)).min()
    }

    pub(super) fn quarantined(&self) -> Option<Refused> {
        self.quarantine.offered().map(Waiting::told)
    }

    pub(super) fn refused_parts(&self) -> Vec<(String, Refused)> {
        let told = |(part, waiting): (&str, &Waiting)| (part.to_owned(), waiting.told());
        self.held_back.refused().map(told).collect()
    }

    pub(super) fn stale_parts(&self) -> &[StalePart] {
        self.held_back.stale()
    }

    /// An answer from a source's memory that is on the way to count as stale is asked for anew, in the
    /// same time: a source that keeps its answers for long must not look like one that is silent.
    async fn fetch(&self) -> Result<Versions, RefreshError> {
        let source = &self.recipe.source;
        let shared = self.shared.upgrade();
        let limit = shared.and_then(|it| it.settings.staleness_limit());
        let lately = || async {
            let fetched = source.fetch().await?;
            if limit.is_none_or(|limit| fetched.age < limit / 2) {
                return Ok(fetched);
            }
            self.meter.fetched(None);
            source.invalidate();
            source.fetch().await
        };
        let answer = guarded(self.recipe.fetch_limit, lately).await;
        let answer = answer.unwrap_or_else(|fault| Err(fault.into()));
        self.meter
            .fetched(answer.as_ref().err().map(SourceError::kind));
        answer.map_err(|error| RefreshError::fetch(error, &self.source_name))
    }

    fn check_names(&self, versions: &Versions) -> Result<(), BuildError> {
        let names: Vec<&str> = versions.parts.iter().map(|part| &*part.name).collect();
        // The substitute for a combined source may be a secret of its own: then the probe judges it.
        let is_substitute = names.is_empty() && versions.degraded;
        let unknown = self
            .recipe
            .probed_parts()
            .find(|(part, _)| !names.contains(part));
        let Some((part, probe)) = unknown.filter(|_| !is_substitute) else {
            return Ok(());
        };
        let source = &self.source_name;
        Err(BuildError::config(format!(
            "the probe `{probe}` is for part `{part}`, which the source `{source}` has not; its parts \
             are {names:?}"
        )))
    }

    fn tell_swap(&self, old: &Arc<T>, new: &Arc<T>) {
        if let Some(on_swap) = &self.recipe.on_swap
            && catch(|| on_swap(old, new)).is_err()
        {
            log(|| tracing::error!(source = self.source_name, "secrets_on_swap_panicked"));
        }
    }
}
