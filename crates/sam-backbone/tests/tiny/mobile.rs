//! Parity with MobileSAM's own definition on a tiny TinyViT with random weights, and its checkpoint's extras.
//!
//! Fixture `mobile_sam_tiny`: `crates/fixtures/data/mobile_sam_tiny/make.py`. 96-pixel input, six blocks; the windows
//! of the second stage (5 on a 12 x 12 map) and the third (4 on 6 x 6) need padding, that of the fourth (6) is the map.
//!
//! The bounds are those of `parity.rs`: sums of `f32` in another order, and batch norms that are part of the
//! convolution before them here and steps of their own there.

use std::path::PathBuf;

use burn::tensor::{DType, Device, Int, Tensor};
use fixtures::Fixture;
use sam_backbone::{
    Architecture, FrozenSam, ImageEncoderConfig, MaskDecoderConfig, Prompts, Sam, SamConfig,
    TinyVitConfig, WeightsError, WeightsSource, load_weights, save_weights, tensor_hash,
};

use crate::{
    parity::{EMBEDDING_BOUND, LOGITS_BOUND, relative_l2},
    support::{official_pth, values},
};

fn config() -> SamConfig {
    let tiny = TinyVitConfig::new()
        .with_widths([8, 12, 16, 24])
        .with_depths([1, 2, 2, 1])
        .with_n_heads([3, 2, 3])
        .with_window_sizes([5, 4, 6]);
    SamConfig {
        image_encoder: ImageEncoderConfig::new(Architecture::TinyVit(tiny))
            .with_image_size(96)
            .with_embed_dim(32),
        mask_decoder: MaskDecoderConfig::new()
            .with_n_heads(4)
            .with_mlp_dim(64)
            .with_iou_head_hidden_dim(32),
        mask_in_channels: 16,
    }
}

fn checkpoint() -> PathBuf {
    Fixture::open("mobile_sam_tiny").sibling("mobile_sam_tiny.pt")
}

fn loaded(device: &Device) -> (Sam, Fixture) {
    let mut sam = config().init(device);
    load_weights(&mut sam, &WeightsSource::File(checkpoint())).expect("the fixture fits");
    (sam, Fixture::open("mobile_sam_tiny"))
}

#[test]
fn mobile_sams_encoder_matches_the_reference_in_every_block() {
    let device = Device::flex();
    let (sam, fixture) = loaded(&device);
    let output = sam.encode(fixture.tensor("image", &device), &[0, 1, 2, 3, 4, 5]);
    let widths = config().image_encoder.block_widths();
    assert_eq!(output.block_features.len(), widths.len());
    for (index, (block, width)) in output.block_features.into_iter().zip(widths).enumerate() {
        assert_eq!(block.dims(), [2, width, 6, 6]);
        let error = relative_l2(block, fixture.tensor(&format!("tap.{index}"), &device));
        assert!(error <= EMBEDDING_BOUND, "block {index}: {error:e}");
    }
    let error = relative_l2(output.image_embedding, fixture.tensor("image_embedding", &device));
    assert!(error <= EMBEDDING_BOUND, "embedding: {error:e}");
}

#[test]
fn mobile_sams_masks_match_the_reference_from_image_to_logits() {
    let device = Device::flex();
    let (sam, fixture) = loaded(&device);
    let embedding = sam.encode(fixture.tensor("image", &device), &[]).image_embedding;
    let coords = fixture.tensor::<3>("point_coords", &device);
    let labels = fixture.ints("point_labels");
    let labels = Tensor::<1, Int>::from_data(labels.as_slice(), &device).reshape([2, 3]);
    let prompts = Prompts { points: Some((coords, labels)), ..Prompts::default() };
    let logits = sam.decode(embedding, prompts, None, true).low_res_logits;
    let error = relative_l2(logits, fixture.tensor("low_res_logits", &device));
    assert!(error <= LOGITS_BOUND, "{error:e}");
}

#[test]
fn taps_come_in_the_order_of_the_request() {
    let device = Device::flex();
    let (sam, fixture) = loaded(&device);
    let image = fixture.tensor::<4>("image", &device);
    let all = sam.encode(image.clone(), &[0, 1, 2, 3, 4, 5]).block_features;
    let some = sam.encode(image, &[5, 0, 3]).block_features;
    for (found, tap) in some.into_iter().zip([5, 0, 3]) {
        assert_eq!(values(found), values(all[tap].clone()), "tap {tap}");
    }
}

#[test]
fn keeping_a_graph_changes_no_value_of_mobile_sams_encoder() {
    let (plain, tracked) = (Device::flex(), Device::flex().autodiff());
    let (expected, fixture) = loaded(&plain);
    let image = fixture.tensor::<4>("image", &plain);
    let expected = expected.encode(image.clone(), &[]).image_embedding;
    let (sam, _) = loaded(&tracked);
    let error = relative_l2(sam.encode(image, &[]).image_embedding.without_autodiff(), expected);
    assert!(error <= EMBEDDING_BOUND, "{error:e}");
}

#[test]
fn the_head_and_the_counters_of_the_checkpoint_are_left_out_and_nothing_else_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let (sam, _) = loaded(&Device::flex());
    let path = folder.path().join("mobile.safetensors");
    save_weights(&sam, &path, DType::F32, ("made_by", "a test")).expect("written");
    let mut again = config().init(&Device::flex());
    let report = load_weights(&mut again, &WeightsSource::File(path.clone())).expect("fits");
    assert_eq!(tensor_hash(&again), tensor_hash(&sam));
    let names = safetensors::SafeTensors::deserialize(&std::fs::read(&path).expect("written"))
        .expect("safetensors")
        .names()
        .into_iter()
        .map(str::to_owned)
        .collect::<Vec<_>>();
    assert_eq!(names.len(), report.n_tensors);
    for name in [
        "image_encoder.patch_embed.seq.2.bn.running_var",
        "image_encoder.layers.1.blocks.1.attn.attention_biases",
        "image_encoder.layers.0.downsample.conv2.c.weight",
        "image_encoder.layers.3.blocks.0.mlp.norm.weight",
        "image_encoder.neck.3.bias",
        "mask_decoder.iou_token.weight",
    ] {
        assert!(names.iter().any(|found| found == name), "{name} is missing in {names:?}");
    }
    assert!(!names.iter().any(|name| name.contains("head.") && name.starts_with("image_encoder")));
}

#[test]
fn checkpoints_of_the_other_architecture_are_refused_with_the_names_that_differ() {
    let mut mobile = config().init(&Device::flex());
    let error = load_weights(&mut mobile, &WeightsSource::File(official_pth())).expect_err("SAM");
    let WeightsError::Mismatch { missing, unused, .. } = &error else { panic!("{error}") };
    assert!(missing.contains(&"image_encoder.patch_embed.seq.0.c.weight".to_owned()));
    assert!(unused.contains(&"image_encoder.pos_embed".to_owned()));
    let mut sam = crate::support::config().init(&Device::flex());
    let error = load_weights(&mut sam, &WeightsSource::File(checkpoint())).expect_err("MobileSAM");
    let WeightsError::Mismatch { unused, .. } = &error else { panic!("{error}") };
    // Of an encoder without them these are no business as usual.
    assert!(unused.contains(&"image_encoder.norm_head.weight".to_owned()));
}

#[test]
fn a_frozen_mobile_sam_keeps_no_graph_and_its_hash() {
    let device = Device::flex().autodiff();
    let (sam, fixture) = loaded(&device);
    let frozen = FrozenSam::new(sam, config(), &device);
    let hash = frozen.hash();
    let output = frozen.encode(fixture.tensor("image", &device), &[3, 5]);
    assert!(!output.image_embedding.is_autodiff() && !output.block_features[0].is_autodiff());
    assert_eq!(frozen.hash(), hash);
}
