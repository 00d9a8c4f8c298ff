//! Scores predictions by a protocol: one case of a run, or a folder of pictures of any program.
//!
//! `metrics` knows what a number means, this crate which pixels it is made of: it pairs files, reads soft maps, brings
//! them to the size of the truth, works on several cases at a time, and makes the rows of `run-record` out of scores. It
//! knows no model and no Burn, so a run's own predictions and somebody else's go through the same code.
//!
//! - [`score_case`]: one case, a row
//! - [`summarize`]: the mean of rows
//! - [`score_folder`]: a folder of predictions against a folder of truths
//! - [`write_prediction`], [`read_prediction`]: soft maps as pictures
//!
//! Every row comes in the order of the cases, whatever the number of threads.

mod case;
mod folder;
mod prediction;
mod report;
mod summary;

pub use case::{ScoredCase, score_case};
pub use folder::{FolderScores, ScoreError, score_folder};
pub use prediction::{PredictionError, prediction_file, read_prediction, write_prediction};
pub use summary::summarize;
