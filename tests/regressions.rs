//! Bugs that a review found, each with the test that showed it.

#![allow(clippy::unwrap_used)]

mod support;

use std::{
    future::{Ready, ready},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, SystemTime},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::StatusCode;
use serde::Deserialize;
use support::{ask, token};
use tower_secrets::{
    JwtKey, Keyring, Probe,
    clock::TokioClock,
    source::{Memory, Source, SourceError, SourceErrorKind, Stage, Version, Versions},
};

#[derive(Debug, Deserialize)]
struct App {
    jwt: JwtKey,
}
fn doc(key: u32) -> String {
    format!(r#"{{"jwt":"key number {key:03} of thirty-two bytes"}}"#)
}
const S: Duration = Duration::from_secs(1);
async fn build(source: impl Source) -> (Keyring<App>, Arc<TokioClock>) {
    let clock = Arc::new(TokioClock::new());
    let k = Keyring::<App>::builder(source)
        .activation_delay(std::time::Duration::ZERO)
        .jwt_key(|a| &a.jwt)
        .clock(clock.clone())
        .build()
        .await
        .unwrap();
    (k, clock)
}
fn key(key: u32) -> JwtKey {
    serde_json::from_str::<App>(&doc(key)).unwrap().jwt
}
/// A probe that counts its logins and accepts the first alone.
fn accepts_the_first(
    logins: Arc<AtomicU32>,
) -> impl Fn(Arc<App>) -> Ready<Result<(), &'static str>> + Send + Sync {
    move |_| {
        let is_first = logins.fetch_add(1, Ordering::SeqCst) == 0;
        ready(is_first.then_some(()).ok_or("login"))
    }
}
fn v(id: &str, key: u32) -> Version {
    Version::new(id, doc(key))
}
fn down() -> SourceError {
    SourceError::new(SourceErrorKind::Unavailable, "down")
}

fn set(keys: std::ops::Range<u32>) -> String {
    let jwk = |key| {
        let secret = format!("key number {key:05} of thirty-two bytes");
        format!(
            r#"{{"kty":"oct","k":"{}"}}"#,
            URL_SAFE_NO_PAD.encode(secret)
        )
    };
    let all: Vec<_> = keys.map(jwk).collect();
    format!(r#"{{"jwt":{{"keys":[{}]}}}}"#, all.join(","))
}

// store clock / detection latency: an unrelated pending shortens a fixed deadline
#[tokio::test(start_paused = true)]
async fn a_deadline_is_not_shortened_by_what_else_changes() {
    let m = Memory::new(doc(1));
    m.set(Versions::new(v("1", 1)));
    let (k, _) = build(m.clone()).await;
    let old = token(&k.signer());
    let at = SystemTime::now() - 1000 * S; // the store's clock is slow, or we were cut off
    let flip = || Versions::new(v("2", 2)).with_previous(v("1", 1).with_replaced_at(at));
    m.set(flip());
    k.refresh().await.unwrap();
    assert_eq!(ask(&k, &old).await, Ok(Stage::Previous));
    m.set(flip().with_pending(v("3", 3)));
    k.refresh().await.unwrap();
    assert_eq!(ask(&k, &old).await, Ok(Stage::Previous));
}

// previous.json was a copy of current: after the flip previous() is None
#[tokio::test(start_paused = true)]
async fn a_copy_of_current_opens_no_window() {
    let m = Memory::new(doc(1));
    m.set(Versions::new(v("1", 1)).with_previous(v("1", 1)));
    let (k, _) = build(m.clone()).await;
    tokio::time::sleep(2000 * S).await;
    let old = token(&k.signer());
    m.set(Versions::new(v("2", 2)).with_previous(v("1", 1)));
    k.refresh().await.unwrap();
    assert_eq!(ask(&k, &old).await, Ok(Stage::Previous));
    assert!(k.current().previous().is_some());
}

// and its not_after is not obeyed until the next poll
#[tokio::test(start_paused = true)]
async fn not_after_counts_where_previous_was_written_first() {
    let m = Memory::new(doc(1));
    let end = SystemTime::now() + 60 * S;
    m.set(Versions::new(v("1", 1)).with_previous(v("1", 1).with_not_after(end)));
    let (k, _) = build(m.clone()).await;
    let old = token(&k.signer());
    m.set(Versions::new(v("2", 2)).with_previous(v("1", 1).with_not_after(end)));
    k.refresh().await.unwrap();
    tokio::time::sleep(70 * S).await;
    assert_eq!(ask(&k, &old).await, Err(StatusCode::UNAUTHORIZED));
}

// quarantine bypass by a flapping store
#[tokio::test(start_paused = true)]
async fn a_store_that_answers_in_turn_does_not_cause_a_login_at_each_poll() {
    let m = Memory::new(doc(1));
    m.set(Versions::new(v("1", 1)));
    let n = Arc::new(AtomicU32::new(0));
    let c = n.clone();
    let k = Keyring::<App>::builder(m.clone())
        .activation_delay(std::time::Duration::ZERO)
        .jwt_key(|a| &a.jwt)
        .clock(TokioClock::new())
        .refresh_every(5 * S)
        .probe("db", accepts_the_first(c))
        .build()
        .await
        .unwrap();
    for i in 0..60 {
        // an eventually consistent store: replicas answer in turn
        m.set(if i % 2 == 0 {
            Versions::new(v("2", 2)).with_previous(v("1", 1))
        } else {
            Versions::new(v("1", 1))
        });
        let f = m.fetches();
        m.wait_for_fetches(f + 1).await;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(
        n.load(Ordering::SeqCst) <= 1 + 3,
        "{} logins in 5 minutes",
        n.load(Ordering::SeqCst)
    );
    drop(k);
}

// outage while a version is quarantined: no backoff
#[tokio::test(start_paused = true)]
async fn an_outage_backs_off_while_a_version_waits() {
    let m = Memory::new(doc(1));
    let n = Arc::new(AtomicU32::new(0));
    let c = n.clone();
    let k = Keyring::<App>::builder(m.clone())
        .activation_delay(std::time::Duration::ZERO)
        .jwt_key(|a| &a.jwt)
        .clock(TokioClock::new())
        .probe("db", accepts_the_first(c))
        .build()
        .await
        .unwrap();
    m.rotate(doc(2));
    k.refresh().await.unwrap_err();
    m.fail_next(1_000_000, down());
    let before = m.fetches();
    tokio::time::sleep(3600 * S).await;
    let f = m.fetches() - before;
    assert!(f < 60, "{f} fetches in an hour of outage");
}

// withdrawn with a flip: the bundle that was current is not ended when another previous was held
#[tokio::test(start_paused = true)]
async fn a_withdrawal_at_a_flip_forgets_both_bundles() {
    let m = Memory::new(doc(1));
    m.set(Versions::new(v("1", 1)).with_previous(v("0", 0)));
    let (k, _) = build(m.clone()).await;
    m.set(Versions::new(v("2", 2)));
    k.refresh().await.unwrap();
    m.set(Versions::new(v("2", 2)).with_previous(v("1", 1)));
    k.refresh().await.unwrap();
    assert!(k.current().previous().is_none());
}

// logins at start with a required probe
#[tokio::test(start_paused = true)]
async fn a_start_knocks_once() {
    let m = Memory::new(doc(1));
    let n = Arc::new(AtomicU32::new(0));
    let c = n.clone();
    let r = Keyring::<App>::builder(m)
        .activation_delay(std::time::Duration::ZERO)
        .jwt_key(|a| &a.jwt)
        .clock(TokioClock::new())
        .refresh_every(2 * S)
        .probe_with(
            Probe::new("db", move |_| {
                c.fetch_add(1, Ordering::SeqCst);
                async { Err::<(), _>("login") }
            })
            .require(),
        )
        .build()
        .await;
    assert!(r.is_err());
    assert_eq!(n.load(Ordering::SeqCst), 1);
}

// a directory unreadable for a moment ends the window
#[cfg(feature = "file")]
#[tokio::test]
async fn a_directory_that_cannot_be_looked_at_withdraws_nothing() {
    let d = tempfile::tempdir().unwrap();
    let w = |k| {
        std::fs::write(d.path().join(".n"), doc(k)).unwrap();
        std::fs::rename(d.path().join(".n"), d.path().join("current.json")).unwrap();
    };
    w(1);
    let k = Keyring::<App>::builder(tower_secrets::source::File::new(d.path()).watch(false))
        .activation_delay(std::time::Duration::ZERO)
        .jwt_key(|a| &a.jwt)
        .build()
        .await
        .unwrap();
    let old = token(&k.signer());
    w(2);
    k.refresh().await.unwrap();
    assert_eq!(ask(&k, &old).await, Ok(Stage::Previous));
    std::os::unix::fs::symlink("..data", d.path().join("..data")).unwrap();
    k.refresh().await.unwrap_err();
    std::fs::remove_file(d.path().join("..data")).unwrap();
    let _ = k.refresh().await;
    assert_eq!(ask(&k, &old).await, Ok(Stage::Previous));
}

// Display of a probe's error panics
#[derive(Debug)]
struct Bad;
impl std::fmt::Display for Bad {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        panic!("on purpose")
    }
}
impl std::error::Error for Bad {}
#[tokio::test(start_paused = true)]
async fn a_panic_in_the_display_of_an_error_leaves_the_loop_alive() {
    let m = Memory::new(doc(1));
    let n = Arc::new(AtomicU32::new(0));
    let c = n.clone();
    let k = Keyring::<App>::builder(m.clone())
        .activation_delay(std::time::Duration::ZERO)
        .jwt_key(|a| &a.jwt)
        .clock(TokioClock::new())
        .probe("db", move |_| {
            let c = c.clone();
            async move {
                if c.fetch_add(1, Ordering::SeqCst) == 1 {
                    Err(Bad)
                } else {
                    Ok(())
                }
            }
        })
        .build()
        .await
        .unwrap();
    m.rotate(doc(2));
    k.refresh().await.unwrap_err();
    assert_eq!(n.load(Ordering::SeqCst), 2);
    m.rotate(doc(3));
    k.refresh().await.unwrap();
    assert_eq!(k.current().version().as_str(), "3");
}

// a revocation is forgotten after 1024 other keys (11 rotations of a set of 100)
#[tokio::test(start_paused = true)]
async fn a_revocation_is_not_forgotten_after_a_thousand_keys() {
    let m = Memory::new(doc(1));
    let (k, _) = build(m.clone()).await;
    let old = token(&k.signer());
    let v1 = k.current().version().clone();
    m.rotate(doc(2));
    k.refresh().await.unwrap();
    k.revoke(&v1);
    for i in 1..=12 {
        m.rotate(set(i * 100..i * 100 + 100));
        k.refresh().await.unwrap();
    }
    m.rotate(doc(1));
    k.refresh().await.unwrap();
    assert_eq!(ask(&k, &old).await, Err(StatusCode::UNAUTHORIZED));
}

// a corrected document with the same declared id waits in the quarantine of the bad one
#[tokio::test(start_paused = true)]
async fn a_corrected_document_of_the_same_name_is_tried_at_once() {
    let m = Memory::new(doc(1));
    let k = Keyring::<App>::builder(m.clone())
        .clock(TokioClock::new())
        .refresh_every(5 * S)
        .probe("not key 2", |app: Arc<App>| {
            let is_bad = app.jwt == key(2);
            ready((!is_bad).then_some(()).ok_or("login"))
        })
        .build()
        .await
        .unwrap();
    let previous = || v("1", 1);
    m.set(Versions::new(v("2", 2)).with_previous(previous()));
    k.refresh().await.unwrap_err();
    m.set(Versions::new(v("2", 3)).with_previous(previous()));
    tokio::time::sleep(30 * S).await;
    assert_eq!(k.current().version().as_str(), "2");
    assert!(k.current().jwt == key(3));
}
