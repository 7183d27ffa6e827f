//! Vault and OpenBao: the KV secrets engine, version 2, and the database engine.

use std::{
    collections::HashMap,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use serde::Deserialize;
use serde_json::value::RawValue;

use self::{
    http::{Answer, Request},
    metadata::{Metadata, Named, Stages},
};
use super::{
    Source, SourceError, SourceErrorKind, Stage, Version, VersionId, Versions, WindowStart,
    window_start::Dates,
};

mod http;

mod auth;
pub use auth::VaultAuth;

mod session;

mod client;
pub use client::{VaultClient, VaultClientBuilder};

mod metadata;

/// Reads one secret of a KV secrets engine, version 2.
pub struct Vault {
    client: VaultClient,
    mount: String,
    path: String,
    window_start: WindowStart,
    /// Versions never change, so what was read once is kept while a stage names it.
    held: Mutex<HashMap<VersionId, Version>>,
}

impl Vault {
    /// A source over the secret at `path`, such as `my-server/prod`, of the engine mounted at
    /// `secret`. Reads nothing yet.
    pub fn new(client: &VaultClient, path: impl Into<String>) -> Self {
        Self {
            client: client.clone(),
            mount: "secret".to_owned(),
            path: path.into().trim_matches('/').to_owned(),
            window_start: WindowStart::default(),
            held: Mutex::default(),
        }
    }

    /// Where the engine is mounted; `secret` by default.
    #[must_use]
    pub fn mount(mut self, mount: impl Into<String>) -> Self {
        self.mount = mount.into().trim_matches('/').to_owned();
        self
    }

    /// When a window began that this process did not see begin; [`WindowStart::Lenient`] by
    /// default.
    #[must_use]
    pub fn window_start(mut self, start: WindowStart) -> Self {
        self.window_start = start;
        self
    }

    async fn stages(&self) -> Result<Stages, SourceError> {
        let request = Request::get(format!("{}/metadata/{}", self.mount, self.path));
        let (answer, _) = self.client.ask(&request).await?;
        if !answer.is_success() {
            return Err(self.refusal(&answer));
        }
        let metadata: Metadata = answer.data()?;
        metadata.stages(SystemTime::now()).map_err(|error| {
            SourceError::new(
                error.kind(),
                format!("`{}/{}`: {error}", self.mount, self.path),
            )
        })
    }

    fn refusal(&self, answer: &Answer) -> SourceError {
        answer.refusal(None)
    }

    /// A version's value, from memory where it was read before.
    async fn version(&self, named: &Named) -> Result<Version, SourceError> {
        let id = named.id();
        if let Some(version) = self.held().get(&id) {
            return Ok(version.clone());
        }
        let path = format!("{}/data/{}", self.mount, self.path);
        let request = Request::get(path).version(named.number);
        let (answer, _) = self.client.ask(&request).await?;
        if answer.is_not_found() && answer.has_data() {
            let message = format!(
                "`{}/{}`: version {} was deleted meanwhile",
                self.mount, self.path, named.number
            );
            return Err(SourceError::new(SourceErrorKind::Deleted, message));
        }
        if !answer.is_success() {
            return Err(self.refusal(&answer));
        }
        let read: Read<'_> = answer.data()?;
        if read.metadata.version != named.number || read.metadata.created_time != named.created_time
        {
            let message = format!(
                "`{}/{}`: asked for version {id} and got {}@{}",
                self.mount, self.path, read.metadata.version, read.metadata.created_time
            );
            return Err(SourceError::new(SourceErrorKind::Other, message));
        }
        let document = read.data.get().as_bytes();
        let mut version = Version::new(id.clone(), document);
        if let Some(at) = named.created_at {
            version = version.created_at(at);
        }
        self.held().insert(id, version.clone());
        Ok(version)
    }

    async fn side(&self, named: &Option<Named>) -> Option<Result<Version, SourceError>> {
        match named {
            Some(named) => Some(self.version(named).await),
            None => None,
        }
    }

    fn held(&self) -> MutexGuard<'_, HashMap<VersionId, Version>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What `data` of a version's answer holds.
#[derive(Deserialize)]
struct Read<'a> {
    #[serde(borrow)]
    data: &'a RawValue,
    metadata: ReadAbout,
}

#[derive(Deserialize)]
struct ReadAbout {
    version: u64,
    created_time: String,
}

impl Source for Vault {
    async fn fetch(&self) -> Result<Versions, SourceError> {
        let stages = self.stages().await?;
        let (current, previous, pending) = tokio::join!(
            self.version(&stages.current),
            self.side(&stages.previous),
            self.side(&stages.pending),
        );
        let named = [
            Some(&stages.current),
            stages.previous.as_ref(),
            stages.pending.as_ref(),
        ];
        let named: Vec<VersionId> = named.into_iter().flatten().map(Named::id).collect();
        self.held().retain(|id, _| named.contains(id));

        let mut versions = Versions::new(current?);
        match previous {
            Some(Ok(version)) => {
                let dates = Dates {
                    current_created: stages.current.created_at,
                    previous_created: version.created(),
                    last_changed: stages.last_changed,
                    last_rotated: None,
                };
                let version = match self.window_start.of(&dates) {
                    Some(at) => version.replaced_at(at),
                    None => version,
                };
                versions = versions.with_previous(version);
            }
            Some(Err(error)) => versions = versions.with_unreadable(Stage::Previous, error),
            None => {}
        }
        Ok(match pending {
            Some(Ok(version)) => versions.with_pending(version),
            Some(Err(error)) => versions.with_unreadable(Stage::Pending, error),
            None => versions,
        })
    }

    /// Never resolves: it renews the token, which may end before the next poll.
    async fn changed(&self) {
        self.client.keep_alive().await;
    }

    fn name(&self) -> String {
        format!("vault {}/{}", self.mount, self.path)
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            client,
            mount,
            path,
            window_start,
            held: _,
        } = self;
        f.debug_struct("Vault")
            .field("client", client)
            .field("mount", mount)
            .field("path", path)
            .field("window_start", window_start)
            .finish_non_exhaustive()
    }
}
