//! What packages of the local store consist of.

use std::collections::{BTreeMap, BTreeSet};

use mdl_store::{Descriptor, Digest, Limits, Links, layout::Layout};

use super::{Inventory, Model, SMALL, index::Named};
use crate::{
    Error, Result,
    signing::{Bundle, COSIGN_SIGN, MODEL_SIGNATURE},
    trust::is_bundle,
};

/// Referrers of referrers, and manifests within manifests, that are followed.
const DEPTH: usize = 4;

/// The parts of some packages.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    pub(super) models: Vec<Model>,
    /// Manifests, configs and what refers to them: needed to judge, in every volume.
    pub(super) everywhere: BTreeMap<Digest, u64>,
    /// All else, in order of models and layers.
    pub(super) blobs: Vec<(Digest, u64)>,
    /// What the site has, with where.
    pub(super) absent: BTreeMap<String, Vec<String>>,
    pub(super) unsigned: Vec<String>,
}

struct Walk<'a> {
    layout: &'a Layout,
    inventory: Option<&'a Inventory>,
    found: Gathered,
    known: BTreeSet<Digest>,
}

pub(super) fn gather(
    layout: &Layout,
    models: &[Named],
    inventory: Option<&Inventory>,
) -> Result<Gathered> {
    let (found, known) = (Gathered::default(), BTreeSet::new());
    let mut walk = Walk { layout, inventory, found, known };
    for named in models {
        let mut referrers = Vec::new();
        walk.manifest(&named.manifest, false, DEPTH)?;
        walk.referrers(&named.manifest.digest, &mut referrers, DEPTH)?;
        let model = Model {
            repository: named.repository.to_string(),
            tag: named.tag.as_ref().map(ToString::to_string),
            digest: named.manifest.digest.to_string(),
            media_type: named.manifest.media_type.clone(),
            size: named.manifest.size,
            referrers,
        };
        if !walk.is_signed(&named.manifest.digest)? {
            walk.found.unsigned.push(model.name());
        }
        walk.found.models.push(model);
    }
    Ok(walk.found)
}

impl Walk<'_> {
    /// Takes up a manifest with its blobs; of a referrer, they are needed to judge.
    fn manifest(&mut self, manifest: &Descriptor, referrer: bool, depth: usize) -> Result<()> {
        let bytes = self.layout.manifest(&manifest.digest)?;
        self.found.everywhere.insert(manifest.digest.clone(), bytes.len() as u64);
        self.known.insert(manifest.digest.clone());
        let links = Links::read(&manifest.media_type, &bytes, &Limits::default())?;
        for (at, blob) in links.blobs.iter().enumerate() {
            // The config comes first.
            self.blob(blob, referrer || at == 0)?;
        }
        for child in &links.manifests {
            if depth == 0 {
                return Err(Error::Bundle("indexes lie within indexes, too deep".to_owned()));
            }
            self.manifest(child, referrer, depth - 1)?;
        }
        Ok(())
    }

    fn blob(&mut self, blob: &Descriptor, to_judge: bool) -> Result<()> {
        if !self.known.insert(blob.digest.clone()) {
            return Ok(());
        }
        let small = to_judge && blob.size <= SMALL;
        if let Some(inventory) =
            self.inventory.filter(|it| !small && it.has(&blob.digest, blob.size))
        {
            let at = inventory.blobs.get(&blob.digest).map(|(_, names)| names);
            let names = at.into_iter().flatten().map(ToString::to_string).collect();
            self.found.absent.insert(blob.digest.to_string(), names);
            return Ok(());
        }
        if self.layout.has_blob(&blob.digest)? != Some(blob.size) {
            let what =
                format!("the local store lacks the blob {}; pull the model again", blob.digest);
            return Err(Error::Bundle(what));
        }
        if small || blob.size == 0 {
            self.found.everywhere.insert(blob.digest.clone(), blob.size);
        } else {
            self.found.blobs.push((blob.digest.clone(), blob.size));
        }
        Ok(())
    }

    /// What refers to a manifest, and to that.
    fn referrers(
        &mut self,
        subject: &Digest,
        all: &mut Vec<(String, String)>,
        depth: usize,
    ) -> Result<()> {
        for referrer in self.layout.referrers(subject)? {
            let manifest = referrer.descriptor;
            self.manifest(&manifest, true, 0)?;
            all.push((manifest.digest.to_string(), manifest.media_type.clone()));
            if depth > 0 {
                self.referrers(&manifest.digest, all, depth - 1)?;
            }
        }
        Ok(())
    }

    /// Whether somebody signed it, be it whom it may.
    fn is_signed(&self, manifest: &Digest) -> Result<bool> {
        for referrer in self.layout.referrers(manifest)? {
            if !is_bundle(referrer.artifact_type.as_deref()) {
                continue;
            }
            let bytes = self.layout.manifest(&referrer.descriptor.digest)?;
            let links = Links::read(&referrer.descriptor.media_type, &bytes, &Limits::default())?;
            for blob in links.blobs.iter().filter(|blob| is_bundle(Some(&blob.media_type))) {
                let bytes = self.layout.small_blob(&blob.digest, 16 << 20)?;
                let kind = Bundle::read(&bytes).map(|it| it.unverified().predicate_type.clone());
                if kind.is_ok_and(|kind| kind == COSIGN_SIGN || kind == MODEL_SIGNATURE) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}
