//! Shared ownership without a count that all threads change: each thread counts in a place of its own.
//!
//! An `Arc` that every request clones and drops makes the cores pass one cache line to and fro, which
//! costs more the more of them there are.

use std::{
    ops::Deref,
    sync::{
        Arc, LazyLock, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

/// More places than this are memory for nothing: what is counted in one is then rarely met by another.
const MAX_PLACES: usize = 64;

/// Owns a value, with a count for each thread (or for a few of them, where there are more threads than
/// cores).
pub(crate) struct PerThread<T> {
    places: Box<[Arc<Share<T>>]>,
}

/// A share in the value, counted where a thread counts its own.
// Aligned, so that no two counts are on one cache line, nor one beside what every request reads.
#[repr(align(128))]
pub(crate) struct Share<T> {
    value: Arc<T>,
}

impl<T> PerThread<T> {
    pub(crate) fn new(value: T) -> Self {
        let value = Arc::new(value);
        let place = |_| {
            let value = value.clone();
            Arc::new(Share { value })
        };
        Self {
            places: (0..*PLACES).map(place).collect(),
        }
    }

    /// This thread's share, to be held for as long as it is needed, anywhere.
    pub(crate) fn share(&self) -> Arc<Share<T>> {
        self.places[place_of_this_thread()].clone()
    }

    /// How many shares are held.
    pub(crate) fn shares(&self) -> usize {
        let own = self.places.len();
        self.counts().sum::<usize>().saturating_sub(own)
    }

    fn counts(&self) -> impl Iterator<Item = usize> {
        self.places.iter().map(Arc::strong_count)
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
    places: Box<[Weak<Share<T>>]>,
}

impl<T> Holders<T> {
    pub(crate) fn of(owner: &Arc<PerThread<T>>) -> Self {
        Self {
            owner: Arc::downgrade(owner),
            places: owner.places.iter().map(Arc::downgrade).collect(),
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
            owners => shares.saturating_sub(self.places.len()) + owners,
        }
    }
}

/// One for each core.
static PLACES: LazyLock<usize> = LazyLock::new(|| {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    cores.min(MAX_PLACES)
});

/// Threads get one after the other, in turn.
fn place_of_this_thread() -> usize {
    static THREADS: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static PLACE: usize = THREADS.fetch_add(1, Ordering::Relaxed) % *PLACES;
    }
    // A thread that is ending has none any more.
    PLACE.try_with(|place| *place).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::{Barrier, atomic::AtomicBool};

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
