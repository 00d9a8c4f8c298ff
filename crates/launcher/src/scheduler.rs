//! Talking to Slurm, through its own commands.

use std::{
    collections::BTreeMap,
    env,
    io::ErrorKind,
    path::Path,
    process::{Command, Output},
};

/// What is asked of a cluster.
pub trait Scheduler {
    /// Hands a script over and gives the number of the job.
    ///
    /// # Errors
    ///
    /// If the cluster refuses.
    fn submit(&self, script: &Path, arguments: &[String]) -> Result<u64, SchedulerError>;

    /// The tasks of jobs with these names that the cluster still knows, also those that have just ended.
    ///
    /// # Errors
    ///
    /// If the cluster does not answer.
    fn queue(&self, job_names: &[String]) -> Result<Vec<QueuedTask>, SchedulerError>;

    /// What the cluster has written down about the tasks of some jobs; empty where it keeps no accounts.
    ///
    /// # Errors
    ///
    /// If the cluster keeps accounts and does not answer.
    fn accounts(&self, jobs: &[u64]) -> Result<Vec<QueuedTask>, SchedulerError>;

    /// State and reason (`COMPLETING TimeLimit`) of one task by the number that the task itself has; nothing if it is not
    /// known any more.
    ///
    /// # Errors
    ///
    /// If the cluster does not answer.
    fn state_of(&self, job: &str) -> Result<Option<String>, SchedulerError>;

    /// Puts a task that runs back into the queue, which ends it.
    ///
    /// # Errors
    ///
    /// If the cluster refuses.
    fn requeue(&self, job: &str) -> Result<(), SchedulerError>;

    /// Most tasks of a job array.
    ///
    /// # Errors
    ///
    /// If the cluster does not answer.
    fn max_array_size(&self) -> Result<usize, SchedulerError>;
}

/// A task as a cluster shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuedTask {
    /// Number of the job array.
    pub job: u64,
    /// Name of the job; empty in accounts.
    pub job_name: String,
    /// Place in the array.
    pub index: usize,
    /// Slurm's word, e.g. `PENDING`.
    pub state: String,
    /// Why it is pending, or how it ended.
    pub reason: String,
}

/// Why a cluster cannot be talked to.
#[derive(Debug, thiserror::Error)]
pub enum SchedulerError {
    /// A command of Slurm cannot be started.
    #[error("cannot start `{command}`; is this a machine of a Slurm cluster?")]
    Start {
        /// The command.
        command: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// A command of Slurm ended with an error.
    #[error("`{command}` failed ({status}): {said}")]
    Failed {
        /// The command.
        command: String,
        /// `exit status: 1`, or the signal that ended it.
        status: String,
        /// Its last words.
        said: String,
    },
    /// The job went to another cluster than the one that is asked about it.
    #[error(
        "`sbatch` gave job {job} to the cluster `{cluster}`, and only the cluster that this machine belongs to is asked \
         about jobs: leave out `--clusters`, `-M` and SLURM_CLUSTERS. {undone}"
    )]
    OtherCluster {
        /// Number of the job there.
        job: u64,
        /// The cluster.
        cluster: String,
        /// Whether it was cancelled.
        undone: String,
    },
    /// An answer that is not understood.
    #[error("`{command}` answered {answer:?}, which is not understood")]
    Answer {
        /// The command.
        command: &'static str,
        /// What it said.
        answer: String,
    },
}

/// Slurm's command line tools (22.05 and later).
#[derive(Debug, Default)]
pub struct Slurm;

impl Slurm {
    fn run(command: &'static str, arguments: &[String]) -> Result<Output, SchedulerError> {
        let mut process = Command::new(command);
        // A translated or colored answer could not be read.
        process.args(arguments).env("LC_ALL", "C");
        // They filter answers, and come before the options in a script.
        let names = env::vars_os().map(|(name, _)| name);
        for name in names.filter(|name| is_option(&name.to_string_lossy())) {
            process.env_remove(name);
        }
        process.output().map_err(|source| SchedulerError::Start { command, source })
    }

    fn call(command: &'static str, arguments: &[String]) -> Result<String, SchedulerError> {
        answer(command, arguments, Self::run(command, arguments)?)
    }
}

/// Whether a variable is an option of one of the commands.
fn is_option(variable: &str) -> bool {
    ["SQUEUE_", "SACCT_", "SBATCH_", "SCANCEL_"].iter().any(|of| variable.starts_with(of))
}

/// Number of the job in an answer of `sbatch`, and the name of its cluster if that is another: `<job>` or
/// `<job>;<cluster>`.
fn submitted(answer: &str) -> Option<(u64, Option<&str>)> {
    let answer = answer.trim();
    let (job, cluster) = match answer.split_once(';') {
        Some((job, cluster)) => (job, Some(cluster)),
        None => (answer, None),
    };
    Some((job.parse().ok()?, cluster))
}

/// Last lines of a command that failed which are worth repeating.
const LAST_WORDS: usize = 3;

/// What a command answered, if it did not fail.
fn answer(command: &str, arguments: &[String], output: Output) -> Result<String, SchedulerError> {
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(SchedulerError::Failed {
        command: format!("{command} {}", arguments.join(" ")),
        status: output.status.to_string(),
        said: last_words(&output),
    })
}

fn last_words(output: &Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = errors.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    match lines.as_slice() {
        [] => "it said nothing".into(),
        lines => lines[lines.len().saturating_sub(LAST_WORDS)..].join("; "),
    }
}

/// What `sacct` says where a cluster keeps no accounts.
const NO_ACCOUNTS: &str = "accounting storage is disabled";

impl Scheduler for Slurm {
    fn submit(&self, script: &Path, arguments: &[String]) -> Result<u64, SchedulerError> {
        let mut all = vec!["--parsable".to_owned()];
        all.extend_from_slice(arguments);
        all.push(script.display().to_string());
        let answer = Self::call("sbatch", &all)?;
        let Some((job, cluster)) = submitted(&answer) else {
            return Err(SchedulerError::Answer { command: "sbatch", answer });
        };
        let Some(cluster) = cluster else { return Ok(job) };
        // Nobody would find it there again, and the next hand-over would hand its runs over once more.
        let cancel = [format!("--clusters={cluster}"), job.to_string()];
        let undone = match Self::call("scancel", &cancel) {
            Ok(_) => "It was cancelled".to_owned(),
            Err(error) => format!("It is still there: {error}"),
        };
        Err(SchedulerError::OtherCluster { job, cluster: cluster.to_owned(), undone })
    }

    fn queue(&self, job_names: &[String]) -> Result<Vec<QueuedTask>, SchedulerError> {
        if job_names.is_empty() {
            return Ok(Vec::new());
        }
        let arguments = [
            "--noheader".into(),
            "--array".into(),
            "--states=all".into(),
            // Of all users: several may share a folder of runs, and names of jobs are of one folder each.
            format!("--name={}", job_names.join(",")),
            "--format=%F|%K|%T|%j|%r".into(),
        ];
        read_lines("squeue", &Self::call("squeue", &arguments)?, queue_line)
    }

    fn accounts(&self, jobs: &[u64]) -> Result<Vec<QueuedTask>, SchedulerError> {
        if jobs.is_empty() {
            return Ok(Vec::new());
        }
        let jobs: Vec<String> = jobs.iter().map(u64::to_string).collect();
        let arguments = [
            "--noheader".into(),
            "--parsable2".into(),
            "--allusers".into(),
            // Not `--array`, which 22.05 does not know: tasks that have begun have a line each anyway.
            "--allocations".into(),
            format!("--jobs={}", jobs.join(",")),
            "--format=JobID,State,ExitCode".into(),
        ];
        accounts_of(&arguments, Self::run("sacct", &arguments))
    }

    fn state_of(&self, job: &str) -> Result<Option<String>, SchedulerError> {
        let arguments = ["--oneliner".into(), "show".into(), "job".into(), job.to_owned()];
        let answer = Self::call("scontrol", &arguments)?;
        let value = |key: &str| answer.split_whitespace().find_map(|word| word.strip_prefix(key));
        let reason = value("Reason=").unwrap_or_default();
        Ok(value("JobState=").map(|state| format!("{state} {reason}")))
    }

    fn requeue(&self, job: &str) -> Result<(), SchedulerError> {
        Self::call("scontrol", &["requeue".into(), job.to_owned()]).map(drop)
    }

    fn max_array_size(&self) -> Result<usize, SchedulerError> {
        let answer = Self::call("scontrol", &["show".into(), "config".into()])?;
        let line = answer.lines().find_map(|line| line.trim().strip_prefix("MaxArraySize"));
        let size = line.and_then(|line| line.trim_start_matches([' ', '=']).trim().parse().ok());
        size.ok_or(SchedulerError::Answer {
            command: "scontrol show config",
            answer: String::new(),
        })
    }
}

/// What `sacct` knows. Many clusters keep no accounts, or have no such command: they know nothing, which is no failure.
fn accounts_of(
    arguments: &[String],
    ran: Result<Output, SchedulerError>,
) -> Result<Vec<QueuedTask>, SchedulerError> {
    let output = match ran {
        Err(SchedulerError::Start { source, .. }) if source.kind() == ErrorKind::NotFound => {
            return Ok(Vec::new());
        }
        ran => ran?,
    };
    if !output.status.success() && last_words(&output).contains(NO_ACCOUNTS) {
        return Ok(Vec::new());
    }
    read_lines("sacct", &answer("sacct", arguments, output)?, account_line)
}

/// A line of an answer: a task, one that is none of ours, or one that is not understood.
type Line = Result<Option<QueuedTask>, ()>;

/// Reads an answer. A line that is not understood may be about a task that waits, so it is not passed over.
fn read_lines(
    command: &'static str,
    answer: &str,
    read: impl Fn(&str) -> Line,
) -> Result<Vec<QueuedTask>, SchedulerError> {
    let mut tasks = Vec::new();
    for line in answer.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let task =
            read(line).map_err(|()| SchedulerError::Answer { command, answer: line.to_owned() })?;
        tasks.extend(task);
    }
    Ok(tasks)
}

/// `<job>|<index>|PENDING|<name>|<reason>`
fn queue_line(line: &str) -> Line {
    let parts: Vec<&str> = line.splitn(5, '|').collect();
    let [job, index, state, job_name, reason] = parts[..] else { return Err(()) };
    if index == "N/A" {
        // A job that is no array.
        return Ok(None);
    }
    Ok(Some(QueuedTask {
        job: job.parse().map_err(|_| ())?,
        job_name: job_name.to_owned(),
        index: index.parse().map_err(|_| ())?,
        state: state.to_owned(),
        reason: if reason == "None" { String::new() } else { reason.to_owned() },
    }))
}

/// `<job>_<index>|CANCELLED by 1000|0:15`
fn account_line(line: &str) -> Line {
    let parts: Vec<&str> = line.splitn(3, '|').collect();
    let [id, state, code] = parts[..] else { return Err(()) };
    let Some((job, index)) = id.split_once('_') else { return Ok(None) };
    if index.starts_with('[') {
        // Tasks that the queue has, too.
        return Ok(None);
    }
    let (state, by) = state.split_once(' ').unwrap_or((state, ""));
    let code = if code == "0:0" { String::new() } else { format!("exit code {code}") };
    let reason =
        [by, &code].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ");
    Ok(Some(QueuedTask {
        job: job.parse().map_err(|_| ())?,
        job_name: String::new(),
        index: index.parse().map_err(|_| ())?,
        state: state.to_owned(),
        reason,
    }))
}

/// What accounts say, by job and place.
pub(crate) type ByTask = BTreeMap<(u64, usize), (String, String)>;

/// Tasks by job and place.
pub(crate) fn by_task(tasks: Vec<QueuedTask>) -> ByTask {
    tasks.into_iter().map(|task| ((task.job, task.index), (task.state, task.reason))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines as Slurm 22.05 prints them.
    #[test]
    fn lines_of_squeue_and_sacct_are_read() {
        let task = |line: Line| line.expect("understood").expect("a task");
        let queued = task(queue_line("17|3|PENDING|promise-a-1-runs-0|JobArrayTaskLimit"));
        assert_eq!((queued.job, queued.index, queued.state.as_str()), (17, 3, "PENDING"));
        assert_eq!(queued.reason, "JobArrayTaskLimit");
        assert_eq!(task(queue_line("17|0|RUNNING|name|None")).reason, "");
        assert_eq!(queue_line("17|N/A|RUNNING|name|None"), Ok(None));
        let account = task(account_line("17_3|CANCELLED by 1000|0:15"));
        assert_eq!(
            (account.state.as_str(), account.reason.as_str()),
            ("CANCELLED", "by 1000, exit code 0:15")
        );
        let memory = task(account_line("17_4|OUT_OF_MEMORY|0:125"));
        assert_eq!((memory.index, memory.state.as_str()), (4, "OUT_OF_MEMORY"));
        assert_eq!(account_line("17_[4-9]|PENDING|0:0"), Ok(None));
    }

    #[test]
    fn an_answer_that_is_not_understood_is_said_and_not_taken_for_no_tasks() {
        let answer = "17|0|RUNNING|name|None\nslurm is being updated\n";
        let error = read_lines("squeue", answer, queue_line).expect_err("no task");
        let text = error.to_string();
        assert!(text.contains("`squeue`") && text.contains("slurm is being updated"), "{text}");
    }

    /// A command that says something on standard error and ends.
    #[cfg(unix)]
    fn output(code: i32, said: &str) -> Output {
        use std::os::unix::process::ExitStatusExt as _;

        let status = std::process::ExitStatus::from_raw(code << 8);
        Output { status, stdout: Vec::new(), stderr: said.into() }
    }

    #[cfg(unix)]
    #[test]
    fn accounts_that_fail_are_said_and_a_cluster_that_keeps_none_is_no_failure() {
        let arguments = ["--jobs=17".to_owned()];
        let accounts = |code, said: &str| accounts_of(&arguments, Ok(output(code, said)));
        assert_eq!(accounts(1, "Slurm accounting storage is disabled\n").expect("none"), []);
        let absent = SchedulerError::Start { command: "sacct", source: ErrorKind::NotFound.into() };
        assert_eq!(accounts_of(&arguments, Err(absent)).expect("none"), []);
        let error = accounts(1, "one\ntwo\n\nsacct: error: slurm_persist_conn_open\nthe last\n")
            .expect_err("it does not answer");
        assert_eq!(
            error.to_string(),
            "`sacct --jobs=17` failed (exit status: 1): two; sacct: error: slurm_persist_conn_open; the last"
        );
    }
}
