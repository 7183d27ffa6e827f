//! The HTTP edge: a tower layer that lets a request through when its bearer token verifies.
//!
//! [`JwtRotationLayer`] goes around any `Service<Request<B>, Response = Response<R>>` and keeps
//! both body types. For each request it pins one snapshot, verifies the token against that
//! snapshot's keys (current, previous, pending), and leaves in the request's extensions
//!
//! * the [`Authentication`](crate::Authentication): claims, stage, version, generation, key id, and
//! * the pinned snapshot, for
//!   [`Secrets::from_extensions`](crate::Secrets::from_extensions) and the extractors,
//!
//! so that a handler sees one generation only, whatever is rotated meanwhile. It never waits, but for a
//! token of an unknown key where the keyring allows that
//! ([`Builder::refresh_on_unknown_key`](crate::Builder::refresh_on_unknown_key)); such a request lives on
//! the generation that the refresh brought.
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
//! | a token that does not grant a scope that the call needs | 403 | `insufficient_scope`, with every scope that it needs |
//! | secrets older than the keyring's `refuse_after` | 503 | none |
//! | a keyring without `.jwt_key(..)`; an issuer's tokens for any audience, unless [`any_audience`](JwtRotationLayer::any_audience) says that it is meant; two providers over one set of keys; a token that a layer further out took | 500 | none |
//! | `GET`, `HEAD`, `OPTIONS` of the metadata document, where there is one | 200, 204 | none |
//!
//! Each challenge names the scopes that the call needs, those of the layer among them, else those of the
//! metadata, and with metadata also `resource_metadata`, the document's URL (RFC 9728 section 5.1). How a
//! refusal looks beyond that is a [`Respond`]: [`EmptyBody`], [`TextBody`], [`McpBody`] or your own.
//!
//! A token is read from the header alone, never from the query string. The header is removed once its token
//! is verified, unless [`keep_authorization`](JwtRotationLayer::keep_authorization) is called; one that
//! stays is marked sensitive for what logs headers further in. A layer that logs them *outside* of this one
//! should do so itself.
//!
//! # A resource server of MCP
//!
//! [`ResourceMetadata`] names the resource and who issues tokens for it. From then on a client that knows
//! the URL alone finds its way: it calls, is told with the 401 where the document stands, and from that whom
//! to ask for a token with which scopes; and a token for somebody else is refused for its `aud`.
//!
//! ```
//! use tower_secrets::{JwtRotationLayer, Keyring, RegisteredClaims};
//! use tower_secrets::layer::{Discovery, McpBody, ResourceMetadata};
//!
//! # struct App;
//! type Tokens = JwtRotationLayer<App, RegisteredClaims, McpBody, Discovery>;
//!
//! fn tokens(keyring: Keyring<App>) -> Result<Tokens, Box<dyn std::error::Error>> {
//!     let metadata = ResourceMetadata::new("https://api.example/mcp")
//!         .authorization_server("https://login.example")
//!         .scopes(["mcp:read"]);
//!     Ok(JwtRotationLayer::new(keyring)
//!         .resource_metadata(metadata)?
//!         .required_scopes(["mcp:read"])?
//!         .respond_with(McpBody))
//! }
//! ```
//!
//! [`required_scopes`](JwtRotationLayer::required_scopes) holds for every request, [`RequireScopes`] around
//! one route; [`scope_rule`](JwtRotationLayer::scope_rule) says which scopes include others.
//!
//! # What a token must be
//!
//! * A compact JWS (RFC 7515 section 7.1): three parts of canonical, unpadded base64url, not longer
//!   than [`max_token_bytes`](JwtRotationLayer::max_token_bytes), whose header and claims are JSON
//!   objects of valid UTF-8 without a member that is there twice (among those read).
//! * `alg` is the algorithm of the key that verifies it: HS256/384/512, RS256/384/512,
//!   PS256/384/512, ES256, ES384 or EdDSA with Ed25519. `typ` is absent, `JWT` or `at+jwt`, or what
//!   [`require_type`](JwtRotationLayer::require_type) asks for. `crit`, `b64`, `zip`, `enc` and nesting
//!   (`cty: JWT`) are refused; `jku`, `jwk`, `x5u` and `x5c` are not looked at.
//! * A `kid` that a key answers to (its JWK's `kid`, its thumbprint, or the id that the
//!   [`Signer`](crate::Signer) writes) selects the keys of that name and no others. With another `kid`, the keys that
//!   declare none are tried; without one, every key of the token's algorithm: current, previous,
//!   pending. At most eight signatures are checked for one token, so a set of more than eight keys
//!   of one algorithm needs `kid`s.
//! * `exp` is a number and not over; `nbf` and `iat` are numbers where they are there, and `nbf` has
//!   come. What is configured ([`issuer`](JwtRotationLayer::issuer),
//!   [`audience`](JwtRotationLayer::audience), [`subject`](JwtRotationLayer::subject),
//!   [`max_token_age`](JwtRotationLayer::max_token_age)) is also required.
//! * It has no mark of a token that is not for calling services: `at_hash` or `c_hash` (OpenID Connect
//!   Core 1.0, sections 3.1.3.6 and 3.3.2.11, which only ID tokens have) or a claim `typ` of `ID`,
//!   `Refresh`, `Offline` or `Logout` (Keycloak's). With
//!   [`access_tokens_only`](JwtRotationLayer::access_tokens_only), and for an [`Issuer`], also no `nonce`
//!   and no `events` (RFC 8417, section 2.2).
//!
//! # More than one issuer
//!
//! [`trust`](JwtRotationLayer::trust) adds an [`Issuer`] with a keyring and rules of its own. The `iss`
//! of a token then chooses, before anything of it is believed, which keys judge it; a key never
//! verifies another issuer's token, whatever `kid` they share. A token of no known issuer is refused.
//!
//! # Tokens seen before
//!
//! A token of an asymmetric key that was accepted is remembered by its SHA-256, within one
//! generation and for one configuration of a layer, so that its next request costs no signature
//! check. Its times, the key's deadline and a revocation are looked at each time; a rotation begins
//! with an empty memory. [`Builder::token_cache`](crate::Builder::token_cache) sets how many.
//!
//! # Browsers
//!
//! A preflight request carries no token. Put `CorsLayer` outside of this layer, so that it answers
//! first. The metadata document is open to every origin without it.

mod bearer;
mod challenge;
mod discovery;
mod edge;
mod extract_error;
mod future;
mod issuer;
mod judge;
#[expect(
    clippy::module_inception,
    reason = "the file of the `Layer`, beside that of the `Service`"
)]
mod layer;
mod mcp_body;
mod pinned;
mod refusal;
mod require_scopes;
mod resource_metadata;
mod resource_url;
mod respond;
mod scopes;
mod secrets_layer;
mod service;

pub use self::{
    challenge::InvalidRealm,
    discovery::{Discover, Discovery, NoDiscovery},
    extract_error::{ExtractError, ExtractErrorKind},
    future::ResponseFuture,
    issuer::Issuer,
    layer::JwtRotationLayer,
    mcp_body::McpBody,
    refusal::{Refusal, RefusalKind},
    require_scopes::{CheckScopes, RequireScopes},
    resource_metadata::{InvalidMetadata, ResourceMetadata},
    respond::{EmptyBody, Respond, TextBody},
    scopes::InvalidScope,
    secrets_layer::{PinSecrets, SecretsLayer},
    service::JwtRotation,
};

#[cfg(feature = "admin")]
pub(crate) use self::bearer::{Credentials, credentials};
pub(crate) use self::edge::Edge;
#[cfg(feature = "rmcp")]
pub(crate) use self::{
    mcp_body::{INVALID_REQUEST, code_of, json_rpc_error},
    pinned::Anonymous,
    require_scopes::check_scopes,
    respond::refuse,
    scopes::is_scope_token,
};
