//! How many instructions a request costs, held against a committed budget:
//! `cargo bench --bench instructions`.
//!
//! A count does not know how busy the machine is, so a regression fails here without trusting a
//! clock. Valgrind counts, driven by gungraun, whose runner must be installed in the same version
//! (`cargo install gungraun-runner`). The crypto library is kept from using what only some
//! processors have, so that the counts are those of any x86-64 machine.
//!
//! A budget is some 3 % above what was counted when it was set. Where a change is worth its price,
//! set the new one here; where a count falls, lower its budget, or the gain can be lost unseen.

#![allow(clippy::unwrap_used, missing_docs)]

use std::{convert::Infallible, hint::black_box};

use futures::FutureExt;
use gungraun::{Callgrind, EventKind, LibraryBenchmarkConfig, prelude::*};
use http::{Request, Response, StatusCode};
use tower::{Layer, Service, service_fn, util::BoxService};
use tower_secrets::{JwtRotationLayer, Keyring, Secrets, SecretsLayer};

#[path = "../tests/support/load.rs"]
mod load;
use load::{App, Key, Kind, expired_token, request, still_keyring, token};

type Protected = BoxService<Request<()>, Response<()>, Infallible>;

/// A service, and the request that it is to be measured with.
struct Case {
    service: Protected,
    request: Request<()>,
}

impl Case {
    /// A service that has answered requests before.
    fn new(keyring: &Keyring<App>, token: &str, status: StatusCode) -> Self {
        let layer = JwtRotationLayer::new(keyring.clone()).audience("https://api.example");
        Self::of(
            BoxService::new(layer.layer(service_fn(empty))),
            token,
            status,
        )
    }

    fn of(mut service: Protected, token: &str, status: StatusCode) -> Self {
        for _ in 0..3 {
            assert_eq!(answer(&mut service, request(token)).status(), status);
        }
        let request = request(token);
        Self { service, request }
    }
}

async fn empty(_: Request<()>) -> Result<Response<()>, Infallible> {
    Ok(Response::new(()))
}

fn answer(service: &mut Protected, request: Request<()>) -> Response<()> {
    service.call(request).now_or_never().unwrap().unwrap()
}

fn new_token(kind: Kind) -> Case {
    let keyring = still_keyring(&Key::new(kind), 1_024, 0);
    Case::new(&keyring, &token(&keyring, 1), StatusCode::OK)
}

fn seen_token(kind: Kind) -> Case {
    let keyring = still_keyring(&Key::new(kind), 1_024, 100);
    Case::new(&keyring, &token(&keyring, 1), StatusCode::OK)
}

fn refused(spoil: fn(&Keyring<App>) -> String) -> Case {
    let keyring = still_keyring(&Key::new(Kind::Hs256), 1_024, 0);
    Case::new(&keyring, &spoil(&keyring), StatusCode::UNAUTHORIZED)
}

fn expired(keyring: &Keyring<App>) -> String {
    expired_token(keyring, 1)
}

fn cut_short(keyring: &Keyring<App>) -> String {
    token(keyring, 1)
        .split('.')
        .take(2)
        .collect::<Vec<_>>()
        .join(".")
}

fn of_another_algorithm(_: &Keyring<App>) -> String {
    let other = still_keyring(&Key::new(Kind::EdDsa), 1_024, 0);
    token(&other, 1)
}

fn pinned() -> Case {
    let keyring = still_keyring(&Key::new(Kind::Hs256), 1_024, 0);
    let layer = SecretsLayer::new(keyring.clone());
    let service = BoxService::new(layer.layer(service_fn(empty)));
    Case::of(service, &token(&keyring, 1), StatusCode::OK)
}

/// At most so many instructions.
fn budget(instructions: u64) -> LibraryBenchmarkConfig {
    let mut config = LibraryBenchmarkConfig::default();
    config.tool(Callgrind::default().hard_limits([(EventKind::Ir, instructions)]));
    config
}

#[library_benchmark]
#[bench::new_hs256_token(args = (new_token(Kind::Hs256)), config = budget(26_650))]
#[bench::seen_eddsa_token(args = (seen_token(Kind::EdDsa)), config = budget(23_350))]
#[bench::expired_token(args = (refused(expired)), config = budget(32_900))]
#[bench::malformed_token(args = (refused(cut_short)), config = budget(9_990))]
#[bench::unknown_key(args = (refused(of_another_algorithm)), config = budget(14_150))]
#[bench::no_token_needed(args = (pinned()), config = budget(2_170))]
fn request_through_a_layer(case: Case) -> (Protected, Response<()>) {
    let Case {
        mut service,
        request,
    } = case;
    let response = answer(&mut service, black_box(request));
    (service, response)
}

fn small_keyring() -> Keyring<App> {
    still_keyring(&Key::new(Kind::Hs256), 1_024, 0)
}

#[library_benchmark]
#[bench::current(args = (small_keyring()), config = budget(115))]
fn secrets(keyring: Keyring<App>) -> (Keyring<App>, Secrets<App>) {
    let secrets = keyring.current();
    (keyring, secrets)
}

library_benchmark_group!(
    name = verifier;
    benchmarks = request_through_a_layer, secrets
);

main!(
    config = LibraryBenchmarkConfig::default().env("OPENSSL_ia32cap", "0:0");
    library_benchmark_groups = verifier
);
