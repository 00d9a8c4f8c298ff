//! The score by the number of clicks of a simulated user.

use std::collections::BTreeSet;

use metrics::Column;
use run_record::ClickRow;

use super::axes::Axis;
use super::lines::{Line, Lines, Panel, Point};
use super::{FigureError, FigureOptions};
use crate::Run;
use crate::clicks::ClickCurve;
use crate::entries::label;

/// A line per method with the interval of its mean over cases, a plot per data set.
pub(super) fn clicks_vs_dice(
    runs: &[Run],
    options: &FigureOptions,
    width: f64,
) -> Result<Lines, FigureError> {
    if !ClickRow::MEASURES.contains(&options.measure) {
        let what = "clicks with this measure, which are scored by Dice and IoU";
        return Err(FigureError::NothingToDraw { what, runs: runs.len() });
    }
    let curves = ClickCurve::of(runs, &options.scope, options.measure)?;
    if curves.is_empty() {
        let what = "clicks of a simulated user (`eval RUN --prompts simulated`)";
        return Err(FigureError::NothingToDraw { what, runs: runs.len() });
    }
    let column = Column::Mean(options.measure);
    let mut panels: Vec<Panel> = Vec::new();
    let mut key = None;
    for curve in &curves {
        let of_curve = (&curve.data, &curve.split, &curve.protocol);
        if key != Some(of_curve) {
            key = Some(of_curve);
            let here = curves
                .iter()
                .filter(|other| (&other.data, &other.split, &other.protocol) == of_curve);
            let points: Vec<Point> = here.flat_map(points).collect();
            let (least, most) =
                points.iter().fold((f64::INFINITY, 0.0_f64), |(least, most), point| {
                    (least.min(point.x), most.max(point.x))
                });
            let ys = points.iter().flat_map(|point| {
                let (low, high) = point.interval.unwrap_or((point.y, point.y));
                [low, point.y, high]
            });
            panels.push(Panel {
                title: format!("{} ({})", curve.data, curve.split),
                x: Axis::whole("clicks", least.min(most) as usize, most as usize),
                y: Axis::around(label(&curve.protocol, column), ys, (0.0, 1.0)),
                lines: Vec::new(),
            });
        }
        if let Some(panel) = panels.last_mut() {
            panel.lines.push(Line { name: curve.name(&curves), points: points(curve).collect() });
        }
    }
    let inputs: BTreeSet<&str> = curves.iter().map(|curve| curve.mask_input.as_str()).collect();
    let mut notes =
        vec!["simulated user, each click in the middle of what is wrong most".to_owned()];
    if inputs == BTreeSet::from(["previous"]) {
        notes.push("mask input: logits of the answer before".to_owned());
    }
    Lines::new(panels, &notes, width)
}

fn points(curve: &ClickCurve) -> impl Iterator<Item = Point> {
    curve.scores.iter().filter_map(|(&clicks, score)| {
        Some(Point { x: clicks as f64, y: score.mean?, interval: score.low.zip(score.high) })
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::FigureKind;
    use crate::testing::study;

    #[test]
    fn a_method_with_prompts_of_its_own_begins_at_no_click_and_frozen_sam_at_one() {
        let folder = tempfile::tempdir().unwrap();
        let runs = study(folder.path());
        let curves =
            ClickCurve::of(&runs, &crate::Scope::default(), metrics::Measure::Dice).unwrap();
        let first = |curve: &ClickCurve| points(curve).next().unwrap().x;
        let firsts: Vec<_> = curves.iter().map(|curve| (&*curve.method, first(curve))).collect();
        assert_eq!(firsts, [("frozen", 1.0), ("apm_4_points", 0.0), ("apm_16_points", 0.0)]);
    }

    #[test]
    fn without_clicks_the_command_that_makes_them_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let runs = study(folder.path());
        for run in &runs {
            std::fs::remove_file(run.folder.clicks()).unwrap();
        }
        let error = FigureKind::ClicksVsDice.draw(&runs).err().unwrap();
        assert!(error.is_for_want_of_data());
        assert!(error.to_string().contains("--prompts simulated"), "{error}");
        let options = FigureOptions { measure: metrics::Measure::Hd95, ..FigureOptions::default() };
        let error = FigureKind::ClicksVsDice.draw_with(&runs, &options).err().unwrap();
        assert!(error.to_string().contains("Dice and IoU"), "{error}");
    }
}
