//! Who is let through.

use std::time::{Duration, SystemTime};

use axum::{Router, body::Body};
use http::{Method, Request, StatusCode};
use tower_secrets::{
    JwtRotationLayer, Keyring, RegisteredClaims,
    admin::{Admin, InvalidGuard},
};

use crate::world::{Answer, App, keyring, send};

const TOKEN: &str = "0123456789abcdef-operator";

async fn ask(router: &Router, method: Method, path: &str, authorization: Option<&str>) -> Answer {
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "secrets.internal:9090")
        .header("content-type", "application/json");
    if let Some(value) = authorization {
        request = request.header("authorization", value);
    }
    send(router, request.body(Body::empty()).unwrap()).await
}

const GUARDED: [(Method, &str); 3] = [
    (Method::GET, "/status"),
    (Method::POST, "/reload"),
    (Method::POST, "/revoke"),
];

#[tokio::test]
async fn the_operator_s_token_and_no_other() {
    let (_, keyring) = keyring().await;
    let page = Admin::new()
        .keyring("app", &keyring)
        .bearer_token(TOKEN)
        .unwrap();
    assert!(!format!("{page:?}").contains(TOKEN));
    let router = page.router();
    let good = format!("Bearer {TOKEN}");
    for (method, path) in GUARDED {
        for bad in [
            None,
            Some("Bearer"),
            Some("Bearer 0123456789abcdef-operatoR"),
            Some("Bearer 0123456789abcdef-operator2"),
            Some("Basic 0123456789abcdef-operator"),
            Some(TOKEN),
        ] {
            let answer = ask(&router, method.clone(), path, bad).await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path} {bad:?}");
            assert_eq!(
                answer.headers["www-authenticate"],
                r#"Bearer realm="secrets""#
            );
        }
        // Revoking is off.
        let expected = if path == "/revoke" { 403 } else { 200 };
        let answer = ask(&router, method, path, Some(&good)).await;
        assert_eq!(answer.status, expected, "{path}");
    }
    // They hold nothing, and an orchestrator has no token.
    for open in ["/", "/healthz", "/readyz"] {
        assert_eq!(
            ask(&router, Method::GET, open, None).await.status,
            StatusCode::OK
        );
    }
}

#[tokio::test]
async fn who_has_no_token_is_told_no_name() {
    let (_, keyring) = keyring().await;
    keyring.shutdown().await;
    let page = Admin::new().keyring("idp-prod", &keyring);
    let router = page.bearer_token(TOKEN).unwrap().router();
    let answer = ask(&router, Method::GET, "/healthz", None).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.body, "a keyring is refreshed no more\n");
}

fn bearer(keyring: &Keyring<App>, scope: &str) -> String {
    let later = SystemTime::now() + Duration::from_secs(60);
    let claims = RegisteredClaims::new("alice").expires_at(later);
    let mut claims = serde_json::to_value(&claims).unwrap();
    claims["scope"] = scope.into();
    format!("Bearer {}", keyring.signer().sign(&claims).unwrap())
}

#[tokio::test]
async fn a_layer_with_a_scope() {
    let (_, keyring) = keyring().await;
    let layer = JwtRotationLayer::new(keyring.clone());
    let layer = layer.required_scopes(["secrets:operate"]).unwrap();
    let page = Admin::new().keyring("app", &keyring);
    let router = page.guarded_by(layer).unwrap().router();
    let operator = bearer(&keyring, "secrets:operate");
    let user = bearer(&keyring, "files:read");
    for (method, path) in GUARDED {
        let ask = async |token| ask(&router, method.clone(), path, token).await.status;
        assert_eq!(ask(None).await, 401, "{path}");
        assert_eq!(ask(Some(&user)).await, 403, "{path}");
        let expected = if path == "/revoke" { 403 } else { 200 };
        assert_eq!(ask(Some(&operator)).await, expected, "{path}");
    }
    assert_eq!(
        ask(&router, Method::GET, "/healthz", None).await.status,
        200
    );
}

#[tokio::test]
async fn guards_that_keep_nobody_out_are_refused() {
    let (_, keyring) = keyring().await;
    let page = Admin::new().keyring("app", &keyring);
    let any_user = page.clone().guarded_by(JwtRotationLayer::new(keyring));
    assert_eq!(any_user.unwrap_err(), InvalidGuard::NoScope);
    for (token, why) in [
        ("", InvalidGuard::ShortToken),
        ("0123456789abcdefghijk", InvalidGuard::ShortToken),
        ("0123456789 abcdefghijk", InvalidGuard::BadToken),
        ("0123456789\nabcdefghijk", InvalidGuard::BadToken),
    ] {
        assert_eq!(page.clone().bearer_token(token).unwrap_err(), why);
    }
}

#[tokio::test]
async fn unguarded_it_answers_for_names_of_its_own() {
    let (_, keyring) = keyring().await;
    let page = Admin::new()
        .keyring("app", &keyring)
        .host("secrets.internal");
    let router = page.router();
    let ask = async |path: &str, host: Option<&str>| {
        let mut request = Request::get(path);
        if let Some(host) = host {
            request = request.header("host", host);
        }
        send(&router, request.body(Body::empty()).unwrap())
            .await
            .status
    };
    for own in [
        "localhost",
        "LOCALHOST:1",
        "127.0.0.1:9090",
        "127.1.2.3",
        "[::1]:9090",
        "[::ffff:127.0.0.1]",
        "Secrets.Internal:80",
    ] {
        assert_eq!(ask("/status", Some(own)).await, 200, "{own}");
        assert_eq!(ask("/", Some(own)).await, 200, "{own}");
    }
    for other in [
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "10.0.0.1:9090",
        "[::2]",
        "",
        "not a host",
    ] {
        assert_eq!(ask("/status", Some(other)).await, 421, "{other}");
        assert_eq!(ask("/", Some(other)).await, 421, "{other}");
        // A kubelet calls by the pod's address.
        assert_eq!(ask("/healthz", Some(other)).await, 200, "{other}");
    }
    assert_eq!(ask("/status", None).await, 421);
}
