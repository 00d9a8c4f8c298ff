//! Run folders of other people.

use std::fs;

use reporting::{ClaimReport, FigureKind, PaperTable, ResultTable, Scope, TableOptions, load};
use run_record::RunFolder;

use crate::scratch;

/// What lies between two files of a run folder in one seed.
pub const SEPARATOR: &[u8] = b"\n=====\n";

/// The files of a seed, in this order.
pub const PARTS: [&str; 5] =
    ["record.json", "cases.csv", "epochs.csv", "resolved.json", "panels.json"];

/// Reads the bytes as the files of a run folder, and makes tables of them.
pub fn run_folders(bytes: &[u8]) -> bool {
    let experiment = scratch::folder("experiment");
    let folder = RunFolder::new(experiment.join("run"));
    fs::create_dir_all(folder.panels_dir()).expect("the system has room for temporary files");
    let paths =
        [folder.record(), folder.cases(), folder.epochs(), folder.resolved(), folder.panels()];
    for (path, part) in paths.iter().zip(parts(bytes)) {
        fs::write(path, part).expect("the system has room for temporary files");
    }
    let Ok(runs) = load(&[folder.root()]) else { return false };
    if let Ok(table) = ResultTable::from_runs(&runs) {
        let _ = (table.markdown(), table.csv());
    }
    if let Ok(table) = PaperTable::new(&runs, &TableOptions::default()) {
        let _ = (table.markdown(), table.latex());
    }
    if let Ok(figure) = FigureKind::TrainingCurves.draw(&runs) {
        let _ = figure.svg();
    }
    if let Ok(reports) = ClaimReport::new(&runs, &Scope::default()) {
        for report in reports {
            let _ = report.markdown();
        }
    }
    true
}

/// The bytes between separators.
fn parts(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    while let Some(at) = bytes.windows(SEPARATOR.len()).position(|window| window == SEPARATOR)
        && parts.len() + 1 < PARTS.len()
    {
        parts.push(&bytes[..at]);
        bytes = &bytes[at + SEPARATOR.len()..];
    }
    parts.push(bytes);
    parts
}
