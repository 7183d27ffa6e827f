//! Coming from a `Mutex<Secrets>`, jwt-authorizer, axum-jwt-auth or the AWS caching client: before and after.
//! What is ours here is compiled; the code of other crates is as their documentation and their sources have it.
//!
//! # A `Mutex<Secrets>`, or an `ArcSwap`
//!
//! Before: a task reloads, handlers lock. A half-written file is swapped in, the old JWT key is refused at that moment, two reads in
//! one request may be of two versions, and nobody knows whether the old password is still in use.
//!
//! ```
//! # use std::sync::{Arc, Mutex};
//! struct Secrets {
//!     jwt_secret: String,
//!     api_key: String,
//! }
//!
//! struct State(Arc<Mutex<Secrets>>);
//!
//! impl State {
//!     fn reload(&self, text: &str) -> Option<()> {
//!         let (jwt_secret, api_key) = text.split_once(' ')?;
//!         *self.0.lock().ok()? = Secrets { jwt_secret: jwt_secret.into(), api_key: api_key.into() };
//!         Some(())
//!     }
//! }
//! # let state = State(Arc::new(Mutex::new(Secrets { jwt_secret: String::new(), api_key: String::new() })));
//! # state.reload("a b").unwrap();
//! # let it = state.0.lock().unwrap();
//! # assert_eq!((it.jwt_secret.as_str(), it.api_key.as_str()), ("a", "b"));
//! ```
//!
//! After: the same struct, with a [`JwtKey`](crate::JwtKey) where a key verifies tokens. The reload is the keyring's.
//!
//! ```no_run
//! # use std::sync::Arc;
//! use axum::{Router, routing::get};
//! use tower_secrets::{JwtKey, JwtRotationLayer, Keyring, Secrets};
//! # use tower_secrets::source::{BoxSource, Memory, Source};
//!
//! #[derive(serde::Deserialize)]
//! struct App {
//!     jwt_secret: JwtKey,
//!     api_key: String,
//! }
//!
//! async fn handler(secrets: Secrets<App>) -> String {
//!     format!("{} bytes", secrets.api_key.len()) // no lock, and one version for the whole request
//! }
//!
//! # async fn serve(source: BoxSource) -> Result<(), Box<dyn std::error::Error>> {
//! let keyring = Keyring::<App>::builder(source).jwt_key(|app| &app.jwt_secret).reload_on_sighup().build().await?;
//! let app: Router = Router::new().route("/", get(handler)).layer(JwtRotationLayer::new(keyring));
//! # drop(app);
//! # Ok(())
//! # }
//! ```
//!
//! | it was | it is |
//! |---|---|
//! | `state.lock().api_key.clone()` in a handler | the argument `secrets: Secrets<App>` |
//! | the same in a background task | `keyring.current()`, for each unit of work |
//! | a file watch, a timer, a signal handler | [`File`](crate::source::File), [`refresh_every`](crate::Builder::refresh_every), [`reload_on_sighup`](crate::Builder::reload_on_sighup) |
//! | "reload, and hope" | a [`probe`](crate::Builder::probe), and [`prepare`](crate::Builder::prepare) for a pool |
//!
//! # jwt-authorizer 0.15
//!
//! Before (axum 0.7):
//!
//! ```text
//! let auth: Authorizer<User> = JwtAuthorizer::from_jwks_url("https://login.example/jwks")
//!     .validation(Validation::new().iss(&["https://login.example"]).aud(&["https://api.example"]))
//!     .build()
//!     .await?;
//! let app = Router::new().route("/", get(handler)).layer(auth.into_layer());
//!
//! async fn handler(JwtClaims(user): JwtClaims<User>) -> String { .. }
//! ```
//!
//! After:
//!
//! ```no_run
//! use axum::{Router, routing::get};
//! use tower_secrets::{Claims, JwtKey, JwtRotationLayer, Keyring, source::Jwks};
//!
//! #[derive(serde::Deserialize)]
//! struct User {
//!     email: String,
//! }
//!
//! async fn handler(user: Claims<User>) -> String {
//!     user.email.clone()
//! }
//!
//! # async fn app() -> Result<Router, Box<dyn std::error::Error>> {
//! let keys = Keyring::<JwtKey>::builder(Jwks::new("https://login.example/jwks")).jwt_key(|keys| keys).build().await?;
//! let tokens = JwtRotationLayer::new(keys)
//!     .issuer("https://login.example")
//!     .audience("https://api.example")
//!     .claims::<User>();
//! # Ok(
//! Router::new().route("/", get(handler)).layer(tokens)
//! # )
//! # }
//! ```
//!
//! | it was | it is |
//! |---|---|
//! | `from_oidc(issuer)` | [`Jwks::discover(issuer)`](crate::source::Jwks::discover) |
//! | `from_secret`, `from_rsa_pem`, `from_ec_pem`, .. | a field of type [`JwtKey`](crate::JwtKey) of your bundle, from any source, so that it rotates |
//! | `.refresh(..)`, `.no_refresh()` | [`refresh_every`](crate::Builder::refresh_every), and [`refresh_on_unknown_key`](crate::Builder::refresh_on_unknown_key), on by default for `Jwks` |
//! | `.check(\|claims\| ..)`, with a 403 | [`scope_rule`](crate::JwtRotationLayer::scope_rule) with [`required_scopes`](crate::JwtRotationLayer::required_scopes); other checks in the handler |
//! | `[auth1, auth2].into_layer()`, tried in turn | [`trust`](crate::JwtRotationLayer::trust): `iss` chooses one, and no key judges another issuer's token |
//!
//! What changes: an issuer or audience that is configured is also required of a token; the first fetch is in `build()`, so a wrong URL is an
//! error there and not a 500 later; keys that vanish from the set are refused.
//!
//! # axum-jwt-auth 0.7
//!
//! Before:
//!
//! ```text
//! let decoder = RemoteJwksDecoder::builder().jwks_url(url).validation(validation).build()?;
//! let decoder = Arc::new(decoder);
//! let shutdown = decoder.initialize().await?;
//! let decoder: Decoder<User> = decoder;
//! let app = Router::new().route("/", get(handler)).with_state(decoder);
//!
//! async fn handler(user: Claims<User>) -> String { user.claims.email }
//! ```
//!
//! After:
//!
//! ```no_run
//! use axum::{Router, routing::get};
//! use tower_secrets::{Claims, JwtKey, JwtRotationLayer, Keyring, source::Jwks};
//! # #[derive(serde::Deserialize)] struct User { email: String }
//!
//! async fn handler(user: Claims<User>) -> String {
//!     user.email.clone()
//! }
//!
//! # async fn app(url: &str) -> Result<Router, Box<dyn std::error::Error>> {
//! let keys = Keyring::<JwtKey>::builder(Jwks::new(url)).jwt_key(|keys| keys).build().await?;
//! let tokens = JwtRotationLayer::new(keys).audience("https://api.example").claims::<User>();
//! let app = Router::new().route("/", get(handler)).layer(tokens);
//! # Ok(app)
//! # }
//! ```
//!
//! The extractor has the same name and is `Deref`, so `user.email`; the layer takes the place of the state, and also covers routes
//! whose handlers ask for no claims. There is no `initialize`, and nothing to shut down: the loop ends with the last handle of the
//! keyring.
//!
//! | it was | it is |
//! |---|---|
//! | `LocalDecoder` with `DecodingKey::from_secret` | a `JwtKey` in the bundle |
//! | a second `DecodingKey` for the old key, by a deployment | previous, which the store names and the window ends |
//! | `Validation::set_audience`, `set_issuer` | `.audience(..)`, `.issuer(..)` |
//! | a token in a cookie or another header | no: RFC 6750's `Authorization` alone. Move it there in a layer further out |
//!
//! # aws_secretsmanager_caching
//!
//! Before:
//!
//! ```text
//! let cache = SecretsManagerCachingClient::default(NonZeroUsize::new(10)?, Duration::from_secs(300)).await?;
//! // at each use, in each request:
//! let text = cache.get_secret_value("mcp/app", ..).await?.secret_string;
//! let app: App = serde_json::from_str(&text?)?;
//! ```
//!
//! After:
//!
//! ```no_run
//! use tower_secrets::{Keyring, source::SecretsManager};
//!
//! #[derive(serde::Deserialize)]
//! struct App {
//!     api_key: String,
//! }
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let keyring = Keyring::<App>::builder(SecretsManager::from_env("mcp/app").await).build().await?;
//! // at each use: no call, no parsing, no error to handle
//! let secrets = keyring.current();
//! let api_key = &secrets.api_key;
//! # let _ = api_key;
//! # Ok(())
//! # }
//! ```
//!
//! | it was | it is |
//! |---|---|
//! | a TTL, after which the next *caller* fetches, and gets the error of AWS | [`refresh_every`](crate::Builder::refresh_every), in the background; an outage keeps what is in use |
//! | AWSCURRENT alone | current, previous and pending from one consistent answer |
//! | `secretsmanager:GetSecretValue` each TTL | `DescribeSecret`; a value is read once |
//! | one cache for many secrets, found by name | a keyring for what rotates together, or a [`Combined`](crate::source::Combined) |
