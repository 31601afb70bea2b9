//! Packing: which files, as which layers, described by which manifest.

pub(crate) mod sort;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use mdl_store::Digest;

use crate::{Facts, Limits, Result};

/// What is to be packed.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The files, in the order of their layers.
    pub files: Vec<PlanFile>,
    /// What the model is.
    pub facts: Facts,
    /// What the user should know: files left out, headers that could not be read.
    pub notes: Vec<String>,
}

/// A file to pack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanFile {
    /// Its name in the package, with `/` between parts.
    pub name: String,
    /// Where it lies.
    pub path: PathBuf,
    /// Bytes.
    pub size: u64,
    /// Type of its layer.
    pub media_type: &'static str,
}

/// Some bytes with their type and digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    /// What they are.
    pub media_type: String,
    /// Of the bytes.
    pub digest: Digest,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// A manifest that refers to another, and its blobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReferrerPackage {
    /// Its `artifactType`.
    pub artifact_type: String,
    /// The manifest.
    pub manifest: Blob,
    /// Its config and layers.
    pub blobs: Vec<Blob>,
}

/// What packing gives besides the files themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    /// The config.
    pub config: Blob,
    /// The manifest.
    pub manifest: Blob,
    /// Recipe and report, each as a manifest that refers to the first.
    pub referrers: Vec<ReferrerPackage>,
}

impl Plan {
    /// Looks at a GGUF file (any part of a split one), a Hugging Face folder, or any other file or folder.
    pub fn of(path: &Path, limits: &Limits) -> Result<Self> {
        let _ = limits;
        Err(crate::Error::unpackable(path, "nothing is packed yet", ""))
    }

    /// The manifest and all that belongs to it, once the digest of each file is known, by its name.
    pub fn finish(
        &self,
        digests: &BTreeMap<String, Digest>,
        report: Option<&[u8]>,
    ) -> Result<Packed> {
        let _ = (digests, report);
        Err(crate::Error::NoDigest(String::new()))
    }
}
