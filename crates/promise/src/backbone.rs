//! The frozen SAM of a run: built, loaded, frozen.

use std::path::Path;

use burn::tensor::Device;
use prompting::BackboneInfo;
use sam_backbone::{
    EncoderPrecision, FrozenSam, LoadReport, MICRO_WEIGHTS, SamConfig, UnknownVariantError,
    Variant, WeightsError, WeightsSource, load_weights,
};

use crate::{drawing, spec::BackboneSpec};

/// A loaded backbone and where it came from.
#[derive(Debug, Clone)]
pub struct Backbone {
    /// The variant.
    pub variant: Variant,
    /// The frozen SAM.
    pub sam: FrozenSam,
    /// Path or name of the weights.
    pub weights_source: String,
    /// What was loaded.
    pub report: LoadReport,
}

/// Why a backbone could not be had.
#[derive(Debug, thiserror::Error)]
pub enum BackboneError {
    /// The variant has no embedded weights and none were given.
    #[error(
        "`{variant}` has no embedded weights; give a file with `--weights FILE` or `--set backbone.weights=FILE`"
    )]
    NoWeights {
        /// The variant.
        variant: Variant,
    },
    /// There is no such variant.
    #[error(transparent)]
    Variant(#[from] UnknownVariantError),
    /// The weights cannot be loaded.
    #[error(transparent)]
    Weights(#[from] WeightsError),
}

impl Backbone {
    /// Loads `variant` from `weights`, or from the embedded file if there is one for it.
    ///
    /// # Errors
    ///
    /// See [`BackboneError`].
    pub fn load(
        variant: Variant,
        weights: Option<&Path>,
        device: &Device,
    ) -> Result<Self, BackboneError> {
        let source = match (weights, variant) {
            (Some(path), _) => WeightsSource::File(path.to_owned()),
            (None, Variant::Micro) => MICRO_WEIGHTS,
            (None, _) => return Err(BackboneError::NoWeights { variant }),
        };
        let config = variant.config();
        // Building draws from the device's generator, though the file replaces what is drawn.
        let turn = drawing::turn();
        let mut sam = config.init(device);
        drop(turn);
        let report = load_weights(&mut sam, &source)?;
        let sam = FrozenSam::new(sam, config, device);
        Ok(Self { variant, sam, weights_source: source.describe(), report })
    }

    /// A SAM of these sizes with random weights: for timing, since speed does not depend on weights.
    pub fn random(variant: Variant, seed: u64, device: &Device) -> Self {
        let config = variant.config();
        let turn = drawing::turn();
        device.seed(seed);
        let sam = config.init(device);
        prompting::draw_parameters(&sam);
        drop(turn);
        let sam = FrozenSam::new(sam, config, device);
        let sha256 = sam.hash();
        let n_tensors = 0;
        let report = LoadReport { sha256, known: None, n_tensors };
        Self { variant, sam, weights_source: format!("random, seed {seed}"), report }
    }

    /// Loads what an experiment asks for.
    ///
    /// # Errors
    ///
    /// See [`BackboneError`].
    pub fn of(spec: &BackboneSpec, device: &Device) -> Result<Self, BackboneError> {
        let backbone = Self::load(spec.variant.parse()?, spec.weights.as_deref(), device)?;
        Ok(backbone.computing_in(spec.precision))
    }

    /// The same with an image encoder that computes in these numbers.
    #[must_use]
    pub fn computing_in(self, precision: EncoderPrecision) -> Self {
        match precision {
            EncoderPrecision::F32 => self,
            precision => Self { sam: self.sam.with_encoder_precision(precision), ..self },
        }
    }

    /// What a prompt module is told about this backbone.
    pub fn info(&self) -> BackboneInfo {
        info(self.sam.config())
    }
}

/// What a prompt module is told about a backbone of these sizes.
pub fn info(config: &SamConfig) -> BackboneInfo {
    let encoder = &config.image_encoder;
    BackboneInfo {
        block_widths: encoder.block_widths(),
        embed_dim: encoder.embed_dim,
        grid_size: encoder.grid_size(),
        input_size: encoder.image_size,
        tap_blocks: encoder.tap_blocks(),
    }
}
