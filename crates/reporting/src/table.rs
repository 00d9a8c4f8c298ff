//! Tables of results, a line for each method, prompt source and data set.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use metrics::{Column, Measure};
use polars::prelude::*;
use run_record::{CASES_FILE, ResultRow};

use crate::columns::column_name;
use crate::entries::{
    Entries, Entry, Number, Remarks, Scope, Selection, label, marked_method, marked_prompts,
};
use crate::provenance::Provenance;
use crate::scores::{Subject, scores};
use crate::{MethodName, Run};

/// What a table shows.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TableOptions {
    /// Which results, and what may stand side by side.
    pub scope: Scope,
    /// The numbers, from left to right; those that the protocol prints if none is named.
    pub columns: Vec<Column>,
    /// The row that a [`PaperTable`](crate::PaperTable) tests the others against; see there for what is
    /// taken if nothing is said.
    pub baseline: Option<MethodName>,
}

impl TableOptions {
    /// The options as the command line takes them.
    pub(crate) fn options(&self) -> Vec<(&'static str, String)> {
        let mut options = Vec::new();
        if !self.columns.is_empty() {
            let names: Vec<String> = self.columns.iter().copied().map(column_name).collect();
            options.push(("--measures", names.join(",")));
        }
        if let Some(baseline) = &self.baseline {
            options.push(("--baseline", baseline.to_string()));
        }
        options.extend(self.scope.options());
        options
    }
}

/// Results by experiment, method, data set, split, prompt source and seed.
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
    columns: Vec<Shown>,
    /// Whether a line stands for several seeds.
    several_seeds: bool,
    protocol: String,
    remarks: Remarks,
    provenance: Provenance,
}

/// A number of the Markdown table.
#[derive(Debug, Clone)]
struct Shown {
    header: String,
    /// Whether interval and deviation stand beside the mean.
    in_full: bool,
}

/// Why there is no table.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// No run has a result, or none that was asked for.
    #[error("none of the {runs} runs has a result that was asked for")]
    NoResults {
        /// Runs that were looked at.
        runs: usize,
    },
    /// Numbers of two protocols cannot be compared.
    #[error(
        "results of protocol `{first}` and `{second}` cannot share a table (`--mix` allows it, and \
         marks it): {} and {}",
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
    /// Two splits of a data set are two sets of images.
    #[error(
        "results on split `{first}` and `{second}` of `{data}` cannot share a table (`--mix` allows \
         it, and marks it): {} and {}",
        first_path.display(), second_path.display()
    )]
    MixedSplits {
        /// The data set.
        data: String,
        /// The split of the first row.
        first: String,
        /// The first split that differs.
        second: String,
        /// Run folder of the first row.
        first_path: Box<Path>,
        /// Run folder of the row that differs.
        second_path: Box<Path>,
    },
    /// Experiments that were prompted otherwise compare prompts, not methods.
    #[error(
        "one experiment has results with the prompts {first} on `{data}`, another with {second} \
         (`--prompts` chooses some, `--mix` allows it, and marks it): {} and {}",
        first_path.display(), second_path.display()
    )]
    MixedPrompts {
        /// The data set.
        data: String,
        /// Prompt sources of the first experiment.
        first: String,
        /// Prompt sources of the other.
        second: String,
        /// A run folder of the first.
        first_path: Box<Path>,
        /// A run folder of the other.
        second_path: Box<Path>,
    },
    /// Runs with other settings, weights or data are no seeds of one method, and their mean is none of it.
    #[error(
        "{line}: its seeds differ in {} and cannot be averaged (`--mix` allows it, and marks it): {} and {}",
        what.join(", "), first_path.display(), second_path.display()
    )]
    MixedSeeds {
        /// Experiment and method, in words.
        line: String,
        /// Dotted keys of settings, `experiment_sha256`, `weights_sha256`, data sets.
        what: Vec<String>,
        /// Run folder of the first seed.
        first_path: Box<Path>,
        /// Run folder of the seed that differs.
        second_path: Box<Path>,
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
    /// There is no row of this name to compare with.
    #[error("no row is called `{name}`, there are: {}", known.join(", "))]
    UnknownMethod {
        /// The name looked for.
        name: String,
        /// Rows that there are.
        known: Vec<String>,
    },
    /// An oracle knows the truth, so a difference to it says nothing about a method.
    #[error("`{name}` is an oracle and no baseline, name one of: {}", known.join(", "))]
    OracleBaseline {
        /// The name that was asked for.
        name: String,
        /// Rows that are no oracles.
        known: Vec<String>,
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
    /// Those of [`new`](Self::new).
    pub fn from_runs(runs: &[Run]) -> Result<Self, TableError> {
        Self::new(runs, &TableOptions::default())
    }

    /// Collects the result rows that were asked for.
    ///
    /// # Errors
    ///
    /// [`TableError::UnknownMethod`] and [`TableError::OracleBaseline`] if no row can be the baseline that was
    /// asked for, [`TableError::NoResults`] without any row, [`TableError::Duplicate`] if two rows are about the
    /// same line, [`TableError::NoCases`] if there are several seeds and a run has lost its case rows;
    /// unless the scope allows to mix, [`TableError::MixedProtocols`], [`TableError::MixedSplits`],
    /// [`TableError::MixedPrompts`] and [`TableError::MixedSeeds`].
    pub fn new(runs: &[Run], options: &TableOptions) -> Result<Self, TableError> {
        let entries = Entries::of(runs, &options.scope)?;
        if let Some(name) = &options.baseline {
            check_baseline(&entries.entries, name)?;
        }
        let several_seeds = entries.entries.iter().any(|entry| entry.seeds.len() > 1);
        let columns = match &options.columns[..] {
            [] => entries.default_columns(),
            columns => columns.to_vec(),
        };
        let protocols: BTreeSet<&str> =
            entries.entries.iter().map(|entry| entry.protocol).collect();
        let protocols: Vec<&str> = protocols.into_iter().collect();
        let shown = |&column: &Column| {
            let named = !options.columns.is_empty() && matches!(column, Column::Mean(_));
            let main = matches!(column, Column::Mean(Measure::Dice | Measure::Iou));
            // Two protocols may have two names for a number; then it has its plain one.
            let name = match protocols[..] {
                [protocol] => label(protocol, column),
                _ => label("", column),
            };
            let unit = match column {
                Column::Mean(measure) => measure.unit(),
                Column::Max(_) => None,
            };
            let header = unit.map_or_else(|| name.to_owned(), |unit| format!("{name} ({unit})"));
            Shown { header, in_full: named || main }
        };
        let lines = entries
            .entries
            .iter()
            .map(|entry| Line::of(entry, &columns, several_seeds))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            frame: frame(&entries.entries)?,
            lines,
            columns: columns.iter().map(shown).collect(),
            several_seeds,
            protocol: protocols.join("`, `"),
            provenance: Provenance::new(&entries.runs(), "table", &options.options()),
            remarks: entries.remarks,
        })
    }

    /// The table with all its columns and full precision.
    ///
    /// Columns: `experiment`, `data`, `split`, `method`, `prompts`, `protocol` (strings), `oracle`
    /// (boolean), `selection` (`clean`, `on_test` if the checkpoint was chosen on the tested images,
    /// `unknown`), `seed`, `n`, `skipped_empty` (unsigned); then for every measure of any row `dice`,
    /// `dice_sd`, `dice_median`, `dice_low`, `dice_high` and so on, and `max_dice` and so on for maxima of
    /// curves (floats; null where undefined); then `run` and `record_sha256`, where the line comes from.
    pub fn frame(&self) -> &DataFrame {
        &self.frame
    }

    /// The protocol that all numbers were computed by.
    pub fn protocol(&self) -> &str {
        &self.protocol
    }

    /// The runs behind the table, and the command that makes it again.
    pub fn provenance(&self) -> &Provenance {
        &self.provenance
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
    /// they are the same in every line. Interval and deviation stand beside Dice, IoU and every measure
    /// that was asked for by name.
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

        let mut text = String::new();
        for sentence in self.remarks.sentences() {
            text.push_str(&format!("**{sentence}.** "));
        }
        let several =
            if in_caption.iter().any(|column| column.header == "protocol") { "" } else { "s" };
        text.push_str(&format!("Protocol{several} `{}`", self.protocol));
        if let Some(first) = lines.first() {
            for column in in_caption.iter().filter(|column| column.header != "protocol") {
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
        if lines.iter().any(|line| line.fewer) {
            text.push_str("; (n k): over k cases only, undefined for the others");
        }
        if self.remarks.oracle {
            text.push_str("; (oracle): prompts are made from the ground truth");
        }
        if self.remarks.on_test {
            text.push_str("; (chosen on test data): the checkpoint has seen the tested images");
        }
        text.push_str(".\n\n|");

        for column in &columns {
            text.push_str(&format!(" {} |", column.header));
        }
        let sd = if self.several_seeds { "sd over seeds" } else { "sd" };
        for Shown { header, in_full } in &self.columns {
            match in_full {
                true => text.push_str(&format!(" {header} [95 % interval] | {sd} |")),
                false => text.push_str(&format!(" {header} |")),
            }
        }
        text.push_str("\n|");
        for column in &columns {
            text.push_str(if column.number { " ---: |" } else { " --- |" });
        }
        for shown in &self.columns {
            text.push_str(if shown.in_full { " ---: | ---: |" } else { " ---: |" });
        }
        for line in lines {
            text.push_str("\n|");
            for column in &columns {
                text.push_str(&format!(" {} |", (column.cell)(line)));
            }
            for (cell, shown) in line.scores.iter().zip(&self.columns) {
                match shown.in_full {
                    true => text.push_str(&format!(" {} | {} |", cell.with_interval, cell.sd)),
                    false => text.push_str(&format!(" {} |", cell.mean)),
                }
            }
        }
        text.push_str("\n\n");
        text.push_str(&self.provenance.markdown());
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

/// Refuses a baseline that is no row, or an oracle.
///
/// # Errors
///
/// [`TableError::UnknownMethod`] and [`TableError::OracleBaseline`].
pub(crate) fn check_baseline(entries: &[Entry<'_>], name: &MethodName) -> Result<(), TableError> {
    let named = |entry: &&Entry<'_>| entry.is(name);
    if entries.iter().filter(named).any(|entry| !entry.oracle) {
        return Ok(());
    }
    let of = |entries: &[&Entry<'_>]| {
        let names: BTreeSet<String> =
            entries.iter().map(|entry| format!("`{}:{}`", entry.method, entry.prompts)).collect();
        names.into_iter().collect()
    };
    let is_oracle = entries.iter().any(|entry| entry.is(name));
    let known: Vec<&Entry<'_>> =
        entries.iter().filter(|entry| !is_oracle || !entry.oracle).collect();
    let (name, known) = (name.to_string(), of(&known));
    Err(match is_oracle {
        true => TableError::OracleBaseline { name, known },
        false => TableError::UnknownMethod { name, known },
    })
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

/// One line as it is printed.
#[derive(Debug, Clone)]
struct Line {
    experiment: String,
    data: String,
    split: String,
    protocol: String,
    method: String,
    prompts: String,
    seeds: String,
    n: String,
    scores: Vec<Cell>,
    skipped: bool,
    /// Whether a number is over fewer cases than the line.
    fewer: bool,
}

/// One number as it is printed.
#[derive(Debug, Clone)]
struct Cell {
    mean: String,
    with_interval: String,
    sd: String,
}

impl Line {
    fn of(entry: &Entry<'_>, columns: &[Column], several_seeds: bool) -> Result<Self, TableError> {
        let dice = entry.number(Column::Mean(Measure::Dice))?;
        let (n, skipped) = match entry.seeds[..] {
            [(_, row)] => (row.n, row.skipped_empty),
            _ => {
                let all = entry.case_scores(Measure::Dice)?.len();
                (dice.n, all - dice.n)
            }
        };
        let seeds: Vec<String> = entry.seeds.iter().map(|(_, row)| row.seed.to_string()).collect();
        let mut fewer = false;
        let mut scores = Vec::new();
        for &column in columns {
            let number = entry.number(column)?;
            let digits = decimals(column);
            let over = if number.mean.is_some() && number.n < n {
                fewer = true;
                format!(" (n {})", number.n)
            } else {
                String::new()
            };
            let Number { mean, low, high, case_sd, seed_sd, .. } = number;
            scores.push(Cell {
                mean: rounded(mean, digits) + &over,
                with_interval: with_interval(mean, low, high, digits) + &over,
                sd: rounded(if several_seeds { seed_sd } else { case_sd }, digits),
            });
        }
        Ok(Self {
            experiment: escape(entry.experiment),
            data: escape(entry.data),
            split: escape(entry.split),
            protocol: escape(entry.protocol),
            method: marked_method(&escape(entry.method), entry.selection()),
            prompts: marked_prompts(&escape(entry.prompts), entry.oracle),
            seeds: seeds.join(", "),
            n: count(n, skipped),
            scores,
            skipped: skipped > 0,
            fewer,
        })
    }
}

fn count(n: usize, skipped: usize) -> String {
    if skipped > 0 { format!("{n} (+{skipped})") } else { n.to_string() }
}

fn with_interval(mean: Option<f64>, low: Option<f64>, high: Option<f64>, digits: usize) -> String {
    let mean = rounded(mean, digits);
    match (low, high) {
        (Some(low), Some(high)) => format!("{mean} [{low:.digits$}, {high:.digits$}]"),
        _ => mean,
    }
}

/// A column of the Markdown table that is no score.
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

/// The columns left of the scores.
const fn columns(several_seeds: bool) -> [Printed; 8] {
    let seed = if several_seeds { "seeds" } else { "seed" };
    [
        Printed::text("experiment", Place::CaptionIfSame, |line| &line.experiment),
        Printed::text("data", Place::Column, |line| &line.data),
        Printed::text("split", Place::CaptionIfSame, |line| &line.split),
        Printed::text("protocol", Place::CaptionIfSame, |line| &line.protocol),
        Printed::text("method", Place::Column, |line| &line.method),
        Printed::text("prompts", Place::Column, |line| &line.prompts),
        Printed::number(seed, Place::CaptionIfSame, |line| &line.seeds),
        Printed::number("n", Place::Column, |line| &line.n),
    ]
}

/// What the columns of [`ResultTable::csv`] mean: name, unit or range, meaning. `MEASURE` stands for the name of each
/// measure that any row has, `CURVE` for each curve over thresholds.
pub(crate) const TABLE_COLUMNS: [(&str, &str, &str); 19] = [
    ("experiment", "", "name of the experiment"),
    ("data", "", "name of the data set"),
    ("split", "", "name of the split"),
    ("method", "", "name of the method"),
    ("prompts", "", "where the prompts came from"),
    ("protocol", "", "name of the evaluation protocol"),
    (
        "oracle",
        "",
        "whether the prompts were made from the ground truth, so that the scores are bounds",
    ),
    (
        "selection",
        "",
        "`clean`, `on_test` if the checkpoint was chosen on images that are tested, `unknown` if the run does not say",
    ),
    ("seed", "", "seed of the run"),
    ("n", "cases", "cases that the means are made of"),
    ("skipped_empty", "cases", "cases without a Dice, since neither mask has foreground"),
    ("MEASURE", "the measure's", "mean over the cases"),
    ("MEASURE_sd", "the measure's", "standard deviation over the cases"),
    ("MEASURE_median", "the measure's", "median over the cases"),
    ("MEASURE_low", "the measure's", "lower end of the 95 % bootstrap interval of the mean"),
    ("MEASURE_high", "the measure's", "upper end of it"),
    ("max_CURVE", "0 to 1", "largest value of the mean curve over thresholds"),
    ("run", "", "experiment and run folder that the line comes from"),
    ("record_sha256", "", "SHA-256 of its `record.json`"),
];

fn frame(entries: &[Entry<'_>]) -> PolarsResult<DataFrame> {
    let rows: Vec<(&Entry<'_>, &Run, &ResultRow)> = entries
        .iter()
        .flat_map(|entry| entry.seeds.iter().map(move |&(run, row)| (entry, run, row)))
        .collect();
    let text = |cell: fn(&ResultRow) -> &str| -> Vec<&str> {
        rows.iter().map(|&(_, _, row)| cell(row)).collect()
    };
    let count = |cell: fn(&ResultRow) -> u64| -> Vec<u64> {
        rows.iter().map(|&(_, _, row)| cell(row)).collect()
    };
    let selection = |entry: &Entry<'_>| match entry.selection() {
        Selection::Clean => "clean",
        Selection::OnTest => "on_test",
        Selection::Unknown => "unknown",
    };
    let mut frame = df!(
        "experiment" => rows.iter().map(|(entry, ..)| entry.experiment).collect::<Vec<_>>(),
        "data" => text(|row| &row.data),
        "split" => text(|row| &row.split),
        "method" => text(|row| &row.method),
        "prompts" => text(|row| &row.prompts),
        "protocol" => text(|row| &row.protocol),
        "oracle" => rows.iter().map(|(.., row)| row.oracle).collect::<Vec<_>>(),
        "selection" => rows.iter().map(|(entry, ..)| selection(entry)).collect::<Vec<_>>(),
        "seed" => count(|row| row.seed),
        "n" => count(|row| row.n as u64),
        "skipped_empty" => count(|row| row.skipped_empty as u64),
    )?;
    let mut add = |name: String, numbers: Vec<Option<f64>>| {
        frame.with_column(polars::prelude::Column::new(name.into(), numbers)).map(|_| ())
    };
    for &measure in Measure::ALL {
        let summaries: Vec<_> = rows.iter().map(|(.., row)| row.summary(measure)).collect();
        if summaries.iter().all(Option::is_none) {
            continue;
        }
        let numbers = |part: fn(&run_record::MeasureSummary) -> Option<f64>| {
            summaries.iter().map(|summary| summary.as_ref().and_then(part)).collect::<Vec<_>>()
        };
        let name = measure.name();
        add(name.to_owned(), numbers(|summary| summary.mean))?;
        add(format!("{name}_sd"), numbers(|summary| summary.sd))?;
        add(format!("{name}_median"), numbers(|summary| summary.median))?;
        add(format!("{name}_low"), numbers(|summary| summary.low))?;
        add(format!("{name}_high"), numbers(|summary| summary.high))?;
    }
    let curves: BTreeSet<_> = rows.iter().flat_map(|(.., row)| row.maxima.keys()).collect();
    for curve in curves {
        let maxima = rows.iter().map(|(.., row)| row.maxima.get(curve).copied()).collect();
        add(column_name(Column::Max(*curve)), maxima)?;
    }
    let runs: Vec<String> = rows.iter().map(|(_, run, _)| run.id()).collect();
    let hashes: Vec<&str> = rows.iter().map(|(_, run, _)| run.record_sha256.as_str()).collect();
    frame.with_column(polars::prelude::Column::new("run".into(), runs))?;
    frame.with_column(polars::prelude::Column::new("record_sha256".into(), hashes))?;
    Ok(frame)
}

/// Digits after the point: three of a share, two of a distance in pixels.
pub(crate) fn decimals(column: Column) -> usize {
    match column {
        Column::Mean(measure) if measure.unit().is_some() => 2,
        _ => 3,
    }
}

pub(crate) fn rounded(number: Option<f64>, digits: usize) -> String {
    number.map_or_else(|| "\u{2013}".to_owned(), |number| format!("{number:.digits$}"))
}

pub(crate) fn optional(number: Option<f64>) -> String {
    rounded(number, 3)
}

/// Keeps a name from ending its cell.
pub(crate) fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('|', "\\|").replace(['\n', '\r'], " ")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use insta::assert_snapshot;
    use run_record::{Environment, EpochChoice, Outline};

    use super::*;
    use crate::Settings;
    use crate::testing::{self, record, row, run, with_cases};

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
            program_sha256: None,
            package_version: "0.1.0".into(),
            burn_version: "0.22.1".into(),
            device: "flex".into(),
            threads: 2,
            os: "linux".into(),
            cpu: None,
            gpu: None,
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

        Runs (SHA-256 of `record.json`):

        - `polyps/apm-seed0`: 5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e, settings 0123456789ab, revision fedcba987654 with changes
        - `polyps/zero_shot-seed0`: 5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e, settings 0123456789ab

        Made by `cargo xtask table runs/polyps`.
        ");
    }

    #[test]
    fn csv_has_every_column_at_full_precision() {
        let mut record = record("apm", 3);
        record.rows = vec![row(&record, "kvasir", "apm", 0.9)];
        record.rows[0].mae = Some(1.0 / 3.0);
        record.rows[0].dice_sd = None;
        assert_snapshot!(ResultTable::from_runs(&[run(record)]).unwrap().csv().unwrap(), @r"
        experiment,data,split,method,prompts,protocol,oracle,selection,seed,n,skipped_empty,dice,dice_sd,dice_median,dice_low,dice_high,iou,iou_sd,iou_median,iou_low,iou_high,mae,mae_sd,mae_median,mae_low,mae_high,run,record_sha256
        polyps,kvasir,test,apm,apm,default,false,clean,3,100,0,0.9,,,0.88,0.92,0.8181818181818181,0.15,,0.7981818181818181,0.8381818181818181,0.3333333333333333,,,,,polyps/apm-seed3,5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e
        ");
    }

    #[test]
    fn every_column_of_the_csv_is_described_and_no_other() {
        let mut record = record("apm", 3);
        record.rows = vec![row(&record, "kvasir", "apm", 0.9)];
        record.rows[0].maxima.insert(metrics::CurveMeasure::EMeasure, 0.5);
        let csv = ResultTable::from_runs(&[run(record)]).unwrap().csv().unwrap();
        let general = |column: &str| -> String {
            let (name, part) = column.rsplit_once('_').unwrap_or((column, ""));
            let is_measure = |name: &str| name.parse::<Measure>().is_ok();
            match column.strip_prefix("max_") {
                Some(_) => "max_CURVE".into(),
                None if is_measure(column) => "MEASURE".into(),
                None if is_measure(name) => format!("MEASURE_{part}"),
                None => column.into(),
            }
        };
        let mut columns: Vec<String> = Vec::new();
        for column in csv.lines().next().unwrap().split(',').map(general) {
            if !columns.contains(&column) {
                columns.push(column);
            }
        }
        assert_eq!(columns, TABLE_COLUMNS.map(|(name, ..)| name));
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

        Runs (SHA-256 of `record.json`):

        - `lesions/apm-seed1`: 5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e, settings 0123456789ab
        - `polyps/apm-seed0`: 5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e, settings 0123456789ab

        Made by `cargo xtask table runs/lesions runs/polyps`.
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

        Runs (SHA-256 of `record.json`):

        - `polyps/apm-seed1`: 5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e, settings 0123456789ab
        - `polyps/apm-seed2`: 5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e, settings 0123456789ab

        Made by `cargo xtask table runs/polyps`.
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
        // The interval that its record has.
        assert!(line.contains("| 1 | 2 | 0.375 [0.355, 0.395] | \u{2013} |"), "{line}");
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
            run.outline = Some(Outline::new(vec!["zero_shot".into(), "apm".into()], vec![]).into());
        }
        let table = ResultTable::from_runs(&runs).unwrap();
        let methods: Vec<_> = table.lines.iter().map(|line| line.method.as_str()).collect();
        assert_eq!(methods, ["zero_shot", "apm", "zero_shot", "apm"]);
        // A method that the file no longer has comes last.
        runs[0].outline = Some(Outline::new(vec!["apm".into()], vec![]).into());
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
            "results of protocol `default` and `pranet` cannot share a table (`--mix` allows it, and marks \
             it): runs/polyps/zero_shot-seed0 and runs/polyps/apm-seed0"
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
        assert_eq!(error.to_string(), "none of the 1 runs has a result that was asked for");
    }

    #[test]
    fn protocols_that_may_be_mixed_are_said_and_stand_in_a_column() {
        let mut mixed = runs();
        mixed[1].record.rows[0].protocol = "pranet".into();
        let scope = Scope { mix: true, ..Scope::default() };
        let table =
            ResultTable::new(&mixed, &TableOptions { scope, ..TableOptions::default() }).unwrap();
        let markdown = table.markdown();
        assert!(
            markdown.starts_with(
                "**MIXED: protocols `default`, `pranet`; such numbers cannot be compared with each other.**"
            ),
            "{markdown}"
        );
        assert!(markdown.contains("| data | protocol | method |"), "{markdown}");
        assert!(markdown.contains("| kvasir | pranet | apm |"), "{markdown}");
        assert!(table.provenance().command().ends_with(" --mix"));
    }

    #[test]
    fn two_splits_of_a_data_set_are_refused_and_two_data_sets_are_not() {
        let mut split = runs();
        split[1].record.rows[0].split = "valid".into();
        let error = ResultTable::from_runs(&split).unwrap_err();
        assert!(matches!(error, TableError::MixedSplits { .. }), "{error}");
        assert!(error.to_string().contains("split `test` and `valid` of `kvasir`"), "{error}");

        let mut other = runs();
        for run in &mut other {
            run.record.rows[1].split = "all".into();
        }
        ResultTable::from_runs(&other).unwrap();
    }

    #[test]
    fn experiments_with_unlike_prompt_sources_are_refused_and_one_with_several_is_not() {
        // `runs` has two sources in one experiment.
        ResultTable::from_runs(&runs()).unwrap();
        let mut unlike = runs();
        unlike[1].record.experiment = "lesions".into();
        let error = ResultTable::from_runs(&unlike).unwrap_err();
        assert!(matches!(error, TableError::MixedPrompts { .. }), "{error}");
        let scope = Scope { mix: true, ..Scope::default() };
        let options = TableOptions { scope, ..TableOptions::default() };
        let markdown = ResultTable::new(&unlike, &options).unwrap().markdown();
        let said = "**MIXED: prompt sources `apm` and `ground_truth` on `isic`; prompt sources";
        assert!(markdown.starts_with(said), "{markdown}");
        // What is left of both is the same source.
        let same = row(&unlike[0].record, "isic", "apm", 0.5);
        unlike[0].record.rows.push(same);
        let scope = Scope { prompts: vec!["apm".into()], data: vec!["isic".into()], mix: false };
        let options = TableOptions { scope, ..TableOptions::default() };
        let table = ResultTable::new(&unlike, &options).unwrap();
        assert_eq!(table.frame().height(), 2);
        assert!(table.provenance().command().ends_with("--prompts apm --data isic"));
    }

    #[test]
    fn a_checkpoint_that_was_chosen_on_test_data_is_marked() {
        let trained = |selection: EpochChoice, train_split: &str| {
            let mut run = testing::trained("apm", 1, 3, 0.8);
            run.record.rows = vec![row(&run.record, "kvasir", "auto", 0.8)];
            run.settings = Some(Settings::of(serde_json::json!({
                "data": { "train": ["kvasir"], "train_split": train_split },
            })));
            if let Some(training) = &mut run.record.training {
                training.selection = selection;
            }
            let markdown = ResultTable::from_runs(&[run]).unwrap().markdown();
            (markdown.contains("apm (chosen on test data) |"), markdown.contains("do not say"))
        };
        assert_eq!(trained(EpochChoice::HeldOut, "train"), (false, false));
        assert_eq!(trained(EpochChoice::Test, "train"), (true, false));
        // What is held out of the test split is test data, too.
        assert_eq!(trained(EpochChoice::HeldOut, "test"), (true, false));
        assert_eq!(trained(EpochChoice::Other("last epoch".into()), "train"), (false, true));
    }

    #[test]
    fn a_module_that_was_fitted_to_test_images_is_marked() {
        let fitted = |train_split: &str| {
            let mut run = testing::trained("self", 1, 3, 0.8);
            run.record.rows = vec![row(&run.record, "kvasir", "auto", 0.8)];
            run.record.training = None;
            let cases = vec!["kvasir/a.jpg".into()];
            run.record.fit = Some(run_record::FitSummary { cases, numbers: [].into() });
            run.epochs.clear();
            run.settings = Some(Settings::of(serde_json::json!({
                "data": { "train": ["kvasir"], "train_split": train_split },
            })));
            let markdown = ResultTable::from_runs(&[run]).unwrap().markdown();
            (markdown.contains("self (chosen on test data) |"), markdown.contains("do not say"))
        };
        assert_eq!(fitted("train"), (false, false));
        assert_eq!(fitted("test"), (true, false));
    }

    #[test]
    fn a_baseline_that_there_is_not_is_refused_although_this_layout_tests_nothing() {
        let with =
            |name: &str| TableOptions { baseline: name.parse().ok(), ..TableOptions::default() };
        ResultTable::new(&runs(), &with("apm")).unwrap();
        let error = ResultTable::new(&runs(), &with("nobody")).unwrap_err();
        assert!(matches!(error, TableError::UnknownMethod { .. }), "{error}");
        assert_eq!(
            error.to_string(),
            "no row is called `nobody`, there are: `apm:apm`, `zero_shot:ground_truth`"
        );
        let error = ResultTable::new(&runs(), &with("zero_shot")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`zero_shot` is an oracle and no baseline, name one of: `apm:apm`"
        );
    }

    #[test]
    fn measures_that_are_asked_for_stand_in_full_and_missing_ones_are_dashes() {
        let columns = vec![Column::Mean(Measure::Mae), Column::Mean(Measure::Hd95)];
        let options = TableOptions { columns, ..TableOptions::default() };
        let markdown = ResultTable::new(&runs(), &options).unwrap().markdown();
        assert!(
            markdown.contains("| MAE [95 % interval] | sd | HD95 (px) [95 % interval] | sd |"),
            "{markdown}"
        );
        assert!(markdown.contains("| 0.031 | \u{2013} | \u{2013} | \u{2013} |"), "{markdown}");
        assert!(!markdown.contains("Dice"), "{markdown}");
    }
}
