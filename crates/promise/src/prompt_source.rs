//! Where prompts come from, besides a learned module: the truth (an oracle) and fixed baselines.

use data_loaders::TruthMask;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sam_backbone::{Frame, PointLabel};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Where the prompts of a row come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PromptSource {
    /// The prompt module's prediction.
    Auto,
    /// Points sampled from the true mask, half on the object and half off it. An oracle.
    GroundTruth,
    /// A regular grid of points, all foreground. Learns nothing, knows nothing.
    Grid,
    /// One foreground point in the middle.
    Center,
    /// A box around the whole image.
    BoxFull,
}

/// A name that no prompt source has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown prompt source `{name}`, expected one of {}", known())]
pub struct UnknownSourceError {
    /// What was asked for.
    pub name: String,
}

fn known() -> String {
    PromptSource::ALL.map(|source| format!("`{source}`")).join(", ")
}

impl PromptSource {
    /// Every source.
    pub const ALL: [Self; 5] =
        [Self::Auto, Self::GroundTruth, Self::Grid, Self::Center, Self::BoxFull];

    /// Name in files and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::GroundTruth => "ground_truth",
            Self::Grid => "grid",
            Self::Center => "center",
            Self::BoxFull => "box_full",
        }
    }

    /// Whether it looks at the truth of the image that it prompts, so that a number obtained with
    /// it is a bound and not a result.
    pub const fn is_oracle(self) -> bool {
        matches!(self, Self::GroundTruth)
    }
}

impl std::fmt::Display for PromptSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

impl std::str::FromStr for PromptSource {
    type Err = UnknownSourceError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|source| source.name() == name)
            .ok_or_else(|| UnknownSourceError { name: name.to_owned() })
    }
}

/// A prompt for one image on the host.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HostPrompt {
    /// `(x, y)` in input pixels, and what each point says.
    pub points: Vec<([f32; 2], PointLabel)>,
    /// `(x0, y0, x1, y1)` in input pixels.
    pub box_xyxy: Option<[f32; 4]>,
}

/// A generator that depends on the seed, the epoch and the case, and on nothing else: not on the
/// order of the cases, not on the batch size, not on what was drawn before.
///
/// Evaluation is epoch 0; training epochs count from 1.
pub fn case_generator(seed: u64, epoch: u64, data: &str, id: &str) -> ChaCha8Rng {
    let mut hasher = Sha256::new();
    for part in [data.as_bytes(), id.as_bytes(), &epoch.to_le_bytes(), &seed.to_le_bytes()] {
        // The length keeps ("a", "bc") and ("ab", "c") apart.
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    ChaCha8Rng::from_seed(hasher.finalize().into())
}

/// What a prompt module may draw from for a case: a number that depends on what [`case_generator`] depends on, and
/// that tells nothing about oracle points.
pub(crate) fn prompt_seed(seed: u64, epoch: u64, data: &str, id: &str) -> u64 {
    let mut generator = case_generator(seed, epoch, data, id);
    generator.set_stream(1);
    generator.next_u64()
}

/// Points sampled from the true mask, without replacement while pixels last: the first half on the
/// object, the rest off it.
///
/// An empty mask has no pixel to click, so all points are background; a full one has no
/// background, so all are foreground. (The published code crashes on the former.) Pixels that were
/// cropped away are not drawn: nobody can click what the network does not see.
pub fn ground_truth_points(
    truth: &TruthMask,
    frame: &Frame,
    n_points: usize,
    rng: &mut ChaCha8Rng,
) -> HostPrompt {
    let width = truth.width as usize;
    let pixels = |wanted: bool| -> Vec<usize> {
        let shown = |at: usize| frame.shows(at % width, at / width);
        let of_kind = truth.values.iter().enumerate().filter(|(_, on)| **on == wanted);
        of_kind.map(|(at, _)| at).filter(|&at| shown(at)).collect()
    };
    let (on, off) = (pixels(true), pixels(false));
    let n_on = match (on.is_empty(), off.is_empty()) {
        (true, _) => 0,
        (_, true) => n_points,
        _ => n_points / 2,
    };
    let mut points = Vec::with_capacity(n_points);
    for (mut pixels, count, label) in
        [(on, n_on, PointLabel::Foreground), (off, n_points - n_on, PointLabel::Background)]
    {
        for drawn in 0..count {
            // A partial Fisher-Yates shuffle; it starts over when all pixels were drawn.
            let first = drawn % pixels.len();
            let chosen = rng.random_range(first..pixels.len());
            pixels.swap(first, chosen);
            let (x, y) = (pixels[first] % width, pixels[first] / width);
            points.push((frame.input_from_image([x as f32, y as f32]), label));
        }
    }
    HostPrompt { points, box_xyxy: None }
}

/// The prompt of a fixed baseline. `None` for sources that need a module or the truth.
///
/// The grid has the smallest number of rows and columns that holds `n_points`, the points at the
/// centers of its cells, and only inside the image, not on the padding.
pub fn fixed_prompt(source: PromptSource, frame: &Frame, n_points: usize) -> Option<HostPrompt> {
    let [width, height] = frame.content_size();
    match source {
        PromptSource::Auto | PromptSource::GroundTruth => None,
        PromptSource::Grid => {
            let columns = (1..).find(|side| side * side >= n_points).unwrap_or(1);
            let rows = n_points.div_ceil(columns);
            let points = (0..n_points).map(|index| {
                let (row, column) = (index / columns, index % columns);
                let x = (column as f32 + 0.5) * width / columns as f32;
                let y = (row as f32 + 0.5) * height / rows as f32;
                ([x, y], PointLabel::Foreground)
            });
            Some(HostPrompt { points: points.collect(), box_xyxy: None })
        }
        PromptSource::Center => Some(HostPrompt {
            points: vec![([width / 2.0, height / 2.0], PointLabel::Foreground)],
            box_xyxy: None,
        }),
        PromptSource::BoxFull => {
            Some(HostPrompt { points: Vec::new(), box_xyxy: Some([0.0, 0.0, width, height]) })
        }
    }
}

#[cfg(test)]
mod tests {
    use sam_backbone::{ImageSize, ResizeMode};

    use super::*;

    fn frame(height: usize, width: usize) -> Frame {
        Frame::new(ImageSize { height, width }, ResizeMode::LongestSide, 64)
    }

    fn left_half() -> TruthMask {
        TruthMask::new(8, 4, (0..32).map(|at| at % 8 < 4).collect())
    }

    #[test]
    fn oracle_points_tell_the_truth_in_the_input_frame() {
        let frame = frame(4, 8); // scale 8
        let mut rng = case_generator(1, 0, "set", "case");
        let prompt = ground_truth_points(&left_half(), &frame, 16, &mut rng);
        assert_eq!(prompt.points.len(), 16);
        for (index, ([x, _], label)) in prompt.points.iter().enumerate() {
            assert_eq!(*label == PointLabel::Foreground, index < 8);
            assert_eq!(*label == PointLabel::Foreground, *x < 32.0);
        }
        let mut distinct: Vec<_> =
            prompt.points.iter().map(|(at, _)| at.map(f32::to_bits)).collect();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), 16, "sampled without replacement");
    }

    #[test]
    fn an_empty_mask_has_background_points_only() {
        let truth = TruthMask::new(2, 2, vec![false; 4]);
        let mut rng = case_generator(1, 0, "set", "case");
        let prompt = ground_truth_points(&truth, &frame(2, 2), 6, &mut rng);
        assert_eq!(prompt.points.len(), 6);
        assert!(prompt.points.iter().all(|(_, label)| *label == PointLabel::Background));
    }

    #[test]
    fn oracle_points_depend_on_the_case_and_not_on_the_order() {
        let draw = |seed, epoch, id: &str| {
            let mut rng = case_generator(seed, epoch, "set", id);
            ground_truth_points(&left_half(), &frame(4, 8), 4, &mut rng)
        };
        assert_eq!(draw(1, 0, "a"), draw(1, 0, "a"));
        assert_ne!(draw(1, 0, "a"), draw(1, 0, "b"));
        assert_ne!(draw(1, 0, "a"), draw(1, 1, "a"));
        assert_ne!(draw(1, 0, "a"), draw(2, 0, "a"));
    }

    #[test]
    fn a_modules_seed_is_of_its_case_and_epoch_and_not_the_stream_of_oracle_points() {
        let seed = prompt_seed(1, 2, "set", "a");
        assert_eq!(seed, prompt_seed(1, 2, "set", "a"));
        for other in
            [(2, 2, "set", "a"), (1, 3, "set", "a"), (1, 2, "tes", "a"), (1, 2, "set", "b")]
        {
            assert_ne!(seed, prompt_seed(other.0, other.1, other.2, other.3));
        }
        assert_ne!(seed, case_generator(1, 2, "set", "a").next_u64());
    }

    #[test]
    fn the_grid_covers_the_image_and_not_its_padding() {
        let frame = frame(4, 8); // resized to 32 x 64
        let prompt = fixed_prompt(PromptSource::Grid, &frame, 4).expect("a fixed source");
        let at: Vec<_> = prompt.points.iter().map(|(at, _)| *at).collect();
        assert_eq!(at, [[16.0, 8.0], [48.0, 8.0], [16.0, 24.0], [48.0, 24.0]]);
    }

    #[test]
    fn oracle_points_are_drawn_from_what_is_shown() {
        let crop = sam_backbone::Crop { left: 2, top: 1, width: 4, height: 2 };
        let frame = Frame::of_crop(ImageSize { height: 4, width: 8 }, crop, 64); // scale 16
        let mut rng = case_generator(1, 0, "set", "case");
        let prompt = ground_truth_points(&left_half(), &frame, 8, &mut rng);
        assert_eq!(prompt.points.len(), 8);
        for ([x, y], label) in prompt.points {
            assert_eq!(label == PointLabel::Foreground, x < 32.0);
            assert!((0.0..64.0).contains(&x) && (0.0..32.0).contains(&y), "{x} {y}");
        }
    }

    #[test]
    fn only_the_truth_is_an_oracle() {
        let oracles: Vec<_> =
            PromptSource::ALL.into_iter().filter(|source| source.is_oracle()).collect();
        assert_eq!(oracles, [PromptSource::GroundTruth]);
    }
}
