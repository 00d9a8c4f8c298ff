//! Draws a sketch as SVG, and makes PNG and PDF of that SVG.
//!
//! A figure is measured in points (1/72 inch), the unit of type: a label of 7 points is as large on
//! paper as the caption below it. Plotters places everything at integers, so the drawing area is
//! counted in twentieths of a point.
//!
//! There is one drawing and one path to each format: Plotters writes the SVG, resvg renders it, and
//! svg2pdf translates it. Photographs lie below everything else and are not drawn through Plotters,
//! whose SVG backend can neither scale nor compress them.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use image::RgbImage;
use image::codecs::jpeg::JpegEncoder;
use plotters::backend::SVGBackend;
use plotters::coord::Shift;
use plotters::drawing::{DrawingArea, DrawingAreaErrorKind, IntoDrawingArea};

use super::FigureError;

/// Units of the drawing area per point of the figure.
pub(crate) const UNIT: f64 = 20.0;
/// Points per millimeter.
pub(crate) const POINTS_PER_MM: f64 = 72.0 / 25.4;
/// Quality of photographs: no artefact is seen in print.
const JPEG_QUALITY: u8 = 92;
/// Pixels of photographs per inch, at most: what printers resolve.
pub(crate) const PHOTO_DPI: f64 = 300.0;

/// Points of the figure in units of the drawing area.
pub(crate) fn pt(points: f64) -> i32 {
    (points * UNIT).round() as i32
}

/// Points of the figure as the width of a line, in units of the drawing area.
pub(crate) fn stroke(points: f64) -> u32 {
    (points * UNIT).round().max(1.0) as u32
}

/// Where a sketch draws.
pub(crate) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// The result of drawing.
pub(crate) type DrawResult = Result<(), DrawingAreaErrorKind<std::io::Error>>;

/// A photograph and the rectangle that it fills, in points.
pub(crate) struct Picture {
    pub(crate) left: f64,
    pub(crate) top: f64,
    pub(crate) width: f64,
    pub(crate) height: f64,
    pub(crate) pixels: RgbImage,
}

impl Picture {
    /// The number of pixels that fill so many points at [`PHOTO_DPI`].
    pub(crate) fn pixels_of(points: f64) -> u32 {
        ((points / 72.0 * PHOTO_DPI).round() as u32).max(1)
    }
}

/// What a figure shows.
pub(crate) trait Sketch {
    /// Width and height in points.
    fn size(&self) -> (f64, f64);

    /// Photographs, which lie below the drawing.
    fn pictures(&self) -> &[Picture] {
        &[]
    }

    /// Draws everything else.
    fn draw(&self, area: &Area<'_>) -> DrawResult;
}

/// A photograph as a JPEG file.
///
/// # Errors
///
/// [`FigureError::Encode`]
pub(crate) fn jpeg(picture: &RgbImage) -> Result<Vec<u8>, FigureError> {
    let mut jpeg = Vec::new();
    JpegEncoder::new_with_quality(&mut jpeg, JPEG_QUALITY)
        .encode_image(picture)
        .map_err(FigureError::Encode)?;
    Ok(jpeg)
}

/// What a sketch draws, as SVG elements without their root.
fn elements(sketch: &dyn Sketch) -> Result<String, FigureError> {
    let (width, height) = sketch.size();
    let mut drawn = String::new();
    {
        let units = (pt(width) as u32, pt(height) as u32);
        let area = SVGBackend::with_string(&mut drawn, units).into_drawing_area();
        let refused = |error: DrawingAreaErrorKind<std::io::Error>| FigureError::Draw {
            reason: error.to_string(),
        };
        sketch.draw(&area).map_err(refused)?;
        area.present().map_err(refused)?;
    }
    // Plotters' first line is a root element, its last the end of it; a figure has its own.
    let inner = drawn.split_once('\n').and_then(|(_, rest)| rest.rsplit_once("</svg>"));
    match inner {
        Some((elements, _)) => {
            let lines = elements.split_inclusive('\n').filter(|line| !is_no_line(line));
            Ok(lines.collect())
        }
        None => Err(FigureError::Draw { reason: "the SVG has no root element".into() }),
    }
}

/// Whether an element is a line from a point to itself, e.g. the interval of equal scores: nothing is seen of it,
/// and renderers complain.
fn is_no_line(element: &str) -> bool {
    let Some(line) = element.trim_start().strip_prefix("<polyline ") else { return false };
    let points = line.split("points=\"").nth(1).and_then(|rest| rest.split('"').next());
    let mut points = points.unwrap_or_default().split_whitespace();
    points.next().is_none_or(|first| points.all(|point| point == first))
}

/// A sketch as the elements of an SVG document, without its root.
pub(crate) struct Drawing {
    /// Width and height in points.
    pub(crate) size: (f64, f64),
    /// Elements, in units of the drawing area.
    body: String,
}

impl Drawing {
    /// Draws a sketch.
    ///
    /// # Errors
    ///
    /// [`FigureError::Draw`] if Plotters refuses, [`FigureError::Encode`] if a photograph cannot be
    /// encoded.
    pub(crate) fn of(sketch: &dyn Sketch) -> Result<Self, FigureError> {
        let size = sketch.size();
        let (wide, high) = (pt(size.0), pt(size.1));
        let mut body = format!("<rect width=\"{wide}\" height=\"{high}\" fill=\"#FFFFFF\"/>\n");
        for picture in sketch.pictures() {
            body.push_str(&format!(
                "<image x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" preserveAspectRatio=\"none\" \
                 href=\"data:image/jpeg;base64,{}\"/>\n",
                pt(picture.left),
                pt(picture.top),
                pt(picture.width),
                pt(picture.height),
                BASE64_STANDARD.encode(jpeg(&picture.pixels)?),
            ));
        }
        body.push_str(&elements(sketch)?);
        Ok(Self { size, body })
    }

    /// A sketch without ground and pictures as an SVG element that fills what it lies over.
    ///
    /// # Errors
    ///
    /// [`FigureError::Draw`] if Plotters refuses.
    pub(crate) fn over(sketch: &dyn Sketch) -> Result<String, FigureError> {
        let (width, height) = sketch.size();
        let (wide, high) = (pt(width), pt(height));
        let elements = elements(sketch)?;
        Ok(format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {wide} {high}\">{elements}</svg>"
        ))
    }

    /// The drawing as an SVG document: `head` stands before everything that is drawn.
    pub(crate) fn document(&self, head: &str) -> String {
        let (width, height) = self.size;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{:.2}mm\" height=\"{:.2}mm\" \
             viewBox=\"0 0 {} {}\" stroke-linejoin=\"round\">\n{head}{}</svg>\n",
            width / POINTS_PER_MM,
            height / POINTS_PER_MM,
            pt(width),
            pt(height),
            self.body,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_from_a_point_to_itself_is_none() {
        let line = |points: &str| format!("<polyline fill=\"none\" points=\"{points}\"/>\n");
        assert!(is_no_line(&line("3,4 3,4 ")));
        assert!(!is_no_line(&line("3,4 3,5 ")) && !is_no_line(&line("3,4 3,5 3,4 ")));
        assert!(!is_no_line("<circle cx=\"3\" cy=\"4\"/>"));
    }
}
