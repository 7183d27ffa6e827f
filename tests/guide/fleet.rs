//! Three replicas over one store, each with its operator's page, and clients that never pause.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{sync::watch, task::JoinSet, time::interval};
use tower_secrets::{
    Attempt, JwtKey, Keyring, Status, UnknownKey,
    admin::Admin,
    source::{BoxSource, Memory, Stage, VersionId},
};

use crate::{
    stores::Store,
    support::{ask, token},
};

pub(crate) const ADMIN_TOKEN: &str = "a-token-of-the-operators-of-a-test";
/// The one that rotates. Before it on the page is another.
pub(crate) const KEYRING: &str = "app";
/// Far more than a runbook takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);

const REPLICAS: usize = 3;
const CLIENTS: usize = 4;

#[derive(Deserialize)]
pub(crate) struct App {
    jwt_secret: JwtKey,
    api_key: String,
}

/// The version that is current at the start, and the one that takes its place.
pub(crate) const OLD: &str = "old";
pub(crate) const NEW: &str = "new";

/// With a `version`, as some write it.
pub(crate) fn document(name: &str) -> Value {
    json!({
        "version": name,
        "jwt_secret": format!("the signing secret of version {name}, of a test"),
        "api_key": api_key(name),
    })
}

/// The one before [`OLD`]: another field was rotated since, so it has the same key.
pub(crate) fn older_document() -> Value {
    let mut document = document(OLD);
    document["version"] = json!("older");
    document["api_key"] = json!(api_key("older"));
    document
}

pub(crate) fn api_key(name: &str) -> String {
    format!("api-key-{name}")
}

/// The keys that the provider of an API accepts at this moment.
#[derive(Clone, Default)]
pub(crate) struct Upstream(Arc<Mutex<HashSet<String>>>);

impl Upstream {
    pub(crate) fn create(&self, key: &str) {
        self.0.lock().unwrap().insert(key.to_owned());
    }

    pub(crate) fn cut(&self, key: &str) {
        assert!(self.0.lock().unwrap().remove(key), "{key}");
    }

    async fn call(&self, key: &str) -> Result<(), Attempt<&'static str>> {
        let accepts = self.0.lock().unwrap().contains(key);
        let refusal = "the upstream refused the key";
        accepts
            .then_some(())
            .ok_or(Attempt::Unauthenticated(refusal))
    }
}

#[derive(Clone)]
pub(crate) struct Replica {
    pub(crate) keyring: Keyring<App>,
    /// Where its page is.
    pub(crate) address: String,
}

/// How often replicas poll, and how long they trust a replaced key: the least for that.
#[derive(Clone, Copy)]
pub(crate) struct Pace {
    refresh_every: Duration,
    fetch_limit: Duration,
}

impl Pace {
    /// In a test they fetch only when they are asked.
    pub(crate) const HOURLY: Self = Self {
        refresh_every: Duration::from_secs(3600),
        fetch_limit: Duration::from_secs(30),
    };

    /// As fast as a window goes that is waited for.
    pub(crate) const QUICK: Self = Self {
        refresh_every: Duration::from_secs(2),
        fetch_limit: Duration::from_secs(3),
    };

    fn overlap(self) -> Duration {
        let detection = self.refresh_every + 2 * self.fetch_limit;
        (3 * self.refresh_every + self.fetch_limit).max(2 * detection)
    }
}

impl Replica {
    pub(crate) async fn start(source: BoxSource, pace: Pace) -> Self {
        // A machine that is busy.
        let patient = UnknownKey::new().max_wait(Duration::from_secs(30));
        let keyring = Keyring::<App>::builder(source)
            .jwt_key(|app| &app.jwt_secret)
            .refresh_every(pace.refresh_every)
            .fetch_limit(pace.fetch_limit)
            .overlap(pace.overlap())
            .refresh_on_unknown_key(patient)
            .build()
            .await
            .unwrap();
        let another = Memory::new(document("another").to_string());
        let another = Keyring::<App>::builder(another).build().await.unwrap();
        let page = Admin::new()
            .keyring("another", &another)
            .keyring(KEYRING, &keyring);
        let page = page.bearer_token(ADMIN_TOKEN).unwrap();
        let page = page.bind(([127, 0, 0, 1], 0).into()).await.unwrap();
        let address = format!("http://{}", page.local_addr().unwrap());
        tokio::spawn(page.serve());
        Self { keyring, address }
    }

    pub(crate) fn mint(&self) -> String {
        token(&self.keyring.signer())
    }

    pub(crate) async fn accepts(&self, token: &str) -> Result<Stage, StatusCode> {
        ask(&self.keyring, token).await
    }
}

/// The id of the key that a token names.
pub(crate) fn key_of(token: &str) -> String {
    let header = token.split('.').next().unwrap();
    let header = BASE64_URL_SAFE_NO_PAD.decode(header).unwrap();
    let header: Value = serde_json::from_slice(&header).unwrap();
    header["kid"].as_str().unwrap().to_owned()
}

pub(crate) struct Fleet {
    pub(crate) replicas: Vec<Replica>,
    pub(crate) upstream: Upstream,
    clients: Arc<Clients>,
    tasks: JoinSet<()>,
}

/// What the clients have seen.
struct Clients {
    calls: watch::Sender<usize>,
    failures: Mutex<Vec<String>>,
    /// Tokens of the old key that were refused after its withdrawal had begun, as they should be.
    refused: Mutex<usize>,
    old_key: String,
    withdrawn: AtomicBool,
    stop: AtomicBool,
}

impl Fleet {
    /// The clients begin at once.
    pub(crate) async fn start(store: &impl Store, pace: Pace) -> Self {
        let mut replicas = Vec::new();
        for _ in 0..REPLICAS {
            replicas.push(Replica::start(store.source(), pace).await);
        }
        let upstream = Upstream::default();
        upstream.create(&api_key(OLD));
        let clients = Arc::new(Clients {
            calls: watch::Sender::new(0),
            failures: Mutex::default(),
            refused: Mutex::default(),
            old_key: key_of(&replicas[0].mint()),
            withdrawn: AtomicBool::new(false),
            stop: AtomicBool::new(false),
        });
        let mut tasks = JoinSet::new();
        for _ in 0..CLIENTS {
            let (replicas, upstream) = (replicas.clone(), upstream.clone());
            tasks.spawn(client(replicas, upstream, clients.clone()));
        }
        Self {
            replicas,
            upstream,
            clients,
            tasks,
        }
    }

    pub(crate) fn addresses(&self) -> String {
        let all: Vec<_> = self.replicas.iter().map(|it| it.address.as_str()).collect();
        all.join(" ")
    }

    /// The id of the key that signs at the start.
    pub(crate) fn old_key(&self) -> &str {
        &self.clients.old_key
    }

    /// Waits until each client has called some times more.
    pub(crate) async fn go_on(&self) {
        let enough = *self.clients.calls.borrow() + 25 * CLIENTS;
        let mut calls = self.clients.calls.subscribe();
        calls.wait_for(|calls| *calls >= enough).await.unwrap();
    }

    /// Waits until each replica has what is looked for, the same on all.
    pub(crate) async fn all_have(&self, what: impl Fn(Status) -> Option<VersionId>) -> VersionId {
        let mut found = Vec::new();
        for replica in &self.replicas {
            let mut events = replica.keyring.subscribe();
            let version = loop {
                if let Some(version) = what(replica.keyring.status()) {
                    break version;
                }
                events.next().await.unwrap();
            };
            found.push(version);
        }
        assert!(found.iter().all(|it| *it == found[0]), "{found:?}");
        found.remove(0)
    }

    /// From now on a token of the old key may be refused.
    pub(crate) fn withdrawal_begins(&self) {
        self.clients.withdrawn.store(true, Ordering::SeqCst);
    }

    /// Ends the clients. None may have failed.
    pub(crate) async fn end(self) -> Vec<Replica> {
        self.clients.stop.store(true, Ordering::SeqCst);
        self.tasks.join_all().await;
        let calls = *self.clients.calls.borrow();
        let refused = *self.clients.refused.lock().unwrap();
        let failures = self.clients.failures.lock().unwrap();
        println!(
            "{calls} calls, {} failed, {refused} with the withdrawn key refused",
            failures.len()
        );
        assert!(failures.is_empty(), "{failures:#?}");
        self.replicas
    }
}

/// Gets a token somewhere, uses it somewhere else, and has its call reach the upstream.
async fn client(replicas: Vec<Replica>, upstream: Upstream, clients: Arc<Clients>) {
    // As many calls as a machine that does other things too can take.
    let mut pace = interval(Duration::from_millis(5));
    while !clients.stop.load(Ordering::SeqCst) {
        pace.tick().await;
        let any = || &replicas[fastrand::usize(..replicas.len())];
        let token = any().mint();
        let replica = any();
        if let Err(status) = replica.accepts(&token).await {
            if key_of(&token) == clients.old_key && clients.withdrawn.load(Ordering::SeqCst) {
                *clients.refused.lock().unwrap() += 1;
            } else {
                let failure = format!("{status} for a token of {}", key_of(&token));
                clients.failures.lock().unwrap().push(failure);
            }
        }
        let secrets = replica.keyring.current();
        let upstream = &upstream;
        let call =
            secrets.try_each(|app: Arc<App>| async move { upstream.call(&app.api_key).await });
        if let Err(error) = call.await {
            clients.failures.lock().unwrap().push(error.to_owned());
        }
        clients.calls.send_modify(|calls| *calls += 1);
    }
}
