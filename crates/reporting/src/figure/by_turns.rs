//! Some of many, chosen by rule where a figure has no room for all.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

/// Places of at most `limit` of `items`, in their order.
///
/// Each item has names for the same aspects, the most important first: e.g. its data set, its method, its case. Items
/// are taken by turns: the next one is of the data set that was taken least often so far, among those of the method
/// that was taken least often, and so on. Between equals a hash of seed and names decides, and not who comes first.
pub(super) fn by_turns<const N: usize>(
    items: &[[String; N]],
    limit: usize,
    seed: u64,
) -> Vec<usize> {
    let mut taken: BTreeMap<(usize, &str), usize> = BTreeMap::new();
    let mut left: Vec<(Vec<u8>, usize)> =
        items.iter().enumerate().map(|(place, names)| (draw(seed, names), place)).collect();
    left.sort();
    let mut chosen = Vec::new();
    while chosen.len() < limit {
        let times = |place: usize| -> [usize; N] {
            std::array::from_fn(|aspect| {
                taken.get(&(aspect, items[place][aspect].as_str())).copied().unwrap_or(0)
            })
        };
        // The first of several that are equal, which is the one with the least hash.
        let Some(at) = (0..left.len()).min_by_key(|&at| times(left[at].1)) else { break };
        let (_, place) = left.remove(at);
        for (aspect, name) in items[place].iter().enumerate() {
            *taken.entry((aspect, name)).or_default() += 1;
        }
        chosen.push(place);
    }
    chosen.sort_unstable();
    chosen
}

fn draw(seed: u64, names: &[String]) -> Vec<u8> {
    let mut hasher = Sha256::new();
    hasher.update(seed.to_le_bytes());
    for name in names {
        hasher.update(name.as_bytes());
        hasher.update([0]);
    }
    hasher.finalize().to_vec()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Three data sets, the first of them many times as large, by four methods.
    fn items() -> Vec<[String; 3]> {
        let mut items = Vec::new();
        for (data, cases) in [("a", 40), ("b", 4), ("c", 3)] {
            for method in ["k", "l", "m", "n"] {
                items.extend(
                    (0..cases).map(|case| [data.into(), method.into(), format!("{data}{case}")]),
                );
            }
        }
        items
    }

    #[test]
    fn every_data_set_and_every_method_has_its_turn_before_a_second_one() {
        let items = items();
        for seed in 0..20 {
            let names = |limit, aspect: usize| -> Vec<&str> {
                by_turns(&items, limit, seed).iter().map(|&at| items[at][aspect].as_str()).collect()
            };
            let distinct =
                |limit, aspect| names(limit, aspect).into_iter().collect::<BTreeSet<_>>().len();
            assert_eq!(distinct(3, 0), 3);
            assert_eq!(distinct(4, 1), 4);
            assert_eq!(distinct(8, 2), 8, "no case twice while there are others");
            for data in ["a", "b", "c"] {
                assert_eq!(names(6, 0).iter().filter(|name| **name == data).count(), 2);
            }
        }
    }

    #[test]
    fn the_order_of_the_items_does_not_choose_and_the_seed_does() {
        let items = items();
        let turned: Vec<_> = items.iter().rev().cloned().collect();
        let names = |items: &[[String; 3]], seed| -> BTreeSet<String> {
            by_turns(items, 5, seed).iter().map(|&at| items[at].concat()).collect()
        };
        assert_eq!(names(&items, 1), names(&turned, 1));
        let different: BTreeSet<_> = (0..10).map(|seed| names(&items, seed)).collect();
        assert!(different.len() > 5);
    }

    #[test]
    fn more_than_there_are_is_all_of_them_in_their_order() {
        assert_eq!(by_turns(&items()[..4], 9, 0), [0, 1, 2, 3]);
    }
}
