//! Several experiments with all their runs: what is done, what is to do, and doing it.
//!
//! A run is skipped if its folder holds a finished one with the same settings, weights and data, the last two
//! compared by content. Which program made it (by its bytes) is kept beside it and shown; a run by another build is
//! done as well unless [`Campaign::same_program`] is asked for, since most changes of a program change no number.

use std::{
    any::Any,
    collections::BTreeSet,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{Arc, atomic::Ordering},
};

use burn::tensor::Device;
use data_loaders::error_chain;
use run_record::{EpochRow, Failure, Outline, RunFolder, RunRecord, read_rows};
use sam_backbone::SamConfig;

use crate::{
    device::DeviceError,
    memory::{Demand, MachineMemory, feature_bytes, gib},
    memory_limit::MemoryLimit,
    memory_need::{Fit, MemoryNeed},
    plan::{CheckError, Experiment, RunPlan},
    progress::{Ended, Progress, Watch},
    registry,
    run::{Context, Execution, FinishedRun, RunError, Shared, Sources, execute},
    run_folder::{self, Change, Existing, Inputs, RunFolderError, RunState},
    run_lock::RunLock,
    run_log::{Logged, RunLog},
    sources::{Contents, Overlap},
};

/// What happens to the other runs when one fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// They are not begun.
    Stop,
    /// They go on; the failure is recorded in the folder of its run.
    KeepGoing,
}

/// A run as a plan shows it.
#[derive(Debug, Clone)]
pub struct PlannedRun {
    /// Name of the experiment.
    pub experiment: String,
    /// Name of the method.
    pub method: String,
    /// The seed.
    pub seed: u64,
    /// Its folder, which need not exist.
    pub folder: RunFolder,
    /// What is to be done.
    pub task: Task,
}

/// What is to be done for a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    /// What its folder says.
    Known(RunState),
    /// It cannot be run: its data are not there, say; why, in one line.
    Impossible(String),
}

impl Task {
    /// A word for it, and what is to be said of it.
    pub fn words(&self) -> (&'static str, String) {
        match self {
            Self::Impossible(reason) => ("impossible", reason.clone()),
            Self::Known(RunState::ToDo) => ("to do", String::new()),
            Self::Known(RunState::Unfinished { epochs }) => {
                ("unfinished", format!("goes on after epoch {epochs}"))
            }
            Self::Known(RunState::Failed { failure }) => ("failed", failure.to_string()),
            Self::Known(RunState::Done { same_program: Some(false) }) => {
                ("done", "by another build of this program".into())
            }
            Self::Known(RunState::Done { .. }) => ("done", String::new()),
            Self::Known(RunState::Stale { changed }) => {
                ("stale", format!("changed: {}", Change::list(changed)))
            }
        }
    }
}

impl PlannedRun {
    /// Name of its folder, unique within its experiment: `<method>-seed<seed>`.
    pub fn name(&self) -> String {
        format!("{}-seed{}", self.method, self.seed)
    }

    /// Name of the experiment and of the folder.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.experiment, self.name())
    }

    /// Whether it is finished and nothing has changed.
    pub fn is_done(&self) -> bool {
        matches!(self.task, Task::Known(RunState::Done { .. }))
    }

    /// Whether it is neither done nor impossible.
    pub fn is_to_do(&self) -> bool {
        !self.is_done() && !matches!(self.task, Task::Impossible(_))
    }
}

/// A run that was found finished, done, or that failed.
#[derive(Debug)]
pub struct RunOutcome {
    /// The run as it was planned.
    pub planned: PlannedRun,
    /// How it went.
    pub result: Result<FinishedRun, RunError>,
}

impl RunOutcome {
    /// Why it failed, if it did.
    pub fn failure(&self) -> Option<Failure> {
        self.result.as_ref().err().map(|error| run_folder::failure_of(error))
    }
}

/// Experiments with all their runs.
pub struct Campaign<'a> {
    pub(crate) experiments: &'a [Experiment],
    pub(crate) context: &'a Context,
    /// Where runs are looked at and executed; the CPU if the device that was asked for cannot be used here.
    device: Device,
    /// Why not. A login node without a GPU may still plan, and hand over to those who have one.
    unusable: Option<DeviceError>,
    /// See [`Campaign::same_program`].
    same_program: bool,
    shared: Shared,
    limit: MemoryLimit,
    pub(crate) jobs: Vec<Job<'a>>,
}

/// A run with what was found out about it before the first one begins.
pub(crate) struct Job<'a> {
    /// Place of its experiment.
    pub experiment: usize,
    pub plan: &'a RunPlan,
    pub planned: PlannedRun,
    ready: Result<Ready, RunError>,
}

impl Job<'_> {
    /// What it needs, unless it cannot be run.
    pub fn ready(&self) -> Option<&Ready> {
        self.ready.as_ref().ok()
    }
}

impl Ready {
    /// What the run depends on besides its settings.
    pub fn inputs(&self) -> &Inputs {
        &self.inputs
    }
}

/// What a run needs.
pub(crate) struct Ready {
    /// Blocks that the prompt module reads.
    taps: Vec<usize>,
    pub sources: Sources,
    inputs: Inputs,
    pub memory: MemoryNeed,
    /// What is read. Pixels of the largest image are 0 where nobody asks for them.
    demand: Demand,
    /// Sizes of SAM.
    pub sam: SamConfig,
}

impl<'a> Campaign<'a> {
    /// Looks at everything that the files, data folders, weights and run folders that exist can be wrong about.
    /// Nothing is written.
    ///
    /// A run that cannot be run because of that is [`Task::Impossible`].
    ///
    /// # Errors
    ///
    /// If the device is not part of this program, or two experiments have one name. A device that is part of it and cannot
    /// be used here is an error of whoever executes runs.
    pub fn open(experiments: &'a [Experiment], context: &'a Context) -> Result<Self, RunError> {
        Self::open_within(experiments, context, MachineMemory::now().limit)
    }

    /// The same for runs that other machines execute: how much memory this one has is not looked at.
    ///
    /// # Errors
    ///
    /// See [`Campaign::open`].
    pub fn open_for_others(
        experiments: &'a [Experiment],
        context: &'a Context,
    ) -> Result<Self, RunError> {
        let unknown = MemoryLimit { bytes: u64::MAX, by: "the memory of a machine not known yet" };
        Self::open_within(experiments, context, unknown)
    }

    fn open_within(
        experiments: &'a [Experiment],
        context: &'a Context,
        limit: MemoryLimit,
    ) -> Result<Self, RunError> {
        let mut names = BTreeSet::new();
        if let Some(twice) = experiments.iter().find(|experiment| !names.insert(&experiment.name)) {
            return Err(RunError::TwoExperiments { name: twice.name.clone() });
        }
        let (device, unusable) = match context.device.device() {
            Ok(device) => (device, None),
            Err(error @ DeviceError::Unusable { .. }) => (Device::flex(), Some(error)),
            Err(error) => return Err(error.into()),
        };
        let mut campaign = Self {
            experiments,
            context,
            device,
            unusable,
            same_program: false,
            shared: Shared::default(),
            limit,
            jobs: Vec::new(),
        };
        let mut contents = Contents::default();
        for (place, experiment) in experiments.iter().enumerate() {
            for plan in &experiment.runs {
                let job = campaign.job(place, plan, &mut contents);
                campaign.jobs.push(job);
            }
        }
        campaign.refuse_misfits();
        Ok(campaign)
    }

    /// Runs that another build of this program finished count as stale.
    #[must_use]
    pub fn same_program(mut self) -> Self {
        self.same_program = true;
        for job in &mut self.jobs {
            if let Task::Known(state) = &job.planned.task {
                job.planned.task = Task::Known(of_same_program(state.clone()));
            }
        }
        self
    }

    /// What the folder of a run says by now.
    pub(crate) fn look_again(&self, job: &Job<'_>) -> Result<RunState, RunError> {
        let Ok(ready) = &job.ready else { return Ok(RunState::ToDo) };
        let state = run_folder::state(&job.planned.folder, job.plan, &ready.inputs)?;
        Ok(if self.same_program { of_same_program(state) } else { state })
    }

    /// Why the device that was asked for cannot be used here, if it cannot: nobody here will execute a run on it.
    pub fn unusable(&self) -> Option<&DeviceError> {
        self.unusable.as_ref()
    }

    /// Every run with what is to be done, in the order of the files.
    pub fn plan(&self) -> impl Iterator<Item = &PlannedRun> {
        self.jobs.iter().map(|job| &job.planned)
    }

    fn job(&mut self, place: usize, plan: &'a RunPlan, contents: &mut Contents) -> Job<'a> {
        let experiment = &self.experiments[place].name;
        let folder = RunFolder::of(&self.context.runs, experiment, &plan.method, plan.seed);
        let ready = self.ready(plan, contents);
        let task = match &ready {
            Err(error) => Ok(Task::Impossible(error_chain(error))),
            Ok(ready) => match run_folder::state(&folder, plan, &ready.inputs) {
                // Whatever lies there goes.
                Err(_) if self.context.existing == Existing::StartOver => {
                    Ok(Task::Known(RunState::ToDo))
                }
                state => state.map(Task::Known),
            },
        };
        let (task, ready) = match task {
            Ok(task) => (task, ready),
            Err(error) => (Task::Impossible(error_chain(&error)), Err(error.into())),
        };
        let planned = PlannedRun {
            experiment: experiment.clone(),
            method: plan.method.clone(),
            seed: plan.seed,
            folder,
            task,
        };
        Job { experiment: place, plan, planned, ready }
    }

    fn ready(&mut self, plan: &RunPlan, contents: &mut Contents) -> Result<Ready, RunError> {
        let backbone = self.shared.backbone(plan, &self.device)?;
        let taps = (registry::find(&plan.spec.prompt.module)?.taps)(plan, &backbone.info())?;
        let sources = Sources::open(plan, self.context)?;
        if plan.learns() {
            refuse_overlaps(plan, contents.overlaps(&sources)?)?;
        }
        let largest_image = match self.context.memory {
            Some(_) => contents.largest_image(&sources),
            None => 0,
        };
        let demand = Demand {
            batch: if plan.trains() {
                plan.spec.train.batch_size.min(sources.train.len())
            } else {
                0
            },
            per_image: feature_bytes(backbone.sam.config(), &taps),
            largest_image,
        };
        let memory = MemoryNeed::new(
            4 * backbone.sam.num_params() as u64,
            &demand,
            kept_images(plan, &sources),
            plan.spec.data.feature_memory(),
            self.context.memory,
        );
        if let Some(images) = plan.fitted_to() {
            // So that too few of them are found out before anything is written.
            sources.examples(plan, images)?;
        }
        let inputs = Inputs {
            weights_sha256: backbone.report.sha256,
            data_sha256: contents.of(&sources, plan.learns())?,
        };
        let sam = backbone.sam.config().clone();
        Ok(Ready { taps, sources, inputs, memory, demand, sam })
    }

    /// Makes failures of the runs that are to be executed and whose numbers do not fit their images or the memory.
    /// What is done needs nothing.
    fn refuse_misfits(&mut self) {
        let anew = self.context.existing == Existing::StartOver;
        let (limit, budget) = (self.limit, self.context.memory);
        for job in &mut self.jobs {
            if job.planned.is_done() && !anew {
                continue;
            }
            let Ok(ready) = &job.ready else { continue };
            if let Some(error) = misfit(job.plan, ready, &limit, budget) {
                job.planned.task = Task::Impossible(error_chain(&error));
                job.ready = Err(error);
            }
        }
    }

    /// Warns once if there may be too little memory for a run that is to be executed.
    fn warn_of_little_memory(&self) {
        let anew = self.context.existing == Existing::StartOver;
        let needs = self.jobs.iter().filter(|job| anew || !job.planned.is_done());
        let needs = needs.filter_map(|job| Some(job.ready()?.memory));
        let tight = needs.filter(|need| need.fit(&self.limit) == Fit::Tight);
        if let Some(need) = tight.max_by_key(MemoryNeed::bytes) {
            tracing::warn!(
                "little memory: {}, and at least {} are needed ({need}). If it runs out, the system ends the program \
                 without an error (\"memory allocation failed\", \"Killed\"); then lower data.feature_memory_gib or \
                 train.batch_size",
                self.limit,
                gib(need.bytes())
            );
        }
    }

    /// Why runs cannot begin, all reasons in one error.
    pub(crate) fn first_refusal(&mut self) -> Option<RunError> {
        let mut reasons: Vec<String> = Vec::new();
        let (mut failed, mut problems) = (0, Vec::new());
        for job in &self.jobs {
            let Err(error) = &job.ready else { continue };
            failed += 1;
            match error {
                RunError::Misfit(CheckError { problems: more }) => {
                    for problem in more {
                        if !problems.contains(problem) {
                            problems.push(problem.clone());
                        }
                    }
                }
                error => {
                    let reason = error_chain(error);
                    if !reasons.contains(&reason) {
                        reasons.push(reason);
                    }
                }
            }
        }
        match (reasons.len(), problems.is_empty()) {
            (0, true) => None,
            (0, false) => Some(RunError::Misfit(CheckError { problems })),
            (1, true) => {
                let place = self.jobs.iter().position(|job| job.ready.is_err())?;
                self.jobs.swap_remove(place).ready.err()
            }
            _ => {
                reasons.extend(problems.iter().map(ToString::to_string));
                Some(RunError::Several { failed, runs: self.jobs.len(), reasons })
            }
        }
    }

    /// Refuses what cannot begin and removes what is to start over. With [`OnFailure::Stop`] nothing was written
    /// before the first refusal.
    pub(crate) fn begin(&mut self, on_failure: OnFailure) -> Result<(), RunError> {
        if let Some(error) = self.unusable.take() {
            return Err(error.into());
        }
        // Again: what was done may have become stale.
        self.refuse_misfits();
        self.warn_of_little_memory();
        if on_failure == OnFailure::Stop
            && let Some(error) = self.first_refusal()
        {
            return Err(error);
        }
        match self.context.existing {
            Existing::GoOn | Existing::Replace => {}
            Existing::Resume => {
                let begun = |job: &Job<'_>| job.planned.folder.resolved().exists();
                if !self.jobs.iter().any(begun) {
                    let name = self.experiments.first().map_or("", |first| first.name.as_str());
                    let path = self.context.runs.join(name);
                    return Err(RunFolderError::NothingToResume { path }.into());
                }
            }
            Existing::StartOver => {
                for job in &mut self.jobs {
                    // Nobody's folder is removed from under a process that works in it.
                    let Some(_lock) = RunLock::take(&job.planned.folder, &self.context.stop)?
                    else {
                        return Err(RunError::Interrupted);
                    };
                    run_folder::remove(&job.planned.folder)?;
                    job.planned.task = Task::Known(RunState::ToDo);
                }
            }
        }
        if self.context.existing != Existing::Replace {
            for PlannedRun { folder, task, .. } in self.plan() {
                if let Task::Known(RunState::Stale { changed }) = task {
                    let (changed, path) = (Change::list(changed), folder.root().to_owned());
                    return Err(RunFolderError::OtherRun { changed, path }.into());
                }
            }
        }
        Ok(())
    }

    /// Executes what is to do, in order, one run after the other in this process. Encoded data are shared between
    /// runs. [`workers`](crate::workers) does the same in several processes.
    ///
    /// # Errors
    ///
    /// [`RunError::Interrupted`], and with [`OnFailure::Stop`] the first failure; finished runs stay finished.
    pub fn run(
        mut self,
        on_failure: OnFailure,
        watch: &dyn Watch,
    ) -> Result<Vec<RunOutcome>, RunError> {
        self.begin(on_failure)?;
        let mut outcomes = Vec::with_capacity(self.jobs.len());
        for place in 0..self.jobs.len() {
            if self.context.stop.load(Ordering::Relaxed) {
                return Err(RunError::Interrupted);
            }
            let result = self.run_at(place, watch);
            let planned = self.jobs[place].planned.clone();
            report_end(watch, &planned, &result);
            match result {
                Err(RunError::Interrupted) => return Err(RunError::Interrupted),
                Err(error) if on_failure == OnFailure::Stop => return Err(error),
                result => outcomes.push(RunOutcome { planned, result }),
            }
        }
        Ok(outcomes)
    }

    /// Executes one run unless it is done, and records why if it fails.
    fn run_at(&mut self, place: usize, watch: &dyn Watch) -> Result<FinishedRun, RunError> {
        let folder = self.jobs[place].planned.folder.clone();
        let result = self.attempt(place, watch);
        match &result {
            Ok(_) | Err(RunError::Interrupted) => {}
            Err(error) => record_failure(&folder, error),
        }
        result
    }

    fn attempt(&mut self, place: usize, watch: &dyn Watch) -> Result<FinishedRun, RunError> {
        let taps = self.all_taps(place);
        let Self { experiments, context, device, shared, jobs, .. } = self;
        let job = &mut jobs[place];
        let ready = match &mut job.ready {
            Ok(ready) => ready,
            failed => return Err(take_error(failed)),
        };
        let (experiment, plan, planned) = (&experiments[job.experiment], job.plan, &job.planned);
        let folder = planned.folder.clone();
        let Some(_lock) = RunLock::take(&folder, &context.stop)? else {
            return Err(RunError::Interrupted);
        };
        put_aside_if_stale(planned, plan, &ready.inputs)?;
        let done = run_folder::prepare(&folder, experiment, plan, &ready.inputs, context.device)?;
        // Not before all folders were checked: the experiment of a folder with other settings keeps its outline.
        write_outline(experiment, &folder)?;
        if let Some(record) = done {
            return Ok(FinishedRun { folder, record, found: true });
        }
        let _log = RunLog::open(&folder.log());
        log_beginning(planned, context);
        let progress: Arc<dyn Progress> = Arc::new(Logged(watch.begin(&planned.full_name())));
        let context = Context { progress, ..context.clone() };
        let run = Execution {
            experiment: &experiment.name,
            plan,
            sources: &ready.sources,
            folder: &folder,
            taps,
            largest_image: ready.demand.largest_image,
        };
        let run = || execute(run, &context, device, shared);
        let result = catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
            // What it was at may be half done.
            *shared = Shared::default();
            let (method, message) = (plan.method.clone(), panic_message(&*panic));
            Err(RunError::Panicked { method, message })
        });
        log_end(&result);
        Ok(FinishedRun { folder, record: result?, found: false })
    }

    /// The blocks that the run at `place` needs and those after it with the same backbone, so that an image is
    /// encoded once for all of them.
    pub(crate) fn all_taps(&self, place: usize) -> Vec<usize> {
        let backbone = &self.jobs[place].plan.spec.backbone;
        let same = |job: &&Job<'_>| job.plan.spec.backbone.is_same_encoder(backbone);
        let mut taps: Vec<usize> = self.jobs[place..]
            .iter()
            .take_while(same)
            .filter(|job| !job.planned.is_done())
            .filter_map(|job| job.ready.as_ref().ok())
            .flat_map(|ready| ready.taps.iter().copied())
            .collect();
        taps.sort_unstable();
        taps.dedup();
        taps
    }

    /// The inputs of the run at `place`, or why it cannot be run.
    pub(crate) fn inputs(&mut self, place: usize) -> Result<Inputs, RunError> {
        match &mut self.jobs[place].ready {
            Ok(ready) => Ok(ready.inputs.clone()),
            failed => Err(take_error(failed)),
        }
    }
}

/// Stale instead of done, if another build of this program finished it.
fn of_same_program(state: RunState) -> RunState {
    match state {
        RunState::Done { same_program: Some(false) } => {
            RunState::Stale { changed: vec![Change::of("the program")] }
        }
        state => state,
    }
}

/// Takes the error out of a result that is known to be one. A job is asked once.
fn take_error<T>(failed: &mut Result<T, RunError>) -> RunError {
    let taken = std::mem::replace(failed, Err(RunError::Interrupted));
    taken.err().unwrap_or(RunError::Interrupted)
}

/// Refuses test images that are trained on, unless the experiment allows it.
fn refuse_overlaps(plan: &RunPlan, overlaps: Vec<Overlap>) -> Result<(), RunError> {
    for Overlap { data, total, both } in overlaps {
        let allowed = plan.spec.data.allow_overlap.contains(&data);
        match (both.len(), allowed) {
            (0, false) => {}
            (0, true) => tracing::info!(
                "`data.allow_overlap` names `{data}`, none of whose test images is trained on; tables mark it all the same"
            ),
            (count, true) => {
                tracing::warn!("{count} of the {total} test images of `{data}` are trained on");
            }
            (count, false) => {
                let first = both.into_iter().take(3).collect();
                return Err(RunError::Overlap { data, count, total, first });
            }
        }
    }
    Ok(())
}

/// Images whose features a run can keep.
fn kept_images(plan: &RunPlan, sources: &Sources) -> usize {
    let trained = match (plan.trains(), &plan.spec.train.augmentation) {
        (false, _) => 0,
        // What is augmented is never kept.
        (true, Some(_)) => sources.valid.len(),
        (true, None) => sources.train.len() * plan.spec.train.views + sources.valid.len(),
    };
    trained + sources.test.iter().map(|set| set.len()).sum::<usize>()
}

/// Why a run cannot begin: numbers that do not fit the images, the budget or the memory.
fn misfit(
    plan: &RunPlan,
    ready: &Ready,
    limit: &MemoryLimit,
    budget: Option<u64>,
) -> Option<RunError> {
    let (spec, sources) = (&plan.spec, &ready.sources);
    let mut problems = Vec::new();
    for set in &sources.test {
        let (panels, n) = (spec.evaluate.panels, set.len());
        // Defaults are made to fit.
        if panels > n && plan.is_written("evaluate.panels") {
            let reason = format!("is {panels}, but `{}` has {n} test images", set.name());
            problems.push(plan.problem("evaluate.panels", reason));
        }
    }
    if plan.trains() {
        let (batch, n) = (spec.train.batch_size, sources.train.len());
        if batch > n && plan.is_written("train.batch_size") {
            let reason = format!(
                "is {batch}, but there are {n} training images ({} are held out)",
                sources.valid.len()
            );
            problems.push(plan.problem("train.batch_size", reason));
        }
        let demand = &ready.demand;
        if demand.batches() > limit.bytes {
            let reason = format!(
                "is {batch}: features of so many images need {} ({} an image, three batches at a time), and {limit}",
                gib(demand.batches()),
                gib(demand.per_image)
            );
            problems.push(plan.problem("train.batch_size", reason));
        } else if let Some(budget) = budget
            && demand.least() > budget
        {
            let reason = format!(
                "is {batch}, which needs {} at least, and the budget is {} (`--memory-gib`)",
                gib(demand.least()),
                gib(budget)
            );
            problems.push(plan.problem("train.batch_size", reason));
        }
    }
    if !problems.is_empty() {
        return Some(RunError::Misfit(CheckError { problems }));
    }
    let (need, method) = (ready.memory, plan.method.clone());
    let beyond = need.fit(limit) == Fit::Impossible;
    beyond.then(|| RunError::BeyondMachine { method, need, limit: *limit })
}

/// Says in the log of a run that it begins, with what and where.
fn log_beginning(planned: &PlannedRun, context: &Context) {
    let state = match &planned.task {
        Task::Known(RunState::Unfinished { epochs }) => format!("goes on after epoch {epochs}"),
        Task::Known(RunState::Failed { failure }) => format!("tried again, after: {failure}"),
        _ => "begins".into(),
    };
    tracing::info!(
        target: "run_log",
        "{} {state}; version {}, {} with {} threads, process {}",
        planned.full_name(),
        env!("CARGO_PKG_VERSION"),
        context.device,
        rayon::current_num_threads(),
        std::process::id()
    );
}

/// Says in the log of a run how it ended, and what was left out.
fn log_end(result: &Result<RunRecord, RunError>) {
    match result {
        Ok(record) => {
            for case in &record.skipped {
                tracing::warn!(
                    target: "run_log",
                    "left out {} {} {}: {}", case.data, case.split, case.file, case.reason
                );
            }
            for row in &record.rows {
                let dice = row.dice.map_or_else(|| "undefined".into(), |dice| format!("{dice:.4}"));
                tracing::info!(
                    target: "run_log",
                    "{} {} {}: Dice {dice} over {} cases", row.data, row.split, row.prompts, row.n
                );
            }
            tracing::info!(target: "run_log", "done");
        }
        Err(RunError::Interrupted) => {
            tracing::info!(target: "run_log", "interrupted; the same command goes on from there");
        }
        Err(error) => tracing::error!(target: "run_log", "failed: {}", error_chain(error)),
    }
}

/// What is kept of the runs of some experiments, in words; for somebody who has interrupted them.
pub fn kept(experiments: &[Experiment], runs: &Path) -> String {
    let (mut done, mut all, mut begun) = (0, 0, Vec::new());
    for experiment in experiments {
        for plan in &experiment.runs {
            all += 1;
            let folder = RunFolder::of(runs, &experiment.name, &plan.method, plan.seed);
            if folder.record().exists() {
                done += 1;
                continue;
            }
            let epochs = read_rows::<EpochRow>(&folder.epochs()).unwrap_or_default();
            if let Some(row) = epochs.last() {
                let of = plan.spec.train.epochs;
                let name = format!("{}/{}", experiment.name, plan.name());
                begun.push(format!("{} of {of} epochs of {name}", row.epoch));
            }
        }
    }
    let begun = match begun.len() {
        0 => String::new(),
        1..=4 => format!(", {}", begun.join(", ")),
        n => format!(", {} and {} others", begun[..3].join(", "), n - 3),
    };
    format!("{done} of {all} runs{begun}")
}

/// Puts the run of a folder aside if the plan called it stale and it still is.
pub(crate) fn put_aside_if_stale(
    planned: &PlannedRun,
    plan: &RunPlan,
    inputs: &Inputs,
) -> Result<(), RunError> {
    if !matches!(planned.task, Task::Known(RunState::Stale { .. })) {
        return Ok(());
    }
    let stale = match run_folder::state(&planned.folder, plan, inputs)? {
        RunState::Stale { .. } => true,
        // Stale by the program alone, unless another process has run it anew meanwhile.
        RunState::Done { same_program } => same_program == Some(false),
        _ => false,
    };
    if stale {
        let place = run_folder::put_aside(&planned.folder)?;
        tracing::info!("a stale run was put aside: {}", place.display());
    }
    Ok(())
}

/// Writes the outline of an experiment beside a run folder, unless it stands there already: processes that work
/// on runs of one experiment shall not write it at the same time.
pub(crate) fn write_outline(experiment: &Experiment, folder: &RunFolder) -> Result<(), RunError> {
    let (path, outline) = (folder.outline(), experiment.outline());
    let same = Outline::read(&path).is_ok_and(|former| former == outline);
    if !same {
        outline.write(&path)?;
    }
    Ok(())
}

/// Keeps why a run failed. That this cannot be written is no reason to lose the reason itself.
pub(crate) fn record_failure(folder: &RunFolder, error: &RunError) {
    // A finished run stays what it is, whatever keeps it from being run again.
    if folder.record().exists() {
        return;
    }
    if let Err(second) = run_folder::write_failure(folder, error) {
        tracing::warn!("a failure is not recorded: {}", error_chain(&second));
    }
}

/// Tells how a run ended.
pub(crate) fn report_end(
    watch: &dyn Watch,
    planned: &PlannedRun,
    result: &Result<FinishedRun, RunError>,
) {
    let ended = match result {
        Ok(FinishedRun { found: true, .. }) => Ended::Found,
        Ok(FinishedRun { record, .. }) => Ended::Done(record),
        Err(RunError::Interrupted) => Ended::Interrupted,
        Err(error) => Ended::Failed(error_chain(error)),
    };
    watch.end(&planned.full_name(), &ended);
}

/// What a panic said.
fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "nothing was said".into())
}
