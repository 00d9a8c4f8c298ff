//! Which encoder blocks APM looks at.

use prompting::{BackboneInfo, PromptOptionError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which encoder blocks APM looks at, by the paper's names.
///
/// The names are the 1-based numbers of ViT-B's global-attention blocks. On another SAM they mean its last 1, 2, 3 or 4
/// global-attention blocks, e.g. `6_9_12` on ViT-L the blocks 12, 18, 24. On MobileSAM, which has none, they are the
/// numbers of its blocks ([`BackboneInfo::tap_blocks`]).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Taps {
    /// `12`: the last global-attention block.
    #[serde(rename = "12")]
    Last1,
    /// `9_12`: the last two.
    #[serde(rename = "9_12")]
    Last2,
    /// `6_9_12`: the last three, the paper's choice.
    #[default]
    #[serde(rename = "6_9_12")]
    Last3,
    /// `3_6_9_12`: the last four, all that SAM has.
    #[serde(rename = "3_6_9_12")]
    Last4,
}

impl Taps {
    /// All tap sets, from the smallest.
    pub const ALL: [Self; 4] = [Self::Last1, Self::Last2, Self::Last3, Self::Last4];

    /// Number of blocks.
    pub const fn count(self) -> usize {
        match self {
            Self::Last1 => 1,
            Self::Last2 => 2,
            Self::Last3 => 3,
            Self::Last4 => 4,
        }
    }

    /// The blocks of this backbone (0-based), deepest first: the order in which APM wants them.
    ///
    /// # Errors
    ///
    /// [`PromptOptionError`] if the backbone has fewer blocks to tap.
    pub fn blocks(self, backbone: &BackboneInfo) -> Result<Vec<usize>, PromptOptionError> {
        backbone.last_tap_blocks(self.count(), "taps")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn backbone(depth: usize, tap_blocks: &[usize]) -> BackboneInfo {
        BackboneInfo {
            block_widths: vec![8; depth],
            embed_dim: 8,
            grid_size: 64,
            input_size: 1024,
            tap_blocks: tap_blocks.to_vec(),
        }
    }

    #[test]
    fn names_are_the_one_based_blocks_of_vit_b() {
        let vit_b = backbone(12, &[2, 5, 8, 11]);
        for taps in Taps::ALL {
            let mut one_based: Vec<String> =
                taps.blocks(&vit_b).unwrap().iter().map(|block| (block + 1).to_string()).collect();
            one_based.reverse();
            let name = serde_json::to_value(taps).unwrap();
            assert_eq!(name, one_based.join("_"));
            assert_eq!(serde_json::from_value::<Taps>(name).unwrap(), taps);
        }
    }

    #[test]
    fn on_vit_l_the_names_mean_its_own_global_blocks_deepest_first() {
        let vit_l = backbone(24, &[5, 11, 17, 23]);
        assert_eq!(Taps::Last1.blocks(&vit_l).unwrap(), [23]);
        assert_eq!(Taps::Last2.blocks(&vit_l).unwrap(), [23, 17]);
        assert_eq!(Taps::Last3.blocks(&vit_l).unwrap(), [23, 17, 11]);
        assert_eq!(Taps::Last4.blocks(&vit_l).unwrap(), [23, 17, 11, 5]);
    }

    #[test]
    fn more_taps_than_blocks_to_tap_are_refused_with_both_numbers() {
        let small = backbone(4, &[1, 3]);
        assert_eq!(Taps::Last2.blocks(&small).unwrap(), [3, 1]);
        let error = Taps::Last3.blocks(&small).unwrap_err();
        assert_eq!(error.option, "taps");
        assert!(error.reason.contains("last 3"), "{error}");
        assert!(error.reason.contains("are 2 (0-based: [1, 3])"), "{error}");
    }
}
