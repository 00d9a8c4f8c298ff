//! `cargo xtask doctor`

use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use doctor::{Machine, Question, Verdict, examine};
use serde_json::json;

use super::{CacheOptions, Common, MemoryOptions};
use crate::{outln, output::print_json};

/// Look at build, device, threads, memory, disks, data, weights and cache, and say what is wrong.
///
/// With an experiment file also what that would need, without running it. Writes nothing but small files where it asks
/// whether files can be written, which it removes. The exit code is 1 if there is a problem; warnings are none.
#[derive(Args)]
pub struct Doctor {
    /// Experiment file to plan, e.g. `experiments/quickstart.toml`.
    experiment: Option<PathBuf>,
    /// Override a key of the experiment: `--set train.epochs=3`. May be given several times.
    #[arg(long = "set", value_name = "KEY=VALUE", requires = "experiment")]
    settings: Vec<String>,
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    cache: CacheOptions,
    #[command(flatten)]
    memory: MemoryOptions,
    /// Folder of the run folders.
    #[arg(long, default_value = "runs")]
    runs: PathBuf,
    /// Folder of weights files.
    #[arg(long, default_value = "weights")]
    weights_dir: PathBuf,
    /// Print one JSON document instead of lines.
    #[arg(long)]
    json: bool,
}

impl Doctor {
    /// Examines and prints.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let question = Question {
            device: self.common.device.only()?,
            data_root: self.common.data_root.clone(),
            runs: self.runs,
            cache: self.cache.folder(),
            weights: self.weights_dir,
            memory: self.memory.budget(),
            experiment: self.experiment.map(|path| (path, self.settings)),
        };
        let report = examine(&question, &Machine::now());
        let verdict = report.verdict();
        if self.json {
            print_json(&json!({ "verdict": verdict, "findings": report.findings }))?;
        } else {
            for finding in &report.findings {
                outln!("{:8} {:10} {}", finding.verdict, finding.area, finding.says);
                if let Some(advice) = &finding.advice {
                    outln!("{:19} -> {advice}", "");
                }
            }
            let (problems, warnings) =
                (report.count(Verdict::Problem), report.count(Verdict::Warning));
            outln!("problems: {problems}, warnings: {warnings}");
        }
        Ok(match verdict {
            Verdict::Problem => ExitCode::FAILURE,
            Verdict::Ok | Verdict::Warning => ExitCode::SUCCESS,
        })
    }
}
