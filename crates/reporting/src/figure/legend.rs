//! Symbols, and the legend that explains them below a figure.

use plotters::element::{Circle, PathElement, Rectangle};
use plotters::style::text_anchor::{HPos, VPos};
use plotters::style::{Color, RGBColor, ShapeStyle};

use super::axes::Rect;
use super::canvas::{Area, DrawResult, pt, stroke};
use super::font;
use super::marks::{LINE_WIDTH, MARKER, bar, interval, marker, outline, polyline, remark};
use super::palette::{INK, Look, WHITE};

const ROW_HEIGHT: f64 = 10.5;
const SYMBOL_WIDTH: f64 = 16.0;
const SYMBOL_GAP: f64 = 3.5;
const ENTRY_GAP: f64 = 11.0;

/// A sign that stands for something.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Symbol {
    /// A line of a method, with its marker.
    Curve(Look),
    /// A line of this color and these dashes.
    Line(RGBColor, &'static [f64]),
    /// The marker of a method.
    Mark(Look),
    /// A ring around a data point.
    Ring(RGBColor),
    /// A small dot.
    Dot(RGBColor),
    /// A bar, filled or hatched.
    Bar(RGBColor, bool),
    /// An interval.
    Interval,
    /// A filled region.
    Region(RGBColor),
    /// The border of a region.
    Contour(RGBColor),
    /// A box around a region.
    Box(RGBColor),
    /// A foreground point.
    Disc(RGBColor),
    /// A background point.
    Cross(RGBColor),
}

impl Symbol {
    /// Draws the symbol around `(x, y)`, in points of the figure.
    pub(crate) fn draw(self, area: &Area<'_>, at: (f64, f64)) -> DrawResult {
        self.draw_scaled(area, at, 1.0)
    }

    /// The same with the marker of a point prompt so many times as large; other symbols stay as they are.
    pub(crate) fn draw_scaled(self, area: &Area<'_>, (x, y): (f64, f64), scale: f64) -> DrawResult {
        let half = SYMBOL_WIDTH / 2.0;
        let at = (pt(x), pt(y));
        match self {
            Self::Curve(look) => {
                let style = look.color.stroke_width(stroke(LINE_WIDTH));
                polyline(area, &[(x - half, y), (x + half, y)], look.dash, style)?;
                marker(area, (x, y), look, MARKER)
            }
            Self::Line(color, dash) => {
                let style = color.stroke_width(stroke(LINE_WIDTH));
                polyline(area, &[(x - half, y), (x + half, y)], dash, style)
            }
            Self::Mark(look) => marker(area, (x, y), look, MARKER),
            Self::Ring(color) => {
                area.draw(&Circle::new(at, pt(3.0), color.filled()))?;
                area.draw(&Circle::new(at, pt(1.8), WHITE.filled()))
            }
            Self::Dot(color) => {
                area.draw(&Circle::new(at, pt(1.9), WHITE.filled()))?;
                area.draw(&Circle::new(at, pt(1.4), color.filled()))
            }
            Self::Bar(color, hatched) => bar(area, around((x, y), half * 0.8, 3.0), color, hatched),
            Self::Interval => interval(area, (x - half * 0.7, x + half * 0.7), y, 2.0),
            Self::Region(color) => {
                let Rect { left, top, right, bottom } = around((x, y), half * 0.8, 3.0);
                let corners = [(pt(left), pt(top)), (pt(right), pt(bottom))];
                area.draw(&Rectangle::new(corners, color.mix(0.6).filled()))
            }
            Self::Contour(color) => {
                for (reach, width, color) in
                    [(half * 0.8 + 0.4, 2.2, INK), (half * 0.8, 1.2, color)]
                {
                    let line = [(pt(x - reach), pt(y)), (pt(x + reach), pt(y))];
                    area.draw(&PathElement::new(line, color.stroke_width(stroke(width))))?;
                }
                Ok(())
            }
            Self::Box(color) => boxed(area, around((x, y), 4.5, 3.0), color),
            Self::Disc(color) => {
                area.draw(&Circle::new(at, pt(2.5 * scale), WHITE.filled()))?;
                area.draw(&Circle::new(at, pt(1.8 * scale), color.filled()))
            }
            Self::Cross(color) => {
                let arms = |arm: f64, style: ShapeStyle| -> DrawResult {
                    for lift in [arm, -arm] {
                        let line = [(pt(x - arm), pt(y - lift)), (pt(x + arm), pt(y + lift))];
                        area.draw(&PathElement::new(line, style))?;
                    }
                    Ok(())
                };
                arms(2.2 * scale, WHITE.stroke_width(stroke(2.3 * scale)))?;
                arms(1.8 * scale, color.stroke_width(stroke(1.2 * scale)))
            }
        }
    }
}

fn around((x, y): (f64, f64), half_width: f64, half_height: f64) -> Rect {
    Rect {
        left: x - half_width,
        top: y - half_height,
        right: x + half_width,
        bottom: y + half_height,
    }
}

/// Draws the border of a rectangle over a dark line that makes it seen on any image.
pub(crate) fn boxed(area: &Area<'_>, rect: Rect, color: RGBColor) -> DrawResult {
    outline(area, rect, INK.mix(0.8).stroke_width(stroke(1.9)))?;
    outline(area, rect, color.stroke_width(stroke(1.1)))
}

/// Symbols with their meaning, in centered rows.
pub(crate) struct Legend {
    rows: Vec<Vec<(Symbol, String)>>,
    width: f64,
}

impl Legend {
    /// Breaks the entries into rows of at most `width` points.
    pub(crate) fn new(entries: Vec<(Symbol, String)>, width: f64) -> Self {
        let mut rows: Vec<Vec<(Symbol, String)>> = Vec::new();
        let mut used = f64::INFINITY;
        for (symbol, label) in entries {
            let label = font::fit(&label, font::LABEL, width - SYMBOL_WIDTH - SYMBOL_GAP);
            let needed = entry_width(&label);
            if used + ENTRY_GAP + needed > width {
                rows.push(Vec::new());
                used = -ENTRY_GAP;
            }
            used += ENTRY_GAP + needed;
            if let Some(row) = rows.last_mut() {
                row.push((symbol, label));
            }
        }
        Self { rows, width }
    }

    /// Height of all rows in points.
    pub(crate) fn height(&self) -> f64 {
        self.rows.len() as f64 * ROW_HEIGHT
    }

    /// Draws the rows with their top-left corner at `(left, top)`, in points.
    pub(crate) fn draw(&self, area: &Area<'_>, (left, top): (f64, f64)) -> DrawResult {
        let style = font::style(font::LABEL, INK, HPos::Left, VPos::Center);
        for (i, row) in self.rows.iter().enumerate() {
            let y = top + (i as f64 + 0.5) * ROW_HEIGHT;
            let used: f64 = row.iter().map(|(_, label)| entry_width(label) + ENTRY_GAP).sum();
            let mut x = left + (self.width - used + ENTRY_GAP) / 2.0;
            for (symbol, label) in row {
                symbol.draw(area, (x + SYMBOL_WIDTH / 2.0, y))?;
                let text_at = (pt(x + SYMBOL_WIDTH + SYMBOL_GAP), pt(y));
                area.draw_text(label, &style, text_at)?;
                x += entry_width(label) + ENTRY_GAP;
            }
        }
        Ok(())
    }
}

/// What stands below the plots of a figure: the legend, and what a reader has to know.
pub(crate) struct Footer {
    legend: Legend,
    notes: Vec<String>,
}

/// Height of a line of notes, in points.
const NOTE_HEIGHT: f64 = 8.0;

impl Footer {
    /// A footer of `width` points. Every note starts a line of its own.
    pub(crate) fn new(entries: Vec<(Symbol, String)>, notes: &[String], width: f64) -> Self {
        let notes = notes.iter().flat_map(|note| font::wrap(note, font::SMALL, width)).collect();
        Self { legend: Legend::new(entries, width), notes }
    }

    /// Height in points.
    pub(crate) fn height(&self) -> f64 {
        let notes = self.notes.len() as f64 * NOTE_HEIGHT;
        self.legend.height() + if self.notes.is_empty() { 0.0 } else { notes + 2.0 }
    }

    /// Draws it with its top-left corner at `(left, top)`, in points.
    pub(crate) fn draw(&self, area: &Area<'_>, (left, top): (f64, f64)) -> DrawResult {
        self.legend.draw(area, (left, top))?;
        for (i, note) in self.notes.iter().enumerate() {
            let y = top + self.legend.height() + 2.0 + (i as f64 + 0.5) * NOTE_HEIGHT;
            remark(area, note, (left + self.legend.width / 2.0, y), HPos::Center)?;
        }
        Ok(())
    }
}

fn entry_width(label: &str) -> f64 {
    SYMBOL_WIDTH + SYMBOL_GAP + font::width(label, font::LABEL)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(labels: &[&str]) -> Vec<(Symbol, String)> {
        labels.iter().map(|&label| (Symbol::Line(INK, &[]), label.to_owned())).collect()
    }

    #[test]
    fn entries_share_a_row_until_it_is_full() {
        let one = entry_width("method");
        let width = 2.0 * one + ENTRY_GAP + 0.5;
        let legend = Legend::new(entries(&["method"; 5]), width);
        let counts: Vec<_> = legend.rows.iter().map(Vec::len).collect();
        assert_eq!(counts, [2, 2, 1]);
        assert_eq!(legend.height(), 3.0 * ROW_HEIGHT);
        assert_eq!(Legend::new(vec![], width).height(), 0.0);
    }

    #[test]
    fn a_label_wider_than_the_figure_is_shortened() {
        let legend = Legend::new(entries(&[&"long".repeat(50), "short"]), 200.0);
        assert_eq!(legend.rows.len(), 2);
        assert!(entry_width(&legend.rows[0][0].1) <= 200.0);
    }
}
