//! Runs of a campaign in processes of their own, several at a time.
//!
//! A process has a thread pool, a device and a generator of random numbers, and runs would share them within one.
//! So every run gets a process, with its share of the threads. The parent hears of its progress through the child's
//! standard output, a line of JSON for each [`Event`], and holds the child's standard input open: a child whose
//! input ends, because the parent wants it to stop or was killed, stops at the next safe place.
//!
//! How many runs go on at a time changes no number. How many *threads* a run has may change last digits; it stands
//! in `environment.json`.

use std::{
    collections::{BTreeMap, VecDeque},
    io::{self, BufRead as _, BufReader, Read, Write},
    num::NonZeroUsize,
    process::{ChildStdin, Command, Stdio},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use run_record::Failure;
use serde::{Deserialize, Serialize};

use crate::{
    campaign::{
        Campaign, OnFailure, PlannedRun, RunOutcome, put_aside_if_stale, record_failure,
        report_end, write_outline,
    },
    device::DeviceKind,
    plan::Experiment,
    progress::{Progress, Watch},
    run::{Context, FinishedRun, RunError},
    run_folder::{self, Existing},
    run_lock::RunLock,
};

/// How often somebody looks whether to stop.
const PATIENCE: Duration = Duration::from_millis(50);

/// A child says at most this often how far it is.
const BETWEEN_REPORTS: Duration = Duration::from_millis(200);

/// The processes of a campaign.
pub struct Workers<'a> {
    /// Runs at a time.
    pub jobs: NonZeroUsize,
    /// Threads of each.
    pub threads: NonZeroUsize,
    /// What they compute on, by turns: no device has two runs more than another.
    pub devices: &'a [DeviceKind],
    /// The command that calls [`serve`] on a device for a run of the experiment at a place in the list.
    pub command: &'a (dyn Fn(usize, &PlannedRun, DeviceKind) -> Command + Sync),
}

/// What a child says, a line each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Event {
    /// A phase begins.
    Start { phase: String, total: u64 },
    /// So much of it is done.
    Set { done: u64 },
    /// A remark beside it.
    Note { text: String },
    /// Something worth a line.
    Milestone { text: String },
    /// The phase is over.
    Finish,
    /// The run is done; its folder holds the record.
    Done,
    /// It failed.
    Failed { failure: Failure },
    /// It was stopped.
    Interrupted,
}

impl Campaign<'_> {
    /// Executes what is to do like [`run`](Self::run), but each run in a process of its own. Runs are begun in order
    /// and end in any.
    ///
    /// # Errors
    ///
    /// As for [`run`](Self::run).
    pub fn run_in_processes(
        mut self,
        workers: &Workers<'_>,
        on_failure: OnFailure,
        watch: &dyn Watch,
    ) -> Result<Vec<RunOutcome>, RunError> {
        self.begin(on_failure)?;
        let mut outcomes: Vec<Option<RunOutcome>> = Vec::new();
        let mut queue = VecDeque::new();
        for place in 0..self.jobs.len() {
            let inputs = self.inputs(place);
            let job = &self.jobs[place];
            let (planned, experiment) = (job.planned.clone(), job.experiment);
            let result = match inputs {
                Err(error) => {
                    record_failure(&planned.folder, &error);
                    Err(error)
                }
                Ok(_) if planned.is_done() => {
                    let record = planned.folder.read_record()?;
                    Ok(FinishedRun { folder: planned.folder.clone(), record, found: true })
                }
                Ok(inputs) => {
                    {
                        let Some(_lock) = RunLock::take(&planned.folder, &self.context.stop)?
                        else {
                            return Err(RunError::Interrupted);
                        };
                        put_aside_if_stale(&planned, job.plan, &inputs)?;
                    }
                    queue.push_back((place, experiment, planned));
                    outcomes.push(None);
                    continue;
                }
            };
            report_end(watch, &planned, &result);
            outcomes.push(Some(RunOutcome { planned, result }));
        }
        for (place, experiment) in self.experiments.iter().enumerate() {
            if let Some(job) = self.jobs.iter().find(|job| job.experiment == place) {
                run_folder::make_parent(&job.planned.folder)?;
                write_outline(experiment, &job.planned.folder)?;
            }
        }
        let context = self.context;
        // Weights and features are the children's now.
        drop(self);

        let shop = Shop {
            workers,
            context,
            watch,
            on_failure,
            queue: Mutex::new(queue),
            closed: AtomicBool::new(false),
            inputs: Mutex::default(),
            done: Mutex::default(),
        };
        shop.work();
        let mut failure = None;
        for (place, planned, result) in lock(&shop.done).drain(..) {
            match result {
                Err(RunError::Interrupted) => return Err(RunError::Interrupted),
                Err(error) if on_failure == OnFailure::Stop => failure = failure.or(Some(error)),
                result => outcomes[place] = Some(RunOutcome { planned, result }),
            }
        }
        match failure {
            Some(error) => Err(error),
            None if context.stop.load(Ordering::Relaxed) => Err(RunError::Interrupted),
            None => Ok(outcomes.into_iter().flatten().collect()),
        }
    }
}

/// A run that waits: its place, the place of its experiment, and what was planned.
type Waiting = (usize, usize, PlannedRun);

/// A run that is over: its place, what was planned, and how it went.
type Over = (usize, PlannedRun, Result<FinishedRun, RunError>);

/// What the threads that mind the children share.
struct Shop<'a> {
    workers: &'a Workers<'a>,
    context: &'a Context,
    watch: &'a dyn Watch,
    on_failure: OnFailure,
    queue: Mutex<VecDeque<Waiting>>,
    /// Whether no run is begun any more.
    closed: AtomicBool,
    /// Standard inputs of the children, by the place of the run; a child stops when its input ends.
    inputs: Mutex<BTreeMap<usize, ChildStdin>>,
    done: Mutex<Vec<Over>>,
}

impl Shop<'_> {
    fn work(&self) {
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            let minders: Vec<_> =
                (0..self.workers.jobs.get()).map(|n| scope.spawn(move || self.mind(n))).collect();
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    if self.context.stop.load(Ordering::Relaxed) {
                        lock(&self.inputs).clear();
                    }
                    thread::sleep(PATIENCE);
                }
            });
            for minder in minders {
                // A minder that panicked leaves its run without a result; the scope passes the panic on.
                let _ = minder.join();
            }
            over.store(true, Ordering::Relaxed);
        });
    }

    /// Takes one run after the other from the queue; the `n`-th of those who do.
    fn mind(&self, n: usize) {
        let devices = self.workers.devices;
        let device = devices.get(n % devices.len().max(1)).copied().unwrap_or(self.context.device);
        loop {
            if self.closed.load(Ordering::Relaxed) || self.context.stop.load(Ordering::Relaxed) {
                return;
            }
            let Some((place, experiment, planned)) = lock(&self.queue).pop_front() else { return };
            let result = self.run(place, experiment, &planned, device);
            report_end(self.watch, &planned, &result);
            if result.is_err() && self.on_failure == OnFailure::Stop {
                self.closed.store(true, Ordering::Relaxed);
            }
            lock(&self.done).push((place, planned, result));
        }
    }

    /// Runs a child and listens to it.
    fn run(
        &self,
        place: usize,
        experiment: usize,
        planned: &PlannedRun,
        device: DeviceKind,
    ) -> Result<FinishedRun, RunError> {
        let progress = self.watch.begin(&planned.full_name());
        let mut child = (self.workers.command)(experiment, planned, device)
            .env("RAYON_NUM_THREADS", self.workers.threads.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(RunError::Process)?;
        let said = child.stderr.take().map(|said| {
            let run = planned.full_name();
            thread::spawn(move || pass_on(&run, said))
        });
        if let Some(input) = child.stdin.take() {
            lock(&self.inputs).insert(place, input);
        }
        let mut last = None;
        if let Some(output) = child.stdout.take() {
            for line in BufReader::new(output).lines() {
                let event = line.and_then(|line| Ok(serde_json::from_str::<Event>(&line)?));
                match event.map_err(RunError::Process)? {
                    Event::Start { phase, total } => progress.start(&phase, total),
                    Event::Set { done } => progress.set(done),
                    Event::Note { text } => progress.note(&text),
                    Event::Milestone { text } => progress.milestone(&text),
                    Event::Finish => progress.finish(),
                    end => last = Some(end),
                }
            }
        }
        let status = child.wait().map_err(RunError::Process)?;
        if let Some(said) = said {
            // A thread that only reads and logs; were it to panic, lines would be lost and no result.
            let _ = said.join();
        }
        lock(&self.inputs).remove(&place);
        progress.finish();
        match last {
            Some(Event::Done) => {
                let folder = planned.folder.clone();
                let record = folder.read_record()?;
                Ok(FinishedRun { folder, record, found: false })
            }
            // The child has recorded it.
            Some(Event::Failed { failure }) => Err(RunError::Worker { failure }),
            Some(Event::Interrupted) => Err(RunError::Interrupted),
            _ if self.context.stop.load(Ordering::Relaxed) => Err(RunError::Interrupted),
            _ => {
                // The system ends a process for want of memory with SIGKILL, its own allocator with SIGABRT.
                let reasons = vec![format!(
                    "its process ended without a word: {status}; if memory ran out, lower --jobs, data.feature_memory_gib \
                     or train.batch_size"
                )];
                let error = RunError::Worker { failure: Failure { reasons } };
                record_failure(&planned.folder, &error);
                Err(error)
            }
        }
    }
}

/// Logs what a child says on its standard error, with the level that it gives and the name of its run: several
/// children that write to a terminal by themselves would tear each other's lines, and the bars.
fn pass_on(run: &str, said: impl Read) {
    for line in BufReader::new(said).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line);
        let line = line.trim();
        match line.split_once(' ') {
            Some(("ERROR", text)) => tracing::error!("{run}: {}", text.trim_start()),
            Some(("INFO", text)) => tracing::info!("{run}: {}", text.trim_start()),
            Some(("DEBUG" | "TRACE", text)) => tracing::debug!("{run}: {}", text.trim_start()),
            Some(("WARN", text)) => tracing::warn!("{run}: {}", text.trim_start()),
            _ if line.is_empty() => {}
            // What the system or a panic says.
            _ => tracing::warn!("{run}: {line}"),
        }
    }
}

/// Executes one run of an experiment in this process and reports to the parent; the other side of
/// [`Campaign::run_in_processes`].
///
/// - `run`: name of the run's folder
/// - `input`, `output`: standard input and output; when `input` ends, the run stops at the next safe place
///
/// # Errors
///
/// If there is no such run, or it fails; the parent was told.
pub fn serve(
    experiment: &Experiment,
    run: &str,
    context: &Context,
    mut input: impl Read + Send + 'static,
    output: impl Write + Send + 'static,
) -> Result<(), RunError> {
    let stop = context.stop.clone();
    thread::spawn(move || {
        let mut nothing = [0; 64];
        while matches!(input.read(&mut nothing), Ok(read) if read > 0) {}
        stop.store(true, Ordering::Relaxed);
    });
    let lines = Arc::new(Lines { output: Mutex::new(Box::new(output)), last: Mutex::default() });
    let context = Context { existing: Existing::GoOn, ..context.clone() };
    let result = match experiment.only(run) {
        None => Err(RunError::UnknownRun { run: run.to_owned() }),
        Some(only) => Campaign::open(std::slice::from_ref(&only), &context)
            .and_then(|campaign| campaign.run(OnFailure::Stop, &Reporter(lines.clone()))),
    };
    let (event, result) = match result {
        Ok(_) => (Event::Done, Ok(())),
        Err(RunError::Interrupted) => (Event::Interrupted, Err(RunError::Interrupted)),
        Err(error) => {
            let failure = run_folder::failure_of(&error);
            (Event::Failed { failure }, Err(error))
        }
    };
    lines.write(&event);
    result
}

/// The parent's ear.
struct Lines {
    output: Mutex<Box<dyn Write + Send>>,
    /// When it was last said how far the run is.
    last: Mutex<Option<Instant>>,
}

impl Lines {
    /// A parent that is gone cannot be told anything.
    fn write(&self, event: &Event) {
        let mut output = lock(&self.output);
        let written = serde_json::to_writer(&mut *output, event).map_err(io::Error::from);
        let _ = written.and_then(|()| output.write_all(b"\n")).and_then(|()| output.flush());
    }

    /// Whether it is time to say again how far the run is.
    fn is_time(&self) -> bool {
        let mut last = lock(&self.last);
        let is_time = last.is_none_or(|last| last.elapsed() >= BETWEEN_REPORTS);
        if is_time {
            *last = Some(Instant::now());
        }
        is_time
    }
}

impl Progress for Lines {
    fn start(&self, phase: &str, total: u64) {
        self.write(&Event::Start { phase: phase.to_owned(), total });
    }

    fn set(&self, done: u64) {
        if self.is_time() {
            self.write(&Event::Set { done });
        }
    }

    fn note(&self, text: &str) {
        if self.is_time() {
            self.write(&Event::Note { text: text.to_owned() });
        }
    }

    fn milestone(&self, text: &str) {
        self.write(&Event::Milestone { text: text.to_owned() });
    }

    fn finish(&self) {
        self.write(&Event::Finish);
    }
}

struct Reporter(Arc<Lines>);

impl Watch for Reporter {
    fn begin(&self, _run: &str) -> Arc<dyn Progress> {
        self.0.clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_and_comes_back() {
        let failure = Failure { reasons: vec!["two\nlines".into(), "why".into()] };
        for event in [
            Event::Start { phase: "train a".into(), total: 3 },
            Event::Set { done: 2 },
            Event::Note { text: "\"quoted\"".into() },
            Event::Finish,
            Event::Failed { failure },
            Event::Interrupted,
        ] {
            let line = serde_json::to_string(&event).expect("JSON");
            assert!(!line.contains('\n'), "{line}");
            assert_eq!(serde_json::from_str::<Event>(&line).expect("JSON"), event);
        }
    }
}
