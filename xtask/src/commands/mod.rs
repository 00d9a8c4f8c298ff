//! One file per command.

mod encode_check;
mod eval;
mod eval_backbone;
mod figure;
mod list;
mod predict;
mod pretrain;
mod run;
mod table;

use std::{path::PathBuf, process::ExitCode, sync::Arc};

use clap::{Args, Subcommand};
use promise::{device::DeviceKind, run::Context, run_folder::Existing};

use crate::{bar::Bar, stop};

/// What can be asked for.
#[derive(Subcommand)]
pub enum Command {
    /// Train and evaluate an experiment, all its variants and seeds.
    Run(run::Run),
    /// Evaluate a finished run again.
    Eval(eval::Eval),
    /// Measure how promptable a backbone is by itself.
    EvalBackbone(eval_backbone::EvalBackbone),
    /// Segment one image.
    Predict(predict::Predict),
    /// Print the table of finished runs, and whether they bear out their claims.
    Table(table::Table),
    /// Draw a figure of finished runs.
    Figure(figure::Figure),
    /// Show what experiment files can name.
    List(list::List),
    /// Compare full-size ViT-B with PyTorch.
    EncodeCheck(encode_check::EncodeCheck),
    /// Pre-train a small backbone from procedural images.
    Pretrain(pretrain::Pretrain),
}

impl Command {
    /// Does it.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Run(command) => command.run(),
            Self::Eval(command) => command.run(),
            Self::EvalBackbone(command) => command.run(),
            Self::Predict(command) => command.run(),
            Self::Table(command) => command.run(),
            Self::Figure(command) => command.run(),
            Self::List(command) => command.run(),
            Self::EncodeCheck(command) => command.run(),
            Self::Pretrain(command) => command.run(),
        }
    }
}

/// Options of every command that computes on data.
#[derive(Args)]
pub struct Common {
    /// Where tensors live: flex (CPU) or cuda.
    #[arg(long, default_value_t)]
    device: DeviceKind,
    /// Folder below which data sets are looked for.
    #[arg(long, env = "PROMISE_DATA")]
    data_root: Option<PathBuf>,
}

impl Common {
    fn context(&self, runs: PathBuf, existing: Existing) -> anyhow::Result<Context> {
        Ok(Context {
            device: self.device,
            data_root: self.data_root.clone(),
            runs,
            existing,
            progress: Arc::new(Bar::new()),
            stop: stop::on_interrupt()?,
        })
    }
}
