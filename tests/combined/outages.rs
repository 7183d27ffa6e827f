//! A part whose store is down stays as it is, and no other part waits for it.

use std::time::Duration;

use tokio::time::Instant;
use tower_secrets::{
    Builder,
    event::Event,
    keyring::NotSafe,
    refresh::BuildErrorKind,
    source::{Fallback, Memory, SourceErrorKind, Stage, Versions},
};

use crate::world::*;

#[tokio::test(start_paused = true)]
async fn a_part_that_is_down_at_the_start_is_an_error_that_names_it() {
    let (db, jwt) = (Memory::new(password("one")), Memory::new(key(1)));
    db.fail_next(usize::MAX, down());
    let start = Instant::now();
    let error = builder(source(&db, &jwt)).build().await.unwrap_err();
    assert!(start.elapsed() > 10 * SECOND, "it was tried again");
    assert_eq!(
        error.to_string(),
        "the first refresh failed: db: memory, jwt: memory: part `db`: the store is down"
    );
    let BuildErrorKind::FirstRefresh(error) = error.kind() else {
        panic!("{error}")
    };
    assert_eq!(
        error.source_error().unwrap().kind(),
        SourceErrorKind::Unavailable
    );

    // One that hangs is named as well, because it has less time than the whole.
    db.fail_next(0, down());
    db.pause();
    let error = builder(source(&db, &jwt)).build().await.unwrap_err();
    let told = error.to_string();
    assert!(
        told.ends_with("part `db`: the source gave no answer within 8s"),
        "{told}"
    );
    db.resume();

    // It comes up within the start's budget, and then the other is down: this is still the start.
    db.fail_next(1, down());
    jwt.fail_next(2, down());
    let keyring = builder(source(&db, &jwt)).build().await.unwrap();
    assert!(keyring.status().stale_parts.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_part_that_is_down_later_stays_while_the_others_move_on() {
    let world = World::new().await;
    let first = world.token();
    world.rotate_jwt(2).await;
    let second = world.token();
    let mut events = world.keyring.subscribe();

    world.db.rotate(password("two"));
    world.db.fail_next(usize::MAX, down());
    world.jwt.drop_previous();
    // The revocation goes through.
    assert!(world.keyring.refresh().await.unwrap().is_swapped());
    assert_eq!(world.ask(&first).await, REFUSED);
    let at = world.keyring.status();
    assert_eq!(at.stale_parts[0].part, "db");
    assert_eq!(at.stale_parts[0].error.to_string(), "the store is down");
    assert_eq!(at.consecutive_failures, 0);
    // So does a rotation.
    world.rotate_jwt(3).await;
    assert_eq!(world.version().as_str(), "db=1,jwt=3");
    assert_eq!(world.ask(&second).await, Ok(Stage::Previous));
    assert!(!world.keyring.refresh().await.unwrap().is_swapped());
    let since = world.keyring.status().stale_parts[0].since;
    assert_eq!(since, at.stale_parts[0].since);
    let told = |events: Vec<Event>| {
        let stale = events.into_iter().filter_map(|event| match event {
            Event::PartStale { part, error, .. } => Some((part.to_string(), error.to_string())),
            _ => None,
        });
        stale.collect::<Vec<_>>()
    };
    assert_eq!(
        told(seen(&mut events).await),
        [("db".into(), "the store is down".into())]
    );

    world.db.fail_next(0, down());
    world.refresh().await;
    assert_eq!(world.version().as_str(), "db=2,jwt=3");
    assert!(world.keyring.status().stale_parts.is_empty());
    world.db.fail_next(1, down());
    world.refresh().await;
    assert_eq!(
        told(seen(&mut events).await).len(),
        1,
        "another outage is told again"
    );
}

#[tokio::test(start_paused = true)]
async fn the_part_of_the_key_keeps_its_deadline_through_an_outage() {
    let world = World::new().await;
    let first = world.token();
    world.rotate_jwt(2).await;
    let start = Instant::now();
    world.jwt.drop_previous();
    world.jwt.fail_next(usize::MAX, down());
    for password in ["two", "three"] {
        tokio::time::advance(WINDOW / 3).await;
        world.rotate_db(password).await;
        assert_eq!(world.ask(&first).await, Ok(Stage::Previous));
    }
    tokio::time::advance(WINDOW - start.elapsed()).await;
    assert_eq!(world.ask(&first).await, REFUSED);
}

#[tokio::test(start_paused = true)]
async fn a_part_that_hangs_takes_its_share_of_the_time_and_no_more() {
    let world = World::new().await;
    world.db.pause();
    world.jwt.rotate(key(2));
    let start = Instant::now();
    assert!(world.keyring.refresh().await.unwrap().is_swapped());
    assert_eq!(start.elapsed(), Duration::from_secs(8));
    let status = world.keyring.status();
    assert_eq!(
        status.stale_parts[0].error.kind(),
        SourceErrorKind::TimedOut
    );
}

/// As after a failure: at once again, then less often, and never less often than the interval.
#[tokio::test(start_paused = true)]
async fn a_stale_part_is_asked_again_with_back_off() {
    let world = World::new().await;
    world.db.fail_next(usize::MAX, down());
    world.refresh().await;
    let before = world.db.fetches();
    tokio::time::sleep(10 * SECOND).await;
    let early = world.db.fetches() - before;
    assert!((2..=5).contains(&early), "{early}");
    tokio::time::sleep(3590 * SECOND).await;
    let all = world.db.fetches() - before;
    assert!((15..=35).contains(&all), "{all}");
    world.db.rotate(password("two"));
    world.db.fail_next(0, down());
    tokio::time::sleep(300 * SECOND).await;
    assert_eq!(world.version().as_str(), "db=2,jwt=1");
}

#[tokio::test(start_paused = true)]
async fn staleness_counts_from_the_last_time_that_all_parts_answered() {
    let limit = Duration::from_secs(3000);
    let world = World::with(
        Memory::new(password("one")),
        Memory::new(key(1)),
        |builder| builder.max_staleness(limit).refuse_after(limit),
    )
    .await;
    let good = world.token();
    world.db.fail_next(usize::MAX, down());
    tokio::time::sleep(limit - 300 * SECOND).await;
    world.rotate_jwt(2).await;
    assert!(!world.keyring.status().refuses);
    tokio::time::sleep(320 * SECOND).await;
    let status = world.keyring.status();
    assert!(status.refuses && status.is_stale, "{status:?}");
    assert_eq!(
        world.ask(&good).await,
        Err(http::StatusCode::SERVICE_UNAVAILABLE)
    );
    world.db.fail_next(0, down());
    world.refresh().await;
    assert!(!world.keyring.status().refuses);
    assert_eq!(world.ask(&good).await, Ok(Stage::Previous));
}

/// The age of its last answer is no reason to ask all parts twice: the store itself was asked.
#[tokio::test(start_paused = true)]
async fn a_part_that_is_down_has_no_part_fetched_twice() {
    let limit = Duration::from_secs(1000);
    let db = Memory::new(password("one"));
    let answer = Versions::new(v("1", password("one")));
    db.set(answer.answered_ago(limit / 2));
    let set = |builder: Builder<App>| builder.max_staleness(limit);
    let world = World::with(db, Memory::new(key(1)), set).await;
    let fetches = || (world.db.fetches(), world.jwt.fetches());
    let before = fetches();
    // From memory still: it is asked for anew.
    world.refresh().await;
    assert_eq!(fetches(), (before.0 + 2, before.1 + 2));
    world.db.fail_next(usize::MAX, down());
    world.refresh().await;
    assert_eq!(fetches(), (before.0 + 3, before.1 + 3));
}

/// What a part answered last may never have been proved: it stays at what is in use.
#[tokio::test(start_paused = true)]
async fn a_stale_part_stays_at_what_was_proved() {
    let world = World::with(
        Memory::new(password("one")),
        Memory::new(key(1)),
        |builder| builder.probe("login", login(std::sync::Arc::default())),
    )
    .await;
    world.db.rotate(password("bad"));
    assert!(world.keyring.refresh().await.is_err());
    world.db.fail_next(usize::MAX, down());
    world.rotate_jwt(2).await;
    assert_eq!(world.version().as_str(), "db=1,jwt=2");
    assert_eq!(world.keyring.current().db.password, "one");
}

#[tokio::test(start_paused = true)]
async fn all_parts_down_is_no_error_and_changes_nothing() {
    let world = World::new().await;
    world.db.fail_next(usize::MAX, down());
    world.jwt.fail_next(usize::MAX, down());
    assert!(!world.keyring.refresh().await.unwrap().is_swapped());
    let status = world.keyring.status();
    let stale: Vec<_> = status
        .stale_parts
        .iter()
        .map(|it| it.part.as_str())
        .collect();
    assert_eq!(stale, ["db", "jwt"]);
    // Either may have rotated since.
    let reasons = status.safe_to_revoke().unwrap_err();
    assert!(
        matches!(reasons[..], [NotSafe::Stale { .. }]),
        "{reasons:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_combined_source_inside_a_fallback() {
    let (db, jwt) = (Memory::new(password("one")), Memory::new(key(1)));
    db.fail_next(1, down());
    let whole = format!(r#"{{"db":{},"jwt":{}}}"#, password("copy"), key(1));
    let fallback = Fallback::new(source(&db, &jwt), Memory::new(whole));
    let keyring = builder(fallback).build().await.unwrap();
    assert!(keyring.status().is_degraded);
    keyring.status().safe_to_revoke().unwrap_err();
    assert_eq!(keyring.current().db.password, "copy");
    let first = token(&keyring.signer());

    // The store itself: the same key, under another name.
    keyring.refresh().await.unwrap();
    assert_eq!(keyring.current().version().as_str(), "db=1,jwt=1");
    assert!(!keyring.status().is_degraded);
    assert_eq!(ask(&keyring, &first).await, Ok(Stage::Current));
    assert_eq!(db.last_published(), Some("1".into()));

    jwt.rotate(key(2));
    keyring.refresh().await.unwrap();
    db.fail_next(usize::MAX, down());
    jwt.drop_previous();
    keyring.refresh().await.unwrap();
    assert_eq!(ask(&keyring, &first).await, REFUSED);
    assert_eq!(keyring.status().stale_parts.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_key_of_a_substitute_gets_a_window_when_the_store_itself_is_back() {
    let (db, jwt) = (Memory::new(password("one")), Memory::new(key(1)));
    db.fail_next(1, down());
    let whole = format!(r#"{{"db":{},"jwt":{}}}"#, password("copy"), key(9));
    let fallback = Fallback::new(source(&db, &jwt), Memory::new(whole));
    let keyring = builder(fallback).build().await.unwrap();
    let of_substitute = token(&keyring.signer());
    // By its pending key it is known which part the keys are in; that part never had the other's.
    let view = Versions::new(v("1", key(1))).with_pending(v("2", key(2)));
    jwt.set(view.with_unreadable(Stage::Previous, down()));
    keyring.refresh().await.unwrap();
    assert!(!keyring.status().is_degraded);
    assert_eq!(ask(&keyring, &of_substitute).await, Ok(Stage::Previous));
}
