//! What a token of the previous key costs.

use crate::{
    contenders::{Setup, bare, ours},
    keys::Key,
    measure::{Contender, Plan, Spread, interleave},
    report::{self, Judge, Table},
    times::requests,
    tokens::{Ring, claims},
};

const RING: usize = 64;

/// With a `kid` it may cost this much of what the current key's token does.
const SAME: f64 = 1.05;
/// Without one it may cost this many signature checks more than the current key's without one.
const ONE_MORE: f64 = 1.05;

pub fn run(setup: &Setup, plan: Plan, judge: &mut Judge) {
    let previous = Key::generate(setup.algorithm);
    let router = ours::router_with_previous(setup, &previous);
    let ring = |sign: &dyn Fn() -> _| Ring::of((0..RING).map(|_| sign()));
    let named = ring(&|| previous.sign(&claims()));
    let unnamed = ring(&|| previous.sign_without_kid(&claims()));
    let current = ring(&|| setup.key.sign(&claims()));
    let current_unnamed = ring(&|| setup.key.sign_without_kid(&claims()));

    let mut contenders = [
        Contender::new("signature alone", bare::signature(setup, current.clone())),
        Contender::new(
            "router",
            requests(crate::contenders::empty(), current.clone()),
        ),
        Contender::new("current key", requests(router.clone(), current)),
        Contender::new("previous key, with `kid`", requests(router.clone(), named)),
        Contender::new(
            "current key, without `kid`",
            requests(router.clone(), current_unnamed),
        ),
        Contender::new("previous key, without `kid`", requests(router, unnamed)),
    ];
    let samples = interleave(&mut contenders, plan);
    let [alone, router, current, named, current_unnamed, unnamed] = &samples[..] else {
        unreachable!("as many samples as contenders");
    };

    let mut table = Table::new("ours, cache off", ["µs added", "judged"]);
    let added = |samples| Spread::above(router, samples);
    table.row(
        "current key",
        [report::micros(added(current)), report::none()],
    );
    let same = added(named).median / added(current).median;
    table.row(
        "previous key, with `kid`",
        [report::micros(added(named)), judge.at_most(same, SAME)],
    );
    table.row(
        "current key, without `kid`",
        [report::micros(added(current_unnamed)), report::none()],
    );
    let more =
        Spread::above(current_unnamed, unnamed).median / Spread::of(alone.iter().copied()).median;
    let verdict = judge.at_most(more, ONE_MORE);
    table.row(
        "previous key, without `kid`",
        [report::micros(added(unnamed)), verdict],
    );
    report::section(
        &format!("A token of the previous key, {}", setup.algorithm.name()),
        "With `kid`: ratio to the current key's token. Without: signature checks more than the current key's \
         token without.",
        &table,
    );
}
