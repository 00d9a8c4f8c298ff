//! The prompt module of a method that has none: frozen SAM, or a token shift alone.

use burn::{module::Module, tensor::Device};
use prompting::{BackboneInfo, Learning, PromptInput, PromptModule, PromptOptionError, Proposal};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Options of [`NoPrompt`]: there are none.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoPromptSpec {}

/// Name of [`NoPrompt`].
pub(crate) const NO_PROMPT: &str = NoPrompt::NAME;

/// Proposes nothing. Such a method is trained and evaluated with prompts from other sources.
#[derive(Module, Debug)]
pub struct NoPrompt {}

impl PromptModule for NoPrompt {
    const NAME: &'static str = "none";
    const SUMMARY: &'static str = "No learned prompts: points come from the truth or a baseline";
    const PROPOSES: bool = false;
    type Spec = NoPromptSpec;

    fn from_spec(
        _spec: &Self::Spec,
        _backbone: &BackboneInfo,
        _device: &Device,
    ) -> Result<Self, PromptOptionError> {
        Ok(Self {})
    }

    fn learning(_spec: &Self::Spec) -> Learning {
        Learning::Fixed
    }

    fn taps(&self) -> Vec<usize> {
        Vec::new()
    }

    fn propose(&self, _input: PromptInput) -> Proposal {
        Proposal::default()
    }
}

#[cfg(test)]
mod tests {
    use prompting::contract;

    use super::*;

    #[test]
    fn the_contract_holds_for_a_module_that_proposes_nothing() {
        contract::check::<NoPrompt>(&NoPromptSpec {}).expect("the contract");
    }
}
