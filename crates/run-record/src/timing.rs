//! `timing.json`: how long a run took.

use serde::{Deserialize, Serialize};

/// What `timing.json` holds: durations by the wall clock. They differ from one run of the same settings to the next,
/// so they are in no other file, and no table is made of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Timing {
    /// Seconds of training, without the encoding before it (with augmentation every epoch encodes, and that counts).
    /// Nothing for a method that is not trained, and for a run that went on with an interrupted one: nobody timed the
    /// part before.
    pub train_secs: Option<f64>,
    /// One for each evaluation, in the order of the record's rows.
    pub evaluations: Vec<EvaluationTiming>,
}

/// How long one test set with one prompt source took, from stored features to scores: the image encoder is left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EvaluationTiming {
    /// Name of the data set.
    pub data: String,
    /// Name of the split.
    pub split: String,
    /// Where the prompts came from.
    pub prompts: String,
    /// Cases that were predicted and scored, several at a time.
    pub cases: usize,
    /// Seconds for all of them.
    pub secs: f64,
}

impl Timing {
    /// Seconds per case of an evaluation; nothing if it was not timed or had no case.
    pub fn secs_per_case(&self, data: &str, split: &str, prompts: &str) -> Option<f64> {
        let is = |timing: &&EvaluationTiming| {
            (&*timing.data, &*timing.split, &*timing.prompts) == (data, split, prompts)
        };
        let timing = self.evaluations.iter().find(is)?;
        (timing.cases > 0).then(|| timing.secs / timing.cases as f64)
    }
}
