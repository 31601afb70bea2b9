//! The index of a set of volumes.

use std::collections::BTreeMap;

use mdl_store::{Descriptor, Digest, Name, Tag};
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Bytes of an index.
pub(super) const INDEX_BYTES: u64 = 64 << 20;
/// Models of a set.
pub(super) const MODELS: usize = 10_000;
/// Volumes of a set.
pub(super) const VOLUMES: u32 = 9_999;
/// Pieces of one blob.
pub(super) const PIECES: usize = 9_999;

/// What a set of volumes holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Index {
    /// Of the format.
    pub version: u32,
    /// How many volumes there are.
    pub volumes: u32,
    /// Bytes that each may have, where that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume_size: Option<u64>,
    /// The packages.
    pub models: Vec<Model>,
    /// Every blob that travels, manifests among them, by digest.
    pub blobs: BTreeMap<String, Blob>,
    /// Digests of blobs that the site's inventory has, with the repositories that it has them in.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub absent: BTreeMap<String, Vec<String>>,
}

/// A package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// Without the host.
    pub repository: String,
    /// None of a package that was named by its digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// Of its manifest.
    pub digest: String,
    /// Of its manifest.
    pub media_type: String,
    /// Of its manifest.
    pub size: u64,
    /// Manifests that refer to it, to these and so on, with their media types.
    pub referrers: Vec<(String, String)>,
}

/// A blob that travels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Blob {
    /// Bytes.
    pub size: u64,
    /// Where it is; empty for one that is whole in every volume.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Part>,
}

/// A piece of a blob; they follow each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// From 1 on.
    pub volume: u32,
    /// Bytes.
    pub size: u64,
    /// SHA-256 in hex.
    pub sha256: String,
}

/// What a model of an index is called, and its manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// The repository.
    pub repository: Name,
    /// The tag.
    pub tag: Option<Tag>,
    /// The manifest.
    pub manifest: Descriptor,
}

impl Model {
    /// With its parts checked.
    ///
    /// # Errors
    /// [`Error::Bundle`].
    pub fn named(&self) -> Result<Named> {
        let broken = |error: mdl_store::Error| Error::Bundle(format!("its index: {error}"));
        Ok(Named {
            repository: self.repository.parse().map_err(broken)?,
            tag: self.tag.as_ref().map(|tag| tag.parse()).transpose().map_err(broken)?,
            manifest: Descriptor {
                media_type: self.media_type.clone(),
                digest: self.digest.parse().map_err(broken)?,
                size: self.size,
            },
        })
    }

    /// As people write it.
    pub fn name(&self) -> String {
        match &self.tag {
            Some(tag) => format!("{}:{tag}", self.repository),
            None => format!("{}@{}", self.repository, self.digest),
        }
    }
}

impl Index {
    /// Reads an index; every name and digest in it is sound then, every size adds up, and every volume is one of the set.
    ///
    /// # Errors
    /// [`Error::Bundle`].
    pub fn read(bytes: &[u8]) -> Result<Self> {
        let bad = |what: String| Error::Bundle(format!("its index: {what}"));
        let index: Self = serde_json::from_slice(bytes).map_err(|error| bad(error.to_string()))?;
        if index.version != 1 {
            return Err(bad(format!("its version is {}, and this program knows 1", index.version)));
        }
        if !(1..=VOLUMES).contains(&index.volumes) || index.models.len() > MODELS {
            return Err(bad("more volumes or models than the limit, or none".to_owned()));
        }
        for model in &index.models {
            model.named()?;
            for (digest, _) in &model.referrers {
                digest.parse::<Digest>().map_err(|error| bad(error.to_string()))?;
            }
        }
        for (digest, blob) in &index.blobs {
            digest.parse::<Digest>().map_err(|error| bad(error.to_string()))?;
            let sum = blob.parts.iter().try_fold(0u64, |sum, part| sum.checked_add(part.size));
            let sound = |part: &Part| {
                (1..=index.volumes).contains(&part.volume) && Digest::sha256(&part.sha256).is_ok()
            };
            let whole = blob.parts.is_empty() || sum == Some(blob.size);
            if !whole || blob.parts.len() > PIECES || !blob.parts.iter().all(sound) {
                return Err(bad(format!("the pieces of {digest} do not make it up")));
            }
        }
        for (digest, repositories) in &index.absent {
            digest.parse::<Digest>().map_err(|error| bad(error.to_string()))?;
            for name in repositories {
                name.parse::<Name>().map_err(|error| bad(error.to_string()))?;
            }
        }
        Ok(index)
    }

    /// As it is written.
    ///
    /// # Errors
    /// [`Error::Bundle`], which does not happen.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut bytes = serde_json::to_vec_pretty(self)
            .map_err(|error| Error::Bundle(format!("its index: {error}")))?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Bytes of all blobs that travel.
    pub fn bytes(&self) -> u64 {
        self.blobs.values().fold(0, |sum, blob| sum.saturating_add(blob.size))
    }
}
