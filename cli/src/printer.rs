//! The one place that prints: results to standard output, everything else to standard error.

use std::io::{self, Write};

use serde::Serialize;

use crate::failure::Failure;

/// Where a command's words go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Printer {
    quiet: bool,
}

#[expect(clippy::unused_self, reason = "who prints needs the printer")]
impl Printer {
    pub(crate) fn new(quiet: bool) -> Self {
        Self { quiet }
    }

    pub(crate) fn is_quiet(self) -> bool {
        self.quiet
    }

    /// A line of the result.
    pub(crate) fn line(self, text: impl AsRef<str>) -> Result<(), Failure> {
        write_out(&format!("{}\n", text.as_ref()))
    }

    /// A piece of the result, shown at once.
    pub(crate) fn piece(self, text: &str) -> Result<(), Failure> {
        write_out(text)
    }

    /// The result as JSON.
    pub(crate) fn json(self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(value)
            .map_err(|error| Failure::new(format!("cannot write the result as JSON: {error}")))?;
        self.line(text)
    }

    /// Something for the user to know; not part of the result.
    pub(crate) fn note(self, text: impl AsRef<str>) {
        if !self.quiet {
            write_err(text.as_ref());
        }
    }

    /// A question, without an end of line.
    pub(crate) fn ask(self, text: &str) {
        let mut out = io::stderr().lock();
        // There is nowhere left to report that standard error is closed.
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }

    /// Something that the user should not miss.
    pub(crate) fn warn(self, text: impl AsRef<str>) {
        write_err(&format!("warning: {}", text.as_ref()));
    }
}

/// A reader that went away (`mdl inspect … | head`) ends the program without an error.
fn write_out(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Failure::new("").status(0)),
        Err(error) => Err(Failure::new(format!("cannot write to standard output: {error}"))),
    }
}

/// Standard output for a library that writes to it as it goes: the log of a server.
pub(crate) fn standard_output() -> Box<dyn Write + Send> {
    Box::new(io::stdout())
}

/// As [`standard_output`].
pub(crate) fn standard_error() -> Box<dyn Write + Send> {
    Box::new(io::stderr())
}

/// There is nowhere left to report that standard error is closed.
pub(crate) fn write_err(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}
