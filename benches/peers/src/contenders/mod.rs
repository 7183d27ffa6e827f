//! Who is measured. Each stands before the same router, whose handler does nothing, and checks
//! signature, `exp`, `iss` and `aud`, as far as it can.

use axum::{
    Router,
    body::Body,
    http::{Request, StatusCode, header::AUTHORIZATION},
    routing::get,
};
use clap::ValueEnum;
use serde::Deserialize;
use tower::Service;

use crate::{measure::now, tokens::Token};

mod setup;
pub use setup::Setup;

pub mod bare;

pub mod ours;

mod aliri;
mod axum_jwt;
mod jwt_authorizer;
mod keycloak;
mod mcp;
mod oauth2_server;

/// The claims that a peer reads where it leaves the type to its users. All are optional, so that a
/// missing one is judged by the peer and not by serde.
#[derive(Clone, Deserialize)]
#[allow(
    dead_code,
    reason = "read from the token, as a handler would want them"
)]
pub struct PlainClaims {
    iss: Option<String>,
    sub: Option<String>,
    aud: Option<String>,
    exp: Option<u64>,
    iat: Option<u64>,
    jti: Option<String>,
    scope: Option<String>,
}

/// What versions 10 and 11 of jsonwebtoken verify with. It is chosen once for a process, so each
/// back-end has a process of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Backend {
    AwsLcRs,
    /// RustCrypto: what the peers that are written for jsonwebtoken 10 and 11 come with.
    RustCrypto,
}

impl Backend {
    /// # Panics
    /// When the process has one already.
    pub fn install(self) {
        let first = "nobody has installed a back-end before";
        let (ten, eleven) = match self {
            Self::AwsLcRs => (
                &jsonwebtoken_10::crypto::aws_lc::DEFAULT_PROVIDER,
                &jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER,
            ),
            Self::RustCrypto => (
                &jsonwebtoken_10::crypto::rust_crypto::DEFAULT_PROVIDER,
                &jsonwebtoken::crypto::rust_crypto::DEFAULT_PROVIDER,
            ),
        };
        ten.install_default().expect(first);
        eleven.install_default().expect(first);
    }
}

pub struct Peer {
    pub name: &'static str,
    /// `None` where it has no such algorithm.
    pub router: fn(&Setup) -> Option<Router>,
}

const fn peer(name: &'static str, router: fn(&Setup) -> Option<Router>) -> Peer {
    Peer { name, router }
}

const WITH_AWS_LC_RS: [Peer; 6] = [
    peer("aliri_tower", aliri::router),
    peer("axum-jwt-auth, aws_lc_rs forced", axum_jwt::router),
    peer("jwt-authorizer", jwt_authorizer::router),
    peer(
        "tower-oauth2-resource-server, aws_lc_rs",
        oauth2_server::router,
    ),
    peer("axum-keycloak-auth", keycloak::router),
    peer("tower-mcp", mcp::router),
];

const WITH_RUST_CRYPTO: [Peer; 2] = [
    peer("axum-jwt-auth, as shipped", axum_jwt::router),
    peer(
        "tower-oauth2-resource-server, as shipped",
        oauth2_server::router,
    ),
];

/// Those whose crypto is the same in each process are in the first list only.
pub fn peers(backend: Backend) -> &'static [Peer] {
    match backend {
        Backend::AwsLcRs => &WITH_AWS_LC_RS,
        Backend::RustCrypto => &WITH_RUST_CRYPTO,
    }
}

/// The router that everybody's time is counted from.
pub fn empty() -> Router {
    Router::new().route("/", get(|| async {}))
}

/// One request with a token, from the building of the request to the dropping of the response.
pub fn request(router: &mut Router, token: &Token) -> StatusCode {
    let mut request = Request::new(Body::empty());
    let authorization = token.authorization.clone();
    request.headers_mut().insert(AUTHORIZATION, authorization);
    now(router.call(request))
        .expect("a router does not fail")
        .status()
}
