//! Tables of results.

use std::collections::BTreeMap;
use std::path::PathBuf;

use metrics::Summary;
use polars::prelude::*;
use run_record::{CASES_FILE, CaseRow, ResultRow};

use crate::Run;
use crate::scores::{BOOTSTRAP_SEED, Subject, cases, mean_over_runs, scores};

/// Results of one protocol by experiment, method, data set, split, prompt source and seed.
///
/// Sorted by data set, split and experiment, then by method in the order of the experiment's file
/// (by name where no outline tells it), prompt source and seed: the same runs give the same bytes, and
/// methods stand below each other where they are compared.
///
/// [`csv`](Self::csv) has a line for every seed. [`markdown`](Self::markdown) has one for all seeds of
/// a method.
#[derive(Debug, Clone)]
pub struct ResultTable {
    frame: DataFrame,
    lines: Vec<Line>,
    /// Whether a line stands for several seeds.
    several_seeds: bool,
    protocol: String,
    sources: Vec<String>,
}

/// Why there is no table.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// No run has a result.
    #[error("none of the {runs} runs has a result")]
    NoResults {
        /// Runs that were looked at.
        runs: usize,
    },
    /// Numbers of two protocols cannot be compared, so they never share a table.
    #[error(
        "results of protocol `{first}` and `{second}` cannot share a table: {} and {}",
        first_path.display(), second_path.display()
    )]
    MixedProtocols {
        /// The protocol of the first row.
        first: String,
        /// The first protocol that differs.
        second: String,
        /// Run folder of the first row.
        first_path: PathBuf,
        /// Run folder of the row that differs.
        second_path: PathBuf,
    },
    /// Two rows claim the same line, so the table could not say which is meant.
    #[error(
        "two results for {line}: {} and {}",
        first_path.display(), second_path.display()
    )]
    Duplicate {
        /// Experiment, method and so on, in words.
        line: String,
        /// Run folder of the first row.
        first_path: PathBuf,
        /// Run folder of the second row.
        second_path: PathBuf,
    },
    /// A line over several seeds, and a claim, are made of the scores of single cases.
    #[error("seeds are averaged and claims are decided by case, but `{CASES_FILE}` has no row of {line}: {}", path.display())]
    NoCases {
        /// Data set, method and so on, in words.
        line: String,
        /// Run folder without them.
        path: PathBuf,
    },
    /// The data frame refused an operation.
    #[error("cannot build the table")]
    Frame(#[from] PolarsError),
}

impl ResultTable {
    /// Collects the result rows of all runs.
    ///
    /// # Errors
    ///
    /// [`TableError::NoResults`] without any row, [`TableError::MixedProtocols`] if rows differ in
    /// their protocol, [`TableError::Duplicate`] if two rows are about the same line,
    /// [`TableError::NoCases`] if there are several seeds and a run has lost its case rows.
    pub fn from_runs(runs: &[Run]) -> Result<Self, TableError> {
        let protocol = one_protocol(runs.iter())?.to_owned();
        let mut rows: Vec<(&Run, &ResultRow)> =
            runs.iter().flat_map(|run| run.record.rows.iter().map(move |row| (run, row))).collect();
        let mut seen = BTreeMap::new();
        for &(run, row) in &rows {
            let experiment = &run.record.experiment;
            let line = format!(
                "experiment `{experiment}`, method `{}`, data `{}`, split `{}`, prompts `{}`, seed {}",
                row.method, row.data, row.split, row.prompts, row.seed
            );
            if let Some(first) = seen.insert(line.clone(), run) {
                return Err(TableError::Duplicate {
                    line,
                    first_path: first.folder.root().into(),
                    second_path: run.folder.root().into(),
                });
            }
        }

        let mut sources: Vec<_> =
            runs.iter().filter(|run| !run.record.rows.is_empty()).map(source).collect();
        sources.sort();
        rows.sort_by_cached_key(|&(run, row)| {
            (method_key(run, row), row.prompts.clone(), row.seed)
        });
        let groups: Vec<&[(&Run, &ResultRow)]> =
            rows.chunk_by(|&a, &b| group(a) == group(b)).collect();
        let several_seeds = groups.iter().any(|group| group.len() > 1);
        let lines = groups
            .into_iter()
            .map(|group| if several_seeds { over_seeds(group) } else { Ok(of_row(group[0])) })
            .collect::<Result<_, _>>()?;
        Ok(Self { frame: frame(&rows)?, lines, several_seeds, protocol, sources })
    }

    /// The table with all its columns and full precision.
    ///
    /// Columns: `experiment`, `data`, `split`, `method`, `prompts`, `protocol` (strings), `oracle`
    /// (boolean), `seed`, `n`, `skipped_empty` (unsigned), then `dice`, `dice_sd`, `dice_low`,
    /// `dice_high`, the same four for `iou`, and `mae` (floats; null where undefined).
    pub fn frame(&self) -> &DataFrame {
        &self.frame
    }

    /// The protocol that all numbers were computed by.
    pub fn protocol(&self) -> &str {
        &self.protocol
    }

    /// The table as CSV: all columns of [`frame`](Self::frame) at full precision.
    ///
    /// # Errors
    ///
    /// [`TableError::Frame`] if the data frame cannot be written.
    pub fn csv(&self) -> Result<String, TableError> {
        let mut bytes = Vec::new();
        CsvWriter::new(&mut bytes).finish(&mut self.frame.clone())?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The table as Markdown, with a caption that names the protocol and the runs.
    ///
    /// Experiment, split and seeds are columns where they differ and stand in the caption where
    /// they are the same in every line.
    ///
    /// If any method ran with several seeds, a line is about all its seeds: a case's score is its mean
    /// over the seeds, the interval is over cases, and sd is between the means of the seeds. A
    /// case that lacks a score with one of the seeds is in no mean.
    pub fn markdown(&self) -> String {
        let lines = &self.lines;
        let same = |column: &Printed| {
            lines.windows(2).all(|pair| (column.cell)(&pair[0]) == (column.cell)(&pair[1]))
        };
        let (in_caption, columns): (Vec<_>, Vec<_>) = columns(self.several_seeds)
            .into_iter()
            .partition(|column| column.place == Place::CaptionIfSame && same(column));

        let mut text = format!("Protocol `{}`", self.protocol);
        if let Some(first) = lines.first() {
            for column in in_caption {
                text.push_str(&format!(", {} {}", column.header, (column.cell)(first)));
            }
        }
        text.push_str(match self.several_seeds {
            false => {
                ". Means over n cases with the 95 % bootstrap interval of the mean; sd is over cases"
            }
            true => {
                ". Means over n cases, each averaged over the seeds, with the 95 % bootstrap interval over \
                 cases; sd is over seeds"
            }
        });
        if lines.iter().any(|line| line.skipped) {
            text.push_str("; (+k): k more cases have no foreground in prediction and ground truth");
            text.push_str(if self.several_seeds { " with one of the seeds" } else { "" });
            text.push_str(" and are in no mean");
        }
        if lines.iter().any(|line| line.oracle) {
            text.push_str("; (oracle): prompts are made from the ground truth");
        }
        text.push_str(".\n\n|");

        for column in &columns {
            text.push_str(&format!(" {} |", column.header));
        }
        text.push_str("\n|");
        for column in &columns {
            text.push_str(if column.number { " ---: |" } else { " --- |" });
        }
        for line in lines {
            text.push_str("\n|");
            for column in &columns {
                text.push_str(&format!(" {} |", (column.cell)(line)));
            }
        }
        text.push_str("\n\nRuns:\n\n");
        for source in &self.sources {
            text.push_str(&format!("- {source}\n"));
        }
        text
    }
}

/// The protocol of all results.
///
/// # Errors
///
/// [`TableError::NoResults`] and [`TableError::MixedProtocols`].
pub(crate) fn one_protocol<'a>(
    runs: impl Iterator<Item = &'a Run> + Clone,
) -> Result<&'a str, TableError> {
    let mut rows = runs.clone().flat_map(|run| run.record.rows.iter().map(move |row| (run, row)));
    let Some((first_run, first)) = rows.next() else {
        return Err(TableError::NoResults { runs: runs.count() });
    };
    match rows.find(|(_, row)| row.protocol != first.protocol) {
        None => Ok(&first.protocol),
        Some((run, row)) => Err(TableError::MixedProtocols {
            first: first.protocol.clone(),
            second: row.protocol.clone(),
            first_path: first_run.folder.root().into(),
            second_path: run.folder.root().into(),
        }),
    }
}

/// Where the results of a method stand: data set, split, experiment, place in its file, name.
fn method_key(run: &Run, row: &ResultRow) -> (String, String, String, usize, String) {
    let methods = run.outline.as_ref().map_or(&[][..], |outline| &outline.methods);
    let place = methods.iter().position(|method| *method == row.method).unwrap_or(usize::MAX);
    let experiment = run.record.experiment.clone();
    (row.data.clone(), row.split.clone(), experiment, place, row.method.clone())
}

/// What rows have in common that differ in their seed only.
fn group<'a>((run, row): (&'a Run, &'a ResultRow)) -> [&'a str; 5] {
    [&run.record.experiment, &row.data, &row.split, &row.method, &row.prompts]
}

/// A line about one seed.
fn of_row((run, row): (&Run, &ResultRow)) -> Line {
    let [experiment, data, split, method, prompts] = group((run, row)).map(escape);
    Line {
        experiment,
        data,
        split,
        method,
        prompts: prompts + if row.oracle { " (oracle)" } else { "" },
        seeds: row.seed.to_string(),
        n: count(row.n, row.skipped_empty),
        dice: with_interval(row.dice, row.dice_low, row.dice_high),
        dice_sd: optional(row.dice_sd),
        iou: with_interval(row.iou, row.iou_low, row.iou_high),
        iou_sd: optional(row.iou_sd),
        mae: optional(row.mae),
        skipped: row.skipped_empty > 0,
        oracle: row.oracle,
    }
}

/// Refuses a result whose cases are gone.
///
/// # Errors
///
/// [`TableError::NoCases`]
pub(crate) fn check_cases(run: &Run, row: &ResultRow) -> Result<(), TableError> {
    let scored = row.n + row.skipped_empty;
    if scored == 0 || !scores(run, Subject::of(row), |row| Some(row.mae)).is_empty() {
        return Ok(());
    }
    let ResultRow { method, data, prompts, .. } = row;
    let line = format!("method `{method}`, data `{data}`, prompts `{prompts}`");
    Err(TableError::NoCases { line, path: run.folder.root().into() })
}

/// A line about all seeds of a method, which are at least one.
fn over_seeds(seeds: &[(&Run, &ResultRow)]) -> Result<Line, TableError> {
    let row = seeds[0].1;
    let subject = Subject::of(row);
    for (run, row) in seeds {
        check_cases(run, row)?;
    }
    let over_cases = |measure: fn(&CaseRow) -> Option<f64>| {
        let by_seed: Vec<_> = seeds.iter().map(|(run, _)| scores(run, subject, measure)).collect();
        let means: Vec<Option<f64>> =
            cases(&by_seed).into_iter().map(|case| mean_over_runs(&by_seed, case)).collect();
        Summary::of(&means, BOOTSTRAP_SEED)
    };
    let between_seeds = |mean: fn(&ResultRow) -> Option<f64>| {
        let means: Vec<Option<f64>> = seeds.iter().map(|&(_, row)| mean(row)).collect();
        Summary::of(&means, BOOTSTRAP_SEED).sd
    };
    let (dice, iou) = (over_cases(|row| row.dice), over_cases(|row| row.iou));
    // Over the cases that Dice is over, as in every row.
    let mae = over_cases(|row| row.dice.map(|_| row.mae));
    let seed_names: Vec<String> = seeds.iter().map(|(_, row)| row.seed.to_string()).collect();
    Ok(Line {
        seeds: seed_names.join(", "),
        n: count(dice.n, dice.skipped),
        dice: with_interval(dice.mean, dice.low, dice.high),
        dice_sd: optional(between_seeds(|row| row.dice)),
        iou: with_interval(iou.mean, iou.low, iou.high),
        iou_sd: optional(between_seeds(|row| row.iou)),
        mae: optional(mae.mean),
        skipped: dice.skipped > 0,
        ..of_row(seeds[0])
    })
}

fn count(n: usize, skipped: usize) -> String {
    match skipped {
        0 => n.to_string(),
        _ => format!("{n} (+{skipped})"),
    }
}

fn with_interval(mean: Option<f64>, low: Option<f64>, high: Option<f64>) -> String {
    match (mean, low, high) {
        (Some(mean), Some(low), Some(high)) => format!("{mean:.3} [{low:.3}, {high:.3}]"),
        _ => optional(mean),
    }
}

/// One column of the Markdown table.
struct Printed {
    header: &'static str,
    cell: fn(&Line) -> &str,
    place: Place,
    /// Whether cells are aligned to the right.
    number: bool,
}

/// Where a column goes.
#[derive(PartialEq)]
enum Place {
    Column,
    CaptionIfSame,
}

impl Printed {
    const fn text(header: &'static str, place: Place, cell: fn(&Line) -> &str) -> Self {
        Self { header, cell, place, number: false }
    }

    const fn number(header: &'static str, place: Place, cell: fn(&Line) -> &str) -> Self {
        Self { header, cell, place, number: true }
    }
}

/// The columns of the Markdown table, from left to right.
const fn columns(several_seeds: bool) -> [Printed; 12] {
    let (seed, sd) = if several_seeds { ("seeds", "sd over seeds") } else { ("seed", "sd") };
    [
        Printed::text("experiment", Place::CaptionIfSame, |line| &line.experiment),
        Printed::text("data", Place::Column, |line| &line.data),
        Printed::text("split", Place::CaptionIfSame, |line| &line.split),
        Printed::text("method", Place::Column, |line| &line.method),
        Printed::text("prompts", Place::Column, |line| &line.prompts),
        Printed::number(seed, Place::CaptionIfSame, |line| &line.seeds),
        Printed::number("n", Place::Column, |line| &line.n),
        Printed::number("Dice [95 % interval]", Place::Column, |line| &line.dice),
        Printed::number(sd, Place::Column, |line| &line.dice_sd),
        Printed::number("IoU [95 % interval]", Place::Column, |line| &line.iou),
        Printed::number(sd, Place::Column, |line| &line.iou_sd),
        Printed::number("MAE", Place::Column, |line| &line.mae),
    ]
}

/// One line as it is printed.
#[derive(Debug, Clone)]
struct Line {
    experiment: String,
    data: String,
    split: String,
    method: String,
    prompts: String,
    seeds: String,
    n: String,
    dice: String,
    dice_sd: String,
    iou: String,
    iou_sd: String,
    mae: String,
    skipped: bool,
    oracle: bool,
}

fn frame(rows: &[(&Run, &ResultRow)]) -> PolarsResult<DataFrame> {
    let text = |cell: fn(&ResultRow) -> &str| -> Vec<&str> {
        rows.iter().map(|&(_, row)| cell(row)).collect()
    };
    let count = |cell: fn(&ResultRow) -> u64| -> Vec<u64> {
        rows.iter().map(|&(_, row)| cell(row)).collect()
    };
    let number = |cell: fn(&ResultRow) -> Option<f64>| -> Vec<Option<f64>> {
        rows.iter().map(|&(_, row)| cell(row)).collect()
    };
    let experiments: Vec<_> = rows.iter().map(|(run, _)| run.record.experiment.as_str()).collect();
    let oracle: Vec<_> = rows.iter().map(|(_, row)| row.oracle).collect();
    df!(
        "experiment" => experiments,
        "data" => text(|row| &row.data),
        "split" => text(|row| &row.split),
        "method" => text(|row| &row.method),
        "prompts" => text(|row| &row.prompts),
        "protocol" => text(|row| &row.protocol),
        "oracle" => oracle,
        "seed" => count(|row| row.seed),
        "n" => count(|row| row.n as u64),
        "skipped_empty" => count(|row| row.skipped_empty as u64),
        "dice" => number(|row| row.dice),
        "dice_sd" => number(|row| row.dice_sd),
        "dice_low" => number(|row| row.dice_low),
        "dice_high" => number(|row| row.dice_high),
        "iou" => number(|row| row.iou),
        "iou_sd" => number(|row| row.iou_sd),
        "iou_low" => number(|row| row.iou_low),
        "iou_high" => number(|row| row.iou_high),
        "mae" => number(|row| row.mae),
    )
}

pub(crate) fn optional(number: Option<f64>) -> String {
    number.map_or_else(|| "\u{2013}".to_owned(), |number| format!("{number:.3}"))
}

/// Keeps a name from ending its cell.
pub(crate) fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('|', "\\|").replace(['\n', '\r'], " ")
}

/// What a reader needs to find a run again: its folder below `runs`, the experiment's checksum and the
/// revision. Not the whole path, which would differ between machines.
fn source(run: &Run) -> String {
    let components: Vec<_> = run
        .folder
        .root()
        .components()
        .map(|component| component.as_os_str().to_string_lossy())
        .collect();
    let name = components[components.len().saturating_sub(2)..].join("/");
    let checksum: String = run.record.experiment_sha256.chars().take(12).collect();
    let mut text = format!("`{name}`: experiment {checksum}");
    if let Some(environment) = &run.environment
        && let Some(revision) = &environment.revision
    {
        let dirty = if environment.dirty == Some(true) { " with changes" } else { "" };
        let revision: String = revision.chars().take(12).collect();
        text.push_str(&format!(", revision {revision}{dirty}"));
    }
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use insta::assert_snapshot;
    use run_record::{Environment, Outline};

    use super::*;
    use crate::testing::{record, row, run, with_cases};

    /// Two methods on two data sets, in an order that the table must not keep.
    fn runs() -> Vec<Run> {
        let mut zero_shot = record("zero_shot", 0);
        zero_shot.rows = vec![
            row(&zero_shot, "kvasir", "ground_truth", 0.75),
            row(&zero_shot, "isic", "ground_truth", 0.8),
        ];
        let mut apm = record("apm", 0);
        apm.rows = vec![row(&apm, "kvasir", "apm", 0.9), row(&apm, "isic", "apm", 0.85)];
        apm.rows[1].skipped_empty = 3;
        let mut runs = vec![run(zero_shot), run(apm)];
        runs[1].environment = Some(Environment {
            revision: Some("fedcba9876543210".into()),
            dirty: Some(true),
            package_version: "0.1.0".into(),
            burn_version: "0.22.1".into(),
            device: "flex".into(),
            threads: 2,
            os: "linux".into(),
            cpu: None,
            seed: 0,
            command: vec![],
        });
        runs
    }

    #[test]
    fn markdown_names_protocol_and_runs_and_marks_oracles() {
        assert_snapshot!(ResultTable::from_runs(&runs()).unwrap().markdown(), @r"
        Protocol `default`, experiment polyps, split test, seed 0. Means over n cases with the 95 % bootstrap interval of the mean; sd is over cases; (+k): k more cases have no foreground in prediction and ground truth and are in no mean; (oracle): prompts are made from the ground truth.

        | data | method | prompts | n | Dice [95 % interval] | sd | IoU [95 % interval] | sd | MAE |
        | --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |
        | isic | apm | apm | 100 (+3) | 0.850 [0.830, 0.870] | 0.125 | 0.739 [0.719, 0.759] | 0.150 | 0.031 |
        | isic | zero_shot | ground_truth (oracle) | 100 | 0.800 [0.780, 0.820] | 0.125 | 0.667 [0.647, 0.687] | 0.150 | 0.031 |
        | kvasir | apm | apm | 100 | 0.900 [0.880, 0.920] | 0.125 | 0.818 [0.798, 0.838] | 0.150 | 0.031 |
        | kvasir | zero_shot | ground_truth (oracle) | 100 | 0.750 [0.730, 0.770] | 0.125 | 0.600 [0.580, 0.620] | 0.150 | 0.031 |

        Runs:

        - `polyps/apm-seed0`: experiment 0123456789ab, revision fedcba987654 with changes
        - `polyps/zero_shot-seed0`: experiment 0123456789ab
        ");
    }

    #[test]
    fn csv_has_every_column_at_full_precision() {
        let mut record = record("apm", 3);
        record.rows = vec![row(&record, "kvasir", "apm", 0.9)];
        record.rows[0].mae = Some(1.0 / 3.0);
        record.rows[0].dice_sd = None;
        assert_snapshot!(ResultTable::from_runs(&[run(record)]).unwrap().csv().unwrap(), @r"
        experiment,data,split,method,prompts,protocol,oracle,seed,n,skipped_empty,dice,dice_sd,dice_low,dice_high,iou,iou_sd,iou_low,iou_high,mae
        polyps,kvasir,test,apm,apm,default,false,3,100,0,0.9,,0.88,0.92,0.8181818181818181,0.15,0.7981818181818181,0.8381818181818181,0.3333333333333333
        ");
    }

    #[test]
    fn seeds_and_experiments_get_columns_when_they_differ() {
        let mut first = record("apm", 0);
        first.rows = vec![row(&first, "kvasir", "apm", 0.9)];
        let mut second = record("apm", 1);
        second.experiment = "lesions".into();
        second.rows = vec![row(&second, "kvasir", "apm", 0.8)];
        let table = ResultTable::from_runs(&[run(first), run(second)]).unwrap();
        assert_snapshot!(table.markdown(), @r"
        Protocol `default`, split test. Means over n cases with the 95 % bootstrap interval of the mean; sd is over cases.

        | experiment | data | method | prompts | seed | n | Dice [95 % interval] | sd | IoU [95 % interval] | sd | MAE |
        | --- | --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
        | lesions | kvasir | apm | apm | 1 | 100 | 0.800 [0.780, 0.820] | 0.125 | 0.667 [0.647, 0.687] | 0.150 | 0.031 |
        | polyps | kvasir | apm | apm | 0 | 100 | 0.900 [0.880, 0.920] | 0.125 | 0.818 [0.798, 0.838] | 0.150 | 0.031 |

        Runs:

        - `lesions/apm-seed1`: experiment 0123456789ab
        - `polyps/apm-seed0`: experiment 0123456789ab
        ");
    }

    /// Two seeds of a method on one set, one case of which is undefined with the second.
    fn two_seeds() -> Vec<Run> {
        let first = [Some(0.5), Some(0.75), Some(0.25)];
        let second = [Some(0.75), Some(1.0), None];
        [(1, first), (2, second)]
            .map(|(seed, dice)| with_cases("apm", seed, &[("kvasir", "auto", &dice)]))
            .into()
    }

    #[test]
    fn several_seeds_are_one_line_of_scores_averaged_by_case() {
        let table = ResultTable::from_runs(&two_seeds()).unwrap();
        // Cases 0.625 and 0.875: the interval of two is their range. Seeds have the means 0.5 and
        // 0.875, which deviate by 0.375 / sqrt(2).
        assert_snapshot!(table.markdown(), @r"
        Protocol `default`, experiment polyps, split test, seeds 1, 2. Means over n cases, each averaged over the seeds, with the 95 % bootstrap interval over cases; sd is over seeds; (+k): k more cases have no foreground in prediction and ground truth with one of the seeds and are in no mean.

        | data | method | prompts | n | Dice [95 % interval] | sd over seeds | IoU [95 % interval] | sd over seeds | MAE |
        | --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |
        | kvasir | apm | auto | 2 (+1) | 0.750 [0.625, 0.875] | 0.265 | 0.633 [0.467, 0.800] | 0.314 | 0.250 |

        Runs:

        - `polyps/apm-seed1`: experiment 0123456789ab
        - `polyps/apm-seed2`: experiment 0123456789ab
        ");
        // Every seed keeps its line.
        assert_eq!(table.csv().unwrap().lines().count(), 3);
        assert_eq!(table.frame().height(), 2);
    }

    #[test]
    fn a_method_with_one_seed_beside_others_has_no_deviation_between_seeds() {
        let mut runs = two_seeds();
        runs.push(with_cases("frozen", 1, &[("kvasir", "auto", &[Some(0.5), Some(0.25)])]));
        let markdown = ResultTable::from_runs(&runs).unwrap().markdown();
        let line = markdown.lines().find(|line| line.contains("frozen |")).unwrap();
        assert!(line.contains("| 1 | 2 | 0.375 [0.250, 0.500] | \u{2013} |"), "{line}");
        assert!(markdown.contains("| apm | auto | 1, 2 |"), "{markdown}");
    }

    #[test]
    fn seeds_whose_cases_are_gone_are_not_averaged() {
        let mut runs = two_seeds();
        runs[1].cases.clear();
        let error = ResultTable::from_runs(&runs).unwrap_err();
        assert!(matches!(error, TableError::NoCases { .. }));
        assert!(error.to_string().ends_with("runs/polyps/apm-seed2"), "{error}");
        assert!(ResultTable::from_runs(&runs[1..]).is_ok(), "one seed needs no cases");
    }

    #[test]
    fn methods_stand_in_the_order_of_their_file() {
        let mut runs = runs();
        for run in &mut runs {
            run.outline = Some(Outline::new(vec!["zero_shot".into(), "apm".into()], vec![]));
        }
        let table = ResultTable::from_runs(&runs).unwrap();
        let methods: Vec<_> = table.lines.iter().map(|line| line.method.as_str()).collect();
        assert_eq!(methods, ["zero_shot", "apm", "zero_shot", "apm"]);
        // A method that the file no longer has comes last.
        runs[0].outline = Some(Outline::new(vec!["apm".into()], vec![]));
        runs[1].outline = runs[0].outline.clone();
        let table = ResultTable::from_runs(&runs).unwrap();
        assert_eq!(table.lines[1].method, "zero_shot");
    }

    #[test]
    fn undefined_numbers_are_dashes_and_bars_stay_in_their_cell() {
        let mut one = record("a|b", 0);
        one.rows = vec![row(&one, "kvasir", "apm", 0.9), row(&one, "none", "apm", 0.9)];
        let row = &mut one.rows[0];
        (row.n, row.dice_sd, row.dice_low, row.dice_high) = (1, None, None, None);
        (row.iou_sd, row.iou_low, row.iou_high) = (None, None, None);
        let row = &mut one.rows[1];
        (row.n, row.skipped_empty, row.mae) = (0, 7, None);
        (row.dice, row.dice_sd, row.dice_low, row.dice_high) = (None, None, None, None);
        (row.iou, row.iou_sd, row.iou_low, row.iou_high) = (None, None, None, None);
        let markdown = ResultTable::from_runs(&[run(one)]).unwrap().markdown();
        let lines: Vec<_> = markdown.lines().filter(|line| line.contains("a\\|b |")).collect();
        assert_snapshot!(lines.join("\n"), @r"
        | kvasir | a\|b | apm | 1 | 0.900 | – | 0.818 | – | 0.031 |
        | none | a\|b | apm | 0 (+7) | – | – | – | – | – |
        ");
    }

    #[test]
    fn the_order_of_runs_changes_no_byte() {
        let mut turned = runs();
        turned.reverse();
        let (one, other) =
            (ResultTable::from_runs(&runs()).unwrap(), ResultTable::from_runs(&turned).unwrap());
        assert_eq!(one.markdown(), other.markdown());
        assert_eq!(one.csv().unwrap(), other.csv().unwrap());
    }

    #[test]
    fn two_protocols_never_share_a_table() {
        let mut mixed = runs();
        mixed[1].record.rows[0].protocol = "pranet".into();
        let error = ResultTable::from_runs(&mixed).unwrap_err();
        assert!(matches!(error, TableError::MixedProtocols { .. }));
        assert_eq!(
            error.to_string(),
            "results of protocol `default` and `pranet` cannot share a table: \
             runs/polyps/zero_shot-seed0 and runs/polyps/apm-seed0"
        );
    }

    #[test]
    fn a_line_that_two_runs_claim_is_refused() {
        let mut doubled = runs();
        let copy = doubled[0].record.rows[0].clone();
        doubled[1].record.rows.push(copy);
        let error = ResultTable::from_runs(&doubled).unwrap_err();
        assert!(matches!(error, TableError::Duplicate { .. }));
        assert!(error.to_string().contains("method `zero_shot`, data `kvasir`"), "{error}");
    }

    #[test]
    fn runs_without_results_are_an_error() {
        let error = ResultTable::from_runs(&[run(record("apm", 0))]).unwrap_err();
        assert_eq!(error.to_string(), "none of the 1 runs has a result");
    }
}
