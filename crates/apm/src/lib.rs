//! Auto-Prompting Module (APM): point prompts predicted from frozen SAM features.
//!
//! SAM waits for somebody to click. APM clicks instead: it looks at the outputs of a few encoder
//! blocks and predicts `P` points, which enter SAM's ordinary prompt encoder. It is trained end to
//! end through the frozen decoder, so nobody says where a good point is; the loss on the mask does.
//!
//! ```text
//! block outputs ──► Fusion ──────► ResNet ────► sigmoid x input size ──► points (x, y)
//! [B, width, H, W]  [B, F, H, W]   [B, 2P]                               [B, P, 2]
//! ```
//!
//! The other head, [`CrossAttention`], has a learned query for each point, which looks at one tap after the
//! other. Labels are fixed by position and not learned: the first points are foreground, the rest background.
//!
//! Source: "ProMISe: Promptable Medical Image Segmentation using SAM" (Wang et al., arXiv
//! 2403.04164), section on the Auto-Prompting Module, and the published code (MIT),
//! `utilities/Networks/modeling/`.
//!
//! [`ApmSpec`] is what people write under `[prompt.options]`, [`ApmConfig`] what it means for one
//! backbone, [`Apm`] the module, a [`prompting::PromptModule`].
//!
//! # Axis letters
//!
//! `B` batch, `C F` channels, `H W` space, `P` points. Coordinates are `(x, y)` in pixels of the
//! network input, origin at the top-left corner.

mod apm;
mod cross_attention;
mod fusion;
mod head;
mod points;
mod resnet;
mod spec;
mod taps;

pub use apm::{Apm, ApmConfig};
pub use cross_attention::{CrossAttention, CrossAttentionConfig, CrossAttentionLayer, UpscaleStep};
pub use fusion::{Fusion, FusionConfig};
pub use head::Head;
pub use points::{points_in_input, spread_positions};
pub use resnet::{ConvNorm, ResNet, ResNetConfig, ResNetDepth, ResidualBlock};
pub use spec::ApmSpec;
pub use taps::Taps;
