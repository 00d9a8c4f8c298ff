//! APM's options as people write them.

use prompting::{BackboneInfo, PromptOptionError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ApmConfig, Head, Taps};

/// Largest number of points or channels.
const MAX_SIZE: usize = 8192;

/// Channels of one attention head unless an experiment says otherwise: SAM's own, and what makes 12 heads
/// on ViT-B, as published.
const CHANNELS_OF_A_HEAD: usize = 64;

/// `[prompt.options]` of `module = "apm"`. The defaults are the paper's choices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ApmSpec {
    /// Points per image, `P`.
    pub points: usize,
    /// How many of the points, from the first on, are labeled foreground; the rest is background. Without
    /// it half of them, rounded up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub foreground: Option<usize>,
    /// Encoder blocks to look at: `12`, `9_12`, `6_9_12` or `3_6_9_12`.
    pub taps: Taps,
    /// Network that predicts the points: `resnet18`, `resnet34`, `resnet50`, `resnet101`,
    /// `resnet152` or `cross_attention`.
    pub head: Head,
    /// Residual heads only: channels of the fused taps, which the head sees.
    pub fusion_channels: usize,
    /// Residual heads only: width of the stem and the first stage; the stages have 1, 2, 4 and 8 times as
    /// many channels.
    pub base_width: usize,
    /// Cross-attention only: attention heads. They must divide the width of the backbone. Without it one
    /// for every 64 channels: 12 on ViT-B, as published.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attention_heads: Option<usize>,
    /// Cross-attention only: enlarge the second tap once, the third twice, and so on, as published. It
    /// takes much memory, see [`CrossAttention`](crate::CrossAttention); `false` keeps every tap as it is.
    pub upscale: bool,
    /// Residual heads only: start with points spread over the image instead of all near its center. See
    /// [`ApmConfig::spread_init`]. Not part of the paper.
    pub spread_init: bool,
}

impl Default for ApmSpec {
    fn default() -> Self {
        Self {
            points: 16,
            foreground: None,
            taps: Taps::default(),
            head: Head::default(),
            fusion_channels: 256,
            base_width: 64,
            attention_heads: None,
            upscale: true,
            spread_init: false,
        }
    }
}

impl ApmSpec {
    /// Checks the options and says what they mean for this backbone.
    ///
    /// # Errors
    ///
    /// [`PromptOptionError`] if there are no points, fewer points than foreground ones, a width of
    /// zero, more taps than the backbone has blocks to tap, cross-attention over taps of several widths, attention
    /// heads that do not divide the width, or a start of the points that the head cannot have.
    pub fn config(&self, backbone: &BackboneInfo) -> Result<ApmConfig, PromptOptionError> {
        let positive = [
            ("points", self.points),
            ("fusion_channels", self.fusion_channels),
            ("base_width", self.base_width),
        ];
        if let Some((option, _)) = positive.into_iter().find(|(_, value)| *value == 0) {
            return Err(PromptOptionError { option, reason: "must be at least 1, is 0".into() });
        }
        // Far beyond any use, and far below what would not fit into memory or a multiplication.
        if let Some((option, value)) = positive.into_iter().find(|(_, value)| *value > MAX_SIZE) {
            let reason = format!("is {value}, must be at most {MAX_SIZE}");
            return Err(PromptOptionError { option, reason });
        }
        let foreground = self.foreground.unwrap_or(self.points.div_ceil(2));
        if foreground > self.points {
            return Err(PromptOptionError {
                option: "foreground",
                reason: format!("is {foreground}, more than the {} points", self.points),
            });
        }
        let taps = self.taps.blocks(backbone)?;
        let tap_widths = backbone.widths(&taps);
        let attention_heads = self.attention_heads(&taps, &tap_widths)?;
        Ok(ApmConfig::new(tap_widths, backbone.input_size, taps)
            .with_points(self.points)
            .with_foreground(foreground)
            .with_head(self.head)
            .with_fusion_channels(self.fusion_channels)
            .with_base_width(self.base_width)
            .with_attention_heads(attention_heads)
            .with_upscale(self.upscale)
            .with_spread_init(self.spread_init))
    }

    /// Attention heads over taps of these widths, 1 for a head that has none.
    fn attention_heads(
        &self,
        taps: &[usize],
        widths: &[usize],
    ) -> Result<usize, PromptOptionError> {
        if self.head != Head::CrossAttention {
            return Ok(1);
        }
        let refused = |option, reason| Err(PromptOptionError { option, reason });
        if self.spread_init {
            let reason = "`cross_attention` has one last layer for all points, so they cannot start \
                          at positions of their own";
            return refused("spread_init", reason.into());
        }
        let width = widths[0];
        if widths.iter().any(|other| *other != width) {
            let reason = format!(
                "`cross_attention` needs taps of one width, but the blocks {taps:?} (0-based) have {widths:?} \
                 channels; `taps = \"12\"` is one block"
            );
            return refused("taps", reason);
        }
        if !width.is_multiple_of(4) {
            let reason =
                format!("`cross_attention` needs taps whose width is a multiple of 4, not {width}");
            return refused("head", reason);
        }
        let heads = self.attention_heads.unwrap_or((width / CHANNELS_OF_A_HEAD).max(1));
        if heads == 0 || !width.is_multiple_of(heads) {
            let reason = format!("is {heads}, must divide the width of the taps, {width}");
            return refused("attention_heads", reason);
        }
        Ok(heads)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use prompting::contract::{small_backbone, uneven_backbone};

    use super::*;

    #[test]
    fn no_options_are_the_papers_choices() {
        let spec: ApmSpec = toml::from_str("").unwrap();
        assert_eq!(spec, ApmSpec::default());
        let config = spec.config(&small_backbone()).unwrap();
        assert_eq!((config.points, config.foreground), (16, 8));
        assert_eq!(config.taps, [7, 5, 3]);
        assert_eq!(config.head, Head::Resnet34);
        assert_eq!((config.fusion_channels, config.base_width), (256, 64));
        assert_eq!((config.tap_widths, config.input_size), (vec![12; 3], 128));
        assert!(!config.spread_init);
    }

    #[test]
    fn every_option_can_be_written_and_is_written_back_the_same() {
        let text = r#"
            points = 5
            foreground = 4
            taps = "3_6_9_12"
            head = "resnet101"
            fusion_channels = 32
            base_width = 8
            attention_heads = 3
            upscale = false
            spread_init = true
        "#;
        let spec: ApmSpec = toml::from_str(text).unwrap();
        let config = spec.config(&small_backbone()).unwrap();
        assert_eq!((config.points, config.foreground), (5, 4));
        assert_eq!(config.taps, [7, 5, 3, 1]);
        assert_eq!(config.head, Head::Resnet101);
        assert_eq!((config.fusion_channels, config.base_width), (32, 8));
        assert!(config.spread_init && !config.upscale);
        for spec in [spec, ApmSpec::default()] {
            let written = toml::to_string(&spec).unwrap();
            assert_eq!(toml::from_str::<ApmSpec>(&written).unwrap(), spec, "{written}");
        }
    }

    #[test]
    fn an_unknown_option_is_refused_with_the_accepted_keys() {
        let error = toml::from_str::<ApmSpec>("pionts = 8").unwrap_err().to_string();
        assert!(error.contains("unknown field `pionts`"), "{error}");
        let keys = [
            "points",
            "foreground",
            "taps",
            "head",
            "fusion_channels",
            "base_width",
            "attention_heads",
            "upscale",
            "spread_init",
        ];
        for key in keys {
            assert!(error.contains(&format!("`{key}`")), "{key} is not named in: {error}");
        }
    }

    #[test]
    fn unknown_taps_and_heads_are_refused_with_the_accepted_ones() {
        let error = toml::from_str::<ApmSpec>("taps = \"6_12\"").unwrap_err().to_string();
        for taps in ["`12`", "`9_12`", "`6_9_12`", "`3_6_9_12`"] {
            assert!(error.contains(taps), "{error}");
        }
        let error = toml::from_str::<ApmSpec>("head = \"resnet20\"").unwrap_err().to_string();
        for depth in [18, 34, 50, 101, 152] {
            assert!(error.contains(&format!("`resnet{depth}`")), "{error}");
        }
        assert!(error.contains("`cross_attention`"), "{error}");
    }

    #[test]
    fn options_that_cannot_be_used_are_refused_by_name() {
        let default = ApmSpec::default;
        let attention = || ApmSpec { head: Head::CrossAttention, ..default() };
        let cases = [
            ("points", ApmSpec { points: 0, ..default() }),
            ("foreground", ApmSpec { points: 4, foreground: Some(5), ..default() }),
            ("fusion_channels", ApmSpec { fusion_channels: 0, ..default() }),
            ("base_width", ApmSpec { base_width: 0, ..default() }),
            ("base_width", ApmSpec { base_width: usize::MAX / 2, ..default() }),
            ("points", ApmSpec { points: 1_000_000, ..default() }),
            ("attention_heads", ApmSpec { attention_heads: Some(0), ..attention() }),
            ("attention_heads", ApmSpec { attention_heads: Some(5), ..attention() }),
            ("spread_init", ApmSpec { spread_init: true, ..attention() }),
        ];
        for (option, spec) in cases {
            assert_eq!(spec.config(&small_backbone()).unwrap_err().option, option);
        }
        let mut shallow = small_backbone();
        shallow.tap_blocks = vec![3, 7];
        assert_eq!(default().config(&shallow).unwrap_err().option, "taps");
    }

    #[test]
    fn taps_of_several_widths_are_for_residual_heads() {
        let backbone = uneven_backbone();
        let config = ApmSpec::default().config(&backbone).unwrap();
        assert_eq!((config.taps, config.tap_widths), (vec![7, 5, 3], vec![20, 8, 12]));
        let spec = ApmSpec { head: Head::CrossAttention, ..ApmSpec::default() };
        let error = spec.config(&backbone).unwrap_err();
        assert_eq!(error.option, "taps");
        assert!(error.reason.contains("[7, 5, 3] (0-based) have [20, 8, 12]"), "{error}");
        let one = ApmSpec { taps: Taps::Last1, ..spec };
        assert_eq!(one.config(&backbone).unwrap().tap_widths, [20]);
    }

    #[test]
    fn an_attention_head_has_64_channels_unless_told_otherwise() {
        let spec = ApmSpec { head: Head::CrossAttention, ..ApmSpec::default() };
        for (width, heads) in [(768, 12), (1024, 16), (1280, 20), (128, 2), (12, 1)] {
            let backbone = BackboneInfo { block_widths: vec![width; 8], ..small_backbone() };
            assert_eq!(spec.config(&backbone).unwrap().attention_heads, heads);
        }
        let three = ApmSpec { attention_heads: Some(3), ..spec };
        assert_eq!(three.config(&small_backbone()).unwrap().attention_heads, 3);
    }

    #[test]
    fn half_of_the_points_are_foreground_and_a_single_point_is() {
        for (points, foreground) in [(1, 1), (2, 1), (5, 3), (16, 8)] {
            let config =
                ApmSpec { points, ..ApmSpec::default() }.config(&small_backbone()).unwrap();
            assert_eq!(config.foreground, foreground);
        }
        for foreground in [0, 4] {
            let spec = ApmSpec { points: 4, foreground: Some(foreground), ..ApmSpec::default() };
            assert_eq!(spec.config(&small_backbone()).unwrap().foreground, foreground);
        }
    }
}
