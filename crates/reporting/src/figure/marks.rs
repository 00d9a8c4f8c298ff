//! The signs that carry data: lines, markers, bars, boxes, points on photographs.

use plotters::element::{Circle, PathElement, Polygon, Rectangle};
use plotters::style::text_anchor::{HPos, VPos};
use plotters::style::{Color, RGBColor, ShapeStyle};

use super::axes::Rect;
use super::canvas::{Area, DrawResult, pt, stroke};
use super::font;
use super::palette::{FAINT_INK, INK, Look, Marker, WHITE};

/// Width of lines that carry data, in points.
pub(crate) const LINE_WIDTH: f64 = 1.1;
/// Half the extent of a marker, in points.
pub(crate) const MARKER: f64 = 2.1;
/// Distance between the lines of a hatching, in points.
const HATCH_GAP: f64 = 2.6;

/// A line through points (in points of the figure), solid or with dashes and gaps in turn.
pub(crate) fn polyline(
    area: &Area<'_>,
    points: &[(f64, f64)],
    dash: &[f64],
    style: ShapeStyle,
) -> DrawResult {
    for piece in dashes(points, dash) {
        let piece: Vec<_> = piece.into_iter().map(|(x, y)| (pt(x), pt(y))).collect();
        area.draw(&PathElement::new(piece, style))?;
    }
    Ok(())
}

/// Cuts a line into its dashes.
fn dashes(points: &[(f64, f64)], dash: &[f64]) -> Vec<Vec<(f64, f64)>> {
    if dash.is_empty() {
        return vec![points.to_vec()];
    }
    let mut pieces: Vec<Vec<(f64, f64)>> = vec![points.iter().take(1).copied().collect()];
    let (mut at, mut left) = (0, dash[0]);
    for pair in points.windows(2) {
        let ((x0, y0), (x1, y1)) = (pair[0], pair[1]);
        let length = (x1 - x0).hypot(y1 - y0);
        let mut done = 0.0;
        while length - done > left {
            done += left;
            let share = done / length;
            let point = (x0 + share * (x1 - x0), y0 + share * (y1 - y0));
            // Even places are dashes, odd ones gaps.
            if at % 2 == 0 {
                if let Some(piece) = pieces.last_mut() {
                    piece.push(point);
                }
            } else {
                pieces.push(vec![point]);
            }
            at += 1;
            left = dash[at % dash.len()];
        }
        left -= length - done;
        if at % 2 == 0
            && let Some(piece) = pieces.last_mut()
        {
            piece.push((x1, y1));
        }
    }
    pieces.retain(|piece| piece.len() > 1);
    pieces
}

/// The marker of a look at `(x, y)`, in points of the figure, with a white rim.
pub(crate) fn marker(area: &Area<'_>, (x, y): (f64, f64), look: Look, half: f64) -> DrawResult {
    let polygon = |corners: &[(f64, f64)], grow: f64, color: RGBColor| {
        let corners: Vec<_> = corners
            .iter()
            .map(|&(dx, dy)| (pt(x + dx * (half + grow)), pt(y + dy * (half + grow))))
            .collect();
        area.draw(&Polygon::new(corners, color.filled()))
    };
    let shape = |corners: &[(f64, f64)]| {
        polygon(corners, 0.7, WHITE)?;
        polygon(corners, 0.0, look.color)
    };
    let strokes = |lines: &[[(f64, f64); 2]]| {
        for (width, color) in [(1.3 + 1.2, WHITE), (1.3, look.color)] {
            for line in lines {
                let line = line.map(|(dx, dy)| (pt(x + dx * half), pt(y + dy * half)));
                area.draw(&PathElement::new(line, color.stroke_width(stroke(width))))?;
            }
        }
        Ok(())
    };
    match look.marker {
        Marker::Circle => {
            area.draw(&Circle::new((pt(x), pt(y)), pt(half + 0.6), WHITE.filled()))?;
            area.draw(&Circle::new((pt(x), pt(y)), pt(half), look.color.filled()))
        }
        Marker::Square => shape(&[(-0.88, -0.88), (0.88, -0.88), (0.88, 0.88), (-0.88, 0.88)]),
        Marker::Triangle => shape(&[(-1.1, 0.85), (1.1, 0.85), (0.0, -1.1)]),
        Marker::TriangleDown => shape(&[(-1.1, -0.85), (1.1, -0.85), (0.0, 1.1)]),
        Marker::Diamond => shape(&[(0.0, -1.25), (1.25, 0.0), (0.0, 1.25), (-1.25, 0.0)]),
        Marker::Cross => strokes(&[[(-0.9, -0.9), (0.9, 0.9)], [(-0.9, 0.9), (0.9, -0.9)]]),
        Marker::Plus => strokes(&[[(-1.15, 0.0), (1.15, 0.0)], [(0.0, -1.15), (0.0, 1.15)]]),
    }
}

/// A rectangle filled with color, or hatched with it: what stands apart is seen in gray, too.
pub(crate) fn bar(area: &Area<'_>, rect: Rect, color: RGBColor, hatched: bool) -> DrawResult {
    let corners = [(pt(rect.left), pt(rect.top)), (pt(rect.right), pt(rect.bottom))];
    let [(left, top), (right, bottom)] = corners;
    // A bar of 0 has nothing to fill, and programs that draw SVG complain of such rectangles.
    let filled = left != right && top != bottom;
    if filled && hatched {
        area.draw(&Rectangle::new(corners, WHITE.filled()))?;
        for [from, to] in hatching(rect) {
            let line = [(pt(from.0), pt(from.1)), (pt(to.0), pt(to.1))];
            area.draw(&PathElement::new(line, color.stroke_width(stroke(0.5))))?;
        }
    } else if filled {
        area.draw(&Rectangle::new(corners, color.filled()))?;
    }
    outline(area, rect, color.stroke_width(stroke(0.6)))
}

/// The border of a rectangle. As a path, because Plotters' own rectangle has no line width in SVG.
pub(crate) fn outline(area: &Area<'_>, rect: Rect, style: ShapeStyle) -> DrawResult {
    let (left, top, right, bottom) = (pt(rect.left), pt(rect.top), pt(rect.right), pt(rect.bottom));
    // The path starts and ends in the middle of an edge, so that all four corners are joined.
    let middle = (left + right) / 2;
    let path =
        [(middle, top), (right, top), (right, bottom), (left, bottom), (left, top), (middle, top)];
    area.draw(&PathElement::new(path, style))
}

/// Rising lines that fill a rectangle, cut off at its edges.
fn hatching(rect: Rect) -> Vec<[(f64, f64); 2]> {
    let (width, height) = (rect.width(), rect.height());
    let mut lines = Vec::new();
    // The line starts `offset` right of the bottom left corner and rises to the right.
    let mut offset = -height + HATCH_GAP;
    while offset < width {
        let start = offset.max(0.0);
        let end = (offset + height).min(width);
        if end > start {
            let at = |along: f64| (rect.left + along, rect.bottom - (along - offset));
            lines.push([at(start), at(end)]);
        }
        offset += HATCH_GAP;
    }
    lines
}

/// A horizontal interval with end ticks, over a white rim that keeps it seen on a bar.
pub(crate) fn interval(area: &Area<'_>, (from, to): (f64, f64), y: f64, half: f64) -> DrawResult {
    for (width, color) in [(1.7, WHITE), (0.8, INK)] {
        let style = color.stroke_width(stroke(width));
        for [(x0, y0), (x1, y1)] in [
            [(from, y), (to, y)],
            [(from, y - half), (from, y + half)],
            [(to, y - half), (to, y + half)],
        ] {
            area.draw(&PathElement::new([(pt(x0), pt(y0)), (pt(x1), pt(y1))], style))?;
        }
    }
    Ok(())
}

/// A vertical interval with end ticks.
pub(crate) fn upright_interval(
    area: &Area<'_>,
    x: f64,
    (from, to): (f64, f64),
    color: RGBColor,
) -> DrawResult {
    let style = color.stroke_width(stroke(0.7));
    for [(x0, y0), (x1, y1)] in
        [[(x, from), (x, to)], [(x - 1.5, from), (x + 1.5, from)], [(x - 1.5, to), (x + 1.5, to)]]
    {
        area.draw(&PathElement::new([(pt(x0), pt(y0)), (pt(x1), pt(y1))], style))?;
    }
    Ok(())
}

/// Writes a small remark, in the middle of whose height `y` lies.
pub(crate) fn remark(area: &Area<'_>, text: &str, (x, y): (f64, f64), h_pos: HPos) -> DrawResult {
    area.draw_text(text, &font::style(font::SMALL, FAINT_INK, h_pos, VPos::Center), (pt(x), pt(y)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dashes_keep_their_lengths_around_corners() {
        let line = [(0.0, 0.0), (4.0, 0.0), (4.0, 6.0)];
        let pieces = dashes(&line, &[3.0, 2.0]);
        assert_eq!(pieces, [vec![(0.0, 0.0), (3.0, 0.0)], vec![(4.0, 1.0), (4.0, 4.0)],]);
        assert_eq!(dashes(&line, &[]), [line.to_vec()]);
        // A dash that goes around the corner has three points.
        assert_eq!(dashes(&line, &[5.0, 100.0]), [vec![(0.0, 0.0), (4.0, 0.0), (4.0, 1.0)]]);
    }

    #[test]
    fn hatching_stays_inside_its_rectangle() {
        let rect = Rect { left: 3.0, top: 5.0, right: 17.0, bottom: 9.0 };
        let lines = hatching(rect);
        assert!(lines.len() >= 4);
        for [(x0, y0), (x1, y1)] in lines {
            for (x, y) in [(x0, y0), (x1, y1)] {
                assert!((3.0 - 1e-9..=17.0 + 1e-9).contains(&x), "{x}");
                assert!((5.0 - 1e-9..=9.0 + 1e-9).contains(&y), "{y}");
            }
            // It rises at 45 degrees.
            assert!((x1 - x0 - (y0 - y1)).abs() < 1e-9);
        }
    }
}
