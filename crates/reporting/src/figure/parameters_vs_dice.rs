//! The score by the number of trained parameters.

use std::collections::BTreeSet;

use metrics::Column;
use plotters::style::Color;

use super::axes::{Axis, Plot, Rect};
use super::canvas::{Area, DrawResult, Sketch, stroke};
use super::legend::{Footer, Symbol};
use super::marks::{MARKER, marker, polyline, upright_interval};
use super::palette::{LOOKS, Look};
use super::threshold_curves::name;
use super::{FigureError, FigureOptions};
use crate::Run;
use crate::entries::{Entries, label};

const MARGIN: f64 = 3.0;
const GAP: f64 = 8.0;
/// Height of a plot as a share of its width.
const HEIGHT: f64 = 0.72;

/// A marker per method with the interval over cases. A method without trained parameters has no place on
/// a logarithmic axis and is a horizontal line.
pub(super) struct ParametersVsDice {
    panels: Vec<(Rect, Axis, Axis, String, Vec<Mark>)>,
    footer: Footer,
    size: (f64, f64),
}

/// Data set, split and protocol.
type Key<'a> = (&'a str, &'a str, &'a str);

struct Mark {
    look: Look,
    /// Nothing if no parameter is trained.
    parameters: Option<f64>,
    y: f64,
    interval: Option<(f64, f64)>,
}

impl ParametersVsDice {
    pub(super) fn new(
        runs: &[Run],
        options: &FigureOptions,
        width: f64,
    ) -> Result<Self, FigureError> {
        let all = Entries::of(runs, &options.scope)?;
        let column = Column::Mean(options.measure);
        let mut names: Vec<String> = Vec::new();
        let mut grouped: Vec<(Key<'_>, Vec<Mark>)> = Vec::new();
        for entry in &all.entries {
            let number = entry.number(column)?;
            let Some(y) = number.mean else { continue };
            let name = name(entry, &all.entries);
            if !names.contains(&name) {
                names.push(name.clone());
            }
            let place = names.iter().position(|known| *known == name).unwrap_or(0);
            let Some(&look) = LOOKS.get(place) else {
                let of = |entry| self::name(entry, &all.entries);
                let methods: BTreeSet<String> = all.entries.iter().map(of).collect();
                return Err(FigureError::TooManyMethods {
                    methods: methods.len(),
                    limit: LOOKS.len(),
                });
            };
            let trained = entry.seeds[0].0.record.parameters.trainable;
            let mark = Mark {
                look,
                parameters: (trained > 0).then_some(trained as f64),
                y,
                interval: number.low.zip(number.high),
            };
            let key = (entry.data, entry.split, entry.protocol);
            match grouped.last_mut() {
                Some((known, marks)) if *known == key => marks.push(mark),
                _ => grouped.push((key, vec![mark])),
            }
        }
        let marks = || grouped.iter().flat_map(|(_, marks)| marks);
        if marks().all(|mark| mark.parameters.is_none()) {
            let what = "trained parameters and this measure";
            return Err(FigureError::NothingToDraw { what, runs: runs.len() });
        }

        let columns = if width >= 340.0 && grouped.len() > 1 { 2 } else { 1 };
        let plot_width = (width - 2.0 * MARGIN - GAP * (columns as f64 - 1.0)) / columns as f64;
        let height = (plot_width * HEIGHT).min(200.0);
        let mut legend: Vec<_> = names
            .iter()
            .zip(LOOKS)
            .map(|(name, look)| (Symbol::Curve(look), name.clone()))
            .collect();
        for (symbol, name) in &mut legend {
            let place = names.iter().position(|known| known == name).unwrap_or(0);
            let trained =
                marks().any(|mark| mark.look == LOOKS[place] && mark.parameters.is_some());
            if trained {
                *symbol = Symbol::Mark(LOOKS[place]);
            }
        }
        if marks().any(|mark| mark.interval.is_some()) {
            legend.push((Symbol::Interval, "95 % interval over cases".to_owned()));
        }
        let mut notes = Vec::new();
        if marks().any(|mark| mark.parameters.is_none()) {
            notes.push("lines: methods without trained parameters".to_owned());
        }
        let footer = Footer::new(legend, &notes, width - 2.0 * MARGIN);

        let xs: Vec<f64> = marks().filter_map(|mark| mark.parameters).collect();
        let most = if options.measure.unit().is_some() { f64::INFINITY } else { 1.0 };
        let panels: Vec<_> = grouped
            .into_iter()
            .enumerate()
            .map(|(i, ((data, split, protocol), marks))| {
                let left = MARGIN + (i % columns) as f64 * (plot_width + GAP);
                let top = MARGIN + (i / columns) as f64 * (height + GAP);
                let outer = Rect { left, top, right: left + plot_width, bottom: top + height };
                let ys = marks.iter().flat_map(|mark| {
                    let (low, high) = mark.interval.unwrap_or((mark.y, mark.y));
                    [low, mark.y, high]
                });
                let y = Axis::around(label(protocol, column), ys, (0.0, most));
                let x = Axis::logarithmic("trained parameters", &xs);
                (outer, x, y, format!("{data} ({split})"), marks)
            })
            .collect();
        let bottom = panels.last().map_or(MARGIN, |(outer, ..)| outer.bottom);
        let size = (width, bottom + GAP + footer.height() + MARGIN);
        Ok(Self { panels, footer, size })
    }
}

impl Sketch for ParametersVsDice {
    fn size(&self) -> (f64, f64) {
        self.size
    }

    fn draw(&self, area: &Area<'_>) -> DrawResult {
        for (outer, x, y, title, marks) in &self.panels {
            let plot = Plot::new(*outer, x.clone(), y.clone(), Some(title.clone()));
            plot.draw(area)?;
            for mark in marks.iter().filter(|mark| mark.parameters.is_none()) {
                let (left, right) = (plot.at(x.from(), mark.y), plot.at(x.to(), mark.y));
                let style = mark.look.color.stroke_width(stroke(1.0));
                polyline(area, &[left, right], mark.look.dash, style)?;
                let middle = ((left.0 + right.0) / 2.0, left.1);
                marker(area, middle, mark.look, MARKER)?;
            }
            for mark in marks {
                let Some(parameters) = mark.parameters else { continue };
                let (at_x, at_y) = plot.at(parameters, mark.y);
                if let Some((low, high)) = mark.interval {
                    let ends = (plot.at(parameters, low).1, plot.at(parameters, high).1);
                    upright_interval(area, at_x, ends, mark.look.color)?;
                }
                marker(area, (at_x, at_y), mark.look, MARKER * 1.15)?;
            }
        }
        let below = self.size.1 - MARGIN - self.footer.height();
        self.footer.draw(area, (MARGIN, below))
    }
}
