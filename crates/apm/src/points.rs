//! From numbers without bounds to points in the image, and where untrained points may start.

use burn::tensor::{Tensor, activation::sigmoid};

/// Distance of [`spread_positions`] from the image's border, as a fraction of its side.
const MARGIN: f64 = 0.1;

/// The real root of `x^3 = x + 1`.
const PLASTIC_NUMBER: f64 = 1.324_717_957_244_746;

/// Turns a head's output into points: `input_size * sigmoid(logit)`.
///
/// # Shapes
///
/// - `logits`: `[B, 2P]`, ordered `x0, y0, x1, y1, ..`
/// - returns: `[B, P, 2]`, `(x, y)` in pixels of the network input, within `0..=input_size`
///
/// # Panics
///
/// Panics if the second axis is odd: a bug in the head.
pub fn points_in_input(logits: Tensor<2>, input_size: usize) -> Tensor<3> {
    let [batch, outputs] = logits.dims();
    assert!(outputs.is_multiple_of(2), "a point needs two numbers, and there are {outputs}");
    sigmoid(logits).mul_scalar(input_size as f64).reshape([batch, outputs / 2, 2])
}

/// `n` well-spread positions in the unit square, each `(x, y)` at least 0.1 from its border.
///
/// An additive recurrence: position `p` is `frac(0.5 + p * (1/g, 1/g^2))` with `g` the plastic number
/// (Roberts, "The unreasonable effectiveness of quasirandom sequences", 2018), shrunk by the margin.
/// Any run of consecutive positions is spread as well as the first ones, and therefore both the
/// foreground and the background points are. The margin keeps the sigmoid's slope above a third of
/// its largest value.
pub fn spread_positions(n: usize) -> Vec<[f64; 2]> {
    let place = |p: usize, step: f64| {
        let unit = (0.5 + p as f64 * step).fract();
        MARGIN + (1.0 - 2.0 * MARGIN) * unit
    };
    let step_x = PLASTIC_NUMBER.recip();
    (0..n).map(|p| [place(p, step_x), place(p, step_x * step_x)]).collect()
}

/// The bias with which a head that otherwise gives zeros puts its points at [`spread_positions`]:
/// `ln(u / (1 - u))` of each coordinate, ordered like the logits.
pub(crate) fn spread_logits(n: usize) -> Vec<f32> {
    let logit = |unit: f64| (unit / (1.0 - unit)).ln() as f32;
    spread_positions(n).into_iter().flatten().map(logit).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    #[test]
    fn logits_become_pixels_in_x_y_order() {
        let logits = Tensor::<2>::from_data(
            [[0.0, 3.0_f32.ln(), -(7.0_f32.ln()), -200.0], [200.0, 0.0, 0.0, 1.0_f32.ln()]],
            &Device::flex(),
        );
        let points = points_in_input(logits, 128);
        assert_eq!(points.dims(), [2, 2, 2]);
        let points = points.into_data().try_into_vec::<f32>().unwrap();
        let expected = [64.0, 96.0, 16.0, 0.0, 128.0, 64.0, 64.0, 64.0];
        for (point, expected) in points.into_iter().zip(expected) {
            assert!((point - expected).abs() < 1e-3, "{point} instead of {expected}");
        }
    }

    #[test]
    fn spread_logits_put_points_at_the_spread_positions() {
        let logits = spread_logits(5);
        let logits = Tensor::<1>::from_data(logits.as_slice(), &Device::flex()).reshape([1, 10]);
        let points = points_in_input(logits, 1000).into_data().try_into_vec::<f32>().unwrap();
        for (point, position) in points.into_iter().zip(spread_positions(5).into_iter().flatten()) {
            assert!((f64::from(point) - 1000.0 * position).abs() < 1e-3);
        }
    }

    #[test]
    fn the_sequence_starts_at_the_center_with_the_steps_of_the_plastic_number() {
        let positions = spread_positions(2);
        assert!((positions[0][0] - 0.5).abs() < 1e-12 && (positions[0][1] - 0.5).abs() < 1e-12);
        // frac(0.5 + 0.75487767) = 0.25487767 and frac(0.5 + 0.56984029) = 0.06984029
        assert!((positions[1][0] - (0.1 + 0.8 * 0.254_877_67)).abs() < 1e-8);
        assert!((positions[1][1] - (0.1 + 0.8 * 0.069_840_29)).abs() < 1e-8);
    }

    #[test]
    fn both_halves_of_the_points_reach_every_quadrant() {
        for n in (16..=64).step_by(2) {
            let positions = spread_positions(n);
            for half in positions.chunks(n / 2) {
                for (left, top) in [(true, true), (true, false), (false, true), (false, false)] {
                    let inside = |[x, y]: &[f64; 2]| (*x < 0.5) == left && (*y < 0.5) == top;
                    assert!(half.iter().any(inside), "{n} points leave out a quadrant");
                }
            }
        }
    }

    #[test]
    fn spread_positions_keep_their_distance_from_border_and_each_other() {
        for n in 2..=64 {
            let positions = spread_positions(n);
            assert_eq!(positions.len(), n);
            assert!(positions.iter().flatten().all(|unit| (0.1..=0.9).contains(unit)));
            let nearest = (1..n)
                .flat_map(|i| (0..i).map(move |j| (i, j)))
                .map(|(i, j)| {
                    let ([xi, yi], [xj, yj]) = (positions[i], positions[j]);
                    (xi - xj).hypot(yi - yj)
                })
                .fold(f64::INFINITY, f64::min);
            // A square grid of n points in the same area has 0.8 / sqrt(n) between neighbors.
            assert!(nearest > 0.5 * 0.8 / (n as f64).sqrt(), "{n} points, nearest {nearest}");
        }
    }
}
