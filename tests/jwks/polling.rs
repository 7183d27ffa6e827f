//! How often the key server is asked, and what for.

use std::time::Duration;

use serde_json::json;
use tower_secrets::{
    Refreshed, UnknownKey,
    event::Event,
    refresh::Trigger,
    source::{Jwks, Source},
};

use crate::{
    SECOND, ask, builder,
    idp::{Answer, KeyServer, SigningKey, set},
    keyring,
};

fn tagged(keys: &[&SigningKey], etag: &str) -> Answer {
    Answer::ok(set(keys)).with("etag", etag)
}

#[tokio::test]
async fn a_poll_is_one_conditional_request_and_a_304_changes_nothing() {
    let a = SigningKey::new("a");
    let server = KeyServer::start().await;
    server.put("/keys", tagged(&[&a], "W/\"1\""));
    let keyring = keyring(Jwks::new(server.keys_url())).await;
    for _ in 0..5 {
        let refreshed = keyring.refresh().await.unwrap();
        assert!(
            matches!(refreshed, Refreshed::Unchanged { .. }),
            "{refreshed:?}"
        );
    }
    let seen = server.seen();
    assert_eq!(
        (seen[0].if_none_match.as_deref(), seen[0].status),
        (None, 200)
    );
    assert_eq!(seen.len(), 6);
    for seen in &seen[1..] {
        assert_eq!(
            (seen.if_none_match.as_deref(), seen.status),
            (Some("W/\"1\""), 304)
        );
    }

    let b = SigningKey::new("b");
    server.put("/keys", tagged(&[&a, &b], "\"2\""));
    assert!(keyring.refresh().await.unwrap().is_swapped());
    assert!(ask(&keyring, &b.token(json!({}))).await.is_ok());
    keyring.refresh().await.unwrap();
    assert_eq!(
        server.seen().last().unwrap().if_none_match.as_deref(),
        Some("\"2\"")
    );
}

#[tokio::test]
async fn replicas_agree_on_a_version_whatever_the_order() {
    let (a, b) = (SigningKey::new("a"), SigningKey::new("b"));
    let server = KeyServer::serving(&[&a, &b]).await;
    let one = keyring(Jwks::new(server.keys_url())).await;
    server.put("/keys", Answer::ok(set(&[&b, &a])));
    let other = keyring(Jwks::new(server.keys_url())).await;
    assert_eq!(one.current().version(), other.current().version());
    assert!(!one.refresh().await.unwrap().is_swapped());
}

#[tokio::test]
async fn what_is_fresh_is_not_asked_for_except_by_somebody() {
    let a = SigningKey::new("a");
    let server = KeyServer::start().await;
    let fresh = Answer::ok(set(&[&a])).with("cache-control", "max-age=3600");
    server.put("/keys", fresh);
    let source = Jwks::new(server.keys_url());
    // What nobody took over is not fresh: a later step may have refused it.
    source.fetch().await.unwrap();
    let versions = source.fetch().await.unwrap();
    assert_eq!(server.requests(), 2);
    source.published(versions.current().id());
    for _ in 0..5 {
        source.fetch().await.unwrap();
    }
    assert_eq!(server.requests(), 2);
    source.invalidate();
    source.fetch().await.unwrap();
    assert_eq!(server.requests(), 3);
    source.fetch().await.unwrap();
    assert_eq!(server.requests(), 3);

    let keyring = keyring(source).await;
    assert_eq!(server.requests(), 3, "`build` takes what is fresh");
    keyring.refresh().await.unwrap();
    assert_eq!(server.requests(), 4);
}

#[tokio::test]
async fn without_a_word_of_the_server_each_fetch_asks() {
    let a = SigningKey::new("a");
    let server = KeyServer::start().await;
    for header in [
        None,
        Some("no-cache"),
        Some("max-age=0"),
        Some("no-store, max-age=60"),
    ] {
        let mut answer = Answer::ok(set(&[&a]));
        if let Some(header) = header {
            answer = answer.with("cache-control", header);
        }
        server.put("/keys", answer);
        let source = Jwks::new(server.keys_url());
        let before = server.requests();
        for _ in 0..3 {
            source.fetch().await.unwrap();
        }
        assert_eq!(server.requests() - before, 3, "{header:?}");
    }
}

#[tokio::test]
async fn the_end_of_freshness_wakes_the_loop_before_the_interval() {
    let (a, b) = (SigningKey::new("a"), SigningKey::new("b"));
    let server = KeyServer::start().await;
    let short = |keys: &[&SigningKey]| Answer::ok(set(keys)).with("cache-control", "max-age=1");
    server.put("/keys", short(&[&a]));
    let source = Jwks::new(server.keys_url()).min_freshness(SECOND / 10);
    // The interval is an hour.
    let keyring = keyring(source).await;
    let mut events = keyring.subscribe();
    server.put("/keys", short(&[&b]));
    let trigger = loop {
        if let Event::Reloaded { trigger, .. } = events.next().await.unwrap() {
            break trigger;
        }
    };
    assert_eq!(trigger, Trigger::Change);
    assert!(ask(&keyring, &b.token(json!({}))).await.is_ok());
}

#[tokio::test]
async fn freshness_is_bounded_on_both_sides() {
    let a = SigningKey::new("a");
    for (max_age, at_least, at_most) in [(1, 54, 60), (100, 90, 100), (999_999, 270, 300)] {
        let server = KeyServer::start().await;
        let answer = Answer::ok(set(&[&a])).with("cache-control", format!("max-age={max_age}"));
        server.put("/keys", answer);
        let source = Jwks::new(server.keys_url());
        source.fetch().await.unwrap();
        // From here on nothing comes from the network.
        tokio::time::pause();
        let start = tokio::time::Instant::now();
        source.changed().await;
        let passed = start.elapsed();
        assert!(
            passed >= at_least * SECOND && passed <= at_most * SECOND,
            "{passed:?}"
        );
        // Told once; the next end comes with the next answer.
        let again = tokio::time::timeout(3600 * SECOND, source.changed()).await;
        assert!(again.is_err());
        tokio::time::resume();
    }
}

/// A ceiling of zero switches freshness off: it does not end at once, over and over.
#[tokio::test]
async fn with_a_ceiling_of_zero_nothing_is_fresh_and_no_end_is_told() {
    let a = SigningKey::new("a");
    let server = KeyServer::start().await;
    let answer = Answer::ok(set(&[&a])).with("cache-control", "max-age=3600");
    server.put("/keys", answer);
    let source = Jwks::new(server.keys_url()).max_freshness(Duration::ZERO);
    for _ in 0..3 {
        let versions = source.fetch().await.unwrap();
        source.published(versions.current().id());
    }
    assert_eq!(server.requests(), 3);
    tokio::time::pause();
    let told = tokio::time::timeout(3600 * SECOND, source.changed()).await;
    assert!(told.is_err());
}

#[tokio::test]
async fn an_unknown_key_is_fetched_by_default_and_one_that_was_used_again_too() {
    let (a, b) = (SigningKey::new("a"), SigningKey::new("b"));
    let server = KeyServer::start().await;
    let fresh = |keys: &[&SigningKey]| Answer::ok(set(keys)).with("cache-control", "max-age=3600");
    server.put("/keys", fresh(&[&a]));
    // What is fresh is no answer to a token of an unknown key.
    let first = keyring(Jwks::new(server.keys_url())).await;
    server.put("/keys", fresh(&[&a, &b]));
    assert!(ask(&first, &b.token(json!({}))).await.is_ok());

    let other_a = SigningKey::new("a");
    let second = keyring(Jwks::new(server.keys_url())).await;
    server.put("/keys", fresh(&[&other_a]));
    assert!(ask(&second, &other_a.token(json!({}))).await.is_ok());

    let never = builder(Jwks::new(server.keys_url()));
    let never = never
        .refresh_on_unknown_key(UnknownKey::never())
        .build()
        .await
        .unwrap();
    server.put("/keys", fresh(&[&b]));
    assert!(ask(&never, &b.token(json!({}))).await.is_err());
}

#[tokio::test]
async fn a_box_forwards_all_that_a_source_may_be_told() {
    let a = SigningKey::new("a");
    let server = KeyServer::start().await;
    let fresh = Answer::ok(set(&[&a])).with("cache-control", "max-age=3600");
    server.put("/keys", fresh);
    let boxed = Jwks::new(server.keys_url()).boxed().boxed();
    assert!(boxed.refresh_on_unknown_key());
    let versions = boxed.fetch().await.unwrap();
    boxed.published(versions.current().id());
    boxed.fetch().await.unwrap();
    assert_eq!(server.requests(), 1, "fresh, and in use");
    boxed.invalidate();
    boxed.fetch().await.unwrap();
    assert_eq!(server.requests(), 2);
}
