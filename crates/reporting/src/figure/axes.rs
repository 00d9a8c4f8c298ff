//! Axes of a plot: where numbers lie, which of them are labeled, and how much room labels take.
//!
//! Plotters' own charts reserve a fixed room for labels and let them run into each other; here the
//! room follows from the labels, and ticks are as many as fit.

use plotters::element::PathElement;
use plotters::style::Color;
use plotters::style::text_anchor::{HPos, VPos};

use super::canvas::{Area, DrawResult, pt, stroke};
use super::font;
use super::palette::{GRID, INK};

/// Length of a tick, in points.
const TICK: f64 = 2.5;
/// Between tick and label, and between label and name, in points.
const GAP: f64 = 2.0;
/// Width of axes, in points.
pub(crate) const AXIS_WIDTH: f64 = 0.6;
/// Width of grid lines, in points.
const GRID_WIDTH: f64 = 0.5;
/// Between the labels of two ticks, in points, at least.
const LABEL_GAP: f64 = 6.0;

/// A rectangle, in points.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rect {
    pub(crate) left: f64,
    pub(crate) top: f64,
    pub(crate) right: f64,
    pub(crate) bottom: f64,
}

impl Rect {
    pub(crate) fn width(&self) -> f64 {
        self.right - self.left
    }

    pub(crate) fn height(&self) -> f64 {
        self.bottom - self.top
    }
}

/// How numbers become places.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Scale {
    Linear,
    Logarithmic,
}

/// One axis: a range, ticks with labels, and a name.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Axis {
    scale: Scale,
    from: f64,
    to: f64,
    /// Candidates of tick values, from few to many; the last that fits is used.
    choices: Vec<Vec<f64>>,
    decimals: usize,
    name: String,
}

impl Axis {
    /// A linear axis from `from` to `to`, which differ.
    pub(crate) fn linear(name: &str, from: f64, to: f64) -> Self {
        let mut choices = Vec::new();
        for count in [2, 3, 4, 5, 6, 8, 10] {
            let step = round_step((to - from) / f64::from(count));
            let first = (from / step - 1e-9).ceil() as i64;
            let last = (to / step + 1e-9).floor() as i64;
            choices.push((first..=last).map(|i| i as f64 * step).collect());
        }
        Self { scale: Scale::Linear, from, to, choices, decimals: 0, name: name.into() }
            .with_decimals()
    }

    /// A linear axis that covers the values and starts and ends at round numbers, within `bounds`.
    pub(crate) fn around(
        name: &str,
        values: impl IntoIterator<Item = f64>,
        bounds: (f64, f64),
    ) -> Self {
        let (mut from, mut to) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.into_iter().filter(|value| value.is_finite()) {
            (from, to) = (from.min(value), to.max(value));
        }
        if from > to {
            (from, to) = (0.0, 1.0);
        }
        let spread = if to > from { to - from } else { to.abs().max(1.0) * 0.1 };
        let step = round_step(spread / 4.0);
        // A point on the edge would be cut in half, so there is some air around it.
        let air = 0.04 * spread;
        let from = (((from - air) / step).floor() * step).max(bounds.0);
        let to = (((to + air) / step).ceil() * step).min(bounds.1);
        Self::linear(name, from, to)
    }

    /// An axis of whole numbers from `from` to `to`, which may be the same.
    pub(crate) fn whole(name: &str, from: usize, to: usize) -> Self {
        if from == to {
            // A single number has no width: it is put in the middle.
            let at = from as f64;
            return Self {
                scale: Scale::Linear,
                from: at - 1.0,
                to: at + 1.0,
                choices: vec![vec![at]],
                decimals: 0,
                name: name.into(),
            };
        }
        let mut choices = Vec::new();
        for count in [2, 3, 4, 5, 6, 8, 10] {
            let step =
                round_step(((to - from) as f64 / f64::from(count)).max(1.0)).max(1.0).round();
            let step = step as usize;
            let multiples = from.div_ceil(step)..=to / step;
            choices.push(multiples.map(|times| (times * step) as f64).collect());
        }
        let (from, to) = (from as f64, to as f64);
        Self { scale: Scale::Linear, from, to, choices, decimals: 0, name: name.into() }
    }

    /// A logarithmic axis whose ticks are these positive values, or powers of ten among them.
    pub(crate) fn logarithmic(name: &str, values: &[f64]) -> Self {
        let mut ticks: Vec<f64> = values.iter().copied().filter(|value| *value > 0.0).collect();
        ticks.sort_by(f64::total_cmp);
        ticks.dedup();
        let (least, most) = match (ticks.first(), ticks.last()) {
            (Some(&least), Some(&most)) => (least, most),
            _ => (1.0, 10.0),
        };
        let air = (most / least).powf(0.08).max(1.15);
        let (from, to) = (least / air, most * air);
        let mut choices = Vec::new();
        for multiples in [&[1.0][..], &[1.0, 3.0], &[1.0, 2.0, 5.0]] {
            let decades = from.log10().floor() as i32..=to.log10().ceil() as i32;
            let round = decades
                .flat_map(|decade| multiples.iter().map(move |m| m * 10f64.powi(decade)))
                .filter(|value| (from..=to).contains(value))
                .collect::<Vec<_>>();
            if round.len() > 1 {
                choices.push(round);
            }
        }
        if choices.is_empty() || ticks.len() <= 8 {
            choices.push(ticks);
        }
        Self { scale: Scale::Logarithmic, from, to, choices, decimals: 0, name: name.into() }
    }

    fn with_decimals(mut self) -> Self {
        let step = self.choices.iter().flat_map(|ticks| ticks.windows(2)).map(|w| w[1] - w[0]);
        let step = step.fold(f64::INFINITY, f64::min);
        if step.is_finite() && step > 0.0 {
            self.decimals = (0..6)
                .find(|&digits| {
                    let scaled = step * 10f64.powi(digits);
                    (scaled - scaled.round()).abs() < 1e-6 * scaled
                })
                .unwrap_or(6) as usize;
        }
        self
    }

    /// Where a value lies, 0 at the start of the axis and 1 at its end.
    pub(crate) fn share(&self, value: f64) -> f64 {
        match self.scale {
            Scale::Linear => (value - self.from) / (self.to - self.from),
            Scale::Logarithmic => (value / self.from).ln() / (self.to / self.from).ln(),
        }
    }

    /// The start of the axis.
    pub(crate) fn from(&self) -> f64 {
        self.from
    }

    /// The end of the axis.
    pub(crate) fn to(&self) -> f64 {
        self.to
    }

    fn label(&self, value: f64) -> String {
        match self.scale {
            Scale::Linear => format!("{value:.*}", self.decimals).replace('-', "\u{2212}"),
            Scale::Logarithmic => quantity(value),
        }
    }

    /// The most ticks whose labels have room on `length` points, if a label takes `extent` of them. Where no
    /// choice has room for all its labels, ticks that are nearer than a label to the one before are left out.
    fn ticks(&self, length: f64, extent: impl Fn(&str) -> f64) -> Vec<f64> {
        let apart = |one: f64, other: f64| {
            let [a, b] = [one, other].map(|value| extent(&self.label(value)));
            let distance = (self.share(other) - self.share(one)).abs() * length;
            distance >= (a + b) / 2.0 + LABEL_GAP
        };
        let fits = |ticks: &[f64]| ticks.windows(2).all(|pair| apart(pair[0], pair[1]));
        let chosen = self.choices.iter().rev().find(|ticks| fits(ticks));
        if let Some(ticks) = chosen {
            return ticks.clone();
        }
        let mut kept: Vec<f64> = Vec::new();
        for &value in self.choices.first().into_iter().flatten() {
            if kept.last().is_none_or(|&last| apart(last, value)) {
                kept.push(value);
            }
        }
        kept
    }
}

/// A whole number with a unit of thousands: `1.2M`, `16k`.
pub(crate) fn quantity(value: f64) -> String {
    let with = |value: f64, unit: &str| {
        let text = if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.1}") };
        format!("{}{unit}", text.strip_suffix(".0").unwrap_or(&text))
    };
    if value >= 1e9 {
        with(value / 1e9, "G")
    } else if value >= 1e6 {
        with(value / 1e6, "M")
    } else if value >= 1e4 {
        with(value / 1e3, "k")
    } else {
        format!("{value}")
    }
}

/// The least of 1, 2, 5, 10, 20, ... and their tenths that is not below `step`.
fn round_step(step: f64) -> f64 {
    let decade = 10f64.powf(step.log10().floor());
    let share = step / decade;
    let round = [1.0, 2.0, 5.0, 10.0].into_iter().find(|&m| share <= m + 1e-9);
    round.unwrap_or(10.0) * decade
}

/// Two axes around a rectangle.
pub(crate) struct Plot {
    /// The rectangle that data are drawn in.
    pub(crate) frame: Rect,
    x: Axis,
    y: Axis,
    title: Option<String>,
    /// Whether horizontal lines of the grid are drawn, and vertical ones.
    grid: (bool, bool),
}

impl Plot {
    /// A plot inside `outer`, with the room that its labels take.
    pub(crate) fn new(outer: Rect, x: Axis, y: Axis, title: Option<String>) -> Self {
        let height = outer.height() - below(&x) - above(&title);
        let left = left_of(&y, height);
        let frame = Rect {
            left: outer.left + left,
            top: outer.top + above(&title),
            right: outer.right - right_of(&x),
            bottom: outer.bottom - below(&x),
        };
        Self { frame, x, y, title, grid: (true, false) }
    }

    /// A plot of horizontal things below each other: no numbers on its y axis, `left` points of room
    /// for names.
    pub(crate) fn of_rows(outer: Rect, x: Axis, left: f64, title: Option<String>) -> Self {
        let frame = Rect {
            left: outer.left + left,
            top: outer.top + above(&title),
            right: outer.right - right_of(&x),
            bottom: outer.bottom - below(&x),
        };
        let y = Axis {
            scale: Scale::Linear,
            from: 0.0,
            to: 1.0,
            choices: vec![],
            decimals: 0,
            name: String::new(),
        };
        Self { frame, x, y, title, grid: (false, true) }
    }

    /// Points above and below the frame of such a plot.
    pub(crate) fn overhead(x: &Axis, title: &Option<String>) -> f64 {
        above(title) + below(x)
    }

    /// Where a point lies, in points of the figure.
    pub(crate) fn at(&self, x: f64, y: f64) -> (f64, f64) {
        let frame = &self.frame;
        (
            frame.left + self.x.share(x) * frame.width(),
            frame.bottom - self.y.share(y) * frame.height(),
        )
    }

    /// Where a point lies, in units of the drawing area.
    pub(crate) fn place(&self, x: f64, y: f64) -> (i32, i32) {
        let (x, y) = self.at(x, y);
        (pt(x), pt(y))
    }

    /// Where a number of the x axis lies, in points of the figure.
    pub(crate) fn x(&self, value: f64) -> f64 {
        self.frame.left + self.x.share(value) * self.frame.width()
    }

    /// Draws grid, axes, labels and title.
    pub(crate) fn draw(&self, area: &Area<'_>) -> DrawResult {
        let Rect { left, top, right, bottom } = self.frame;
        let axis = INK.stroke_width(stroke(AXIS_WIDTH));
        let grid = GRID.stroke_width(stroke(GRID_WIDTH));
        let line = |from: (f64, f64), to: (f64, f64), style| {
            area.draw(&PathElement::new([(pt(from.0), pt(from.1)), (pt(to.0), pt(to.1))], style))
        };

        let x_ticks = self.x.ticks(self.frame.width(), |label| font::width(label, font::LABEL));
        let y_ticks = self.y.ticks(self.frame.height(), |_| font::LABEL);
        let (horizontal, vertical) = self.grid;
        for value in x_ticks {
            let x = self.x(value);
            if vertical {
                line((x, top), (x, bottom), grid)?;
            }
            line((x, bottom), (x, bottom + TICK), axis)?;
            let style = font::style(font::LABEL, INK, HPos::Center, VPos::Top);
            let y = bottom + TICK + GAP;
            area.draw_text(&self.x.label(value), &style, (pt(x), pt(y)))?;
        }
        for value in y_ticks {
            let y = self.at(self.x.from, value).1;
            if horizontal {
                line((left, y), (right, y), grid)?;
            }
            line((left - TICK, y), (left, y), axis)?;
            let style = font::style(font::LABEL, INK, HPos::Right, VPos::Center);
            area.draw_text(&self.y.label(value), &style, (pt(left - TICK - GAP), pt(y)))?;
        }
        line((left, top), (left, bottom), axis)?;
        line((left, bottom), (right, bottom), axis)?;

        let name = font::style(font::TITLE, INK, HPos::Center, VPos::Top);
        let middle = (left + right) / 2.0;
        let y = bottom + TICK + GAP + font::LABEL + GAP;
        let room = self.frame.width() + 2.0 * font::TITLE;
        let x_name = font::fit(&self.x.name, font::TITLE, room.max(40.0));
        area.draw_text(&x_name, &name, (pt(middle), pt(y)))?;
        if !self.y.name.is_empty() {
            let labels = widest_label(&self.y, self.frame.height());
            let x = left - TICK - GAP - labels - GAP - font::TITLE / 2.0;
            let up = font::upward(font::TITLE, INK);
            let y_name = font::fit(&self.y.name, font::TITLE, self.frame.height());
            area.draw_text(&y_name, &up, (pt(x), pt((top + bottom) / 2.0)))?;
        }
        if let Some(title) = &self.title {
            let style = font::style(font::TITLE, INK, HPos::Center, VPos::Center);
            let title = font::fit(title, font::TITLE, self.frame.width() + 20.0);
            area.draw_text(&title, &style, (pt(middle), pt(top - above(&self.title) / 2.0 - 0.5)))?;
        }
        Ok(())
    }
}

/// Room right of an x axis: half of its last label reaches beyond its end.
fn right_of(x: &Axis) -> f64 {
    let last = x.choices.iter().filter_map(|ticks| ticks.last());
    last.map(|&value| font::width(&x.label(value), font::LABEL) / 2.0).fold(0.0, f64::max)
}

/// Room for the labels and the name of an x axis.
fn below(x: &Axis) -> f64 {
    let name = if x.name.is_empty() { 0.0 } else { GAP + font::TITLE };
    TICK + GAP + font::LABEL + name + GAP
}

/// Room for a title.
fn above(title: &Option<String>) -> f64 {
    // Half of the uppermost label reaches beyond the end of the axis.
    if title.is_some() { font::TITLE + 7.0 } else { font::LABEL / 2.0 }
}

/// Room for the labels and the name of a y axis.
fn left_of(y: &Axis, height: f64) -> f64 {
    let name = if y.name.is_empty() { 0.0 } else { GAP + font::TITLE };
    TICK + GAP + widest_label(y, height) + name + GAP
}

fn widest_label(axis: &Axis, height: f64) -> f64 {
    let ticks = axis.ticks(height, |_| font::LABEL);
    ticks.iter().map(|&v| font::width(&axis.label(v), font::LABEL)).fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis, length: f64) -> Vec<String> {
        let ticks = axis.ticks(length, |label| font::width(label, font::LABEL));
        ticks.iter().map(|&value| axis.label(value)).collect()
    }

    #[test]
    fn an_axis_around_values_starts_and_ends_at_round_numbers_within_its_bounds() {
        let axis = Axis::around("Dice", [0.31, 0.62, f64::NAN], (0.0, 1.0));
        assert_eq!((axis.from, (axis.to * 10.0).round()), (0.2, 7.0));
        let full = Axis::around("Dice", [0.0, 1.0], (0.0, 1.0));
        assert_eq!((full.from, full.to), (0.0, 1.0));
        let none = Axis::around("Dice", [], (0.0, 1.0));
        assert_eq!((none.from, none.to), (0.0, 1.0));
        let same = Axis::around("Dice", [0.5, 0.5], (0.0, 1.0));
        assert!(same.from < 0.5 && same.to > 0.5, "{same:?}");
    }

    #[test]
    fn a_longer_axis_has_more_ticks_and_no_two_labels_touch() {
        let axis = Axis::linear("Dice", 0.0, 1.0);
        assert_eq!(labels(&axis, 60.0), ["0.0", "0.5", "1.0"]);
        assert_eq!(labels(&axis, 400.0).len(), 11);
        for length in 20..300 {
            let length = f64::from(length);
            let ticks = axis.ticks(length, |label| font::width(label, font::LABEL));
            for pair in ticks.windows(2) {
                let apart = (axis.share(pair[1]) - axis.share(pair[0])) * length;
                assert!(apart >= font::width("0.0", font::LABEL) + LABEL_GAP - 1e-9);
            }
        }
    }

    #[test]
    fn whole_numbers_have_whole_ticks_and_a_single_one_lies_in_the_middle() {
        assert_eq!(labels(&Axis::whole("epoch", 1, 12), 120.0), ["2", "4", "6", "8", "10", "12"]);
        let single = Axis::whole("epoch", 1, 1);
        assert_eq!(labels(&single, 100.0), ["1"]);
        assert_eq!(single.share(1.0), 0.5);
    }

    #[test]
    fn a_logarithmic_axis_labels_the_values_themselves_where_they_fit() {
        let axis = Axis::logarithmic("points", &[2.0, 4.0, 8.0, 16.0, 32.0, 8.0]);
        assert_eq!(labels(&axis, 150.0), ["2", "4", "8", "16", "32"]);
        // Equal factors are equal distances.
        let apart = |a, b| axis.share(b) - axis.share(a);
        assert!((apart(2.0, 4.0) - apart(16.0, 32.0)).abs() < 1e-12);
        assert!(axis.share(2.0) > 0.0 && axis.share(32.0) < 1.0);
        let wide = Axis::logarithmic("parameters", &[12_345.0, 9_876_543.0]);
        assert!(labels(&wide, 40.0).len() <= 3);
    }

    #[test]
    fn ticks_nearer_than_a_label_are_left_out() {
        // Two methods that differ by a hundredth of their parameters, and one of half of them.
        let axis = Axis::logarithmic("parameters", &[1_000_000.0, 1_010_000.0, 2_000_000.0]);
        let width = |label: &str| font::width(label, font::LABEL);
        for length in [20.0, 60.0, 160.0, 400.0] {
            let ticks = axis.ticks(length, width);
            assert!(!ticks.is_empty());
            for pair in ticks.windows(2) {
                let distance = (axis.share(pair[1]) - axis.share(pair[0])) * length;
                let labels = [0, 1].map(|i| width(&axis.label(pair[i])));
                assert!(distance >= (labels[0] + labels[1]) / 2.0, "{length}: {ticks:?}");
            }
        }
        let near = Axis::logarithmic("parameters", &[1_000_000.0, 1_010_000.0]);
        assert_eq!(labels(&near, 160.0).len(), 1, "{:?}", labels(&near, 160.0));
    }

    #[test]
    fn quantities_are_short() {
        assert_eq!(quantity(16.0), "16");
        assert_eq!(quantity(4096.0), "4096");
        assert_eq!(quantity(16_000.0), "16k");
        assert_eq!(quantity(1_024_832.0), "1M");
        assert_eq!(quantity(3_450_176.0), "3.5M");
        assert_eq!(quantity(636e6), "636M");
    }

    #[test]
    fn labels_stay_inside_the_outer_rectangle() {
        let outer = Rect { left: 0.0, top: 0.0, right: 200.0, bottom: 100.0 };
        let plot = Plot::new(
            outer,
            Axis::linear("epoch", 0.0, 100.0),
            Axis::linear("loss", -1000.0, 1000.0),
            Some("kvasir".into()),
        );
        let label = font::width("\u{2212}1000", font::LABEL);
        assert!(plot.frame.left >= label + font::TITLE, "{:?}", plot.frame);
        assert!(plot.frame.right + font::width("100", font::LABEL) / 2.0 <= 200.0 + 1e-9);
        assert_eq!(plot.at(0.0, -1000.0), (plot.frame.left, plot.frame.bottom));
        assert_eq!(plot.at(100.0, 1000.0), (plot.frame.right, plot.frame.top));
    }
}
