//! Against a server in this process that speaks Secrets Manager's protocol and does as it is told.
#![allow(clippy::unwrap_used)]

mod fake;

mod view;

mod failures;

mod identity;

mod stale;

mod denied;

mod keyring;

use aws_sdk_secretsmanager::Client;

use self::fake::Fake;
use super::SecretsManager;
use crate::source::{Side, Source, SourceError, SourceErrorKind, Versions, WindowStart};

/// The ids of a view: current, previous, pending.
fn ids(versions: &Versions) -> (&str, Option<&str>, Option<&str>) {
    (
        versions.current().id().as_str(),
        versions.previous().map(|version| version.id().as_str()),
        versions.pending().map(|version| version.id().as_str()),
    )
}

fn source(fake: &Fake) -> SecretsManager {
    SecretsManager::new(fake.client(), fake::NAME)
}

/// What a keyring does with an answer that passed.
async fn fetch_and_publish(source: &SecretsManager) -> Versions {
    let versions = source.fetch().await.unwrap();
    source.published(versions.current().id());
    versions
}
