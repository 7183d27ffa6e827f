//! A scripted life of one secret.

use std::{sync::Arc, time::Duration};

use http::StatusCode;
use serde::Deserialize;
use serde_json::json;
use tower_secrets::{
    JwtKey, Keyring, RegisteredClaims, UnknownKey,
    clock::TokioClock,
    source::{Memory, Source, SourceError, SourceErrorKind, Stage},
};

use crate::{
    load::{Key, Kind},
    recorder::Kept,
    support::{ask, token},
};

/// The name of [`Memory`].
pub(crate) const SECRET: &str = "memory";

const OVERLAP: Duration = Duration::from_secs(1_000);
const SECOND: Duration = Duration::from_secs(1);

#[derive(Deserialize)]
struct App {
    jwt: JwtKey,
    api_key: String,
}

fn document(key: &Key, api_key: &str) -> String {
    json!({ "jwt": key.text, "api_key": api_key }).to_string()
}

async fn works(app: Arc<App>) -> Result<(), &'static str> {
    (app.api_key != "dead").then_some(()).ok_or("it is dead")
}

async fn keyring(store: &Memory) -> Keyring<App> {
    Keyring::<App>::builder(store.clone())
        .activation_delay(Duration::ZERO)
        .overlap(OVERLAP)
        .jwt_key(|app| &app.jwt)
        .probe("upstream", works)
        .refresh_on_unknown_key(UnknownKey::new())
        .clock(TokioClock::new())
        .build()
        .await
        .unwrap()
}

/// The life that touches every metric.
pub(crate) struct Life {
    pub(crate) kept: Kept,
    store: Memory,
    keyring: Keyring<App>,
}

impl Life {
    async fn begin(kept: &Kept) -> Self {
        let store = Memory::new(document(&Key::new(Kind::Es256), "one"));
        assert_eq!(store.name(), SECRET);
        Self {
            kept: kept.clone(),
            keyring: keyring(&store).await,
            store,
        }
    }

    async fn rotate(&self, api_key: &str) -> bool {
        self.store.rotate(document(&Key::new(Kind::Es256), api_key));
        self.keyring.refresh().await.is_ok_and(|it| it.is_swapped())
    }

    fn version(&self) -> String {
        self.keyring.current().version().as_str().to_owned()
    }

    #[track_caller]
    fn is(&self, series: &str, expected: f64) {
        assert_eq!(self.kept.get(series), Some(expected), "{series}");
    }

    #[track_caller]
    fn is_version(&self, version: &str, stage: &str, expected: f64) {
        let series = format!("tower_secrets_version_info{{stage={stage},version={version}}}");
        self.is(&series, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn every_metric_tells_its_part_of_a_life() {
    let (kept, unknown) = (Kept::default(), token_of_a_stranger().await);
    let _installed = metrics::set_default_local_recorder(&kept);
    live(&kept, unknown).await;
}

#[tokio::test(start_paused = true)]
async fn a_request_with_an_earlier_view_of_the_current_version_holds_the_current_version() {
    let kept = Kept::default();
    let _installed = metrics::set_default_local_recorder(&kept);
    let life = Life::begin(&kept).await;
    let _request = life.keyring.current();
    let next = document(&Key::new(Kind::Es256), "two");
    life.store.stage_pending(next);
    life.keyring.refresh().await.unwrap();
    assert!(life.keyring.status().pending.is_some());
    life.keyring.record_metrics();
    for (stage, held) in [("current", 1.0), ("previous", 0.0), ("older", 0.0)] {
        let series = format!("tower_secrets_requests_in_flight{{stage={stage}}}");
        life.is(&series, held);
    }
}

/// A token of a key that nobody here knows; made before a recorder is there.
pub(crate) async fn token_of_a_stranger() -> String {
    let store = Memory::new(document(&Key::new(Kind::Es256), "theirs"));
    token(&keyring(&store).await.signer())
}

/// Exports everything that can be.
pub(crate) async fn live(kept: &Kept, unknown: String) {
    let life = Life::begin(kept).await;
    starts(&life);
    verifies(&life).await;
    rotates(&life).await;
    is_refused_a_version(&life).await;
    loses_the_store(&life).await;
    waits_for_a_key(&life, unknown).await;
    revokes(&life).await;
}

fn starts(life: &Life) {
    life.is(
        "tower_secrets_refreshes_total{outcome=swapped,trigger=start}",
        1.0,
    );
    life.is("tower_secrets_refresh_duration_seconds{}", 1.0);
    life.is("tower_secrets_source_calls_total{outcome=ok}", 1.0);
    life.is("tower_secrets_generation{}", 1.0);
    life.is("tower_secrets_consecutive_failures{}", 0.0);
    life.is("tower_secrets_window_remaining_seconds{}", 0.0);
    life.is("tower_secrets_windows_cut_short_total{}", 0.0);
    life.is_version(&life.version(), "current", 1.0);
}

async fn verifies(life: &Life) {
    let signer = life.keyring.signer();
    let good = token(&signer);
    for _ in 0..3 {
        assert_eq!(ask(&life.keyring, &good).await, Ok(Stage::Current));
    }
    let expired = signer.sign(&RegisteredClaims::new("alice")).unwrap();
    let refused = ask(&life.keyring, &expired).await;
    assert_eq!(refused, Err(StatusCode::UNAUTHORIZED));
    life.is(
        "tower_secrets_verifications_total{outcome=accepted,stage=current}",
        3.0,
    );
    life.is(
        "tower_secrets_verifications_total{outcome=expired,stage=none}",
        1.0,
    );
    // Each `ask` has a layer of its own, and no layer hits on what another accepted.
    life.is("tower_secrets_token_cache_total{result=miss}", 4.0);
    life.is("tower_secrets_token_cache_total{result=hit}", 0.0);
    hits(life, &good).await;
    life.is("tower_secrets_token_cache_total{result=hit}", 2.0);
}

/// Three requests through one layer.
async fn hits(life: &Life, token: &str) {
    use tower::{Layer, Service, service_fn};
    let layer = tower_secrets::JwtRotationLayer::new(life.keyring.clone());
    let mut service = layer.layer(service_fn(async |_: http::Request<()>| {
        Ok::<_, std::convert::Infallible>(http::Response::new(()))
    }));
    for _ in 0..3 {
        let answer = service.call(crate::load::request(token)).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
    }
}

async fn rotates(life: &Life) {
    let (first, of_first) = (life.version(), token(&life.keyring.signer()));
    let requests = [life.keyring.current(), life.keyring.current()];
    life.keyring.record_metrics();
    life.is("tower_secrets_requests_in_flight{stage=current}", 2.0);
    assert!(life.rotate("two").await);
    life.is("tower_secrets_generation{}", 2.0);
    life.is("tower_secrets_window_remaining_seconds{}", 1_000.0);
    life.is("tower_secrets_requests_in_flight{stage=current}", 0.0);
    life.is("tower_secrets_requests_in_flight{stage=previous}", 2.0);
    life.is_version(&first, "current", 0.0);
    life.is_version(&first, "previous", 1.0);
    life.is_version(&life.version(), "current", 1.0);
    assert_eq!(ask(&life.keyring, &of_first).await, Ok(Stage::Previous));
    life.is(
        "tower_secrets_verifications_total{outcome=accepted,stage=previous}",
        1.0,
    );
    // By itself, between two polls.
    tokio::time::sleep(16 * SECOND).await;
    let left = life.kept.get("tower_secrets_window_remaining_seconds{}");
    assert!(left.is_some_and(|left| left < 990.0), "{left:?}");

    assert!(life.rotate("three").await);
    life.is("tower_secrets_windows_cut_short_total{}", 1.0);
    life.is("tower_secrets_requests_in_flight{stage=previous}", 0.0);
    life.is("tower_secrets_requests_in_flight{stage=older}", 2.0);
    life.is_version(&first, "previous", 0.0);
    drop(requests);
    // The loop hears of it.
    tokio::time::sleep(SECOND / 1_000).await;
    life.is("tower_secrets_requests_in_flight{stage=older}", 0.0);
    life.is(
        "tower_secrets_refreshes_total{outcome=swapped,trigger=manual}",
        2.0,
    );

    tokio::time::sleep(OVERLAP + SECOND).await;
    life.is("tower_secrets_window_remaining_seconds{}", 0.0);
    let polls = life
        .kept
        .get("tower_secrets_refreshes_total{outcome=unchanged,trigger=timer}");
    assert!(polls.is_some_and(|polls| polls >= 3.0), "{polls:?}");
}

async fn is_refused_a_version(life: &Life) {
    let current = life.version();
    assert!(!life.rotate("dead").await);
    assert_eq!(life.version(), current);
    life.is(
        "tower_secrets_refreshes_total{outcome=failed_probe,trigger=manual}",
        1.0,
    );
    life.is("tower_secrets_probe_failures_total{probe=upstream}", 1.0);
    life.is("tower_secrets_consecutive_failures{}", 1.0);
    assert!(life.rotate("four").await);
    life.is("tower_secrets_consecutive_failures{}", 0.0);
}

async fn loses_the_store(life: &Life) {
    let answered = "tower_secrets_last_answer_timestamp_seconds{}";
    life.keyring.record_metrics();
    let before = life.kept.get(answered).unwrap();
    life.is("tower_secrets_snapshot_age_seconds{}", 0.0);
    let down = SourceError::new(SourceErrorKind::Unavailable, "down");
    life.store.fail_next(1, down);
    tokio::time::advance(7 * SECOND).await;
    life.keyring.refresh().await.unwrap_err();
    life.is("tower_secrets_source_calls_total{outcome=unavailable}", 1.0);
    life.is(
        "tower_secrets_refreshes_total{outcome=failed_fetch,trigger=manual}",
        1.0,
    );
    life.is("tower_secrets_snapshot_age_seconds{}", 7.0);
    let after = life.kept.get(answered).unwrap();
    assert!((after - before).abs() < 0.01, "{before} {after}");
}

async fn waits_for_a_key(life: &Life, unknown: String) {
    // No token has asked before.
    life.is("tower_secrets_unknown_key_refreshes_total{}", 0.0);
    life.store.pause();
    let asking = tokio::spawn({
        let keyring = life.keyring.clone();
        async move { ask(&keyring, &unknown).await }
    });
    tokio::time::sleep(SECOND).await;
    life.is("tower_secrets_unknown_key_waiters{}", 1.0);
    life.is("tower_secrets_unknown_key_refreshes_total{}", 1.0);
    life.store.resume();
    assert_eq!(asking.await.unwrap(), Err(StatusCode::UNAUTHORIZED));
    life.is("tower_secrets_unknown_key_waiters{}", 0.0);
    life.is(
        "tower_secrets_refreshes_total{outcome=unchanged,trigger=unknown_key}",
        1.0,
    );
    // Without a `kid`; judged before the refresh and after it.
    life.is(
        "tower_secrets_verifications_total{outcome=bad_signature,stage=none}",
        2.0,
    );
}

async fn revokes(life: &Life) {
    let of_current = token(&life.keyring.signer());
    let current = life.version();
    assert!(life.rotate("five").await);
    life.is("tower_secrets_window_remaining_seconds{}", 1_000.0);
    life.is_version(&current, "previous", 1.0);
    assert_eq!(life.keyring.revoke_previous().len(), 1);
    life.is("tower_secrets_window_remaining_seconds{}", 0.0);
    life.is_version(&current, "previous", 0.0);
    assert!(ask(&life.keyring, &of_current).await.is_err());
    life.store
        .stage_pending(document(&Key::new(Kind::Es256), "six"));
    life.keyring.refresh().await.unwrap();
    let pending = life.keyring.status().pending.unwrap().id;
    life.is_version(pending.as_str(), "pending", 1.0);
}

#[tokio::test(start_paused = true)]
async fn a_life_of_many_rotations_has_a_bounded_number_of_series() {
    let kept = Kept::default();
    let _installed = metrics::set_default_local_recorder(&kept);
    let life = Life::begin(&kept).await;
    let infos = || {
        let all = kept.all().into_iter();
        all.filter(|it| it.starts_with("tower_secrets_version_info"))
            .count()
    };
    for n in 0..300 {
        let key = Key::secret("0123456789abcdef0123456789abcdef");
        life.store.rotate(document(&key, &n.to_string()));
        assert!(life.keyring.refresh().await.unwrap().is_swapped());
    }
    let after = infos();
    assert!(after <= 2 * 256 + 2, "{after}");
    life.is_version("other", "current", 1.0);
    life.is_version("other", "previous", 1.0);
    for n in 0..50 {
        let key = Key::secret("0123456789abcdef0123456789abcdef");
        life.store.rotate(document(&key, &format!("again {n}")));
        assert!(life.keyring.refresh().await.unwrap().is_swapped());
    }
    assert_eq!(infos(), after);
}
