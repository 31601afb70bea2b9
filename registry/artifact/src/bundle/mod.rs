//! Bundles: packages on removable media, for sites that no network reaches.
//!
//! # The format, version 1
//! A bundle is one or more *volumes*, each a folder that fits its medium:
//!
//! ```text
//! mdl-bundle.json       the index of the whole set: models, blobs, and which volume holds which piece of which blob
//! mdl-bundle.sig        a Sigstore bundle over the index's digest, where a key was given
//! oci-layout, index.json the volume as an OCI image layout, readable by skopeo and oras where no blob is in pieces
//! blobs/sha256/HEX      a blob that is whole
//! blobs/sha256/HEX.NNNN a piece of one that is not, by number: `cat HEX.*` gives the blob
//! volume                the number of this volume and of all, `1/3`
//! SHA256SUMS            digests of all these files, for `sha256sum -c`
//! ```
//!
//! The index, its signature and everything small (manifests, configs, signatures and attestations) are in every volume,
//! so that the first medium that comes is enough to judge all models. Names of files are made from digests, never read
//! from an index. The index only proposes: what a model needs is read from its manifest, and whether it may be used is
//! decided by its own signatures.

mod create;
mod gather;
mod import;
mod index;
mod inventory;
mod media;
mod pour;
mod receipt;
#[cfg(test)]
mod tests;

pub use create::{Created, Request, create};
pub use import::{Import, Progress};
pub use index::{Blob, Index, Model, Named, Part};
pub use inventory::Inventory;
pub use media::{Fault, Media};
pub use receipt::{RECEIPT, Receipt, Received};

/// The index of a set, in every volume.
pub const INDEX_FILE: &str = "mdl-bundle.json";
/// Its signature.
pub const SIGNATURE_FILE: &str = "mdl-bundle.sig";
/// Digests of a volume's files.
pub const SUMS_FILE: &str = "SHA256SUMS";
/// Which volume it is.
const VOLUME_FILE: &str = "volume";

/// Predicate type of the signature over an index.
pub const INDEX_STATEMENT: &str = "https://mdl.org/bundle/v1";

/// The largest file that every file system takes: FAT32's.
pub const FILE_BYTES: u64 = (4 << 30) - 1;

/// Bytes of a blob that is in every volume.
const SMALL: u64 = 1 << 20;
