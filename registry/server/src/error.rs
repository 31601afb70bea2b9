//! What can go wrong in running a registry.

use std::{io, path::PathBuf};

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong in running a registry.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A configuration that cannot be taken.
    #[error("{}: {what}", .path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        what: String,
    },
    /// An address that cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// As it was given.
        address: String,
        /// What the system says.
        source: io::Error,
    },
    /// An address that others can reach, while everybody may do everything.
    #[error(
        "{0} can be reached from other machines, and without accounts everybody could change everything there"
    )]
    NotLoopback(String),
    /// An account that cannot be made, or is not there.
    #[error("{0}")]
    Account(String),
    /// Retention without anything that says what is to be kept.
    #[error("nobody serves {}, so that nothing says which tags it keeps", .0.display())]
    NoRules(PathBuf),
    /// A certificate or a key that cannot be used.
    #[error("{}: {what}", .path.display())]
    Tls {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// What the store says.
    #[error(transparent)]
    Store(#[from] mdl_store::Error),
    /// Work that a running server was asked for, and that failed there.
    #[error("the registry that serves {}: {what}", .root.display())]
    Remote {
        /// Its folder.
        root: PathBuf,
        /// What it says.
        what: String,
    },
    /// A file operation that failed.
    #[error("cannot {what} {}: {source}", .path.display())]
    Io {
        /// What was attempted.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl Error {
    /// What to do.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NotLoopback(_) => Some(
                "listen on 127.0.0.1 or [::1], and let a proxy or a tunnel that knows who may \
                 come lead there",
            ),
            Self::Listen { source, .. } if source.kind() == io::ErrorKind::AddrInUse => {
                Some("another program listens there: choose another port with --listen")
            }
            Self::NoRules(_) => Some("name the registry's configuration with --config"),
            Self::Store(mdl_store::Error::Locked(_)) => {
                Some("stop the process that has it open, or let it do the work")
            }
            _ => None,
        }
    }

    /// Whether the caller asked for what cannot be, rather than that something failed.
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::Config { .. } | Self::NotLoopback(_) | Self::NoRules(_))
    }
}
