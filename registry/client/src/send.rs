//! What is sent: packages of the local store, files that were just planned, packages of another registry.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
};

use bytes::Bytes;
use mdl_artifact::{ModelRef, pack::Packed};
use mdl_store::{Descriptor, Digest, Links, Name, Reference, layout::Layout};

use crate::{
    Address, Client, Error, Result, attach,
    http::Content,
    pull::Tree,
    push::{Parcel, Pushed, Sender},
    registry::{MANIFESTS, Repository},
    upload::Blob,
};

/// Manifests within manifests, and referrers of referrers, that are followed.
const DEPTH: usize = 4;

/// Where the registry that is sent to may have blobs already.
struct Elsewhere {
    mounts: BTreeMap<Digest, BTreeSet<Name>>,
    /// Those that the local store lacks, with their sizes.
    remote: BTreeMap<Digest, (u64, Content)>,
}

impl Client {
    /// Sends a package of the local store, with what refers to it.
    ///
    /// # Errors
    /// [`Error::Refused`] where the store lacks a part of it; what the registry says.
    pub async fn push(
        &self,
        layout: &Layout,
        manifest: &Descriptor,
        to: &Address,
    ) -> Result<Pushed> {
        self.push_with(layout, manifest, to, &BTreeMap::new()).await
    }

    /// As [`Client::push`], where the store lacks blobs that the registry has: `absent` names their repositories.
    ///
    /// # Errors
    /// As [`Client::push`].
    pub async fn push_with(
        &self,
        layout: &Layout,
        manifest: &Descriptor,
        to: &Address,
        absent: &BTreeMap<Digest, (u64, Vec<Name>)>,
    ) -> Result<Pushed> {
        let mut elsewhere = Elsewhere { mounts: elsewhere(layout, to)?, remote: BTreeMap::new() };
        for (digest, (size, names)) in absent {
            elsewhere.mounts.entry(digest.clone()).or_default().extend(names.iter().cloned());
            // Where it cannot be mounted, it goes through here.
            if let Some(name) = names.first() {
                let source = self.repository(&to.host, name).blob(digest, *size).await?;
                elsewhere.remote.insert(digest.clone(), (*size, Content::Remote(source)));
            }
        }
        let parcel = self.stored(layout, manifest, &elsewhere, DEPTH)?;
        self.sender(to).send(&parcel, &to.reference).await
    }

    /// Sends files as they were packed, without a copy in the local store; `files` says where each blob lies.
    ///
    /// # Errors
    /// What the registry says.
    pub async fn push_files(
        &self,
        packed: &Packed,
        files: &BTreeMap<Digest, PathBuf>,
        to: &Address,
    ) -> Result<Pushed> {
        let links = self.links(&packed.manifest.media_type, &packed.manifest.bytes)?;
        let mut blobs = Vec::new();
        for blob in &links.blobs {
            let content = match files.get(&blob.digest) {
                Some(path) => Content::File(path.clone()),
                None if blob.digest == packed.config.digest => {
                    Content::Bytes(Bytes::from(packed.config.bytes.clone()))
                }
                None => return Err(lacking(&blob.digest)),
            };
            let (digest, size) = (blob.digest.clone(), blob.size);
            blobs.push(Blob { digest, size, content, mounts: Vec::new() });
        }
        let parcel = Parcel {
            media_type: packed.manifest.media_type.clone(),
            digest: packed.manifest.digest.clone(),
            bytes: Bytes::from(packed.manifest.bytes.clone()),
            blobs,
            children: Vec::new(),
            referrers: packed.referrers.iter().map(attach::parcel).collect(),
        };
        self.sender(to).send(&parcel, &to.reference).await
    }

    /// Copies a package from one registry to another, with what refers to it; nothing is stored here. Within one
    /// registry blobs are mounted.
    ///
    /// # Errors
    /// What either registry says.
    pub async fn copy(&self, from: &Address, to: &Address) -> Result<(Descriptor, Pushed)> {
        let source = self.repository(&from.host, &from.name);
        let tree = Tree::fetch(&source, &from.reference, MANIFESTS, DEPTH).await?;
        let mounts = if from.host == to.host { vec![from.name.clone()] } else { Vec::new() };
        let mut parcel = relayed(&source, &tree, &mounts).await?;
        parcel.referrers = self.relayed_referrers(&source, &tree.manifest.digest, &mounts).await?;
        let pushed = self.sender(to).send(&parcel, &to.reference).await?;
        Ok((tree.descriptor(), pushed))
    }

    async fn relayed_referrers(
        &self,
        source: &Repository,
        subject: &Digest,
        mounts: &[Name],
    ) -> Result<Vec<Parcel>> {
        let mut parcels = Vec::new();
        for referring in source.referrers(subject).await? {
            let reference = Reference::Digest(referring.descriptor.digest.clone());
            let tree = Tree::fetch(source, &reference, MANIFESTS, DEPTH).await?;
            let mut parcel = relayed(source, &tree, mounts).await?;
            // What refers to a referrer (a signature of a report) comes along; deeper chains are nobody's.
            for further in source.referrers(&tree.manifest.digest).await? {
                let reference = Reference::Digest(further.descriptor.digest.clone());
                let tree = Tree::fetch(source, &reference, MANIFESTS, DEPTH).await?;
                parcel.referrers.push(relayed(source, &tree, mounts).await?);
            }
            parcels.push(parcel);
        }
        Ok(parcels)
    }

    pub(crate) fn sender(&self, to: &Address) -> Arc<Sender> {
        Arc::new(Sender {
            to: self.repository(&to.host, &to.name),
            journal: self.journal(),
            parallel: self.options.parallel.max(1),
        })
    }

    fn links(&self, media_type: &str, bytes: &[u8]) -> Result<Links> {
        Ok(Links::read(media_type, bytes, &self.options.limits.manifest)?)
    }

    /// A manifest of the local store with all that it needs.
    fn stored(
        &self,
        layout: &Layout,
        manifest: &Descriptor,
        elsewhere: &Elsewhere,
        depth: usize,
    ) -> Result<Parcel> {
        let bytes = layout.manifest(&manifest.digest)?;
        let links = self.links(&manifest.media_type, &bytes)?;
        let mut blobs = Vec::new();
        for blob in &links.blobs {
            let here = layout.has_blob(&blob.digest)?;
            let here = here.map(|size| (size, Content::File(layout.blob_path(&blob.digest))));
            let found = here.or_else(|| elsewhere.remote.get(&blob.digest).cloned());
            let (size, content) = found.ok_or_else(|| lacking(&blob.digest))?;
            let mounts = elsewhere.mounts.get(&blob.digest);
            let mounts = mounts.into_iter().flatten().cloned().collect();
            blobs.push(Blob { digest: blob.digest.clone(), size, content, mounts });
        }
        let (mut children, mut referrers) = (Vec::new(), Vec::new());
        if depth > 0 {
            for child in &links.manifests {
                children.push(self.stored(layout, child, elsewhere, depth - 1)?);
            }
            for referrer in layout.referrers(&manifest.digest)? {
                referrers.push(self.stored(layout, &referrer.descriptor, elsewhere, depth - 1)?);
            }
        }
        Ok(Parcel {
            media_type: manifest.media_type.clone(),
            digest: manifest.digest.clone(),
            bytes: Bytes::from(bytes),
            blobs,
            children,
            referrers,
        })
    }
}

/// A manifest whose blobs come from another registry.
async fn relayed(source: &Repository, tree: &Tree, mounts: &[Name]) -> Result<Parcel> {
    let mut blobs = Vec::new();
    for blob in &tree.blobs {
        let content = Content::Remote(source.blob(&blob.digest, blob.size).await?);
        let (digest, size) = (blob.digest.clone(), blob.size);
        blobs.push(Blob { digest, size, content, mounts: mounts.to_vec() });
    }
    let mut children = Vec::new();
    for child in &tree.children {
        children.push(Box::pin(relayed(source, child, mounts)).await?);
    }
    Ok(Parcel {
        media_type: tree.manifest.media_type.clone(),
        digest: tree.manifest.digest.clone(),
        bytes: Bytes::from(tree.manifest.bytes.clone()),
        blobs,
        children,
        referrers: Vec::new(),
    })
}

fn lacking(digest: &Digest) -> Error {
    Error::refused(
        format!("the local store lacks the blob {digest}"),
        "pack or pull the package again",
    )
}

/// Repositories of the destination's registry that, by what the local store holds, may hold a blob already.
fn elsewhere(layout: &Layout, to: &Address) -> Result<BTreeMap<Digest, BTreeSet<Name>>> {
    let mut known: BTreeMap<Digest, BTreeSet<Name>> = BTreeMap::new();
    for (key, manifest) in layout.references()? {
        let Ok(reference) = key.parse::<ModelRef>() else { continue };
        if reference.host.as_deref() != Some(&to.host) || reference.name == to.name {
            continue;
        }
        // A package that cannot be read helps nobody, and harms nobody here.
        let Ok(bytes) = layout.manifest(&manifest.digest) else { continue };
        let links = Links::read(&manifest.media_type, &bytes, &mdl_store::Limits::default());
        for blob in links.map(|links| links.blobs).unwrap_or_default() {
            known.entry(blob.digest).or_default().insert(reference.name.clone());
        }
    }
    Ok(known)
}
