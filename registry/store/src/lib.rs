//! Content-addressed blobs and references, durable on a file system.
//!
//! [`Store`] is what the registry server needs from a backend. [`layout::Layout`] is the local store of the CLI: an OCI
//! image layout that other tools read as it stands.
#![forbid(unsafe_code)]

mod api;
mod db;
mod digest;
pub mod disk;
mod error;
mod fs;
pub mod layout;
mod limits;
mod manifest;
mod name;
#[cfg(any(test, feature = "testing"))]
pub mod simulation;
#[cfg(any(test, feature = "testing"))]
pub mod suite;

pub use api::{
    BlobReader, Found, ManifestInfo, Page, Piece, Pushed, Referrer, Store, StoredManifest, TagInfo,
    UploadId, UploadStatus, UploadWriter,
};
pub use digest::{Algorithm, Digest, Hasher};
pub use error::{Error, Result};
pub use fs::{
    Choice, FsStore, IsFixed, Keep, Maintain, Quota, RealWorld, Rules, Stats, Used, World,
};
pub use limits::Limits;
pub use manifest::{Descriptor, Links};
pub use name::{Name, Reference, Tag};
