//! What can go wrong with packages, in words that name the thing, the place and what to do.

use std::path::{Path, PathBuf};

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong with a package.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Text that is no reference.
    #[error("`{text}` is no reference: {problem}")]
    Reference {
        /// What was given.
        text: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A file name that no package may have.
    #[error("`{name}` is no name for a file of a package: {problem}")]
    Name {
        /// The name, shortened and without control characters.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Files that cannot be packed.
    #[error("{}: {problem}", .path.display())]
    Unpackable {
        /// The file or folder.
        path: PathBuf,
        /// Why not.
        problem: String,
        /// What to do; may be empty.
        hint: String,
    },
    /// A document that is no evaluation report.
    #[error("not an evaluation report: {0}")]
    Report(String),
    /// A digest that the caller was to give.
    #[error("no digest is given for {0}")]
    NoDigest(String),
    /// A key that cannot be used.
    #[error("{what}: {problem}")]
    Key {
        /// The file, or which key.
        what: String,
        /// What is wrong with it.
        problem: String,
        /// What to do; may be empty.
        hint: String,
    },
    /// A signature or attestation that says nothing that can be understood.
    #[error("a signature cannot be read: {0}")]
    Signature(String),
    /// A package over whose files no signature can be made.
    #[error("its files cannot be signed: {0}")]
    Unsignable(String),
    /// A trust policy with a mistake.
    #[error("{}: {problem}", .path.display())]
    Policy {
        /// The file.
        path: PathBuf,
        /// Where and what.
        problem: String,
    },
    /// A bundle that cannot be read, or made.
    #[error("the bundle cannot be used: {0}")]
    Bundle(String),
    /// A file of a volume that is not what it should be.
    #[error("{}: {problem}", .path.display())]
    Volume {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// Too little space for what is to come.
    #[error("{} needs {needed} bytes more, and its file system has {free}", .path.display())]
    NoSpace {
        /// The folder.
        path: PathBuf,
        /// Bytes still to come.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// A list of what a site has, with a mistake.
    #[error("{}: {problem}", .path.display())]
    Inventory {
        /// The file.
        path: PathBuf,
        /// Where and what.
        problem: String,
    },
    /// What the local store says.
    #[error(transparent)]
    Store(#[from] mdl_store::Error),
    /// What the files themselves say.
    #[error(transparent)]
    Formats(#[from] mdl_formats::Error),
}

impl Error {
    /// An [`Error::Unpackable`].
    pub(crate) fn unpackable(
        path: &Path,
        problem: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self::Unpackable { path: path.to_owned(), problem: problem.into(), hint: hint.into() }
    }

    /// An [`Error::Volume`].
    pub(crate) fn volume(path: &Path, problem: impl Into<String>) -> Self {
        Self::Volume { path: path.to_owned(), problem: problem.into() }
    }

    /// An [`Error::Key`].
    pub(crate) fn key(
        what: impl Into<String>,
        problem: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self::Key { what: what.into(), problem: problem.into(), hint: hint.into() }
    }

    /// What the user can do about it, if anything is known.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Unpackable { hint, .. } | Self::Key { hint, .. } if !hint.is_empty() => {
                Some(hint)
            }
            Self::Reference { .. } => Some(
                "a reference is [host[:port]/]name[/name][:tag|@digest], in lower case but for the tag",
            ),
            Self::Report(_) => Some("give what `mdl eval --json` printed"),
            Self::Formats(error) => error.hint(),
            _ => None,
        }
    }
}
