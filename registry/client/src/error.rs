//! What can go wrong in a transfer.

use std::{io, path::PathBuf, time::Duration};

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong in a transfer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A peer that cannot be reached, or whose connection broke.
    #[error("{place}: {what}")]
    Connection {
        /// Address, without what follows the path.
        place: String,
        /// What the connection says.
        what: String,
    },
    /// A peer that moves nothing.
    #[error("{place}: nothing moved for {} s", .after.as_secs_f32())]
    Idle {
        /// Address, without what follows the path.
        place: String,
        /// How long we waited.
        after: Duration,
    },
    /// A status that ends the work.
    #[error("{place}: status {status}{}{detail}", if .detail.is_empty() { "" } else { ", " })]
    Status {
        /// Address, without what follows the path.
        place: String,
        /// The status.
        status: u16,
        /// What the peer says about it.
        detail: String,
        /// When it asks to be tried again.
        retry_after: Option<Duration>,
    },
    /// Credentials that lack or do not suffice.
    #[error("{host} refuses{}{detail}", if .detail.is_empty() { "" } else { ": " })]
    Unauthorized {
        /// The registry or hub.
        host: String,
        /// What the peer says about it.
        detail: String,
        /// What to do.
        hint: String,
    },
    /// Something that is not there.
    #[error("{host} has no {what}")]
    Unknown {
        /// The registry or hub.
        host: String,
        /// What was asked for.
        what: String,
    },
    /// An answer that no honest peer gives, or that breaks the protocol. Nothing of it is kept.
    #[error("{place}: {what}")]
    Broken {
        /// Address, without what follows the path.
        place: String,
        /// What is wrong with it.
        what: String,
    },
    /// What is not done, and what to do instead.
    #[error("{what}")]
    Refused {
        /// What is refused, and why.
        what: String,
        /// What to do.
        hint: String,
    },
    /// Too little space for what is to come.
    #[error("{} needs {needed} bytes more, and its file system has {free}", .path.display())]
    NoSpace {
        /// The file.
        path: PathBuf,
        /// Bytes still to come.
        needed: u64,
        /// Bytes there are.
        free: u64,
    },
    /// The user wants to stop; the same call goes on later.
    #[error("interrupted")]
    Interrupted,
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
    /// The local store.
    #[error(transparent)]
    Store(#[from] mdl_store::Error),
    /// A file that is read or written.
    #[error(transparent)]
    Formats(#[from] mdl_formats::Error),
}

impl Error {
    /// For `map_err` on a file operation.
    pub(crate) fn io(path: &std::path::Path, what: &'static str) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { what, path, source }
    }

    pub(crate) fn broken(place: impl Into<String>, what: impl Into<String>) -> Self {
        Self::Broken { place: place.into(), what: what.into() }
    }

    pub(crate) fn refused(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Refused { what: what.into(), hint: hint.into() }
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Connection { what, .. } if what.contains("certificate") => {
                Some("for a certificate authority of your own give --ca FILE")
            }
            Self::Connection { what, .. } if what.contains("SSL") || what.contains("TLS") => {
                Some("is it a registry without TLS? then give --plain-http")
            }
            Self::Connection { .. } | Self::Idle { .. } => {
                Some("run the same command again to go on where it stopped")
            }
            Self::Unauthorized { hint, .. } | Self::Refused { hint, .. } => Some(hint.as_str()),
            Self::Status { status: 413, .. } => {
                Some("a proxy before the registry limits the size of requests")
            }
            Self::Status { status: 429 | 500..=599, .. } => {
                Some("the peer is in trouble; run the same command later to go on")
            }
            Self::Interrupted => Some("run the same command again to go on where it stopped"),
            _ => None,
        }
        .filter(|hint| !hint.is_empty())
    }

    /// Whether the same request may succeed a little later.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Connection { .. } | Self::Idle { .. } => true,
            Self::Status { status, .. } => {
                matches!(status, 408 | 425 | 429 | 500 | 502 | 503 | 504)
            }
            _ => false,
        }
    }
}

/// What a peer wrote, fit to be shown: one line, no control characters, not long.
pub(crate) fn shown(text: &str) -> String {
    const SHOWN: usize = 300;
    let printable = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut short: String = printable.take(SHOWN).collect();
    if text.trim().chars().count() > SHOWN {
        short.push('…');
    }
    short
}
