//! What was promised: a store kept in plain maps, and how a real one is held against it.

use std::collections::{BTreeMap, BTreeSet};

use mdl_store::{
    Digest, Error, FsStore, Links, Maintain as _, Name, Reference, Store as _, UploadId,
};

/// All that a store should hold.
#[derive(Debug, Clone, Default)]
pub(super) struct Model {
    pub(super) repos: BTreeMap<Name, Repo>,
    pub(super) uploads: BTreeMap<String, Upload>,
}

/// What a repository should hold.
#[derive(Debug, Clone, Default)]
pub(super) struct Repo {
    pub(super) blobs: BTreeMap<Digest, Held>,
    pub(super) manifests: BTreeMap<Digest, Manifest>,
    pub(super) tags: BTreeMap<String, Digest>,
}

/// A blob that a repository holds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Held {
    /// Its lease as it is written down.
    pub(super) until: u64,
    /// Its lease by having been looked at since the store was opened.
    pub(super) seen: u64,
    /// Not so where a collection was cut short.
    pub(super) sure: bool,
}

/// A manifest of a repository.
#[derive(Debug, Clone)]
pub(super) struct Manifest {
    pub(super) bytes: Vec<u8>,
    pub(super) links: Links,
    pub(super) pushed: u64,
    pub(super) lacking: BTreeSet<Digest>,
    /// Kind → (body, blobs).
    pub(super) views: BTreeMap<String, (Vec<u8>, Vec<Digest>)>,
}

/// An upload under way.
#[derive(Debug, Clone)]
pub(super) struct Upload {
    pub(super) repo: Name,
    pub(super) content: usize,
    pub(super) touched: u64,
    /// How far it may be: from, to, where the last chunk began. One, and from = to, when nothing is in doubt.
    pub(super) at: Vec<(u64, u64, u64)>,
    /// Whether it may be gone.
    pub(super) doubted: bool,
}

impl Repo {
    /// Whether a manifest or a view uses a blob.
    pub(super) fn uses(&self, blob: &Digest) -> bool {
        self.manifests.values().any(|it| {
            it.links.blobs.iter().chain(&it.links.manifests).any(|used| used.digest == *blob)
                || it.views.values().any(|view| view.1.contains(blob))
        })
    }

    /// Takes a manifest out with its tags and, in turn, its referrers.
    pub(super) fn erase(&mut self, digest: &Digest) {
        self.manifests.remove(digest);
        self.tags.retain(|_, to| to != digest);
        for referrer in self.referrers(digest) {
            self.erase(&referrer);
        }
    }

    fn referrers(&self, subject: &Digest) -> Vec<Digest> {
        let refers =
            |it: &Manifest| it.links.subject.as_ref().is_some_and(|s| s.digest == *subject);
        let found = self.manifests.iter().filter(|(_, manifest)| refers(manifest));
        found.map(|(digest, _)| digest.clone()).collect()
    }

    /// Manifests that no tag and no young manifest leads to.
    pub(super) fn dead(&self, before: u64) -> Vec<Digest> {
        let mut live: BTreeSet<&Digest> = self.tags.values().collect();
        loop {
            let known = live.len();
            for (digest, manifest) in &self.manifests {
                let subject = manifest.links.subject.as_ref();
                if manifest.pushed >= before || subject.is_some_and(|it| live.contains(&it.digest))
                {
                    live.insert(digest);
                }
                if live.contains(digest) {
                    live.extend(manifest.links.manifests.iter().map(|it| &it.digest));
                }
            }
            if live.len() == known {
                break;
            }
        }
        self.manifests.keys().filter(|it| !live.contains(it)).cloned().collect()
    }
}

/// Holds a store against what was promised. What was in doubt is settled by what is there.
pub(super) fn check(
    store: &FsStore,
    model: &Model,
    palette: &[Vec<u8>],
    digests: &BTreeMap<Digest, usize>,
) -> Result<Model, String> {
    let mut settled = model.clone();
    for (name, repo) in &mut settled.repos {
        check_blobs(store, name, repo, palette, digests)?;
        check_manifests(store, name, repo)?;
        check_tags(store, name, repo)?;
    }
    check_lists(store, &settled, digests)?;
    check_uploads(store, &mut settled)?;
    let found = store.scrub().map_err(|error| format!("scrub: {error}"))?;
    let bad = |it: &&String| !it.ends_with("a file that nothing names");
    match found.problems.iter().find(bad) {
        Some(problem) => Err(format!("scrub says: {problem}")),
        None => Ok(settled),
    }
}

fn check_blobs(
    store: &FsStore,
    name: &Name,
    repo: &mut Repo,
    palette: &[Vec<u8>],
    digests: &BTreeMap<Digest, usize>,
) -> Result<(), String> {
    for (digest, content) in digests {
        let there = match store.open_blob(name, digest) {
            Ok(reader) => {
                let mut bytes = vec![0; palette[*content].len() + 1];
                let read = reader.read_at(0, &mut bytes).map_err(|error| error.to_string())?;
                if bytes[..read] != palette[*content] || reader.size() != read as u64 {
                    return Err(format!("{name}: blob {digest} has other bytes, {read} of them"));
                }
                true
            }
            Err(Error::BlobUnknown { .. }) => false,
            Err(error) => return Err(format!("{name}: blob {digest}: {error}")),
        };
        match repo.blobs.get_mut(digest) {
            None if there => return Err(format!("{name}: blob {digest} should not be there")),
            Some(held) if held.sure && !there => {
                return Err(format!("{name}: blob {digest} is lost"));
            }
            Some(held) if there => held.sure = true,
            _ => drop(repo.blobs.remove(digest)),
        }
    }
    Ok(())
}

fn check_manifests(store: &FsStore, name: &Name, repo: &Repo) -> Result<(), String> {
    let listed = store.manifests(name, None, 1000).map_err(|error| error.to_string())?;
    let listed: Vec<Digest> = listed.items.into_iter().map(|it| it.digest).collect();
    let known: Vec<Digest> = repo.manifests.keys().cloned().collect();
    if listed != known {
        return Err(format!("{name}: the manifests are {listed:?}, not {known:?}"));
    }
    for (digest, manifest) in &repo.manifests {
        let found = store.manifest(name, &Reference::Digest(digest.clone()));
        let found = found.map_err(|error| format!("{name}: {error}"))?;
        if found.bytes != manifest.bytes {
            return Err(format!("{name}: manifest {digest} has other bytes"));
        }
        for blob in manifest.links.blobs.iter().filter(|it| !manifest.lacking.contains(&it.digest))
        {
            if !repo.blobs.contains_key(&blob.digest) {
                return Err(format!("{name}: {digest} was promised the blob {}", blob.digest));
            }
        }
        for (kind, (body, blobs)) in &manifest.views {
            let found = store.view(name, digest, kind).map_err(|error| error.to_string())?;
            if found.as_ref() != Some(body) {
                return Err(format!("{name}: the view {kind} of {digest} is {found:?}"));
            }
            if let Some(blob) = blobs.iter().find(|it| !repo.blobs.contains_key(it)) {
                return Err(format!("{name}: the view {kind} of {digest} lost {blob}"));
            }
        }
        let found = store.referrers(name, digest).map_err(|error| error.to_string())?;
        let found: Vec<Digest> = found.into_iter().map(|it| it.descriptor.digest).collect();
        if found != repo.referrers(digest) {
            return Err(format!("{name}: to {digest} refer {found:?}"));
        }
    }
    Ok(())
}

fn check_tags(store: &FsStore, name: &Name, repo: &Repo) -> Result<(), String> {
    let listed = match store.tags(name, None, 1000) {
        Ok(page) => page.items,
        Err(Error::NameUnknown(_)) if repo.blobs.is_empty() && repo.manifests.is_empty() => {
            Vec::new()
        }
        Err(error) => return Err(format!("{name}: tags: {error}")),
    };
    let listed: BTreeMap<String, Digest> =
        listed.into_iter().map(|it| (it.tag.to_string(), it.digest)).collect();
    if listed != repo.tags {
        return Err(format!("{name}: the tags are {listed:?}, not {:?}", repo.tags));
    }
    for (tag, digest) in &repo.tags {
        let reference = Reference::Tag(tag.parse().map_err(|_| "no tag".to_owned())?);
        let found = store.manifest(name, &reference).map_err(|error| format!("{name}: {error}"))?;
        if found.digest != *digest {
            return Err(format!("{name}:{tag} resolves to {}, not {digest}", found.digest));
        }
    }
    Ok(())
}

fn check_lists(
    store: &FsStore,
    model: &Model,
    digests: &BTreeMap<Digest, usize>,
) -> Result<(), String> {
    let known = model.repos.iter().filter(|(_, repo)| !repo.manifests.is_empty());
    let known: Vec<Name> = known.map(|(name, _)| name.clone()).collect();
    let listed = store.repositories(None, 1000).map_err(|error| error.to_string())?.items;
    if listed != known {
        return Err(format!("the repositories are {listed:?}, not {known:?}"));
    }
    for digest in digests.keys() {
        let known = model.repos.iter().filter(|(_, repo)| repo.blobs.contains_key(digest));
        let known: Vec<Name> = known.map(|(name, _)| name.clone()).collect();
        let listed = store.holders(digest, 1000).map_err(|error| error.to_string())?;
        if listed != known {
            return Err(format!("{digest} is held by {listed:?}, not {known:?}"));
        }
    }
    Ok(())
}

fn check_uploads(store: &FsStore, model: &mut Model) -> Result<(), String> {
    let mut gone = Vec::new();
    for (id, upload) in &mut model.uploads {
        match store.upload(&upload.repo, &UploadId(id.clone())) {
            Ok(status) => {
                let fits = |it: &&(u64, u64, u64)| {
                    (it.0..=it.1).contains(&status.offset) && it.2 == status.last_chunk
                };
                if !upload.at.iter().any(|it| fits(&it)) {
                    return Err(format!("upload {id} is at {status:?}, not {:?}", upload.at));
                }
                upload.at = vec![(status.offset, status.offset, status.last_chunk)];
                upload.doubted = false;
            }
            Err(Error::UploadUnknown(_)) if upload.doubted => gone.push(id.clone()),
            Err(error) => return Err(format!("upload {id}: {error}")),
        }
    }
    model.uploads.retain(|id, _| !gone.contains(id));
    Ok(())
}
