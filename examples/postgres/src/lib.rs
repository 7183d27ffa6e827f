//! A pool whose password rotates while it is used: what a service needs of tower-secrets and sqlx.
//!
//! README.md has the budget of connections, and which of the two ways to rotate needs what.

use std::{fmt, sync::Arc, time::Duration};

use serde::Deserialize;
use sqlx::{
    Connection, PgConnection, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::runtime::Handle;
use tower_secrets::{Attempt, Builder, JwtKey, Keyring, Parts, source::Source};

/// What `pg_stat_activity` calls the sessions of pools, and those outside of them.
pub const POOL: &str = "example-pool";
pub const SESSION: &str = "example-session";

/// How many sessions one pool has at most.
pub const POOL_SIZE: u32 = 8;

/// What the store holds: several secrets that rotate independently of each other.
#[derive(Debug, Deserialize)]
pub struct Document {
    pub database: Login,
    pub jwt_secret: JwtKey,
}

/// As the rotation functions of AWS write it; the names of the fields are theirs.
// `Hash` for `Parts::reuse`: a pool is made anew when any of these changes.
#[derive(Deserialize, Hash)]
pub struct Login {
    pub username: String,
    pub password: String,
    pub host: String,
    #[serde(default = "port")]
    pub port: u16,
    pub dbname: String,
}

fn port() -> u16 {
    5432
}

impl Login {
    fn options(&self) -> PgConnectOptions {
        PgConnectOptions::new()
            .host(&self.host)
            .port(self.port)
            .database(&self.dbname)
            .username(&self.username)
            .password(&self.password)
            .application_name(POOL)
    }

    /// A session outside of the pool.
    pub async fn open(&self) -> sqlx::Result<PgConnection> {
        let options = self.options().application_name(SESSION);
        PgConnection::connect_with(&options).await
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            username,
            password: _,
            host,
            port,
            dbname,
        } = self;
        f.debug_struct("Login")
            .field("username", username)
            .field("host", host)
            .field("port", port)
            .field("dbname", dbname)
            .finish_non_exhaustive()
    }
}

/// What the service works with.
#[derive(Debug)]
pub struct App {
    pool: Arc<Pool>,
    /// The document it was made of.
    pub document: Arc<Document>,
}

impl App {
    pub fn pool(&self) -> &PgPool {
        &self.pool.0
    }
}

/// Closes its sessions when the last bundle that has it is gone: idle ones at once, the others when
/// they come back. A `PgPool` alone would keep the idle ones for as long as one is lent.
#[derive(Debug)]
struct Pool(PgPool);

impl Drop for Pool {
    fn drop(&mut self) {
        if let Ok(runtime) = Handle::try_current() {
            let pool = self.0.clone();
            runtime.spawn(async move { pool.close().await });
        }
    }
}

/// Makes the bundle of a new version. `connect_with` opens one session, so a password that does not
/// work is found out before anybody uses it, at the price of one failed login.
pub async fn prepare(document: Arc<Document>, parts: Parts) -> sqlx::Result<App> {
    let connect = async {
        let pool = PgPoolOptions::new()
            .max_connections(POOL_SIZE)
            .acquire_timeout(Duration::from_secs(5))
            .connect_with(document.database.options());
        Ok::<_, sqlx::Error>(Arc::new(Pool(pool.await?)))
    };
    let pool = parts.reuse("pool", &document.database, connect).await?;
    Ok(App { pool, document })
}

/// A keyring whose bundle owns a pool.
pub fn with_pool(source: impl Source) -> Builder<Document, App> {
    Keyring::<Document>::builder(source)
        .jwt_key(|document| &document.jwt_secret)
        .prepare(prepare)
}

/// Whether another credential may help: SQLSTATE class 28, invalid authorization specification.
pub fn attempt(error: sqlx::Error) -> Attempt<sqlx::Error> {
    let code = error.as_database_error().and_then(|error| error.code());
    if code.is_some_and(|code| code.starts_with("28")) {
        Attempt::Unauthenticated(error)
    } else {
        Attempt::Other(error)
    }
}
