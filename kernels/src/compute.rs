//! The threads that run kernels, and the tier they run in.

use std::{cmp, fmt};

use crate::{Tier, team::Team};

/// A small team of worker threads that stays awake between the products of one forward pass, and
/// the tier they use. Results never depend on how many there are.
pub struct Compute {
    tier: Tier,
    threads: usize,
    /// None where the calling thread works alone.
    team: Option<Team>,
}

impl Compute {
    /// A team of `threads` (at least one, the calling thread counted). Where the system refuses to
    /// start one, the team is smaller.
    pub fn new(tier: Tier, threads: usize) -> Self {
        let team = (threads > 1).then(|| Team::new(threads - 1)).filter(|team| team.workers() > 0);
        let threads = 1 + team.as_ref().map_or(0, Team::workers);
        Self { tier, threads, team }
    }

    /// The instruction set in use.
    pub fn tier(&self) -> Tier {
        self.tier
    }

    /// Threads, the calling one counted.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Runs `task(0) … task(tasks - 1)`, each once, on all threads, and returns when all are done.
    ///
    /// A call from within a task, or from a second thread while the team is busy, runs alone on its
    /// own thread.
    ///
    /// # Panics
    /// Where a task panics, after all threads have stopped.
    pub fn run(&self, tasks: usize, task: impl Fn(usize) + Sync) {
        match &self.team {
            Some(team) if tasks > 1 => team.run(tasks, &task),
            _ => (0..tasks).for_each(task),
        }
    }

    /// Cuts `out` into pieces of `chunk` values (the last may be shorter) and runs
    /// `task(index, piece)` for each on all threads.
    pub fn chunks<T: Send>(
        &self,
        out: &mut [T],
        chunk: usize,
        task: impl Fn(usize, &mut [T]) + Sync,
    ) {
        let chunk = chunk.max(1);
        let len = out.len();
        let pieces = len.div_ceil(chunk);
        if self.team.is_none() || pieces < 2 {
            for (index, piece) in out.chunks_mut(chunk).enumerate() {
                task(index, piece);
            }
            return;
        }
        let base = Base(out.as_mut_ptr());
        self.run(pieces, |index| {
            let start = index * chunk;
            let length = cmp::min(chunk, len - start);
            // SAFETY: `run` gives every index below `pieces` to one call only, so that no two pieces
            // overlap; `start + length <= len`, and `out` is borrowed for the whole call.
            let piece = unsafe { std::slice::from_raw_parts_mut(base.at(start), length) };
            task(index, piece);
        });
    }
}

impl fmt::Debug for Compute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compute")
            .field("tier", &self.tier)
            .field("threads", &self.threads)
            .finish_non_exhaustive()
    }
}

/// The beginning of a slice whose pieces go to several threads.
struct Base<T>(*mut T);

impl<T> Base<T> {
    /// The address of value `index`.
    fn at(&self, index: usize) -> *mut T {
        self.0.wrapping_add(index)
    }
}

// SAFETY: a `Base` is only used by `Compute::chunks`, which gives each thread a piece of its own;
// values may go to other threads because `chunks` asks for `T: Send`.
unsafe impl<T: Send> Sync for Base<T> {}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn every_task_runs_once() {
        for threads in [1, 2, 3, 7] {
            let compute = Compute::new(Tier::PORTABLE, threads);
            assert_eq!(compute.threads(), threads);
            for tasks in [0, 1, 2, 5, 100] {
                let counts: Vec<AtomicUsize> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
                compute.run(tasks, |index| {
                    counts[index].fetch_add(1, Ordering::Relaxed);
                });
                assert!(counts.iter().all(|count| count.load(Ordering::Relaxed) == 1));
            }
        }
    }

    #[test]
    fn pieces_are_whole_and_apart() {
        let compute = Compute::new(Tier::PORTABLE, 3);
        for len in [0usize, 1, 9, 10, 11, 1000] {
            let mut out = vec![0; len];
            compute.chunks(&mut out, 10, |index, piece| {
                for (offset, value) in piece.iter_mut().enumerate() {
                    *value += 1 + index * 10 + offset;
                }
            });
            assert!(out.iter().copied().eq(1..=len));
        }
    }

    #[test]
    fn a_call_within_a_task_and_calls_from_two_threads_finish() {
        let compute = Compute::new(Tier::PORTABLE, 2);
        let count = AtomicUsize::new(0);
        let add = |_: usize| {
            count.fetch_add(1, Ordering::Relaxed);
        };
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        compute.run(4, |_| compute.run(3, add));
                    }
                });
            }
        });
        assert_eq!(count.load(Ordering::Relaxed), 2 * 200 * 4 * 3);
    }

    #[test]
    fn workers_wake_up_again_after_a_pause() {
        let compute = Compute::new(Tier::PORTABLE, 2);
        for _ in 0..3 {
            let count = AtomicUsize::new(0);
            compute.run(50, |_| {
                count.fetch_add(1, Ordering::Relaxed);
            });
            assert_eq!(count.load(Ordering::Relaxed), 50);
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_team_goes_on() {
        let compute = Compute::new(Tier::PORTABLE, 3);
        for bad in [0, 30] {
            let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                compute.run(31, |index| assert!(index != bad, "on purpose"));
            }));
            assert!(caught.is_err());
        }
        let count = AtomicUsize::new(0);
        compute.run(10, |_| {
            count.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(count.load(Ordering::Relaxed), 10);
    }
}
