//! `try_each`: what is sent to an upstream that refuses a credential, how often, and for how long a
//! call waits.

#![allow(clippy::unwrap_used)]

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use serde::Deserialize;
use tokio::{task::JoinSet, time::Instant};
use tower_secrets::{
    Attempt, Builder, CredentialKind, Keyring, Parts, Secrets, TryError,
    clock::TokioClock,
    source::{Memory, Source, SourceError, SourceErrorKind, Version, Versions},
};

const SECOND: Duration = Duration::from_secs(1);
/// The default wait for a flip.
const WAIT: Duration = Duration::from_secs(10);
const OVERLAPPING: CredentialKind = CredentialKind::Overlapping;
const SINGLE: CredentialKind = CredentialKind::single_user();

#[derive(Debug, Deserialize)]
struct App {
    key: String,
}

impl AsRef<str> for App {
    fn as_ref(&self) -> &str {
        &self.key
    }
}

/// What a `prepare` step makes; it stands for a pool.
struct Pool(String);

impl AsRef<str> for Pool {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

fn doc(key: &str) -> String {
    format!(r#"{{"key":"{key}"}}"#)
}

fn builder(source: impl Source) -> Builder<App> {
    Keyring::<App>::builder(source).clock(TokioClock::new())
}

async fn keyring() -> (Keyring<App>, Memory) {
    let store = Memory::new(doc("one"));
    (builder(store.clone()).build().await.unwrap(), store)
}

fn down() -> SourceError {
    SourceError::new(SourceErrorKind::Unavailable, "the store is down")
}

/// Accepts some keys, and locks the account after ten refusals in a row, as many do.
#[derive(Clone, Default)]
struct Upstream(Arc<Mutex<Account>>);

#[derive(Default)]
struct Account {
    valid: HashSet<String>,
    broken: bool,
    tried: Vec<String>,
    refused: u32,
    in_a_row: u32,
    is_locked: bool,
}

impl Upstream {
    fn accepting(keys: &[&str]) -> Self {
        let upstream = Self::default();
        upstream.accept(keys);
        upstream
    }

    fn accept(&self, keys: &[&str]) {
        self.0.lock().unwrap().valid = keys.iter().map(|key| (*key).to_owned()).collect();
    }

    fn log_in(&self, key: &str) -> Result<String, Attempt<String>> {
        let mut account = self.0.lock().unwrap();
        account.tried.push(key.to_owned());
        if account.broken {
            return Err(Attempt::Other(key.to_owned()));
        }
        if account.valid.contains(key) && !account.is_locked {
            account.in_a_row = 0;
            return Ok(key.to_owned());
        }
        account.refused += 1;
        account.in_a_row += 1;
        account.is_locked |= account.in_a_row >= 10;
        Err(Attempt::Unauthenticated(key.to_owned()))
    }

    async fn call<T>(&self, secrets: &Secrets<T>, kind: CredentialKind) -> Result<String, String>
    where
        T: AsRef<str> + Send + Sync + 'static,
    {
        let log_in = |bundle: Arc<T>| {
            let upstream = self.clone();
            async move { upstream.log_in((*bundle).as_ref()) }
        };
        match kind {
            CredentialKind::Overlapping => secrets.try_each(log_in).await,
            kind => secrets
                .try_each_as(kind, log_in)
                .await
                .map_err(|error| match error {
                    TryError::Failed(key) => key,
                    TryError::LeftAlone { .. } => "left alone".to_owned(),
                    other => other.to_string(),
                }),
        }
    }

    /// What was sent since the last time.
    fn tried(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap().tried)
    }

    fn refused(&self) -> u32 {
        self.0.lock().unwrap().refused
    }

    fn is_locked(&self) -> bool {
        self.0.lock().unwrap().is_locked
    }
}

struct Case {
    name: &'static str,
    kind: CredentialKind,
    /// What the keyring has seen before the call.
    seen: fn(&Memory),
    /// Whether the call holds a snapshot from before that.
    is_pinned: bool,
    /// What happens in the store without its knowledge.
    unseen: fn(&Memory),
    valid: &'static [&'static str],
    tried: &'static [&'static str],
    answer: Result<&'static str, &'static str>,
    took: Duration,
}

fn nothing(_: &Memory) {}
fn rotate(store: &Memory) {
    store.rotate(doc("two"));
}
fn stage(store: &Memory) {
    store.stage_pending(doc("two"));
}

#[tokio::test(start_paused = true)]
async fn what_is_tried_depends_on_the_kind() {
    let case = |name, kind| Case {
        name,
        kind,
        seen: nothing,
        is_pinned: false,
        unseen: nothing,
        valid: &[],
        tried: &["one"],
        answer: Err("one"),
        took: Duration::ZERO,
    };
    let cases = [
        Case {
            valid: &["one"],
            answer: Ok("one"),
            ..case("current works", OVERLAPPING)
        },
        Case {
            unseen: rotate,
            valid: &["two"],
            tried: &["one", "two"],
            answer: Ok("two"),
            ..case("the newest works", OVERLAPPING)
        },
        Case {
            seen: rotate,
            valid: &["one"],
            tried: &["two", "one"],
            answer: Ok("one"),
            ..case("previous works", OVERLAPPING)
        },
        Case {
            seen: rotate,
            is_pinned: true,
            valid: &["one"],
            answer: Ok("one"),
            ..case("what the request holds comes first", OVERLAPPING)
        },
        Case {
            seen: rotate,
            tried: &["two", "one"],
            answer: Err("two"),
            ..case("the newest's error, not previous's", OVERLAPPING)
        },
        Case {
            seen: rotate,
            is_pinned: true,
            tried: &["one", "two"],
            answer: Err("two"),
            ..case("previous is what was held: not twice", OVERLAPPING)
        },
        Case {
            seen: stage,
            valid: &["two"],
            ..case("pending is for single users", OVERLAPPING)
        },
        Case {
            valid: &["one"],
            answer: Ok("one"),
            ..case("current works", SINGLE)
        },
        Case {
            unseen: rotate,
            valid: &["two"],
            tried: &["one", "two"],
            answer: Ok("two"),
            ..case("the newest works", SINGLE)
        },
        Case {
            seen: rotate,
            is_pinned: true,
            valid: &["two"],
            tried: &["two"],
            answer: Ok("two"),
            ..case("what the request holds is dead", SINGLE)
        },
        Case {
            seen: rotate,
            valid: &["one"],
            tried: &["two"],
            answer: Err("two"),
            took: WAIT,
            ..case("never previous", SINGLE)
        },
        Case {
            seen: stage,
            valid: &["two"],
            tried: &["one", "two"],
            answer: Ok("two"),
            ..case("pending works", SINGLE)
        },
        Case {
            unseen: stage,
            valid: &["two"],
            tried: &["one", "two"],
            answer: Ok("two"),
            ..case("pending is found by the refresh", SINGLE)
        },
        Case {
            seen: stage,
            tried: &["one", "two"],
            answer: Err("two"),
            took: WAIT,
            ..case("pending is the newest", SINGLE)
        },
        Case {
            took: WAIT,
            ..case("nothing comes", SINGLE)
        },
        Case {
            took: 3 * SECOND,
            ..case("a wait of one's own", SINGLE.flip_wait(3 * SECOND))
        },
        Case {
            unseen: rotate,
            valid: &["two"],
            tried: &["one", "two"],
            answer: Ok("two"),
            ..case("no wait, but the refresh", SINGLE.flip_wait(Duration::ZERO))
        },
    ];
    for case in cases {
        let (keyring, store) = keyring().await;
        let pinned = keyring.current();
        (case.seen)(&store);
        keyring.refresh().await.unwrap();
        (case.unseen)(&store);
        let secrets = if case.is_pinned {
            pinned
        } else {
            keyring.current()
        };
        let upstream = Upstream::accepting(case.valid);
        let start = Instant::now();
        let answer = upstream.call(&secrets, case.kind).await;
        let name = format!("{} ({:?})", case.name, case.kind);
        let expected = case.answer.map(str::to_owned).map_err(str::to_owned);
        assert_eq!(answer, expected, "{name}");
        assert_eq!(upstream.tried(), case.tried, "{name}");
        assert_eq!(start.elapsed(), case.took, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_of_another_kind_ends_it() {
    let (keyring, store) = keyring().await;
    stage(&store);
    keyring.refresh().await.unwrap();
    let upstream = Upstream::default();
    upstream.0.lock().unwrap().broken = true;
    for kind in [OVERLAPPING, SINGLE] {
        let answer = upstream.call(&keyring.current(), kind).await;
        assert_eq!(answer, Err("one".to_owned()));
        assert_eq!(upstream.tried(), ["one"]);
    }
    let secrets = keyring.current();
    let broken_by_pending = secrets.try_each_as(SINGLE, |app: Arc<App>| async move {
        match app.key.as_str() {
            "one" => Err::<(), _>(Attempt::Unauthenticated("one")),
            _ => Err(Attempt::Other("broken pipe")),
        }
    });
    assert_eq!(
        broken_by_pending.await,
        Err(TryError::Failed("broken pipe"))
    );
}

#[tokio::test(start_paused = true)]
async fn the_flip_is_met_and_tried_once() {
    for (valid, answer) in [("two", Ok("two")), ("none", Err("two"))] {
        let (keyring, store) = keyring().await;
        let upstream = Upstream::accepting(&[valid]);
        let begin = Instant::now();
        let call = tokio::spawn({
            let (upstream, secrets) = (upstream.clone(), keyring.current());
            async move { upstream.call(&secrets, SINGLE).await }
        });
        tokio::time::sleep(5 * SECOND).await;
        rotate(&store);
        let expected = answer.map(str::to_owned).map_err(str::to_owned);
        assert_eq!(call.await.unwrap(), expected);
        assert!(begin.elapsed() <= 6 * SECOND, "{:?}", begin.elapsed());
        assert_eq!(upstream.tried(), ["one", "two"]);
    }
}

#[tokio::test(start_paused = true)]
async fn pending_is_tried_when_it_appears_during_the_wait() {
    let (keyring, store) = keyring().await;
    let upstream = Upstream::accepting(&["two"]);
    let call = tokio::spawn({
        let (upstream, secrets) = (upstream.clone(), keyring.current());
        async move { upstream.call(&secrets, SINGLE).await }
    });
    tokio::time::sleep(2 * SECOND).await;
    stage(&store);
    assert_eq!(call.await.unwrap(), Ok("two".to_owned()));
    assert_eq!(upstream.tried(), ["one", "two"]);
}

// --- what is trusted ---------------------------------------------------------------------------

#[tokio::test(start_paused = true)]
async fn what_was_revoked_is_not_sent_from_held_snapshots_either() {
    let (keyring, store) = keyring().await;
    let first = keyring.current();
    let pending = store.stage_pending(doc("two"));
    keyring.refresh().await.unwrap();
    let held = keyring.current();
    let upstream = Upstream::accepting(&["two"]);
    let kind = SINGLE.flip_wait(SECOND);

    keyring.revoke(&pending);
    for secrets in [&first, &held, &keyring.current()] {
        let answer = upstream.call(secrets, kind).await;
        assert_eq!(answer, Err("one".to_owned()));
        assert_eq!(upstream.tried(), ["one"]);
        tokio::time::sleep(WAIT).await;
    }
    keyring.restore(&pending);
    assert_eq!(upstream.call(&held, kind).await, Ok("two".to_owned()));
    assert_eq!(upstream.tried(), ["one", "two"]);

    // Current itself: where nothing may be sent, only the overlapping one is sent, for its error.
    keyring.revoke(first.version());
    assert_eq!(upstream.call(&held, kind).await, Ok("two".to_owned()));
    assert_eq!(upstream.tried(), ["two"]);
    keyring.revoke(&pending);
    let answer = upstream.call(&held, kind).await.unwrap_err();
    assert!(answer.ends_with("revoked or its window ended"), "{answer}");
    assert_eq!(upstream.tried(), [""; 0]);
    let answer = upstream.call(&held, OVERLAPPING).await;
    assert_eq!(answer, Err("one".to_owned()));
    assert_eq!(upstream.tried(), ["one"]);
}

// The newest was sent although it was revoked, where the one that the request holds was refused.
#[tokio::test(start_paused = true)]
async fn a_revoked_newest_is_not_sent_after_a_refusal() {
    let (keyring, store) = keyring().await;
    let pinned = keyring.current();
    let two = store.rotate(doc("two"));
    keyring.refresh().await.unwrap();
    keyring.revoke(&two);
    let upstream = Upstream::default();
    let answer = upstream.call(&pinned, OVERLAPPING).await;
    assert_eq!(answer, Err("one".to_owned()));
    assert_eq!(upstream.tried(), ["one"]);
    // A request that holds the revoked one gets on with previous.
    upstream.accept(&["one"]);
    let answer = upstream.call(&keyring.current(), OVERLAPPING).await;
    assert_eq!(answer, Ok("one".to_owned()));
    assert_eq!(upstream.tried(), ["one"]);
}

#[tokio::test(start_paused = true)]
async fn a_revoked_previous_is_not_sent() {
    let (keyring, store) = keyring().await;
    let pinned = keyring.current();
    rotate(&store);
    keyring.refresh().await.unwrap();
    let held = keyring.current();
    keyring.revoke_previous();
    let upstream = Upstream::accepting(&["one"]);
    for secrets in [pinned, held] {
        let answer = upstream.call(&secrets, OVERLAPPING).await;
        assert_eq!(answer, Err("two".to_owned()));
        assert_eq!(upstream.tried(), ["two"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_pending_that_the_books_refuse_is_not_sent() {
    let upstream = Upstream::default();
    let kind = SINGLE.flip_wait(Duration::ZERO);
    let at = SystemTime::now();
    let version = |id: &str, key: &str| Version::new(id, doc(key));

    let (keyring, store) = keyring().await;
    let current = version("2", "two").with_created_at(at);
    let older = version("3", "three").with_created_at(at - SECOND);
    store.set(Versions::new(current).with_pending(older));
    keyring.refresh().await.unwrap();
    upstream.call(&keyring.current(), kind).await.unwrap_err();
    assert_eq!(upstream.tried(), ["two"], "older than current");

    store.set(Versions::new(version("2", "two")).with_pending(version("1", "one")));
    keyring.refresh().await.unwrap();
    upstream.call(&keyring.current(), kind).await.unwrap_err();
    assert_eq!(upstream.tried(), ["two"], "in use before");

    store.set(Versions::new(version("2", "two")).with_pending(Version::new("4", "not JSON")));
    keyring.refresh().await.unwrap();
    upstream.call(&keyring.current(), kind).await.unwrap_err();
    assert_eq!(upstream.tried(), ["two"], "unreadable");

    store.set(Versions::new(version("2", "two")).with_pending(version("5", "five")));
    keyring.refresh().await.unwrap();
    let held = keyring.current();
    store.drop_pending();
    keyring.refresh().await.unwrap();
    // It was refused three times by now.
    tokio::time::sleep(WAIT).await;
    upstream.call(&held, kind).await.unwrap_err();
    assert_eq!(upstream.tried(), ["two"], "no longer in the store");
}

#[tokio::test(start_paused = true)]
async fn a_pending_is_sent_for_max_pending_only() {
    let store = Memory::new(doc("one"));
    let builder = builder(store.clone()).max_pending(60 * SECOND);
    let keyring = builder.build().await.unwrap();
    stage(&store);
    keyring.refresh().await.unwrap();
    let held = keyring.current();
    let upstream = Upstream::accepting(&["two"]);
    tokio::time::sleep(59 * SECOND).await;
    assert_eq!(upstream.call(&held, SINGLE).await, Ok("two".to_owned()));
    tokio::time::sleep(SECOND).await;
    upstream.tried();
    let kind = SINGLE.flip_wait(Duration::ZERO);
    for secrets in [held, keyring.current()] {
        let answer = upstream.call(&secrets, kind).await;
        assert_eq!(answer, Err("one".to_owned()));
        assert_eq!(upstream.tried(), ["one"]);
    }
    // The limit is that of the stage: as current, it is trusted without an end.
    store.promote_pending();
    keyring.refresh().await.unwrap();
    let current = keyring.current();
    assert_eq!(upstream.call(&current, SINGLE).await, Ok("two".to_owned()));
}

// Pending, then current unseen, then previous: its window is not what was left of `max_pending`.
#[tokio::test(start_paused = true)]
async fn a_version_that_was_pending_here_gets_the_window_of_a_previous() {
    let (keyring, store) = keyring().await;
    stage(&store);
    keyring.refresh().await.unwrap();
    store.promote_pending();
    store.rotate(doc("three"));
    keyring.refresh().await.unwrap();
    assert_eq!(keyring.current().previous().unwrap().key, "two");
    let left = keyring.status().previous.unwrap().expires_in.unwrap();
    assert_eq!(left, 910 * SECOND);
}

// --- what it costs -----------------------------------------------------------------------------

#[tokio::test(start_paused = true)]
async fn callers_share_one_refresh() {
    for kind in [OVERLAPPING, SINGLE] {
        let (keyring, store) = keyring().await;
        let callers: Vec<_> = (0..50).map(|_| keyring.current()).collect();
        rotate(&store);
        let before = store.fetches();
        let mut calls = JoinSet::new();
        for secrets in callers {
            calls.spawn(async move {
                let upstream = Upstream::accepting(&["two"]);
                upstream.call(&secrets, kind).await
            });
        }
        assert_eq!(calls.join_all().await, vec![Ok("two".to_owned()); 50]);
        assert_eq!(store.fetches() - before, 1, "shared");
    }
}

#[tokio::test(start_paused = true)]
async fn refusals_ask_for_one_refresh_in_ten_seconds() {
    let (keyring, store) = keyring().await;
    let upstream = Upstream::default();
    let before = store.fetches();
    for _ in 0..100 {
        let kind = OVERLAPPING;
        upstream.call(&keyring.current(), kind).await.unwrap_err();
        tokio::time::sleep(Duration::from_millis(99)).await;
    }
    assert_eq!(store.fetches() - before, 1);
    tokio::time::sleep(SECOND).await;
    let kind = OVERLAPPING;
    upstream.call(&keyring.current(), kind).await.unwrap_err();
    assert_eq!(store.fetches() - before, 2);
}

/// Calls that wait, by single users whose password nobody accepts.
fn waiters(keyring: &Keyring<App>, n: usize, kind: CredentialKind) -> JoinSet<Result<(), ()>> {
    let mut calls = JoinSet::new();
    for _ in 0..n {
        let secrets = keyring.current();
        calls.spawn(async move {
            let refuse = |_| async { Err(Attempt::Unauthenticated(())) };
            secrets.try_each_as(kind, refuse).await.map_err(drop)
        });
    }
    calls
}

#[tokio::test(start_paused = true)]
async fn two_hundred_waiters_cost_one_call_a_second() {
    let (keyring, store) = keyring().await;
    let before = store.fetches();
    let calls = waiters(&keyring, 200, SINGLE);
    assert_eq!(calls.join_all().await, [Err(()); 200]);
    let polls = store.fetches() - before;
    assert!((10..=13).contains(&polls), "{polls} calls in 10 s");

    // Nobody waits any more: the usual cadence, with a first poll after 75 s at the soonest.
    let before = store.fetches();
    tokio::time::sleep(50 * SECOND).await;
    assert_eq!(store.fetches(), before);
}

#[tokio::test(start_paused = true)]
async fn one_refused_version_is_worth_a_minute_of_polls() {
    let (keyring, store) = keyring().await;
    let before = store.fetches();
    let kind = SINGLE.flip_wait(250 * SECOND);
    waiters(&keyring, 20, kind).join_all().await;
    let polls = store.fetches() - before;
    assert!((60..=62).contains(&polls), "{polls} calls in 250 s");
    waiters(&keyring, 20, SINGLE).join_all().await;
    assert!(store.fetches() - before <= polls + 2, "the same version");

    let another = store.rotate(doc("two"));
    keyring.refresh().await.unwrap();
    assert_eq!(*keyring.current().version(), another);
    let before = store.fetches();
    waiters(&keyring, 20, SINGLE).join_all().await;
    assert!(store.fetches() - before >= 10, "another version");

    // A new incident with the same version, long after.
    tokio::time::sleep(601 * SECOND).await;
    let before = store.fetches();
    waiters(&keyring, 20, kind).join_all().await;
    assert!(store.fetches() - before >= 60);
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_is_given_up_asks_for_nothing_more() {
    let (keyring, store) = keyring().await;
    let mut calls = waiters(&keyring, 20, SINGLE);
    tokio::time::sleep(3 * SECOND).await;
    calls.abort_all();
    while calls.join_next().await.is_some() {}
    let before = store.fetches();
    tokio::time::sleep(50 * SECOND).await;
    assert_eq!(store.fetches(), before);
}

#[tokio::test(start_paused = true)]
async fn waiting_does_not_outdo_the_back_off() {
    let (keyring, store) = keyring().await;
    store.fail_next(usize::MAX, down());
    let before = store.fetches();
    let kind = SINGLE.flip_wait(60 * SECOND);
    waiters(&keyring, 200, kind).join_all().await;
    let polls = store.fetches() - before;
    assert!(polls <= 8, "{polls} calls in a minute of outage");
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_gives_up_ends_no_refresh_for_the_others() {
    for kind in [OVERLAPPING, SINGLE] {
        let (keyring, store) = keyring().await;
        rotate(&store);
        store.pause();
        let call = || {
            let secrets = keyring.current();
            tokio::spawn(async move { Upstream::accepting(&["two"]).call(&secrets, kind).await })
        };
        let first = call();
        store.wait_for_fetches(2).await;
        let second = call();
        tokio::task::yield_now().await;
        first.abort();
        first.await.unwrap_err();
        store.resume();
        assert_eq!(second.await.unwrap(), Ok("two".to_owned()));
    }
}

// --- ends --------------------------------------------------------------------------------------

#[tokio::test(start_paused = true)]
async fn without_a_keyring_the_answer_so_far_comes_at_once() {
    for is_dropped in [true, false] {
        for is_paused in [true, false] {
            let (keyring, store) = keyring().await;
            if is_paused {
                store.pause();
            }
            let calls = waiters(&keyring, 20, SINGLE);
            let late = keyring.current();
            tokio::time::sleep(2 * SECOND).await;
            let end = Instant::now();
            if is_dropped {
                drop(keyring);
            } else {
                keyring.shutdown().await;
            }
            assert_eq!(calls.join_all().await, [Err(()); 20]);
            let upstream = Upstream::default();
            let answer = upstream.call(&late, OVERLAPPING).await;
            assert_eq!(answer, Err("one".to_owned()));
            assert_eq!(upstream.tried(), ["one"]);
            let answer = upstream.call(&late, SINGLE).await;
            if is_dropped {
                assert_eq!(answer, Err("one".to_owned()));
                assert_eq!(upstream.tried(), ["one"]);
            } else {
                // What was refused is still known.
                assert_eq!(answer, Err("left alone".to_owned()));
                assert_eq!(upstream.tried(), [""; 0]);
            }
            assert_eq!(end.elapsed(), Duration::ZERO);
        }
    }
}

// --- a rotation as AWS does it -----------------------------------------------------------------

/// Put as pending, ALTER ROLE, five seconds, flip.
async fn rotate_as_aws_does(store: &Memory, upstream: &Upstream, password: &str) {
    store.stage_pending(doc(password));
    tokio::time::sleep(SECOND).await;
    upstream.accept(&[password]);
    tokio::time::sleep(5 * SECOND).await;
    store.promote_pending();
    tokio::time::sleep(60 * SECOND).await;
}

/// Ten rotations under five workers; how many logins were refused.
async fn ten_rotations<T>(keyring: Keyring<T>, store: Memory) -> u32
where
    T: AsRef<str> + Send + Sync + 'static,
{
    let upstream = Upstream::accepting(&["one"]);
    let mut workers = JoinSet::new();
    for _ in 0..5 {
        let (keyring, upstream) = (keyring.clone(), upstream.clone());
        workers.spawn(async move {
            loop {
                let answer = upstream.call(&keyring.current(), SINGLE).await;
                assert!(answer.is_ok(), "{answer:?}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
    }
    for password in 0..10 {
        rotate_as_aws_does(&store, &upstream, &password.to_string()).await;
    }
    if let Some(ended) = workers.try_join_next() {
        ended.unwrap(); // With the worker's panic.
    }
    assert!(!upstream.is_locked());
    upstream.refused()
}

#[tokio::test(start_paused = true)]
async fn the_order_of_aws_fails_no_call_and_locks_no_account() {
    let (keyring, store) = keyring().await;
    let refused = ten_rotations(keyring, store).await;
    assert!((30..=80).contains(&refused), "{refused} refused logins");
}

#[tokio::test(start_paused = true)]
async fn nor_does_it_with_a_prepare_step() {
    let store = Memory::new(doc("one"));
    let prepare =
        |app: Arc<App>, _: Parts| async move { Ok::<_, SourceError>(Pool(app.key.clone())) };
    let keyring = builder(store.clone()).prepare(prepare);
    let keyring = keyring.build().await.unwrap();
    let refused = ten_rotations(keyring, store).await;
    assert!((30..=80).contains(&refused), "{refused} refused logins");
}

#[tokio::test(start_paused = true)]
async fn a_prepared_pending_does_not_exist() {
    let store = Memory::new(doc("one"));
    let prepare =
        |app: Arc<App>, _: Parts| async move { Ok::<_, SourceError>(Pool(app.key.clone())) };
    let keyring = builder(store.clone()).prepare(prepare);
    let keyring = keyring.build().await.unwrap();
    stage(&store);
    keyring.refresh().await.unwrap();
    let upstream = Upstream::accepting(&["two"]);
    let start = Instant::now();
    let answer = upstream.call(&keyring.current(), SINGLE).await;
    assert_eq!(answer, Err("one".to_owned()));
    assert_eq!(upstream.tried(), ["one"]);
    assert_eq!(start.elapsed(), WAIT);
}

/// Calls that arrive one after another while nothing works: after three refusals the others wait
/// without knocking.
#[tokio::test(start_paused = true)]
async fn a_dead_password_is_left_alone_until_the_flip() {
    let (keyring, store) = keyring().await;
    let upstream = Upstream::accepting(&["two"]);
    let mut calls = JoinSet::new();
    for _ in 0..100 {
        let (secrets, upstream) = (keyring.current(), upstream.clone());
        calls.spawn(async move { upstream.call(&secrets, SINGLE).await });
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    rotate(&store);
    assert_eq!(calls.join_all().await, vec![Ok("two".to_owned()); 100]);
    assert_eq!(upstream.refused(), 3);
}

#[tokio::test(start_paused = true)]
async fn what_is_left_alone_is_tried_by_one_call_after_each_pause_and_by_none_at_the_end() {
    let (keyring, _store) = keyring().await;
    let upstream = Upstream::default();
    let mut calls = JoinSet::new();
    for _ in 0..50 {
        let (secrets, upstream) = (keyring.current(), upstream.clone());
        let kind = SINGLE.flip_wait(69 * SECOND);
        calls.spawn(async move { upstream.call(&secrets, kind).await });
    }
    let answers = calls.join_all().await;
    // After 10 and 30 s.
    assert_eq!(upstream.refused(), 3 + 2);
    let of = |what: &str| {
        let is_it = |answer: &&Result<String, String>| **answer == Err(what.to_owned());
        answers.iter().filter(is_it).count()
    };
    assert_eq!((of("one"), of("left alone")), (5, 45));
}

#[tokio::test(start_paused = true)]
async fn the_error_says_what_was_not_sent() {
    let (keyring, _store) = keyring().await;
    let calls = || waiters(&keyring, 3, SINGLE.flip_wait(Duration::ZERO));
    calls().join_all().await;
    let refuse = |_| async { Err::<(), _>(Attempt::Unauthenticated(std::fmt::Error)) };
    let kind = SINGLE.flip_wait(Duration::ZERO);
    let secrets = keyring.current();
    let error = secrets.try_each_as(kind, refuse).await.unwrap_err();
    let version = secrets.version();
    assert!(matches!(&error, TryError::LeftAlone { version: it, .. } if it == version));
    let told = error.to_string();
    assert!(
        told.starts_with(&format!("version {version} was not sent")),
        "{told}"
    );
    assert_eq!(error.into_inner(), None);

    tokio::time::sleep(WAIT).await;
    let error = secrets.try_each_as(kind, refuse).await.unwrap_err();
    assert_eq!(error.to_string(), std::fmt::Error.to_string());
    assert_eq!(error.into_inner(), Some(std::fmt::Error));
}

/// The bound that the docs of `CredentialKind::SingleUser` give, and that no wait changes.
#[tokio::test(start_paused = true)]
async fn ten_minutes_with_a_dead_password_cost_nine_logins() {
    for wait in [Duration::ZERO, WAIT, 60 * SECOND] {
        let (keyring, _store) = keyring().await;
        let upstream = Upstream::default();
        let mut calls = JoinSet::new();
        for _ in 0..600 * 10 {
            let (secrets, upstream) = (keyring.current(), upstream.clone());
            calls.spawn(async move { upstream.call(&secrets, SINGLE.flip_wait(wait)).await });
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert!(!upstream.is_locked());
        assert_eq!(upstream.refused(), 9, "with a wait of {wait:?}");
        let answers = calls.join_all().await;
        assert!(answers.iter().all(Result::is_err));
    }
}

/// An upstream whose answers take a second.
fn slow_calls(
    keyring: &Keyring<App>,
    upstream: &Upstream,
    n: usize,
) -> JoinSet<Result<String, TryError<String>>> {
    let mut calls = JoinSet::new();
    for _ in 0..n {
        let (secrets, upstream) = (keyring.current(), upstream.clone());
        calls.spawn(async move {
            let log_in = |app: Arc<App>| {
                let upstream = upstream.clone();
                async move {
                    tokio::time::sleep(SECOND).await;
                    upstream.log_in(&app.key)
                }
            };
            secrets.try_each_as(SINGLE, log_in).await
        });
    }
    calls
}

#[tokio::test(start_paused = true)]
async fn tries_under_way_count_once_there_was_a_refusal() {
    let (keyring, _store) = keyring().await;
    let upstream = Upstream::default();
    let first = slow_calls(&keyring, &upstream, 1);
    tokio::time::sleep(2 * SECOND).await;
    assert_eq!(upstream.refused(), 1);
    let calls = slow_calls(&keyring, &upstream, 50);
    tokio::time::sleep(9 * SECOND).await;
    assert_eq!(upstream.refused(), 3);
    first.join_all().await;
    calls.join_all().await;
    let refused = upstream.refused();
    assert!(refused <= 4, "{refused}: one more after 10 s");
}

#[tokio::test(start_paused = true)]
async fn a_try_that_is_given_up_leaves_its_place_to_another() {
    let (keyring, _store) = keyring().await;
    let upstream = Upstream::default();
    let kind = SINGLE.flip_wait(Duration::ZERO);
    upstream.call(&keyring.current(), kind).await.unwrap_err();
    upstream.accept(&["one"]);
    let mut stuck = slow_calls(&keyring, &upstream, 2);
    tokio::task::yield_now().await;
    let start = Instant::now();
    let calls = slow_calls(&keyring, &upstream, 10);
    tokio::time::sleep(SECOND / 2).await;
    stuck.abort_all();
    while stuck.join_next().await.is_some() {}
    let answers = calls.join_all().await;
    assert!(answers.iter().all(Result::is_ok));
    // Half a second, two that find that it works, then all others at once.
    assert_eq!(start.elapsed(), SECOND / 2 + 2 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn no_crowd_knocks_with_a_new_password_that_nobody_has_tried() {
    for (step, valid) in [
        (stage as fn(&Memory), ""),
        (rotate, ""),
        (stage, "two"),
        (rotate, "two"),
    ] {
        let (keyring, store) = keyring().await;
        let upstream = Upstream::default();
        let kind = SINGLE.flip_wait(Duration::ZERO);
        for _ in 0..3 {
            upstream.call(&keyring.current(), kind).await.unwrap_err();
        }
        let calls = slow_calls(&keyring, &upstream, 50);
        tokio::time::sleep(2 * SECOND).await;
        upstream.accept(&[valid]);
        upstream.tried();
        step(&store);
        tokio::time::sleep(5 * SECOND).await;
        let tried = upstream.tried().len();
        assert_eq!(tried, if valid.is_empty() { 3 } else { 50 });
        let served = calls
            .join_all()
            .await
            .iter()
            .filter(|it| it.is_ok())
            .count();
        assert_eq!(served, if valid.is_empty() { 0 } else { 50 });
    }
}

#[tokio::test(start_paused = true)]
async fn the_error_is_that_of_pending_also_where_it_was_tried_first() {
    let (keyring, store) = keyring().await;
    let upstream = Upstream::default();
    let kind = SINGLE.flip_wait(Duration::ZERO);
    for _ in 0..3 {
        upstream.call(&keyring.current(), kind).await.unwrap_err();
    }
    stage(&store);
    keyring.refresh().await.unwrap();
    upstream.tried();
    let kind = SINGLE.flip_wait(15 * SECOND);
    let answer = upstream.call(&keyring.current(), kind).await;
    assert_eq!(upstream.tried(), ["two", "one"]);
    assert_eq!(answer, Err("two".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_password_left_alone_by_mistake_is_found_to_work() {
    let (keyring, _store) = keyring().await;
    let upstream = Upstream::default();
    let mut calls = JoinSet::new();
    for _ in 0..50 {
        let (secrets, upstream) = (keyring.current(), upstream.clone());
        calls.spawn(async move { upstream.call(&secrets, SINGLE.flip_wait(15 * SECOND)).await });
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // The upstream had a bad minute.
    upstream.accept(&["one"]);
    let answers = calls.join_all().await;
    let failed = answers.iter().filter(|answer| answer.is_err()).count();
    assert_eq!(failed, 3, "those who were refused themselves: {answers:?}");
    assert_eq!(upstream.refused(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_between_successes_leaves_nothing_alone() {
    // A pool at its limit of sessions: most calls find one that lives, a few need a login.
    let (keyring, _store) = keyring().await;
    let kind = SINGLE.flip_wait(Duration::ZERO);
    for _ in 0..20 {
        let refused = Upstream::default();
        refused.call(&keyring.current(), kind).await.unwrap_err();
        assert_eq!(refused.tried(), ["one"]);
        tokio::time::sleep(Duration::from_millis(10)).await;
        let served = Upstream::accepting(&["one"]);
        served.call(&keyring.current(), kind).await.unwrap();
    }
    // A call that began before the refusals says nothing.
    let served = Upstream::accepting(&["one"]);
    let (open, gate) = tokio::sync::oneshot::channel::<()>();
    let long = tokio::spawn({
        let secrets = keyring.current();
        async move {
            let mut gate = Some(gate);
            let wait = |_| {
                let gate = gate.take().unwrap();
                async move { gate.await.map_err(|_| Attempt::Other(())) }
            };
            secrets.try_each_as(SINGLE, wait).await
        }
    });
    tokio::time::sleep(SECOND).await;
    for _ in 0..3 {
        let refused = Upstream::default();
        refused.call(&keyring.current(), kind).await.unwrap_err();
    }
    open.send(()).unwrap();
    long.await.unwrap().unwrap();
    let start = Instant::now();
    served
        .call(&keyring.current(), SINGLE.flip_wait(20 * SECOND))
        .await
        .unwrap();
    assert_eq!(start.elapsed(), WAIT, "left alone for 10 s");
}
