//! Pure numbers on masks: measures, evaluation protocols and summaries over cases.
//!
//! No input or output, no tensors, no threads: a change of the framework cannot move a number in a
//! table. Every measure is one file with its formula, its source and its edge cases; every protocol is
//! one file that says what a measure is computed on.
//!
//! - [`Mask`], [`SoftMap`]: what is compared
//! - [`dice`](fn@dice), [`iou`](fn@iou), [`mae`](fn@mae): the measures
//! - [`spearman`], [`RankCorrelation`]: whether one number follows the order of another
//! - [`Protocol`]: how one case is scored, by name
//! - [`Summary`]: mean, deviation and bootstrap interval over cases
//! - [`PairedComparison`], [`SignedRank`], [`holm`](fn@holm): two methods on the same cases

mod counts;
mod dice;
mod error;
mod holm;
mod iou;
mod mae;
mod mask;
mod paired;
mod protocol;
mod rank_correlation;
mod signed_rank;
mod summary;

pub use counts::MaskCounts;
pub use dice::dice;
pub use error::MetricsError;
pub use holm::holm;
pub use iou::iou;
pub use mae::mae;
pub use mask::{Mask, SoftMap};
pub use paired::PairedComparison;
pub use protocol::{CaseScores, Protocol, UnknownProtocol};
pub use rank_correlation::{RankCorrelation, spearman};
pub use signed_rank::{EXACT_WITH_TIES, EXACT_WITHOUT_TIES, SignedRank};
pub use summary::{BOOTSTRAP_RESAMPLES, CONFIDENCE, Summary};
