//! Until when tokens go on, and which windows end before.

#![allow(clippy::unwrap_used)]

#[allow(dead_code, reason = "other tests use more of it")]
mod support;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::StatusCode;
use serde::Deserialize;
use support::ask;
use tower_secrets::{
    JwtKey, Keyring, RegisteredClaims, Signer,
    clock::TokioClock,
    event::{Event, Events},
    keyring::ReplacedStatus,
    source::{Memory, Stage, VersionId},
};

const OVERLAP: Duration = Duration::from_secs(900);

#[derive(Deserialize)]
struct App {
    jwt: JwtKey,
}

fn doc(key: u32, edition: u32) -> String {
    format!(r#"{{"jwt":"key number {key:03} of thirty-two bytes","edition":{edition}}}"#)
}

/// Its wall clock starts at the epoch.
struct World {
    store: Memory,
    keyring: Keyring<App>,
    signer: Signer<App>,
}

impl World {
    async fn new() -> Self {
        let store = Memory::new(doc(1, 1));
        let keyring = Keyring::<App>::builder(store.clone())
            .activation_delay(Duration::ZERO)
            .refresh_every(Duration::from_secs(100))
            .overlap(OVERLAP)
            .jwt_key(|app| &app.jwt)
            .clock(Arc::new(TokioClock::starting_at(at(0))))
            .build()
            .await
            .unwrap();
        Self {
            store,
            signer: keyring.signer(),
            keyring,
        }
    }

    fn token(&self, exp: u64) -> String {
        let claims = RegisteredClaims::new("alice").expires_at(at(exp));
        self.signer.sign(&claims).unwrap()
    }

    async fn accepted(&self, token: &str, stage: Stage) {
        assert_eq!(ask(&self.keyring, token).await, Ok(stage));
    }

    async fn rotate(&self, key: u32, edition: u32) -> VersionId {
        let old = self.keyring.current().version().clone();
        self.store.rotate(doc(key, edition));
        self.keyring.refresh().await.unwrap();
        // What follows a refresh is told by the loop.
        tokio::task::yield_now().await;
        old
    }

    fn replaced(&self, version: &VersionId) -> ReplacedStatus {
        let mut all = self.keyring.status().replaced.into_iter();
        all.find(|it| it.id == *version).unwrap()
    }
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

/// How early the tokens are cut off of which it was told meanwhile.
async fn told(events: &mut Events) -> Vec<Duration> {
    let mut told = Vec::new();
    while let Some(Some(event)) = futures::FutureExt::now_or_never(events.next()) {
        if let Event::TokensCutOff { cut_off, .. } = event {
            told.push(cut_off.early_by());
        }
    }
    told
}

#[tokio::test(start_paused = true)]
async fn the_latest_exp_goes_with_its_key() {
    let world = World::new().await;
    let current = || world.keyring.status().current.latest_exp;
    assert_eq!(current(), None);
    for (exp, latest) in [(300, 300), (200, 300), (301, 301)] {
        world.accepted(&world.token(exp), Stage::Current).await;
        assert_eq!(current(), Some(at(latest)));
    }
    // What is refused says nothing.
    let forged = format!("{}x", world.token(5_000));
    assert_eq!(
        ask(&world.keyring, &forged).await,
        Err(StatusCode::UNAUTHORIZED)
    );
    assert_eq!(current(), Some(at(301)));

    // The same key in another version, whose own tokens are none of the old version.
    let first = world.rotate(1, 2).await;
    assert_eq!(current(), Some(at(301)));
    assert_eq!(world.replaced(&first).latest_exp, None);

    let second = world.rotate(2, 2).await;
    let status = world.keyring.status();
    assert_eq!(status.current.latest_exp, None);
    assert_eq!(status.previous.unwrap().latest_exp, Some(at(301)));
    for version in [&first, &second] {
        let replaced = world.replaced(version);
        assert_eq!(replaced.latest_exp, Some(at(301)));
        assert_eq!(replaced.cut_offs, []);
    }
}

#[tokio::test(start_paused = true)]
async fn a_window_that_ends_before_its_tokens_is_warned_of_once() {
    let world = World::new().await;
    let mut events = world.keyring.subscribe();
    world.accepted(&world.token(1_000), Stage::Current).await;
    let old = world.rotate(2, 1).await;
    let [cut_off] = &*world.replaced(&old).cut_offs else {
        panic!("one key, one warning");
    };
    assert_eq!((cut_off.latest_exp, cut_off.at), (at(1_000), at(900)));
    let key = world.keyring.status().previous.unwrap().key_ids.remove(0);
    let text = format!("its window ends 100 s before the last token of key {key:?}");
    assert_eq!(cut_off.to_string(), text);
    assert_eq!(told(&mut events).await, [Duration::from_secs(100)]);
    world.keyring.refresh().await.unwrap();
    tokio::task::yield_now().await;
    assert!(told(&mut events).await.is_empty());

    // It is no reason: after the window nothing uses the version, and the warning stays as long as
    // somebody may have such a token.
    tokio::time::sleep(OVERLAP + Duration::from_secs(1)).await;
    let status = world.keyring.status();
    assert_eq!(status.safe_to_revoke(), Ok(()));
    assert_eq!(world.replaced(&old).cut_offs.len(), 1);
    tokio::time::sleep(Duration::from_secs(99)).await;
    assert_eq!(world.replaced(&old).cut_offs, []);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_comes_late_is_warned_of_at_the_next_refresh() {
    let world = World::new().await;
    // One ends with the window.
    let (early, late) = (world.token(900), world.token(950));
    world.accepted(&early, Stage::Current).await;
    let old = world.rotate(2, 1).await;
    let mut events = world.keyring.subscribe();
    assert_eq!(world.replaced(&old).cut_offs, []);
    world.accepted(&late, Stage::Previous).await;
    assert_eq!(world.replaced(&old).cut_offs.len(), 1);
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert_eq!(told(&mut events).await, [Duration::from_secs(50)]);

    // A revocation is meant to refuse them.
    world.keyring.revoke_previous();
    assert_eq!(world.replaced(&old).cut_offs, []);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_comes_back_is_warned_of_anew() {
    let world = World::new().await;
    world.accepted(&world.token(5_000), Stage::Current).await;
    let mut events = world.keyring.subscribe();
    world.rotate(2, 1).await;
    world.rotate(1, 2).await;
    world.rotate(3, 1).await;
    let early = Duration::from_secs(5_000) - OVERLAP;
    assert_eq!(told(&mut events).await, [early, early]);
}
