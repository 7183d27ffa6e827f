//! Vault and OpenBao: [`Vault`] for a secret of a KV engine, version 2, and [`VaultDatabase`] for
//! the database engine, over one [`VaultClient`].
//!
//! ```no_run
//! use serde::Deserialize;
//! use tower_secrets::{
//!     JwtKey, Keyring,
//!     source::{Vault, VaultAuth, VaultClient},
//! };
//!
//! #[derive(Deserialize)]
//! struct App {
//!     jwt_secret: JwtKey,
//! }
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let client = VaultClient::builder("https://vault.example:8200")
//!     .auth(VaultAuth::kubernetes("my-server"))
//!     .build()?;
//! // {"jwt_secret": ".."}, written by `bao kv put -mount=secret my-server/jwt jwt_secret=..`
//! let source = Vault::new(&client, "my-server/jwt");
//! let keyring = Keyring::<App>::builder(source)
//!     .jwt_key(|app| &app.jwt_secret)
//!     .build()
//!     .await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Which version plays which role
//!
//! (OpenBao: *KV secrets engine - version 2*)
//!
//! | stage | version |
//! |---|---|
//! | current | the newest that `custom_metadata.pending` does not name |
//! | previous | the next live one below it that is not named either |
//! | pending | the highest that `custom_metadata.pending` names, if it exists and is live |
//!
//! A version is live while it is not destroyed, and its `deletion_time` is empty or to come, as it
//! is with `delete_version_after`. Its name here is its number and its creation,
//! `3@2026-01-02T03:04:05Z`, since numbers begin anew after `kv metadata delete`.
//!
//! * `kv put` rotates: the new version is current at the next poll, the old one previous until its
//!   window ends.
//! * `kv delete` or `kv destroy` of *previous* withdraws it from the fleet, at each replica's next
//!   poll. The next live version below takes its place. A process that ended the trust in its key
//!   keeps to that, but one that starts later does not know; destroy all that leaked.
//! * `kv delete` of *current* is an error of the kind [`Deleted`](SourceErrorKind::Deleted); what
//!   is in use stays, but for a previous where no version below is live. An older version never comes back by itself.
//! * `kv rollback` writes a new version with old values. Windows belong to keys, not to versions,
//!   so the old key is simply current again.
//! * `max_versions` must leave two versions at least, three where a version is staged.
//!
//! # Staging a key before it is used
//!
//! So that no replica meets a token of a key it does not know, a new version can verify first and
//! sign later. Name its number *before* it exists, and put it with `-cas`, so that it has that
//! number or fails:
//!
//! ```sh
//! # Version 3 is current.
//! bao kv metadata patch -mount=secret -custom-metadata=pending=4 my-server/jwt
//! bao kv put -mount=secret -cas=3 my-server/jwt jwt_secret=..
//! # Each replica has polled: it is used from now on.
//! bao kv metadata patch -mount=secret -remove-custom-metadata=pending my-server/jwt
//! ```
//!
//! A staged version that is not wanted any more is destroyed and stays named, or the newest version
//! would be a destroyed one. The next is named beside it: `pending=4,5`.
//!
//! # When the window began
//!
//! A process that starts after a rotation has the server's word only. By default that is the
//! metadata's `updated_time`, its last change of any kind except deleting and destroying, as
//! OpenBao 2.7 keeps it; [`WindowStart::Strict`] takes the creation of current, which for a staged
//! version is earlier than its flip.
//!
//! # What a poll costs
//!
//! One `GET {mount}/metadata/{path}`. Values never change, so each is read once, by its number, and
//! an answer that names another version than the one asked for is not taken. An answer whose
//! numbers or `updated_time` are behind those of an earlier one comes from a standby that lags, or
//! from a restored backup; what was read before stays until the numbers have caught up, and ages: see
//! [`max_staleness`](crate::Builder::max_staleness). After a quarter of an hour of such answers the event
//! `secrets_store_behind` tells of them. A token
//! costs a call at about two thirds of its life, whenever that is, and a look at itself at the
//! start where it was given and not logged in for.
//!
//! # Permissions
//!
//! The least policy for a secret at `secret`, `my-server/jwt` (OpenBao: *Policies*):
//!
//! ```hcl
//! path "secret/metadata/my-server/jwt" { capabilities = ["read"] }
//! path "secret/data/my-server/jwt"     { capabilities = ["read"] }
//! ```
//!
//! The policy `default` lets a token look itself up and renew itself, and look up and renew leases.
//! Without it tokens and leases are replaced instead of renewed, at about two thirds of the life that
//! the login granted, and a lease that was revoked early is not noticed. Where a permission is missing
//! beside it, that costs one login, and then the refusal counts as the policy's until the path works
//! or the token's time is over; for a token that was given,
//! [`Unauthenticated`](SourceErrorKind::Unauthenticated) is told. For the database engine:
//!
//! ```hcl
//! path "database/static-creds/my-server" { capabilities = ["read"] }   # a static role, or
//! path "database/creds/my-server"        { capabilities = ["read"] }   # a dynamic one, with
//! path "sys/leases/revoke"               { capabilities = ["update"] } # this to end leases early
//! ```
//!
//! # Tokens
//!
//! [`VaultAuth`] names the ways to one. A token is renewed when about two thirds of its life are
//! over, by the loop of the keyring, however long its interval is. A renewal that is capped by
//! `max_ttl` is answered with success and less time than before; that is noticed, and the next
//! token obtained at once. A batch token, which cannot be renewed, is replaced in the same way; one
//! that cannot say how long it lives is used until it fails. A refusal that the token is to blame
//! for is met by one new login and one more try; a permission that is missing is not.
//!
//! A token that was *given* cannot be replaced: the event `secrets_token_ends` warns when it is at
//! its maximum. It should have a period (OpenBao: *Tokens*), or sit in a file that an agent keeps.
//!
//! # When the server fails
//!
//! | what happened | kind |
//! |---|---|
//! | it is sealed | [`Sealed`](SourceErrorKind::Sealed) |
//! | it is a standby (429, 472, 473) and does not forward | [`Standby`](SourceErrorKind::Standby) |
//! | it refuses connections, answers 5xx, or breaks off | [`Unavailable`](SourceErrorKind::Unavailable) |
//! | it does not answer within the time-out of a request, 4 s by default | [`TimedOut`](SourceErrorKind::TimedOut) |
//! | the policy does not allow it (any more) | [`PermissionDenied`](SourceErrorKind::PermissionDenied) |
//! | the token is dead and no login helps | [`Unauthenticated`](SourceErrorKind::Unauthenticated) |
//! | a rate limit quota is used up | [`Throttled`](SourceErrorKind::Throttled) |
//! | nothing is at that path | [`NotFound`](SourceErrorKind::NotFound) |
//! | the newest version was deleted or destroyed | [`Deleted`](SourceErrorKind::Deleted) |
//! | `custom_metadata.pending` holds something else than numbers | [`Malformed`](SourceErrorKind::Malformed) |
//! | an unknown database role, a bad setting | [`InvalidRequest`](SourceErrorKind::InvalidRequest) |
//!
//! In each case the snapshot in use stays, and the next poll that succeeds is enough to recover:
//! nothing has to be restarted. Previous and pending get half of the time that is left of a fetch: one
//! that hangs is left out, and current is not. A redirect to the active server is followed once, never to another
//! scheme.
//!
//! # Database credentials
//!
//! (OpenBao: *Database secrets engine*, *Leases*) Both kinds give `{"username": "..", "password":
//! ".."}`.
//!
//! A *static* role is one account whose password the server changes. The next poll is set for when
//! the rotation is due, and repeated, less and less often, until it has happened. From the rotation
//! to that poll the old password is dead, and sessions that are open live on:
//! [`Secrets::try_each_as`](crate::Secrets::try_each_as) with
//! [`single_user`](crate::CredentialKind::single_user) waits for the new one instead of failing.
//! There is no previous; the event `secrets_previous_withdrawn` is told at each rotation and is no
//! alarm here.
//!
//! A *dynamic* role is an account of this process's own, on a lease. A poll looks whether the lease
//! is still there, so one that an operator revoked is replaced. It is renewed at about two thirds
//! of its life, and replaced when a renewal is capped by `max_ttl`, or when another token takes
//! over: leases end with the token that took them. The old account is previous until its lease ends
//! at the latest; when its window is over and the last request that held it has ended, it is
//! revoked. With [`release_previous_at_swap`](crate::Builder::release_previous_at_swap) that is as
//! soon as those requests have ended. A lease in use when the process ends, or one granted while
//! the fetch was given up, ends by itself: choose a short `default_ttl`.
//!
//! # Why a client of our own
//!
//! `vaultrs` reads no version of a KV secret by its number, needs `&mut` to change the token, and
//! its settings print the token with `Debug`. What is used here is ten calls over `reqwest` with
//! rustls and aws-lc-rs, which are in many servers' trees already.

use std::{
    collections::HashMap,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use serde::Deserialize;
use serde_json::value::RawValue;

use self::{
    http::Request,
    metadata::{Metadata, Named, Progress, Stages},
};
use super::{
    Side, Source, SourceError, SourceErrorKind, Version, VersionId, Versions, WindowStart,
    error::one_line,
    fetch_time::{FetchLimit, FetchTime},
    last_word::LastWord,
    window_start::Dates,
};

#[cfg(any(fuzzing, test))]
pub(crate) mod fuzz;

mod http;

mod auth;
pub use auth::VaultAuth;

mod pass;

mod session;

mod client;
pub use client::{VaultClient, VaultClientBuilder};

mod metadata;

mod lease;

mod database;
pub use database::VaultDatabase;

/// The longest reason that is told, in characters: it may hold what the server wrote.
const LONGEST: usize = 400;

/// A secret of a KV engine, version 2, of Vault or OpenBao; see the [module](self).
///
/// ```
/// use tower_secrets::source::{Source, Vault, VaultAuth, VaultClient};
///
/// # fn main() -> Result<(), tower_secrets::source::SourceError> {
/// let client = VaultClient::builder("http://127.0.0.1:8200")
///     .auth(VaultAuth::token_file("/run/vault/token"))
///     .build()?;
/// let source = Vault::new(&client, "my-server/jwt").mount("kv");
/// assert_eq!(source.name(), "vault kv/my-server/jwt");
/// # Ok(())
/// # }
/// ```
pub struct Vault {
    client: VaultClient,
    mount: String,
    path: String,
    window_start: WindowStart,
    limit: FetchLimit,
    memory: Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    /// Versions never change, so what was read once is kept while a stage names it.
    values: HashMap<VersionId, Version>,
    /// The newest answer.
    seen: Option<(Progress, Versions)>,
    last_word: LastWord,
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
            limit: FetchLimit::default(),
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
        let why = one_line(&why.to_string(), LONGEST);
        SourceError::new(kind, format!("`{}/{}`: {why}", self.mount, self.path))
    }

    /// What was read before, where this answer is from before that.
    fn if_behind(&self, progress: &Progress) -> Option<Versions> {
        let mut memory = self.memory();
        let Memory {
            seen, last_word, ..
        } = &mut *memory;
        let (seen, versions) = seen.as_ref()?;
        let is_behind = progress.is_behind(seen);
        is_behind.then(|| last_word.again(versions, &self.name()))
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
            version = version.with_created_at(at);
        }
        self.memory().values.insert(id, version.clone());
        Ok(version)
    }

    async fn beside(&self, named: &Option<Named>, time: FetchTime) -> Side {
        let Some(named) = named else {
            return Side::Absent;
        };
        let read = time.side(self.version(named)).await;
        let read = read.unwrap_or_else(|fault| {
            let why = format!("version {} {fault}", named.number);
            Err(self.error(SourceErrorKind::TimedOut, why))
        });
        read.map_or_else(Side::Unreadable, Side::Present)
    }

    /// Says when previous stopped being current.
    fn dated(&self, previous: Side, stages: &Stages) -> Side {
        let Side::Present(version) = previous else {
            return previous;
        };
        let began = self.window_start.of(&Dates {
            current_created: stages.current.created_at,
            previous_created: version.created_at(),
            last_changed: stages.last_changed,
            last_rotated: None,
        });
        Side::Present(match began {
            Some(began) => version.with_replaced_at(began),
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
        let time = self.limit.begin();
        let metadata = self.metadata().await?;
        let progress = metadata.progress();
        if let Some(versions) = self.if_behind(&progress) {
            return Ok(versions);
        }
        let now = SystemTime::now();
        let told = |error: SourceError| match metadata.has_no_previous(now) {
            true => error.without_previous(self.name()),
            false => error,
        };
        let stages = metadata
            .stages(now)
            .map_err(|error| told(self.error(error.kind(), &error)))?;
        self.memory().values.retain(|id, _| stages.name(id));
        let (current, previous, pending) = tokio::join!(
            self.version(&stages.current),
            self.beside(&stages.previous, time),
            self.beside(&stages.pending, time),
        );
        let mut versions = Versions::new(current.map_err(told)?);
        versions.previous = self.dated(previous, &stages);
        versions.pending = pending;
        let mut memory = self.memory();
        memory.seen = Some((progress, versions.clone()));
        memory.last_word.heard();
        Ok(versions)
    }

    /// Never resolves: it renews the token, which may end before the next poll.
    async fn changed(&self) {
        self.client.keep_alive().await;
    }

    fn set_fetch_limit(&self, limit: Duration) {
        self.limit.set(limit);
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
            limit: _,
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
