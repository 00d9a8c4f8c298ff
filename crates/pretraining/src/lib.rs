//! Pre-training of a small SAM backbone from procedural images.
//!
//! The official SAM weights are too large to ship, so `micro` is trained here, from nothing but a
//! seed, the way SAM was: random prompts, a second round that clicks where the first was wrong,
//! focal and Dice loss on the best of three masks, and regression of the IoU
//! (Kirillov et al., "Segment Anything", ICCV 2023, appendix A). Where it differs stands in
//! `docs/book/src/micro.md`.
//!
//! [`pretrain`] is the whole of it; [`PretrainSpec`] is its TOML file. [`quality`] says how good the
//! result is.

mod augment;
mod batch;
mod error;
mod loss;
mod prompt_sampling;
pub mod quality;
mod schedule;
mod spec;
mod step;
mod trainer;

pub use error::PretrainError;
pub use spec::{PretrainSpec, StageSpec};
pub use trainer::{Outcome, StepReport, pretrain};
