//! The axum extractors.

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Request, Response},
    routing::get,
};
use serde::Deserialize;
use tower::ServiceExt;
use tower_secrets::{Claims, JwtRotationLayer, RegisteredClaims, Secrets, SecretsLayer};

use crate::{App, OLD, bearer, keyring, token};

#[derive(Clone, Debug, Deserialize)]
struct Roles {}

struct Tenants;

async fn both(secrets: Secrets<App>, claims: Claims) -> String {
    assert_eq!(secrets.generation(), claims.generation());
    format!("{} {}", secrets.api_key, claims.stage())
}

async fn optional(secrets: Option<Secrets<App>>, claims: Option<Claims>) -> String {
    format!("{} {}", secrets.is_some(), claims.is_some())
}

fn routes() -> Router {
    Router::new()
        .route("/both", get(both))
        .route("/optional", get(optional))
        .route("/claims", get(async |_: Claims| ""))
        .route("/roles", get(async |_: Claims<Roles>| ""))
        .route("/optional-roles", get(async |_: Option<Claims<Roles>>| ""))
        .route("/tenants", get(async |_: Secrets<Tenants>| ""))
        .route(
            "/optional-tenants",
            get(async |_: Option<Secrets<Tenants>>| ""),
        )
}

async fn send(router: &Router, path: &str, token: Option<&str>) -> (Response<Body>, String) {
    let mut request: Request<Body> = token.map(bearer).unwrap_or_default();
    *request.uri_mut() = path.parse().unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let text = to_bytes(body, 64 * 1024).await.unwrap();
    let text = String::from_utf8(text.to_vec()).unwrap();
    (Response::from_parts(parts, Body::empty()), text)
}

#[track_caller]
fn assert_mistake((response, text): (Response<Body>, String), named: &[&str]) {
    assert_eq!(response.status(), 500, "{text}");
    for name in named {
        assert!(text.contains(name), "{name} is missing in: {text}");
    }
}

#[tokio::test]
async fn behind_the_layer() {
    let (_, keyring) = keyring().await;
    let router = routes().layer(JwtRotationLayer::new(keyring));
    let token = token(OLD);
    assert_eq!(
        send(&router, "/both", Some(&token)).await.1,
        "first current"
    );
    assert_eq!(
        send(&router, "/optional", Some(&token)).await.1,
        "true true"
    );
    assert_eq!(send(&router, "/both", None).await.0.status(), 401);

    let registered = std::any::type_name::<RegisteredClaims>();
    for path in ["/roles", "/optional-roles"] {
        assert_mistake(
            send(&router, path, Some(&token)).await,
            &["Roles", registered],
        );
    }
    for path in ["/tenants", "/optional-tenants"] {
        let answer = send(&router, path, Some(&token)).await;
        assert_mistake(
            answer,
            &["Secrets<", "Tenants>", "SecretsLayer::new(keyring)"],
        );
    }
}

#[tokio::test]
async fn without_a_layer_all_forms_are_mistakes() {
    let router = routes();
    for path in ["/both", "/optional"] {
        let answer = send(&router, path, None).await;
        assert_mistake(
            answer,
            &["Secrets<", "App>", "JwtRotationLayer::new(keyring)"],
        );
    }
    for path in ["/claims", "/roles", "/optional-roles"] {
        let answer = send(&router, path, None).await;
        assert_mistake(answer, &["Claims<", "JwtRotationLayer::new(keyring)"]);
    }
}

#[tokio::test]
async fn where_tokens_are_optional_so_are_claims() {
    let (_, keyring) = keyring().await;
    let router = routes().layer(JwtRotationLayer::new(keyring).allow_anonymous());
    assert_eq!(send(&router, "/optional", None).await.1, "true false");
    let (response, text) = send(&router, "/claims", None).await;
    assert_eq!(response.status(), 401, "{text}");
    let challenge = &response.headers()["www-authenticate"];
    assert_eq!(challenge, "Bearer realm=\"restricted\"");
}

#[tokio::test]
async fn behind_a_secrets_layer() {
    let (_, keyring) = keyring().await;
    let router = routes().layer(SecretsLayer::new(keyring));
    assert_eq!(
        send(&router, "/optional", Some("unread")).await.1,
        "true false"
    );
    let answer = send(&router, "/claims", None).await;
    assert_mistake(
        answer,
        &["no token is read", "JwtRotationLayer::new(keyring)"],
    );
}
