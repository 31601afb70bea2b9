//! The threads that run kernels, and the tier they run in.

use crate::Tier;

/// A small team of worker threads that stays awake between the products of one forward pass, and
/// the tier they use. Results never depend on how many there are.
#[derive(Debug)]
pub struct Compute {
    tier: Tier,
    threads: usize,
}

impl Compute {
    /// A team of `threads` (at least one, the calling thread counted).
    pub fn new(tier: Tier, threads: usize) -> Self {
        Self { tier, threads: threads.max(1) }
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
    pub fn run(&self, tasks: usize, task: impl Fn(usize) + Sync) {
        for index in 0..tasks {
            task(index);
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
        for (index, piece) in out.chunks_mut(chunk.max(1)).enumerate() {
            task(index, piece);
        }
    }
}
