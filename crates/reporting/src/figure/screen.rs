//! One image as a person prompted it: a picture per method, with its mask, prompts and scores.

use image::{GrayImage, RgbImage};
use plotters::style::text_anchor::{HPos, VPos};
use run_record::PanelPoint;

use super::axes::Rect;
use super::canvas::{Area, DrawResult, Drawing, POINTS_PER_MM, Picture, Sketch, pt};
use super::legend::{Legend, Symbol};
use super::marks::remark;
use super::overlay::{PREDICTION, Painter, Prompts, TRUTH, fitted};
use super::palette::INK;
use super::{FigureError, TWO_COLUMNS_MM, encode, font};
use crate::Run;
use crate::provenance::Provenance;

const MARGIN: f64 = 4.0;
const GAP: f64 = 4.0;
const HEADER_HEIGHT: f64 = 11.0;
const CAPTION_HEIGHT: f64 = 9.0;
/// Pictures side by side, at most: in a page's width smaller ones show no contour.
const COLUMNS: usize = 4;

/// What is on a screen.
#[derive(Debug, Clone)]
pub struct Screen {
    /// What the image is called.
    pub name: String,
    /// The image.
    pub image: RgbImage,
    /// Its true mask, where it is known and shown; as large as the image.
    pub truth: Option<GrayImage>,
    /// The methods, in their order.
    pub cells: Vec<ScreenCell>,
    /// What the reader has to know besides, e.g. that prompts were set by hand.
    pub notes: Vec<String>,
    /// The command that the page was started with.
    pub command: String,
}

/// What one method answered.
#[derive(Debug, Clone)]
pub struct ScreenCell {
    /// The method.
    pub title: String,
    /// Its scores, or whatever is to stand below.
    pub caption: String,
    /// Its mask, 0 and 255, as large as the image.
    pub mask: GrayImage,
    /// Points, in pixels of the image.
    pub points: Vec<PanelPoint>,
    /// Box, in pixels of the image.
    pub box_xyxy: Option<[f32; 4]>,
}

/// A drawn screen.
pub struct ScreenFigure {
    title: String,
    drawing: Drawing,
    provenance: Provenance,
}

impl ScreenFigure {
    /// As an SVG document with its font.
    pub fn svg(&self) -> String {
        encode::svg(&self.drawing, &self.title, &self.provenance)
    }

    /// As a PNG file of 300 pixels per inch.
    ///
    /// # Errors
    ///
    /// [`FigureError::Render`] or [`FigureError::Encode`]
    pub fn png(&self) -> Result<Vec<u8>, FigureError> {
        encode::png(&self.drawing, &self.title, &self.provenance)
    }

    /// As a PDF file of one page of the figure's size.
    ///
    /// # Errors
    ///
    /// [`FigureError::Render`]
    pub fn pdf(&self) -> Result<Vec<u8>, FigureError> {
        encode::pdf(&self.drawing, &self.title, &self.provenance)
    }
}

impl Screen {
    /// Draws the image and, beside it, a picture per method. `runs` are those behind the methods.
    ///
    /// # Errors
    ///
    /// [`FigureError::MaskSize`] if a mask is not as large as the image, [`FigureError::Draw`] and
    /// [`FigureError::Encode`] if the drawing library refuses.
    pub fn draw(&self, runs: &[&Run]) -> Result<ScreenFigure, FigureError> {
        let expected = self.image.dimensions();
        let masks = self.cells.iter().map(|cell| &cell.mask).chain(&self.truth);
        if let Some(actual) = masks.map(GrayImage::dimensions).find(|size| *size != expected) {
            return Err(FigureError::MaskSize { expected, actual });
        }
        let drawing = Drawing::of(&Layout::new(self))?;
        let provenance = Provenance::by_hand(runs, self.command.clone());
        Ok(ScreenFigure { title: self.name.clone(), drawing, provenance })
    }
}

struct Layout<'a> {
    screen: &'a Screen,
    pictures: Vec<Picture>,
    prompts: Vec<Prompts>,
    legend: Legend,
    notes: Vec<String>,
    cell: f64,
    size: (f64, f64),
}

impl<'a> Layout<'a> {
    fn new(screen: &'a Screen) -> Self {
        let width = TWO_COLUMNS_MM * POINTS_PER_MM;
        let size = screen.image.dimensions();
        let places = screen.cells.len() + 1;
        let columns = places.min(COLUMNS);
        let cell = (width - 2.0 * MARGIN - (COLUMNS - 1) as f64 * GAP) / COLUMNS as f64;
        let (wide, high) = fitted(size, cell);
        let row = HEADER_HEIGHT + high + CAPTION_HEIGHT;
        let empty = GrayImage::new(size.0, size.1);
        let truth = screen.truth.as_ref().unwrap_or(&empty);
        let used = columns as f64 * cell + (columns - 1) as f64 * GAP;
        let mut pictures = Vec::with_capacity(places);
        for place in 0..places {
            let column_left = (width - used) / 2.0 + (place % columns) as f64 * (cell + GAP);
            let top = MARGIN + (place / columns) as f64 * row + HEADER_HEIGHT;
            let mask = match place.checked_sub(1) {
                None => &empty,
                Some(method) => &screen.cells[method].mask,
            };
            let painter = Painter::of(&screen.image, truth, mask, cell);
            let pixels = match place {
                0 => painter.with_truth(),
                _ => painter.with_prediction(true),
            };
            let left = column_left + (cell - wide) / 2.0;
            pictures.push(Picture { left, top, width: wide, height: high, pixels });
        }

        let parts = |cell: &ScreenCell| Prompts::of_parts(&cell.points, cell.box_xyxy, size);
        let prompts: Vec<Prompts> = screen.cells.iter().map(parts).collect();
        let mut entries = Vec::new();
        if screen.truth.is_some() {
            entries.push((Symbol::Contour(TRUTH), "ground truth".to_owned()));
        }
        entries.push((Symbol::Region(PREDICTION), "prediction".to_owned()));
        entries.extend(Prompts::entries(&prompts.iter().collect::<Vec<_>>()));
        let legend = Legend::new(entries, width - 2.0 * MARGIN);
        let wrap = |note: &String| font::wrap(note, font::SMALL, width - 2.0 * MARGIN);
        let notes: Vec<String> = screen.notes.iter().flat_map(wrap).collect();
        let rows = places.div_ceil(columns) as f64;
        let below = legend.height() + notes.len() as f64 * CAPTION_HEIGHT;
        let height = MARGIN + rows * row + below + MARGIN;
        Self { screen, pictures, prompts, legend, notes, cell, size: (width, height) }
    }
}

impl Sketch for Layout<'_> {
    fn size(&self) -> (f64, f64) {
        self.size
    }

    fn pictures(&self) -> &[Picture] {
        &self.pictures
    }

    fn draw(&self, area: &Area<'_>) -> DrawResult {
        let title = font::style(font::TITLE, INK, HPos::Center, VPos::Center);
        for (place, picture) in self.pictures.iter().enumerate() {
            let method = place.checked_sub(1).map(|method| &self.screen.cells[method]);
            let name = method.map_or(self.screen.name.as_str(), |method| &method.title);
            let x = picture.left + picture.width / 2.0;
            let name = font::fit(name, font::TITLE, self.cell);
            let y = picture.top - HEADER_HEIGHT / 2.0;
            area.draw_text(&name, &title, (pt(x), pt(y)))?;
            let bottom = picture.top + picture.height;
            if let Some(method) = method {
                let right = picture.left + picture.width;
                let frame = Rect { left: picture.left, top: picture.top, right, bottom };
                self.prompts[place - 1].draw(area, frame)?;
                let caption = font::fit(&method.caption, font::SMALL, self.cell);
                remark(area, &caption, (x, bottom + CAPTION_HEIGHT / 2.0), HPos::Center)?;
            }
        }
        let bottom = self.pictures.iter().map(|one| one.top + one.height).fold(0.0, f64::max);
        let mut y = bottom + CAPTION_HEIGHT;
        self.legend.draw(area, (MARGIN, y))?;
        y += self.legend.height();
        for note in &self.notes {
            remark(area, note, (self.size.0 / 2.0, y + CAPTION_HEIGHT / 2.0), HPos::Center)?;
            y += CAPTION_HEIGHT;
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use image::{Luma, Rgb};

    use super::*;

    fn screen(methods: usize) -> Screen {
        let half = |x: u32| Luma([if x < 20 { 255 } else { 0 }]);
        let mask = GrayImage::from_fn(40, 30, |x, _| half(x));
        let cell = |method: usize| ScreenCell {
            title: format!("method {method}"),
            caption: format!("Dice 0.{method}00"),
            mask: mask.clone(),
            points: vec![
                PanelPoint { x: 10.0, y: 15.0, label: 1 },
                PanelPoint { x: 30.0, y: 15.0, label: 0 },
            ],
            box_xyxy: None,
        };
        Screen {
            name: "photo.png".into(),
            image: RgbImage::from_pixel(40, 30, Rgb([90, 90, 90])),
            truth: Some(mask.clone()),
            cells: (0..methods).map(cell).collect(),
            notes: vec!["prompts set by hand".into()],
            command: "cargo xtask serve".into(),
        }
    }

    #[test]
    fn every_method_has_a_picture_and_the_legend_says_what_occurs() {
        let figure = screen(5).draw(&[]).unwrap();
        let svg = figure.svg();
        assert_eq!(svg.matches("<image ").count(), 6);
        for text in [
            "photo.png",
            "method 4",
            "Dice 0.400",
            "ground truth",
            "foreground point",
            "background point",
            "prompts set by hand",
        ] {
            assert!(svg.lines().any(|line| line == text), "`{text}` is missing");
        }
        assert!(!svg.lines().any(|line| line == "box"));
        assert!(svg.contains("cargo xtask serve"));
        let png = image::load_from_memory(&figure.png().unwrap()).unwrap();
        // 174 mm at 300 pixels per inch.
        assert_eq!(png.width(), 2055);
        assert!(figure.pdf().unwrap().starts_with(b"%PDF"));
    }

    #[test]
    fn a_mask_of_another_size_is_refused() {
        let mut screen = screen(1);
        screen.cells[0].mask = GrayImage::new(30, 40);
        let error = screen.draw(&[]).err().unwrap();
        assert_eq!(error.to_string(), "mask of 30 x 40 pixels for an image of 40 x 30");
    }
}
