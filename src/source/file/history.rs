//! What one process remembers between two views of a mount: what was published, and what was said.

use std::{collections::VecDeque, mem, path::Path};

use super::{
    document::{Document, Found},
    layout::Mount,
    read::malformed,
};
use crate::source::{SourceError, SourceErrorKind, Version, VersionId, Versions, version::Side};

/// All stages of one view, understood.
pub(super) struct Stages {
    pub(super) current: Found,
    pub(super) previous: Found,
    pub(super) pending: Found,
    pub(super) mount: Mount,
}

#[derive(Default)]
pub(super) struct History {
    /// From the first sight of a previous on, the operator manages it: nothing is offered.
    previous_is_managed: bool,
    fetched: Option<Document>,
    published: Option<Document>,
    /// What was published before `published`.
    replaced: Option<Version>,
    mount_warned: bool,
    warned_without_end: Warned,
    warned_not_durable: Warned,
}

impl History {
    /// Makes the answer out of a view.
    pub(super) fn settle(
        &mut self,
        root: &Path,
        in_kubernetes: bool,
        stages: Stages,
    ) -> Result<Versions, SourceError> {
        let Stages {
            current,
            previous,
            pending,
            mount,
        } = stages;
        self.warn_of_mount(root, in_kubernetes, mount);
        // One that could not be looked at says nothing of who writes it.
        self.previous_is_managed |= match &previous {
            Found::Missing => false,
            Found::Empty | Found::Document(_) => true,
            Found::Unusable(error) => error.kind() == SourceErrorKind::Malformed,
        };
        let is_withdrawn = self.is_withdrawn(&current, &previous);
        let current = required(current, root).and_then(|current| {
            self.check_reuse(&current, root)?;
            Ok(current)
        });
        let current = current.map_err(|error| match is_withdrawn {
            true => error.without_previous(root.display().to_string()),
            false => error,
        })?;

        let mut versions = Versions::new(current.version.clone());
        let is_unusable = matches!(previous, Found::Unusable(_));
        versions.previous = if self.previous_is_managed || is_unusable {
            let previous = side(previous, &current, &root.join("previous.json"));
            self.warn_without_end(root, &current, &previous);
            previous
        } else {
            self.offer(root, &current)
        };
        versions.pending = side(pending, &current, &root.join("pending.json"));
        self.fetched = Some(current);
        Ok(versions)
    }

    /// Learns which version was swapped in.
    pub(super) fn published(&mut self, id: &VersionId) {
        let is = |document: &Document| document.version.id() == id;
        if self.published.as_ref().is_some_and(is) {
            return;
        }
        // An unknown id is another source's, under a `Fallback`.
        if let Some(fetched) = self.fetched.take_if(|fetched| is(fetched)) {
            let replaced = self.published.replace(fetched);
            self.replaced = replaced.map(|document| document.version);
        }
    }

    /// Whether the operator took previous away, whatever may be wrong with current. Where that is gone
    /// too, or is an empty folder, the mount may be.
    fn is_withdrawn(&self, current: &Found, previous: &Found) -> bool {
        let was_looked_at = match current {
            Found::Missing | Found::Empty => return false,
            Found::Document(_) => true,
            Found::Unusable(error) => error.kind() == SourceErrorKind::Malformed,
        };
        match previous {
            Found::Missing => self.previous_is_managed && was_looked_at,
            Found::Empty => true,
            Found::Document(_) | Found::Unusable(_) => false,
        }
    }

    /// The keyring takes an id that it knows for a value that it knows: the new one would be
    /// ignored without a word.
    fn check_reuse(&self, current: &Document, root: &Path) -> Result<(), SourceError> {
        match &self.published {
            Some(published) if contradicts(published, current) => {
                Err(malformed(root, &reused("current", current)))
            }
            _ => Ok(()),
        }
    }

    fn offer(&mut self, root: &Path, current: &Document) -> Side {
        let is_published = |published: &Document| published.version.id() == current.version.id();
        let offered = match &self.published {
            Some(published) if !is_published(published) => Some(&published.version),
            _ => self.replaced.as_ref(),
        };
        let Some(offered) = offered.filter(|offered| offered.id() != current.version.id()) else {
            return Side::Absent;
        };
        if self.warned_not_durable.is_new(offered.id()) {
            tracing::warn!(
                source = %root.display(),
                version = %offered.id(),
                hint = "only this process knows what was current before; write `previous.json` \
                        so that a restarted replica accepts it too",
                "secrets_previous_not_durable"
            );
        }
        Side::Present(offered.clone())
    }

    fn warn_without_end(&mut self, root: &Path, current: &Document, previous: &Side) {
        let Some(previous) = previous.version() else {
            return;
        };
        let ends = previous.not_after().is_some() || previous.id() == current.version.id();
        if !ends && self.warned_without_end.is_new(previous.id()) {
            tracing::warn!(
                source = %root.display(),
                version = %previous.id(),
                hint = "a restart begins its window anew; add `not_after` (RFC 3339)",
                "secrets_previous_without_not_after"
            );
        }
    }

    fn warn_of_mount(&mut self, root: &Path, in_kubernetes: bool, mount: Mount) {
        let reason = match mount {
            Mount::SingleFile => "it is a single file",
            Mount::Directory if in_kubernetes => "it has no `..data` link",
            Mount::Kubelet | Mount::Directory => return,
        };
        if !mem::replace(&mut self.mount_warned, true) {
            tracing::warn!(
                source = %root.display(),
                reason,
                hint = "a volume mounted with `subPath` never updates; mount the whole volume",
                "secrets_mount_may_never_update"
            );
        }
    }
}

fn required(current: Found, root: &Path) -> Result<Document, SourceError> {
    match current {
        Found::Document(document) => Ok(document),
        Found::Unusable(error) => Err(error),
        Found::Missing => Err(SourceError::new(
            SourceErrorKind::NotFound,
            format!(
                "`{}`: holds neither `current.json` nor a folder `current`",
                root.display()
            ),
        )),
        Found::Empty => Err(SourceError::new(
            SourceErrorKind::NotFound,
            format!("`{}`: the folder is empty", root.join("current").display()),
        )),
    }
}

fn side(found: Found, current: &Document, shown: &Path) -> Side {
    match found {
        Found::Missing | Found::Empty => Side::Absent,
        Found::Unusable(error) => Side::Unreadable(error),
        Found::Document(document) if contradicts(&document, current) => {
            Side::Unreadable(malformed(shown, &reused("this stage", &document)))
        }
        Found::Document(document) => Side::Present(document.version),
    }
}

fn contradicts(one: &Document, other: &Document) -> bool {
    one.version.id() == other.version.id() && one.fingerprint != other.fingerprint
}

fn reused(what: &str, document: &Document) -> String {
    format!(
        "the content of {what} differs from what field `version` {:?} stood for; \
         give it a `version` of its own",
        document.version.id()
    )
}

/// The ids that a warning was given for; old ones are forgotten.
#[derive(Default)]
struct Warned(VecDeque<VersionId>);

impl Warned {
    fn is_new(&mut self, id: &VersionId) -> bool {
        if self.0.contains(id) {
            return false;
        }
        self.0.truncate(15);
        self.0.push_front(id.clone());
        true
    }
}
