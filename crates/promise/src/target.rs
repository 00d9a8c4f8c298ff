//! Training targets: the true mask at the decoder's resolution.

use data_loaders::TruthMask;
use sam_backbone::{Crop, Frame};

/// The true mask in the input frame at `side` x `side`, row-major, foreground where more than half of the
/// cell's area is foreground. Padding is background, and what was cropped away counts nowhere.
///
/// Exact areas: image and grid need not divide each other.
pub(crate) fn low_res_target(truth: &TruthMask, frame: &Frame, side: usize) -> Vec<bool> {
    let Crop { left, top, width, height } = frame.crop;
    let [wide, high] = frame.content_size().map(f64::from);
    let cells = |length: f64| length * side as f64 / frame.input_size as f64;
    let rows = overlaps(height, cells(high), side);
    let columns = overlaps(width, cells(wide), side);
    let mut target = Vec::with_capacity(side * side);
    let mut row_sums = vec![0.0_f64; width];
    for row in &rows {
        row_sums.fill(0.0);
        for &(y, weight) in row {
            let values = &truth.values[(top + y) * truth.width as usize + left..][..width];
            for (sum, _) in row_sums.iter_mut().zip(values).filter(|(_, on)| **on) {
                *sum += weight;
            }
        }
        for column in &columns {
            let area: f64 = column.iter().map(|&(x, weight)| row_sums[x] * weight).sum();
            target.push(area > 0.5);
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

    fn target(truth: &TruthMask, mode: ResizeMode, side: usize) -> Vec<bool> {
        let size = ImageSize { height: truth.height as usize, width: truth.width as usize };
        low_res_target(truth, &Frame::new(size, mode, 64), side)
    }

    #[test]
    fn a_cell_is_foreground_above_half_its_area() {
        // Columns of 3 pixels onto 2 cells: the first cell holds pixel 0 and half of pixel 1.
        let first = TruthMask::new(3, 1, vec![true, false, false]);
        assert_eq!(target(&first, ResizeMode::Plain, 2), [true, false, true, false]);
        let middle = TruthMask::new(3, 1, vec![false, true, false]);
        assert_eq!(target(&middle, ResizeMode::Plain, 2), [false; 4]);
    }

    #[test]
    fn padding_is_background() {
        let truth = TruthMask::new(4, 2, vec![true; 8]);
        let target = target(&truth, ResizeMode::LongestSide, 4);
        assert_eq!(target[..8], [true; 8]);
        assert_eq!(target[8..], [false; 8]);
    }

    #[test]
    fn what_was_cropped_away_counts_nowhere() {
        // 6 x 3, of which columns 2 to 5 and rows 0 and 1 are shown: 4 x 2 in a grid of 4 x 4.
        let shown = |at: usize| (2..6).contains(&(at % 6)) && at / 6 < 2;
        let size = ImageSize { height: 3, width: 6 };
        let crop = Crop { left: 2, top: 0, width: 4, height: 2 };
        let frame = Frame::of_crop(size, crop, 64);
        let away = TruthMask::new(6, 3, (0..18).map(|at| !shown(at)).collect());
        assert_eq!(low_res_target(&away, &frame, 4), [false; 16]);
        let corner = TruthMask::new(6, 3, (0..18).map(|at| at == 2 || at == 11).collect());
        let target = low_res_target(&corner, &frame, 4);
        let on: Vec<usize> = (0..16).filter(|&at| target[at]).collect();
        assert_eq!(on, [0, 7]);
    }

    proptest! {
        #[test]
        fn a_full_mask_fills_the_grid(height in 1..70u32, width in 1..70u32, side in 1..20usize) {
            let truth = TruthMask::new(width, height, vec![true; (width * height) as usize]);
            let target = target(&truth, ResizeMode::Plain, side);
            prop_assert_eq!(target, vec![true; side * side]);
        }
    }
}
