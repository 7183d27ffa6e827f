//! What a secret's metadata says of its stages.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::SystemTime,
};

use serde::Deserialize;

use super::super::{SourceError, SourceErrorKind, VersionId, rfc3339::rfc3339};

/// The key of `custom_metadata` with the numbers of versions that are not to be current: the
/// highest is about to come into use, those below were given up.
const PENDING: &str = "pending";

#[derive(Debug, Deserialize)]
pub(super) struct Metadata {
    created_time: String,
    current_version: u64,
    /// OpenBao counts changes of the metadata itself, too.
    #[serde(default)]
    current_metadata_version: u64,
    versions: BTreeMap<u64, About>,
    custom_metadata: Option<HashMap<String, String>>,
    updated_time: Option<String>,
}

#[derive(Debug, Deserialize)]
struct About {
    created_time: String,
    #[serde(default)]
    deletion_time: String,
    #[serde(default)]
    destroyed: bool,
}

/// One version by its number and its creation, since numbers begin anew after a secret's metadata
/// was deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) number: u64,
    pub(super) created_time: String,
    pub(super) created_at: Option<SystemTime>,
}

impl Named {
    pub(super) fn id(&self) -> VersionId {
        id(self.number, &self.created_time)
    }
}

pub(super) fn id(number: u64, created_time: &str) -> VersionId {
    VersionId::new(format!("{number}@{created_time}"))
}

/// Which version plays which role.
#[derive(Debug)]
pub(super) struct Stages {
    pub(super) current: Named,
    pub(super) previous: Option<Named>,
    pub(super) pending: Option<Named>,
    pub(super) last_changed: Option<SystemTime>,
}

impl Stages {
    pub(super) fn name(&self, id: &VersionId) -> bool {
        let beside = [&self.previous, &self.pending].into_iter().flatten();
        let mut all = beside.chain([&self.current]);
        all.any(|named| named.id() == *id)
    }
}

/// How far a secret has come; numbers only grow.
#[derive(Clone, Debug)]
pub(super) struct Progress {
    created_time: String,
    version: u64,
    metadata_version: u64,
    updated: Option<SystemTime>,
    /// When each version was created.
    versions: BTreeMap<u64, String>,
}

impl Progress {
    /// Whether this was read from a server that has not heard of what was read before.
    pub(super) fn is_behind(&self, seen: &Self) -> bool {
        self.created_time == seen.created_time
            && (self.version < seen.version
                || self.metadata_version < seen.metadata_version
                || self.is_older_metadata(seen))
    }

    /// Vault does not count changes of the metadata, such as a flip: only their time tells. Clocks
    /// differ between servers, so a count goes first.
    fn is_older_metadata(&self, seen: &Self) -> bool {
        let (Some(updated), Some(before)) = (self.updated, seen.updated) else {
            return false;
        };
        self.metadata_version == seen.metadata_version
            && self.versions == seen.versions
            && updated < before
    }
}

impl Metadata {
    fn updated(&self) -> Option<SystemTime> {
        self.updated_time.as_deref().and_then(rfc3339)
    }

    pub(super) fn progress(&self) -> Progress {
        let created = |(number, about): (&u64, &About)| (*number, about.created_time.clone());
        Progress {
            created_time: self.created_time.clone(),
            version: self.current_version,
            metadata_version: self.current_metadata_version,
            updated: self.updated(),
            versions: self.versions.iter().map(created).collect(),
        }
    }

    /// Current is the newest version that `custom_metadata.pending` does not name, previous the
    /// next live one below it.
    ///
    /// # Errors
    /// When there is no current, when it was deleted, and when it cannot be told because what
    /// `custom_metadata.pending` holds is no number.
    pub(super) fn stages(&self, now: SystemTime) -> Result<Stages, SourceError> {
        let staged = self.staged()?;
        let mut others = self.unstaged(&staged);
        let Some((number, newest)) = others.next() else {
            let message = match self.versions.is_empty() {
                true => "no version exists",
                false => "only a pending version exists",
            };
            return Err(SourceError::new(SourceErrorKind::NotFound, message));
        };
        if let Some(how) = newest.how_it_went(now) {
            let message = format!("version {number}, the newest, was {how}");
            return Err(SourceError::new(SourceErrorKind::Deleted, message));
        }
        let previous = others.find(|(_, about)| about.how_it_went(now).is_none());
        let pending = staged
            .last()
            .and_then(|number| self.versions.get_key_value(number))
            .filter(|(_, about)| about.how_it_went(now).is_none());
        Ok(Stages {
            current: newest.named(*number),
            previous: previous.map(|(n, about)| about.named(*n)),
            pending: pending.map(|(n, about)| about.named(*n)),
            last_changed: self.updated(),
        })
    }

    /// Whether no live version is below the newest, be that as it may.
    pub(super) fn has_no_previous(&self, now: SystemTime) -> bool {
        let Ok(staged) = self.staged() else {
            return false;
        };
        let mut others = self.unstaged(&staged);
        others.next().is_some() && others.all(|(_, about)| about.how_it_went(now).is_some())
    }

    /// The versions that are not about to come into use, the newest first.
    fn unstaged(&self, staged: &BTreeSet<u64>) -> impl Iterator<Item = (&u64, &About)> {
        let versions = self.versions.iter().rev();
        versions.filter(|(number, _)| !staged.contains(number))
    }

    fn staged(&self) -> Result<BTreeSet<u64>, SourceError> {
        let custom = self.custom_metadata.as_ref();
        let text = custom.and_then(|custom| custom.get(PENDING));
        let numbers = text.map_or("", String::as_str).split([',', ' ']);
        let numbers = numbers.filter(|number| !number.is_empty());
        let numbers: Result<_, _> = numbers.map(str::parse).collect();
        numbers.map_err(|_| {
            let message = format!("custom_metadata.{PENDING} holds more than numbers of versions");
            SourceError::new(SourceErrorKind::Malformed, message)
        })
    }
}

impl About {
    /// `None` while it is there. With `delete_version_after`, a live version has a `deletion_time`
    /// in the future.
    fn how_it_went(&self, now: SystemTime) -> Option<&'static str> {
        if self.destroyed {
            return Some("destroyed");
        }
        let is_over = !self.deletion_time.is_empty()
            && rfc3339(&self.deletion_time).is_none_or(|at| at <= now);
        is_over.then_some("deleted")
    }

    fn named(&self, number: u64) -> Named {
        Named {
            number,
            created_time: self.created_time.clone(),
            created_at: rfc3339(&self.created_time),
        }
    }
}
