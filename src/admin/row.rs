//! A keyring whose bundle's type is of no interest.

use std::{future::Future, pin::Pin, sync::Arc, time::SystemTime};

use crate::{
    keyring::{Keyring, Status},
    refresh::{RefreshError, Refreshed},
    source::VersionId,
};

type Refreshing<'a> = Pin<Box<dyn Future<Output = Result<Refreshed, RefreshError>> + Send + 'a>>;

/// One secret of the page.
#[derive(Clone)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) keyring: Arc<dyn Watched>,
}

impl Row {
    pub(super) fn new<T: Send + Sync + 'static>(name: String, keyring: Keyring<T>) -> Self {
        Self {
            name,
            keyring: Arc::new(keyring),
        }
    }
}

pub(super) trait Watched: Send + Sync {
    fn now(&self) -> SystemTime;
    fn state(&self) -> Status;
    fn is_running(&self) -> bool;
    fn reload(&self) -> Refreshing<'_>;
    fn is_known(&self, version: &VersionId) -> bool;
    fn refuse(&self, version: &VersionId);
    fn refuse_previous(&self) -> Vec<VersionId>;
}

impl<T: Send + Sync + 'static> Watched for Keyring<T> {
    fn now(&self) -> SystemTime {
        self.clock().wall()
    }

    fn state(&self) -> Status {
        self.status()
    }

    fn is_running(&self) -> bool {
        !self.is_stopped()
    }

    fn reload(&self) -> Refreshing<'_> {
        Box::pin(self.refresh())
    }

    fn is_known(&self, version: &VersionId) -> bool {
        self.shared().knows(version)
    }

    fn refuse(&self, version: &VersionId) {
        self.revoke(version);
    }

    fn refuse_previous(&self) -> Vec<VersionId> {
        self.revoke_previous()
    }
}
