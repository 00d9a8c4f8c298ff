//! Draws a sketch as SVG and as PNG.
//!
//! Plotters places everything at integers, so a sketch is drawn in units of a quarter of a pixel: lines
//! of the SVG are smooth, and the PNG comes from a bitmap of that size by averaging, which also smooths
//! what Plotters draws with hard edges.
//!
//! Photographs lie below everything else and are not drawn through Plotters, whose SVG backend can
//! neither scale nor compress them.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::imageops::{self, FilterType};
use image::{ExtendedColorType, ImageEncoder, Rgb, RgbImage};
use plotters::backend::{BitMapBackend, DrawingBackend, SVGBackend};
use plotters::coord::Shift;
use plotters::drawing::{DrawingArea, DrawingAreaErrorKind, IntoDrawingArea};
use plotters_backend::{
    BackendColor, BackendCoord, BackendStyle, BackendTextStyle, DrawingErrorKind,
};

use super::{Figure, FigureError, font};

/// Units of the drawing area per pixel of the figure.
pub(crate) const UNIT: i32 = 4;
/// Pixels of the PNG per pixel of the figure.
pub(crate) const PNG_SCALE: u32 = 2;

/// Pixels of the figure in units of the drawing area.
pub(crate) fn px(pixels: f64) -> i32 {
    (pixels * f64::from(UNIT)).round() as i32
}

/// A photograph and the top-left corner where it lies, in pixels of the figure.
pub(crate) struct Picture {
    pub(crate) x: u32,
    pub(crate) y: u32,
    /// [`PNG_SCALE`] pixels per pixel of the figure.
    pub(crate) pixels: RgbImage,
}

/// What a figure shows.
pub(crate) trait Sketch {
    /// Width and height in pixels of the figure.
    fn size(&self) -> (u32, u32);

    /// Photographs, which lie below the drawing.
    fn pictures(&self) -> &[Picture] {
        &[]
    }

    /// Draws everything else, in units of the drawing area.
    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>) -> DrawResult<B>;
}

/// The result of drawing on a backend.
pub(crate) type DrawResult<B> = Result<(), DrawingAreaErrorKind<<B as DrawingBackend>::ErrorType>>;

/// Draws a sketch in both formats.
pub(crate) fn render<S: Sketch>(sketch: &S) -> Result<Figure, FigureError> {
    Ok(Figure { svg: svg(sketch)?, png: png(sketch)? })
}

fn units<S: Sketch>(sketch: &S) -> (u32, u32) {
    let (width, height) = sketch.size();
    (width * UNIT as u32, height * UNIT as u32)
}

fn run<S: Sketch, B: DrawingBackend>(sketch: &S, backend: B) -> Result<(), FigureError> {
    let area = backend.into_drawing_area();
    let draw_error =
        |error: DrawingAreaErrorKind<B::ErrorType>| FigureError::Draw { reason: error.to_string() };
    sketch.draw(&area).map_err(draw_error)?;
    area.present().map_err(draw_error)
}

fn svg<S: Sketch>(sketch: &S) -> Result<String, FigureError> {
    let (width, height) = sketch.size();
    let (wide, high) = units(sketch);
    let mut drawn = String::new();
    run(sketch, SVGBackend::with_string(&mut drawn, (wide, high)))?;

    // Plotters' first line is a root element of the drawing area's size; ours scales it down.
    let Some((_, body)) = drawn.split_once('\n') else {
        return Err(FigureError::Draw { reason: "the SVG has no root element".into() });
    };
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {wide} {high}\">\n\
         <rect width=\"{wide}\" height=\"{high}\" fill=\"#FFFFFF\"/>\n"
    );
    let scale = UNIT as u32 / PNG_SCALE;
    for Picture { x, y, pixels } in sketch.pictures() {
        let mut jpeg = Vec::new();
        JpegEncoder::new_with_quality(&mut jpeg, 90)
            .encode_image(pixels)
            .map_err(FigureError::Encode)?;
        svg.push_str(&format!(
            "<image x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" href=\"data:image/jpeg;base64,{}\"/>\n",
            x * UNIT as u32,
            y * UNIT as u32,
            pixels.width() * scale,
            pixels.height() * scale,
            BASE64_STANDARD.encode(&jpeg),
        ));
    }
    svg.push_str(body);
    Ok(svg)
}

fn png<S: Sketch>(sketch: &S) -> Result<Vec<u8>, FigureError> {
    let (width, height) = sketch.size();
    let (wide, high) = units(sketch);
    let scale = UNIT as u32 / PNG_SCALE;
    let mut bitmap = RgbImage::from_pixel(wide, high, Rgb([255; 3]));
    for Picture { x, y, pixels } in sketch.pictures() {
        let (w, h) = (pixels.width() * scale, pixels.height() * scale);
        // Repeating pixels, not smoothing, so that averaging below gives back the same picture.
        let large = imageops::resize(pixels, w, h, FilterType::Nearest);
        imageops::replace(
            &mut bitmap,
            &large,
            i64::from(x * UNIT as u32),
            i64::from(y * UNIT as u32),
        );
    }
    run(sketch, Bitmap(BitMapBackend::with_buffer(&mut bitmap, (wide, high))))?;

    let (width, height) = (width * PNG_SCALE, height * PNG_SCALE);
    let averaged = imageops::thumbnail(&bitmap, width, height);
    let mut png = Vec::new();
    PngEncoder::new(&mut png)
        .write_image(&averaged, width, height, ExtendedColorType::Rgb8)
        .map_err(FigureError::Encode)?;
    Ok(png)
}

/// Plotters' bitmap with text of our own: Plotters drops the space to the left of each letter.
struct Bitmap<'a>(BitMapBackend<'a>);

impl DrawingBackend for Bitmap<'_> {
    type ErrorType = <BitMapBackend<'static> as DrawingBackend>::ErrorType;

    fn get_size(&self) -> (u32, u32) {
        self.0.get_size()
    }

    fn ensure_prepared(&mut self) -> Result<(), DrawingErrorKind<Self::ErrorType>> {
        self.0.ensure_prepared()
    }

    fn present(&mut self) -> Result<(), DrawingErrorKind<Self::ErrorType>> {
        self.0.present()
    }

    fn draw_pixel(
        &mut self,
        point: BackendCoord,
        color: BackendColor,
    ) -> Result<(), DrawingErrorKind<Self::ErrorType>> {
        self.0.draw_pixel(point, color)
    }

    fn draw_line<S: BackendStyle>(
        &mut self,
        from: BackendCoord,
        to: BackendCoord,
        style: &S,
    ) -> Result<(), DrawingErrorKind<Self::ErrorType>> {
        self.0.draw_line(from, to, style)
    }

    fn draw_rect<S: BackendStyle>(
        &mut self,
        upper_left: BackendCoord,
        bottom_right: BackendCoord,
        style: &S,
        fill: bool,
    ) -> Result<(), DrawingErrorKind<Self::ErrorType>> {
        self.0.draw_rect(upper_left, bottom_right, style, fill)
    }

    fn draw_text<S: BackendTextStyle>(
        &mut self,
        text: &str,
        style: &S,
        position: BackendCoord,
    ) -> Result<(), DrawingErrorKind<Self::ErrorType>> {
        let color = style.color();
        let transform = style.transform();
        let (width, height) = self.get_size();
        let mut result = Ok(());
        font::rasterize(text, style.size(), &style.anchor(), |x, y, coverage| {
            let (dx, dy) = transform.transform(x, y);
            let (x, y) = (position.0 + dx, position.1 + dy);
            let inside = (0..width as i32).contains(&x) && (0..height as i32).contains(&y);
            if inside && result.is_ok() {
                let alpha = color.alpha * f64::from(coverage);
                result = self.0.draw_pixel((x, y), BackendColor { alpha, rgb: color.rgb });
            }
        });
        result
    }
}
