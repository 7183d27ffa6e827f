//! The operator's page: which version is in use, what still uses the one before, and whether it is
//! safe to revoke. With it the same as JSON, probes for an orchestrator, and reloads on request.
//!
//! ```no_run
//! use tower_secrets::{Keyring, admin::Admin};
//!
//! # async fn run<App: Send + Sync + 'static>(app: Keyring<App>, idp: Keyring<App>) -> std::io::Result<()> {
//! let page = Admin::new().keyring("app", &app).keyring("idp", &idp);
//! let page = page.bind(([127, 0, 0, 1], 9090).into()).await?;
//! tokio::spawn(page.serve());
//! # Ok(())
//! # }
//! ```
//!
//! | | |
//! |---|---|
//! | `GET /` | one page, without anything from elsewhere; it asks for `/status` each second |
//! | `GET /status` | the state of each keyring, as JSON: [below](#status) |
//! | `GET /healthz` | 200 while the refresh loops run, 503 once one has ended; the store is never asked |
//! | `GET /readyz` | 200, for a keyring has a snapshot from its first moment on; 503 with [`unready_when_stale`](Admin::unready_when_stale) while one is stale |
//! | `POST /reload` | fetches now and answers when that has ended: `{"keyring": "app"}`, or `{}` for all. 200 when all went well, 502 when one left things as they were, and why |
//! | `POST /revoke` | [`Keyring::revoke`] and [`Keyring::revoke_previous`], where [`allow_revoke`](Admin::allow_revoke) was called: `{"keyring": "app", "version": "7"}` or `{"keyring": "app", "stage": "previous"}`; with one keyring its name may be left out |
//!
//! Ids, times and reasons are in the answers, values of secrets never.
//!
//! # Who may ask
//!
//! Whoever reaches it, unless [`bearer_token`](Admin::bearer_token) or [`guarded_by`](Admin::guarded_by)
//! says otherwise. So [`bind`](Admin::bind) refuses an address beyond loopback without one of them. A
//! [`router`](Admin::router) that you mount yourself knows nothing of its socket: give it a listener of its own, and
//! never nest it unguarded into the routes of your service.
//!
//! * The page itself holds nothing and is not guarded: it asks for the token. Neither are `/healthz` and
//!   `/readyz`, which say no more than that.
//! * Unguarded, it answers only for a `Host` that is `localhost` or a loopback address, or that was
//!   [named](Admin::host): a name that somebody made resolve to 127.0.0.1 (DNS rebinding) is none.
//! * A `POST` from a page of another origin is refused by `Sec-Fetch-Site` and `Origin`, and one that is not of
//!   type `application/json`: a browser sends that to another origin only where it is allowed to. A proxy in
//!   between must keep `Host`.
//!
//! A revocation from here is of this process, as [`Keyring::revoke`] is; so is "safe to revoke". For all replicas
//! there is [`fleet`].
//!
//! # Status
//!
//! `schema` is 1. Members may be added to it; none is taken away, and none changes its meaning, without another
//! number. Times are RFC 3339 in UTC, durations seconds; what is not known is `null`.
//!
//! ```json
//! {
//!   "schema": 1,
//!   "instance": "f3b1a7c2d4e5f607",
//!   "at": "2030-01-31T12:00:00.000Z",
//!   "safe_to_revoke": false,
//!   "may_revoke": false,
//!   "keyrings": [{
//!     "name": "app", "source": "/run/secrets/app", "is_running": true, "generation": 2,
//!     "safe_to_revoke": false,
//!     "reasons": [{"kind": "trusted", "version": "1", "text": "version 1: it is trusted for 840 s more", "seconds": 840.0}],
//!     "warnings": [{"kind": "tokens_cut_off", "version": "1", "text": "version 1: its window ends 60 s before ..", "seconds": 60.0}],
//!     "current": {"id": "2", "key_ids": ["kS3.."], "since": "2030-01-31T11:59:00.000Z", "age_seconds": 60.0, "expires_in_seconds": null, "is_revoked": false, "latest_exp": null},
//!     "previous": {"id": "1", "key_ids": ["pQ1.."], "since": "2030-01-31T11:59:00.000Z", "age_seconds": 60.0, "expires_in_seconds": 840.0, "is_revoked": false, "latest_exp": "2030-01-31T12:15:00Z"},
//!     "pending": null,
//!     "replaced": [{
//!       "id": "1", "replaced_at": "2030-01-31T11:59:00.000Z", "safe_to_revoke": false,
//!       "reasons": [{"kind": "trusted", "text": "it is trusted for 840 s more", "seconds": 840.0}], "holders": 0,
//!       "revoke_upstream_not_before": "2030-01-31T12:14:00.000Z",
//!       "latest_exp": "2030-01-31T12:15:00Z",
//!       "warnings": [{"kind": "tokens_cut_off", "text": "its window ends 60 s before the last token of key \"pQ1..\"", "seconds": 60.0}]
//!     }],
//!     "last_success": "2030-01-31T11:59:00.000Z",
//!     "last_failure": {"at": "2030-01-31T11:50:00.000Z", "step": "probe", "probe": "database", "part": null, "version": "2", "text": ".."},
//!     "consecutive_failures": 0, "staleness_seconds": 60.0,
//!     "is_stale": false, "refuses": false, "is_degraded": false,
//!     "quarantine": {"part": null, "version": "3", "tries": 1, "next_try_in_seconds": 55.0},
//!     "stale_parts": [{"part": "db", "since": "2030-01-31T11:50:00.000Z", "text": ".."}],
//!     "refused_parts": [{"part": "db", "version": "3", "tries": 1, "next_try_in_seconds": 55.0}],
//!     "recent": [{"at": "2030-01-31T11:59:00.000Z", "kind": "reloaded", "level": "good", "text": "version 2 is in use; asked for by sighup", "times": 1}]
//!   }]
//! }
//! ```
//!
//! * `instance` is drawn at random when the process starts: a script that asks several replicas knows by it that
//!   they are several, and that none was started anew meanwhile.
//! * The outer `safe_to_revoke` is true when all keyrings' are; each is [`Status::safe_to_revoke`] of a keyring
//!   that is still refreshed. Without any `replaced` there is nothing to revoke.
//! * A reason's `kind` is `stopped`, `stale`, `current`, `trusted`, `session_key`, `held`, `prepared_resource` or `tried_upstream`; `seconds` is
//!   how long ago, or for how long, `holders` how many times it is held.
//! * `latest_exp` is the latest `exp` of the tokens that a version's keys have verified in this process. A warning
//!   is no reason not to revoke; its `kind` is `tokens_cut_off`, for tokens that go on `seconds` longer than the
//!   window of their key, and are refused from its end on.
//! * `revoke_upstream_not_before` is when `try_each` of this process has stopped to send the version to an upstream: of a
//!   fleet the latest of all counts, and `reasons` tells what holds it for longer.
//! * The `kind` of what is `recent` is that of an [event](crate::event), without `secrets_`; `level` is `good`,
//!   `bad` or `note`. The newest is first.

use std::{fmt, io, net::SocketAddr, sync::Arc};

use axum::{
    Router,
    body::Body,
    middleware,
    routing::{get, post},
};
use serde::de::DeserializeOwned;
use tokio::net::TcpListener;

use crate::{
    keyring::Keyring,
    layer::{Discover, JwtRotationLayer, Respond},
};

pub mod fleet;

mod guard;
pub use guard::InvalidGuard;
use guard::{Guard, Hosts};

mod handlers;
mod page;

mod order;

mod report;

mod row;
use row::Row;

mod told;

#[cfg(unix)]
mod socket;
#[cfg(unix)]
pub use socket::{BoundUnix, ReloadError, ReloadOutcome, reload};

#[cfg(doc)]
use crate::Status;

/// The page of one keyring, which it calls `secrets`, unguarded: [`Admin`] with its defaults.
///
/// Mount it on a listener of its own that only loopback reaches; see [the module](self).
pub fn router<T: Send + Sync + 'static>(keyring: &Keyring<T>) -> Router {
    Admin::new().keyring("secrets", keyring).router()
}

/// What is shown, who may see it, and what they may do. See [the module](self).
#[derive(Clone, Default)]
#[must_use]
pub struct Admin {
    rows: Vec<Row>,
    guard: Option<Guard>,
    hosts: Hosts,
    may_revoke: bool,
    unready_when_stale: bool,
}

impl Admin {
    /// Shows nothing yet, needs no token, and revokes nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a keyring, or replaces the one of this name. Those of other types are as welcome.
    pub fn keyring<T: Send + Sync + 'static>(
        mut self,
        name: impl Into<String>,
        keyring: &Keyring<T>,
    ) -> Self {
        let row = Row::new(name.into(), keyring.clone());
        match self.rows.iter_mut().find(|old| old.name == row.name) {
            Some(old) => *old = row,
            None => self.rows.push(row),
        }
        self
    }

    /// Requires this token (RFC 6750), in place of what guarded it before. The page asks for it and forgets it
    /// when it is closed. It is compared in constant time, and kept as a digest only.
    ///
    /// It is fixed for the life of the process; for one that rotates there is
    /// [`guarded_by`](Self::guarded_by).
    ///
    /// # Errors
    /// When it has fewer than 22 characters (128 bits in base64url), or one that no header can carry.
    pub fn bearer_token(mut self, token: impl AsRef<str>) -> Result<Self, InvalidGuard> {
        self.guard = Some(Guard::token(token.as_ref())?);
        Ok(self)
    }

    /// Requires a token that this layer lets through, in place of what guarded it before.
    ///
    /// ```
    /// # use tower_secrets::{Keyring, JwtRotationLayer, admin::Admin};
    /// # fn page<App: Send + Sync + 'static>(keyring: &Keyring<App>) -> Result<Admin, Box<dyn std::error::Error>> {
    /// let operators = JwtRotationLayer::new(keyring.clone()).required_scopes(["secrets:operate"])?;
    /// Ok(Admin::new().keyring("app", keyring).guarded_by(operators)?)
    /// # }
    /// ```
    ///
    /// # Errors
    /// When it requires no scope: every user of the service would be an operator.
    pub fn guarded_by<T, C, P, D>(
        mut self,
        layer: JwtRotationLayer<T, C, P, D>,
    ) -> Result<Self, InvalidGuard>
    where
        T: Send + Sync + 'static,
        C: DeserializeOwned + Send + Sync + 'static,
        P: Respond<Body> + Clone + Send + Sync + 'static,
        D: Discover<Body> + Clone + Send + Sync + 'static,
    {
        self.guard = Some(Guard::layer(layer)?);
        Ok(self)
    }

    /// Another name, without a port, by which the unguarded page is reached, such as that of a proxy which
    /// knows its users.
    pub fn host(mut self, name: impl Into<String>) -> Self {
        self.hosts.add(name.into());
        self
    }

    /// Switches `POST /revoke` on. Who may ask may then have this process refuse every token.
    pub fn allow_revoke(mut self) -> Self {
        self.may_revoke = true;
        self
    }

    /// Has `/readyz` say 503 while a keyring is stale ([`max_staleness`](crate::Builder::max_staleness)) or
    /// refuses requests ([`refuse_after`](crate::Builder::refuse_after)). An outage of the store then takes all
    /// replicas out of service that have such a limit.
    pub fn unready_when_stale(mut self) -> Self {
        self.unready_when_stale = true;
        self
    }

    /// The routes, for a listener that is not of [`bind`](Self::bind) or of `bind_unix`, or behind layers of yours.
    /// It knows nothing of its socket, so it refuses none.
    pub fn router(&self) -> Router {
        let Self { guard, hosts, .. } = self;
        let mut page = Router::new().route("/", get(page::page));
        let mut guarded = Router::new()
            .route("/status", get(handlers::status))
            .route("/reload", post(handlers::reload))
            .route("/revoke", post(handlers::revoke));
        match guard {
            Some(guard) => guarded = guard.before(guarded),
            None => {
                let check =
                    middleware::from_fn_with_state(Arc::new(hosts.clone()), guard::check_host);
                page = page.route_layer(check.clone());
                guarded = guarded.route_layer(check);
            }
        }
        Router::new()
            .route("/healthz", get(handlers::healthz))
            .route("/readyz", get(handlers::readyz))
            .merge(page)
            .merge(guarded)
            .layer(middleware::map_response(page::harden))
            .with_state(Arc::new(self.clone()))
    }

    /// Listens on this address; port 0 takes a free one.
    ///
    /// # Errors
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) where others than this machine could reach it and nothing
    /// guards it; else what the system says.
    ///
    /// # Cancellation safety
    /// Dropping the future leaves nothing open.
    pub async fn bind(self, address: SocketAddr) -> io::Result<Bound> {
        if self.guard.is_none() && !address.ip().to_canonical().is_loopback() {
            let reason = format!(
                "the operator's page is not opened on {address}, which is not of this machine alone, without \
                 `.bearer_token(..)` or `.guarded_by(..)`"
            );
            return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
        }
        Ok(Bound {
            listener: TcpListener::bind(address).await?,
            router: self.router(),
        })
    }
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            rows,
            guard,
            hosts,
            may_revoke,
            unready_when_stale,
        } = self;
        f.debug_struct("Admin")
            .field(
                "keyrings",
                &rows.iter().map(|row| &row.name).collect::<Vec<_>>(),
            )
            .field("is_guarded", &guard.is_some())
            .field("hosts", hosts)
            .field("may_revoke", may_revoke)
            .field("unready_when_stale", unready_when_stale)
            .finish()
    }
}

/// A page that listens and is not served yet; made by [`Admin::bind`].
#[derive(Debug)]
#[must_use = "nothing is served before `serve` is called"]
pub struct Bound {
    listener: TcpListener,
    router: Router,
}

impl Bound {
    /// Where it listens.
    ///
    /// # Errors
    /// What the system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until the future is dropped.
    ///
    /// # Errors
    /// None today: a connection that fails is of no concern to the others.
    ///
    /// # Cancellation safety
    /// Dropping the future stops to accept; a request under way is answered.
    pub async fn serve(self) -> io::Result<()> {
        axum::serve(self.listener, self.router).await
    }
}
