//! `timing.json`: how long a run took.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::RunRecordError;
use crate::file::read_json;

/// What `timing.json` holds: durations by the wall clock. They differ from one run of the same settings to the next,
/// so they are in no other file, and no table is made of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Timing {
    /// One for each evaluation, in the order of the record's rows.
    pub evaluations: Vec<EvaluationTiming>,
    /// Seconds that fitting the prompt module took, reading features included; nothing if it is not fitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fit_secs: Option<f64>,
}

/// How long the cases of one test set took with one prompt source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EvaluationTiming {
    /// Name of the data set.
    pub data: String,
    /// Name of the split.
    pub split: String,
    /// Where the prompts came from.
    pub prompts: String,
    /// Cases that were predicted and scored, as many at a time as there are threads.
    pub cases: usize,
    /// Seconds that each of them took from its features, which were at hand, to its scores, added up. Neither
    /// encoding nor reading features nor writing pictures counts.
    pub case_secs: f64,
    /// The part of `case_secs` in which the prompt module proposed; nothing where the prompts are not its own, and
    /// in files that are older than this field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_secs: Option<f64>,
}

impl Timing {
    /// Reads and checks a file.
    ///
    /// # Errors
    ///
    /// Those of [`read_json`], and [`RunRecordError::Duration`] for a number of seconds that nothing takes.
    pub fn read(path: &Path) -> Result<Self, RunRecordError> {
        let timing: Self = read_json(path)?;
        let evaluations = timing.evaluations.iter();
        let secs = evaluations
            .flat_map(|evaluation| [Some(evaluation.case_secs), evaluation.prompt_secs])
            .chain([timing.fit_secs])
            .flatten();
        // No run takes a hundred years.
        match secs.into_iter().find(|secs| !(0.0..3e9).contains(secs)) {
            Some(secs) => Err(RunRecordError::Duration { secs, path: path.into() }),
            None => Ok(timing),
        }
    }

    /// Seconds per case of an evaluation; nothing if it was not timed or had no case.
    pub fn secs_per_case(&self, data: &str, split: &str, prompts: &str) -> Option<f64> {
        let is = |timing: &&EvaluationTiming| {
            (&*timing.data, &*timing.split, &*timing.prompts) == (data, split, prompts)
        };
        let timing = self.evaluations.iter().find(is)?;
        (timing.cases > 0).then(|| timing.case_secs / timing.cases as f64)
    }
}
