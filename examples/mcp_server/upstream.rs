//! A service that this one calls with its API key: an axum router, called without a socket.

use std::{fmt, sync::Arc};

use axum::{
    Router,
    body::Body,
    extract::State,
    http::{HeaderMap, Request, StatusCode},
    routing::get,
};
use http_body_util::BodyExt;
use tower::ServiceExt;
use tower_secrets::Attempt;

/// Whether the upstream accepts an API key at this moment.
type IsValid = Arc<dyn Fn(&str) -> bool + Send + Sync>;

#[derive(Clone)]
pub(crate) struct Upstream {
    router: Router,
}

impl Upstream {
    pub(crate) fn new(is_valid: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        let router = Router::new()
            .route("/quote", get(quote))
            .with_state(Arc::new(is_valid) as IsValid);
        Self { router }
    }

    /// An answer, or whether another key may help.
    pub(crate) async fn quote(&self, api_key: &str) -> Result<String, Attempt<Refusal>> {
        let request = Request::get("/quote")
            .header("x-api-key", api_key)
            .body(Body::empty())
            .map_err(|_| Attempt::Other(Refusal("the API key does not fit in a header")))?;
        let Ok(response) = self.router.clone().oneshot(request).await;
        if response.status() == StatusCode::UNAUTHORIZED {
            let refusal = Refusal("the upstream does not accept the API key");
            return Err(Attempt::Unauthenticated(refusal));
        }
        let body = response.into_body().collect().await;
        let body = body.map_err(|_| Attempt::Other(Refusal("the upstream broke off")))?;
        Ok(String::from_utf8_lossy(&body.to_bytes()).into_owned())
    }

    /// Test before swap: whether a new key works.
    pub(crate) async fn check(&self, api_key: &str) -> Result<(), Refusal> {
        match self.quote(api_key).await {
            Ok(_) => Ok(()),
            Err(Attempt::Unauthenticated(refusal) | Attempt::Other(refusal)) => Err(refusal),
        }
    }
}

async fn quote(
    State(is_valid): State<IsValid>,
    headers: HeaderMap,
) -> Result<&'static str, StatusCode> {
    let key = headers.get("x-api-key").and_then(|key| key.to_str().ok());
    match key {
        Some(key) if is_valid(key) => Ok("the only constant is change"),
        _ => Err(StatusCode::UNAUTHORIZED),
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream").finish_non_exhaustive()
    }
}

/// Why there was no answer; never the key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refusal(&'static str);

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Refusal {}
