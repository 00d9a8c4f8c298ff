//! `cargo xtask slurm-task`: what a task of a Slurm job calls.

use std::{env, path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use launcher::{ended::How, scheduler::Slurm, submission};
use promise::{
    cluster::{Assignment, work},
    run_folder::Existing,
};

use super::{CacheOptions, Common, MemoryOptions};
use crate::{bars, live::Live, stop};

/// Do the work of one task of a Slurm job, and leave in the folder of its submission how it ended.
///
/// Stops at the next safe place at SIGTERM and SIGUSR1, and then has Slurm queue the task again. Asks the file system for no
/// locks.
#[derive(Args)]
pub struct SlurmTask {
    /// Folder of the submission.
    submission: PathBuf,
    /// What the task does.
    #[arg(long, value_enum)]
    kind: Kind,
    /// Its number.
    #[arg(long)]
    task: usize,
    /// Folder of the run folders.
    #[arg(long, default_value = "runs")]
    runs: PathBuf,
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    cache: CacheOptions,
    #[command(flatten)]
    memory: MemoryOptions,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    Encode,
    Runs,
}

impl SlurmTask {
    /// Works and leaves word.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        file_lock::do_without_system_locks();
        let asked = stop::in_task()?;
        let job = env::var("SLURM_JOB_ID")
            .context("SLURM_JOB_ID is not set: this is no task of Slurm")?;
        let tries = env::var("SLURM_RESTART_COUNT").ok().and_then(|tries| tries.parse().ok());
        let runs = std::path::absolute(&self.runs).context("there is no current folder")?;
        let context =
            self.common.context_with(&self.cache, &self.memory, runs, Existing::GoOn, asked.stop);
        let assignment = Assignment {
            submission: &self.submission,
            kind: match self.kind {
                Kind::Encode => submission::Kind::Encode,
                Kind::Runs => submission::Kind::Runs,
            },
            number: self.task,
            job: &job,
            tries: tries.unwrap_or(0),
        };
        let live = Live::new(1);
        // Standard error is the log that Slurm keeps. Not among the messages that `-q` silences.
        let say = |line: &str| bars::line(line);
        let ended = work(&assignment, &context, &Slurm, &asked.time_is_up, &live, &say)?;
        live.finish();
        for reason in &ended.reasons {
            tracing::error!("{reason}");
        }
        Ok(match ended.how {
            How::Done => ExitCode::SUCCESS,
            How::Interrupted | How::Cancelled | How::Preempted => {
                ExitCode::from(stop::interrupted())
            }
            _ => ExitCode::FAILURE,
        })
    }
}
