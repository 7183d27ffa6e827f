//! Reading without `DescribeSecret`: each label by itself, until the answers fit together.

use super::{
    caller::{Caller, Which},
    error::{Action, Call},
    labels::{self, Beside, Stages},
};
use crate::source::{
    Side, SourceError, SourceErrorKind, Version, VersionId, Versions, fetch_time::FetchTime,
};

/// How often the labels are read in one fetch, four calls each time.
const ATTEMPTS: usize = 5;

/// Labels may move between two calls. What was read between two equal answers for current belongs
/// together, unless previous is current: then a label came back in between. Where the next reading ends
/// alike, one version holds both labels, and there is no previous.
pub(super) async fn read(
    caller: &Caller,
    time: FetchTime,
) -> Result<(Stages, Versions), SourceError> {
    let mut held_both = None;
    for _ in 0..ATTEMPTS {
        let current = caller.value(Which::Label(labels::CURRENT)).await?;
        let previous = side(caller, labels::PREVIOUS, time).await;
        let pending = side(caller, labels::PENDING, time).await;
        let again = caller.value(Which::Label(labels::CURRENT)).await?;
        let is_torn = again.id() != current.id();
        let holds_both = id(&previous) == Some(current.id());
        if !is_torn && !holds_both {
            return Ok(fit(current, previous, pending));
        }
        if !is_torn && held_both.as_ref() == Some(current.id()) {
            return Ok(fit(current, Side::Absent, pending));
        }
        held_both = (!is_torn).then(|| current.id().clone());
    }
    let call = Call {
        action: Action::GetValue,
        secret: caller.secret().as_str(),
        version: None,
        region: None,
    };
    let why = format!("the labels moved during each of {ATTEMPTS} readings");
    Err(call.error(SourceErrorKind::Unavailable, why))
}

async fn side(caller: &Caller, label: &str, time: FetchTime) -> Side {
    let which = Which::Label(label);
    let read = time.side(caller.value(which)).await;
    match read.unwrap_or_else(|fault| Err(caller.gave_up(which, fault))) {
        Ok(version) => Side::Present(version),
        Err(error) if error.kind() == SourceErrorKind::NotFound => Side::Absent,
        Err(error) => Side::Unreadable(error),
    }
}

fn fit(current: Version, previous: Side, pending: Side) -> (Stages, Versions) {
    let taken = |pending: &VersionId| pending == current.id() || id(&previous) == Some(pending);
    let pending = match pending {
        // AWS leaves the label in place after a success.
        Side::Present(version) if taken(version.id()) => Side::Absent,
        other => other,
    };
    let stages = Stages {
        current: current.id().clone(),
        previous: beside(&previous),
        pending: beside(&pending),
    };
    let mut versions = Versions::new(current);
    versions.previous = previous;
    versions.pending = pending;
    (stages, versions)
}

fn beside(side: &Side) -> Beside {
    match side {
        // A secret has stages, so it is never the second.
        Side::Absent | Side::Stageless { .. } => Beside::Absent,
        Side::Present(version) => Beside::Held(version.id().clone()),
        Side::Unreadable(_) => Beside::Unknown,
    }
}

fn id(side: &Side) -> Option<&VersionId> {
    side.version().map(Version::id)
}
