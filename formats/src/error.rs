//! What can go wrong with a file, in words that name the file, the place and what to do.

use std::path::{Path, PathBuf};

/// Result of everything in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong with a model file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused.
    #[error("{}: {what}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was being done: `open`, `read the header` …
        what: &'static str,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// The file's bytes break its format, or a limit.
    #[error("{}: {place}: {problem}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where in it: a byte offset, a key, a tensor.
        place: String,
        /// What is wrong there.
        problem: String,
    },
    /// Somebody asked to stop.
    #[error("interrupted")]
    Interrupted,
    /// The file is sound, but holds what this program does not take.
    #[error("{}: {problem}", path.display())]
    Unsupported {
        /// The file or folder.
        path: PathBuf,
        /// What it is that is not taken.
        problem: String,
        /// What the user can do about it; may be empty.
        hint: String,
    },
}

impl Error {
    /// A closure for `map_err` that adds path and action to a system error.
    pub fn io(path: &Path, what: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, what, source }
    }

    /// A [`Error::Malformed`].
    pub fn malformed(path: &Path, place: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Malformed { path: path.to_owned(), place: place.into(), problem: problem.into() }
    }

    /// An [`Error::Unsupported`].
    pub fn unsupported(path: &Path, problem: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Unsupported { path: path.to_owned(), problem: problem.into(), hint: hint.into() }
    }

    /// What the user can do about it, if anything is known.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Unsupported { hint, .. } if !hint.is_empty() => Some(hint),
            _ => None,
        }
    }
}
