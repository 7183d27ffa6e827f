//! How long a leaked key is accepted, by replicas that are asked, that only poll, and that are cut off: the numbers in
//! `guide::fleets` and in the runbook of a breach, with the settings that they are for; and that the least of those
//! settings lose no token.

use std::{
    collections::VecDeque,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http::StatusCode;
use serde::Deserialize;
use tokio::time::{Instant, sleep};
use tower_secrets::{
    Builder, JwtKey, Keyring, RegisteredClaims,
    clock::TokioClock,
    source::{Memory, Source, SourceError, SourceErrorKind, Stage, VersionId, Versions},
};

use crate::support::{ask, token};

const LIMIT: Duration = Duration::from_secs(10);
/// A little less than a limit: it is kept.
const SLOW: Duration = Duration::from_millis(9_990);
const OVERLAP: Duration = Duration::from_secs(1010);
const TOKEN_LIFETIME: Duration = Duration::from_secs(300);
const REFUSE_AFTER: Duration = Duration::from_secs(3000);

/// What the pages say, in seconds.
const RELOADED: u64 = 40;
const MISSED: u64 = 340;

#[derive(Deserialize)]
struct App {
    jwt_secret: JwtKey,
}

fn document(number: usize) -> String {
    format!(r#"{{"jwt_secret":"the signing secret of document {number:04}"}}"#)
}

/// A store whose answers are on their way for as long as the limit allows, and which can be out of reach.
#[derive(Clone)]
struct Far {
    memory: Memory,
    is_cut: Arc<AtomicBool>,
}

impl Far {
    fn new() -> Self {
        Self {
            memory: Memory::new(document(0)),
            is_cut: Arc::default(),
        }
    }

    fn cut(&self) {
        self.is_cut.store(true, Ordering::Relaxed);
    }
}

impl Source for Far {
    async fn fetch(&self) -> Result<Versions, SourceError> {
        let versions = self.memory.fetch().await;
        sleep(SLOW).await;
        if self.is_cut.load(Ordering::Relaxed) {
            let gone = SourceError::new(SourceErrorKind::Unavailable, "out of reach");
            return Err(gone);
        }
        versions
    }

    fn published(&self, current: &VersionId) {
        self.memory.published(current);
    }
}

fn builder(source: impl Source) -> Builder<App> {
    Keyring::<App>::builder(source)
        .jwt_key(|app| &app.jwt_secret)
        .token_lifetime(TOKEN_LIFETIME)
        .overlap(OVERLAP)
        .fetch_limit(LIMIT)
        .probe("slow", async |_: Arc<App>| {
            sleep(SLOW).await;
            Ok::<_, io::Error>(())
        })
        .clock(TokioClock::new())
}

/// A replica over such a store, and a token of the key that leaks.
async fn replica() -> (Far, Keyring<App>, String) {
    let source = Far::new();
    let keyring = builder(source.clone()).build().await.unwrap();
    let leaked = token(&keyring.signer());
    (source, keyring, leaked)
}

/// Right after the store has answered a poll.
async fn after_a_poll(source: &Far) {
    let next = source.memory.fetches() + 1;
    source.memory.wait_for_fetches(next).await;
}

/// How long the key of this token is accepted from now on: up to a tenth of a second, and a day.
async fn accepted_for(keyring: &Keyring<App>, token: &str) -> (Duration, StatusCode) {
    let began = Instant::now();
    loop {
        if let Err(status) = ask(keyring, token).await {
            return (began.elapsed(), status);
        }
        let for_ever = began.elapsed() > Duration::from_secs(86_400);
        assert!(!for_ever, "it is accepted after a day");
        sleep(Duration::from_millis(100)).await;
    }
}

/// The store takes the leaked version away, in two changes: a new key, and no previous.
fn withdraw(source: &Far) {
    source.memory.rotate(document(1));
    source.memory.drop_previous();
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_only_polls() {
    let (source, keyring, leaked) = replica().await;
    after_a_poll(&source).await;
    withdraw(&source);
    let (time, status) = accepted_for(&keyring, &leaked).await;
    println!("polls only: {time:?}");
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert!(time <= Duration::from_secs(MISSED), "{time:?}");
    // An interval, its jitter, and two fetches and a probe: the number is no exaggeration.
    assert!(time > Duration::from_secs(270) + 3 * SLOW, "{time:?}");
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_is_asked_while_it_fetches() {
    let (source, keyring, leaked) = replica().await;
    after_a_poll(&source).await;
    withdraw(&source);
    let began = Instant::now();
    keyring.refresh().await.unwrap();
    println!("reloaded: {:?}", began.elapsed());
    assert!(began.elapsed() <= Duration::from_secs(RELOADED));
    // When the reload has answered, it is over.
    assert_eq!(ask(&keyring, &leaked).await, Err(StatusCode::UNAUTHORIZED));
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_is_cut_off_after_it_saw_the_rotation() {
    let (source, keyring, leaked) = replica().await;
    source.memory.rotate(document(1));
    keyring.refresh().await.unwrap();
    source.cut();
    source.memory.drop_previous();
    assert_eq!(ask(&keyring, &leaked).await, Ok(Stage::Previous));
    let (time, status) = accepted_for(&keyring, &leaked).await;
    println!("cut off after the rotation: {time:?}");
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert!(time <= OVERLAP + Duration::from_millis(100), "{time:?}");
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_is_cut_off_before_it_saw_the_rotation() {
    let (source, keyring, leaked) = replica().await;
    source.cut();
    withdraw(&source);
    // A week.
    for _ in 0..7 * 24 {
        sleep(Duration::from_secs(3600)).await;
    }
    assert_eq!(
        ask(&keyring, &leaked).await,
        Ok(Stage::Current),
        "without end"
    );
}

#[tokio::test(start_paused = true)]
async fn the_same_with_refuse_after() {
    let source = Far::new();
    let builder = builder(source.clone()).refuse_after(REFUSE_AFTER);
    let keyring = builder.build().await.unwrap();
    let leaked = token(&keyring.signer());
    source.cut();
    withdraw(&source);
    let (time, status) = accepted_for(&keyring, &leaked).await;
    println!("cut off, refuse_after: {time:?}");
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(
        time <= REFUSE_AFTER + Duration::from_millis(100),
        "{time:?}"
    );
    // It is the least that the builder takes.
    let second = Duration::from_secs(1);
    let refused = self::builder(source).refuse_after(REFUSE_AFTER - second);
    let error = refused.build().await.unwrap_err().to_string();
    assert!(error.contains("refuse_after"), "{error}");
}

/// Neither a token of the new key, by a replica that does not know it yet, nor one of the old key, by a replica
/// that has let it go.
#[tokio::test(start_paused = true)]
async fn between_the_first_replica_and_the_last_no_token_is_lost() {
    let (far, last, _) = replica().await;
    let near = Memory::new(document(0));
    let first = builder(near.clone()).build().await.unwrap();
    after_a_poll(&far).await;
    far.memory.rotate(document(1));
    near.rotate(document(1));
    first.refresh().await.unwrap();

    let second = Duration::from_secs(1);
    let mut tokens = VecDeque::new();
    let flip = Instant::now();
    let mut seen_by_last = None;
    while flip.elapsed() < OVERLAP + Duration::from_secs(MISSED) {
        for signing in [&first, &last] {
            tokens.push_back((Instant::now(), token(&signing.signer())));
        }
        let fresh = tokens.iter().rev().take(2);
        let is_old = |(minted, _): &&(Instant, String)| minted.elapsed() + second >= TOKEN_LIFETIME;
        for (minted, token) in fresh.chain(tokens.iter().take_while(is_old)) {
            for (name, verifying) in [("first", &first), ("last", &last)] {
                let answer = ask(verifying, token).await;
                let (flip, age) = (flip.elapsed(), minted.elapsed());
                assert!(
                    answer.is_ok(),
                    "{name}, {flip:?} after the flip, {age:?} old"
                );
            }
        }
        while tokens.front().is_some_and(|it| is_old(&it)) {
            tokens.pop_front();
        }
        if seen_by_last.is_none() && last.status().previous.is_some() {
            seen_by_last = Some(flip.elapsed());
        }
        sleep(second).await;
    }
    println!("the last saw it after {seen_by_last:?}");
    // It was as late as it may be, less the jitter.
    assert!(seen_by_last.unwrap() > Duration::from_secs(270) + 2 * SLOW);
    assert!(!tokens.is_empty());
}

/// Why the runbook begins with a new key.
#[tokio::test(start_paused = true)]
async fn revoking_before_rotating_refuses_everybody() {
    let (source, keyring, anybody) = replica().await;
    keyring.revoke(&keyring.status().current.id);
    let refused = ask(&keyring, &anybody).await;
    assert_eq!(refused, Err(StatusCode::UNAUTHORIZED));
    let claims = RegisteredClaims::new("alice");
    assert!(keyring.signer().sign(&claims).is_err(), "no key is left");

    source.memory.rotate(document(1));
    keyring.refresh().await.unwrap();
    let fresh = token(&keyring.signer());
    assert_eq!(ask(&keyring, &fresh).await, Ok(Stage::Current));
}

#[test]
fn the_pages_say_these_numbers() {
    let breach = include_str!("../../src/guide/runbooks/breach.rs");
    let fleets = include_str!("../../src/guide/fleets.rs");
    for page in [breach, fleets] {
        for seconds in [RELOADED, MISSED] {
            assert!(page.contains(&format!("{seconds} s at most")), "{seconds}");
        }
        for number in [OVERLAP, REFUSE_AFTER] {
            let number = format!("{} s", number.as_secs());
            assert!(page.contains(&number), "{number}");
        }
    }
}
