//! Files that need Burn, or the crates that do: experiments, recipes, checkpoints.

use burn::store::ModuleRecord;
use pretraining::PretrainSpec;
use promise::plan::Experiment;

use crate::scratch;

/// Reads the bytes as an experiment and plans its runs.
pub fn experiments(bytes: &[u8]) {
    let path = scratch::file("experiment.toml", bytes);
    match Experiment::load(&path, &[]) {
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
}

/// Reads the bytes as a recipe of pre-training.
pub fn recipes(bytes: &[u8]) {
    let path = scratch::file("recipe.toml", bytes);
    if let Ok(recipe) = PretrainSpec::from_path(&path) {
        assert!(recipe.steps() > 0 && recipe.scenes() >= recipe.steps());
    }
}

/// Reads the bytes as a checkpoint of the adapters.
pub fn checkpoints(bytes: &[u8]) {
    let path = scratch::file("model-1.bpk", bytes);
    let _ = ModuleRecord::load(path);
}
