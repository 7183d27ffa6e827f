//! How long a request takes behind the layer: `cargo bench --bench verify`.
//!
//! For people. What counts is the layer's time less the router's, beside the signature alone, in
//! one run on one machine. CI trusts `benches/instructions`, which no noise disturbs.

#![allow(clippy::unwrap_used, missing_docs)]

use std::{convert::Infallible, hint::black_box};

use axum::{Router, body::Body, response::Response, routing::get};
use criterion::{
    BatchSize, BenchmarkGroup, Criterion, criterion_group, criterion_main, measurement::WallTime,
};
use futures::FutureExt;
use http::{Request, StatusCode};
use tower::Service;
use tower_secrets::{JwtRotationLayer, Keyring};

#[path = "../tests/support/load.rs"]
mod load;
use load::{App, Key, Kind, Signed, request, still_keyring, token};

const BUNDLE: usize = 1_024;
/// So many more callers than places in the cache that none of their tokens is found there.
const CALLERS: usize = 4_000;
const FEW_PLACES: usize = 40;

type Group<'a> = BenchmarkGroup<'a, WallTime>;

fn verify(criterion: &mut Criterion) {
    for kind in Kind::ALL {
        let mut group = criterion.benchmark_group(kind.name());
        let key = Key::new(kind);
        let uncached = still_keyring(&key, BUNDLE, 0);
        let seen = token(&uncached, 0);
        signature_alone(&mut group, &key, &Signed::of(&seen));
        requests(&mut group, "router alone", &mut router(), &[&seen]);
        requests(&mut group, "new token", &mut protected(&uncached), &[&seen]);
        if kind != Kind::Hs256 {
            with_cache(&mut group, &key);
        }
        group.finish();
    }
}

fn signature_alone(group: &mut Group<'_>, key: &Key, signed: &Signed) {
    assert!(key.verify(signed));
    group.bench_function("signature alone", |bencher| {
        bencher.iter(|| key.verify(black_box(signed)));
    });
}

fn with_cache(group: &mut Group<'_>, key: &Key) {
    let keyring = still_keyring(key, BUNDLE, FEW_PLACES);
    let tokens: Vec<_> = (0..CALLERS).map(|caller| token(&keyring, caller)).collect();
    let tokens: Vec<_> = tokens.iter().map(String::as_str).collect();
    requests(
        group,
        "new token, cache on",
        &mut protected(&keyring),
        &tokens,
    );
    let keyring = still_keyring(key, BUNDLE, FEW_PLACES);
    requests(group, "seen before", &mut protected(&keyring), &tokens[..1]);
}

/// One request after the other, with these tokens in turn.
fn requests(group: &mut Group<'_>, name: &str, app: &mut Router, tokens: &[&str]) {
    let mut tokens = tokens.iter().cycle();
    let mut next = || request(tokens.next().unwrap());
    assert_eq!(call(app, next()).status(), StatusCode::OK);
    group.bench_function(name, |bencher| {
        bencher.iter_batched(
            &mut next,
            |request| call(app, request),
            BatchSize::SmallInput,
        );
    });
}

fn router() -> Router {
    Router::new().route("/", get(|| async {}))
}

fn protected(keyring: &Keyring<App>) -> Router {
    router().layer(JwtRotationLayer::new(keyring.clone()))
}

fn call(app: &mut Router, request: Request<Body>) -> Response {
    let answer: Result<Response, Infallible> = app.call(request).now_or_never().unwrap();
    answer.unwrap()
}

criterion_group!(benches, verify);
criterion_main!(benches);
