//! What is still in use of a version that was replaced, and when it is safe to revoke it.

#![allow(clippy::unwrap_used)]

use std::{
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use futures::FutureExt;
use serde::Deserialize;
use tokio::time::Instant;
use tower_secrets::{
    Attempt, JwtKey, Keyring, Secrets, Status,
    clock::TokioClock,
    keyring::{InUse, NotSafe},
    source::{Combined, Memory, SourceError, SourceErrorKind, VersionId},
};

#[derive(Deserialize)]
struct App {
    jwt: JwtKey,
}

fn doc(key: u32) -> String {
    format!(r#"{{"jwt":"key number {key:03} of thirty-two bytes"}}"#)
}

const OVERLAP: Duration = Duration::from_secs(1000);

async fn keyring(store: &Memory) -> Keyring<App> {
    Keyring::<App>::builder(store.clone())
        .overlap(OVERLAP)
        .jwt_key(|app| &app.jwt)
        .clock(Arc::new(TokioClock::new()))
        .build()
        .await
        .unwrap()
}

/// Calls an upstream that accepts everything.
async fn call(secrets: Secrets<App>) {
    let works = |_| std::future::ready(Ok::<_, Attempt<Infallible>>(()));
    secrets.try_each(works).await.unwrap();
}

async fn rotate(store: &Memory, keyring: &Keyring<App>, key: u32) -> VersionId {
    let old = keyring.current().version().clone();
    store.rotate(doc(key));
    assert!(keyring.refresh().await.unwrap().is_swapped());
    old
}

fn uses(status: &Status, version: &VersionId) -> Vec<InUse> {
    let replaced = status.replaced.iter().find(|it| it.id == *version);
    replaced.unwrap().in_use.clone()
}

#[tokio::test(start_paused = true)]
async fn a_version_that_nobody_knows_is_an_error_that_names_it() {
    let keyring = keyring(&Memory::new(doc(1))).await;
    let error = keyring
        .drained(&VersionId::new("nobody's"))
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "no version nobody's is known to this process"
    );
}

#[tokio::test(start_paused = true)]
async fn it_has_drained_when_its_window_is_over_and_its_last_holder_is_gone() {
    let store = Memory::new(doc(1));
    let keyring = keyring(&store).await;
    let held = [keyring.current(), keyring.current()];
    let first = held[0].version().clone();
    // Current: nothing but a rotation changes that.
    assert!(keyring.drained(&first).now_or_never().is_none());
    rotate(&store, &keyring, 2).await;
    let status = keyring.status();
    assert_eq!(
        uses(&status, &first),
        [
            InUse::Trusted { ends_in: OVERLAP },
            InUse::Held { holders: 2 },
        ]
    );
    let reasons = status.safe_to_revoke().unwrap_err();
    let texts: Vec<_> = reasons.iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            format!("version {first}: it is trusted for 1000 s more"),
            format!("version {first}: it is held 2 times by requests that began with it"),
        ]
    );

    let begin = Instant::now();
    let drained = tokio::spawn({
        let (keyring, first) = (keyring.clone(), first.clone());
        async move { keyring.drained(&first).await }
    });
    tokio::time::sleep(OVERLAP + Duration::from_secs(1)).await;
    assert!(!drained.is_finished());
    assert_eq!(
        uses(&keyring.status(), &first),
        [InUse::Held { holders: 2 }]
    );
    let [one, other] = held;
    drop(one);
    tokio::task::yield_now().await;
    assert!(!drained.is_finished());
    drop(other);
    drained.await.unwrap().unwrap();
    assert_eq!(begin.elapsed(), OVERLAP + Duration::from_secs(1));
    assert_eq!(uses(&keyring.status(), &first), []);
    assert_eq!(keyring.status().safe_to_revoke(), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn without_holders_it_drains_at_the_end_of_the_window() {
    let store = Memory::new(doc(1));
    let keyring = keyring(&store).await;
    let first = rotate(&store, &keyring, 2).await;
    let begin = Instant::now();
    keyring.drained(&first).await.unwrap();
    let after = begin.elapsed();
    assert!(
        after >= OVERLAP && after <= OVERLAP + Duration::from_secs(1),
        "{after:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_revoked_version_is_needed_by_its_holders_alone() {
    let store = Memory::new(doc(1));
    let keyring = keyring(&store).await;
    let held = keyring.current();
    let first = rotate(&store, &keyring, 2).await;
    keyring.revoke_previous();
    assert_eq!(
        uses(&keyring.status(), &first),
        [InUse::Held { holders: 1 }]
    );
    assert!(keyring.drained(&first).now_or_never().is_none());
    drop(held);
    let begin = Instant::now();
    keyring.drained(&first).await.unwrap();
    assert_eq!(begin.elapsed(), Duration::ZERO);
    // The books keep its bundle, for the case that it is restored; nobody can get at it.
    assert_eq!(keyring.status().safe_to_revoke(), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn an_older_version_has_drained_while_the_window_of_the_next_is_open() {
    let store = Memory::new(doc(1));
    let keyring = keyring(&store).await;
    let first = rotate(&store, &keyring, 2).await;
    let second = rotate(&store, &keyring, 3).await;
    keyring.drained(&first).await.unwrap();
    assert!(keyring.drained(&second).now_or_never().is_none());
    let reasons = keyring.status().safe_to_revoke().unwrap_err();
    let in_use = InUse::Trusted { ends_in: OVERLAP };
    assert_eq!(
        reasons,
        [NotSafe::InUse {
            version: second,
            in_use
        }]
    );
}

#[tokio::test(start_paused = true)]
async fn a_bundle_kept_beyond_its_request_and_a_late_call_upstream_are_seen() {
    let store = Memory::new(doc(1));
    let keyring = keyring(&store).await;
    let kept = Arc::new(Mutex::new(None));
    let secrets = keyring.current();
    let first = rotate(&store, &keyring, 2).await;
    let call = |app: Arc<App>| {
        *kept.lock().unwrap() = Some(app);
        std::future::ready(Ok::<_, Attempt<Infallible>>(()))
    };
    tokio::time::sleep(OVERLAP - Duration::from_secs(60)).await;
    secrets.try_each(call).await.unwrap();
    drop(secrets);
    tokio::time::sleep(Duration::from_secs(61)).await;
    let ago = Duration::from_secs(61);
    assert_eq!(
        uses(&keyring.status(), &first),
        [InUse::PreparedResource, InUse::TriedUpstream { ago }]
    );
    let texts = uses(&keyring.status(), &first);
    let texts: Vec<_> = texts.iter().map(InUse::to_string).collect();
    assert_eq!(
        texts,
        [
            "a resource prepared from it is not closed",
            "an upstream was called with it 61 s ago",
        ]
    );
    // No request needs it: that much is true.
    keyring.drained(&first).await.unwrap();
    kept.lock().unwrap().take();
    assert_eq!(
        uses(&keyring.status(), &first),
        [InUse::TriedUpstream { ago }]
    );
    tokio::time::advance(OVERLAP - ago).await;
    assert_eq!(keyring.status().safe_to_revoke(), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_process_that_cannot_reach_the_store_says_no() {
    let store = Memory::new(doc(1));
    let keyring = keyring(&store).await;
    assert_eq!(keyring.status().safe_to_revoke(), Ok(()));
    store.fail_next(1, SourceError::new(SourceErrorKind::Unavailable, "cut off"));
    keyring.refresh().await.unwrap_err();
    let reasons = keyring.status().safe_to_revoke().unwrap_err();
    assert!(
        matches!(reasons[..], [NotSafe::Stale { .. }]),
        "{reasons:?}"
    );
    assert!(
        reasons[0].to_string().contains("the last refresh failed"),
        "{}",
        reasons[0]
    );
    keyring.refresh().await.unwrap();
    assert_eq!(keyring.status().safe_to_revoke(), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn what_came_back_is_not_replaced_and_the_memory_is_bounded() {
    let store = Memory::new(doc(1));
    let keyring = keyring(&store).await;
    let held = keyring.current();
    for key in 2..100 {
        rotate(&store, &keyring, key).await;
    }
    let status = keyring.status();
    let (unused, used): (Vec<_>, Vec<_>) =
        status.replaced.iter().partition(|it| it.in_use.is_empty());
    // The last one is in its window, the first one is held.
    assert_eq!((unused.len(), used.len()), (32, 2));
    let newest = &status.replaced[0];
    let not_before = newest.replaced_at.unwrap() + OVERLAP;
    assert_eq!(newest.revoke_upstream_not_before, Some(not_before));
    assert!(status.replaced.iter().all(|it| it.id != status.current.id));
    // What is held is not forgotten, however long ago it was, nor is it safe to revoke.
    tokio::time::advance(2 * OVERLAP).await;
    let reasons = keyring.status().safe_to_revoke().unwrap_err();
    let in_use = NotSafe::InUse {
        version: held.version().clone(),
        in_use: InUse::Held { holders: 1 },
    };
    assert!(reasons.contains(&in_use), "{reasons:?}");
    for key in 100..1200 {
        rotate(&store, &keyring, key).await;
    }
    let first = held.version().clone();
    assert!(keyring.drained(&first).now_or_never().is_none());
    drop(held);
    rotate(&store, &keyring, 1200).await;
    keyring.drained(&first).await.unwrap_err();
    let mut many = Vec::new();
    for key in 1201..1251 {
        many.push(keyring.current());
        rotate(&store, &keyring, key).await;
    }
    assert!(keyring.status().replaced.len() > 50);
    drop(many);
    rotate(&store, &keyring, 1251).await;
    assert_eq!(keyring.status().replaced.len(), 33);
}

#[derive(Deserialize)]
struct Bound {
    session: tower_secrets::SessionKey,
}

fn bound(name: &str, count: u32) -> String {
    format!(r#"{{"session":"session key {name} of thirty-two bytes","count":{count}}}"#)
}

async fn bound_keyring(store: &Memory) -> Keyring<Bound> {
    Keyring::<Bound>::builder(store.clone())
        .overlap(OVERLAP)
        .session_key(|app| &app.session)
        .clock(Arc::new(TokioClock::new()))
        .build()
        .await
        .unwrap()
}

/// It opens what it has bound, so it is not to be taken from the store; but no request waits for it.
#[tokio::test(start_paused = true)]
async fn a_session_key_inside_its_window_is_in_use_and_drained_all_the_same() {
    let store = Memory::new(bound("a", 1));
    let keyring = bound_keyring(&store).await;
    let rotate = async |name: &str, count| {
        let old = keyring.current().version().clone();
        store.rotate(bound(name, count));
        keyring.refresh().await.unwrap();
        keyring.drained(&old).await.unwrap();
        // The bundle is let go of by a timer.
        tokio::time::sleep(Duration::from_secs(1)).await;
        old
    };
    let texts = |version: &VersionId| {
        let status = keyring.status();
        let replaced = status.replaced.iter().find(|it| it.id == *version);
        let uses = replaced.unwrap().in_use.iter().map(InUse::to_string);
        uses.collect::<Vec<_>>()
    };
    // The next version has it too.
    let first = rotate("a", 2).await;
    assert_eq!(texts(&first), [""; 0]);
    assert_eq!(keyring.status().safe_to_revoke(), Ok(()));

    let second = rotate("b", 3).await;
    for version in [&first, &second] {
        let texts = texts(version);
        assert_eq!(texts.len(), 1, "{texts:?}");
        assert!(
            texts[0].starts_with("its session key opens for "),
            "{texts:?}"
        );
    }
    assert_eq!(keyring.status().safe_to_revoke().unwrap_err().len(), 2);
    keyring.revoke(&second);
    assert_eq!(keyring.status().safe_to_revoke(), Ok(()));
}

/// It was replaced before this process began, or between two of its polls.
#[tokio::test(start_paused = true)]
async fn what_was_never_current_here_is_in_use_all_the_same() {
    let store = Memory::new(bound("a", 1));
    store.rotate(bound("b", 2));
    let keyring = bound_keyring(&store).await;
    let opens = |version: &str| {
        let uses = uses(&keyring.status(), &version.into());
        matches!(uses[..], [InUse::SessionKey { .. }])
    };
    tokio::time::sleep(OVERLAP + Duration::from_secs(1)).await;
    assert!(opens("1"));
    store.rotate(bound("c", 3));
    store.rotate(bound("d", 4));
    keyring.refresh().await.unwrap();
    tokio::time::sleep(OVERLAP + Duration::from_secs(1)).await;
    assert!(opens("3"));
    assert_eq!(keyring.status().safe_to_revoke().unwrap_err().len(), 3);
    tokio::time::sleep(Duration::from_secs(86_400)).await;
    assert_eq!(keyring.status().safe_to_revoke(), Ok(()));
}

/// One was current, the other was missed, and both have the key.
#[tokio::test(start_paused = true)]
async fn each_version_with_a_session_key_inside_its_window_is_in_use() {
    let store = Memory::new(bound("a", 1));
    let keyring = bound_keyring(&store).await;
    store.rotate(bound("a", 2));
    store.rotate(bound("b", 3));
    keyring.refresh().await.unwrap();
    tokio::time::sleep(OVERLAP + Duration::from_secs(1)).await;
    for version in ["1", "2"] {
        let uses = uses(&keyring.status(), &version.into());
        assert!(matches!(uses[..], [InUse::SessionKey { .. }]), "{uses:?}");
    }
}

#[derive(Deserialize)]
struct Parts {
    jwt: App,
    sess: Bound,
    #[expect(dead_code, reason = "it has to be read")]
    other: u32,
}

/// The window of a part's own previous key goes by a mixture, which has the session key of current.
#[tokio::test(start_paused = true)]
async fn a_session_key_of_a_part_is_in_use_and_revoked_by_the_version_that_had_it() {
    let [jwt, sess, other] = [doc(1), bound("a", 1), "1".to_owned()].map(Memory::new);
    jwt.rotate(doc(2));
    sess.rotate(bound("b", 2));
    let parts = [("jwt", &jwt), ("sess", &sess), ("other", &other)];
    let parts = parts
        .into_iter()
        .fold(Combined::new(), |all, (name, part)| {
            all.with(name, part.clone())
        });
    let keyring = Keyring::<Parts>::builder(parts)
        .overlap(OVERLAP)
        .jwt_key(|parts| &parts.jwt.jwt)
        .session_key(|parts| &parts.sess.session)
        .clock(Arc::new(TokioClock::new()))
        .build()
        .await
        .unwrap();
    let first: VersionId = "jwt=1,other=1,sess=1".into();
    tokio::time::sleep(OVERLAP + Duration::from_secs(1)).await;
    other.rotate("2");
    keyring.refresh().await.unwrap();
    tokio::time::sleep(OVERLAP + Duration::from_secs(1)).await;
    let opens = |uses: Vec<InUse>| matches!(uses[..], [InUse::SessionKey { .. }]);
    assert!(opens(uses(&keyring.status(), &first)));
    keyring.revoke(&first);
    assert_eq!(keyring.status().safe_to_revoke(), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn an_upstream_was_called_with_what_was_never_current_here() {
    let store = Memory::new(doc(1));
    store.rotate(doc(2));
    let keyring = keyring(&store).await;
    tokio::time::sleep(OVERLAP - Duration::from_secs(60)).await;
    let calls = AtomicU32::new(0);
    let kept = Mutex::new(None);
    let refuses_the_new_one = |app: Arc<App>| {
        std::future::ready(match calls.fetch_add(1, Ordering::Relaxed) {
            0 => Err(Attempt::Unauthenticated("refused")),
            _ => {
                *kept.lock().unwrap() = Some(app);
                Ok(())
            }
        })
    };
    let secrets = keyring.current();
    secrets.try_each(refuses_the_new_one).await.unwrap();
    drop(secrets);
    tokio::time::sleep(Duration::from_secs(61)).await;
    let seen = || uses(&keyring.status(), &"1".into());
    assert!(
        matches!(
            seen()[..],
            [InUse::PreparedResource, InUse::TriedUpstream { .. }]
        ),
        "{:?}",
        seen()
    );
    tokio::time::sleep(OVERLAP).await;
    assert_eq!(seen(), [InUse::PreparedResource]);
    // Nor does a call with another version hide it.
    let secrets = keyring.current();
    rotate(&store, &keyring, 3).await;
    call(secrets).await;
    assert_eq!(seen(), [InUse::PreparedResource]);
    kept.lock().unwrap().take();
    tokio::time::sleep(OVERLAP + Duration::from_secs(1)).await;
    assert_eq!(keyring.status().safe_to_revoke(), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_call_with_one_version_hides_no_call_with_another() {
    let store = Memory::new(doc(1));
    let keyring = keyring(&store).await;
    let secrets = keyring.current();
    let first = rotate(&store, &keyring, 2).await;
    call(secrets).await;
    rotate(&store, &keyring, 3).await;
    let secrets = keyring.current();
    rotate(&store, &keyring, 4).await;
    call(secrets).await;
    let ago = Duration::ZERO;
    assert_eq!(
        uses(&keyring.status(), &first),
        [InUse::TriedUpstream { ago }]
    );
}

#[tokio::test(start_paused = true)]
async fn a_call_with_what_was_let_go_at_the_swap_is_seen() {
    let store = Memory::new(doc(1));
    // Without a key in it, nothing else remembers the version.
    let keyring = Keyring::<App>::builder(store.clone())
        .overlap(OVERLAP)
        .release_previous_at_swap()
        .clock(Arc::new(TokioClock::new()))
        .build()
        .await
        .unwrap();
    let secrets = keyring.current();
    let first = rotate(&store, &keyring, 2).await;
    call(secrets).await;
    let ago = Duration::ZERO;
    assert_eq!(
        uses(&keyring.status(), &first),
        [InUse::TriedUpstream { ago }]
    );
}
