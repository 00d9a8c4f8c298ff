//! Cases side by side: image, ground truth, prediction with its prompts.

use std::path::Path;

use image::imageops::{self, FilterType};
use image::{DynamicImage, GrayImage, Rgb, RgbImage};
use plotters::backend::DrawingBackend;
use plotters::coord::Shift;
use plotters::drawing::DrawingArea;
use plotters::style::RGBColor;
use plotters::style::text_anchor::{HPos, VPos};
use run_record::Panel;

use super::canvas::{DrawResult, PNG_SCALE, Picture, Sketch, UNIT, px};
use super::legend::{Legend, Symbol, boxed, remark};
use super::palette::{BLUISH_GREEN, INK, ORANGE, SKY_BLUE, VERMILION, YELLOW};
use super::{FigureError, font};
use crate::Run;

/// More cases make a figure that nobody prints; some of each run are drawn and the figure says so.
const MAX_CASES: usize = 12;
/// Longest side of a picture, in pixels of the figure.
const CELL: u32 = 230;
const MARGIN: u32 = 16;
const COLUMN_GAP: u32 = 8;
const HEADER_HEIGHT: u32 = 24;
const CAPTION_HEIGHT: u32 = 28;
const NOTE_HEIGHT: u32 = 18;
const COLUMNS: [&str; 3] = ["image", "ground truth", "prediction and prompts"];
const WIDTH: u32 = 2 * MARGIN + 3 * CELL + 2 * COLUMN_GAP;

/// How much of a region's color lies over the image.
const REGION_OPACITY: f32 = 0.45;
/// Half the width of a contour, and of the dark line below it, in pixels of the figure.
const CONTOUR: (f32, f32) = (1.0, 1.75);

const TRUTH: RGBColor = YELLOW;
const PREDICTION: RGBColor = SKY_BLUE;
const FOREGROUND: Symbol = Symbol::Disc(BLUISH_GREEN);
const BACKGROUND: Symbol = Symbol::Cross(VERMILION);
const BOX: RGBColor = ORANGE;

/// A row per case.
pub(crate) struct Qualitative {
    rows: Vec<Row>,
    pictures: Vec<Picture>,
    legend: Legend,
    /// What is not in the figure.
    note: Option<String>,
    height: u32,
}

/// At most `limit` panels, in the order of the runs: one of every run, then one of every run with its
/// next data set or prompts, and when those are through, a second case of each, and so on.
fn chosen(runs: &[Run], limit: usize) -> Vec<(&Run, &Panel)> {
    let mut ranked = Vec::new();
    for (at, run) in runs.iter().enumerate() {
        // Groups of one run, with the number of their panels seen so far.
        let mut groups: Vec<((&str, &str), usize)> = Vec::new();
        for (place, panel) in run.panels.iter().enumerate() {
            let key = (panel.data.as_str(), panel.prompts.as_str());
            let group = match groups.iter().position(|(known, _)| *known == key) {
                Some(group) => group,
                None => {
                    groups.push((key, 0));
                    groups.len() - 1
                }
            };
            ranked.push(((groups[group].1, group, at, place), (run, panel)));
            groups[group].1 += 1;
        }
    }
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked.truncate(limit);
    ranked.sort_by_key(|((_, _, at, place), _)| (*at, *place));
    ranked.into_iter().map(|(_, panel)| panel).collect()
}

struct Row {
    /// Left border of the third picture, top, width and height, in pixels of the figure.
    prediction: (u32, u32, u32, u32),
    bottom: u32,
    caption: String,
    scores: String,
    markers: Vec<(Symbol, f64, f64)>,
    box_xyxy: Option<[f64; 4]>,
}

impl Qualitative {
    pub(crate) fn new(runs: &[Run]) -> Result<Self, FigureError> {
        let all: usize = runs.iter().map(|run| run.panels.len()).sum();
        if all == 0 {
            return Err(FigureError::NothingToDraw { what: "panels", runs: runs.len() });
        }
        let mut top = MARGIN + HEADER_HEIGHT;
        let mut rows = Vec::new();
        let mut pictures = Vec::new();
        for (run, panel) in chosen(runs, MAX_CASES) {
            let (row, cells) = row(run, panel, top)?;
            top = row.bottom + CAPTION_HEIGHT;
            rows.push(row);
            pictures.extend(cells);
        }

        let mut entries = vec![
            (Symbol::Contour(TRUTH), "ground truth".to_owned()),
            (Symbol::Region(PREDICTION), "prediction".to_owned()),
        ];
        for (symbol, label) in [(FOREGROUND, "foreground point"), (BACKGROUND, "background point")]
        {
            if rows.iter().any(|row| row.markers.iter().any(|marker| marker.0 == symbol)) {
                entries.push((symbol, label.to_owned()));
            }
        }
        if rows.iter().any(|row| row.box_xyxy.is_some()) {
            entries.push((Symbol::Box(BOX), "box".to_owned()));
        }
        let legend = Legend::new(entries, f64::from(WIDTH - 2 * MARGIN));
        let note = (all > MAX_CASES).then(|| format!("{MAX_CASES} of {all} cases"));
        let note_height = if note.is_some() { NOTE_HEIGHT } else { 0 };
        let height = top + legend.height() as u32 + note_height + MARGIN / 2;
        Ok(Self { rows, pictures, legend, note, height })
    }
}

impl Sketch for Qualitative {
    fn size(&self) -> (u32, u32) {
        (WIDTH, self.height)
    }

    fn pictures(&self) -> &[Picture] {
        &self.pictures
    }

    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>) -> DrawResult<B> {
        let title = font::style(13.0, INK, HPos::Center, VPos::Center);
        for (column, name) in (0..).zip(COLUMNS) {
            let x = f64::from(column_left(column)) + f64::from(CELL) / 2.0;
            area.draw_text(name, &title, (px(x), px(f64::from(MARGIN + HEADER_HEIGHT / 2 - 2))))?;
        }
        for row in &self.rows {
            row.draw(area)?;
        }
        let below = self.rows.last().map_or(0, |row| row.bottom + CAPTION_HEIGHT);
        self.legend.draw(area, (f64::from(MARGIN), f64::from(below)))?;
        if let Some(note) = &self.note {
            let y = f64::from(below) + self.legend.height() + f64::from(NOTE_HEIGHT) / 2.0;
            remark(area, note, (f64::from(WIDTH) / 2.0, y), HPos::Center)?;
        }
        Ok(())
    }
}

impl Row {
    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>) -> DrawResult<B> {
        let (left, top, width, height) = self.prediction;
        let place = |x: f64, y: f64| {
            (px(f64::from(left) + x * f64::from(width)), px(f64::from(top) + y * f64::from(height)))
        };
        if let Some([x0, y0, x1, y1]) = self.box_xyxy {
            let ((left, top), (right, bottom)) = (place(x0, y0), place(x1, y1));
            boxed(area, (left, top, right, bottom), BOX)?;
        }
        for &(symbol, x, y) in &self.markers {
            symbol.draw(area, place(x, y))?;
        }
        let y = f64::from(self.bottom) + 10.0;
        remark(area, &self.caption, (f64::from(MARGIN), y), HPos::Left)?;
        remark(area, &self.scores, (f64::from(WIDTH - MARGIN), y), HPos::Right)
    }
}

fn column_left(column: u32) -> u32 {
    MARGIN + column * (CELL + COLUMN_GAP)
}

/// Lays out one case below `top`.
fn row(run: &Run, panel: &Panel, top: u32) -> Result<(Row, [Picture; 3]), FigureError> {
    let folder = run.folder.panels_dir();
    let image = open(&folder.join(&panel.image))?.to_rgb8();
    let size = image.dimensions();
    let truth = open_mask(&folder.join(&panel.truth), size)?;
    let prediction = open_mask(&folder.join(&panel.prediction), size)?;

    // The longest side fills the cell; pictures of other shapes are centered in their column.
    let longest = f64::from(size.0.max(size.1));
    let fitted = |side: u32| ((f64::from(side) / longest * f64::from(CELL)).round() as u32).max(1);
    let (width, height) = (fitted(size.0), fitted(size.1));
    let fine = (width * UNIT as u32, height * UNIT as u32);
    let image = imageops::resize(&image, fine.0, fine.1, FilterType::Triangle);
    let truth = Region::new(&truth, fine);
    let prediction = Region::new(&prediction, fine);

    let mut with_truth = image.clone();
    truth.outline(&mut with_truth, TRUTH);
    let mut with_prediction = image.clone();
    prediction.fill(&mut with_prediction, PREDICTION);
    prediction.outline(&mut with_prediction, PREDICTION);
    let left = |column| column_left(column) + (CELL - width) / 2;
    let picture = |column, pixels: &RgbImage| Picture {
        x: left(column),
        y: top,
        pixels: imageops::thumbnail(pixels, width * PNG_SCALE, height * PNG_SCALE),
    };
    let pictures = [picture(0, &image), picture(1, &with_truth), picture(2, &with_prediction)];

    let (w, h) = (f64::from(size.0), f64::from(size.1));
    let inside = |x: f64, y: f64| (0.0..=1.0).contains(&x) && (0.0..=1.0).contains(&y);
    let mut markers = Vec::new();
    let mut outside = 0;
    for point in &panel.points {
        let symbol = match point.label {
            1 => FOREGROUND,
            0 => BACKGROUND,
            // Padding and box corners are no points of their own.
            _ => continue,
        };
        let (x, y) = (f64::from(point.x) / w, f64::from(point.y) / h);
        if inside(x, y) {
            markers.push((symbol, x, y));
        } else {
            outside += 1;
        }
    }
    let box_xyxy = panel.box_xyxy.map(|[x0, y0, x1, y1]| {
        let share = |value: f32, side: f64| (f64::from(value) / side).clamp(0.0, 1.0);
        [share(x0, w), share(y0, h), share(x1, w), share(y1, h)]
    });

    let mut caption = format!(
        "{}: {} \u{b7} {} {} \u{b7} prompts {}",
        run.record.method, panel.file, panel.data, panel.split, panel.prompts
    );
    if outside > 0 {
        let points = if outside == 1 { "point" } else { "points" };
        caption.push_str(&format!(" \u{b7} {outside} {points} outside"));
    }
    let score = |value: Option<f64>| {
        value.map_or_else(|| "undefined".to_owned(), |value| format!("{value:.3}"))
    };
    let scores = format!("Dice {} \u{b7} IoU {}", score(panel.dice), score(panel.iou));
    let room = f64::from(WIDTH - 2 * MARGIN) - font::width(&scores, 11.0) - 16.0;
    let row = Row {
        prediction: (left(2), top, width, height),
        bottom: top + height,
        caption: font::fit(&caption, 11.0, room),
        scores,
        markers,
        box_xyxy,
    };
    Ok((row, pictures))
}

fn open(path: &Path) -> Result<DynamicImage, FigureError> {
    image::open(path).map_err(|source| FigureError::Picture { path: path.into(), source })
}

fn open_mask(path: &Path, expected: (u32, u32)) -> Result<GrayImage, FigureError> {
    let mask = open(path)?.to_luma8();
    let actual = mask.dimensions();
    if actual == expected {
        Ok(mask)
    } else {
        Err(FigureError::PictureSize { expected, actual, path: path.into() })
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
    fn outline(&self, picture: &mut RgbImage, color: RGBColor) {
        let (width, height) = picture.dimensions();
        // Distance to the border, as far as the lines reach.
        let reach = (CONTOUR.1 * UNIT as f32).ceil() as i32;
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
        let within = |squared: i32, radius: f32| squared as f32 <= (radius * UNIT as f32).powi(2);
        for (pixel, squared) in picture.pixels_mut().zip(squared) {
            if within(squared, CONTOUR.0) {
                blend(pixel, color, 1.0);
            } else if within(squared, CONTOUR.1) {
                blend(pixel, INK, 0.7);
            }
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
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use image::Luma;

    use super::*;
    use crate::testing::{record, run, with_panels};
    use crate::{Figure, FigureKind};

    fn draw(runs: &[Run]) -> Result<Figure, FigureError> {
        FigureKind::Qualitative.draw(runs)
    }

    fn png(figure: &Figure) -> RgbImage {
        image::load_from_memory(&figure.png).unwrap().to_rgb8()
    }

    #[test]
    fn the_svg_names_columns_case_scores_and_what_the_signs_mean() {
        let folder = tempfile::tempdir().unwrap();
        let run = with_panels(folder.path(), &record("apm", 0), &[(60, 40), (60, 60), (40, 60)]);
        let svg = draw(&[run]).unwrap().svg;
        for label in [
            "image",
            "ground truth",
            "prediction and prompts",
            "apm: case-0.jpg \u{b7} kvasir test \u{b7} prompts apm",
            "Dice 0.812 \u{b7} IoU 0.684",
            "Dice undefined \u{b7} IoU 0.684",
            "foreground point",
            "background point",
            "box",
        ] {
            assert!(svg.lines().any(|line| line == label), "`{label}` is missing");
        }
        assert_eq!(svg.matches("<image ").count(), 9);
    }

    #[test]
    fn markers_lie_where_the_points_are() {
        let folder = tempfile::tempdir().unwrap();
        let run = with_panels(folder.path(), &record("apm", 0), &[(80, 40)]);
        let picture = png(&draw(&[run]).unwrap());
        let left = column_left(2);
        let top = MARGIN + HEADER_HEIGHT;
        // The foreground point is in the middle of a picture of 230 x 115 pixels, the background
        // point at an eighth of either side.
        let at = |x: f64, y: f64| {
            let pixel = picture.get_pixel(
                ((f64::from(left) + x) * f64::from(PNG_SCALE)) as u32,
                ((f64::from(top) + y) * f64::from(PNG_SCALE)) as u32,
            );
            RGBColor(pixel[0], pixel[1], pixel[2])
        };
        assert_eq!(at(115.0, 57.5), BLUISH_GREEN);
        assert_eq!(at(28.75, 14.375), VERMILION);
        // Between the arms of the cross the image shows, between disc and image its white rim.
        assert_ne!(at(28.75 + 6.0, 14.375), VERMILION);
        assert_eq!(at(115.0 + 4.9, 57.5), RGBColor(255, 255, 255));
    }

    #[test]
    fn only_signs_that_occur_are_explained() {
        let folder = tempfile::tempdir().unwrap();
        let mut run = with_panels(folder.path(), &record("apm", 0), &[(60, 40)]);
        run.panels[0].points.retain(|point| point.label == 1);
        let svg = draw(&[run]).unwrap().svg;
        assert!(svg.contains("foreground point"));
        assert!(!svg.contains("background point") && !svg.contains("box\n"));
    }

    #[test]
    fn points_outside_the_image_are_counted_and_padding_is_not_drawn() {
        let folder = tempfile::tempdir().unwrap();
        let mut run = with_panels(folder.path(), &record("apm", 0), &[(60, 40)]);
        run.panels[0].points[0].x = 61.0;
        run.panels[0].points[1].label = -1;
        let svg = draw(&[run]).unwrap().svg;
        assert!(svg.contains("1 point outside"));
        assert!(!svg.contains("foreground point") && !svg.contains("background point"));
    }

    #[test]
    fn cases_beyond_the_limit_are_mentioned() {
        let folder = tempfile::tempdir().unwrap();
        let run = with_panels(folder.path(), &record("apm", 0), &[(8, 4); MAX_CASES + 1]);
        let svg = draw(&[run]).unwrap().svg;
        assert!(svg.contains("12 of 13 cases"));
        assert_eq!(svg.matches("<image ").count(), 3 * MAX_CASES);
    }

    #[test]
    fn every_run_and_every_prompt_source_is_shown_before_a_second_case() {
        let folder = tempfile::tempdir().unwrap();
        let mut runs = vec![
            with_panels(&folder.path().join("a"), &record("apm", 0), &[(8, 4); 4]),
            with_panels(&folder.path().join("b"), &record("ips", 0), &[(8, 4); 4]),
        ];
        for run in &mut runs {
            for (place, panel) in run.panels.iter_mut().enumerate() {
                panel.prompts = if place < 2 { "auto" } else { "grid" }.to_owned();
                panel.file = place.to_string();
            }
        }
        let shown = |limit| -> Vec<(String, String)> {
            let name =
                |(run, panel): (&Run, &Panel)| (run.record.method.clone(), panel.file.clone());
            chosen(&runs, limit).into_iter().map(name).collect()
        };
        let pairs = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs.iter().map(|&(a, b)| (a.to_owned(), b.to_owned())).collect()
        };
        assert_eq!(shown(2), pairs(&[("apm", "0"), ("ips", "0")]));
        assert_eq!(shown(4), pairs(&[("apm", "0"), ("apm", "2"), ("ips", "0"), ("ips", "2")]));
        assert_eq!(shown(5)[..3], pairs(&[("apm", "0"), ("apm", "1"), ("apm", "2")]));
    }

    #[test]
    fn a_mask_of_another_size_and_a_missing_picture_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let run = with_panels(folder.path(), &record("apm", 0), &[(8, 4)]);
        let truth = run.folder.panels_dir().join(&run.panels[0].truth);
        GrayImage::new(4, 8).save(&truth).unwrap();
        let error = draw(std::slice::from_ref(&run)).unwrap_err();
        let message = format!("mask of 4 x 8 pixels for an image of 8 x 4: {}", truth.display());
        assert_eq!(error.to_string(), message);

        fs::remove_file(&truth).unwrap();
        let error = draw(&[run]).unwrap_err();
        assert!(matches!(error, FigureError::Picture { .. }));
        assert!(error.to_string().ends_with("truth.png"), "{error}");
    }

    #[test]
    fn runs_without_panels_are_an_error() {
        let error = draw(&[run(record("apm", 0))]).unwrap_err();
        assert_eq!(error.to_string(), "none of the 1 runs has panels");
    }

    #[test]
    fn a_border_is_inside_its_region_and_not_at_the_edge_of_the_image() {
        // The left half of 4 x 3 pixels: only the column at the cut has a neighbor outside.
        let half = GrayImage::from_fn(4, 3, |x, _| Luma([if x < 2 { 255 } else { 0 }]));
        let region = Region(half);
        assert_eq!(region.border(), [(1, 0), (1, 1), (1, 2)]);
        assert_eq!(Region(GrayImage::from_pixel(4, 3, Luma([255]))).border(), []);
    }
}
