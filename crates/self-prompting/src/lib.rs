//! Self-prompting: from a few labeled images, SAM prompts itself.
//!
//! SAM's embedding already says what is where; a linear classifier of its cells, fitted to a handful of images, is
//! enough to find the object coarsely, and SAM does the rest. Nothing is trained step by step: the fit is a convex
//! problem with one solution, found by Newton's method in well under a minute.
//!
//! ```text
//! embedding ──► w x + b per cell ──► resize ──► > threshold ──► largest region ──► point, box, or both
//! [B, C, H, W]  [B, 1, H, W]         [B, 1, 4H, 4W]
//! ```
//!
//! - The point is the pixel of the region farthest from everything outside of it ([`deepest`]); the box its
//!   outer edges ([`Region`]). Background points, if wanted, are farthest from the predicted mask.
//! - If no pixel is above the threshold, the most probable pixel is the point and the whole input the box: a defined
//!   prompt, though a poor one.
//! - `prompt = "best"` proposes the point, the box, and both, and lets SAM's predicted IoU choose.
//!
//! Source of the idea: Wu, Zhang, Elbatel, "Self-Prompting Large Vision Models for Few-Shot Medical Image
//! Segmentation", DART 2023 (arXiv 2308.07624): logistic regression on the embedding's pixels, then point by
//! distance transform and box. Ours: fractional labels of cells, standardized features, the weight of the
//! classes, the exact solver ([`fit_logistic`]), what an empty prediction means, the choice among hypotheses.
//!
//! [`SelfSpec`] is what people write under `[prompt.options]`, [`SelfConfig`] what it means for one backbone,
//! [`SelfPrompter`] the module, a [`prompting::PromptModule`].
//!
//! # Axis letters
//!
//! `B` batch, `C` channels, `H W` space.

mod cells;
mod distance;
mod logistic;
mod module;
mod region;
mod spec;

pub use cells::Cells;
pub use distance::{deepest, squared_distances};
pub use logistic::{LogisticFit, LogisticProblem, fit_logistic};
pub use module::{SelfConfig, SelfPrompter};
pub use region::{Region, largest_region};
pub use spec::{PromptKind, SelfSpec};
