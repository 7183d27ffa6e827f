//! Keys that vanish from the set.

use std::time::Duration;

use serde_json::json;
use tower_secrets::{
    JwtKey, JwtRotationLayer, Keyring, UnknownKey,
    clock::TokioClock,
    event::Event,
    source::{Combined, Jwks, Memory, Source, Stage, Version, Versions},
};

use crate::{
    SECOND, ask, ask_layer, builder,
    idp::{Answer, KeyServer, SigningKey, set},
    keyring,
};

#[tokio::test]
async fn what_is_withdrawn_is_refused_from_the_next_refresh_on() {
    let (a, b) = (SigningKey::new("a"), SigningKey::new("b"));
    let server = KeyServer::serving(&[&a, &b]).await;
    let keyring = keyring(Jwks::new(server.keys_url())).await;
    let mut events = keyring.subscribe();
    let (of_a, of_b) = (a.token(json!({})), b.token(json!({})));
    assert!(ask(&keyring, &of_a).await.is_ok());
    let served = keyring.current().version().clone();

    server.put("/keys", Answer::ok(set(&[&b])));
    assert!(keyring.refresh().await.unwrap().is_swapped());
    assert!(ask(&keyring, &of_a).await.is_err());
    assert_eq!(ask(&keyring, &of_b).await, Ok(Stage::Current));
    assert!(keyring.current().previous().is_none());
    loop {
        if let Event::PreviousWithdrawn { version, .. } = events.next().await.unwrap() {
            assert_eq!(version, served);
            break;
        }
    }

    server.put("/keys", Answer::ok(set(&[&a, &b])));
    keyring.refresh().await.unwrap();
    assert!(ask(&keyring, &of_a).await.is_ok(), "it is served again");
}

#[tokio::test]
async fn a_key_that_is_added_withdraws_nothing() {
    let (a, b) = (SigningKey::new("a"), SigningKey::new("b"));
    let server = KeyServer::serving(&[&a]).await;
    let keyring = keyring(Jwks::new(server.keys_url())).await;
    let mut events = keyring.subscribe();
    server.put("/keys", Answer::ok(set(&[&a, &b])));
    keyring.refresh().await.unwrap();
    keyring.shutdown().await;
    drop(keyring);
    while let Some(event) = events.next().await {
        assert!(
            !matches!(event, Event::PreviousWithdrawn { .. }),
            "{event:?}"
        );
    }
}

/// A set of keys without a server, so that time can stand still.
struct Served(std::sync::Mutex<String>, bool);

impl Served {
    fn put(&self, keys: &[&SigningKey]) {
        *self.0.lock().unwrap() = set(keys);
    }
}

async fn over(served: &'static Served) -> Keyring<JwtKey> {
    let source = || async {
        let set = served.0.lock().unwrap().clone();
        let version = Version::new(set.clone(), set);
        Ok(Versions::new(version).stageless(served.1))
    };
    builder(source)
        .refresh_every(100 * SECOND)
        .overlap(1_000 * SECOND)
        .refresh_on_unknown_key(UnknownKey::never())
        .clock(TokioClock::new())
        .build()
        .await
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn each_kept_key_has_a_window_of_its_own() {
    let keys = ["a", "b", "c", "d"].map(SigningKey::new);
    let [a, b, c, d] = &keys;
    let served: &Served = Box::leak(Box::new(Served(set(&[a, b, c]).into(), true)));
    let keyring = over(served).await;
    let tokens = keys.each_ref().map(|key| key.token(json!({})));
    let stages = async || {
        let mut stages = Vec::new();
        for token in &tokens {
            stages.push(ask(&keyring, token).await.ok());
        }
        stages
    };
    let (current, previous) = (Some(Stage::Current), Some(Stage::Previous));

    served.put(&[b, c]);
    keyring.refresh().await.unwrap();
    assert_eq!(stages().await, [previous, current, current, None]);

    // A second one vanishes, and a third key comes: the first window goes on.
    tokio::time::advance(400 * SECOND).await;
    served.put(&[c, d]);
    keyring.refresh().await.unwrap();
    assert_eq!(stages().await, [previous, previous, current, current]);

    tokio::time::advance(599 * SECOND).await;
    assert_eq!(stages().await, [previous, previous, current, current]);
    tokio::time::advance(2 * SECOND).await;
    assert_eq!(stages().await, [None, previous, current, current]);

    // What comes back is current, and starts anew when it vanishes again.
    served.put(&[a, c, d]);
    keyring.refresh().await.unwrap();
    assert_eq!(stages().await, [current, previous, current, current]);
    tokio::time::advance(398 * SECOND).await;
    assert_eq!(stages().await, [current, previous, current, current]);
    tokio::time::advance(2 * SECOND).await;
    assert_eq!(stages().await, [current, None, current, current]);

    let version = keyring.current().version().clone();
    keyring.revoke(&version);
    assert_eq!(stages().await, [None, None, None, None], "revocation wins");
}

#[tokio::test]
async fn keep_withdrawn_keeps_what_the_server_no_longer_has() {
    let (a, b) = (SigningKey::new("a"), SigningKey::new("b"));
    let server = KeyServer::serving(&[&a]).await;
    let keyring = keyring(Jwks::new(server.keys_url()).keep_withdrawn()).await;
    server.put("/keys", Answer::ok(set(&[&b])));
    keyring.refresh().await.unwrap();
    assert_eq!(
        ask(&keyring, &a.token(json!({}))).await,
        Ok(Stage::Previous)
    );
    let status = keyring.status();
    let previous = status.previous.unwrap();
    assert_eq!(previous.key_ids.len(), 1);
    assert!(previous.expires_in.unwrap() > 3600 * SECOND);
    keyring.revoke_previous();
    assert!(ask(&keyring, &a.token(json!({}))).await.is_err());
    assert!(ask(&keyring, &b.token(json!({}))).await.is_ok());
}

/// Keys of a provider beside a secret that rotates by itself.
#[derive(serde::Deserialize)]
struct App {
    idp: JwtKey,
    db: String,
}

#[tokio::test]
async fn as_a_part_of_a_bundle_its_keys_follow_the_same_rules() {
    for keeps in [false, true] {
        let keys = ["a", "b", "c"].map(SigningKey::new);
        let [a, b, c] = &keys;
        let server = KeyServer::serving(&[a, b]).await;
        let mut jwks = Jwks::new(server.keys_url());
        if keeps {
            jwks = jwks.keep_withdrawn();
        }
        let db = Memory::new(r#""one""#);
        let source = Combined::new().with("idp", jwks).with("db", db.clone());
        assert!(source.refresh_on_unknown_key());
        let keyring = Keyring::<App>::builder(source)
            .jwt_key(|app| &app.idp)
            // A token of a withdrawn key uses up a cool-down too.
            .refresh_on_unknown_key(UnknownKey::new().cool_down(Duration::ZERO))
            .refresh_every(3600 * SECOND)
            .build()
            .await
            .unwrap();
        let layer = JwtRotationLayer::new(keyring.clone());
        let ask = async |key: &SigningKey| ask_layer(&layer, &key.token(json!({}))).await.ok();
        let withdrawn = keeps.then_some(Stage::Previous);

        server.put("/keys", Answer::ok(set(&[b])));
        keyring.refresh().await.unwrap();
        assert_eq!(ask(a).await, withdrawn);
        assert_eq!(ask(b).await, Some(Stage::Current));
        // The other part opens and ends no window.
        db.rotate(r#""two""#);
        keyring.refresh().await.unwrap();
        assert_eq!(keyring.current().db, "two");
        assert_eq!(ask(a).await, withdrawn);
        db.drop_previous();
        keyring.refresh().await.unwrap();
        assert_eq!(ask(a).await, withdrawn);
        // A second vanishes, and a key that nobody has seen comes with its first token.
        server.put("/keys", Answer::ok(set(&[c])));
        assert_eq!(ask(c).await, Some(Stage::Current));
        assert_eq!([ask(a).await, ask(b).await], [withdrawn; 2]);
    }
}
