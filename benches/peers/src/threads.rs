//! What a second thread brings to what the layer adds, beside what it brings to the signature alone.

use axum::Router;

use crate::{
    contenders::{self, Setup, bare, ours},
    keys::Algorithm,
    measure::{Factory, Plan, Spread, Throughput, interleave_threads},
    report::{self, Judge, Table},
    times::requests,
    tokens::Ring,
};

/// What is added gains so much of what the signature alone does.
const SHARE: f64 = 0.95;

const RING: usize = 256;

pub fn run(setups: &[Setup], plan: Plan, judge: &mut Judge) {
    let columns = [
        "1 thread, calls/s",
        "2 threads, calls/s",
        "gain",
        "gain of what is added / that of the signature",
    ];
    let mut table = Table::new("", columns);
    for setup in setups {
        let name = setup.algorithm.name();
        let mut all = interleave_threads(&factories(setup), plan).into_iter();
        let alone = all.next().expect("the signature is first");
        let empty = all.next().expect("the empty router is second");
        for (what, those) in [("signature alone", &alone), ("the empty router", &empty)] {
            let row = format!("{name}, {what}");
            table.row(row, cells(those, report::none()));
        }
        for (what, ours) in ["token not seen before, cache off", "token seen before"]
            .iter()
            .zip(all)
        {
            let shares = gains_of_added(&ours, &empty)
                .zip(gains(&alone))
                .map(|(ours, alone)| ours / alone);
            let verdict = judge.at_least(Spread::of(shares).median, SHARE);
            table.row(format!("{name}, ours, {what}"), cells(&ours, verdict));
        }
    }
    report::section(
        "From one thread to two",
        "Each thread has a clone of the router; the keyring is one. Calls and their gain are of whole \
         requests; what is added is the time of a call over one of the empty router, which shares its \
         handler among the threads.",
        &table,
    );
}

/// The signature alone, the empty router, ours without the cache, and, where there is one, with it.
fn factories(setup: &Setup) -> Vec<Factory<'_>> {
    let ring = Ring::new(&setup.key, RING);
    let mut factories: Vec<Factory<'_>> = vec![
        signature(setup, ring.clone()),
        router(contenders::empty(), ring.clone()),
    ];
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

/// As [`gains`], of the time that a call takes over one of the empty router.
fn gains_of_added<'a>(
    ours: &'a Throughput,
    empty: &'a Throughput,
) -> impl Iterator<Item = f64> + use<'a> {
    let added = |ours: &'a [f64], empty: &'a [f64]| {
        let both = ours.iter().zip(empty);
        both.map(|(ours, empty)| 1.0 / ours - 1.0 / empty)
    };
    added(&ours.one, &empty.one)
        .zip(added(&ours.two, &empty.two))
        .map(|(one, two)| one / two)
}

fn cells(throughput: &Throughput, verdict: String) -> [String; 4] {
    let rate = |samples: &[f64]| format!("{:.0}", Spread::of(samples.iter().copied()).median);
    let gain = report::ratio(Spread::of(gains(throughput)));
    [rate(&throughput.one), rate(&throughput.two), gain, verdict]
}
