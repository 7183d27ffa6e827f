//! Faults that belong to no other test: the rest of the table in the guide, and the table itself.

#![allow(clippy::unwrap_used)]

use std::{
    fs,
    path::Path,
    sync::{
        Arc, Weak,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use serde::Deserialize;
use tokio::{runtime::Runtime, sync::Barrier, task::JoinSet};
use tower_secrets::{
    Builder, JwtKey, Keyring, Secrets,
    clock::TokioClock,
    event::Event,
    keyring::InUse,
    source::{Memory, SourceError, SourceErrorKind, Stage, VersionId},
};

mod support;
use support::{ask, token};

#[derive(Deserialize)]
struct App {
    jwt: JwtKey,
    number: u32,
}

fn doc(number: u32) -> String {
    format!(r#"{{"jwt":"key number {number:03} of thirty-two bytes","number":{number}}}"#)
}

fn builder(store: &Memory) -> Builder<App> {
    Keyring::<App>::builder(store.clone()).jwt_key(|app| &app.jwt)
}

#[tokio::test(start_paused = true)]
async fn a_thousand_calls_of_refresh_cost_two_fetches() {
    let store = Memory::new(doc(1));
    let keyring = builder(&store).clock(TokioClock::new()).build().await;
    let keyring = keyring.unwrap();
    let before = store.fetches();
    store.pause();
    let mut callers = JoinSet::new();
    for _ in 0..1000 {
        let keyring = keyring.clone();
        callers.spawn(async move { keyring.refresh().await.unwrap() });
    }
    store.wait_for_fetches(before + 1).await;
    store.rotate(doc(2));
    store.resume();
    callers.join_all().await;
    assert!(store.fetches() - before <= 2, "{}", store.fetches());
    assert_eq!(keyring.current().number, 2);
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_fails_every_other_time_refuses_no_token() {
    let store = Memory::new(doc(1));
    let turns = Arc::new(AtomicU32::new(0));
    let probe = move |_| {
        let fails = turns.fetch_add(1, Ordering::Relaxed) % 2 == 1;
        let answer = (!fails).then_some(()).ok_or("not this time");
        async move { answer }
    };
    let building = builder(&store)
        .activation_delay(Duration::ZERO)
        .probe("upstream", probe);
    let keyring = building.clock(TokioClock::new()).build().await.unwrap();
    let mut refused = 0;
    for number in 2..12 {
        let old = token(&keyring.signer());
        store.rotate(doc(number));
        while keyring.refresh().await.is_err() {
            refused += 1;
            assert_eq!(ask(&keyring, &old).await, Ok(Stage::Current));
        }
        assert_eq!(keyring.current().number, number);
        assert_eq!(ask(&keyring, &old).await, Ok(Stage::Previous));
    }
    assert_eq!(refused, 10, "each was refused once");
}

/// What a request holds stays whole, and everything that was replaced goes when it lets go.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_requests_hold_fifty_generations() {
    const GENERATIONS: u32 = 50;
    const REQUESTS: u32 = 100_000 / GENERATIONS;
    let store = Memory::new(doc(1));
    let keyring = builder(&store).build().await.unwrap();
    let end = Arc::new(tokio::sync::Notify::new());
    let mut requests = JoinSet::new();
    let mut bundles: Vec<Weak<App>> = Vec::new();
    for number in 1..=GENERATIONS {
        if number > 1 {
            store.rotate(doc(number));
            keyring.refresh().await.unwrap();
        }
        bundles.push(Arc::downgrade(&keyring.current().bundle()));
        let all_began = Arc::new(Barrier::new(REQUESTS as usize + 1));
        for _ in 0..REQUESTS {
            let (keyring, began, end) = (keyring.clone(), all_began.clone(), end.clone());
            requests.spawn(async move {
                let secrets = keyring.current();
                let ended = end.notified();
                tokio::pin!(ended);
                ended.as_mut().enable();
                began.wait().await;
                ended.await;
                assert_eq!(secrets.number, number);
                assert_eq!(secrets.generation(), u64::from(number));
            });
        }
        all_began.wait().await;
    }
    let held: usize = (keyring.status().replaced.iter())
        .flat_map(|replaced| &replaced.in_use)
        .filter_map(|it| match it {
            InUse::Held { holders } => Some(*holders),
            _ => None,
        })
        .sum();
    // Of the last version's requests nobody asks; only so many replaced ones are remembered.
    let remembered = keyring.status().replaced.len();
    assert_eq!(held, remembered * REQUESTS as usize);
    assert!(remembered >= 32, "{remembered}");
    assert!(bundles.iter().all(|bundle| bundle.strong_count() > 0));

    end.notify_waiters();
    while let Some(ended) = requests.join_next().await {
        ended.unwrap();
    }
    keyring.revoke_previous();
    keyring.drained(&VersionId::new("49")).await.unwrap();
    let alive = bundles.iter().filter(|bundle| bundle.strong_count() > 0);
    assert!(
        alive.count() <= 2,
        "current, and what the books keep of previous"
    );
}

#[tokio::test(start_paused = true)]
async fn a_request_goes_on_when_the_last_keyring_is_gone() {
    let store = Memory::new(doc(1));
    let keyring = builder(&store).clock(TokioClock::new()).build().await;
    let keyring = keyring.unwrap();
    let mut events = keyring.subscribe();
    let held: Secrets<App> = keyring.current();
    drop(keyring);
    // The loop is gone.
    while events.next().await.is_some() {}
    assert_eq!(held.number, 1);
    assert!(held.previous().is_none());
}

/// Nobody waits for ever for a loop that died with its runtime.
#[test]
fn a_runtime_that_ends_in_the_middle_of_a_refresh_takes_nothing_along() {
    let store = Memory::new(doc(1));
    let first = Runtime::new().unwrap();
    let keyring = first.block_on(builder(&store).build()).unwrap();
    let old = token(&keyring.signer());
    store.pause();
    first.block_on(async {
        let keyring = keyring.clone();
        tokio::spawn(async move { keyring.refresh().await });
        store.wait_for_fetches(2).await;
    });
    drop(first);

    let second = Runtime::new().unwrap();
    second.block_on(async {
        assert_eq!(ask(&keyring, &old).await, Ok(Stage::Current));
        let error = keyring.refresh().await.unwrap_err();
        assert!(error.to_string().contains("shut down"), "{error}");
        assert_eq!(keyring.current().number, 1);
    });
}

/// `/dev/full` takes no byte: what a log on a full disk does.
#[cfg(target_os = "linux")]
#[tokio::test(start_paused = true)]
async fn a_full_disk_under_the_log_stops_no_rotation() {
    use tracing_subscriber::fmt;

    let full = fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let log = fmt().with_writer(std::sync::Mutex::new(full)).finish();
    let _guard = tracing::subscriber::set_default(log);
    let store = Memory::new(doc(1));
    let keyring = builder(&store).clock(TokioClock::new()).build().await;
    let keyring = keyring.unwrap();
    let mut events = keyring.subscribe();
    store.fail_next(3, SourceError::new(SourceErrorKind::Unavailable, "down"));
    store.rotate(doc(2));
    loop {
        if let Event::Reloaded { .. } = events.next().await.unwrap() {
            break;
        }
    }
    assert_eq!(keyring.current().number, 2);
}

/// `.invalid` has no address anywhere (RFC 6761 section 6.4).
#[cfg(feature = "jwks")]
#[tokio::test]
async fn a_name_without_an_address_is_an_outage_like_any_other() {
    use tower_secrets::source::{Jwks, Source};

    let source = Jwks::new("https://keys.invalid/jwks.json");
    let fetched = tokio::time::timeout(Duration::from_secs(30), source.fetch()).await;
    let error = fetched.expect("it is bounded in time").unwrap_err();
    let kind = error.kind();
    assert!(
        matches!(
            kind,
            SourceErrorKind::Unavailable | SourceErrorKind::TimedOut
        ),
        "{error}"
    );
}

/// The page names tests; one that is renamed or gone is a promise that nobody keeps.
#[test]
fn each_line_of_the_table_names_tests_that_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("src/guide/faults.rs")).unwrap();
    let rows = page.lines().filter(|line| line.starts_with("//! | "));
    let mut faults = 0;
    for row in rows.skip(1) {
        faults += 1;
        let tests: Vec<_> = row
            .split('`')
            .skip(1)
            .step_by(2)
            .filter_map(|code| code.split_once("::"))
            .collect();
        assert!(!tests.is_empty(), "no test is named: {row}");
        for (file, name) in tests {
            let text = fs::read_to_string(root.join(file));
            let text = text.unwrap_or_else(|error| panic!("{file}: {error}"));
            assert!(
                text.contains(&format!("fn {name}(")),
                "{file} has no {name}"
            );
        }
    }
    assert!(faults >= 30, "{faults}");
}
