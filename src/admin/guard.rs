//! Who may ask.

use std::{error::Error, fmt, net::IpAddr, sync::Arc};

use aws_lc_rs::{constant_time::verify_slices_are_equal, digest};
use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
};
use http::{
    HeaderMap, HeaderValue, StatusCode, Uri,
    header::{HOST, WWW_AUTHENTICATE},
    uri::Authority,
};
use serde::de::DeserializeOwned;

use super::{Admin, handlers::refusal};
use crate::layer::{Credentials, Discover, JwtRotationLayer, Respond, credentials};

/// 128 bits in base64url.
const SHORTEST: usize = 22;

type Routes = Router<Arc<Admin>>;

/// What stands before everything that says or does something.
#[derive(Clone)]
pub(super) struct Guard(Arc<dyn Fn(Routes) -> Routes + Send + Sync>);

impl Guard {
    pub(super) fn token(token: &str) -> Result<Self, InvalidGuard> {
        if token.len() < SHORTEST {
            return Err(InvalidGuard::ShortToken);
        }
        if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(InvalidGuard::BadToken);
        }
        let check = from_fn_with_state(Arc::new(Token::new(token.as_bytes())), check_token);
        Ok(Self(Arc::new(move |routes| {
            routes.route_layer(check.clone())
        })))
    }

    pub(super) fn layer<T, C, P, D>(
        layer: JwtRotationLayer<T, C, P, D>,
    ) -> Result<Self, InvalidGuard>
    where
        T: Send + Sync + 'static,
        C: DeserializeOwned + Send + Sync + 'static,
        P: Respond<Body> + Clone + Send + Sync + 'static,
        D: Discover<Body> + Clone + Send + Sync + 'static,
    {
        if !layer.requires_scopes() {
            return Err(InvalidGuard::NoScope);
        }
        Ok(Self(Arc::new(move |routes| {
            routes.route_layer(layer.clone())
        })))
    }

    pub(super) fn before(&self, routes: Routes) -> Routes {
        (self.0)(routes)
    }
}

/// Nobody could be kept out by it, or everybody would be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidGuard {
    /// A token of fewer than 22 characters, which somebody may guess.
    ShortToken,
    /// A token with a character that is no printable ASCII, or with a space.
    BadToken,
    /// A layer that requires no scope, so that every user would do.
    NoScope,
}

impl fmt::Display for InvalidGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ShortToken => "the operator's token has fewer than 22 characters",
            Self::BadToken => "the operator's token is not of printable ASCII without spaces",
            Self::NoScope => {
                "the layer before the operator's page requires no scope, so every user would be an operator: \
                 add `.required_scopes(..)`"
            }
        })
    }
}

impl Error for InvalidGuard {}

/// The digest of a token: of equal length for all, so that comparing tells nothing.
struct Token(digest::Digest);

impl Token {
    fn new(token: &[u8]) -> Self {
        Self(digest::digest(&digest::SHA256, token))
    }

    fn is(&self, other: &[u8]) -> bool {
        let other = Self::new(other);
        verify_slices_are_equal(self.0.as_ref(), other.0.as_ref()).is_ok()
    }
}

async fn check_token(State(token): State<Arc<Token>>, request: Request, next: Next) -> Response {
    match credentials(request.headers()) {
        Credentials::Token(given) if token.is(given) => next.run(request).await,
        _ => {
            let mut response = refusal(StatusCode::UNAUTHORIZED, "the operator's token is needed");
            let challenge = HeaderValue::from_static(r#"Bearer realm="secrets""#);
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
            response
        }
    }
}

/// The names for which an unguarded page answers.
#[derive(Clone, Debug, Default)]
pub(super) struct Hosts(Vec<String>);

impl Hosts {
    pub(super) fn add(&mut self, name: String) {
        self.0.push(name);
    }

    fn accept(&self, request: &Request) -> bool {
        let Some(host) = host(request.uri(), request.headers()) else {
            return false;
        };
        let name = host.host();
        let bare = name.trim_start_matches('[').trim_end_matches(']');
        let is_loopback = match bare.parse::<IpAddr>() {
            Ok(ip) => ip.to_canonical().is_loopback(),
            Err(_) => bare.eq_ignore_ascii_case("localhost"),
        };
        is_loopback || self.0.iter().any(|own| own.eq_ignore_ascii_case(name))
    }
}

/// For whom a request is: HTTP/2 has it in the URI, whose word counts in HTTP/1.1 too (RFC 9112 section 3.2.2).
pub(super) fn host(uri: &Uri, headers: &HeaderMap) -> Option<Authority> {
    if let Some(authority) = uri.authority() {
        return Some(authority.clone());
    }
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => Authority::try_from(host.as_bytes()).ok(),
        _ => None,
    }
}

pub(super) async fn check_host(
    State(hosts): State<Arc<Hosts>>,
    request: Request,
    next: Next,
) -> Response {
    if hosts.accept(&request) {
        return next.run(request).await;
    }
    let reason = "this Host is none of the page's: see `Admin::host`";
    refusal(StatusCode::MISDIRECTED_REQUEST, reason).into_response()
}
