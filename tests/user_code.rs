//! Code of the user's, where it is called and where it is dropped: it may panic, and it may ask the keyring.

#![allow(clippy::unwrap_used)]

use std::{
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::FutureExt;
use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, Key, KeyName, Metadata, Recorder, SharedString,
    Unit,
};
use serde::Deserialize;
use tower_secrets::{
    Builder, Keyring,
    clock::TokioClock,
    refresh::Step,
    source::{
        Combined, Fallback, Memory, Source, SourceError, SourceErrorKind, Version, VersionId,
        Versions,
    },
};

const DAY: Duration = Duration::from_secs(86_400);

/// Explodes as it is dropped, where its key says so.
#[derive(Deserialize)]
struct Bomb {
    key: String,
}

impl Drop for Bomb {
    fn drop(&mut self) {
        assert!(!self.key.starts_with("bomb"), "on purpose");
    }
}

fn doc(key: &str) -> String {
    format!(r#"{{"key":"{key}"}}"#)
}

async fn bombs(
    first: &str,
    change: impl FnOnce(Builder<Bomb>) -> Builder<Bomb>,
) -> (Memory, Keyring<Bomb>) {
    let store = Memory::new(doc(first));
    let building = Keyring::<Bomb>::builder(store.clone()).clock(TokioClock::new());
    let keyring = change(building).build().await.unwrap();
    (store, keyring)
}

#[tokio::test(start_paused = true)]
async fn a_rotation_counts_although_the_old_bundle_panics_as_it_is_dropped() {
    let (store, keyring) = bombs("bomb", Builder::release_previous_at_swap).await;
    for key in ["two", "three"] {
        store.rotate(doc(key));
        assert!(keyring.refresh().await.unwrap().is_swapped());
        assert_eq!(keyring.current().key, key);
    }
}

#[tokio::test(start_paused = true)]
async fn and_where_it_goes_at_the_end_of_its_window() {
    let (store, keyring) = bombs("bomb", |building| building).await;
    store.rotate(doc("two"));
    keyring.refresh().await.unwrap();
    assert!(keyring.current().previous().is_some());
    tokio::time::sleep(DAY).await;
    assert!(keyring.current().previous().is_none());
    store.rotate(doc("three"));
    keyring.refresh().await.unwrap();
    assert_eq!(keyring.current().key, "three");
}

#[tokio::test(start_paused = true)]
async fn a_refused_bundle_is_refused_for_its_reason_and_remembered() {
    let (store, keyring) = bombs("one", |building| {
        building.probe("db", |app: Arc<Bomb>| async move {
            match app.key.as_str() {
                "bomb" => Err("not with this one"),
                _ => Ok(()),
            }
        })
    })
    .await;
    store.rotate(doc("bomb"));
    let error = keyring.refresh().await.unwrap_err();
    assert_eq!(error.failed_step(), Some(Step::Probe));
    assert!(error.reason().contains("not with this one"), "{error}");
    assert!(keyring.status().quarantine.is_some());
    assert_eq!(keyring.current().key, "one");
    store.set(Versions::new(Version::new("3", doc("three"))));
    keyring.refresh().await.unwrap();
    assert_eq!(keyring.current().key, "three");
}

#[tokio::test(start_paused = true)]
async fn a_withdrawal_is_seen_although_the_current_document_explodes_each_time() {
    let (store, keyring) = bombs("one", |building| building).await;
    store.rotate(doc("bomb"));
    keyring.refresh().await.unwrap();
    assert!(keyring.current().previous().is_some());
    store.drop_previous();
    keyring.refresh().await.unwrap();
    assert!(keyring.current().previous().is_none());
    // The end of the test must not drop it.
    store.rotate(doc("two"));
    keyring.refresh().await.unwrap();
    tokio::time::sleep(DAY).await;
}

#[derive(Deserialize)]
struct Parts {
    part: Bomb,
}

#[tokio::test(start_paused = true)]
async fn in_a_combined_source_too_no_rotation_is_lost() {
    let store = Memory::new(doc("bomb"));
    let source = Combined::new().with("part", store.clone());
    let keyring = Keyring::<Parts>::builder(source)
        .clock(TokioClock::new())
        .prepare(|parts: Arc<Parts>, _| async move {
            let key = parts.part.key.clone();
            // The step's own panic would be a refusal.
            std::mem::forget(parts);
            Ok::<_, SourceError>(key)
        })
        .build()
        .await
        .unwrap();
    for key in ["two", "bomb three", "four"] {
        store.rotate(doc(key));
        assert!(keyring.refresh().await.unwrap().is_swapped(), "{key}");
        assert_eq!(*keyring.current(), key);
    }
}

/// A source's own error, in an event that somebody keeps and never reads.
#[derive(Debug)]
struct Fuse(Arc<AtomicBool>);

impl std::fmt::Display for Fuse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a fuse")
    }
}

impl std::error::Error for Fuse {}

impl Drop for Fuse {
    fn drop(&mut self) {
        assert!(!self.0.swap(false, Ordering::Relaxed), "on purpose");
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_in_an_event_that_nobody_reads_ends_no_loop() {
    let (store, keyring) = bombs("one", |it| it).await;
    let _events = keyring.subscribe();
    let armed = Arc::new(AtomicBool::new(false));
    let plain = || SourceError::new(SourceErrorKind::Unavailable, "on purpose");
    store.fail_next(1, plain().with_source(Fuse(armed.clone())));
    keyring.refresh().await.unwrap_err();
    // It is in the oldest events alone from here on.
    for _ in 0..40 {
        store.fail_next(1, plain());
        keyring.refresh().await.unwrap_err();
    }
    armed.store(true, Ordering::Relaxed);
    for _ in 0..256 {
        store.fail_next(1, plain());
        keyring.refresh().await.unwrap_err();
    }
    assert!(!armed.load(Ordering::Relaxed), "it has exploded");
    store.rotate(doc("two"));
    assert!(keyring.refresh().await.unwrap().is_swapped());
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_hangs_and_explodes_at_its_limit_is_one_that_hangs() {
    let (store, keyring) = bombs("one", |building| {
        building.probe("db", |app: Arc<Bomb>| async move {
            let _held = Bomb {
                key: "bomb".to_owned(),
            };
            match app.key.as_str() {
                "two" => std::future::pending().await,
                _ => std::mem::forget(_held),
            }
            Ok::<_, SourceError>(())
        })
    })
    .await;
    store.rotate(doc("two"));
    let error = keyring.refresh().await.unwrap_err();
    assert_eq!(error.failed_step(), Some(Step::Probe));
    assert!(error.reason().contains("no answer within"), "{error}");
}

/// A source of the user's, all of whose hooks panic.
struct Hooks(Memory);

impl Source for Hooks {
    async fn fetch(&self) -> Result<Versions, SourceError> {
        self.0.fetch().await
    }

    async fn changed(&self) {
        panic!("on purpose")
    }

    fn published(&self, _: &VersionId) {
        panic!("on purpose")
    }

    fn invalidate(&self) {
        panic!("on purpose")
    }

    fn set_fetch_limit(&self, _: Duration) {
        panic!("on purpose")
    }

    fn drained(&self, _: &[VersionId], _: &[VersionId]) {
        panic!("on purpose")
    }

    fn name(&self) -> String {
        panic!("on purpose")
    }
}

/// What another source beside it was told, by the name of the hook.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<&'static str>>>);

impl Told {
    fn note(&self, hook: &'static str) {
        self.0.lock().unwrap().push(hook);
    }

    fn has(&self, hook: &str) -> bool {
        self.0.lock().unwrap().contains(&hook)
    }
}

struct Listens(Memory, Told);

impl Source for Listens {
    async fn fetch(&self) -> Result<Versions, SourceError> {
        self.0.fetch().await
    }

    async fn changed(&self) {
        self.0.changed().await;
    }

    fn published(&self, _: &VersionId) {
        self.1.note("published");
    }

    fn invalidate(&self) {
        self.1.note("invalidate");
    }

    fn set_fetch_limit(&self, _: Duration) {
        self.1.note("limit");
    }

    fn drained(&self, _: &[VersionId], _: &[VersionId]) {
        self.1.note("drained");
    }
}

#[tokio::test(start_paused = true)]
async fn a_part_that_panics_when_it_is_told_keeps_nothing_from_the_others() {
    #[derive(Deserialize)]
    #[expect(dead_code, reason = "what is in it is of no interest")]
    struct App {
        a: Bomb,
        b: Bomb,
    }
    let (a, b) = (Memory::new(doc("one")), Memory::new(doc("one")).watched());
    let told = Told::default();
    let source = Combined::new()
        .with("a", Hooks(a))
        .with("b", Listens(b.clone(), told.clone()));
    let building = Keyring::<App>::builder(source).release_previous_at_swap();
    let keyring = building.clock(TokioClock::new()).build().await.unwrap();
    assert!(told.has("limit") && told.has("published"));
    // Found by the watch of `b`, which goes on without that of `a`.
    b.rotate(doc("two"));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(keyring.current().b.key, "two");
    b.rotate(doc("three"));
    keyring.refresh().await.unwrap();
    assert!(told.has("invalidate") && told.has("drained"));
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_panics_leaves_the_interval() {
    let store = Memory::new(doc("one"));
    let building = Keyring::<Bomb>::builder(Hooks(store.clone()));
    let keyring = building.clock(TokioClock::new()).build().await.unwrap();
    for key in ["two", "three"] {
        store.rotate(doc(key));
        // The default interval is 5 min, some of it by chance.
        tokio::time::sleep(Duration::from_secs(400)).await;
        assert_eq!(keyring.current().key, key);
    }
}

#[tokio::test(start_paused = true)]
async fn a_substitute_is_asked_where_the_first_source_panics() {
    let told = Told::default();
    let primary = || async { panic!("on purpose") };
    let other = Listens(Memory::new(doc("one")), told.clone());
    let source = Fallback::new(primary, other);
    let keyring = Keyring::<Bomb>::builder(source).build().await.unwrap();
    assert_eq!(keyring.current().key, "one");
    assert!(keyring.status().is_degraded && told.has("published"));
}

/// Explodes once it is lit.
struct Recording(Arc<AtomicBool>);

impl Recording {
    fn note(&self) {
        assert!(!self.0.load(Ordering::Relaxed), "on purpose");
    }
}

impl CounterFn for Recording {
    fn increment(&self, _: u64) {
        self.note();
    }

    fn absolute(&self, _: u64) {
        self.note();
    }
}

impl GaugeFn for Recording {
    fn increment(&self, _: f64) {
        self.note();
    }

    fn decrement(&self, _: f64) {
        self.note();
    }

    fn set(&self, _: f64) {
        self.note();
    }
}

impl Recorder for Recording {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(Arc::new(Self(self.0.clone())))
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(Arc::new(Self(self.0.clone())))
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

#[test]
fn a_recorder_that_panics_stops_no_rotation() {
    let lit = Arc::new(AtomicBool::new(false));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    metrics::with_local_recorder(&Recording(lit.clone()), || {
        runtime.block_on(async {
            let (store, keyring) = bombs("one", |building| building).await;
            lit.store(true, Ordering::Relaxed);
            store.fail_next(1, SourceError::new(SourceErrorKind::Unavailable, "down"));
            keyring.refresh().await.unwrap_err();
            for key in ["two", "three"] {
                store.rotate(doc(key));
                assert!(keyring.refresh().await.unwrap().is_swapped());
                tokio::time::sleep(DAY).await;
            }
            assert_eq!(keyring.current().key, "three");
        });
    });
}

/// Asks its keyring as it is dropped.
#[derive(Deserialize)]
struct Asks {
    number: u32,
}

static ASKED: OnceLock<Keyring<Asks>> = OnceLock::new();
static ANSWERS: Mutex<Vec<(u32, u64)>> = Mutex::new(Vec::new());

impl Drop for Asks {
    fn drop(&mut self) {
        if let Some(keyring) = ASKED.get() {
            let answer = (self.number, keyring.status().generation);
            ANSWERS.lock().unwrap().push(answer);
        }
    }
}

#[test]
fn a_bundle_may_ask_its_keyring_as_it_is_dropped() {
    let numbered = |number: u32| format!(r#"{{"number":{number}}}"#);
    let (done, ends) = std::sync::mpsc::channel();
    // A thread of its own: it would wait for ever for a lock that it holds itself.
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build();
        runtime.unwrap().block_on(async {
            let store = Memory::new(numbered(1));
            let building = Keyring::<Asks>::builder(store.clone()).clock(TokioClock::new());
            let keyring = ASKED.get_or_init(|| building.build().now_or_never().unwrap().unwrap());
            for number in 2..=4 {
                store.rotate(numbered(number));
                keyring.refresh().await.unwrap();
                tokio::time::sleep(DAY).await;
            }
            // The books keep what is revoked, and no snapshot does.
            for number in 5..=6 {
                store.rotate(numbered(number));
                keyring.refresh().await.unwrap();
                keyring.revoke_previous();
            }
            done.send(()).unwrap();
        });
    });
    ends.recv_timeout(Duration::from_secs(60)).unwrap();
    let answers = ANSWERS.lock().unwrap();
    for number in 1..=4 {
        assert!(answers.iter().any(|it| it.0 == number), "{answers:?}");
    }
}
