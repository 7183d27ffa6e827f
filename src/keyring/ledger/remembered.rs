//! A bounded memory of what went by.

use std::{
    collections::{HashMap, VecDeque},
    hash::Hash,
};

/// How many versions and keys of the past are remembered, so that one that was let go cannot come
/// back with a fresh window. Bounded, because a process may live through any number of rotations.
const CAPACITY: usize = 1024;

/// A map that forgets its oldest entries beyond [`CAPACITY`].
pub(super) struct Remembered<K, V> {
    entries: HashMap<K, V>,
    order: VecDeque<K>,
}

impl<K, V> Default for Remembered<K, V> {
    fn default() -> Self {
        Self {
            entries: HashMap::new(),
            order: VecDeque::new(),
        }
    }
}

impl<K: Hash + Eq + Clone, V> Remembered<K, V> {
    pub(super) fn get(&self, key: &K) -> Option<&V> {
        self.entries.get(key)
    }

    pub(super) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.entries.get_mut(key)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.entries.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (&K, &mut V)> {
        self.entries.iter_mut()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Entering an entry again makes it the newest. Beyond the capacity the oldest goes that is
    /// not to be kept.
    pub(super) fn get_or_insert(
        &mut self,
        key: K,
        value: impl FnOnce() -> V,
        keep: impl Fn(&V) -> bool,
    ) -> &mut V {
        if self.order.back() != Some(&key) {
            self.order.retain(|other| *other != key);
            self.order.push_back(key.clone());
        }
        if self.order.len() > CAPACITY {
            let dispensable =
                |other: &K| *other != key && !self.entries.get(other).is_some_and(&keep);
            if let Some(at) = self.order.iter().position(dispensable)
                && let Some(oldest) = self.order.remove(at)
            {
                self.entries.remove(&oldest);
            }
        }
        self.entries.entry(key).or_insert_with(value)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::matters, *};
    use crate::snapshot::Trust;

    #[test]
    fn beyond_the_capacity_the_oldest_goes_that_is_not_to_be_kept() {
        let mut remembered = Remembered::default();
        let keep = |value: &usize| *value == 0;
        for key in 0..CAPACITY {
            remembered.get_or_insert(key, || key, keep);
        }
        // Entered again, so it is the newest, and its value stays.
        assert_eq!(*remembered.get_or_insert(1, || 7, keep), 1);
        remembered.get_or_insert(CAPACITY, || CAPACITY, keep);
        assert_eq!(remembered.get(&0), Some(&0), "kept");
        assert_eq!(remembered.get(&1), Some(&1), "newer");
        assert_eq!(remembered.get(&2), None, "the oldest of the others");
        assert_eq!(remembered.iter().count(), CAPACITY);
    }

    #[test]
    fn a_trust_that_is_held_or_revoked_is_not_forgotten() {
        let mut memory = Remembered::default();
        let held = Trust::open();
        memory.get_or_insert(0, || held.clone(), matters);
        memory.get_or_insert(1, Trust::open, matters).revoke();
        for key in 2..=CAPACITY {
            memory.get_or_insert(key, Trust::open, matters);
        }
        let forgotten: Vec<_> = (0..=CAPACITY)
            .filter(|it| memory.get(it).is_none())
            .collect();
        assert_eq!(forgotten, [2]);
    }
}
