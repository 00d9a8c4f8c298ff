//! What handing thousands of runs over costs: plan, submission in chunks, states, table, without a cluster and without
//! training.
//!
//! The plan is a real one, and so are submission, scripts and states. The cluster exists in memory only, and the results of
//! all runs are copies of one small real run: its training is what this does not measure.

use std::{
    fs,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use launcher::{fake::FakeScheduler, profile::Profile};
use run_record::{RunFolder, RunRecord, RunRecordError};
use serde::Serialize;

use crate::{
    campaign::{Campaign, OnFailure},
    cluster::{Cluster, Next},
    environment::peak_memory_mib,
    plan::{Experiment, RunPlan},
    progress::{OneAtATime, Silent},
    run::{Context, RunError},
    run_folder::{RunFolderError, write_resolved},
    scratch::empty_folder,
};

/// Seeds of each method, as an experiment may have.
const SEEDS: usize = 10;

/// Most tasks of an array, as Slurm has it by default.
const MAX_ARRAY_SIZE: usize = 1001;

/// What was measured.
#[derive(Debug, Clone, Serialize)]
pub struct LauncherBench {
    /// Runs of the plan.
    pub runs: usize,
    /// Job arrays that they became.
    pub arrays: usize,
    /// Seconds to read the experiment and to look at data, weights and run folders.
    pub plan_secs: f64,
    /// Seconds to write scripts and submission and to hand the arrays over.
    pub submit_secs: f64,
    /// Seconds to plan again and tell the states while all runs wait.
    pub status_waiting_secs: f64,
    /// Seconds to plan again and tell the states once all runs are done.
    pub status_done_secs: f64,
    /// Seconds to make the table of all runs.
    pub table_secs: f64,
    /// Bytes of `submission.json` and scripts.
    pub submission_bytes: u64,
    /// Seconds to make up the run folders, which is no part of the launcher.
    pub made_up_secs: f64,
    /// Largest resident memory of this process in MiB, where the system tells it.
    pub peak_memory_mib: Option<f64>,
}

impl LauncherBench {
    /// Seconds of all that belongs to the launcher.
    pub fn total_secs(&self) -> f64 {
        self.plan_secs
            + self.submit_secs
            + self.status_waiting_secs
            + self.status_done_secs
            + self.table_secs
    }

    /// As a table.
    pub fn markdown(&self) -> String {
        let memory =
            self.peak_memory_mib.map_or_else(|| "unknown".into(), |mib| format!("{mib:.0} MiB"));
        format!(
            "| {} runs, {} arrays | |\n| --- | ---: |\n| plan | {:.1} s |\n| submit | {:.1} s |\n| states, all waiting | {:.1} s |\n\
             | states, all done | {:.1} s |\n| table | {:.1} s |\n| together | {:.1} s |\n| submission and scripts | {:.1} MB |\n\
             | peak memory | {memory} |\n",
            self.runs,
            self.arrays,
            self.plan_secs,
            self.submit_secs,
            self.status_waiting_secs,
            self.status_done_secs,
            self.table_secs,
            self.total_secs(),
            self.submission_bytes as f64 / 1e6,
        )
    }
}

/// Measures.
///
/// - `runs`: rounded up to a multiple of ten, the seeds of a method
/// - `folder`: emptied first
/// - `table`: makes the table of all runs below a folder
///
/// # Errors
///
/// If a folder cannot be written, the small run fails, or there is no table.
pub fn bench_launcher<E: From<RunError>>(
    runs: NonZeroUsize,
    folder: &Path,
    context: &Context,
    table: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<LauncherBench, E> {
    let prepare = |path: &Path| {
        let path = path.to_owned();
        move |source| RunError::from(RunFolderError::Prepare { path, source })
    };
    empty_folder(folder).map_err(prepare(folder))?;
    let file = folder.join("fake.toml");
    fs::write(&file, experiment(runs.get().div_ceil(SEEDS))).map_err(prepare(&file))?;
    let small =
        Context { runs: folder.join("small"), progress: Arc::new(Silent), ..context.clone() };
    let result = small_run(&file, &small)?;

    let context = Context { runs: folder.join("runs"), ..small };
    let begin = Instant::now();
    let experiments = [Experiment::load(&file, &[]).map_err(RunError::from)?];
    let mut campaign = Campaign::open(&experiments, &context)?;
    let plan_secs = begin.elapsed().as_secs_f64();

    let scheduler = FakeScheduler::new(MAX_ARRAY_SIZE);
    let profile = Profile::default();
    let cluster = Cluster {
        scheduler: &scheduler,
        profile: &profile,
        settings: &[],
        arguments: &[],
        directory: folder,
        retry_failed: false,
        on_failure: OnFailure::Stop,
    };
    let begin = Instant::now();
    let handed_over = campaign.hand_over(&cluster)?;
    let submit_secs = begin.elapsed().as_secs_f64();
    drop(campaign);
    let submission = handed_over.first();
    let submission_bytes = submission.map_or(0, |first| bytes_in(&first.folder));
    let arrays = submission.map_or(0, |first| first.submission.jobs.len());

    let begin = Instant::now();
    let campaign = Campaign::open(&experiments, &context)?;
    let view = campaign.on_cluster(&scheduler, false)?;
    let waiting = view.runs.iter().filter(|run| run.next == Next::Waits).count();
    let status_waiting_secs = begin.elapsed().as_secs_f64();

    let begin = Instant::now();
    scheduler.set_all("COMPLETED");
    for job in &campaign.jobs {
        let (Some(ready), folder) = (job.ready(), &job.planned.folder) else { continue };
        fs::create_dir_all(folder.root()).map_err(prepare(folder.root()))?;
        write_resolved(folder, job.plan, ready.inputs()).map_err(RunError::from)?;
        result.copy_to(folder, &job.planned.method, job.planned.seed).map_err(RunError::from)?;
    }
    drop((campaign, view));
    let made_up_secs = begin.elapsed().as_secs_f64();

    let begin = Instant::now();
    let campaign = Campaign::open(&experiments, &context)?;
    let view = campaign.on_cluster(&scheduler, false)?;
    let done = view.runs.iter().filter(|run| run.next == Next::Done).count();
    let status_done_secs = begin.elapsed().as_secs_f64();
    let runs = view.runs.len();
    // What was measured has to be what was meant.
    assert_eq!((waiting, done), (runs, runs), "all runs wait, then all are done");
    drop((campaign, view));

    let begin = Instant::now();
    table(&context.runs.join(&experiments[0].name))?;
    let table_secs = begin.elapsed().as_secs_f64();
    Ok(LauncherBench {
        runs,
        arrays,
        plan_secs,
        submit_secs,
        status_waiting_secs,
        status_done_secs,
        table_secs,
        submission_bytes,
        made_up_secs,
        peak_memory_mib: peak_memory_mib(),
    })
}

/// The experiment: as many methods as asked for, by a key that any value is good for.
fn experiment(methods: usize) -> String {
    let epochs: Vec<String> = (1..=methods).map(|epochs| epochs.to_string()).collect();
    let seeds: Vec<String> = (1..=SEEDS).map(|seed| seed.to_string()).collect();
    format!(
        r#"name = "fake"
seeds = [{}]

[backbone]
variant = "micro"

[data]
train = ["phantom"]
test = ["phantom"]
train_limit = 10
test_limit = 2
validation_fraction = 0.2

[prompt]
module = "none"

[shift]
module = "ips"

[train]
epochs = 1
batch_size = 4
learning_rate = 1e-3

[evaluate]
prompts = ["center"]
panels = 0

[grid]
"train.epochs" = [{}]
"#,
        seeds.join(", "),
        epochs.join(", ")
    )
}

/// A finished run whose results others get.
struct SmallRun {
    record: RunRecord,
    files: Vec<(PathBuf, Vec<u8>)>,
}

impl SmallRun {
    fn copy_to(&self, folder: &RunFolder, method: &str, seed: u64) -> Result<(), RunFolderError> {
        // Rows say of which run they are.
        let own = format!(",{},{},", self.record.method, self.record.seed);
        let other = format!(",{method},{seed},");
        for (name, bytes) in &self.files {
            let path = folder.root().join(name);
            let bytes = match name.extension() {
                Some(csv) if csv == "csv" => {
                    String::from_utf8_lossy(bytes).replace(&own, &other).into_bytes()
                }
                _ => bytes.clone(),
            };
            // Not synced: thousands of folders that nobody needs.
            fs::write(&path, bytes).map_err(|source| RunFolderError::Prepare { path, source })?;
        }
        let files = folder.checksums()?;
        let mut record = RunRecord { method: method.into(), seed, files, ..self.record.clone() };
        for row in &mut record.rows {
            row.method = method.into();
            row.seed = seed;
        }
        Ok(record.write(&folder.record())?)
    }
}

fn small_run(file: &Path, context: &Context) -> Result<SmallRun, RunError> {
    let all = Experiment::load(file, &[])?;
    let first = all.runs.first().map(RunPlan::name).unwrap_or_default();
    let only = all.only(&first).ok_or(RunError::UnknownRun { run: first })?;
    let campaign = Campaign::open(std::slice::from_ref(&only), context)?;
    let outcomes = campaign.run(OnFailure::Stop, &OneAtATime(context.progress.clone()))?;
    let folder = match outcomes.into_iter().next() {
        Some(outcome) => outcome.result?.folder,
        None => return Err(RunError::Interrupted),
    };
    let read = |name: &Path| -> Result<(PathBuf, Vec<u8>), RunError> {
        let path = folder.root().join(name);
        let bytes = fs::read(&path).map_err(|source| RunRecordError::Read { path, source })?;
        Ok((name.to_owned(), bytes))
    };
    let names = ["experiment.toml", "environment.json", "cases.csv", "epochs.csv"];
    let mut files =
        names.map(|name| read(Path::new(name))).into_iter().collect::<Result<Vec<_>, _>>()?;
    if folder.curves().exists() {
        files.push(read(Path::new("curves.csv"))?);
    }
    Ok(SmallRun { record: folder.read_record()?, files })
}

/// Bytes of the files in a folder.
fn bytes_in(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.metadata().ok())
        .filter(|file| file.is_file())
        .map(|file| file.len())
        .sum()
}
