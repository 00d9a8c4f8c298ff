//! A method's score against the baseline's, case by case.

use metrics::{Better, Measure, PairedComparison};
use plotters::element::{Circle, PathElement};
use plotters::style::Color;
use plotters::style::text_anchor::{HPos, VPos};

use super::axes::{Axis, Plot, Rect};
use super::by_turns::by_turns;
use super::canvas::{Area, DrawResult, Sketch, pt, stroke};
use super::legend::{Footer, Symbol};
use super::palette::{BLUE, FAINT_INK, GRID, INK, WHITE, tint};
use super::{FigureError, FigureOptions, font};
use crate::entries::{Entries, Entry, label, marked_method, marked_prompts};
use crate::scores::BOOTSTRAP_SEED;
use crate::{MethodName, Run, TableError};

/// Plots in one figure, at most; the figure says how many there would be.
const MAX_PLOTS: usize = 12;
const MARGIN: f64 = 3.0;
const GAP: f64 = 9.0;
/// Narrowest plot, in points.
const NARROWEST: f64 = 105.0;
/// Room for the lines of text above a plot, its title and three remarks, in points.
const HEAD: f64 = 32.0;
const DOT: f64 = 1.15;

/// A plot for each method and data set, both axes alike, with the line on which both are equal.
pub(super) struct PairedScatter {
    plots: Vec<One>,
    footer: Footer,
    size: (f64, f64),
}

struct One {
    plot: Plot,
    outer: Rect,
    title: String,
    remarks: [String; 3],
    /// Scores of the baseline and of the method.
    pairs: Vec<(f64, f64)>,
}

impl PairedScatter {
    pub(super) fn new(
        runs: &[Run],
        options: &FigureOptions,
        width: f64,
    ) -> Result<Self, FigureError> {
        let all = Entries::of(runs, &options.scope)?;
        let entries = &all.entries;
        let measure = options.measure;
        let baseline = baseline(entries, options.baseline.as_ref())?;
        let mut pairs = Vec::new();
        for entry in entries.iter().filter(|entry| !entry.is(&baseline)) {
            // The baseline of the same experiment comes before one of another.
            let here = |other: &&Entry<'_>| {
                other.is(&baseline)
                    && (other.data, other.split, other.protocol)
                        == (entry.data, entry.split, entry.protocol)
            };
            let same = |other: &&Entry<'_>| here(other) && other.experiment == entry.experiment;
            let Some(reference) = entries.iter().find(same).or_else(|| entries.iter().find(here))
            else {
                continue;
            };
            let against = reference.case_scores(measure)?;
            let scores = entry.case_scores(measure)?;
            let common: Vec<(f64, f64)> = scores
                .iter()
                .filter_map(|(case, score)| Some((against.get(case).copied()??, (*score)?)))
                .collect();
            if !common.is_empty() {
                pairs.push((entry, common));
            }
        }
        if pairs.is_empty() {
            let what = "a method whose cases can be paired with the baseline's";
            return Err(FigureError::NothingToDraw { what, runs: runs.len() });
        }
        let found = pairs.len();
        let names: Vec<[String; 3]> = pairs
            .iter()
            .map(|(entry, _)| {
                let method = format!("{} {}", entry.experiment, entry.method);
                [entry.data.to_owned(), method, entry.prompts.to_owned()]
            })
            .collect();
        let shown = by_turns(&names, MAX_PLOTS, options.seed);
        let mut place = 0..;
        pairs.retain(|_| place.next().is_some_and(|place| shown.contains(&place)));

        let columns = (((width - 2.0 * MARGIN + GAP) / (NARROWEST + GAP)).floor() as usize)
            .clamp(1, pairs.len());
        let plot_width = (width - 2.0 * MARGIN - GAP * (columns as f64 - 1.0)) / columns as f64;
        let several_data = entries.iter().any(|entry| entry.data != entries[0].data);
        // All plots have the same axes, so that they can be compared.
        let values: Vec<f64> =
            pairs.iter().flat_map(|(_, common)| common).flat_map(|&(a, b)| [a, b]).collect();
        let most = if measure.unit().is_some() { f64::INFINITY } else { 1.0 };
        let mut plots: Vec<One> = Vec::new();
        let mut top = MARGIN;
        for row in pairs.chunks(columns) {
            for (column, (entry, common)) in row.iter().enumerate() {
                let left = MARGIN + column as f64 * (plot_width + GAP);
                let score = label(entry.protocol, metrics::Column::Mean(measure));
                let axis = |name: &str| Axis::around(name, values.clone(), (0.0, most));
                let oracle = |is: bool| if is { " (oracle)" } else { "" };
                let x = axis(&format!("{score} of the baseline"));
                let y = axis(score);
                // As high as it is wide, so that the diagonal is one.
                let head = Rect { left, top, right: left + plot_width, bottom: top + HEAD };
                let square = |height: f64| {
                    let outer = Rect { bottom: head.bottom + height, top: head.bottom, ..head };
                    Plot::new(outer, x.clone(), y.clone(), None)
                };
                let trial = square(plot_width);
                let height = plot_width + trial.frame.width() - trial.frame.height();
                let data = if several_data { format!("{}, ", entry.data) } else { String::new() };
                let about = format!("{data}{}{}", entry.prompts, oracle(entry.oracle));
                let [outcome, difference] = remarks(common, measure);
                plots.push(One {
                    plot: square(height),
                    outer: Rect { bottom: head.bottom + height, ..head },
                    title: marked_method(entry.method, entry.selection()),
                    remarks: [about, outcome, difference],
                    pairs: common.clone(),
                });
            }
            top = plots.last().map_or(top, |one| one.outer.bottom) + GAP;
        }

        let by_truth = entries.iter().any(|entry| entry.is(&baseline) && entry.oracle);
        let shown_baseline = marked_prompts(&baseline.to_string(), by_truth);
        let better = match measure.better() {
            Better::Higher => "above",
            Better::Lower => "below",
        };
        let mut notes =
            vec![format!("baseline {shown_baseline}; on a case {better} the line it is beaten")];
        if found > MAX_PLOTS {
            notes.push(format!(
                "{MAX_PLOTS} of {found} comparisons, by turns over data sets, methods and prompts, seed {}",
                options.seed
            ));
        }
        let legend = vec![
            (Symbol::Dot(BLUE), "case".to_owned()),
            (Symbol::Line(FAINT_INK, &[3.0, 2.0]), "equal".to_owned()),
        ];
        let footer = Footer::new(legend, &notes, width - 2.0 * MARGIN);
        let height = top + footer.height() + MARGIN;
        Ok(Self { plots, footer, size: (width, height) })
    }
}

/// The baseline that was asked for, else the first method that is no oracle.
fn baseline(entries: &[Entry<'_>], asked: Option<&MethodName>) -> Result<MethodName, TableError> {
    let named = |entry: &&Entry<'_>| asked.is_none_or(|name| entry.is(name));
    let chosen = entries
        .iter()
        .find(|entry| named(entry) && !entry.oracle)
        .or_else(|| entries.iter().find(named));
    match (chosen, asked) {
        (Some(entry), _) => Ok(MethodName {
            method: entry.method.to_owned(),
            prompts: Some(entry.prompts.to_owned()),
        }),
        (None, asked) => Err(TableError::UnknownMethod {
            name: asked.map(ToString::to_string).unwrap_or_default(),
            known: entries.iter().map(|e| format!("`{}:{}`", e.method, e.prompts)).collect(),
        }),
    }
}

/// Wins, ties and losses; the mean difference with its interval.
fn remarks(pairs: &[(f64, f64)], measure: Measure) -> [String; 2] {
    let turned: Vec<(f64, f64)> =
        pairs.iter().map(|&(baseline, method)| (method, baseline)).collect();
    let paired = PairedComparison::of(&turned, BOOTSTRAP_SEED);
    let (wins, losses) = match measure.better() {
        Better::Higher => (paired.wins, paired.losses),
        Better::Lower => (paired.losses, paired.wins),
    };
    let digits = if measure.unit().is_some() { 1 } else { 3 };
    let signed = |value: f64| format!("{value:+.digits$}").replace('-', "\u{2212}");
    let difference = match (paired.mean_difference, paired.low, paired.high) {
        (Some(mean), Some(low), Some(high)) => {
            format!("{} [{}, {}]", signed(mean), signed(low), signed(high))
        }
        (Some(mean), ..) => signed(mean),
        _ => String::new(),
    };
    [format!("wins {wins}, ties {}, losses {losses}", paired.ties), difference]
}

impl Sketch for PairedScatter {
    fn size(&self) -> (f64, f64) {
        self.size
    }

    fn draw(&self, area: &Area<'_>) -> DrawResult {
        for One { plot, outer, title, remarks, pairs } in &self.plots {
            plot.draw(area)?;
            let Rect { left, top, right, bottom } = plot.frame;
            let diagonal = [(left, bottom), (right, top)];
            let style = FAINT_INK.stroke_width(stroke(0.6));
            super::marks::polyline(area, &diagonal, &[3.0, 2.0], style)?;
            for &(x, y) in pairs {
                area.draw(&Circle::new(plot.place(x, y), pt(DOT + 0.35), WHITE.filled()))?;
                area.draw(&Circle::new(plot.place(x, y), pt(DOT), tint(BLUE, 0.8).filled()))?;
            }
            let middle = (outer.left + outer.right) / 2.0;
            let room = outer.width();
            let lines = [
                (title, font::TITLE, INK, 4.0),
                (&remarks[0], font::SMALL, FAINT_INK, 12.0),
                (&remarks[1], font::SMALL, FAINT_INK, 19.0),
                (&remarks[2], font::SMALL, FAINT_INK, 26.0),
            ];
            for (text, em, color, y) in lines {
                let style = font::style(em, color, HPos::Center, VPos::Center);
                let text = font::fit(text, em, room);
                area.draw_text(&text, &style, (pt(middle), pt(outer.top + y)))?;
            }
            // The border closes the square that the diagonal divides.
            let edge = [(pt(left), pt(top)), (pt(right), pt(top)), (pt(right), pt(bottom))];
            area.draw(&PathElement::new(edge, GRID.stroke_width(stroke(0.5))))?;
        }
        let below = self.size.1 - MARGIN - self.footer.height();
        self.footer.draw(area, (MARGIN, below))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn wins_are_the_methods_whichever_direction_is_better() {
        // The method is 0.25 above the baseline twice, equal once, 0.5 below once.
        let pairs = [(0.25, 0.5), (0.5, 0.75), (0.5, 0.5), (1.0, 0.5)];
        let [outcome, difference] = remarks(&pairs, Measure::Dice);
        assert_eq!(outcome, "wins 2, ties 1, losses 1");
        assert!(difference.starts_with("+0.000 [\u{2212}"), "{difference}");
        assert_eq!(remarks(&pairs, Measure::Mae)[0], "wins 1, ties 1, losses 2");
    }

    #[test]
    fn an_unknown_baseline_is_answered_with_the_rows_that_there_are() {
        let folder = tempfile::tempdir().unwrap();
        let runs = crate::testing::study(folder.path());
        let options = FigureOptions { baseline: "none".parse().ok(), ..FigureOptions::default() };
        let error = PairedScatter::new(&runs, &options, 400.0).err().unwrap();
        assert!(error.to_string().contains("`frozen:grid`"), "{error}");
    }
}
