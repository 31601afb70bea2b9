//! Signatures and attestations of packages on registries: finding them, and putting them there.

use std::sync::Arc;

use bytes::Bytes;
use mdl_artifact::{
    CONFIG_BYTES, Package,
    attest::Material,
    pack::ReferrerPackage,
    trust::{Evidence, is_bundle},
};
use mdl_store::{Descriptor, Reference};

use crate::{
    Address, Client, Error, Manifest, Result,
    http::Content,
    push::{Parcel, Pushed},
    registry::{MANIFESTS, OLLAMA_MANIFEST, Repository},
    upload::Blob,
};

impl Client {
    /// As [`Client::manifest`]; `None` where the registry does not have it.
    ///
    /// # Errors
    /// As [`Client::manifest`], but for [`Error::Unknown`].
    pub async fn find_manifest(&self, at: &Address) -> Result<Option<Manifest>> {
        self.repository(&at.host, &at.name).find_manifest(&at.reference, MANIFESTS).await
    }

    /// A package with all that is signed about it. Reads manifests, the config and bundles; no weights.
    ///
    /// # Errors
    /// As [`Client::manifest`]. A bundle that cannot be read is none: it counts for nothing.
    pub async fn evidence(&self, at: &Address) -> Result<Evidence> {
        let repository = self.repository(&at.host, &at.name);
        let mut found = seen(&repository, at, MANIFESTS).await?;
        add_signed(&repository, &mut found).await?;
        Ok(found)
    }

    /// As [`Client::evidence`], for those who ask for no proof: where it cannot be told what is signed, nothing is.
    ///
    /// # Errors
    /// As [`Client::manifest`].
    pub async fn evidence_if_any(&self, at: &Address) -> Result<Evidence> {
        let repository = self.repository(&at.host, &at.name);
        let mut found = seen(&repository, at, MANIFESTS).await?;
        if let Err(error) = add_signed(&repository, &mut found).await {
            found.problems.push(error.to_string());
        }
        Ok(found)
    }

    /// As [`Client::evidence`], from a registry of Ollama's kind, where nothing is signed.
    ///
    /// # Errors
    /// As [`Client::evidence`].
    pub async fn ollama_evidence(&self, at: &Address) -> Result<Evidence> {
        seen(&self.repository(&at.host, &at.name), at, OLLAMA_MANIFEST).await
    }

    /// What attestations of a package are made from: its manifest, and the documents that refer to it.
    ///
    /// # Errors
    /// As [`Client::manifest`].
    pub async fn material(&self, at: &Address) -> Result<Material> {
        let repository = self.repository(&at.host, &at.name);
        let Evidence { tag, manifest, package, .. } = seen(&repository, at, MANIFESTS).await?;
        let tag = tag.map(|tag| tag.to_string());
        let mut found = Material::new(at.name.as_str(), tag, manifest, package);
        for referring in repository.referrers(&found.manifest.digest).await? {
            let kind = referring.artifact_type.as_deref();
            if Material::wants(kind) {
                found.add(kind, layer(&repository, &referring.descriptor).await?);
            }
        }
        Ok(found)
    }

    /// Puts manifests that refer to a package which the registry has; under the tag that older registries need, where it
    /// lacks the referrers API.
    ///
    /// # Errors
    /// What the registry says.
    pub async fn attach(&self, to: &Address, referrers: &[ReferrerPackage]) -> Result<Pushed> {
        let sender = self.sender(to);
        let mut pushed = Pushed::default();
        for referrer in referrers {
            let parcel = parcel(referrer);
            let reference = Reference::Digest(parcel.digest.clone());
            let sent = Arc::clone(&sender).send(&parcel, &reference).await?;
            pushed.sent += sent.sent;
            pushed.sent_bytes += sent.sent_bytes;
            pushed.found += sent.found;
            pushed.referrers += 1;
        }
        Ok(pushed)
    }
}

/// Takes up what is signed about a package.
async fn add_signed(repository: &Repository, found: &mut Evidence) -> Result<()> {
    for referring in repository.referrers(&found.manifest.digest).await? {
        let digest = &referring.descriptor.digest;
        if !is_bundle(referring.artifact_type.as_deref()) || !found.has_room() {
            continue;
        }
        match layer(repository, &referring.descriptor).await {
            Ok(bytes) => found.add(digest, &bytes),
            // What the registry lists and does not have, or has otherwise, counts for nothing.
            Err(error @ (Error::Unknown { .. } | Error::Broken { .. } | Error::Status { .. })) => {
                found.problems.push(format!("{digest}: {error}"));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// A package before anything that is signed about it.
async fn seen(repository: &Repository, at: &Address, accept: &str) -> Result<Evidence> {
    let manifest = repository.manifest(&at.reference, accept).await?;
    let mut package = Package::read(&manifest.media_type, &manifest.bytes, None);
    if let Some(config) = package.config.as_ref().filter(|it| it.size <= CONFIG_BYTES) {
        let config = repository.small_blob(config).await?;
        package = Package::read(&manifest.media_type, &manifest.bytes, Some(&config));
    }
    let size = manifest.bytes.len() as u64;
    let Manifest { media_type, digest, .. } = manifest;
    let tag = match &at.reference {
        Reference::Tag(tag) => Some(tag.clone()),
        Reference::Digest(_) => None,
    };
    Ok(Evidence::new(at.name.clone(), tag, Descriptor { media_type, digest, size }, package))
}

/// What a referrer holds as its first layer.
async fn layer(repository: &Repository, referrer: &Descriptor) -> Result<Vec<u8>> {
    let reference = Reference::Digest(referrer.digest.clone());
    let manifest = repository.manifest(&reference, MANIFESTS).await?;
    let package = Package::read(&manifest.media_type, &manifest.bytes, None);
    match package.layers.first() {
        Some(layer) => repository.small_blob(&layer.descriptor).await,
        None => {
            let what = format!("the referrer {} has no layer", referrer.digest);
            Err(Error::broken(repository.peer.host.clone(), what))
        }
    }
}

/// A referrer with its blobs, all in memory.
pub(crate) fn parcel(referrer: &ReferrerPackage) -> Parcel {
    let small = |blob: &mdl_artifact::pack::Blob| Blob {
        digest: blob.digest.clone(),
        size: blob.bytes.len() as u64,
        content: Content::Bytes(Bytes::from(blob.bytes.clone())),
        mounts: Vec::new(),
    };
    Parcel {
        media_type: referrer.manifest.media_type.clone(),
        digest: referrer.manifest.digest.clone(),
        bytes: Bytes::from(referrer.manifest.bytes.clone()),
        blobs: referrer.blobs.iter().map(small).collect(),
        children: Vec::new(),
        referrers: Vec::new(),
    }
}
