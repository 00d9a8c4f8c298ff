//! Every color that figures use.
//!
//! The eight colors that readers with any kind of color vision can tell apart: Okabe and Ito, Color
//! Universal Design, 2008.

use plotters::style::RGBColor;

pub(crate) const BLACK: RGBColor = RGBColor(0, 0, 0);
pub(crate) const ORANGE: RGBColor = RGBColor(230, 159, 0);
pub(crate) const SKY_BLUE: RGBColor = RGBColor(86, 180, 233);
pub(crate) const BLUISH_GREEN: RGBColor = RGBColor(0, 158, 115);
pub(crate) const YELLOW: RGBColor = RGBColor(240, 228, 66);
pub(crate) const BLUE: RGBColor = RGBColor(0, 114, 178);
pub(crate) const VERMILION: RGBColor = RGBColor(213, 94, 0);
pub(crate) const REDDISH_PURPLE: RGBColor = RGBColor(204, 121, 167);

/// Colors of lines on white, in the order in which methods get them. Yellow is too pale for a line.
pub(crate) const LINES: [RGBColor; 7] =
    [BLUE, VERMILION, BLUISH_GREEN, ORANGE, REDDISH_PURPLE, SKY_BLUE, BLACK];

pub(crate) const WHITE: RGBColor = RGBColor(255, 255, 255);
/// Labels and axes.
pub(crate) const INK: RGBColor = RGBColor(40, 40, 40);
/// Second-rank labels.
pub(crate) const FAINT_INK: RGBColor = RGBColor(100, 100, 100);
/// Grid lines and frames of pictures.
pub(crate) const GRID: RGBColor = RGBColor(226, 226, 226);
