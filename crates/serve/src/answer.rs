//! Prompts and masks as the page writes and reads them.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use data_loaders::TruthMask;
use image::GrayImage;
use metrics::{Mask, MaskCounts};
use promise::{
    interactive::{Answer, Question, SoftMap},
    person::{ImagePoint, ImagePrompt, PromptFile},
};
use run_record::PanelPoint;
use serde::{Deserialize, Serialize};

use crate::library::Picture;

/// Points of one prompt, at most: more are no clicks.
const MAX_POINTS: usize = 256;

/// What the page asks.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Prompt {
    /// Name of the image.
    pub(crate) image: String,
    /// Number of the method.
    pub(crate) method: usize,
    /// Clicks, in pixels of the image.
    #[serde(default)]
    pub(crate) points: Vec<ImagePoint>,
    /// `[x0, y0, x1, y1]`
    #[serde(default, rename = "box")]
    pub(crate) box_xyxy: Option<[f32; 4]>,
    /// Whether the method's own prompts are used too.
    #[serde(default)]
    pub(crate) automatic: bool,
    /// Which of the masks is wanted.
    #[serde(default)]
    pub(crate) mask: Option<usize>,
}

/// More points than a prompt may have.
#[derive(Debug, thiserror::Error)]
#[error("{points} points, at most {MAX_POINTS} make a prompt")]
pub(crate) struct TooManyPoints {
    points: usize,
}

impl Prompt {
    fn prompts(&self) -> ImagePrompt {
        let Self { points, box_xyxy, automatic, .. } = self;
        ImagePrompt { points: points.clone(), box_xyxy: *box_xyxy, automatic: *automatic }
    }

    pub(crate) fn question(&self) -> Result<Question, TooManyPoints> {
        let points = self.points.len();
        if points > MAX_POINTS {
            return Err(TooManyPoints { points });
        }
        Ok(Question { mask: self.mask, ..Question::from(&self.prompts()) })
    }

    /// The prompt as a file for `cargo xtask predict --prompts`.
    pub(crate) fn file(&self, picture: &Picture) -> PromptFile {
        PromptFile::single(&picture.name, self.prompts())
    }
}

/// A mask as the lengths of its runs, row by row, off and on by turns, beginning with off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Runs {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) runs: Vec<u32>,
}

impl Runs {
    pub(crate) fn of(width: u32, height: u32, mask: &[bool]) -> Self {
        let mut runs = Vec::new();
        let (mut on, mut length) = (false, 0);
        for &pixel in mask {
            if pixel != on {
                runs.push(length);
                (on, length) = (pixel, 0);
            }
            length += 1;
        }
        runs.push(length);
        Self { width, height, runs }
    }

    pub(crate) fn of_truth(truth: &TruthMask) -> Self {
        Self::of(truth.width, truth.height, &truth.values)
    }
}

/// Probabilities, 0 to 255, row by row, in base64.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Map {
    width: u32,
    height: u32,
    values: String,
}

impl From<&SoftMap> for Map {
    fn from(map: &SoftMap) -> Self {
        let values = BASE64_STANDARD.encode(&map.values);
        Self { width: map.width, height: map.height, values }
    }
}

/// What the page gets.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct AnswerBody {
    mask: Runs,
    shown: usize,
    iou_predictions: Vec<f32>,
    previews: Vec<Map>,
    probabilities: Map,
    points: Vec<PanelPoint>,
    #[serde(rename = "box")]
    box_xyxy: Option<[f32; 4]>,
    mask_input: bool,
    /// Against the truth, where it is known and the measure defined.
    dice: Option<f64>,
    iou: Option<f64>,
    milliseconds: f64,
}

impl AnswerBody {
    pub(crate) fn new(answer: &Answer, truth: Option<&TruthMask>) -> Self {
        let (dice, iou) = truth.map_or((None, None), |truth| scores(answer, truth));
        Self {
            mask: Runs::of(answer.width, answer.height, &answer.mask),
            shown: answer.shown,
            iou_predictions: answer.iou_predictions.clone(),
            previews: answer.previews.iter().map(Map::from).collect(),
            probabilities: (&answer.probabilities).into(),
            points: answer.points.clone(),
            box_xyxy: answer.box_xyxy,
            mask_input: answer.mask_input,
            dice,
            iou,
            milliseconds: answer.secs * 1000.0,
        }
    }
}

/// Dice and IoU of an answer, each nothing where it is undefined.
pub(crate) fn scores(answer: &Answer, truth: &TruthMask) -> (Option<f64>, Option<f64>) {
    let (width, height) = (answer.width as usize, answer.height as usize);
    let counts = || {
        let predicted = Mask::new(width, height, answer.mask.clone()).ok()?;
        let (w, h) = (truth.width as usize, truth.height as usize);
        let truth = Mask::new(w, h, truth.values.clone()).ok()?;
        MaskCounts::between(&predicted, &truth).ok()
    };
    counts().map_or((None, None), |counts| (metrics::dice(counts), metrics::iou(counts)))
}

/// The mask as a picture, 0 and 255.
pub(crate) fn gray(answer: &Answer) -> GrayImage {
    let pixels = answer.mask.iter().map(|&on| if on { 255 } else { 0 }).collect();
    GrayImage::from_raw(answer.width, answer.height, pixels).expect("a value per pixel")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_begin_with_off_and_cover_every_pixel() {
        let runs = |mask: &[bool]| Runs::of(mask.len() as u32, 1, mask).runs;
        assert_eq!(runs(&[false, true, true, false]), [1, 2, 1]);
        assert_eq!(runs(&[true, true]), [0, 2]);
        assert_eq!(runs(&[false; 5]), [5]);
        assert_eq!(runs(&[true, false, true]), [0, 1, 1, 1]);
    }
}
