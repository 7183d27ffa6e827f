//! Heap allocations that each contender adds to a request. Counting them costs time, so this has a
//! program of its own, `bin/allocations.rs`, which alone has the counting allocator.

use axum::Router;

use crate::{
    contenders::{self, Backend, Setup, ours},
    keys::Algorithm,
    report::{self, Judge, Table},
    times::requests,
    tokens::Ring,
};

/// The targets.
const UNSEEN: f64 = 12.0;
const SEEN: f64 = 6.0;

const CALLS: usize = 64;

/// How many allocations something makes.
pub type Count = fn(&mut dyn FnMut()) -> usize;

pub fn run(setups: &[Setup], backend: Backend, count: Count, judge: &mut Judge) {
    let mut table = Table::new("allocations a request", Algorithm::ALL.map(Algorithm::name));
    let mut add = |name: &str, cells: &mut dyn FnMut(&Setup) -> Option<String>| {
        table.row(
            name,
            setups
                .iter()
                .map(|setup| cells(setup).unwrap_or_else(report::none)),
        );
    };
    let base = allocations(contenders::empty(), Ring::new(&setups[0].key, CALLS), count);
    let added = |router, ring| allocations(router, ring, count) - base;
    add("the empty router, alone", &mut |_| {
        Some(format!("{base:.1}"))
    });
    add("**ours**, token not seen before, cache off", &mut |setup| {
        let ring = Ring::new(&setup.key, CALLS);
        Some(judge.at_most(added(ours::router(setup, ours::Cache::Off), ring), UNSEEN))
    });
    add("**ours**, token not seen before, cache on", &mut |setup| {
        let ring = Ring::new(&setup.key, CALLS + 1).once();
        let router = cached(setup)?;
        Some(judge.at_most(added(router, ring), UNSEEN))
    });
    add("**ours**, token seen before", &mut |setup| {
        Some(judge.at_most(added(cached(setup)?, Ring::new(&setup.key, 1)), SEEN))
    });
    for peer in contenders::peers(backend) {
        add(peer.name, &mut |setup| {
            let router = (peer.router)(setup)?;
            Some(format!(
                "{:.1}",
                added(router, Ring::new(&setup.key, CALLS))
            ))
        });
    }
    report::section(
        "Heap allocations",
        "Added over the empty router; the mean of 64 requests, after one.",
        &table,
    );
}

fn cached(setup: &Setup) -> Option<Router> {
    (setup.algorithm != Algorithm::Hs256).then(|| ours::router(setup, ours::Cache::On))
}

/// The mean of [`CALLS`] requests; what only the first does is left out.
fn allocations(router: Router, ring: Ring, count: Count) -> f64 {
    let mut request = requests(router, ring);
    request();
    let all = count(&mut || (0..CALLS).for_each(|_| request()));
    all as f64 / CALLS as f64
}
