//! What is asked: an image, one object in it, five prompts for it.

use data_loaders::{
    TruthMask,
    synthetic::{natural, phantom},
};
use image::RgbImage;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use sam_backbone::PointLabel;
use serde::Serialize;

use super::IMAGE_SIZE;
use crate::{
    batch::{generator, pick_object},
    prompt_sampling::{Click, ObjectPrompt, tight_box},
};

/// Most points of one kind in a prompt.
const MAX_POINTS: usize = 8;

/// Where images come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Domain {
    Natural,
    Phantom,
}

impl Domain {
    pub const ALL: [Self; 2] = [Self::Natural, Self::Phantom];

    /// Stream of the generator that draws this domain's points.
    fn points(self) -> u64 {
        match self {
            Self::Natural => 1,
            Self::Phantom => 2,
        }
    }
}

/// Stream of the generator that chooses an object of a natural scene.
const OBJECT: u64 = 0;

/// Something for each of the five prompts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ByPrompt<T> {
    /// One point on the object.
    pub points_1: T,
    /// Three points on the object.
    pub points_3: T,
    /// Eight points on the object.
    pub points_8: T,
    /// Eight points on the object and eight off it.
    pub points_8_8: T,
    /// The object's tight bounding box.
    #[serde(rename = "box")]
    pub box_xyxy: T,
}

impl<T> ByPrompt<T> {
    /// Names of the prompts in files, in the order of [`into_array`](Self::into_array).
    pub const NAMES: [&'static str; 5] = ["points_1", "points_3", "points_8", "points_8_8", "box"];

    /// In the order of [`NAMES`](Self::NAMES).
    pub fn from_array([points_1, points_3, points_8, points_8_8, box_xyxy]: [T; 5]) -> Self {
        Self { points_1, points_3, points_8, points_8_8, box_xyxy }
    }

    /// In the order of [`NAMES`](Self::NAMES).
    pub fn into_array(self) -> [T; 5] {
        [self.points_1, self.points_3, self.points_8, self.points_8_8, self.box_xyxy]
    }
}

/// One image and what is asked of it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Question {
    pub image: RgbImage,
    /// The object's exact mask, not empty, of the image's size.
    pub truth: TruthMask,
    /// In pixels of the image.
    pub prompts: ByPrompt<ObjectPrompt>,
}

impl Question {
    /// Question number `index` of a seed.
    pub fn new(domain: Domain, seed: u64, index: u64) -> Self {
        let (image, truth) = match domain {
            Domain::Natural => {
                let mut scene = natural(seed, index, IMAGE_SIZE);
                let chosen = chosen_object(&scene.objects, seed, index);
                (scene.image, scene.objects.swap_remove(chosen))
            }
            Domain::Phantom => phantom(seed, index, IMAGE_SIZE),
        };
        let mut rng = generator(seed, index as usize, domain.points());
        let prompts = prompts(&truth, &mut rng);
        Self { image, truth, prompts }
    }
}

/// Which of a natural scene's `objects` is asked for, with a probability proportional to its visible
/// area.
fn chosen_object(objects: &[TruthMask], seed: u64, index: u64) -> usize {
    pick_object(objects, 1.0, &mut generator(seed, index as usize, OBJECT))
}

/// The five prompts for the object `truth`, which is not empty.
fn prompts(truth: &TruthMask, rng: &mut ChaCha8Rng) -> ByPrompt<ObjectPrompt> {
    let on = clicks(truth, PointLabel::Foreground, rng);
    let off = clicks(truth, PointLabel::Background, rng);
    let first = |count: usize| ObjectPrompt::Points(on.iter().take(count).copied().collect());
    ByPrompt {
        points_1: first(1),
        points_3: first(3),
        points_8: first(MAX_POINTS),
        points_8_8: ObjectPrompt::Points(on.iter().chain(&off).copied().collect()),
        box_xyxy: ObjectPrompt::Box(tight_box(truth).map(|side| side as f32)),
    }
}

/// [`MAX_POINTS`] random pixels on the object or off it, none twice unless there are fewer: then
/// all are used before any comes again. Nothing if there is no such pixel.
fn clicks(truth: &TruthMask, label: PointLabel, rng: &mut ChaCha8Rng) -> Vec<Click> {
    let foreground = label == PointLabel::Foreground;
    let width = truth.width as usize;
    let mut pixels: Vec<usize> =
        (0..truth.values.len()).filter(|&at| truth.values[at] == foreground).collect();
    if pixels.is_empty() {
        return Vec::new();
    }
    (0..MAX_POINTS)
        .map(|drawn| {
            // A shuffle that stops early: what was drawn in this turn is in front.
            let used = drawn % pixels.len();
            let chosen = rng.random_range(used..pixels.len());
            pixels.swap(used, chosen);
            let at = pixels[used];
            Click { at: [(at % width) as f32, (at / width) as f32], label }
        })
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::HashSet;

    use rand::SeedableRng;

    use super::*;

    const SEED: u64 = 5;

    fn points(prompt: &ObjectPrompt) -> &[Click] {
        match prompt {
            ObjectPrompt::Points(points) => points,
            ObjectPrompt::Box(_) => &[],
        }
    }

    fn mask(rows: &[&str]) -> TruthMask {
        let values = rows.iter().flat_map(|row| row.chars().map(|pixel| pixel == '#')).collect();
        TruthMask::new(rows[0].len() as u32, rows.len() as u32, values)
    }

    #[test]
    fn points_are_nested_tell_the_truth_and_do_not_repeat() {
        for domain in Domain::ALL {
            for index in 0..6 {
                let Question { image, truth, prompts } = Question::new(domain, SEED, index);
                assert_eq!(image.dimensions(), (truth.width, truth.height));
                let all = points(&prompts.points_8_8);
                let (on, off) = all.split_at(MAX_POINTS);
                assert_eq!(points(&prompts.points_8), on);
                assert_eq!(points(&prompts.points_3), &on[..3]);
                assert_eq!(points(&prompts.points_1), &on[..1]);
                assert_eq!(off.len(), MAX_POINTS);
                for (place, click) in all.iter().enumerate() {
                    let foreground = place < MAX_POINTS;
                    assert_eq!(truth.at(click.at[0] as u32, click.at[1] as u32), foreground);
                    assert_eq!(click.label == PointLabel::Foreground, foreground);
                }
                let places: HashSet<_> =
                    all.iter().map(|click| click.at.map(|v| v as u32)).collect();
                assert_eq!(places.len(), 2 * MAX_POINTS);
            }
        }
    }

    #[test]
    fn a_question_is_a_function_of_seed_and_index() {
        for domain in Domain::ALL {
            let question = Question::new(domain, SEED, 3);
            assert_eq!(question, Question::new(domain, SEED, 3));
            assert_ne!(question.prompts, Question::new(domain, SEED, 4).prompts);
            assert_ne!(question.prompts, Question::new(domain, SEED + 1, 3).prompts);
        }
    }

    #[test]
    fn the_box_holds_the_object_and_nothing_else() {
        let truth = mask(&[".....", "..##.", "...#.", "....."]);
        let prompts = prompts(&truth, &mut ChaCha8Rng::seed_from_u64(0));
        assert_eq!(prompts.box_xyxy, ObjectPrompt::Box([2.0, 1.0, 4.0, 3.0]));
    }

    #[test]
    fn a_small_object_gives_all_its_pixels_before_any_again() {
        let truth = mask(&["#.#", ".#."]);
        for seed in 0..20 {
            let clicks =
                clicks(&truth, PointLabel::Foreground, &mut ChaCha8Rng::seed_from_u64(seed));
            assert_eq!(clicks.len(), MAX_POINTS);
            for turn in clicks.chunks_exact(3) {
                let places: HashSet<_> = turn.iter().map(|c| c.at.map(|v| v as u32)).collect();
                assert_eq!(places, HashSet::from([[0, 0], [2, 0], [1, 1]]));
            }
        }
    }

    #[test]
    fn an_object_that_fills_the_image_has_no_points_off_it() {
        let prompts = prompts(&mask(&["##", "##"]), &mut ChaCha8Rng::seed_from_u64(0));
        assert_eq!(prompts.points_8_8, prompts.points_8);
    }

    #[test]
    fn every_pixel_is_drawn_equally_often_in_every_place() {
        let truth = mask(&["##########", "####......"]);
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut counts = [[0_u32; 14]; MAX_POINTS];
        for _ in 0..7000 {
            for (place, click) in
                clicks(&truth, PointLabel::Foreground, &mut rng).iter().enumerate()
            {
                counts[place][(click.at[1] * 10.0 + click.at[0]) as usize] += 1;
            }
        }
        // 500 expected, standard deviation 21.5.
        assert!(counts.iter().flatten().all(|count| (400..600).contains(count)), "{counts:?}");
    }

    #[test]
    fn an_object_of_three_times_the_area_is_chosen_three_times_as_often() {
        let objects = [mask(&["####", "####", "####"]), mask(&["####", "....", "...."])];
        let small = (0..4000).filter(|&index| chosen_object(&objects, SEED, index) == 1).count();
        // 1000 expected, standard deviation 27.
        assert!((880..1120).contains(&small), "{small}");
    }
}
