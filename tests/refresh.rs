//! The refresh loop from outside: single flight, back-off, time limits, panics, quarantine, ends.

#![allow(clippy::unwrap_used)]

use std::{
    error::Error,
    future::pending,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::{Duration, SystemTime},
};

use futures::FutureExt;
use serde::Deserialize;
use tokio::time::Instant;
use tower_secrets::{
    Builder, Keyring, Parts, Probe, Refreshed, RegisteredClaims,
    clock::TokioClock,
    event::{Event, Events},
    keyring::SignErrorKind,
    refresh::{BuildErrorKind, Step, Trigger},
    source::{Memory, Source, SourceError, SourceErrorKind, Stage, Version, VersionId, Versions},
};

#[derive(Debug, Deserialize)]
struct App {
    key: String,
}

fn doc(key: &str) -> String {
    format!(r#"{{"key":"{key}"}}"#)
}

const SECOND: Duration = Duration::from_secs(1);
const INTERVAL: Duration = Duration::from_secs(300);

fn builder(source: impl Source) -> Builder<App> {
    Keyring::<App>::builder(source).clock(TokioClock::new())
}

fn down() -> SourceError {
    SourceError::new(SourceErrorKind::Unavailable, "the store is down")
}

/// The next event for which `pick` has an answer.
async fn event<R>(events: &mut Events, pick: impl Fn(Event) -> Option<R>) -> R {
    loop {
        let next = events.next().await.expect("the keyring is gone");
        if let Some(found) = pick(next) {
            return found;
        }
    }
}

async fn reloaded(events: &mut Events) -> (u64, Trigger) {
    event(events, |event| match event {
        Event::Reloaded {
            generation,
            trigger,
            ..
        } => Some((generation, trigger)),
        _ => None,
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn the_timer_finds_a_rotation_within_one_interval() {
    let store = Memory::new(doc("one"));
    let keyring = builder(store.clone()).build().await.unwrap();
    let mut events = keyring.subscribe();
    store.rotate(doc("two"));
    let asked = Instant::now();
    assert_eq!(reloaded(&mut events).await, (2, Trigger::Timer));
    // The first interval may be a quarter of the others.
    assert!(asked.elapsed() <= INTERVAL && asked.elapsed() >= INTERVAL / 4);
    assert_eq!(keyring.current().key, "two");
    assert_eq!(store.last_published(), Some(VersionId::new("2")));
    assert_eq!(keyring.current().previous().unwrap().key, "one");
}

#[tokio::test(start_paused = true)]
async fn a_held_snapshot_does_not_change_and_its_end_is_told() {
    let store = Memory::new(doc("one"));
    let keyring = builder(store.clone()).build().await.unwrap();
    let mut events = keyring.subscribe();
    let held = keyring.current();
    store.rotate(doc("two"));
    keyring.refresh().await.unwrap();
    assert_eq!((held.key.as_str(), held.generation()), ("one", 1));
    drop(held);
    let drained = event(&mut events, |event| match event {
        Event::Drained {
            generation,
            version,
            ..
        } => Some((generation, version)),
        _ => None,
    });
    assert_eq!(drained.await, (1, VersionId::new("1")));
}

#[tokio::test(start_paused = true)]
async fn a_source_learns_of_a_version_when_nobody_uses_it_any_more() {
    let store = Memory::new(doc("one"));
    let keyring = builder(store.clone()).build().await.unwrap();
    let mut events = keyring.subscribe();
    let drained = |event| matches!(event, Event::Drained { .. }).then_some(());
    let held = keyring.current();
    store.rotate(doc("two"));
    keyring.refresh().await.unwrap();
    // The window's end makes a generation without it, so the one before is let go.
    event(&mut events, drained).await;
    assert!(keyring.current().previous().is_none());
    assert_eq!(store.drained_versions(), [], "a request still holds it");
    drop(held);
    event(&mut events, drained).await;
    assert_eq!(store.drained_versions(), [VersionId::new("1")]);

    // Back in use, as current of one generation and previous of others: one more word, at the end.
    store.rotate(doc("one"));
    keyring.refresh().await.unwrap();
    store.rotate(doc("four"));
    keyring.refresh().await.unwrap();
    event(&mut events, |event| {
        matches!(event, Event::PreviousExpired { .. }).then_some(())
    })
    .await;
    event(&mut events, drained).await;
    assert_eq!(
        store.drained_versions(),
        ["1", "2", "3"].map(VersionId::new)
    );
}

#[tokio::test(start_paused = true)]
async fn previous_is_let_go_when_its_window_ends() {
    let store = Memory::new(doc("one"));
    let keyring = builder(store.clone()).build().await.unwrap();
    let mut events = keyring.subscribe();
    store.rotate(doc("two"));
    keyring.refresh().await.unwrap();
    let (held, start) = (keyring.current(), Instant::now());
    let one = Arc::downgrade(&held.previous().unwrap());
    let left = keyring.status().previous.unwrap().expires_in.unwrap();
    assert_eq!(
        left,
        Duration::from_secs(910),
        "3 x 300 s + the fetch limit"
    );

    event(&mut events, |event| {
        matches!(event, Event::PreviousExpired { .. }).then_some(())
    })
    .await;
    assert!(start.elapsed() >= left && start.elapsed() < left + SECOND);
    assert!(held.previous().is_none(), "held snapshots obey too");
    assert!(keyring.status().previous.is_none());
    drop(held);
    assert_eq!(one.strong_count(), 0, "freed with the last reader");
    // The store goes on naming it for months; that opens no new window.
    assert!(!keyring.refresh().await.unwrap().is_swapped());
    store.stage_pending(doc("three"));
    assert!(keyring.refresh().await.unwrap().is_swapped());
    assert!(keyring.current().previous().is_none());
}

#[tokio::test(start_paused = true)]
async fn callers_during_a_fetch_share_the_next_one() {
    let store = Memory::new(doc("one"));
    let keyring = builder(store.clone()).build().await.unwrap();
    store.pause();
    let early = tokio::spawn({
        let keyring = keyring.clone();
        async move { keyring.refresh().await }
    });
    store.wait_for_fetches(2).await;
    let late: Vec<_> = (0..1000)
        .map(|_| {
            let keyring = keyring.clone();
            tokio::spawn(async move { keyring.refresh().await })
        })
        .collect();
    tokio::task::yield_now().await;
    store.resume();
    assert!(!early.await.unwrap().unwrap().is_swapped());
    for caller in late {
        caller.await.unwrap().unwrap();
    }
    assert_eq!(
        store.fetches(),
        3,
        "one at build, one early, one for all the others"
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_answered_was_fetched_after_the_asking() {
    let store = Memory::new(doc("one"));
    let state = Arc::new(Mutex::new(None));
    // The answer is fixed when the fetch begins, as with a real store.
    let source = {
        let (store, state) = (store.clone(), state.clone());
        move || {
            let (store, gate) = (store.clone(), state.lock().unwrap().take());
            async move {
                let answer = store.fetch().await;
                if let Some(gate) = gate {
                    let gate: tokio::sync::oneshot::Receiver<()> = gate;
                    let _ = gate.await;
                }
                answer
            }
        }
    };
    let keyring = builder(source).build().await.unwrap();
    let (open, gate) = tokio::sync::oneshot::channel();
    *state.lock().unwrap() = Some(gate);
    let early = tokio::spawn({
        let keyring = keyring.clone();
        async move { keyring.refresh().await }
    });
    store.wait_for_fetches(2).await;
    store.rotate(doc("two"));
    let late = tokio::spawn({
        let keyring = keyring.clone();
        async move { keyring.refresh().await }
    });
    tokio::task::yield_now().await;
    open.send(()).unwrap();
    assert!(!early.await.unwrap().unwrap().is_swapped());
    assert!(late.await.unwrap().unwrap().is_swapped());
}

#[tokio::test(start_paused = true)]
async fn a_dropped_refresh_goes_on() {
    let store = Memory::new(doc("one"));
    let keyring = builder(store.clone()).build().await.unwrap();
    let mut events = keyring.subscribe();
    store.rotate(doc("two"));
    store.pause();
    {
        let refresh = keyring.refresh();
        tokio::pin!(refresh);
        tokio::select! {
            biased;
            _ = &mut refresh => panic!("the store hangs"),
            () = store.wait_for_fetches(2) => {}
        }
    }
    store.resume();
    assert_eq!(reloaded(&mut events).await, (2, Trigger::Manual));
}

#[tokio::test(start_paused = true)]
async fn failures_back_off_and_never_further_than_the_interval() {
    let store = Memory::new(doc("one"));
    let keyring = builder(store.clone()).build().await.unwrap();
    store.fail_next(usize::MAX, down());
    let mut events = keyring.subscribe();
    let mut at = Vec::new();
    while at.len() < 20 {
        let error = event(&mut events, |event| match event {
            Event::ReloadError(error) => Some(error),
            _ => None,
        })
        .await;
        assert_eq!(error.failed_step(), Some(Step::Fetch));
        assert_eq!(error.to_string(), "memory: the store is down");
        at.push(Instant::now());
    }
    let pauses: Vec<_> = at.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(pauses[0] >= SECOND && pauses[0] <= 2 * SECOND, "{pauses:?}");
    assert!(
        pauses.iter().all(|pause| *pause <= INTERVAL + SECOND),
        "{pauses:?}"
    );
    assert!(*pauses.last().unwrap() > INTERVAL / 2, "{pauses:?}");

    let status = keyring.status();
    assert_eq!(status.consecutive_failures, 20);
    assert!(status.staleness > INTERVAL);
    assert_eq!(keyring.current().key, "one");
    store.fail_next(0, down());
    keyring.refresh().await.unwrap();
    assert_eq!(keyring.status().consecutive_failures, 0);
    assert!(
        keyring.status().last_failure.is_some(),
        "kept for the operator"
    );
}

#[tokio::test(start_paused = true)]
async fn a_hung_source_times_out_and_the_loop_goes_on() {
    let store = Memory::new(doc("one"));
    let keyring = builder(store.clone()).build().await.unwrap();
    store.pause();
    let start = Instant::now();
    let error = keyring.refresh().await.unwrap_err();
    assert_eq!(start.elapsed(), Duration::from_secs(10));
    let source = error.source_error().unwrap();
    assert_eq!(source.kind(), SourceErrorKind::TimedOut);
    store.resume();
    store.rotate(doc("two"));
    assert!(keyring.refresh().await.unwrap().is_swapped());
}

#[tokio::test(start_paused = true)]
async fn an_answer_may_take_as_long_as_the_limit_says() {
    let store = Memory::new(doc("one"));
    let patient = builder(store.clone()).fetch_limit(Duration::from_secs(3 * 86_400));
    let keyring = patient.build().await.unwrap();
    store.rotate(doc("two"));
    store.pause();
    let slow = async {
        tokio::time::sleep(Duration::from_secs(2 * 86_400)).await;
        store.resume();
    };
    let (refreshed, ()) = tokio::join!(keyring.refresh(), slow);
    assert!(refreshed.unwrap().is_swapped());
}

#[tokio::test(start_paused = true)]
async fn a_probe_without_a_limit_of_its_own_and_prepare_get_the_one_of_the_builder() {
    let limit = Duration::from_secs(3);
    let hangs = || Probe::new("hangs", |_: Arc<App>| pending::<Result<(), &str>>()).require();
    let limited = || builder(Memory::new(doc("one"))).probe_limit(limit);
    let prepared = limited().prepare(|_, _: Parts| pending::<Result<App, std::io::Error>>());
    let start = Instant::now();
    let (of_builder, of_probe, of_prepare) = tokio::join!(
        limited()
            .probe_with(hangs())
            .build()
            .map(|it| (it.is_err(), start.elapsed())),
        limited()
            .probe_with(hangs().time_limit(2 * limit))
            .build()
            .map(|it| (it.is_err(), start.elapsed())),
        prepared.build().map(|it| (it.is_err(), start.elapsed())),
    );
    assert_eq!(of_builder, (true, limit));
    assert_eq!(of_probe, (true, 2 * limit));
    assert_eq!(of_prepare, (true, limit));
}

#[tokio::test(start_paused = true)]
async fn panics_of_user_code_leave_the_loop_alive() {
    let store = Memory::new(doc("one"));
    let broken = Arc::new(Mutex::new(""));
    let here = |place: &'static str| {
        let broken = broken.clone();
        move || {
            let broken = *broken.lock().unwrap();
            assert_ne!(broken, place, "on purpose");
        }
    };
    let (source, raw, prepare, probe, swap) = (
        here("source"),
        here("raw probe"),
        here("prepare"),
        here("probe"),
        here("swap"),
    );
    let fetched = store.clone();
    let keyring = builder(move || {
        source();
        let store = fetched.clone();
        async move { store.fetch().await }
    })
    .probe("raw", move |_| {
        raw();
        async { Ok::<_, SourceError>(()) }
    })
    .prepare(move |app: Arc<App>, _| {
        prepare();
        async move { Ok::<_, SourceError>(app.key.clone()) }
    })
    .probe("made", move |_| {
        probe();
        async { Ok::<_, SourceError>(()) }
    })
    .on_swap(move |_, _| swap())
    .build()
    .await
    .unwrap();

    for (place, step) in [
        ("source", Step::Fetch),
        ("raw probe", Step::Probe),
        ("prepare", Step::Prepare),
        ("probe", Step::Probe),
    ] {
        store.rotate(doc("two"));
        *broken.lock().unwrap() = place;
        let error = keyring.refresh().await.unwrap_err();
        assert_eq!(error.failed_step(), Some(step), "{place}");
        assert!(error.to_string().contains("panicked"), "{error}");
        assert_eq!(*keyring.current(), "one");
    }
    *broken.lock().unwrap() = "swap";
    assert!(
        keyring.refresh().await.unwrap().is_swapped(),
        "a panic in on_swap comes too late"
    );
    *broken.lock().unwrap() = "";
    store.rotate(doc("three"));
    keyring.refresh().await.unwrap();
    assert_eq!(*keyring.current(), "three");
}

#[tokio::test(start_paused = true)]
async fn a_refused_version_is_tried_again_after_growing_pauses_or_when_asked() {
    let store = Memory::new(doc("one"));
    let tries = Arc::new(AtomicU32::new(0));
    let works = Arc::new(AtomicBool::new(true));
    let (counted, checked) = (tries.clone(), works.clone());
    let keyring = builder(store.clone())
        .probe("database", move |app: Arc<App>| {
            counted.fetch_add(1, Ordering::Relaxed);
            let fine = checked.load(Ordering::Relaxed);
            async move {
                let key = &app.key;
                fine.then_some(())
                    .ok_or(format!("login with {key} refused"))
            }
        })
        .build()
        .await
        .unwrap();
    works.store(false, Ordering::Relaxed);
    store.rotate(doc("hunter2"));
    let error = keyring.refresh().await.unwrap_err();
    assert_eq!(error.probe_name(), Some("database"));
    assert_eq!(
        error.to_string(),
        "memory: version `2` was refused at step probe `database`: login with [redacted] refused"
    );
    assert_eq!(error.reason(), "login with [redacted] refused");
    let debug = format!("{error:?}");
    assert!(debug.contains("login with [redacted] refused"), "{debug}");
    assert_eq!(keyring.current().key, "one");
    let quarantine = keyring.status().quarantine.unwrap();
    assert_eq!((quarantine.version.as_str(), quarantine.tries), ("2", 1));
    assert!(quarantine.next_try_in >= Duration::from_secs(60));

    tries.store(0, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert!(
        tries.load(Ordering::Relaxed) <= 2,
        "at most three in ten minutes"
    );
    let again = keyring.refresh().await.unwrap_err();
    assert!(!again.is_quarantined(), "an operator asked");
    assert!(keyring.status().last_failure.unwrap().error.failed_step() == Some(Step::Probe));

    works.store(true, Ordering::Relaxed);
    assert!(keyring.refresh().await.unwrap().is_swapped());
    assert!(keyring.status().quarantine.is_none());
    assert_eq!(keyring.current().key, "hunter2");
}

/// Its probe refuses one key.
async fn picky(store: &Memory) -> Keyring<App> {
    let probe = |app: Arc<App>| async move { (app.key != "bad").then_some(()).ok_or("bad") };
    let building = builder(store.clone()).probe("picky", probe);
    building.build().await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_refused_version_is_remembered_while_others_pass_and_only_where_it_knocked() {
    let store = Memory::new(doc("one"));
    let keyring = picky(&store).await;
    store.rotate(doc("bad"));
    keyring.refresh().await.unwrap_err();
    let bad = store.fetch().await.unwrap();
    store.rotate(doc("three"));
    keyring.refresh().await.unwrap();
    store.set(bad);
    assert!(!keyring.refresh().await.unwrap_err().is_quarantined());
    assert_eq!(keyring.status().quarantine.unwrap().tries, 2);

    // Nobody at the keyboard: it is told again, and not tried.
    let mut events = keyring.subscribe();
    keyring.revoke(keyring.current().version());
    let told = event(&mut events, |event| match event {
        Event::ReloadFailed(error) => Some(error),
        _ => None,
    });
    let told = told.await;
    assert!(told.is_quarantined(), "{told}");
    assert_eq!(keyring.status().quarantine.unwrap().tries, 2);

    // To parse costs nobody a login.
    store.rotate("[]");
    let error = keyring.refresh().await.unwrap_err();
    assert_eq!(error.failed_step(), Some(Step::Parse));
    assert!(keyring.status().quarantine.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_withdrawal_does_not_wait_for_a_good_current() {
    let store = Memory::new(doc("one"));
    let keyring = picky(&store).await;
    store.rotate(doc("two"));
    keyring.refresh().await.unwrap();
    assert!(keyring.current().previous().is_some());
    store.rotate(doc("bad"));
    store.drop_previous();
    keyring.refresh().await.unwrap_err();
    assert_eq!(keyring.current().key, "two");
    assert!(keyring.current().previous().is_none());
}

#[tokio::test(start_paused = true)]
async fn the_first_build_warns_unless_a_probe_is_required() {
    let refuse = |_: Arc<App>| async { Err("no") };
    let store = Memory::new(doc("one"));
    let warned = builder(store.clone())
        .probe("db", refuse)
        .build()
        .await
        .unwrap();
    assert_eq!(warned.current().key, "one");

    let start = Instant::now();
    let required = Probe::new("db", refuse).require();
    let error = builder(store)
        .probe_with(required)
        .build()
        .await
        .unwrap_err();
    assert_eq!(start.elapsed(), Duration::ZERO, "no second login");
    let text = error.to_string();
    assert!(
        text.contains("version `1` was refused at step probe `db`: no"),
        "{text}"
    );
}

#[tokio::test(start_paused = true)]
async fn build_waits_for_a_store_that_comes_up_and_not_for_a_bad_document() {
    let store = Memory::new(doc("one"));
    store.fail_next(3, down());
    builder(store).build().await.unwrap();
    // A pause that just fits in the budget; no pause is longer than the interval.
    let store = Memory::new(doc("one"));
    store.fail_next(1, down());
    let soon = builder(store).refresh_every(SECOND).start_budget(SECOND);
    soon.build().await.unwrap();

    for kind in [
        SourceErrorKind::NotFound,
        SourceErrorKind::Malformed,
        SourceErrorKind::Deleted,
        SourceErrorKind::WrongRegion,
        SourceErrorKind::InvalidRequest,
    ] {
        let store = Memory::new(doc("one"));
        store.fail_next(1, SourceError::new(kind, "there is no such secret"));
        builder(store.clone()).build().await.unwrap_err();
        assert_eq!(store.fetches(), 1, "{kind:?} is told at once");
    }
    for kind in [
        SourceErrorKind::PermissionDenied,
        SourceErrorKind::Unauthenticated,
        SourceErrorKind::DecryptionFailed,
        SourceErrorKind::Throttled,
    ] {
        let store = Memory::new(doc("one"));
        store.fail_next(1, SourceError::new(kind, "not now"));
        builder(store.clone()).build().await.unwrap();
        assert_eq!(store.fetches(), 2, "{kind:?} may pass");
    }

    let store = Memory::new(doc("one"));
    let gone = SourceError::new(SourceErrorKind::NotFound, "there is no such secret");
    store.fail_next(1, gone.with_source("the answer was 404"));
    let error = builder(store).build().await.unwrap_err();
    assert_eq!(error.source().unwrap().to_string(), "the answer was 404");

    let store = Memory::new(r#"{"key":"#);
    let start = Instant::now();
    let error = builder(store).build().await.unwrap_err();
    assert_eq!(start.elapsed(), Duration::ZERO);
    let BuildErrorKind::FirstRefresh(refused) = error.kind() else {
        panic!("{error}");
    };
    assert_eq!(refused.failed_step(), Some(Step::Parse));
}

#[tokio::test(start_paused = true)]
async fn settings_that_contradict_each_other_are_refused_with_the_numbers() {
    let error = builder(Memory::new(doc("one")))
        .refresh_every(Duration::from_secs(60))
        .probe("db", |_| async { Ok::<_, SourceError>(()) })
        .overlap(Duration::from_secs(199))
        .build()
        .await
        .unwrap_err()
        .to_string();
    for number in ["199s", "200s", "60s", "10s"] {
        assert!(error.contains(number), "{error}");
    }
    let year = Duration::from_secs(365 * 86_400);
    for interval in [Duration::ZERO, year + SECOND, Duration::MAX] {
        let refused = builder(Memory::new(doc("one"))).refresh_every(interval);
        let error = refused.build().await.unwrap_err().to_string();
        assert!(error.contains("refresh_every is"), "{error}");
    }
    let yearly = builder(Memory::new(doc("one"))).refresh_every(year);
    yearly.build().await.unwrap();
    // Without a probe it is 3 x 300 s and the fetch limit.
    let bound_for = |seconds| {
        builder(Memory::new(doc("one")))
            .session_key_window(Duration::from_secs(seconds))
            .build()
    };
    let error = bound_for(909).await.unwrap_err().to_string();
    assert!(error.contains("909s") && error.contains("910s"), "{error}");
    bound_for(910).await.unwrap();
    let never = builder(Memory::new(doc("one"))).refresh_while_pending(Duration::ZERO);
    let error = never.build().await.unwrap_err().to_string();
    assert!(error.contains("refresh_while_pending is zero"), "{error}");
    let error = builder(Memory::new(doc("one")))
        .refuse_after(Duration::from_secs(2999))
        .build()
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("2999s") && error.contains("300s"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_keyring_without_keys_says_so() {
    let keyring = builder(Memory::new(doc("one"))).build().await.unwrap();
    assert_eq!(keyring.status().source, "memory");
    assert!(keyring.session_keys().is_none());
    let claims = RegisteredClaims::new("alice");
    let error = keyring.signer().sign(&claims).unwrap_err();
    assert_eq!(error.kind(), SignErrorKind::NoKey);
}

#[tokio::test(start_paused = true)]
async fn the_status_tells_ages_by_stage() {
    let store = Memory::new(doc("one"));
    let keyring = builder(store.clone()).build().await.unwrap();
    tokio::time::sleep(10 * SECOND).await;
    store.rotate(doc("two"));
    keyring.refresh().await.unwrap();
    tokio::time::sleep(10 * SECOND).await;
    store.stage_pending(doc("three"));
    keyring.refresh().await.unwrap();
    tokio::time::sleep(SECOND).await;
    let status = keyring.status();
    assert_eq!(status.current.age, Some(11 * SECOND));
    assert_eq!(status.previous.unwrap().age, Some(11 * SECOND));
    assert_eq!(status.pending.unwrap().age, Some(SECOND));
    // It is the same one beside another view.
    store.drop_previous();
    keyring.refresh().await.unwrap();
    assert_eq!(keyring.status().pending.unwrap().age, Some(SECOND));
    for key in ["four", "five"] {
        tokio::time::sleep(SECOND).await;
        store.rotate(doc(key));
        keyring.refresh().await.unwrap();
    }
    tokio::time::sleep(SECOND).await;
    assert_eq!(keyring.status().previous.unwrap().age, Some(SECOND));
}

#[tokio::test(start_paused = true)]
async fn a_pending_version_counts_unless_it_is_older_and_stays_while_it_cannot_be_read() {
    let store = Memory::new(doc("one"));
    let keyring = builder(store.clone()).build().await.unwrap();
    let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let current = Version::new("1", doc("one")).with_created_at(at);
    for (created_at, counts) in [(at - SECOND, false), (at, true)] {
        let pending = Version::new("2", doc("two")).with_created_at(created_at);
        store.set(Versions::new(current.clone()).with_pending(pending));
        keyring.refresh().await.unwrap();
        assert_eq!(keyring.status().pending.is_some(), counts);
    }
    for (current, counts) in [(current, true), (Version::new("2", doc("two")), false)] {
        store.set(Versions::new(current).with_unreadable(Stage::Pending, down()));
        keyring.refresh().await.unwrap();
        assert_eq!(keyring.status().pending.is_some(), counts);
    }
}

#[tokio::test(start_paused = true)]
async fn endless_settings_overflow_nothing() {
    let store = Memory::new(doc("one"));
    let keyring = builder(store.clone())
        .overlap(Duration::MAX)
        .max_pending(Duration::MAX)
        .max_staleness(Duration::MAX)
        .refuse_after(Duration::MAX)
        .fetch_limit(Duration::MAX / 4)
        .build()
        .await
        .unwrap();
    store.rotate(doc("two"));
    store.stage_pending(doc("three"));
    keyring.refresh().await.unwrap();
    tokio::time::sleep(Duration::from_secs(1_000_000)).await;
    assert!(keyring.current().previous().is_some());
}

#[tokio::test(start_paused = true)]
async fn the_last_handle_ends_the_loop_and_secrets_do_not_keep_it() {
    let alive = Arc::new(());
    let (weak, store) = (Arc::downgrade(&alive), Memory::new(doc("one")));
    let keyring = builder(move || {
        let (_alive, store) = (alive.clone(), store.clone());
        async move { store.fetch().await }
    })
    .build()
    .await
    .unwrap();
    let secrets = keyring.current();
    let mut events = keyring.subscribe();
    drop(keyring.clone());
    keyring.refresh().await.unwrap();
    drop(keyring);
    while events.next().await.is_some() {}
    while weak.strong_count() > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(secrets.key, "one");
}

#[tokio::test(start_paused = true)]
async fn shutdown_waits_for_the_loop_and_later_refreshes_say_stopped() {
    let store = Memory::new(doc("one"));
    let keyring = builder(store.clone()).build().await.unwrap();
    store.pause();
    let hanging = tokio::spawn({
        let keyring = keyring.clone();
        async move { keyring.refresh().await }
    });
    store.wait_for_fetches(2).await;
    keyring.shutdown().await;
    assert!(hanging.await.unwrap().unwrap_err().is_stopped());
    assert!(keyring.refresh().await.unwrap_err().is_stopped());
    assert_eq!(keyring.current().key, "one");
    keyring.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn the_source_itself_can_ask() {
    let store = Memory::new(doc("one")).watched();
    let keyring = builder(store.clone()).build().await.unwrap();
    let mut events = keyring.subscribe();
    store.rotate(doc("two"));
    assert_eq!(reloaded(&mut events).await, (2, Trigger::Change));
}

#[tokio::test(start_paused = true)]
async fn only_a_revoked_current_asks_for_a_successor() {
    let store = Memory::new(doc("one"));
    let keyring = builder(store.clone()).build().await.unwrap();
    store.rotate(doc("two"));
    keyring.refresh().await.unwrap();
    let before = store.fetches();
    for (version, asked) in [("1", 0), ("2", 1)] {
        keyring.revoke(&VersionId::new(version));
        tokio::time::sleep(SECOND).await;
        assert_eq!(store.fetches() - before, asked, "version {version}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_pending_version_makes_the_loop_poll_faster_where_asked() {
    let store = Memory::new(doc("one"));
    let soon = builder(store.clone()).refresh_while_pending(5 * SECOND);
    let keyring = soon.build().await.unwrap();
    let mut events = keyring.subscribe();
    store.stage_pending(doc("two"));
    keyring.refresh().await.unwrap();
    assert_eq!(reloaded(&mut events).await.1, Trigger::Manual);
    assert_eq!(keyring.status().pending.unwrap().id.as_str(), "2");
    store.promote_pending();
    let flip = Instant::now();
    assert_eq!(reloaded(&mut events).await.1, Trigger::Timer);
    assert!(flip.elapsed() <= Duration::from_secs(5));
    assert!(keyring.status().pending.is_none());
    // One that stays is no rotation under way.
    store.stage_pending(doc("three"));
    keyring.refresh().await.unwrap();
    tokio::time::sleep(Duration::from_secs(610)).await;
    let before = store.fetches();
    tokio::time::sleep(Duration::from_secs(3000)).await;
    assert!(store.fetches() - before <= 12);
}

#[tokio::test(start_paused = true)]
async fn a_version_that_was_in_use_is_never_pending_again() {
    let store = Memory::new(doc("one"));
    let keyring = builder(store.clone()).build().await.unwrap();
    let first = store.fetch().await.unwrap().current().clone();
    store.rotate(doc("two"));
    keyring.refresh().await.unwrap();
    let mut events = keyring.subscribe();
    let view = store.fetch().await.unwrap();
    store.set(Versions::new(view.current().clone()).with_pending(first));
    keyring.refresh().await.unwrap();
    let reason = event(&mut events, |event| match event {
        Event::StageSkipped { reason, .. } => Some(reason),
        _ => None,
    });
    assert_eq!(reason.await, "it was in use before");
    assert!(keyring.status().pending.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_bad_side_stage_never_stops_a_good_current() {
    let store = Memory::new(doc("one"));
    let keyring = builder(store.clone()).build().await.unwrap();
    store.rotate(doc("two"));
    store.stage_pending("not json");
    assert!(keyring.refresh().await.unwrap().is_swapped());
    assert_eq!(keyring.current().key, "two");
    assert!(keyring.current().previous().is_some());
    // A previous that cannot be read any more: the copy that is held stays.
    let view = store.fetch().await.unwrap();
    let current = Versions::new(view.current().clone());
    store.set(current.with_unreadable(Stage::Previous, down()));
    keyring.refresh().await.unwrap();
    assert_eq!(keyring.current().previous().unwrap().key, "one");
    // One that is gone is forgotten.
    store.drop_previous();
    keyring.refresh().await.unwrap();
    assert!(keyring.current().previous().is_none());
}

#[tokio::test(start_paused = true)]
async fn prepare_builds_a_part_again_only_when_its_inputs_change() {
    let store = Memory::new(r#"{"db":"one","jwt":"a"}"#);
    #[derive(Deserialize)]
    struct Raw {
        db: String,
        jwt: String,
    }
    struct Made {
        pool: Arc<String>,
        jwt: String,
    }
    let connects = Arc::new(AtomicU32::new(0));
    let counted = connects.clone();
    let keyring = Keyring::<Raw>::builder(store.clone())
        .clock(TokioClock::new())
        .prepare(move |raw: Arc<Raw>, parts: Parts| {
            let counted = counted.clone();
            async move {
                let connect = async {
                    counted.fetch_add(1, Ordering::Relaxed);
                    Ok::<_, SourceError>(Arc::new(raw.db.clone()))
                };
                let pool = parts.reuse("pool", &raw.db, connect).await?;
                Ok::<_, SourceError>(Made {
                    pool,
                    jwt: raw.jwt.clone(),
                })
            }
        })
        .build()
        .await
        .unwrap();
    assert!(keyring.current().previous().is_none());
    for jwt in ["b", "c", "d"] {
        store.rotate(format!(r#"{{"db":"one","jwt":"{jwt}"}}"#));
        assert!(keyring.refresh().await.unwrap().is_swapped());
        assert_eq!(keyring.current().jwt, jwt);
    }
    assert_eq!(connects.load(Ordering::Relaxed), 1);
    let old = Arc::downgrade(&keyring.current().pool);
    store.rotate(r#"{"db":"two","jwt":"d"}"#);
    keyring.refresh().await.unwrap();
    assert_eq!(connects.load(Ordering::Relaxed), 2);
    assert_eq!(keyring.current().previous().unwrap().pool.as_str(), "one");
    tokio::time::sleep(Duration::from_secs(2000)).await;
    assert!(keyring.current().previous().is_none());
    assert_eq!(old.strong_count(), 0, "the old pool is closed");
}

#[tokio::test(start_paused = true)]
async fn previous_can_be_released_at_the_swap() {
    let store = Memory::new(doc("one"));
    let keyring = builder(store.clone())
        .release_previous_at_swap()
        .build()
        .await
        .unwrap();
    let one = Arc::downgrade(&keyring.current().bundle());
    store.rotate(doc("two"));
    keyring.refresh().await.unwrap();
    assert!(keyring.current().previous().is_none());
    assert_eq!(one.strong_count(), 0);
    store.stage_pending(doc("three"));
    keyring.refresh().await.unwrap();
    assert!(
        keyring.current().previous().is_none(),
        "not brought back later either"
    );
}

#[tokio::test(start_paused = true)]
async fn on_swap_sees_old_and_new_once_for_each_new_current() {
    let store = Memory::new(doc("one"));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = seen.clone();
    let keyring = builder(store.clone())
        .on_swap(move |old, new| {
            let pair = (old.key.clone(), new.key.clone());
            noted.lock().unwrap().push(pair);
        })
        .build()
        .await
        .unwrap();
    store.rotate(doc("two"));
    keyring.refresh().await.unwrap();
    store.drop_previous();
    keyring.refresh().await.unwrap();
    assert_eq!(
        *seen.lock().unwrap(),
        [("one".to_owned(), "two".to_owned())]
    );
}

#[tokio::test(start_paused = true)]
async fn staleness_is_told_once_and_ends_with_an_answer() {
    let store = Memory::new(doc("one"));
    let keyring = builder(store.clone())
        .max_staleness(Duration::from_secs(600))
        .build()
        .await
        .unwrap();
    let mut events = keyring.subscribe();
    store.fail_next(usize::MAX, down());
    let start = Instant::now();
    let limit = Duration::from_secs(600);
    tokio::time::sleep_until(start + limit).await;
    let status = keyring.status();
    assert!(status.staleness == limit && !status.is_stale, "{status:?}");
    let stale = |event: Event| match event {
        Event::Stale { age, .. } => Some(age),
        _ => None,
    };
    let age = event(&mut events, stale).await;
    assert!(age > Duration::from_secs(600) && start.elapsed() < Duration::from_secs(601));
    assert!(keyring.status().is_stale);
    tokio::time::sleep(Duration::from_secs(600)).await;
    let mut more = std::iter::from_fn(|| events.next().now_or_never().flatten());
    assert!(more.all(|event| stale(event).is_none()));
    store.fail_next(0, down());
    keyring.refresh().await.unwrap();
    assert!(!keyring.status().is_stale && !keyring.status().refuses);
}

#[tokio::test(start_paused = true)]
async fn an_answer_from_memory_is_asked_for_anew_at_half_of_the_bound() {
    for (age, fetches) in [(299, 1), (300, 2)] {
        let store = Memory::new("0");
        let view = Versions::new(Version::new("1", doc("one")));
        store.set(view.answered_ago(Duration::from_secs(age)));
        let bounded = builder(store.clone()).max_staleness(Duration::from_secs(600));
        let keyring = bounded.build().await.unwrap();
        let before = store.fetches();
        keyring.refresh().await.unwrap();
        assert_eq!(store.fetches() - before, fetches, "{age}");
    }
}

#[tokio::test(start_paused = true)]
async fn refreshed_tells_what_happened() {
    let store = Memory::new(doc("one"));
    let keyring = builder(store.clone()).build().await.unwrap();
    let unchanged = keyring.refresh().await.unwrap();
    assert!(matches!(unchanged, Refreshed::Unchanged { .. }));
    assert_eq!(unchanged.generation(), 1);
    let version = store.rotate(doc("two"));
    let swapped = keyring.refresh().await.unwrap();
    assert_eq!(swapped.generation(), 2);
    let Refreshed::Swapped {
        generation,
        version: swapped,
        ..
    } = swapped
    else {
        panic!("{swapped:?}");
    };
    assert_eq!((generation, swapped), (2, version));
}
