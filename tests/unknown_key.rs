//! Tokens of keys that are not known yet: who may wait for a refresh, and what it costs.

#![allow(clippy::unwrap_used)]

use std::{convert::Infallible, time::Duration};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use futures::{FutureExt, future::join_all};
use http::{Request, Response};
use jsonwebtoken::{EncodingKey, Header};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_secrets::{
    Authentication, Builder, JwtKey, JwtRotationLayer, Keyring, Secrets, SecretsLayer, UnknownKey,
    VerifyErrorKind,
    clock::TokioClock,
    event::Event,
    layer::Refusal,
    refresh::Trigger,
    source::{Memory, Source, SourceError, SourceErrorKind},
};

const SECOND: Duration = Duration::from_secs(1);

#[derive(Debug, Deserialize)]
struct App {
    jwt_secret: JwtKey,
}

/// A named HMAC key of thirty-two equal bytes.
fn named(n: u8) -> String {
    let secret = BASE64_URL_SAFE_NO_PAD.encode([n; 32]);
    let key = json!({ "kty": "oct", "kid": format!("key-{n}"), "k": secret });
    json!({ "jwt_secret": key }).to_string()
}

fn token_with(n: u8, kid: Option<&str>, more: Value) -> String {
    let mut claims = json!({ "sub": "alice", "exp": 32_503_680_000_u64, "aud": "mcp" });
    if let (Value::Object(claims), Value::Object(more)) = (&mut claims, more) {
        claims.extend(more);
    }
    let header = Header {
        kid: kid.map(str::to_owned),
        ..Header::default()
    };
    jsonwebtoken::encode(&header, &claims, &EncodingKey::from_secret(&[n; 32])).unwrap()
}

fn token(n: u8) -> String {
    token_with(n, Some(&format!("key-{n}")), json!({}))
}

fn builder(source: &Memory) -> Builder<App> {
    Keyring::<App>::builder(source.clone())
        .activation_delay(std::time::Duration::ZERO)
        .jwt_key(|app: &App| &app.jwt_secret)
        .clock(TokioClock::new())
}

/// A keyring that knows key 1, over a store in which key 2 is current by now.
async fn behind(policy: UnknownKey) -> (Memory, Keyring<App>) {
    let source = Memory::new(named(1));
    let keyring = builder(&source)
        .refresh_on_unknown_key(policy)
        .build()
        .await
        .unwrap();
    source.rotate(named(2));
    (source, keyring)
}

fn request(token: &str) -> Request<()> {
    let value = format!("Bearer {token}");
    Request::builder()
        .header("authorization", value)
        .body(())
        .unwrap()
}

/// What the request lived on: the generations of its secrets and of its claims.
async fn inner(request: Request<()>) -> Result<Response<()>, Infallible> {
    assert!(!request.headers().contains_key("authorization"));
    let secrets = Secrets::<App>::from_extensions(request.extensions()).unwrap();
    let caller = request.extensions().get::<Authentication>().unwrap();
    let seen = (secrets.generation(), caller.generation());
    Ok(Response::builder().extension(seen).body(()).unwrap())
}

async fn ask(keyring: &Keyring<App>, token: &str) -> Result<(u64, u64), VerifyErrorKind> {
    let layer = JwtRotationLayer::new(keyring.clone()).audience("mcp");
    let response = layer
        .layer(service_fn(inner))
        .oneshot(request(token))
        .await
        .unwrap();
    judged(&response)
}

fn judged(response: &Response<()>) -> Result<(u64, u64), VerifyErrorKind> {
    let extensions = response.extensions();
    if let Some(seen) = extensions.get() {
        return Ok(*seen);
    }
    assert_eq!(response.status(), 401);
    Err(extensions.get::<Refusal>().unwrap().verify_error().unwrap())
}

fn down() -> SourceError {
    SourceError::new(SourceErrorKind::Unavailable, "the store is down")
}

#[tokio::test(start_paused = true)]
async fn nobody_asks_unless_it_was_allowed() {
    let source = Memory::new(named(1));
    let keyring = builder(&source).build().await.unwrap();
    source.rotate(named(2));
    assert_eq!(
        ask(&keyring, &token(2)).await,
        Err(VerifyErrorKind::UnknownKey)
    );
    assert_eq!(source.fetches(), 1);
}

#[tokio::test(start_paused = true)]
async fn all_who_come_wait_for_one_refresh_and_live_on_the_new_generation() {
    let (source, keyring) = behind(UnknownKey::new()).await;
    let mut events = keyring.subscribe();
    let token = token(2);
    let answers = join_all((0..100).map(|_| ask(&keyring, &token))).await;
    assert!(
        answers.iter().all(|answer| *answer == Ok((2, 2))),
        "{answers:?}"
    );
    assert_eq!(source.fetches(), 2);
    let first = events.next().await.unwrap();
    assert!(
        matches!(
            first,
            Event::ReloadRequested {
                trigger: Trigger::UnknownKey,
                ..
            }
        ),
        "{first:?}"
    );
}

/// Junk begins a refresh at 0 s, which reads at once and answers after 1 s; the key is rotated at 0.5 s,
/// and a token of it comes. Gives what becomes of that, when, and how many refreshes there were.
async fn late(policy: UnknownKey) -> (Result<(u64, u64), VerifyErrorKind>, Duration, u64) {
    let store = Memory::new(named(1));
    let reads = store.clone();
    let slow = move || {
        let store = reads.clone();
        async move {
            let versions = store.fetch().await;
            tokio::time::sleep(SECOND).await;
            versions
        }
    };
    let keyring = Keyring::<App>::builder(slow)
        .jwt_key(|app: &App| &app.jwt_secret)
        .clock(TokioClock::new())
        .refresh_on_unknown_key(policy);
    let keyring = keyring.build().await.unwrap();
    let begin = Instant::now();
    let junk = token_with(9, Some("junk"), json!({}));
    let late = async {
        tokio::time::sleep(SECOND / 2).await;
        store.rotate(named(2));
        let answer = ask(&keyring, &token(2)).await;
        (answer, begin.elapsed())
    };
    let (junk, (answer, at)) = tokio::join!(ask(&keyring, &junk), late);
    assert_eq!(junk, Err(VerifyErrorKind::UnknownKey));
    (answer, at, store.fetches() - 1)
}

#[tokio::test(start_paused = true)]
async fn who_comes_while_a_refresh_runs_gets_one_that_began_after() {
    // Where one is allowed within its time.
    let (answer, at, refreshes) = late(UnknownKey::new().cool_down(3 * SECOND)).await;
    assert_eq!((answer, refreshes), (Ok((2, 2)), 2));
    assert!((4 * SECOND..=SECOND.mul_f64(4.4)).contains(&at), "{at:?}");
    // By default it is not, and nobody waits for what does not come.
    let (answer, at, refreshes) = late(UnknownKey::new()).await;
    assert_eq!((answer, refreshes), (Err(VerifyErrorKind::UnknownKey), 1));
    assert_eq!(at, SECOND);
}

#[tokio::test(start_paused = true)]
async fn after_failures_tokens_ask_less_and_less_until_a_refresh_succeeds() {
    let (source, keyring) = behind(UnknownKey::new()).await;
    let junk = token_with(9, Some("junk"), json!({}));
    let mut events = keyring.subscribe();
    let mut asked_in_100_s = async || {
        let mut asked = 0;
        for _ in 0..100 {
            assert_eq!(ask(&keyring, &junk).await, Err(VerifyErrorKind::UnknownKey));
            while let Some(Some(event)) = events.next().now_or_never() {
                let trigger = Trigger::UnknownKey;
                asked += usize::from(
                    matches!(event, Event::ReloadRequested { trigger: it, .. } if it == trigger),
                );
            }
            tokio::time::advance(SECOND).await;
        }
        asked
    };
    source.fail_next(usize::MAX, down());
    // At 0 s, and 20, 40 and 80 s after the one before, each up to a tenth longer.
    assert_eq!(asked_in_100_s().await, 3);
    source.fail_next(0, down());
    keyring.refresh().await.unwrap();
    let asked = asked_in_100_s().await;
    assert!((9..=10).contains(&asked), "{asked}");
}

#[tokio::test(start_paused = true)]
async fn junk_asks_once_in_each_cool_down() {
    let (source, keyring) = behind(UnknownKey::new()).await;
    let good = token(1);
    let start = Instant::now();
    for n in 0..2_000_u32 {
        let junk = token_with(9, Some(&format!("junk-{n}")), json!({}));
        assert_eq!(ask(&keyring, &junk).await, Err(VerifyErrorKind::UnknownKey));
        assert!(
            ask(&keyring, &good).now_or_never().unwrap().is_ok(),
            "a good token waits for nothing"
        );
        tokio::time::advance(SECOND / 20).await;
    }
    let asked = source.fetches() - 1;
    let most = start.elapsed().as_secs().div_ceil(10);
    // The first poll may come besides.
    assert!(
        asked <= most + 1 && asked >= most - 2,
        "{asked} fetches in {:?}",
        start.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn tokens_that_no_key_would_make_good_ask_for_nothing() {
    let (source, keyring) = behind(UnknownKey::new()).await;
    for (token, why) in [
        (
            token_with(2, Some("key-2"), json!({ "exp": 1 })),
            VerifyErrorKind::UnknownKey,
        ),
        (
            token_with(2, Some("key-2"), json!({ "aud": "other" })),
            VerifyErrorKind::UnknownKey,
        ),
        (
            token_with(2, Some("key-1"), json!({})),
            VerifyErrorKind::BadSignature,
        ),
        (
            token_with(1, Some("key-1"), json!({ "exp": 1 })),
            VerifyErrorKind::Expired,
        ),
    ] {
        assert_eq!(ask(&keyring, &token).await, Err(why));
    }
    assert_eq!(source.fetches(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_name_that_another_key_has_by_now_asks_where_that_was_allowed() {
    let (source, keyring) = behind(UnknownKey::new().on_bad_signatures()).await;
    let renamed = named(2).replace("key-2", "key-1");
    source.rotate(renamed);
    let token = token_with(2, Some("key-1"), json!({}));
    assert_eq!(ask(&keyring, &token).await, Ok((2, 2)));
}

#[tokio::test(start_paused = true)]
async fn keys_without_a_name_are_missed_by_their_signature() {
    let plain = |n: u8| json!({ "jwt_secret": char::from(n).to_string().repeat(32) }).to_string();
    let source = Memory::new(plain(b'a'));
    let build = || {
        builder(&source)
            .refresh_on_unknown_key(UnknownKey::new())
            .build()
    };
    let [verifier, nameless] = [build().await.unwrap(), build().await.unwrap()];
    source.rotate(plain(b'b'));
    let issuer = build().await.unwrap();
    let claims = json!({ "exp": 32_503_680_000_u64, "aud": "mcp" });
    let signed = issuer.signer().sign(&claims).unwrap();
    assert_eq!(
        ask(&verifier, &signed).await,
        Ok((2, 2)),
        "a computed name that is nobody's"
    );

    let without_kid = jsonwebtoken::encode(
        &Header::default(),
        &claims,
        &EncodingKey::from_secret("b".repeat(32).as_bytes()),
    );
    assert_eq!(
        ask(&nameless, &without_kid.unwrap()).await,
        Ok((2, 2)),
        "no name at all"
    );
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_fails_keeps_the_keys_and_is_not_repeated_at_once() {
    let (source, keyring) = behind(UnknownKey::new().cool_down(100 * SECOND)).await;
    source.fail_next(1, down());
    assert_eq!(
        ask(&keyring, &token(2)).await,
        Err(VerifyErrorKind::UnknownKey)
    );
    assert!(ask(&keyring, &token(1)).await.is_ok());
    assert_eq!(source.fetches(), 2);
    // The loop's own retry, after its own pause, brings the key.
    source.wait_for_fetches(3).await;
    keyring.refresh().await.unwrap();
    assert!(ask(&keyring, &token(2)).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_costs_the_waiters_a_bounded_time_and_others_nothing() {
    let (source, keyring) = behind(UnknownKey::new().max_waiters(10)).await;
    source.pause();
    let start = Instant::now();
    let token_2 = token(2);
    let waiting = join_all((0..30).map(|_| ask(&keyring, &token_2)));
    let mut waiting = Box::pin(waiting);
    assert!(waiting.as_mut().now_or_never().is_none());
    assert!(ask(&keyring, &token(1)).now_or_never().unwrap().is_ok());
    let late = ask(&keyring, &token_2).now_or_never();
    assert_eq!(
        late,
        Some(Err(VerifyErrorKind::UnknownKey)),
        "no place is left"
    );
    let answers = waiting.await;
    assert_eq!(answers, [Err(VerifyErrorKind::UnknownKey); 30]);
    assert_eq!(start.elapsed(), 5 * SECOND);
    assert_eq!(source.fetches(), 2);
}

#[tokio::test(start_paused = true)]
async fn who_gives_up_leaves_its_place_and_the_refresh() {
    let (source, keyring) = behind(UnknownKey::new().max_waiters(1)).await;
    source.pause();
    let token = token(2);
    assert!(
        ask(&keyring, &token).now_or_never().is_none(),
        "it waits, and is dropped"
    );
    let next = ask(&keyring, &token);
    let resume = async {
        source.wait_for_fetches(2).await;
        source.resume();
    };
    assert_eq!(tokio::join!(next, resume).0, Ok((2, 2)));
    assert_eq!(source.fetches(), 2);
}

#[tokio::test(start_paused = true)]
async fn after_a_shutdown_nobody_waits() {
    let (source, keyring) = behind(UnknownKey::new()).await;
    source.pause();
    let token = token(2);
    let start = Instant::now();
    let stop = async {
        source.wait_for_fetches(2).await;
        keyring.shutdown().await;
    };
    let (answer, ()) = tokio::join!(ask(&keyring, &token), stop);
    assert_eq!(answer, Err(VerifyErrorKind::UnknownKey));
    tokio::time::advance(60 * SECOND).await;
    assert_eq!(
        ask(&keyring, &token).await,
        Err(VerifyErrorKind::UnknownKey)
    );
    assert_eq!(start.elapsed(), 60 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn the_service_that_was_ready_is_the_one_that_is_called() {
    let (_source, keyring) = behind(UnknownKey::new()).await;
    // Its clones are not ready, and panic when called.
    let mut service = ServiceBuilder::new()
        .layer(JwtRotationLayer::new(keyring.clone()).audience("mcp"))
        .concurrency_limit(1)
        .service(service_fn(inner));
    for _ in 0..3 {
        let ready = service.ready().await.unwrap();
        let response = ready.call(request(&token(2))).await.unwrap();
        assert_eq!(judged(&response), Ok((2, 2)));
    }
}

#[tokio::test(start_paused = true)]
async fn newer_keys_that_are_there_already_need_no_refresh() {
    let (source, keyring) = behind(UnknownKey::new()).await;
    let tokens = JwtRotationLayer::new(keyring.clone())
        .audience("mcp")
        .layer(service_fn(inner));
    let refreshing = keyring.clone();
    // The outer layer pins what the refresh then replaces.
    let outer = SecretsLayer::new(keyring).layer(service_fn(move |request: Request<()>| {
        let (refreshing, tokens) = (refreshing.clone(), tokens.clone());
        async move {
            refreshing.refresh().await.unwrap();
            tokens.oneshot(request).await
        }
    }));
    let response = outer.oneshot(request(&token(2))).await.unwrap();
    assert_eq!(judged(&response), Ok((2, 2)));
    assert_eq!(source.fetches(), 2);
}
