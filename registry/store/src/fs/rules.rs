//! What an organization forbids a store to take: tags that stay where they are, and bytes beyond a quota. Both are looked
//! at in the transaction that would break them, so that no two requests can do together what neither may.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, MutexGuard, PoisonError},
};

use redb::{ReadableTable, WriteTransaction};

use super::{FsStore, Inner};
use crate::{
    Digest, Error, Name, Result, Tag,
    db::{BLOBS, HELD, MANIFESTS, REFERRERS, Record, Session, TAGS, UPLOADS, USES},
};

/// Whether a tag of a repository stays where it is, once it is there.
pub type IsFixed = dyn Fn(&str, &str) -> bool + Send + Sync;

/// What a store is not to take. By default it takes all.
#[derive(Clone, Default)]
pub struct Rules {
    /// Tags that are neither moved nor deleted: asked with repository and tag.
    pub fixed: Option<Arc<IsFixed>>,
    /// How much repositories may hold.
    pub quotas: Vec<Quota>,
}

/// How much the repository of a name and all below it may hold together: blobs and manifests, each counted once however
/// many of them hold it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quota {
    /// The name; the empty one is above all.
    pub prefix: String,
    /// Bytes.
    pub bytes: u64,
}

impl Quota {
    fn covers(&self, repo: &str) -> bool {
        let rest = repo.strip_prefix(self.prefix.as_str());
        self.prefix.is_empty() || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    pub(super) fn refusal(&self) -> Error {
        let prefix = match self.prefix.as_str() {
            "" => "this registry".to_owned(),
            name => format!("{name} and what is below it"),
        };
        Error::Quota { prefix, limit: self.bytes }
    }
}

/// How far a quota is used up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Used {
    /// Which.
    pub quota: Quota,
    /// Bytes held.
    pub bytes: u64,
}

/// What repositories hold, by quota.
#[derive(Default)]
pub(super) struct Usage {
    quotas: Vec<Counted>,
    /// By upload: its repository, and how many bytes it has or is about to have.
    under_way: BTreeMap<String, (String, u64)>,
    /// Whether a transaction may or may not have happened: then all is counted anew.
    stale: bool,
}

struct Counted {
    quota: Quota,
    /// How many repositories hold each.
    holders: BTreeMap<String, u32>,
    bytes: u64,
}

impl Counted {
    fn add(&mut self, digest: &str, size: u64) {
        let holders = self.holders.entry(digest.to_owned()).or_default();
        *holders += 1;
        if *holders == 1 {
            self.bytes = self.bytes.saturating_add(size);
        }
    }

    fn remove(&mut self, digest: &str, size: u64) {
        let Some(holders) = self.holders.get_mut(digest) else { return };
        *holders -= 1;
        if *holders == 0 {
            self.holders.remove(digest);
            self.bytes = self.bytes.saturating_sub(size);
        }
    }
}

/// The books of a transaction: taken before it begins, closed when it is durable. Dropped before, nothing was changed.
pub(super) struct Ledger<'a> {
    usage: MutexGuard<'a, Usage>,
    /// Repository, digest, size, and whether it came.
    entries: Vec<(String, String, u64, bool)>,
    /// The upload that becomes a blob, with what it had reserved.
    upload: Option<(String, (String, u64))>,
    open: bool,
}

impl Ledger<'_> {
    /// A repository comes to hold something that it did not.
    pub(super) fn came(&mut self, repo: &str, digest: &str, size: u64) {
        self.note(repo, digest, size, true);
    }

    /// A repository holds something no more.
    pub(super) fn went(&mut self, repo: &str, digest: &str, size: u64) {
        self.note(repo, digest, size, false);
    }

    fn note(&mut self, repo: &str, digest: &str, size: u64, came: bool) {
        if self.usage.apply(repo, digest, size, came) {
            self.entries.push((repo.to_owned(), digest.to_owned(), size, came));
        }
    }

    /// An upload becomes what it holds: from one moment to the next it is counted as that alone.
    pub(super) fn becomes_blob(&mut self, upload: &str) {
        let reserved = self.usage.under_way.remove(upload);
        self.upload = reserved.map(|reserved| (upload.to_owned(), reserved));
    }

    /// Whether all that came is within the quotas.
    ///
    /// # Errors
    /// [`Error::Quota`].
    pub(super) fn check(&self) -> Result<()> {
        let came = |counted: &&Counted| {
            self.entries.iter().any(|(repo, _, _, came)| *came && counted.quota.covers(repo))
        };
        let full = |counted: &&Counted| counted.bytes > counted.quota.bytes;
        match self.usage.quotas.iter().filter(came).find(full) {
            Some(counted) => Err(counted.quota.refusal()),
            None => Ok(()),
        }
    }

    /// The transaction is durable.
    pub(super) fn close(mut self) {
        self.open = false;
    }

    /// Nobody knows whether the transaction is.
    fn doubt(&mut self) {
        self.usage.stale = true;
    }
}

impl Drop for Ledger<'_> {
    fn drop(&mut self) {
        if self.open {
            for (repo, digest, size, came) in std::mem::take(&mut self.entries).into_iter().rev() {
                self.usage.apply(&repo, &digest, size, !came);
            }
            self.usage.under_way.extend(self.upload.take());
        }
    }
}

impl Usage {
    /// Whether any quota covers the repository.
    fn apply(&mut self, repo: &str, digest: &str, size: u64, came: bool) -> bool {
        let mut any = false;
        for counted in self.quotas.iter_mut().filter(|it| it.quota.covers(repo)) {
            any = true;
            if came { counted.add(digest, size) } else { counted.remove(digest, size) }
        }
        any
    }
}

impl FsStore {
    /// From now on the store obeys these.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Corrupt`] where what is held cannot be counted.
    pub fn obey(&self, rules: Rules) -> Result<()> {
        let mut usage = self.0.usage.lock().unwrap_or_else(PoisonError::into_inner);
        let counted = |quota| Counted { quota, holders: BTreeMap::new(), bytes: 0 };
        usage.quotas = rules.quotas.into_iter().map(counted).collect();
        // Until it is counted.
        usage.stale = true;
        self.0.count(&mut usage)?;
        *self.0.fixed.write().unwrap_or_else(PoisonError::into_inner) = rules.fixed;
        Ok(())
    }

    /// How far quotas are used up.
    pub fn used(&self) -> Vec<Used> {
        let usage = self.0.usage.lock().unwrap_or_else(PoisonError::into_inner);
        let used = |it: &Counted| Used { quota: it.quota.clone(), bytes: it.bytes };
        usage.quotas.iter().map(used).collect()
    }
}

impl Inner {
    /// Opens the books; before the transaction, as only one is written at a time.
    pub(super) fn ledger(&self) -> Result<Ledger<'_>> {
        let mut usage = self.usage.lock().unwrap_or_else(PoisonError::into_inner);
        if usage.stale {
            self.count(&mut usage)?;
        }
        Ok(Ledger { usage, entries: Vec::new(), upload: None, open: true })
    }

    /// Makes a transaction durable, and closes its books.
    pub(super) fn commit_with(
        &self,
        write: WriteTransaction,
        mut ledger: Ledger<'_>,
    ) -> Result<()> {
        match self.commit(write) {
            Ok(()) => {
                ledger.close();
                Ok(())
            }
            Err(error) => {
                ledger.doubt();
                Err(error)
            }
        }
    }

    /// Counts all that is held.
    fn count(&self, usage: &mut Usage) -> Result<()> {
        for counted in &mut usage.quotas {
            counted.holders.clear();
            counted.bytes = 0;
        }
        if !usage.quotas.is_empty() {
            for (repo, digest, size) in self.all_held()? {
                usage.apply(&repo, &digest, size, true);
            }
            for (id, session) in self.sessions()? {
                let kept = usage.under_way.entry(id).or_insert((session.repo, 0));
                kept.1 = kept.1.max(session.offset);
            }
        }
        usage.stale = false;
        Ok(())
    }

    /// All blobs and manifests with the repositories that hold them, and their sizes.
    fn all_held(&self) -> Result<Vec<(String, String, u64)>> {
        let read = self.read()?;
        let mut all = Vec::new();
        let mut records = Vec::new();
        let mut list = || -> Result<(), redb::Error> {
            let sizes = read.open_table(BLOBS)?;
            for entry in read.open_table(HELD)?.iter()? {
                let (key, _) = entry?;
                let (repo, digest) = key.value();
                let size = sizes.get(digest)?.map_or(0, |size| size.value());
                all.push((repo.to_owned(), digest.to_owned(), size));
            }
            for entry in read.open_table(MANIFESTS)?.iter()? {
                let (key, record) = entry?;
                let (repo, digest) = key.value();
                records.push((repo.to_owned(), digest.to_owned(), record.value().to_vec()));
            }
            Ok(())
        };
        list().map_err(|error| self.broken(error))?;
        for (repo, digest, record) in records {
            let record: Record = self.decode(&record)?;
            all.push((repo, manifest_key(&digest), record.size));
        }
        Ok(all)
    }

    /// Lets an upload grow to so many bytes, where the quotas leave room beside what is held and what other uploads hold.
    /// Where `keep`, it has them from now on.
    ///
    /// # Errors
    /// [`Error::Quota`].
    pub(super) fn reserve(&self, repo: &str, upload: &str, bytes: u64, keep: bool) -> Result<()> {
        let mut ledger = self.ledger()?;
        let usage = &mut *ledger.usage;
        for counted in usage.quotas.iter().filter(|it| it.quota.covers(repo)) {
            let others = usage.under_way.iter();
            let others =
                others.filter(|(id, (repo, _))| *id != upload && counted.quota.covers(repo));
            let others = others.map(|(_, (_, bytes))| *bytes).fold(0, u64::saturating_add);
            let all = counted.bytes.saturating_add(others).saturating_add(bytes);
            if all > counted.quota.bytes {
                return Err(counted.quota.refusal());
            }
        }
        if keep && !usage.quotas.is_empty() {
            usage.under_way.insert(upload.to_owned(), (repo.to_owned(), bytes));
        }
        Ok(())
    }

    /// An upload is over.
    pub(super) fn release_upload(&self, upload: &str) {
        let mut usage = self.usage.lock().unwrap_or_else(PoisonError::into_inner);
        usage.under_way.remove(upload);
    }

    /// Refuses early what the transaction would refuse: before a file has its blob's name.
    pub(super) fn would_fit(&self, repo: &Name, digest: &Digest, size: u64) -> Result<()> {
        if self.held_size(repo, digest)?.is_some() {
            return Ok(());
        }
        let mut ledger = self.ledger()?;
        ledger.came(repo.as_str(), &digest.to_string(), size);
        ledger.check()
    }

    /// All uploads under way.
    pub(super) fn sessions(&self) -> Result<Vec<(String, Session)>> {
        let read = self.read()?;
        let all = || -> Result<Vec<(String, Vec<u8>)>, redb::Error> {
            let table = read.open_table(UPLOADS)?;
            let mut all = Vec::new();
            for entry in table.iter()? {
                let (id, session) = entry?;
                all.push((id.value().to_owned(), session.value().to_vec()));
            }
            Ok(all)
        };
        let all = all().map_err(|error| self.broken(error))?;
        all.into_iter().map(|(id, session)| Ok((id, self.decode(&session)?))).collect()
    }

    /// The rule for fixed tags.
    pub(super) fn fixed(&self) -> Option<Arc<IsFixed>> {
        self.fixed.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Refuses to let a tag go from where it is.
    pub(super) fn may_go(&self, repo: &Name, tag: &str) -> Result<()> {
        if self.fixed().is_some_and(|fixed| fixed(repo.as_str(), tag)) {
            let tag: Tag = tag.parse()?;
            return Err(Error::TagFixed { repo: repo.clone(), tag });
        }
        Ok(())
    }

    /// The fixed tag, if any, that would go with a manifest or with what refers to it, or would lead to less.
    pub(super) fn fixed_tag(
        &self,
        write: &WriteTransaction,
        repo: &str,
        digest: &str,
    ) -> Result<Option<String>> {
        let Some(fixed) = self.fixed() else { return Ok(None) };
        self.tag_near(write, repo, digest, &|tag| fixed(repo, tag))
    }

    /// The tag of such a kind, if any, that would go with a manifest or with what refers to it, or leads to it by way of an
    /// index.
    pub(super) fn tag_near(
        &self,
        write: &WriteTransaction,
        repo: &str,
        digest: &str,
        is_such: &dyn Fn(&str) -> bool,
    ) -> Result<Option<String>> {
        let find = || -> Result<Option<String>, redb::Error> {
            let (referrers, uses) = (write.open_table(REFERRERS)?, write.open_table(USES)?);
            let mut going = vec![digest.to_owned()];
            let mut known = BTreeSet::from([digest.to_owned()]);
            let mut at = 0;
            while let Some(subject) = going.get(at).cloned() {
                at += 1;
                for entry in referrers.range((repo, subject.as_str(), "")..)? {
                    let entry = entry?;
                    let (of, found, referrer) = entry.0.value();
                    if of != repo || found != subject {
                        break;
                    }
                    if known.insert(referrer.to_owned()) {
                        going.push(referrer.to_owned());
                    }
                }
                for entry in uses.range((repo, subject.as_str(), "")..)? {
                    let entry = entry?;
                    let (of, used, user) = entry.0.value();
                    if of != repo || used != subject {
                        break;
                    }
                    if known.insert(user.to_owned()) {
                        going.push(user.to_owned());
                    }
                }
            }
            for entry in write.open_table(TAGS)?.range((repo, "")..)? {
                let entry = entry?;
                let (of, tag) = entry.0.value();
                if of != repo {
                    break;
                }
                if known.contains(entry.1.value().0) && is_such(tag) {
                    return Ok(Some(tag.to_owned()));
                }
            }
            Ok(None)
        };
        find().map_err(|error| self.broken(error))
    }
}

/// How a manifest stands in the books: its bytes are kept beside a blob of the same digest.
pub(super) fn manifest_key(digest: &str) -> String {
    format!("manifest {digest}")
}
