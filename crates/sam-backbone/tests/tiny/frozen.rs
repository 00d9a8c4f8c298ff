//! Gradients flow through a frozen SAM to prompts and token shift, and nothing of SAM moves.

use burn::tensor::{Device, Distribution, Int, Tensor};
use fixtures::Fixture;
use sam_backbone::{EncoderPrecision, FrozenSam, Prompts};

use crate::support::{config, loaded, values};

fn frozen(device: &Device) -> FrozenSam {
    FrozenSam::new(loaded(device).0, config(), device)
}

/// A smooth function of the first multimask output.
fn loss(
    sam: &FrozenSam,
    embedding: &Tensor<4>,
    coords: Tensor<3>,
    labels: &Tensor<2, Int>,
    shift: Tensor<3>,
) -> Tensor<1> {
    let prompts = Prompts { points: Some((coords, labels.clone())), ..Prompts::default() };
    let logits =
        sam.decode(embedding.clone(), prompts, Some(shift), true).low_res_logits.slice_dim(1, 0..1);
    logits.powi_scalar(2).mean()
}

/// `got` within 2 % of `expected`: central differences in f32 are no better.
fn close(got: f64, expected: f64, scale: f64) -> bool {
    (got - expected).abs() <= 0.02 * expected.abs() + 0.002 * scale
}

#[test]
fn gradients_to_points_and_shift_match_finite_differences() {
    let device = Device::flex();
    let sam = frozen(&device);
    let fixture = Fixture::open("sam_tiny");
    let embedding = fixture.tensor::<4>("image_embedding", &device);
    let coords = fixture.tensor::<3>("case.points.point_coords", &device);
    let labels = fixture.ints("case.points.point_labels");
    let [batch, n_points, _] = coords.dims();
    let labels = Tensor::<1, Int>::from_data(labels.as_slice(), &device).reshape([batch, n_points]);
    device.seed(3);
    let shift = Tensor::<3>::random([batch, 4, 32], Distribution::Normal(0.0, 0.5), &device);

    let tracked_coords = coords.clone().autodiff().require_grad();
    let tracked_shift = shift.clone().autodiff().require_grad();
    let hash = sam.hash();
    let tracked = loss(&sam, &embedding, tracked_coords.clone(), &labels, tracked_shift.clone());
    let gradients = tracked.backward();
    let coords_gradient =
        values(tracked_coords.grad(&gradients).expect("gradients reach the points"));
    let shift_gradient = values(tracked_shift.grad(&gradients).expect("gradients reach the shift"));
    assert_eq!(sam.hash(), hash, "the backward pass changes nothing");

    let at = |coords: Tensor<3>, shift: Tensor<3>| -> f64 {
        f64::from(values(loss(&sam, &embedding, coords, &labels, shift))[0])
    };
    let scale = |gradient: &[f32]| gradient.iter().fold(0.0_f64, |m, g| m.max(f64::from(g.abs())));
    let nudge = |tensor: &Tensor<3>, index: usize, by: f32| {
        let mut moved = values(tensor.clone());
        moved[index] += by;
        Tensor::<1>::from_data(moved.as_slice(), &device).reshape(tensor.dims())
    };
    let step = 0.05; // pixels
    for (index, &gradient) in coords_gradient.iter().enumerate() {
        let difference = at(nudge(&coords, index, step), shift.clone())
            - at(nudge(&coords, index, -step), shift.clone());
        let expected = difference / f64::from(2.0 * step);
        let scale = scale(&coords_gradient);
        assert!(
            close(f64::from(gradient), expected, scale),
            "point {index}: {gradient} {expected}"
        );
    }
    let step = 0.01;
    // Token 1 makes the mask that the loss sees; 16 of its channels are enough.
    for index in 32..48 {
        let difference = at(coords.clone(), nudge(&shift, index, step))
            - at(coords.clone(), nudge(&shift, index, -step));
        let expected = difference / f64::from(2.0 * step);
        let gradient = f64::from(shift_gradient[index]);
        assert!(
            close(gradient, expected, scale(&shift_gradient)),
            "{index}: {gradient} {expected}"
        );
    }
}

#[test]
fn encoding_keeps_no_graph() {
    let device = Device::flex();
    let sam = frozen(&device);
    let image = Fixture::open("sam_tiny").tensor::<4>("image", &device.clone().autodiff());
    let output = sam.encode(image, &[1]);
    assert!(!output.image_embedding.is_autodiff());
    assert!(!output.block_features[0].is_autodiff());
}

/// Factors of products are rounded to 8 bits of mantissa (11 for `f16`): some times `2^-9` (`2^-12`).
#[test]
fn an_encoder_in_half_precision_is_near_and_gives_f32() {
    let device = Device::flex();
    let sam = frozen(&device);
    let fixture = Fixture::open("sam_tiny");
    let image = fixture.tensor::<4>("image", &device);
    let exact = values(sam.encode(image.clone(), &[1]).image_embedding);
    for (precision, bound) in [(EncoderPrecision::Bf16, 0.01), (EncoderPrecision::F16, 0.00125)] {
        let half = sam.with_encoder_precision(precision);
        let output = half.encode(image.clone(), &[1]);
        assert_eq!(output.image_embedding.dtype(), burn::tensor::DType::F32);
        assert_eq!(output.block_features[0].dtype(), burn::tensor::DType::F32);
        let found = values(output.image_embedding);
        let square =
            |values: &mut dyn Iterator<Item = f32>| values.map(|v| f64::from(v * v)).sum::<f64>();
        let error = square(&mut found.iter().zip(&exact).map(|(a, b)| a - b));
        let relative = (error / square(&mut exact.iter().copied())).sqrt();
        assert!(relative > 1e-5 && relative < bound, "{precision:?}: {relative}");
        assert_ne!(half.hash(), sam.hash());
    }
}
