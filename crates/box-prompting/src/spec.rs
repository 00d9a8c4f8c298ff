//! The options as people write them.

use prompting::{BackboneInfo, PromptOptionError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::BoxConfig;

/// Largest number of channels or layers: far beyond any use.
const MAX_SIZE: usize = 8192;

/// `[prompt.options]` of `module = "box_prompting"`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BoxSpec {
    /// Encoder blocks to look at besides the image embedding: the last so many of four, those with global attention or, on
    /// `vit_t`, which has none, the last block of each quarter.
    pub taps: usize,
    /// Channels of the joined features.
    pub channels: usize,
    /// 3x3 convolutions on the joined features; each lets a cell see one cell further.
    pub depth: usize,
    /// Give the center of the box as a foreground point too.
    pub center_point: bool,
    /// Weight of the L1 distance of the corners, which are scaled to 0 to 1.
    pub l1_weight: f64,
    /// Weight of 1 - GIoU.
    pub giou_weight: f64,
    /// Share of the mask's gradient that reaches the box: 0 trains it by true boxes alone, 1 through the
    /// frozen decoder as well.
    pub mask_gradient: f64,
}

impl Default for BoxSpec {
    fn default() -> Self {
        Self {
            taps: 1,
            channels: 64,
            depth: 2,
            center_point: false,
            l1_weight: 5.0,
            giou_weight: 2.0,
            mask_gradient: 0.0,
        }
    }
}

impl BoxSpec {
    /// Checks the options and says what they mean for this backbone.
    ///
    /// # Errors
    ///
    /// [`PromptOptionError`] if there are more taps than blocks to tap, no channels, a weight that
    /// is negative or no number, or nothing to learn from.
    pub fn config(&self, backbone: &BackboneInfo) -> Result<BoxConfig, PromptOptionError> {
        let refused = |option, reason| Err(PromptOptionError { option, reason });
        if !(1..=MAX_SIZE).contains(&self.channels) {
            return refused("channels", format!("is {}, must be 1 to {MAX_SIZE}", self.channels));
        }
        if self.depth > MAX_SIZE {
            return refused("depth", format!("is {}, must be at most {MAX_SIZE}", self.depth));
        }
        let weights = [
            ("l1_weight", self.l1_weight),
            ("giou_weight", self.giou_weight),
            ("mask_gradient", self.mask_gradient),
        ];
        if let Some((option, value)) =
            weights.into_iter().find(|(_, value)| !(0.0..=1e6).contains(value))
        {
            return refused(option, format!("is {value}, must be 0 to 1e6"));
        }
        if self.l1_weight + self.giou_weight == 0.0 {
            return refused(
                "l1_weight",
                "is 0 like `giou_weight`: no true box is looked at".into(),
            );
        }
        let taps = backbone.last_tap_blocks(self.taps, "taps")?;
        Ok(BoxConfig {
            embed_dim: backbone.embed_dim,
            tap_widths: backbone.widths(&taps),
            input_size: backbone.input_size,
            taps,
            channels: self.channels,
            depth: self.depth,
            center_point: self.center_point,
            l1_weight: self.l1_weight,
            giou_weight: self.giou_weight,
            mask_gradient: self.mask_gradient,
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
        let text = "taps = 2\nchannels = 8\ndepth = 1\ncenter_point = true\nl1_weight = 1.0\n\
                    giou_weight = 0.0\nmask_gradient = 0.5";
        let spec: BoxSpec = toml::from_str(text).unwrap();
        let config = spec.config(&small_backbone()).unwrap();
        assert_eq!(config.taps, [7, 5]);
        assert_eq!((config.channels, config.input_size), (8, 128));
        assert_eq!(toml::from_str::<BoxSpec>(&toml::to_string(&spec).unwrap()).unwrap(), spec);
        let error = toml::from_str::<BoxSpec>("chanels = 8").unwrap_err().to_string();
        for key in text.lines().filter_map(|line| line.split(' ').next()) {
            assert!(error.contains(&format!("`{key}`")), "{error}");
        }
    }

    #[test]
    fn options_that_cannot_be_used_are_refused_by_name() {
        let default = BoxSpec::default;
        let cases = [
            ("taps", BoxSpec { taps: 5, ..default() }),
            ("channels", BoxSpec { channels: 0, ..default() }),
            ("channels", BoxSpec { channels: usize::MAX, ..default() }),
            ("depth", BoxSpec { depth: usize::MAX, ..default() }),
            ("l1_weight", BoxSpec { l1_weight: -1.0, ..default() }),
            ("giou_weight", BoxSpec { giou_weight: f64::NAN, ..default() }),
            ("mask_gradient", BoxSpec { mask_gradient: f64::INFINITY, ..default() }),
            ("l1_weight", BoxSpec { l1_weight: 0.0, giou_weight: 0.0, ..default() }),
        ];
        for (option, spec) in cases {
            assert_eq!(spec.config(&small_backbone()).unwrap_err().option, option);
        }
    }
}
