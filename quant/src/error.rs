//! What can go wrong in this crate.

use std::path::{Path, PathBuf};

/// Result of everything in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong while a model is quantized or evaluated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A model file cannot be read or written.
    #[error(transparent)]
    Format(mdl_formats::Error),
    /// A model cannot be run.
    #[error(transparent)]
    Infer(#[from] mdl_infer::Error),
    /// The scheme's name.
    #[error(transparent)]
    Scheme(#[from] crate::SchemeError),
    /// The request does not fit the model.
    #[error("{problem}")]
    Refused {
        /// What does not fit.
        problem: String,
        /// What to do about it; may be empty.
        hint: String,
    },
    /// The request itself is wrong, whatever the model's weights.
    #[error("{problem}")]
    Usage {
        /// What is wrong.
        problem: String,
        /// What to do about it; may be empty.
        hint: String,
    },
    /// A side file (recipe, importance matrix, text) does not hold what it should.
    #[error("{}: {problem}", path.display())]
    Input {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        problem: String,
    },
    /// Somebody asked to stop; what is done is kept.
    #[error("interrupted")]
    Interrupted,
}

impl From<mdl_formats::Error> for Error {
    fn from(error: mdl_formats::Error) -> Self {
        match error {
            mdl_formats::Error::Interrupted => Self::Interrupted,
            other => Self::Format(other),
        }
    }
}

impl Error {
    /// An [`Error::Refused`].
    pub fn refused(problem: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Refused { problem: problem.into(), hint: hint.into() }
    }

    /// An [`Error::Usage`].
    pub fn usage(problem: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Usage { problem: problem.into(), hint: hint.into() }
    }

    /// An [`Error::Input`].
    pub fn input(path: &Path, problem: impl Into<String>) -> Self {
        Self::Input { path: path.to_owned(), problem: problem.into() }
    }

    /// What the user can do about it, if anything is known.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Format(error) => error.hint(),
            Self::Refused { hint, .. } | Self::Usage { hint, .. } if !hint.is_empty() => Some(hint),
            _ => None,
        }
    }
}
