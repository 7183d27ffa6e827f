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
            let current = versions.current.id();
            self.0.retain(|it, (id, _)| it != name || id != current);
            let is_other = |it: &&Version| it.id() != current;
            let Some(previous) = versions.previous().filter(is_other) else {
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
                rest_of_window(overlap, previous.replaced_at(), now)
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

    /// The composed previous without what is over, until the last of its windows ends. With `built`, one
    /// of these bundles if it is still vouched for: where bundles own resources, what was never built
    /// cannot be shown.
    pub(super) fn previous(&self, versions: &Versions, built: &[VersionId], now: Now) -> Version {
        let mut parts = versions.parts.clone();
        let mut rest = Duration::ZERO;
        for part in &mut parts {
            match self.rest(part, now) {
                Some(own) => rest = rest.max(own),
                None => part.versions.previous = Side::Absent,
            }
        }
        let whole = splice(&parts, |part| {
            part.versions.previous().unwrap_or(part.versions.current())
        });
        let mut others = built.iter().filter(|id| *id != versions.current.id());
        let shown = if built.contains(whole.id()) {
            whole
        } else {
            let known = others.find_map(|id| combination(&parts, id));
            known.unwrap_or(whole)
        };
        match now.wall.checked_add(rest) {
            Some(end) => {
                let end = shown.not_after().map_or(end, |own| own.min(end));
                shown.with_not_after(end)
            }
            None => shown,
        }
    }

    /// How long the window of this part's previous is still open.
    fn rest(&self, part: &Part, now: Now) -> Option<Duration> {
        let previous = part.versions.previous()?;
        let (_, end) = self
            .0
            .get(&part.name)
            .filter(|(id, _)| id == previous.id())?;
        let rest = end.checked_sub(now.mono).filter(|rest| !rest.is_zero())?;
        previous
            .not_after()
            .is_none_or(|end| end > now.wall)
            .then_some(rest)
    }
}
