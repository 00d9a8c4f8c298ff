//! What two splits of one way of splitting share.

use std::collections::{BTreeSet, HashMap, HashSet};

use data_loaders::{FilePair, Inventory};

use crate::duplicates::Match;
use crate::report::{Duplicate, Leak, Same};

/// The leaks between all pairs of splits, in the order of the card.
///
/// `exact` has groups of images of the same pixels, `near` pairs that look the same; `duplicate`
/// describes a pair of positions.
pub(crate) fn between_splits(
    inventory: &Inventory,
    exact: &[Vec<usize>],
    near: &[Match],
    duplicate: &dyn Fn(usize, usize, Same) -> Duplicate,
    how_same: &dyn Fn(usize, usize) -> Same,
) -> Vec<Leak> {
    let mut leaks = Vec::new();
    for (first, one) in inventory.splits.iter().enumerate() {
        for (second, other) in inventory.splits.iter().enumerate().skip(first + 1) {
            if one.split_by != other.split_by {
                continue;
            }
            let splits = [one.name.clone(), other.name.clone()];
            leaks.extend(shared_sequences(inventory, [first, second], &splits));

            let is_in = |index: usize, split: usize| is_in(&inventory.pairs[index], split);
            let mut pairs = Vec::new();
            for group in exact {
                let partner = group.iter().find(|&&index| is_in(index, second));
                for &index in group.iter().filter(|&&index| is_in(index, first)) {
                    if let Some(&partner) = partner.filter(|&&partner| partner != index) {
                        pairs.push(duplicate(index, partner, how_same(index, partner)));
                    }
                }
            }
            if !pairs.is_empty() {
                leaks.push(Leak::SharedImages { splits: splits.clone(), pairs });
            }

            let mut best: HashMap<usize, (f64, usize, Same)> = HashMap::new();
            for one in near {
                let Same::Look { correlation, .. } = one.same else { continue };
                for (a, b) in [(one.first, one.second), (one.second, one.first)] {
                    if is_in(a, first)
                        && is_in(b, second)
                        && best.get(&a).is_none_or(|(most, ..)| correlation > *most)
                    {
                        best.insert(a, (correlation, b, one.same));
                    }
                }
            }
            if !best.is_empty() {
                let mut found: Vec<_> = best.into_iter().collect();
                found.sort_by_key(|(index, _)| *index);
                let pairs = found.into_iter().map(|(a, (_, b, same))| duplicate(a, b, same));
                leaks.push(Leak::SimilarImages { splits, pairs: pairs.collect() });
            }
        }
    }
    leaks
}

fn shared_sequences(
    inventory: &Inventory,
    positions: [usize; 2],
    splits: &[String; 2],
) -> Option<Leak> {
    let sequences = |split: usize| -> BTreeSet<&str> {
        inventory.pairs.iter().filter_map(|pair| sequence(pair, split)).collect()
    };
    let [first, second] = positions.map(sequences);
    let shared: HashSet<&str> = first.intersection(&second).copied().collect();
    if shared.is_empty() {
        return None;
    }
    let count = |split: usize| {
        let pairs = inventory.pairs.iter();
        pairs.filter(|pair| sequence(pair, split).is_some_and(|one| shared.contains(one))).count()
    };
    let mut names: Vec<String> = shared.iter().map(|&name| name.to_owned()).collect();
    // 2 before 10.
    names.sort_by(|a, b| (a.len(), a).cmp(&(b.len(), b)));
    Some(Leak::SharedSequences {
        splits: splits.clone(),
        sequences: names,
        images: positions.map(count),
        of: positions.map(|split| inventory.pairs.iter().filter(|pair| is_in(pair, split)).count()),
    })
}

fn is_in(pair: &FilePair, split: usize) -> bool {
    pair.memberships.iter().any(|one| one.split == split)
}

fn sequence(pair: &FilePair, split: usize) -> Option<&str> {
    let membership = pair.memberships.iter().find(|one| one.split == split)?;
    membership.sequence.as_deref()
}
