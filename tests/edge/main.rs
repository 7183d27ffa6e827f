//! The edges: the tower layers, the axum extractors and the rmcp ones, over a real keyring.
#![allow(clippy::unwrap_used)]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{Request, header::AUTHORIZATION};
use jsonwebtoken::{EncodingKey, Header};
use serde::Deserialize;
use serde_json::{Value, json};
use tower_secrets::{JwtKey, Keyring, RegisteredClaims, clock::TokioClock, source::Memory};

mod authentication;
mod authorization;
mod discovery;
#[cfg(feature = "axum")]
mod extract;
#[cfg(feature = "rmcp")]
mod mcp;
mod readiness;
mod scopes;
mod service;
#[cfg(feature = "rmcp")]
mod streams;

const OLD: &str = "the old secret, of more than 32 bytes";
const NEW: &str = "the new secret, of more than 32 bytes";

#[derive(Debug, Deserialize)]
struct App {
    jwt_secret: JwtKey,
    api_key: String,
}

fn bundle(jwt_secret: &str, api_key: &str) -> String {
    json!({ "jwt_secret": jwt_secret, "api_key": api_key }).to_string()
}

async fn keyring() -> (Memory, Keyring<App>) {
    let source = Memory::new(bundle(OLD, "first"));
    let keyring = Keyring::<App>::builder(source.clone())
        .activation_delay(std::time::Duration::ZERO)
        .jwt_key(|app: &App| &app.jwt_secret)
        .build()
        .await
        .unwrap();
    (source, keyring)
}

/// A token that expires `seconds` from now, signed with `secret`.
fn token_for(secret: &str, seconds: i64, more: Value) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let exp = i64::try_from(now.as_secs()).unwrap() + seconds;
    let mut claims = json!({ "sub": "alice", "exp": exp });
    if let (Value::Object(claims), Value::Object(more)) = (&mut claims, more) {
        claims.extend(more);
    }
    let key = EncodingKey::from_secret(secret.as_bytes());
    jsonwebtoken::encode(&Header::default(), &claims, &key).unwrap()
}

/// A keyring on tokio's clock, and a token of its that is good for that many seconds.
async fn timed(seconds: u64) -> (Memory, Keyring<App>, String) {
    let source = Memory::new(bundle(OLD, "first"));
    let clock = TokioClock::starting_at(UNIX_EPOCH + Duration::from_secs(1_000_000));
    let keyring = Keyring::<App>::builder(source.clone())
        .activation_delay(std::time::Duration::ZERO)
        .jwt_key(|app: &App| &app.jwt_secret)
        .clock(clock)
        .build()
        .await
        .unwrap();
    let end = UNIX_EPOCH + Duration::from_secs(1_000_000 + seconds);
    let claims = RegisteredClaims::new("alice").expires_at(end);
    let token = keyring.signer().sign(&claims).unwrap();
    (source, keyring, token)
}

fn token(secret: &str) -> String {
    token_for(secret, 300, json!({}))
}

fn request<B: Default>(authorization: &str) -> Request<B> {
    Request::builder()
        .header(AUTHORIZATION, authorization)
        .body(B::default())
        .unwrap()
}

fn bearer<B: Default>(token: &str) -> Request<B> {
    request(&format!("Bearer {token}"))
}
