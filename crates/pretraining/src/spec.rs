//! The TOML file of a pre-training run.

use std::path::{Path, PathBuf};

use bounded_read::MAX_TOML_BYTES;
use sam_backbone::{Architecture, UnknownVariantError, Variant};
use serde::{Deserialize, Serialize};

use crate::{error::PretrainError, quality::HELD_OUT_SEED};

/// What to pre-train, and how. Every key is required: the file is the recipe of a published
/// checkpoint, so nothing may hide in a default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PretrainSpec {
    /// Backbone variant, e.g. `micro`.
    pub backbone: String,
    /// Seed of weights, scenes and prompts.
    pub seed: u64,
    /// Where the finished weights go, relative to the working directory.
    pub output: PathBuf,
    /// Parts of the run with an image size of their own, in order.
    #[serde(rename = "stage")]
    pub stages: Vec<StageSpec>,
    /// Most prompt rounds of a step, which draws their number evenly from 1 to here. The second and
    /// later ones click into the error of the one before.
    pub rounds: usize,
    /// Parts of a batch that are computed side by side and summed in order. Changes rounding, so
    /// it belongs to the recipe.
    pub shards: usize,
    /// Steps of linear warm-up of every cosine.
    pub warmup_steps: usize,
    /// Decoupled weight decay.
    pub weight_decay: f32,
    /// Largest gradient norm of a tensor; larger ones are scaled down.
    pub max_gradient_norm: f32,
    /// A checkpoint is written every so many steps.
    pub checkpoint_every: usize,
}

/// `[[stage]]`: a part of the run.
///
/// A small image costs a quarter of one of twice its side and teaches most of what prompts mean, so
/// a run begins with small ones, as SAM's encoder did. Between two stages the learned positions are
/// interpolated ([`Sam::with_image_size`](sam_backbone::Sam::with_image_size)).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StageSpec {
    /// Side of the scenes in pixels, and of the network's input. That of the last stage must be the
    /// backbone's own.
    pub image_size: usize,
    /// Optimizer steps.
    pub steps: usize,
    /// Scenes per step.
    pub batch_size: usize,
    /// Objects prompted in each scene.
    pub masks_per_image: usize,
    /// An object is prompted with a probability proportional to its area to this power: 0 draws
    /// evenly. Most objects are small, and the smallest cover a few cells of a low-resolution mask;
    /// drawn evenly they would be most of what a beginner sees.
    pub area_exponent: f64,
    /// How often the prompts of a scene are boxes; else they are points.
    pub box_share: f64,
    /// A box corner moves by up to this share of the box's side, and at most by 20 pixels.
    pub box_jitter: f32,
    /// Peak learning rate of AdamW: here begins half a cosine to zero, in which a step counts by its
    /// pixels. It ends with the run, or where a later stage begins its own. Without this key a stage
    /// goes on with the cosine of the one before, so the first stage must have it.
    pub learning_rate: Option<f64>,
}

impl StageSpec {
    /// Pixels of all its scenes: what its steps cost.
    fn pixels(&self) -> f64 {
        let scenes = (self.steps * self.batch_size) as f64;
        scenes * (self.image_size as f64).powi(2)
    }
}

/// Where a step lies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Place {
    /// Index of the stage.
    pub index: usize,
    /// The stage.
    pub stage: StageSpec,
    /// Scenes that were shown before this step.
    pub first_scene: usize,
    /// Peak learning rate of the cosine.
    pub peak: f64,
    /// Steps of the cosine that were done before this one.
    pub cosine_step: usize,
    /// Share of the cosine that is done before this step, from 0 to 1, by pixels.
    pub progress: f64,
    /// Whether this is the first cosine: the masks still find their roles.
    pub first_cosine: bool,
}

impl PretrainSpec {
    /// Optimizer steps of all stages.
    pub fn steps(&self) -> usize {
        self.stages.iter().map(|stage| stage.steps).sum()
    }

    /// Scenes of the whole run; none is shown twice.
    pub fn scenes(&self) -> usize {
        self.stages.iter().map(|stage| stage.steps * stage.batch_size).sum()
    }

    /// Where a step (from 0) lies; beyond the last one, the end of the last stage.
    pub(crate) fn place(&self, step: usize) -> Place {
        let (mut first_step, mut first_scene) = (0, 0);
        let (mut cosine, mut cosine_first_step, mut peak) = (0, 0, 0.0);
        for (index, &stage) in self.stages.iter().enumerate() {
            if let Some(rate) = stage.learning_rate {
                (cosine, cosine_first_step, peak) = (index, first_step, rate);
            }
            if step < first_step + stage.steps || index + 1 == self.stages.len() {
                let done = step - first_step;
                let share = done as f64 / stage.steps as f64;
                let pixels =
                    |stages: &[StageSpec]| stages.iter().map(StageSpec::pixels).sum::<f64>();
                let all = pixels(&self.stages[cosine..self.cosine_end(cosine)]);
                let before = pixels(&self.stages[cosine..index]);
                return Place {
                    index,
                    stage,
                    first_scene: first_scene + done * stage.batch_size,
                    peak,
                    cosine_step: step - cosine_first_step,
                    progress: ((before + share * stage.pixels()) / all).min(1.0),
                    first_cosine: cosine == 0,
                };
            }
            first_step += stage.steps;
            first_scene += stage.steps * stage.batch_size;
        }
        unreachable!("a recipe has a stage, `check` saw to that")
    }

    /// Whether the first `steps` steps of this recipe are those of `former`, so that its checkpoint is
    /// one of this recipe too. Where the weights go and how often they are saved changes no step.
    pub(crate) fn goes_on_from(&self, former: &Self, steps: usize) -> bool {
        let without_stages = |spec: &Self| Self {
            stages: Vec::new(),
            output: PathBuf::new(),
            checkpoint_every: 1,
            ..spec.clone()
        };
        // A note that claims more steps than its recipe has would be compared step by step for ever.
        steps <= former.steps()
            && without_stages(self) == without_stages(former)
            && (0..steps).all(|step| self.place(step) == former.place(step))
    }

    /// Index after the last stage of the cosine that begins with stage `first`.
    fn cosine_end(&self, first: usize) -> usize {
        let later = self.stages.iter().skip(first + 1);
        first + 1 + later.take_while(|stage| stage.learning_rate.is_none()).count()
    }

    /// Reads and checks a file.
    ///
    /// # Errors
    ///
    /// [`PretrainError`] if it cannot be read, has an unknown or missing key, or a value that makes
    /// no sense.
    pub fn from_path(path: &Path) -> Result<Self, PretrainError> {
        let text = bounded_read::read_to_string(path, MAX_TOML_BYTES)
            .map_err(|source| PretrainError::Read { path: path.into(), source })?;
        let spec: Self = toml::from_str(&text).map_err(|source| PretrainError::Parse {
            path: path.into(),
            source: Box::new(source),
        })?;
        spec.check(path)?;
        Ok(spec)
    }

    /// The variant that is meant.
    ///
    /// # Errors
    ///
    /// The known names, if this is none of them.
    pub fn variant(&self) -> Result<Variant, UnknownVariantError> {
        self.backbone.parse()
    }

    fn check(&self, path: &Path) -> Result<(), PretrainError> {
        let variant = self
            .variant()
            .map_err(|source| PretrainError::Backbone { path: path.into(), source })?;
        let config = variant.config().image_encoder;
        let file = File { path, stage: None };
        let Architecture::Vit(vit) = &config.architecture else {
            let reason = "cannot be trained from here: its batch norms have their statistics fixed";
            return file.refused("backbone", variant, reason);
        };
        let unit = config.patch_size * vit.window_size;
        file.count("stage", self.stages.len())?;
        file.count("rounds", self.rounds)?;
        file.count("shards", self.shards)?;
        file.count("checkpoint_every", self.checkpoint_every)?;
        if !(self.weight_decay >= 0.0 && self.weight_decay.is_finite()) {
            return file.refused("weight_decay", self.weight_decay, "must be finite, not negative");
        }
        file.positive("max_gradient_norm", self.max_gradient_norm.into())?;
        if self.seed == HELD_OUT_SEED {
            return file.refused("seed", self.seed, "the seed that backbones are judged by");
        }
        for (index, stage) in self.stages.iter().enumerate() {
            let at = File { path, stage: Some(index + 1) };
            at.count("image_size", stage.image_size)?;
            at.count("steps", stage.steps)?;
            at.count("batch_size", stage.batch_size)?;
            at.count("masks_per_image", stage.masks_per_image)?;
            at.share("area_exponent", stage.area_exponent)?;
            at.share("box_share", stage.box_share)?;
            at.share("box_jitter", stage.box_jitter.into())?;
            match stage.learning_rate {
                Some(rate) => at.positive("learning_rate", rate)?,
                None if index == 0 => {
                    return at.refused("learning_rate", "missing", "the first stage must have it");
                }
                None => {}
            }
            if !stage.batch_size.is_multiple_of(self.shards) {
                return at.refused("batch_size", stage.batch_size, "`shards` must divide it");
            }
            if !stage.image_size.is_multiple_of(unit) {
                let reason = "must be a multiple of the backbone's patch times its window";
                return at.refused("image_size", stage.image_size, reason);
            }
            let is_last = index + 1 == self.stages.len();
            if is_last && stage.image_size != config.image_size {
                let reason = "the last stage must have the backbone's own image size";
                return at.refused("image_size", stage.image_size, reason);
            }
            if stage.learning_rate.is_some() {
                let cosine = &self.stages[index..self.cosine_end(index)];
                if self.warmup_steps >= cosine.iter().map(|stage| stage.steps).sum() {
                    let reason = "must be fewer than the steps of every cosine";
                    return at.refused("warmup_steps", self.warmup_steps, reason);
                }
            }
        }
        Ok(())
    }
}

/// Where values stand that are checked.
struct File<'a> {
    path: &'a Path,
    stage: Option<usize>,
}

impl File<'_> {
    /// The most that anything is counted to, so that no product of two overflows.
    const MOST: usize = 10_000_000;

    fn refused<T>(
        &self,
        key: &'static str,
        value: impl ToString,
        reason: &'static str,
    ) -> Result<T, PretrainError> {
        let (path, stage, value) = (self.path.to_owned(), self.stage, value.to_string());
        Err(PretrainError::Value { key, stage, value, reason, path })
    }

    fn count(&self, key: &'static str, value: usize) -> Result<(), PretrainError> {
        match value {
            1..=Self::MOST => Ok(()),
            _ => self.refused(key, value, "must be 1 to 10,000,000"),
        }
    }

    fn positive(&self, key: &'static str, value: f64) -> Result<(), PretrainError> {
        match value > 0.0 && value.is_finite() {
            true => Ok(()),
            false => self.refused(key, value, "must be positive and finite"),
        }
    }

    fn share(&self, key: &'static str, value: f64) -> Result<(), PretrainError> {
        match (0.0..=1.0).contains(&value) {
            true => Ok(()),
            false => self.refused(key, value, "must lie between 0 and 1"),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const RECIPE: &str = r#"
        backbone = "micro"
        seed = 0
        output = "out.safetensors"
        rounds = 2
        shards = 2
        warmup_steps = 2
        weight_decay = 0.1
        max_gradient_norm = 1.0
        checkpoint_every = 5
        [[stage]]
        image_size = 128
        steps = 10
        batch_size = 4
        masks_per_image = 2
        area_exponent = 0.5
        box_share = 0.3
        box_jitter = 0.1
        learning_rate = 1e-3
        [[stage]]
        image_size = 256
        steps = 5
        batch_size = 2
        masks_per_image = 3
        area_exponent = 0.0
        box_share = 0.5
        box_jitter = 0.0
    "#;

    fn read(text: &str) -> Result<PretrainSpec, PretrainError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("recipe.toml");
        std::fs::write(&path, text).unwrap();
        PretrainSpec::from_path(&path)
    }

    #[test]
    fn a_recipe_is_read() {
        assert_eq!(read(RECIPE).unwrap().variant().unwrap(), Variant::Micro);
    }

    #[test]
    fn a_typo_is_refused_with_its_line_and_the_accepted_keys() {
        let error = read(&RECIPE.replace("rounds", "round")).unwrap_err();
        let PretrainError::Parse { source, .. } = error else { panic!("{error}") };
        let text = source.to_string();
        assert!(text.contains("line 5") && text.contains("unknown field `round`"), "{text}");
        assert!(text.contains("`warmup_steps`"), "{text}");
    }

    #[test]
    fn shards_must_divide_the_batch() {
        let error = read(&RECIPE.replace("shards = 2", "shards = 4")).unwrap_err().to_string();
        let expected = "`batch_size` of stage 2 is 2, `shards` must divide it: ";
        assert!(error.starts_with(expected) && error.ends_with("recipe.toml"), "{error}");
    }

    #[test]
    fn the_last_stage_has_the_size_of_the_backbone() {
        let error = read(&RECIPE.replace("image_size = 256", "image_size = 192")).unwrap_err();
        let expected =
            "`image_size` of stage 2 is 192, the last stage must have the backbone's own";
        assert!(error.to_string().starts_with(expected), "{error}");
        let error = read(&RECIPE.replace("image_size = 128", "image_size = 100")).unwrap_err();
        assert!(error.to_string().contains("must be a multiple of"), "{error}");
    }

    #[test]
    fn values_that_make_no_sense_are_refused() {
        for (from, to) in [
            ("learning_rate = 1e-3", "learning_rate = nan"),
            ("learning_rate = 1e-3", ""),
            ("box_share = 0.5", "box_share = 1.5"),
            ("box_jitter = 0.0", "box_jitter = -0.1"),
            ("weight_decay = 0.1", "weight_decay = -0.1"),
            ("max_gradient_norm = 1.0", "max_gradient_norm = 0.0"),
            ("seed = 0", "seed = 20271231"),
            ("area_exponent = 0.5", "area_exponent = 1.5"),
            ("steps = 10", "steps = 0"),
            ("steps = 10", "steps = 9223372036854775807"),
            ("batch_size = 4", "batch_size = 4611686018427387904"),
            ("warmup_steps = 2", "warmup_steps = 15"),
        ] {
            let error = read(&RECIPE.replace(from, to)).unwrap_err();
            assert!(matches!(error, PretrainError::Value { .. }), "{to}: {error}");
        }
        let error = read(&RECIPE.replace("weight_decay = 0.1", "weight_decay = -0.1")).unwrap_err();
        let expected = "`weight_decay` is -0.1, must be finite, not negative: ";
        assert!(error.to_string().starts_with(expected), "{error}");
        read(&RECIPE.replace("weight_decay = 0.1", "weight_decay = 0.0")).unwrap();
    }

    #[test]
    fn an_unknown_backbone_is_refused_with_the_file_and_the_known_ones() {
        let error = read(&RECIPE.replace("\"micro\"", "\"mini\"")).unwrap_err();
        assert!(error.to_string().ends_with("recipe.toml"), "{error}");
        let PretrainError::Backbone { source, .. } = error else { panic!("{error}") };
        assert!(source.to_string().contains("micro"), "{source}");
    }

    #[test]
    fn a_recipe_goes_on_from_one_with_the_same_first_steps() {
        let former = read(RECIPE).unwrap();
        let goes_on = |text: &str, steps| read(text).unwrap().goes_on_from(&former, steps);
        let stage = RECIPE.split_once("[[stage]]").unwrap().1.split_once("[[stage]]").unwrap().1;
        let longer = format!("{RECIPE}\n[[stage]]\n{stage}\n");
        let restarted = format!("{longer}learning_rate = 5e-4\n");
        assert!(goes_on(RECIPE, 15) && goes_on(&restarted, 15));
        assert!(!goes_on(RECIPE, usize::MAX), "no recipe has so many steps");
        assert!(!goes_on(&longer, 15), "the cosine of the first steps would have ended later");
        for (from, to) in [
            ("seed = 0", "seed = 1"),
            ("weight_decay = 0.1", "weight_decay = 0.2"),
            ("steps = 10", "steps = 9"),
            ("box_share = 0.5", "box_share = 0.4"),
        ] {
            assert!(!goes_on(&RECIPE.replace(from, to), 15), "{to}");
        }
        assert!(goes_on(&RECIPE.replace("box_share = 0.5", "box_share = 0.4"), 10));
        assert!(goes_on(&RECIPE.replace("out.safetensors", "elsewhere.safetensors"), 15));
    }

    #[test]
    fn no_scene_is_shown_twice() {
        let spec = read(RECIPE).unwrap();
        assert_eq!((spec.steps(), spec.scenes()), (15, 50));
        let mut next = 0;
        for step in 0..spec.steps() {
            let place = spec.place(step);
            assert_eq!((place.index, place.first_scene), (usize::from(step >= 10), next));
            next += place.stage.batch_size;
        }
        assert_eq!(next, spec.scenes());
    }

    /// 10 steps of 4 scenes of 128^2 and 5 of 2 of 256^2 pixels: each stage is half of the run.
    #[test]
    fn progress_counts_pixels() {
        let spec = read(RECIPE).unwrap();
        let progress = [0, 5, 10, 15].map(|step| spec.place(step).progress);
        assert_eq!(progress, [0.0, 0.25, 0.5, 1.0]);
    }

    #[test]
    fn a_stage_may_begin_a_cosine_of_its_own() {
        let spec = read(&RECIPE.replace("steps = 5", "steps = 5\n learning_rate = 5e-4")).unwrap();
        let places = [0, 5, 10, 12].map(|step| spec.place(step));
        assert_eq!(places.map(|place| place.progress), [0.0, 0.5, 0.0, 0.4]);
        assert_eq!(places.map(|place| place.peak), [1e-3, 1e-3, 5e-4, 5e-4]);
        assert_eq!(places.map(|place| place.cosine_step), [0, 5, 0, 2]);
        assert_eq!(places.map(|place| place.first_cosine), [true, true, false, false]);
    }
}
