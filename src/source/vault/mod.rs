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
    http::Request,
    metadata::{Metadata, Named, Progress, Stages},
};
use super::{
    Side, Source, SourceError, SourceErrorKind, Version, VersionId, Versions, WindowStart,
    window_start::Dates,
};

mod http;

mod auth;
pub use auth::VaultAuth;

mod session;

mod client;
pub use client::{VaultClient, VaultClientBuilder};

mod metadata;

mod lease;

mod database;
pub use database::VaultDatabase;

/// Reads one secret of a KV secrets engine, version 2.
pub struct Vault {
    client: VaultClient,
    mount: String,
    path: String,
    window_start: WindowStart,
    memory: Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    /// Versions never change, so what was read once is kept while a stage names it.
    values: HashMap<VersionId, Version>,
    /// The newest answer.
    seen: Option<(Progress, Versions)>,
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
            memory: Mutex::default(),
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

    async fn metadata(&self) -> Result<Metadata, SourceError> {
        let request = Request::get(format!("{}/metadata/{}", self.mount, self.path));
        let (answer, _) = self.client.ask(&request).await?;
        answer.data()
    }

    fn error(&self, kind: SourceErrorKind, why: impl fmt::Display) -> SourceError {
        SourceError::new(kind, format!("`{}/{}`: {why}", self.mount, self.path))
    }

    /// A version's value, from memory where it was read before.
    async fn version(&self, named: &Named) -> Result<Version, SourceError> {
        let id = named.id();
        let held = self.memory().values.get(&id).cloned();
        if let Some(version) = held {
            return Ok(version);
        }
        let path = format!("{}/data/{}", self.mount, self.path);
        let request = Request::get(path).version(named.number);
        let (answer, _) = self.client.ask(&request).await?;
        if answer.is_not_found() && answer.has_data() {
            let why = format!("version {} was deleted meanwhile", named.number);
            return Err(self.error(SourceErrorKind::Deleted, why));
        }
        let read: Read<'_> = answer.data()?;
        let got = read.metadata;
        if got.id() != id {
            let why = format!("asked for version {id} and got {}", got.id());
            return Err(self.error(SourceErrorKind::Other, why));
        }
        let document = read.data.get().as_bytes();
        let mut version = Version::new(id.clone(), document);
        if let Some(at) = named.created_at {
            version = version.created_at(at);
        }
        self.memory().values.insert(id, version.clone());
        Ok(version)
    }

    async fn beside(&self, named: &Option<Named>) -> Side {
        match named {
            Some(named) => self
                .version(named)
                .await
                .map_or_else(Side::Unreadable, Side::Present),
            None => Side::Absent,
        }
    }

    /// Says when previous stopped being current.
    fn dated(&self, previous: Side, stages: &Stages) -> Side {
        let Side::Present(version) = previous else {
            return previous;
        };
        let began = self.window_start.of(&Dates {
            current_created: stages.current.created_at,
            previous_created: version.created(),
            last_changed: stages.last_changed,
            last_rotated: None,
        });
        Side::Present(match began {
            Some(began) => version.replaced_at(began),
            None => version,
        })
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
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

impl ReadAbout {
    fn id(&self) -> VersionId {
        metadata::id(self.version, &self.created_time)
    }
}

impl Source for Vault {
    async fn fetch(&self) -> Result<Versions, SourceError> {
        let metadata = self.metadata().await?;
        let progress = metadata.progress();
        if let Some((seen, versions)) = &self.memory().seen
            && progress.is_behind(seen)
        {
            return Ok(versions.clone());
        }
        let stages = metadata
            .stages(SystemTime::now())
            .map_err(|error| self.error(error.kind(), &error))?;
        self.memory().values.retain(|id, _| stages.name(id));
        let (current, previous, pending) = tokio::join!(
            self.version(&stages.current),
            self.beside(&stages.previous),
            self.beside(&stages.pending),
        );
        let mut versions = Versions::new(current?);
        versions.previous = self.dated(previous, &stages);
        versions.pending = pending;
        self.memory().seen = Some((progress, versions.clone()));
        Ok(versions)
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
            memory: _,
        } = self;
        f.debug_struct("Vault")
            .field("client", client)
            .field("mount", mount)
            .field("path", path)
            .field("window_start", window_start)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
