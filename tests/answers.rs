//! What a source says beside its versions: how old they are, and when to ask again.
#![allow(clippy::unwrap_used)]

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::Instant,
};
use tower_secrets::{
    Builder, Keyring,
    clock::TokioClock,
    event::Event,
    source::{Source, SourceError, SourceErrorKind, Version, Versions},
};

const SECOND: Duration = Duration::from_secs(1);
const INTERVAL: Duration = Duration::from_secs(300);

fn builder(source: impl Source) -> Builder<serde_json::Value> {
    Keyring::builder(source)
        .refresh_every(INTERVAL)
        .clock(TokioClock::new())
}

fn versions() -> Versions {
    Versions::new(Version::new("1", "{}"))
}

/// Answers `well` times, and then asks to be left alone. It tells when it was asked.
struct Busy {
    well: AtomicUsize,
    rest: Duration,
    asked: UnboundedSender<Instant>,
}

impl Busy {
    fn new(well: usize, rest: Duration) -> (Self, UnboundedReceiver<Instant>) {
        let (asked, times) = unbounded_channel();
        let well = AtomicUsize::new(well);
        (Self { well, rest, asked }, times)
    }
}

impl Source for Busy {
    async fn fetch(&self) -> Result<Versions, SourceError> {
        self.asked.send(Instant::now()).unwrap();
        let left = self.well.load(Ordering::Acquire);
        self.well.store(left.saturating_sub(1), Ordering::Release);
        if left > 0 {
            return Ok(versions());
        }
        let error = SourceError::new(SourceErrorKind::Throttled, "too many calls");
        Err(error.with_retry_after(self.rest))
    }
}

#[tokio::test(start_paused = true)]
async fn the_loop_leaves_a_store_alone_for_as_long_as_it_asks_and_no_longer_than_the_interval() {
    for (rest, at_least, at_most) in [(100, 100, 110), (0, 1, 2), (86_400, 270, 300)] {
        let (source, mut asked) = Busy::new(1, rest * SECOND);
        let keyring = builder(source).build().await.unwrap();
        asked.recv().await.unwrap();
        // The poll that fails, and the next.
        let failed = asked.recv().await.unwrap();
        let pause = asked.recv().await.unwrap() - failed;
        assert!(
            (at_least * SECOND..=at_most * SECOND).contains(&pause),
            "{rest} s: {pause:?}"
        );
        // Who asks is not told to wait.
        let begin = Instant::now();
        keyring.refresh().await.unwrap_err();
        assert_eq!(begin.elapsed(), Duration::ZERO);
    }
}

#[tokio::test(start_paused = true)]
async fn a_start_asks_once_more_before_its_budget_is_over() {
    let (source, mut asked) = Busy::new(0, 3600 * SECOND);
    let begin = Instant::now();
    builder(source).build().await.unwrap_err();
    asked.recv().await.unwrap();
    assert_eq!(asked.recv().await.unwrap() - begin, 30 * SECOND);
    assert!(asked.recv().await.is_none(), "twice, no more");
}

/// Answers from memory until it is told not to, and counts how often its store was asked.
struct Cached {
    answered_at: std::sync::Mutex<Option<Instant>>,
    store: Arc<Store>,
}

#[derive(Default)]
struct Store {
    asked: AtomicUsize,
    is_down: AtomicBool,
}

impl Source for Cached {
    async fn fetch(&self) -> Result<Versions, SourceError> {
        let mut answered_at = self.answered_at.lock().unwrap();
        if let Some(at) = *answered_at {
            return Ok(versions().answered_ago(at.elapsed()));
        }
        self.store.asked.fetch_add(1, Ordering::AcqRel);
        if self.store.is_down.load(Ordering::Acquire) {
            return Err(SourceError::new(SourceErrorKind::Unavailable, "down"));
        }
        *answered_at = Some(Instant::now());
        Ok(versions())
    }

    fn invalidate(&self) {
        *self.answered_at.lock().unwrap() = None;
    }
}

fn cached() -> (Arc<Store>, Cached) {
    let store = Arc::new(Store::default());
    let source = Cached {
        answered_at: std::sync::Mutex::default(),
        store: store.clone(),
    };
    (store, source)
}

#[tokio::test(start_paused = true)]
async fn staleness_is_counted_from_the_stores_own_answer() {
    let (store, source) = cached();
    let keyring = builder(source).build().await.unwrap();
    tokio::time::sleep(10 * INTERVAL).await;
    assert_eq!(store.asked.load(Ordering::Acquire), 1);
    assert_eq!(keyring.status().staleness, 10 * INTERVAL);
    assert!(keyring.status().last_failure.is_none());
}

/// Takes its time, and answers from memory.
struct Slow;

impl Source for Slow {
    async fn fetch(&self) -> Result<Versions, SourceError> {
        tokio::time::sleep(6 * SECOND).await;
        Ok(versions().answered_ago(INTERVAL))
    }
}

#[tokio::test(start_paused = true)]
async fn asking_anew_is_part_of_the_same_fetch() {
    let slow = builder(Slow).fetch_limit(10 * SECOND);
    let bounded = slow.max_staleness(2 * INTERVAL).build().await.unwrap();
    let begin = Instant::now();
    let error = bounded.refresh().await.unwrap_err();
    assert_eq!(begin.elapsed(), 10 * SECOND, "{error}");
}

#[tokio::test(start_paused = true)]
async fn where_it_is_bounded_the_store_itself_is_asked_in_time() {
    let (store, source) = cached();
    let keyring = builder(source).refuse_after(10 * INTERVAL);
    let keyring = keyring.build().await.unwrap();
    let mut events = keyring.subscribe();
    for _ in 0..100 {
        tokio::time::sleep(INTERVAL).await;
        assert!(keyring.status().staleness <= 6 * INTERVAL);
        assert!(!keyring.status().refuses);
    }
    let asked = store.asked.load(Ordering::Acquire);
    assert!((16..=23).contains(&asked), "{asked}");
    // What is silent is seen to be.
    store.is_down.store(true, Ordering::Release);
    while !keyring.status().refuses {
        assert!(!matches!(events.next().await, Some(Event::Reloaded { .. })));
    }
}
