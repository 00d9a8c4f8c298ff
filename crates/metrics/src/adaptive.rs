//! The cut at twice the mean.

use crate::pairwise_sum::pairwise_sum;
use crate::{Mask, SoftMap};

/// The mask of all pixels that reach twice the map's mean, or 1 if that is less.
///
/// A threshold of the map's own, without a choice (Achanta et al., Frequency-tuned Salient Region Detection, CVPR
/// 2009). A map that is 0 everywhere reaches it everywhere.
pub(crate) fn adaptive_cut(map: &SoftMap) -> Mask {
    let probabilities = map.probabilities();
    let mean = pairwise_sum(probabilities) / probabilities.len() as f64;
    map.at_least((2.0 * mean).min(1.0))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn cut(probabilities: &[f64]) -> Vec<bool> {
        let map = SoftMap::new(probabilities.len(), 1, probabilities.to_vec()).unwrap();
        adaptive_cut(&map).pixels().to_vec()
    }

    #[test]
    fn twice_the_mean_passes() {
        // Mean 1/4.
        assert_eq!(cut(&[0.5, 0.375, 0.125, 0.0]), [true, false, false, false]);
    }

    #[test]
    fn the_threshold_is_never_above_one_and_of_an_empty_map_everything_passes() {
        assert_eq!(cut(&[1.0, 1.0, 0.75]), [true, true, false]);
        assert_eq!(cut(&[0.0, 0.0]), [true, true]);
    }
}
