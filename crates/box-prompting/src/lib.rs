//! Box prompting: one box per image, predicted from frozen SAM features.
//!
//! A box is the prompt that leaves SAM the least to guess. This module learns to draw it as a detector would, from
//! the boxes around the true masks, without going through SAM's decoder; unlike the points of APM, what a good box
//! is needs no decoder to tell.
//!
//! ```text
//! embedding ─┐                     ┌─► vote weights, softmax over cells   a   [B, 1, HW]
//!            ├─► CellFusion ─► 1x1 ┤                                                     ─► sum_i a_i box_i
//! taps ──────┘   [B, F, H, W]      └─► distances to four sides, one box a cell   [B, 4, HW]
//! ```
//!
//! Every cell says where it thinks the four sides are, and how much its word counts ([`BoxHead`]). That is the
//! idea of anchor-free detectors, for exactly one object per image.
//!
//! Sources: distances from a cell to the sides of its box: Tian et al., "FCOS: Fully Convolutional One-Stage Object
//! Detection", ICCV 2019. Loss `5 L1 + 2 (1 - GIoU)` on normalized boxes: Carion et al., "End-to-End Object
//! Detection with Transformers", ECCV 2020. GIoU: Rezatofighi et al., CVPR 2019. The average over cells instead
//! of a choice is ours.
//!
//! [`BoxSpec`] is what people write under `[prompt.options]`, [`BoxConfig`] what it means for one backbone,
//! [`BoxPrompter`] the module, a [`prompting::PromptModule`].
//!
//! # Axis letters
//!
//! `B` batch, `C F` channels, `H W` space. Boxes are `(x0, y0, x1, y1)`, origin at the top-left corner; in prompts
//! in pixels of the network input, in heads and losses from 0 to 1.

mod giou;
mod head;
mod loss;
mod module;
mod spec;

pub use giou::generalized_iou;
pub use head::BoxHead;
pub use loss::{BoxLoss, box_loss};
pub use module::{BoxConfig, BoxPrompter};
pub use spec::BoxSpec;
