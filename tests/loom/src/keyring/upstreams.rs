//! Calls of `try_each` whose credential was refused share one refresh, and hear of the successor.

use std::{sync::Arc, time::Duration};

use loom::{
    future::block_on,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use super::refusals::Refusals;
use crate::{
    check,
    source::VersionId,
    sync::{Instant, Mutex, watch},
};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn two_refusals_ask_for_one_refresh_and_hear_of_its_end() {
    check(|| {
        let (_done, done) = watch::channel(());
        let refusals = Arc::new(Refusals::new(done));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let calls: Vec<_> = (0..2)
            .map(|_| {
                let (refusals, asked) = (refusals.clone(), asked.clone());
                thread::spawn(move || {
                    let mut ended = refusals.refresh(SECOND, |end| asked.lock().unwrap().push(end));
                    // The loop ends it, whoever comes to that first.
                    drop(asked.lock().unwrap().pop());
                    block_on(ended.changed()).unwrap_err();
                })
            })
            .collect();
        for call in calls {
            call.join().unwrap();
        }
        let mut ended = refusals.refresh(SECOND, |_| panic!("a second refresh"));
        block_on(ended.changed()).unwrap_err();
    });
}

/// `Shared::change` stores the snapshot and then tells the news.
fn a_flip(tells_first: bool) {
    let (_done, done) = watch::channel(());
    let refusals = Arc::new(Refusals::new(done));
    let current = Arc::new(AtomicUsize::new(1));
    {
        let (refusals, current) = (refusals.clone(), current.clone());
        thread::spawn(move || {
            if tells_first {
                refusals.tell_news();
            }
            current.store(2, Ordering::Release);
            if !tells_first {
                refusals.tell_news();
            }
        });
    }
    // A call subscribes, and then looks whether there is something else to try.
    let mut wait = refusals.clone().wait_for_flip(VersionId("1"), SECOND);
    assert!(refusals.is_flip_awaited());
    let limit = Instant::now() + SECOND;
    block_on(async {
        while current.load(Ordering::Acquire) == 1 {
            assert!(wait.news(limit, SECOND).await, "given up");
        }
    });
    drop(wait);
    assert!(!refusals.is_flip_awaited());
}

#[test]
fn a_flip_wakes_who_waits_for_it() {
    check(|| a_flip(false));
}

#[test]
#[ignore = "wrong on purpose"]
fn news_before_the_flip_are_found() {
    check(|| a_flip(true));
}

/// The refresh loop looks once a second while somebody waits, and has to hear of it.
#[test]
fn the_loop_hears_of_who_waits() {
    check(|| {
        let (done_by_loop, done) = watch::channel(());
        let refusals = Arc::new(Refusals::new(done));
        let call = {
            let refusals = refusals.clone();
            thread::spawn(move || {
                let mut wait = refusals.wait_for_flip(VersionId("1"), SECOND);
                block_on(wait.news(Instant::now() + SECOND, SECOND))
            })
        };
        let awaited = refusals.awaited();
        block_on(async {
            while !refusals.is_flip_awaited() {
                awaited.notified().await;
            }
        });
        // Its end ends the waiting.
        drop(done_by_loop);
        assert!(!call.join().unwrap());
    });
}
