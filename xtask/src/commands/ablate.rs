//! `cargo xtask ablate`

use std::{
    num::{NonZeroU64, NonZeroUsize},
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::Context as _;
use clap::Args;
use promise::{
    campaign::{Campaign, OnFailure, PlannedRun, RunOutcome, Task, kept},
    device::DeviceKind,
    plan::Experiment,
    run::FinishedRun,
    run_folder::{Existing, RunState},
    threads::MOST_THREADS,
    workers::Workers,
};
use serde_json::{Value, json};

use super::{
    CacheOptions, Common, MemoryOptions,
    cluster::{ClusterOptions, Handing},
    not_drawn_json, write_results,
};
use crate::{live::Live, outln, output::print_json, stop};

/// Run experiments with all their variants, grids and seeds, skipping what is done.
///
/// Prints the plan first. A run is done if its folder holds a finished one with the same settings, weights and data; one
/// where they differ is stale: it is put aside, into the folder `stale`, and run anew. The same command goes on with what
/// was interrupted, killed or failed.
#[derive(Args)]
pub struct Ablate {
    /// Experiment files, e.g. `experiments/ablations/quick_*.toml`.
    #[arg(required = true, value_name = "FILE")]
    experiments: Vec<PathBuf>,
    /// Override a key of every run: `--set train.epochs=3`. May be given several times.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
    /// Print the plan and do nothing.
    #[arg(long)]
    dry_run: bool,
    /// Runs at a time, each in a process of its own with its share of the threads; by default one for each device.
    #[arg(long, value_name = "N")]
    jobs: Option<NonZeroUsize>,
    /// Threads of each run, instead of its share. The same number gives the same bytes, whatever `--jobs` is.
    #[arg(long, value_name = "N", value_parser = threads)]
    threads_per_run: Option<NonZeroUsize>,
    /// Go on with the others when a run fails.
    #[arg(long)]
    keep_going: bool,
    /// Count runs that another build of this program finished as stale.
    #[arg(long)]
    same_program: bool,
    #[command(flatten)]
    cluster: ClusterOptions,
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    cache: CacheOptions,
    #[command(flatten)]
    memory: MemoryOptions,
    /// Folder of the run folders.
    #[arg(long, default_value = "runs")]
    runs: PathBuf,
    /// Print one JSON document instead of plan and tables.
    #[arg(long)]
    json: bool,
}

impl Ablate {
    /// Plans, runs, then writes and prints table, claims and figures of every experiment.
    ///
    /// - `read_timeout`: seconds, for the processes of runs
    pub fn run(self, read_timeout: NonZeroU64) -> anyhow::Result<ExitCode> {
        let experiments = self
            .experiments
            .iter()
            .map(|path| {
                Experiment::load(path, &self.settings)
                    .with_context(|| format!("cannot run {}", path.display()))
            })
            .collect::<anyhow::Result<Vec<_>>>()?;
        let context = self.common.context_with(
            &self.cache,
            &self.memory,
            self.runs.clone(),
            Existing::Replace,
            stop::on_interrupt()?,
        );
        let mut campaign = if self.cluster.is_asked_for() {
            self.cluster.refuse_options_of_this_machine(&[
                (
                    "--jobs",
                    self.jobs.is_some(),
                    "`max_tasks` of the profile bounds tasks at a time",
                ),
                (
                    "--threads-per-run",
                    self.threads_per_run.is_some(),
                    "`cpus` of the profile is the number of threads",
                ),
            ])?;
            Campaign::open_for_others(&experiments, &context)?
        } else {
            Campaign::open(&experiments, &context)?
        };
        if self.same_program {
            campaign = campaign.same_program();
        }
        let on_failure = if self.keep_going { OnFailure::KeepGoing } else { OnFailure::Stop };
        if self.cluster.is_asked_for() {
            // Of several, a task takes the first that it is given.
            let arguments = self.arguments(self.common.device.only()?, read_timeout);
            let handing = Handing {
                settings: &self.settings,
                arguments: &arguments,
                on_failure,
                dry_run: self.dry_run,
                json: self.json,
            };
            return self.cluster.run(&mut campaign, &handing);
        }
        let plan: Vec<PlannedRun> = campaign.plan().cloned().collect();
        if self.dry_run {
            if self.json {
                print_json(&json!({ "runs": plan.iter().map(plan_json).collect::<Vec<_>>() }))?;
            } else {
                print_plan(&plan);
            }
            return Ok(ExitCode::SUCCESS);
        }
        if !self.json {
            print_plan(&plan);
        }

        let live = Live::new(plan.iter().filter(|run| run.is_to_do()).count());
        let kept = || kept(&experiments, &self.runs);
        let devices = self.common.device.all();
        let jobs = self.jobs();
        let outcomes = if jobs.get() > 1 || self.threads_per_run.is_some() {
            let threads = self.threads_per_run.unwrap_or_else(|| share(jobs));
            let program = std::env::current_exe().context("cannot find this program")?;
            let command = |place: usize, run: &PlannedRun, device: DeviceKind| {
                let mut command = self.worker(&program, place, run, device);
                command.args(["--read-timeout", &read_timeout.to_string()]);
                command
            };
            let workers = Workers { jobs, threads, devices, command: &command };
            campaign.run_in_processes(&workers, on_failure, &live)
        } else {
            campaign.run(on_failure, &live)
        }
        .map_err(|error| stop::with_kept(error, kept))?;
        live.finish();
        self.report(&experiments, &outcomes)
    }

    /// Runs at a time.
    fn jobs(&self) -> NonZeroUsize {
        let devices = NonZeroUsize::new(self.common.device.all().len());
        self.jobs.or(devices).unwrap_or(NonZeroUsize::MIN)
    }

    /// Options that a task of a cluster gets: where things are.
    fn arguments(&self, device: DeviceKind, read_timeout: NonZeroU64) -> Vec<String> {
        let mut command = Command::new("");
        command.arg("--runs").arg(&self.runs);
        self.common.pass_on(&mut command, device);
        self.memory.pass_on(&mut command, NonZeroUsize::MIN);
        self.cache.pass_on(&mut command);
        command.args(["--read-timeout", &read_timeout.to_string()]);
        command.get_args().map(|word| word.to_string_lossy().into_owned()).collect()
    }

    /// The command that executes one run on a device.
    fn worker(
        &self,
        program: &Path,
        place: usize,
        run: &PlannedRun,
        device: DeviceKind,
    ) -> Command {
        let mut command = Command::new(program);
        command.args(["-q", "run-one"]).arg(&self.experiments[place]);
        command.args(["--run", &run.name()]);
        for setting in &self.settings {
            command.args(["--set", setting]);
        }
        if !file_lock::has_system_locks() {
            command.env("PROMISE_LOCKS", "lease");
        }
        command.arg("--runs").arg(&self.runs);
        self.common.pass_on(&mut command, device);
        self.memory.pass_on(&mut command, self.jobs());
        self.cache.pass_on(&mut command);
        command
    }

    fn report(
        &self,
        experiments: &[Experiment],
        outcomes: &[RunOutcome],
    ) -> anyhow::Result<ExitCode> {
        let mut documents = Vec::new();
        let mut without_results = 0;
        for experiment in experiments {
            let of_this = |run: &&RunOutcome| run.planned.experiment == experiment.name;
            let finished: Vec<&FinishedRun> = outcomes
                .iter()
                .filter(of_this)
                .filter_map(|run| run.result.as_ref().ok())
                .collect();
            if finished.is_empty() {
                continue;
            }
            let folders: Vec<_> = finished.iter().map(|run| run.folder.root()).collect();
            let results = match write_results(&folders, &self.runs.join(&experiment.name)) {
                Ok(results) => results,
                // The other experiments have results all the same.
                Err(error) => {
                    let reasons: Vec<_> = error.chain().map(ToString::to_string).collect();
                    if !self.json {
                        outln!("## {}\n\nno results: {}\n", experiment.name, reasons.join(": "));
                    }
                    documents.push(json!({ "experiment": experiment.name, "reasons": reasons }));
                    without_results += 1;
                    continue;
                }
            };
            if self.json {
                documents.push(json!({
                    "experiment": experiment.name,
                    "rows": finished.iter().flat_map(|run| &run.record.rows).collect::<Vec<_>>(),
                    "claims": results.claims,
                    "written": results.written,
                    "not_drawn": not_drawn_json(&results),
                }));
            } else {
                outln!("## {}\n\n{}", experiment.name, results.table.markdown());
                for report in &results.claims {
                    outln!("{}", report.markdown());
                }
                for path in &results.written {
                    outln!("wrote {}", path.display());
                }
            }
        }
        let failed = outcomes.iter().filter_map(|run| Some((&run.planned, run.failure()?)));
        let failures: Vec<_> = failed.collect();
        if self.json {
            let runs: Vec<Value> = outcomes.iter().map(outcome_json).collect();
            print_json(&json!({ "experiments": documents, "runs": runs }))?;
        } else {
            for (run, failure) in &failures {
                outln!("failed {}: {failure}", run.full_name());
            }
        }
        Ok(if failures.is_empty() && without_results == 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}

/// The threads of one of `jobs` runs.
fn share(jobs: NonZeroUsize) -> NonZeroUsize {
    let all = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    NonZeroUsize::new(all / jobs).unwrap_or(NonZeroUsize::MIN)
}

/// One line per run, then the sum.
fn print_plan(plan: &[PlannedRun]) {
    outln!("| run | state | |");
    outln!("| --- | --- | --- |");
    for run in plan {
        let (state, remark) = run.task.words();
        outln!("| {} | {state} | {remark} |", run.full_name());
    }
    let done = plan.iter().filter(|run| run.is_done()).count();
    let to_do = plan.iter().filter(|run| run.is_to_do()).count();
    let impossible = plan.len() - done - to_do;
    let impossible = match impossible {
        0 => String::new(),
        some => format!(", {some} impossible"),
    };
    outln!("\n{} runs, {done} done, {to_do} to do{impossible}\n", plan.len());
}

pub(super) fn plan_json(run: &PlannedRun) -> Value {
    let (state, remark) = run.task.words();
    let changed = match &run.task {
        Task::Known(RunState::Stale { changed }) => changed.as_slice(),
        _ => &[],
    };
    json!({
        "experiment": run.experiment,
        "method": run.method,
        "seed": run.seed,
        "folder": run.folder.root(),
        "state": state.replace(' ', "_"),
        "remark": remark,
        "changed": changed,
    })
}

fn outcome_json(run: &RunOutcome) -> Value {
    let state = match &run.result {
        Ok(FinishedRun { found: true, .. }) => "found",
        Ok(_) => "done",
        Err(_) => "failed",
    };
    json!({
        "experiment": run.planned.experiment,
        "method": run.planned.method,
        "seed": run.planned.seed,
        "folder": run.planned.folder.root(),
        "state": state,
        "reasons": run.failure().map(|failure| failure.reasons),
    })
}

/// A number of threads that a run may have.
fn threads(text: &str) -> Result<NonZeroUsize, String> {
    match text.parse::<NonZeroUsize>() {
        Ok(threads) if threads.get() <= MOST_THREADS => Ok(threads),
        _ => Err(format!("expected a number from 1 to {MOST_THREADS}")),
    }
}
