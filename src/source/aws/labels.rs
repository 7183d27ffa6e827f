//! Which version holds which staging label.

use std::collections::HashMap;

use crate::source::VersionId;

pub(super) const CURRENT: &str = "AWSCURRENT";
pub(super) const PREVIOUS: &str = "AWSPREVIOUS";
pub(super) const PENDING: &str = "AWSPENDING";

/// The stages of one answer, as their ids. One id stands in one stage only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stages {
    pub(super) current: VersionId,
    pub(super) previous: Beside,
    pub(super) pending: Beside,
}

/// A stage other than current.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Beside {
    Absent,
    Held(VersionId),
    /// Several versions are said to hold the label, or which one does could not be read.
    Unknown,
}

impl Beside {
    pub(super) fn id(&self) -> Option<&VersionId> {
        match self {
            Self::Held(id) => Some(id),
            Self::Absent | Self::Unknown => None,
        }
    }

    fn of(mut ids: Vec<&String>) -> Self {
        match (ids.pop(), ids.len()) {
            (None, _) => Self::Absent,
            (Some(id), 0) => Self::Held(id.as_str().into()),
            (Some(_), _) => Self::Unknown,
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoCurrent {
    Missing,
    Ambiguous,
}

impl Stages {
    /// Where a version holds several labels, AWSCURRENT wins over AWSPREVIOUS, and that over
    /// AWSPENDING, which AWS leaves in place after a success.
    pub(super) fn of(labels: &HashMap<String, Vec<String>>) -> Result<Self, NoCurrent> {
        let rank = |labels: &[String]| {
            [CURRENT, PREVIOUS, PENDING]
                .iter()
                .position(|label| labels.iter().any(|held| held == label))
        };
        let holders = |wanted: usize| {
            let holds = labels.iter().filter(|(_, held)| rank(held) == Some(wanted));
            Beside::of(holds.map(|(id, _)| id).collect())
        };
        let current = match holders(0) {
            Beside::Held(id) => id,
            Beside::Absent => return Err(NoCurrent::Missing),
            Beside::Unknown => return Err(NoCurrent::Ambiguous),
        };
        Ok(Self {
            current,
            previous: holders(1),
            pending: holders(2),
        })
    }

    pub(super) fn names(&self, id: &VersionId) -> bool {
        let beside = [self.previous.id(), self.pending.id()];
        self.current == *id || beside.contains(&Some(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stages(labels: &[(&str, &[&str])]) -> Result<Stages, NoCurrent> {
        let owned = |(id, held): &(&str, &[&str])| {
            let held = held.iter().map(ToString::to_string).collect();
            ((*id).to_owned(), held)
        };
        Stages::of(&labels.iter().map(owned).collect())
    }

    fn held(id: &str) -> Beside {
        Beside::Held(id.into())
    }

    #[test]
    fn each_label_has_its_version() {
        let found = stages(&[
            ("a", &[PREVIOUS]),
            ("b", &[CURRENT, "mine"]),
            ("c", &[PENDING]),
            ("d", &["mine too"]),
            ("e", &[]),
        ]);
        let expected = Stages {
            current: "b".into(),
            previous: held("a"),
            pending: held("c"),
        };
        assert_eq!(found, Ok(expected));
    }

    #[test]
    fn the_first_label_in_order_counts() {
        let after_success = stages(&[("a", &[PREVIOUS]), ("b", &[PENDING, CURRENT])]);
        let expected = Stages {
            current: "b".into(),
            previous: held("a"),
            pending: Beside::Absent,
        };
        assert_eq!(after_success, Ok(expected.clone()));
        let rolled_back = stages(&[("a", &[PENDING, PREVIOUS]), ("b", &[CURRENT])]);
        assert_eq!(rolled_back, Ok(expected));
        let moved_onto_current = stages(&[("b", &[PREVIOUS, CURRENT])]);
        let expected = Stages {
            current: "b".into(),
            previous: Beside::Absent,
            pending: Beside::Absent,
        };
        assert_eq!(moved_onto_current, Ok(expected));
    }

    #[test]
    fn a_label_on_two_versions_is_no_choice() {
        let twice = stages(&[("a", &[CURRENT]), ("b", &[CURRENT])]);
        assert_eq!(twice, Err(NoCurrent::Ambiguous));
        assert_eq!(stages(&[("a", &[PENDING])]), Err(NoCurrent::Missing));
        assert_eq!(stages(&[]), Err(NoCurrent::Missing));
        let beside = stages(&[
            ("a", &[PREVIOUS]),
            ("b", &[PREVIOUS]),
            ("c", &[CURRENT]),
            ("d", &[PENDING]),
            ("e", &[PENDING]),
        ]);
        let expected = Stages {
            current: "c".into(),
            previous: Beside::Unknown,
            pending: Beside::Unknown,
        };
        assert_eq!(beside, Ok(expected));
    }
}
