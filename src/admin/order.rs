//! What a `POST` asks for, once it is clear that no page of another origin sent it.

use axum::{
    body::to_bytes,
    extract::{FromRequest, Request},
    response::Response,
};
use http::{
    HeaderMap, StatusCode, Uri,
    header::{CONTENT_TYPE, ORIGIN},
};
use serde::de::DeserializeOwned;

use super::{guard::host, handlers::refusal};

/// Far more than an order needs.
const LONGEST: usize = 16 * 1024;

/// The body of a `POST`.
pub(super) struct Order<T>(pub(super) T);

impl<T: DeserializeOwned, S: Sync> FromRequest<S> for Order<T> {
    type Rejection = Response;

    async fn from_request(request: Request, _: &S) -> Result<Self, Response> {
        let headers = request.headers();
        if is_cross_site(request.uri(), headers) {
            let reason = "a page of another origin may not ask for this";
            return Err(refusal(StatusCode::FORBIDDEN, reason));
        }
        if !is_json(headers) {
            let reason = "the order must come as `content-type: application/json`";
            return Err(refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, reason));
        }
        let body = to_bytes(request.into_body(), LONGEST).await;
        let body = body.map_err(|_| {
            let reason = "the order cannot be read, or is longer than 16 KiB";
            refusal(StatusCode::PAYLOAD_TOO_LARGE, reason)
        })?;
        let body = if body.is_empty() { &b"{}"[..] } else { &body };
        let order = serde_json::from_slice(body);
        order.map(Self).map_err(|error| {
            let reason = format!("the order is not understood: {error}");
            refusal(StatusCode::BAD_REQUEST, &reason)
        })
    }
}

/// Whether a browser says that the request is of another origin's page. What is no browser says nothing.
fn is_cross_site(uri: &Uri, headers: &HeaderMap) -> bool {
    let mut sites = headers.get_all("sec-fetch-site").iter();
    let is_own = sites.all(|site| site == "same-origin" || site == "none");
    let host = host(uri, headers);
    let mut origins = headers.get_all(ORIGIN).iter();
    let is_from_here = origins.all(|origin| {
        let origin = Uri::try_from(origin.as_bytes()).ok();
        // The scheme is not known here: TLS may end before.
        let authority = origin.as_ref().and_then(Uri::authority);
        authority.is_some() && authority == host.as_ref()
    });
    !(is_own && is_from_here)
}

fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|it| it.to_str().ok());
    let essence = value.and_then(|it| it.split(';').next());
    essence.is_some_and(|it| it.trim().eq_ignore_ascii_case("application/json"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use http::{HeaderName, HeaderValue};

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = pairs.iter();
        let pairs = pairs.map(|(name, value)| {
            let name = HeaderName::from_static(name);
            (name, HeaderValue::from_static(value))
        });
        let mut all = HeaderMap::new();
        for (name, value) in pairs {
            all.append(name, value);
        }
        all
    }

    #[test]
    fn only_pages_of_this_origin_and_programs_pass() {
        let path = Uri::from_static("/reload");
        let host = ("host", "localhost:9090");
        for own in [
            &[host][..],
            &[host, ("origin", "http://localhost:9090")],
            &[host, ("origin", "https://LOCALHOST:9090")],
            &[
                host,
                ("sec-fetch-site", "same-origin"),
                ("origin", "http://localhost:9090"),
            ],
            &[host, ("sec-fetch-site", "none")],
        ] {
            assert!(!is_cross_site(&path, &headers(own)), "{own:?}");
        }
        for other in [
            &[host, ("origin", "http://evil.example")][..],
            &[host, ("origin", "http://localhost:9091")],
            &[host, ("origin", "http://localhost")],
            &[host, ("origin", "null")],
            &[host, ("origin", "")],
            &[("origin", "http://localhost:9090")],
            &[host, ("sec-fetch-site", "cross-site")],
            &[host, ("sec-fetch-site", "same-site")],
            &[
                host,
                ("sec-fetch-site", "same-origin"),
                ("sec-fetch-site", "cross-site"),
            ],
            &[
                host,
                ("origin", "http://localhost:9090"),
                ("origin", "http://evil.example"),
            ],
            &[
                host,
                ("sec-fetch-site", "cross-site"),
                ("origin", "http://localhost:9090"),
            ],
        ] {
            assert!(is_cross_site(&path, &headers(other)), "{other:?}");
        }
        // HTTP/2 has no `Host`.
        let uri = Uri::from_static("http://localhost:9090/reload");
        assert!(!is_cross_site(
            &uri,
            &headers(&[("origin", "http://localhost:9090")])
        ));
        assert!(is_cross_site(
            &uri,
            &headers(&[("origin", "http://evil.example")])
        ));
    }

    #[test]
    fn a_form_s_types_are_not_json() {
        for (value, is) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("text/plain", false),
            ("application/x-www-form-urlencoded", false),
            ("multipart/form-data", false),
            ("text/plain; application/json", false),
            ("application/jsonp", false),
        ] {
            let headers = headers(&[("content-type", value)]);
            assert_eq!(is_json(&headers), is, "{value}");
        }
        assert!(!is_json(&HeaderMap::new()));
    }
}
