//! The database secrets engine: passwords that Vault changes, and accounts that it makes.

use std::{
    collections::HashMap,
    fmt,
    future::pending,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::Deserialize;
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep_until},
};

use super::{
    super::{Source, SourceError, SourceErrorKind, Version, VersionId, Versions, rfc3339::rfc3339},
    client::VaultClient,
    http::{Answer, Request},
    lease::{Credentials, Fate, Lease, revoke},
    session::seconds,
};
use crate::guard::log;

/// After a rotation is due, the password is asked for again that soon, and then less and less
/// often.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const MAX_DOUBLINGS: u32 = 6;

/// The credentials of a role of the database engine of Vault or OpenBao, `{"username": "..",
/// "password": ".."}`; see the [module](super).
///
/// ```
/// use tower_secrets::source::{Source, VaultAuth, VaultClient, VaultDatabase};
///
/// # fn main() -> Result<(), tower_secrets::source::SourceError> {
/// let client = VaultClient::builder("http://127.0.0.1:8200")
///     .auth(VaultAuth::app_role("a role id", "a secret id"))
///     .build()?;
/// let source = VaultDatabase::dynamic_role(&client, "my-server");
/// assert_eq!(source.name(), "vault database/creds/my-server");
/// # Ok(())
/// # }
/// ```
pub struct VaultDatabase {
    client: VaultClient,
    mount: String,
    role: String,
    kind: Kind,
    /// When the next fetch should come by itself.
    due: watch::Sender<Option<Due>>,
    /// What was reported last: each reason is reported once, or a fetch that fails would be asked
    /// for without end.
    reported: Mutex<Option<(Instant, bool)>>,
}

enum Kind {
    Static(Mutex<Overdue>),
    Dynamic(Box<Leases>),
}

/// A rotation that was due and did not come.
#[derive(Default)]
struct Overdue {
    version: Option<VersionId>,
    times: u32,
}

#[derive(Default)]
struct Leases {
    /// Held over calls, so that no lease is taken twice.
    held: tokio::sync::Mutex<Held>,
    books: Mutex<Books>,
    drained: Notify,
}

#[derive(Default)]
struct Held {
    current: Option<Lease>,
    previous: Option<Lease>,
}

/// The leases that were taken and not given back.
type Books = HashMap<VersionId, Use>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    /// No keyring has swapped it in.
    Offered,
    /// It was swapped in, and somebody may still use it.
    Active,
    /// Nobody uses it any more: it can be revoked.
    Over,
}

/// When a static role's password was changed last, and when it will be changed next.
#[derive(Deserialize)]
struct Rotation {
    last_vault_rotation: Option<String>,
    /// In seconds.
    ttl: i64,
}

/// When, and for what, the next fetch should come by itself.
#[derive(Clone, Copy)]
struct Due {
    at: Instant,
    /// The token that a lease depends on.
    token: Option<u64>,
}

impl VaultDatabase {
    /// The password of a [static role](https://openbao.org/docs/secrets/databases/#static-roles):
    /// one account, whose password the server changes from time to time.
    pub fn static_role(client: &VaultClient, role: impl Into<String>) -> Self {
        Self::new(client, role.into(), Kind::Static(Mutex::default()))
    }

    /// An account of its own for this process, on a lease.
    pub fn dynamic_role(client: &VaultClient, role: impl Into<String>) -> Self {
        Self::new(client, role.into(), Kind::Dynamic(Box::default()))
    }

    fn new(client: &VaultClient, role: String, kind: Kind) -> Self {
        Self {
            client: client.clone(),
            mount: "database".to_owned(),
            role,
            kind,
            due: watch::Sender::new(None),
            reported: Mutex::default(),
        }
    }

    /// Where the engine is mounted; `database` by default.
    #[must_use]
    pub fn mount(mut self, mount: impl Into<String>) -> Self {
        self.mount = mount.into().trim_matches('/').to_owned();
        self
    }

    fn path(&self) -> String {
        let of_kind = match self.kind {
            Kind::Static(_) => "static-creds",
            Kind::Dynamic(_) => "creds",
        };
        format!("{}/{of_kind}/{}", self.mount, self.role)
    }

    async fn static_credentials(&self, overdue: &Mutex<Overdue>) -> Result<Versions, SourceError> {
        let (answer, _) = self.client.ask(&Request::get(self.path())).await?;
        let (version, ttl) = of_static_role(&answer, &self.role)?;
        // All replicas wait for the same moment.
        let spread = Duration::from_millis(fastrand::u64(0..500));
        let pause = match u64::try_from(ttl) {
            Ok(ttl @ 1..) => seconds(ttl),
            _ => lock(overdue).pause(version.id()),
        };
        self.fetch_again(Instant::now() + pause + spread, None);
        Ok(Versions::new(version))
    }

    async fn lease(&self, leases: &Leases) -> Result<Versions, SourceError> {
        self.revoke_drained(leases).await;
        let mut held = leases.held.lock().await;
        let fate = match &mut held.current {
            Some(lease) => lease.keep(&self.client).await?,
            None => Fate::Gone,
        };
        if !matches!(fate, Fate::Lives) {
            let next = Lease::obtain(&self.client, &self.path()).await?;
            let mut books = lock(&leases.books);
            books.insert(next.id().clone(), Use::Offered);
            if let Some(old) = held.current.replace(next)
                && retire(&mut books, old.id(), &fate)
            {
                held.previous = Some(old);
            }
        }
        let previous = held.previous.as_ref().and_then(Lease::as_previous);
        if previous.is_none() {
            held.previous = None;
        }
        let Some(current) = &held.current else {
            return Err(SourceError::new(SourceErrorKind::Other, "no lease"));
        };
        self.fetch_again(current.due, Some(current.token));
        let mut versions = Versions::new(current.version.clone());
        if let Some(previous) = previous {
            versions = versions.with_previous(previous);
        }
        Ok(versions)
    }

    fn fetch_again(&self, at: Instant, token: Option<u64>) {
        self.due.send_replace(Some(Due { at, token }));
    }

    /// Resolves when a fetch is due, once for each reason.
    async fn next_due(&self) {
        let mut due = self.due.subscribe();
        let mut token = self.client.token();
        loop {
            let now_due = *due.borrow_and_update();
            let number = token.borrow_and_update().number;
            let reason = now_due.map(|Due { at, token }| {
                let is_orphan = token.is_some_and(|taken_by| taken_by != number);
                (at, is_orphan)
            });
            let wait = async {
                match reason {
                    Some(reason) if *lock(&self.reported) == Some(reason) => pending().await,
                    Some((_, true)) => {}
                    Some((at, false)) => sleep_until(at).await,
                    None => pending().await,
                }
            };
            // The senders live as long as `self`, so neither wait fails.
            tokio::select! {
                () = wait => {
                    *lock(&self.reported) = reason;
                    return;
                }
                _ = due.changed() => {}
                _ = token.changed() => {}
            }
        }
    }

    async fn revoke_when_drained(&self) {
        let Kind::Dynamic(leases) = &self.kind else {
            return pending().await;
        };
        loop {
            leases.drained.notified().await;
            self.revoke_drained(leases).await;
        }
    }

    /// What fails is tried again at the next fetch, except where it is not allowed: such a lease
    /// ends by itself.
    async fn revoke_drained(&self, leases: &Leases) {
        let is_over = |(lease, of): (&VersionId, &Use)| (*of == Use::Over).then(|| lease.clone());
        let over: Vec<VersionId> = lock(&leases.books).iter().filter_map(is_over).collect();
        for lease in over {
            if let Err(error) = revoke(&self.client, &lease).await {
                log(
                    || tracing::warn!(source = self.name(), %lease, %error, "secrets_lease_not_revoked"),
                );
                if error.kind() != SourceErrorKind::PermissionDenied {
                    return;
                }
            }
            lock(&leases.books).remove(&lease);
            let mut held = leases.held.lock().await;
            held.previous.take_if(|previous| *previous.id() == lease);
        }
    }
}

/// The password, and after how many seconds the next one is due.
pub(super) fn of_static_role(answer: &Answer, role: &str) -> Result<(Version, i64), SourceError> {
    let credentials: Credentials<'_> = answer.data()?;
    let Rotation {
        last_vault_rotation,
        ttl,
    } = answer.data()?;
    let last = last_vault_rotation.unwrap_or_default();
    let version = credentials.version(VersionId::new(format!("{role}@{last}")));
    Ok(match rfc3339(&last) {
        Some(at) => (version.with_created_at(at), ttl),
        None => (version, ttl),
    })
}

impl Overdue {
    fn pause(&mut self, version: &VersionId) -> Duration {
        if self.version.as_ref() != Some(version) {
            *self = Self {
                version: Some(version.clone()),
                times: 0,
            };
        }
        let doublings = self.times.min(MAX_DOUBLINGS);
        self.times = self.times.saturating_add(1);
        FIRST_PAUSE * 2u32.pow(doublings)
    }
}

/// Notes that a lease was replaced; says whether somebody may still use it. One that was never
/// swapped in, as where a probe refused it, is revoked.
fn retire(books: &mut Books, old: &VersionId, fate: &Fate) -> bool {
    if matches!(fate, Fate::Gone) {
        books.remove(old);
        return false;
    }
    match books.get_mut(old) {
        Some(of @ Use::Offered) => {
            *of = Use::Over;
            false
        }
        Some(Use::Active) => true,
        Some(Use::Over) | None => false,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Source for VaultDatabase {
    async fn fetch(&self) -> Result<Versions, SourceError> {
        match &self.kind {
            Kind::Static(overdue) => self.static_credentials(overdue).await,
            Kind::Dynamic(leases) => self.lease(leases).await,
        }
    }

    /// Resolves when a rotation is due, or a lease must be renewed or replaced. Meanwhile it renews
    /// the token, and revokes leases that nobody uses any more.
    async fn changed(&self) {
        tokio::select! {
            () = self.client.keep_alive() => {}
            () = self.revoke_when_drained() => {}
            () = self.next_due() => {}
        }
    }

    fn published(&self, current: &VersionId) {
        if let Kind::Dynamic(leases) = &self.kind {
            // An unknown one is another source's, under a `Fallback`.
            if let Some(of) = lock(&leases.books).get_mut(current) {
                *of = Use::Active;
            }
        }
    }

    fn drained(&self, versions: &[VersionId], _: &[VersionId]) {
        let Kind::Dynamic(leases) = &self.kind else {
            return;
        };
        let mut books = lock(&leases.books);
        for version in versions {
            if let Some(of) = books.get_mut(version) {
                *of = Use::Over;
                leases.drained.notify_one();
            }
        }
    }

    fn name(&self) -> String {
        format!("vault {}", self.path())
    }
}

impl fmt::Debug for VaultDatabase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            client,
            mount: _,
            role: _,
            kind: _,
            due: _,
            reported: _,
        } = self;
        f.debug_struct("VaultDatabase")
            .field("client", client)
            .field("path", &self.path())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rotation_that_does_not_come_is_asked_for_less_and_less_often() {
        let (one, two) = (VersionId::new("1"), VersionId::new("2"));
        let mut overdue = Overdue::default();
        let mut pauses = |version: &VersionId| overdue.pause(version).as_secs();
        let first: Vec<u64> = (0..9).map(|_| pauses(&one)).collect();
        assert_eq!(first, [1, 2, 4, 8, 16, 32, 64, 64, 64]);
        assert_eq!([pauses(&two), pauses(&two)], [1, 2]);
    }

    #[test]
    fn what_becomes_of_a_lease_that_was_replaced() {
        let old = VersionId::new("old");
        let after = |of: Option<Use>, fate: Fate| {
            let mut books: Books = of.map(|of| (old.clone(), of)).into_iter().collect();
            let is_previous = retire(&mut books, &old, &fate);
            (is_previous, books.remove(&old))
        };
        let ends = || Fate::Ends;
        assert_eq!(after(Some(Use::Active), ends()), (true, Some(Use::Active)));
        assert_eq!(after(Some(Use::Offered), ends()), (false, Some(Use::Over)));
        assert_eq!(after(Some(Use::Over), ends()), (false, Some(Use::Over)));
        assert_eq!(after(None, ends()), (false, None));
        for of in [Use::Offered, Use::Active, Use::Over] {
            assert_eq!(after(Some(of), Fate::Gone), (false, None));
        }
    }
}
