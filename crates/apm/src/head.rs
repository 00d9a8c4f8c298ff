//! Which network predicts the points.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ResNetDepth;

/// Which network predicts the points.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Head {
    /// [`ResNet`](crate::ResNet) on the fused taps, 18 layers.
    Resnet18,
    /// 34 layers: the paper's choice.
    #[default]
    Resnet34,
    /// 50 layers.
    Resnet50,
    /// 101 layers.
    Resnet101,
    /// 152 layers.
    Resnet152,
    /// [`CrossAttention`](crate::CrossAttention) from learned queries to the taps, one after the other.
    CrossAttention,
}

impl Head {
    /// Every head.
    pub const ALL: [Self; 6] = [
        Self::Resnet18,
        Self::Resnet34,
        Self::Resnet50,
        Self::Resnet101,
        Self::Resnet152,
        Self::CrossAttention,
    ];

    /// The depth of the residual network, if it is one.
    pub const fn resnet_depth(self) -> Option<ResNetDepth> {
        match self {
            Self::Resnet18 => Some(ResNetDepth::Resnet18),
            Self::Resnet34 => Some(ResNetDepth::Resnet34),
            Self::Resnet50 => Some(ResNetDepth::Resnet50),
            Self::Resnet101 => Some(ResNetDepth::Resnet101),
            Self::Resnet152 => Some(ResNetDepth::Resnet152),
            Self::CrossAttention => None,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn residual_heads_have_the_name_of_their_depth() {
        for head in Head::ALL {
            let name = serde_json::to_value(head).unwrap();
            match head.resnet_depth() {
                Some(depth) => assert_eq!(serde_json::to_value(depth).unwrap(), name),
                None => assert_eq!(name, "cross_attention"),
            }
        }
    }
}
