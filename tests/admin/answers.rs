//! What `GET` tells.

use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};
use tower_secrets::{
    Keyring,
    admin::{self, Admin},
    clock::TokioClock,
    source::{Memory, SourceError, SourceErrorKind},
};

use crate::world::{App, bundle, get, keyring, status};

fn unavailable() -> SourceError {
    SourceError::new(SourceErrorKind::Unavailable, "no route to the store")
}

fn members(value: &Value) -> Vec<&str> {
    let mut names: Vec<_> = value
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    names.sort_unstable();
    names
}

/// Whoever reads it relies on these. Add to them; take none away.
#[tokio::test]
async fn the_shape_of_the_status() {
    let (source, keyring) = keyring().await;
    source.rotate(bundle("two"));
    keyring.refresh().await.unwrap();
    source.rotate(bundle("bad"));
    keyring.refresh().await.unwrap_err();
    let told = status(&admin::router(&keyring)).await;

    assert_eq!(told["schema"], 1);
    assert_eq!(
        members(&told),
        [
            "at",
            "instance",
            "keyrings",
            "may_revoke",
            "safe_to_revoke",
            "schema"
        ]
    );
    let secret = &told["keyrings"][0];
    assert_eq!(
        members(secret),
        [
            "consecutive_failures",
            "current",
            "generation",
            "is_degraded",
            "is_running",
            "is_stale",
            "last_failure",
            "last_success",
            "name",
            "pending",
            "previous",
            "quarantine",
            "reasons",
            "recent",
            "refused_parts",
            "refuses",
            "replaced",
            "safe_to_revoke",
            "source",
            "stale_parts",
            "staleness_seconds",
            "warnings",
        ]
    );
    let version = [
        "age_seconds",
        "expires_in_seconds",
        "id",
        "is_revoked",
        "key_ids",
        "latest_exp",
        "since",
    ];
    assert_eq!(members(&secret["current"]), version);
    assert_eq!(members(&secret["previous"]), version);
    assert_eq!(
        members(&secret["replaced"][0]),
        [
            "holders",
            "id",
            "latest_exp",
            "reasons",
            "replaced_at",
            "revoke_upstream_not_before",
            "safe_to_revoke",
            "warnings"
        ]
    );
    assert_eq!(
        members(&secret["last_failure"]),
        ["at", "part", "probe", "step", "text", "version"]
    );
    assert_eq!(
        members(&secret["quarantine"]),
        ["next_try_in_seconds", "part", "tries", "version"]
    );
    assert_eq!(
        members(&secret["recent"][0]),
        ["at", "kind", "level", "text", "times"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_rotation_from_its_first_moment_to_safe() {
    let source = Memory::new(bundle("one"));
    let keyring = Keyring::<App>::builder(source.clone())
        .jwt_key(|app| &app.jwt_secret)
        .overlap(Duration::from_secs(1000))
        .clock(TokioClock::new())
        .build()
        .await
        .unwrap();
    let router = admin::router(&keyring);
    let first = status(&router).await;
    assert_eq!(first["safe_to_revoke"], true);
    assert_eq!(first["keyrings"][0]["replaced"], json!([]));

    let request = keyring.current();
    source.rotate(bundle("two"));
    keyring.refresh().await.unwrap();
    tokio::time::advance(Duration::from_secs(60)).await;
    let told = status(&router).await;
    let secret = &told["keyrings"][0];
    assert_eq!(told["safe_to_revoke"], false);
    assert_eq!(secret["current"]["id"], "2");
    assert_eq!(secret["current"]["age_seconds"], 60.0);
    assert_eq!(secret["previous"]["expires_in_seconds"], 940.0);
    assert_eq!(secret["current"]["expires_in_seconds"], Value::Null);
    assert_eq!(secret["replaced"][0]["holders"], 1);
    let reasons = secret["reasons"].as_array().unwrap();
    let kinds: Vec<_> = reasons
        .iter()
        .map(|it| it["kind"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["trusted", "held"]);
    assert!(reasons.iter().all(|it| it["version"] == "1"));
    assert_eq!(secret["recent"][0]["kind"], "reloaded");
    assert_ne!(told["at"], first["at"]);

    let mut events = keyring.subscribe();
    tokio::time::advance(Duration::from_secs(941)).await;
    keyring.refresh().await.unwrap();
    drop(request);
    while !matches!(
        events.next().await,
        Some(tower_secrets::event::Event::Drained { .. })
    ) {}
    let told = status(&router).await;
    assert_eq!(told["safe_to_revoke"], true, "{told:#}");
    assert_eq!(told["keyrings"][0]["replaced"][0]["id"], "1");
    assert_eq!(told["keyrings"][0]["previous"], Value::Null);
}

#[tokio::test]
async fn a_refused_bundle_is_told_without_its_values() {
    let (source, keyring) = keyring().await;
    let router = admin::router(&keyring);
    source.rotate(bundle("bad"));
    keyring.refresh().await.unwrap_err();
    let told = status(&router).await;
    let secret = &told["keyrings"][0];
    assert_eq!(told["safe_to_revoke"], false);
    assert_eq!(secret["current"]["id"], "1");
    assert_eq!(secret["consecutive_failures"], 1);
    assert_eq!(secret["last_failure"]["step"], "probe");
    assert_eq!(secret["last_failure"]["probe"], "api_key");
    assert_eq!(secret["quarantine"]["version"], "2");
    assert_eq!(secret["recent"][0]["kind"], "reload_failed");
    assert_eq!(secret["recent"][0]["level"], "bad");

    // Not JSON at all: the text of the error must not quote it.
    source.rotate(bundle("three").replace('{', "["));
    keyring.refresh().await.unwrap_err();
    assert_eq!(
        status(&router).await["keyrings"][0]["recent"][0]["kind"],
        "reload_failed"
    );
}

#[tokio::test]
async fn several_secrets_of_several_types_one_row_each() {
    let (_, app) = keyring().await;
    let source = Memory::new(r#"{"other":1}"#);
    let idp = Keyring::<Value>::builder(source.clone())
        .build()
        .await
        .unwrap();
    let router = Admin::new()
        .keyring("app", &app)
        .keyring("idp", &idp)
        .router();
    source.rotate(r#"{"other":2}"#);
    idp.refresh().await.unwrap();
    let told = status(&router).await;
    let names: Vec<_> = told["keyrings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["name"])
        .collect();
    assert_eq!(names, ["app", "idp"]);
    assert_eq!(told["keyrings"][0]["safe_to_revoke"], true);
    assert_eq!(told["keyrings"][1]["safe_to_revoke"], false);
    assert_eq!(told["safe_to_revoke"], false);
}

#[tokio::test]
async fn health_never_asks_the_store_and_ends_with_the_loop() {
    let (source, keyring) = keyring().await;
    let router = admin::router(&keyring);
    source.fail_next(usize::MAX, unavailable());
    keyring.refresh().await.unwrap_err();
    let before = source.fetches();
    for path in ["/healthz", "/readyz", "/status", "/"] {
        assert_eq!(get(&router, path).await.status, StatusCode::OK, "{path}");
    }
    assert_eq!(source.fetches(), before);

    keyring.shutdown().await;
    let ended = get(&router, "/healthz").await;
    assert_eq!(ended.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(ended.body, "secrets is refreshed no more\n");
    assert_eq!(get(&router, "/readyz").await.status, StatusCode::OK);
    // It would not learn of a rotation.
    let told = status(&router).await;
    assert_eq!(told["keyrings"][0]["is_running"], false);
    assert_eq!(told["safe_to_revoke"], false);
    let reasons = told["keyrings"][0]["reasons"].as_array().unwrap();
    assert!(
        reasons.iter().any(|it| it["kind"] == "stopped"),
        "{reasons:?}"
    );
    let nothing = status(&Admin::new().router()).await;
    assert_eq!(nothing["safe_to_revoke"], false);
}

#[tokio::test(start_paused = true)]
async fn staleness_is_no_lack_of_readiness_unless_asked_for() {
    let source = Memory::new(bundle("one"));
    let keyring = Keyring::<App>::builder(source.clone())
        .max_staleness(Duration::from_secs(600))
        .clock(TokioClock::new())
        .build()
        .await
        .unwrap();
    let page = Admin::new().keyring("app", &keyring);
    let strict = page.clone().unready_when_stale().router();
    let lenient = page.router();
    let ready = async |router| get(router, "/readyz").await.status.as_u16();
    assert_eq!(ready(&strict).await, 200);

    source.fail_next(usize::MAX, unavailable());
    tokio::time::advance(Duration::from_secs(601)).await;
    assert_eq!(ready(&lenient).await, 200);
    assert_eq!(ready(&strict).await, 503);
    assert_eq!(status(&strict).await["keyrings"][0]["is_stale"], true);

    source.fail_next(0, unavailable());
    keyring.refresh().await.unwrap();
    assert_eq!(ready(&strict).await, 200);
}

#[tokio::test]
async fn the_page_runs_its_own_script_and_nothing_else() {
    let (_, keyring) = keyring().await;
    let answer = get(&admin::router(&keyring), "/").await;
    assert!(
        answer.headers["content-type"]
            .to_str()
            .unwrap()
            .starts_with("text/html")
    );
    let policy = answer.headers["content-security-policy"].to_str().unwrap();
    for part in [
        "default-src 'none'",
        "script-src 'sha256-",
        "style-src 'sha256-",
        "frame-ancestors 'none'",
    ] {
        assert!(policy.contains(part), "{part}: {policy}");
    }
    assert!(!policy.contains("unsafe"));
    for (name, value) in [
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
        ("cross-origin-resource-policy", "same-origin"),
    ] {
        assert_eq!(answer.headers[name], value);
    }
    for outside in [
        "http://",
        "https://",
        "src=",
        "@import",
        "url(",
        "innerHTML",
        "style=\"",
    ] {
        assert!(!answer.body.contains(outside), "{outside}");
    }
    assert!(answer.body.lines().count() < 200);
}
