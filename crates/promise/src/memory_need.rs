//! How much memory a run needs at the very least, and how much it may have.
//!
//! Memory that runs out has no error that a program could handle: the system kills it, or its allocator ends it. So what
//! can be known before is compared before. The need is a lower bound: what is refused could not have ended.

use std::fmt;

use crate::{
    memory::{Demand, gib},
    memory_limit::MemoryLimit,
};

/// Beyond the lower bound, a run needs some room for code, images, activations, threads.
const ROOM: u64 = 1 << 30;

/// What a run needs at least, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryNeed {
    /// The parameters of the backbone.
    pub weights: u64,
    /// Features that are kept in memory: those of all images, as far as the experiment and the budget allow.
    pub features: u64,
    /// Images whose features could be kept.
    pub images: usize,
    /// The features of the batches that are in memory at a time; of one image where nothing is trained.
    pub batches: u64,
}

impl MemoryNeed {
    /// The need of a run.
    ///
    /// - `weights`: bytes of the backbone
    /// - `images`: those whose features can be kept
    /// - `wanted`: bytes of features that the experiment keeps at most
    /// - `budget`: bytes that reading ahead and features may take together, if somebody says so
    pub(crate) fn new(
        weights: u64,
        demand: &Demand,
        images: usize,
        wanted: u64,
        budget: Option<u64>,
    ) -> Self {
        // What is reserved for reading is not kept. A budget that does not suffice is refused elsewhere.
        let kept = demand.share(budget, wanted).map_or(0, |(_, kept)| kept);
        Self {
            weights,
            features: kept.min((images as u64).saturating_mul(demand.per_image)),
            images,
            batches: demand.batches().max(demand.per_image),
        }
    }

    /// All of it.
    pub fn bytes(&self) -> u64 {
        self.weights.saturating_add(self.features).saturating_add(self.batches)
    }

    /// Whether so much fits.
    pub fn fit(&self, limit: &MemoryLimit) -> Fit {
        let needed = self.bytes();
        if needed > limit.bytes {
            Fit::Impossible
        } else if needed.saturating_add(ROOM) > limit.bytes {
            Fit::Tight
        } else {
            Fit::Ample
        }
    }
}

/// Whether a run fits into the memory that it may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// As far as is known.
    Ample,
    /// Perhaps not.
    Tight,
    /// Certainly not.
    Impossible,
}

impl fmt::Display for MemoryNeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} for features of {} images, {} for those of batches, {} for the weights",
            gib(self.features),
            self.images,
            gib(self.batches),
            gib(self.weights)
        )
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_need_is_refused_only_if_it_cannot_fit() {
        let need =
            MemoryNeed { weights: 3 << 30, features: 8 << 30, images: 900, batches: 1 << 30 };
        let limit = |gib: u64| MemoryLimit { bytes: gib << 30, by: "the memory" };
        let fits = [11, 12, 13, 64].map(|gib| need.fit(&limit(gib)));
        assert_eq!(fits, [Fit::Impossible, Fit::Tight, Fit::Ample, Fit::Ample]);
        let text = format!("{need}; {}", limit(11));
        for part in [
            "8.00 GiB for features of 900 images",
            "1.00 GiB for those of batches",
            "the memory is 11.00 GiB",
        ] {
            assert!(text.contains(part), "{text}");
        }
    }

    proptest! {
        /// With a budget, features and batches stay within it; without one, the experiment alone says what is kept.
        #[test]
        fn a_budget_bounds_what_is_counted_and_not_the_weights(
            weights in 0..1_u64 << 36,
            batch in 0..64_usize,
            per_image in 1..100_000_000_u64,
            images in 0..10_000_usize,
            wanted in 0..1_u64 << 36,
            budget in 0..1_u64 << 36,
        ) {
            let demand = Demand { batch, per_image, largest_image: 0 };
            let free = MemoryNeed::new(weights, &demand, images, wanted, None);
            prop_assert_eq!(free.features, wanted.min(images as u64 * per_image));
            prop_assert_eq!(free.batches, per_image.max(3 * batch as u64 * per_image));
            let bounded = MemoryNeed::new(weights, &demand, images, wanted, Some(budget));
            prop_assert!(bounded.bytes() <= free.bytes());
            if demand.share(Some(budget), wanted).is_ok() {
                prop_assert!(bounded.bytes() <= weights + budget);
            } else {
                prop_assert_eq!(bounded.features, 0);
            }
        }
    }
}
