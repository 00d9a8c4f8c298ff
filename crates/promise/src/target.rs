//! Training targets: the true mask at the decoder's resolution.

use data_loaders::TruthMask;
use sam_backbone::Frame;

/// The true mask in the input frame at `side` x `side`, row-major, 1 where more than half of the
/// cell's area is foreground. Padding is background.
///
/// Exact areas: image and grid need not divide each other.
pub(crate) fn low_res_target(truth: &TruthMask, frame: &Frame, side: usize) -> Vec<f32> {
    let cells_high = frame.resized.height as f64 * side as f64 / frame.input_size as f64;
    let cells_wide = frame.resized.width as f64 * side as f64 / frame.input_size as f64;
    let rows = overlaps(truth.height as usize, cells_high, side);
    let columns = overlaps(truth.width as usize, cells_wide, side);
    let width = truth.width as usize;
    let mut target = Vec::with_capacity(side * side);
    let mut row_sums = vec![0.0_f64; width];
    for row in &rows {
        row_sums.fill(0.0);
        for &(y, weight) in row {
            let values = &truth.values[y * width..][..width];
            for (sum, _) in row_sums.iter_mut().zip(values).filter(|(_, on)| **on) {
                *sum += weight;
            }
        }
        for column in &columns {
            let area: f64 = column.iter().map(|&(x, weight)| row_sums[x] * weight).sum();
            target.push(if area > 0.5 { 1.0 } else { 0.0 });
        }
    }
    target
}

/// For each of `side` unit cells: which of `n` samples, stretched over the first `cells` of them,
/// lie in it, and with what share of the cell.
fn overlaps(n: usize, cells: f64, side: usize) -> Vec<Vec<(usize, f64)>> {
    let step = cells / n as f64;
    let mut result = vec![Vec::new(); side];
    for sample in 0..n {
        let (from, to) = (sample as f64 * step, (sample + 1) as f64 * step);
        let mut cell = from as usize;
        while cell < side && (cell as f64) < to {
            let share = to.min((cell + 1) as f64) - from.max(cell as f64);
            if share > 0.0 {
                result[cell].push((sample, share));
            }
            cell += 1;
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sam_backbone::{ImageSize, ResizeMode};

    use super::*;

    fn target(truth: &TruthMask, mode: ResizeMode, side: usize) -> Vec<f32> {
        let size = ImageSize { height: truth.height as usize, width: truth.width as usize };
        low_res_target(truth, &Frame::new(size, mode, 64), side)
    }

    #[test]
    fn a_cell_is_foreground_above_half_its_area() {
        // Columns of 3 pixels onto 2 cells: the first cell holds pixel 0 and half of pixel 1.
        let first = TruthMask::new(3, 1, vec![true, false, false]);
        assert_eq!(target(&first, ResizeMode::Plain, 2), [1.0, 0.0, 1.0, 0.0]);
        let middle = TruthMask::new(3, 1, vec![false, true, false]);
        assert_eq!(target(&middle, ResizeMode::Plain, 2), [0.0; 4]);
    }

    #[test]
    fn padding_is_background() {
        let truth = TruthMask::new(4, 2, vec![true; 8]);
        let target = target(&truth, ResizeMode::LongestSide, 4);
        assert_eq!(target[..8], [1.0; 8]);
        assert_eq!(target[8..], [0.0; 8]);
    }

    proptest! {
        #[test]
        fn a_full_mask_fills_the_grid(height in 1..70u32, width in 1..70u32, side in 1..20usize) {
            let truth = TruthMask::new(width, height, vec![true; (width * height) as usize]);
            let target = target(&truth, ResizeMode::Plain, side);
            prop_assert_eq!(target, vec![1.0; side * side]);
        }
    }
}
