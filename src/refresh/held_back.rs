//! The parts of a combined source that stay at what is in use while the others move on: those whose
//! store does not answer, and those whose new version a probe refused.

use std::{collections::BTreeMap, time::Duration};

use super::{
    RefreshError, Trigger,
    quarantine::{Quarantine, Waiting},
    settle::InUse,
};
use crate::{
    clock::Now,
    event::{Event, Teller},
    keyring::StalePart,
    source::{
        Versions,
        combined::{Part, compose},
    },
};

#[derive(Default)]
pub(super) struct HeldBack {
    stale: Vec<StalePart>,
    refused: BTreeMap<String, Quarantine>,
}

impl HeldBack {
    /// Notes which parts gave no answer, and tells of those that gave one the last time.
    pub(super) fn note_stale(&mut self, fetched: &Versions, now: Now, events: &Teller) {
        let mut stale = Vec::new();
        for part in &fetched.parts {
            let Some(error) = &part.stale else { continue };
            let known = self.stale.iter().find(|it| it.part == *part.name);
            if known.is_none() {
                events.tell(Event::PartStale {
                    part: part.name.clone(),
                    error: error.clone(),
                });
            }
            stale.push(StalePart {
                part: part.name.to_string(),
                since: known.map_or(now.wall, |it| it.since),
                error: error.clone(),
            });
        }
        self.stale = stale;
    }

    pub(super) fn stale(&self) -> &[StalePart] {
        &self.stale
    }

    /// The refused versions that are offered now, by part.
    pub(super) fn refused(&self) -> impl Iterator<Item = (&str, &Waiting)> {
        let refused = self.refused.iter();
        refused.filter_map(|(part, it)| Some((part.as_str(), it.offered()?)))
    }

    /// Holds back the parts whose new version was refused before, while its pause lasts.
    pub(super) fn wait(
        &mut self,
        versions: &mut Versions,
        in_use: &InUse,
        trigger: Trigger,
        now: Duration,
    ) -> Vec<RefreshError> {
        let mut told = Vec::new();
        for (name, quarantine) in &mut self.refused {
            match new_part(versions, in_use, name) {
                Some(part) => {
                    let again = quarantine.told_again(&part.versions.current, now);
                    if let Some(error) = again.filter(|_| !trigger.is_deliberate()) {
                        told.push(error);
                        hold(versions, in_use, name);
                    }
                }
                None => quarantine.nothing_offered(),
            }
        }
        told
    }

    /// Holds back a part that a probe refused just now.
    pub(super) fn refuse(
        &mut self,
        versions: &mut Versions,
        in_use: &InUse,
        error: &RefreshError,
        now: Duration,
    ) {
        let Some(name) = error.part() else { return };
        if let Some(part) = new_part(versions, in_use, name) {
            let quarantine = self.refused.entry(name.to_owned()).or_default();
            quarantine.refused(&part.versions.current, error, now);
            hold(versions, in_use, name);
        }
    }

    /// This view was refused as a whole, with what is new in it: no part of it is what the next try waits for.
    pub(super) fn not_to_blame(&mut self, versions: &Versions, in_use: &InUse) {
        for (name, quarantine) in &mut self.refused {
            if new_part(versions, in_use, name).is_some() {
                quarantine.nothing_offered();
            }
        }
    }

    /// This view passed, with all that is new in it.
    pub(super) fn passed(&mut self, versions: &Versions, in_use: &InUse) {
        for (name, quarantine) in &mut self.refused {
            if let Some(part) = new_part(versions, in_use, name) {
                quarantine.passed(&part.versions.current);
            }
        }
    }
}

/// The part, where it is to become another version than the one in use.
pub(super) fn new_part<'a>(versions: &'a Versions, in_use: &InUse, name: &str) -> Option<&'a Part> {
    let part = versions.parts.iter().find(|part| *part.name == *name)?;
    is_new(part, in_use).then_some(part)
}

pub(super) fn is_new(part: &Part, in_use: &InUse) -> bool {
    let is_in_use = |it: &Versions| it.current.id() == part.versions.current.id();
    !in_use.part(&part.name).is_some_and(is_in_use)
}

fn hold(versions: &mut Versions, in_use: &InUse, name: &str) {
    let mut parts = std::mem::take(&mut versions.parts);
    for part in parts.iter_mut().filter(|part| *part.name == *name) {
        if let Some(held) = in_use.held(name, &part.versions) {
            part.versions = held;
        }
    }
    *versions = compose(parts);
}
