//! Which versions a view named: how an unchanged store is known without reading it again.

use super::settle::LeftOut;
use crate::source::{Side, Stage, VersionId, Versions};

/// The ids of an accepted view: an equal one is no news.
#[derive(PartialEq, Eq)]
pub(super) struct View {
    current: VersionId,
    previous: SideId,
    pending: SideId,
    left_out: Vec<(String, Stage, Option<VersionId>)>,
}

#[derive(PartialEq, Eq)]
enum SideId {
    Absent,
    Unreadable,
    Stageless,
    Present(VersionId),
}

impl View {
    pub(super) fn of(versions: &Versions, left_out: &[LeftOut]) -> Self {
        let left_out = left_out.iter();
        Self {
            current: versions.current.id().clone(),
            previous: SideId::of(&versions.previous),
            pending: SideId::of(&versions.pending),
            left_out: left_out
                .map(|it| (it.part.clone(), it.stage, it.version.clone()))
                .collect(),
        }
    }
}

impl SideId {
    fn of(side: &Side) -> Self {
        match side {
            Side::Absent => Self::Absent,
            Side::Unreadable(_) => Self::Unreadable,
            Side::Stageless { .. } => Self::Stageless,
            Side::Present(version) => Self::Present(version.id().clone()),
        }
    }
}
