//! Faults that belong to no other test: the rest of the table in the guide, and the table itself.

#![allow(clippy::unwrap_used)]

use std::{
    convert::Infallible,
    fs,
    path::Path,
    sync::{
        Arc, Weak,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use futures::FutureExt;
use http::{Request, Response, StatusCode};
use serde::Deserialize;
use tokio::{
    runtime::{Handle, Runtime},
    sync::{Barrier, Notify},
    task::JoinSet,
};
use tower::{Layer, ServiceExt, service_fn};
use tower_secrets::{
    Builder, JwtKey, JwtRotationLayer, Keyring, Secrets, UnknownKey,
    clock::TokioClock,
    event::Event,
    keyring::InUse,
    refresh::Step,
    source::{Combined, Memory, SourceError, SourceErrorKind, Stage, Version, VersionId, Versions},
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

fn request(token: &str) -> Request<()> {
    let value = format!("Bearer {token}");
    let request = Request::builder().header("authorization", value);
    request.body(()).unwrap()
}

fn held(request: Request<()>) -> Secrets<App> {
    Secrets::from_extensions(request.extensions()).unwrap()
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

#[tokio::test(start_paused = true)]
async fn a_probe_that_hangs_keeps_nobody_waiting_and_the_next_version_comes() {
    let store = Memory::new(doc(1));
    let probe = |app: Arc<App>| async move {
        match app.number {
            2 => std::future::pending().await,
            _ => Ok::<_, Infallible>(()),
        }
    };
    let building = builder(&store).probe("upstream", probe);
    let keyring = building.clock(TokioClock::new()).build().await.unwrap();
    let old = token(&keyring.signer());
    store.rotate(doc(2));
    let begin = tokio::time::Instant::now();
    let asking = async {
        for _ in 0..20 {
            let answer = ask(&keyring, &old).now_or_never();
            assert_eq!(answer, Some(Ok(Stage::Current)));
            tokio::time::sleep(Duration::from_millis(400)).await;
        }
    };
    let (refreshed, ()) = tokio::join!(keyring.refresh(), asking);
    assert_eq!(refreshed.unwrap_err().failed_step(), Some(Step::Probe));
    assert_eq!(begin.elapsed(), Duration::from_secs(10));
    // As the runbook of a rotation says: back, and then forth.
    store.set(Versions::new(Version::new("1", doc(1))));
    keyring.refresh().await.unwrap();
    store.rotate(doc(3));
    keyring.refresh().await.unwrap();
    assert_eq!(keyring.current().number, 3);
    assert_eq!(ask(&keyring, &old).await, Ok(Stage::Previous));
}

/// A store that names the refused version as previous vouches for the key before it no more.
#[tokio::test(start_paused = true)]
async fn a_correction_on_top_of_a_refused_version_ends_the_key_before_both() {
    let store = Memory::new(doc(1));
    let probe = |app: Arc<App>| async move { (app.number != 2).then_some(()).ok_or("no") };
    let building = builder(&store).probe("upstream", probe);
    let keyring = building.clock(TokioClock::new()).build().await.unwrap();
    let old = token(&keyring.signer());
    let mut events = keyring.subscribe();
    store.rotate(doc(2));
    keyring.refresh().await.unwrap_err();
    assert_eq!(ask(&keyring, &old).await, Ok(Stage::Current));
    store.rotate(doc(3));
    keyring.refresh().await.unwrap();
    assert_eq!(ask(&keyring, &old).await, Err(StatusCode::UNAUTHORIZED));
    let told = std::iter::from_fn(|| events.next().now_or_never().flatten());
    let cut = |event| matches!(event, Event::WindowCutShort { version, .. } if version == VersionId::new("1"));
    assert!(told.into_iter().any(cut));
}

/// What a request holds stays whole, and everything that was replaced goes when it lets go.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_requests_hold_fifty_generations() {
    const GENERATIONS: u32 = 50;
    const REQUESTS: u32 = 100_000 / GENERATIONS;
    let store = Memory::new(doc(1));
    let building = builder(&store).activation_delay(Duration::ZERO).build();
    let keyring = building.await.unwrap();
    let end = Arc::new(Notify::new());
    let mut requests = JoinSet::new();
    let mut bundles: Vec<Weak<App>> = Vec::new();
    for number in 1..=GENERATIONS {
        if number > 1 {
            store.rotate(doc(number));
            keyring.refresh().await.unwrap();
        }
        bundles.push(Arc::downgrade(&keyring.current().bundle()));
        let all_began = Arc::new(Barrier::new(REQUESTS as usize + 1));
        let (began, all_end) = (all_began.clone(), end.clone());
        let inner = service_fn(move |request: Request<()>| {
            let (began, end) = (began.clone(), all_end.clone());
            async move {
                let secrets = held(request);
                let ended = end.notified();
                tokio::pin!(ended);
                ended.as_mut().enable();
                began.wait().await;
                ended.await;
                assert_eq!(secrets.number, number);
                assert_eq!(secrets.generation(), u64::from(number));
                Ok::<_, Infallible>(Response::new(()))
            }
        });
        let service = JwtRotationLayer::new(keyring.clone()).layer(inner);
        let token = token(&keyring.signer());
        for _ in 0..REQUESTS {
            requests.spawn(service.clone().oneshot(request(&token)));
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
        assert_eq!(ended.unwrap().unwrap().status(), 200);
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
    let (began, end) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (begins, ends) = (began.clone(), end.clone());
    let inner = service_fn(move |request: Request<()>| {
        let (began, end) = (begins.clone(), ends.clone());
        async move {
            let secrets = held(request);
            began.notify_one();
            end.notified().await;
            assert!(secrets.previous().is_none());
            Ok::<_, Infallible>(Response::new(secrets.number))
        }
    });
    let service = JwtRotationLayer::new(keyring.clone()).layer(inner);
    let call = service.oneshot(request(&token(&keyring.signer())));
    tokio::pin!(call);
    tokio::select! {
        _ = &mut call => panic!("it waits"),
        () = began.notified() => {}
    }
    drop(keyring);
    // The loop is gone, though the request is not.
    while events.next().await.is_some() {}
    end.notify_one();
    assert_eq!(*call.await.unwrap().body(), 1);
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

/// Whatever is under way: a fetch that hangs, requests that wait for its key, a watch, a handler of SIGHUP.
#[tokio::test(start_paused = true)]
async fn a_shutdown_leaves_no_task() {
    let alive = || Handle::current().metrics().num_alive_tasks();
    let store = Memory::new(doc(1)).watched();
    let parts = Combined::new().with("app", store.clone());
    #[derive(Deserialize)]
    struct All {
        app: App,
    }
    let keyring = Keyring::<All>::builder(parts)
        .jwt_key(|all| &all.app.jwt)
        .refresh_on_unknown_key(UnknownKey::new())
        .reload_on_sighup()
        .clock(TokioClock::new())
        .build()
        .await
        .unwrap();
    assert_eq!(alive(), 1, "the loop");
    let other = builder(&Memory::new(doc(2))).build().await.unwrap();
    let unknown = token(&other.signer());
    other.shutdown().await;
    store.pause();
    let asked = keyring.clone();
    let asking = async { asked.refresh().await.unwrap_err().is_stopped() };
    let waiting = async { ask(&keyring, &unknown).await.is_err() };
    let stopping = async {
        store.wait_for_fetches(2).await;
        keyring.shutdown().await;
    };
    let (is_stopped, is_refused, ()) = tokio::join!(asking, waiting, stopping);
    assert!(is_stopped && is_refused);
    // Its future is dropped before the runtime counts it out.
    while alive() > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(keyring.current().app.number, 1);
}

/// Runs a test again, in a process of its own that `sh` prepares; true in there.
#[cfg(target_os = "linux")]
fn is_on_its_own(test: &str, prepare: &str) -> bool {
    const ALONE: &str = "TOWER_SECRETS_TEST_ALONE";
    if std::env::var_os(ALONE).is_some() {
        // Where its stderr is lost.
        std::panic::set_hook(Box::new(|panic| println!("{panic}")));
        return true;
    }
    let own = std::env::current_exe().unwrap();
    let ended = std::process::Command::new("sh")
        .args(["-c", &format!("{prepare}; exec \"$0\" \"$@\"")])
        .arg(own)
        .args(["--exact", test, "--nocapture"])
        .env(ALONE, "yes")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ended.stdout);
    assert!(ended.status.success(), "{said}");
    assert!(said.contains("1 passed"), "{said}");
    false
}

/// `/dev/full` takes no byte: what a log on a full disk does. There stderr is too, where
/// tracing-subscriber complains, and panics when it cannot.
#[cfg(target_os = "linux")]
#[tokio::test(start_paused = true)]
async fn a_full_disk_under_the_log_stops_no_rotation() {
    let test = "a_full_disk_under_the_log_stops_no_rotation";
    if !is_on_its_own(test, "exec 2>/dev/full") {
        return;
    }
    std::panic::catch_unwind(|| eprintln!("no room")).unwrap_err();
    let full = fs::OpenOptions::new().write(true).open("/dev/full");
    let log = tracing_subscriber::fmt().with_writer(std::sync::Mutex::new(full.unwrap()));
    let _guard = tracing::subscriber::set_default(log.finish());
    let store = Memory::new(doc(1));
    let keyring = builder(&store).activation_delay(Duration::ZERO);
    let keyring = keyring.clock(TokioClock::new()).build().await.unwrap();
    let old = token(&keyring.signer());
    let mut events = keyring.subscribe();
    store.fail_next(3, SourceError::new(SourceErrorKind::Unavailable, "down"));
    store.rotate(doc(2));
    let mut errors = 0;
    loop {
        match events.next().await.unwrap() {
            Event::ReloadError(_) => errors += 1,
            Event::Reloaded { .. } => break,
            _ => {}
        }
        assert!(ask(&keyring, &old).await.is_ok());
    }
    assert_eq!(errors, 3);
    assert_eq!(keyring.current().number, 2);
    assert_eq!(ask(&keyring, &old).await, Ok(Stage::Previous));
    // Revoking is told on the caller's side.
    keyring.revoke_previous();
    assert!(ask(&keyring, &old).await.is_err());
}

/// Two descriptors are enough to read a file, and too few to watch it.
#[cfg(all(target_os = "linux", feature = "file"))]
#[tokio::test(start_paused = true)]
async fn where_nothing_can_be_watched_the_timer_finds_a_rotation() {
    use tower_secrets::{refresh::Trigger, source::File};

    let test = "where_nothing_can_be_watched_the_timer_finds_a_rotation";
    if !is_on_its_own(test, "ulimit -n 64") {
        return;
    }
    let mount = tempfile::tempdir().unwrap();
    let (here, log) = (mount.path().join("current.json"), mount.path().join("log"));
    fs::write(&here, doc(1)).unwrap();
    let writer = std::sync::Mutex::new(fs::File::create(&log).unwrap());
    let subscriber = tracing_subscriber::fmt().with_writer(writer).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let mut taken: Vec<fs::File> =
        std::iter::from_fn(|| fs::File::open("/dev/null").ok()).collect();
    taken.truncate(taken.len() - 2);

    let building = Keyring::<App>::builder(File::new(mount.path())).jwt_key(|app| &app.jwt);
    let keyring = building.clock(TokioClock::new()).build().await.unwrap();
    let old = token(&keyring.signer());
    let mut events = keyring.subscribe();
    fs::write(mount.path().join("new"), doc(2)).unwrap();
    fs::rename(mount.path().join("new"), &here).unwrap();
    let found_by = loop {
        if let Event::Reloaded { trigger, .. } = events.next().await.unwrap() {
            break trigger;
        }
    };
    assert_eq!(found_by, Trigger::Timer);
    assert_eq!(keyring.current().number, 2);
    assert!(ask(&keyring, &old).await.is_ok());
    let log = fs::read_to_string(log).unwrap();
    assert_eq!(log.matches("secrets_watch_unavailable").count(), 1, "{log}");
}

/// `.invalid` has no address anywhere (RFC 6761 section 6.4).
#[cfg(feature = "jwks")]
#[tokio::test]
async fn a_name_without_an_address_is_an_outage_like_any_other() {
    use std::sync::atomic::AtomicBool;

    use tower_secrets::source::{Jwks, Source};

    let store = Memory::new(doc(1));
    let is_gone = Arc::new(AtomicBool::new(false));
    let nowhere = Arc::new(Jwks::new("https://keys.invalid/jwks.json"));
    let source = {
        let (store, is_gone) = (store.clone(), is_gone.clone());
        move || {
            let (store, is_gone, nowhere) = (store.clone(), is_gone.clone(), nowhere.clone());
            async move {
                match is_gone.load(Ordering::Acquire) {
                    true => nowhere.fetch().await,
                    false => store.fetch().await,
                }
            }
        }
    };
    let building = Keyring::<App>::builder(source).jwt_key(|app| &app.jwt);
    let keyring = building.build().await.unwrap();
    let old = token(&keyring.signer());
    is_gone.store(true, Ordering::Release);
    store.rotate(doc(2));
    let refreshing = keyring.refresh();
    tokio::pin!(refreshing);
    let error = loop {
        tokio::select! {
            ended = &mut refreshing => break ended.unwrap_err(),
            () = tokio::task::yield_now() => {}
        }
        let answer = ask(&keyring, &old).now_or_never();
        assert_eq!(answer, Some(Ok(Stage::Current)));
    };
    let kind = error.source_error().unwrap().kind();
    let expected = [SourceErrorKind::Unavailable, SourceErrorKind::TimedOut];
    assert!(expected.contains(&kind), "{error}");
    is_gone.store(false, Ordering::Release);
    keyring.refresh().await.unwrap();
    assert_eq!(keyring.current().number, 2);
    assert_eq!(ask(&keyring, &old).await, Ok(Stage::Previous));
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
            // As such, or made by a macro of that file.
            let forms = [format!("fn {name}("), format!("    {name}: ")];
            let is_there = forms.iter().any(|form| text.contains(form));
            assert!(is_there, "{file} has no {name}");
        }
    }
    assert!(faults >= 30, "{faults}");
}
