//! One hand-over of runs to a cluster: what was handed over, and what has become of it.
//!
//! It lies in a folder of its own, `.slurm/<number>/` beside the run folders:
//!
//! | | |
//! | --- | --- |
//! | `submission.json` | a [`Submission`]; written before the first job, and again after each |
//! | `experiment.toml` | the experiment as it was then |
//! | `<job>.sh` | the scripts |
//! | `logs/` | what tasks say, a file each |
//! | `ended/` | how they ended |

use std::{
    error::Error,
    fs,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{
    ended::{Ended, EndedFolder, Logged},
    profile::Profile,
    scheduler::{QueuedTask, Scheduler, SchedulerError, by_task},
    script::{Array, Script, word},
    state::{State, judge, worth_keeping},
};

/// Version of `submission.json`.
pub const FORMAT_VERSION: u32 = 1;

/// Folder of the submissions of an experiment, beside its run folders.
pub const SUBMISSIONS_DIR: &str = ".slurm";

const FILE: &str = "submission.json";

/// Number of the last submission, also of one whose folder was removed: its tasks may still be there, and would write into
/// the folder of another.
const LAST: &str = "last";

/// The copy of the experiment.
pub const EXPERIMENT_FILE: &str = "experiment.toml";

/// What tasks of a job do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A share of the images goes through the encoder.
    Encode,
    /// One run each.
    Runs,
}

impl Kind {
    /// On the command line and in names of files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Encode => "encode",
            Self::Runs => "runs",
        }
    }

    /// Name of a task, in names of files.
    pub fn task(self, number: usize) -> String {
        format!("{}-{number}", self.name())
    }
}

/// What was handed over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Submission {
    /// [`FORMAT_VERSION`]
    pub format_version: u32,
    /// From 1, in the order of submissions of the experiment.
    pub number: usize,
    /// Name of the experiment.
    pub experiment: String,
    /// The copy of the program.
    pub program: PathBuf,
    /// Where the command was called, and where tasks begin.
    pub directory: PathBuf,
    /// Settings on top of the experiment file, `key=value`.
    pub settings: Vec<String>,
    /// Options that every task gets.
    pub arguments: Vec<String>,
    /// What tasks ask for.
    pub profile: Profile,
    /// Job arrays.
    pub jobs: Vec<Job>,
    /// Runs; a task each.
    pub tasks: Vec<Task>,
    /// What runs depend on besides their settings, each stored once; this crate does not look into it.
    pub inputs: Vec<serde_json::Value>,
    /// Tasks that the images are shared out to.
    pub encode_tasks: usize,
}

/// A job array.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// What its tasks do.
    pub kind: Kind,
    /// Its name, by which it is found in the queue among all jobs: experiment, number of the submission,
    /// beginning of a checksum of the folder's path (two folders of runs may have experiments of one name), kind, first task.
    pub name: String,
    /// Slurm's number; nothing before it was handed over.
    pub id: Option<u64>,
    /// Number of its first task.
    pub first: usize,
    /// How many.
    pub count: usize,
}

impl Job {
    fn placeholder(&self) -> String {
        format!("<{}>", self.name)
    }
}

/// A run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Name of its folder.
    pub run: String,
    /// Place in [`Submission::inputs`].
    pub inputs: usize,
}

/// Why there is no submission.
#[derive(Debug, thiserror::Error)]
pub enum SubmissionError {
    /// A file or folder cannot be read or written.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was to be done.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// `submission.json` is not one, or of another version of this program.
    #[error("not a submission that this version can read ({reason}): {}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The file of this program cannot be read.
    #[error("cannot read the file of this program, of which tasks get a copy")]
    Program,
    /// Slurm refuses or does not answer.
    #[error(transparent)]
    Scheduler(#[from] SchedulerError),
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SubmissionError {
    let path = path.to_owned();
    move |source| SubmissionError::Io { action, path, source }
}

/// What is to be handed over.
pub struct Order<'a> {
    /// Name of the experiment, which can be part of a file's name.
    pub experiment: &'a str,
    /// Its file.
    pub text: &'a str,
    /// See [`Submission::settings`].
    pub settings: &'a [String],
    /// The program, which nobody changes.
    pub program: &'a Path,
    /// See [`Submission::directory`].
    pub directory: &'a Path,
    /// See [`Submission::arguments`].
    pub arguments: &'a [String],
    /// See [`Profile`].
    pub profile: &'a Profile,
    /// See [`Submission::tasks`].
    pub tasks: Vec<Task>,
    /// See [`Submission::inputs`].
    pub inputs: Vec<serde_json::Value>,
    /// See [`Submission::encode_tasks`].
    pub encode_tasks: usize,
}

/// Characters of the checksum of a folder's path in the names of jobs.
const PLACE: usize = 8;

/// What tells the jobs of one folder of runs from those of others, whatever way a path to it takes.
fn place_of(root: &Path) -> String {
    // It may not be there yet: as much of it as is.
    let canonical: Option<PathBuf> = root.ancestors().find_map(|there| {
        let rest = root.strip_prefix(there).ok()?;
        // By its parts: an empty rest would add a separator.
        Some(fs::canonicalize(there).ok()?.components().chain(rest.components()).collect())
    });
    let path = canonical.unwrap_or_else(|| root.to_owned());
    let mut text = hex::encode(Sha256::digest(path.as_os_str().as_encoded_bytes()));
    text.truncate(PLACE);
    text
}

/// What is not known, or will be forgotten, of all that was asked.
#[derive(Debug, Default)]
pub struct Unanswered {
    /// What is wrong with Slurm's queue: what waits or runs is not known.
    pub queue: Option<SchedulerError>,
    /// What is wrong with its accounts: how some tasks ended is not known.
    pub accounts: Option<SchedulerError>,
    /// Why something that Slurm said could not be kept.
    pub kept: Option<SubmissionError>,
}

impl Unanswered {
    /// What is wrong, each in words.
    pub fn reasons(&self) -> Vec<String> {
        let in_full = |error: &dyn Error| {
            let cause = error.source().map(|cause| format!(": {cause}"));
            format!("{error}{}", cause.unwrap_or_default())
        };
        let silent = [&self.queue, &self.accounts].into_iter().flatten();
        let silent = silent.map(|error| format!("Slurm does not answer: {}", in_full(error)));
        let kept = self.kept.iter().map(|error| {
            format!("what Slurm says now may be forgotten in some minutes: {}", in_full(error))
        });
        silent.chain(kept).collect()
    }
}

/// A submission that nobody has yet: its jobs and their scripts.
pub struct Draft {
    folder: PathBuf,
    text: String,
    submission: Submission,
    scripts: Vec<Script>,
    /// Jobs that the first one waits for the end of.
    after: Option<String>,
}

impl Draft {
    /// Makes jobs and scripts of an order. Nothing is written.
    ///
    /// - `root`: folder of the experiment's submissions, an absolute path
    /// - `max_array_size`: most tasks that the cluster takes in one array
    ///
    /// # Errors
    ///
    /// If former submissions cannot be listed.
    pub fn new(
        root: &Path,
        order: Order<'_>,
        max_array_size: usize,
    ) -> Result<Self, SubmissionError> {
        let number = last_number(root)? + 1;
        let folder = root.join(number.to_string());
        let chunk = (order.profile.chunk.get() as usize).min(max_array_size).max(1);
        let place = place_of(root);
        let mut jobs = Vec::new();
        let mut add = |kind: Kind, tasks: usize| {
            for first in (0..tasks).step_by(chunk) {
                let count = chunk.min(tasks - first);
                let name = format!(
                    "promise-{}-{number}-{place}-{}-{first}",
                    order.experiment,
                    kind.name()
                );
                jobs.push(Job { kind, name, id: None, first, count });
            }
        };
        add(Kind::Encode, order.encode_tasks);
        add(Kind::Runs, order.tasks.len());
        let encoding = order.profile.for_encoding();
        let scripts = jobs.iter().map(|job| {
            let words = [
                order.program.display().to_string(),
                "slurm-task".into(),
                folder.display().to_string(),
            ];
            let mut command: Vec<String> = words.into();
            command.extend_from_slice(order.arguments);
            command.extend(["--kind".into(), job.kind.name().into(), "--task".into()]);
            let kind = format!("{}-", job.kind.name());
            let array = Array {
                job_name: &job.name,
                profile: if job.kind == Kind::Encode { &encoding } else { order.profile },
                directory: order.directory,
                log: &folder.join("logs").join(job.kind.name()),
                ended: &folder.join("ended"),
                kind: &kind,
                first: job.first,
                count: job.count,
                command: &command,
            };
            array.script()
        });
        let scripts = scripts.collect();
        let submission = Submission {
            format_version: FORMAT_VERSION,
            number,
            experiment: order.experiment.to_owned(),
            program: order.program.to_owned(),
            directory: order.directory.to_owned(),
            settings: order.settings.to_vec(),
            arguments: order.arguments.to_vec(),
            profile: order.profile.clone(),
            jobs,
            tasks: order.tasks,
            inputs: order.inputs,
            encode_tasks: order.encode_tasks,
        };
        Ok(Self { folder, text: order.text.to_owned(), submission, scripts, after: None })
    }

    /// Has it begin once another job has ended, if there is a limit on tasks at a time: Slurm keeps it for each array by
    /// itself.
    ///
    /// - `job`: number of the last job that was handed over before, or what stands for it
    pub fn after(mut self, job: Option<String>) -> Self {
        self.after = job.filter(|_| self.submission.profile.max_tasks.is_some());
        self
    }

    /// What stands for the number of its last job before it has one.
    pub fn last_job(&self) -> Option<String> {
        self.submission.jobs.last().map(Job::placeholder)
    }

    /// Every script with the command that hands it over. Numbers of jobs that are not known yet are names.
    pub fn shown(&self) -> String {
        let mut shown = String::new();
        for (place, script) in self.scripts.iter().enumerate() {
            let name = |at: usize| self.submission.jobs[at].placeholder();
            let dependency = self.dependency(place, &name);
            let path = self.folder.join(&script.name).display().to_string();
            let arguments = script.arguments.iter().chain(&dependency).chain([&path]);
            let arguments: Vec<String> = arguments.map(|argument| word(argument)).collect();
            shown.push_str(&format!("# sbatch {}\n{}\n", arguments.join(" "), script.text));
        }
        shown
    }

    /// What a job has to wait for: encoding, if there is any, has to succeed. With a limit on tasks at a time, which Slurm
    /// keeps for each array by itself, one array comes after the other.
    fn dependency(&self, place: usize, id: &dyn Fn(usize) -> String) -> Option<String> {
        let jobs = &self.submission.jobs;
        let kind = jobs[place].kind;
        let mut parts = Vec::new();
        if kind == Kind::Runs {
            let encoding: Vec<String> =
                (0..jobs.len()).filter(|&at| jobs[at].kind == Kind::Encode).map(id).collect();
            if !encoding.is_empty() {
                parts.push(format!("afterok:{}", encoding.join(":")));
            }
        }
        let limited = self.submission.profile.max_tasks.is_some();
        match &self.after {
            Some(before) if place == 0 => parts.push(format!("afterany:{before}")),
            _ if limited && place > 0 && jobs[place - 1].kind == kind => {
                parts.push(format!("afterany:{}", id(place - 1)));
            }
            _ => {}
        }
        (!parts.is_empty()).then(|| format!("--dependency={}", parts.join(",")))
    }

    /// Writes everything and hands the jobs over, in order. What was handed over is written down after each job.
    ///
    /// # Errors
    ///
    /// If a file cannot be written, or Slurm refuses a job: those before it are handed over, and a later submission has
    /// the rest.
    pub fn hand_over(
        mut self,
        scheduler: &dyn Scheduler,
    ) -> Result<(PathBuf, Submission), SubmissionError> {
        let folder = &self.folder;
        if let Some(root) = folder.parent() {
            fs::create_dir_all(root).map_err(failed("make", root))?;
            let path = root.join(LAST);
            let number = self.submission.number.to_string();
            atomic_file::write(&path, number.as_bytes()).map_err(failed("write", &path))?;
        }
        for part in ["logs", "ended"] {
            let path = folder.join(part);
            fs::create_dir_all(&path).map_err(failed("make", &path))?;
        }
        let write = |name: &str, bytes: &[u8]| {
            let path = folder.join(name);
            atomic_file::write(&path, bytes).map_err(failed("write", &path))
        };
        write(EXPERIMENT_FILE, self.text.as_bytes())?;
        for script in &self.scripts {
            write(&script.name, script.text.as_bytes())?;
        }
        self.submission.write(folder)?;
        for place in 0..self.scripts.len() {
            let id = |at: usize| self.submission.jobs[at].id.unwrap_or_default().to_string();
            let dependency = self.dependency(place, &id);
            let script = &self.scripts[place];
            let mut arguments = script.arguments.clone();
            arguments.extend(dependency);
            let id = scheduler.submit(&self.folder.join(&script.name), &arguments)?;
            self.submission.jobs[place].id = Some(id);
            self.submission.write(&self.folder)?;
        }
        Ok((self.folder, self.submission))
    }
}

const NO_QUEUE: &str = "Slurm's queue does not answer: it may wait or run";
const NO_ACCOUNTS: &str =
    "not in the queue, and Slurm's accounts do not answer: how it ended is not known";

/// Asks Slurm, unless it did not answer before.
fn ask(
    unanswered: &mut Option<SchedulerError>,
    question: impl FnOnce() -> Result<Vec<QueuedTask>, SchedulerError>,
) -> Vec<QueuedTask> {
    if unanswered.is_some() {
        return Vec::new();
    }
    question().unwrap_or_else(|error| {
        *unanswered = Some(error);
        Vec::new()
    })
}

/// A task with what has become of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskStatus {
    /// What it does.
    pub kind: Kind,
    /// Its number within the submission and kind.
    pub number: usize,
    /// Slurm's name, `<job>_<place>`; nothing before it was handed over.
    pub id: Option<String>,
    /// In one word.
    pub state: State,
    /// Why.
    pub reason: String,
    /// What it says, if it has begun.
    pub log: PathBuf,
}

impl Submission {
    /// Reads `submission.json` of a folder.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or is none.
    pub fn read(folder: &Path) -> Result<Self, SubmissionError> {
        let path = folder.join(FILE);
        let bytes = fs::read(&path).map_err(failed("read", &path))?;
        let parse = |reason: String| SubmissionError::Parse { path: path.clone(), reason };
        let submission: Self =
            serde_json::from_slice(&bytes).map_err(|error| parse(error.to_string()))?;
        if submission.format_version != FORMAT_VERSION {
            return Err(parse(format!("version {}", submission.format_version)));
        }
        Ok(submission)
    }

    fn write(&self, folder: &Path) -> Result<(), SubmissionError> {
        let path = folder.join(FILE);
        let bytes = serde_json::to_vec(self)
            .map_err(|error| failed("write", &path)(io::Error::from(error)))?;
        atomic_file::write(&path, &bytes).map_err(failed("write", &path))
    }

    /// What has become of every task, in order: encoding first. What only Slurm knows, and soon forgets, is kept in the
    /// folder.
    ///
    /// Where Slurm does not answer, tasks that it may have are [`State::Unknown`].
    ///
    /// - `unanswered`: what Slurm did not answer, and what could not be kept; who does not answer is not asked again
    pub fn status(
        &self,
        folder: &Path,
        scheduler: &dyn Scheduler,
        unanswered: &mut Unanswered,
    ) -> Vec<TaskStatus> {
        let names: Vec<String> = self.jobs.iter().map(|job| job.name.clone()).collect();
        let queued = ask(&mut unanswered.queue, || scheduler.queue(&names));
        // Handed over by a process that was killed before it could write that down.
        let id_of = |job: &Job| {
            job.id.or_else(|| {
                queued.iter().find(|task| task.job_name == job.name).map(|task| task.job)
            })
        };
        let ids: Vec<Option<u64>> = self.jobs.iter().map(id_of).collect();
        let queue = by_task(queued);
        let known: Vec<u64> = ids.iter().flatten().copied().collect();
        let total: usize = self.jobs.iter().map(|job| job.count).sum();
        let accounts = match queue.len() {
            all if all == total => Vec::new(),
            _ => ask(&mut unanswered.accounts, || scheduler.accounts(&known)),
        };
        let accounts = by_task(accounts);
        let (no_queue, no_accounts) = (unanswered.queue.is_some(), unanswered.accounts.is_some());
        let left = EndedFolder::new(folder.join("ended"));
        let mut all = Vec::with_capacity(total);
        for (job, id) in self.jobs.iter().zip(ids) {
            for index in 0..job.count {
                let number = job.first + index;
                let name = job.kind.task(number);
                let Some(id) = id else {
                    // Without a queue nobody can say whether a job of that name was handed over.
                    let (state, reason) = match no_queue {
                        true => (State::Unknown, NO_QUEUE.into()),
                        false => (State::NotSubmitted, String::new()),
                    };
                    all.push(TaskStatus {
                        kind: job.kind,
                        number,
                        id: None,
                        state,
                        reason,
                        log: PathBuf::new(),
                    });
                    continue;
                };
                let slurm = queue.get(&(id, index)).or_else(|| accounts.get(&(id, index)));
                let slurm = slurm.map(|(word, reason)| (word.as_str(), reason.as_str()));
                let log = folder.join("logs").join(format!("{}-{id}_{index}.log", job.kind.name()));
                let logged = Logged::read(&log);
                let ended = left.read(&name, &logged);
                let (mut state, mut reason) = judge(slurm, ended.as_ref(), logged.slurm.as_ref());
                if no_queue && state != State::Done {
                    // Whatever it was the last time, it may wait or run.
                    let former = if state == State::Lost { String::new() } else { reason };
                    let former = Some(former).filter(|former| !former.is_empty());
                    let former = former.map(|former| format!("; the last that is known: {former}"));
                    reason = format!("{NO_QUEUE}{}", former.unwrap_or_default());
                    state = State::Unknown;
                } else if no_accounts
                    && slurm.is_none()
                    && matches!(state, State::Lost | State::Interrupted)
                {
                    (state, reason) = (State::Unknown, NO_ACCOUNTS.into());
                } else if state == State::Lost && !log.exists() {
                    // Of a task that is cancelled before it begins Slurm keeps nothing, not even for minutes.
                    (state, reason) = (State::Cancelled, "before it had begun".into());
                }
                let known_how = ended.as_ref().map(|ended| ended.how);
                // What was concluded from Slurm's silence will be concluded again, or Slurm will know better.
                let by_slurm = worth_keeping(state).filter(|_| slurm.is_some());
                if let Some(how) = by_slurm.filter(|&how| known_how != Some(how)) {
                    let (job, tries) = ended.map_or_else(
                        || (format!("{id}_{index}"), 0),
                        |ended| (ended.job, ended.tries),
                    );
                    let reasons = Some(reason.clone()).filter(|reason| !reason.is_empty());
                    let kept = Ended {
                        job,
                        tries,
                        node: String::new(),
                        how,
                        reasons: reasons.into_iter().collect(),
                    };
                    if let Err(error) = left.write(&name, &kept) {
                        unanswered.kept = Some(failed("write below", folder)(error));
                    }
                }
                all.push(TaskStatus {
                    kind: job.kind,
                    number,
                    id: Some(format!("{id}_{index}")),
                    state,
                    reason,
                    log,
                });
            }
        }
        all
    }
}

/// The submissions of an experiment, oldest first.
///
/// # Errors
///
/// If one cannot be read. One that was being made when its process was killed is none.
pub fn list(root: &Path) -> Result<Vec<(PathBuf, Submission)>, SubmissionError> {
    let folders = numbers(root)?.into_iter().map(|number| root.join(number.to_string()));
    folders
        .filter(|folder| folder.join(FILE).exists())
        .map(|folder| Ok((folder.clone(), Submission::read(&folder)?)))
        .collect()
}

/// 0 before the first.
fn last_number(root: &Path) -> Result<usize, SubmissionError> {
    let path = root.join(LAST);
    let kept = match fs::read_to_string(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => 0,
        text => text.map_err(failed("read", &path))?.trim().parse().unwrap_or(0),
    };
    Ok(numbers(root)?.last().map_or(kept, |&last| last.max(kept)))
}

fn numbers(root: &Path) -> Result<Vec<usize>, SubmissionError> {
    let entries = match fs::read_dir(root) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed("list", root))?,
    };
    let mut numbers = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed("list", root))?;
        numbers.extend(entry.file_name().to_str().and_then(|name| name.parse::<usize>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// A copy of a file that nobody changes, by its content: `<store>/<sha256>/<name>`. Made unless it is there.
///
/// # Errors
///
/// If it cannot be copied.
pub fn pin(
    file: &Path,
    name: &str,
    sha256: &str,
    store: &Path,
) -> Result<PathBuf, SubmissionError> {
    let folder = store.join(sha256);
    let pinned = folder.join(name);
    if pinned.exists() {
        return Ok(pinned);
    }
    fs::create_dir_all(&folder).map_err(failed("make", &folder))?;
    let partial = folder.join(format!(".{name}.{}.partial", std::process::id()));
    // Copying keeps the right to execute.
    let copied = fs::copy(file, &partial)
        .and_then(|_| fs::File::open(&partial)?.sync_all())
        .and_then(|()| fs::rename(&partial, &pinned))
        .and_then(|()| atomic_file::sync_parent(&pinned));
    if let Err(error) = copied {
        // The first error is the one to report.
        let _ = fs::remove_file(&partial);
        return Err(failed("copy the program to", &pinned)(atomic_file::explained(error)));
    }
    Ok(pinned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ended::How, fake::FakeScheduler};

    fn order<'a>(profile: &'a Profile, runs: usize, encode_tasks: usize) -> Order<'a> {
        Order {
            experiment: "points",
            text: "name = \"points\"\n",
            settings: &[],
            program: Path::new("/pinned/xtask"),
            directory: Path::new("/home/a"),
            arguments: &[],
            profile,
            tasks: (0..runs).map(|run| Task { run: format!("a-seed{run}"), inputs: 0 }).collect(),
            inputs: vec![serde_json::Value::Null],
            encode_tasks,
        }
    }

    #[test]
    fn an_order_becomes_arrays_that_the_cluster_takes_and_runs_wait_for_encoding() {
        let folder = tempfile::tempdir().expect("a folder");
        let profile = Profile { max_tasks: std::num::NonZeroU32::new(2), ..Profile::default() };
        let fake = FakeScheduler::new(4);
        let draft = Draft::new(folder.path(), order(&profile, 10, 3), 4).expect("a draft");
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0, "nothing is written");
        let place = place_of(folder.path());
        let dependency = format!("--dependency=afterok:<promise-points-1-{place}-encode-0>");
        assert!(draft.shown().contains(&dependency), "{}", draft.shown());
        let (root, submission) = draft.hand_over(&fake).expect("handed over");
        assert_eq!(Submission::read(&root).expect("written"), submission);
        let arguments: Vec<String> = fake
            .submitted()
            .iter()
            .map(|arguments| {
                let wanted = |argument: &&String| {
                    argument.starts_with("--array") || argument.starts_with("--dep")
                };
                arguments.iter().filter(wanted).cloned().collect::<Vec<_>>().join(" ")
            })
            .collect();
        assert_eq!(
            arguments,
            [
                "--array=0-2%2",
                "--array=0-3%2 --dependency=afterok:1",
                "--array=0-3%2 --dependency=afterok:1,afterany:2",
                "--array=0-1%2 --dependency=afterok:1,afterany:3",
            ]
        );
        let next = Draft::new(folder.path(), order(&profile, 1, 0), 4).expect("a draft");
        assert_eq!(next.submission.number, 2);
        // Its tasks may still be there.
        fs::remove_dir_all(&root).expect("removed");
        let next = Draft::new(folder.path(), order(&profile, 1, 0), 4).expect("a draft");
        assert_eq!(next.submission.number, 2);
        let spaced = Draft::new(&folder.path().join("it's a"), order(&profile, 1, 0), 4);
        let shown = spaced.expect("a draft").shown();
        let line = shown.lines().next().expect("a command").trim_start_matches("# sbatch ");
        let words = std::process::Command::new("sh")
            .args(["-c", &format!("printf '%s\\n' {line}")])
            .output()
            .expect("a shell");
        let words = String::from_utf8_lossy(&words.stdout).into_owned();
        assert_eq!(words.lines().count(), 4, "{words}");
        assert!(words.contains("/it's a/1/"), "{words}");
        // What one command hands over besides comes after it, so that the limit holds for both; without a limit it need not.
        let dependencies = |profile: &Profile, encode_tasks| {
            let draft = Draft::new(folder.path(), order(profile, 10, encode_tasks), 4);
            let draft = draft.expect("a draft").after(Some("9".into()));
            let id = |at: usize| at.to_string();
            (0..draft.scripts.len()).map(|at| draft.dependency(at, &id)).collect::<Vec<_>>()
        };
        let chained = dependencies(&profile, 3);
        assert_eq!(chained[0].as_deref(), Some("--dependency=afterany:9"));
        assert_eq!(chained[1].as_deref(), Some("--dependency=afterok:0"));
        assert_eq!(dependencies(&profile, 0)[0].as_deref(), Some("--dependency=afterany:9"));
        assert_eq!(dependencies(&Profile::default(), 0), [None, None, None]);
    }

    #[test]
    fn jobs_of_two_folders_of_runs_have_different_names_and_those_of_one_the_same() {
        let folder = tempfile::tempdir().expect("a folder");
        let profile = Profile::default();
        let name = |root: &Path| {
            let draft = Draft::new(root, order(&profile, 1, 0), 1001).expect("a draft");
            draft.submission.jobs[0].name.clone()
        };
        let [here, there] = ["here", "there"].map(|name| folder.path().join(name));
        // The same before the folder is there and after.
        let before = name(&here.join(SUBMISSIONS_DIR));
        fs::create_dir_all(here.join(SUBMISSIONS_DIR)).expect("made");
        assert_eq!(before, name(&here.join(SUBMISSIONS_DIR)));
        assert_ne!(before, name(&there.join(SUBMISSIONS_DIR)));
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(&here, &there).expect("a link");
            assert_eq!(before, name(&there.join(SUBMISSIONS_DIR)));
        }
        // In the queue, a job of the other folder is not taken for one whose number was not written down.
        let fake = FakeScheduler::new(1001);
        let elsewhere = folder.path().join("elsewhere");
        let hand_over = |root: &Path| {
            let draft = Draft::new(root, order(&profile, 1, 0), 1001).expect("a draft");
            draft.hand_over(&fake).expect("handed over")
        };
        hand_over(&elsewhere);
        let (root, mut submission) = hand_over(&here);
        fake.forget(2);
        submission.jobs[0].id = None;
        let all = submission.status(&root, &fake, &mut Unanswered::default());
        assert_eq!(all[0].state, State::NotSubmitted);
    }

    #[test]
    fn what_slurm_does_not_answer_is_unknown_and_not_lost() {
        let folder = tempfile::tempdir().expect("a folder");
        let profile = Profile::default();
        let fake = FakeScheduler::new(1001);
        let draft = Draft::new(folder.path(), order(&profile, 3, 0), 1001).expect("a draft");
        let (root, mut submission) = draft.hand_over(&fake).expect("handed over");
        let left = EndedFolder::new(root.join("ended"));
        let ended = |how| Ended {
            job: "5".into(),
            tries: 0,
            node: String::new(),
            how,
            reasons: vec!["why".into()],
        };
        left.write("runs-1", &ended(How::Done)).expect("written");
        left.write("runs-2", &ended(How::Failed)).expect("written");
        let states = |submission: &Submission| {
            let mut unanswered = Unanswered::default();
            let all = submission.status(&root, &fake, &mut unanswered);
            let states: Vec<State> = all.iter().map(|task| task.state).collect();
            (states, unanswered.reasons().join(", "), all[2].reason.clone())
        };
        fake.silence(&["squeue"]);
        let (found, reasons, last) = states(&submission);
        // It may have been queued again by hand.
        assert_eq!(found, [State::Unknown, State::Done, State::Unknown]);
        assert!(last.contains("the last that is known: why"), "{last}");
        assert!(
            reasons.contains("`squeue` failed (exit status: 1): Unable to contact"),
            "{reasons}"
        );
        let id = submission.jobs[0].id.take();
        assert_eq!(states(&submission).0, [State::Unknown; 3]);
        submission.jobs[0].id = id;

        fake.silence(&["sacct"]);
        fake.forget(1);
        let (found, reasons, _) = states(&submission);
        assert_eq!(found, [State::Unknown, State::Done, State::Failed]);
        assert!(reasons.contains("`sacct` failed (exit status: 1)"), "{reasons}");
        fake.silence(&[]);
        fake.set_account(1, 0, "OUT_OF_MEMORY", "exit code 0:125");
        let (found, reasons, _) = states(&submission);
        assert_eq!(found, [State::OutOfMemory, State::Done, State::Failed]);
        assert_eq!(reasons, "");
        // Kept, for when the accounts are gone.
        assert_eq!(left.read("runs-0", &Logged::default()).expect("kept").how, How::OutOfMemory);
    }

    #[test]
    fn what_slurm_forgets_is_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let profile = Profile::default();
        let fake = FakeScheduler::new(1001);
        let draft = Draft::new(folder.path(), order(&profile, 3, 0), 1001).expect("a draft");
        let (root, submission) = draft.hand_over(&fake).expect("handed over");
        let states = || -> Vec<State> {
            let all = submission.status(&root, &fake, &mut Unanswered::default());
            all.iter().map(|task| task.state).collect()
        };
        assert_eq!(states(), [State::Pending; 3]);
        fake.set(1, 0, "RUNNING", "");
        fake.set(1, 1, "CANCELLED", "");
        fake.set(1, 2, "NODE_FAIL", "n7 not responding");
        assert_eq!(states(), [State::Running, State::Cancelled, State::NodeFailed]);
        // Only of one that has begun there is a log.
        fs::write(root.join("logs/runs-1_0.log"), "begins\n").expect("written");
        fake.forget(1);
        assert_eq!(states(), [State::Lost, State::Cancelled, State::NodeFailed]);
        fs::remove_file(root.join("logs/runs-1_0.log")).expect("removed");
        assert_eq!(states()[0], State::Cancelled, "before it had begun");
        // That was a conclusion, and the accounts may be late.
        fake.set_account(1, 0, "TIMEOUT", "");
        assert_eq!(states()[0], State::TimedOut);
        let left = EndedFolder::new(root.join("ended"));
        assert_eq!(
            left.read("runs-2", &Logged::default()).expect("kept").reasons,
            ["Slurm says that its machine failed (n7 not responding)"]
        );
        assert_eq!(left.read("runs-1", &Logged::default()).expect("kept").how, How::Cancelled);
    }

    #[test]
    fn a_job_whose_number_was_not_written_down_is_found_by_its_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let profile = Profile::default();
        let fake = FakeScheduler::new(1001);
        let draft = Draft::new(folder.path(), order(&profile, 2, 0), 1001).expect("a draft");
        let (root, mut submission) = draft.hand_over(&fake).expect("handed over");
        submission.jobs[0].id = None;
        let all = submission.status(&root, &fake, &mut Unanswered::default());
        assert_eq!(all[1].id.as_deref(), Some("1_1"));
        fake.forget(1);
        let all = submission.status(&root, &fake, &mut Unanswered::default());
        assert_eq!(all[1].state, State::NotSubmitted);
    }

    #[test]
    fn a_job_that_slurm_refuses_leaves_those_before_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let profile =
            Profile { chunk: std::num::NonZeroU32::new(2).expect("two"), ..Profile::default() };
        let fake = FakeScheduler::new(1001);
        fake.refuse_after(1);
        let draft = Draft::new(folder.path(), order(&profile, 4, 0), 1001).expect("a draft");
        assert!(draft.hand_over(&fake).is_err());
        let (root, submission) = list(folder.path()).expect("readable").remove(0);
        let all = submission.status(&root, &fake, &mut Unanswered::default());
        let states: Vec<State> = all.iter().map(|task| task.state).collect();
        assert_eq!(states[..2], [State::Pending; 2]);
        assert_eq!(states[2..], [State::NotSubmitted; 2]);
    }

    #[test]
    fn a_pinned_file_stays_what_it_was() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("program");
        fs::write(&file, "one").expect("written");
        let store = folder.path().join("store");
        let pinned = pin(&file, "xtask", "ab", &store).expect("copied");
        fs::write(&file, "two").expect("written");
        assert_eq!(pin(&file, "xtask", "ab", &store).expect("there"), pinned);
        assert_eq!(fs::read_to_string(&pinned).expect("a copy"), "one");
        assert_eq!(fs::read_dir(store.join("ab")).expect("a folder").count(), 1);
    }
}
