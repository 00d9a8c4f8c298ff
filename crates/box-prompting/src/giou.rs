//! Generalized intersection over union.

use burn::tensor::Tensor;

/// Keeps the quotients of boxes without area finite: far below the area of any pixel, `2^-20` of the input's side
/// squared.
const EPSILON: f64 = 1e-12;

/// Generalized IoU of pairs of boxes, `[B, 1]` from -1 to 1.
///
/// `|A n B| / |A u B| - (|C| - |A u B|) / |C|` with `C` the smallest box around both. 1 for equal boxes; unlike IoU
/// it has a gradient where they do not touch. Boxes without area that lie in the same place have 0.
///
/// Source: Rezatofighi et al., "Generalized Intersection over Union", CVPR 2019.
///
/// # Shapes
///
/// - `a`, `b`: `[B, 4]` as `(x0, y0, x1, y1)`, the first corner the upper left one, in any unit
pub fn generalized_iou(a: Tensor<2>, b: Tensor<2>) -> Tensor<2> {
    let corner =
        |boxes: &Tensor<2>, second: usize| boxes.clone().slice_dim(1, 2 * second..2 * second + 2);
    let area = |first: Tensor<2>, second: Tensor<2>| {
        let sides = (second - first).clamp_min(0.0);
        sides.clone().slice_dim(1, 0..1) * sides.slice_dim(1, 1..2)
    };
    let [a0, a1, b0, b1] = [corner(&a, 0), corner(&a, 1), corner(&b, 0), corner(&b, 1)];
    let larger = |a: &Tensor<2>, b: &Tensor<2>| a.clone().max_pair(b.clone());
    let smaller = |a: &Tensor<2>, b: &Tensor<2>| a.clone().min_pair(b.clone());
    let intersection = area(larger(&a0, &b0), smaller(&a1, &b1));
    let hull = area(smaller(&a0, &b0), larger(&a1, &b1));
    let union = area(a0, a1) + area(b0, b1) - intersection.clone();
    let iou = intersection / (union.clone() + EPSILON);
    iou - (hull.clone() - union) / (hull + EPSILON)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use burn::tensor::{Device, TensorData};
    use proptest::prelude::*;

    use super::*;

    fn giou(a: [f32; 4], b: [f32; 4]) -> f32 {
        let boxes = |corners: [f32; 4]| {
            Tensor::from_data(TensorData::new(corners.to_vec(), [1, 4]), &Device::flex())
        };
        generalized_iou(boxes(a), boxes(b)).into_data().try_into_vec::<f32>().unwrap()[0]
    }

    #[test]
    fn cases_computed_by_hand() {
        let unit = [0.0, 0.0, 1.0, 1.0];
        let cases = [
            (unit, unit, 1.0),
            // Half of one is in the other: 2 of 6 covered, nothing of the hull left out.
            ([0.0, 0.0, 2.0, 2.0], [1.0, 0.0, 3.0, 2.0], 2.0 / 6.0),
            // Quarters overlap: 1 of 7, the hull is 9.
            ([0.0, 0.0, 2.0, 2.0], [1.0, 1.0, 3.0, 3.0], 1.0 / 7.0 - 2.0 / 9.0),
            // Side by side: no overlap, nothing left out.
            (unit, [1.0, 0.0, 2.0, 1.0], 0.0),
            // One unit apart: a third of the hull is empty.
            (unit, [2.0, 0.0, 3.0, 1.0], -1.0 / 3.0),
            // Diagonal, 8 apart: 2 of 100.
            (unit, [9.0, 9.0, 10.0, 10.0], -0.98),
            // One in the other.
            ([0.0, 0.0, 4.0, 4.0], [1.0, 1.0, 3.0, 3.0], 0.25),
            // No area.
            ([0.5; 4], [0.5; 4], 0.0),
        ];
        for (a, b, expected) in cases {
            let value = giou(a, b);
            assert!((value - expected).abs() < 1e-5, "{a:?} {b:?}: {value}, not {expected}");
        }
    }

    #[test]
    fn boxes_that_do_not_touch_are_drawn_together() {
        let device = Device::flex();
        let place = |corners: [f32; 4]| TensorData::new(corners.to_vec(), [1, 4]);
        let a = Tensor::<2>::from_data(place([0.0, 0.0, 1.0, 1.0]), &device).autodiff();
        let a = a.require_grad();
        let b = Tensor::from_data(place([3.0, 0.0, 4.0, 1.0]), &device);
        let gradients = generalized_iou(a.clone(), b).sum().backward();
        let gradient = a.grad(&gradients).unwrap().into_data().try_into_vec::<f32>().unwrap();
        // 2 / (4 - x0) - 1 grows with both sides of the left box, as (x1 - x0 + 1) / (4 - x0) says:
        // by 1/4 with x1; by (2 - 4) / 16 with x0.
        assert!((gradient[2] - 0.25).abs() < 1e-5, "{gradient:?}");
        assert!((gradient[0] + 0.125).abs() < 1e-5, "{gradient:?}");
    }

    fn boxes() -> impl Strategy<Value = [f32; 4]> {
        let side = || 0.01_f32..0.5;
        (0.0_f32..0.5, 0.0_f32..0.5, side(), side()).prop_map(|(x, y, w, h)| [x, y, x + w, y + h])
    }

    proptest! {
        #[test]
        fn it_is_symmetric_at_most_iou_and_does_not_depend_on_scale(a in boxes(), b in boxes()) {
            let value = giou(a, b);
            prop_assert!((value - giou(b, a)).abs() < 1e-5);
            prop_assert!((-1.0..=1.0 + 1e-5).contains(&value));
            let scaled = |corners: [f32; 4]| corners.map(|at| 64.0 * at);
            prop_assert!((value - giou(scaled(a), scaled(b))).abs() < 1e-4);
            // IoU in f64, from lengths.
            let cut = |axis: usize| {
                let from = f64::from(a[axis].max(b[axis]));
                (f64::from(a[axis + 2].min(b[axis + 2])) - from).max(0.0)
            };
            let area = |c: [f32; 4]| f64::from(c[2] - c[0]) * f64::from(c[3] - c[1]);
            let inside = cut(0) * cut(1);
            let iou = inside / (area(a) + area(b) - inside);
            prop_assert!(f64::from(value) <= iou + 1e-4);
        }
    }
}
