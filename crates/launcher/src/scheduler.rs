//! Talking to Slurm, through its own commands.

use std::{
    collections::BTreeMap,
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
    #[error("`{command}` failed: {said}")]
    Failed {
        /// The command.
        command: String,
        /// What it said.
        said: String,
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
        Command::new(command)
            .args(arguments)
            // A translated or colored answer could not be read.
            .env("LC_ALL", "C")
            .env_remove("SQUEUE_FORMAT")
            .output()
            .map_err(|source| SchedulerError::Start { command, source })
    }

    fn call(command: &'static str, arguments: &[String]) -> Result<String, SchedulerError> {
        let output = Self::run(command, arguments)?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        let command = format!("{command} {}", arguments.join(" "));
        Err(SchedulerError::Failed { command, said })
    }
}

impl Scheduler for Slurm {
    fn submit(&self, script: &Path, arguments: &[String]) -> Result<u64, SchedulerError> {
        let mut all = vec!["--parsable".to_owned()];
        all.extend_from_slice(arguments);
        all.push(script.display().to_string());
        let answer = Self::call("sbatch", &all)?;
        // `<job>` or `<job>;<cluster>`
        let job = answer.trim().split(';').next().and_then(|job| job.parse().ok());
        job.ok_or(SchedulerError::Answer { command: "sbatch", answer })
    }

    fn queue(&self, job_names: &[String]) -> Result<Vec<QueuedTask>, SchedulerError> {
        if job_names.is_empty() {
            return Ok(Vec::new());
        }
        let arguments = [
            "--noheader".into(),
            "--me".into(),
            "--array".into(),
            "--states=all".into(),
            format!("--name={}", job_names.join(",")),
            "--format=%F|%K|%T|%j|%r".into(),
        ];
        let answer = Self::call("squeue", &arguments)?;
        Ok(answer.lines().filter_map(queue_line).collect())
    }

    fn accounts(&self, jobs: &[u64]) -> Result<Vec<QueuedTask>, SchedulerError> {
        if jobs.is_empty() {
            return Ok(Vec::new());
        }
        let jobs: Vec<String> = jobs.iter().map(u64::to_string).collect();
        let arguments = [
            "--noheader".into(),
            "--parsable2".into(),
            "--allocations".into(),
            "--array".into(),
            format!("--jobs={}", jobs.join(",")),
            "--format=JobID,State,ExitCode".into(),
        ];
        let output = match Self::run("sacct", &arguments) {
            Ok(output) if output.status.success() => output,
            // Many clusters keep no accounts, or have no such command.
            _ => return Ok(Vec::new()),
        };
        let answer = String::from_utf8_lossy(&output.stdout);
        Ok(answer.lines().filter_map(account_line).collect())
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

fn queue_line(line: &str) -> Option<QueuedTask> {
    let mut parts = line.trim().splitn(5, '|');
    let mut next = || parts.next();
    let (job, index, state, job_name, reason) = (next()?, next()?, next()?, next()?, next()?);
    let reason = if reason == "None" { String::new() } else { reason.to_owned() };
    Some(QueuedTask {
        job: job.parse().ok()?,
        job_name: job_name.to_owned(),
        index: index.parse().ok()?,
        state: state.to_owned(),
        reason,
    })
}

/// `<job>_<index>|CANCELLED by 1000|0:15`
fn account_line(line: &str) -> Option<QueuedTask> {
    let mut parts = line.trim().splitn(3, '|');
    let (id, state, code) = (parts.next()?, parts.next()?, parts.next()?);
    let (job, index) = id.split_once('_')?;
    let (state, by) = state.split_once(' ').unwrap_or((state, ""));
    let code = if code == "0:0" { String::new() } else { format!("exit code {code}") };
    let reason =
        [by, &code].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ");
    Some(QueuedTask {
        job: job.parse().ok()?,
        job_name: String::new(),
        index: index.parse().ok()?,
        state: state.to_owned(),
        reason,
    })
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
        let task = queue_line("17|3|PENDING|promise-a-1-runs-0|JobArrayTaskLimit").expect("a task");
        assert_eq!((task.job, task.index, task.state.as_str()), (17, 3, "PENDING"));
        assert_eq!(task.reason, "JobArrayTaskLimit");
        assert_eq!(queue_line("17|0|RUNNING|name|None").expect("a task").reason, "");
        // A job that is no array.
        assert_eq!(queue_line("17|N/A|RUNNING|name|None"), None);
        let task = account_line("17_3|CANCELLED by 1000|0:15").expect("a task");
        assert_eq!(
            (task.state.as_str(), task.reason.as_str()),
            ("CANCELLED", "by 1000, exit code 0:15")
        );
        assert_eq!(account_line("17_[4-9]|PENDING|0:0"), None);
    }
}
