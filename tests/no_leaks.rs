//! No value of a secret in any `Debug`, any error, any event: all are made to fail, and grepped.

#![allow(clippy::unwrap_used)]

use std::{
    collections::HashMap,
    convert::Infallible,
    error::Error,
    fmt::Debug,
    io::Write,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use http::{Request, Response};
use serde::Deserialize;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_secrets::{
    JwtKey, JwtRotationLayer, Keyring, Parts, Probe, RegisteredClaims, SecretsLayer, SessionKey,
    clock::TokioClock,
    layer::{Issuer, RequireScopes},
    source::{Fallback, Memory, Source, SourceError, SourceErrorKind, Stage, Version, Versions},
};

/// Every secret in this file contains it.
const MARK: &str = "SWORDFISH";
const JWT: &str = "SWORDFISH-signing-secret-of-more-than-32-bytes";

#[derive(Deserialize)]
struct App {
    jwt: JwtKey,
    session: SessionKey,
    password: String,
    port: u16,
}

const SESSION: &str = "SWORDFISH-session-secret-of-more-than-32-bytes";

fn doc(port: &str) -> String {
    with_keys(&format!("{JWT:?}"), &format!("{SESSION:?}"), port)
}

fn with_keys(jwt: &str, session: &str, port: &str) -> String {
    format!(r#"{{"jwt":{jwt},"session":{session},"password":"SWORDFISH-pw","port":{port}}}"#)
}

/// What was said, and by what.
#[derive(Clone, Default)]
struct Said(Arc<Mutex<HashMap<&'static str, String>>>);

impl Said {
    fn add(&self, who: &'static str, text: String) {
        let mut said = self.0.lock().unwrap();
        said.entry(who).or_default().push_str(&text);
    }

    fn debug(&self, who: &'static str, value: &impl Debug) {
        let text = format!("{value:?}");
        // What shows nothing would pass here whatever it holds.
        let is_shown = !text.is_empty() && ![": ,", ":  }"].iter().any(|gap| text.contains(gap));
        assert!(is_shown, "{who}: {text:?}");
        self.add(who, format!("{text} {value:#?}"));
    }

    fn error(&self, who: &'static str, error: &impl Error) {
        let mut text = format!("{error} {error:?} {error:#?}");
        let mut below = error.source();
        while let Some(error) = below {
            text.push_str(&format!(" {error} {error:?}"));
            below = error.source();
        }
        self.add(who, text);
    }
}

/// Keeps what tracing writes.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

async fn refused(
    said: &Said,
    who: &'static str,
    store: &Memory,
    keyring: &Keyring<App>,
    document: &str,
) {
    store.rotate(document);
    let error = keyring.refresh().await.unwrap_err();
    said.error(who, &error);
    said.debug("status after a failure", &keyring.status());
}

#[tokio::test(start_paused = true)]
async fn nothing_that_is_shown_holds_a_value() {
    let log = Log(Arc::default());
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);

    let said = Said::default();
    let store = Memory::new(doc("1"));
    let builder = Keyring::<App>::builder(store.clone())
        .activation_delay(std::time::Duration::ZERO)
        .jwt_key(|app| &app.jwt)
        .session_key(|app| &app.session)
        .clock(TokioClock::new())
        .probe("talkative", |app: Arc<App>| async move {
            if app.port == 2 {
                Err(format!("cannot log in with {}", app.password))
            } else {
                Ok(())
            }
        });
    said.debug("Builder", &builder);
    let keyring = builder.build().await.unwrap();
    let mut events = keyring.subscribe();

    refused(
        &said,
        "wrong type",
        &store,
        &keyring,
        &doc(r#""SWORDFISH""#),
    )
    .await;
    refused(&said, "out of range", &store, &keyring, &doc("70000")).await;
    refused(&said, "not JSON", &store, &keyring, "{SWORDFISH").await;
    refused(&said, "a string", &store, &keyring, r#""SWORDFISH""#).await;
    refused(&said, "a probe", &store, &keyring, &doc("2")).await;
    for (who, jwt) in [
        ("a short secret", r#""SWORDFISH""#),
        (
            "a broken PEM",
            r#""-----BEGIN PRIVATE KEY-----\nSWORDFISH\n-----END PRIVATE KEY-----""#,
        ),
        ("a broken JWK", r#"{"kty":"oct","k":"SWORDFISH"}"#),
        ("an odd JWK", r#"{"kty":"SWORDFISH","d":"SWORDFISH"}"#),
        (
            "an odd curve",
            r#"{"kty":"EC","crv":"SWORDFISH","x":"SWORDFISH","y":"","d":"SWORDFISH"}"#,
        ),
        ("an empty set", r#"{"keys":[]}"#),
        (
            "a bad set",
            r#"{"keys":[{"kty":"RSA","n":"SWORDFISH","e":"AQAB","d":"SWORDFISH"}]}"#,
        ),
        (
            "a text with a JWK",
            r#""{\"kty\":\"oct\",\"k\":\"SWORDFISH\"}""#,
        ),
        ("a number", "5"),
    ] {
        let document = with_keys(jwt, &format!("{SESSION:?}"), "1");
        refused(&said, who, &store, &keyring, &document).await;
    }
    for (who, session) in [
        ("a short session key", r#""SWORDFISH""#),
        (
            "a JWK as session key",
            r#""{\"kty\":\"oct\",\"k\":\"SWORDFISH-SWORDFISH\"}""#,
        ),
        ("a session key in an array", r#"["SWORDFISH"]"#),
        ("the JWT key as session key", &format!("{JWT:?}")),
    ] {
        let document = with_keys(&format!("{JWT:?}"), session, "1");
        refused(&said, who, &store, &keyring, &document).await;
    }

    let prepared = Keyring::<App>::builder(Memory::new(doc("1")))
        .clock(TokioClock::new())
        .start_budget(Duration::ZERO)
        .prepare(|app: Arc<App>, parts: Parts| async move {
            Err::<(), _>(format!("{parts:?}: cannot connect with {}", app.password))
        })
        .build()
        .await;
    said.error("BuildError", &prepared.unwrap_err());

    store.rotate(doc("3"));
    keyring.refresh().await.unwrap();
    let secrets = keyring.current();
    assert_eq!(secrets.password, "SWORDFISH-pw", "the bundle itself has it");
    let signer = keyring.signer();
    let claims =
        RegisteredClaims::new("alice").expires_at(SystemTime::now() + Duration::from_secs(60));
    let token = signer.sign(&claims).unwrap();
    said.debug("Secrets", &secrets);
    said.debug("Keyring", &keyring);
    said.debug("Status", &keyring.status());
    said.debug("Signer", &signer);
    said.debug("JwtKey", &secrets.jwt);
    said.debug("SessionKey", &secrets.session);
    said.debug("SessionKeys", &keyring.session_keys());
    said.debug(
        "JwtKey of a JWK",
        &JwtKey::from_jwk(r#"{"kty":"oct","k":"SWORDFISH"}"#),
    );
    said.debug(
        "JwtKey of a PEM",
        &JwtKey::from_pem("-----BEGIN X-----\nSWORDFISH"),
    );
    said.debug("Memory", &store);
    said.debug("BoxSource", &store.clone().boxed());
    said.debug("Fallback", &Fallback::new(store.clone(), store.clone()));
    said.debug("Versions", &store.fetch().await.unwrap());
    said.debug("Version", &Version::new("1", doc("1")));
    said.debug(
        "Probe",
        &Probe::new("p", |_: Arc<App>| async { Ok::<_, String>(()) }),
    );
    said.debug("Parts", &Parts::default());
    let pinning = SecretsLayer::new(keyring.clone());
    said.debug("SecretsLayer", &pinning);
    said.debug("PinSecrets", &pinning.layer(()));
    drop(pinning);

    let issuer = Issuer::new("https://login.example", keyring.clone()).audience("tools");
    said.debug("Issuer", &issuer);
    let layer = JwtRotationLayer::new(keyring.clone());
    said.debug("JwtRotationLayer that trusts", &layer.clone().trust(issuer));
    said.debug("JwtRotationLayer", &layer);
    said.debug("JwtRotation", &layer.layer(()));
    let scopes = RequireScopes::new(["tools:call"]).unwrap();
    said.debug("RequireScopes", &scopes);
    said.debug("RequireScopes around a service", &scopes.layer(()));
    let inner = service_fn(|request: Request<()>| {
        let shown = Response::new(format!("{:?}", request.extensions()));
        std::future::ready(Ok::<_, Infallible>(shown))
    });
    let no_caller = scopes.layer(inner).oneshot(Request::new(())).await.unwrap();
    said.add("a request that no layer knows", format!("{no_caller:?}"));
    let mut service = layer.layer(inner);
    let flawed = format!("{token}x");
    for (who, token) in [("a good request", &token), ("a refused request", &flawed)] {
        let request = Request::builder()
            .header("authorization", format!("Bearer {token}"))
            .body(())
            .unwrap();
        let response = service.ready().await.unwrap().call(request);
        said.debug("ResponseFuture", &response);
        let response = response.await.unwrap();
        said.add(who, format!("{response:?}"));
        let refusal = response.extensions().get::<tower_secrets::layer::Refusal>();
        said.debug("Refusal", &refusal);
        assert!(
            !said.0.lock().unwrap()[who].contains(token.as_str()),
            "the token is a secret too"
        );
    }

    let set = r#"{"keys":[
        {"kty":"oct","k":"QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWY"},
        {"kty":"oct","k":"SWORDFISH"}]}"#;
    store.rotate(with_keys(set, &format!("{SESSION:?}"), "4"));
    keyring.refresh().await.unwrap();

    let foreign = SourceError::new(SourceErrorKind::Other, "down");
    said.error("SourceError", &foreign);
    let view = Versions::new(Version::new("9", doc("9")));
    store.set(
        view.with_unreadable(Stage::Previous, foreign)
            .with_pending(Version::new("10", "SWORDFISH")),
    );
    keyring.refresh().await.unwrap();
    keyring.shutdown().await;
    drop((keyring, service, layer, secrets, signer));
    while let Some(event) = events.next().await {
        said.debug("Event", &event);
    }

    let written = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    for name in [
        "secrets_reload_failed",
        "secrets_reloaded",
        "secrets_stage_skipped",
        "WARN tower_secrets::event: secrets_key_skipped",
    ] {
        assert!(
            written.contains(name),
            "{name} was not logged, so nothing was looked at"
        );
    }
    let refusals: Vec<_> = written
        .lines()
        .filter(|line| line.contains("secrets_request_refused"))
        .collect();
    let told = [
        ["ERROR", "misconfigured", "JwtRotationLayer::new("],
        ["DEBUG", "invalid_token", "BadSignature"],
    ];
    assert_eq!(refusals.len(), told.len(), "{refusals:#?}");
    for (refusal, parts) in refusals.iter().zip(told) {
        assert!(parts.iter().all(|part| refusal.contains(part)), "{refusal}");
    }
    assert!(!written.contains(&token), "{written}");
    said.add("the log", written);
    let said = said.0.lock().unwrap();
    for (who, text) in said.iter() {
        assert!(!text.contains(MARK), "{who}: {text}");
    }
    assert!(said.len() > 30, "{} places", said.len());
}

#[cfg(feature = "jwks")]
#[tokio::test]
async fn however_many_secrets_a_key_server_serves_one_event_tells_of_them() {
    use axum::{Json, Router, routing::get};
    use serde_json::json;
    use tower_secrets::source::Jwks;

    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone());
    let _guard = tracing::subscriber::set_default(subscriber.with_ansi(false).finish());

    let long = "n".repeat(100);
    let secret = |n: usize| json!({ "kty": "oct", "kid": format!("{n}{long}"), "k": MARK });
    let mut keys: Vec<_> = (0..1_000).map(secret).collect();
    keys.push(json!({ "kty": "RSA", "kid": "a", "n": "AQAB", "e": "AQAB" }));
    let set = json!({ "keys": keys });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/keys", listener.local_addr().unwrap());
    let routes = Router::new().route("/keys", get(|| async { Json(set) }));
    let server = tokio::spawn(async { axum::serve(listener, routes).await.unwrap() });
    Jwks::new(url).fetch().await.unwrap();
    server.abort();

    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert_eq!(log.matches("secrets_jwks_secret_served").count(), 1);
    assert!(log.contains("keys=1000") && log.len() < 1_000, "{log}");
    assert!(!log.contains(MARK));
}

/// A store that is not up yet is an outage, and no version was refused.
#[tokio::test(start_paused = true)]
async fn what_a_start_waits_for_is_told_for_what_it_is() {
    let log = Log(Arc::default());
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone());
    let _guard = tracing::subscriber::set_default(subscriber.with_ansi(false).finish());
    let store = Memory::new(doc("1"));
    let down = SourceError::new(SourceErrorKind::Unavailable, "the store is down");
    store.fail_next(1, down);
    let build = || Keyring::<App>::builder(store.clone()).clock(TokioClock::new());
    build().build().await.unwrap();
    let told = String::from_utf8(std::mem::take(&mut *log.0.lock().unwrap())).unwrap();
    assert!(told.contains("secrets_reload_error"), "{told}");
    assert!(!told.contains("secrets_reload_failed"), "{told}");
    store.rotate("[]");
    build().build().await.unwrap_err();
    let told = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(told.contains("secrets_reload_failed"), "{told}");
    assert!(!told.contains("secrets_reload_error"), "{told}");
}
