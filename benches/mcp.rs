//! How many instructions scopes by name add to a request, held against a committed budget:
//! `cargo bench --bench mcp --features rmcp`. See `instructions` for how it counts.
//!
//! Where headers decide, the length of the body costs nothing but its memory given back. Where the body does,
//! it is read beside what the server does: some five instructions an octet of `params`.

#![allow(clippy::unwrap_used, missing_docs)]

use std::{convert::Infallible, hint::black_box};

use bytes::Bytes;
use futures::FutureExt;
use gungraun::{Callgrind, EventKind, LibraryBenchmarkConfig, prelude::*};
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use tower::{Layer, Service, ServiceExt, service_fn, util::BoxService};
use tower_secrets::{
    JwtRotationLayer,
    mcp::{ScopePolicy, ScopesLayer},
};

#[path = "../tests/support/load.rs"]
mod load;
use load::{Key, Kind, request, still_keyring, token};

type Body = Full<Bytes>;
type Protected = BoxService<Request<Body>, StatusCode, Infallible>;

/// A service, and the request that it is to be measured with.
struct Case {
    service: Protected,
    request: Request<Body>,
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
fn case(wire: Wire, size: usize, scopes: bool) -> Case {
    let keyring = still_keyring(&Key::new(Kind::EdDsa), KIBIBYTE, 100);
    let token = token(&keyring, 1);
    let tokens = JwtRotationLayer::new(keyring).audience("https://api.example");
    let mut service: Protected = if scopes {
        let policy = ScopePolicy::new()
            .tool("read_file", ["tools:read", "tools:call"])
            .tool("delete_file", ["tools:write"]);
        let scopes = ScopesLayer::new(policy).unwrap();
        let tokens = tokens.respond_with(|_: &_| unreachable!());
        let service = tokens.layer(scopes.layer(service_fn(empty)));
        BoxService::new(service.map_response(|response| response.status()))
    } else {
        let service = tokens.layer(service_fn(empty));
        BoxService::new(service.map_response(|response: Response<()>| response.status()))
    };
    for _ in 0..3 {
        assert_eq!(answer(&mut service, call(wire, &token, size)), 200);
    }
    let request = call(wire, &token, size);
    Case { service, request }
}

async fn empty<B>(_: Request<B>) -> Result<Response<()>, Infallible> {
    Ok(Response::new(()))
}

fn answer(service: &mut Protected, request: Request<Body>) -> StatusCode {
    service.call(request).now_or_never().unwrap().unwrap()
}

/// At most so many instructions.
fn budget(instructions: u64) -> LibraryBenchmarkConfig {
    let mut config = LibraryBenchmarkConfig::default();
    config.tool(Callgrind::default().hard_limits([(EventKind::Ir, instructions)]));
    config
}

#[library_benchmark]
#[bench::plain_layer(args = (case(Wire::V2026, 100, false)), config = budget(24_850))]
#[bench::by_headers(args = (case(Wire::V2026, 100, true)), config = budget(28_250))]
#[bench::by_headers_64_kib(args = (case(Wire::V2026, 64 * KIBIBYTE, true)), config = budget(29_050))]
#[bench::by_body(args = (case(Wire::V2025, 100, true)), config = budget(32_550))]
#[bench::by_body_64_kib(args = (case(Wire::V2025, 64 * KIBIBYTE, true)), config = budget(382_600))]
fn a_call(case: Case) -> (Protected, StatusCode) {
    let Case {
        mut service,
        request,
    } = case;
    let status = answer(&mut service, black_box(request));
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
