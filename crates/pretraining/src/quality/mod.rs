//! How promptable a SAM is: prompts for objects of held-out images, no adapter, nothing trained.
//!
//! # What is measured
//!
//! - **Images.** As many of [`natural`](data_loaders::synthetic::natural) as of
//!   [`phantom`](data_loaders::synthetic::phantom), [`IMAGE_SIZE`] pixels wide and high, of a seed
//!   that no recipe trains on ([`HELD_OUT_SEED`]); image `i` is number `i` of that seed.
//! - **Objects.** One per image: of a phantom its lesion; of a natural scene a visible object with a
//!   probability proportional to its area, which is the object that somebody hits who clicks on any
//!   of them at random. Half of a scene's objects are thin or of a few pixels; drawn evenly, most
//!   questions would be about those, and about the decoder's grid. What they get stands in *by size*.
//! - **Prompts.** Five for each object, see [`ByPrompt`]. Points are drawn evenly from the object's
//!   pixels, without replacement while pixels last. They are nested: the one point is the first of
//!   the three, which are the first of the eight. The box is tight, `(x0, y0, x1, y1)` with the
//!   pixels `x0 <= x < x1`. Objects and points are functions of (seed, index).
//! - **Masks.** The image is resized to the network's input ([`ResizeMode::Plain`]) and encoded once;
//!   each prompt gives SAM's three multimask outputs, which are brought to the image's own size by
//!   SAM's postprocessing ([`masks_in_image`](sam_backbone::masks_in_image)) and cut at logit 0.
//! - **IoU** with the exact mask at the image's own size.
//!
//! # What is reported
//!
//! - *best*: the mean over images of the largest IoU of the three masks, SAM's way to score an
//!   ambiguous prompt (Kirillov et al., 2023, section 7.1, "oracle")
//! - *selected*: the mean over images of the IoU of the mask that the IoU head ranks first: what a
//!   user gets
//! - *IoU rank correlation*: Spearman's, between the IoU that the head predicts and the true one,
//!   over all images, prompts and masks; its interval resamples images
//! - *grid ceiling*: the mean IoU of the true mask itself, averaged over the cells of the decoder's
//!   grid (share less one half as logits) and brought to the image's size in the same way. A
//!   yardstick, no bound: a decoder that draws objects of a few cells fatter can get more of them
//! - *by size*: the same means for small, middle and large objects ([`SIZE_EDGES`])
//!
//! Intervals are of the mean over other images of the same kind
//! ([`Summary`](metrics::Summary)); they say nothing about another pre-training.
//!
//! [`ResizeMode::Plain`]: sam_backbone::ResizeMode::Plain

mod answer;
mod ceiling;
mod error;
mod question;
mod report;
mod text;

use rayon::prelude::*;
use sam_backbone::FrozenSam;

pub use error::QualityError;
pub use question::ByPrompt;
pub use report::{DomainQuality, Interval, Intervals, Quality, SizeGroup};

use answer::Answer;
use question::{Domain, Question};

/// Seed of the images that a backbone is judged by. No recipe trains on it, and none may.
pub const HELD_OUT_SEED: u64 = 20_271_231;

/// Seeds that recipes in `experiments/pretrain` train on: their images would flatter.
const RECIPE_SEEDS: [u64; 1] = [20_261_123];

/// Width and height of the images.
pub const IMAGE_SIZE: u32 = data_loaders::synthetic::DEFAULT_SIZE;

/// Where a middle-sized object begins and a large one: square root of its area as a share of the
/// image's side. Both edges belong to the middle.
pub const SIZE_EDGES: [f64; 2] = [0.1, 0.25];

/// Images computed side by side before anybody is told or asked. Changes no number.
const IMAGES_AT_ONCE: u64 = 16;

/// How much is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QualitySettings {
    /// Images of each kind.
    pub images: u64,
    /// Seed of images, objects, points and intervals; [`HELD_OUT_SEED`] unless there is a reason.
    pub seed: u64,
}

impl QualitySettings {
    /// Images of both kinds together.
    pub fn total(&self) -> u64 {
        self.images * Domain::ALL.len() as u64
    }

    /// That these settings can be asked, e.g. before large weights are loaded; [`evaluate`] checks
    /// it too.
    ///
    /// # Errors
    ///
    /// [`QualityError::NoImages`], [`QualityError::SeenSeed`]
    pub fn check(&self) -> Result<(), QualityError> {
        let seed = self.seed;
        if self.images == 0 {
            return Err(QualityError::NoImages);
        }
        if RECIPE_SEEDS.contains(&seed) {
            return Err(QualityError::SeenSeed { seed });
        }
        Ok(())
    }
}

impl Default for QualitySettings {
    fn default() -> Self {
        Self { images: 500, seed: HELD_OUT_SEED }
    }
}

/// Measures how promptable `sam` is, see [the module](self).
///
/// The same SAM and settings give the same bytes, with any number of threads. `on_images` hears how
/// many images are done, of [`QualitySettings::total`]; `stop` is asked as often.
///
/// # Errors
///
/// [`QualityError`]: what [`QualitySettings::check`] refuses, or `stop` said so.
pub fn evaluate(
    sam: &FrozenSam,
    settings: QualitySettings,
    stop: &dyn Fn() -> bool,
    on_images: &mut dyn FnMut(u64),
) -> Result<Quality, QualityError> {
    settings.check()?;
    let QualitySettings { images, seed } = settings;
    let mut done = 0;
    let mut domain = |domain: Domain| {
        let mut answers: Vec<Answer> = Vec::new();
        for first in (0..images).step_by(IMAGES_AT_ONCE as usize) {
            if stop() {
                return Err(QualityError::Interrupted { done, total: settings.total() });
            }
            let indices = first..images.min(first + IMAGES_AT_ONCE);
            done += indices.end - indices.start;
            answers.par_extend(
                indices
                    .into_par_iter()
                    .map(|index| answer::answer(sam, &Question::new(domain, seed, index))),
            );
            on_images(done);
        }
        Ok(DomainQuality::of(&answers, seed))
    };
    Ok(Quality { natural: domain(Domain::Natural)?, phantom: domain(Domain::Phantom)? })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::path::Path;

    use burn::tensor::Device;
    use sam_backbone::{
        Architecture, ImageEncoderConfig, MICRO_WEIGHTS, MaskDecoderConfig, SamConfig, Variant,
        VitConfig, load_weights,
    };

    use super::*;
    use crate::PretrainSpec;

    fn frozen(config: SamConfig, weights: bool) -> FrozenSam {
        let device = Device::flex();
        device.seed(7);
        let mut sam = config.init(&device);
        if weights {
            load_weights(&mut sam, &MICRO_WEIGHTS).unwrap();
        }
        let sam = FrozenSam::new(sam, config, &device);
        // Weights are drawn when first read; here, and not by several threads.
        sam.hash();
        sam
    }

    fn tiny() -> FrozenSam {
        let encoder = ImageEncoderConfig::new(Architecture::Vit(
            VitConfig::new(16, 2, 2, vec![1]).with_window_size(4),
        ))
        .with_image_size(128)
        .with_embed_dim(16);
        let decoder = MaskDecoderConfig::new().with_mlp_dim(32).with_iou_head_hidden_dim(16);
        frozen(SamConfig::new(encoder, decoder, 16), false)
    }

    fn quality(sam: &FrozenSam, images: u64) -> Quality {
        let settings = QualitySettings { images, ..QualitySettings::default() };
        evaluate(sam, settings, &|| false, &mut |_| ()).unwrap()
    }

    #[test]
    fn the_same_sam_has_the_same_quality_on_any_number_of_threads() {
        let sam = tiny();
        let first = quality(&sam, 5);
        assert_eq!(first, quality(&sam, 5));
        let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        assert_eq!(first, one.install(|| quality(&sam, 5)));
        assert_eq!((first.natural.n, first.phantom.n), (5, 5));
    }

    #[test]
    fn means_are_shares_and_the_best_mask_is_no_worse_than_the_selected_one() {
        let quality = quality(&tiny(), 4);
        for domain in [quality.natural, quality.phantom] {
            let selected = domain.selected.into_array();
            for (best, selected) in domain.best.into_array().into_iter().zip(selected) {
                assert!((0.0..=1.0).contains(&best) && selected <= best, "{selected} {best}");
            }
            let by_size: usize = domain.by_size.iter().map(|group| group.n).sum();
            assert_eq!(by_size, domain.n);
        }
    }

    #[test]
    fn the_table_has_the_numbers_of_the_file() {
        let quality = quality(&tiny(), 3);
        let text = quality.to_string();
        let (natural, phantom) = text.split_once("\n\n").unwrap();
        for (text, domain) in [(natural, &quality.natural), (phantom, &quality.phantom)] {
            let scores = domain.best.into_array().into_iter().zip(domain.selected.into_array());
            for (name, (best, selected)) in ByPrompt::<f64>::NAMES.into_iter().zip(scores) {
                let line = text.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap();
                assert!(line.contains(&format!("{best:.3} ± ")), "{line}");
                assert!(line.contains(&format!(" {selected:.3} ± ")), "{line}");
            }
            assert!(text.contains(&format!("{:.3} ± ", domain.grid_ceiling)), "{text}");
        }
    }

    #[test]
    fn progress_ends_at_the_total_and_a_stop_is_obeyed() {
        let (sam, mut told) = (tiny(), Vec::new());
        let settings = QualitySettings { images: 17, ..QualitySettings::default() };
        evaluate(&sam, settings, &|| false, &mut |done| told.push(done)).unwrap();
        assert_eq!(told, [16, 17, 33, 34]);
        let stopped = evaluate(&sam, settings, &|| true, &mut |_| ()).unwrap_err();
        assert_eq!(stopped.to_string(), "interrupted after 0 of 34 images; nothing was written");
    }

    #[test]
    fn a_seed_that_was_trained_on_is_refused_and_so_is_nothing() {
        let refuse = |images, seed| {
            let settings = QualitySettings { images, seed };
            evaluate(&tiny(), settings, &|| false, &mut |_| ()).unwrap_err()
        };
        assert!(matches!(refuse(1, RECIPE_SEEDS[0]), QualityError::SeenSeed { .. }));
        assert!(matches!(refuse(0, HELD_OUT_SEED), QualityError::NoImages));
    }

    #[test]
    fn every_recipe_is_known_by_its_seed_and_none_has_the_held_out_one() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../experiments/pretrain");
        let mut recipes = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "toml") {
                let seed = PretrainSpec::from_path(&path).unwrap().seed;
                assert!(RECIPE_SEEDS.contains(&seed), "{seed} of {}", path.display());
                recipes += 1;
            }
        }
        assert!(recipes > 0 && !RECIPE_SEEDS.contains(&HELD_OUT_SEED));
    }

    /// What the shipped `micro` must reach on [`IMAGES`] held-out images of each kind.
    struct Bounds {
        natural: ByPrompt<f64>,
        phantom: ByPrompt<f64>,
        iou_rank_correlation: f64,
        /// How much lower `phantom` is than `natural` with 8 + 8 points.
        gap: f64,
    }

    const IMAGES: u64 = 40;

    /// 0.05 below what `cargo xtask eval-backbone --images 40` prints (of the rank correlation: for
    /// the worse of the two kinds), rounded down. To be raised with every better checkpoint, and not
    /// lowered where one is a little worse on 40 images; the rank correlation alone was (0.69 before), since
    /// on phantom it went from 0.67 to 0.64 on all 500.
    const BOUNDS: Bounds = Bounds {
        natural: ByPrompt {
            points_1: 0.62,
            points_3: 0.70,
            points_8: 0.74,
            points_8_8: 0.74,
            box_xyxy: 0.76,
        },
        phantom: ByPrompt {
            points_1: 0.48,
            points_3: 0.56,
            points_8: 0.65,
            points_8_8: 0.65,
            box_xyxy: 0.69,
        },
        iou_rank_correlation: 0.63,
        gap: 0.05,
    };

    #[test]
    fn the_shipped_micro_is_promptable() {
        let quality = quality(&frozen(Variant::Micro.config(), true), IMAGES);
        for (domain, bounds) in
            [(&quality.natural, BOUNDS.natural), (&quality.phantom, BOUNDS.phantom)]
        {
            let names = ByPrompt::<f64>::NAMES.into_iter().zip(bounds.into_array());
            for ((name, bound), best) in names.zip(domain.best.into_array()) {
                assert!(best >= bound, "{name}: {best} below {bound} in\n{quality}");
            }
            let rho = domain.iou_rank_correlation;
            assert!(rho.is_some_and(|rho| rho >= BOUNDS.iou_rank_correlation), "{quality}");
            let ByPrompt { points_1, points_3, points_8, .. } = domain.best;
            assert!(points_1 < points_3 && points_3 < points_8, "more clicks help\n{quality}");
        }
        let gap = quality.natural.best.points_8_8 - quality.phantom.best.points_8_8;
        assert!(gap >= BOUNDS.gap, "{gap}\n{quality}");
    }
}
