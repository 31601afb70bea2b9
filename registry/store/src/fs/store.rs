//! The store's interface over the parts beside this one.

use super::FsStore;
use crate::{
    Algorithm, BlobReader, Digest, Links, ManifestInfo, Name, Page, Pushed, Reference, Referrer,
    Result, Store, StoredManifest, Tag, TagInfo, UploadId, UploadStatus, UploadWriter,
};

impl Store for FsStore {
    fn stat_blob(&self, repo: &Name, digest: &Digest) -> Result<u64> {
        self.0.stat(repo, digest)
    }

    fn open_blob(&self, repo: &Name, digest: &Digest) -> Result<Box<dyn BlobReader>> {
        Ok(Box::new(self.0.open_reader(repo, digest)?))
    }

    fn delete_blob(&self, repo: &Name, digest: &Digest) -> Result<()> {
        self.0.unlink(repo, digest)
    }

    fn holders(&self, digest: &Digest, limit: usize) -> Result<Vec<Name>> {
        self.0.holders_of(digest, limit)
    }

    fn mount_blob(&self, from: &Name, to: &Name, digest: &Digest) -> Result<()> {
        self.0.mount(from, to, digest)
    }

    fn put_blob(&self, repo: &Name, digest: &Digest, bytes: &[u8]) -> Result<()> {
        self.0.put_small(repo, digest, bytes)
    }

    fn begin_upload(&self, repo: &Name, algorithm: Algorithm) -> Result<UploadId> {
        self.0.begin(repo, algorithm)
    }

    fn upload(&self, repo: &Name, id: &UploadId) -> Result<UploadStatus> {
        let session = self.0.session(repo, id)?;
        Ok(UploadStatus { offset: session.offset, last_chunk: session.last_chunk })
    }

    fn write_upload(
        &self,
        repo: &Name,
        id: &UploadId,
        offset: u64,
    ) -> Result<Box<dyn UploadWriter>> {
        Ok(Box::new(self.0.resume(repo, id, offset)?))
    }

    fn finish_upload(&self, repo: &Name, id: &UploadId, digest: &Digest) -> Result<u64> {
        self.0.finish(repo, id, digest)
    }

    fn cancel_upload(&self, repo: &Name, id: &UploadId) -> Result<()> {
        self.0.cancel(repo, id)
    }

    fn put_manifest(
        &self,
        repo: &Name,
        digest: &Digest,
        media_type: &str,
        bytes: &[u8],
        links: &Links,
        tags: &[Tag],
    ) -> Result<Pushed> {
        self.0.put_manifest(repo, digest, media_type, bytes, links, tags)
    }

    fn manifest(&self, repo: &Name, reference: &Reference) -> Result<StoredManifest> {
        self.0.manifest(repo, reference)
    }

    fn delete_manifest(&self, repo: &Name, digest: &Digest) -> Result<()> {
        self.0.delete_manifest(repo, digest)
    }

    fn delete_tag(&self, repo: &Name, tag: &Tag) -> Result<()> {
        self.0.delete_tag(repo, tag)
    }

    fn tags(&self, repo: &Name, after: Option<&str>, limit: usize) -> Result<Page<TagInfo>> {
        self.0.tags(repo, after, limit)
    }

    fn repositories(&self, after: Option<&str>, limit: usize) -> Result<Page<Name>> {
        self.0.repositories(after, limit)
    }

    fn manifests(
        &self,
        repo: &Name,
        after: Option<&Digest>,
        limit: usize,
    ) -> Result<Page<ManifestInfo>> {
        self.0.manifests(repo, after, limit)
    }

    fn referrers(&self, repo: &Name, subject: &Digest) -> Result<Vec<Referrer>> {
        self.0.referrers(repo, subject)
    }

    fn users(&self, repo: &Name, used: &Digest) -> Result<Vec<Digest>> {
        self.0.users(repo, used)
    }

    fn put_view(
        &self,
        repo: &Name,
        manifest: &Digest,
        kind: &str,
        body: &[u8],
        blobs: &[Digest],
    ) -> Result<()> {
        self.0.put_view(repo, manifest, kind, body, blobs)
    }

    fn view(&self, repo: &Name, manifest: &Digest, kind: &str) -> Result<Option<Vec<u8>>> {
        self.0.view(repo, manifest, kind)
    }
}
