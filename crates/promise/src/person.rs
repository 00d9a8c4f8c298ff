//! A person's prompts: points and a box for an image, from the command line or from a file of prompts.

use std::{
    collections::BTreeMap,
    fmt, io,
    path::{Path, PathBuf},
};

use sam_backbone::{Frame, PointLabel};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, MapAccess, Visitor},
};
use serde_json::error::Category;

use crate::{
    prompt_source::HostPrompt,
    words::{UnknownWordError, Word},
};

/// The version of the file of prompts that this program writes and reads.
pub const PROMPT_FILE_VERSION: u32 = 1;
/// The longest file of prompts that is read, 64 MiB: a million points.
const MAX_BYTES: u64 = 64 << 20;

/// How a person's prompts and the run's own go together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Combine {
    /// The person's alone.
    #[default]
    Replace,
    /// All at once: the person's points behind the run's, the person's box instead of the run's.
    Add,
    /// In rounds: the run's prompts first, if it makes any, then the person's box, then one point after the other.
    /// From the second round on, SAM also gets the low-resolution logits of the round before.
    Correct,
}

impl Word for Combine {
    const WHAT: &'static str = "way to combine prompts";
    const ALL: &'static [(&'static str, Self)] =
        &[("replace", Self::Replace), ("add", Self::Add), ("correct", Self::Correct)];
}

impl std::str::FromStr for Combine {
    type Err = UnknownWordError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::of(name)
    }
}

/// A person's prompt, in pixels of the image.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct UserPrompt {
    /// `(x, y)` and label, 1 foreground, 0 background. They go to SAM as its own predictor takes them.
    pub points: Vec<([f32; 2], PointLabel)>,
    /// `(x0, y0, x1, y1)`.
    pub box_xyxy: Option<[f32; 4]>,
    /// How it goes together with the run's own.
    pub combine: Combine,
}

/// A place that is not in the image.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("({x}, {y}) lies outside of the image, which is {width} x {height}")]
pub struct OutsideError {
    /// Column.
    pub x: f32,
    /// Row.
    pub y: f32,
    /// Width of the image.
    pub width: usize,
    /// Height of the image.
    pub height: usize,
}

impl UserPrompt {
    /// Whether there is neither a point nor a box.
    pub fn is_empty(&self) -> bool {
        self.points.is_empty() && self.box_xyxy.is_none()
    }

    /// The prompt in input pixels. What lies on a border that was cropped away moves to the edge of what is shown.
    ///
    /// # Errors
    ///
    /// [`OutsideError`] if a point or corner is not in the image.
    pub(crate) fn in_input(&self, frame: &Frame) -> Result<HostPrompt, OutsideError> {
        let (width, height) = (frame.image.width, frame.image.height);
        let in_input = |[x, y]: [f32; 2]| {
            // NaN is in no range.
            if (0.0..=width as f32).contains(&x) && (0.0..=height as f32).contains(&y) {
                Ok(frame.input_from_image(frame.nearest_shown([x, y])))
            } else {
                Err(OutsideError { x, y, width, height })
            }
        };
        let point = |&(at, label): &([f32; 2], PointLabel)| Ok((in_input(at)?, label));
        let corners = |[x0, y0, x1, y1]: [f32; 4]| {
            let ([x0, y0], [x1, y1]) = (in_input([x0, y0])?, in_input([x1, y1])?);
            Ok([x0, y0, x1, y1])
        };
        Ok(HostPrompt {
            points: self.points.iter().map(point).collect::<Result<_, _>>()?,
            box_xyxy: self.box_xyxy.map(corners).transpose()?,
        })
    }
}

/// Prompts of a person for some images: a JSON file.
///
/// ```json
/// {
///   "version": 1,
///   "images": {
///     "polyp.png": {
///       "points": [{ "x": 120.5, "y": 80.5, "label": "foreground" }, { "x": 10, "y": 10, "label": "background" }],
///       "box": [40, 30, 200, 180],
///       "automatic": false
///     }
///   }
/// }
/// ```
///
/// Coordinates are pixels of the image as its file has it, x to the right and y down from the top-left corner, so that
/// the middle of the first pixel is (0.5, 0.5).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PromptFile {
    /// [`PROMPT_FILE_VERSION`].
    pub version: u32,
    /// By the name of the image's file, with or without ending.
    #[serde(deserialize_with = "once_each")]
    pub images: BTreeMap<String, ImagePrompt>,
}

/// A person's prompts for one image.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImagePrompt {
    /// Points, in the order in which they were made.
    #[serde(default)]
    pub points: Vec<ImagePoint>,
    /// Left, top, right and bottom.
    #[serde(default, rename = "box")]
    pub box_xyxy: Option<[f32; 4]>,
    /// Use the run's automatic prompts too: [`Combine::Add`] instead of [`Combine::Replace`] where nobody says how they
    /// are combined.
    #[serde(default)]
    pub automatic: bool,
}

/// A point.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImagePoint {
    /// From the left edge of the image, in its pixels.
    pub x: f32,
    /// From the top edge.
    pub y: f32,
    /// What it says.
    pub label: ImagePointLabel,
}

/// What a point says about the place under it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ImagePointLabel {
    /// It belongs to the object.
    Foreground,
    /// It does not.
    Background,
}

impl<'de> Deserialize<'de> for ImagePointLabel {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Label;
        impl Visitor<'_> for Label {
            type Value = ImagePointLabel;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a label, `\"foreground\"` or `\"background\"`")
            }

            fn visit_str<E: de::Error>(self, label: &str) -> Result<Self::Value, E> {
                match label {
                    "foreground" => Ok(ImagePointLabel::Foreground),
                    "background" => Ok(ImagePointLabel::Background),
                    _ => Err(E::invalid_value(de::Unexpected::Str(label), &self)),
                }
            }
        }
        // Whatever stands there is looked at, so that a number is named.
        deserializer.deserialize_any(Label)
    }
}

impl From<ImagePointLabel> for PointLabel {
    fn from(label: ImagePointLabel) -> Self {
        match label {
            ImagePointLabel::Foreground => Self::Foreground,
            ImagePointLabel::Background => Self::Background,
        }
    }
}

/// Why a file of prompts cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PromptFileError {
    /// It cannot be read.
    #[error("cannot read prompts from {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is no JSON, or has other keys or values than it may have.
    #[error("{message}, in line {line}, column {column} of {}", path.display())]
    Parse {
        /// What is wrong, and what is accepted.
        message: String,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// The file.
        path: PathBuf,
    },
    /// Another version of the format.
    #[error("version {found} of the format, this program reads {PROMPT_FILE_VERSION}: {}", path.display())]
    Version {
        /// What the file says.
        found: u32,
        /// The file.
        path: PathBuf,
    },
    /// No image at all.
    #[error("there are prompts for no image: {}", path.display())]
    NoImages {
        /// The file.
        path: PathBuf,
    },
    /// Two names that only differ in the ending.
    #[error(
        "`{first}` and `{second}` mean one image, since endings do not count; its prompts belong together under one of them: {}",
        path.display()
    )]
    SameImage {
        /// The name that comes first in the alphabet.
        first: String,
        /// The other.
        second: String,
        /// The file.
        path: PathBuf,
    },
    /// An image without any prompt.
    #[error("`{image}` has neither a point nor a box, and `automatic` is not true: {}", path.display())]
    Nothing {
        /// The image.
        image: String,
        /// The file.
        path: PathBuf,
    },
    /// A box whose corners are the wrong way round.
    #[error(
        "the box of `{image}` is [{}], its first corner must lie left of and above the second: {}",
        corners.map(|corner| corner.to_string()).join(", "), path.display()
    )]
    Corners {
        /// The image.
        image: String,
        /// As the file has them.
        corners: [f32; 4],
        /// The file.
        path: PathBuf,
    },
    /// Nothing is left of an image whose only prompts are automatic.
    #[error(
        "`{image}` has automatic prompts only, which `--combine replace` leaves out: {}", path.display()
    )]
    NothingLeft {
        /// The image.
        image: String,
        /// The file.
        path: PathBuf,
    },
    /// The file has nothing about an image.
    #[error("no prompts for `{image}`; there are some for {}: {}", named(known), path.display())]
    NoImage {
        /// The image.
        image: String,
        /// What there is.
        known: Vec<String>,
        /// The file.
        path: PathBuf,
    },
}

/// The first of some names, and how many more there are.
pub(crate) fn named(names: &[String]) -> String {
    const SHOWN: usize = 5;
    let shown: Vec<String> = names.iter().take(SHOWN).map(|name| format!("`{name}`")).collect();
    match names.len().saturating_sub(SHOWN) {
        _ if names.is_empty() => "no image".into(),
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

impl PromptFile {
    /// Reads and checks a file.
    ///
    /// # Errors
    ///
    /// See [`PromptFileError`].
    pub fn read(path: &Path) -> Result<Self, PromptFileError> {
        let text = bounded_read::read_to_string(path, MAX_BYTES)
            .map_err(|source| PromptFileError::Read { path: path.to_owned(), source })?;
        Self::parse(&text, path)
    }

    /// Checks what a file holds; `path` stands in errors.
    ///
    /// # Errors
    ///
    /// See [`PromptFileError`].
    pub fn parse(text: &str, path: &Path) -> Result<Self, PromptFileError> {
        let file: Self = serde_json::from_str(text).map_err(|error| {
            // The place that serde_json appends is said in our own words.
            let (line, column) = (error.line(), error.column());
            let said = error.to_string();
            let place = format!(" at line {line} column {column}");
            let said = said.strip_suffix(&place).unwrap_or(&said);
            let message = match error.classify() {
                // The parser's own word for it may be `ident`.
                Category::Syntax | Category::Eof => format!("this is no JSON ({said})"),
                Category::Data | Category::Io => said.to_owned(),
            };
            PromptFileError::Parse { message, line, column, path: path.to_owned() }
        })?;
        if file.version != PROMPT_FILE_VERSION {
            return Err(PromptFileError::Version { found: file.version, path: path.to_owned() });
        }
        if file.images.is_empty() {
            return Err(PromptFileError::NoImages { path: path.to_owned() });
        }
        let mut stems: BTreeMap<&str, &String> = BTreeMap::new();
        for image in file.images.keys() {
            if let Some(first) = stems.insert(stem(image), image) {
                let (first, second, path) = (first.clone(), image.clone(), path.to_owned());
                return Err(PromptFileError::SameImage { first, second, path });
            }
        }
        for (image, prompt) in &file.images {
            if prompt.points.is_empty() && prompt.box_xyxy.is_none() && !prompt.automatic {
                return Err(PromptFileError::Nothing { image: image.clone(), path: path.into() });
            }
            if let Some(corners @ [x0, y0, x1, y1]) = prompt.box_xyxy
                && !(x0 < x1 && y0 < y1)
            {
                let (image, path) = (image.clone(), path.to_owned());
                return Err(PromptFileError::Corners { image, corners, path });
            }
        }
        Ok(file)
    }

    /// The prompts of one image.
    pub fn single(image: &str, prompt: ImagePrompt) -> Self {
        let images = BTreeMap::from([(image.to_owned(), prompt)]);
        Self { version: PROMPT_FILE_VERSION, images }
    }

    /// As JSON with line breaks.
    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).expect("texts and numbers") + "\n"
    }

    /// The prompts of an image, by its file's name or else by that name without the ending of a picture.
    pub fn of(&self, image: &str) -> Option<&ImagePrompt> {
        let found = self.images.get(image);
        found.or_else(|| {
            self.images.iter().find(|(name, _)| stem(name) == stem(image)).map(|of| of.1)
        })
    }

    /// The same for the image at a path, which the caller has read this file for, combined as
    /// [`ImagePrompt::user_prompt`] says.
    ///
    /// # Errors
    ///
    /// [`PromptFileError::NoImage`], [`PromptFileError::NothingLeft`]; `path` is where the prompts come from.
    pub fn for_image(
        &self,
        image: &Path,
        combine: Option<Combine>,
        path: &Path,
    ) -> Result<UserPrompt, PromptFileError> {
        let image = image.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let path = path.to_owned();
        let Some(prompt) = self.of(&image) else {
            let known = self.images.keys().cloned().collect();
            return Err(PromptFileError::NoImage { image, known, path });
        };
        prompt.user_prompt(combine).ok_or(PromptFileError::NothingLeft { image, path })
    }
}

/// A file's name without the ending of a picture.
pub(crate) fn stem(name: &str) -> &str {
    const ENDINGS: [&str; 6] = ["png", "jpg", "jpeg", "bmp", "tif", "tiff"];
    match name.rsplit_once('.') {
        Some((stem, ending)) if ENDINGS.iter().any(|known| ending.eq_ignore_ascii_case(known)) => {
            stem
        }
        _ => name,
    }
}

impl ImagePrompt {
    /// The prompt, combined as `combine` says, whatever the file says. If it says nothing, the file does: points and box
    /// are added to the run's prompts with `automatic`, and else replace them.
    ///
    /// `None` if that leaves nothing: there are no points and no box, and the run's prompts are not wanted.
    pub fn user_prompt(&self, combine: Option<Combine>) -> Option<UserPrompt> {
        let by_file = if self.automatic { Combine::Add } else { Combine::Replace };
        let combine = combine.unwrap_or(by_file);
        let points = self.points.iter().map(|point| ([point.x, point.y], point.label.into()));
        let prompt = UserPrompt { points: points.collect(), box_xyxy: self.box_xyxy, combine };
        (!prompt.is_empty() || combine != Combine::Replace).then_some(prompt)
    }
}

/// A map whose names come once each: of two, JSON would lose the first in silence.
fn once_each<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, ImagePrompt>, D::Error> {
    struct OnceEach;
    impl<'de> Visitor<'de> for OnceEach {
        type Value = BTreeMap<String, ImagePrompt>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object with a key for each image")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut images = BTreeMap::new();
            while let Some(image) = map.next_key::<String>()? {
                if images.contains_key(&image) {
                    return Err(de::Error::custom(format_args!("`{image}` comes twice")));
                }
                images.insert(image, map.next_value()?);
            }
            Ok(images)
        }
    }
    deserializer.deserialize_map(OnceEach)
}

#[cfg(test)]
mod tests {
    use sam_backbone::{ImageSize, ResizeMode};

    use super::*;

    fn read(text: &str) -> Result<PromptFile, PromptFileError> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("prompts.json");
        std::fs::write(&path, text).expect("written");
        PromptFile::read(&path)
    }

    fn said(text: &str) -> String {
        read(text).expect_err("it cannot be used").to_string()
    }

    #[test]
    fn a_file_says_points_a_box_and_whether_automatic_prompts_stay() {
        let file = read(
            r#"{"version": 1, "images": {
                "a.png": {"points": [{"x": 12.5, "y": 30, "label": "foreground"}], "box": [1, 2, 3, 4], "automatic": true},
                "b.v2.png": {"points": [{"x": 0, "y": 1, "label": "background"}], "box": null}
            }}"#,
        )
        .expect("a good file");
        let combined = |prompt: &ImagePrompt, combine| prompt.user_prompt(combine).expect("some");
        let a = combined(file.of("a.png").expect("by its name"), None);
        assert_eq!(a.points, [([12.5, 30.0], PointLabel::Foreground)]);
        assert_eq!((a.box_xyxy, a.combine), (Some([1.0, 2.0, 3.0, 4.0]), Combine::Add));
        let b = combined(file.of("b.v2").expect("a case has no ending"), None);
        assert_eq!(b.points, [([0.0, 1.0], PointLabel::Background)]);
        assert_eq!((b.box_xyxy, b.combine), (None, Combine::Replace));
        let b = file.of("b.v2.jpg").expect("the ending does not count");
        assert_eq!(combined(b, Some(Combine::Correct)).combine, Combine::Correct);
        assert!(file.of("c").is_none());
        let text = serde_json::to_string(&file).expect("it can be written");
        assert_eq!(read(&text).expect("what was written"), file);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place_and_what_is_accepted() {
        let unknown = said("{\"version\": 1, \"images\": {\"a\": {\n  \"dots\": []}}}");
        assert!(unknown.contains("`dots`") && unknown.contains("`automatic`"), "{unknown}");
        assert!(unknown.contains("in line 2, column 8 of "), "{unknown}");
        assert!(unknown.ends_with("prompts.json"), "{unknown}");
        let label =
            r#"{"version": 1, "images": {"a": {"points": [{"x": 1, "y": 1, "label": 1}]}}}"#;
        let label = said(label);
        let expected =
            r#"invalid type: integer `1`, expected a label, `"foreground"` or `"background"`"#;
        assert!(label.starts_with(expected) && label.contains("in line 1"), "{label}");
        let label = said(
            r#"{"version": 1, "images": {"a": {"points": [{"x": 1, "y": 1, "label": "fore"}]}}}"#,
        );
        let expected = r#"invalid value: string "fore", expected a label, `"foreground"`"#;
        assert!(label.starts_with(expected), "{label}");
        let same = said(
            r#"{"version": 1, "images": {"a.png": {"automatic": true}, "a.jpg": {"automatic": true}}}"#,
        );
        assert!(same.starts_with("`a.jpg` and `a.png` mean one image"), "{same}");
        let none = said(r#"{"version": 1, "images": {}}"#);
        assert!(none.starts_with("there are prompts for no image: "), "{none}");
        let twice =
            r#"{"version": 1, "images": {"a": {"automatic": true}, "a": {"automatic": true}}}"#;
        assert!(said(twice).contains("`a` comes twice"), "{}", said(twice));
        assert!(said(r#"{"version": 2, "images": {}}"#).starts_with("version 2 of the format"));
        let nothing = said(r#"{"version": 1, "images": {"a": {}}}"#);
        assert!(nothing.contains("`a` has neither a point nor a box"), "{nothing}");
        let corners = said(r#"{"version": 1, "images": {"a": {"box": [5, 1, 2, 9]}}}"#);
        assert!(corners.contains("[5, 1, 2, 9]"), "{corners}");
        let no_json = said("not json");
        assert!(no_json.starts_with("this is no JSON (expected ident), in line 1"), "{no_json}");
        let gone = PromptFile::read(Path::new("nowhere.json")).expect_err("not there");
        assert_eq!(gone.to_string(), "cannot read prompts from nowhere.json");
    }

    #[test]
    fn an_image_without_prompts_is_answered_with_those_that_have_some() {
        let file = read(r#"{"version": 1, "images": {"a.png": {"automatic": true}}}"#);
        let file = file.expect("a good file");
        let of = |image: &str, combine| file.for_image(image.as_ref(), combine, "p.json".as_ref());
        let error = of("x/b.png", None).expect_err("no b");
        assert_eq!(error.to_string(), "no prompts for `b.png`; there are some for `a.png`: p.json");
        assert!(of("x/a.png", None).expect("automatic ones").is_empty());
        let error = of("x/a.png", Some(Combine::Replace)).expect_err("nothing is left");
        let expected =
            "`a.png` has automatic prompts only, which `--combine replace` leaves out: p.json";
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn places_outside_of_the_image_are_refused_and_others_go_to_the_input() {
        let frame = Frame::new(ImageSize { height: 4, width: 8 }, ResizeMode::LongestSide, 64);
        let at = |x: f32, y: f32| UserPrompt {
            points: vec![([x, y], PointLabel::Foreground)],
            ..UserPrompt::default()
        };
        let inside = at(7.5, 4.0).in_input(&frame).expect("inside");
        assert_eq!(inside.points, [([60.0, 32.0], PointLabel::Foreground)]);
        for (x, y) in [(8.5, 1.0), (1.0, 4.5), (-0.5, 1.0), (f32::NAN, 1.0)] {
            assert!(at(x, y).in_input(&frame).is_err(), "{x} {y}");
        }
        let corners = UserPrompt { box_xyxy: Some([1.0, 1.0, 9.0, 2.0]), ..UserPrompt::default() };
        let error = corners.in_input(&frame).expect_err("the second corner");
        assert_eq!(error.to_string(), "(9, 2) lies outside of the image, which is 8 x 4");
    }
}
