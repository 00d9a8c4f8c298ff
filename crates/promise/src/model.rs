//! The trained part and the frozen part, coupled.

use std::path::{Path, PathBuf};

use burn::{
    module::Module,
    store::{BurnToPyTorchAdapter, ModuleSnapshot, PyTorchToBurnAdapter, SafetensorsStore},
    tensor::{Device, Tensor},
};
use ips::{Ips, IpsOptionError};
use prompting::{
    FitError, FitReport, OwnLoss, PromptInput, PromptModule, PromptOptionError, Proposal,
    TrainingExamples, TrainingProposal, TrainingTruth, draw_parameters, num_trainable_params,
};
use sam_backbone::FrozenSam;
use weights_check::Format;

use crate::{
    backbone::Backbone,
    drawing,
    learner::StepSettings,
    plan::{RunPlan, SpecError},
    registry,
};

/// The mask that is used: the first of the multimask outputs, mask token 1, as in the published
/// code.
pub const USED_MASK: usize = 0;

/// ProMISe: a prompt module and a token shift beside a frozen SAM. Either part may be missing.
///
/// Only the adapters are parameters of this module; SAM is outside of it for training, saving and
/// counting.
#[derive(Module, Debug)]
pub struct Promise<P: PromptModule> {
    prompt: P,
    shift: Option<Ips>,
    #[module(skip)]
    pub(crate) frozen: FrozenSam,
    #[module(skip)]
    pub(crate) settings: StepSettings,
}

/// Why the adapters of a plan could not be built or loaded.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// An option does not fit the backbone or another option.
    #[error(transparent)]
    Option(#[from] PromptOptionError),
    /// An option of the shift does not fit the backbone.
    #[error(transparent)]
    Shift(#[from] IpsOptionError),
    /// The options cannot be parsed.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// The adapters' file cannot be written.
    #[error("cannot write adapters ({message}) to {}", path.display())]
    Save {
        /// The file.
        path: PathBuf,
        /// What the store said.
        message: String,
    },
    /// The adapters' file cannot be read, or is of another model.
    #[error("adapters do not load ({message}) from {}", path.display())]
    Load {
        /// The file.
        path: PathBuf,
        /// What the store said.
        message: String,
    },
}

/// Numbers of trained parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdapterParameters {
    /// Of the prompt module.
    pub prompt: usize,
    /// Of the token shift.
    pub shift: usize,
}

/// Adapters as evaluation sees them: without the type of the prompt module.
pub trait Adapter: Send + Sync {
    /// Blocks whose outputs [`propose`](Self::propose) needs.
    fn taps(&self) -> Vec<usize>;
    /// Whether [`propose`](Self::propose) needs the image itself.
    fn needs_image(&self) -> bool;
    /// Prompts of the learned module, `None` if there is none.
    fn propose(&self, input: PromptInput) -> Option<Proposal>;
    /// Offset of the mask tokens, `[B, T, C]`, `None` if there is none.
    ///
    /// - `image_embedding`: `[B, C, H, W]`
    fn token_shift(&self, image_embedding: Tensor<4>) -> Option<Tensor<3>>;
    /// Numbers of trained parameters.
    fn parameters(&self) -> AdapterParameters;
    /// Writes the adapters as safetensors, linear layers in PyTorch's layout.
    ///
    /// # Errors
    ///
    /// [`BuildError::Save`]
    fn save(&self, path: &Path) -> Result<(), BuildError>;
    /// Reads the adapters; every tensor must be there.
    ///
    /// # Errors
    ///
    /// [`BuildError::Load`]
    fn load(&mut self, path: &Path) -> Result<(), BuildError>;
}

impl<P: PromptModule> Promise<P> {
    /// Builds the adapters of a plan on `device`, with fresh weights that depend on the plan's seed
    /// alone.
    pub(crate) fn new(
        plan: &RunPlan,
        backbone: &Backbone,
        device: &Device,
    ) -> Result<Self, BuildError> {
        let _turn = drawing::turn();
        device.seed(plan.seed);
        let options = registry::options::<P>(plan)?;
        let prompt = P::from_spec(&options, &backbone.info(), device)?;
        let config = backbone.sam.config();
        let channels = config.image_encoder.embed_dim;
        let shift = match plan.spec.shift.ips() {
            Some(options) => Some(options.config(channels, config.n_mask_tokens())?.init(device)),
            None => None,
        };
        let model = Self {
            prompt,
            shift,
            frozen: backbone.sam.clone(),
            settings: StepSettings::new(&plan.spec.train),
        };
        draw_parameters(&model);
        Ok(model)
    }

    /// Prompts of the learned module; the features must be on the device of the module.
    pub(crate) fn learned_prompts(&self, input: PromptInput) -> Option<Proposal> {
        P::PROPOSES.then(|| self.prompt.propose(input))
    }

    /// Prompts of the module while it learns, and its own loss.
    pub(crate) fn training_prompts(
        &self,
        input: PromptInput,
        truth: &TrainingTruth,
    ) -> (Option<Proposal>, Option<OwnLoss>) {
        if !P::PROPOSES {
            return (None, None);
        }
        let TrainingProposal { proposal, own_loss } = self.prompt.propose_training(input, truth);
        (Some(proposal), own_loss)
    }

    /// Fits the prompt module to some training images.
    pub(crate) fn fit(
        &mut self,
        examples: &dyn TrainingExamples,
        seed: u64,
    ) -> Result<FitReport, FitError> {
        self.prompt.fit(examples, seed)
    }

    /// Whether the prompt module looks at the image itself.
    pub(crate) fn prompts_need_image(&self) -> bool {
        self.prompt.needs_image()
    }

    /// Blocks that the prompt module needs.
    pub(crate) fn needed_taps(&self) -> Vec<usize> {
        self.prompt.taps()
    }

    /// Offset of the mask tokens.
    pub(crate) fn learned_shift(&self, image_embedding: Tensor<4>) -> Option<Tensor<3>> {
        self.shift.as_ref().map(|shift| shift.forward(image_embedding))
    }
}

impl<P: PromptModule> Adapter for Promise<P> {
    fn taps(&self) -> Vec<usize> {
        self.needed_taps()
    }

    fn needs_image(&self) -> bool {
        self.prompts_need_image()
    }

    fn propose(&self, input: PromptInput) -> Option<Proposal> {
        self.learned_prompts(input)
    }

    fn token_shift(&self, image_embedding: Tensor<4>) -> Option<Tensor<3>> {
        self.learned_shift(image_embedding)
    }

    fn parameters(&self) -> AdapterParameters {
        AdapterParameters {
            prompt: num_trainable_params(&self.prompt),
            shift: self.shift.as_ref().map_or(0, num_trainable_params),
        }
    }

    fn save(&self, path: &Path) -> Result<(), BuildError> {
        let mut store = SafetensorsStore::from_bytes(None)
            // Burn writes metadata in the random order of a hash map; the same adapters shall be
            // the same bytes.
            .clear_metadata()
            // Which head it is stands in the experiment, and not in the name of every tensor.
            .skip_enum_variants(true)
            .with_to_adapter(BurnToPyTorchAdapter);
        let failed = |message: String| BuildError::Save { path: path.to_owned(), message };
        let bytes = self.save_into(&mut store).and_then(|()| store.get_bytes());
        let bytes = bytes.map_err(|error| failed(error.to_string()))?;
        atomic_file::write(path, &bytes).map_err(|error| failed(error.to_string()))
    }

    fn load(&mut self, path: &Path) -> Result<(), BuildError> {
        let mut store = SafetensorsStore::from_file(path)
            .skip_enum_variants(true)
            .with_from_adapter(PyTorchToBurnAdapter);
        let failed = |message: String| BuildError::Load { path: path.to_owned(), message };
        weights_check::check(path, Format::Safetensors)
            .map_err(|refused| failed(refused.to_string()))?;
        let result = self.load_from(&mut store).map_err(|error| failed(error.to_string()))?;
        if result.unused.is_empty() {
            Ok(())
        } else {
            Err(failed(format!("unused tensors: {}", result.unused.join(", "))))
        }
    }
}
