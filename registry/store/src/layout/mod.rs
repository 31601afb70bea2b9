//! The local store of the command line: an OCI image layout that other tools read as it stands.
//!
//! `blobs/<algorithm>/<hex>`, `index.json`, `oci-layout` as the image specification has them; beside them `partial/` for
//! what is not finished, and `lock`. A reference is an entry of the index with `org.opencontainers.image.ref.name`; a
//! manifest that refers to another is an entry without. Whoever has the layout open holds the lock together with others;
//! who deletes holds it alone, so that nothing goes between a blob and the reference that leads to it.

mod files;
mod index;
mod prune;
#[cfg(test)]
mod tests;

use std::{
    fs::{self, File},
    io::Read as _,
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};
use serde_json::{Value, json};

use crate::{Descriptor, Digest, Error, Found, Limits, Referrer, Result};

use files::{io, sync_folder};
use index::Index;

/// How a file comes into the store or out of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ingest {
    /// A copy, or where the file system can a reflink: two names never share a writable file.
    Copy,
    /// A hard link; the file becomes read-only.
    Link,
}

/// An opened layout.
#[derive(Debug)]
pub struct Layout {
    root: PathBuf,
    /// Locked together with others while the layout is open.
    lock: File,
}

/// The name of a reference in the index.
const REF_NAME: &str = "org.opencontainers.image.ref.name";

impl Layout {
    /// Opens a layout, or makes one.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Locked`] while somebody deletes from it.
    pub fn open(root: &Path) -> Result<Self> {
        for folder in ["blobs/sha256", "blobs/sha512", "partial"] {
            let folder = root.join(folder);
            fs::create_dir_all(&folder).map_err(io("create", &folder))?;
        }
        let path = root.join("lock");
        let lock = files::open_lock(&path)?;
        flock(&lock, FlockOperation::NonBlockingLockShared)
            .map_err(|_| Error::Locked(root.to_owned()))?;
        let this = Self { root: root.to_owned(), lock };
        let marker = root.join("oci-layout");
        if !marker.exists() {
            this.write(&marker, br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        }
        if !root.join("index.json").exists() {
            this.change(|_| ())?;
        }
        Ok(this)
    }

    /// Where a blob lies, whether it is there or not.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.root.join("blobs").join(digest.algorithm().name()).join(digest.hex())
    }

    /// The size of a blob that is there.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn has_blob(&self, digest: &Digest) -> Result<Option<u64>> {
        let path = self.blob_path(digest);
        match fs::metadata(&path) {
            Ok(facts) if facts.is_file() => Ok(Some(facts.len())),
            Ok(_) => Ok(None),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(io("look at", &path)(error)),
        }
    }

    /// Puts down some bytes.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::NoSpace`].
    pub fn put_bytes(&self, bytes: &[u8]) -> Result<Digest> {
        let digest = Digest::of(bytes);
        if self.has_blob(&digest)? != Some(bytes.len() as u64) {
            self.write(&self.blob_path(&digest), bytes)?;
        }
        Ok(digest)
    }

    /// Puts down bytes under their digest, of whatever kind it is.
    ///
    /// # Errors
    /// [`Error::DigestMismatch`], [`Error::Io`], [`Error::NoSpace`].
    pub fn put_manifest(&self, digest: &Digest, bytes: &[u8]) -> Result<()> {
        let found = Digest::with(digest.algorithm(), bytes);
        if found != *digest {
            return Err(Error::DigestMismatch { stated: digest.clone(), found });
        }
        if self.has_blob(digest)? != Some(bytes.len() as u64) {
            self.write(&self.blob_path(digest), bytes)?;
        }
        Ok(())
    }

    /// Takes in a file; with its digest, where it is known, unread but for copying. Gives digest and size.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::NoSpace`].
    pub fn put_file(
        &self,
        path: &Path,
        digest: Option<Digest>,
        ingest: Ingest,
    ) -> Result<(Digest, u64)> {
        let digest = digest.map_or_else(|| files::hash(path), Ok)?;
        let size = fs::metadata(path).map_err(io("open", path))?.len();
        if self.has_blob(&digest)? != Some(size) {
            self.place(path, &self.blob_path(&digest), ingest)?;
        }
        Ok((digest, size))
    }

    /// The file in which a blob is to be gathered; it stays over runs.
    pub fn begin_blob(&self, digest: &Digest) -> PathBuf {
        self.root.join("partial").join(format!("{}-{}", digest.algorithm().name(), digest.hex()))
    }

    /// Makes a gathered file a blob. The caller has verified its digest.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::NoSpace`].
    pub fn commit_blob(&self, digest: &Digest, partial: &Path) -> Result<()> {
        files::finish(partial, &self.blob_path(digest))
    }

    /// Points a reference at a manifest.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Corrupt`].
    pub fn set_reference(&self, reference: &str, manifest: Descriptor) -> Result<()> {
        self.change(|index| {
            index.remove(reference);
            index.add(manifest, Some(reference));
        })
    }

    /// What a reference points at.
    ///
    /// # Errors
    /// As [`Layout::references`].
    pub fn reference(&self, reference: &str) -> Result<Option<Descriptor>> {
        let mut all = self.references()?.into_iter();
        Ok(all.find(|(name, _)| name == reference).map(|(_, manifest)| manifest))
    }

    /// All references, in order, with what they point at.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Corrupt`].
    pub fn references(&self) -> Result<Vec<(String, Descriptor)>> {
        let mut all = self.index()?.references();
        all.sort_by(|one, other| one.0.cmp(&other.0));
        Ok(all)
    }

    /// Takes a reference away; whether it was there.
    ///
    /// # Errors
    /// As [`Layout::set_reference`].
    pub fn remove_reference(&self, reference: &str) -> Result<bool> {
        let mut was = false;
        self.change(|index| was = index.remove(reference))?;
        Ok(was)
    }

    /// Keeps a manifest that refers to another for as long as that lives.
    ///
    /// # Errors
    /// As [`Layout::set_reference`].
    pub fn add_referrer(&self, manifest: Descriptor) -> Result<()> {
        self.change(|index| {
            if !index.holds(&manifest.digest) {
                index.add(manifest, None);
            }
        })
    }

    /// The manifests that refer to one, in order of their digests.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Corrupt`].
    pub fn referrers(&self, subject: &Digest) -> Result<Vec<Referrer>> {
        let mut found = Vec::new();
        for descriptor in self.index()?.manifests() {
            // One that lacks or is broken refers to nothing.
            let Ok(bytes) = self.manifest(&descriptor.digest) else { continue };
            let Some(links) = prune::links(&bytes) else { continue };
            if links.subject.is_some_and(|it| it.digest == *subject) {
                let (artifact_type, annotations) = (links.artifact_type, links.annotations);
                found.push(Referrer { descriptor, artifact_type, annotations });
            }
        }
        found.sort_by(|one, other| one.descriptor.digest.cmp(&other.descriptor.digest));
        found.dedup_by(|one, other| one.descriptor.digest == other.descriptor.digest);
        Ok(found)
    }

    /// A manifest, its digest checked.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::TooLarge`], [`Error::DigestMismatch`].
    pub fn manifest(&self, digest: &Digest) -> Result<Vec<u8>> {
        self.read_checked(digest, Limits::default().manifest_bytes, "the manifest")
    }

    fn read_checked(&self, digest: &Digest, limit: u64, what: &'static str) -> Result<Vec<u8>> {
        let path = self.blob_path(digest);
        let mut bytes = Vec::new();
        let file = File::open(&path).map_err(io("open", &path))?;
        file.take(limit + 1).read_to_end(&mut bytes).map_err(io("read", &path))?;
        if bytes.len() as u64 > limit {
            return Err(Error::TooLarge { what, limit });
        }
        let found = Digest::with(digest.algorithm(), &bytes);
        if found != *digest {
            return Err(Error::DigestMismatch { stated: digest.clone(), found });
        }
        Ok(bytes)
    }

    /// A blob that is to be small, its digest checked.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::TooLarge`], [`Error::DigestMismatch`].
    pub fn small_blob(&self, digest: &Digest, limit: u64) -> Result<Vec<u8>> {
        self.read_checked(digest, limit, "the document")
    }

    /// Puts a blob's content at a path where nothing stands.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::NoSpace`].
    pub fn export(&self, digest: &Digest, to: &Path, ingest: Ingest) -> Result<()> {
        files::export(&self.blob_path(digest), to, ingest)
    }

    /// Deletes what no reference leads to, and unfinished files; with `dry_run` only counts them.
    ///
    /// # Errors
    /// [`Error::Locked`] while somebody else has the layout open; [`Error::Io`], [`Error::Corrupt`].
    pub fn prune(&self, dry_run: bool) -> Result<Found> {
        flock(&self.lock, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| Error::Locked(self.root.clone()))?;
        let found = prune::prune(self, dry_run);
        flock(&self.lock, FlockOperation::LockShared)
            .map_err(|error| io("lock", &self.root)(error.into()))?;
        found
    }

    fn index(&self) -> Result<Index> {
        Index::read(&self.root.join("index.json"))
    }

    /// Changes the index, one at a time.
    fn change(&self, change: impl FnOnce(&mut Index)) -> Result<()> {
        let path = self.root.join("index.json");
        let guard = files::open_lock(&self.root.join("index.lock"))?;
        flock(&guard, FlockOperation::LockExclusive)
            .map_err(|error| io("lock", &self.root)(error.into()))?;
        let mut index = if path.exists() { Index::read(&path)? } else { Index::default() };
        change(&mut index);
        self.write(&path, index.text().as_bytes())
    }

    /// Writes a file that appears whole or not at all.
    fn write(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        files::write(&self.root.join("partial"), path, bytes)
    }

    /// Brings a file in under a blob's name.
    fn place(&self, from: &Path, to: &Path, ingest: Ingest) -> Result<()> {
        match ingest {
            Ingest::Copy => files::copy(&self.root.join("partial"), from, to),
            Ingest::Link => {
                files::link(from, to)?;
                sync_folder(to)
            }
        }
    }
}

/// An entry of the index.
fn entry(manifest: Descriptor, reference: Option<&str>) -> Value {
    let mut entry = json!({ "digest": manifest.digest.to_string(), "size": manifest.size });
    if let Some(entry) = entry.as_object_mut() {
        entry.insert("mediaType".to_owned(), manifest.media_type.into());
        if let Some(reference) = reference {
            entry.insert("annotations".to_owned(), json!({ REF_NAME: reference }));
        }
    }
    entry
}
