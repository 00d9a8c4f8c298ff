//! Pages of the book that are made from the code: the files of a run, and the columns of CSV files.

use std::fmt::Write as _;

use metrics::Measure;
use run_record::{
    CASES_FILE, CLICKS_FILE, CURVES_FILE, CaseRow, ClickRow, ColumnDoc, CurveRow, EPOCHS_FILE,
    EpochRow, FILES, FileDoc, column_docs,
};

use crate::{claims::CLAIM_COLUMNS, results::BESIDE, table::TABLE_COLUMNS};

const MADE: &str =
    "Made from the code by `cargo xtask reference`; a test fails when the two differ.";

/// The page of what a run leaves, in Markdown.
pub fn run_folder() -> String {
    let mut page = format!(
        "# Files of a run\n\n{MADE}\n\n\
         Every file is written under another name and renamed, so it is whole or not there ([what is promised](reliability.md)). \
         How to read them: [Read a run folder](read-run-folder.md).\n\n\
         ## `runs/<experiment>/<variant>-seed<seed>/`\n\n| file | there | what |\n| --- | --- | --- |\n"
    );
    // Writing into a text cannot fail.
    for FileDoc { name, when, what } in FILES {
        let _ = writeln!(page, "| `{name}` | {when} | {what} |");
    }
    page.push_str("\n## `runs/<experiment>/`\n\n| file | there | what |\n| --- | --- | --- |\n");
    for (name, when, what) in BESIDE {
        let _ = writeln!(page, "| `{name}` | {when} | {what} |");
    }
    page
}

/// The page of the columns of CSV files, in Markdown.
pub fn csv_columns() -> String {
    let mut page = format!(
        "# Columns of CSV files\n\n{MADE}\n\n\
         Numbers are written with so many digits that reading gives the same bits again. A cell is empty where a number is \
         undefined, or where the protocol does not report it ([which it reports](protocols.md)).\n"
    );
    let files: [(&str, &str, Vec<ColumnDoc>); 4] = [
        (
            EPOCHS_FILE,
            "A line for each epoch and each of `train` and `valid`.",
            column_docs::<EpochRow>(),
        ),
        (
            CASES_FILE,
            "A line for each test image and prompt source. `cargo xtask score --out FILE` writes the same columns.",
            column_docs::<CaseRow>(),
        ),
        (CURVES_FILE, "A line for each line of `cases.csv`.", column_docs::<CurveRow>()),
        (
            CLICKS_FILE,
            "A line for each test image and number of clicks of a [simulated user](clicks.md).",
            column_docs::<ClickRow>(),
        ),
    ];
    for (file, about, columns) in files {
        let _ = write!(
            page,
            "\n## `{file}`\n\nIn a run folder. {about}\n\n| column | type | unit or range | meaning |\n| --- | --- | --- | --- |\n"
        );
        for ColumnDoc { name, kind, unit, doc } in columns {
            let _ = writeln!(page, "| `{name}` | {kind} | {unit} | {doc} |");
        }
    }
    /// Name, unit or range, meaning.
    type Columns<'a> = &'a [(&'a str, &'a str, &'a str)];
    let beside: [(&str, &str, Columns<'_>); 2] = [
        (
            "table.csv",
            "A line for each method, data set, prompt source and seed. `cargo xtask table --format csv` prints the same.",
            &TABLE_COLUMNS,
        ),
        ("claims.csv", "A line for each claim and test set.", &CLAIM_COLUMNS),
    ];
    for (file, about, columns) in beside {
        let _ = write!(
            page,
            "\n## `{file}`\n\nBeside the run folders. {about}\n\n| column | unit or range | meaning |\n| --- | --- | --- |\n"
        );
        for (name, unit, meaning) in columns {
            let _ = writeln!(page, "| `{name}` | {unit} | {meaning} |");
        }
    }
    page.push_str("\n`MEASURE` is one of these, `CURVE` one of those of which there are curves (`cargo xtask figure threshold-curves --help`):\n\n| measure | unit or range | better |\n| --- | --- | --- |\n");
    for measure in Measure::ALL {
        let unit =
            measure.unit().map_or("0 to 1", |unit| if unit == "px" { "pixels" } else { unit });
        let better = match measure.better() {
            metrics::Better::Higher => "higher",
            metrics::Better::Lower => "lower",
        };
        let _ = writeln!(page, "| `{}` | {unit} | {better} |", measure.name());
    }
    page
}
