//! One file per command.

mod ablate;
mod bench;
mod cache;
mod cluster;
mod data;
mod doctor;
mod encode;
mod encode_check;
mod eval;
mod eval_backbone;
mod figure;
mod list;
mod new;
mod predict;
mod pretrain;
mod reference;
mod report;
mod run;
mod run_one;
mod score;
mod serve;
mod slurm_task;
mod table;

use std::{
    fmt::Display,
    num::{NonZeroU64, NonZeroUsize},
    path::{Path, PathBuf},
    process::{self, ExitCode},
    sync::{Arc, atomic::AtomicBool},
};

use clap::{Args, Subcommand};
use data_loaders::{error_chain, reasons};
use promise::{
    device::{DeviceKind, Devices},
    peers::Arithmetic,
    run::{CacheFolder, Context},
    run_folder::Existing,
};

use reporting::Results;
use sam_backbone::EncoderPrecision;
use serde_json::{Value, json};

use crate::{bar::Bar, stop};

/// What can be asked for.
#[derive(Subcommand)]
pub enum Command {
    /// Train and evaluate an experiment, all its variants and seeds.
    Run(run::Run),
    /// Run experiments with all their variants, grids and seeds, skipping what is done.
    Ablate(ablate::Ablate),
    /// Execute one run for `ablate`.
    #[command(hide = true)]
    RunOne(run_one::RunOne),
    /// Do the work of one task of a Slurm job.
    #[command(hide = true)]
    SlurmTask(slurm_task::SlurmTask),
    /// Fill the feature cache for an experiment.
    Encode(encode::Encode),
    /// Show, verify or clear the feature cache.
    Cache(cache::Cache),
    /// Evaluate a finished run again.
    Eval(eval::Eval),
    /// Measure how promptable a backbone is by itself.
    EvalBackbone(eval_backbone::EvalBackbone),
    /// Segment one image.
    Predict(predict::Predict),
    /// Open a local page to click on images, compare methods and watch runs.
    Serve(serve::Serve),
    /// Score a folder of predictions of any program.
    Score(score::Score),
    /// Print the table of finished runs, and whether they bear out their claims.
    Table(table::Table),
    /// Draw a figure of finished runs.
    Figure(figure::Figure),
    /// Write one HTML page about finished runs.
    Report(report::Report),
    /// List, check, prepare and fetch data sets.
    Data(data::Data),
    /// Look at machine, folders, data and weights, and say what is wrong.
    Doctor(doctor::Doctor),
    /// Show what experiment files can name.
    List(list::List),
    /// Begin a new part of the workspace, e.g. a prompt module.
    New(new::New),
    /// Write the pages of the book that are made from the code.
    Reference(reference::Reference),
    /// Compare full-size ViT-B with PyTorch.
    EncodeCheck(encode_check::EncodeCheck),
    /// Measure speed, ours and PyTorch's in one go.
    Bench(bench::Bench),
    /// Pre-train a small backbone from procedural images.
    Pretrain(pretrain::Pretrain),
}

impl Command {
    /// Does it.
    ///
    /// - `read_timeout`: seconds, for processes that it starts
    pub fn run(self, read_timeout: NonZeroU64) -> anyhow::Result<ExitCode> {
        match self {
            Self::Run(command) => command.run(),
            Self::Ablate(command) => command.run(read_timeout),
            Self::RunOne(command) => command.run(),
            Self::SlurmTask(command) => command.run(),
            Self::Encode(command) => command.run(),
            Self::Cache(command) => command.run(),
            Self::Eval(command) => command.run(),
            Self::EvalBackbone(command) => command.run(),
            Self::Predict(command) => command.run(),
            Self::Serve(command) => command.run(),
            Self::Score(command) => command.run(),
            Self::Table(command) => command.run(),
            Self::Figure(command) => command.run(),
            Self::Report(command) => command.run(),
            Self::Data(command) => command.run(),
            Self::Doctor(command) => command.run(),
            Self::List(command) => command.run(),
            Self::New(command) => command.run(),
            Self::Reference(command) => command.run(),
            Self::EncodeCheck(command) => command.run(),
            Self::Bench(command) => command.run(),
            Self::Pretrain(command) => command.run(),
        }
    }
}

/// What an option is about, and the names that it takes, for its help.
fn one_of<T: Display>(what: &str, names: &[T]) -> String {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    match names.split_last() {
        Some((last, [])) => format!("{what}: {last}"),
        Some((last, others)) => format!("{what}: {} or {last}", others.join(", ")),
        None => what.to_owned(),
    }
}

/// Writes what finished runs show into the folder of their experiment.
fn write_results(runs: &[&Path], folder: &Path) -> anyhow::Result<Results> {
    let results = Results::write(&reporting::load(runs)?, folder)?;
    for (kind, error) in &results.not_drawn {
        let reasons = error_chain(error);
        match error.is_for_want_of_data() {
            true => tracing::info!("no {kind}: {reasons}"),
            false => tracing::warn!("no {kind}: {reasons}"),
        }
    }
    Ok(results)
}

/// The figures that could not be drawn, and why.
fn not_drawn_json(results: &Results) -> Vec<Value> {
    let figures = results.not_drawn.iter();
    figures
        .map(|(kind, error)| json!({ "figure": kind.name(), "reasons": reasons(error) }))
        .collect()
}

/// Options of every command that shows results.
#[derive(Args)]
pub struct ScopeOptions {
    /// Only results with these prompt sources, e.g. `auto,ground_truth`.
    #[arg(long, value_delimiter = ',')]
    prompts: Vec<String>,
    /// Only results on these data sets.
    #[arg(long = "data", value_name = "DATA", value_delimiter = ',')]
    data: Vec<String>,
    /// Show results of several protocols or splits, or of experiments with unlike prompt sources, together.
    /// What is mixed is said in what is made.
    #[arg(long)]
    mix: bool,
}

impl From<ScopeOptions> for reporting::Scope {
    fn from(options: ScopeOptions) -> Self {
        Self { prompts: options.prompts, data: options.data, mix: options.mix }
    }
}

/// Options of every command that computes on data.
#[derive(Args)]
pub struct Common {
    /// Where tensors live: flex (CPU), cuda, or cuda:N. `ablate` takes several (`cuda:0,cuda:1`) and spreads its runs over
    /// them.
    #[arg(long, default_value_t)]
    device: Devices,
    /// Folder below which data sets are looked for.
    #[arg(long, env = "PROMISE_DATA")]
    data_root: Option<PathBuf>,
}

/// Where and in which numbers SAM computes.
#[derive(Args, Clone, Copy)]
pub struct ArithmeticOptions {
    /// Where tensors live: flex (CPU) or cuda. Peers compute there, too.
    #[arg(long, default_value_t)]
    device: DeviceKind,
    /// In which numbers the image encoder computes: `f32`, `f16` or `bf16`. PyTorch's does, too, and is compared with its own
    /// in `f32`; on a GPU its training step as well.
    #[arg(long, default_value_t)]
    precision: EncoderPrecision,
}

impl From<ArithmeticOptions> for Arithmetic {
    fn from(ArithmeticOptions { device, precision }: ArithmeticOptions) -> Self {
        Self { device, precision }
    }
}

/// How much memory may be taken.
#[derive(Args)]
pub struct MemoryOptions {
    /// GiB that images and batches read ahead and features kept in memory may take together, besides the model. It
    /// changes how long a run takes, and no number.
    #[arg(long, value_name = "GIB", env = "PROMISE_MEMORY_GIB", value_parser = parse_gib)]
    memory_gib: Option<f64>,
}

impl MemoryOptions {
    /// The budget in bytes.
    fn budget(&self) -> Option<u64> {
        self.memory_gib.map(|gib| (gib * f64::from(1 << 30)) as u64)
    }

    /// Gives each of some commands of this program its share.
    fn pass_on(&self, command: &mut process::Command, jobs: NonZeroUsize) {
        if let Some(gib) = self.memory_gib {
            command.args(["--memory-gib", &(gib / jobs.get() as f64).to_string()]);
        }
    }
}

/// Where encoder features are kept.
#[derive(Args)]
pub struct CacheOptions {
    /// Folder of the feature cache.
    #[arg(
        global = true,
        long = "cache",
        value_name = "FOLDER",
        env = "PROMISE_CACHE",
        default_value = ".feature-cache"
    )]
    root: PathBuf,
    /// GiB that it may grow to; what was not used for longest goes first.
    #[arg(global = true, long = "cache-limit", value_name = "GIB", default_value_t = 64.0, value_parser = parse_gib)]
    limit_gib: f64,
}

impl CacheOptions {
    fn folder(&self) -> CacheFolder {
        let limit = (self.limit_gib * f64::from(1 << 30)) as u64;
        CacheFolder { root: self.root.clone(), limit }
    }

    /// Gives another command of this program the same options.
    fn pass_on(&self, command: &mut process::Command) {
        command.arg("--cache").arg(&self.root).args(["--cache-limit", &self.limit_gib.to_string()]);
    }
}

/// A number of GiB that is not negative.
fn parse_gib(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(gib) if gib >= 0.0 && gib.is_finite() => Ok(gib),
        _ => Err("expected a number of GiB, e.g. `64` or `0.5`".into()),
    }
}

impl Common {
    /// Gives another command of this program the same options, but a device of its own.
    fn pass_on(&self, command: &mut process::Command, device: DeviceKind) {
        command.args(["--device", &device.to_string()]);
        if let Some(root) = &self.data_root {
            command.arg("--data-root").arg(root);
        }
    }

    fn context(
        &self,
        cache: &CacheOptions,
        memory: &MemoryOptions,
        runs: PathBuf,
        existing: Existing,
    ) -> anyhow::Result<Context> {
        self.device.only()?;
        Ok(self.context_with(cache, memory, runs, existing, stop::on_interrupt()?))
    }

    fn context_with(
        &self,
        cache: &CacheOptions,
        memory: &MemoryOptions,
        runs: PathBuf,
        existing: Existing,
        stop: Arc<AtomicBool>,
    ) -> Context {
        Context {
            device: self.device.first(),
            data_root: self.data_root.clone(),
            runs,
            feature_cache: cache.folder(),
            memory: memory.budget(),
            existing,
            progress: Arc::new(Bar::new()),
            stop,
        }
    }
}
