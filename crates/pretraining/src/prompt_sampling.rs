//! Random prompts from true masks, and clicks into the error of a prediction.

use data_loaders::TruthMask;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use sam_backbone::PointLabel;

/// Most points of a random prompt.
const MAX_POINTS: usize = 16;
/// How often a prompt of points is a single click.
const SINGLE_CLICK_SHARE: f64 = 0.4;
/// How often all points of a prompt lie on the object.
const ONLY_FOREGROUND_SHARE: f64 = 0.3;
/// How often a further point lies on the object, in the other prompts.
const FOREGROUND_SHARE: f64 = 0.5;
/// A box corner moves by at most so many pixels.
const MAX_BOX_JITTER: f32 = 20.0;

/// A point and what it says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Click {
    /// `(x, y)` in image pixels.
    pub at: [f32; 2],
    pub label: PointLabel,
}

/// A prompt for one object.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum ObjectPrompt {
    /// Points on and off the object, the first one on it.
    Points(Vec<Click>),
    /// `(x0, y0, x1, y1)`, jittered.
    Box([f32; 4]),
}

/// What the prompts of a scene's objects have in common, so that they have one shape: a decoder
/// that is fed padding learns to expect it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PromptKind {
    /// So many points.
    Points(usize),
    /// A box.
    Box,
}

impl PromptKind {
    /// `box_share`: how often it is a box.
    pub(crate) fn random(box_share: f64, rng: &mut ChaCha8Rng) -> Self {
        if rng.random_bool(box_share) {
            Self::Box
        } else if rng.random_bool(SINGLE_CLICK_SHARE) {
            Self::Points(1)
        } else {
            Self::Points(rng.random_range(2..=MAX_POINTS))
        }
    }

    /// Whether such a prompt has several right answers.
    pub(crate) fn is_ambiguous(self) -> bool {
        self == Self::Points(1)
    }
}

/// A random prompt for the object `mask`, which is not empty. A corner of a box moves by up to
/// `box_jitter` of the box's side.
pub(crate) fn random_prompt(
    mask: &TruthMask,
    kind: PromptKind,
    box_jitter: f32,
    rng: &mut ChaCha8Rng,
) -> ObjectPrompt {
    let PromptKind::Points(count) = kind else {
        return ObjectPrompt::Box(jittered_box(mask, box_jitter, rng));
    };
    let only_foreground = rng.random_bool(ONLY_FOREGROUND_SHARE);
    let clicks = (0..count)
        .map(|index| {
            let foreground = index == 0 || only_foreground || rng.random_bool(FOREGROUND_SHARE);
            random_click(mask, foreground, rng)
        })
        .collect();
    ObjectPrompt::Points(clicks)
}

/// A random pixel of the object, or off it. A mask that fills the image has no pixel off it; the
/// click then lies on it and says so.
pub(crate) fn random_click(mask: &TruthMask, foreground: bool, rng: &mut ChaCha8Rng) -> Click {
    let inside = mask.foreground();
    let all = mask.values.len();
    let foreground = if inside == all { true } else { foreground && inside > 0 };
    let candidates = if foreground { inside } else { all - inside };
    let chosen = rng.random_range(0..candidates);
    let position = mask
        .values
        .iter()
        .enumerate()
        .filter(|(_, value)| **value == foreground)
        .nth(chosen)
        .map_or(0, |(position, _)| position);
    let label = if foreground { PointLabel::Foreground } else { PointLabel::Background };
    let width = mask.width as usize;
    Click { at: [(position % width) as f32, (position / width) as f32], label }
}

/// A click on a random wrong pixel of a prediction, or on a random pixel if none is wrong.
///
/// `predicted` is row-major with side `side`, a divisor of the mask's side.
pub(crate) fn error_click(
    mask: &TruthMask,
    predicted: &[bool],
    side: usize,
    rng: &mut ChaCha8Rng,
) -> Click {
    let (width, height) = (mask.width as usize, mask.height as usize);
    let (step_x, step_y) = (width / side, height / side);
    let wrong = |x: usize, y: usize| {
        mask.values[y * width + x]
            != predicted[(y / step_y).min(side - 1) * side + (x / step_x).min(side - 1)]
    };
    let count = (0..width * height).filter(|&at| wrong(at % width, at / width)).count();
    if count == 0 {
        return random_click(mask, rng.random_bool(FOREGROUND_SHARE), rng);
    }
    let chosen = rng.random_range(0..count);
    let at =
        (0..width * height).filter(|&at| wrong(at % width, at / width)).nth(chosen).unwrap_or(0);
    let label = if mask.values[at] { PointLabel::Foreground } else { PointLabel::Background };
    Click { at: [(at % width) as f32, (at / width) as f32], label }
}

/// The tight bounding box `(x0, y0, x1, y1)` of `mask`, which is not empty: its pixels have
/// `x0 <= x < x1` and `y0 <= y < y1`.
pub(crate) fn tight_box(mask: &TruthMask) -> [usize; 4] {
    let width = mask.width as usize;
    let (mut x0, mut y0, mut x1, mut y1) = (width, mask.height as usize, 0, 0);
    for (position, _) in mask.values.iter().enumerate().filter(|(_, value)| **value) {
        let (x, y) = (position % width, position / width);
        (x0, y0) = (x0.min(x), y0.min(y));
        (x1, y1) = (x1.max(x + 1), y1.max(y + 1));
    }
    [x0, y0, x1, y1]
}

fn jittered_box(mask: &TruthMask, share: f32, rng: &mut ChaCha8Rng) -> [f32; 4] {
    let [x0, y0, x1, y1] = tight_box(mask);
    let mut jitter = |value: usize, side: usize, limit: u32| {
        let reach = (side as f32 * share).min(MAX_BOX_JITTER);
        (value as f32 + rng.random_range(-1.0..=1.0) * reach).clamp(0.0, limit as f32)
    };
    let (box_width, box_height) = (x1 - x0, y1 - y0);
    [
        jitter(x0, box_width, mask.width),
        jitter(y0, box_height, mask.height),
        jitter(x1, box_width, mask.width),
        jitter(y1, box_height, mask.height),
    ]
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn square() -> TruthMask {
        let values = (0..256).map(|at| (4..8).contains(&(at % 16)) && (4..12).contains(&(at / 16)));
        TruthMask::new(16, 16, values.collect())
    }

    #[test]
    fn clicks_tell_the_truth() {
        let (mask, mut rng) = (square(), ChaCha8Rng::seed_from_u64(0));
        for _ in 0..200 {
            let ObjectPrompt::Points(clicks) =
                random_prompt(&mask, PromptKind::Points(9), 0.1, &mut rng)
            else {
                panic!("asked for points")
            };
            assert_eq!(clicks[0].label, PointLabel::Foreground);
            for Click { at, label } in clicks {
                let on = mask.at(at[0] as u32, at[1] as u32);
                assert_eq!(on, label == PointLabel::Foreground);
            }
        }
    }

    #[test]
    fn a_box_stays_near_its_object() {
        let (mask, mut rng) = (square(), ChaCha8Rng::seed_from_u64(1));
        for _ in 0..100 {
            let ObjectPrompt::Box([x0, y0, x1, y1]) =
                random_prompt(&mask, PromptKind::Box, 0.1, &mut rng)
            else {
                panic!("asked for a box")
            };
            assert!((x0 - 4.0).abs() <= 0.4 && (x1 - 8.0).abs() <= 0.4, "{x0} {x1}");
            assert!((y0 - 4.0).abs() <= 0.8 && (y1 - 12.0).abs() <= 0.8, "{y0} {y1}");
        }
    }

    #[test]
    fn a_box_without_jitter_is_tight() {
        let (mask, mut rng) = (square(), ChaCha8Rng::seed_from_u64(1));
        let prompt = random_prompt(&mask, PromptKind::Box, 0.0, &mut rng);
        assert_eq!(prompt, ObjectPrompt::Box([4.0, 4.0, 8.0, 12.0]));
    }

    #[test]
    fn an_error_click_lies_on_an_error() {
        let (mask, mut rng) = (square(), ChaCha8Rng::seed_from_u64(2));
        let mut predicted = mask.values.clone();
        predicted[5 * 16 + 5] = false;
        let click = error_click(&mask, &predicted, 16, &mut rng);
        assert_eq!(click, Click { at: [5.0, 5.0], label: PointLabel::Foreground });
        predicted[5 * 16 + 5] = true;
        predicted[0] = true;
        let click = error_click(&mask, &predicted, 16, &mut rng);
        assert_eq!(click, Click { at: [0.0, 0.0], label: PointLabel::Background });
    }

    #[test]
    fn a_full_mask_has_only_foreground_clicks() {
        let mask = TruthMask::new(4, 4, vec![true; 16]);
        let click = random_click(&mask, false, &mut ChaCha8Rng::seed_from_u64(0));
        assert_eq!(click.label, PointLabel::Foreground);
    }
}
