//! A database of a test's own on a real server, a clock that the test moves, and load.

use std::{
    collections::{BTreeSet, HashMap},
    future::Future,
    str::FromStr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use sqlx::{
    PgPool, Row,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::{
    sync::{Mutex as AsyncMutex, MutexGuard, watch},
    task::JoinSet,
    time::{sleep, timeout},
};
use tower_secrets::{
    Keyring, Secrets,
    clock::{Clock, Now, SystemClock},
};
use tower_secrets_postgres::POOL;

#[path = "../../../../tests/support/left_out.rs"]
mod left_out;
use left_out::needed;

/// No condition here takes longer on a slow machine.
const DEADLINE: Duration = Duration::from_secs(60);

/// One test at a time: they share two cores and the server's sessions.
static TURN: AsyncMutex<()> = AsyncMutex::const_new(());

/// Waits for a condition; fails the test when it does not come true.
pub async fn until<Fut: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> Fut) {
    let poll = async {
        while !holds().await {
            sleep(Duration::from_millis(10)).await;
        }
    };
    let waited = timeout(DEADLINE, poll).await;
    assert!(waited.is_ok(), "not within {DEADLINE:?}: {what}");
}

pub struct Database {
    admin: PgPool,
    host: String,
    port: u16,
    name: String,
    _turn: MutexGuard<'static, ()>,
}

impl Database {
    /// An empty database and two users without a password, `NAME_a` and `NAME_b`; `None` where no
    /// server is named.
    pub async fn new(name: &str) -> Option<Self> {
        let url = needed("TOWER_SECRETS_POSTGRES", "a test against a real PostgreSQL")?;
        let url = url.into_string().expect("TOWER_SECRETS_POSTGRES is no URL");
        let turn = TURN.lock().await;
        let options = PgConnectOptions::from_str(&url).expect("TOWER_SECRETS_POSTGRES is no URL");
        let (host, port) = (options.get_host().to_owned(), options.get_port());
        let admin = PgPoolOptions::new()
            .max_connections(2)
            .acquire_timeout(Duration::from_secs(10))
            .connect_with(options)
            .await
            .expect("the server that TOWER_SECRETS_POSTGRES names does not answer");
        let database = Self {
            admin,
            host,
            port,
            name: name.to_owned(),
            _turn: turn,
        };
        database
            .run(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
            .await;
        database.run(&format!("CREATE DATABASE {name}")).await;
        for user in database.users() {
            database.run(&format!("DROP ROLE IF EXISTS {user}")).await;
            database.run(&format!("CREATE ROLE {user} LOGIN")).await;
        }
        Some(database)
    }

    pub fn users(&self) -> [String; 2] {
        ["a", "b"].map(|letter| format!("{}_{letter}", self.name))
    }

    pub async fn alter(&self, user: &str, password: &str) {
        let sql = format!("ALTER ROLE {user} PASSWORD '{password}'");
        self.run(&sql).await;
    }

    /// The secret's value, as a rotation function writes it.
    pub fn document(&self, user: &str, password: &str, jwt: u32) -> String {
        serde_json::json!({
            "database": {
                "username": user,
                "password": password,
                "host": self.host,
                "port": self.port,
                "dbname": self.name,
            },
            "jwt_secret": format!("key number {jwt:03} of thirty-two bytes"),
        })
        .to_string()
    }

    /// The sessions of pools that this user has.
    pub async fn sessions(&self, user: &str) -> BTreeSet<i32> {
        self.sessions_named(user, POOL).await
    }

    pub async fn sessions_named(&self, user: &str, application: &str) -> BTreeSet<i32> {
        let sql = "SELECT pid FROM pg_stat_activity WHERE usename = $1 AND application_name = $2";
        let rows = sqlx::query(sql)
            .bind(user)
            .bind(application)
            .fetch_all(&self.admin)
            .await
            .unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    pub async fn until_no_session(&self, user: &str) {
        until(&format!("{user} has no session left"), || async {
            self.sessions(user).await.is_empty()
        })
        .await;
    }

    async fn run(&self, sql: &str) {
        sqlx::query(sql).execute(&self.admin).await.unwrap();
    }
}

/// The system's clock, and what the test adds to it.
pub struct Shifted {
    system: SystemClock,
    seconds: AtomicU64,
}

impl Shifted {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            system: SystemClock::new(),
            seconds: AtomicU64::new(0),
        })
    }

    pub fn move_on(&self, by: Duration) {
        self.seconds.fetch_add(by.as_secs(), Ordering::SeqCst);
    }
}

impl Clock for Shifted {
    fn now(&self) -> Now {
        let shift = Duration::from_secs(self.seconds.load(Ordering::SeqCst));
        let now = self.system.now();
        Now::new(now.wall + shift, now.mono + shift)
    }
}

/// Workers that call without a pause, and what came of it.
pub struct Load {
    workers: JoinSet<()>,
    stop: watch::Sender<bool>,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    /// By what the calls said of themselves.
    served: Mutex<HashMap<String, u64>>,
    failures: Mutex<Vec<String>>,
}

impl Load {
    /// `call` gives what it was served with, such as the user's name.
    pub fn start<T, E, F, Fut>(workers: usize, keyring: &Keyring<T>, call: F) -> Self
    where
        T: Send + Sync + 'static,
        F: Fn(usize, Secrets<T>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<String, E>> + Send,
        E: ToString,
    {
        let (counts, call) = (Arc::new(Counts::default()), Arc::new(call));
        let stop = watch::Sender::new(false);
        let mut load = Self {
            workers: JoinSet::new(),
            stop,
            counts,
        };
        for worker in 0..workers {
            let (keyring, call, counts) = (keyring.clone(), call.clone(), load.counts.clone());
            let stop = load.stop.subscribe();
            load.workers.spawn(async move {
                while !*stop.borrow() {
                    match call(worker, keyring.current()).await {
                        Ok(by) => *counts.served.lock().unwrap().entry(by).or_default() += 1,
                        Err(error) => counts.failures.lock().unwrap().push(error.to_string()),
                    }
                }
            });
        }
        load
    }

    /// Waits until `n` more calls were served with this.
    pub async fn served(&self, by: &str, n: u64) {
        let start = self.count(by);
        until(&format!("{n} more calls served with {by}"), || async {
            self.count(by) >= start + n
        })
        .await;
    }

    fn count(&self, by: &str) -> u64 {
        let served = self.counts.served.lock().unwrap();
        served.get(by).copied().unwrap_or_default()
    }

    /// Ends the workers; how many calls were served. None failed.
    pub async fn stop(mut self) -> u64 {
        self.stop.send_replace(true);
        while let Some(ended) = self.workers.join_next().await {
            ended.unwrap();
        }
        let failures = self.counts.failures.lock().unwrap();
        assert!(
            failures.is_empty(),
            "{} failed: {failures:?}",
            failures.len()
        );
        self.counts.served.lock().unwrap().values().sum()
    }
}
