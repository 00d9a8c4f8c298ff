//! The weights of `micro`, inside the program.

use crate::weights::WeightsSource;

/// Weights of `micro`, pre-trained by `cargo xtask pretrain experiments/pretrain/micro.toml` from
/// procedural images only. See its model card in `NOTICES.md`.
pub const MICRO_WEIGHTS: WeightsSource = WeightsSource::Embedded {
    name: "micro.safetensors",
    bytes: include_bytes!("../assets/micro.safetensors"),
};
