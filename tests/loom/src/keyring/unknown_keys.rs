//! Requests with a token of an unknown key share one refresh, and none waits for ever.

use std::{sync::Arc, time::Duration};

use loom::{future::block_on, thread};

use super::{gate::Gate, unknown_key::UnknownKey};
use crate::{
    check,
    sync::{Mutex, Notify, watch},
};

const SECOND: Duration = Duration::from_secs(1);

/// The way to the refresh loop: `Shared::ask`.
#[derive(Default)]
struct Loop {
    asked: Mutex<Vec<watch::Sender<()>>>,
    told: Notify,
    /// In all.
    count: Mutex<usize>,
}

impl Loop {
    fn ask(&self, end: watch::Sender<()>) {
        *self.count.lock().unwrap() += 1;
        self.asked.lock().unwrap().push(end);
        self.told.notify_one();
    }

    async fn next(&self) -> watch::Sender<()> {
        loop {
            if let Some(end) = self.asked.lock().unwrap().pop() {
                return end;
            }
            self.told.notified().await;
        }
    }
}

fn gate() -> Arc<Gate> {
    Arc::new(Gate::new(UnknownKey::new(), 3_600 * SECOND).unwrap())
}

#[test]
fn two_requests_share_a_refresh_and_hear_of_its_end() {
    check(|| {
        let (gate, refreshing) = (gate(), Arc::new(Loop::default()));
        for _ in 0..2 {
            let (gate, refreshing) = (gate.clone(), refreshing.clone());
            thread::spawn(move || {
                if let Some(mut waiter) = gate.enter(None, SECOND, |end| refreshing.ask(end)) {
                    block_on(waiter.wait());
                }
            });
        }
        // `Worker::finish`: the end is noted, then told.
        let end = block_on(refreshing.next());
        gate.note(true, SECOND, Duration::ZERO);
        drop(end);
        assert_eq!(*refreshing.count.lock().unwrap(), 1, "one in a cool-down");
    });
}

#[test]
fn one_who_gives_up_ends_nothing_for_the_other() {
    check(|| {
        let (gate, refreshing) = (gate(), Arc::new(Loop::default()));
        let leader = gate.enter(None, SECOND, |end| refreshing.ask(end));
        let other = {
            let (gate, refreshing) = (gate.clone(), refreshing.clone());
            thread::spawn(move || {
                if let Some(mut waiter) = gate.enter(None, SECOND, |end| refreshing.ask(end)) {
                    block_on(waiter.wait());
                }
            })
        };
        drop(leader);
        let end = block_on(refreshing.next());
        gate.note(true, SECOND, Duration::ZERO);
        drop(end);
        other.join().unwrap();
        assert_eq!(*refreshing.count.lock().unwrap(), 1);
    });
}

/// A refresh fails, or panics, which `Worker` makes a failure of. Whoever comes at that moment must not
/// begin another before the longer pause is known.
fn a_failure(tells_first: bool) {
    let (gate, refreshing) = (gate(), Arc::new(Loop::default()));
    let leader = gate.enter(None, SECOND, |end| refreshing.ask(end));
    let end = block_on(refreshing.next());
    let late = {
        let (gate, refreshing) = (gate.clone(), refreshing.clone());
        // After one cool-down, jitter included, and before two.
        thread::spawn(move || drop(gate.enter(None, 13 * SECOND, |end| refreshing.ask(end))))
    };
    if tells_first {
        drop(end);
        gate.note(false, 13 * SECOND, Duration::ZERO);
    } else {
        gate.note(false, 13 * SECOND, Duration::ZERO);
        drop(end);
    }
    late.join().unwrap();
    drop(leader);
    let count = *refreshing.count.lock().unwrap();
    assert_eq!(count, 1, "asked for again inside of the pause");
}

#[test]
fn a_failure_is_known_before_its_end_is_told() {
    check(|| a_failure(false));
}

#[test]
#[ignore = "wrong on purpose"]
fn an_end_that_is_told_before_the_failure_is_known_is_found() {
    check(|| a_failure(true));
}

/// The keyring is shut down: the loop drops what it was asked, `Reply::End` too.
#[test]
fn the_end_of_the_loop_ends_the_waiting() {
    check(|| {
        let (gate, refreshing) = (gate(), Arc::new(Loop::default()));
        let request = {
            let (gate, refreshing) = (gate.clone(), refreshing.clone());
            thread::spawn(move || {
                let mut waiter = gate.enter(None, SECOND, |end| refreshing.ask(end)).unwrap();
                block_on(waiter.wait());
            })
        };
        drop(block_on(refreshing.next()));
        request.join().unwrap();
    });
}
