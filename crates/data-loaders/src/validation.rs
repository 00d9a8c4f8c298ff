//! Holding out a part of the training images, to choose a checkpoint without the test set.

use std::collections::HashMap;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::{DataError, DataSet};

/// Share of the training images to hold out unless an experiment says otherwise: one in ten.
///
/// Of PraNet's 900 + 550 training images these are 145, about as many as the two test splits of
/// the same sets have (162). The published code holds out nothing and chooses its checkpoint on
/// the test sets.
pub const VALIDATION_FRACTION: f64 = 0.1;

impl DataSet {
    /// Splits off a held-out part: `(rest, held out)`, both in the order of this set.
    ///
    /// Deterministic in `seed`. Frames of one video sequence (column `sequence` of the split
    /// file) stay together, since neighboring frames are almost the same image; cases without
    /// a sequence are on their own. Whole sequences are taken in shuffled order as long as that
    /// brings the held-out part nearer to `fraction`, so its size can be off by half a sequence.
    /// Neither part is empty. Hold out before joining sets, so that each contributes its share.
    ///
    /// # Errors
    ///
    /// [`DataError::HoldOut`] if `fraction` is not between 0 and 1, or if there are fewer than two
    /// sequences or single cases.
    pub fn split_off_validation(
        &self,
        fraction: f64,
        seed: u64,
    ) -> Result<(Self, Self), DataError> {
        let error = |reason| DataError::HoldOut {
            data: self.name().into(),
            fraction,
            cases: self.len(),
            reason,
        };
        if !(fraction > 0.0 && fraction < 1.0) {
            return Err(error("the fraction must lie between 0 and 1"));
        }
        let mut groups = self.groups();
        if groups.len() < 2 {
            return Err(error("it needs two sequences, or two cases without a sequence"));
        }
        groups.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));

        let target = fraction * self.len() as f64;
        let mut held = vec![false; self.len()];
        let mut count = 0;
        // The last group always stays, so the rest is never empty.
        for group in &groups[..groups.len() - 1] {
            let nearer = (count + group.len()) as f64 - target < target - count as f64;
            if count == 0 || nearer {
                group.iter().for_each(|&index| held[index] = true);
                count += group.len();
            }
        }
        let pick = |want: bool| {
            let chosen = self.entries.iter().zip(&held).filter(|(_, held)| **held == want);
            chosen.map(|(entry, _)| entry.clone()).collect()
        };
        Ok((self.part(self.split(), pick(false)), self.part("valid", pick(true))))
    }

    /// Indices that belong together, in the order of their first case.
    fn groups(&self) -> Vec<Vec<usize>> {
        let mut groups: Vec<Vec<usize>> = Vec::new();
        let mut by_sequence: HashMap<(&str, &str), usize> = HashMap::new();
        for (index, entry) in self.entries.iter().enumerate() {
            match &entry.sequence {
                Some(sequence) => {
                    let group = *by_sequence.entry((&*entry.data, sequence)).or_insert_with(|| {
                        groups.push(Vec::new());
                        groups.len() - 1
                    });
                    groups[group].push(index);
                }
                None => groups.push(vec![index]),
            }
        }
        groups
    }
}
