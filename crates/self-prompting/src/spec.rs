//! The options as people write them.

use prompting::{BackboneInfo, PromptOptionError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::SelfConfig;

/// More images than anybody would call a few. Beyond it the rows no longer fit into memory with a large backbone.
const MOST_IMAGES: usize = 100;

/// What is made of the predicted region.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PromptKind {
    /// A foreground point at the pixel that is deepest inside.
    Point,
    /// The box around it.
    Box,
    /// Both in one prompt.
    #[default]
    PointAndBox,
    /// All three, as hypotheses among which SAM's predicted IoU chooses.
    Best,
}

/// `[prompt.options]` of `module = "self_prompting"`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SelfSpec {
    /// Labeled training images that the regression is fitted to, drawn by the seed of the run. Fewer are part of
    /// more.
    pub images: usize,
    /// Strength of the L2 regularization. The features have unit deviation, and the weights of all cells sum to 1.
    pub l2: f64,
    /// Give foreground and background the same weight, however many cells each has.
    pub balanced: bool,
    /// Probability above which a pixel belongs to the predicted mask.
    pub threshold: f64,
    /// What is made of the largest region of that mask: `point`, `box`, `point_and_box`, or `best`, which lets SAM
    /// choose among the three.
    pub prompt: PromptKind,
    /// Background points, far from the predicted mask and from each other.
    pub background_points: usize,
}

impl Default for SelfSpec {
    fn default() -> Self {
        Self {
            images: 10,
            l2: 0.01,
            balanced: true,
            threshold: 0.5,
            prompt: PromptKind::default(),
            background_points: 0,
        }
    }
}

impl SelfSpec {
    /// Checks the options and says what they mean for this backbone.
    ///
    /// # Errors
    ///
    /// [`PromptOptionError`] if there are no images or more than a few, no regularization, a threshold that is no
    /// probability, or background points beside a box alone.
    pub fn config(&self, backbone: &BackboneInfo) -> Result<SelfConfig, PromptOptionError> {
        let refused = |option, reason| Err(PromptOptionError { option, reason });
        if !(1..=MOST_IMAGES).contains(&self.images) {
            return refused("images", format!("is {}, must be 1 to {MOST_IMAGES}", self.images));
        }
        // Without it the minimum may be at infinity, and far above everything is regularized away.
        if !(1e-9..=1e3).contains(&self.l2) {
            return refused("l2", format!("is {}, must be 1e-9 to 1e3", self.l2));
        }
        if !(self.threshold > 0.0 && self.threshold < 1.0) {
            let reason = format!("is {}, must lie between 0 and 1", self.threshold);
            return refused("threshold", reason);
        }
        if self.background_points > 0 && self.prompt == PromptKind::Box {
            let reason = "`prompt = \"box\"` has no points".into();
            return refused("background_points", reason);
        }
        if self.background_points > 64 {
            let reason = format!("is {}, must be at most 64", self.background_points);
            return refused("background_points", reason);
        }
        Ok(SelfConfig::new(backbone.embed_dim, backbone.low_res_size(), backbone.input_size)
            .with_l2(self.l2)
            .with_balanced(self.balanced)
            .with_threshold(self.threshold)
            .with_prompt(self.prompt)
            .with_background_points(self.background_points))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use prompting::contract::small_backbone;

    use super::*;

    #[test]
    fn every_option_can_be_written_and_a_wrong_one_is_refused_with_the_accepted_keys() {
        let text = "images = 3\nl2 = 0.5\nbalanced = false\nthreshold = 0.25\nprompt = \"best\"\n\
                    background_points = 2";
        let spec: SelfSpec = toml::from_str(text).unwrap();
        let config = spec.config(&small_backbone()).unwrap();
        assert_eq!((config.embed_dim, config.side, config.input_size), (8, 64, 128));
        assert_eq!((config.l2, config.threshold), (0.5, 0.25));
        assert_eq!(toml::from_str::<SelfSpec>(&toml::to_string(&spec).unwrap()).unwrap(), spec);
        let error = toml::from_str::<SelfSpec>("imges = 8").unwrap_err().to_string();
        for key in text.lines().filter_map(|line| line.split(' ').next()) {
            assert!(error.contains(&format!("`{key}`")), "{error}");
        }
        let error = toml::from_str::<SelfSpec>("prompt = \"mask\"").unwrap_err().to_string();
        assert!(error.contains("`point_and_box`"), "{error}");
    }

    #[test]
    fn options_that_cannot_be_used_are_refused_by_name() {
        let default = SelfSpec::default;
        let cases = [
            ("images", SelfSpec { images: 0, ..default() }),
            ("images", SelfSpec { images: 101, ..default() }),
            ("l2", SelfSpec { l2: 0.0, ..default() }),
            ("l2", SelfSpec { l2: f64::NAN, ..default() }),
            ("threshold", SelfSpec { threshold: 1.0, ..default() }),
            ("threshold", SelfSpec { threshold: f64::NAN, ..default() }),
            ("background_points", SelfSpec { background_points: 65, ..default() }),
            (
                "background_points",
                SelfSpec { background_points: 1, prompt: PromptKind::Box, ..default() },
            ),
        ];
        for (option, spec) in cases {
            assert_eq!(spec.config(&small_backbone()).unwrap_err().option, option);
        }
    }
}
