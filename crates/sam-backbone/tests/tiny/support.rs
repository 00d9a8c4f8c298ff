//! The tiny SAM of fixture `sam_tiny`: 128-pixel input, patch 8, four blocks (global: 1 and 3),
//! window 5.

use std::path::PathBuf;

use burn::tensor::{Device, Tensor};
use fixtures::Fixture;
use sam_backbone::{
    Architecture, ImageEncoderConfig, MaskDecoderConfig, Sam, SamConfig, VitConfig, WeightsSource,
    load_weights,
};

/// Its sizes.
pub fn config() -> SamConfig {
    sized(4, 64)
}

/// Its sizes, but for the number of encoder blocks and the width of the decoder's MLP.
pub fn sized(depth: usize, mlp_dim: usize) -> SamConfig {
    SamConfig {
        image_encoder: ImageEncoderConfig::new(Architecture::Vit(
            VitConfig::new(32, depth, 2, vec![1, 3]).with_window_size(5),
        ))
        .with_image_size(128)
        .with_patch_size(8)
        .with_embed_dim(32),
        mask_decoder: MaskDecoderConfig::new()
            .with_n_heads(4)
            .with_mlp_dim(mlp_dim)
            .with_iou_head_hidden_dim(32),
        mask_in_channels: 16,
    }
}

/// Its weights as the reference saved them.
pub fn official_pth() -> PathBuf {
    Fixture::open("sam_tiny").sibling("sam_tiny.pth")
}

/// The tiny SAM with its weights, and its fixture.
pub fn loaded(device: &Device) -> (Sam, Fixture) {
    let mut sam = config().init(device);
    load_weights(&mut sam, &WeightsSource::File(official_pth())).expect("the fixture fits");
    (sam, Fixture::open("sam_tiny"))
}

/// The numbers of a float tensor.
pub fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec::<f32>().expect("f32")
}
