//! Keyrings whose secrets are marked, and a client that looks for the marks in all it is told.

use axum::{Router, body::Body};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use serde::Deserialize;
use serde_json::Value;
use tower::ServiceExt;
use tower_secrets::{JwtKey, Keyring, source::Memory};

/// In each value of a secret; none may be seen outside.
pub(crate) const MARK: &str = "a-value-of-a-secret";

#[derive(Deserialize)]
pub(crate) struct App {
    pub(crate) jwt_secret: JwtKey,
    pub(crate) api_key: String,
}

pub(crate) fn bundle(api_key: &str) -> String {
    format!(r#"{{"jwt_secret":"{MARK} that signs tokens {api_key}","api_key":"{MARK} {api_key}"}}"#)
}

/// A bundle whose API key is `bad` is refused.
pub(crate) async fn keyring() -> (Memory, Keyring<App>) {
    let source = Memory::new(bundle("one"));
    let keyring = Keyring::<App>::builder(source.clone())
        .jwt_key(|app| &app.jwt_secret)
        .probe("api_key", |app: std::sync::Arc<App>| async move {
            if app.api_key.ends_with("bad") {
                return Err("the upstream refused the key");
            }
            Ok(())
        })
        .build()
        .await
        .unwrap();
    (source, keyring)
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.headers["content-type"], "application/json");
        serde_json::from_str(&self.body).unwrap()
    }
}

pub(crate) async fn send(router: &Router, request: Request<Body>) -> Answer {
    let response = router.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let answer = Answer {
        status: parts.status,
        headers: parts.headers,
        body: String::from_utf8(body.to_vec()).unwrap(),
    };
    let all = format!("{answer:?}");
    assert!(!all.contains(MARK), "a secret's value was told: {all}");
    answer
}

pub(crate) async fn get(router: &Router, path: &str) -> Answer {
    let request = Request::get(path).header("host", "localhost:9090");
    send(router, request.body(Body::empty()).unwrap()).await
}

pub(crate) async fn status(router: &Router) -> Value {
    let answer = get(router, "/status").await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    answer.json()
}

pub(crate) async fn order(router: &Router, path: &str, body: &str) -> Answer {
    let request = Request::post(path)
        .header("host", "localhost:9090")
        .header("content-type", "application/json");
    send(router, request.body(Body::from(body.to_owned())).unwrap()).await
}
