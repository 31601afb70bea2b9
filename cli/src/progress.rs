//! Progress: a bar on a terminal, plain lines elsewhere, nothing when quiet.

use std::{
    io::{IsTerminal, stderr as standard_error},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use mdl_formats::digest;
use mdl_quant::pipeline;

use crate::{failure::Failure, printer::Printer, units::Size};

/// Shows how far a command is.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    /// Plain lines, where there is no terminal.
    lines: Option<(Printer, Mutex<Instant>)>,
    total: AtomicU64,
}

/// How often a plain line is written.
const LINE_EVERY: Duration = Duration::from_secs(10);

impl Progress {
    pub(crate) fn new(printer: Printer) -> Self {
        let terminal = standard_error().is_terminal();
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        if terminal && !printer.is_quiet() {
            bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        let lines =
            (!terminal && !printer.is_quiet()).then(|| (printer, Mutex::new(Instant::now())));
        Self { bar, lines, total: AtomicU64::new(0) }
    }

    /// Counts bytes.
    pub(crate) fn bytes(printer: Printer) -> Self {
        let progress = Self::new(printer);
        progress.style("{bar:30} {binary_bytes:>10}/{binary_total_bytes} {binary_bytes_per_sec:>12} {eta:>4} {msg}");
        progress
    }

    /// Counts steps of that name.
    pub(crate) fn steps(printer: Printer, name: &str, total: u64) -> Self {
        let progress = Self::new(printer);
        progress.style(&format!("{{bar:30}} {{pos:>5}}/{{len}} {name} {{eta:>4}} {{msg}}"));
        progress.bar.set_length(total);
        progress.total.store(total, Ordering::Relaxed);
        progress
    }

    fn style(&self, template: &str) {
        if let Ok(style) = ProgressStyle::with_template(template) {
            self.bar.set_style(style);
        }
    }

    /// One step is done; `message` says what is known by now.
    pub(crate) fn step(&self, done: u64, message: &str) {
        self.bar.set_position(done);
        self.bar.set_message(message.to_owned());
        self.line(|| format!("{done}/{} {message}", self.total.load(Ordering::Relaxed)));
    }

    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }

    fn line(&self, text: impl Fn() -> String) {
        let Some((printer, last)) = &self.lines else { return };
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.elapsed() >= LINE_EVERY {
            *last = Instant::now();
            printer.note(text());
        }
    }
}

impl pipeline::Progress for Progress {
    fn begin(&self, total: u64, resumed: u64) {
        self.total.store(total, Ordering::Relaxed);
        self.bar.set_length(total);
        self.bar.set_position(resumed);
        self.bar.reset_eta();
        if resumed > 0
            && let Some((printer, _)) = &self.lines
        {
            printer.note(format!("going on after {} of {}", Size(resumed), Size(total)));
        }
    }

    fn advance(&self, written: u64, tensor: &str) {
        self.bar.set_position(written);
        self.bar.set_message(tensor.to_owned());
        self.line(|| {
            format!("{} of {}, {tensor}", Size(written), Size(self.total.load(Ordering::Relaxed)))
        });
    }
}

/// Shows how far the hashing of files is; Ctrl-C stops it.
#[derive(Debug)]
pub(crate) struct Hashing {
    progress: Progress,
    read: AtomicU64,
    name: &'static str,
}

impl Hashing {
    pub(crate) fn new(printer: Printer) -> Self {
        Self::named(printer, "hashing")
    }

    /// As [`Hashing::new`], of work that is called otherwise.
    pub(crate) fn named(printer: Printer, name: &'static str) -> Self {
        Self { progress: Progress::bytes(printer), read: AtomicU64::new(0), name }
    }

    pub(crate) fn finish(&self) {
        self.progress.finish();
    }
}

impl digest::Watch for Hashing {
    fn begin(&self, total: u64) {
        pipeline::Progress::begin(&self.progress, total, 0);
    }

    fn read(&self, bytes: u64) {
        let read = self.read.fetch_add(bytes, Ordering::Relaxed) + bytes;
        pipeline::Progress::advance(&self.progress, read, self.name);
    }

    fn interrupted(&self) -> bool {
        INTERRUPTED.load(Ordering::Relaxed)
    }
}

/// Shows how far transfers are; Ctrl-C stops them where they can go on later.
#[derive(Debug)]
pub(crate) struct Transfer {
    progress: Progress,
    printer: Printer,
    expected: AtomicU64,
    moved: AtomicU64,
}

impl Transfer {
    pub(crate) fn new(printer: Printer) -> Self {
        Self {
            progress: Progress::bytes(printer),
            printer,
            expected: AtomicU64::new(0),
            moved: AtomicU64::new(0),
        }
    }

    pub(crate) fn finish(&self) {
        self.progress.finish();
    }

    fn show(&self) {
        let (moved, expected) =
            (self.moved.load(Ordering::Relaxed), self.expected.load(Ordering::Relaxed));
        self.progress.bar.set_position(moved);
        self.progress.line(|| format!("{} of {}", Size(moved), Size(expected)));
    }
}

impl mdl_client::Progress for Transfer {
    fn expect(&self, bytes: u64) {
        let expected = self.expected.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.progress.bar.set_length(expected);
    }

    fn advance(&self, bytes: u64) {
        self.moved.fetch_add(bytes, Ordering::Relaxed);
        self.show();
    }

    fn skip(&self, bytes: u64) {
        self.moved.fetch_add(bytes, Ordering::Relaxed);
        self.show();
        // What was there already says nothing about the rate.
        self.progress.bar.reset_eta();
    }

    fn undo(&self, bytes: u64) {
        let less = |moved: u64| Some(moved.saturating_sub(bytes));
        // The closure always gives a value.
        let _ = self.moved.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        self.show();
    }

    fn note(&self, text: &str) {
        self.progress.bar.suspend(|| self.printer.note(text));
    }

    fn interrupted(&self) -> bool {
        INTERRUPTED.load(Ordering::Relaxed)
    }
}

/// Set by Ctrl-C; a second one ends the program at once.
pub(crate) static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// From now on Ctrl-C asks the work to stop where it can go on later. May be called again.
pub(crate) fn stop_on_interrupt() -> Result<(), Failure> {
    static LISTENING: AtomicBool = AtomicBool::new(false);
    if LISTENING.swap(true, Ordering::Relaxed) {
        return Ok(());
    }
    ctrlc::set_handler(|| {
        if INTERRUPTED.swap(true, Ordering::Relaxed) {
            #[allow(clippy::exit, reason = "the user insists")]
            std::process::exit(Failure::INTERRUPTED.into());
        }
    })
    .map_err(|error| Failure::new(format!("cannot listen for Ctrl-C: {error}")))
}
