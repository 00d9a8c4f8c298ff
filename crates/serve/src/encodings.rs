//! Images are encoded once, one at a time, in the order in which they were asked for.
//!
//! Whoever wants an image encoded holds a [`Ticket`]. A job whose last ticket is given back ends at the next block of the
//! encoder, or before it begins. What is encoded is kept up to so many bytes.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    ops::ControlFlow,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use data_loaders::error_chain;
use promise::interactive::Subject;
use serde::Serialize;

use crate::{
    engine::{Embedding, Engine},
    library::Library,
    lru::Lru,
    turns::Rush,
};

/// Jobs that may wait, at most.
const MAX_WAITING: usize = 32;
/// Tickets for all jobs together, at most.
const MAX_TICKETS: usize = 256;
/// Reasons of failures that are remembered, at most; each goes when its image is asked for again.
const MAX_FAILURES: usize = 256;

/// The right to give up a job.
pub(crate) type Ticket = u64;

/// How far an image is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub(crate) enum Progress {
    /// Nobody has asked for it, or it was given up or dropped.
    Absent,
    /// Others come first.
    Waiting {
        /// How many.
        before: usize,
    },
    /// It is being encoded.
    Encoding {
        /// Blocks of the encoder that are done.
        done: usize,
        /// Blocks that there are; 0 while the image is read.
        all: usize,
    },
    /// Prompts are answered.
    Ready,
    /// The image cannot be read.
    Failed {
        /// Why.
        reason: String,
    },
}

/// Too many jobs wait, or too many for them.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Busy {
    /// Jobs.
    #[error("{MAX_WAITING} images wait to be encoded already; try again in a while")]
    Jobs,
    /// Tickets.
    #[error("{MAX_TICKETS} pages wait for images already; try again in a while")]
    Tickets,
}

/// See the module.
pub(crate) struct Encodings {
    shared: Arc<Shared>,
    worker: Option<thread::JoinHandle<()>>,
}

struct Shared {
    state: Mutex<State>,
    /// Something was put into the queue, or it is over.
    changed: Condvar,
    rush: Arc<Rush>,
    /// How long a block gives way to prompts.
    way: Duration,
}

struct State {
    queue: VecDeque<String>,
    jobs: HashMap<String, Job>,
    ready: Lru<String, Arc<dyn Embedding>>,
    failed: HashMap<String, String>,
    next_ticket: Ticket,
    over: bool,
}

#[derive(Default)]
struct Job {
    tickets: BTreeSet<Ticket>,
    /// Nothing while it waits.
    progress: Option<(usize, usize)>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Every change of the state is complete before its lock is given back.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn progress(&self, key: &str) -> Progress {
        if self.ready.contains(&key.to_owned()) {
            return Progress::Ready;
        }
        if let Some(job) = self.jobs.get(key) {
            return match job.progress {
                Some((done, all)) => Progress::Encoding { done, all },
                None => {
                    let place = self.queue.iter().position(|one| one == key).unwrap_or(0);
                    let running = self.jobs.values().any(|job| job.progress.is_some());
                    Progress::Waiting { before: place + usize::from(running) }
                }
            };
        }
        match self.failed.get(key) {
            Some(reason) => Progress::Failed { reason: reason.clone() },
            None => Progress::Absent,
        }
    }
}

impl Encodings {
    /// Starts the thread that encodes. What it gives takes at most `limit` bytes; between two blocks it gives way to the
    /// prompts of `rush`, for `way` at most.
    pub(crate) fn start(
        engine: Arc<dyn Engine>,
        library: Arc<Library>,
        limit: u64,
        rush: Arc<Rush>,
        way: Duration,
    ) -> std::io::Result<Self> {
        let state = State {
            queue: VecDeque::new(),
            jobs: HashMap::new(),
            ready: Lru::new(limit),
            failed: HashMap::new(),
            next_ticket: 1,
            over: false,
        };
        let (state, changed) = (Mutex::new(state), Condvar::new());
        let shared = Arc::new(Shared { state, changed, rush, way });
        let theirs = shared.clone();
        let worker = thread::Builder::new()
            .name("encodings".into())
            .spawn(move || work(&theirs, &*engine, &library))?;
        Ok(Self { shared, worker: Some(worker) })
    }

    /// Asks for an image.
    pub(crate) fn join(&self, key: &str) -> Result<(Ticket, Progress), Busy> {
        let mut state = self.shared.state();
        let ticket = state.next_ticket;
        state.next_ticket += 1;
        state.failed.remove(key);
        if !state.ready.contains(&key.to_owned()) {
            if state.jobs.values().map(|job| job.tickets.len()).sum::<usize>() >= MAX_TICKETS {
                return Err(Busy::Tickets);
            }
            if !state.jobs.contains_key(key) {
                if state.queue.len() >= MAX_WAITING {
                    return Err(Busy::Jobs);
                }
                state.queue.push_back(key.to_owned());
                self.shared.changed.notify_all();
            }
            state.jobs.entry(key.to_owned()).or_default().tickets.insert(ticket);
        }
        let progress = state.progress(key);
        Ok((ticket, progress))
    }

    /// How far an image is.
    pub(crate) fn progress(&self, key: &str) -> Progress {
        self.shared.state().progress(key)
    }

    /// Gives a ticket back. The job ends if nobody else holds one.
    pub(crate) fn leave(&self, key: &str, ticket: Ticket) {
        let mut state = self.shared.state();
        let Some(job) = state.jobs.get_mut(key) else { return };
        job.tickets.remove(&ticket);
        if job.tickets.is_empty() && job.progress.is_none() {
            state.jobs.remove(key);
            state.queue.retain(|one| one != key);
        }
    }

    /// What answers prompts for an image, if it is encoded.
    pub(crate) fn get(&self, key: &str) -> Option<Arc<dyn Embedding>> {
        self.shared.state().ready.get(&key.to_owned())
    }
}

impl Drop for Encodings {
    fn drop(&mut self) {
        self.shared.state().over = true;
        self.shared.changed.notify_all();
        if let Some(worker) = self.worker.take() {
            // It ends at the next block.
            let _ = worker.join();
        }
    }
}

fn work(shared: &Shared, engine: &dyn Engine, library: &Library) {
    loop {
        let key = {
            let mut state = shared.state();
            loop {
                if state.over {
                    return;
                }
                if let Some(key) = state.queue.pop_front() {
                    if let Some(job) = state.jobs.get_mut(&key) {
                        job.progress = Some((0, 0));
                        break key;
                    }
                    continue;
                }
                state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        };
        // A defect shall cost one image, not the page.
        let outcome = catch_unwind(AssertUnwindSafe(|| encode(shared, engine, library, &key)));
        let outcome = outcome.unwrap_or_else(|_| Err("the encoder panicked".into()));
        let mut state = shared.state();
        let job = state.jobs.remove(&key).filter(|job| !job.tickets.is_empty());
        match (outcome, job) {
            (Ok(Some(embedding)), _) => {
                let bytes = embedding.bytes();
                state.ready.insert(key, embedding, bytes);
            }
            // Somebody asked again between the last block and now.
            (Ok(None), Some(job)) => {
                state.jobs.insert(key.clone(), Job { progress: None, ..job });
                state.queue.push_back(key);
            }
            (Ok(None), None) => {}
            (Err(reason), _) => {
                tracing::warn!("cannot encode {key}: {reason}");
                if state.failed.len() >= MAX_FAILURES {
                    state.failed.clear();
                }
                state.failed.insert(key, reason);
            }
        }
    }
}

fn encode(
    shared: &Shared,
    engine: &dyn Engine,
    library: &Library,
    key: &str,
) -> Result<Option<Arc<dyn Embedding>>, String> {
    let picture = library.picture(key).map_err(|error| error_chain(&error))?;
    let is_over = || {
        let state = shared.state();
        state.over || state.jobs.get(key).is_none_or(|job| job.tickets.is_empty())
    };
    let mut watch = |done: usize, all: usize| {
        if let Some(job) = shared.state().jobs.get_mut(key) {
            job.progress = Some((done, all));
        }
        // A prompt takes all cores for a moment, and somebody looks at the screen for it.
        shared.rush.give_way(shared.way, is_over);
        if is_over() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    if watch(0, 0).is_break() {
        return Ok(None);
    }
    let subject = Subject { data: &picture.data, id: &picture.id };
    Ok(engine.encode(&picture.image, subject, &mut watch))
}
