//! What a backend of the registry offers. Synchronous: a server calls it from blocking threads.
//!
//! Everything is per repository: a blob that one repository holds is not there for another until it is mounted or
//! pushed, though its bytes are stored once. What a call promised is durable when it returns.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use crate::{Algorithm, Descriptor, Digest, Links, Name, Reference, Result, Tag};

/// Blobs, manifests, tags and uploads of many repositories.
pub trait Store: Send + Sync {
    /// Size of a blob that the repository holds. Renews its lease: it will be there for a manifest pushed soon.
    ///
    /// # Errors
    /// [`Error::BlobUnknown`](crate::Error::BlobUnknown).
    fn stat_blob(&self, repo: &Name, digest: &Digest) -> Result<u64>;

    /// Opens a blob for reading; it stays readable while it is open, whatever is deleted.
    ///
    /// # Errors
    /// [`Error::BlobUnknown`](crate::Error::BlobUnknown).
    fn open_blob(&self, repo: &Name, digest: &Digest) -> Result<Box<dyn BlobReader>>;

    /// Takes a blob from a repository. Its bytes go with the next collection if nobody else holds them.
    ///
    /// # Errors
    /// [`Error::BlobUnknown`](crate::Error::BlobUnknown), [`Error::BlobInUse`](crate::Error::BlobInUse) while a
    /// manifest or a view of the repository uses it.
    fn delete_blob(&self, repo: &Name, digest: &Digest) -> Result<()>;

    /// Repositories that hold a blob, at most `limit`, in order.
    fn holders(&self, digest: &Digest, limit: usize) -> Result<Vec<Name>>;

    /// Lets a repository hold what another holds. The caller has checked that it may read there.
    ///
    /// # Errors
    /// [`Error::BlobUnknown`](crate::Error::BlobUnknown).
    fn mount_blob(&self, from: &Name, to: &Name, digest: &Digest) -> Result<()>;

    /// Stores a small blob whole (a config, a generated layer).
    ///
    /// # Errors
    /// [`Error::DigestMismatch`](crate::Error::DigestMismatch).
    fn put_blob(&self, repo: &Name, digest: &Digest, bytes: &[u8]) -> Result<()>;

    /// Begins an upload whose running hash is of this kind.
    fn begin_upload(&self, repo: &Name, algorithm: Algorithm) -> Result<UploadId>;

    /// How far an upload is.
    ///
    /// # Errors
    /// [`Error::UploadUnknown`](crate::Error::UploadUnknown), also for an upload of another repository.
    fn upload(&self, repo: &Name, id: &UploadId) -> Result<UploadStatus>;

    /// Continues an upload at `offset`: the current one, or the start of the last chunk (a client that missed the
    /// answer sends it again). One writer at a time.
    ///
    /// # Errors
    /// [`Error::UploadUnknown`](crate::Error::UploadUnknown), [`Error::RangeMismatch`](crate::Error::RangeMismatch),
    /// [`Error::UploadBusy`](crate::Error::UploadBusy).
    fn write_upload(
        &self,
        repo: &Name,
        id: &UploadId,
        offset: u64,
    ) -> Result<Box<dyn UploadWriter>>;

    /// Makes an upload a blob of its repository. A digest of the running kind costs no reading.
    ///
    /// # Errors
    /// [`Error::DigestMismatch`](crate::Error::DigestMismatch): the upload is then gone.
    fn finish_upload(&self, repo: &Name, id: &UploadId, digest: &Digest) -> Result<u64>;

    /// Forgets an upload.
    ///
    /// # Errors
    /// [`Error::UploadUnknown`](crate::Error::UploadUnknown).
    fn cancel_upload(&self, repo: &Name, id: &UploadId) -> Result<()>;

    /// Stores a manifest and points tags at it, all at once. The caller has checked `digest` against `bytes`, and that
    /// `links` is what they say. Blobs and manifests that the repository lacks make it sparse: they are returned, and
    /// recorded as lacking.
    fn put_manifest(
        &self,
        repo: &Name,
        digest: &Digest,
        media_type: &str,
        bytes: &[u8],
        links: &Links,
        tags: &[Tag],
    ) -> Result<Pushed>;

    /// A manifest by tag or digest.
    ///
    /// # Errors
    /// [`Error::ManifestUnknown`](crate::Error::ManifestUnknown).
    fn manifest(&self, repo: &Name, reference: &Reference) -> Result<StoredManifest>;

    /// Deletes a manifest with the tags that point at it; its referrers go with it.
    ///
    /// # Errors
    /// [`Error::ManifestUnknown`](crate::Error::ManifestUnknown).
    fn delete_manifest(&self, repo: &Name, digest: &Digest) -> Result<()>;

    /// Deletes a tag; the manifest stays until it is collected (untagged and referenced by nothing).
    ///
    /// # Errors
    /// [`Error::ManifestUnknown`](crate::Error::ManifestUnknown).
    fn delete_tag(&self, repo: &Name, tag: &Tag) -> Result<()>;

    /// Tags in lexical order, those after `after`.
    ///
    /// # Errors
    /// [`Error::NameUnknown`](crate::Error::NameUnknown) for a repository that holds nothing.
    fn tags(&self, repo: &Name, after: Option<&str>, limit: usize) -> Result<Page<TagInfo>>;

    /// Repositories in lexical order, those after `after`.
    fn repositories(&self, after: Option<&str>, limit: usize) -> Result<Page<Name>>;

    /// Manifests of a repository in order of digest, those after `after`.
    fn manifests(
        &self,
        repo: &Name,
        after: Option<&Digest>,
        limit: usize,
    ) -> Result<Page<ManifestInfo>>;

    /// Manifests whose subject this is, in order of digest; also for a subject that is not there.
    fn referrers(&self, repo: &Name, subject: &Digest) -> Result<Vec<Referrer>>;

    /// Manifests of a repository that use a blob or a manifest: as config, layer or part, or by way of a view.
    fn users(&self, repo: &Name, used: &Digest) -> Result<Vec<Digest>>;

    /// Keeps something derived from a manifest (a manifest of another protocol, facts for a page) for as long as the
    /// manifest lives, with the blobs that it names.
    fn put_view(
        &self,
        repo: &Name,
        manifest: &Digest,
        kind: &str,
        body: &[u8],
        blobs: &[Digest],
    ) -> Result<()>;

    /// What [`Store::put_view`] kept.
    fn view(&self, repo: &Name, manifest: &Digest, kind: &str) -> Result<Option<Vec<u8>>>;
}

/// An open blob.
pub trait BlobReader: Send + Sync {
    /// Bytes in all.
    fn size(&self) -> u64;
    /// Fills `out` from `offset` on; fewer bytes only at the end.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io).
    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<usize>;
    /// The same without waiting for a device, so that it may be called from a thread that must not: `None` where the
    /// bytes are not in memory, or the backend cannot tell. May give fewer.
    fn read_now(&self, offset: u64, out: &mut [u8]) -> Option<usize> {
        let _ = (offset, out);
        None
    }
    /// Where the bytes lie as a file, for parsers that map it; `None` for backends without files.
    fn path(&self) -> Option<PathBuf>;
}

/// Bytes that may be read by several threads.
pub type Piece = Box<dyn AsRef<[u8]> + Send + Sync>;

/// The one writer of an upload. Dropped, it keeps what was written, as [`UploadWriter::close`] does.
pub trait UploadWriter: Send {
    /// Appends and hashes.
    ///
    /// # Errors
    /// [`Error::NoSpace`](crate::Error::NoSpace), [`Error::TooLarge`](crate::Error::TooLarge),
    /// [`Error::Io`](crate::Error::Io).
    fn write(&mut self, bytes: &[u8]) -> Result<()>;
    /// Whether so many more bytes would be taken, as far as that can be told before.
    ///
    /// # Errors
    /// [`Error::TooLarge`](crate::Error::TooLarge), [`Error::Quota`](crate::Error::Quota).
    fn takes(&self, bytes: u64) -> Result<()> {
        let _ = bytes;
        Ok(())
    }
    /// Appends some pieces, one after the other. A backend may hash while it writes.
    ///
    /// # Errors
    /// As [`UploadWriter::write`].
    fn write_batch(&mut self, batch: Arc<[Piece]>) -> Result<()> {
        batch.iter().try_for_each(|piece| self.write((**piece).as_ref()))
    }
    /// Makes what was written durable with its hash state, so that the upload goes on from here after a restart.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io).
    fn close(self: Box<Self>) -> Result<UploadStatus>;
}

/// Name of an upload: unguessable, safe in an address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct UploadId(pub String);

/// How far an upload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UploadStatus {
    /// Bytes held.
    pub offset: u64,
    /// Where the last chunk began.
    pub last_chunk: u64,
}

/// Some items in order, and whether more follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// Whether there are more after the last.
    pub more: bool,
}

/// What pushing a manifest found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pushed {
    /// Blobs and manifests it names that the repository lacks.
    pub lacking: Vec<Digest>,
}

/// A manifest with its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredManifest {
    /// Of its bytes.
    pub digest: Digest,
    /// As it was pushed.
    pub media_type: String,
    /// Exactly as pushed.
    pub bytes: Vec<u8>,
    /// When it was pushed, seconds since 1970.
    pub pushed: u64,
}

/// A manifest in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestInfo {
    /// Of its bytes.
    pub digest: Digest,
    /// As it was pushed.
    pub media_type: String,
    /// Of its bytes.
    pub size: u64,
    /// When it was pushed, seconds since 1970.
    pub pushed: u64,
}

/// A tag in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagInfo {
    /// The tag.
    pub tag: Tag,
    /// The manifest it points at.
    pub digest: Digest,
    /// When it was last set, seconds since 1970.
    pub updated: u64,
}

/// A manifest that refers to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Referrer {
    /// Digest, size and media type.
    pub descriptor: Descriptor,
    /// Its `artifactType`, or its config's media type.
    pub artifact_type: Option<String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
}

/// What maintenance found or did; the fields that a kind of work does not touch stay 0.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// Blobs looked at.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Blobs removed, or broken.
    pub bad_blobs: u64,
    /// Bytes removed, or broken.
    pub bad_bytes: u64,
    /// Manifests removed, or broken.
    pub bad_manifests: u64,
    /// What is wrong, a line each.
    pub problems: Vec<String>,
}
