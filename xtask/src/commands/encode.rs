//! `cargo xtask encode`

use std::{path::PathBuf, process::ExitCode, sync::Arc};

use anyhow::Context;
use clap::Args;
use promise::{
    encode::{Shard, encode_experiment},
    plan::Experiment,
    run_folder::Existing,
};

use super::{CacheOptions, Common, MemoryOptions};
use crate::{
    outln,
    output::{print_json, print_line},
    stop,
};

/// Fill the feature cache for an experiment: every image that it uses (but does not augment) goes through the
/// encoder once.
///
/// Safe to stop at any moment and to run several times at once; the same command goes on. Images that cannot be read are
/// named and left out; the exit code is 1 then.
#[derive(Args)]
pub struct Encode {
    /// Experiment file, e.g. `experiments/quickstart.toml`.
    experiment: PathBuf,
    /// Override a key: `--set data.feature_cache=\"int8\"`. May be given several times.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    cache: CacheOptions,
    #[command(flatten)]
    memory: MemoryOptions,
    /// Only a part of the images, e.g. `0/4` to `3/4`: several machines with one cache share them out.
    #[arg(long, value_name = "I/N", default_value_t = Shard::ALL)]
    shard: Shard,
    /// Print the cache's name of every image before it is encoded, a line each.
    #[arg(long)]
    names: bool,
    /// Print one JSON document instead of the table.
    #[arg(long, conflicts_with = "names")]
    json: bool,
}

impl Encode {
    /// Encodes, and prints what was done.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let experiment = Experiment::load(&self.experiment, &self.settings)
            .with_context(|| format!("cannot encode {}", self.experiment.display()))?;
        let context =
            self.common.context(&self.cache, &self.memory, PathBuf::new(), Existing::GoOn)?;
        let computing = self.names.then(|| Arc::new(print_line) as Arc<_>);
        let kept =
            || format!("every image that was encoded, in {}", context.feature_cache.root.display());
        let report = encode_experiment(&experiment, &context, self.shard, computing)
            .map_err(|error| stop::with_kept(error, kept))
            .with_context(|| format!("cannot encode {}", self.experiment.display()))?;
        let whole = report.iter().all(|set| set.skipped.is_empty());
        let code = if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE };
        if self.json {
            print_json(&report)?;
            return Ok(code);
        }
        outln!("| data | split | view | images | found | computed | damaged | skipped |");
        outln!("| --- | --- | --- | ---: | ---: | ---: | ---: | ---: |");
        for set in report {
            let usage = set.usage;
            outln!(
                "| {} | {} | {} | {} | {} | {} | {} | {} |",
                set.data,
                set.split,
                set.view,
                set.images,
                usage.found,
                usage.computed,
                usage.damaged,
                set.skipped.len()
            );
        }
        Ok(code)
    }
}
