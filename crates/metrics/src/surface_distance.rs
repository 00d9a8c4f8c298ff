//! Distances between outlines.

use crate::distance::nearest_foreground;
use crate::mask::check_same_size;
use crate::{Mask, MetricsError};

/// Distance in pixels up to which protocol `default` accepts an outline.
pub const NSD_TOLERANCE: f64 = 2.0;

/// Share of the distances that the robust Hausdorff distance leaves below itself.
const QUANTILE: f64 = 0.95;

/// How far the outlines of two masks are from each other, in pixels, from both sides.
///
/// The outline of a mask is its pixels that touch the background, or the end of the picture, with one of their four
/// sides. Each of its pixels has a distance to the nearest pixel of the other outline.
#[derive(Debug, Clone, PartialEq)]
pub struct SurfaceDistances {
    /// Of the outlines of both, sorted.
    distances: Vec<f64>,
}

impl SurfaceDistances {
    /// Measures two masks; nothing if one of them is empty, since then it has no outline.
    ///
    /// # Errors
    ///
    /// [`MetricsError::Size`] if the masks differ in size.
    pub fn between(prediction: &Mask, truth: &Mask) -> Result<Option<Self>, MetricsError> {
        check_same_size((prediction.width(), prediction.height()), truth)?;
        if prediction.is_empty() || truth.is_empty() {
            return Ok(None);
        }
        let outlines = [outline(prediction), outline(truth)];
        let mut squared = Vec::new();
        for (of, to) in [(&outlines[0], &outlines[1]), (&outlines[1], &outlines[0])] {
            nearest_foreground(to, |row| {
                let pixels = &of.pixels()[row.y * of.width()..][..of.width()];
                let on = pixels.iter().zip(row.squared).filter(|(on, _)| **on);
                squared.extend(on.map(|(_, &squared)| squared));
            });
        }
        squared.sort_unstable_by(f64::total_cmp);
        Ok(Some(Self { distances: squared.into_iter().map(f64::sqrt).collect() }))
    }

    /// Robust Hausdorff distance: the 95th percentile of the distances of both outlines, linear between neighbors.
    ///
    /// Source: Huttenlocher, Klanderman and Rucklidge, Comparing Images Using the Hausdorff Distance, IEEE TPAMI
    /// 15(9), 1993. Both sides are pooled before the percentile is taken, as MedPy does; some tools take the larger
    /// of two percentiles.
    pub fn hd95(&self) -> f64 {
        let position = QUANTILE * (self.distances.len() - 1) as f64;
        let below = position.floor() as usize;
        let above = (below + 1).min(self.distances.len() - 1);
        let (low, high) = (self.distances[below], self.distances[above]);
        low + (high - low) * (position - below as f64)
    }

    /// Average symmetric surface distance: the mean over the pixels of both outlines.
    ///
    /// Source: Heimann et al., Comparison and Evaluation of Methods for Liver Segmentation From CT Datasets, IEEE
    /// TMI 28(8), 2009. A long outline counts more than a short one; some tools average the means of both sides.
    pub fn average(&self) -> f64 {
        self.distances.iter().sum::<f64>() / self.distances.len() as f64
    }

    /// Share of the pixels of both outlines that are at most `tolerance` pixels from the other.
    pub fn within(&self, tolerance: f64) -> f64 {
        let near = self.distances.partition_point(|&distance| distance <= tolerance);
        near as f64 / self.distances.len() as f64
    }
}

/// Normalized surface distance of one case, in `[0, 1]`: the share of both outlines that lies within `tolerance`
/// pixels of the other one.
///
/// Source: Nikolov et al., Clinically Applicable Segmentation of Head and Neck Anatomy, JMIR 23(7), 2021. Outlines are
/// counted in pixels, not in lengths of a contour drawn between them.
///
/// # Edge cases
///
/// - both masks empty: undefined, `None`
/// - exactly one mask empty: 0
///
/// # Errors
///
/// [`MetricsError::Size`] if the masks differ in size.
pub fn normalized_surface_distance(
    prediction: &Mask,
    truth: &Mask,
    tolerance: f64,
) -> Result<Option<f64>, MetricsError> {
    let distances = SurfaceDistances::between(prediction, truth)?;
    Ok(share_within(distances.as_ref(), prediction.is_empty() && truth.is_empty(), tolerance))
}

/// The same of distances that are known.
pub(crate) fn share_within(
    distances: Option<&SurfaceDistances>,
    both_empty: bool,
    tolerance: f64,
) -> Option<f64> {
    match distances {
        Some(distances) => Some(distances.within(tolerance)),
        None => (!both_empty).then_some(0.0),
    }
}

/// The pixels of a mask that touch its outside.
fn outline(mask: &Mask) -> Mask {
    let (width, height) = (mask.width(), mask.height());
    let pixels = mask.pixels();
    let is_outline = |at: usize| {
        let (x, y) = (at % width, at / width);
        let at_end = x == 0 || y == 0 || x + 1 == width || y + 1 == height;
        pixels[at]
            && (at_end
                || !(pixels[at - 1] && pixels[at + 1] && pixels[at - width] && pixels[at + width]))
    };
    Mask::new(width, height, (0..pixels.len()).map(is_outline).collect())
        .expect("as large as the mask")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mask(width: usize, pixels: &[u8]) -> Mask {
        Mask::new(width, pixels.len() / width, pixels.iter().map(|&on| on == 1).collect()).unwrap()
    }

    fn row(pixels: &[u8]) -> Mask {
        mask(pixels.len(), pixels)
    }

    #[test]
    fn the_outline_leaves_out_what_is_surrounded_on_four_sides() {
        #[rustfmt::skip]
        let plus = mask(5, &[
            0, 1, 1, 1, 0,
            0, 1, 1, 1, 0,
            0, 1, 1, 1, 1,
            0, 1, 1, 1, 0,
        ]);
        #[rustfmt::skip]
        let expected = mask(5, &[
            0, 1, 1, 1, 0,
            0, 1, 0, 1, 0,
            0, 1, 0, 0, 1,
            0, 1, 1, 1, 0,
        ]);
        assert_eq!(outline(&plus), expected);
    }

    #[test]
    fn distances_of_two_rows_by_hand() {
        // Columns 0, 1 and columns 1, 4: from the first 1, 0; from the second 0, 3.
        let distances = SurfaceDistances::between(&row(&[1, 1, 0, 0, 0]), &row(&[0, 1, 0, 0, 1]))
            .unwrap()
            .unwrap();
        assert_eq!(distances.distances, [0.0, 0.0, 1.0, 3.0]);
        assert_eq!(distances.average(), 1.0);
        // Position 0.95 * 3 = 2.85.
        assert!((distances.hd95() - (1.0 + 2.0 * 0.85)).abs() < 1e-12);
        assert_eq!([0.0, 0.9, 1.0, 3.0].map(|t| distances.within(t)), [0.5, 0.5, 0.75, 1.0]);
    }

    #[test]
    fn one_pixel_against_one_pixel_is_their_distance() {
        let one = mask(4, &[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        let other = mask(4, &[0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0]);
        let distances = SurfaceDistances::between(&one, &other).unwrap().unwrap();
        assert_eq!((distances.hd95(), distances.average()), (5.0_f64.sqrt(), 5.0_f64.sqrt()));
    }

    #[test]
    fn a_mask_without_outline_has_no_distance() {
        let (some, none) = (row(&[0, 1, 0]), row(&[0, 0, 0]));
        assert_eq!(SurfaceDistances::between(&some, &none), Ok(None));
        assert_eq!(SurfaceDistances::between(&none, &some), Ok(None));
        assert_eq!(normalized_surface_distance(&some, &none, 2.0), Ok(Some(0.0)));
        assert_eq!(normalized_surface_distance(&none, &some, 2.0), Ok(Some(0.0)));
        assert_eq!(normalized_surface_distance(&none, &none, 2.0), Ok(None));
        assert!(SurfaceDistances::between(&some, &row(&[0, 1])).is_err());
    }

    proptest! {
        #[test]
        fn the_side_that_is_called_prediction_does_not_matter(
            pixels in proptest::collection::vec((any::<bool>(), any::<bool>()), 1..100), width in 1..10usize,
        ) {
            prop_assume!(pixels.len() >= width);
            let height = pixels.len() / width;
            let (a, b): (Vec<bool>, Vec<bool>) = pixels[..width * height].iter().copied().unzip();
            let (a, b) = (Mask::new(width, height, a).unwrap(), Mask::new(width, height, b).unwrap());
            let there = SurfaceDistances::between(&a, &b).unwrap();
            prop_assert_eq!(&there, &SurfaceDistances::between(&b, &a).unwrap());
            if let Some(distances) = there {
                prop_assert!(distances.average() <= distances.within(0.0).mul_add(-1.0, 1.0) * 15.0);
                prop_assert!(distances.hd95() <= (((width * width + height * height) as f64).sqrt()));
            }
            if !a.is_empty() {
                let same = SurfaceDistances::between(&a, &a).unwrap().unwrap();
                prop_assert_eq!((same.hd95(), same.average(), same.within(0.0)), (0.0, 0.0, 1.0));
            }
        }
    }
}
