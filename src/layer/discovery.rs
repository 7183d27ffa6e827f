//! Answers about the resource itself, which need no token.

use std::sync::Arc;

use bytes::Bytes;
use http::{
    HeaderValue, Method, Response, StatusCode, Uri,
    header::{
        ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
        ACCESS_CONTROL_MAX_AGE, ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderName,
    },
};

use super::resource_metadata::{Published, WELL_KNOWN};

const METHODS: &str = "GET, HEAD, OPTIONS";
/// Those of a client in a browser that are not always allowed; MCP's clients send the last one.
const HEADERS: &str = "authorization, content-type, mcp-protocol-version";

/// What a layer answers before it looks for a token: nothing ([`NoDiscovery`]), or the document of its
/// resource ([`Discovery`]).
#[diagnostic::on_unimplemented(
    message = "the metadata document cannot be a body of type `{R}`",
    note = "`.resource_metadata(..)` needs a response body that is `From<bytes::Bytes>`, such as axum's"
)]
pub trait Discover<R>: sealed::Sealed {
    #[doc(hidden)]
    fn answer(&self, method: &Method, uri: &Uri) -> Option<Response<R>>;
}

mod sealed {
    pub trait Sealed {}

    impl Sealed for super::NoDiscovery {}
    impl Sealed for super::Discovery {}
}

/// The default: every request needs a token.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoDiscovery;

impl<R> Discover<R> for NoDiscovery {
    fn answer(&self, _: &Method, _: &Uri) -> Option<Response<R>> {
        None
    }
}

/// What [`JwtRotationLayer::resource_metadata`](super::JwtRotationLayer::resource_metadata) makes.
#[derive(Clone, Debug)]
pub struct Discovery(pub(super) Arc<Published>);

impl<R: From<Bytes>> Discover<R> for Discovery {
    /// Byte for byte at the place of the resource, and at the root, where clients look next (MCP
    /// 2025-11-25, Authorization, Protected Resource Metadata Discovery Requirements).
    fn answer(&self, method: &Method, uri: &Uri) -> Option<Response<R>> {
        let of_resource = uri.path().strip_prefix(WELL_KNOWN)?;
        let is_here = of_resource.is_empty() || of_resource == self.0.path;
        is_here.then(|| self.document(method))
    }
}

impl Discovery {
    fn document<R: From<Bytes>>(&self, method: &Method) -> Response<R> {
        let document = &self.0.document;
        let (status, body) = match *method {
            Method::GET => (StatusCode::OK, document.clone()),
            Method::HEAD => (StatusCode::OK, Bytes::new()),
            Method::OPTIONS => (StatusCode::NO_CONTENT, Bytes::new()),
            _ => (StatusCode::METHOD_NOT_ALLOWED, Bytes::new()),
        };
        let mut response = Response::new(R::from(body));
        *response.status_mut() = status;
        let mut set = |name: HeaderName, value: &'static str| {
            response
                .headers_mut()
                .insert(name, HeaderValue::from_static(value));
        };
        set(ACCESS_CONTROL_ALLOW_ORIGIN, "*");
        match *method {
            Method::GET | Method::HEAD => {
                set(CONTENT_TYPE, "application/json");
                set(CACHE_CONTROL, "public, max-age=3600");
            }
            Method::OPTIONS => {
                set(ALLOW, METHODS);
                set(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
                set(ACCESS_CONTROL_ALLOW_HEADERS, HEADERS);
                set(ACCESS_CONTROL_MAX_AGE, "86400");
            }
            _ => set(ALLOW, METHODS),
        }
        if *method == Method::HEAD {
            response
                .headers_mut()
                .insert(CONTENT_LENGTH, document.len().into());
        }
        response
    }
}
