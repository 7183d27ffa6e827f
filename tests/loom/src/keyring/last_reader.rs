//! Who waits until a version is drained is woken by its last reader, whoever comes first.

use std::{convert::Infallible, sync::Arc, time::Duration};

use loom::{
    future::block_on,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use super::drain::{Need, until_unused};
use crate::{
    check,
    sync::{Mutex, Notify, watch},
};

const LATER: Need = Need::LookAgain(Duration::from_secs(30));

/// The count of a snapshot's `Arc`, which `Weak::strong_count` reads, and `snapshot::Retired`.
#[derive(Default)]
struct Snapshot {
    readers: AtomicUsize,
    for_waiters: Notify,
    for_loop: Notify,
}

/// One strong reference. Dropping the last one ends the snapshot, and with it its `DropSignal`: std's `Arc`
/// takes the count down first.
struct Reader {
    snapshot: Arc<Snapshot>,
    tells_too_early: bool,
}

impl Snapshot {
    fn reader(self: &Arc<Self>) -> Reader {
        self.readers.fetch_add(1, Ordering::Relaxed);
        Reader {
            snapshot: self.clone(),
            tells_too_early: false,
        }
    }

    fn is_gone(&self) -> bool {
        self.readers.load(Ordering::Acquire) == 0
    }

    /// `<DropSignal as Drop>::drop`.
    fn tell(&self) {
        self.for_loop.notify_one();
        self.for_waiters.notify_waiters();
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let Self {
            snapshot,
            tells_too_early,
        } = self;
        if *tells_too_early {
            snapshot.tell();
        }
        let was_last = snapshot.readers.fetch_sub(1, Ordering::AcqRel) == 1;
        if was_last && !*tells_too_early {
            snapshot.tell();
        }
    }
}

/// Two readers of a snapshot that was replaced go, while somebody begins to wait.
fn two_readers(tells_too_early: bool) {
    let snapshot = Arc::new(Snapshot::default());
    let changes = watch::Sender::new(());
    for _ in 0..2 {
        let mut reader = snapshot.reader();
        reader.tells_too_early = tells_too_early;
        thread::spawn(move || drop(reader));
    }
    let drained = until_unused(changes.subscribe(), &snapshot.for_waiters, || {
        Ok::<_, Infallible>(if snapshot.is_gone() {
            Need::Nothing
        } else {
            LATER
        })
    });
    block_on(drained).unwrap();
    assert!(snapshot.is_gone());
}

#[test]
fn the_last_of_two_readers_wakes_who_waits() {
    check(|| two_readers(false));
}

#[test]
#[ignore = "wrong on purpose"]
fn a_reader_that_tells_before_it_is_gone_is_found() {
    check(|| two_readers(true));
}

/// Looks first, and arms after it: what happens in between is missed.
#[test]
#[ignore = "wrong on purpose"]
fn arming_after_the_look_is_found() {
    check(|| {
        let snapshot = Arc::new(Snapshot::default());
        let reader = snapshot.reader();
        thread::spawn(move || drop(reader));
        block_on(async {
            while !snapshot.is_gone() {
                snapshot.for_waiters.notified().await;
            }
        });
    });
}

/// The order of `Shared::change`: the books, then the news, and then the cell's own reference goes.
fn a_swap(tells_before_the_books: bool) {
    let snapshot = Arc::new(Snapshot::default());
    let is_replaced = Arc::new(Mutex::new(false));
    let changes = Arc::new(watch::Sender::new(()));
    let (in_cell, of_request) = (snapshot.reader(), snapshot.reader());
    let swap = {
        let (is_replaced, changes) = (is_replaced.clone(), changes.clone());
        move || {
            if tells_before_the_books {
                changes.send_replace(());
            }
            *is_replaced.lock().unwrap() = true;
            if !tells_before_the_books {
                changes.send_replace(());
            }
            drop(in_cell);
        }
    };
    thread::spawn(swap);
    thread::spawn(move || drop(of_request));
    let drained = until_unused(changes.subscribe(), &snapshot.for_waiters, || {
        let is_current = !*is_replaced.lock().unwrap();
        let is_needed = is_current || !snapshot.is_gone();
        Ok::<_, Infallible>(if is_needed { LATER } else { Need::Nothing })
    });
    block_on(drained).unwrap();
    assert!(snapshot.is_gone());
}

#[test]
fn a_version_that_is_replaced_while_somebody_waits_drains() {
    check(|| a_swap(false));
}

/// The window of a key ends, and no reader is left: `Shared::change` publishes a snapshot without it.
fn an_end(tells_before_the_books: bool) {
    let is_over = Arc::new(Mutex::new(false));
    let changes = Arc::new(watch::Sender::new(()));
    let nobody = Notify::default();
    let end = {
        let (is_over, changes) = (is_over.clone(), changes.clone());
        move || {
            if tells_before_the_books {
                changes.send_replace(());
            }
            *is_over.lock().unwrap() = true;
            if !tells_before_the_books {
                changes.send_replace(());
            }
        }
    };
    thread::spawn(end);
    let drained = until_unused(changes.subscribe(), &nobody, || {
        let is_over = *is_over.lock().unwrap();
        Ok::<_, Infallible>(if is_over { Need::Nothing } else { LATER })
    });
    block_on(drained).unwrap();
}

#[test]
fn a_window_that_ends_while_somebody_waits_wakes_them() {
    check(|| an_end(false));
}

#[test]
#[ignore = "wrong on purpose"]
fn news_before_the_books_are_written_are_found() {
    check(|| an_end(true));
}

/// `Worker::run` and `Shared::tell_drained`: one notice may stand for several snapshots.
#[test]
fn the_loop_hears_of_each_snapshot() {
    check(|| {
        let retired = Arc::new(Snapshot::default());
        let gone = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
        for at in 0..2 {
            let (retired, gone) = (retired.clone(), gone.clone());
            thread::spawn(move || {
                gone[at].store(1, Ordering::Release);
                retired.tell();
            });
        }
        block_on(async {
            let mut told = 0;
            while told < 2 {
                retired.for_loop.notified().await;
                told = gone.iter().map(|it| it.load(Ordering::Acquire)).sum();
            }
        });
    });
}
