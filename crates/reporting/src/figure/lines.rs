//! Lines of a number by another, one plot per data set: what several figures have in common.

use plotters::style::Color;

use super::FigureError;
use super::axes::{Axis, Plot, Rect};
use super::canvas::{Area, DrawResult, Sketch, stroke};
use super::legend::{Footer, Symbol};
use super::marks::{LINE_WIDTH, MARKER, marker, polyline, upright_interval};
use super::palette::LOOKS;

const MARGIN: f64 = 3.0;
const GAP: f64 = 8.0;
/// From this width on two plots stand side by side, in points.
const TWO_PLOTS: f64 = 340.0;
/// Height of a plot as a share of its width.
const HEIGHT: f64 = 0.72;
/// Markers on a line, at most.
const MARKERS: usize = 9;

/// A point of a line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Point {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) interval: Option<(f64, f64)>,
}

/// One line; the same name has the same look in every plot.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub(super) name: String,
    pub(super) points: Vec<Point>,
}

/// One plot.
pub(super) struct Panel {
    pub(super) title: String,
    pub(super) x: Axis,
    pub(super) y: Axis,
    pub(super) lines: Vec<Line>,
}

/// Plots with a legend below.
pub(super) struct Lines {
    panels: Vec<(Panel, Rect)>,
    names: Vec<String>,
    footer: Footer,
    size: (f64, f64),
}

impl Lines {
    /// Lays out plots of `width` points together.
    ///
    /// # Errors
    ///
    /// [`FigureError::TooManyMethods`] if there are more names than looks.
    pub(super) fn new(
        panels: Vec<Panel>,
        notes: &[String],
        width: f64,
    ) -> Result<Self, FigureError> {
        let mut names: Vec<String> = Vec::new();
        for line in panels.iter().flat_map(|panel| &panel.lines) {
            if !names.contains(&line.name) {
                names.push(line.name.clone());
            }
        }
        if names.len() > LOOKS.len() {
            return Err(FigureError::TooManyMethods { methods: names.len(), limit: LOOKS.len() });
        }
        let mut legend: Vec<_> = names
            .iter()
            .zip(LOOKS)
            .map(|(name, look)| (Symbol::Curve(look), name.clone()))
            .collect();
        let intervals = panels
            .iter()
            .flat_map(|panel| &panel.lines)
            .flat_map(|line| &line.points)
            .any(|point| point.interval.is_some());
        if intervals {
            legend.push((Symbol::Interval, "95 % interval over cases".to_owned()));
        }

        let columns = if width >= TWO_PLOTS && panels.len() > 1 { 2 } else { 1 };
        let plot_width = (width - 2.0 * MARGIN - GAP * (columns as f64 - 1.0)) / columns as f64;
        let height = (plot_width * HEIGHT).min(200.0);
        let placed: Vec<(Panel, Rect)> = panels
            .into_iter()
            .enumerate()
            .map(|(i, panel)| {
                let left = MARGIN + (i % columns) as f64 * (plot_width + GAP);
                let top = MARGIN + (i / columns) as f64 * (height + GAP);
                (panel, Rect { left, top, right: left + plot_width, bottom: top + height })
            })
            .collect();
        let bottom = placed.last().map_or(MARGIN, |(_, rect)| rect.bottom);
        let footer = Footer::new(legend, notes, width - 2.0 * MARGIN);
        let size = (width, bottom + GAP + footer.height() + MARGIN);
        Ok(Self { panels: placed, names, footer, size })
    }
}

impl Sketch for Lines {
    fn size(&self) -> (f64, f64) {
        self.size
    }

    fn draw(&self, area: &Area<'_>) -> DrawResult {
        for (panel, outer) in &self.panels {
            let plot =
                Plot::new(*outer, panel.x.clone(), panel.y.clone(), Some(panel.title.clone()));
            plot.draw(area)?;
            let look = |line: &Line| {
                let place = self.names.iter().position(|name| *name == line.name);
                LOOKS[place.unwrap_or(0)]
            };
            for line in &panel.lines {
                let look = look(line);
                let style = look.color.stroke_width(stroke(LINE_WIDTH));
                let points: Vec<_> = line.points.iter().map(|p| plot.at(p.x, p.y)).collect();
                polyline(area, &points, look.dash, style)?;
            }
            for line in &panel.lines {
                for point in &line.points {
                    if let Some((low, high)) = point.interval {
                        let (x, from) = plot.at(point.x, low);
                        let to = plot.at(point.x, high).1;
                        upright_interval(area, x, (from, to), look(line).color)?;
                    }
                }
            }
            for (place, line) in panel.lines.iter().enumerate() {
                let step = line.points.len().div_ceil(MARKERS);
                // Lines that lie on each other have their markers at other places.
                let shift = place * step / panel.lines.len().max(1);
                for point in line.points.iter().skip(shift).step_by(step.max(1)) {
                    marker(area, plot.at(point.x, point.y), look(line), MARKER)?;
                }
            }
        }
        let below = self.size.1 - MARGIN - self.footer.height();
        self.footer.draw(area, (MARGIN, below))
    }
}
