//! The host's half of a step: scenes, objects and targets.

use data_loaders::{TruthMask, synthetic::natural};
use image::RgbImage;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::{augment::augmented, spec::Place};

/// One scene and the objects that are prompted in it.
#[derive(Debug)]
pub(crate) struct PromptedScene {
    pub image: RgbImage,
    pub objects: Vec<TruthMask>,
}

/// The scenes of one step.
#[derive(Debug)]
pub(crate) struct Batch {
    pub scenes: Vec<PromptedScene>,
}

/// A generator of its own for every purpose and every step (or scene), so that no draw depends on
/// another's number.
pub(crate) fn generator(seed: u64, index: usize, purpose: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(purpose);
    // Far more words than are ever drawn lie between two of them.
    rng.set_word_pos((index as u128) << 32);
    rng
}

/// Stream of a scene's augmentation and choice of objects.
const SCENES: u64 = 0;
/// Stream of a step's number of rounds.
pub(crate) const ROUNDS: u64 = 1;
/// Stream of a step's prompts in shard 0; those of the other shards follow.
pub(crate) const PROMPTS: u64 = 2;

/// The scenes of a step. No scene comes twice in a run.
pub(crate) fn batch(seed: u64, place: Place) -> Batch {
    let stage = place.stage;
    let scenes = (0..stage.batch_size)
        .map(|index| {
            let index = place.first_scene + index;
            let mut rng = generator(seed, index, SCENES);
            let scene = natural(seed, index as u64, stage.image_size as u32);
            let scene = augmented(scene, &mut rng);
            let objects = (0..stage.masks_per_image)
                .map(|_| pick_object(&scene.objects, stage.area_exponent, &mut rng))
                .map(|object| scene.objects[object].clone())
                .collect();
            PromptedScene { image: scene.image, objects }
        })
        .collect();
    Batch { scenes }
}

/// A random object, with weight `area^exponent`.
pub(crate) fn pick_object(objects: &[TruthMask], exponent: f64, rng: &mut ChaCha8Rng) -> usize {
    let weights: Vec<f64> =
        objects.iter().map(|mask| (mask.foreground() as f64).powf(exponent)).collect();
    let mut rest = rng.random_range(0.0..weights.iter().sum::<f64>());
    for (index, weight) in weights.iter().enumerate() {
        rest -= weight;
        if rest < 0.0 {
            return index;
        }
    }
    weights.len() - 1
}

/// A mask at a lower resolution: the share of each cell that is foreground, row-major.
pub(crate) fn area_target(mask: &TruthMask, side: usize) -> Vec<f32> {
    let (width, height) = (mask.width as usize, mask.height as usize);
    let (step_x, step_y) = (width / side, height / side);
    let mut target = vec![0.0; side * side];
    for (row, values) in mask.values.chunks_exact(width).enumerate().take(step_y * side) {
        let out = &mut target[row / step_y * side..][..side];
        for (cell, values) in out.iter_mut().zip(values.chunks_exact(step_x)) {
            *cell += values.iter().filter(|value| **value).count() as f32;
        }
    }
    let area = (step_x * step_y) as f32;
    target.iter_mut().for_each(|cell| *cell /= area);
    target
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::StageSpec;

    #[test]
    fn a_target_is_the_share_of_each_cell() {
        let mask = TruthMask::new(4, 4, (0..16).map(|at| at == 0 || at % 4 == 3).collect());
        assert_eq!(area_target(&mask, 2), [0.25, 0.5, 0.0, 0.5]);
    }

    #[test]
    fn an_object_of_four_times_the_area_is_drawn_twice_as_often() {
        let square = |side: usize| {
            TruthMask::new(16, 16, (0..256).map(|at| at % 16 < side && at / 16 < side).collect())
        };
        let objects = [square(4), square(8)];
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let large = (0..3000).filter(|_| pick_object(&objects, 0.5, &mut rng) == 1).count();
        // 2000 expected, standard deviation 26.
        assert!((1900..2100).contains(&large), "{large}");
    }

    #[test]
    fn a_batch_is_a_function_of_seed_and_place() {
        let pixels = |seed, step: usize| -> Vec<Vec<u8>> {
            let stage = StageSpec {
                image_size: 64,
                steps: 9,
                batch_size: 2,
                masks_per_image: 1,
                area_exponent: 0.5,
                box_share: 0.3,
                box_jitter: 0.1,
                learning_rate: None,
            };
            let place = Place {
                index: 0,
                stage,
                first_scene: 2 * step,
                peak: 1e-3,
                cosine_step: step,
                progress: 0.0,
                first_cosine: true,
            };
            batch(seed, place).scenes.into_iter().map(|s| s.image.into_raw()).collect()
        };
        assert_eq!(pixels(3, 5), pixels(3, 5));
        assert_ne!(pixels(3, 5), pixels(3, 6));
        assert_ne!(pixels(3, 5), pixels(4, 5));
    }
}
