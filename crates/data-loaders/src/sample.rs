//! A part of a data set, drawn by seed: how good is a method with so many images?

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::{DataError, DataSet};

impl DataSet {
    /// Draws `n` cases, in the order of this set.
    ///
    /// Deterministic in `seed`, and nested: the cases of a smaller `n` are among those of a larger one with the
    /// same seed, so that a curve over sizes shows the size and not the luck of the draw. Cases are drawn one by
    /// one, frames of a video too.
    ///
    /// # Errors
    ///
    /// [`DataError::TooFewCases`] if there are fewer than `n`.
    pub fn sample(&self, n: usize, seed: u64) -> Result<Self, DataError> {
        if n > self.len() {
            let data = self.name().into();
            return Err(DataError::TooFewCases { data, asked: n, cases: self.len() });
        }
        let mut order: Vec<usize> = (0..self.len()).collect();
        order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
        let mut chosen: Vec<usize> = order.into_iter().take(n).collect();
        chosen.sort_unstable();
        let entries = chosen.into_iter().map(|index| self.entries[index].clone()).collect();
        Ok(self.part(self.split(), entries))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::Catalog;

    fn phantom() -> DataSet {
        DataSet::open("phantom", "train", None, &Catalog::built_in()).unwrap()
    }

    fn ids(set: &DataSet) -> Vec<String> {
        set.ids().map(str::to_owned).collect()
    }

    #[test]
    fn smaller_samples_are_part_of_larger_ones_in_the_order_of_the_set() {
        let set = phantom();
        let whole = ids(&set);
        let mut smaller: HashSet<String> = HashSet::new();
        for n in [0, 1, 10, 50, 199, 200] {
            let sample = ids(&set.sample(n, 7).unwrap());
            assert_eq!(sample.len(), n);
            let place = |id: &String| whole.iter().position(|other| other == id).unwrap();
            assert!(sample.is_sorted_by_key(place));
            let sample: HashSet<String> = sample.into_iter().collect();
            assert_eq!(sample.len(), n, "each case once");
            assert!(smaller.is_subset(&sample), "{n}");
            smaller = sample;
        }
    }

    #[test]
    fn the_seed_decides_and_nothing_else() {
        let set = phantom();
        let draw = |seed| ids(&set.sample(20, seed).unwrap());
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }

    /// With 100 seeds each of 200 images is drawn 50 times on average if 100 are taken, with a standard
    /// deviation of 5; the bounds are five of them away.
    #[test]
    fn every_image_has_the_same_chance() {
        let set = phantom();
        let mut drawn = vec![0; set.len()];
        for seed in 0..100 {
            let sample: HashSet<String> =
                ids(&set.sample(100, seed).unwrap()).into_iter().collect();
            for (count, id) in drawn.iter_mut().zip(set.ids()) {
                *count += usize::from(sample.contains(id));
            }
        }
        assert!(drawn.iter().all(|count| (25..=75).contains(count)), "{drawn:?}");
    }

    #[test]
    fn more_than_there_are_cannot_be_drawn() {
        let error = phantom().sample(201, 0).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("201") && text.contains("200") && text.contains("phantom"), "{text}");
    }
}
