//! Scores of single cases, in one run and averaged over several.

use std::collections::BTreeMap;

use run_record::{CaseRow, ResultRow};

use crate::Run;

/// Seed of the bootstrap over cases. Any number would do; the same one gives the same table.
pub(crate) const BOOTSTRAP_SEED: u64 = 0;

/// What case rows are about: a data set, one of its splits, and a prompt source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Subject<'a> {
    pub(crate) data: &'a str,
    pub(crate) split: &'a str,
    pub(crate) prompts: &'a str,
}

impl<'a> Subject<'a> {
    /// The subject of a result row.
    pub(crate) fn of(row: &'a ResultRow) -> Self {
        Self { data: &row.data, split: &row.split, prompts: &row.prompts }
    }
}

/// Scores of one run by case; `None` where the measure is undefined.
pub(crate) type Scores<'a> = BTreeMap<&'a str, Option<f64>>;

/// The scores of a run on one subject.
pub(crate) fn scores<'a>(
    run: &'a Run,
    subject: Subject<'_>,
    measure: impl Fn(&CaseRow) -> Option<f64>,
) -> Scores<'a> {
    let about = |row: &&CaseRow| {
        subject == Subject { data: &row.data, split: &row.split, prompts: &row.prompts }
    };
    run.cases.iter().filter(about).map(|row| (row.file.as_str(), measure(row))).collect()
}

/// Every case of any of the runs, in the order of their names.
pub(crate) fn cases<'a>(runs: &[Scores<'a>]) -> Vec<&'a str> {
    let mut cases: Vec<&str> = runs.iter().flat_map(|run| run.keys().copied()).collect();
    cases.sort_unstable();
    cases.dedup();
    cases
}

/// The mean score of a case over the runs, nothing unless each of them has one: a mean over other
/// runs for one case than for the next would compare seeds, not cases.
pub(crate) fn mean_over_runs(runs: &[Scores<'_>], case: &str) -> Option<f64> {
    let scores: Option<Vec<f64>> =
        runs.iter().map(|run| run.get(case).copied().flatten()).collect();
    mean(&scores?)
}

/// Arithmetic mean; nothing without a number.
pub(crate) fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::with_cases;

    const AUTO: Subject<'_> = Subject { data: "kvasir", split: "test", prompts: "auto" };

    #[test]
    fn a_case_is_averaged_over_runs_that_all_have_a_score() {
        let first = with_cases("apm", 1, &[("kvasir", "auto", &[Some(0.5), None, Some(0.5)])]);
        let second = with_cases("apm", 2, &[("kvasir", "auto", &[Some(0.75), Some(1.0)])]);
        let runs = [&first, &second].map(|run| scores(run, AUTO, |row| row.dice));
        assert_eq!(cases(&runs), ["a", "b", "c"]);
        let means = ["a", "b", "c"].map(|case| mean_over_runs(&runs, case));
        assert_eq!(means, [Some(0.625), None, None], "`b` is undefined once, `c` is missing once");
    }

    #[test]
    fn other_data_and_prompts_are_other_subjects() {
        let scored = [("kvasir", "grid", &[Some(0.5)][..]), ("isic", "auto", &[Some(0.5)])];
        assert!(scores(&with_cases("apm", 1, &scored), AUTO, |row| row.dice).is_empty());
    }
}
