//! What an organization forbids a store to take: tags that stay where they are, and bytes beyond a quota. Both are looked
//! at in the transaction that would break them, so that no two requests can do together what neither may.

use std::{
    collections::BTreeMap,
    sync::{Arc, MutexGuard, PoisonError},
};

use redb::{ReadableTable, WriteTransaction};

use super::{FsStore, Inner};
use crate::{
    Digest, Error, Name, Result, Tag,
    db::{BLOBS, HELD, MANIFESTS, REFERRERS, Record, Session, TAGS, UPLOADS},
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

/// How many bytes an upload may come to, and by which quota.
pub(super) struct Room {
    pub(super) bytes: u64,
    pub(super) quota: Option<Quota>,
}

impl Room {
    /// Refuses more.
    ///
    /// # Errors
    /// [`Error::Quota`].
    pub(super) fn takes(&self, bytes: u64) -> Result<()> {
        match &self.quota {
            Some(quota) if bytes > self.bytes => Err(quota.refusal()),
            _ => Ok(()),
        }
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
        Ok(Ledger { usage, entries: Vec::new(), open: true })
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

    /// Up to where an upload may grow: what the quotas leave beside what is held and what other uploads hold.
    pub(super) fn room(&self, repo: &str, upload: &str) -> Result<Room> {
        let mut room = Room { bytes: u64::MAX, quota: None };
        let covering: Vec<(Quota, u64)> = {
            let ledger = self.ledger()?;
            let covering = ledger.usage.quotas.iter().filter(|it| it.quota.covers(repo));
            covering.map(|it| (it.quota.clone(), it.bytes)).collect()
        };
        if covering.is_empty() {
            return Ok(room);
        }
        let sessions = self.sessions()?;
        for (quota, held) in covering {
            let others = sessions.iter().filter(|(id, it)| id != upload && quota.covers(&it.repo));
            let under_way: u64 = others.map(|(_, it)| it.offset).fold(0, u64::saturating_add);
            let left = quota.bytes.saturating_sub(held).saturating_sub(under_way);
            if left < room.bytes {
                room = Room { bytes: left, quota: Some(quota) };
            }
        }
        Ok(room)
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

    /// The fixed tag, if any, that would go with a manifest or with what refers to it.
    pub(super) fn fixed_tag(
        &self,
        write: &WriteTransaction,
        repo: &str,
        digest: &str,
    ) -> Result<Option<String>> {
        let Some(fixed) = self.fixed() else { return Ok(None) };
        let find = || -> Result<Option<String>, redb::Error> {
            let referrers = write.open_table(REFERRERS)?;
            let mut going = vec![digest.to_owned()];
            let mut at = 0;
            while let Some(subject) = going.get(at).cloned() {
                at += 1;
                for entry in referrers.range((repo, subject.as_str(), "")..)? {
                    let entry = entry?;
                    let (of, found, referrer) = entry.0.value();
                    if of != repo || found != subject {
                        break;
                    }
                    if !going.iter().any(|known| known == referrer) {
                        going.push(referrer.to_owned());
                    }
                }
            }
            for entry in write.open_table(TAGS)?.range((repo, "")..)? {
                let entry = entry?;
                let (of, tag) = entry.0.value();
                if of != repo {
                    break;
                }
                if going.iter().any(|it| it == entry.1.value().0) && fixed(repo, tag) {
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
