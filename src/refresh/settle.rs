//! What counts of a view that was fetched, given what is in use: for a secret of its own, and for
//! each part of a combined one by itself.

use std::collections::HashMap;

use crate::{
    event::Event,
    source::{
        Side, Stage, Version, VersionId, Versions,
        combined::{Part, compose},
    },
};

/// The name of a secret that is no part of another.
const WHOLE: &str = "";

/// The view that was taken over last.
#[derive(Default)]
pub(super) struct InUse {
    versions: Option<Versions>,
    /// The previous version that each secret's store named last.
    named: HashMap<String, VersionId>,
    /// The pending versions that their stores have made current, and that were refused here: others use them.
    came_into_use: HashMap<String, VersionId>,
}

/// A fetched view as far as it counts.
pub(super) struct Settled {
    pub(super) versions: Versions,
    pub(super) left_out: Vec<LeftOut>,
}

/// A side stage that cannot be used as it is.
pub(super) struct LeftOut {
    pub(super) part: String,
    pub(super) stage: Stage,
    pub(super) version: Option<VersionId>,
    reason: String,
}

impl InUse {
    /// What is in use of a part.
    pub(super) fn part(&self, name: &str) -> Option<&Versions> {
        let in_use = self.versions.as_ref()?;
        let part = in_use.parts.iter().find(|part| *part.name == *name)?;
        Some(&part.versions)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.versions.is_none()
    }

    fn secret(&self, name: &str) -> Option<&Versions> {
        match name {
            WHOLE => self.versions.as_ref().filter(|it| it.parts.is_empty()),
            part => self.part(part),
        }
    }

    /// `taken` is what became of `fetched`: some of its parts may have been held back.
    pub(super) fn take(&mut self, fetched: &Versions, taken: Versions) {
        self.versions = Some(taken);
        self.note_pending(fetched);
        for (name, shown) in secrets(fetched) {
            let is_taken = |it: &Versions| it.current.id() == shown.current.id();
            match &shown.previous {
                Side::Absent | Side::Stageless { .. } => {
                    self.named.remove(name);
                }
                Side::Present(previous)
                    if previous.id() != shown.current.id()
                        && self.secret(name).is_some_and(is_taken) =>
                {
                    self.named.insert(name.to_owned(), previous.id().clone());
                }
                Side::Present(_) | Side::Unreadable(_) => {}
            }
        }
    }

    /// What the stores have taken back of pending: of any secret, and of the part that the keys are in.
    pub(super) fn takes_pending_back(
        &self,
        shown: &Versions,
        key_part: Option<&Part>,
    ) -> [bool; 2] {
        let takes_back = |(name, shown): (&str, &Versions)| self.is_taken_back(name, shown);
        let any = secrets(shown).into_iter().any(takes_back);
        let of_keys = key_part.map_or(any, |part| takes_back((&part.name, &part.versions)));
        [any, of_keys]
    }

    /// Whether the store names what was pending no more, in any stage. Beside a previous that is not known
    /// here it may have come into use meanwhile, under another name; then others sign with it.
    fn is_taken_back(&self, name: &str, shown: &Versions) -> bool {
        let Some(in_use) = self.secret(name) else {
            return false;
        };
        let is_known = |id: &VersionId| {
            let previous = in_use.previous().map(Version::id);
            in_use.current.id() == id || previous == Some(id)
        };
        let is_replaced_by_known = match &shown.previous {
            Side::Absent | Side::Stageless { .. } => true,
            Side::Present(previous) => is_known(previous.id()),
            Side::Unreadable(_) => false,
        };
        let is_unused = |pending: &Version| {
            pending.id() != shown.current.id() && self.came_into_use.get(name) != Some(pending.id())
        };
        matches!(shown.pending, Side::Absent)
            && is_replaced_by_known
            && in_use.pending().is_some_and(is_unused)
    }

    /// Notes which pending versions have come into use elsewhere.
    fn note_pending(&mut self, shown: &Versions) {
        let mut noted = std::mem::take(&mut self.came_into_use);
        for (name, shown) in secrets(shown) {
            match self.secret(name).and_then(Versions::pending) {
                Some(pending) if pending.id() == shown.current.id() => {
                    noted.insert(name.to_owned(), pending.id().clone());
                }
                Some(_) => {}
                None => {
                    noted.remove(name);
                }
            }
        }
        self.came_into_use = noted;
    }

    /// A part that stays at what is in use, but for what its store withdrew: that does not wait for a
    /// good current.
    pub(super) fn held(&self, name: &str, shown: &Versions) -> Option<Versions> {
        let mut held = self.part(name)?.clone();
        if matches!(shown.previous, Side::Absent) {
            held.previous = Side::Absent;
        }
        if self.is_taken_back(name, shown) {
            held.pending = Side::Absent;
        }
        Some(held)
    }

    /// This view was refused. What it took back must not come back with one that cannot be read.
    pub(super) fn note_refused(&mut self, shown: &Versions) {
        let names: Vec<&str> = secrets(shown)
            .into_iter()
            .filter(|(name, shown)| self.is_taken_back(name, shown))
            .map(|(name, _)| name)
            .collect();
        let Some(in_use) = &mut self.versions else {
            return;
        };
        if names == [WHOLE] {
            in_use.pending = Side::Absent;
        }
        for part in &mut in_use.parts {
            if names.contains(&&*part.name) {
                part.versions.pending = Side::Absent;
            }
        }
        self.note_pending(shown);
    }

    /// A part that gave no answer is held back; of all others counts what they show.
    pub(super) fn settle(&self, fetched: Versions) -> Settled {
        let mut left_out = Vec::new();
        if fetched.parts.is_empty() {
            let versions = self.settle_one(WHOLE, fetched, &mut left_out);
            return Settled { versions, left_out };
        }
        let parts = fetched.parts.into_iter().map(|part| {
            let is_stale = part.stale.is_some();
            let versions = match is_stale
                .then(|| self.held(&part.name, &part.versions))
                .flatten()
            {
                Some(held) => held,
                None => self.settle_one(&part.name, part.versions, &mut left_out),
            };
            Part { versions, ..part }
        });
        let versions = compose(parts.collect());
        Settled { versions, left_out }
    }

    fn settle_one(&self, name: &str, shown: Versions, left_out: &mut Vec<LeftOut>) -> Versions {
        let mut leave_out = |stage, version: Option<&Version>, reason: String| {
            left_out.push(LeftOut {
                part: name.to_owned(),
                stage,
                version: version.map(|it| it.id().clone()),
                reason,
            });
        };
        let mut settled = shown;
        for (stage, side) in [
            (Stage::Previous, &settled.previous),
            (Stage::Pending, &settled.pending),
        ] {
            if let Side::Unreadable(error) = side {
                leave_out(stage, None, error.to_string());
            }
        }
        if let Some(pending) = settled.pending.version()
            && let (Some(pending_at), Some(current_at)) =
                (pending.created_at(), settled.current.created_at())
            && pending_at < current_at
        {
            let reason = "it is older than the current version".to_owned();
            leave_out(Stage::Pending, Some(pending), reason);
            settled.pending = Side::Absent;
        }
        if let Some(in_use) = self.secret(name) {
            settled.previous = self.previous(name, &settled, in_use);
            if let (Side::Unreadable(_), pending) = (&settled.pending, &in_use.pending) {
                let came_into_use = pending
                    .version()
                    .is_some_and(|it| it.id() == settled.current.id());
                settled.pending = if came_into_use {
                    Side::Absent
                } else {
                    pending.clone()
                };
            }
        }
        settled
    }

    /// A previous that was moved along counts as it is, and so does none at all, which is a
    /// withdrawal. Beside one that did not move along with a flip (the store has not caught up, or an
    /// operator wrote current alone), that is a copy of current, or that cannot be read, counts what was
    /// seen here.
    fn previous(&self, name: &str, shown: &Versions, in_use: &Versions) -> Side {
        let flipped = in_use.current.id() != shown.current.id();
        match &shown.previous {
            Side::Absent | Side::Stageless { .. } => shown.previous.clone(),
            Side::Present(it)
                if it.id() != shown.current.id() && self.named.get(name) != Some(it.id()) =>
            {
                shown.previous.clone()
            }
            _ if flipped => Side::Present(in_use.current.clone().undated()),
            // It may bring an earlier end.
            Side::Present(it) if in_use.previous.version().map(Version::id) == Some(it.id()) => {
                shown.previous.clone()
            }
            Side::Present(_) | Side::Unreadable(_) => in_use.previous.clone(),
        }
    }
}

impl LeftOut {
    pub(super) fn event(&self) -> Event {
        let reason = match self.part.as_str() {
            WHOLE => self.reason.clone(),
            part => format!("part `{part}`: {}", self.reason),
        };
        Event::StageSkipped {
            stage: self.stage,
            version: self.version.clone(),
            reason,
        }
    }
}

fn secrets(versions: &Versions) -> Vec<(&str, &Versions)> {
    if versions.parts.is_empty() {
        return vec![(WHOLE, versions)];
    }
    let parts = versions.parts.iter();
    parts.map(|part| (&*part.name, &part.versions)).collect()
}
