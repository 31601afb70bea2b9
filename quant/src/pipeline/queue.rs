//! Work in parallel, results in order, a bounded number in flight.

use std::{
    collections::BTreeMap,
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use crate::{Error, Result};

/// What workers and the consumer share.
struct State<R> {
    /// Index of the next item that nobody works on.
    next: usize,
    /// Results that wait for their turn.
    ready: BTreeMap<usize, Result<R>>,
    /// Items consumed.
    consumed: usize,
    /// No more items are to be taken.
    stop: bool,
    /// A worker panicked: its result will never come.
    panicked: bool,
}

/// Tells the consumer of a worker's panic, so that it does not wait for ever.
struct Alarm<'a, R>(&'a Mutex<State<R>>, &'a Condvar);

impl<R> Drop for Alarm<'_, R> {
    fn drop(&mut self) {
        if thread::panicking() {
            let mut held = lock(self.0);
            held.stop = true;
            held.panicked = true;
            drop(held);
            self.1.notify_all();
        }
    }
}

/// Results per worker that may wait or be in the making.
const IN_FLIGHT_PER_WORKER: usize = 3;

/// Runs `make` for every item on `threads` workers, each with buffers of its own, and `consume` on the calling thread for
/// every result, in the items' order. Stops at the first error or when `interrupt` is set.
pub(super) fn in_order<T: Sync, B: Default, R: Send>(
    items: &[T],
    threads: usize,
    interrupt: &AtomicBool,
    make: impl Fn(&T, &mut B) -> Result<R> + Sync,
    mut consume: impl FnMut(&T, R) -> Result<()>,
) -> Result<()> {
    let threads = threads.max(1);
    let state = Mutex::new(State {
        next: 0,
        ready: BTreeMap::new(),
        consumed: 0,
        stop: false,
        panicked: false,
    });
    let changed = Condvar::new();
    thread::scope(|scope| {
        for _ in 0..threads.min(items.len()) {
            scope.spawn(|| work(items, threads * IN_FLIGHT_PER_WORKER, &state, &changed, &make));
        }
        let done = items.iter().enumerate().try_for_each(|(index, item)| {
            if interrupt.load(Ordering::Relaxed) {
                return Ok(());
            }
            consume(item, take(index, &state, &changed)?)?;
            lock(&state).consumed = index + 1;
            changed.notify_all();
            Ok(())
        });
        lock(&state).stop = true;
        changed.notify_all();
        done
    })
}

fn work<T, B: Default, R>(
    items: &[T],
    window: usize,
    state: &Mutex<State<R>>,
    changed: &Condvar,
    make: impl Fn(&T, &mut B) -> Result<R>,
) {
    let _alarm = Alarm(state, changed);
    let mut buffers = B::default();
    loop {
        let mut held = lock(state);
        while !held.stop && held.next < items.len() && held.next >= held.consumed + window {
            held = changed.wait(held).unwrap_or_else(PoisonError::into_inner);
        }
        let index = held.next;
        let Some(item) = items.get(index).filter(|_| !held.stop) else { return };
        held.next += 1;
        drop(held);
        let result = make(item, &mut buffers);
        let mut held = lock(state);
        // After an error nothing later is wanted.
        held.stop |= result.is_err();
        held.ready.insert(index, result);
        drop(held);
        changed.notify_all();
    }
}

/// Waits for the result of item `index`. Every item below the first failed one has been taken by a worker, so its result
/// comes.
fn take<R>(index: usize, state: &Mutex<State<R>>, changed: &Condvar) -> Result<R> {
    let mut held = lock(state);
    loop {
        if let Some(result) = held.ready.remove(&index) {
            return result;
        }
        if held.panicked {
            // The scope raises the panic again; nobody sees this error.
            return Err(Error::Interrupted);
        }
        held = changed.wait(held).unwrap_or_else(PoisonError::into_inner);
    }
}

/// A worker's panic must not hide behind a poisoned lock: the scope raises it again.
fn lock<R>(state: &Mutex<State<R>>) -> MutexGuard<'_, State<R>> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(count: usize, threads: usize, fail_at: Option<usize>) -> (Vec<usize>, Result<()>) {
        let items: Vec<usize> = (0..count).collect();
        let mut seen = Vec::new();
        let make = |item: &usize, (): &mut ()| {
            if Some(*item) == fail_at { Err(Error::refused("no", "")) } else { Ok(item * 2) }
        };
        let done = in_order(&items, threads, &AtomicBool::new(false), make, |_, result| {
            seen.push(result);
            Ok(())
        });
        (seen, done)
    }

    #[test]
    fn results_come_in_order_whatever_the_threads() {
        for (count, threads) in [(0, 1), (1, 4), (100, 1), (1000, 3)] {
            let (seen, done) = run(count, threads, None);
            done.unwrap();
            assert_eq!(seen, (0..count).map(|item| item * 2).collect::<Vec<_>>());
        }
    }

    #[test]
    fn everything_before_an_error_is_consumed_and_nothing_after() {
        for at in [0, 1, 17, 99] {
            let (seen, done) = run(100, 2, Some(at));
            assert!(done.is_err());
            assert_eq!(seen.len(), at);
        }
    }

    #[test]
    #[should_panic(expected = "scoped thread panicked")]
    fn a_worker_that_panics_does_not_hang() {
        let make = |item: &usize, (): &mut ()| {
            assert_ne!(*item, 3);
            Ok(*item)
        };
        let items: Vec<usize> = (0..100).collect();
        let _ = in_order(&items, 2, &AtomicBool::new(false), make, |_, _| Ok(()));
    }

    #[test]
    fn a_consumer_that_fails_stops_the_workers() {
        let items: Vec<usize> = (0..1000).collect();
        let done = in_order(
            &items,
            2,
            &AtomicBool::new(false),
            |item, (): &mut ()| Ok(*item),
            |_, item| {
                if item == 3 { Err(Error::Interrupted) } else { Ok(()) }
            },
        );
        assert!(done.is_err());
    }
}
