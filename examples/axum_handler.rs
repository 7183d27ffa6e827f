//! Secrets and claims as arguments of an axum handler, before and after a rotation.
//!
//! ```sh
//! cargo run --example axum_handler --features axum
//! ```

use std::{
    error::Error,
    time::{Duration, SystemTime},
};

use axum::{
    Router,
    body::Body,
    http::{Request, header::AUTHORIZATION},
    routing::get,
};
use http_body_util::BodyExt;
use serde::Deserialize;
use tower::ServiceExt;
use tower_secrets::{
    Claims, JwtKey, JwtRotationLayer, Keyring, RegisteredClaims, Secrets, source::Memory,
};

#[derive(Deserialize)]
struct App {
    jwt_secret: JwtKey,
    greeting: String,
}

/// Both arguments come from one snapshot, whatever is rotated while the handler runs.
async fn greet(secrets: Secrets<App>, claims: Claims) -> String {
    let name = claims.sub().unwrap_or("nobody");
    format!(
        "{}, {name}! (generation {}, your token was signed by the {} key)",
        secrets.greeting,
        secrets.generation(),
        claims.stage(),
    )
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let source =
        Memory::new(r#"{"jwt_secret":"0123456789abcdef0123456789abcdef","greeting":"Hello"}"#);
    let keyring = Keyring::<App>::builder(source.clone())
        .activation_delay(std::time::Duration::ZERO)
        .jwt_key(|app| &app.jwt_secret)
        .build()
        .await?;
    let app = Router::new()
        .route("/greet", get(greet))
        .layer(JwtRotationLayer::new(keyring.clone()));

    let soon = SystemTime::now() + Duration::from_secs(60);
    let token = keyring
        .signer()
        .sign(&RegisteredClaims::new("alice").expires_at(soon))?;
    println!("{}", call(&app, &token).await?);

    source.rotate(r#"{"jwt_secret":"fedcba9876543210fedcba9876543210","greeting":"Welcome"}"#);
    keyring.refresh().await?;
    println!("{}", call(&app, &token).await?);

    println!("{}", call(&app, "a.forged.token").await?);
    Ok(())
}

async fn call(app: &Router, token: &str) -> Result<String, Box<dyn Error>> {
    let request = Request::get("/greet").header(AUTHORIZATION, format!("Bearer {token}"));
    let response = app.clone().oneshot(request.body(Body::empty())?).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    Ok(format!("{status}: {}", String::from_utf8_lossy(&body)))
}
