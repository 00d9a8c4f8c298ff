//! Things in memory up to so many bytes; the one that was not asked for longest goes first.

use std::{collections::HashMap, hash::Hash};

/// See the module.
pub(crate) struct Lru<K, V> {
    limit: u64,
    used: u64,
    clock: u64,
    entries: HashMap<K, Entry<V>>,
}

struct Entry<V> {
    value: V,
    bytes: u64,
    asked: u64,
}

impl<K: Clone + Eq + Hash, V: Clone> Lru<K, V> {
    pub(crate) fn new(limit: u64) -> Self {
        Self { limit, used: 0, clock: 0, entries: HashMap::new() }
    }

    /// What is kept under this name.
    pub(crate) fn get(&mut self, key: &K) -> Option<V> {
        self.clock += 1;
        let entry = self.entries.get_mut(key)?;
        entry.asked = self.clock;
        Some(entry.value.clone())
    }

    pub(crate) fn contains(&self, key: &K) -> bool {
        self.entries.contains_key(key)
    }

    /// Keeps a thing, and drops others until all fit. The last one stays even if it alone is beyond the limit: somebody
    /// is working with it.
    pub(crate) fn insert(&mut self, key: K, value: V, bytes: u64) {
        self.clock += 1;
        let entry = Entry { value, bytes, asked: self.clock };
        if let Some(former) = self.entries.insert(key, entry) {
            self.used -= former.bytes;
        }
        self.used += bytes;
        while self.used > self.limit && self.entries.len() > 1 {
            let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.asked);
            let Some(key) = oldest.map(|(key, _)| key.clone()) else { break };
            if let Some(gone) = self.entries.remove(&key) {
                self.used -= gone.bytes;
            }
        }
    }

    #[cfg(test)]
    fn used(&self) -> u64 {
        self.used
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_that_was_not_asked_for_longest_goes_first() {
        let mut kept = Lru::new(10);
        kept.insert("a", 1, 4);
        kept.insert("b", 2, 4);
        assert_eq!(kept.get(&"a"), Some(1));
        kept.insert("c", 3, 4);
        assert_eq!((kept.get(&"a"), kept.get(&"b"), kept.get(&"c")), (Some(1), None, Some(3)));
        assert_eq!(kept.used(), 8);
        // The same again takes no more room.
        kept.insert("c", 4, 5);
        assert_eq!((kept.get(&"c"), kept.used()), (Some(4), 9));
        // The newest stays whatever it takes.
        kept.insert("d", 5, 100);
        assert_eq!((kept.get(&"a"), kept.get(&"d"), kept.used()), (None, Some(5), 100));
    }
}
