//! A measure by the threshold that the soft map is cut at.

use std::collections::BTreeMap;

use metrics::{CurveMeasure, LEVELS, LevelCounts, Measure, mean_curve};

use super::axes::Axis;
use super::lines::{Line, Lines, Panel, Point};
use super::{FigureError, FigureOptions};
use crate::Run;
use crate::entries::{Entries, Entry, marked_method};

/// The mean curves of every method, from the counts by level that the runs keep: no model is needed.
///
/// Over several seeds a curve is the mean over all cases of all seeds, which is the mean of the seeds'
/// curves, since each has the same cases.
pub(super) fn threshold_curves(
    runs: &[Run],
    options: &FigureOptions,
    width: f64,
) -> Result<Lines, FigureError> {
    let all = Entries::of(runs, &options.scope)?;
    let Some(curve) = curve_of(options.measure) else {
        let what = "a curve of this measure over thresholds";
        return Err(FigureError::NothingToDraw { what, runs: runs.len() });
    };
    let mut levels: BTreeMap<String, Vec<(Key, LevelCounts)>> = BTreeMap::new();
    for run in all.runs() {
        let mut of_run = Vec::new();
        for row in run.curves()? {
            let counts = row
                .levels()
                .map_err(|source| FigureError::Levels { path: run.folder.curves(), source })?;
            of_run.push(((row.data, row.split, row.prompts), counts));
        }
        levels.insert(run.id(), of_run);
    }

    let mut panels: Vec<(Key, Panel)> = Vec::new();
    for entry in &all.entries {
        let counts = entry.seeds.iter().filter_map(|(run, _)| levels.get(&run.id())).flatten();
        let of_entry = counts.filter(|((data, split, prompts), _)| {
            (data.as_str(), split.as_str(), prompts.as_str())
                == (entry.data, entry.split, entry.prompts)
        });
        let Some(mean) = mean_curve(of_entry.map(|(_, counts)| counts), curve) else { continue };
        let points = mean
            .iter()
            .enumerate()
            .map(|(i, &y)| Point { x: i as f64 / (LEVELS - 1) as f64, y, interval: None })
            .collect();
        let line = Line { name: name(entry, &all.entries), points };
        let key = (entry.data.to_owned(), entry.split.to_owned(), entry.protocol.to_owned());
        match panels.last_mut() {
            Some((known, panel)) if *known == key => panel.lines.push(line),
            _ => panels.push((
                key,
                Panel {
                    title: format!("{} ({})", entry.data, entry.split),
                    x: Axis::linear("threshold", 0.0, 1.0),
                    y: Axis::linear(curve.label(), 0.0, 1.0),
                    lines: vec![line],
                },
            )),
        }
    }
    if panels.is_empty() {
        let what = "counts by level (`curves.csv`)";
        return Err(FigureError::NothingToDraw { what, runs: runs.len() });
    }
    let mut notes = Vec::new();
    if all.entries.iter().any(|entry| entry.protocol == metrics::Protocol::Pranet.name()) {
        notes.push("maps stretched to [0, 1] by the protocol".to_owned());
    }
    Lines::new(panels.into_iter().map(|(_, panel)| panel).collect(), &notes, width)
}

/// Data set, split, and prompts or protocol.
type Key = (String, String, String);

/// The curve whose values are a measure's.
fn curve_of(measure: Measure) -> Option<CurveMeasure> {
    CurveMeasure::ALL.iter().copied().find(|curve| curve.name() == measure.name())
}

/// A name that tells the entries apart, and no longer.
pub(super) fn name(entry: &Entry<'_>, all: &[Entry<'_>]) -> String {
    let mut name = String::new();
    if all.iter().any(|other| other.experiment != entry.experiment) {
        name.push_str(&format!("{}: ", entry.experiment));
    }
    name.push_str(&marked_method(entry.method, entry.selection()));
    if all.iter().any(|other| other.prompts != entry.prompts) {
        name.push_str(&format!(", {}", entry.prompts));
    }
    if entry.oracle {
        name.push_str(" (oracle)");
    }
    name
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_is_the_mean_of_the_cases_at_each_threshold() {
        // Foreground at levels from 100, background up to 159: at the threshold 0 all is foreground, so Dice is
        // 2 * 156 * 3 / (2 * 156 * 3 + 160 * 5); at 1 one level of 3 pixels is left.
        let folder = tempfile::tempdir().unwrap();
        let runs = crate::testing::study(folder.path());
        let frozen: Vec<Run> =
            runs.into_iter().filter(|run| run.record.method == "frozen").collect();
        let entries = Entries::of(&frozen, &crate::Scope::default()).unwrap();
        let rows = entries.runs()[0].curves().unwrap();
        let counts: Vec<_> = rows.iter().map(|row| row.levels().unwrap()).collect();
        let mean = mean_curve(&counts, CurveMeasure::Dice).unwrap();
        let first = 2.0 * 468.0 / (2.0 * 468.0 + 800.0);
        assert!((mean[0] - first).abs() < 1e-12, "{}", mean[0]);
        let last = 2.0 * 3.0 / (2.0 * 3.0 + 465.0);
        assert!((mean[LEVELS - 1] - last).abs() < 1e-12, "{}", mean[LEVELS - 1]);
    }

    #[test]
    fn a_measure_without_a_curve_and_runs_without_counts_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        let runs = crate::testing::study(folder.path());
        let options = FigureOptions { measure: Measure::Mae, ..FigureOptions::default() };
        assert!(threshold_curves(&runs, &options, 300.0).is_err());
        for run in &runs {
            std::fs::remove_file(run.folder.curves()).unwrap();
        }
        let error = threshold_curves(&runs, &FigureOptions::default(), 300.0).err().unwrap();
        assert!(error.to_string().contains("`curves.csv`"), "{error}");
    }
}
