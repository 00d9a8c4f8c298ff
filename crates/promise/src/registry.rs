//! The prompt modules that experiment files can name.
//!
//! A new module is a crate that implements [`PromptModule`] and one line in [`PROMPT_MODULES`].

use burn::tensor::Device;
use prompting::{BackboneInfo, Learning, OptionDoc, PromptModule, option_docs};

use crate::{
    backbone::Backbone,
    model::{Adapter, BuildError, Promise},
    no_prompt::NoPrompt,
    plan::{RunPlan, SpecError, parse},
    schema::{self, Finding},
    spec::ExperimentSpec,
    train::{TrainError, Trained, TrainingSet, train},
};

/// A text of which nothing but its schema was looked at, mended, and what was wrong with it.
pub(crate) type CheckedText = Result<(String, Vec<Finding>), Box<toml::de::Error>>;

/// Builds adapters with fresh weights.
pub type Build = fn(&RunPlan, &Backbone, &Device) -> Result<Box<dyn Adapter>, BuildError>;

/// A prompt module behind one type.
#[derive(Clone, Copy)]
pub struct PromptEntry {
    /// Name in experiment files.
    pub name: &'static str,
    /// One line for `cargo xtask list`.
    pub summary: &'static str,
    /// Whether it proposes anything.
    pub proposes: bool,
    /// The module's options with their defaults, as TOML.
    pub default_options: fn() -> String,
    /// The module's options, described.
    pub options: fn() -> Vec<OptionDoc>,
    /// How a module with the default options learns.
    pub default_learning: fn() -> Learning,
    /// Parses `[prompt.options]` of a text as the module's own type.
    pub(crate) check_options: fn(&str) -> CheckedText,
    /// `[prompt.options]` of a text that was checked, with those that it leaves to their defaults.
    pub(crate) explicit_options: fn(&str) -> Option<toml::Table>,
    /// How the module of a plan learns.
    pub(crate) learning: fn(&RunPlan) -> Result<Learning, BuildError>,
    /// Checks the options against a backbone, without building anything large.
    pub taps: fn(&RunPlan, &BackboneInfo) -> Result<Vec<usize>, BuildError>,
    /// Builds the adapters of a plan with fresh weights on the plain device.
    pub build: Build,
    /// Trains the adapters of a plan.
    pub(crate) train: fn(&RunPlan, &Backbone, &TrainingSet<'_>) -> Result<Trained, TrainError>,
}

impl PromptEntry {
    const fn of<M: PromptModule>() -> Self {
        Self {
            name: M::NAME,
            summary: M::SUMMARY,
            proposes: M::PROPOSES,
            default_options: || toml::to_string(&M::Spec::default()).unwrap_or_default(),
            options: option_docs::<M::Spec>,
            default_learning: || M::learning(&M::Spec::default()),
            check_options: |text| {
                let mended = schema::read::<ExperimentSpec<M::Spec>>(text)?;
                Ok((mended.text, mended.findings))
            },
            explicit_options: |text| {
                let spec: ExperimentSpec<M::Spec> = toml::from_str(text).ok()?;
                toml::Table::try_from(spec.prompt.options.unwrap_or_default()).ok()
            },
            learning: |plan| Ok(M::learning(&options::<M>(plan)?)),
            taps: |plan, info| {
                let options = options::<M>(plan)?;
                // Weights are lazy: nothing is allocated for a question about taps.
                Ok(M::from_spec(&options, info, &Device::flex())?.taps())
            },
            build: |plan, backbone, device| {
                Ok(Box::new(Promise::<M>::new(plan, backbone, device)?))
            },
            train: |plan, backbone, set| train::<M>(plan, backbone, set),
        }
    }
}

/// The options of a plan's prompt module.
pub(crate) fn options<M: PromptModule>(plan: &RunPlan) -> Result<M::Spec, SpecError> {
    let spec: ExperimentSpec<M::Spec> = parse(&plan.text, &plan.origin)?;
    Ok(spec.prompt.options.unwrap_or_default())
}

/// Every prompt module, in the order that `cargo xtask list` shows.
pub const PROMPT_MODULES: &[PromptEntry] = &[
    PromptEntry::of::<NoPrompt>(),
    PromptEntry::of::<apm::Apm>(),
    PromptEntry::of::<box_prompting::BoxPrompter>(),
    PromptEntry::of::<dense_prompting::DensePrompter>(),
    PromptEntry::of::<self_prompting::SelfPrompter>(),
    // A new crate adds one line here.
    #[cfg(test)]
    PromptEntry::of::<crate::probe::Probe>(),
];

/// A name that no prompt module has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown prompt module `{name}`, expected one of {}", known())]
pub struct UnknownPromptError {
    /// What was asked for.
    pub name: String,
}

fn known() -> String {
    PROMPT_MODULES.iter().map(|entry| format!("`{}`", entry.name)).collect::<Vec<_>>().join(", ")
}

/// Finds a module by name.
///
/// # Errors
///
/// The known names, if this is none of them.
pub fn find(name: &str) -> Result<&'static PromptEntry, UnknownPromptError> {
    PROMPT_MODULES
        .iter()
        .find(|entry| entry.name == name)
        .ok_or_else(|| UnknownPromptError { name: name.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_snake_case() {
        for (index, entry) in PROMPT_MODULES.iter().enumerate() {
            let lower = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
            assert!(entry.name.chars().all(lower), "{}", entry.name);
            assert!(!entry.summary.is_empty(), "{}", entry.name);
            assert!(
                PROMPT_MODULES[..index].iter().all(|other| other.name != entry.name),
                "{}",
                entry.name
            );
        }
    }

    #[test]
    fn a_wrong_name_lists_the_known_ones() {
        let error = find("amp").err().expect("no such module").to_string();
        assert!(
            error.starts_with("unknown prompt module `amp`, expected one of `none`, `apm`"),
            "{error}"
        );
    }
}
