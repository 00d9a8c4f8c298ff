//! Pure numbers on masks: measures, evaluation protocols and summaries over cases.
//!
//! No input or output, no tensors, no threads: a change of the framework cannot move a number in a
//! table. Every measure is one file with its formula, its source and its edge cases; every protocol is
//! one file that says what a measure is computed on.
//!
//! - [`Mask`], [`SoftMap`]: what is compared
//! - [`dice`](fn@dice), [`iou`](fn@iou), [`mae`](fn@mae): the measures
//! - [`Protocol`]: how one case is scored, by name
//! - [`Summary`]: mean, deviation and bootstrap interval over cases

mod counts;
mod dice;
mod error;
mod iou;
mod mae;
mod mask;
mod protocol;
mod summary;

pub use counts::MaskCounts;
pub use dice::dice;
pub use error::MetricsError;
pub use iou::iou;
pub use mae::mae;
pub use mask::{Mask, SoftMap};
pub use protocol::{CaseScores, Protocol, UnknownProtocol};
pub use summary::{BOOTSTRAP_RESAMPLES, CONFIDENCE, Summary};
