//! Pure numbers on masks: measures, evaluation protocols and summaries over cases.
//!
//! No input or output, no tensors, no threads: a change of the framework cannot move a number in a
//! table. Every measure is one file with its formula, its source and its edge cases; every protocol is
//! one file that says what a measure is computed on.
//!
//! - [`Mask`], [`SoftMap`]: what is compared
//! - [`Measure`]: every measure by name; [`dice`](fn@dice), [`iou`](fn@iou), [`precision`](fn@precision),
//!   [`recall`](fn@recall), [`specificity`](fn@specificity), [`accuracy`](fn@accuracy), [`f_beta`](fn@f_beta),
//!   [`e_measure`](fn@e_measure) of [`MaskCounts`]; [`mae`](fn@mae), [`weighted_f`](fn@weighted_f),
//!   [`s_measure`](fn@s_measure) of soft maps; [`SurfaceDistances`] and
//!   [`normalized_surface_distance`](fn@normalized_surface_distance) of outlines
//! - [`LevelCounts`], [`CurveMeasure`]: curves over 256 thresholds
//! - [`spearman`], [`RankCorrelation`]: whether one number follows the order of another
//! - [`error_center`](fn@error_center): where a prediction is wrong most, which a simulated user clicks
//! - [`Protocol`]: how one case is scored, by name
//! - [`Summary`]: mean, deviation and bootstrap interval over cases
//! - [`PairedComparison`], [`SignedRank`], [`holm`](fn@holm): two methods on the same cases

mod accuracy;
mod adaptive;
mod bounds;
mod counts;
mod dice;
mod distance;
mod e_measure;
mod error;
mod error_center;
mod f_beta;
mod holm;
mod iou;
mod lane_sum;
mod levels;
mod mae;
mod mask;
mod measure;
mod opening;
mod paired;
mod pairwise_sum;
mod precision;
mod protocol;
mod rank_correlation;
mod recall;
mod resize;
mod s_measure;
mod signed_rank;
mod specificity;
mod summary;
mod surface_distance;
mod threshold_jaccard;
mod weighted_f;

pub use accuracy::accuracy;
pub use counts::MaskCounts;
pub use dice::dice;
pub use e_measure::e_measure;
pub use error::MetricsError;
pub use error_center::{ErrorCenter, error_center};
pub use f_beta::{BETA_SQUARED, f_beta};
pub use holm::holm;
pub use iou::iou;
pub use levels::{
    CurveMeasure, LEVELS, LevelCounts, ThresholdCurve, curve_mean, largest, mean_curve,
};
pub use mae::mae;
pub use mask::{Mask, SoftMap};
pub use measure::{Better, Measure, UnknownMeasure};
pub use paired::PairedComparison;
pub use precision::precision;
pub use protocol::{CaseScores, Column, Protocol, UnknownProtocol};
pub use rank_correlation::{RankCorrelation, spearman};
pub use recall::recall;
pub use s_measure::s_measure;
pub use signed_rank::{EXACT_WITH_TIES, EXACT_WITHOUT_TIES, SignedRank};
pub use specificity::specificity;
pub use summary::{BOOTSTRAP_RESAMPLES, CONFIDENCE, Summary};
pub use surface_distance::{NSD_TOLERANCE, SurfaceDistances, normalized_surface_distance};
pub use threshold_jaccard::{JACCARD_THRESHOLD, threshold_jaccard};
pub use weighted_f::weighted_f;
