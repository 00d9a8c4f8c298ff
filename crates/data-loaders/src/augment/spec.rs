//! What people write: probabilities and ranges.

use std::path::{Path, PathBuf};

use bounded_read::MAX_TOML_BYTES;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Probabilities and ranges of [`augment`](super::augment). The default is the paper's.
///
/// A range `[low, high]` includes both ends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AugmentSpec {
    /// Probability of a random resized crop. Paper: 0.25.
    pub crop_probability: f64,
    /// Share of the image's area that the crop has. Shares above 1 do not fit and are drawn again, see
    /// [`CropBox`](super::CropBox). Paper: 0.95 to 1.05.
    pub crop_area: [f64; 2],
    /// Width by height of the crop. albumentations: 3/4 to 4/3.
    pub crop_aspect: [f64; 2],
    /// Probability of a mirror image, left and right. Paper: 0.25.
    pub flip_x_probability: f64,
    /// Probability of a mirror image, top and bottom. Paper: 0.25.
    pub flip_y_probability: f64,
    /// Probability of shift, scale and rotation together. Paper: 0.25.
    pub warp_probability: f64,
    /// Largest shift along each axis, as a share of the image's side. Paper: 0.0625.
    pub shift: f64,
    /// Largest change of scale: from `1 - scale` to `1 + scale`. Paper: 0.05.
    pub scale: f64,
    /// Largest rotation to either side, in degrees. Paper: 45.
    pub rotate_degrees: f64,
    /// Probability of one of four blurs. Paper: 0.25.
    pub blur_probability: f64,
    /// Largest side of a blur's window in pixels, odd; the smallest is 3. Paper: 5.
    pub blur_side: u32,
    /// Probability of a change of brightness and contrast. Paper: 0.25.
    pub tone_probability: f64,
    /// Largest change of brightness, as a share of the range 0..=255. Paper: 0.1.
    pub brightness: f64,
    /// Largest change of contrast: from `1 - contrast` to `1 + contrast`. Paper: 0.1.
    pub contrast: f64,
    /// Probability of one of CLAHE, sharpening, JPEG and Gaussian noise. Paper: 0.25.
    pub texture_probability: f64,
    /// Largest clip limit of CLAHE; the smallest is 1. Paper: 2.
    pub clahe_clip: f64,
    /// How much of the sharpened image is mixed in. albumentations: 0.2 to 0.5.
    pub sharpen_alpha: [f64; 2],
    /// Weight of the middle pixel in the sharpened image beyond its neighbors'. albumentations: 0.5 to 1.
    pub sharpen_lightness: [f64; 2],
    /// JPEG quality, at most 100. albumentations: 99 to 100, which is hardly visible.
    pub jpeg_quality: [u8; 2],
    /// Variance of the noise, in squared gray levels. albumentations: 10 to 50.
    pub noise_variance: [f64; 2],
    /// Probability of coarse dropout. Paper: 0.1.
    pub dropout_probability: f64,
    /// Squares that are blackened. albumentations: 8.
    pub dropout_holes: u32,
    /// Side of a square in pixels. albumentations: 8.
    pub dropout_side: u32,
}

impl Default for AugmentSpec {
    fn default() -> Self {
        Self {
            crop_probability: 0.25,
            crop_area: [0.95, 1.05],
            crop_aspect: [3.0 / 4.0, 4.0 / 3.0],
            flip_x_probability: 0.25,
            flip_y_probability: 0.25,
            warp_probability: 0.25,
            shift: 0.0625,
            scale: 0.05,
            rotate_degrees: 45.0,
            blur_probability: 0.25,
            blur_side: 5,
            tone_probability: 0.25,
            brightness: 0.1,
            contrast: 0.1,
            texture_probability: 0.25,
            clahe_clip: 2.0,
            sharpen_alpha: [0.2, 0.5],
            sharpen_lightness: [0.5, 1.0],
            jpeg_quality: [99, 100],
            noise_variance: [10.0, 50.0],
            dropout_probability: 0.1,
            dropout_holes: 8,
            dropout_side: 8,
        }
    }
}

/// Why there is no [`AugmentSpec`].
#[derive(Debug, thiserror::Error)]
pub enum AugmentError {
    /// A value that makes no sense.
    #[error("`{key}` is {value}, but must be {expected}")]
    Value {
        /// The key.
        key: &'static str,
        /// What it is.
        value: String,
        /// What it may be.
        expected: &'static str,
    },
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file has an unknown key or a wrong type; the source has line and column.
    #[error("not an augmentation: {}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: Box<toml::de::Error>,
    },
}

impl AugmentSpec {
    /// A spec in which nothing ever happens; ranges are the paper's.
    pub fn off() -> Self {
        Self {
            crop_probability: 0.0,
            flip_x_probability: 0.0,
            flip_y_probability: 0.0,
            warp_probability: 0.0,
            blur_probability: 0.0,
            tone_probability: 0.0,
            texture_probability: 0.0,
            dropout_probability: 0.0,
            ..Self::default()
        }
    }

    /// Reads and checks a TOML file; keys that are missing are the paper's.
    ///
    /// # Errors
    ///
    /// See [`AugmentError`].
    pub fn read(path: &Path) -> Result<Self, AugmentError> {
        let text = bounded_read::read_to_string(path, MAX_TOML_BYTES)
            .map_err(|source| AugmentError::Read { path: path.into(), source })?;
        let spec: Self = toml::from_str(&text).map_err(|source| AugmentError::Parse {
            path: path.into(),
            source: Box::new(source),
        })?;
        spec.check()?;
        Ok(spec)
    }

    /// Checks every value.
    ///
    /// # Errors
    ///
    /// [`AugmentError::Value`] for the first value that makes no sense.
    pub fn check(&self) -> Result<(), AugmentError> {
        let numbers = [
            ("crop_probability", self.crop_probability, 0.0..=1.0, "from 0 to 1"),
            ("flip_x_probability", self.flip_x_probability, 0.0..=1.0, "from 0 to 1"),
            ("flip_y_probability", self.flip_y_probability, 0.0..=1.0, "from 0 to 1"),
            ("warp_probability", self.warp_probability, 0.0..=1.0, "from 0 to 1"),
            ("blur_probability", self.blur_probability, 0.0..=1.0, "from 0 to 1"),
            ("tone_probability", self.tone_probability, 0.0..=1.0, "from 0 to 1"),
            ("texture_probability", self.texture_probability, 0.0..=1.0, "from 0 to 1"),
            ("dropout_probability", self.dropout_probability, 0.0..=1.0, "from 0 to 1"),
            ("shift", self.shift, 0.0..=1.0, "from 0 to 1"),
            ("scale", self.scale, 0.0..=0.9, "from 0 to 0.9"),
            ("rotate_degrees", self.rotate_degrees, 0.0..=180.0, "from 0 to 180"),
            ("brightness", self.brightness, 0.0..=1.0, "from 0 to 1"),
            ("contrast", self.contrast, 0.0..=1.0, "from 0 to 1"),
            ("clahe_clip", self.clahe_clip, 1.0..=40.0, "from 1 to 40"),
        ];
        for (key, value, range, expected) in numbers {
            if !range.contains(&value) {
                return Err(AugmentError::Value { key, value: value.to_string(), expected });
            }
        }
        let ranges = [
            ("crop_area", self.crop_area, 0.01..=4.0, "two rising numbers from 0.01 to 4"),
            ("crop_aspect", self.crop_aspect, 0.01..=100.0, "two rising numbers from 0.01 to 100"),
            ("sharpen_alpha", self.sharpen_alpha, 0.0..=1.0, "two rising numbers from 0 to 1"),
            (
                "sharpen_lightness",
                self.sharpen_lightness,
                0.0..=10.0,
                "two rising numbers from 0 to 10",
            ),
            (
                "noise_variance",
                self.noise_variance,
                0.0..=65025.0,
                "two rising numbers from 0 to 65025",
            ),
            (
                "jpeg_quality",
                self.jpeg_quality.map(f64::from),
                1.0..=100.0,
                "two rising numbers from 1 to 100",
            ),
        ];
        for (key, [low, high], range, expected) in ranges {
            if !(range.contains(&low) && range.contains(&high) && low <= high) {
                return Err(AugmentError::Value {
                    key,
                    value: format!("[{low}, {high}]"),
                    expected,
                });
            }
        }
        if self.blur_side < 3 || self.blur_side.is_multiple_of(2) || self.blur_side > 31 {
            let expected = "odd, from 3 to 31";
            let value = self.blur_side.to_string();
            return Err(AugmentError::Value { key: "blur_side", value, expected });
        }
        for (key, value) in
            [("dropout_holes", self.dropout_holes), ("dropout_side", self.dropout_side)]
        {
            if !(1..=1024).contains(&value) {
                let expected = "from 1 to 1024";
                return Err(AugmentError::Value { key, value: value.to_string(), expected });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_the_papers() {
        let spec = AugmentSpec::default();
        spec.check().unwrap();
        let paper = [
            spec.crop_probability,
            spec.flip_x_probability,
            spec.flip_y_probability,
            spec.warp_probability,
            spec.blur_probability,
            spec.tone_probability,
            spec.texture_probability,
        ];
        assert_eq!(paper, [0.25; 7]);
        assert_eq!(spec.dropout_probability, 0.1);
        assert_eq!([spec.shift, spec.scale, spec.rotate_degrees], [0.0625, 0.05, 45.0]);
        assert_eq!((spec.blur_side, spec.brightness, spec.contrast), (5, 0.1, 0.1));
        assert_eq!((spec.crop_area, spec.clahe_clip), ([0.95, 1.05], 2.0));
    }

    #[test]
    fn unknown_keys_are_refused_and_missing_ones_are_the_papers() {
        let spec: AugmentSpec = toml::from_str("rotate_degrees = 10.0").unwrap();
        assert_eq!(spec, AugmentSpec { rotate_degrees: 10.0, ..AugmentSpec::default() });
        let error = toml::from_str::<AugmentSpec>("rotation = 10.0").unwrap_err();
        assert!(error.to_string().contains("unknown field `rotation`"), "{error}");
    }

    #[test]
    fn a_file_is_read_and_checked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("augment.toml");
        assert!(matches!(AugmentSpec::read(&path), Err(AugmentError::Read { .. })));
        std::fs::write(&path, "warp_probability = 1.0\nscale = 0.2").unwrap();
        let spec = AugmentSpec::read(&path).unwrap();
        assert_eq!((spec.warp_probability, spec.scale, spec.shift), (1.0, 0.2, 0.0625));
        std::fs::write(&path, "warp = 1.0").unwrap();
        assert!(matches!(AugmentSpec::read(&path), Err(AugmentError::Parse { .. })));
        std::fs::write(&path, "scale = 2.0").unwrap();
        assert!(matches!(AugmentSpec::read(&path), Err(AugmentError::Value { key: "scale", .. })));
    }

    #[test]
    fn values_that_make_no_sense_are_named() {
        let spec = AugmentSpec::default;
        let wrong = [
            (AugmentSpec { warp_probability: 1.5, ..spec() }, "warp_probability"),
            (AugmentSpec { tone_probability: f64::NAN, ..spec() }, "tone_probability"),
            (AugmentSpec { crop_area: [1.0, 0.9], ..spec() }, "crop_area"),
            (AugmentSpec { blur_side: 4, ..spec() }, "blur_side"),
            (AugmentSpec { jpeg_quality: [0, 50], ..spec() }, "jpeg_quality"),
            (AugmentSpec { dropout_holes: 0, ..spec() }, "dropout_holes"),
        ];
        for (spec, key) in wrong {
            let error = spec.check().unwrap_err();
            assert!(
                matches!(error, AugmentError::Value { key: named, .. } if named == key),
                "{error}"
            );
        }
        let error = AugmentSpec { crop_area: [1.0, 0.9], ..spec() }.check().unwrap_err();
        assert_eq!(
            error.to_string(),
            "`crop_area` is [1, 0.9], but must be two rising numbers from 0.01 to 4"
        );
    }
}
