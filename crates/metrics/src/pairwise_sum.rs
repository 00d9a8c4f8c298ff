//! Sums in the order in which NumPy adds.
//!
//! The order of a sum changes its last bits, and in two places a last bit decides: the structure measure asks
//! whether a constant region equals its own mean, and the adaptive threshold whether a pixel reaches twice the mean.
//! The reference implementation runs on NumPy, so there the same order gives the same decision. It is also a
//! more exact sum than one from left to right.

/// Values up to which eight running sums are added at the end; more are split in half first.
const BLOCK: usize = 128;

/// The sum of values that lie next to each other in memory.
pub(crate) fn pairwise_sum(values: &[f64]) -> f64 {
    let n = values.len();
    if n < 8 {
        return values.iter().sum();
    }
    if n > BLOCK {
        let half = n / 2;
        let (left, right) = values.split_at(half - half % 8);
        return pairwise_sum(left) + pairwise_sum(right);
    }
    let (eights, rest) = values.as_chunks::<8>();
    let mut sums = eights[0];
    for eight in &eights[1..] {
        for (sum, value) in sums.iter_mut().zip(eight) {
            *sum += value;
        }
    }
    let [a, b, c, d, e, f, g, h] = sums;
    rest.iter().fold(((a + b) + (c + d)) + ((e + f) + (g + h)), |sum, value| sum + value)
}

/// Values that NumPy copies together where they do not lie next to each other.
const BUFFER: usize = 8192;

/// The sum over a rectangle of a picture with rows of `stride` values.
///
/// A rectangle as wide as the picture lies in memory as one piece, and a column is one too. Of any other as many
/// rows as fit are copied together and summed at a time.
pub(crate) fn rectangle_sum(values: &[f64], stride: usize, rectangle: &Rectangle) -> f64 {
    let Rectangle { left, top, width, height } = *rectangle;
    if width == 0 || height == 0 {
        return 0.0;
    }
    if width == stride {
        return pairwise_sum(&values[top * stride..][..height * stride]);
    }
    let rows: Vec<&[f64]> =
        (top..top + height).map(|y| &values[y * stride + left..][..width]).collect();
    let at_once = match width {
        1 => height,
        _ => (BUFFER / width).max(1),
    };
    rows.chunks(at_once).fold(0.0, |sum, rows| sum + pairwise_sum(&rows.concat()))
}

/// A rectangle of pixels.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rectangle {
    pub(crate) left: usize,
    pub(crate) top: usize,
    pub(crate) width: usize,
    pub(crate) height: usize,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sums_of_tenths_end_in_the_bits_that_numpy_gives() {
        // numpy.full(n, 0.1).sum(). From left to right all but the first would end in other bits.
        for (n, bits) in NUMPY {
            assert_eq!(pairwise_sum(&vec![0.1; n]).to_bits(), bits, "{n}");
        }
    }

    /// Number of tenths, bits of their sum.
    const NUMPY: [(usize, u64); 6] = [
        (7, 0x3fe6_6666_6666_6666),
        (8, 0x3fe9_9999_9999_999a),
        (17, 0x3ffb_3333_3333_3334),
        (129, 0x4029_cccc_cccc_cccc),
        (1000, 0x4059_0000_0000_0001),
        (123_904, 0x40c8_3333_3333_3334),
    ];

    #[test]
    fn a_part_of_a_picture_ends_in_the_bits_that_numpy_gives() {
        // numpy.full((300, 200), 0.1)[:h, :w].sum()
        let picture = vec![0.1; 300 * 200];
        for (height, width, bits) in NUMPY_RECTANGLES {
            let rectangle = Rectangle { left: 0, top: 0, width, height };
            let sum = rectangle_sum(&picture, 200, &rectangle);
            assert_eq!(sum.to_bits(), bits, "{height} x {width}");
        }
    }

    /// Height, width, bits of the sum.
    const NUMPY_RECTANGLES: [(usize, usize, u64); 7] = [
        (7, 3, 0x4000_cccc_cccc_ccce),
        (9, 199, 0x4066_6333_3333_3334),
        (300, 1, 0x403d_ffff_ffff_ffff),
        (299, 131, 0x40ae_99cc_cccc_ccce),
        (123, 200, 0x40a3_3800_0000_0000),
        (300, 150, 0x40b1_9400_0000_0000),
        (250, 37, 0x408c_e800_0000_0001),
    ];

    proptest! {
        #[test]
        fn whole_numbers_are_added_without_loss(
            values in proptest::collection::vec(0..1000u32, 0..700), width in 1..40usize,
        ) {
            let height = values.len() / width;
            let numbers: Vec<f64> = values.iter().map(|&value| f64::from(value)).collect();
            prop_assert_eq!(pairwise_sum(&numbers), f64::from(values.iter().sum::<u32>()));
            for left in 0..width {
                let rectangle = Rectangle { left, top: height / 3, width: width - left, height: height - height / 3 };
                let expected: u32 = (0..height * width)
                    .filter(|i| i % width >= left && i / width >= height / 3)
                    .map(|i| values[i])
                    .sum();
                prop_assert_eq!(rectangle_sum(&numbers, width, &rectangle), f64::from(expected));
            }
        }
    }
}
