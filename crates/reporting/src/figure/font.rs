//! The font of all figures, compiled in so that they are the same on every machine.

use std::sync::LazyLock;

use ab_glyph::{Font, FontRef, PxScale, ScaleFont};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, FontDesc, FontFamily, FontStyle, RGBColor, TextStyle, register_font};

use super::canvas::UNIT;

/// The family as SVG viewers see it: ours where it is installed, any sans-serif elsewhere.
pub(crate) const FAMILY: &str = "DejaVu Sans, sans-serif";

/// Plotters calls a font's size what is this many times its em.
const SIZE_PER_EM: f64 = 1.24;

static BYTES: &[u8] = include_bytes!("../../assets/DejaVuSans-subset.ttf");

static FONT: LazyLock<FontRef<'static>> =
    LazyLock::new(|| FontRef::try_from_slice(BYTES).expect("the font in `assets` is a valid font"));

/// A text style of `em` pixels.
pub(crate) fn style(em: f64, color: RGBColor, h_pos: HPos, v_pos: VPos) -> TextStyle<'static> {
    static REGISTERED: LazyLock<bool> =
        LazyLock::new(|| register_font(FAMILY, FontStyle::Normal, BYTES).is_ok());
    assert!(*REGISTERED, "the font in `assets` is a valid font");
    let size = em * f64::from(UNIT) * SIZE_PER_EM;
    let font = FontDesc::new(FontFamily::Name(FAMILY), size, FontStyle::Normal);
    TextStyle { font, color: color.to_backend_color(), pos: Pos::new(h_pos, v_pos) }
}

/// Width of a line of text of `em` pixels, in pixels.
pub(crate) fn width(text: &str, em: f64) -> f64 {
    let font = FONT.as_scaled(scale(em as f32));
    text.chars().map(|c| f64::from(font.h_advance(font.glyph_id(c)))).sum()
}

/// Shortens a text with an ellipsis in its middle, so that it is at most `limit` pixels wide.
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

/// Calls `paint` with offset and coverage of every pixel of a line of text.
///
/// Offsets are from the anchor point, y downwards. `size` is the size of the style. Anchors mean
/// what Plotters' SVG backend writes for them, so that text stands alike in both formats.
pub(crate) fn rasterize(text: &str, size: f64, anchor: &Pos, mut paint: impl FnMut(i32, i32, f32)) {
    let em = (size / SIZE_PER_EM) as f32;
    let scale = scale(em);
    let font = FONT.as_scaled(scale);
    let width: f32 = text.chars().map(|c| font.h_advance(font.glyph_id(c))).sum();
    let mut x = match anchor.h_pos {
        HPos::Left => 0.0,
        HPos::Center => -width / 2.0,
        HPos::Right => -width,
    };
    // An ex of DejaVu Sans is 0.547 em.
    let baseline = match anchor.v_pos {
        VPos::Top => 0.76 * em,
        VPos::Center => 0.5 * 0.547 * em,
        VPos::Bottom => -0.5 * 0.547 * em,
    };
    for c in text.chars() {
        let id = font.glyph_id(c);
        let glyph = id.with_scale_and_position(scale, ab_glyph::point(x, baseline));
        if let Some(outline) = FONT.outline_glyph(glyph) {
            let min = outline.px_bounds().min;
            outline.draw(|dx, dy, coverage| {
                paint(min.x as i32 + dx as i32, min.y as i32 + dy as i32, coverage);
            });
        }
        x += font.h_advance(id);
    }
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
    fn painted_text_lies_where_its_anchor_says() {
        let bounds = |h_pos, v_pos| {
            let (mut left, mut right, mut top, mut bottom) =
                (i32::MAX, i32::MIN, i32::MAX, i32::MIN);
            rasterize("HH", 124.0, &Pos::new(h_pos, v_pos), |x, y, coverage| {
                if coverage > 0.5 {
                    (left, right) = (left.min(x), right.max(x));
                    (top, bottom) = (top.min(y), bottom.max(y));
                }
            });
            (left, right, top, bottom)
        };
        // An em of 100 pixels: two advances of 75.2, capitals 72.9 high with bearings of 9.8.
        let (left, right, top, bottom) = bounds(HPos::Left, VPos::Top);
        assert!((9..=11).contains(&left) && (139..=142).contains(&right), "{left} {right}");
        assert!((2..=4).contains(&top) && (74..=77).contains(&bottom), "{top} {bottom}");
        let (left, right, ..) = bounds(HPos::Right, VPos::Top);
        assert!((-142..=-139).contains(&left) && (-11..=-9).contains(&right), "{left} {right}");
        let (left, right, ..) = bounds(HPos::Center, VPos::Center);
        assert!((left + right).abs() <= 2, "{left} {right}");
    }
}
