//! What is laid over a photograph: masks, their outlines, prompts.

use std::fs;
use std::path::Path;

use image::imageops::{self, FilterType};
use image::{DynamicImage, GrayImage, Rgb, RgbImage};
use plotters::style::RGBColor;
use run_record::{Panel, PanelPoint, RunRecordError};

use super::FigureError;
use super::axes::Rect;
use super::canvas::{Area, DrawResult, Picture};
use super::legend::{Symbol, boxed};
use super::palette::{BLUISH_GREEN, INK, ORANGE, SKY_BLUE, VERMILION, YELLOW};
use crate::entries::marked_prompts;
use crate::{Run, Scope};

/// How much of a region's color lies over the image.
const REGION_OPACITY: f32 = 0.45;
/// Half the width of a contour, and of the dark line below it, in points.
const CONTOUR: (f64, f64) = (0.45, 0.85);

/// Longest side of a picture, in points, from which on markers have their full size.
const FULL_MARKERS: f64 = 120.0;
/// The least size of markers as a share of that: smaller ones are not told apart in print.
const LEAST_MARKERS: f64 = 0.4;

pub(super) const TRUTH: RGBColor = YELLOW;
pub(super) const PREDICTION: RGBColor = SKY_BLUE;
pub(super) const FOREGROUND: Symbol = Symbol::Disc(BLUISH_GREEN);
pub(super) const BACKGROUND: Symbol = Symbol::Cross(VERMILION);
pub(super) const BOX: RGBColor = ORANGE;

/// Opens a picture of a panel.
pub(super) fn open(path: &Path) -> Result<DynamicImage, FigureError> {
    // A pipe would keep the decoder waiting; a file that is not there is the decoder's to complain.
    if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        return Err(RunRecordError::NotAFile { path: path.into() }.into());
    }
    image::open(path).map_err(|source| FigureError::Picture { path: path.into(), source })
}

/// Opens a mask, which must have the image's size.
pub(super) fn open_mask(path: &Path, expected: (u32, u32)) -> Result<GrayImage, FigureError> {
    let mask = open(path)?.to_luma8();
    let actual = mask.dimensions();
    if actual == expected {
        Ok(mask)
    } else {
        Err(FigureError::PictureSize { expected, actual, path: path.into() })
    }
}

/// The pictures of a panel, painted large enough to be shown `width` points wide.
pub(super) struct Painter {
    /// The image without anything over it.
    image: RgbImage,
    truth: Region,
    prediction: Region,
    /// Width and height of the image file.
    pub(super) size: (u32, u32),
    /// Pixels per point.
    per_point: f64,
}

impl Painter {
    /// Reads the pictures of a panel for a cell whose longest side is `cell` points.
    ///
    /// # Errors
    ///
    /// [`FigureError::Picture`] and [`FigureError::PictureSize`].
    pub(super) fn new(run: &Run, panel: &Panel, cell: f64) -> Result<Self, FigureError> {
        let folder = run.folder.panels_dir();
        let image = open(&folder.join(&panel.image))?.to_rgb8();
        let size = image.dimensions();
        let truth = open_mask(&folder.join(&panel.truth), size)?;
        let prediction = open_mask(&folder.join(&panel.prediction), size)?;
        Ok(Self::of(&image, &truth, &prediction, cell))
    }

    /// The same of pictures in memory, which have the same size.
    pub(super) fn of(
        image: &RgbImage,
        truth: &GrayImage,
        prediction: &GrayImage,
        cell: f64,
    ) -> Self {
        let size = image.dimensions();
        let (width, height) = fitted(size, cell);
        let shown = (Picture::pixels_of(width), Picture::pixels_of(height));
        Self {
            image: imageops::resize(image, shown.0, shown.1, FilterType::Triangle),
            truth: Region::new(truth, shown),
            prediction: Region::new(prediction, shown),
            size,
            per_point: f64::from(shown.0) / width,
        }
    }

    /// The image itself.
    pub(super) fn plain(&self) -> RgbImage {
        self.image.clone()
    }

    /// The image with the outline of the truth.
    pub(super) fn with_truth(&self) -> RgbImage {
        let mut picture = self.image.clone();
        self.truth.outline(&mut picture, TRUTH, self.per_point);
        picture
    }

    /// The image with the predicted region, and with the outline of the truth if asked for.
    pub(super) fn with_prediction(&self, truth: bool) -> RgbImage {
        let mut picture = self.image.clone();
        self.prediction.fill(&mut picture, PREDICTION);
        self.prediction.outline(&mut picture, PREDICTION, self.per_point);
        if truth {
            self.truth.outline(&mut picture, TRUTH, self.per_point);
        }
        picture
    }
}

/// The prompt sources whose pictures a figure shows of a run: those that were asked for; if none was, the
/// first that is no oracle, or else the first.
pub(super) fn shown_sources<'a>(run: &'a Run, scope: &Scope) -> Vec<&'a str> {
    let mut sources: Vec<&str> = Vec::new();
    for panel in run.panels.iter().filter(|panel| scope.shows(&panel.data, &panel.prompts)) {
        if !sources.contains(&panel.prompts.as_str()) {
            sources.push(&panel.prompts);
        }
    }
    if scope.prompts.is_empty() {
        let first = sources.iter().copied().find(|source| !is_oracle(run, source));
        sources = first.or(sources.first().copied()).into_iter().collect();
    }
    sources
}

/// Whether a run made these prompts from the truth.
pub(super) fn is_oracle(run: &Run, prompts: &str) -> bool {
    run.record.rows.iter().any(|row| row.prompts == prompts && row.oracle)
}

/// The name of a prompt source of a run, marked if it is an oracle.
pub(super) fn prompts_of(run: &Run, prompts: &str) -> String {
    marked_prompts(prompts, is_oracle(run, prompts))
}

/// Width and height, in points, of a picture whose longest side fills a cell.
pub(super) fn fitted((width, height): (u32, u32), cell: f64) -> (f64, f64) {
    let longest = f64::from(width.max(height));
    (f64::from(width) / longest * cell, f64::from(height) / longest * cell)
}

/// The prompts of a panel, as shares of the image's sides.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Prompts {
    pub(super) markers: Vec<(Symbol, f64, f64)>,
    pub(super) box_xyxy: Option<[f64; 4]>,
    /// Points that lie outside the image and are not drawn.
    pub(super) outside: usize,
}

impl Prompts {
    /// The prompts of a panel whose image has this size.
    pub(super) fn of(panel: &Panel, size: (u32, u32)) -> Self {
        Self::of_parts(&panel.points, panel.box_xyxy, size)
    }

    /// Points and box in pixels of an image of this size.
    pub(super) fn of_parts(
        points: &[PanelPoint],
        box_xyxy: Option<[f32; 4]>,
        size: (u32, u32),
    ) -> Self {
        let (w, h) = (f64::from(size.0), f64::from(size.1));
        let inside = |x: f64, y: f64| (0.0..=1.0).contains(&x) && (0.0..=1.0).contains(&y);
        let mut prompts = Self::default();
        for point in points {
            let symbol = match point.label {
                1 => FOREGROUND,
                0 => BACKGROUND,
                // Padding and box corners are no points of their own.
                _ => continue,
            };
            let (x, y) = (f64::from(point.x) / w, f64::from(point.y) / h);
            if inside(x, y) {
                prompts.markers.push((symbol, x, y));
            } else {
                prompts.outside += 1;
            }
        }
        prompts.box_xyxy = box_xyxy.map(|[x0, y0, x1, y1]| {
            let share = |value: f32, side: f64| (f64::from(value) / side).clamp(0.0, 1.0);
            [share(x0, w), share(y0, h), share(x1, w), share(y1, h)]
        });
        prompts
    }

    /// Draws the prompts over a picture that fills `frame`.
    pub(super) fn draw(&self, area: &Area<'_>, frame: Rect) -> DrawResult {
        let at = |x: f64, y: f64| (frame.left + x * frame.width(), frame.top + y * frame.height());
        let scale = (frame.width().max(frame.height()) / FULL_MARKERS).clamp(LEAST_MARKERS, 1.0);
        if let Some([x0, y0, x1, y1]) = self.box_xyxy {
            let ((left, top), (right, bottom)) = (at(x0, y0), at(x1, y1));
            boxed(area, Rect { left, top, right, bottom }, BOX)?;
        }
        for &(symbol, x, y) in &self.markers {
            symbol.draw_scaled(area, at(x, y), scale)?;
        }
        Ok(())
    }

    /// What a legend explains of these prompts.
    pub(super) fn entries(all: &[&Self]) -> Vec<(Symbol, String)> {
        let mut entries = Vec::new();
        for (symbol, label) in [(FOREGROUND, "foreground point"), (BACKGROUND, "background point")]
        {
            if all.iter().any(|one| one.markers.iter().any(|marker| marker.0 == symbol)) {
                entries.push((symbol, label.to_owned()));
            }
        }
        if all.iter().any(|one| one.box_xyxy.is_some()) {
            entries.push((Symbol::Box(BOX), "box".to_owned()));
        }
        entries
    }
}

/// A mask at the resolution at which it is painted.
struct Region(GrayImage);

impl Region {
    fn new(mask: &GrayImage, (width, height): (u32, u32)) -> Self {
        Self(imageops::resize(mask, width, height, FilterType::Triangle))
    }

    fn contains(&self, x: u32, y: u32) -> bool {
        self.0.get_pixel(x, y)[0] >= 128
    }

    /// Lays the color over the region.
    fn fill(&self, picture: &mut RgbImage, color: RGBColor) {
        for (x, y, pixel) in picture.enumerate_pixels_mut() {
            if self.contains(x, y) {
                blend(pixel, color, REGION_OPACITY);
            }
        }
    }

    /// Draws the border with a dark line below it, so that it is seen on any image.
    fn outline(&self, picture: &mut RgbImage, color: RGBColor, per_point: f64) {
        let (width, height) = picture.dimensions();
        let (narrow, wide) = (CONTOUR.0 * per_point, CONTOUR.1 * per_point);
        // Distance to the border, as far as the lines reach.
        let reach = (wide + 0.5).ceil() as i32;
        let mut squared = vec![i32::MAX; (width * height) as usize];
        for (x, y) in self.border() {
            for dy in -reach..=reach {
                for dx in -reach..=reach {
                    let (x, y) = (x as i32 + dx, y as i32 + dy);
                    if (0..width as i32).contains(&x) && (0..height as i32).contains(&y) {
                        let nearest = &mut squared[(y * width as i32 + x) as usize];
                        *nearest = (*nearest).min(dx * dx + dy * dy);
                    }
                }
            }
        }
        for (pixel, squared) in picture.pixels_mut().zip(squared) {
            if squared > reach * reach {
                continue;
            }
            // A pixel at the edge of a line is covered in part, so that edges are smooth.
            let distance = f64::from(squared).sqrt();
            let covered = |radius: f64| (radius + 0.5 - distance).clamp(0.0, 1.0) as f32;
            blend(pixel, INK, 0.7 * covered(wide));
            blend(pixel, color, covered(narrow));
        }
    }

    /// Pixels of the region with a neighbor outside it. The edge of the image is no border: the
    /// region may go on beyond it.
    fn border(&self) -> Vec<(u32, u32)> {
        let (width, height) = self.0.dimensions();
        let mut border = Vec::new();
        for y in 0..height {
            for x in 0..width {
                let neighbors = [
                    (x.saturating_sub(1), y),
                    ((x + 1).min(width - 1), y),
                    (x, y.saturating_sub(1)),
                    (x, (y + 1).min(height - 1)),
                ];
                if self.contains(x, y) && neighbors.iter().any(|&(x, y)| !self.contains(x, y)) {
                    border.push((x, y));
                }
            }
        }
        border
    }
}

fn blend(pixel: &mut Rgb<u8>, color: RGBColor, opacity: f32) {
    for (channel, over) in pixel.0.iter_mut().zip([color.0, color.1, color.2]) {
        *channel =
            (f32::from(*channel) * (1.0 - opacity) + f32::from(over) * opacity).round() as u8;
    }
}

#[cfg(test)]
mod tests {
    use image::Luma;

    use super::*;

    #[test]
    fn a_border_is_inside_its_region_and_not_at_the_edge_of_the_image() {
        // The left half of 4 x 3 pixels: only the column at the cut has a neighbor outside.
        let half = GrayImage::from_fn(4, 3, |x, _| Luma([if x < 2 { 255 } else { 0 }]));
        let region = Region(half);
        assert_eq!(region.border(), [(1, 0), (1, 1), (1, 2)]);
        assert_eq!(Region(GrayImage::from_pixel(4, 3, Luma([255]))).border(), []);
    }

    #[test]
    fn the_longest_side_fills_the_cell() {
        assert_eq!(fitted((400, 200), 100.0), (100.0, 50.0));
        assert_eq!(fitted((100, 400), 100.0), (25.0, 100.0));
    }
}
