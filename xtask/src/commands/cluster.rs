//! `ablate --launcher slurm` and `ablate --status`

use std::{collections::BTreeMap, path::PathBuf, process::ExitCode};

use anyhow::{Context as _, ensure};
use bounded_read::last_lines;
use clap::{Args, ValueEnum};
use launcher::{profile::Profile, scheduler::Slurm, submission::Kind};
use promise::{
    campaign::{Campaign, OnFailure},
    cluster::{Cluster, ClusterView, Next},
};
use serde_json::{Value, json};

use super::ablate::plan_json;
use crate::{outln, output::print_json};

/// Lines of a log that are shown of a task that failed.
const TAIL: usize = 5;

/// Who executes runs.
#[derive(Args)]
pub struct ClusterOptions {
    /// Who executes the runs: this machine, or the Slurm cluster that it belongs to.
    #[arg(long, value_enum, default_value_t = Launcher::Local)]
    launcher: Launcher,
    /// What jobs of the cluster look like: a file with `[launcher]`.
    #[arg(long, value_name = "FILE", env = "PROMISE_PROFILE")]
    profile: Option<PathBuf>,
    /// Override a key of the profile: `--launcher-set time=02:00:00`. May be given several times.
    #[arg(long = "launcher-set", value_name = "KEY=VALUE")]
    launcher_settings: Vec<String>,
    /// Say what has become of the runs on the cluster, and do nothing.
    #[arg(long, conflicts_with = "dry_run")]
    status: bool,
    /// With `--launcher slurm`, also hand over what has failed.
    #[arg(long, value_enum, value_name = "WHAT")]
    retry: Option<Retry>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Launcher {
    Local,
    Slurm,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Retry {
    Failed,
}

/// What `ablate` knows besides.
pub struct Handing<'a> {
    /// Settings on top of the experiment files.
    pub settings: &'a [String],
    /// Options of a task.
    pub arguments: &'a [String],
    /// Whether runs that cannot begin keep others from it.
    pub on_failure: OnFailure,
    /// Print and do nothing.
    pub dry_run: bool,
    /// Print one JSON document.
    pub json: bool,
}

impl ClusterOptions {
    /// Whether anything of this is wanted.
    pub fn is_asked_for(&self) -> bool {
        self.launcher == Launcher::Slurm || self.status
    }

    /// Refuses options that say how this machine executes runs, which it does not if a cluster does.
    ///
    /// - `options`: name, whether it was given, what there is instead
    pub fn refuse_options_of_this_machine(
        &self,
        options: &[(&str, bool, &str)],
    ) -> anyhow::Result<()> {
        if self.launcher != Launcher::Slurm {
            return Ok(());
        }
        let given = options.iter().filter(|(_, given, _)| *given);
        let reasons: Vec<String> =
            given.map(|(name, _, instead)| format!("`{name}` ({instead})")).collect();
        ensure!(
            reasons.is_empty(),
            "`--launcher slurm` does not take {}, which is for runs on this machine",
            reasons.join(" and ")
        );
        Ok(())
    }

    /// Hands over, or says what has become of it.
    pub fn run(
        &self,
        campaign: &mut Campaign<'_>,
        handing: &Handing<'_>,
    ) -> anyhow::Result<ExitCode> {
        // What tasks on other machines write at the same time must not be waited for by locks that may hang.
        file_lock::do_without_system_locks();
        let retry_failed = self.retry == Some(Retry::Failed);
        if self.status {
            let view = campaign.on_cluster(&Slurm, retry_failed)?;
            print(&view, handing.json, &[])?;
            return Ok(match view.unanswered.reasons().as_slice() {
                [] => ExitCode::SUCCESS,
                _ => ExitCode::FAILURE,
            });
        }
        let profile = Profile::load(self.profile.as_deref(), &self.launcher_settings)?;
        if profile.cpus.is_none() {
            tracing::warn!(
                "the profile does not say `cpus`: a task has as many threads as its node gives it, and may end with \
                 other bytes than on another node, or where it goes on after an interruption"
            );
        }
        let directory = std::env::current_dir().context("there is no current folder")?;
        let cluster = Cluster {
            scheduler: &Slurm,
            profile: &profile,
            settings: handing.settings,
            arguments: handing.arguments,
            directory: &directory,
            retry_failed,
            on_failure: handing.on_failure,
        };
        if handing.dry_run {
            let shown = campaign.scripts(&cluster)?;
            if let Some(error) = &shown.no_array_size {
                tracing::warn!(
                    "{error}; arrays are as long as `chunk` says, and a cluster may take shorter ones only"
                );
            }
            print(&shown.view, handing.json, &[("scripts", json!(shown.scripts))])?;
            if !handing.json {
                outln!("{}", shown.scripts.trim_end());
            }
            return Ok(ExitCode::SUCCESS);
        }
        let handed_over = campaign.hand_over(&cluster)?;
        let view = campaign.on_cluster(&Slurm, retry_failed)?;
        let submissions: Vec<Value> = handed_over
            .iter()
            .map(|over| json!({ "experiment": over.experiment, "folder": over.folder, "jobs": over.submission.jobs }))
            .collect();
        print(&view, handing.json, &[("submissions", json!(submissions))])?;
        if !handing.json {
            if handed_over.is_empty() {
                outln!("nothing to hand over");
            }
            for over in &handed_over {
                let jobs = over.submission.jobs.iter().map(|job| {
                    let id = job.id.map_or_else(|| "none".into(), |id| id.to_string());
                    format!(
                        "{id} ({} {})",
                        job.count,
                        if job.kind == Kind::Encode { "shares to encode" } else { "runs" }
                    )
                });
                let jobs = jobs.collect::<Vec<_>>().join(", ");
                outln!("handed over {}: jobs {jobs}; {}", over.experiment, over.folder.display());
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn print(view: &ClusterView, as_json: bool, more: &[(&str, Value)]) -> anyhow::Result<()> {
    let unanswered = view.unanswered.reasons();
    for reason in &unanswered {
        tracing::error!("{reason}");
    }
    if as_json {
        let runs = view.runs.iter().map(|run| {
            let mut value = plan_json(&run.planned);
            let (state, remark) = run.words();
            value["state"] = json!(state.replace(' ', "_"));
            value["remark"] = json!(remark);
            value["job"] = json!(run.task.as_ref().and_then(|task| task.id.clone()));
            value["log"] = json!(run.task.as_ref().map(|task| &task.log));
            if run.has_more_in_its_log()
                && let Some(task) = &run.task
            {
                value["log_tail"] = json!(last_lines(&task.log, TAIL));
            }
            value
        });
        let runs: Vec<Value> = runs.collect();
        let encoding = view.encoding.iter().map(|(experiment, task)| {
            let mut value = json!({
                "experiment": experiment,
                "share": task.number,
                "job": task.id,
                "state": task.state,
                "remark": task.reason,
                "log": task.log,
            });
            if task.state.is_over() {
                value["log_tail"] = json!(last_lines(&task.log, TAIL));
            }
            value
        });
        let mut document = json!({
            "runs": runs,
            "encoding": encoding.collect::<Vec<_>>(),
            "unanswered": unanswered,
        });
        for (name, value) in more {
            document[*name] = value.clone();
        }
        return print_json(&document);
    }
    outln!("| run | state | job | |");
    outln!("| --- | --- | --- | --- |");
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for (experiment, task) in &view.encoding {
        let id = task.id.as_deref().unwrap_or_default();
        outln!(
            "| {experiment}, encode {} | {} | {id} | {} |",
            task.number,
            task.state.words(),
            task.reason
        );
    }
    for run in &view.runs {
        let (state, remark) = run.words();
        *counts.entry(state).or_default() += 1;
        let id = run.task.as_ref().and_then(|task| task.id.as_deref()).unwrap_or_default();
        outln!("| {} | {state} | {id} | {remark} |", run.planned.full_name());
    }
    let counts: Vec<String> = counts.iter().map(|(state, n)| format!("{n} {state}")).collect();
    outln!("\n{} runs: {}\n", view.runs.len(), counts.join(", "));
    let failed_encoding = view.encoding.iter().filter(|(_, task)| task.state.is_over());
    let logs = failed_encoding
        .map(|(experiment, task)| (format!("{experiment}, encode {}", task.number), task));
    let of_runs = view.runs.iter().filter(|run| run.has_more_in_its_log());
    let of_runs = of_runs.filter_map(|run| Some((run.planned.full_name(), run.task.as_ref()?)));
    for (name, task) in logs.chain(of_runs) {
        let lines = last_lines(&task.log, TAIL);
        if lines.is_empty() {
            continue;
        }
        outln!("{name}, the end of {}:", task.log.display());
        outln!("    {}\n", lines.join("\n    "));
    }
    if view.runs.iter().any(|run| run.next == Next::FailedBefore) {
        outln!("`--launcher slurm --retry failed` hands over what has failed once more");
    }
    if view.runs.iter().all(|run| run.next == Next::Done) {
        outln!(
            "all runs are done; the same command with neither `--launcher` nor `--status` writes table, claims and figures"
        );
    }
    if view.runs.iter().any(|run| run.next == Next::Unknown) {
        outln!(
            "what is unknown is not handed over, since Slurm may have it; ask again once it answers"
        );
    }
    Ok(())
}
