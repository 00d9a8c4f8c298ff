//! The score by the number of point prompts that a run was configured with.

use std::collections::BTreeMap;

use metrics::Column;

use super::axes::Axis;
use super::lines::{Line, Lines, Panel, Point};
use super::{FigureError, FigureOptions};
use crate::Run;
use crate::entries::{Entries, Entry, label};
use crate::settings::differing;

/// The setting that says how many points a prompt module proposes.
const PROPOSED: &str = "prompt.options.points";
/// The setting that says how many points the truth and the grid give.
const GIVEN: &str = "evaluate.points";
/// Settings that do not make a line another one: names, seeds, and the points themselves.
const NOT_A_LINE: [&str; 4] = ["name", "seeds", PROPOSED, GIVEN];

/// Whether runs were configured with several numbers of points.
pub(super) fn are_swept(runs: &[Run]) -> bool {
    [PROPOSED, GIVEN].into_iter().any(|key| {
        let mut numbers = runs.iter().filter_map(|run| run.settings.as_ref()?.number(key));
        numbers.next().is_some_and(|first| numbers.any(|other| other != first))
    })
}

/// How many points the rows of this prompt source had, as the run recorded it.
fn points(entry: &Entry<'_>) -> Option<f64> {
    let settings = entry.seeds[0].0.settings.as_ref()?;
    match entry.prompts {
        "auto" => settings.number(PROPOSED),
        "ground_truth" | "grid" => settings.number(GIVEN),
        "center" => Some(1.0),
        _ => None,
    }
}

/// One line per setting and prompt source, over the points that runs with that setting had.
///
/// What a run was configured with is read from its record; a line is named by the settings in which it
/// differs from the others.
pub(super) fn points_vs_dice(
    runs: &[Run],
    options: &FigureOptions,
    width: f64,
) -> Result<Lines, FigureError> {
    let all = Entries::of(runs, &options.scope)?;
    // Data set and protocol, then prompts and settings: the points of a line.
    type Grouped<'a> = BTreeMap<(&'a str, BTreeMap<String, String>), Vec<(f64, &'a Entry<'a>)>>;
    let mut panels: BTreeMap<(&str, &str, &str), Grouped<'_>> = BTreeMap::new();
    for entry in &all.entries {
        let (Some(points), Some(settings)) = (points(entry), &entry.seeds[0].0.settings) else {
            continue;
        };
        let mut flat = settings.flat();
        flat.retain(|key, _| !NOT_A_LINE.contains(&key.as_str()));
        panels
            .entry((entry.data, entry.split, entry.protocol))
            .or_default()
            .entry((entry.prompts, flat))
            .or_default()
            .push((points, entry));
    }
    // A line needs two numbers of points; what was run with one only says nothing about them.
    for lines in panels.values_mut() {
        lines.retain(|_, points| points.iter().any(|(x, _)| *x != points[0].0));
    }
    panels.retain(|_, lines| !lines.is_empty());
    if panels.is_empty() {
        let what = "a partner that differs from it in the number of points alone";
        return Err(FigureError::NothingToDraw { what, runs: runs.len() });
    }

    let settings: Vec<BTreeMap<String, String>> =
        panels.values().flat_map(BTreeMap::keys).map(|(_, flat)| flat.clone()).collect();
    let differing = differing(&settings);
    let sources = panels.values().flat_map(BTreeMap::keys).map(|(prompts, _)| *prompts);
    let one_source = sources.collect::<std::collections::BTreeSet<_>>().len() == 1;
    let column = Column::Mean(options.measure);
    let mut drawn = Vec::new();
    for ((data, split, protocol), lines) in &panels {
        let mut panel = Vec::new();
        for ((prompts, flat), at) in lines {
            let oracle = if at[0].1.oracle { " (oracle)" } else { "" };
            let mut parts: Vec<String> = differing
                .iter()
                .filter_map(|key| Some(format!("{} {}", short(key), flat.get(key)?)))
                .collect();
            if !one_source || parts.is_empty() {
                parts.insert(0, format!("{prompts}{oracle}"));
            }
            let mut points = Vec::new();
            for (x, entry) in at {
                let number = entry.number(column)?;
                if let Some(y) = number.mean {
                    points.push(Point { x: *x, y, interval: number.low.zip(number.high) });
                }
            }
            points.sort_by(|a, b| a.x.total_cmp(&b.x));
            panel.push(Line { name: parts.join(", "), points });
        }
        let xs: Vec<f64> = panel.iter().flat_map(|l| &l.points).map(|p| p.x).collect();
        let ys = panel.iter().flat_map(|line| &line.points).flat_map(|point| {
            let (low, high) = point.interval.unwrap_or((point.y, point.y));
            [low, point.y, high]
        });
        let most = if options.measure.unit().is_some() { f64::INFINITY } else { 1.0 };
        drawn.push(Panel {
            title: format!("{data} ({split})"),
            x: Axis::logarithmic("point prompts", &xs),
            y: Axis::around(label(protocol, column), ys, (0.0, most)),
            lines: panel,
        });
    }
    let notes = vec!["points as configured in the runs".to_owned()];
    Lines::new(drawn, &notes, width)
}

/// The last part of a dotted key, with its table where that alone says nothing.
fn short(key: &str) -> &str {
    let generic = |part: &str| matches!(part, "module" | "variant" | "points");
    match key.rsplit_once('.') {
        Some((_, part)) if !generic(part) => part,
        _ => key,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_shortened_where_the_last_part_says_enough() {
        assert_eq!(short("prompt.options.taps"), "taps");
        assert_eq!(short("shift.module"), "shift.module");
        assert_eq!(short("name"), "name");
    }

    #[test]
    fn numbers_of_points_come_from_the_recorded_settings_and_not_from_names() {
        let folder = tempfile::tempdir().unwrap();
        let mut runs = crate::testing::study(folder.path());
        let svg = |runs: &[Run]| crate::FigureKind::PointsVsDice.draw(runs).unwrap().svg();
        let has = |svg: &str, label: &str| svg.lines().any(|line| line == label);
        // `apm_4_points` and `apm_16_points` differ in nothing else.
        let drawn = svg(&runs);
        assert!(has(&drawn, "4") && has(&drawn, "16"), "ticks are the numbers of points");
        for run in &mut runs {
            if run.record.method == "apm_16_points" {
                run.settings = Some(crate::testing::settings("apm", 11));
            }
        }
        let drawn = svg(&runs);
        assert!(has(&drawn, "11") && !has(&drawn, "16"));
    }

    #[test]
    fn runs_that_differ_in_something_else_are_no_line() {
        let folder = tempfile::tempdir().unwrap();
        let mut runs = crate::testing::study(folder.path());
        for run in &mut runs {
            if run.record.method == "apm_16_points" {
                run.settings = Some(crate::testing::settings("another", 16));
            }
        }
        let error = crate::FigureKind::PointsVsDice.draw(&runs).err().unwrap();
        assert!(matches!(error, FigureError::NothingToDraw { .. }), "{error}");
    }
}
