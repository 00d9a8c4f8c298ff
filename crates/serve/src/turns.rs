//! Who computes when: one at a time of each kind, so many wait, and prompts come before encodings.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use axum::http::StatusCode;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::problem::Problem;

/// Work that is done one at a time, in order.
pub(crate) struct Turns {
    turn: Arc<Semaphore>,
    /// One for the work that is done, and for each that waits.
    places: Arc<Semaphore>,
    what: &'static str,
}

/// A turn, until it is dropped.
pub(crate) struct Turn {
    _turn: OwnedSemaphorePermit,
    _place: OwnedSemaphorePermit,
}

impl Turns {
    /// At most `waiting` wait; `what` names them in a message.
    pub(crate) fn new(waiting: usize, what: &'static str) -> Self {
        let places = Arc::new(Semaphore::new(waiting + 1));
        Self { turn: Arc::new(Semaphore::new(1)), places, what }
    }

    /// Waits for a turn, which lasts until it is dropped.
    pub(crate) async fn enter(&self) -> Result<Turn, Problem> {
        let full = |_| {
            let message = format!("too many {} wait already; try again in a while", self.what);
            Problem::new(StatusCode::TOO_MANY_REQUESTS, message)
        };
        let over = |_| Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the server is stopping");
        let place = self.places.clone().try_acquire_owned().map_err(full)?;
        let turn = self.turn.clone().acquire_owned().await.map_err(over)?;
        Ok(Turn { _turn: turn, _place: place })
    }

    /// Computes on a thread that may wait, in its turn. Whoever asked may have gone meanwhile; the turn lasts until it is
    /// done.
    pub(crate) async fn take<T: Send + 'static>(
        &self,
        compute: impl FnOnce() -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let turn = self.enter().await?;
        let done = tokio::task::spawn_blocking(move || {
            let result = compute();
            drop(turn);
            result
        });
        let panicked = |_| {
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "a defect of this program ended it")
        };
        done.await.map_err(panicked)?
    }
}

/// Whoever drags a marker sends the next prompt so soon after an answer: it is not worth beginning with something else.
const LINGER: Duration = Duration::from_millis(50);
/// How often somebody who gives way looks whether it is over.
const PATIENCE: Duration = Duration::from_millis(25);

/// Prompts that are answered, or wait for it. What takes longer gives way to them.
#[derive(Default)]
pub(crate) struct Rush {
    state: Mutex<RushState>,
    changed: Condvar,
}

#[derive(Default)]
struct RushState {
    prompts: usize,
    /// When the last one was answered.
    last: Option<Instant>,
}

/// A prompt, until it is dropped.
pub(crate) struct Urgent(Arc<Rush>);

impl Rush {
    fn state(&self) -> MutexGuard<'_, RushState> {
        // Every change is complete before the lock is given back.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A prompt has come.
    pub(crate) fn begin(self: &Arc<Self>) -> Urgent {
        self.state().prompts += 1;
        Urgent(self.clone())
    }

    /// Waits while there are prompts, but not longer than `longest`, so that everything ends, nor once it is `over`.
    pub(crate) fn give_way(&self, longest: Duration, over: impl Fn() -> bool) {
        let start = Instant::now();
        loop {
            let state = self.state();
            let quiet = state.last.is_none_or(|last| last.elapsed() >= LINGER);
            let waited = start.elapsed();
            if (state.prompts == 0 && quiet) || waited >= longest {
                return;
            }
            let patience = PATIENCE.min(longest - waited);
            let waited = self.changed.wait_timeout(state, patience);
            drop(waited.unwrap_or_else(PoisonError::into_inner));
            if over() {
                return;
            }
        }
    }
}

impl Drop for Urgent {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.prompts -= 1;
        state.last = Some(Instant::now());
        drop(state);
        self.0.changed.notify_all();
    }
}
