//! A store as one who asks may see it: what may not be read is not there, in lists neither, and nothing can be mounted
//! from it.

use mdl_store::{
    Algorithm, BlobReader, Digest, Error, Links, ManifestInfo, Name, Page, Pushed, Reference,
    Referrer, Result, Store, StoredManifest, Tag, TagInfo, UploadId, UploadStatus, UploadWriter,
};

use super::{policy::Action, rights::Rights};

/// Repositories that are looked at for one page of those that may be seen.
const LOOKED_AT: usize = 1_000;

/// A store through somebody's eyes.
pub(crate) struct Guarded<'a> {
    pub(crate) store: &'a dyn Store,
    pub(crate) rights: &'a Rights,
}

impl Guarded<'_> {
    fn may(&self, repo: &Name, action: Action) -> Result<()> {
        if self.rights.may(repo.as_str(), action) {
            return Ok(());
        }
        Err(Error::NameUnknown(repo.clone()))
    }

    /// For what serves reading and writing alike: a look at a blob, and one that is stored by a push or by a view.
    fn sees(&self, repo: &Name) -> Result<()> {
        if self.rights.sees(repo.as_str()) { Ok(()) } else { Err(Error::NameUnknown(repo.clone())) }
    }
}

impl Store for Guarded<'_> {
    fn stat_blob(&self, repo: &Name, digest: &Digest) -> Result<u64> {
        self.sees(repo)?;
        self.store.stat_blob(repo, digest)
    }

    fn open_blob(&self, repo: &Name, digest: &Digest) -> Result<Box<dyn BlobReader>> {
        self.may(repo, Action::Pull)?;
        self.store.open_blob(repo, digest)
    }

    fn delete_blob(&self, repo: &Name, digest: &Digest) -> Result<()> {
        self.may(repo, Action::Delete)?;
        self.store.delete_blob(repo, digest)
    }

    fn holders(&self, digest: &Digest, limit: usize) -> Result<Vec<Name>> {
        let mut found = self.store.holders(digest, LOOKED_AT)?;
        found.retain(|name| self.rights.may(name.as_str(), Action::Pull));
        found.truncate(limit);
        Ok(found)
    }

    fn mount_blob(&self, from: &Name, to: &Name, digest: &Digest) -> Result<()> {
        self.may(to, Action::Push)?;
        // As if it were not there: the client sends the blob then.
        if !self.rights.may(from.as_str(), Action::Pull) {
            return Err(Error::BlobUnknown { repo: from.clone(), digest: digest.clone() });
        }
        self.store.mount_blob(from, to, digest)
    }

    fn put_blob(&self, repo: &Name, digest: &Digest, bytes: &[u8]) -> Result<()> {
        // Also what a view derives when somebody reads.
        self.sees(repo)?;
        self.store.put_blob(repo, digest, bytes)
    }

    fn begin_upload(&self, repo: &Name, algorithm: Algorithm) -> Result<UploadId> {
        self.may(repo, Action::Push)?;
        self.store.begin_upload(repo, algorithm)
    }

    fn upload(&self, repo: &Name, id: &UploadId) -> Result<UploadStatus> {
        self.may(repo, Action::Push)?;
        self.store.upload(repo, id)
    }

    fn write_upload(
        &self,
        repo: &Name,
        id: &UploadId,
        offset: u64,
    ) -> Result<Box<dyn UploadWriter>> {
        self.may(repo, Action::Push)?;
        self.store.write_upload(repo, id, offset)
    }

    fn finish_upload(&self, repo: &Name, id: &UploadId, digest: &Digest) -> Result<u64> {
        self.may(repo, Action::Push)?;
        self.store.finish_upload(repo, id, digest)
    }

    fn cancel_upload(&self, repo: &Name, id: &UploadId) -> Result<()> {
        self.may(repo, Action::Push)?;
        self.store.cancel_upload(repo, id)
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
        self.may(repo, Action::Push)?;
        self.store.put_manifest(repo, digest, media_type, bytes, links, tags)
    }

    fn manifest(&self, repo: &Name, reference: &Reference) -> Result<StoredManifest> {
        self.may(repo, Action::Pull)?;
        self.store.manifest(repo, reference)
    }

    fn delete_manifest(&self, repo: &Name, digest: &Digest) -> Result<()> {
        self.may(repo, Action::Delete)?;
        self.store.delete_manifest(repo, digest)
    }

    fn delete_tag(&self, repo: &Name, tag: &Tag) -> Result<()> {
        self.may(repo, Action::Delete)?;
        self.store.delete_tag(repo, tag)
    }

    fn tags(&self, repo: &Name, after: Option<&str>, limit: usize) -> Result<Page<TagInfo>> {
        self.may(repo, Action::Pull)?;
        self.store.tags(repo, after, limit)
    }

    fn repositories(&self, after: Option<&str>, limit: usize) -> Result<Page<Name>> {
        let mut found = Page { items: Vec::new(), more: false };
        let mut after = after.map(str::to_owned);
        loop {
            let page = self.store.repositories(after.as_deref(), LOOKED_AT)?;
            let last = page.items.last().map(ToString::to_string);
            for name in page.items {
                if !self.rights.lists(name.as_str()) {
                    continue;
                }
                if found.items.len() == limit {
                    found.more = true;
                    return Ok(found);
                }
                found.items.push(name);
            }
            match last {
                Some(last) if page.more => after = Some(last),
                _ => return Ok(found),
            }
        }
    }

    fn manifests(
        &self,
        repo: &Name,
        after: Option<&Digest>,
        limit: usize,
    ) -> Result<Page<ManifestInfo>> {
        self.may(repo, Action::Pull)?;
        self.store.manifests(repo, after, limit)
    }

    fn referrers(&self, repo: &Name, subject: &Digest) -> Result<Vec<Referrer>> {
        self.may(repo, Action::Pull)?;
        self.store.referrers(repo, subject)
    }

    fn put_view(
        &self,
        repo: &Name,
        manifest: &Digest,
        kind: &str,
        body: &[u8],
        blobs: &[Digest],
    ) -> Result<()> {
        self.may(repo, Action::Pull)?;
        self.store.put_view(repo, manifest, kind, body, blobs)
    }

    fn view(&self, repo: &Name, manifest: &Digest, kind: &str) -> Result<Option<Vec<u8>>> {
        self.may(repo, Action::Pull)?;
        self.store.view(repo, manifest, kind)
    }
}
