//! Tables as papers print them: methods are rows, data sets with their measures are columns.

use std::collections::BTreeSet;

use metrics::{Better, Column, SignedRank, holm};

use crate::entries::{
    Entries, Entry, Number, Remarks, Selection, label, marked_method, marked_prompts,
};
use crate::provenance::Provenance;
use crate::table::{check_baseline, decimals, escape};
use crate::{MethodName, Run, TableError, TableOptions};

/// Corrected p values below it are marked.
const LEVEL: f64 = 0.05;

/// Characters of a line of type size `\small` that one column of a two-column paper holds.
const LINE_OF_ONE: usize = 50;
/// Type sizes of a table over both columns, with the characters of a line that they hold. What is longer
/// is scaled down to the width of the page.
const SIZES_OF_BOTH: [(usize, &str); 3] =
    [(104, "\\small"), (117, "\\footnotesize"), (125, "\\scriptsize")];

/// A table with a row for each method and prompt source, and a group of columns for each data set.
///
/// Per column the best number is bold and the second underlined, at the digits that are printed, so that
/// equal numbers are marked alike. Oracles and checkpoints that were chosen on test data are marked and take
/// no part. With several seeds a number is the mean over cases that are averaged over the seeds, ± the
/// standard deviation between the means of the seeds.
///
/// An asterisk says that the difference to the baseline's row is significant: two-sided Wilcoxon
/// signed-rank test over the cases that both rows have, p below 0.05 after Holm's correction for all tests
/// of the table. The baseline is the row that was asked for, else the first one that is no oracle and has a
/// number on every data set. Oracles are not tested, and neither are maxima of mean curves, which have no
/// cases.
#[derive(Debug, Clone)]
pub struct PaperTable {
    rows: Vec<Row>,
    groups: Vec<Group>,
    /// The row that others are tested against.
    baseline: Option<usize>,
    /// Tests that p values are corrected for.
    tests: usize,
    /// Seeds of every row; nothing if rows differ, which then have a column.
    seeds: Option<String>,
    /// The prompt source of every row, if it is one and no oracle; else rows have a column of it.
    prompts: Option<String>,
    several_seeds: bool,
    several_experiments: bool,
    experiments: Vec<String>,
    /// Measures that are undefined for some cases: name, and fewest and most cases of a number.
    fewer: Vec<(String, usize, usize)>,
    remarks: Remarks,
    provenance: Provenance,
}

/// A method with a prompt source.
#[derive(Debug, Clone)]
struct Row {
    experiment: String,
    method: String,
    prompts: String,
    oracle: bool,
    on_test: bool,
    seeds: String,
    /// By group and column; nothing where there is no result.
    cells: Vec<Vec<Cell>>,
}

/// A data set with its measures.
#[derive(Debug, Clone)]
struct Group {
    data: String,
    split: String,
    protocol: String,
    /// Fewest and most cases of a row.
    n: (usize, usize),
    columns: Vec<(Column, &'static str)>,
}

#[derive(Debug, Clone, Default)]
struct Cell {
    mean: Option<String>,
    sd: Option<String>,
    rank: Rank,
    significant: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Rank {
    #[default]
    Other,
    Best,
    Second,
}

impl PaperTable {
    /// Arranges the results of the runs.
    ///
    /// # Errors
    ///
    /// Those of [`ResultTable::new`](crate::ResultTable::new).
    pub fn new(runs: &[Run], options: &TableOptions) -> Result<Self, TableError> {
        let all = Entries::of(runs, &options.scope)?;
        let columns = match &options.columns[..] {
            [] => all.default_columns(),
            columns => columns.to_vec(),
        };
        let entries = &all.entries;
        if let Some(name) = &options.baseline {
            check_baseline(entries, name)?;
        }
        let several_seeds = entries.iter().any(|entry| entry.seeds.len() > 1);

        let mut groups: Vec<Group> = Vec::new();
        let mut keys: Vec<(&str, usize, &str, &str)> = Vec::new();
        for entry in entries {
            let known = |group: &Group| {
                (&*group.data, &*group.split, &*group.protocol)
                    == (entry.data, entry.split, entry.protocol)
            };
            if !groups.iter().any(known) {
                groups.push(Group {
                    data: entry.data.to_owned(),
                    split: entry.split.to_owned(),
                    protocol: entry.protocol.to_owned(),
                    n: (usize::MAX, 0),
                    columns: columns.iter().map(|&c| (c, label(entry.protocol, c))).collect(),
                });
            }
            keys.push((entry.experiment, entry.place, entry.method, entry.prompts));
        }
        keys.sort_unstable();
        keys.dedup();

        let find = |(experiment, _, method, prompts): (&str, usize, &str, &str), group: &Group| {
            entries.iter().find(|entry| {
                (entry.experiment, entry.method, entry.prompts) == (experiment, method, prompts)
                    && (entry.data, entry.split, entry.protocol)
                        == (&*group.data, &*group.split, &*group.protocol)
            })
        };
        let grid: Vec<Vec<Option<&Entry<'_>>>> =
            keys.iter().map(|&key| groups.iter().map(|group| find(key, group)).collect()).collect();
        let mut numbers: Vec<Vec<Vec<Option<Number>>>> = Vec::new();
        for row in &grid {
            let mut of_row = Vec::new();
            for entry in row {
                let number = |&column: &Column| entry.map(|e| e.number(column)).transpose();
                of_row.push(columns.iter().map(number).collect::<Result<Vec<_>, _>>()?);
            }
            numbers.push(of_row);
        }

        let mut rows: Vec<Row> = keys
            .iter()
            .zip(&grid)
            .zip(&numbers)
            .map(|((key, entries), numbers)| Row::of(*key, entries, numbers, &columns))
            .collect();
        rank(&mut rows, &columns);
        let baseline = baseline(&rows, &grid, options.baseline.as_ref());
        let tests = match baseline {
            Some(baseline) => test(&mut rows, &grid, &columns, baseline)?,
            None => 0,
        };
        let mut fewer = Vec::new();
        for (g, group) in groups.iter_mut().enumerate() {
            for (row, entries) in numbers.iter().zip(&grid) {
                let Some(entry) = entries[g] else { continue };
                let n = cases_of(entry, &row[g]);
                group.n = (group.n.0.min(n), group.n.1.max(n));
            }
            for (c, &(column, name)) in group.columns.iter().enumerate() {
                let over: Vec<usize> =
                    numbers.iter().filter_map(|row| row[g][c]).map(|number| number.n).collect();
                let (least, most) = (
                    over.iter().copied().min().unwrap_or(0),
                    over.iter().copied().max().unwrap_or(0),
                );
                if least < group.n.0 && matches!(column, Column::Mean(_)) {
                    fewer.push((format!("{name} on {}", group.data), least, most));
                }
            }
        }
        let seeds: BTreeSet<&str> = rows.iter().map(|row| row.seeds.as_str()).collect();
        let seeds = match seeds.into_iter().collect::<Vec<_>>()[..] {
            [one] => Some(one.to_owned()),
            _ => None,
        };
        let first = &entries[0];
        let one_source =
            entries.iter().all(|entry| entry.prompts == first.prompts && !entry.oracle);
        let prompts = one_source.then(|| first.prompts.to_owned());
        let experiments: BTreeSet<&str> = entries.iter().map(|entry| entry.experiment).collect();
        Ok(Self {
            rows,
            groups,
            baseline,
            tests,
            seeds,
            prompts,
            several_seeds,
            several_experiments: experiments.len() > 1,
            experiments: experiments.into_iter().map(str::to_owned).collect(),
            fewer,
            provenance: Provenance::new(&all.runs(), "table", &options.options()),
            remarks: all.remarks,
        })
    }

    /// The table as Markdown: best bold, second underlined.
    pub fn markdown(&self) -> String {
        let mut text = format!("{}\n\n|", self.caption(&Markup::MARKDOWN));
        for name in self.stub() {
            text.push_str(&format!(" {name} |"));
        }
        for group in &self.groups {
            for (column, name) in &group.columns {
                let arrow = if lower_is_better(*column) { "\u{2193}" } else { "\u{2191}" };
                text.push_str(&format!(" {} {name} {arrow} |", escape(&group.data)));
            }
        }
        text.push_str("\n|");
        text.push_str(&" --- |".repeat(self.stub().len()));
        let numbers: usize = self.groups.iter().map(|group| group.columns.len()).sum();
        text.push_str(&" ---: |".repeat(numbers));
        for (i, row) in self.rows.iter().enumerate() {
            text.push_str("\n|");
            for name in self.names(i, row, escape) {
                text.push_str(&format!(" {name} |"));
            }
            for cell in row.cells.iter().flatten() {
                text.push_str(&format!(" {} |", cell.marked(&Markup::MARKDOWN)));
            }
        }
        text.push_str("\n\n");
        text.push_str(&self.provenance.with("--layout", "paper").markdown());
        text
    }

    /// The table as LaTeX, for the package `booktabs`, and `graphicx` where it is too wide for a page in
    /// small type. Sources stand in comments above it.
    pub fn latex(&self) -> String {
        let mut text = String::new();
        for source in self.provenance.sources() {
            text.push_str(&format!(
                "% {}: record.json sha256 {}\n",
                source.id, source.record_sha256
            ));
        }
        let again = self.provenance.with("--format", "latex");
        let size = SIZES_OF_BOTH.iter().find(|(most, _)| self.line_length() <= *most);
        let packages = if size.is_some() { "booktabs" } else { "booktabs,graphicx" };
        text.push_str(&format!("% {}\n% needs \\usepackage{{{packages}}}\n", again.command()));

        let numbers: usize = self.groups.iter().map(|group| group.columns.len()).sum();
        let length = self.line_length();
        let environment = if length > LINE_OF_ONE { "table*" } else { "table" };
        let scaled = size.is_none();
        let size = size.map_or("\\scriptsize", |(_, size)| size);
        text.push_str(&format!(
            "\\begin{{{environment}}}[t]\n\\centering\n{size}\n\\setlength{{\\tabcolsep}}{{4pt}}\n\\caption{{{}}}\n\\label{{tab:{}}}\n",
            self.caption(&Markup::LATEX),
            // A label is a name, not text: what is escaped in text would be an error in it.
            self.experiments.join("-").replace(|c: char| !c.is_ascii_alphanumeric(), "-"),
        ));
        let stub = self.stub();
        if scaled {
            text.push_str("\\resizebox{\\textwidth}{!}{%\n");
        }
        text.push_str(&format!(
            "\\begin{{tabular}}{{{}{}}}\n\\toprule\n",
            "l".repeat(stub.len()),
            "c".repeat(numbers)
        ));
        let mut first = stub.len() + 1;
        let mut rules = String::new();
        text.push_str(&" &".repeat(stub.len() - 1));
        for group in &self.groups {
            let wide = group.columns.len();
            text.push_str(&format!(
                " & \\multicolumn{{{wide}}}{{c}}{{{} ({})}}",
                tex(&group.data),
                count(group.n).replace('n', "$n$").replace('\u{2013}', "--"),
            ));
            rules.push_str(&format!("\\cmidrule(lr){{{first}-{}}}", first + wide - 1));
            first += wide;
        }
        text.push_str(&format!(" \\\\\n{rules}\n{}", stub.join(" & ")));
        for (column, name) in self.groups.iter().flat_map(|group| &group.columns) {
            let arrow = if lower_is_better(*column) { "\\downarrow" } else { "\\uparrow" };
            text.push_str(&format!(" & {} ${arrow}$", tex(name)));
        }
        text.push_str(" \\\\\n\\midrule\n");
        for (i, row) in self.rows.iter().enumerate() {
            text.push_str(&self.names(i, row, tex).join(" & "));
            for cell in row.cells.iter().flatten() {
                text.push_str(&format!(" & {}", cell.marked(&Markup::LATEX)));
            }
            text.push_str(" \\\\\n");
        }
        let end = if scaled { "}" } else { "" };
        text.push_str(&format!("\\bottomrule\n\\end{{tabular}}{end}\n\\end{{{environment}}}\n"));
        text
    }

    /// Characters of the widest line, about, with two for each gap between columns.
    fn line_length(&self) -> usize {
        let mut widths: Vec<usize> = Vec::new();
        let plain = |text: &str| text.to_owned();
        for (i, row) in self.rows.iter().enumerate() {
            let names = self.names(i, row, plain).into_iter();
            let cells = row.cells.iter().flatten().map(|cell| {
                let mark = if cell.significant { "*" } else { "" };
                let sd = cell.sd.as_ref().map_or(String::new(), |sd| format!(" + {sd}"));
                format!("{}{mark}{sd}", cell.mean.as_deref().unwrap_or("-"))
            });
            for (column, text) in names.chain(cells).enumerate() {
                let width = text.chars().count() + 2;
                match widths.get_mut(column) {
                    Some(widest) => *widest = width.max(*widest),
                    None => widths.push(width),
                }
            }
        }
        let stub = self.stub().len();
        let headers = self.groups.iter().flat_map(|group| &group.columns);
        for ((_, name), width) in headers.zip(widths.iter_mut().skip(stub)) {
            *width = (*width).max(name.chars().count() + 4);
        }
        widths.iter().sum()
    }

    /// Names of the columns left of the numbers.
    fn stub(&self) -> Vec<&'static str> {
        let mut stub = Vec::new();
        if self.several_experiments {
            stub.push("Experiment");
        }
        stub.push("Method");
        if self.prompts.is_none() {
            stub.push("Prompts");
        }
        if self.seeds.is_none() {
            stub.push("Seeds");
        }
        stub
    }

    /// What stands in them.
    fn names(&self, i: usize, row: &Row, escape: fn(&str) -> String) -> Vec<String> {
        let mut names = Vec::new();
        if self.several_experiments {
            names.push(escape(&row.experiment));
        }
        let mut method = escape(&row.method);
        if self.tests > 0 && self.baseline == Some(i) {
            method.push_str(" (baseline)");
        }
        if row.on_test {
            method = marked_method(&method, Selection::OnTest);
        }
        names.push(method);
        if self.prompts.is_none() {
            names.push(marked_prompts(&escape(&row.prompts), row.oracle));
        }
        if self.seeds.is_none() {
            names.push(row.seeds.clone());
        }
        names
    }

    /// What a reader has to know: protocol, data, cases, seeds, tests, marks.
    fn caption(&self, markup: &Markup) -> String {
        let text = |text: &str| (markup.text)(text);
        let mut sentences: Vec<String> = self
            .remarks
            .sentences()
            .into_iter()
            .map(|sentence| {
                format!("{}{}.{}", markup.bold.0, code(&sentence, markup), markup.bold.1)
            })
            .collect();

        let protocols: BTreeSet<&str> = self.groups.iter().map(|g| g.protocol.as_str()).collect();
        let names: Vec<String> =
            protocols.iter().map(|name| code(&format!("`{name}`"), markup)).collect();
        let plural = if names.len() > 1 { "s" } else { "" };
        let sets: Vec<String> = self
            .groups
            .iter()
            .map(|group| {
                let of = if protocols.len() > 1 {
                    format!(", {}", group.protocol)
                } else {
                    String::new()
                };
                let n = (markup.math)(&count(group.n));
                format!("{} ({}{}, {n})", text(&group.data), text(&group.split), text(&of))
            })
            .collect();
        let experiments: Vec<String> = self.experiments.iter().map(|name| text(name)).collect();
        let plural_experiments = if experiments.len() > 1 { "s" } else { "" };
        sentences.push(format!(
            "Experiment{plural_experiments} {}, protocol{plural} {}, on {}{}{}.",
            experiments.join(", "),
            names.join(", "),
            sets.join(", "),
            self.prompts.as_ref().map_or(String::new(), |name| format!("; prompts {}", text(name))),
            match &self.seeds {
                Some(seeds) if seeds.contains(',') => format!("; seeds {seeds}"),
                Some(seed) => format!("; seed {seed}"),
                None => String::new(),
            }
        ));
        sentences.push(match self.several_seeds {
            true => format!(
                "Means over cases that are averaged over the seeds first, {} standard deviation \
                 between the seeds.",
                markup.plus_minus
            ),
            false => "Means over cases.".to_owned(),
        });
        if self
            .rows
            .iter()
            .flat_map(|row| row.cells.iter().flatten())
            .any(|c| c.rank != Rank::Other)
        {
            sentences.push(format!(
                "Best {}bold{}, second {}underlined{}.",
                markup.bold.0, markup.bold.1, markup.underline.0, markup.underline.1
            ));
        }
        if let (Some(baseline), 1..) = (self.baseline, self.tests) {
            let row = &self.rows[baseline];
            sentences.push(format!(
                "{} differs from {}{}: two-sided paired Wilcoxon signed-rank test over cases, {} {LEVEL} \
                 after Holm's correction for {} test{}.",
                markup.star,
                text(&row.method),
                match self.prompts {
                    Some(_) => String::new(),
                    None => format!(" with prompts {}", text(&row.prompts)),
                },
                markup.less,
                self.tests,
                if self.tests == 1 { "" } else { "s" },
            ));
        }
        for (name, least, most) in &self.fewer {
            let n = (markup.math)(&count((*least, *most)));
            sentences.push(format!("{}: {n}, undefined for the other cases.", text(name)));
        }
        if self.remarks.oracle {
            sentences.push(
                "Oracle rows take their prompts from the ground truth: bounds, neither ranked nor tested."
                    .to_owned(),
            );
        }
        if self.remarks.on_test {
            sentences.push(
                "Checkpoints chosen on test data have seen the tested images and are not ranked."
                    .to_owned(),
            );
        }
        sentences.join(" ")
    }
}

impl Row {
    fn of(
        (experiment, _, method, prompts): (&str, usize, &str, &str),
        entries: &[Option<&Entry<'_>>],
        numbers: &[Vec<Option<Number>>],
        columns: &[Column],
    ) -> Self {
        let there = || entries.iter().copied().flatten();
        let seeds: BTreeSet<u64> =
            there().flat_map(|entry| &entry.seeds).map(|(_, row)| row.seed).collect();
        let seeds: Vec<String> = seeds.into_iter().map(|seed| seed.to_string()).collect();
        let cell = |(number, &column): (&Option<Number>, &Column)| {
            let digits = decimals(column);
            let print = |value: Option<f64>| value.map(|value| format!("{value:.digits$}"));
            Cell {
                mean: number.and_then(|number| print(number.mean)),
                sd: number.and_then(|number| print(number.seed_sd)),
                ..Cell::default()
            }
        };
        Self {
            experiment: experiment.to_owned(),
            method: method.to_owned(),
            prompts: prompts.to_owned(),
            oracle: there().any(|entry| entry.oracle),
            on_test: there().any(|entry| entry.selection() == Selection::OnTest),
            seeds: seeds.join(", "),
            cells: numbers.iter().map(|row| row.iter().zip(columns).map(cell).collect()).collect(),
        }
    }

    /// Whether it competes with the others.
    fn is_ranked(&self) -> bool {
        !self.oracle && !self.on_test
    }
}

/// Cases that a result is over, whatever single measures are.
fn cases_of(entry: &Entry<'_>, numbers: &[Option<Number>]) -> usize {
    match entry.seeds[..] {
        [(_, row)] => row.n,
        _ => numbers.iter().flatten().map(|number| number.n).max().unwrap_or(0),
    }
}

/// Marks best and second of every column by the digits that are printed.
fn rank(rows: &mut [Row], columns: &[Column]) {
    let Some(groups) = rows.first().map(|row| row.cells.len()) else { return };
    for g in 0..groups {
        for (c, &column) in columns.iter().enumerate() {
            let value = |row: &Row| -> Option<f64> {
                let cell = &row.cells[g][c];
                if row.is_ranked() { cell.mean.as_ref()?.parse().ok() } else { None }
            };
            let mut values: Vec<f64> = rows.iter().filter_map(value).collect();
            // The best of one is no statement.
            if values.len() < 2 {
                continue;
            }
            values.sort_by(f64::total_cmp);
            if !lower_is_better(column) {
                values.reverse();
            }
            values.dedup();
            for row in rows.iter_mut() {
                let Some(of_row) = value(row) else { continue };
                row.cells[g][c].rank = match values.iter().position(|&other| other == of_row) {
                    // If all are equal none is better.
                    Some(0) if values.len() > 1 => Rank::Best,
                    Some(1) => Rank::Second,
                    _ => Rank::Other,
                };
            }
        }
    }
}

/// The row that the others are tested against; see [`check_baseline`] for one that cannot be.
fn baseline(
    rows: &[Row],
    grid: &[Vec<Option<&Entry<'_>>>],
    asked: Option<&MethodName>,
) -> Option<usize> {
    let complete = |i: &usize| grid[*i].iter().all(Option::is_some);
    let Some(name) = asked else {
        let candidates = || (0..rows.len()).filter(|&i| rows[i].is_ranked());
        return candidates().find(complete).or_else(|| candidates().next());
    };
    let named = || {
        (0..rows.len())
            .filter(|&i| !rows[i].oracle && name.names(&rows[i].method, &rows[i].prompts))
    };
    named().find(|&i| rows[i].is_ranked()).or_else(|| named().next())
}

/// Tests every row that is no oracle against the baseline and marks what is significant. Gives the
/// number of tests.
fn test(
    rows: &mut [Row],
    grid: &[Vec<Option<&Entry<'_>>>],
    columns: &[Column],
    baseline: usize,
) -> Result<usize, TableError> {
    let mut places = Vec::new();
    let mut p_values = Vec::new();
    for (g, reference) in grid[baseline].iter().enumerate() {
        let Some(reference) = reference else { continue };
        for (c, &column) in columns.iter().enumerate() {
            let Column::Mean(measure) = column else { continue };
            let against = match reference.case_scores(measure) {
                Ok(scores) => scores,
                // Numbers of a single seed stand in the record; without cases they are not tested.
                Err(TableError::NoCases { .. }) => continue,
                Err(error) => return Err(error),
            };
            for (r, row) in grid.iter().enumerate() {
                let Some(entry) = row[g].filter(|_| r != baseline && !rows[r].oracle) else {
                    continue;
                };
                let scores = match entry.case_scores(measure) {
                    Ok(scores) => scores,
                    Err(TableError::NoCases { .. }) => continue,
                    Err(error) => return Err(error),
                };
                let differences: Vec<f64> = scores
                    .iter()
                    .filter_map(|(case, score)| Some((*score)? - against.get(case).copied()??))
                    .collect();
                if differences.is_empty() {
                    continue;
                }
                places.push((r, g, c));
                p_values.push(SignedRank::of(&differences).p_value);
            }
        }
    }
    for ((r, g, c), p) in places.iter().zip(holm(&p_values)) {
        rows[*r].cells[*g][*c].significant = p < LEVEL;
    }
    Ok(places.len())
}

fn lower_is_better(column: Column) -> bool {
    match column {
        Column::Mean(measure) => measure.better() == Better::Lower,
        Column::Max(_) => false,
    }
}

/// `n = 100`, or `n = 97–100` where rows differ.
fn count((least, most): (usize, usize)) -> String {
    if least == most { format!("n = {most}") } else { format!("n = {least}\u{2013}{most}") }
}

impl Cell {
    fn marked(&self, markup: &Markup) -> String {
        let Some(mean) = &self.mean else {
            return markup.dash.to_owned();
        };
        let (open, close) = match self.rank {
            Rank::Best => markup.bold,
            Rank::Second => markup.underline,
            Rank::Other => ("", ""),
        };
        let star = if self.significant { markup.star } else { "" };
        let sd =
            self.sd.as_ref().map_or(String::new(), |sd| format!(" {} {sd}", markup.plus_minus));
        format!("{open}{mean}{close}{star}{sd}")
    }
}

/// How a format writes what is the same in all of them.
struct Markup {
    text: fn(&str) -> String,
    math: fn(&str) -> String,
    /// Opens and closes names in backquotes.
    code: (&'static str, &'static str),
    bold: (&'static str, &'static str),
    underline: (&'static str, &'static str),
    star: &'static str,
    plus_minus: &'static str,
    less: &'static str,
    dash: &'static str,
}

impl Markup {
    const MARKDOWN: Self = Self {
        text: escape,
        math: str::to_owned,
        code: ("`", "`"),
        bold: ("**", "**"),
        // What GitHub shows underlined.
        underline: ("<ins>", "</ins>"),
        star: "<sup>\\*</sup>",
        plus_minus: "\u{b1}",
        less: "p <",
        dash: "\u{2013}",
    };
    const LATEX: Self = Self {
        text: tex,
        math: |text| text.replace('n', "$n$").replace('\u{2013}', "--"),
        code: ("\\texttt{", "}"),
        bold: ("\\textbf{", "}"),
        underline: ("\\underline{", "}"),
        star: "$^{*}$",
        plus_minus: "$\\pm$",
        less: "$p <$",
        dash: "--",
    };
}

/// Text with names in backquotes.
fn code(text: &str, markup: &Markup) -> String {
    let pieces = text.split('`').enumerate().map(|(i, piece)| {
        let piece = (markup.text)(piece);
        if i % 2 == 1 { format!("{}{piece}{}", markup.code.0, markup.code.1) } else { piece }
    });
    pieces.collect()
}

/// Text that LaTeX prints as it stands here.
pub(crate) fn tex(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        match c {
            '&' | '%' | '$' | '#' | '_' | '{' | '}' => {
                escaped.push('\\');
                escaped.push(c);
            }
            '\\' => escaped.push_str("\\textbackslash{}"),
            '~' => escaped.push_str("\\textasciitilde{}"),
            '^' => escaped.push_str("\\textasciicircum{}"),
            '<' => escaped.push_str("\\textless{}"),
            '>' => escaped.push_str("\\textgreater{}"),
            '|' => escaped.push_str("\\textbar{}"),
            '\n' | '\r' => escaped.push(' '),
            _ => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use insta::assert_snapshot;
    use metrics::Measure;
    use run_record::Outline;

    use super::*;
    use crate::Scope;
    use crate::testing::with_cases;

    const METHODS: [&str; 3] = ["frozen", "apm", "apm_ips"];

    /// Three methods on two data sets, 8 cases each. `apm` beats `frozen` on every case of `kvasir` and on
    /// half of those of `isic`.
    fn runs() -> Vec<Run> {
        let outline = Outline::new(METHODS.map(str::to_owned).into(), vec![]);
        let frozen = [0.5, 0.52, 0.54, 0.56, 0.58, 0.6, 0.62, 0.64];
        let scores = |offsets: [f64; 8]| -> Vec<Option<f64>> {
            frozen.iter().zip(offsets).map(|(score, offset)| Some(score + offset)).collect()
        };
        let better = scores([0.1, 0.11, 0.12, 0.13, 0.14, 0.15, 0.16, 0.17]);
        let mixed = scores([0.1, -0.11, 0.12, -0.13, 0.14, -0.15, 0.16, -0.17]);
        let same = scores([0.0; 8]);
        let oracle = scores([0.3; 8]);
        let mut runs = vec![
            with_cases(
                "frozen",
                1,
                &[
                    ("isic", "grid", &same),
                    ("kvasir", "grid", &same),
                    ("isic", "ground_truth", &oracle),
                    ("kvasir", "ground_truth", &oracle),
                ],
            ),
            with_cases("apm", 1, &[("isic", "auto", &mixed), ("kvasir", "auto", &better)]),
            with_cases("apm_ips", 1, &[("isic", "auto", &same), ("kvasir", "auto", &same)]),
        ];
        for run in &mut runs {
            run.outline = Some(outline.clone().into());
        }
        runs
    }

    fn dice(baseline: Option<&str>) -> TableOptions {
        TableOptions {
            columns: vec![Column::Mean(Measure::Dice), Column::Mean(Measure::Mae)],
            baseline: baseline.map(|name| name.parse().unwrap()),
            ..TableOptions::default()
        }
    }

    #[test]
    fn markdown_has_methods_as_rows_and_data_sets_as_columns() {
        assert_snapshot!(PaperTable::new(&runs(), &dice(None)).unwrap().markdown(), @r"
        Experiment polyps, protocol `default`, on isic (test, n = 8), kvasir (test, n = 8); seed 1. Means over cases. Best **bold**, second <ins>underlined</ins>. <sup>\*</sup> differs from frozen with prompts grid: two-sided paired Wilcoxon signed-rank test over cases, p < 0.05 after Holm's correction for 8 tests. Oracle rows take their prompts from the ground truth: bounds, neither ranked nor tested.

        | Method | Prompts | isic Dice ↑ | isic MAE ↓ | kvasir Dice ↑ | kvasir MAE ↓ |
        | --- | --- | ---: | ---: | ---: | ---: |
        | frozen (baseline) | grid | **0.570** | 0.031 | <ins>0.570</ins> | 0.031 |
        | frozen | ground_truth (oracle) | 0.870 | 0.031 | 0.870 | 0.031 |
        | apm | auto | <ins>0.565</ins> | 0.031 | **0.705** | 0.031 |
        | apm_ips | auto | **0.570** | 0.031 | <ins>0.570</ins> | 0.031 |

        Runs (SHA-256 of `record.json`):

        - `polyps/apm-seed1`: 5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e, settings 0123456789ab
        - `polyps/apm_ips-seed1`: 5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e, settings 0123456789ab
        - `polyps/frozen-seed1`: 5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e, settings 0123456789ab

        Made by `cargo xtask table runs/polyps --measures dice,mae --layout paper`.
        ");
    }

    #[test]
    fn latex_is_a_booktabs_table_with_its_sources_in_comments() {
        assert_snapshot!(PaperTable::new(&runs(), &dice(None)).unwrap().latex(), @r"
        % polyps/apm-seed1: record.json sha256 5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e
        % polyps/apm_ips-seed1: record.json sha256 5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e
        % polyps/frozen-seed1: record.json sha256 5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e
        % cargo xtask table runs/polyps --measures dice,mae --format latex
        % needs \usepackage{booktabs}
        \begin{table*}[t]
        \centering
        \small
        \setlength{\tabcolsep}{4pt}
        \caption{Experiment polyps, protocol \texttt{default}, on isic (test, $n$ = 8), kvasir (test, $n$ = 8); seed 1. Means over cases. Best \textbf{bold}, second \underline{underlined}. $^{*}$ differs from frozen with prompts grid: two-sided paired Wilcoxon signed-rank test over cases, $p <$ 0.05 after Holm's correction for 8 tests. Oracle rows take their prompts from the ground truth: bounds, neither ranked nor tested.}
        \label{tab:polyps}
        \begin{tabular}{llcccc}
        \toprule
         & & \multicolumn{2}{c}{isic ($n$ = 8)} & \multicolumn{2}{c}{kvasir ($n$ = 8)} \\
        \cmidrule(lr){3-4}\cmidrule(lr){5-6}
        Method & Prompts & Dice $\uparrow$ & MAE $\downarrow$ & Dice $\uparrow$ & MAE $\downarrow$ \\
        \midrule
        frozen (baseline) & grid & \textbf{0.570} & 0.031 & \underline{0.570} & 0.031 \\
        frozen & ground\_truth (oracle) & 0.870 & 0.031 & 0.870 & 0.031 \\
        apm & auto & \underline{0.565} & 0.031 & \textbf{0.705} & 0.031 \\
        apm\_ips & auto & \textbf{0.570} & 0.031 & \underline{0.570} & 0.031 \\
        \bottomrule
        \end{tabular}
        \end{table*}
        ");
    }

    #[test]
    fn a_table_wider_than_a_page_in_small_type_is_scaled() {
        let of = |columns| {
            let wide =
                TableOptions { columns: vec![Column::Mean(Measure::Dice); columns], ..dice(None) };
            PaperTable::new(&runs(), &wide).unwrap().latex()
        };
        let fits = of(2);
        assert!(!fits.contains("resizebox") && fits.contains("\\usepackage{booktabs}\n"), "{fits}");
        let scaled = of(8);
        assert!(scaled.contains("\\usepackage{booktabs,graphicx}\n"), "{scaled}");
        assert!(scaled.contains("\\resizebox{\\textwidth}{!}{%\n\\begin{tabular}"), "{scaled}");
        assert!(scaled.contains("\\end{tabular}}\n\\end{table*}"), "{scaled}");
    }

    fn cell<'a>(table: &'a PaperTable, method: &str, prompts: &str, group: usize) -> &'a Cell {
        let row =
            table.rows.iter().find(|row| row.method == method && row.prompts == prompts).unwrap();
        &row.cells[group][0]
    }

    #[test]
    fn only_differences_that_the_cases_bear_out_are_marked() {
        let table = PaperTable::new(&runs(), &dice(None)).unwrap();
        assert_eq!(table.groups[1].data, "kvasir");
        // 8 differences of one sign: p = 2 / 2^8, and times the tests still below 0.05 if there are at most 6.
        // Two methods on two data sets with two measures are 8 tests, of which Holm takes the smallest first:
        // 8 * 2 / 256 = 0.0625.
        assert_eq!(table.tests, 8);
        assert!(!cell(&table, "apm", "auto", 1).significant);
        let one = TableOptions { columns: vec![Column::Mean(Measure::Dice)], ..dice(None) };
        let table = PaperTable::new(&runs(), &one).unwrap();
        assert_eq!(table.tests, 4);
        assert!(cell(&table, "apm", "auto", 1).significant, "4 * 2 / 256 = 0.03125");
        assert!(!cell(&table, "apm", "auto", 0).significant);
        assert!(!cell(&table, "apm_ips", "auto", 1).significant, "no difference at all");
    }

    #[test]
    fn oracles_are_neither_ranked_nor_tested_nor_a_baseline() {
        let table = PaperTable::new(&runs(), &dice(None)).unwrap();
        assert_eq!(cell(&table, "frozen", "ground_truth", 1).rank, Rank::Other);
        assert_eq!(cell(&table, "apm", "auto", 1).rank, Rank::Best);
        // Equal at the digits that are printed: both are second.
        assert_eq!(cell(&table, "frozen", "grid", 1).rank, Rank::Second);
        assert_eq!(cell(&table, "apm_ips", "auto", 1).rank, Rank::Second);
        let row = &table.rows[table.baseline.unwrap()];
        assert_eq!((row.method.as_str(), row.prompts.as_str()), ("frozen", "grid"));

        let error = PaperTable::new(&runs(), &dice(Some("frozen:ground_truth"))).unwrap_err();
        assert!(matches!(error, TableError::OracleBaseline { .. }), "{error}");
        let error = PaperTable::new(&runs(), &dice(Some("frozen:auto"))).unwrap_err();
        assert!(matches!(error, TableError::UnknownMethod { .. }));
        assert!(error.to_string().contains("`frozen:grid`"), "{error}");
    }

    #[test]
    fn lower_is_better_for_an_error_and_equal_numbers_are_not_marked() {
        let mut runs = runs();
        for (run, mae) in runs.iter_mut().zip([0.2, 0.1, 0.3]) {
            for row in &mut run.record.rows {
                row.mae = Some(mae);
            }
        }
        let table = PaperTable::new(&runs, &dice(None)).unwrap();
        let rank = |method: &str, prompts: &str| {
            let found = |row: &&Row| row.method == method && row.prompts == prompts;
            table.rows.iter().find(found).unwrap().cells[0][1].rank
        };
        assert_eq!(rank("apm", "auto"), Rank::Best);
        assert_eq!(rank("frozen", "grid"), Rank::Second);
        assert_eq!(rank("apm_ips", "auto"), Rank::Other);
        let plain = PaperTable::new(&self::runs(), &dice(None)).unwrap();
        assert!(plain.rows.iter().all(|row| row.cells[0][1].rank == Rank::Other), "all 0.031");
    }

    #[test]
    fn several_seeds_are_a_mean_and_a_deviation() {
        // Cases 0.625 and 0.875; the seeds' means 0.625 and 0.875 deviate by 0.25 / sqrt(2).
        let two = [(1, [Some(0.5), Some(0.75)]), (2, [Some(0.75), Some(1.0)])]
            .map(|(seed, dice)| with_cases("apm", seed, &[("kvasir", "auto", &dice)]));
        let options = TableOptions { columns: vec![Column::Mean(Measure::Dice)], ..dice(None) };
        let table = PaperTable::new(&two, &options).unwrap();
        assert!(table.markdown().contains("| apm | 0.750 \u{b1} 0.177 |"));
        assert!(table.markdown().contains("; prompts auto; seeds 1, 2."));
        assert!(table.latex().contains("apm & 0.750 $\\pm$ 0.177 \\\\"));
    }

    #[test]
    fn a_row_without_cases_is_shown_and_not_tested() {
        let mut runs = runs();
        runs[1].cases.clear();
        let options = TableOptions { columns: vec![Column::Mean(Measure::Dice)], ..dice(None) };
        let table = PaperTable::new(&runs, &options).unwrap();
        assert_eq!(table.tests, 2);
        assert!(cell(&table, "apm", "auto", 1).mean.is_some());
    }

    #[test]
    fn a_checkpoint_that_was_chosen_on_test_data_is_marked_and_not_ranked() {
        let mut runs = runs();
        runs[1].record.training = crate::testing::trained("apm", 1, 2, 0.5).record.training;
        if let Some(training) = &mut runs[1].record.training {
            training.selection = run_record::EpochChoice::Test;
        }
        let table = PaperTable::new(&runs, &dice(None)).unwrap();
        assert_eq!(cell(&table, "apm", "auto", 1).rank, Rank::Other);
        assert!(table.latex().contains("apm (chosen on test data) & auto"));
        assert!(table.markdown().contains("Checkpoints chosen on test data have seen"));
    }

    #[test]
    fn mixed_protocols_are_column_groups_of_their_own_and_the_caption_says_so() {
        let mut runs = runs();
        for row in &mut runs[1].record.rows {
            row.protocol = "pranet".into();
        }
        let error = PaperTable::new(&runs, &dice(None)).unwrap_err();
        assert!(matches!(error, TableError::MixedProtocols { .. }));
        let scope = Scope { mix: true, ..Scope::default() };
        let table = PaperTable::new(&runs, &TableOptions { scope, ..dice(None) }).unwrap();
        assert_eq!(table.groups.len(), 4);
        assert!(
            table
                .latex()
                .contains("\\textbf{MIXED: protocols \\texttt{default}, \\texttt{pranet};")
        );
        // A column never holds numbers of two protocols.
        for row in &table.rows {
            assert!(row.cells.iter().filter(|group| group[0].mean.is_some()).count() <= 2);
        }
    }

    #[test]
    fn text_that_latex_would_take_for_commands_is_escaped() {
        assert_eq!(
            tex("a_b 50% & $x$ #1 {y} ~^\\ <z>|"),
            "a\\_b 50\\% \\& \\$x\\$ \\#1 \\{y\\} \\textasciitilde{}\\textasciicircum{}\
             \\textbackslash{} \\textless{}z\\textgreater{}\\textbar{}"
        );
    }

    #[test]
    fn the_order_of_runs_changes_no_byte() {
        let mut turned = runs();
        turned.reverse();
        let one = PaperTable::new(&runs(), &dice(None)).unwrap();
        let other = PaperTable::new(&turned, &dice(None)).unwrap();
        assert_eq!(one.latex(), other.latex());
        assert_eq!(one.markdown(), other.markdown());
    }
}
