#![allow(clippy::unwrap_used)]

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;

use super::refusals::{COOL_DOWN, FLIP_POLLS, NEW_INCIDENT, REFUSALS, Refusals};
use crate::source::VersionId;

/// Long after the start, so that nothing is equal to zero by chance.
const BEGIN: Duration = Duration::from_secs(100_000);

fn refusals() -> Arc<Refusals> {
    Arc::new(Refusals::new(watch::channel(()).1))
}

fn version() -> VersionId {
    VersionId::new("v")
}

#[test]
fn one_refresh_in_each_cool_down() {
    let refusals = refusals();
    let mut asked = 0;
    let mut refresh = |at| drop(refusals.refresh(at, |_| asked += 1));
    for pause in [
        Duration::ZERO,
        COOL_DOWN - Duration::from_nanos(1),
        COOL_DOWN,
    ] {
        refresh(BEGIN + pause);
    }
    assert_eq!(asked, 2);
}

#[test]
fn a_version_that_is_known_to_work_is_free_for_all() {
    let refusals = refusals();
    let calls = (0..=REFUSALS).map(|_| refusals.begin(&version(), true, BEGIN));
    assert!(calls.collect::<Vec<_>>().iter().all(Option::is_some));
    let calls = (0..=REFUSALS).map(|_| refusals.begin(&version(), false, BEGIN));
    let calls: Vec<_> = calls.collect();
    let begun = calls.iter().filter(|call| call.is_some()).count();
    assert_eq!(begun, REFUSALS as usize, "of one that is not");
}

/// When the next call may try it, in cool-downs from `now` on.
fn pause(refusals: &Arc<Refusals>, now: Duration) -> u32 {
    let wait = refusals.next_try_in(now).unwrap();
    u32::try_from(wait.as_nanos() / COOL_DOWN.as_nanos()).unwrap()
}

#[test]
fn pauses_grow_until_it_is_another_incident() {
    let refusals = refusals();
    let begin = |now| refusals.begin(&version(), false, now);
    // Nobody has said anything yet, and some have been tried meanwhile: that counts as well.
    let hang: Vec<_> = (0..REFUSALS).map(|_| begin(BEGIN).unwrap()).collect();
    let once = begin(BEGIN + COOL_DOWN).unwrap();
    once.refused(BEGIN + COOL_DOWN);
    assert_eq!(pause(&refusals, BEGIN + COOL_DOWN), 2);
    for call in hang {
        call.refused(BEGIN + COOL_DOWN);
    }
    let now = BEGIN + 3 * COOL_DOWN;
    begin(now).unwrap().refused(now);
    assert_eq!(pause(&refusals, now), 4);
    // As if it were the first.
    let now = now + NEW_INCIDENT;
    for _ in 0..REFUSALS {
        begin(now).unwrap().refused(now);
    }
    assert_eq!(pause(&refusals, now), 1);
}

#[test]
fn a_call_that_began_before_the_last_refusal_says_nothing() {
    let second = Duration::from_secs(1);
    for (began, works) in [(BEGIN, true), (BEGIN - second, false)] {
        let refusals = refusals();
        let early = refusals.begin(&version(), true, began).unwrap();
        for _ in 0..REFUSALS {
            let call = refusals.begin(&version(), false, BEGIN).unwrap();
            call.refused(BEGIN);
        }
        early.accepted();
        let next = refusals.begin(&version(), false, BEGIN);
        assert_eq!(next.is_some(), works);
    }
}

#[test]
fn a_minute_of_polls_for_each_incident() {
    let refusals = refusals();
    let wait = |at| refusals.clone().wait_for_flip(version(), at);
    let waits = wait(BEGIN);
    for _ in 0..FLIP_POLLS {
        assert!(refusals.is_flip_awaited());
        refusals.count_poll();
    }
    let early = BEGIN + NEW_INCIDENT - Duration::from_nanos(1);
    for (at, is_another) in [(early, false), (early + NEW_INCIDENT, true)] {
        let _late = wait(at);
        assert_eq!(refusals.is_flip_awaited(), is_another);
    }
    drop(waits);
    assert!(!refusals.is_flip_awaited());
}
