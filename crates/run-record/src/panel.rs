//! Images that show what a method did.

use serde::{Deserialize, Serialize};

/// One case to look at: an entry of `panels/panels.json`, which holds a list of them.
///
/// The three pictures have the size of the original image, so the prompts below are pixels of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Panel {
    /// Name of the data set.
    pub data: String,
    /// Name of the split.
    pub split: String,
    /// Where the prompts came from.
    pub prompts: String,
    /// File as the split names it.
    pub file: String,
    /// Dice; nothing where it is undefined.
    pub dice: Option<f64>,
    /// Intersection over union; nothing where it is undefined.
    pub iou: Option<f64>,
    /// The image: a PNG file, its path relative to the folder of `panels.json`, with `/`.
    pub image: String,
    /// The ground truth, as `image`; black is background, white is foreground.
    pub truth: String,
    /// The predicted mask, as `truth`.
    pub prediction: String,
    /// Point prompts.
    pub points: Vec<PanelPoint>,
    /// Box prompt: left, top, right, bottom in image pixels.
    pub box_xyxy: Option<[f32; 4]>,
}

impl Panel {
    /// Path of one picture relative to the folder of `panels.json`:
    /// `<data>-<prompts>/NNN-<part>.png`.
    pub fn picture(data: &str, prompts: &str, index: usize, part: PanelPart) -> String {
        let part = match part {
            PanelPart::Image => "image",
            PanelPart::Truth => "truth",
            PanelPart::Prediction => "prediction",
        };
        format!("{data}-{prompts}/{index:03}-{part}.png")
    }
}

/// Which of the three pictures of a [`Panel`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PanelPart {
    /// The image itself.
    Image,
    /// The ground truth mask.
    Truth,
    /// The predicted mask.
    Prediction,
}

/// One point prompt in image pixels, origin at the top-left corner.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PanelPoint {
    /// Distance from the left border.
    pub x: f32,
    /// Distance from the top border.
    pub y: f32,
    /// 1 for foreground, 0 for background.
    pub label: i32,
}
