//! From a proved current version to what the keyring takes over: the stages beside it.

use std::{collections::HashSet, sync::Arc};

use serde::de::DeserializeOwned;

use super::{RefreshError, attempt::Refresher, compose::with, prove::Fresh, recipe::Make};
use crate::{
    event::{Event, Teller},
    guard::{keep_if, let_go},
    keyring::{
        key::PreparedKey,
        ledger::{Beside, Candidate, KeySide, Proved, Withdrawn},
        session_key::PreparedSessionKey,
    },
    source::{Side, Stage, Version, VersionId, Versions, combined::combination},
};

impl<Raw, T> Refresher<Raw, T>
where
    Raw: DeserializeOwned + Send + Sync + 'static,
    T: Send + Sync + 'static,
{
    /// `built` are the versions whose bundles this process has.
    pub(super) fn candidate(
        &mut self,
        versions: &Versions,
        fresh: Fresh<T>,
        built: &[VersionId],
        events: &Teller,
    ) -> Candidate<T> {
        let now = self.clock.now();
        self.learn_key_part(versions, &fresh.keys);
        self.part_windows
            .enter(versions, &self.in_use, self.overlap, now);
        Candidate {
            current: proved(
                &versions.current,
                Some(fresh.bundle),
                fresh.keys,
                fresh.session,
            ),
            previous: self.previous(versions, built, events),
            pending: self.pending(versions, events),
            key_side: self.key_side(versions, events),
            previous_ends: versions.previous().and_then(Version::not_after),
            takes_back: self.takes_back(versions),
            is_composed: !versions.parts.is_empty(),
        }
    }

    /// What the store took back, told when the new current was refused.
    pub(super) fn withdrawn(&mut self, versions: &Versions) -> Withdrawn {
        self.part_windows.withdraw(versions, self.clock.now());
        let any = self.takes_back(versions);
        let key_part = self.key_part.of(versions);
        let [any_pending, pending_keys] = self.in_use.takes_pending_back(versions, key_part);
        let withdrawn = Withdrawn {
            bundle: any,
            keys: match key_part {
                Some(part) => matches!(part.versions.previous, Side::Absent),
                None => any,
            },
            // Another part of it may still be named.
            pending_bundle: any_pending && matches!(versions.pending, Side::Absent),
            pending_keys,
        };
        self.in_use.note_refused(versions);
        withdrawn
    }

    fn takes_back(&self, versions: &Versions) -> bool {
        matches!(versions.previous, Side::Absent) || self.took_back_a_part(versions)
    }

    fn took_back_a_part(&self, versions: &Versions) -> bool {
        versions.parts.iter().any(|part| {
            let in_use = self.in_use.part(&part.name);
            let had = in_use.is_some_and(|it| it.previous().is_some());
            had && matches!(part.versions.previous, Side::Absent)
        })
    }

    fn learn_key_part(&mut self, versions: &Versions, current: &[Arc<PreparedKey>]) {
        let mut key_part = std::mem::take(&mut self.key_part);
        let current = identities(current);
        key_part.learn(versions, &self.in_use, |other| {
            let Ok(raw) = self.parsed(other) else {
                return false;
            };
            let keys = self.prepared_keys(&raw, other);
            let_go(|| drop(raw));
            keys.is_ok_and(|prepared| identities(&prepared.keys) != current)
        });
        self.key_part = key_part;
    }

    fn previous(&self, versions: &Versions, built: &[VersionId], events: &Teller) -> Beside<T> {
        if versions.parts.is_empty() || versions.previous().is_none() {
            return self.beside(&versions.previous, Stage::Previous, events);
        }
        let built_only = match self.recipe.make {
            Make::Same(_) => &[],
            Make::Prepared(_) => built,
        };
        let now = self.clock.now();
        let shown = self.part_windows.previous(versions, built_only, now);
        if shown.id() == versions.current.id() {
            return Beside::Absent;
        }
        match self.beside(&Side::Present(shown), Stage::Previous, events) {
            // Then the ledger keeps what it has, which must not outlive a part's withdrawal.
            Beside::Unusable if !is_vouched_for(versions, built) => Beside::Absent,
            beside => beside,
        }
    }

    /// Where another part's pending value cannot be read, the key's own part is pending all the same.
    fn pending(&self, versions: &Versions, events: &Teller) -> Beside<T> {
        let whole = self.beside(&versions.pending, Stage::Pending, events);
        let (Beside::Unusable, Some(id)) = (&whole, versions.pending().map(Version::id)) else {
            return whole;
        };
        let part = self.key_part.of(versions);
        let alone = match part.and_then(|part| Some((part, part.versions.pending()?))) {
            Some((part, own)) => {
                let alone = with(&versions.parts, part, own).renamed(id.clone());
                self.beside(&Side::Present(alone), Stage::Pending, events)
            }
            None => Beside::Unusable,
        };
        // The store of one secret names this version, so it names the one before it no more. Of several, those
        // that can be used may still be named.
        let [_, is_taken_back] = self.in_use.takes_pending_back(versions, part);
        match alone {
            Beside::Unusable if versions.parts.is_empty() || is_taken_back => Beside::Absent,
            alone => alone,
        }
    }

    /// What the part that the keys are in says of them.
    fn key_side(&self, versions: &Versions, events: &Teller) -> Option<KeySide<T>> {
        let Some(part) = self.key_part.of(versions) else {
            // Whose key it is cannot be told, and a withdrawal must not be missed.
            return self.took_back_a_part(versions).then_some(KeySide {
                flipped: false,
                previous: Beside::Absent,
            });
        };
        let before = self.in_use.part(&part.name);
        if before.is_none() && !self.in_use.is_empty() {
            // A substitute for the combined source was in use: a secret of its own.
            return None;
        }
        let is_other = |it: &Versions| it.current.id() != part.versions.current.id();
        let own = match (part.versions.previous(), versions.previous()) {
            (Some(own), Some(whole)) => {
                Side::Present(with(&versions.parts, part, own).renamed(whole.id().clone()))
            }
            _ => part.versions.previous.clone(),
        };
        let mut previous = self.beside(&own, Stage::Previous, events);
        if let Beside::Proved(previous) = &mut previous {
            // It is not that version's: all but the key's own part is current's.
            previous.session = None;
        }
        Some(KeySide {
            flipped: before.is_some_and(is_other),
            previous,
        })
    }

    /// A side stage that cannot be used is left out, and never stops a good current.
    fn beside(&self, side: &Side, stage: Stage, events: &Teller) -> Beside<T> {
        let version = match side {
            Side::Absent => return Beside::Absent,
            Side::Stageless { keep_withdrawn } => {
                return Beside::Stageless {
                    keep_withdrawn: *keep_withdrawn,
                };
            }
            // That was told when it was settled what counts.
            Side::Unreadable(_) => return Beside::Unusable,
            Side::Present(version) => version,
        };
        match self.proved_beside(version, stage, events) {
            Ok(proved) => Beside::Proved(proved),
            Err(error) => {
                events.tell(Event::StageSkipped {
                    stage,
                    version: Some(version.id().clone()),
                    reason: error.reason().to_owned(),
                });
                Beside::Unusable
            }
        }
    }

    fn proved_beside(
        &self,
        version: &Version,
        stage: Stage,
        events: &Teller,
    ) -> Result<Proved<T>, RefreshError> {
        let raw = Arc::new(self.parsed(version)?);
        let read = self.read(&raw, version, stage, events);
        let ((keys, session), raw) = keep_if(read, raw)?;
        let bundle = match &self.recipe.make {
            Make::Same(same) => Some(same(raw)),
            Make::Prepared(_) => {
                let_go(|| drop(raw));
                None
            }
        };
        Ok(proved(version, bundle, keys, session))
    }
}

/// Whether the bundle that would be previous without another word, the last but the current one, is of
/// versions that each part still has.
fn is_vouched_for(versions: &Versions, built: &[VersionId]) -> bool {
    let mut others = built.iter().rev().filter(|id| *id != versions.current.id());
    others
        .next()
        .is_none_or(|id| combination(&versions.parts, id).is_some())
}

fn proved<T>(
    version: &Version,
    bundle: Option<Arc<T>>,
    keys: Vec<Arc<PreparedKey>>,
    session: Option<Arc<PreparedSessionKey>>,
) -> Proved<T> {
    Proved {
        id: version.id().clone(),
        bundle,
        keys,
        session,
        created_at: version.created_at(),
        replaced_at: version.replaced_at(),
        not_after: version.not_after(),
    }
}

fn identities(keys: &[Arc<PreparedKey>]) -> HashSet<[u8; 32]> {
    keys.iter().map(|key| *key.identity()).collect()
}
