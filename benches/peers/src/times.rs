//! The main table: the time that each contender adds to a request.

use axum::{Router, http::StatusCode};

use crate::{
    contenders::{
        self, Backend, Setup, bare,
        ours::{self, Cache},
    },
    keys::Algorithm,
    measure::{Contender, Plan, Spread, WARM_UP, interleave},
    report::{self, Judge, Table},
    tokens::Ring,
};

/// The targets, in microseconds. They were measured on one machine; what holds on another
/// is the ratio of each row to the first.
const SIGNATURE: [f64; 4] = [0.36, 13.2, 46.2, 29.2];
const UNSEEN: [Option<f64>; 4] = [Some(1.2), Some(14.4), Some(47.5), Some(30.4)];
const UNSEEN_CACHE_ON: [Option<f64>; 4] = [None, Some(15.0), Some(48.2), Some(31.0)];
const SEEN: [Option<f64>; 4] = [None, Some(0.8), Some(0.6), Some(0.6)];
/// What a flood of distinct valid tokens may slow the path down that finds nothing in the cache.
const FLOOD: f64 = 1.10;

const ALONE: &str = "signature alone, key prepared (aws-lc-rs), no HTTP";
const IN_LAYER: &str = "the same, by a layer that does nothing else";
const OURS_UNSEEN: &str = "**ours**, token not seen before, cache off";
const OURS_UNSEEN_CACHE_ON: &str = "**ours**, token not seen before, cache on and full";
const OURS_UNSEEN_FILLING: &str = "**ours**, token not seen before, cache on and filling";
const OURS_SEEN: &str = "**ours**, token seen before";
const BARE: &str = "bare `jsonwebtoken::decode` 11, no HTTP";

/// More than the cache holds by default.
const FILL: usize = 11_000;
/// So few that it still has room.
const NOT_FULL: usize = 9_000;
/// Tokens that come again and again.
const FEW: usize = 64;

/// What one contender took, with each algorithm that it has.
struct Row {
    name: &'static str,
    cells: [Option<Spread>; 4],
}

pub fn run(setups: &[Setup], backend: Backend, plan: Plan, judge: &mut Judge) {
    let mut rows: Vec<Row> = Vec::new();
    // A server has filled a cache before, except for the first one of its life. Without that, what comes
    // first pays for the pages that the system hands out.
    measure(&setups[1], backend, plan);
    // RS256 is what everybody has: with it first, the rows come in their order.
    for column in [1, 0, 2, 3] {
        for (name, spread) in measure(&setups[column], backend, plan) {
            let found = rows.iter().position(|row| row.name == name);
            let at = found.unwrap_or_else(|| {
                rows.push(Row {
                    name,
                    cells: [None; 4],
                });
                rows.len() - 1
            });
            rows[at].cells[column] = Some(spread);
        }
    }
    print(&rows, backend);
    // Whatever the back-end of others, ours is the same; it is judged once.
    if backend == Backend::AwsLcRs {
        print_verdicts(&rows, judge);
    }
}

/// What a contender's time is counted from.
#[derive(Clone, Copy)]
enum From {
    /// The empty router, with tokens that no processor cache holds any more.
    Router,
    /// The same with the few tokens of [`OURS_SEEN`].
    RouterSeen,
    /// Those without HTTP: all of their time.
    Nothing,
}

fn measure(setup: &Setup, backend: Backend, plan: Plan) -> Vec<(&'static str, Spread)> {
    let ring = fresh(setup, plan);
    let (from, mut contenders): (Vec<From>, Vec<Contender>) =
        contenders(setup, backend, &ring).into_iter().unzip();
    let first = [contenders::empty(), contenders::empty()];
    let rings = [ring, Ring::new(&setup.key, FEW)];
    for (router, ring) in first.into_iter().zip(rings) {
        contenders.push(Contender::new("router", requests(router, ring)));
    }
    let mut samples = interleave(&mut contenders, plan);
    let (seen, router) = (samples.pop(), samples.pop());
    let (seen, router) = seen.zip(router).expect("both routers were measured");
    let spread = |(from, samples): (From, Vec<f64>)| match from {
        From::Router => Spread::above(&router, &samples),
        From::RouterSeen => Spread::above(&seen, &samples),
        From::Nothing => Spread::of(samples),
    };
    let spreads = from.into_iter().zip(samples).map(spread);
    contenders.iter().map(|c| c.name).zip(spreads).collect()
}

fn contenders(setup: &Setup, backend: Backend, ring: &Ring) -> Vec<(From, Contender)> {
    let guarded = |name, router, place: f64| {
        let ring = ring.clone().from(place);
        (From::Router, Contender::new(name, requests(router, ring)))
    };
    let alone = bare::signature(setup, ring.clone().from(0.1));
    let mut all = vec![
        (From::Nothing, Contender::new(ALONE, alone)),
        guarded(IN_LAYER, bare::signature_in_layer(setup), 0.15),
        guarded(OURS_UNSEEN, ours::router(setup, Cache::Off), 0.2),
    ];
    // A digest costs as much as an HMAC: there is no cache for secrets.
    if setup.algorithm != Algorithm::Hs256 {
        let mut full = requests(ours::router(setup, Cache::On), ring.clone().once());
        (0..FILL).for_each(|_| full());
        all.push(unseen(setup, OURS_UNSEEN_CACHE_ON, full));
        all.push(unseen(setup, OURS_UNSEEN_FILLING, filling(setup, ring)));
        let few = Ring::new(&setup.key, FEW);
        let request = requests(ours::router(setup, Cache::On), few);
        all.push((From::RouterSeen, Contender::new(OURS_SEEN, request)));
    }
    for (place, peer) in contenders::peers(backend).iter().enumerate() {
        let router = (peer.router)(setup);
        all.extend(router.map(|router| guarded(peer.name, router, 0.3 + 0.1 * place as f64)));
    }
    if backend == Backend::AwsLcRs {
        let decode = bare::decode(setup, ring.clone().from(0.9));
        all.push((From::Nothing, Contender::new(BARE, decode)));
    }
    all
}

/// Tokens for everybody but [`OURS_SEEN`]; each begins at another place. There are so many that
/// neither their bytes nor what branches they make is still in the processor when one comes round
/// again: with a ring of 256, ES256 is a tenth faster than it is for a server.
fn fresh(setup: &Setup, plan: Plan) -> Ring {
    let length = match setup.algorithm {
        // An HMAC branches alike for all, and is done sooner than a token comes from memory.
        Algorithm::Hs256 => FEW,
        other => FILL + (plan.rounds + 1) * (calls(other) + WARM_UP) as usize,
    };
    Ring::new(&setup.key, length)
}

/// How many calls fill four milliseconds, about.
fn calls(algorithm: Algorithm) -> u32 {
    match algorithm {
        Algorithm::Hs256 => 1_500,
        Algorithm::Rs256 => 250,
        Algorithm::Es256 => 90,
        Algorithm::EdDsa => 140,
    }
}

/// A cache that protects itself from scans would still hold a part of any ring that comes round
/// again, so here each token is used once.
fn unseen(setup: &Setup, name: &'static str, request: impl FnMut() + 'static) -> (From, Contender) {
    let contender = Contender::new(name, request).with_calls(calls(setup.algorithm));
    (From::Router, contender)
}

/// As after a rotation: before its cache is full, each router makes way for the next.
fn filling(setup: &Setup, ring: &Ring) -> impl FnMut() + use<> {
    let routers = ring.count().div_ceil(NOT_FULL);
    let begun = |i| ring.clone().once().skip(i * NOT_FULL);
    let mut requests: Vec<_> = (0..routers)
        .map(|i| requests(ours::router(setup, Cache::On), begun(i)))
        .collect();
    let mut calls = 0;
    move || {
        requests[calls / NOT_FULL]();
        calls += 1;
    }
}

/// One request with the next token of the ring.
///
/// The router is made ready for them as `axum::serve` does it for each connection; otherwise it would
/// put its layers together anew for each request, which no server pays for.
pub fn requests(router: Router, mut ring: Ring) -> impl FnMut() {
    let mut router: Router = router.with_state(());
    move || {
        let status = contenders::request(&mut router, ring.token());
        assert_eq!(status, StatusCode::OK);
    }
}

fn print(rows: &[Row], backend: Backend) {
    let mut table = Table::new("µs", Algorithm::ALL.map(Algorithm::name));
    for row in rows {
        table.row(
            row.name,
            row.cells
                .map(|cell| cell.map_or_else(report::none, report::micros)),
        );
    }
    let which = match backend {
        Backend::AwsLcRs => "aws_lc_rs for jsonwebtoken 10 and 11",
        Backend::RustCrypto => "jsonwebtoken 10 and 11 as the peers ship them (RustCrypto)",
    };
    report::section(
        &format!("Time added to a request: {which}"),
        "Over the same empty axum router in the same process; those without HTTP: all that they \
         take. Median of the rounds, and the range of their middle half. The back-end of \
         jsonwebtoken is chosen once for a process, so there is one table for each.",
        &table,
    );
}

fn print_verdicts(rows: &[Row], judge: &mut Judge) {
    let cells = |name| {
        rows.iter()
            .find(|row| row.name == name)
            .expect("it was measured")
            .cells
    };
    let medians = |name| cells(name).map(|cell| cell.map(|spread| spread.median));
    let alone = medians(ALONE);
    let mut table = Table::new(
        "ratio to the signature alone",
        Algorithm::ALL.map(Algorithm::name),
    );
    let in_layer = medians(IN_LAYER);
    table.row(
        IN_LAYER,
        (0..4).map(|i| match (in_layer[i], alone[i]) {
            (Some(in_layer), Some(alone)) => format!("{:.3}", in_layer / alone),
            _ => report::none(),
        }),
    );
    let targets = [
        (OURS_UNSEEN, UNSEEN),
        (OURS_UNSEEN_CACHE_ON, UNSEEN_CACHE_ON),
        (OURS_UNSEEN_FILLING, UNSEEN_CACHE_ON),
        (OURS_SEEN, SEEN),
    ];
    for (name, limits) in targets {
        let ours = medians(name);
        table.row(
            name,
            (0..4).map(|i| match (ours[i], alone[i], limits[i]) {
                (Some(ours), Some(alone), Some(limit)) => {
                    judge.at_most(ours / alone, limit / SIGNATURE[i])
                }
                _ => report::none(),
            }),
        );
    }
    let (on, off) = (medians(OURS_UNSEEN_CACHE_ON), medians(OURS_UNSEEN));
    table.row(
        "a flood of distinct valid tokens: cache on and full / cache off",
        (0..4).map(|i| match (on[i], off[i]) {
            (Some(on), Some(off)) => judge.at_most(on / off, FLOOD),
            _ => report::none(),
        }),
    );
    report::section("Targets", "Ratios of medians of this run.", &table);
}
