//! One view made of several: a function of its parts, so that it can be made again with some of
//! them held back.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use crate::source::{Side, SourceError, Version, VersionId, Versions};

/// One part of a composed view.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) name: Arc<str>,
    pub(crate) versions: Versions,
    /// Why its store gave no answer this time; `versions` is then its last one.
    pub(crate) stale: Option<SourceError>,
}

impl Part {
    /// The version of this part that has the name: current or previous.
    pub(crate) fn version(&self, id: &str) -> Option<&Version> {
        let stages = [Some(self.versions.current()), self.versions.previous()];
        stages
            .into_iter()
            .flatten()
            .find(|it| it.id().as_str() == id)
    }
}

/// The view that these parts make; they are in name order. A side stage exists where any part has
/// it, and holds the current version of those that have not.
pub(crate) fn compose(parts: Vec<Part>) -> Versions {
    Versions {
        current: splice(&parts, |part| &part.versions.current),
        previous: side(&parts, |versions| &versions.previous),
        pending: side(&parts, |versions| &versions.pending),
        degraded: parts.iter().any(|part| part.versions.degraded),
        age: age(&parts),
        parts,
    }
}

/// How long ago the stores said so that gave an answer. Those that gave none were asked all the same.
fn age(parts: &[Part]) -> Duration {
    let answered = parts.iter().filter(|part| part.stale.is_none());
    let ages = answered.map(|part| part.versions.age);
    ages.max().unwrap_or_default()
}

fn side(parts: &[Part], of: impl Fn(&Versions) -> &Side) -> Side {
    let sides = || parts.iter().map(|part| (part, of(&part.versions)));
    if sides().any(|(_, side)| side.version().is_some()) {
        return Side::Present(splice(parts, |part| {
            let version = of(&part.versions).version();
            version.unwrap_or(&part.versions.current)
        }));
    }
    let unreadable = sides().find_map(|(part, side)| match side {
        Side::Unreadable(error) => Some(error.in_part(&part.name)),
        Side::Absent | Side::Present(_) | Side::Stageless { .. } => None,
    });
    unreadable.map_or(Side::Absent, Side::Unreadable)
}

/// One version of each part as one version. It was replaced when the last of those was that are not
/// current, and ends when the first of them does.
pub(crate) fn splice<'a>(parts: &'a [Part], pick: impl Fn(&'a Part) -> &'a Version) -> Version {
    let picked: Vec<(&Part, &Version)> = parts.iter().map(|part| (part, pick(part))).collect();
    let mut whole = Version::new(name(&picked), object(&picked));
    let beside = || {
        let is_beside =
            |(part, version): &&(&Part, &Version)| version.id() != part.versions.current.id();
        picked.iter().filter(is_beside).map(|(_, version)| version)
    };
    // Where one of them cannot say when, nobody can say it of the whole.
    let replaced: Option<Vec<SystemTime>> = beside().map(|version| version.replaced_at()).collect();
    if let Some(at) = replaced.and_then(|all| all.into_iter().max()) {
        whole = whole.with_replaced_at(at);
    }
    if let Some(at) = beside().filter_map(|version| version.not_after()).min() {
        whole = whole.with_not_after(at);
    }
    whole
}

/// The combination that has this name, of versions that are current or previous now; `None` where
/// a part no longer vouches for its own.
pub(crate) fn combination(parts: &[Part], id: &VersionId) -> Option<Version> {
    let ids = part_ids(id)?;
    let named = |part: &Part| ids.iter().find(|(name, _)| **name == *part.name);
    let has_each =
        |part: &Part| named(part).is_some_and(|(_, id)| part.version(id.as_str()).is_some());
    (ids.len() == parts.len() && parts.iter().all(has_each)).then(|| {
        splice(parts, |part| {
            let version = named(part).and_then(|(_, id)| part.version(id.as_str()));
            version.unwrap_or(&part.versions.current)
        })
    })
}

/// The ids of the parts in a composed one; `None` for one of another making.
pub(crate) fn part_ids(id: &VersionId) -> Option<Vec<(&str, VersionId)>> {
    let part = |text: &str| {
        // An id of its part may hold a `=`; a name may not.
        let at = text.find('=')?;
        let unescaped = text[at + 1..].replace("%2C", ",").replace("%25", "%");
        Some((at, VersionId::from(unescaped)))
    };
    let texts = id.as_str().split(',');
    texts
        .map(|text| part(text).map(|(at, id)| (&text[..at], id)))
        .collect()
}

fn name(picked: &[(&Part, &Version)]) -> String {
    let part = |(part, version): &(&Part, &Version)| {
        let id = version
            .id()
            .as_str()
            .replace('%', "%25")
            .replace(',', "%2C");
        format!("{}={id}", part.name)
    };
    picked.iter().map(part).collect::<Vec<_>>().join(",")
}

/// The documents as members of one object. Each is one whole JSON value, which `Combined` saw to.
fn object(picked: &[(&Part, &Version)]) -> Vec<u8> {
    let names: Vec<String> = picked
        .iter()
        .map(|(part, _)| serde_json::Value::from(&*part.name).to_string())
        .collect();
    let length = picked
        .iter()
        .zip(&names)
        .map(|((_, version), name)| name.len() + version.document().len() + 2);
    // At once as long as it gets: growing would leave copies of secrets behind.
    let mut object = Vec::with_capacity(length.sum::<usize>() + 2);
    for ((_, version), name) in picked.iter().zip(&names) {
        object.push(if object.is_empty() { b'{' } else { b',' });
        object.extend_from_slice(name.as_bytes());
        object.push(b':');
        object.extend_from_slice(version.document());
    }
    object.push(b'}');
    object
}
