//! Files that need Burn, or the crates that do: experiments, recipes, prompts, checkpoints.

use burn::store::ModuleRecord;
use pretraining::PretrainSpec;
use promise::{person::PromptFile, plan::Experiment};

use crate::scratch;

/// Reads the bytes as an experiment and plans its runs.
pub fn experiments(bytes: &[u8]) -> bool {
    let path = scratch::file("experiment.toml", bytes);
    let loaded = Experiment::load(&path, &[]);
    match &loaded {
        Ok(experiment) => {
            assert!(!experiment.runs.is_empty(), "an experiment has a run");
            let _ = experiment.outline();
            for run in &experiment.runs {
                let name = run.name();
                assert!(!name.contains(['/', '\\']) && !name.starts_with('.'), "folder `{name}`");
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    loaded.is_ok()
}

/// Reads the bytes as a recipe of pre-training.
pub fn recipes(bytes: &[u8]) -> bool {
    let path = scratch::file("recipe.toml", bytes);
    let recipe = PretrainSpec::from_path(&path);
    if let Ok(recipe) = &recipe {
        assert!(recipe.steps() > 0 && recipe.scenes() >= recipe.steps());
    }
    recipe.is_ok()
}

/// Reads the bytes as a person's prompts.
pub fn prompts(bytes: &[u8]) -> bool {
    let path = scratch::file("prompts.json", bytes);
    PromptFile::read(&path).is_ok()
}

/// Reads the bytes as a checkpoint of the adapters.
pub fn checkpoints(bytes: &[u8]) -> bool {
    let path = scratch::file("model-1.bpk", bytes);
    ModuleRecord::load(path).is_ok()
}
