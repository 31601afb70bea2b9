//! Worker threads that take tasks by number from one closure at a time.
//!
//! A job is published under a new epoch; workers and caller draw task numbers from a shared counter
//! until none is left. Between jobs a worker first spins, since the next product usually follows
//! within microseconds, then gives way to others, then sleeps.

use std::{
    cell::UnsafeCell,
    hint,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{
        Arc, Condvar, Mutex, PoisonError, TryLockError,
        atomic::{AtomicBool, AtomicUsize, Ordering::*},
    },
    thread::{self, JoinHandle},
};

/// Looks at the epoch before a waiting worker begins to give way: some 20 µs.
const SPINS: u32 = 1_000;

/// Times that it gives way before it sleeps.
const YIELDS: u32 = 200;

/// A closure without its type and lifetime.
#[derive(Clone, Copy)]
struct Job {
    task: *const (),
    call: unsafe fn(*const (), usize),
    tasks: usize,
}

/// # Safety
/// `task` points to an `F` that outlives the call.
unsafe fn call<F: Fn(usize) + Sync>(task: *const (), index: usize) {
    // SAFETY: the caller's promise.
    unsafe { (*task.cast::<F>())(index) }
}

struct Shared {
    /// Changes when there is a new job, or when workers are to stop.
    epoch: AtomicUsize,
    job: UnsafeCell<Option<Job>>,
    /// The next task's number.
    next: AtomicUsize,
    /// Workers that have not finished the current job.
    active: AtomicUsize,
    panicked: AtomicBool,
    stop: AtomicBool,
    sleeping: AtomicUsize,
    bed: Mutex<()>,
    alarm: Condvar,
}

// SAFETY: `job` is the only field that is not `Sync`. It is written by the thread that holds
// `Team::busy` while no worker is active, and read by workers only after they have seen the epoch
// that was published after the write, and before they report that they are done.
unsafe impl Sync for Shared {}
// SAFETY: `Job` holds a pointer to a closure that is `Sync`, and is used as above.
unsafe impl Send for Shared {}

/// The workers.
pub(crate) struct Team {
    shared: Arc<Shared>,
    handles: Vec<JoinHandle<()>>,
    /// Held while a job runs.
    busy: Mutex<()>,
}

impl Team {
    /// As many workers as the system gives, at most `workers`.
    pub(crate) fn new(workers: usize) -> Self {
        let shared = Arc::new(Shared {
            epoch: AtomicUsize::new(0),
            job: UnsafeCell::new(None),
            next: AtomicUsize::new(0),
            active: AtomicUsize::new(0),
            panicked: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            sleeping: AtomicUsize::new(0),
            bed: Mutex::new(()),
            alarm: Condvar::new(),
        });
        let start = |_| {
            let shared = Arc::clone(&shared);
            thread::Builder::new().name("mdl-kernel".into()).spawn(move || shared.work()).ok()
        };
        let handles = (0..workers).map_while(start).collect();
        Self { shared, handles, busy: Mutex::new(()) }
    }

    pub(crate) fn workers(&self) -> usize {
        self.handles.len()
    }

    /// As [`crate::Compute::run`].
    pub(crate) fn run<F: Fn(usize) + Sync>(&self, tasks: usize, task: &F) {
        let _busy = match self.busy.try_lock() {
            Ok(guard) => guard,
            // A task that panicked has left nothing behind: every job starts anew.
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return (0..tasks).for_each(task),
        };
        let shared = &*self.shared;
        let job = Job { task: std::ptr::from_ref(task).cast(), call: call::<F>, tasks };
        // SAFETY: `busy` is held and `active` is 0, so that no worker looks at the job.
        unsafe { *shared.job.get() = Some(job) };
        shared.next.store(0, Relaxed);
        shared.panicked.store(false, Relaxed);
        shared.active.store(self.handles.len(), Relaxed);
        shared.announce();
        // The closure may not go away while a worker uses it: wait even if a task panics here.
        let own = catch_unwind(AssertUnwindSafe(|| shared.draw(task, tasks)));
        if own.is_err() {
            shared.next.store(tasks, Relaxed);
        }
        wait_until(|| shared.active.load(Acquire) == 0);
        if let Err(panic) = own {
            resume_unwind(panic);
        }
        assert!(!shared.panicked.load(Relaxed), "a kernel's task panicked");
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        self.shared.stop.store(true, Relaxed);
        self.shared.announce();
        for handle in self.handles.drain(..) {
            // A worker catches the panics of its tasks, so that there is nothing to report.
            drop(handle.join());
        }
    }
}

impl Shared {
    /// Starts a new epoch and wakes who sleeps.
    fn announce(&self) {
        // A worker counts itself as sleeping before it looks at the epoch for the last time, all in
        // one total order: either it sees the new epoch, or we see it sleeping.
        self.epoch.fetch_add(1, SeqCst);
        if self.sleeping.load(SeqCst) > 0 {
            let _bed = self.bed.lock().unwrap_or_else(PoisonError::into_inner);
            self.alarm.notify_all();
        }
    }

    /// Runs tasks until none is left.
    fn draw(&self, task: impl Fn(usize), tasks: usize) {
        loop {
            let index = self.next.fetch_add(1, Relaxed);
            if index >= tasks {
                return;
            }
            task(index);
        }
    }

    /// A worker's life.
    fn work(&self) {
        let mut seen = 0;
        loop {
            self.wait_for_epoch_after(seen);
            // One more than before: the next is announced only when all have finished this one.
            seen = seen.wrapping_add(1);
            if self.stop.load(Relaxed) {
                return;
            }
            // SAFETY: the job was written before the epoch that we have just seen, and is not changed
            // before `active` has come down to 0.
            if let Some(job) = unsafe { *self.job.get() } {
                let run = || {
                    // SAFETY: `task` outlives the job: `Team::run` waits for `active` to be 0.
                    self.draw(|index| unsafe { (job.call)(job.task, index) }, job.tasks);
                };
                if catch_unwind(AssertUnwindSafe(run)).is_err() {
                    self.panicked.store(true, Relaxed);
                }
            }
            self.active.fetch_sub(1, Release);
        }
    }

    fn wait_for_epoch_after(&self, seen: usize) {
        let changed = || self.epoch.load(SeqCst) != seen;
        if spin_until(changed) {
            return;
        }
        let mut bed = self.bed.lock().unwrap_or_else(PoisonError::into_inner);
        self.sleeping.fetch_add(1, SeqCst);
        while !changed() {
            bed = self.alarm.wait(bed).unwrap_or_else(PoisonError::into_inner);
        }
        self.sleeping.fetch_sub(1, SeqCst);
    }
}

/// Spins, then gives way for a while; whether `done` came true.
fn spin_until(done: impl Fn() -> bool) -> bool {
    for _ in 0..SPINS {
        if done() {
            return true;
        }
        hint::spin_loop();
    }
    for _ in 0..YIELDS {
        if done() {
            return true;
        }
        thread::yield_now();
    }
    false
}

/// Waits for what is about to happen.
fn wait_until(done: impl Fn() -> bool) {
    while !spin_until(&done) {}
}
