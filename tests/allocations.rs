//! What the layer takes from the heap: a few small allocations a request, whatever the bundle's
//! size, and no more memory after a flood of tokens than the cache may hold.
//!
//! Counted for the calling thread by `allocation-counter`. What aws-lc takes for itself is C's. The
//! router is axum's with its default features, `matched-path` and `original-uri` among them: with what
//! they leave in a request, the map of its extensions grows when a layer adds an entry.

#![allow(clippy::unwrap_used)]

use std::convert::Infallible;

use allocation_counter::{AllocationInfo, measure};
use axum::{
    Router,
    body::Body,
    extract::{MatchedPath, OriginalUri},
    response::Response,
    routing::{Route, get},
};
use futures::FutureExt;
use http::{Request, StatusCode};
use tower::{Layer, Service};
use tower_secrets::{
    JwtRotationLayer, Keyring,
    layer::{McpBody, RequireScopes, ResourceMetadata},
};

#[path = "support/load.rs"]
mod load;
use load::{App, Key, Kind, request, still_keyring, token};

const MOST_FOR_A_NEW_TOKEN: u64 = 8;
const MOST_FOR_A_TOKEN_SEEN_BEFORE: u64 = 6;
const MOST_BYTES: u64 = 2_048;
const CACHED: usize = 1_000;

#[test]
fn a_new_token_costs_few_allocations() {
    for (kind, cache) in [
        (Kind::Hs256, 0),
        (Kind::Rs256, 0),
        (Kind::Es256, 0),
        (Kind::EdDsa, 0),
        (Kind::Es256, CACHED),
        (Kind::EdDsa, CACHED),
    ] {
        let keyring = still_keyring(&Key::new(kind), 1_024, cache);
        let mut app = Protected::new(&keyring);
        app.warm_up(&keyring);
        // The middle of some: now and then the cache's table grows.
        let mut added: Vec<_> = (0..9)
            .map(|caller| app.added_by(&token(&keyring, caller)))
            .collect();
        added.sort_by_key(|added| added.count);
        let what = format!("a new {} token, cache of {cache}", kind.name());
        assert_few(added.swap_remove(4), MOST_FOR_A_NEW_TOKEN, &what);
    }
}

#[test]
fn a_token_seen_before_costs_fewer() {
    for kind in Kind::ASYMMETRIC {
        let keyring = still_keyring(&Key::new(kind), 1_024, CACHED);
        let mut app = Protected::new(&keyring);
        app.warm_up(&keyring);
        let token = token(&keyring, 42);
        app.added_by(&token);
        let added = app.added_by(&token);
        let what = format!("a {} token seen before", kind.name());
        assert_few(added, MOST_FOR_A_TOKEN_SEEN_BEFORE, &what);
    }
}

/// Metadata and granted scopes, of the layer and of one route, cost nothing but a count.
#[test]
fn what_mcp_asks_for_costs_no_allocation() {
    let keyring = still_keyring(&Key::new(Kind::EdDsa), 1_024, CACHED);
    let plain = JwtRotationLayer::new(keyring.clone());
    let mut app = Protected::with(plain.clone());
    app.warm_up(&keyring);
    let token = token(&keyring, 42);
    app.added_by(&token);
    let expected = app.added_by(&token);

    let metadata =
        ResourceMetadata::new("https://api.example").authorization_server("https://login.example");
    let full = plain.respond_with(McpBody).resource_metadata(metadata);
    let full = full.unwrap().required_scopes(["tools:read"]).unwrap();
    let route = RequireScopes::new(["tools:read", "tools:call"]).unwrap();
    let mut app = Protected::with(tower::ServiceBuilder::new().layer(full).layer(route));
    app.warm_up(&keyring);
    app.added_by(&token);
    assert_eq!(app.added_by(&token).count, expected.count);
}

#[test]
fn nothing_grows_with_the_size_of_the_bundle() {
    for kind in Kind::ALL {
        let key = Key::new(kind);
        let [small, big] = [1 << 10, 1 << 20].map(|size| {
            let keyring = still_keyring(&key, size, 0);
            let mut app = Protected::new(&keyring);
            app.warm_up(&keyring);
            app.added_by(&token(&keyring, 42))
        });
        assert_eq!(small, big, "{}: 1 KiB against 1 MiB", kind.name());
    }
}

#[test]
fn a_flood_of_valid_tokens_leaves_memory_flat() {
    const FLOOD: usize = 30_000;
    let keyring = still_keyring(&Key::new(Kind::EdDsa), 1_024, CACHED);
    let mut app = Protected::new(&keyring);
    app.warm_up(&keyring);
    let mut kept_after = |callers: std::ops::Range<usize>| {
        let kept = measure(|| {
            for caller in callers {
                app.call(&token(&keyring, caller));
            }
        });
        kept.bytes_current
    };
    let full = kept_after(0..4 * CACHED);
    let grown = kept_after(4 * CACHED..FLOOD);
    println!("{CACHED} tokens: {full} bytes; {FLOOD} more: {grown} bytes");
    assert!(full > 0, "a cache that keeps nothing proves nothing");
    assert!(
        grown <= full / 10,
        "{grown} bytes more after the flood, beside {full} of a full cache"
    );
}

/// Fails where axum leaves less than it does by default.
async fn has_what_axum_leaves(request: Request<Body>) {
    let extensions = request.extensions();
    assert!(extensions.get::<MatchedPath>().is_some());
    assert!(extensions.get::<OriginalUri>().is_some());
}

/// An axum router without and with the layer.
struct Protected {
    bare: Router,
    layered: Router,
}

impl Protected {
    fn new(keyring: &Keyring<App>) -> Self {
        Self::with(JwtRotationLayer::new(keyring.clone()))
    }

    fn with<L>(layer: L) -> Self
    where
        L: Layer<Route> + Clone + Send + Sync + 'static,
        L::Service: Service<Request<Body>, Response = Response, Error = Infallible>
            + Clone
            + Send
            + Sync
            + 'static,
        <L::Service as Service<Request<Body>>>::Future: Send,
    {
        let bare = Router::new().route("/", get(has_what_axum_leaves));
        let layered = bare.clone().layer(layer);
        Self { bare, layered }
    }

    /// What is made once, at the first call, is no cost of a request.
    fn warm_up(&mut self, keyring: &Keyring<App>) {
        for caller in 10_000_000..10_000_010 {
            self.call(&token(keyring, caller));
        }
    }

    fn call(&mut self, token: &str) {
        let response = call(&mut self.layered, request(token));
        assert_eq!(response.status(), StatusCode::OK);
    }

    /// What the layer adds to one request.
    fn added_by(&mut self, token: &str) -> Added {
        let bare = counted(&mut self.bare, token);
        let layered = counted(&mut self.layered, token);
        Added {
            count: layered.count_total - bare.count_total,
            bytes: layered.bytes_total - bare.bytes_total,
        }
    }
}

#[derive(Debug, PartialEq)]
struct Added {
    count: u64,
    bytes: u64,
}

fn counted(router: &mut Router, token: &str) -> AllocationInfo {
    let request = request(token);
    measure(|| assert_eq!(call(router, request).status(), StatusCode::OK))
}

fn call(router: &mut Router, request: Request<Body>) -> Response {
    let answer: Result<Response, Infallible> = router.call(request).now_or_never().unwrap();
    answer.unwrap()
}

fn assert_few(added: Added, most: u64, what: &str) {
    println!("{what}: {added:?}");
    assert!(added.count <= most, "{what}: {added:?}, at most {most}");
    assert!(
        added.bytes <= MOST_BYTES,
        "{what}: {added:?}, at most {MOST_BYTES} bytes"
    );
}
