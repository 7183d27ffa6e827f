//! Which part of a combined source the verification key is in, and what of the parts is previous.

use std::{collections::HashMap, sync::Arc, time::Duration};

use super::settle::InUse;
use crate::{
    clock::Now,
    keyring::ledger::rest_of_window,
    source::{
        Side, Version, VersionId, Versions,
        combined::{Part, combination, splice},
    },
};

/// The part that the verification key is in. It is found without the user's help: a key set is a
/// function of the document, so the part is the one that, put back to another version of its own,
/// changes the keys.
#[derive(Default)]
pub(super) enum KeyPart {
    /// No key has left or is about to come: there is no window that it would matter to.
    #[default]
    Unknown,
    One(Arc<str>),
    /// The choice of the key looks at several: its windows are those of the whole.
    Several,
}

impl KeyPart {
    /// Learns from all versions that each part has now or had before. `differs` tells whether a
    /// version with other keys than current's would come of it.
    pub(super) fn learn(
        &mut self,
        versions: &Versions,
        in_use: &InUse,
        differs: impl Fn(&Version) -> bool,
    ) {
        let parts = &versions.parts;
        for part in parts {
            let before = in_use.part(&part.name).map(Versions::current);
            let others = [part.versions.previous(), part.versions.pending(), before];
            let mut others = others.into_iter().flatten();
            if others.any(|other| differs(&with(parts, part, other))) {
                self.found(&part.name);
            }
        }
    }

    fn found(&mut self, name: &Arc<str>) {
        *self = match self {
            Self::Unknown => Self::One(name.clone()),
            Self::One(known) if known == name => return,
            Self::One(_) | Self::Several => Self::Several,
        };
    }

    /// The part, where there is one.
    pub(super) fn of<'a>(&self, versions: &'a Versions) -> Option<&'a Part> {
        let Self::One(name) = self else { return None };
        versions.parts.iter().find(|part| part.name == *name)
    }
}

/// The current version with another one of one part.
pub(super) fn with(parts: &[Part], part: &Part, other: &Version) -> Version {
    splice(parts, |it| {
        if it.name == part.name {
            other
        } else {
            it.versions.current()
        }
    })
}

/// When the windows of the parts end, for what is shown of them in the previous bundle. (The windows of
/// verification keys are the ledger's.)
#[derive(Default)]
pub(super) struct PartWindows(HashMap<Arc<str>, (VersionId, Duration)>);

impl PartWindows {
    /// A view is about to be taken over.
    pub(super) fn enter(
        &mut self,
        versions: &Versions,
        in_use: &InUse,
        overlap: Duration,
        now: Now,
    ) {
        for Part { name, versions, .. } in &versions.parts {
            self.0
                .retain(|it, (id, _)| it != name || id != versions.current.id());
            let Some(previous) = versions.previous() else {
                continue;
            };
            if self.0.get(name).is_some_and(|(id, _)| id == previous.id()) {
                continue;
            }
            let seen_leaving = in_use
                .part(name)
                .is_some_and(|it| it.current.id() == previous.id());
            let rest = if seen_leaving {
                overlap
            } else {
                rest_of_window(overlap, previous.replaced(), now)
            };
            let end = now.mono.saturating_add(rest);
            self.0.insert(name.clone(), (previous.id().clone(), end));
        }
        self.withdraw(versions, now);
    }

    /// Ends those that a store no longer vouches for, whether the view is taken over or not.
    pub(super) fn withdraw(&mut self, versions: &Versions, now: Now) {
        for part in &versions.parts {
            if let Side::Absent = part.versions.previous
                && let Some((_, end)) = self.0.get_mut(&part.name)
            {
                *end = now.mono.min(*end);
            }
        }
    }

    /// The composed previous without what is over. With `built`, one of these bundles, if it is
    /// still vouched for: where bundles own resources, what was never built cannot be shown.
    pub(super) fn previous(&self, versions: &Versions, built: &[VersionId], now: Now) -> Version {
        let is_open = |part: &Part, previous: &Version| {
            let ends = self.0.get(&part.name).filter(|(id, _)| id == previous.id());
            ends.is_some_and(|(_, end)| *end > now.mono)
                && previous.expires().is_none_or(|end| end > now.wall)
        };
        let parts: Vec<Part> = versions
            .parts
            .iter()
            .cloned()
            .map(|mut part| {
                if !part
                    .versions
                    .previous()
                    .is_some_and(|it| is_open(&part, it))
                {
                    part.versions.previous = Side::Absent;
                }
                part
            })
            .collect();
        let whole = splice(&parts, |part| {
            part.versions.previous().unwrap_or(part.versions.current())
        });
        if built.is_empty() || built.contains(whole.id()) {
            return whole;
        }
        let built = built.iter().filter(|id| *id != versions.current.id());
        built
            .filter_map(|id| combination(&parts, id))
            .next()
            .unwrap_or(whole)
    }
}
