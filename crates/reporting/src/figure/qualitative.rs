//! Cases side by side: image, ground truth, prediction with its prompts.

use plotters::style::text_anchor::{HPos, VPos};
use run_record::Panel;

use super::axes::Rect;
use super::by_turns::by_turns;
use super::canvas::{Area, DrawResult, POINTS_PER_MM, Picture, Sketch, pt};
use super::legend::{Legend, Symbol};
use super::marks::remark;
use super::overlay::{PREDICTION, Painter, Prompts, TRUTH, fitted, open, prompts_of};
use super::palette::INK;
use super::{FigureError, FigureOptions, HIGHEST_MM, font};
use crate::Run;
use crate::entries::{Selection, marked_method};

/// More cases make a figure that nobody prints; some of each run are drawn and the figure says so.
const MAX_CASES: usize = 8;
const MARGIN: f64 = 4.0;
const COLUMN_GAP: f64 = 3.0;
const HEADER_HEIGHT: f64 = 12.0;
const CAPTION_HEIGHT: f64 = 11.0;
const NOTE_HEIGHT: f64 = 9.0;
/// Room for legend and note, in points.
const BELOW: f64 = 45.0;
const COLUMNS: [&str; 3] = ["image", "ground truth", "prediction and prompts"];

/// A row per case.
pub(super) struct Qualitative {
    rows: Vec<Row>,
    pictures: Vec<Picture>,
    legend: Legend,
    /// What is not in the figure.
    note: Option<String>,
    cell: f64,
    size: (f64, f64),
}

/// At most `limit` panels, in the order of the runs: by turns over data sets, methods, their prompts and cases.
fn chosen(
    runs: &[Run],
    wanted: impl Fn(&Panel) -> bool,
    limit: usize,
    seed: u64,
) -> Vec<(&Run, &Panel)> {
    let all: Vec<(&Run, &Panel)> = runs
        .iter()
        .flat_map(|run| run.panels.iter().map(move |panel| (run, panel)))
        .filter(|(_, panel)| wanted(panel))
        .collect();
    let names: Vec<[String; 5]> = all
        .iter()
        .map(|(run, panel)| {
            let method = format!("{} {}", run.record.experiment, run.record.method);
            [
                panel.data.clone(),
                method.clone(),
                format!("{method} {}", panel.prompts),
                panel.file.clone(),
                run.record.seed.to_string(),
            ]
        })
        .collect();
    by_turns(&names, limit, seed).into_iter().map(|place| all[place]).collect()
}

struct Row {
    /// Where the third picture lies.
    prediction: Rect,
    bottom: f64,
    caption: String,
    scores: String,
    prompts: Prompts,
}

impl Qualitative {
    pub(super) fn new(
        runs: &[Run],
        options: &FigureOptions,
        width: f64,
    ) -> Result<Self, FigureError> {
        let wanted = |panel: &Panel| options.scope.shows(&panel.data, &panel.prompts);
        let all = runs.iter().flat_map(|run| &run.panels).filter(|panel| wanted(panel)).count();
        if all == 0 {
            return Err(FigureError::NothingToDraw { what: "panels", runs: runs.len() });
        }
        let chosen = chosen(runs, wanted, MAX_CASES, options.seed);
        let sizes = chosen
            .iter()
            .map(|(run, panel)| picture_size(run, panel))
            .collect::<Result<Vec<_>, _>>()?;
        let cell = cell(&sizes, width);
        let mut top = MARGIN + HEADER_HEIGHT;
        let mut rows = Vec::new();
        let mut pictures = Vec::new();
        for (run, panel) in chosen {
            let (row, cells) = row(run, panel, top, cell, width)?;
            top = row.bottom + CAPTION_HEIGHT;
            rows.push(row);
            pictures.extend(cells);
        }

        let mut entries = vec![
            (Symbol::Contour(TRUTH), "ground truth".to_owned()),
            (Symbol::Region(PREDICTION), "prediction".to_owned()),
        ];
        let prompts: Vec<&Prompts> = rows.iter().map(|row| &row.prompts).collect();
        entries.extend(Prompts::entries(&prompts));
        let legend = Legend::new(entries, width - 2.0 * MARGIN);
        let note = (all > MAX_CASES).then(|| {
            format!(
                "{MAX_CASES} of {all} cases, by turns over data sets, methods, prompts and files, seed {}",
                options.seed
            )
        });
        let note_height = if note.is_some() { NOTE_HEIGHT } else { 0.0 };
        let height = top + legend.height() + note_height + MARGIN;
        Ok(Self { rows, pictures, legend, note, cell, size: (width, height) })
    }
}

impl Sketch for Qualitative {
    fn size(&self) -> (f64, f64) {
        self.size
    }

    fn pictures(&self) -> &[Picture] {
        &self.pictures
    }

    fn draw(&self, area: &Area<'_>) -> DrawResult {
        let title = font::style(font::TITLE, INK, HPos::Center, VPos::Center);
        for (column, name) in COLUMNS.iter().enumerate() {
            let x = column_left(column, self.cell, self.size.0) + self.cell / 2.0;
            let name = font::fit(name, font::TITLE, self.cell);
            area.draw_text(&name, &title, (pt(x), pt(MARGIN + HEADER_HEIGHT / 2.0 - 1.0)))?;
        }
        for row in &self.rows {
            row.prompts.draw(area, row.prediction)?;
            let y = row.bottom + CAPTION_HEIGHT / 2.0;
            remark(area, &row.caption, (MARGIN, y), HPos::Left)?;
            remark(area, &row.scores, (self.size.0 - MARGIN, y), HPos::Right)?;
        }
        let below = self.rows.last().map_or(0.0, |row| row.bottom + CAPTION_HEIGHT);
        self.legend.draw(area, (MARGIN, below))?;
        if let Some(note) = &self.note {
            let y = below + self.legend.height() + NOTE_HEIGHT / 2.0;
            remark(area, note, (self.size.0 / 2.0, y), HPos::Center)?;
        }
        Ok(())
    }
}

/// The left end of a column; the three stand in the middle of the figure.
fn column_left(column: usize, cell: f64, width: f64) -> f64 {
    let used = COLUMNS.len() as f64 * cell + (COLUMNS.len() - 1) as f64 * COLUMN_GAP;
    (width - used) / 2.0 + column as f64 * (cell + COLUMN_GAP)
}

/// Width and height of the pictures of a panel.
fn picture_size(run: &Run, panel: &Panel) -> Result<(u32, u32), FigureError> {
    Ok(open(&run.folder.panels_dir().join(&panel.image))?.to_rgb8().dimensions())
}

/// The longest side of a picture, in points: as large as the width allows, unless pictures of these sizes would
/// then be higher than a page.
fn cell(sizes: &[(u32, u32)], width: f64) -> f64 {
    let columns = COLUMNS.len() as f64;
    let widest = (width - 2.0 * MARGIN - (columns - 1.0) * COLUMN_GAP) / columns;
    // Height of all pictures in cells of one point.
    let high: f64 = sizes.iter().map(|&size| fitted(size, 1.0).1).sum();
    let around = 2.0 * MARGIN + HEADER_HEIGHT + CAPTION_HEIGHT * sizes.len() as f64;
    widest.min((HIGHEST_MM * POINTS_PER_MM - around - BELOW) / high)
}

/// Lays out one case below `top`.
fn row(
    run: &Run,
    panel: &Panel,
    top: f64,
    cell: f64,
    width: f64,
) -> Result<(Row, [Picture; 3]), FigureError> {
    let painter = Painter::new(run, panel, cell)?;
    let (wide, high) = fitted(painter.size, cell);
    // The longest side fills the cell; pictures of other shapes are centered in their column.
    let left = |column| column_left(column, cell, width) + (cell - wide) / 2.0;
    let picture =
        |column, pixels| Picture { left: left(column), top, width: wide, height: high, pixels };
    let pictures = [
        picture(0, painter.plain()),
        picture(1, painter.with_truth()),
        picture(2, painter.with_prediction(false)),
    ];

    let prompts = Prompts::of(panel, painter.size);
    let mut caption = format!(
        "{}: {} \u{b7} {} {} \u{b7} prompts {}",
        marked_method(&run.record.method, Selection::of_run(run)),
        panel.file,
        panel.data,
        panel.split,
        prompts_of(run, &panel.prompts),
    );
    caption.push_str(&format!(" \u{b7} seed {}", run.record.seed));
    if prompts.outside > 0 {
        let points = if prompts.outside == 1 { "point" } else { "points" };
        caption.push_str(&format!(" \u{b7} {} {points} outside", prompts.outside));
    }
    let score = |value: Option<f64>| {
        value.map_or_else(|| "undefined".to_owned(), |value| format!("{value:.3}"))
    };
    let scores = format!("Dice {} \u{b7} IoU {}", score(panel.dice), score(panel.iou));
    let room = width - 2.0 * MARGIN - font::width(&scores, font::SMALL) - 8.0;
    let prediction = Rect { left: left(2), top, right: left(2) + wide, bottom: top + high };
    let row = Row {
        prediction,
        bottom: top + high,
        caption: font::fit(&caption, font::SMALL, room),
        scores,
        prompts,
    };
    Ok((row, pictures))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use image::{GrayImage, RgbImage};
    use plotters::style::RGBColor;

    use super::super::palette::{BLUISH_GREEN, VERMILION};
    use super::*;
    use crate::testing::{record, run, with_panels};
    use crate::{Figure, FigureKind};

    fn draw(runs: &[Run]) -> Result<Figure, FigureError> {
        FigureKind::Qualitative.draw(runs)
    }

    fn png(figure: &Figure) -> RgbImage {
        image::load_from_memory(&figure.png().unwrap()).unwrap().to_rgb8()
    }

    #[test]
    fn the_svg_names_columns_case_scores_and_what_the_signs_mean() {
        let folder = tempfile::tempdir().unwrap();
        let run = with_panels(folder.path(), &record("apm", 0), &[(60, 40), (60, 60), (40, 60)]);
        let svg = draw(&[run]).unwrap().svg();
        for label in [
            "image",
            "ground truth",
            "prediction and prompts",
            "apm: case-0.jpg \u{b7} kvasir test \u{b7} prompts apm \u{b7} seed 0",
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
        let figure = draw(&[run]).unwrap();
        let picture = png(&figure);
        // A picture twice as wide as high in the third column; 300 pixels are 72 points.
        let width = super::super::TWO_COLUMNS_MM * POINTS_PER_MM;
        let cell = (width - 2.0 * MARGIN - 2.0 * COLUMN_GAP) / 3.0;
        let (left, top) = (column_left(2, cell, width), MARGIN + HEADER_HEIGHT);
        // In shares of the picture, and in points beside that.
        let at = |x: f64, y: f64, dx: f64| {
            let pixel = |points: f64| (points * 300.0 / 72.0) as u32;
            let pixel = picture.get_pixel(pixel(left + x * cell + dx), pixel(top + y * cell / 2.0));
            RGBColor(pixel[0], pixel[1], pixel[2])
        };
        // The foreground point is in the middle, the background point at an eighth of either side.
        assert_eq!(at(0.5, 0.5, 0.0), BLUISH_GREEN);
        assert_eq!(at(0.125, 0.125, 0.0), VERMILION);
        // Between the arms of the cross the image shows, between disc and image its white rim.
        assert_ne!(at(0.125, 0.125, 2.6), VERMILION);
        let rim = at(0.5, 0.5, 2.15);
        assert!([rim.0, rim.1, rim.2].iter().all(|&channel| channel > 240), "{rim:?}");
    }

    #[test]
    fn only_signs_that_occur_are_explained() {
        let folder = tempfile::tempdir().unwrap();
        let mut run = with_panels(folder.path(), &record("apm", 0), &[(60, 40)]);
        run.panels[0].points.retain(|point| point.label == 1);
        let svg = draw(&[run]).unwrap().svg();
        assert!(svg.contains("foreground point"));
        assert!(!svg.contains("background point") && !svg.contains("box\n"));
    }

    #[test]
    fn points_outside_the_image_are_counted_and_padding_is_not_drawn() {
        let folder = tempfile::tempdir().unwrap();
        let mut run = with_panels(folder.path(), &record("apm", 0), &[(60, 40)]);
        run.panels[0].points[0].x = 61.0;
        run.panels[0].points[1].label = -1;
        let svg = draw(&[run]).unwrap().svg();
        assert!(svg.contains("1 point outside"));
        assert!(!svg.contains("foreground point") && !svg.contains("background point"));
    }

    #[test]
    fn cases_beyond_the_limit_are_mentioned() {
        let folder = tempfile::tempdir().unwrap();
        let run = with_panels(folder.path(), &record("apm", 0), &[(8, 4); MAX_CASES + 1]);
        let svg = draw(&[run]).unwrap().svg();
        assert!(svg.contains("8 of 9 cases"));
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
            chosen(&runs, |_| true, limit, 0).into_iter().map(name).collect()
        };
        let methods =
            |limit| -> Vec<String> { shown(limit).into_iter().map(|(method, _)| method).collect() };
        assert_eq!(methods(2), ["apm", "ips"]);
        // Files 0 and 1 belong to `auto`, 2 and 3 to `grid`: one of each, and no file twice.
        let four = shown(4);
        assert_eq!(methods(4), ["apm", "apm", "ips", "ips"]);
        let files: std::collections::BTreeSet<&str> =
            four.iter().map(|(_, file)| file.as_str()).collect();
        assert_eq!(files.len(), 4, "{four:?}");
        for pair in four.chunks(2) {
            let grid = pair.iter().filter(|(_, file)| matches!(file.as_str(), "2" | "3")).count();
            assert_eq!(grid, 1, "{four:?}");
        }
    }

    #[test]
    fn the_figure_is_no_higher_than_a_page() {
        let folder = tempfile::tempdir().unwrap();
        // Upright pictures, as many as are shown at most.
        let run = with_panels(folder.path(), &record("apm", 0), &[(20, 40); MAX_CASES]);
        for width_mm in [84.0, 174.0, 300.0] {
            let options = FigureOptions { width_mm: Some(width_mm), ..FigureOptions::default() };
            let figure =
                Qualitative::new(std::slice::from_ref(&run), &options, width_mm * POINTS_PER_MM);
            let height_mm = figure.unwrap().size.1 / POINTS_PER_MM;
            assert!(height_mm <= HIGHEST_MM, "{height_mm} mm at {width_mm} mm");
        }
    }

    #[test]
    fn a_mask_of_another_size_and_a_missing_picture_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let run = with_panels(folder.path(), &record("apm", 0), &[(8, 4)]);
        let truth = run.folder.panels_dir().join(&run.panels[0].truth);
        GrayImage::new(4, 8).save(&truth).unwrap();
        let error = draw(std::slice::from_ref(&run)).err().unwrap();
        let message = format!("mask of 4 x 8 pixels for an image of 8 x 4: {}", truth.display());
        assert_eq!(error.to_string(), message);

        fs::remove_file(&truth).unwrap();
        let error = draw(&[run]).err().unwrap();
        assert!(matches!(error, FigureError::Picture { .. }));
        assert!(error.to_string().ends_with("truth.png"), "{error}");
    }

    #[test]
    fn runs_without_panels_are_an_error() {
        let error = draw(&[run(record("apm", 0))]).err().unwrap();
        assert_eq!(error.to_string(), "none of the 1 runs has panels");
    }
}
