//! A bar per method with the interval over cases, a plot per data set.

use metrics::Column;

use super::axes::Rect;
use super::canvas::{Area, DrawResult, Sketch};
use super::legend::Symbol;
use super::marks::{bar, interval};
use super::palette::{FAINT_INK, INK, SKY_BLUE};
use super::rows::Rows;
use super::{FigureError, FigureOptions};
use crate::Run;
use crate::entries::{Entries, Number};

/// Bars in the order of tables. Oracles are hatched: they are bounds, no results.
pub(super) struct AblationBars {
    bars: Vec<Bar>,
    rows: Rows,
}

struct Bar {
    number: Number,
    /// The mean of every seed; empty if there is only one.
    seeds: Vec<f64>,
    oracle: bool,
}

impl AblationBars {
    pub(super) fn new(
        runs: &[Run],
        options: &FigureOptions,
        width: f64,
    ) -> Result<Self, FigureError> {
        let all = Entries::of(runs, &options.scope)?;
        let mut bars = Vec::new();
        for entry in &all.entries {
            let means = entry.seed_means(options.measure);
            bars.push(Bar {
                number: entry.number(Column::Mean(options.measure))?,
                seeds: if means.len() > 1 {
                    means.into_iter().flatten().collect()
                } else {
                    Vec::new()
                },
                oracle: entry.oracle,
            });
        }
        if bars.iter().all(|bar| bar.number.mean.is_none()) {
            return Err(FigureError::NothingToDraw { what: "this measure", runs: runs.len() });
        }
        let mut legend = Vec::new();
        if bars.iter().any(|bar| !bar.oracle) {
            legend.push((Symbol::Bar(SKY_BLUE, false), "mean".to_owned()));
        }
        if bars.iter().any(|bar| bar.oracle) {
            legend.push((Symbol::Bar(FAINT_INK, true), "mean of an oracle".to_owned()));
        }
        if bars.iter().any(|bar| bar.number.low.is_some()) {
            legend.push((Symbol::Interval, "95 % interval over cases".to_owned()));
        }
        if bars.iter().any(|bar| !bar.seeds.is_empty()) {
            legend.push((Symbol::Dot(INK), "single seed".to_owned()));
        }
        let values = |i: usize| {
            let Bar { number, seeds, .. } = &bars[i];
            // A bar is read against zero.
            let ends = [number.mean, number.low, number.high, Some(0.0)];
            ends.into_iter().flatten().chain(seeds.iter().copied()).collect()
        };
        let rows = Rows::new(&all, options.measure, values, legend, vec![], width)?;
        Ok(Self { bars, rows })
    }
}

impl Sketch for AblationBars {
    fn size(&self) -> (f64, f64) {
        self.rows.size()
    }

    fn draw(&self, area: &Area<'_>) -> DrawResult {
        self.rows.draw(area, |i, plot, y, room| {
            let Bar { number, seeds, oracle } = &self.bars[i];
            let Some(mean) = number.mean else { return Ok(()) };
            let half = room - 3.2;
            let rect =
                Rect { left: plot.x(0.0), top: y - half, right: plot.x(mean), bottom: y + half };
            bar(area, rect, if *oracle { FAINT_INK } else { SKY_BLUE }, *oracle)?;
            if let (Some(low), Some(high)) = (number.low, number.high) {
                interval(area, (plot.x(low), plot.x(high)), y, 1.8)?;
            }
            // Above the interval, so that neither hides the other.
            for &seed in seeds {
                Symbol::Dot(INK).draw(area, (plot.x(seed), y - half + 0.4))?;
            }
            Ok(())
        })
    }
}
