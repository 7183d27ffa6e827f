//! `Memory` as users meet it: a store under a test's control.
#![allow(clippy::unwrap_used)]

use std::future::Future;

use tokio::task::yield_now;
use tower_secrets::source::{
    Memory, Source, SourceError, SourceErrorKind, Stage, Version, Versions,
};

fn ids(versions: &Versions) -> (String, Option<String>, Option<String>) {
    let id = |version: &Version| version.id().as_str().to_owned();
    (
        id(versions.current()),
        versions.previous().map(id),
        versions.pending().map(id),
    )
}

fn owned(
    current: &str,
    previous: Option<&str>,
    pending: Option<&str>,
) -> (String, Option<String>, Option<String>) {
    (
        current.to_owned(),
        previous.map(str::to_owned),
        pending.map(str::to_owned),
    )
}

/// Polls once, so that "does not resolve yet" needs no waiting.
async fn is_ready(future: impl Future<Output = ()>) -> bool {
    tokio::select! {
        biased;
        () = future => true,
        () = yield_now() => false,
    }
}

#[tokio::test]
async fn stages_move_as_in_a_store() {
    let memory = Memory::new("{}");
    assert_eq!(ids(&memory.fetch().await.unwrap()), owned("1", None, None));
    assert_eq!(memory.rotate("{}").as_str(), "2");
    assert_eq!(memory.stage_pending("{}").as_str(), "3");
    assert_eq!(
        ids(&memory.fetch().await.unwrap()),
        owned("2", Some("1"), Some("3"))
    );
    assert_eq!(memory.promote_pending().unwrap().as_str(), "3");
    assert_eq!(memory.promote_pending(), None);
    assert_eq!(
        ids(&memory.fetch().await.unwrap()),
        owned("3", Some("2"), None)
    );
    memory.drop_previous();
    memory.stage_pending("{}");
    memory.drop_pending();
    assert_eq!(ids(&memory.fetch().await.unwrap()), owned("3", None, None));
}

#[tokio::test]
async fn clones_are_one_store() {
    let memory = Memory::new("{}");
    let clone = memory.clone();
    clone.rotate("{}");
    assert_eq!(memory.fetch().await.unwrap().current().id().as_str(), "2");
    assert_eq!(clone.fetches(), 1);
    clone.published(&"2".into());
    assert_eq!(memory.last_published(), Some("2".into()));
}

#[tokio::test]
async fn a_view_of_ones_own_replaces_all() {
    let memory = Memory::new("{}");
    let unreadable = SourceError::new(SourceErrorKind::Malformed, "torn");
    memory.set(
        Versions::new(Version::new("mine", "{}")).with_unreadable(Stage::Previous, unreadable),
    );
    assert_eq!(
        ids(&memory.fetch().await.unwrap()),
        owned("mine", None, None)
    );
}

#[tokio::test]
async fn failures_are_counted_down() {
    let memory = Memory::new("{}");
    memory.fail_next(2, SourceError::new(SourceErrorKind::Throttled, "slow down"));
    for _ in 0..2 {
        let error = memory.fetch().await.unwrap_err();
        assert_eq!(error.kind(), SourceErrorKind::Throttled);
    }
    assert!(memory.fetch().await.is_ok());
    assert_eq!(memory.fetches(), 3);
}

#[tokio::test]
async fn a_paused_fetch_waits_and_then_sees_the_newest() {
    let memory = Memory::new("{}");
    memory.pause();
    let waiting = tokio::spawn({
        let memory = memory.clone();
        async move { memory.fetch().await.unwrap() }
    });
    memory.wait_for_fetches(1).await;
    memory.rotate("{}");
    memory.resume();
    assert_eq!(waiting.await.unwrap().current().id().as_str(), "2");
}

#[tokio::test]
async fn only_a_watched_handle_reports_changes_and_each_once() {
    let plain = Memory::new("{}");
    let watched = plain.clone().watched();
    assert!(!is_ready(watched.changed()).await);
    plain.rotate("{}");
    plain.drop_previous();
    assert!(!is_ready(plain.changed()).await);

    let other = watched.clone();
    assert!(is_ready(watched.changed()).await);
    assert!(!is_ready(watched.changed()).await);
    assert!(is_ready(other.changed()).await);
}

#[tokio::test]
async fn a_change_is_not_lost_with_a_dropped_future() {
    let memory = Memory::new("{}").watched();
    {
        let waiting = memory.changed();
        tokio::pin!(waiting);
        assert!(!is_ready(waiting.as_mut()).await);
        memory.rotate("{}");
    }
    assert!(is_ready(memory.changed()).await);
}

#[test]
fn debug_shows_ids_and_no_secret() {
    let memory = Memory::new(r#"{"api_key":"hunter2"}"#);
    memory.rotate(r#"{"api_key":"hunter3"}"#);
    let text = format!("{memory:?}");
    assert!(text.contains("\"2\""), "{text}");
    assert!(!text.contains("hunter"), "{text}");
}
