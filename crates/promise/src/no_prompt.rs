//! The prompt module of a method that has none: frozen SAM, or a token shift alone.

use burn::{module::Module, tensor::Device};
use prompting::{BackboneInfo, PromptInput, PromptModule, PromptOptionError, Prompts};
use serde::{Deserialize, Serialize};

/// Options of [`NoPrompt`]: there are none.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoPromptSpec {}

/// Name of [`NoPrompt`].
pub(crate) const NO_PROMPT: &str = NoPrompt::NAME;

/// Proposes nothing. Such a method is trained and evaluated with prompts from other sources.
#[derive(Module, Debug)]
pub struct NoPrompt {}

impl PromptModule for NoPrompt {
    const NAME: &'static str = "none";
    const SUMMARY: &'static str = "no learned prompts: points come from the truth or a baseline";
    type Spec = NoPromptSpec;

    fn from_spec(
        _spec: &Self::Spec,
        _backbone: &BackboneInfo,
        _device: &Device,
    ) -> Result<Self, PromptOptionError> {
        Ok(Self {})
    }

    fn taps(&self) -> Vec<usize> {
        Vec::new()
    }

    fn propose(&self, _input: PromptInput) -> Prompts {
        Prompts::default()
    }
}
