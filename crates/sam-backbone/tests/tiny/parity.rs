//! Parity with PyTorch `segment-anything` 1.0 on a tiny SAM with random weights.
//!
//! Fixture `sam_tiny`: `crates/fixtures/data/sam_tiny/make.py`. 128-pixel input, patch 8, four
//! blocks (global: 1 and 3), window 5, which does not divide the 16 x 16 grid, so that windows need
//! padding.
//!
//! Tolerances are relative L2 errors, the project's bounds: 1e-5 for the embedding and 1e-4 for the
//! low-resolution logits. Both sides compute in f32 with sums in another order.

use burn::tensor::{Device, Int, Tensor};
use fixtures::Fixture;
use sam_backbone::{
    Frame, ImageSize, Prompts, ResizeMode, input_tensor, masks_in_image, resize_image,
};

use crate::support::{loaded, values};

pub const EMBEDDING_BOUND: f64 = 1e-5;
pub const LOGITS_BOUND: f64 = 1e-4;

/// `|ours - theirs| / |theirs|` over all elements.
pub fn relative_l2<const D: usize>(ours: Tensor<D>, theirs: Tensor<D>) -> f64 {
    assert_eq!(ours.dims(), theirs.dims());
    let (ours, theirs) = (values(ours), values(theirs));
    let squares = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>();
    let error = squares(&mut ours.iter().zip(&theirs).map(|(a, b)| f64::from(a - b)));
    (error / squares(&mut theirs.iter().map(|&v| f64::from(v)))).sqrt()
}

#[test]
fn the_encoder_matches_the_reference_in_every_block() {
    let device = Device::flex();
    let (sam, fixture) = loaded(&device);
    let output = sam.encode(fixture.tensor("image", &device), &[0, 1, 2, 3]);
    for (index, block) in output.block_features.into_iter().enumerate() {
        let reference = fixture.tensor::<4>(&format!("block.{index}"), &device);
        let error = relative_l2(block, reference.permute([0, 3, 1, 2]));
        assert!(error <= EMBEDDING_BOUND, "block {index}: {error:e}");
    }
    let error = relative_l2(output.image_embedding, fixture.tensor("image_embedding", &device));
    assert!(error <= EMBEDDING_BOUND, "embedding: {error:e}");
}

#[test]
fn the_dense_position_encoding_matches_the_reference() {
    let device = Device::flex();
    let (sam, fixture) = loaded(&device);
    let error = relative_l2(sam.prompt_encoder.dense_pe(), fixture.tensor("dense_pe", &device));
    assert!(error <= EMBEDDING_BOUND, "{error:e}");
}

#[test]
fn every_mixture_of_prompts_matches_the_reference() {
    let device = Device::flex();
    let (sam, fixture) = loaded(&device);
    let embedding = fixture.tensor::<4>("image_embedding", &device);
    let cases = [
        "points",
        "one_point",
        "box",
        "points_box",
        "mask",
        "points_mask",
        "box_mask",
        "points_shift",
    ];
    for case in cases {
        let has =
            |part: &str| fixture.keys().iter().any(|key| *key == format!("case.{case}.{part}"));
        let prompts = Prompts {
            points: has("point_coords").then(|| {
                let coords = fixture.tensor::<3>(&format!("case.{case}.point_coords"), &device);
                let labels = fixture.ints(&format!("case.{case}.point_labels"));
                let [batch, points, _] = coords.dims();
                let labels = Tensor::<1, Int>::from_data(labels.as_slice(), &device);
                (coords, labels.reshape([batch, points]))
            }),
            boxes: has("boxes").then(|| fixture.tensor(&format!("case.{case}.boxes"), &device)),
            mask_input: has("mask_input")
                .then(|| fixture.tensor(&format!("case.{case}.mask_input"), &device)),
        };
        let shift = has("token_shift")
            .then(|| fixture.tensor::<3>(&format!("case.{case}.token_shift"), &device));

        let embedded = sam.prompt_encoder.forward(prompts.clone(), 2);
        match embedded.sparse_embeddings {
            Some(sparse) => {
                let reference = fixture.tensor(&format!("case.{case}.sparse_embeddings"), &device);
                let error = relative_l2(sparse, reference);
                assert!(error <= EMBEDDING_BOUND, "{case}, sparse: {error:e}");
            }
            None => assert_eq!(case, "mask", "only a mask alone has no sparse tokens"),
        }
        // The dense embedding depends on the mask alone, so it is stored once with and once without.
        let stored = if has("mask_input") { "mask" } else { "points" };
        let reference = fixture.tensor(&format!("case.{stored}.dense_embeddings"), &device);
        let error = relative_l2(embedded.dense_embeddings, reference);
        assert!(error <= EMBEDDING_BOUND, "{case}, dense: {error:e}");

        for (multimask, suffix) in [(true, "multi"), (false, "single")] {
            let output = sam.decode(embedding.clone(), prompts.clone(), shift.clone(), multimask);
            let reference =
                fixture.tensor(&format!("case.{case}.low_res_logits.{suffix}"), &device);
            let error = relative_l2(output.low_res_logits, reference);
            assert!(error <= LOGITS_BOUND, "{case}, {suffix}, logits: {error:e}");
            let reference =
                fixture.tensor(&format!("case.{case}.iou_predictions.{suffix}"), &device);
            let error = relative_l2(output.iou_predictions, reference);
            assert!(error <= LOGITS_BOUND, "{case}, {suffix}, IoU: {error:e}");
        }
    }
}

#[test]
fn masks_come_back_to_the_image_as_in_the_reference() {
    let device = Device::flex();
    let fixture = Fixture::open("sam_tiny");
    let size = ImageSize { height: 75, width: 100 };
    let frame = Frame::new(size, ResizeMode::LongestSide, 128);
    assert_eq!(frame.resized, ImageSize { height: 96, width: 128 });
    let logits = fixture.tensor("case.points.low_res_logits.single", &device);
    let masks = masks_in_image(logits, &frame);
    let error = relative_l2(masks, fixture.tensor("postprocess.masks", &device));
    assert!(error <= EMBEDDING_BOUND, "{error:e}");
}

#[test]
fn preprocessing_matches_the_reference() {
    let device = Device::flex();
    let fixture = Fixture::open("sam_tiny");
    for (key, enlarged) in [("resize", true), ("resize_down", false)] {
        let input = fixture.tensor::<3>(&format!("{key}.input"), &device);
        let [height, width, _] = input.dims();
        let bytes = values(input).iter().map(|&value| value as u8).collect();
        let image =
            image::RgbImage::from_raw(width as u32, height as u32, bytes).expect("H x W x 3");
        let frame = Frame::new(ImageSize { height, width }, ResizeMode::LongestSide, 128);
        let resized = resize_image(&image, &frame);

        // Pillow and fast_image_resize both round filter weights to fixed point, to other
        // precisions: one grey level of difference is possible, more is another filter.
        let reference = values(fixture.tensor::<3>(&format!("{key}.output"), &device));
        assert_eq!(resized.as_raw().len(), reference.len());
        let worst = resized
            .as_raw()
            .iter()
            .zip(&reference)
            .map(|(&ours, &theirs)| (f32::from(ours) - theirs).abs())
            .fold(0.0, f32::max);
        assert!(worst <= 1.0, "{key}: worst difference {worst} grey levels");

        if enlarged {
            // One grey level is 1 / 57.12 after normalization with the smallest deviation.
            let ours = values(input_tensor(&image, &frame, &device));
            let theirs = values(fixture.tensor::<4>("normalized", &device));
            for (ours, theirs) in ours.iter().zip(&theirs) {
                assert!((ours - theirs).abs() <= 1.0 / 57.12 + 1e-5, "{ours} {theirs}");
            }
        }
    }
}

#[test]
fn coordinates_match_the_reference() {
    let device = Device::flex();
    let fixture = Fixture::open("sam_tiny");
    let frame = Frame::new(ImageSize { height: 75, width: 100 }, ResizeMode::LongestSide, 128);
    let points = values(fixture.tensor::<2>("resize.coords.input", &device));
    let reference = values(fixture.tensor::<2>("resize.coords.output", &device));
    for (point, expected) in points.chunks_exact(2).zip(reference.chunks_exact(2)) {
        let [x, y] = frame.input_from_image([point[0], point[1]]);
        assert!((x - expected[0]).abs() < 1e-4 && (y - expected[1]).abs() < 1e-4);
    }
    let boxes = values(fixture.tensor::<2>("resize.boxes.input", &device));
    let reference = values(fixture.tensor::<2>("resize.boxes.output", &device));
    for (corners, expected) in boxes.chunks_exact(4).zip(reference.chunks_exact(4)) {
        let ours = frame.input_box_from_image([corners[0], corners[1], corners[2], corners[3]]);
        for (ours, expected) in ours.iter().zip(expected) {
            assert!((ours - expected).abs() < 1e-4);
        }
    }
}
