//! The TOML file of a pre-training run.

use std::path::{Path, PathBuf};

use sam_backbone::Variant;
use serde::Deserialize;

use crate::error::PretrainError;

/// What to pre-train, and how. Every key is required: the file is the recipe of a published
/// checkpoint, so nothing may hide in a default.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PretrainSpec {
    /// Backbone variant, e.g. `micro`.
    pub backbone: String,
    /// Seed of weights, scenes and prompts.
    pub seed: u64,
    /// Where the finished weights go, relative to the working directory.
    pub output: PathBuf,
    /// Optimizer steps.
    pub steps: usize,
    /// Scenes per step.
    pub batch_size: usize,
    /// Objects prompted in each scene.
    pub masks_per_image: usize,
    /// Prompt rounds per step: the second and later ones click into the error of the one before.
    pub rounds: usize,
    /// Parts of a batch that are computed side by side and summed in order. Changes rounding, so
    /// it belongs to the recipe.
    pub shards: usize,
    /// Peak learning rate of AdamW.
    pub learning_rate: f64,
    /// Steps of linear warm-up; a cosine to zero follows.
    pub warmup_steps: usize,
    /// Decoupled weight decay.
    pub weight_decay: f32,
    /// Largest gradient norm of a tensor; larger ones are scaled down.
    pub max_gradient_norm: f32,
    /// A checkpoint is written every so many steps.
    pub checkpoint_every: usize,
}

impl PretrainSpec {
    /// Reads and checks a file.
    ///
    /// # Errors
    ///
    /// [`PretrainError`] if it cannot be read, has an unknown or missing key, or a value that makes
    /// no sense.
    pub fn from_path(path: &Path) -> Result<Self, PretrainError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| PretrainError::Read { path: path.into(), source })?;
        let spec: Self = toml::from_str(&text).map_err(|source| PretrainError::Parse {
            path: path.into(),
            source: Box::new(source),
        })?;
        spec.check()?;
        Ok(spec)
    }

    /// The variant that is meant.
    ///
    /// # Errors
    ///
    /// The known names, if this is none of them.
    pub fn variant(&self) -> Result<Variant, PretrainError> {
        Ok(self.backbone.parse()?)
    }

    fn check(&self) -> Result<(), PretrainError> {
        self.variant()?;
        let positive = [
            ("steps", self.steps),
            ("batch_size", self.batch_size),
            ("masks_per_image", self.masks_per_image),
            ("rounds", self.rounds),
            ("shards", self.shards),
            ("checkpoint_every", self.checkpoint_every),
        ];
        for (key, value) in positive {
            if value == 0 {
                return Err(PretrainError::Value {
                    key,
                    value: value.to_string(),
                    reason: "must be at least 1",
                });
            }
        }
        if !self.batch_size.is_multiple_of(self.shards) {
            return Err(PretrainError::Value {
                key: "shards",
                value: self.shards.to_string(),
                reason: "must divide batch_size",
            });
        }
        Ok(())
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
        steps = 10
        batch_size = 4
        masks_per_image = 2
        rounds = 2
        shards = 2
        learning_rate = 1e-3
        warmup_steps = 2
        weight_decay = 0.1
        max_gradient_norm = 1.0
        checkpoint_every = 5
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
        assert!(text.contains("line 8") && text.contains("unknown field `round`"), "{text}");
        assert!(text.contains("`masks_per_image`"), "{text}");
    }

    #[test]
    fn shards_must_divide_the_batch() {
        let error = read(&RECIPE.replace("shards = 2", "shards = 3")).unwrap_err();
        assert_eq!(error.to_string(), "`shards` is 3: must divide batch_size");
    }
}
