//! Real SIGHUPs. A test binary of its own, because signals go to the whole process.

#![cfg(unix)]
#![allow(clippy::unwrap_used)]

use std::{os::unix::process::ExitStatusExt, process::Command, time::Duration};

use serde::Deserialize;
use tower_secrets::{
    Keyring,
    event::Event,
    refresh::Trigger,
    source::{Memory, Source},
};

#[derive(Deserialize)]
struct App {
    key: String,
}

/// A shell's own `kill`, in a loop: one process for the whole burst.
fn hang_up(times: u32) {
    let script = format!(
        "i=0; while [ $i -lt {times} ]; do kill -HUP {}; i=$((i+1)); done",
        std::process::id()
    );
    let status = Command::new("sh").args(["-c", &script]).status();
    assert!(status.unwrap().success());
}

/// The handler is set by `build`.
#[test]
fn before_build_is_polled_a_signal_is_what_it_is_to_any_process() {
    const CHILD: &str = "TOWER_SECRETS_TEST_ALONE";
    if std::env::var_os(CHILD).is_some() {
        let builder = Keyring::<App>::builder(Memory::new(r#"{"key":"one"}"#));
        let building = builder.reload_on_sighup().build();
        hang_up(1);
        return drop(building);
    }
    let name = "before_build_is_polled_a_signal_is_what_it_is_to_any_process";
    let own = std::env::current_exe().unwrap();
    let ended = Command::new(own)
        .args(["--exact", name])
        .env(CHILD, "")
        .output();
    // Under `nohup` it is nothing.
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.is_some_and(|set| u64::from_str_radix(set.trim(), 16).unwrap() & 1 == 1);
    let ended = ended.unwrap();
    assert_eq!(ended.status.signal(), (!ignored).then_some(1), "{ended:?}");
}

/// One test, so that no two share the process's signals.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bursts_cost_at_most_two_fetches_and_an_early_signal_counts_as_one() {
    let store = Memory::new(r#"{"key":"one"}"#);
    store.pause();
    let building = tokio::spawn({
        let store = store.clone();
        async move {
            Keyring::<App>::builder(store)
                .reload_on_sighup()
                .build()
                .await
                .unwrap()
        }
    });
    // The first fetch has begun, so the handler stands already; without it this ends the process.
    store.wait_for_fetches(1).await;
    hang_up(3);
    store.resume();
    let keyring = building.await.unwrap();
    store.wait_for_fetches(2).await;
    keyring.refresh().await.unwrap();
    let before = store.fetches();

    let mut events = keyring.subscribe();
    let burst = std::time::Instant::now();
    hang_up(1000);
    // One at once, one after it, and one more for each second that the signals themselves took.
    let most = 2 + burst.elapsed().as_secs();
    store.rotate(r#"{"key":"two"}"#);
    let mut by_signal = 0;
    let quiet = Duration::from_secs(3);
    while let Ok(Some(event)) = tokio::time::timeout(quiet, events.next()).await {
        if let Event::ReloadRequested { trigger, .. } = event {
            assert_eq!(trigger, Trigger::Signal);
            by_signal += 1;
        }
    }
    assert!(
        (1..=most).contains(&by_signal),
        "{by_signal} reloads for 1,000 signals"
    );
    assert!(store.fetches() - before <= most);
    assert_eq!(store.name(), "memory");
    // One more, after the burst: it is not lost.
    store.rotate(r#"{"key":"three"}"#);
    hang_up(1);
    loop {
        if let Event::Reloaded { trigger, .. } = events.next().await.unwrap() {
            assert_eq!(trigger, Trigger::Signal);
            break;
        }
    }
    assert_eq!(keyring.current().key, "three");
    // The next waits for its turn.
    let before = std::time::Instant::now();
    hang_up(1);
    while !matches!(events.next().await, Some(Event::ReloadRequested { .. })) {}
    assert!(before.elapsed() > Duration::from_millis(500));
}
