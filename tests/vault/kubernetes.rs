//! The Kubernetes login: OpenBao asks a stand-in for the TokenReview API, on loopback, about the
//! token of a service account.

use std::{
    fs,
    sync::{Arc, Mutex},
};

use axum::{Json, Router, extract::State, routing::post};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tower_secrets::source::{Source, SourceErrorKind, Vault, VaultAuth};

use crate::session::bao;

const ACCOUNT: &str = "system:serviceaccount:default:my-server";

/// The one token that is good, and those that were asked about.
#[derive(Default)]
struct Reviewer {
    good: Mutex<String>,
    asked: Mutex<Vec<String>>,
}

/// Gives its address.
async fn serve(reviewer: Arc<Reviewer>) -> String {
    let path = "/apis/authentication.k8s.io/v1/tokenreviews";
    let app = Router::new().route(path, post(review)).with_state(reviewer);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

async fn review(State(reviewer): State<Arc<Reviewer>>, Json(review): Json<Value>) -> Json<Value> {
    let token = review["spec"]["token"].as_str().unwrap().to_owned();
    let is_good = *reviewer.good.lock().unwrap() == token;
    reviewer.asked.lock().unwrap().push(token);
    let status = match is_good {
        true => json!({
            "authenticated": true,
            "audiences": review["spec"]["audiences"],
            "user": { "username": ACCOUNT, "uid": "a uid", "groups": ["system:serviceaccounts"] },
        }),
        false => json!({ "authenticated": false, "error": "unknown token" }),
    };
    Json(json!({
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenReview",
        "status": status,
    }))
}

/// As the kubelet mounts it. Nobody here checks its signature: that is what TokenReview is for.
fn service_account_token(number: u32) -> String {
    let claims = json!({
        "iss": "https://kubernetes.default.svc",
        "aud": ["https://kubernetes.default.svc"],
        "sub": ACCOUNT,
        "nbf": 1_700_000_000_u64,
        "iat": 1_700_000_000_u64,
        "exp": 4_000_000_000_u64,
        "kubernetes.io": {
            "namespace": "default",
            "serviceaccount": { "name": "my-server", "uid": "a uid" },
        },
        "jti": number.to_string(),
    });
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256","typ":"JWT"}"#);
    let claims = URL_SAFE_NO_PAD.encode(claims.to_string());
    let signature = URL_SAFE_NO_PAD.encode([7; 256]);
    format!("{header}.{claims}.{signature}")
}

#[tokio::test]
async fn the_service_account_is_read_again_at_each_login() {
    let Some(bao) = bao().await else { return };
    let reviewer = Arc::new(Reviewer::default());
    let host = serve(reviewer.clone()).await;
    bao.write("sys/auth/k8s", json!({ "type": "kubernetes" }))
        .await;
    let config = json!({
        "kubernetes_host": host,
        "token_reviewer_jwt": service_account_token(0),
        "kubernetes_ca_cert": "of no use over plain HTTP",
        "disable_local_ca_jwt": true,
    });
    bao.write("auth/k8s/config", config).await;
    let role = json!({
        "bound_service_account_names": "my-server",
        "bound_service_account_namespaces": "default",
        "audience": "https://kubernetes.default.svc",
        "token_policies": "app",
    });
    bao.write("auth/k8s/role/my-server", role).await;

    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    let auth = VaultAuth::kubernetes("my-server")
        .mount("k8s")
        .service_account_token(&file);
    let source = Vault::new(&bao.client_with(auth), "app");
    for number in 1..=2 {
        let token = service_account_token(number);
        fs::write(&file, &token).unwrap();
        reviewer.good.lock().unwrap().clone_from(&token);
        source.fetch().await.unwrap();
        source.fetch().await.unwrap();
        assert_eq!(
            std::mem::take(&mut *reviewer.asked.lock().unwrap()),
            [token]
        );
        bao.write("sys/leases/revoke-prefix/auth/k8s", json!({}))
            .await;
    }

    // Kubernetes has replaced the token, and the file still holds the old one.
    reviewer.good.lock().unwrap().clear();
    let error = source.fetch().await.unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::Unauthenticated, "{error}");
    assert!(!error.to_string().contains(&service_account_token(2)));
    fs::write(&file, "").unwrap();
    let error = source.fetch().await.unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::Unauthenticated, "{error}");
    assert!(error.to_string().contains("it is empty"), "{error}");
}
