//! What a fleet asks of its store: never all at once, whatever happened to all at once.

#![allow(clippy::unwrap_used)]

mod support;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::future::join_all;
use serde::Deserialize;
use support::{ask, token};
use tokio::time::{Instant, advance, sleep};
use tower_secrets::{
    Builder, JwtKey, Keyring, UnknownKey,
    clock::TokioClock,
    event::Event,
    source::{Memory, Source, SourceError, SourceErrorKind, Stage, VersionId, Versions},
};

const POLL: Duration = Duration::from_secs(300);
const REPLICAS: usize = 200;

#[derive(Deserialize)]
struct App {
    jwt: JwtKey,
}

fn doc(key: u32) -> String {
    format!(r#"{{"jwt":"key number {key:03} of thirty-two bytes"}}"#)
}

/// A store that notes when it is asked.
#[derive(Clone)]
struct Counted {
    store: Memory,
    calls: Arc<Mutex<Vec<Instant>>>,
}

impl Counted {
    fn new() -> Self {
        Self {
            store: Memory::new(doc(1)),
            calls: Arc::default(),
        }
    }

    fn builder(&self) -> Builder<App> {
        Keyring::<App>::builder(self.clone())
            .jwt_key(|app| &app.jwt)
            .refresh_every(POLL)
            .clock(TokioClock::new())
    }

    async fn fleet(&self) -> Vec<Keyring<App>> {
        join_all((0..REPLICAS).map(|_| async { self.builder().build().await.unwrap() })).await
    }

    /// How many calls there were in the busiest tenth of an interval, and in all, of the next `time`.
    async fn busiest_and_all(&self, time: Duration) -> (usize, usize) {
        self.calls.lock().unwrap().clear();
        sleep(time).await;
        let calls = self.calls.lock().unwrap();
        let busiest = calls.iter().map(|from| {
            let within = |at: &&Instant| (*from..*from + POLL / 10).contains(*at);
            calls.iter().filter(within).count()
        });
        (busiest.max().unwrap_or(0), calls.len())
    }
}

impl Source for Counted {
    async fn fetch(&self) -> Result<Versions, SourceError> {
        self.calls.lock().unwrap().push(Instant::now());
        self.store.fetch().await
    }
}

/// Of 200 replicas 20 are expected in a tenth of an interval; three times as many are a herd.
const HERD: usize = 3 * REPLICAS / 10;

#[tokio::test(start_paused = true)]
async fn replicas_that_start_at_once_do_not_poll_in_step() {
    let store = Counted::new();
    let _fleet = store.fleet().await;
    for interval in 0..4 {
        let (busiest, all) = store.busiest_and_all(POLL).await;
        assert!(busiest < HERD, "{interval}: {busiest} of {REPLICAS}");
        assert!(all >= REPLICAS, "{interval}: none is left out: {all}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_reload_of_all_leaves_them_out_of_step() {
    let store = Counted::new();
    let mut fleet = Vec::new();
    for _ in 0..REPLICAS {
        fleet.push(store.builder().build().await.unwrap());
        advance(POLL / REPLICAS as u32).await;
    }
    store.store.rotate(doc(2));
    join_all(fleet.iter().map(Keyring::refresh)).await;
    for interval in 0..4 {
        let (busiest, all) = store.busiest_and_all(POLL).await;
        assert!(busiest < HERD, "{interval}: {busiest} of {REPLICAS}");
        assert!(all >= REPLICAS, "{interval}: none is left out: {all}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_pending_version_multiplies_no_calls_unless_that_is_asked_for() {
    let store = Counted::new();
    let keyring = store.builder().build().await.unwrap();
    let eager = Counted::new();
    let soon = Duration::from_secs(5);
    let eager_keyring = eager.builder().refresh_while_pending(soon);
    let eager_keyring = eager_keyring.build().await.unwrap();
    for (store, keyring) in [(&store, &keyring), (&eager, &eager_keyring)] {
        store.store.stage_pending(doc(2));
        keyring.refresh().await.unwrap();
        assert!(keyring.status().pending.is_some());
    }
    let counts = futures::join!(store.busiest_and_all(POLL), eager.busiest_and_all(POLL));
    let ((_, as_usual), (_, while_pending)) = counts;
    assert!((1..=2).contains(&as_usual), "{as_usual}");
    assert!(while_pending >= 60, "{while_pending}");
}

/// Of a key that no store here has.
async fn unknown_token() -> String {
    let other = Counted::new();
    other.store.rotate(doc(9));
    let signing = other.builder().activation_delay(Duration::ZERO);
    token(&signing.build().await.unwrap().signer())
}

/// All who were logged in with a key that was revoked come once more; that is no news of another key.
#[tokio::test(start_paused = true)]
async fn tokens_of_a_revoked_key_ask_for_nothing() {
    for (how, calls) in [("revoked", 0), ("withdrawn", 1), ("past its window", 1)] {
        let store = Counted::new();
        let builder = store.builder().refresh_on_unknown_key(UnknownKey::new());
        let keyring = builder.build().await.unwrap();
        let old = token(&keyring.signer());
        store.store.rotate(doc(2));
        keyring.refresh().await.unwrap();
        assert!(ask(&keyring, &old).await.is_ok(), "{how}");
        match how {
            "withdrawn" => {
                store.store.drop_previous();
                keyring.refresh().await.unwrap();
            }
            "revoked" => keyring.revoke(&VersionId::new("1")),
            _ => sleep(Duration::from_secs(2000)).await,
        }
        store.calls.lock().unwrap().clear();
        for _ in 0..3 {
            assert!(ask(&keyring, &old).await.is_err(), "{how}");
        }
        assert_eq!(store.calls.lock().unwrap().len(), calls, "{how}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_that_the_store_takes_back_into_use_is_found_by_its_first_token() {
    let store = Counted::new();
    let builder = store.builder().refresh_on_unknown_key(UnknownKey::new());
    let keyring = builder.build().await.unwrap();
    let first = token(&keyring.signer());
    store.store.rotate(doc(2));
    keyring.refresh().await.unwrap();
    sleep(Duration::from_secs(2000)).await;
    assert!(keyring.current().previous().is_none());
    store.store.rotate(doc(1));
    assert_eq!(ask(&keyring, &first).await, Ok(Stage::Current));
}

fn busy() -> SourceError {
    let error = SourceError::new(SourceErrorKind::Throttled, "too many calls");
    error.with_retry_after(Duration::from_secs(120))
}

/// Whoever asked: the poll that was due meanwhile is put off, too.
#[tokio::test(start_paused = true)]
async fn a_store_that_wants_to_be_left_alone_is_whoever_asked_it() {
    for by_hand in [true, false] {
        let store = Counted::new();
        let builder = store.builder().refresh_on_unknown_key(UnknownKey::new());
        let keyring = builder.build().await.unwrap();
        let mut events = keyring.subscribe();
        // The next poll is due in less than a hundredth of what is asked for.
        while !matches!(events.next().await.unwrap(), Event::ReloadRequested { .. }) {}
        sleep(POLL * 89 / 100).await;
        store.store.fail_next(1, busy());
        if by_hand {
            keyring.refresh().await.unwrap_err();
        } else {
            assert!(ask(&keyring, &unknown_token().await).await.is_err());
        }
        store.calls.lock().unwrap().clear();
        sleep(Duration::from_secs(119)).await;
        assert_eq!(store.calls.lock().unwrap().len(), 0, "{by_hand}");
        sleep(Duration::from_secs(20)).await;
        assert_eq!(store.calls.lock().unwrap().len(), 1, "{by_hand}");
    }
}

/// What others asked for beside it is tried again soon.
#[tokio::test(start_paused = true)]
async fn a_refresh_for_a_token_and_for_somebody_else_is_tried_again() {
    let store = Counted::new();
    let builder = store.builder().refresh_on_unknown_key(UnknownKey::new());
    let keyring = builder.build().await.unwrap();
    let unknown = unknown_token().await;
    store.store.pause();
    let running = tokio::spawn({
        let keyring = keyring.clone();
        async move { keyring.refresh().await }
    });
    store.store.wait_for_fetches(2).await;
    // Both of these share the next one.
    let asking = tokio::spawn({
        let keyring = keyring.clone();
        async move { ask(&keyring, &unknown).await }
    });
    tokio::task::yield_now().await;
    keyring.revoke(&VersionId::new("1"));
    let down = SourceError::new(SourceErrorKind::Unavailable, "down");
    store.store.fail_next(2, down);
    store.store.resume();
    running.await.unwrap().unwrap_err();
    assert!(asking.await.unwrap().is_err());
    store.store.rotate(doc(2));
    sleep(Duration::from_secs(10)).await;
    assert_eq!(keyring.current().version(), &VersionId::new("2"));
}

#[tokio::test(start_paused = true)]
async fn a_token_of_an_unknown_key_is_worth_one_call_to_a_store_that_fails() {
    let store = Counted::new();
    let builder = store.builder().refresh_on_unknown_key(UnknownKey::new());
    let keyring = builder.build().await.unwrap();
    let unknown = unknown_token().await;
    let down = SourceError::new(SourceErrorKind::Throttled, "too many calls");
    store.store.fail_next(usize::MAX, down);
    store.calls.lock().unwrap().clear();
    assert!(ask(&keyring, &unknown).await.is_err());
    sleep(Duration::from_secs(60)).await;
    assert_eq!(store.calls.lock().unwrap().len(), 1);
}
