//! Pictures of single cases for pages.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::FigureError;
use super::axes::Rect;
use super::canvas::{Area, DrawResult};
use super::canvas::{Drawing, PHOTO_DPI, Sketch, jpeg};
use super::overlay::{Painter, Prompts, fitted};
use crate::{Run, Scope};

/// Longest side of a picture, in pixels.
const SIDE: f64 = 320.0;

/// One case as a page shows it.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    pub(crate) data: String,
    pub(crate) split: String,
    pub(crate) method: String,
    pub(crate) prompts: String,
    pub(crate) oracle: bool,
    pub(crate) seed: u64,
    pub(crate) file: String,
    pub(crate) dice: Option<f64>,
    pub(crate) iou: Option<f64>,
    /// The image with the true outline, as JPEG in Base64.
    pub(crate) truth_jpeg: String,
    /// The image with the prediction and the true outline, as JPEG in Base64.
    pub(crate) prediction_jpeg: String,
    /// The prompts as an SVG element of the picture's shape; empty without a prompt.
    pub(crate) prompts_svg: String,
}

/// At most `limit` cases with pictures, in the order of the runs, and how many there are.
///
/// # Errors
///
/// [`FigureError::Picture`] and [`FigureError::PictureSize`].
pub(crate) fn samples(
    runs: &[Run],
    scope: &Scope,
    limit: usize,
) -> Result<(Vec<Sample>, usize), FigureError> {
    let panels: Vec<_> = runs
        .iter()
        .flat_map(|run| run.panels.iter().map(move |panel| (run, panel)))
        .filter(|(_, panel)| scope.shows(&panel.data, &panel.prompts))
        .collect();
    let mut samples = Vec::new();
    for &(run, panel) in panels.iter().take(limit) {
        let cell = SIDE / PHOTO_DPI * 72.0;
        let painter = Painter::new(run, panel, cell)?;
        let prompts = Prompts::of(panel, painter.size);
        let prompts_svg = if prompts == Prompts::default() {
            String::new()
        } else {
            Drawing::over(&Overlay { prompts, size: fitted(painter.size, cell) })?
        };
        let base64 = |picture| jpeg(&picture).map(|bytes| BASE64_STANDARD.encode(bytes));
        samples.push(Sample {
            data: panel.data.clone(),
            split: panel.split.clone(),
            method: run.record.method.clone(),
            prompts: panel.prompts.clone(),
            oracle: run.record.rows.iter().any(|row| row.prompts == panel.prompts && row.oracle),
            seed: run.record.seed,
            file: panel.file.clone(),
            dice: panel.dice,
            iou: panel.iou,
            truth_jpeg: base64(painter.with_truth())?,
            prediction_jpeg: base64(painter.with_prediction(true))?,
            prompts_svg,
        });
    }
    Ok((samples, panels.len()))
}

/// Prompts that lie over a picture.
struct Overlay {
    prompts: Prompts,
    size: (f64, f64),
}

impl Sketch for Overlay {
    fn size(&self) -> (f64, f64) {
        self.size
    }

    fn draw(&self, area: &Area<'_>) -> DrawResult {
        let (right, bottom) = self.size;
        self.prompts.draw(area, Rect { left: 0.0, top: 0.0, right, bottom })
    }
}
