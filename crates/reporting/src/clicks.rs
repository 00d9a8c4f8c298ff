//! What the clicks of a simulated user bring, from `clicks.csv` of the runs.

use std::collections::{BTreeMap, BTreeSet};

use metrics::{Measure, Summary};
use run_record::{ClickRow, MeasureSummary};
use serde::Serialize;

use crate::Run;
use crate::entries::{Scope, Selection, marked_method};
use crate::load::LoadError;
use crate::scores::{BOOTSTRAP_SEED, Scores, cases, mean_over_runs};

/// The scores of a method by the number of clicks, over all its seeds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClickCurve {
    /// Name of the experiment.
    pub experiment: String,
    /// Name of the method, marked if its checkpoint has seen the tested images.
    pub method: String,
    /// Name of the data set.
    pub data: String,
    /// Name of the split.
    pub split: String,
    /// Name of the protocol.
    pub protocol: String,
    /// What there is before the first click, [`ClickRow::start`].
    pub start: String,
    /// See [`ClickRow::mask_input`].
    pub mask_input: String,
    /// See [`ClickRow::mask_choice`].
    pub mask_choice: String,
    /// Seeds of the runs behind it.
    pub seeds: Vec<u64>,
    /// The score after each number of clicks, over cases that are averaged over the seeds first.
    pub scores: BTreeMap<usize, MeasureSummary>,
}

impl ClickCurve {
    /// The curves of all runs that somebody has let a simulated user click through, sorted by data set, split,
    /// protocol and experiment, then by method in the order of the experiment's file.
    ///
    /// Of several runs with the same experiment, method and seed the last counts.
    ///
    /// # Errors
    ///
    /// [`LoadError::Record`] if a file is broken, [`LoadError::CaseScore`] if it holds what nobody writes.
    pub fn of(runs: &[Run], scope: &Scope, measure: Measure) -> Result<Vec<Self>, LoadError> {
        type Key = ([String; 4], usize, [String; 4]);
        type BySeed = BTreeMap<u64, BTreeMap<usize, Vec<(String, Option<f64>)>>>;
        let mut groups: BTreeMap<Key, BySeed> = BTreeMap::new();
        for run in runs {
            let method = marked_method(&run.record.method, Selection::of_run(run));
            let methods = run.outline.as_ref().map_or(&[][..], |outline| &outline.methods);
            let place = methods.iter().position(|known| *known == run.record.method);
            let mut fresh = BTreeSet::new();
            for row in run.clicks()? {
                if !scope.data.is_empty() && !scope.data.contains(&row.data) {
                    continue;
                }
                let (file, clicks, score) = (row.file.clone(), row.clicks, row.get(measure));
                let ClickRow { data, split, protocol, start, mask_input, mask_choice, .. } = row;
                let key = (
                    [data, split, protocol, run.record.experiment.clone()],
                    place.unwrap_or(usize::MAX),
                    [method.clone(), start, mask_input, mask_choice],
                );
                let of_key = groups.entry(key.clone()).or_default();
                if fresh.insert(key) {
                    of_key.remove(&run.record.seed);
                }
                let of_run = of_key.entry(run.record.seed).or_default();
                of_run.entry(clicks).or_default().push((file, score));
            }
        }
        let curve = |(([data, split, protocol, experiment], _, names), by_seed): (Key, BySeed)| {
            let [method, start, mask_input, mask_choice] = names;
            let numbers: BTreeSet<usize> =
                by_seed.values().flat_map(BTreeMap::keys).copied().collect();
            let scores = numbers.into_iter().map(|clicks| {
                let of_seed = |rows: &'_ BTreeMap<usize, Vec<(String, Option<f64>)>>| {
                    rows.get(&clicks).cloned().unwrap_or_default()
                };
                let rows: Vec<Vec<(String, Option<f64>)>> = by_seed.values().map(of_seed).collect();
                let by_run: Vec<Scores<'_>> = rows
                    .iter()
                    .map(|rows| rows.iter().map(|(file, score)| (file.as_str(), *score)).collect())
                    .collect();
                let means: Vec<Option<f64>> =
                    cases(&by_run).into_iter().map(|case| mean_over_runs(&by_run, case)).collect();
                let Summary { n, mean, sd, median, low, high, .. } =
                    Summary::of(&means, BOOTSTRAP_SEED);
                (clicks, MeasureSummary { n, mean, sd, median, low, high })
            });
            Self {
                scores: scores.collect(),
                seeds: by_seed.keys().copied().collect(),
                experiment,
                method,
                data,
                split,
                protocol,
                start,
                mask_input,
                mask_choice,
            }
        };
        Ok(groups.into_iter().map(curve).collect())
    }

    /// A name that tells the curve apart from the others on the same data, and no longer.
    pub(crate) fn name(&self, all: &[Self]) -> String {
        let mut name = String::new();
        if all.iter().any(|other| other.experiment != self.experiment) {
            name.push_str(&format!("{}: ", self.experiment));
        }
        name.push_str(&self.method);
        let of_method = |other: &&Self| {
            (&other.experiment, &other.method, &other.data, &other.protocol)
                == (&self.experiment, &self.method, &self.data, &self.protocol)
        };
        let differs = |part: fn(&Self) -> &str| {
            all.iter().filter(of_method).any(|other| part(other) != part(self))
        };
        if differs(|curve| &curve.start) {
            name.push_str(match self.start.as_str() {
                "click" => ", clicks alone",
                _ => ", automatic first",
            });
        }
        if differs(|curve| &curve.mask_input) {
            name.push_str(&format!(", mask input {}", self.mask_input));
        }
        if differs(|curve| &curve.mask_choice) {
            name.push_str(&format!(", mask {}", self.mask_choice));
        }
        name
    }
}

/// There is no curve to show.
#[derive(Debug, thiserror::Error)]
#[error("there is no row of a simulated user's clicks: no test image was clicked through")]
pub struct NoClicksError;

/// Curves as a Markdown table: a line for each, a column for each number of clicks.
///
/// # Errors
///
/// [`NoClicksError`] if there is no curve.
pub fn click_table(curves: &[ClickCurve], measure: Measure) -> Result<String, NoClicksError> {
    let Some(first) = curves.first() else { return Err(NoClicksError) };
    let numbers: BTreeSet<usize> =
        curves.iter().flat_map(|curve| curve.scores.keys()).copied().collect();
    let words = |part: fn(&ClickCurve) -> String| {
        let words: BTreeSet<String> = curves.iter().map(part).collect();
        words.into_iter().collect::<Vec<_>>().join(", ")
    };
    let protocols = words(|curve| format!("`{}`", curve.protocol));
    let splits = words(|curve| curve.split.clone());
    let seeds: BTreeSet<u64> = curves.iter().flat_map(|curve| &curve.seeds).copied().collect();
    let seeds: Vec<String> = seeds.iter().map(u64::to_string).collect();
    let mut text = format!(
        "Protocol {protocols}, split {splits}, seed {}. Mean {} over n cases after so many clicks of a simulated user, \
         with the 95 % bootstrap interval of the mean over cases. Every click goes to the middle of what is wrong most; \
         start `auto`: the run's own prompts come first, `click`: the first click does.\n\n",
        seeds.join(", "),
        measure.label(),
    );
    text.push_str("| data | method | start | mask input | mask | n |");
    for clicks in &numbers {
        text.push_str(&match clicks {
            1 => " 1 click |".to_owned(),
            clicks => format!(" {clicks} clicks |"),
        });
    }
    text.push_str("\n| --- | --- | --- | --- | --- | ---: |");
    text.push_str(&" ---: |".repeat(numbers.len()));
    let several = curves.iter().any(|curve| curve.experiment != first.experiment);
    for curve in curves {
        let ClickCurve { data, method, start, mask_input, mask_choice, .. } = curve;
        let method = match several {
            true => format!("{}: {method}", curve.experiment),
            false => method.clone(),
        };
        let n = curve.scores.values().map(|score| score.n).max().unwrap_or(0);
        text.push_str(&format!(
            "\n| {data} | {method} | {start} | {mask_input} | {mask_choice} | {n} |"
        ));
        for clicks in &numbers {
            let cell = curve.scores.get(clicks).and_then(|score| {
                let mean = format!("{:.3}", score.mean?);
                let interval = score.low.zip(score.high);
                let interval = interval.map(|(low, high)| format!(" [{low:.3}, {high:.3}]"));
                // Where prediction and truth are empty there is no Dice.
                let fewer = (score.n != n).then(|| format!(" (n {})", score.n));
                Some(mean + &interval.unwrap_or_default() + &fewer.unwrap_or_default())
            });
            text.push_str(&format!(" {} |", cell.unwrap_or_default()));
        }
    }
    text.push('\n');
    Ok(text)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use run_record::write_rows;

    use super::*;
    use crate::testing::{self, clicks};

    fn run(folder: &std::path::Path, method: &str, seed: u64, rows: &[ClickRow]) -> Run {
        let record = testing::record(method, seed);
        let folder = testing::write(folder, &record);
        write_rows(&folder.clicks(), rows).unwrap();
        Run::read(folder).unwrap()
    }

    #[test]
    fn a_point_of_a_curve_is_the_mean_over_cases_that_are_averaged_over_seeds() {
        let folder = tempfile::tempdir().unwrap();
        let one = clicks("apm", 1, "auto", &[&[0.25, 0.5], &[0.5, 1.0]]);
        let two = clicks("apm", 2, "auto", &[&[0.5, 0.5], &[0.75, 1.0]]);
        let runs = [run(folder.path(), "apm", 1, &one), run(folder.path(), "apm", 2, &two)];
        let curves = ClickCurve::of(&runs, &Scope::default(), Measure::Dice).unwrap();
        let [curve] = &curves[..] else { panic!("{curves:?}") };
        assert_eq!(curve.seeds, [1, 2]);
        let means: Vec<_> =
            curve.scores.iter().map(|(&n, score)| (n, score.mean, score.n)).collect();
        // After 0 clicks: ((0.25 + 0.5) / 2 + (0.5 + 0.75) / 2) / 2.
        assert_eq!(means, [(0, Some(0.5), 2), (1, Some(0.75), 2)]);
        let low = curve.scores[&0].low.unwrap();
        assert!((0.375..0.5).contains(&low), "{low}");
        let table = click_table(&curves, Measure::Dice).unwrap();
        assert!(table.contains("| kvasir | apm | auto | previous | used | 2 | 0.500 ["), "{table}");
        assert!(table.contains("| 0 clicks | 1 click |") && table.contains("seed 1, 2"), "{table}");
    }

    #[test]
    fn there_is_no_table_of_nothing() {
        let error = click_table(&[], Measure::Dice).unwrap_err().to_string();
        assert!(error.contains("no test image was clicked through"), "{error}");
    }

    #[test]
    fn what_was_clicked_otherwise_is_another_curve_with_a_name_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let mut rows = clicks("apm", 1, "auto", &[&[0.25, 0.5]]);
        rows.extend(clicks("apm", 1, "click", &[&[0.5]]));
        let frozen = clicks("frozen", 1, "click", &[&[0.125]]);
        let runs = [run(folder.path(), "apm", 1, &rows), run(folder.path(), "frozen", 1, &frozen)];
        let curves = ClickCurve::of(&runs, &Scope::default(), Measure::Dice).unwrap();
        let names: Vec<_> = curves.iter().map(|curve| curve.name(&curves)).collect();
        assert_eq!(names, ["apm, automatic first", "apm, clicks alone", "frozen"]);
        let firsts: Vec<_> =
            curves.iter().map(|curve| *curve.scores.keys().next().unwrap()).collect();
        assert_eq!(firsts, [0, 1, 1]);
    }

    #[test]
    fn a_score_that_no_case_can_have_is_refused_with_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let runs = [run(folder.path(), "apm", 1, &clicks("apm", 1, "auto", &[&[1.5]]))];
        let error = ClickCurve::of(&runs, &Scope::default(), Measure::Dice).unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("dice of `case-0.jpg` is 1.5"), "{text}");
        assert!(text.ends_with("clicks.csv"), "{text}");
    }
}
