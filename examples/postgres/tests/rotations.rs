//! Real rotations of a real server's passwords, in the order of AWS, under 32 workers.

#![allow(clippy::unwrap_used)]

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use sqlx::{Connection, PgConnection, Row};
use support::{Database, Load, Shifted, until};
use tower_secrets::{
    Attempt, CredentialKind, Keyring, Secrets,
    refresh::Step,
    source::{Memory, VersionId},
};
use tower_secrets_postgres::{App, Document, Login, POOL_SIZE, SESSION, attempt, with_pool};

const WORKERS: usize = 32;
const ROTATIONS: u32 = 30;
/// In real life 300 s; the test's store answers at once and costs nothing.
const POLL: Duration = Duration::from_millis(100);
const WINDOW: Duration = Duration::from_secs(900);
const LIMIT: Duration = Duration::from_secs(10);
/// Between ALTER ROLE and the flip, as AWS has it.
const AWS_PAUSE: Duration = Duration::from_secs(5);
const SINGLE_USER: CredentialKind = CredentialKind::single_user();

async fn pooled(store: &Memory, clock: &Arc<Shifted>) -> Keyring<App> {
    with_pool(store.clone())
        .refresh_every(POLL)
        .probe_limit(LIMIT)
        .overlap(WINDOW)
        .clock(clock.clone())
        .build()
        .await
        .unwrap()
}

async fn pooled_without_window(store: &Memory) -> Keyring<App> {
    with_pool(store.clone())
        .refresh_every(POLL)
        .probe_limit(LIMIT)
        .release_previous_at_swap()
        .build()
        .await
        .unwrap()
}

async fn until_current<T: Send + Sync + 'static>(keyring: &Keyring<T>, version: &VersionId) {
    until("the new version is in use", || async {
        keyring.current().version() == version
    })
    .await;
}

/// A query through the pool, which tells the user.
async fn query(app: &App) -> sqlx::Result<String> {
    let row = sqlx::query("SELECT current_user::text, pg_sleep(0.001)")
        .fetch_one(app.pool())
        .await?;
    Ok(row.get(0))
}

/// A query through a session of its own: each is a login.
async fn log_in(login: &Login) -> sqlx::Result<()> {
    let mut session = login.open().await?;
    sqlx::query("SELECT 1").execute(&mut session).await?;
    session.close().await
}

async fn query_as_alternating(_: usize, secrets: Secrets<App>) -> sqlx::Result<String> {
    let ask = |app: Arc<App>| async move { query(&app).await.map_err(attempt) };
    secrets.try_each(ask).await
}

/// Counts what the server refused.
fn counted<E>(attempt: Attempt<E>, refused: &AtomicU64) -> Attempt<E> {
    if matches!(attempt, Attempt::Unauthenticated(_)) {
        refused.fetch_add(1, Ordering::Relaxed);
    }
    attempt
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alternating_users_fail_no_request() {
    let Some(database) = Database::new("alternating").await else {
        return;
    };
    let [a, b] = database.users();
    database.alter(&a, "first").await;
    let store = Memory::new(database.document(&a, "first", 0));
    let clock = Shifted::new();
    let keyring = pooled(&store, &clock).await;
    let load = Load::start(WORKERS, &keyring, query_as_alternating);
    load.served(&a, 100).await;
    for n in 1..=ROTATIONS {
        let (old, new) = if n % 2 == 1 { (&a, &b) } else { (&b, &a) };
        let password = format!("{new}-{n}");
        store.stage_pending(database.document(new, &password, 0));
        database.alter(new, &password).await;
        load.served(old, 10).await;
        store.promote_pending();
        load.served(new, 100).await;
        let kept = database.sessions(old).await.len();
        assert!(kept > 0, "the old pool lives while its window is open");
        clock.move_on(WINDOW);
        database.until_no_session(old).await;
        let sessions = database.sessions(new).await.len();
        assert!(sessions <= POOL_SIZE as usize, "{sessions} sessions");
    }
    println!("{} requests, none failed", load.stop().await);
}

/// One user, logins throughout: between ALTER ROLE and the flip only the pending password works.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_single_user_logs_in_with_pending_until_the_flip() {
    let Some(database) = Database::new("single_user").await else {
        return;
    };
    let [user, _] = database.users();
    database.alter(&user, "first").await;
    let store = Memory::new(database.document(&user, "first", 0));
    let keyring = Keyring::<Document>::builder(store.clone())
        .refresh_every(POLL)
        .build()
        .await
        .unwrap();
    let refused = Arc::new(AtomicU64::new(0));
    let counter = refused.clone();
    let load = Load::start(WORKERS, &keyring, move |_, secrets: Secrets<Document>| {
        let counter = counter.clone();
        async move {
            let call = |document: Arc<Document>| {
                let counter = counter.clone();
                async move {
                    match log_in(&document.database).await {
                        Ok(()) => Ok(document.database.password.clone()),
                        Err(error) => Err(counted(attempt(error), &counter)),
                    }
                }
            };
            secrets.try_each_as(SINGLE_USER, call).await
        }
    });
    load.served("first", 10).await;
    let mut waited = Duration::ZERO;
    for n in 1..=ROTATIONS {
        let password = format!("password-{n}");
        let next = store.stage_pending(database.document(&user, &password, 0));
        database.alter(&user, &password).await;
        let altered = Instant::now();
        load.served(&password, 10).await;
        waited = waited.max(altered.elapsed());
        if n == ROTATIONS / 2 {
            tokio::time::sleep(AWS_PAUSE).await;
            load.served(&password, 10).await;
        }
        assert_ne!(
            *keyring.current().version(),
            next,
            "the flip comes after that"
        );
        store.promote_pending();
        until_current(&keyring, &next).await;
        load.served(&password, 10).await;
    }
    let served = load.stop().await;
    let refused = refused.load(Ordering::Relaxed);
    println!(
        "{served} logins, none failed for its caller; the server refused {refused} in {ROTATIONS} \
         rotations; ten were served at most {waited:?} after ALTER ROLE"
    );
    let under_way = WORKERS as u64 + 3;
    assert!(refused <= under_way * u64::from(ROTATIONS), "{refused}");
    until("the sessions are closed", || async {
        database.sessions_named(&user, SESSION).await.is_empty()
    })
    .await;
}

/// One user and a pool: half of the workers use its sessions, which outlive their password, and half
/// log in. There is no pool for pending, so they wait for the flip.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_single_users_pool_is_met_by_the_flip() {
    let Some(database) = Database::new("single_user_pool").await else {
        return;
    };
    let [user, _] = database.users();
    database.alter(&user, "first").await;
    let store = Memory::new(database.document(&user, "first", 0));
    let clock = Shifted::new();
    let keyring = pooled(&store, &clock).await;
    let refused = Arc::new(AtomicU64::new(0));
    let counter = refused.clone();
    let load = Load::start(WORKERS, &keyring, move |worker, secrets: Secrets<App>| {
        let counter = counter.clone();
        async move {
            let call = |app: Arc<App>| {
                let counter = counter.clone();
                async move {
                    let login = &app.document.database;
                    let outcome = if worker % 2 == 0 {
                        query(&app).await.map(|_| "the pool".to_owned())
                    } else {
                        log_in(login).await.map(|()| login.password.clone())
                    };
                    outcome.map_err(|error| counted(attempt(error), &counter))
                }
            };
            secrets.try_each_as(SINGLE_USER, call).await
        }
    });
    load.served("first", 10).await;
    for n in 1..=ROTATIONS {
        let before = database.sessions(&user).await;
        let refusals = refused.load(Ordering::Relaxed);
        let password = format!("password-{n}");
        let next = store.stage_pending(database.document(&user, &password, 0));
        database.alter(&user, &password).await;
        until("a login is refused", || async {
            refused.load(Ordering::Relaxed) > refusals
        })
        .await;
        if n == ROTATIONS / 2 {
            tokio::time::sleep(AWS_PAUSE).await;
        }
        store.promote_pending();
        until_current(&keyring, &next).await;
        load.served(&password, 10).await;
        load.served("the pool", 10).await;
        clock.move_on(WINDOW);
        until("the old pool is closed", || async {
            let now = database.sessions(&user).await;
            now.is_disjoint(&before) && now.len() <= POOL_SIZE as usize
        })
        .await;
    }
    let served = load.stop().await;
    let refused = refused.load(Ordering::Relaxed);
    println!("{served} calls, none failed for its caller; the server refused {refused} logins");
    let under_way = WORKERS as u64 + 3;
    assert!(refused <= under_way * u64::from(ROTATIONS), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_pools_close_at_the_swap_where_no_window_is_wanted() {
    let Some(database) = Database::new("no_window").await else {
        return;
    };
    let [a, b] = database.users();
    database.alter(&a, "first").await;
    let store = Memory::new(database.document(&a, "first", 0));
    let keyring = pooled_without_window(&store).await;
    let load = Load::start(WORKERS, &keyring, query_as_alternating);
    load.served(&a, 100).await;
    for n in 1..=4 {
        let (old, new) = if n % 2 == 1 { (&a, &b) } else { (&b, &a) };
        let password = format!("{new}-{n}");
        database.alter(new, &password).await;
        store.rotate(database.document(new, &password, 0));
        load.served(new, 100).await;
        database.until_no_session(old).await;
        let sessions = database.sessions(new).await.len();
        assert!(sessions <= POOL_SIZE as usize, "{sessions} sessions");
    }
    load.stop().await;
    // The last pool goes with the keyring.
    drop(keyring);
    database.until_no_session(&a).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_new_password_is_refused_and_service_goes_on() {
    let Some(database) = Database::new("wrong_password").await else {
        return;
    };
    let [a, _] = database.users();
    database.alter(&a, "first").await;
    let store = Memory::new(database.document(&a, "first", 0));
    let keyring = pooled_without_window(&store).await;
    let load = Load::start(WORKERS, &keyring, query_as_alternating);
    load.served(&a, 100).await;
    store.rotate(database.document(&a, "mistyped-password", 0));
    let error = keyring.refresh().await.unwrap_err();
    assert_eq!(error.failed_step(), Some(Step::Prepare));
    assert!(!error.to_string().contains("mistyped"), "{error}");
    assert!(
        error.to_string().contains("authentication failed"),
        "{error}"
    );
    load.served(&a, 200).await;
    assert_eq!(keyring.current().document.database.password, "first");
    assert!(keyring.status().quarantine.is_some());
    let sessions = database.sessions(&a).await;
    assert!(sessions.len() <= POOL_SIZE as usize);

    database.alter(&a, "second").await;
    store.rotate(database.document(&a, "second", 0));
    assert!(keyring.refresh().await.unwrap().is_swapped());
    load.served(&a, 200).await;
    load.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rotations_of_another_secret_open_no_connection() {
    let Some(database) = Database::new("other_secret").await else {
        return;
    };
    let [a, _] = database.users();
    database.alter(&a, "first").await;
    let store = Memory::new(database.document(&a, "first", 0));
    let keyring = pooled_without_window(&store).await;
    let load = Load::start(WORKERS, &keyring, query_as_alternating);
    until("the pool is full", || async {
        database.sessions(&a).await.len() == POOL_SIZE as usize
    })
    .await;
    let before = database.sessions(&a).await;
    for jwt in 1..=10 {
        let next = store.rotate(database.document(&a, "first", jwt));
        until_current(&keyring, &next).await;
        load.served(&a, 20).await;
    }
    assert_eq!(
        database.sessions(&a).await,
        before,
        "the very same sessions"
    );
    load.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_transactions_outlive_their_pool() {
    let Some(database) = Database::new("long_transactions").await else {
        return;
    };
    let [a, b] = database.users();
    database.alter(&a, "first").await;
    let store = Memory::new(database.document(&a, "first", 0));
    let keyring = pooled_without_window(&store).await;
    let load = Load::start(WORKERS, &keyring, query_as_alternating);
    load.served(&a, 100).await;
    let mut begun = Vec::new();
    for _ in 0..4 {
        let mut transaction = keyring.current().pool().begin().await.unwrap();
        let id = transaction_id(&mut transaction).await;
        begun.push((transaction, id));
    }
    database.alter(&b, "second").await;
    store.rotate(database.document(&b, "second", 0));
    load.served(&b, 100).await;
    until("the idle sessions are closed", || async {
        database.sessions(&a).await.len() == begun.len()
    })
    .await;
    // What began with the old password even outlives the password.
    database.alter(&a, "changed").await;
    for (mut transaction, id) in begun {
        assert_eq!(transaction_id(&mut transaction).await, id);
        transaction.commit().await.unwrap();
    }
    database.until_no_session(&a).await;
    load.stop().await;
}

async fn transaction_id(session: &mut PgConnection) -> i64 {
    let sql = "SELECT txid_current()";
    let row = sqlx::query(sql).fetch_one(session).await.unwrap();
    row.get(0)
}
