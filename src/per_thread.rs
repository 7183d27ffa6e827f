//! Shared ownership without a count that all threads change: each thread counts in a place of its own.
//!
//! An `Arc` that every request clones and drops makes the cores pass one cache line to and fro, which
//! costs more the more of them there are.

use std::{
    array,
    ops::Deref,
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering},
    },
};

/// So many threads never meet. Of more some share a place, which costs them what sharing costs everywhere.
const PLACES: usize = 16;

/// Owns a value, with a count for each thread.
// The places are here and not behind a pointer: each line that is not in the cache of a thread costs a new token
// a tenth of a microsecond.
pub(crate) struct PerThread<T> {
    places: [Arc<Share<T>>; PLACES],
}

/// A share in the value, counted where a thread counts its own.
pub(crate) struct Share<T> {
    /// Beside the count, which nobody else changes.
    value: Arc<T>,
    _apart: Apart,
}

/// Keeps the counts of two shares, wherever they are, off each other's cache lines.
struct Apart(#[expect(dead_code, reason = "it takes up room")] [u8; 104]);

impl<T> PerThread<T> {
    pub(crate) fn new(value: T) -> Self {
        let value = Arc::new(value);
        let place = |_| {
            Arc::new(Share {
                value: value.clone(),
                _apart: Apart([0; 104]),
            })
        };
        Self {
            places: array::from_fn(place),
        }
    }

    /// This thread's share, to be held for as long as it is needed, anywhere.
    pub(crate) fn share(&self) -> Arc<Share<T>> {
        self.places[number_of_this_thread() % PLACES].clone()
    }

    /// How many shares are held.
    pub(crate) fn shares(&self) -> usize {
        let counts = self.places.iter().map(Arc::strong_count);
        counts.sum::<usize>().saturating_sub(PLACES)
    }
}

impl<T> Deref for PerThread<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.places[0].value
    }
}

impl<T> Deref for Share<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// A value within something that is cloned for every request, as a service is: the clones of the first
/// one count where the thread that clones does. A clone's clone counts where that clone does.
pub(crate) enum PerClone<T> {
    First(Arc<PerThread<T>>),
    Clone(Arc<Share<T>>),
}

impl<T> Clone for PerClone<T> {
    fn clone(&self) -> Self {
        Self::Clone(match self {
            Self::First(owner) => owner.share(),
            Self::Clone(share) => share.clone(),
        })
    }
}

impl<T> Deref for PerClone<T> {
    type Target = T;

    fn deref(&self) -> &T {
        match self {
            Self::First(owner) => owner,
            Self::Clone(share) => share,
        }
    }
}

/// Sees who holds a value, and keeps nobody from dropping it.
pub(crate) struct Holders<T> {
    owner: Weak<PerThread<T>>,
    places: [Weak<Share<T>>; PLACES],
}

impl<T> Holders<T> {
    pub(crate) fn of(owner: &Arc<PerThread<T>>) -> Self {
        Self {
            owner: Arc::downgrade(owner),
            places: owner.places.each_ref().map(Arc::downgrade),
        }
    }

    /// How many shares are held, where whoever has the owner itself counts as one. None is exact: what
    /// nobody holds cannot be had any more.
    pub(crate) fn count(&self) -> usize {
        let shares: usize = self.places.iter().map(Weak::strong_count).sum();
        // Looked at last. If it is there now it was there all the time, and its share in each place was
        // counted.
        match self.owner.strong_count() {
            0 => shares,
            owners => shares.saturating_sub(PLACES) + owners,
        }
    }
}

/// Threads get a number of their own, one after the other.
fn number_of_this_thread() -> usize {
    static THREADS: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static NUMBER: usize = THREADS.fetch_add(1, Ordering::Relaxed);
    }
    // A thread that is ending has none any more.
    NUMBER.try_with(|number| *number).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::{
        sync::{Barrier, atomic::AtomicBool},
        thread,
    };

    use super::*;

    #[test]
    fn every_share_is_counted_whoever_took_it_and_wherever_it_is_dropped() {
        let owner = Arc::new(PerThread::new("value".to_owned()));
        let holders = Holders::of(&owner);
        assert_eq!((owner.shares(), holders.count()), (0, 1));
        let shares: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = (0..5).map(|_| scope.spawn(|| owner.share())).collect();
            threads.into_iter().map(|it| it.join().unwrap()).collect()
        });
        assert_eq!((owner.shares(), holders.count()), (5, 6));
        drop(owner);
        for (dropped, share) in shares.into_iter().enumerate() {
            assert_eq!(holders.count(), 5 - dropped);
            assert_eq!(**share, "value");
        }
        assert_eq!(holders.count(), 0);
    }

    #[test]
    fn nobody_is_overlooked_while_the_owner_goes() {
        for _ in 0..200 {
            let owner = Arc::new(PerThread::new(()));
            let holders = Holders::of(&owner);
            let (took, seen) = (Barrier::new(2), Barrier::new(2));
            let is_done = AtomicBool::new(false);
            thread::scope(|scope| {
                let reader = || {
                    let share = owner.share();
                    took.wait();
                    drop(owner);
                    is_done.store(true, Ordering::Release);
                    seen.wait();
                    drop(share);
                };
                let reader = scope.spawn(reader);
                took.wait();
                while !is_done.load(Ordering::Acquire) {
                    assert_ne!(holders.count(), 0);
                }
                assert_eq!(holders.count(), 1);
                seen.wait();
                reader.join().unwrap();
            });
            assert_eq!(holders.count(), 0);
        }
    }

    #[test]
    fn clones_count_beside_the_first_one() {
        let owner = Arc::new(PerThread::new(7));
        let first = PerClone::First(owner.clone());
        let clones = [first.clone(), first.clone().clone()];
        assert!(clones.iter().all(|clone| **clone == 7));
        assert_eq!(owner.shares(), 2);
    }
}
