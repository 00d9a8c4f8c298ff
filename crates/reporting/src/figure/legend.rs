//! Symbols, and the legend that explains them below a figure.

use plotters::backend::DrawingBackend;
use plotters::coord::Shift;
use plotters::drawing::DrawingArea;
use plotters::element::{Circle, PathElement, Rectangle};
use plotters::style::text_anchor::{HPos, VPos};
use plotters::style::{Color, RGBColor, ShapeStyle};

use super::canvas::{DrawResult, px};
use super::font;
use super::palette::{FAINT_INK, INK, WHITE};

/// Width of lines that carry data, in pixels.
pub(crate) const LINE_WIDTH: f64 = 1.75;
/// Length and gap of dashes, in pixels.
pub(crate) const DASH: (f64, f64) = (5.0, 3.0);
/// Radius of a single data point, in pixels.
pub(crate) const DOT_RADIUS: f64 = 2.25;

const EM: f64 = 12.0;
const ROW_HEIGHT: f64 = 20.0;
const SYMBOL_WIDTH: f64 = 24.0;
const SYMBOL_GAP: f64 = 6.0;
const ENTRY_GAP: f64 = 20.0;

/// A sign that stands for something.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Symbol {
    /// A solid line.
    Line(RGBColor),
    /// A dashed line.
    Dashes(RGBColor),
    /// A circle around a data point.
    Ring(RGBColor),
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
    /// Draws the symbol around `(x, y)`, in units of the drawing area.
    pub(crate) fn draw<B: DrawingBackend>(
        self,
        area: &DrawingArea<B, Shift>,
        (x, y): (i32, i32),
    ) -> DrawResult<B> {
        let half = px(SYMBOL_WIDTH / 2.0);
        match self {
            Self::Line(color) => {
                let style = color.stroke_width(px(LINE_WIDTH) as u32);
                area.draw(&PathElement::new([(x - half, y), (x + half, y)], style))
            }
            Self::Dashes(color) => {
                let style = color.stroke_width(px(LINE_WIDTH) as u32);
                let (dash, gap) = DASH;
                let mut from = -SYMBOL_WIDTH / 2.0;
                while from < SYMBOL_WIDTH / 2.0 {
                    let to = (from + dash).min(SYMBOL_WIDTH / 2.0);
                    area.draw(&PathElement::new([(x + px(from), y), (x + px(to), y)], style))?;
                    from += dash + gap;
                }
                Ok(())
            }
            Self::Ring(color) => {
                area.draw(&Circle::new((x, y), px(4.5), color.filled()))?;
                area.draw(&Circle::new((x, y), px(2.5), WHITE.filled()))
            }
            Self::Region(color) => {
                let corners = [(x - half, y - px(5.0)), (x + half, y + px(5.0))];
                area.draw(&Rectangle::new(corners, color.mix(0.6).filled()))
            }
            Self::Contour(color) => {
                let below = INK.stroke_width(px(3.5) as u32);
                let edge = px(0.75);
                area.draw(&PathElement::new([(x - half - edge, y), (x + half + edge, y)], below))?;
                let above = color.stroke_width(px(2.0) as u32);
                area.draw(&PathElement::new([(x - half, y), (x + half, y)], above))
            }
            Self::Box(color) => {
                boxed(area, (x - px(7.0), y - px(5.0), x + px(7.0), y + px(5.0)), color)
            }
            Self::Disc(color) => {
                area.draw(&Circle::new((x, y), px(5.5), WHITE.filled()))?;
                area.draw(&Circle::new((x, y), px(4.25), color.filled()))
            }
            Self::Cross(color) => {
                let arms = |arm: i32, style: ShapeStyle| -> DrawResult<B> {
                    area.draw(&PathElement::new([(x - arm, y - arm), (x + arm, y + arm)], style))?;
                    area.draw(&PathElement::new([(x - arm, y + arm), (x + arm, y - arm)], style))
                };
                arms(px(5.0), WHITE.stroke_width(px(5.0) as u32))?;
                arms(px(4.25), color.stroke_width(px(2.5) as u32))
            }
        }
    }
}

/// Draws the border of a rectangle, left, top, right, bottom, over a dark line that makes it seen on
/// any image.
///
/// As a path, because Plotters' own rectangle has no line width in SVG.
pub(crate) fn boxed<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    (left, top, right, bottom): (i32, i32, i32, i32),
    color: RGBColor,
) -> DrawResult<B> {
    // The path starts and ends in the middle of an edge, so that all four corners are joined.
    let middle = (left + right) / 2;
    let path =
        [(middle, top), (right, top), (right, bottom), (left, bottom), (left, top), (middle, top)];
    area.draw(&PathElement::new(path, INK.mix(0.8).stroke_width(px(3.5) as u32)))?;
    area.draw(&PathElement::new(path, color.stroke_width(px(2.0) as u32)))
}

/// Symbols with their meaning, in centered rows.
pub(crate) struct Legend {
    rows: Vec<Vec<(Symbol, String)>>,
    width: f64,
}

impl Legend {
    /// Breaks the entries into rows of at most `width` pixels.
    pub(crate) fn new(entries: Vec<(Symbol, String)>, width: f64) -> Self {
        let mut rows: Vec<Vec<(Symbol, String)>> = Vec::new();
        let mut used = f64::INFINITY;
        for (symbol, label) in entries {
            let label = font::fit(&label, EM, width - SYMBOL_WIDTH - SYMBOL_GAP);
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

    /// Height of all rows in pixels.
    pub(crate) fn height(&self) -> f64 {
        self.rows.len() as f64 * ROW_HEIGHT
    }

    /// Draws the rows with their top-left corner at `(x, y)`, in pixels.
    pub(crate) fn draw<B: DrawingBackend>(
        &self,
        area: &DrawingArea<B, Shift>,
        (left, top): (f64, f64),
    ) -> DrawResult<B> {
        let style = font::style(EM, INK, HPos::Left, VPos::Center);
        for (i, row) in self.rows.iter().enumerate() {
            let y = px(top + (i as f64 + 0.5) * ROW_HEIGHT);
            let used: f64 = row.iter().map(|(_, label)| entry_width(label) + ENTRY_GAP).sum();
            let mut x = left + (self.width - used + ENTRY_GAP) / 2.0;
            for (symbol, label) in row {
                symbol.draw(area, (px(x + SYMBOL_WIDTH / 2.0), y))?;
                area.draw_text(label, &style, (px(x + SYMBOL_WIDTH + SYMBOL_GAP), y))?;
                x += entry_width(label) + ENTRY_GAP;
            }
        }
        Ok(())
    }
}

fn entry_width(label: &str) -> f64 {
    SYMBOL_WIDTH + SYMBOL_GAP + font::width(label, EM)
}

/// Writes a small remark.
pub(crate) fn remark<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    text: &str,
    (x, y): (f64, f64),
    h_pos: HPos,
) -> DrawResult<B> {
    area.draw_text(text, &font::style(11.0, FAINT_INK, h_pos, VPos::Center), (px(x), px(y)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(labels: &[&str]) -> Vec<(Symbol, String)> {
        labels.iter().map(|&label| (Symbol::Line(INK), label.to_owned())).collect()
    }

    #[test]
    fn entries_share_a_row_until_it_is_full() {
        let one = entry_width("method");
        let width = 2.0 * one + ENTRY_GAP + 0.5;
        let legend = Legend::new(entries(&["method"; 5]), width);
        let counts: Vec<_> = legend.rows.iter().map(Vec::len).collect();
        assert_eq!(counts, [2, 2, 1]);
        assert_eq!(legend.height(), 60.0);
        assert_eq!(Legend::new(vec![], width).height(), 0.0);
    }

    #[test]
    fn a_label_wider_than_the_figure_is_shortened() {
        let legend = Legend::new(entries(&[&"long".repeat(50), "short"]), 200.0);
        assert_eq!(legend.rows.len(), 2);
        assert!(entry_width(&legend.rows[0][0].1) <= 200.0);
    }
}
