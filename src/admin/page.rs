//! The page, and the headers that keep it to itself.

use std::sync::LazyLock;

use aws_lc_rs::digest;
use axum::response::{Html, IntoResponse, Response};
use http::{
    HeaderName, HeaderValue,
    header::{
        CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
        X_FRAME_OPTIONS,
    },
};

const PAGE: &str = include_str!("page.html");

/// What the page may do (Content Security Policy Level 3): run its own script, and no other.
static POLICY: LazyLock<Option<HeaderValue>> = LazyLock::new(|| {
    let policy = format!(
        "default-src 'none'; script-src '{}'; style-src '{}'; connect-src 'self'; img-src data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        hash_of("script"),
        hash_of("style")
    );
    HeaderValue::from_str(&policy).ok()
});

/// What stands between the tags of the one element of this name.
fn hash_of(element: &str) -> String {
    let start = PAGE.split_once(&format!("<{element}>"));
    let inner = start.and_then(|(_, rest)| rest.split_once(&format!("</{element}>")));
    let inner = inner.map_or("", |(inner, _)| inner);
    let hash = digest::digest(&digest::SHA256, inner.as_bytes());
    format!(
        "sha256-{}",
        base64_simd::STANDARD.encode_to_string(hash.as_ref())
    )
}

pub(super) async fn page() -> Response {
    let mut response = Html(PAGE).into_response();
    if let Some(policy) = &*POLICY {
        let headers = response.headers_mut();
        headers.insert(CONTENT_SECURITY_POLICY, policy.clone());
    }
    response
}

/// For every answer.
pub(super) async fn harden(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        (CACHE_CONTROL, "no-store"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
