//! What the contenders are built from: keys, a runtime for those that need one, and a server that
//! publishes the keys as an identity provider does.

use axum::{Json, Router, extract::State, routing::get};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::{
    keys::{Algorithm, Key},
    tokens::ISSUER,
};

pub struct Setup {
    pub algorithm: Algorithm,
    pub key: Key,
    /// Where the identity provider listens, without a slash at the end.
    pub provider: String,
    runtime: Runtime,
}

impl Setup {
    pub fn new(algorithm: Algorithm) -> Self {
        let key = Key::generate(algorithm);
        // One thread, idle whenever something is measured.
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime starts");
        let provider = runtime.block_on(serve(key.jwks()));
        Self {
            algorithm,
            key,
            provider,
            runtime,
        }
    }

    /// Runs what has to wait for something, before anything is measured.
    pub fn wait<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }
}

async fn serve(jwks: Value) -> String {
    let bound = "the loopback interface has a free port";
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect(bound);
    let url = format!("http://{}", listener.local_addr().expect(bound));
    let discovery = json!({
        "issuer": ISSUER,
        "jwks_uri": format!("{url}/jwks"),
        "authorization_endpoint": format!("{url}/authorize"),
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256", "ES256", "EdDSA"],
    });
    let answer = get(|State(document): State<Value>| async { Json(document) });
    let app = Router::new()
        .route("/jwks", answer.clone().with_state(jwks))
        .route(
            "/realms/main/.well-known/openid-configuration",
            answer.with_state(discovery),
        );
    tokio::spawn(async { axum::serve(listener, app).await });
    url
}
