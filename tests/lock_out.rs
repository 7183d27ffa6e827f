//! A bad new password in the store, and a database that locks the account after ten failed logins.

#![allow(clippy::unwrap_used)]

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use serde::Deserialize;
use tokio::task::JoinSet;
use tower_secrets::{
    Attempt, Builder, CredentialKind, Keyring, Parts, TryError, clock::TokioClock, source::Memory,
};

const REPLICAS: usize = 3;
const OUTAGE: Duration = Duration::from_secs(600);

#[derive(Debug, Deserialize)]
struct Document {
    password: String,
}

fn doc(password: &str) -> String {
    format!(r#"{{"password":"{password}"}}"#)
}

/// One account for the whole fleet. Failed logins are never forgiven, which is harsher than any.
#[derive(Clone)]
struct Database(Arc<Mutex<Account>>);

struct Account {
    password: String,
    logins: u32,
    failed: u32,
}

impl Database {
    fn new(password: &str) -> Self {
        Self(Arc::new(Mutex::new(Account {
            password: password.to_owned(),
            logins: 0,
            failed: 0,
        })))
    }

    fn log_in(&self, password: &str) -> Result<(), &'static str> {
        let mut account = self.0.lock().unwrap();
        let is_locked = account.failed >= 10;
        if password == account.password && !is_locked {
            account.logins += 1;
            return Ok(());
        }
        account.failed += 1;
        Err(if is_locked {
            "locked"
        } else {
            "wrong password"
        })
    }

    fn counts(&self) -> (u32, u32) {
        let account = self.0.lock().unwrap();
        (account.logins, account.failed)
    }
}

/// The proof is in a probe, or in a `prepare` step.
async fn replica(store: &Memory, database: &Database, by_probe: bool) -> Keyring<String> {
    let (probed, prepared) = (database.clone(), database.clone());
    let builder: Builder<Document> =
        Keyring::<Document>::builder(store.clone()).clock(TokioClock::new());
    let builder = builder.prepare(move |document: Arc<Document>, _: Parts| {
        let database = prepared.clone();
        async move {
            if !by_probe {
                database.log_in(&document.password)?;
            }
            Ok::<_, &str>(document.password.clone())
        }
    });
    let builder = builder.probe("database", move |password: Arc<String>| {
        let database = probed.clone();
        async move {
            if by_probe {
                database.log_in(&password)
            } else {
                Ok(())
            }
        }
    });
    builder.build().await.unwrap()
}

/// A request, which opens a session of its own.
async fn request(
    keyring: &Keyring<String>,
    database: &Database,
) -> Result<(), TryError<&'static str>> {
    let log_in = |password: Arc<String>| {
        let outcome = database.log_in(&password);
        async move { outcome.map_err(Attempt::Unauthenticated) }
    };
    let kind = CredentialKind::single_user();
    keyring.current().try_each_as(kind, log_in).await
}

#[tokio::test(start_paused = true)]
async fn a_bad_new_password_locks_no_account_and_breaks_no_service() {
    let mut most = 0;
    // The pauses between two tries have jitter.
    for round in 0..10 {
        let store = Memory::new(doc("good"));
        let database = Database::new("good");
        let mut replicas = Vec::new();
        for _ in 0..REPLICAS {
            replicas.push(replica(&store, &database, round % 2 == 0).await);
        }
        let mut load = JoinSet::new();
        for keyring in &replicas {
            let (keyring, database) = (keyring.clone(), database.clone());
            load.spawn(async move {
                loop {
                    request(&keyring, &database).await.unwrap();
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            });
        }
        // Put, and made current by a rotation function that tested nothing.
        store.stage_pending(doc("mistyped"));
        tokio::time::sleep(Duration::from_secs(60)).await;
        store.promote_pending();
        for keyring in &replicas {
            while keyring.status().quarantine.is_none() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        tokio::time::sleep(OUTAGE).await;
        let (logins, failed) = database.counts();
        assert!(failed < 10, "{failed} failed logins");
        assert!(failed >= REPLICAS as u32, "each has tried it");
        assert!(logins > 3 * REPLICAS as u32 * OUTAGE.as_secs() as u32);
        assert!(load.try_join_next().is_none(), "every request was served");
        most = most.max(failed);

        // The next one is good.
        let corrected = store.rotate(doc("good"));
        for keyring in &replicas {
            keyring.refresh().await.unwrap();
            assert_eq!(*keyring.current().version(), corrected);
            request(keyring, &database).await.unwrap();
        }
        assert!(database.counts().1 < 10);
    }
    println!("at most {most} failed logins from {REPLICAS} replicas in {OUTAGE:?}");
}
