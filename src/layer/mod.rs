//! The HTTP edge: a tower layer that lets a request through when its bearer token verifies.
//!
//! [`JwtRotationLayer`] goes around any `Service<Request<B>, Response = Response<R>>` and keeps
//! both body types. For each request it pins one snapshot, verifies the token against that
//! snapshot's keys (current, previous, pending), and puts into the request's extensions
//!
//! * the pinned [`Secrets<T>`](crate::Secrets), and
//! * the [`Authentication`](crate::Authentication): claims, stage, version, generation, key id,
//!
//! so that a handler sees one generation only, whatever is rotated meanwhile. It never waits.
//!
//! ```
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//! use tower_secrets::{JwtKey, JwtRotationLayer, Keyring, layer::TextBody, source::Memory};
//!
//! #[derive(serde::Deserialize)]
//! struct App {
//!     jwt_secret: JwtKey,
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let bundle = serde_json::json!({ "jwt_secret": "a secret of at least thirty-two bytes" });
//! let keyring = Keyring::<App>::builder(Memory::new(bundle.to_string()))
//!     .jwt_key(|app: &App| &app.jwt_secret)
//!     .build()
//!     .await?;
//!
//! let service = ServiceBuilder::new()
//!     .layer(
//!         JwtRotationLayer::new(keyring)
//!             .issuer("https://login.example")
//!             .audience("https://api.example/mcp")
//!             .respond_with(TextBody),
//!     )
//!     .service(service_fn(async |_: http::Request<String>| {
//!         Ok::<_, std::convert::Infallible>(http::Response::new(bytes::Bytes::from("hello")))
//!     }));
//!
//! let response = service.oneshot(http::Request::new(String::new())).await?;
//! assert_eq!(response.status(), 401);
//! assert_eq!(response.headers()["www-authenticate"], "Bearer realm=\"restricted\"");
//! # Ok(())
//! # }
//! ```
//!
//! # What is answered
//!
//! | request | status | `WWW-Authenticate` (RFC 6750 section 3) |
//! |---|---|---|
//! | no token, or another scheme's credentials alone | 401 | no `error` |
//! | Bearer credentials of a bad form, two `Authorization` headers | 400 | `invalid_request` |
//! | any token that does not pass | 401 | `invalid_token`, a description fixed by the reason |
//! | secrets older than the keyring's `refuse_after` | 503 | none |
//! | a keyring without `.jwt_key(..)` | 500 | none |
//!
//! How it looks beyond that is a [`Respond`]. A token is read from the header alone, never from
//! the query string, and the header is marked sensitive for what logs headers further in; a layer
//! that logs them *outside* of this one should do so itself.
//!
//! # Browsers
//!
//! A preflight request carries no token. Put `CorsLayer` outside of this layer, so that it answers
//! first.

mod bearer;
mod challenge;
mod extract_error;
mod future;
#[expect(
    clippy::module_inception,
    reason = "the file of the `Layer`, beside that of the `Service`"
)]
mod layer;
mod pinned;
mod refusal;
mod respond;
mod secrets_layer;
mod service;

pub use self::{
    challenge::InvalidRealm,
    extract_error::{ExtractError, ExtractErrorKind},
    future::ResponseFuture,
    layer::JwtRotationLayer,
    refusal::{Refusal, RefusalKind},
    respond::{EmptyBody, Respond, TextBody},
    secrets_layer::{PinSecrets, SecretsLayer},
    service::JwtRotation,
};

#[cfg(feature = "rmcp")]
pub(crate) use self::pinned::Anonymous;
