//! The spread of scores over cases: a box per method, a plot per data set.

use plotters::element::{Circle, PathElement};
use plotters::style::Color;

use super::axes::Rect;
use super::canvas::{Area, DrawResult, Sketch, pt, stroke};
use super::legend::Symbol;
use super::marks::bar;
use super::palette::{FAINT_INK, INK, LOOKS, Look, Marker, SKY_BLUE, WHITE, tint};
use super::rows::Rows;
use super::{FigureError, FigureOptions};
use crate::Run;
use crate::entries::Entries;
use crate::scores::mean;

/// Whiskers reach to the farthest case within so many box lengths of the box (Tukey, Exploratory Data
/// Analysis, 1977); what lies beyond is a point.
const WHISKER: f64 = 1.5;

/// The mean of a box.
const MEAN: Look = Look { color: INK, marker: Marker::Diamond, ..LOOKS[0] };

/// Boxes in the order of tables.
pub(super) struct Boxes {
    boxes: Vec<Option<Spread>>,
    rows: Rows,
}

/// Quartiles and what lies outside.
#[derive(Debug, Clone, PartialEq)]
struct Spread {
    lower: f64,
    median: f64,
    upper: f64,
    /// Ends of the whiskers.
    whiskers: (f64, f64),
    outside: Vec<f64>,
    mean: f64,
    oracle: bool,
}

impl Spread {
    /// The spread of scores, of which there is one at least.
    fn of(mut scores: Vec<f64>, oracle: bool) -> Option<Self> {
        if scores.is_empty() {
            return None;
        }
        scores.sort_by(f64::total_cmp);
        let quantile = |q: f64| {
            let at = q * (scores.len() - 1) as f64;
            let (low, high) = (scores[at.floor() as usize], scores[at.ceil() as usize]);
            low + (high - low) * at.fract()
        };
        let mean = mean(&scores)?;
        let (lower, median, upper) = (quantile(0.25), quantile(0.5), quantile(0.75));
        let reach = WHISKER * (upper - lower);
        let inside = |score: &f64| (lower - reach..=upper + reach).contains(score);
        let within: Vec<f64> = scores.iter().copied().filter(inside).collect();
        let outside = scores.iter().copied().filter(|score| !inside(score)).collect();
        let ends = (within.first().copied()?, within.last().copied()?);
        // Interpolated quartiles of few cases may lie beyond every case: a whisker never points inward.
        let whiskers = (ends.0.min(lower), ends.1.max(upper));
        Some(Self { lower, median, upper, whiskers, outside, mean, oracle })
    }
}

impl Boxes {
    pub(super) fn new(
        runs: &[Run],
        options: &FigureOptions,
        width: f64,
    ) -> Result<Self, FigureError> {
        let all = Entries::of(runs, &options.scope)?;
        let mut boxes = Vec::new();
        for entry in &all.entries {
            let scores = entry.case_scores(options.measure)?;
            boxes.push(Spread::of(scores.into_values().flatten().collect(), entry.oracle));
        }
        let there = || boxes.iter().flatten();
        if there().next().is_none() {
            return Err(FigureError::NothingToDraw {
                what: "cases of this measure",
                runs: runs.len(),
            });
        }
        let mut legend = Vec::new();
        if there().any(|one| !one.oracle) {
            legend.push((Symbol::Bar(SKY_BLUE, false), "quartiles, median".to_owned()));
        }
        if there().any(|one| one.oracle) {
            legend.push((Symbol::Bar(FAINT_INK, true), "of an oracle".to_owned()));
        }
        legend.push((Symbol::Mark(MEAN), "mean".to_owned()));
        if there().any(|one| !one.outside.is_empty()) {
            legend.push((Symbol::Dot(FAINT_INK), "case beyond 1.5 boxes".to_owned()));
        }
        let several = all.entries.iter().any(|entry| entry.seeds.len() > 1);
        let notes = if several { vec!["cases averaged over seeds".to_owned()] } else { vec![] };
        let values = |i: usize| {
            boxes[i].as_ref().map_or_else(Vec::new, |one| {
                let mut values = one.outside.clone();
                values.extend([one.whiskers.0, one.whiskers.1, one.mean]);
                values
            })
        };
        let rows = Rows::new(&all, options.measure, values, legend, notes, width)?;
        Ok(Self { boxes, rows })
    }
}

impl Sketch for Boxes {
    fn size(&self) -> (f64, f64) {
        self.rows.size()
    }

    fn draw(&self, area: &Area<'_>) -> DrawResult {
        self.rows.draw(area, |i, plot, y, room| {
            let Some(one) = &self.boxes[i] else { return Ok(()) };
            let half = room - 3.4;
            let line = |from: (f64, f64), to: (f64, f64), width: f64| {
                let ends = [(pt(from.0), pt(from.1)), (pt(to.0), pt(to.1))];
                area.draw(&PathElement::new(ends, INK.stroke_width(stroke(width))))
            };
            for &score in &one.outside {
                let at = (pt(plot.x(score)), pt(y));
                area.draw(&Circle::new(at, pt(1.5), WHITE.filled()))?;
                area.draw(&Circle::new(at, pt(1.1), tint(FAINT_INK, 0.7).filled()))?;
            }
            for (from, to) in [(one.whiskers.0, one.lower), (one.upper, one.whiskers.1)] {
                line((plot.x(from), y), (plot.x(to), y), 0.7)?;
            }
            for end in [one.whiskers.0, one.whiskers.1] {
                line((plot.x(end), y - half / 2.0), (plot.x(end), y + half / 2.0), 0.7)?;
            }
            let rect = Rect {
                left: plot.x(one.lower),
                top: y - half,
                right: plot.x(one.upper),
                bottom: y + half,
            };
            bar(area, rect, if one.oracle { FAINT_INK } else { SKY_BLUE }, one.oracle)?;
            line((plot.x(one.median), y - half), (plot.x(one.median), y + half), 1.4)?;
            Symbol::Mark(MEAN).draw(area, (plot.x(one.mean), y))
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_and_whiskers_are_those_computed_by_hand() {
        // Quartiles of 1..=9 by linear interpolation are 3, 5, 7; 1.5 boxes reach from -3 to 13.
        let mut scores: Vec<f64> = (1..=9).map(f64::from).collect();
        scores.reverse();
        let spread = Spread::of(scores.clone(), false).unwrap();
        assert_eq!((spread.lower, spread.median, spread.upper), (3.0, 5.0, 7.0));
        assert_eq!(spread.whiskers, (1.0, 9.0));
        assert_eq!((spread.outside, spread.mean), (vec![], 5.0));
        // With 40 instead of 9 the box is the same, and 40 lies beyond the whisker, which ends at 8.
        scores[0] = 40.0;
        let spread = Spread::of(scores, false).unwrap();
        assert_eq!((spread.whiskers, spread.outside), ((1.0, 8.0), vec![40.0]));
    }

    #[test]
    fn one_case_is_a_line_and_none_is_nothing() {
        let spread = Spread::of(vec![0.5], false).unwrap();
        assert_eq!((spread.lower, spread.upper, spread.whiskers), (0.5, 0.5, (0.5, 0.5)));
        assert_eq!(Spread::of(vec![], false), None);
    }
}
