//! A credential on loan: how long it lasts, and what is left to do with it.

use std::time::{Duration, SystemTime};

use serde::Deserialize;
use serde_json::{json, value::RawValue};
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::{
    super::{SourceError, Version, VersionId},
    client::VaultClient,
    http::{Answer, Request},
    session::{before_end, seconds},
};

/// What the database engine gives out.
#[derive(Deserialize)]
pub(super) struct Credentials<'a> {
    #[serde(borrow)]
    username: &'a RawValue,
    #[serde(borrow)]
    password: &'a RawValue,
}

impl Credentials<'_> {
    /// `{"username": .., "password": ..}`, as the server wrote the two.
    pub(super) fn version(&self, id: VersionId) -> Version {
        let (username, password) = (self.username.get(), self.password.get());
        let parts = [
            r#"{"username":"#,
            username,
            r#","password":"#,
            password,
            "}",
        ];
        let length = parts.iter().map(|part| part.len()).sum();
        // It never grows, so it leaves no copy behind.
        let mut document = Zeroizing::new(Vec::with_capacity(length));
        for part in parts {
            document.extend_from_slice(part.as_bytes());
        }
        Version::new(id, std::mem::take(&mut *document))
    }
}

#[derive(Deserialize)]
struct Given<'a> {
    lease_id: String,
    lease_duration: u64,
    renewable: bool,
    #[serde(borrow)]
    data: Credentials<'a>,
}

#[derive(Deserialize)]
struct Renewed {
    lease_duration: u64,
}

#[derive(Deserialize)]
struct LookedUp {
    ttl: u64,
}

/// One dynamic credential.
pub(super) struct Lease {
    pub(super) version: Version,
    /// The token that took it: it ends with that token.
    pub(super) token: u64,
    pub(super) ends: Instant,
    /// When it must be renewed or replaced.
    pub(super) due: Instant,
    full: Duration,
    renewable: bool,
    /// Whether it was looked up before.
    looked_up: bool,
}

/// What became of a question about a lease.
pub(super) enum Fate {
    /// It goes on.
    Lives,
    /// It cannot be prolonged as before, so it should be replaced.
    Ends,
    /// It is over already.
    Gone,
}

impl Lease {
    pub(super) async fn obtain(client: &VaultClient, path: &str) -> Result<Self, SourceError> {
        let (answer, pass) = client.ask(&Request::get(path)).await?;
        Self::given(&answer, pass.number)
    }

    /// The one in an answer, taken by this token.
    pub(super) fn given(answer: &Answer, token: u64) -> Result<Self, SourceError> {
        let given: Given<'_> = answer.parsed()?;
        let full = seconds(given.lease_duration);
        if given.lease_id.is_empty() || full.is_zero() {
            return Err(answer.malformed("it is no lease"));
        }
        let now = Instant::now();
        let version = given.data.version(VersionId::new(given.lease_id));
        Ok(Self {
            version: version.with_created_at(SystemTime::now()),
            token,
            ends: now + full,
            due: now + before_end(full),
            full,
            renewable: given.renewable,
            looked_up: false,
        })
    }

    pub(super) fn id(&self) -> &VersionId {
        self.version.id()
    }

    /// Renews it where that is due, and else asks whether it is still there.
    pub(super) async fn keep(&mut self, client: &VaultClient) -> Result<Fate, SourceError> {
        // Not gone: a token that was replaced may live on, and the lease with it.
        if self.note_token(client) {
            return Ok(Fate::Ends);
        }
        let now = Instant::now();
        if now >= self.ends {
            return Ok(Fate::Gone);
        }
        if now < self.due {
            return self.look_up(client).await;
        }
        if !self.renewable {
            return Ok(Fate::Ends);
        }
        let request = post("sys/leases/renew", self.id());
        let (answer, _) = client.ask_once(&request).await?;
        if answer.is_bad_request() || answer.is_forbidden() {
            // A refusal alone does not tell that it is over.
            self.renewable = false;
            let is_gone =
                answer.is_bad_request() && matches!(self.look_up(client).await, Ok(Fate::Gone));
            return Ok(if is_gone { Fate::Gone } else { Fate::Ends });
        }
        let granted = seconds(answer.parsed::<Renewed>()?.lease_duration);
        let now = Instant::now();
        self.ends = now + granted;
        // The server counts whole seconds. Its maximum is near where it grants less than before.
        self.renewable = granted + Duration::from_secs(1) >= self.full;
        if self.renewable {
            self.due = now + before_end(granted);
            return Ok(Fate::Lives);
        }
        // At once, also where the next one cannot be had yet: who holds this one needs the rest.
        self.due = now;
        Ok(Fate::Ends)
    }

    /// Whether another token than the one that took it is in use by now. It ends with its own.
    fn note_token(&mut self, client: &VaultClient) -> bool {
        let status = *client.token().borrow();
        if status.number == self.token {
            return false;
        }
        let ends = if status.number == self.token + 1 {
            status.before_ends
        } else {
            Some(Instant::now())
        };
        if let Some(ends) = ends {
            self.ends = self.ends.min(ends);
        }
        true
    }

    async fn look_up(&mut self, client: &VaultClient) -> Result<Fate, SourceError> {
        let request = post("sys/leases/lookup", self.id());
        let (answer, _) = client.ask_once(&request).await?;
        if answer.is_bad_request() || answer.is_not_found() {
            return Ok(Fate::Gone);
        }
        if answer.is_forbidden() {
            // It is only asked for to learn of a revocation early. What was allowed before, and is
            // no more, points to a token that was revoked.
            return Ok(if self.looked_up {
                Fate::Ends
            } else {
                Fate::Lives
            });
        }
        let left = seconds(answer.data::<LookedUp>()?.ttl) + Duration::from_secs(1);
        self.looked_up = true;
        self.ends = self.ends.min(Instant::now() + left);
        Ok(Fate::Lives)
    }

    /// As previous: until when it works.
    pub(super) fn as_previous(&self) -> Option<Version> {
        let left = self.ends.checked_duration_since(Instant::now())?;
        let not_after = SystemTime::now().checked_add(left)?;
        Some(self.version.clone().with_not_after(not_after))
    }
}

/// Ends a lease. One that is over already is no error.
pub(super) async fn revoke(client: &VaultClient, lease: &VersionId) -> Result<(), SourceError> {
    let (answer, _) = client.ask_once(&post("sys/leases/revoke", lease)).await?;
    if answer.is_success() || answer.is_bad_request() {
        return Ok(());
    }
    Err(answer.refusal(None))
}

fn post(path: &str, lease: &VersionId) -> Request {
    let body = json!({ "lease_id": lease.as_str() }).to_string();
    Request::post(path, body.into_bytes())
}
