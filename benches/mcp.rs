//! How many instructions the layers for MCP add to a request, held against a committed budget:
//! `cargo bench --bench mcp --features rmcp`. See `instructions` for how it counts.
//!
//! Where headers decide, the length of the body costs nothing but its memory given back. Where the body does,
//! it is read beside what the server does: some five instructions an octet of `params`. `everything` is a
//! resource server with metadata, required scopes, scopes by name, bound sessions and streams that end.

#![allow(clippy::unwrap_used, missing_docs)]

use std::{convert::Infallible, hint::black_box};

use bytes::Bytes;
use futures::FutureExt;
use gungraun::{Callgrind, EventKind, LibraryBenchmarkConfig, prelude::*};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use tower::{Layer, Service, ServiceExt, service_fn, util::BoxService};
use tower_secrets::{
    JwtRotationLayer,
    layer::ResourceMetadata,
    mcp::{McpLayer, ScopePolicy, ScopesLayer},
};

#[path = "../tests/support/load.rs"]
mod load;
use load::{Key, Kind, request, still_keyring, token};

type Body = Full<Bytes>;
type Protected = BoxService<Request<Body>, (StatusCode, Option<HeaderValue>), Infallible>;

const SESSION: &str = "mcp-session-id";

/// A service, and the request that it is to be measured with.
struct Case {
    service: Protected,
    request: Request<Body>,
}

#[derive(Clone, Copy)]
enum Layers {
    Tokens,
    Scopes,
    Everything,
}

#[derive(Clone, Copy)]
enum Wire {
    V2025,
    V2026,
}

const KIBIBYTE: usize = 1_024;

/// A call with arguments of this size, of a tool whose scope the token grants.
fn call(wire: Wire, token: &str, size: usize) -> Request<Body> {
    let body = serde_json::json!({
        "jsonrpc": "2.0",
        "id": 7,
        "method": "tools/call",
        "params": { "name": "read_file", "arguments": { "text": "a".repeat(size) } },
    });
    let mut request: Request<Body> = request(token);
    *request.method_mut() = http::Method::POST;
    *request.body_mut() = Full::from(body.to_string());
    let headers: &[_] = match wire {
        Wire::V2025 => &[("mcp-protocol-version", "2025-11-25")],
        Wire::V2026 => &[
            ("mcp-protocol-version", "2026-07-28"),
            ("mcp-method", "tools/call"),
            ("mcp-name", "read_file"),
        ],
    };
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    request
}

/// A service that has answered requests before, with the layer of scopes or without it.
fn case(wire: Wire, size: usize, layers: Layers) -> Case {
    let keyring = still_keyring(&Key::new(Kind::EdDsa), KIBIBYTE, 100);
    let token = token(&keyring, 1);
    let tokens = JwtRotationLayer::new(keyring).audience("https://api.example");
    let policy = ScopePolicy::new()
        .tool("read_file", ["tools:read", "tools:call"])
        .tool("delete_file", ["tools:write"]);
    let mut service: Protected = match layers {
        Layers::Tokens => {
            let service = tokens.layer(service_fn(empty));
            BoxService::new(service.map_response(seen))
        }
        Layers::Scopes => {
            let scopes = ScopesLayer::new(policy).unwrap();
            let tokens = tokens.respond_with(|_: &_| unreachable!());
            let service = tokens.layer(scopes.layer(service_fn(empty)));
            BoxService::new(service.map_response(seen))
        }
        Layers::Everything => {
            let metadata = ResourceMetadata::new("https://api.example/mcp")
                .authorization_server("https://login.example")
                .scopes(["tools:read"]);
            let tokens = tokens.resource_metadata(metadata).unwrap();
            let tokens = tokens.required_scopes(["tools:read"]).unwrap();
            let mcp = McpLayer::new().scopes(ScopesLayer::new(policy).unwrap());
            let service = tokens.layer(mcp.layer(service_fn(empty)));
            BoxService::new(service.map_response(seen))
        }
    };
    let mut session = None;
    for _ in 0..3 {
        let (status, opened) = answer(&mut service, in_session(call(wire, &token, size), &session));
        assert_eq!(status, 200);
        session = session.or(opened);
    }
    let request = in_session(call(wire, &token, size), &session);
    Case { service, request }
}

fn in_session(mut request: Request<Body>, session: &Option<HeaderValue>) -> Request<Body> {
    if let Some(id) = session {
        request.headers_mut().insert(SESSION, id.clone());
    }
    request
}

/// Opens a session where the wire has them.
async fn empty<B>(request: Request<B>) -> Result<Response<Body>, Infallible> {
    let mut response = Response::new(Body::default());
    let has_sessions = request.headers()["mcp-protocol-version"] == "2025-11-25";
    if has_sessions && !request.headers().contains_key(SESSION) {
        let id = HeaderValue::from_static("7c0b9f8e-6d0c-4a8e-9d4e-0a4a3a2f1b10");
        response.headers_mut().insert(SESSION, id);
    }
    Ok(response)
}

fn seen<B>(response: Response<B>) -> (StatusCode, Option<HeaderValue>) {
    let session = response.headers().get(SESSION).cloned();
    (response.status(), session)
}

fn answer(service: &mut Protected, request: Request<Body>) -> (StatusCode, Option<HeaderValue>) {
    service.call(request).now_or_never().unwrap().unwrap()
}

/// At most so many instructions.
fn budget(instructions: u64) -> LibraryBenchmarkConfig {
    let mut config = LibraryBenchmarkConfig::default();
    config.tool(Callgrind::default().hard_limits([(EventKind::Ir, instructions)]));
    config
}

#[library_benchmark]
#[bench::plain_layer(args = (case(Wire::V2026, 100, Layers::Tokens)), config = budget(27_100))]
#[bench::by_headers(args = (case(Wire::V2026, 100, Layers::Scopes)), config = budget(30_350))]
#[bench::by_headers_64_kib(args = (case(Wire::V2026, 64 * KIBIBYTE, Layers::Scopes)), config = budget(30_950))]
#[bench::by_body(args = (case(Wire::V2025, 100, Layers::Scopes)), config = budget(33_450))]
#[bench::by_body_64_kib(args = (case(Wire::V2025, 64 * KIBIBYTE, Layers::Scopes)), config = budget(383_500))]
#[bench::everything(args = (case(Wire::V2026, 100, Layers::Everything)), config = budget(40_000))]
#[bench::everything_in_a_session(args = (case(Wire::V2025, 100, Layers::Everything)), config = budget(50_300))]
fn a_call(case: Case) -> (Protected, StatusCode) {
    let Case {
        mut service,
        request,
    } = case;
    let (status, _) = answer(&mut service, black_box(request));
    (service, status)
}

library_benchmark_group!(
    name = scopes;
    benchmarks = a_call
);

main!(
    config = LibraryBenchmarkConfig::default().env("OPENSSL_ia32cap", "0:0");
    library_benchmark_groups = scopes
);
