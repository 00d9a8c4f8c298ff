//! Soft maps of another size.

use crate::{MetricsError, SoftMap};

impl SoftMap {
    /// The map at `width` x `height` pixels, by bilinear interpolation between the centers of pixels, without
    /// antialiasing; beyond the outermost centers the outermost values go on.
    ///
    /// That is `interpolate(mode="bilinear", align_corners=False)` of PyTorch, and what SAM and most code of the field
    /// do. A map shrunk to less than half loses pixels between the centers.
    ///
    /// # Errors
    ///
    /// [`MetricsError::NoPixels`] if a side is 0.
    pub fn resized(&self, width: usize, height: usize) -> Result<Self, MetricsError> {
        if width == 0 || height == 0 {
            return Err(MetricsError::NoPixels { width, height });
        }
        let columns: Vec<Between> =
            (0..width).map(|x| Between::of(x, self.width(), width)).collect();
        let row = |y: usize| &self.probabilities()[y * self.width()..][..self.width()];
        let mut probabilities = Vec::with_capacity(width * height);
        for y in 0..height {
            let rows = Between::of(y, self.height(), height);
            let (top, bottom) = (row(rows.first), row(rows.second));
            probabilities.extend(columns.iter().map(|columns| {
                rows.mix(
                    columns.mix(top[columns.first], top[columns.second]),
                    columns.mix(bottom[columns.first], bottom[columns.second]),
                )
            }));
        }
        Self::new(width, height, probabilities)
    }
}

/// A place between two pixels of a line.
struct Between {
    first: usize,
    second: usize,
    /// Weight of the second, from 0 to 1.
    share: f64,
}

impl Between {
    /// Where pixel `at` of a line of `to` pixels lies in one of `from`.
    fn of(at: usize, from: usize, to: usize) -> Self {
        let center = ((at as f64 + 0.5) * from as f64 / to as f64 - 0.5).max(0.0);
        let first = (center.floor() as usize).min(from - 1);
        Self { first, second: (first + 1).min(from - 1), share: center - center.floor() }
    }

    /// Between `a` and `b` whatever the rounding, so a probability stays one.
    fn mix(&self, a: f64, b: f64) -> f64 {
        (a + (b - a) * self.share).clamp(a.min(b), a.max(b))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn twice_as_many_pixels_lie_a_quarter_off_the_old_centers() {
        let map = SoftMap::new(2, 1, vec![0.0, 1.0]).unwrap();
        assert_eq!(map.resized(4, 1).unwrap().probabilities(), [0.0, 0.25, 0.75, 1.0]);
        let map = SoftMap::new(1, 2, vec![0.0, 1.0]).unwrap();
        assert_eq!(map.resized(1, 4).unwrap().probabilities(), [0.0, 0.25, 0.75, 1.0]);
    }

    #[test]
    fn half_as_many_pixels_are_means_of_two_in_each_direction() {
        let map = SoftMap::new(4, 2, vec![0.0, 1.0, 0.5, 0.5, 1.0, 0.0, 0.25, 0.75]).unwrap();
        assert_eq!(map.resized(2, 1).unwrap().probabilities(), [0.5, 0.5]);
        assert!(map.resized(0, 3).is_err());
    }

    proptest! {
        #[test]
        fn no_size_leaves_the_range_of_the_map_and_its_own_changes_nothing(
            values in proptest::collection::vec(0.0..=1.0f64, 1..60), columns in 1..9usize,
            width in 1..30usize, height in 1..30usize,
        ) {
            prop_assume!(values.len() >= columns);
            let rows = values.len() / columns;
            let map = SoftMap::new(columns, rows, values[..columns * rows].to_vec()).unwrap();
            prop_assert_eq!(&map.resized(columns, rows).unwrap(), &map);
            let least = map.probabilities().iter().copied().fold(1.0, f64::min);
            let most = map.probabilities().iter().copied().fold(0.0, f64::max);
            let resized = map.resized(width, height).unwrap();
            prop_assert!(resized.probabilities().iter().all(|p| (least..=most).contains(p)));
        }
    }
}
