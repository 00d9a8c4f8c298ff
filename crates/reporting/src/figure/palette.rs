//! Every color, line style, marker and hatching that figures use.
//!
//! The eight colors are those that readers with any kind of color vision can tell apart: Okabe and
//! Ito, Color Universal Design, 2008. No figure says anything by color alone: each color comes with a
//! line style, a marker and a hatching of its own, so that a print in gray can be read as well.

use plotters::style::RGBColor;

pub(crate) const BLACK: RGBColor = RGBColor(0, 0, 0);
pub(crate) const ORANGE: RGBColor = RGBColor(230, 159, 0);
pub(crate) const SKY_BLUE: RGBColor = RGBColor(86, 180, 233);
pub(crate) const BLUISH_GREEN: RGBColor = RGBColor(0, 158, 115);
pub(crate) const YELLOW: RGBColor = RGBColor(240, 228, 66);
pub(crate) const BLUE: RGBColor = RGBColor(0, 114, 178);
pub(crate) const VERMILION: RGBColor = RGBColor(213, 94, 0);
pub(crate) const REDDISH_PURPLE: RGBColor = RGBColor(204, 121, 167);

pub(crate) const WHITE: RGBColor = RGBColor(255, 255, 255);
/// Labels and axes.
pub(crate) const INK: RGBColor = RGBColor(40, 40, 40);
/// Second-rank labels.
pub(crate) const FAINT_INK: RGBColor = RGBColor(100, 100, 100);
/// Grid lines and frames of pictures.
pub(crate) const GRID: RGBColor = RGBColor(222, 222, 222);

/// A color as it looks on white with this opacity. Plain colors instead of transparent ones: a PDF keeps a
/// group of its own for each transparent sign.
pub(crate) fn tint(color: RGBColor, opacity: f64) -> RGBColor {
    let mix = |channel: u8| (255.0 - (255.0 - f64::from(channel)) * opacity).round() as u8;
    RGBColor(mix(color.0), mix(color.1), mix(color.2))
}

/// The shape around a data point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Marker {
    Circle,
    Square,
    Triangle,
    Diamond,
    Cross,
    Plus,
    TriangleDown,
}

/// How one of several methods looks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Look {
    pub(crate) color: RGBColor,
    pub(crate) marker: Marker,
    /// Lengths of dashes and gaps in points; a solid line without any.
    pub(crate) dash: &'static [f64],
}

/// The looks of methods, in the order in which they get them. Yellow is too pale for a line.
pub(crate) const LOOKS: [Look; 7] = [
    Look { color: BLUE, marker: Marker::Circle, dash: &[] },
    Look { color: VERMILION, marker: Marker::Square, dash: &[5.0, 2.0] },
    Look { color: BLUISH_GREEN, marker: Marker::Triangle, dash: &[1.5, 1.5] },
    Look { color: ORANGE, marker: Marker::Diamond, dash: &[5.0, 1.5, 1.5, 1.5] },
    Look { color: REDDISH_PURPLE, marker: Marker::Cross, dash: &[8.0, 2.5] },
    Look { color: SKY_BLUE, marker: Marker::TriangleDown, dash: &[3.0, 1.5] },
    Look { color: BLACK, marker: Marker::Plus, dash: &[1.0, 2.5] },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tint_lies_between_white_and_the_color() {
        assert_eq!(tint(BLUE, 0.0), WHITE);
        assert_eq!(tint(BLUE, 1.0), BLUE);
        assert_eq!(tint(BLACK, 0.2), RGBColor(204, 204, 204));
    }

    #[test]
    fn no_two_looks_share_a_color_a_marker_or_a_line_style() {
        for (i, one) in LOOKS.iter().enumerate() {
            for other in &LOOKS[i + 1..] {
                assert_ne!(one.color, other.color);
                assert_ne!(one.marker, other.marker);
                assert_ne!(one.dash, other.dash);
            }
        }
    }
}
