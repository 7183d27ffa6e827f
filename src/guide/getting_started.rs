//! A server whose secrets rotate while it runs, in one file.
//!
//! ```toml
//! [dependencies]
//! tower-secrets = { version = "0.1", features = ["axum", "file"] }
//! axum = "0.8"
//! serde = { version = "1", features = ["derive"] }
//! tokio = { version = "1", features = ["macros", "net", "rt-multi-thread"] }
//! tracing-subscriber = "0.3"
//! ```
//!
//! ```no_run
//! use std::{
//!     sync::Arc,
//!     time::{Duration, SystemTime},
//! };
//!
//! use axum::{Router, routing::get};
//! use serde::Deserialize;
//! use tower_secrets::{
//!     Claims, JwtKey, JwtRotationLayer, Keyring, RegisteredClaims, Secrets, source::File,
//! };
//!
//! /// What the document of the secret holds: all that rotates together.
//! #[derive(Deserialize)]
//! struct App {
//!     jwt_secret: JwtKey, // an HMAC secret, a PEM, a JWK or a JWKS
//!     api_key: String,
//! }
//!
//! async fn whoami(secrets: Secrets<App>, claims: Claims) -> String {
//!     format!("{:?}, by version {}", claims.sub(), secrets.version())
//! }
//!
//! /// Stands for a call of the upstream that the key is for.
//! async fn log_in(app: Arc<App>) -> Result<(), &'static str> {
//!     if app.api_key.is_empty() { Err("the key is empty") } else { Ok(()) }
//! }
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     tracing_subscriber::fmt().init(); // what happens to secrets is told here
//!     let keyring = Keyring::<App>::builder(File::new("secrets"))
//!         .jwt_key(|app| &app.jwt_secret)
//!         .probe("upstream", log_in)
//!         .reload_on_sighup()
//!         .build()
//!         .await?;
//!     // Stands for whoever gives out your tokens.
//!     let claims = RegisteredClaims::new("alice")
//!         .audience("https://api.example")
//!         .expires_at(SystemTime::now() + Duration::from_secs(600));
//!     println!("token={}", keyring.signer().sign(&claims)?);
//!     let tokens = JwtRotationLayer::new(keyring).audience("https://api.example");
//!     let app = Router::new().route("/whoami", get(whoami)).layer(tokens);
//!     axum::serve(tokio::net::TcpListener::bind("127.0.0.1:8080").await?, app).await?;
//!     Ok(())
//! }
//! ```
//!
//! Give it a secret, start it, call it with the token that it prints, and rotate:
//!
//! ```sh
//! umask 077 && mkdir -p secrets
//! random() { head -c 32 /dev/urandom | base64; }
//! printf '{"jwt_secret":"%s","api_key":"one"}' "$(random)" > secrets/current.json
//! cargo run
//! ```
//!
//! ```sh
//! # In another terminal:
//! token=.. # what it printed
//! whoami() { curl -sS -H "authorization: Bearer $token" http://127.0.0.1:8080/whoami; echo; }
//! whoami
//! umask 077
//! random() { head -c 32 /dev/urandom | base64; }
//! cp secrets/current.json secrets/.next && mv secrets/.next secrets/previous.json # previous first
//! printf '{"jwt_secret":"%s","api_key":"two"}' "$(random)" > secrets/.next && mv secrets/.next secrets/current.json
//! sleep 1 # the watch waits until a change is over
//! whoami
//! ```
//!
//! The log says `secrets_reloaded`, and `whoami` names another version: the token of the old key is good, as all of that key are
//! for some 15 minutes more, the default [`overlap`](crate::Builder::overlap); those of the new one are from now on. Write a `current.json` that is no JSON, or whose
//! `jwt_secret` is too short, and the log says why it is not used; what was in use stays.
//!
//! # The three things to decide
//!
//! 1. **What is in the bundle.** Fields that must change together belong into one document. Secrets that rotate apart
//!    have a source each, in a [`Combined`](crate::source::Combined).
//! 2. **Whose tokens you take.** Those of your own [`Signer`](crate::Signer), or those of an identity provider, whose keys
//!    are fetched ([`source::Jwks`](crate::source::Jwks), feature `jwks`). Name the audience either way.
//! 3. **What a new version must pass.** A [`probe`](crate::Builder::probe) for each upstream that can be asked at the price of
//!    one call. It runs before the swap, whatever asked for it, and is what keeps a typing error from becoming an outage.
//!
//! # To see more of it
//!
//! The example `mcp_server` prints what to type at each step; the [README](https://docs.rs/crate/tower-secrets) has it
//! for files, AWS and Vault, with stand-ins for both on your machine. Next: [concepts](super::concepts).
