//! Runs on a Slurm cluster: what is to be handed over, what a task does, and what has become of all.
//!
//! The plan is that of [`campaign`](crate::campaign), and so is what is done with a run; only who begins it differs. What a
//! hand-over consists of is the business of the crate `launcher`.

use std::{
    collections::BTreeMap,
    error::Error,
    fs,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use data_loaders::reasons;
use file_lock::lease::Seeker;
use launcher::{
    ended::{Ended, EndedFolder, How},
    profile::Profile,
    scheduler::{Scheduler, SchedulerError},
    state::State,
    submission::{
        self, Draft, EXPERIMENT_FILE, Kind, Order, SUBMISSIONS_DIR, Submission, SubmissionError,
        Task as ClusterTask, TaskStatus, Unanswered,
    },
};
use run_record::{EpochRow, RunFolder, read_rows};

use crate::{
    campaign::{Campaign, OnFailure, PlannedRun, Task, put_aside_if_stale, write_outline},
    encode::{Shard, encode_experiment},
    environment::program_sha256,
    plan::Experiment,
    progress::Watch,
    run::{Context, RunError},
    run_folder::{Inputs, RunState},
    run_lock::RunLock,
};

/// Folder of the copies of programs, below [`SUBMISSIONS_DIR`] beside the experiments.
const PROGRAMS_DIR: &str = "programs";

/// Name of a program's copy.
const PROGRAM: &str = "xtask";

/// How often it is tried to be the only one who hands runs over.
const PATIENCE: Duration = Duration::from_millis(100);

/// A cluster and how runs get there.
pub struct Cluster<'a> {
    /// Who is asked.
    pub scheduler: &'a dyn Scheduler,
    /// What tasks ask for.
    pub profile: &'a Profile,
    /// Settings on top of the experiment files.
    pub settings: &'a [String],
    /// Options of the command that a task calls: folders, device.
    pub arguments: &'a [String],
    /// Where relative paths begin.
    pub directory: &'a Path,
    /// Hand over what has failed before as well.
    pub retry_failed: bool,
    /// Hand over what can be run although other runs cannot.
    pub on_failure: OnFailure,
}

/// A run and what is known about it on the cluster.
#[derive(Debug, Clone)]
pub struct ClusterRun {
    /// The run, by its folder.
    pub planned: PlannedRun,
    /// Its last task, if it was ever handed over.
    pub task: Option<TaskStatus>,
    /// What handing over would do with it.
    pub next: Next,
}

impl ClusterRun {
    /// A word for it, and what is to be said of it: of its task, unless its folder knows better.
    pub fn words(&self) -> (&'static str, String) {
        let (own, remark) = self.planned.task.words();
        match &self.task {
            Some(task)
                if !matches!(self.next, Next::Done | Next::Impossible)
                    && task.state != State::Done =>
            {
                let remarks = [task.reason.as_str(), remark.as_str()];
                let mut said: Vec<&str> = Vec::new();
                for remark in remarks.into_iter().filter(|remark| !remark.is_empty()) {
                    // The folder of a run that failed says the same.
                    if !said.iter().any(|known| known.contains(remark)) {
                        said.push(remark);
                    }
                }
                (task.state.words(), said.join("; "))
            }
            _ => (own, remark),
        }
    }

    /// Whether it ended in another way than done, and its log may say why.
    pub fn has_more_in_its_log(&self) -> bool {
        let over =
            !matches!(self.next, Next::Done | Next::Waits | Next::Unknown | Next::Impossible);
        let said = |task: &TaskStatus| task.log.exists() && task.state != State::Done;
        over && self.task.as_ref().is_some_and(said)
    }
}

/// What handing over does with a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Nothing: it is done.
    Done,
    /// Nothing: the cluster has it.
    Waits,
    /// It is handed over.
    HandOver,
    /// Nothing, unless what has failed is to be tried again.
    FailedBefore,
    /// Nothing, whatever is asked for: Slurm does not answer, and may have it.
    Unknown,
    /// Nothing: it cannot be run.
    Impossible,
}

/// What is known about all runs of a campaign.
#[derive(Debug)]
pub struct ClusterView {
    /// Every run, in the order of the files.
    pub runs: Vec<ClusterRun>,
    /// Tasks that encode for runs which wait, and are not done; with the name of their experiment.
    pub encoding: Vec<(String, TaskStatus)>,
    /// What Slurm did not answer.
    pub unanswered: Unanswered,
}

/// What would be handed over.
#[derive(Debug)]
pub struct Shown {
    /// What is known about all runs.
    pub view: ClusterView,
    /// Every script with the command that hands it over.
    pub scripts: String,
    /// Why it is not known how large an array may be, where there is no Slurm.
    pub no_array_size: Option<SchedulerError>,
}

/// What was handed over for one experiment.
#[derive(Debug)]
pub struct HandedOver {
    /// Name of the experiment.
    pub experiment: String,
    /// Folder of the submission.
    pub folder: PathBuf,
    /// What it consists of.
    pub submission: Submission,
}

impl Campaign<'_> {
    /// What is known about every run, from run folders, Slurm, and what tasks left.
    ///
    /// # Errors
    ///
    /// [`RunError::Cluster`] if a submission cannot be read. That Slurm does not answer is none: the view says so.
    pub fn on_cluster(
        &self,
        scheduler: &dyn Scheduler,
        retry_failed: bool,
    ) -> Result<ClusterView, RunError> {
        let mut encoding = Vec::new();
        let mut unanswered = Unanswered::default();
        let mut tasks: BTreeMap<(usize, String), TaskStatus> = BTreeMap::new();
        for (place, experiment) in self.experiments.iter().enumerate() {
            let open = |job: &&PlannedRun| job.experiment == experiment.name && !job.is_done();
            let mut open: Vec<String> = self.plan().filter(open).map(PlannedRun::name).collect();
            // The last hand-over of a run counts. Of submissions that no open run needs Slurm is not asked.
            let submissions = submission::list(&self.submissions(experiment))?;
            for (folder, submission) in submissions.iter().rev() {
                let here: BTreeMap<&str, usize> = submission
                    .tasks
                    .iter()
                    .enumerate()
                    .map(|(at, task)| (&*task.run, at))
                    .collect();
                if !open.iter().any(|run| here.contains_key(run.as_str())) {
                    continue;
                }
                let status = submission.status(folder, scheduler, &mut unanswered);
                let (runs, encoders): (Vec<_>, Vec<_>) =
                    status.into_iter().partition(|task| task.kind == Kind::Runs);
                let mut awaited = false;
                let failed = encoders.iter().find(|task| task.state.is_failure());
                open.retain(|run| {
                    let Some(task) = here.get(run.as_str()).and_then(|&at| runs.get(at)) else {
                        return true;
                    };
                    awaited |= task.state != State::Done;
                    let mut task = task.clone();
                    if let Some(failed) = failed {
                        not_begun(&mut task, failed);
                    }
                    tasks.insert((place, run.clone()), task);
                    false
                });
                if awaited {
                    let unfinished = encoders.into_iter().filter(|task| task.state != State::Done);
                    encoding.extend(unfinished.map(|task| (experiment.name.clone(), task)));
                }
            }
        }
        let mut runs = Vec::with_capacity(self.jobs.len());
        for job in &self.jobs {
            let task = tasks.remove(&(job.experiment, job.planned.name()));
            let mut planned = job.planned.clone();
            // It may have ended since its folder was looked at.
            if job.ready().is_some() && task.as_ref().is_some_and(|task| !task.state.is_active()) {
                planned.task = Task::Known(self.look_again(job)?);
            }
            let next = next(&planned, task.as_ref(), retry_failed);
            runs.push(ClusterRun { planned, task, next });
        }
        Ok(ClusterView { runs, encoding, unanswered })
    }

    /// The scripts of what would be handed over, with the commands that do so. Nothing is written, and there need not be a
    /// Slurm: then arrays are as long as the profile says, and runs that were handed over before are left out.
    ///
    /// # Errors
    ///
    /// Why runs cannot begin; [`RunError::Cluster`] if a submission cannot be read.
    pub fn scripts(&mut self, cluster: &Cluster<'_>) -> Result<Shown, RunError> {
        let view = self.refuse_and_look(cluster)?;
        let (max_array_size, no_array_size) = match cluster.scheduler.max_array_size() {
            Ok(size) => (size, None),
            Err(error) => (usize::MAX, Some(error)),
        };
        let sha256 = known(program_sha256())?;
        let program = self.programs().join(sha256).join(PROGRAM);
        let (mut scripts, mut last) = (String::new(), None);
        for place in 0..self.experiments.len() {
            if let Some(draft) = self.draft(place, &view, cluster, &program, max_array_size)? {
                let draft = draft.after(last);
                scripts.push_str(&draft.shown());
                last = draft.last_job();
            }
        }
        Ok(Shown { view, scripts, no_array_size })
    }

    /// Hands over what neither is done nor waits, one submission for each experiment: the program and the experiment file
    /// are copied, so that later changes do not reach what waits.
    ///
    /// # Errors
    ///
    /// Why runs cannot begin, before anything is written; [`RunError::Cluster`] if something cannot be written or Slurm
    /// refuses. What was handed over before stays so.
    pub fn hand_over(&mut self, cluster: &Cluster<'_>) -> Result<Vec<HandedOver>, RunError> {
        let mut handed_over = Vec::new();
        // Before anything is written.
        refuse_silence(self.refuse_and_look(cluster)?)?;
        let max_array_size = cluster.scheduler.max_array_size().map_err(SubmissionError::from)?;
        for place in 0..self.experiments.len() {
            let experiment = &self.experiments[place];
            let root = self.submissions(experiment);
            let io = |path: &Path| {
                let path = path.to_owned();
                move |source| SubmissionError::Io { action: "prepare", path, source }
            };
            fs::create_dir_all(&root).map_err(io(&root))?;
            // One at a time, or two would hand over the same runs.
            let mut seeker = Seeker::new(&root.join("lease"));
            let _turn = loop {
                if let Some(lease) = seeker.try_take().map_err(io(&root))? {
                    break lease;
                }
                if self.context.stop.load(Ordering::Relaxed) {
                    return Err(RunError::Interrupted);
                }
                std::thread::sleep(PATIENCE);
            };
            // The one before may have handed them over meanwhile.
            let view = self.on_cluster(cluster.scheduler, cluster.retry_failed)?;
            let view = refuse_silence(view)?;
            let mine = |run: &&ClusterRun| {
                run.planned.experiment == experiment.name && run.next == Next::HandOver
            };
            if !view.runs.iter().any(|run| mine(&run)) {
                continue;
            }
            let store = self.programs();
            let sha256 = known(program_sha256())?;
            // Of a program that is replaced while it runs, the one that runs.
            let running = Path::new("/proc/self/exe");
            let own = match running.exists() {
                true => Ok(running.to_owned()),
                false => std::env::current_exe(),
            }
            .map_err(io(&store))?;
            let program = submission::pin(&own, PROGRAM, &sha256, &store)?;
            for (job, run) in self.jobs.iter().zip(&view.runs) {
                if !mine(&run) {
                    continue;
                }
                if let Some(ready) = job.ready()
                    && matches!(run.planned.task, Task::Known(RunState::Stale { .. }))
                {
                    let Some(_lock) = RunLock::take(&run.planned.folder, &self.context.stop)?
                    else {
                        return Err(RunError::Interrupted);
                    };
                    put_aside_if_stale(&run.planned, job.plan, ready.inputs())?;
                }
            }
            if let Some(job) = self.jobs.iter().find(|job| job.experiment == place) {
                write_outline(experiment, &job.planned.folder)?;
            }
            let draft = self.draft(place, &view, cluster, &program, max_array_size)?;
            let Some(draft) = draft else { continue };
            let last = handed_over.last().and_then(|over: &HandedOver| over.submission.jobs.last());
            let draft = draft.after(last.and_then(|job| job.id).map(|id| id.to_string()));
            let (folder, submission) = draft.hand_over(cluster.scheduler)?;
            handed_over.push(HandedOver {
                experiment: experiment.name.clone(),
                folder,
                submission,
            });
        }
        Ok(handed_over)
    }

    fn refuse_and_look(&mut self, cluster: &Cluster<'_>) -> Result<ClusterView, RunError> {
        if cluster.on_failure == OnFailure::Stop
            && let Some(error) = self.first_refusal()
        {
            return Err(error);
        }
        self.on_cluster(cluster.scheduler, cluster.retry_failed)
    }

    /// What is handed over for the experiment at a place; nothing if there is nothing.
    fn draft(
        &self,
        place: usize,
        view: &ClusterView,
        cluster: &Cluster<'_>,
        program: &Path,
        max_array_size: usize,
    ) -> Result<Option<Draft>, RunError> {
        let experiment = &self.experiments[place];
        let mut inputs: Vec<serde_json::Value> = Vec::new();
        let mut tasks = Vec::new();
        let mut stores = false;
        for (job, run) in self.jobs.iter().zip(&view.runs) {
            let Some(ready) = job.ready() else { continue };
            if job.experiment != place || run.next != Next::HandOver {
                continue;
            }
            let value = serde_json::to_value(ready.inputs()).map_err(|error| {
                let run = run.planned.full_name();
                RunError::InputsUnreadable { run, reason: error.to_string() }
            })?;
            // There are few: one for each backbone and choice of data.
            let known = inputs.iter().rposition(|known| *known == value);
            let at = known.unwrap_or_else(|| {
                inputs.push(value);
                inputs.len() - 1
            });
            stores |= job.plan.spec.data.feature_cache.precision().is_some();
            tasks.push(ClusterTask { run: run.planned.name(), inputs: at });
        }
        if tasks.is_empty() {
            return Ok(None);
        }
        let order = Order {
            experiment: &experiment.name,
            text: &experiment.text,
            settings: cluster.settings,
            program,
            directory: cluster.directory,
            arguments: cluster.arguments,
            profile: cluster.profile,
            tasks,
            inputs,
            encode_tasks: if stores { cluster.profile.encode_tasks as usize } else { 0 },
        };
        Ok(Some(Draft::new(&self.submissions(experiment), order, max_array_size)?))
    }

    /// An absolute path: a task begins elsewhere.
    fn runs_folder(&self) -> PathBuf {
        std::path::absolute(&self.context.runs).unwrap_or_else(|_| self.context.runs.clone())
    }

    fn submissions(&self, experiment: &Experiment) -> PathBuf {
        self.runs_folder().join(&experiment.name).join(SUBMISSIONS_DIR)
    }

    fn programs(&self) -> PathBuf {
        self.runs_folder().join(SUBMISSIONS_DIR).join(PROGRAMS_DIR)
    }
}

/// Without a checksum two builds would have one copy.
fn known(sha256: Option<String>) -> Result<String, SubmissionError> {
    sha256.ok_or(SubmissionError::Program)
}

/// Nothing is handed over where it is not known what was: it would be handed over twice.
fn refuse_silence(mut view: ClusterView) -> Result<ClusterView, SubmissionError> {
    match view.unanswered.queue.take() {
        Some(error) => Err(error.into()),
        None => Ok(view),
    }
}

/// A run that did not begin since its images could not be encoded has failed as that has: handed over again as it is, it
/// would not begin again.
fn not_begun(task: &mut TaskStatus, encoding: &TaskStatus) {
    if matches!(task.state, State::NotSubmitted | State::Cancelled | State::Lost) {
        let number = encoding.number;
        task.state = encoding.state;
        task.reason = format!("not begun, since encode {number} has failed: {}", encoding.reason);
    }
}

fn next(planned: &PlannedRun, task: Option<&TaskStatus>, retry_failed: bool) -> Next {
    let state = task.map(|task| task.state);
    match &planned.task {
        Task::Impossible(_) => Next::Impossible,
        Task::Known(RunState::Done { .. }) => Next::Done,
        _ if state.is_some_and(State::is_active) => Next::Waits,
        _ if state == Some(State::Unknown) => Next::Unknown,
        // With other settings than those that failed.
        Task::Known(RunState::Stale { .. }) => Next::HandOver,
        Task::Known(RunState::Failed { .. }) if !retry_failed => Next::FailedBefore,
        Task::Known(_) if !retry_failed && state.is_some_and(State::is_failure) => {
            Next::FailedBefore
        }
        Task::Known(_) => Next::HandOver,
    }
}

/// Which task this is.
pub struct Assignment<'a> {
    /// Folder of the submission.
    pub submission: &'a Path,
    /// What it does.
    pub kind: Kind,
    /// Its number.
    pub number: usize,
    /// Slurm's number of it.
    pub job: &'a str,
    /// How often Slurm has queued it again.
    pub tries: u32,
}

/// Does the work of a task, and leaves how it ended. One that was stopped, because its time is up or for another job, puts
/// itself back into the queue; it goes on from its last checkpoint, to the bytes that it would have had.
///
/// - `time_is_up`: set when Slurm has said that the time limit is near
/// - `say`: gets a line for the task's log that says how it ended, if no file can: its disk is full, or gone
///
/// # Errors
///
/// If the submission cannot be read.
pub fn work(
    assignment: &Assignment<'_>,
    context: &Context,
    scheduler: &dyn Scheduler,
    time_is_up: &AtomicBool,
    watch: &dyn Watch,
    say: &dyn Fn(&str),
) -> Result<Ended, RunError> {
    let folder = assignment.submission;
    let submission = Submission::read(folder)?;
    let task = assignment.kind.task(assignment.number);
    let left = EndedFolder::new(folder.join("ended"));
    let kept = |source: io::Error| SubmissionError::Io {
        action: "write",
        path: folder.join("ended"),
        source,
    };
    let run = match assignment.kind {
        Kind::Runs => submission.tasks.get(assignment.number),
        Kind::Encode => None,
    };
    let epochs = || run.map_or(0, |task| epochs_done(context, &submission.experiment, &task.run));
    let before = epochs();
    let performed = left
        .forget(&task)
        .map_err(|source| RunError::Cluster(kept(source)))
        .and_then(|()| perform(assignment, &submission, context, watch));
    let (how, reasons) = match performed {
        Ok(()) => (How::Done, Vec::new()),
        Err(RunError::Interrupted) => {
            let progressed = assignment.kind == Kind::Encode || epochs() > before;
            let time_is_up = time_is_up.load(Ordering::Relaxed);
            let limit = submission.profile.max_requeues;
            stopped(assignment, scheduler, time_is_up, progressed, limit)
        }
        Err(error) if is_disk_full(&error) => (How::DiskFull, reasons(&error)),
        Err(error) => (How::Failed, reasons(&error)),
    };
    let ended = Ended {
        job: assignment.job.to_owned(),
        tries: assignment.tries,
        node: file_lock::lease::host(),
        how,
        reasons,
    };
    let keep = |ended: &Ended| {
        if let Err(error) = left.write(&task, ended) {
            tracing::error!("{}", data_loaders::error_chain(&kept(error)));
            say(&ended.last_word());
        }
    };
    keep(&ended);
    if how == How::Interrupted && ended.reasons.is_empty() {
        // Last: it ends this process.
        if let Err(error) = patiently(|| scheduler.requeue(assignment.job)) {
            let reasons = vec!["Slurm did not queue it again".into(), error.to_string()];
            let ended = Ended { reasons, ..ended };
            keep(&ended);
            return Ok(ended);
        }
    }
    Ok(ended)
}

/// Before each further try. Together less than the half minute that Slurm grants a task which it ends.
const PAUSES: [Duration; 5] = [
    Duration::from_millis(100),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
];

/// Asks Slurm for some seconds: its controller may just be restarted.
fn patiently<T>(ask: impl Fn() -> Result<T, SchedulerError>) -> Result<T, SchedulerError> {
    for pause in PAUSES {
        match ask() {
            Ok(answer) => return Ok(answer),
            Err(error) => tracing::warn!("{error}; asked again"),
        }
        std::thread::sleep(pause);
    }
    ask()
}

fn perform(
    assignment: &Assignment<'_>,
    submission: &Submission,
    context: &Context,
    watch: &dyn Watch,
) -> Result<(), RunError> {
    let path = assignment.submission.join(EXPERIMENT_FILE);
    let experiment = Experiment::load(&path, &submission.settings)?;
    let number = assignment.number;
    if assignment.kind == Kind::Encode {
        let unknown = || RunError::UnknownRun { run: format!("encode {number}") };
        let shard = Shard::new(number, submission.encode_tasks).ok_or_else(unknown)?;
        for set in encode_experiment(&experiment, context, shard, None)? {
            let usage = set.usage;
            tracing::info!(
                "{} {}: {} images of this share, {} found, {} computed, {} left out",
                set.data,
                set.split,
                set.images,
                usage.found,
                usage.computed,
                set.skipped.len()
            );
        }
        return Ok(());
    }
    let unknown = |run: &str| RunError::UnknownRun { run: run.to_owned() };
    let task = submission.tasks.get(number).ok_or_else(|| unknown(&format!("task {number}")))?;
    let only = experiment.only(&task.run).ok_or_else(|| unknown(&task.run))?;
    let campaign = Campaign::open(std::slice::from_ref(&only), context)?;
    let expected = expected_inputs(submission, task)?;
    // A run that cannot begin says why when it is asked to.
    if let Some(ready) = campaign.jobs.first().and_then(|job| job.ready()) {
        refuse_changed(&expected, ready.inputs())?;
    }
    campaign.run(OnFailure::Stop, watch).map(drop)
}

/// Which weights and data a run was handed over with.
fn expected_inputs(submission: &Submission, task: &ClusterTask) -> Result<Inputs, RunError> {
    let unreadable = |reason: String| RunError::InputsUnreadable { run: task.run.clone(), reason };
    let stored = submission.inputs.get(task.inputs);
    let stored = stored.ok_or_else(|| unreadable(format!("there is no entry {}", task.inputs)))?;
    serde_json::from_value(stored.clone()).map_err(|error| unreadable(error.to_string()))
}

/// Weights and data are too large to be copied for each hand-over, so they are compared.
fn refuse_changed(expected: &Inputs, found: &Inputs) -> Result<(), RunError> {
    let all = |inputs: &Inputs| -> BTreeMap<String, String> {
        let data = inputs
            .data_sha256
            .iter()
            .map(|(set, sha256)| (format!("the data set `{set}`"), sha256.clone()));
        data.chain([("the weights file".to_owned(), inputs.weights_sha256.clone())]).collect()
    };
    let (expected, found) = (all(expected), all(found));
    let shown = |sha256: Option<&String>| sha256.cloned().unwrap_or_else(|| "nothing".into());
    for changed in expected.keys().chain(found.keys()) {
        let (expected, found) = (expected.get(changed), found.get(changed));
        if expected != found {
            let (expected, found) = (shown(expected), shown(found));
            return Err(RunError::InputsChanged { changed: changed.clone(), expected, found });
        }
    }
    Ok(())
}

/// What happens to a task that was stopped. Without a reason it is put back into the queue.
fn stopped(
    assignment: &Assignment<'_>,
    scheduler: &dyn Scheduler,
    time_is_up: bool,
    progressed: bool,
    max_requeues: u32,
) -> (How, Vec<String>) {
    let state = match patiently(|| scheduler.state_of(assignment.job)) {
        Ok(state) => state.unwrap_or_default(),
        Err(error) => {
            return (
                How::Interrupted,
                vec!["Slurm cannot be asked to queue it again".into(), error.to_string()],
            );
        }
    };
    let mut words = state.split_whitespace();
    let (word, reason) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let time_is_up = time_is_up || word == "TIMEOUT" || reason == "TimeLimit";
    match word {
        "CANCELLED" => {
            return (How::Cancelled, vec!["somebody cancelled it while it ran".into()]);
        }
        // Somebody has cancelled it, or Slurm queues it again by itself; the queue says which.
        "COMPLETING" if !time_is_up => return (How::Interrupted, vec!["ended by Slurm".into()]),
        "PENDING" | "REQUEUED" | "REQUEUE_HOLD" => {
            return (How::Interrupted, vec!["queued again by Slurm".into()]);
        }
        _ => {}
    }
    // The first try may have spent its time on images that are encoded now.
    if time_is_up && !progressed && assignment.tries > 0 {
        let reason = "the time was up before another epoch was done; it needs a longer `time`";
        return (How::TimedOut, vec![reason.into()]);
    }
    if assignment.tries >= max_requeues {
        let reason = format!("queued again {} times already (`max_requeues`)", assignment.tries);
        return (if time_is_up { How::TimedOut } else { How::Preempted }, vec![reason]);
    }
    (How::Interrupted, Vec::new())
}

fn epochs_done(context: &Context, experiment: &str, run: &str) -> usize {
    let folder = RunFolder::new(context.runs.join(experiment).join(run));
    read_rows::<EpochRow>(&folder.epochs())
        .ok()
        .and_then(|rows| Some(rows.last()?.epoch))
        .unwrap_or(0)
}

/// Whether no room on a disk is among the causes.
fn is_disk_full(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
        if matches!(kind, Some(ErrorKind::StorageFull | ErrorKind::QuotaExceeded)) {
            return true;
        }
        cause = error.source();
    }
    // Of some libraries only the text comes through.
    reasons(error).iter().any(|reason| reason.contains("No space left on device"))
}

#[cfg(test)]
mod tests {
    use launcher::fake::FakeScheduler;
    use run_record::Failure;

    use super::*;

    fn planned(state: RunState) -> PlannedRun {
        PlannedRun {
            experiment: "e".into(),
            method: "a".into(),
            seed: 1,
            folder: RunFolder::new("runs/e/a-seed1"),
            task: Task::Known(state),
        }
    }

    fn status(state: State) -> TaskStatus {
        TaskStatus {
            kind: Kind::Runs,
            number: 0,
            id: Some("1_0".into()),
            state,
            reason: String::new(),
            log: PathBuf::new(),
        }
    }

    #[test]
    fn only_what_is_missing_is_handed_over_and_failures_only_if_asked_for() {
        let failed = || RunState::Failed { failure: Failure { reasons: vec!["why".into()] } };
        let epochs = || RunState::Unfinished { epochs: 2 };
        let stale = || RunState::Stale { changed: Vec::new() };
        let done = || RunState::Done { same_program: None };
        let cases = [
            (RunState::ToDo, None, [Next::HandOver; 2]),
            (RunState::ToDo, Some(State::Pending), [Next::Waits; 2]),
            (epochs(), Some(State::Running), [Next::Waits; 2]),
            (failed(), Some(State::Pending), [Next::Waits; 2]),
            (epochs(), Some(State::Cancelled), [Next::HandOver; 2]),
            (epochs(), Some(State::NodeFailed), [Next::HandOver; 2]),
            (epochs(), Some(State::Lost), [Next::HandOver; 2]),
            (epochs(), Some(State::Unknown), [Next::Unknown; 2]),
            (failed(), Some(State::Unknown), [Next::Unknown; 2]),
            (stale(), Some(State::Unknown), [Next::Unknown; 2]),
            (done(), Some(State::Unknown), [Next::Done; 2]),
            (epochs(), Some(State::Killed), [Next::FailedBefore, Next::HandOver]),
            (RunState::ToDo, Some(State::OutOfMemory), [Next::FailedBefore, Next::HandOver]),
            (failed(), None, [Next::FailedBefore, Next::HandOver]),
            (stale(), Some(State::Failed), [Next::HandOver; 2]),
            (done(), Some(State::Lost), [Next::Done; 2]),
        ];
        for (state, task, expected) in cases {
            let (planned, task) = (planned(state), task.map(status));
            let found = [false, true].map(|retry| next(&planned, task.as_ref(), retry));
            assert_eq!(found, expected, "{:?} {task:?}", planned.task);
        }
    }

    #[test]
    fn a_run_is_called_what_its_task_is_and_a_reason_is_said_once() {
        let failure = Failure { reasons: vec!["no room".into()] };
        let planned = planned(RunState::Failed { failure });
        let mut task = status(State::DiskFull);
        task.reason = "cannot write: no room".into();
        let task = Some(task);
        let run = ClusterRun { planned, task, next: Next::FailedBefore };
        assert_eq!(run.words(), ("disk full", "cannot write: no room".into()));
        assert!(!run.has_more_in_its_log(), "there is no log");
        let run = ClusterRun { task: None, ..run };
        assert_eq!(run.words(), ("failed", "no room".into()));
    }

    #[test]
    fn what_happens_to_a_stopped_task_depends_on_who_stopped_it() {
        let fake = FakeScheduler::new(1001);
        let after = |state: &str, time_is_up: bool, progressed: bool, tries: u32| {
            fake.set_own("7", state);
            let assignment = Assignment {
                submission: Path::new(""),
                kind: Kind::Runs,
                number: 0,
                job: "7",
                tries,
            };
            let (how, reasons) = stopped(&assignment, &fake, time_is_up, progressed, 3);
            (how, reasons.is_empty())
        };
        let queued_again = (How::Interrupted, true);
        assert_eq!(after("RUNNING None", true, true, 0), queued_again);
        assert_eq!(
            after("RUNNING None", false, false, 2),
            queued_again,
            "another job needs its place"
        );
        assert_eq!(after("COMPLETING TimeLimit", false, true, 1), queued_again);
        assert_eq!(after("RUNNING None", true, false, 0), queued_again, "a first try");
        assert_eq!(after("RUNNING None", true, false, 1), (How::TimedOut, false));
        assert_eq!(after("RUNNING None", false, true, 3), (How::Preempted, false));
        assert_eq!(after("CANCELLED None", false, true, 0).0, How::Cancelled);
        assert_eq!(after("COMPLETING None", false, true, 0), (How::Interrupted, false));
        assert_eq!(after("PENDING BeginTime", false, true, 0), (How::Interrupted, false));
    }

    #[test]
    fn weights_and_data_that_changed_while_a_run_waited_are_refused() {
        let inputs = |weights: &str, data: &str| Inputs {
            weights_sha256: weights.into(),
            data_sha256: [("mine test".to_owned(), data.to_owned())].into(),
        };
        refuse_changed(&inputs("a", "b"), &inputs("a", "b")).expect("the same");
        let error = refuse_changed(&inputs("a", "b"), &inputs("a", "c")).expect_err("other data");
        let text = error.to_string();
        assert!(
            text.contains("`mine test` is not what it was") && text.contains("found c"),
            "{text}"
        );
        assert!(refuse_changed(&inputs("a", "b"), &inputs("x", "b")).is_err());
        let fewer = Inputs { weights_sha256: "a".into(), ..Inputs::default() };
        let gone = refuse_changed(&inputs("a", "b"), &fewer).expect_err("a set is gone");
        assert!(gone.to_string().contains("expected b, found nothing"), "{gone}");
        let new = refuse_changed(&fewer, &inputs("a", "b")).expect_err("a set more");
        assert!(new.to_string().contains("expected nothing, found b"), "{new}");
    }

    #[test]
    fn a_program_without_a_checksum_is_not_handed_over() {
        assert_eq!(known(Some("ab".into())).expect("known"), "ab");
        let error = known(None).expect_err("two builds would have one copy");
        assert!(error.to_string().contains("cannot read the file of this program"), "{error}");
    }

    #[test]
    fn a_full_disk_is_known_through_all_causes() {
        let full = SubmissionError::Io {
            action: "write",
            path: PathBuf::new(),
            source: atomic_file::explained(ErrorKind::StorageFull.into()),
        };
        assert!(is_disk_full(&RunError::Cluster(full)));
        assert!(!is_disk_full(&RunError::Interrupted));
    }
}
