//! The font of all figures, compiled in so that they are the same on every machine.

use std::sync::{Arc, LazyLock};

use ab_glyph::{Font, FontRef, PxScale, ScaleFont};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, FontDesc, FontFamily, FontStyle, FontTransform, RGBColor, TextStyle};
use resvg::usvg::fontdb;

use super::canvas::UNIT;

/// The family as SVG viewers see it.
pub(crate) const FAMILY: &str = "DejaVu Sans";
/// Size of labels and legends, in points.
pub(crate) const LABEL: f64 = 6.5;
/// Size of the names of axes and plots, in points.
pub(crate) const TITLE: f64 = 7.0;
/// Size of remarks, in points.
pub(crate) const SMALL: f64 = 5.5;

/// Plotters calls a font's size what is this many times its em.
const SIZE_PER_EM: f64 = 1.24;

static BYTES: &[u8] = include_bytes!("../../assets/DejaVuSans-subset.ttf");

static FONT: LazyLock<FontRef<'static>> =
    LazyLock::new(|| FontRef::try_from_slice(BYTES).expect("the font in `assets` is a valid font"));

/// The font as renderers of SVG look it up, and no other.
pub(crate) fn database() -> Arc<fontdb::Database> {
    static DATABASE: LazyLock<Arc<fontdb::Database>> = LazyLock::new(|| {
        let mut database = fontdb::Database::new();
        database.load_font_data(BYTES.to_vec());
        Arc::new(database)
    });
    DATABASE.clone()
}

/// A style sheet that brings the font along.
pub(crate) fn style_sheet() -> String {
    format!(
        "@font-face{{font-family:\"{FAMILY}\";src:url(data:font/ttf;base64,{}) format(\"truetype\")}}",
        BASE64_STANDARD.encode(BYTES)
    )
}

/// A text style of `em` points.
pub(crate) fn style(em: f64, color: RGBColor, h_pos: HPos, v_pos: VPos) -> TextStyle<'static> {
    let font = FontDesc::new(FontFamily::Name(FAMILY), em * UNIT * SIZE_PER_EM, FontStyle::Normal);
    TextStyle { font, color: color.to_backend_color(), pos: Pos::new(h_pos, v_pos) }
}

/// A text style of `em` points, centered and turned so that it reads from bottom to top.
pub(crate) fn upward(em: f64, color: RGBColor) -> TextStyle<'static> {
    let mut style = style(em, color, HPos::Center, VPos::Center);
    style.font = style.font.transform(FontTransform::Rotate270);
    style
}

/// Width of a line of text of `em` points, in points.
pub(crate) fn width(text: &str, em: f64) -> f64 {
    let font = FONT.as_scaled(scale(em as f32));
    text.chars().map(|c| f64::from(font.h_advance(font.glyph_id(c)))).sum()
}

/// Shortens a text with an ellipsis in its middle, so that it is at most `limit` points wide.
pub(crate) fn fit(text: &str, em: f64, limit: f64) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut keep = chars.len();
    let mut fitted = text.to_owned();
    while width(&fitted, em) > limit && keep > 2 {
        keep -= 1;
        let head: String = chars[..keep.div_ceil(2)].iter().collect();
        let tail: String = chars[chars.len() - keep / 2..].iter().collect();
        fitted = format!("{head}\u{2026}{tail}");
    }
    fitted
}

/// Breaks a text at spaces into lines of at most `limit` points; a word wider than that is
/// shortened.
pub(crate) fn wrap(text: &str, em: f64, limit: f64) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if width(&format!("{line} {word}"), em) <= limit => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(fit(word, em, limit)),
        }
    }
    lines
}

/// The scale at which an em is `em` pixels: `ab_glyph` scales by the height of a line.
fn scale(em: f32) -> PxScale {
    let units_per_em = FONT.units_per_em().expect("the font in `assets` states its em");
    PxScale::from(em * FONT.height_unscaled() / units_per_em)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_are_those_of_the_font_tables() {
        // Advances in DejaVu Sans: i 569, m 1995, of 2048 units per em.
        assert!((width("i", 2048.0) - 569.0).abs() < 0.5);
        assert!((width("mi", 20.48) - 25.64).abs() < 0.01);
    }

    #[test]
    fn text_that_fits_is_kept_and_longer_text_keeps_both_ends() {
        assert_eq!(fit("short.png", 10.0, 200.0), "short.png");
        let fitted = fit("a_very_long_name_of_a_file_0001.png", 10.0, 100.0);
        assert!(width(&fitted, 10.0) <= 100.0);
        assert!(fitted.starts_with("a_v") && fitted.ends_with(".png"), "{fitted}");
    }

    #[test]
    fn wrapped_text_keeps_its_words_and_its_width() {
        let text = "the quick brown fox jumps over the lazy dog";
        let lines = wrap(text, 7.0, 60.0);
        assert!(lines.len() > 2);
        assert_eq!(lines.join(" "), text);
        for line in &lines {
            assert!(width(line, 7.0) <= 60.0, "{line}");
        }
    }

    #[test]
    fn the_family_that_figures_name_is_the_family_of_the_font() {
        let database = database();
        let families: Vec<_> =
            database.faces().flat_map(|face| &face.families).map(|(name, _)| name).collect();
        assert_eq!(families, [FAMILY]);
    }
}
