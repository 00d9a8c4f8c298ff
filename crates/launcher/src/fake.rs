//! A cluster that only exists in memory, for tests and for measuring what the launcher costs without one.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::scheduler::{QueuedTask, Scheduler, SchedulerError};

/// It keeps what it is given, and says what it is told to say.
#[derive(Debug)]
pub struct FakeScheduler {
    max_array_size: usize,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    jobs: BTreeMap<u64, FakeJob>,
    submitted: Vec<Vec<String>>,
    requeued: Vec<String>,
    /// State and reason by the number that a task itself has.
    states: BTreeMap<String, String>,
    refuse_after: Option<usize>,
    /// Requests to queue a task again that are still refused.
    refuse_requeues: usize,
    /// What it has written down.
    accounts: Vec<QueuedTask>,
    /// Commands that do not answer.
    silent: Vec<&'static str>,
}

#[derive(Debug)]
struct FakeJob {
    name: String,
    tasks: Vec<(String, String)>,
}

impl FakeScheduler {
    /// A cluster without jobs.
    pub fn new(max_array_size: usize) -> Self {
        Self { max_array_size, inner: Mutex::default() }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The options of every job that was handed over.
    pub fn submitted(&self) -> Vec<Vec<String>> {
        self.inner().submitted.clone()
    }

    /// The tasks that were put back into the queue.
    pub fn requeued(&self) -> Vec<String> {
        self.inner().requeued.clone()
    }

    /// From now on no more jobs than that are taken.
    pub fn refuse_after(&self, jobs: usize) {
        self.inner().refuse_after = Some(jobs);
    }

    /// The next requests to queue a task again are refused.
    pub fn refuse_requeues(&self, requests: usize) {
        self.inner().refuse_requeues = requests;
    }

    /// Gives a task a state.
    pub fn set(&self, job: u64, index: usize, state: &str, reason: &str) {
        let mut inner = self.inner();
        if let Some(task) = inner.jobs.get_mut(&job).and_then(|job| job.tasks.get_mut(index)) {
            *task = (state.to_owned(), reason.to_owned());
        }
    }

    /// Gives all tasks a state.
    pub fn set_all(&self, state: &str) {
        for job in self.inner().jobs.values_mut() {
            job.tasks.fill((state.to_owned(), String::new()));
        }
    }

    /// Gives a task the state that it finds when it asks for its own.
    pub fn set_own(&self, job: &str, state: &str) {
        self.inner().states.insert(job.to_owned(), state.to_owned());
    }

    /// Writes down what has become of a task.
    pub fn set_account(&self, job: u64, index: usize, state: &str, reason: &str) {
        self.inner().accounts.push(QueuedTask {
            job,
            job_name: String::new(),
            index,
            state: state.to_owned(),
            reason: reason.to_owned(),
        });
    }

    /// From now on these of its commands (`squeue`, `sacct`, `scontrol`) fail.
    pub fn silence(&self, commands: &[&'static str]) {
        self.inner().silent = commands.to_vec();
    }

    fn answers(&self, command: &'static str) -> Result<(), SchedulerError> {
        if !self.inner().silent.contains(&command) {
            return Ok(());
        }
        Err(SchedulerError::Failed {
            command: command.into(),
            status: "exit status: 1".into(),
            said: "Unable to contact slurm controller".into(),
        })
    }

    /// Forgets a job, as Slurm does some minutes after its end.
    pub fn forget(&self, job: u64) {
        self.inner().jobs.remove(&job);
    }
}

impl Scheduler for FakeScheduler {
    fn submit(&self, script: &Path, arguments: &[String]) -> Result<u64, SchedulerError> {
        let mut inner = self.inner();
        if inner.refuse_after.is_some_and(|most| inner.submitted.len() >= most) {
            let command = format!("sbatch {}", script.display());
            return Err(SchedulerError::Failed {
                command,
                status: "exit status: 1".into(),
                said: "no more jobs are taken".into(),
            });
        }
        let value = |name: &str| arguments.iter().find_map(|argument| argument.strip_prefix(name));
        let name = value("--job-name=").unwrap_or_default().to_owned();
        let last = value("--array=0-").and_then(|array| array.split('%').next()?.parse().ok());
        let count = last.map_or(1, |last: usize| last + 1);
        if count > self.max_array_size {
            let command = format!("sbatch {}", script.display());
            return Err(SchedulerError::Failed {
                command,
                status: "exit status: 1".into(),
                said: "Invalid job array specification".into(),
            });
        }
        inner.submitted.push(arguments.to_vec());
        let id = inner.submitted.len() as u64;
        let tasks = vec![("PENDING".to_owned(), String::new()); count];
        inner.jobs.insert(id, FakeJob { name, tasks });
        Ok(id)
    }

    fn queue(&self, job_names: &[String]) -> Result<Vec<QueuedTask>, SchedulerError> {
        self.answers("squeue")?;
        let inner = self.inner();
        let jobs = inner.jobs.iter().filter(|(_, job)| job_names.contains(&job.name));
        let tasks = jobs.flat_map(|(&id, job)| {
            job.tasks.iter().enumerate().map(move |(index, (state, reason))| QueuedTask {
                job: id,
                job_name: job.name.clone(),
                index,
                state: state.clone(),
                reason: reason.clone(),
            })
        });
        Ok(tasks.collect())
    }

    fn accounts(&self, jobs: &[u64]) -> Result<Vec<QueuedTask>, SchedulerError> {
        self.answers("sacct")?;
        let inner = self.inner();
        Ok(inner.accounts.iter().filter(|task| jobs.contains(&task.job)).cloned().collect())
    }

    fn state_of(&self, job: &str) -> Result<Option<String>, SchedulerError> {
        Ok(self.inner().states.get(job).cloned())
    }

    fn requeue(&self, job: &str) -> Result<(), SchedulerError> {
        let mut inner = self.inner();
        if let Some(left) = inner.refuse_requeues.checked_sub(1) {
            inner.refuse_requeues = left;
            return Err(SchedulerError::Failed {
                command: format!("scontrol requeue {job}"),
                status: "exit status: 1".into(),
                said: "Unable to contact slurm controller".into(),
            });
        }
        inner.requeued.push(job.to_owned());
        Ok(())
    }

    fn max_array_size(&self) -> Result<usize, SchedulerError> {
        self.answers("scontrol")?;
        Ok(self.max_array_size)
    }
}
