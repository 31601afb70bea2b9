//! What can go wrong in a store.

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::{Digest, Name, Tag};

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong in a store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Text that is no digest.
    #[error("`{0}` is no digest: expected sha256: or sha512: and lower-case hex digits")]
    DigestInvalid(String),
    /// Content that does not have the digest that was stated for it.
    #[error("the content has the digest {found}, not {stated}")]
    DigestMismatch {
        /// What was claimed.
        stated: Digest,
        /// What it is.
        found: Digest,
    },
    /// Text that is no repository's name.
    #[error(
        "`{0}` is no name of a repository: lower-case letters, digits and . _ - between them, parts joined by /"
    )]
    NameInvalid(String),
    /// A repository that holds nothing.
    #[error("there is no repository {0}")]
    NameUnknown(Name),
    /// Text that is no tag.
    #[error("`{0}` is no tag: letters, digits, _ . - and at most 128 of them")]
    TagInvalid(String),
    /// A blob that the repository does not hold.
    #[error("{repo} holds no blob {digest}")]
    BlobUnknown {
        /// Where it was asked for.
        repo: Name,
        /// What was asked for.
        digest: Digest,
    },
    /// A blob that something in the repository uses.
    #[error("the blob {digest} is used by {user}")]
    BlobInUse {
        /// What was to be deleted.
        digest: Digest,
        /// The manifest that uses it.
        user: Digest,
    },
    /// A manifest that the repository does not hold.
    #[error("{repo} holds no manifest {reference}")]
    ManifestUnknown {
        /// Where it was asked for.
        repo: Name,
        /// The tag or digest.
        reference: String,
    },
    /// Bytes that are no manifest.
    #[error("not a manifest: {0}")]
    ManifestInvalid(String),
    /// An upload that is not there, or of another repository.
    #[error("there is no such upload in {0}")]
    UploadUnknown(Name),
    /// An upload that somebody else is writing to.
    #[error("the upload is being written to by another request")]
    UploadBusy,
    /// A chunk that does not continue its upload.
    #[error("the chunk begins at {stated}, but the upload holds {held} bytes")]
    RangeMismatch {
        /// Where the chunk would begin.
        stated: u64,
        /// How much is there.
        held: u64,
    },
    /// More than a limit allows.
    #[error("{what} is larger than the limit of {limit}")]
    TooLarge {
        /// What is.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// More than repositories may hold together.
    #[error("{prefix} may hold {limit} bytes, and this would be more")]
    Quota {
        /// Which repositories, in words.
        prefix: String,
        /// Bytes.
        limit: u64,
    },
    /// A tag that stays where it is.
    #[error("the tag {tag} of {repo} is immutable: it can be neither moved nor deleted")]
    TagFixed {
        /// The repository.
        repo: Name,
        /// The tag.
        tag: Tag,
    },
    /// The disk is full.
    #[error("no space left on the device that holds {}", .0.display())]
    NoSpace(PathBuf),
    /// Somebody else has the store open.
    #[error("{} is in use by another process", .0.display())]
    Locked(PathBuf),
    /// What the store itself wrote is not as it should be.
    #[error("{}: {what}; run `mdl registry scrub`", .path.display())]
    Corrupt {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
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

/// An error of a file operation, with a full disk told apart.
pub(crate) fn io_error(what: &'static str, path: &Path, source: io::Error) -> Error {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Error::NoSpace(path.to_owned())
        }
        _ => Error::Io { what, path: path.to_owned(), source },
    }
}
