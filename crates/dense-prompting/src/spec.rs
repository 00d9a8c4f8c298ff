//! The options as people write them.

use prompting::{BackboneInfo, PromptOptionError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::DenseConfig;

/// Largest number of channels or layers: far beyond any use.
const MAX_SIZE: usize = 8192;

/// `[prompt.options]` of `module = "dense_prompting"`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DenseSpec {
    /// Encoder blocks to look at besides the image embedding: the last so many of four, those with global attention or, on
    /// `vit_t`, which has none, the last block of each quarter.
    pub taps: usize,
    /// Channels of the joined features, a multiple of 4: each of two enlargements halves them.
    pub channels: usize,
    /// 3x3 convolutions on the joined features; each lets a cell see one cell further.
    pub depth: usize,
    /// Give the center of mass of the predicted mask as a foreground point too. Without it, `micro` answers nearly every
    /// drawn mask with an empty one: see docs/results, "Which way of prompting".
    pub point: bool,
    /// Weight of a loss of its own, binary cross-entropy plus soft Dice between the predicted mask and the true one,
    /// beside the loss on SAM's mask. 0 leaves the module to what comes back through the frozen decoder.
    pub mask_weight: f64,
}

impl Default for DenseSpec {
    fn default() -> Self {
        Self { taps: 1, channels: 64, depth: 2, point: false, mask_weight: 1.0 }
    }
}

impl DenseSpec {
    /// Checks the options and says what they mean for this backbone.
    ///
    /// # Errors
    ///
    /// [`PromptOptionError`] if there are more taps than blocks to tap, a number of channels that
    /// cannot be halved twice, or a weight that is negative or no number.
    pub fn config(&self, backbone: &BackboneInfo) -> Result<DenseConfig, PromptOptionError> {
        let refused = |option, reason| Err(PromptOptionError { option, reason });
        if !(4..=MAX_SIZE).contains(&self.channels) || !self.channels.is_multiple_of(4) {
            let reason = format!("is {}, must be a multiple of 4, 4 to {MAX_SIZE}", self.channels);
            return refused("channels", reason);
        }
        if self.depth > MAX_SIZE {
            return refused("depth", format!("is {}, must be at most {MAX_SIZE}", self.depth));
        }
        if !(0.0..=1e6).contains(&self.mask_weight) {
            return refused("mask_weight", format!("is {}, must be 0 to 1e6", self.mask_weight));
        }
        let taps = backbone.last_tap_blocks(self.taps, "taps")?;
        Ok(DenseConfig {
            embed_dim: backbone.embed_dim,
            tap_widths: backbone.widths(&taps),
            input_size: backbone.input_size,
            taps,
            channels: self.channels,
            depth: self.depth,
            point: self.point,
            mask_weight: self.mask_weight,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use prompting::contract::small_backbone;

    use super::*;

    #[test]
    fn every_option_can_be_written_and_a_wrong_one_is_refused_with_the_accepted_keys() {
        let text = "taps = 2\nchannels = 8\ndepth = 1\npoint = true\nmask_weight = 0.5";
        let spec: DenseSpec = toml::from_str(text).unwrap();
        let config = spec.config(&small_backbone()).unwrap();
        assert_eq!(config.taps, [7, 5]);
        assert_eq!((config.channels, config.input_size), (8, 128));
        assert_eq!(toml::from_str::<DenseSpec>(&toml::to_string(&spec).unwrap()).unwrap(), spec);
        let error = toml::from_str::<DenseSpec>("chanels = 8").unwrap_err().to_string();
        for key in text.lines().filter_map(|line| line.split(' ').next()) {
            assert!(error.contains(&format!("`{key}`")), "{error}");
        }
    }

    #[test]
    fn options_that_cannot_be_used_are_refused_by_name() {
        let default = DenseSpec::default;
        let cases = [
            ("taps", DenseSpec { taps: 5, ..default() }),
            ("channels", DenseSpec { channels: 0, ..default() }),
            ("channels", DenseSpec { channels: 6, ..default() }),
            ("channels", DenseSpec { channels: usize::MAX - 3, ..default() }),
            ("depth", DenseSpec { depth: usize::MAX, ..default() }),
            ("mask_weight", DenseSpec { mask_weight: f64::NAN, ..default() }),
        ];
        for (option, spec) in cases {
            assert_eq!(spec.config(&small_backbone()).unwrap_err().option, option);
        }
    }
}
