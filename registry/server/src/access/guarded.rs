//! A store as one who asks may see it: what may not be read is not there, in lists neither, and nothing can be mounted
//! from it.

use mdl_store::{
    Algorithm, BlobReader, Digest, Error, Links, ManifestInfo, Name, Page, Pushed, Reference,
    Referrer, Result, Store, StoredManifest, Tag, TagInfo, UploadId, UploadStatus, UploadWriter,
};

use super::{demand::Demand, policy::Action, rights::Rights};

/// Items that are looked at at once for a page of those that may be seen.
const LOOKED_AT: usize = 1_000;

/// A store through somebody's eyes.
pub(crate) struct Guarded<'a> {
    pub(crate) store: &'a dyn Store,
    pub(crate) rights: &'a Rights,
    /// What packages must show before others than those who push see them.
    pub(crate) demand: Option<&'a Demand>,
}

impl Guarded<'_> {
    fn may(&self, repo: &Name, action: Action) -> Result<()> {
        if self.rights.may(repo.as_str(), action) {
            return Ok(());
        }
        Err(Error::NameUnknown(repo.clone()))
    }

    /// What must be shown before whoever asks sees something of a repository.
    fn demanded(&self, repo: &Name) -> Option<&Demand> {
        self.demand.filter(|_| !self.rights.pushes(repo.as_str()))
    }

    /// Refuses a blob that only what is hidden uses, as if it were not there.
    fn blob_is_shown(&self, repo: &Name, digest: &Digest) -> Result<()> {
        match self.demanded(repo) {
            Some(demand) if !demand.shows_blob(self.store, repo, digest)? => {
                Err(Error::BlobUnknown { repo: repo.clone(), digest: digest.clone() })
            }
            _ => Ok(()),
        }
    }

    /// Whether a manifest is hidden.
    fn hides(&self, repo: &Name, digest: &Digest) -> Result<bool> {
        match self.demanded(repo) {
            Some(demand) => Ok(!demand.shows(self.store, repo, digest)?),
            None => Ok(false),
        }
    }

    /// Whether a tag is hidden.
    fn hides_tag(&self, repo: &Name, it: &TagInfo) -> Result<bool> {
        match self.demanded(repo) {
            Some(demand) => Ok(!demand.shows_tag(self.store, repo, &it.tag, &it.digest)?),
            None => Ok(false),
        }
    }

    /// For what serves reading and writing alike: a look at a blob, and one that is stored by a push or by a view.
    fn sees(&self, repo: &Name) -> Result<()> {
        if self.rights.sees(repo.as_str()) { Ok(()) } else { Err(Error::NameUnknown(repo.clone())) }
    }
}

impl Store for Guarded<'_> {
    fn stat_blob(&self, repo: &Name, digest: &Digest) -> Result<u64> {
        self.sees(repo)?;
        self.blob_is_shown(repo, digest)?;
        self.store.stat_blob(repo, digest)
    }

    fn open_blob(&self, repo: &Name, digest: &Digest) -> Result<Box<dyn BlobReader>> {
        self.may(repo, Action::Pull)?;
        self.blob_is_shown(repo, digest)?;
        self.store.open_blob(repo, digest)
    }

    fn delete_blob(&self, repo: &Name, digest: &Digest) -> Result<()> {
        self.may(repo, Action::Delete)?;
        self.store.delete_blob(repo, digest)
    }

    fn holders(&self, digest: &Digest, limit: usize) -> Result<Vec<Name>> {
        let mut found = self.store.holders(digest, LOOKED_AT)?;
        found.retain(|name| self.rights.may(name.as_str(), Action::Pull));
        found.retain(|name| self.blob_is_shown(name, digest).is_ok());
        found.truncate(limit);
        Ok(found)
    }

    fn mount_blob(&self, from: &Name, to: &Name, digest: &Digest) -> Result<()> {
        self.may(to, Action::Push)?;
        // As if it were not there: the client sends the blob then.
        if !self.rights.may(from.as_str(), Action::Pull) {
            return Err(Error::BlobUnknown { repo: from.clone(), digest: digest.clone() });
        }
        self.blob_is_shown(from, digest)?;
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
        let stored = self.store.manifest(repo, reference)?;
        let Some(demand) = self.demanded(repo) else { return Ok(stored) };
        let shown = match reference {
            Reference::Tag(tag) => demand.shows_tag(self.store, repo, tag, &stored.digest)?,
            Reference::Digest(digest) => demand.shows(self.store, repo, digest)?,
        };
        demand.keep_times()?;
        if shown {
            return Ok(stored);
        }
        Err(Error::ManifestUnknown { repo: repo.clone(), reference: reference.to_string() })
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
        let Some(demand) = self.demanded(repo) else {
            return self.store.tags(repo, after, limit);
        };
        let found = filled(
            after,
            limit,
            |after, limit| self.store.tags(repo, after, limit),
            |it| it.tag.to_string(),
            |it| Ok(!self.hides_tag(repo, it)?),
        )?;
        // A repository of which nothing is to be seen is not there.
        if found.items.is_empty() && !demand.shows_any(self.store, repo)? {
            return Err(Error::NameUnknown(repo.clone()));
        }
        demand.keep_times()?;
        Ok(found)
    }

    fn repositories(&self, after: Option<&str>, limit: usize) -> Result<Page<Name>> {
        filled(
            after,
            limit,
            |after, limit| self.store.repositories(after, limit),
            ToString::to_string,
            |name| {
                Ok(self.rights.lists(name.as_str())
                    && match self.demanded(name) {
                        Some(demand) => demand.shows_any(self.store, name)?,
                        None => true,
                    })
            },
        )
    }

    fn manifests(
        &self,
        repo: &Name,
        after: Option<&Digest>,
        limit: usize,
    ) -> Result<Page<ManifestInfo>> {
        self.may(repo, Action::Pull)?;
        if self.demanded(repo).is_none() {
            return self.store.manifests(repo, after, limit);
        }
        let after = after.map(Digest::to_string);
        let list = |after: Option<&str>, limit| {
            let after = after.map(str::parse::<Digest>).transpose()?;
            self.store.manifests(repo, after.as_ref(), limit)
        };
        filled(
            after.as_deref(),
            limit,
            list,
            |it| it.digest.to_string(),
            |it| match self.demanded(repo) {
                Some(demand) => demand.shows_itself(self.store, repo, &it.digest),
                None => Ok(true),
            },
        )
    }

    fn referrers(&self, repo: &Name, subject: &Digest) -> Result<Vec<Referrer>> {
        self.may(repo, Action::Pull)?;
        if self.hides(repo, subject)? {
            return Ok(Vec::new());
        }
        self.store.referrers(repo, subject)
    }

    fn users(&self, repo: &Name, used: &Digest) -> Result<Vec<Digest>> {
        self.may(repo, Action::Pull)?;
        let mut found = self.store.users(repo, used)?;
        let mut shown = Vec::new();
        for user in found.drain(..) {
            if !self.hides(repo, &user)? {
                shown.push(user);
            }
        }
        Ok(shown)
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
        if self.hides(repo, manifest)? {
            return Ok(None);
        }
        self.store.view(repo, manifest, kind)
    }
}

/// A page of those items that may be seen, gathered from pages of all.
fn filled<T>(
    after: Option<&str>,
    limit: usize,
    list: impl Fn(Option<&str>, usize) -> Result<Page<T>>,
    key: impl Fn(&T) -> String,
    shown: impl Fn(&T) -> Result<bool>,
) -> Result<Page<T>> {
    let mut found = Page { items: Vec::new(), more: false };
    let mut after = after.map(str::to_owned);
    loop {
        let page = list(after.as_deref(), LOOKED_AT)?;
        let last = page.items.last().map(&key);
        for item in page.items {
            if !shown(&item)? {
                continue;
            }
            if found.items.len() == limit {
                found.more = true;
                return Ok(found);
            }
            found.items.push(item);
        }
        match last {
            Some(last) if page.more => after = Some(last),
            _ => return Ok(found),
        }
    }
}
