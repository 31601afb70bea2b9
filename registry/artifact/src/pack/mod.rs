//! Packing: which files, as which layers, described by which manifest.

mod document;
mod files;
mod manifest;
pub(crate) mod sort;
#[cfg(test)]
mod tests;

pub(crate) use document::artifact;
pub use document::referrer;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use mdl_formats::digest::{DigestCache, Watch};
use mdl_store::Digest;
use serde::{Deserialize, Serialize};

use crate::{
    Error, Evaluation, Facts, Limits, Origins, Package, Result,
    attest::Material,
    media,
    signing::{self, Bundle},
};

/// What is to be packed.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The files, in the order of their layers.
    pub files: Vec<PlanFile>,
    /// What the model is.
    pub facts: Facts,
    /// Where it was fetched from, if that is known.
    pub provenance: Option<Provenance>,
    /// A signature over the files that lay beside them: no file of the model, but what refers to the package.
    pub signature: Option<Vec<u8>>,
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

/// Where a model was fetched from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Provenance {
    /// Address of its page.
    pub source: String,
    /// Commit or digest there.
    pub revision: Option<String>,
    /// Licence that is stated there.
    pub license: Option<String>,
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

impl Packed {
    /// What attestations are made from.
    pub fn material(&self, name: &str) -> Material {
        let (bytes, config) = (&self.manifest.bytes, Some(&self.config.bytes[..]));
        let package = Package::read(&self.manifest.media_type, bytes, config);
        let mut material = Material::new(name, None, self.manifest.descriptor(), package);
        for referrer in &self.referrers {
            if let Some(document) = referrer.blobs.last() {
                material.add(Some(&referrer.artifact_type), document.bytes.clone());
            }
        }
        material
    }
}

impl Blob {
    /// Bytes with their digest.
    pub fn new(media_type: &str, bytes: Vec<u8>) -> Self {
        Self { media_type: media_type.to_owned(), digest: Digest::of(&bytes), bytes }
    }

    /// As manifests name it.
    pub fn descriptor(&self) -> mdl_store::Descriptor {
        mdl_store::Descriptor {
            media_type: self.media_type.clone(),
            digest: self.digest.clone(),
            size: self.bytes.len() as u64,
        }
    }
}

impl Plan {
    /// Looks at a GGUF file (any part of a split one: all its parts), a Hugging Face folder, or any other file or
    /// folder. Nothing beside a file is packed with it. Reads headers and side files only.
    ///
    /// # Errors
    /// [`Error::Unpackable`], [`Error::Name`]; [`Error::Formats`] where a model file given by its path is broken.
    pub fn of(path: &Path, limits: &Limits) -> Result<Self> {
        let facts = std::fs::metadata(path).map_err(mdl_formats::Error::io(path, "open"))?;
        if facts.is_dir() {
            return files::folder(path, limits);
        }
        if facts.is_file() {
            return files::file(path, limits);
        }
        Err(Error::unpackable(path, "neither a file nor a folder", ""))
    }

    /// Takes the origin of the weights, where it is known.
    pub fn take_origin(&mut self, origins: &Origins, digests: &BTreeMap<String, Digest>) {
        let weights = self.files.iter().filter(|file| file.media_type == media::WEIGHT);
        self.provenance = origins.of(weights.filter_map(|file| digests.get(&file.name)));
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.size).sum()
    }

    /// The digest of each file, by its name: known ones from the cache, the others hashed on all cores.
    ///
    /// # Errors
    /// [`Error::Formats`] for a file that cannot be read, and where somebody asked to stop.
    pub fn digests(
        &self,
        cache: &mut DigestCache,
        watch: &dyn Watch,
    ) -> Result<BTreeMap<String, Digest>> {
        let paths: Vec<PathBuf> = self.files.iter().map(|file| file.path.clone()).collect();
        let found = cache.sha256_all(&paths, watch)?;
        let digest = |(file, hex): (&PlanFile, String)| {
            let digest = Digest::sha256(&hex).map_err(|_| Error::NoDigest(file.name.clone()))?;
            Ok((file.name.clone(), digest))
        };
        self.files.iter().zip(found).map(digest).collect()
    }

    /// The manifest and all that belongs to it, once the digest of each file is known, by its name. The same files give
    /// the same bytes, whenever and wherever. `report` is what `mdl eval --json` printed.
    ///
    /// # Errors
    /// [`Error::NoDigest`], [`Error::Report`].
    pub fn finish(
        &self,
        digests: &BTreeMap<String, Digest>,
        report: Option<&[u8]>,
    ) -> Result<Packed> {
        let mut facts = self.facts.clone();
        if let Some(report) = report {
            facts.evaluation = Some(Evaluation::read(report, &Limits::default())?);
        }
        if let Some(license) = self.provenance.as_ref().and_then(|it| it.license.clone()) {
            facts.license.get_or_insert(license);
        }
        let layers = manifest::layers(&self.files, digests)?;
        let config = manifest::config(&facts, self.provenance.as_ref(), &layers);
        let manifest = manifest::manifest(&facts, self.provenance.as_ref(), &config, &layers);
        let mut referrers = Vec::new();
        if let Some(recipe) = &facts.recipe {
            referrers.push(document::recipe(recipe.as_bytes(), &manifest));
        }
        if let Some(report) = report {
            referrers.push(document::evaluation(report, &manifest));
        }
        if let Some(signature) = &self.signature {
            let bundle = Bundle::read(signature)?;
            let subject = manifest.descriptor();
            referrers.push(signing::referrer(signature, bundle.unverified(), &subject, None));
        }
        Ok(Packed { config, manifest, referrers })
    }
}
