//! A keyring over a database password and a signing key, each a secret of its own.

use std::{
    future::{Ready, ready},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, SystemTime},
};

use http::StatusCode;
use serde::Deserialize;
use tower_secrets::{
    Builder, JwtKey, Keyring,
    clock::TokioClock,
    event::{Event, Events},
    source::{Combined, Memory, Source, SourceError, SourceErrorKind, Stage, Version, VersionId},
};

pub(crate) use crate::support::{ask, token};

pub(crate) const SECOND: Duration = Duration::from_secs(1);
/// 3 x 300 s, and the fetch limit; what a probe adds comes on top.
pub(crate) const WINDOW: Duration = Duration::from_secs(910);
pub(crate) const REFUSED: Result<Stage, StatusCode> = Err(StatusCode::UNAUTHORIZED);

#[derive(Debug, Deserialize)]
pub(crate) struct App {
    pub(crate) db: Db,
    pub(crate) jwt: Jwt,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Db {
    pub(crate) password: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Jwt {
    pub(crate) key: JwtKey,
    #[serde(default)]
    pub(crate) edition: u32,
}

pub(crate) fn password(password: &str) -> String {
    format!(r#"{{"password":"{password}"}}"#)
}

pub(crate) fn key(key: u32) -> String {
    edition(key, key)
}

pub(crate) fn edition(key: u32, edition: u32) -> String {
    format!(r#"{{"key":"key number {key:03} of thirty-two bytes","edition":{edition}}}"#)
}

pub(crate) fn down() -> SourceError {
    SourceError::new(SourceErrorKind::Unavailable, "the store is down")
}

pub(crate) fn ago(age: Duration) -> SystemTime {
    SystemTime::now() - age
}

pub(crate) fn v(id: &str, document: String) -> Version {
    Version::new(id, document)
}

pub(crate) struct World {
    pub(crate) db: Memory,
    pub(crate) jwt: Memory,
    pub(crate) keyring: Keyring<App>,
}

pub(crate) fn builder(source: impl Source) -> Builder<App> {
    Keyring::<App>::builder(source)
        .activation_delay(std::time::Duration::ZERO)
        .jwt_key(|app| &app.jwt.key)
        .clock(TokioClock::new())
}

pub(crate) fn source(db: &Memory, jwt: &Memory) -> Combined {
    Combined::new()
        .with("db", db.clone())
        .with("jwt", jwt.clone())
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::over(Memory::new(password("one")), Memory::new(key(1))).await
    }

    pub(crate) async fn over(db: Memory, jwt: Memory) -> Self {
        Self::with(db, jwt, |builder| builder).await
    }

    pub(crate) async fn with(
        db: Memory,
        jwt: Memory,
        set: impl FnOnce(Builder<App>) -> Builder<App>,
    ) -> Self {
        let keyring = set(builder(source(&db, &jwt))).build().await.unwrap();
        Self { db, jwt, keyring }
    }

    pub(crate) async fn refresh(&self) {
        self.keyring.refresh().await.unwrap();
    }

    pub(crate) async fn rotate_db(&self, to: &str) {
        self.db.rotate(password(to));
        self.refresh().await;
    }

    pub(crate) async fn rotate_jwt(&self, to: u32) {
        self.jwt.rotate(key(to));
        self.refresh().await;
    }

    pub(crate) async fn ask(&self, token: &str) -> Result<Stage, StatusCode> {
        ask(&self.keyring, token).await
    }

    /// A token of the key in use now.
    pub(crate) fn token(&self) -> String {
        token(&self.keyring.signer())
    }

    pub(crate) fn version(&self) -> VersionId {
        self.keyring.current().version().clone()
    }

    /// Which password and which edition of the key the previous bundle shows.
    pub(crate) fn previous(&self) -> Option<(String, u32)> {
        let previous = self.keyring.current().previous()?;
        Some((previous.db.password.clone(), previous.jwt.edition))
    }
}

/// A token of any key, minted by somebody else who has it.
pub(crate) async fn foreign_token(number: u32) -> String {
    let world = World::over(Memory::new(password("any")), Memory::new(key(number))).await;
    world.token()
}

/// What happened since the last look.
pub(crate) async fn seen(events: &mut Events) -> Vec<Event> {
    let mut seen = Vec::new();
    while let Some(Some(event)) = futures::FutureExt::now_or_never(events.next()) {
        seen.push(event);
    }
    seen
}

/// A probe on the database that fails for passwords that begin with `bad`, and counts its logins.
pub(crate) fn login(
    logins: Arc<AtomicU32>,
) -> impl Fn(Arc<App>) -> Ready<Result<(), &'static str>> + Send + Sync {
    move |app| {
        logins.fetch_add(1, Ordering::SeqCst);
        let good = !app.db.password.starts_with("bad");
        ready(good.then_some(()).ok_or("wrong password"))
    }
}
