//! What a second thread brings, beside what it brings to the signature alone.

use axum::Router;

use crate::{
    contenders::{Setup, bare, ours},
    keys::Algorithm,
    measure::{Factory, Plan, Spread, Throughput, interleave_threads},
    report::{self, Judge, Table},
    times::requests,
    tokens::Ring,
};

/// Of what the signature alone gains.
const SHARE: f64 = 0.95;

const RING: usize = 256;

pub fn run(setups: &[Setup], plan: Plan, judge: &mut Judge) {
    let columns = [
        "1 thread, calls/s",
        "2 threads, calls/s",
        "gain",
        "gain / that of the signature",
    ];
    let mut table = Table::new("", columns);
    for setup in setups {
        let name = setup.algorithm.name();
        let mut all = interleave_threads(&factories(setup), plan).into_iter();
        let alone = all.next().expect("the signature is first");
        table.row(
            format!("{name}, signature alone"),
            cells(&alone, report::none()),
        );
        for (what, ours) in ["token not seen before, cache off", "token seen before"]
            .iter()
            .zip(all)
        {
            let shares = gains(&ours)
                .zip(gains(&alone))
                .map(|(ours, alone)| ours / alone);
            let verdict = judge.at_least(Spread::of(shares).median, SHARE);
            table.row(format!("{name}, ours, {what}"), cells(&ours, verdict));
        }
    }
    report::section(
        "From one thread to two",
        "Whole requests, router included. Each thread has a clone of the router; the keyring is one.",
        &table,
    );
}

/// The signature alone, ours without the cache, and, where there is one, with it.
fn factories(setup: &Setup) -> Vec<Factory<'_>> {
    let ring = Ring::new(&setup.key, RING);
    let mut factories: Vec<Factory<'_>> = vec![signature(setup, ring.clone())];
    factories.push(router(ours::router(setup, ours::Cache::Off), ring.clone()));
    if setup.algorithm != Algorithm::Hs256 {
        factories.push(router(ours::router(setup, ours::Cache::On), ring));
    }
    factories
}

fn signature(setup: &Setup, ring: Ring) -> Factory<'_> {
    Box::new(move |thread| Box::new(bare::signature(setup, apart(&ring, thread))))
}

fn router(router: Router, ring: Ring) -> Factory<'static> {
    Box::new(move |thread| Box::new(requests(router.clone(), apart(&ring, thread))))
}

/// The threads do not ask for the same token at the same time.
fn apart(ring: &Ring, thread: usize) -> Ring {
    ring.clone().from(thread as f64 / 2.0)
}

fn gains(throughput: &Throughput) -> impl Iterator<Item = f64> + use<'_> {
    throughput
        .one
        .iter()
        .zip(&throughput.two)
        .map(|(one, two)| two / one)
}

fn cells(throughput: &Throughput, verdict: String) -> [String; 4] {
    let rate = |samples: &[f64]| format!("{:.0}", Spread::of(samples.iter().copied()).median);
    let gain = report::ratio(Spread::of(gains(throughput)));
    [rate(&throughput.one), rate(&throughput.two), gain, verdict]
}
