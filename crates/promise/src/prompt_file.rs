//! Prompts of a person as a file: what the page of `cargo xtask serve` exports and `cargo xtask predict --prompts` takes.
//!
//! ```json
//! {
//!   "version": 1,
//!   "images": {
//!     "photo.png": {
//!       "points": [{ "x": 12.5, "y": 30.0, "label": "foreground" }],
//!       "box": [4.0, 8.0, 60.0, 52.0],
//!       "automatic": false
//!     }
//!   }
//! }
//! ```
//!
//! Coordinates are pixels of the original image, `x` to the right and `y` down; the top-left pixel covers 0 to 1 on both
//! axes, so its center is at 0.5. A box is `[x0, y0, x1, y1]` or `null`. With `automatic` the method's own prompts are used
//! besides.

use std::{collections::BTreeMap, path::Path};

use sam_backbone::PointLabel;
use serde::{Deserialize, Serialize};

use crate::interactive::Question;

/// The version of the format that is written, and the only one that is read.
pub const VERSION: u32 = 1;

/// Prompts by image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PromptFile {
    /// [`VERSION`]
    pub version: u32,
    /// By the name of the image.
    pub images: BTreeMap<String, ImagePrompts>,
}

/// The prompts of one image.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImagePrompts {
    /// In the order in which they were set.
    #[serde(default)]
    pub points: Vec<PromptPoint>,
    /// `[x0, y0, x1, y1]` in pixels of the image.
    #[serde(default, rename = "box")]
    pub box_xyxy: Option<[f32; 4]>,
    /// Whether the method's own prompts are used besides.
    #[serde(default)]
    pub automatic: bool,
}

/// A click.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PromptPoint {
    /// Pixels from the left edge of the image.
    pub x: f32,
    /// Pixels from its upper edge.
    pub y: f32,
    /// What the point says.
    pub label: PromptLabel,
}

/// What a click says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PromptLabel {
    /// On the object.
    Foreground,
    /// Off the object.
    Background,
}

/// Why a file of prompts cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PromptFileError {
    /// It is not JSON of this form.
    #[error("no file of prompts: {}", path.display())]
    Parse {
        /// The file.
        path: std::path::PathBuf,
        /// What the parser said, with line and column.
        source: serde_json::Error,
    },
    /// It is of another version.
    #[error("version {found} of the format, expected {VERSION}: {}", path.display())]
    Version {
        /// The version of the file.
        found: u32,
        /// The file.
        path: std::path::PathBuf,
    },
}

impl PromptFile {
    /// The prompts of one image.
    pub fn of(image: &str, prompts: ImagePrompts) -> Self {
        Self { version: VERSION, images: BTreeMap::from([(image.to_owned(), prompts)]) }
    }

    /// Reads what a file holds; `path` stands in errors.
    ///
    /// # Errors
    ///
    /// See [`PromptFileError`].
    pub fn parse(text: &str, path: &Path) -> Result<Self, PromptFileError> {
        /// A newer file may have other fields; its version is what there is to say.
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        let failed = |source| PromptFileError::Parse { path: path.to_owned(), source };
        let Versioned { version } = serde_json::from_str(text).map_err(failed)?;
        if version != VERSION {
            return Err(PromptFileError::Version { found: version, path: path.to_owned() });
        }
        serde_json::from_str(text).map_err(failed)
    }

    /// As JSON with line breaks.
    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).expect("strings and numbers") + "\n"
    }
}

impl From<PromptLabel> for PointLabel {
    fn from(label: PromptLabel) -> Self {
        match label {
            PromptLabel::Foreground => Self::Foreground,
            PromptLabel::Background => Self::Background,
        }
    }
}

impl From<&ImagePrompts> for Question {
    fn from(prompts: &ImagePrompts) -> Self {
        let points = prompts.points.iter();
        Self {
            points: points.map(|point| ([point.x, point.y], point.label.into())).collect(),
            box_xyxy: prompts.box_xyxy,
            automatic: prompts.automatic,
            mask: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_documentation_is_read_and_written_again() {
        let head = include_str!("prompt_file.rs").lines();
        let example: Vec<&str> = head
            .skip_while(|line| !line.contains("```json"))
            .skip(1)
            .take_while(|line| !line.contains("```"))
            .map(|line| line.trim_start_matches("//!"))
            .collect();
        let file = PromptFile::parse(&example.join("\n"), "e.json".as_ref()).expect("valid");
        let prompts = &file.images["photo.png"];
        assert_eq!(prompts.box_xyxy, Some([4.0, 8.0, 60.0, 52.0]));
        let prompt = Question::from(prompts);
        assert_eq!(prompt.points, [([12.5, 30.0], PointLabel::Foreground)]);
        assert_eq!(PromptFile::parse(&file.json(), "e.json".as_ref()).expect("valid"), file);
    }

    #[test]
    fn what_is_left_out_is_nothing_and_what_is_unknown_is_refused() {
        let parse = |text: &str| PromptFile::parse(text, "p.json".as_ref());
        let file = parse(r#"{"version":1,"images":{"a.png":{}}}"#).expect("valid");
        assert_eq!(file.images["a.png"], ImagePrompts::default());
        let newer = parse(r#"{"version":2,"frames":[]}"#).expect_err("newer");
        assert_eq!(newer.to_string(), "version 2 of the format, expected 1: p.json");
        for bad in [
            r#"{"images":{}}"#,
            r#"{"version":1,"images":{"a":{"point":[]}}}"#,
            r#"{"version":1,"images":{"a":{"points":[{"x":1,"y":2,"label":1}]}}}"#,
            "[]",
        ] {
            let error = parse(bad).expect_err("refused");
            assert!(matches!(error, PromptFileError::Parse { .. }), "{bad}: {error}");
        }
    }
}
