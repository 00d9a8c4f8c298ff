//! Work ahead on other threads, in order.

use std::{
    collections::BTreeMap,
    ops::ControlFlow,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};

/// Computes `work(0)`, `work(1)`, … `work(n - 1)` on `workers` threads and hands the results to `consume`
/// in this order, on the calling thread, until it breaks.
///
/// At most `ahead` results exist that were not consumed, whatever the workers' speed; that is the
/// bound on memory. The number of workers changes how long it takes, and nothing else.
///
/// # Panics
///
/// Panics if `work` or `consume` does.
pub fn prefetch<T: Send, B>(
    n: usize,
    workers: usize,
    ahead: usize,
    work: impl Fn(usize) -> T + Sync,
    mut consume: impl FnMut(usize, T) -> ControlFlow<B>,
) -> ControlFlow<B> {
    let ahead = ahead.max(1);
    let queue = Queue { state: Mutex::new(State::default()), changed: Condvar::new() };
    thread::scope(|scope| {
        // However this scope is left, workers must not wait for a consumer that is gone.
        let _closing = Closing(&queue);
        for _ in 0..workers.clamp(1, n.max(1)) {
            scope.spawn(|| {
                let _closing = ClosingOnPanic(&queue);
                while let Some(index) = queue.take(n, ahead) {
                    queue.give(index, work(index));
                }
            });
        }
        for index in 0..n {
            // `None`: a worker panicked, which the scope passes on.
            let Some(result) = queue.receive(index) else { break };
            consume(index, result)?;
        }
        ControlFlow::Continue(())
    })
}

struct State<T> {
    /// The next index that nobody works at.
    next: usize,
    /// Results consumed.
    consumed: usize,
    ready: BTreeMap<usize, T>,
    closed: bool,
}

impl<T> Default for State<T> {
    fn default() -> Self {
        Self { next: 0, consumed: 0, ready: BTreeMap::new(), closed: false }
    }
}

struct Queue<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

impl<T> Queue<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // No code of the caller runs under the lock, so it cannot be left half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_while<'a>(
        &'a self,
        mut condition: impl FnMut(&mut State<T>) -> bool,
    ) -> MutexGuard<'a, State<T>> {
        self.changed
            .wait_while(self.lock(), |state| !state.closed && condition(state))
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The next index to work at, as soon as there is room for its result.
    fn take(&self, n: usize, ahead: usize) -> Option<usize> {
        let mut state =
            self.wait_while(|state| state.next < n && state.next >= state.consumed + ahead);
        if state.closed || state.next >= n {
            return None;
        }
        state.next += 1;
        Some(state.next - 1)
    }

    fn give(&self, index: usize, result: T) {
        self.lock().ready.insert(index, result);
        self.changed.notify_all();
    }

    fn receive(&self, index: usize) -> Option<T> {
        let mut state = self.wait_while(|state| !state.ready.contains_key(&index));
        let result = state.ready.remove(&index)?;
        state.consumed = index + 1;
        drop(state);
        self.changed.notify_all();
        Some(result)
    }

    fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }
}

struct Closing<'a, T>(&'a Queue<T>);

impl<T> Drop for Closing<'_, T> {
    fn drop(&mut self) {
        self.0.close();
    }
}

struct ClosingOnPanic<'a, T>(&'a Queue<T>);

impl<T> Drop for ClosingOnPanic<'_, T> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.close();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        time::Duration,
    };

    use super::*;

    fn collected(n: usize, workers: usize, ahead: usize) -> Vec<(usize, usize)> {
        let mut all = Vec::new();
        let slow_first = |index: usize| {
            thread::sleep(Duration::from_micros(500 * (n - index) as u64 % 1700));
            index * index
        };
        let end = prefetch(n, workers, ahead, slow_first, |index, result| {
            all.push((index, result));
            ControlFlow::<()>::Continue(())
        });
        assert_eq!(end, ControlFlow::Continue(()));
        all
    }

    #[test]
    fn results_come_in_order_whatever_the_number_of_workers() {
        let expected: Vec<_> = (0..20).map(|index| (index, index * index)).collect();
        for workers in [0, 1, 2, 7, 40] {
            for ahead in [0, 1, 3, 100] {
                assert_eq!(collected(20, workers, ahead), expected, "{workers} {ahead}");
            }
        }
        assert_eq!(collected(0, 2, 2), []);
    }

    #[test]
    fn no_more_results_than_allowed_wait_for_the_consumer() {
        let (begun, consumed) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let most = AtomicUsize::new(0);
        let work = |_| {
            let waiting =
                begun.fetch_add(1, Ordering::SeqCst) + 1 - consumed.load(Ordering::SeqCst);
            most.fetch_max(waiting, Ordering::SeqCst);
        };
        let _ = prefetch(50, 4, 3, work, |_, ()| {
            thread::sleep(Duration::from_micros(200));
            consumed.fetch_add(1, Ordering::SeqCst);
            ControlFlow::<()>::Continue(())
        });
        // One more: the result in the consumer's hands has left the queue.
        let most = most.load(Ordering::SeqCst);
        assert!((2..=4).contains(&most), "{most}");
    }

    #[test]
    fn a_consumer_that_breaks_ends_the_work() {
        let begun = AtomicUsize::new(0);
        let end = prefetch(
            1_000,
            2,
            4,
            |index| {
                begun.fetch_add(1, Ordering::SeqCst);
                index
            },
            |_, index| {
                if index == 5 { ControlFlow::Break("enough") } else { ControlFlow::Continue(()) }
            },
        );
        assert_eq!(end, ControlFlow::Break("enough"));
        assert!(begun.load(Ordering::SeqCst) <= 5 + 1 + 4 + 2);
    }

    #[test]
    fn a_panic_in_a_worker_reaches_the_caller() {
        let outcome = std::panic::catch_unwind(|| {
            prefetch(
                10,
                2,
                2,
                |index| assert!(index != 3, "worker {index}"),
                |_, ()| ControlFlow::<()>::Continue(()),
            )
        });
        assert!(outcome.is_err());
    }
}
