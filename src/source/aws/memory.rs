//! What one process remembers between two answers: values, and the view that is in use.

use std::collections::HashMap;

use aws_sdk_secretsmanager::primitives::DateTime;

use super::labels::Stages;
use crate::source::{Version, VersionId, Versions, last_word::LastWord};

#[derive(Default)]
pub(super) struct Memory {
    /// Versions are immutable, so a value is read once.
    values: HashMap<VersionId, Version>,
    offered: Option<View>,
    published: Option<View>,
    last_word: LastWord,
}

/// One answer of the store.
#[derive(Clone)]
pub(super) struct View {
    pub(super) stages: Stages,
    pub(super) versions: Versions,
    /// The secret's `LastChangedDate`.
    pub(super) changed: Option<DateTime>,
}

impl Memory {
    /// The view in use, where an answer with this date is older than it: some server behind AWS's
    /// name has not heard of the change yet.
    pub(super) fn if_stale(&mut self, changed: Option<DateTime>, source: &str) -> Option<Versions> {
        let published = self.published.as_ref()?;
        let is_stale = changed? < published.changed?;
        is_stale.then(|| self.last_word.again(&published.versions, source))
    }

    pub(super) fn value(&self, id: &VersionId) -> Option<Version> {
        self.values.get(id).cloned()
    }

    pub(super) fn remember(&mut self, version: &Version) {
        self.values.insert(version.id().clone(), version.clone());
    }

    /// Lets go of values that are neither in this answer nor in use.
    pub(super) fn keep_only(&mut self, answer: &Stages) {
        let published = self.published.as_ref().map(|view| &view.stages);
        self.values.retain(|id, _| {
            let mut views = [Some(answer), published].into_iter().flatten();
            views.any(|stages| stages.names(id))
        });
    }

    /// Notes what the keyring is about to see.
    pub(super) fn offer(&mut self, view: View) -> Versions {
        self.last_word.heard();
        if let Some(published) = &mut self.published
            && published.stages == view.stages
        {
            // The keyring finds nothing new in it and will not say so.
            published.changed = published.changed.max(view.changed);
        }
        let versions = view.versions.clone();
        self.offered = Some(view);
        versions
    }

    /// Learns which version was swapped in. An unknown one is another source's, under a
    /// `Fallback`.
    pub(super) fn published(&mut self, current: &VersionId) {
        let offered = self.offered.as_ref();
        if let Some(offered) = offered.filter(|view| view.stages.current == *current) {
            self.published = Some(offered.clone());
        }
    }
}
