//! Collection of garbage while others push and pull.

use std::collections::BTreeSet;

use redb::{ReadableTable, WriteTransaction};

use super::{Inner, rules::Ledger};
use crate::{
    Digest, Found, Name, Result, Tag, UploadId,
    db::{BLOBS, HELD, HOLDERS, MANIFESTS, Record, Session, TAGS, UPLOADS, USES},
};

/// Blobs that are removed in one commit.
const BATCH: usize = 500;

impl Inner {
    pub(super) fn collect(&self, dry_run: bool) -> Result<Found> {
        let _alone = self.maintenance.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut found = Found::default();
        if dry_run {
            self.would_collect(&mut found)?;
            return Ok(found);
        }
        self.collect_uploads(&mut found)?;
        self.collect_manifests(&mut found)?;
        self.collect_links()?;
        self.collect_blobs(&mut found)?;
        self.collect_orphans()?;
        self.clean_uploads()?;
        Ok(found)
    }

    /// Does it all in one transaction, counts, and undoes it. Who writes waits for that long.
    fn would_collect(&self, found: &mut Found) -> Result<()> {
        for (_, session) in self.expired_uploads()? {
            found.bad_bytes += session.offset;
        }
        let mut ledger = self.ledger()?;
        let write = self.write()?;
        self.erase_manifests(&write, &mut ledger, found)?;
        if self.leases_are_known() {
            let unused = || unused(&write.open_table(HELD)?, &write.open_table(USES)?, self.now());
            let unused = unused().map_err(|error| self.broken(error))?;
            self.release(&write, &mut ledger, &unused)?;
        }
        let unheld = || unheld(&write.open_table(BLOBS)?, &write.open_table(HOLDERS)?);
        for (_, size) in unheld().map_err(|error| self.broken(error))? {
            found.bad_blobs += 1;
            found.bad_bytes += size;
        }
        write.abort().map_err(|error| self.broken(error))
    }

    fn expired_uploads(&self) -> Result<Vec<(String, Session)>> {
        self.idle_uploads(self.now().saturating_sub(self.keep.upload))
    }

    fn collect_uploads(&self, found: &mut Found) -> Result<()> {
        for (id, session) in self.expired_uploads()? {
            let repo: Name = session.repo.parse()?;
            match self.cancel(&repo, &UploadId(id)) {
                Ok(()) => found.bad_bytes += session.offset,
                Err(crate::Error::UploadBusy | crate::Error::UploadUnknown(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn collect_manifests(&self, found: &mut Found) -> Result<()> {
        let mut ledger = self.ledger()?;
        let write = self.write()?;
        self.erase_manifests(&write, &mut ledger, found)?;
        self.commit_with(write, ledger)
    }

    /// Manifests without a tag, older than may be, that no live manifest leads to.
    fn erase_manifests(
        &self,
        write: &WriteTransaction,
        ledger: &mut Ledger<'_>,
        found: &mut Found,
    ) -> Result<()> {
        let Some(age) = self.keep.untagged else { return Ok(()) };
        let before = self.now().saturating_sub(age);
        let all = || -> Result<Vec<(String, String, Vec<u8>)>, redb::Error> {
            let mut all = Vec::new();
            for entry in write.open_table(MANIFESTS)?.iter()? {
                let (key, record) = entry?;
                let (repo, digest) = key.value();
                all.push((repo.to_owned(), digest.to_owned(), record.value().to_vec()));
            }
            Ok(all)
        };
        let mut records = Vec::new();
        for (repo, digest, record) in all().map_err(|error| self.broken(error))? {
            records.push((repo, digest, self.decode::<Record>(&record)?));
        }
        let live = live(
            &records,
            before,
            &self.tagged(write, &|_| true)?,
            &self.tagged(write, &is_named)?,
        );
        for (repo, digest, _) in &records {
            if !live.contains(&(repo.clone(), digest.clone())) {
                found.bad_manifests += 1;
                self.erase(write, ledger, repo, digest)?;
            }
        }
        Ok(())
    }

    fn tagged(
        &self,
        write: &WriteTransaction,
        is_such: &dyn Fn(&str) -> bool,
    ) -> Result<BTreeSet<(String, String)>> {
        let tagged = || -> Result<BTreeSet<(String, String)>, redb::Error> {
            let mut tagged = BTreeSet::new();
            for entry in write.open_table(TAGS)?.iter()? {
                let (key, value) = entry?;
                if is_such(key.value().1) {
                    tagged.insert((key.value().0.to_owned(), value.value().0.to_owned()));
                }
            }
            Ok(tagged)
        };
        tagged().map_err(|error| self.broken(error))
    }

    /// Whether the leases that a restart made forget are made up for.
    fn leases_are_known(&self) -> bool {
        self.now() >= self.opened.saturating_add(self.keep.lease)
    }

    /// Blobs that a repository holds, uses for nothing, and that no lease keeps.
    fn collect_links(&self) -> Result<()> {
        if !self.leases_are_known() {
            return Ok(());
        }
        let read = self.read()?;
        let unused = || unused(&read.open_table(HELD)?, &read.open_table(USES)?, self.now());
        for batch in unused().map_err(|error| self.broken(error))?.chunks(BATCH) {
            let _guards = self.guards.all();
            let mut ledger = self.ledger()?;
            let write = self.write()?;
            self.release(&write, &mut ledger, batch)?;
            self.commit_with(write, ledger)?;
        }
        let now = self.now();
        self.seen().retain(|_, until| *until > now);
        Ok(())
    }

    /// Takes blobs from repositories, but for those that are used or leased by now.
    fn release(
        &self,
        write: &WriteTransaction,
        ledger: &mut Ledger<'_>,
        links: &[(String, String)],
    ) -> Result<()> {
        let now = self.now();
        let mut remove = || -> Result<(), redb::Error> {
            let (mut held, uses) = (write.open_table(HELD)?, write.open_table(USES)?);
            let (mut holders, blobs) = (write.open_table(HOLDERS)?, write.open_table(BLOBS)?);
            let seen = self.seen();
            for (repo, digest) in links {
                let key = (repo.as_str(), digest.as_str());
                let until = held.get(key)?.map_or(0, |until| until.value());
                let renewed = seen.get(&(repo.clone(), digest.clone())).copied();
                let until = until.max(renewed.unwrap_or_default());
                if until <= now && !is_used(&uses, repo, digest)? {
                    held.remove(key)?;
                    let size = blobs.get(digest.as_str())?.map_or(0, |size| size.value());
                    ledger.went(repo, digest, size);
                    holders.remove((digest.as_str(), repo.as_str()))?;
                }
            }
            Ok(())
        };
        remove().map_err(|error| self.broken(error))
    }

    /// Blobs that nobody holds: out of the metadata, then their files.
    fn collect_blobs(&self, found: &mut Found) -> Result<()> {
        let read = self.read()?;
        let unheld = || unheld(&read.open_table(BLOBS)?, &read.open_table(HOLDERS)?);
        for batch in unheld().map_err(|error| self.broken(error))?.chunks(BATCH) {
            let _guards = self.guards.all();
            let write = self.write()?;
            let remove = || -> Result<Vec<(String, u64)>, redb::Error> {
                let (mut blobs, holders) = (write.open_table(BLOBS)?, write.open_table(HOLDERS)?);
                let mut removed = Vec::new();
                for (digest, size) in batch {
                    // What was true above may have changed until all guards were held.
                    if !is_held(&holders, digest)? {
                        blobs.remove(digest.as_str())?;
                        removed.push((digest.clone(), *size));
                    }
                }
                Ok(removed)
            };
            let removed = remove().map_err(|error| self.broken(error))?;
            self.commit(write)?;
            for (digest, size) in removed {
                self.remove_file(&digest.parse()?)?;
                found.bad_blobs += 1;
                found.bad_bytes += size;
            }
        }
        Ok(())
    }

    /// Files that a crash left between their renaming and their naming in the metadata.
    fn collect_orphans(&self) -> Result<()> {
        for digest in self.files()? {
            let _guard = self.guards.of(&digest);
            if self.blob_size(&digest)?.is_none() {
                self.remove_file(&digest)?;
            }
        }
        Ok(())
    }

    /// Files of uploads that no session knows and nobody is writing.
    pub(super) fn clean_uploads(&self) -> Result<()> {
        let folder = self.root.join("uploads");
        let names =
            self.disk.list(&folder).map_err(|error| super::io_error("list", &folder, error))?;
        for name in names {
            // Who has it is about to make a blob of it, or has just done so.
            let Some(_busy) = self.writers.begin(&name) else { continue };
            let read = self.read()?;
            let known = || -> Result<bool, redb::Error> {
                Ok(read.open_table(UPLOADS)?.get(name.as_str())?.is_some())
            };
            if !known().map_err(|error| self.broken(error))? {
                let path = folder.join(&name);
                match self.disk.remove(&path) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                        return Err(super::io_error("remove", &path, error));
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// The digests of all files where blobs lie.
    pub(super) fn files(&self) -> Result<Vec<Digest>> {
        let mut files = Vec::new();
        let list = |path: &std::path::Path| {
            self.disk.list(path).map_err(|error| super::io_error("list", path, error))
        };
        for algorithm in ["sha256", "sha512"] {
            let above = self.root.join("blobs").join(algorithm);
            for folder in list(&above)? {
                for name in list(&above.join(&folder))? {
                    files.extend(format!("{algorithm}:{name}").parse::<Digest>());
                }
            }
        }
        Ok(files)
    }
}

/// Whether people named something by a tag, rather than a client that attaches.
fn is_named(tag: &str) -> bool {
    !tag.parse::<Tag>().is_ok_and(|tag| tag.is_attachment())
}

/// Manifests that are tagged or young, what their indexes hold, and what refers to them.
fn live(
    records: &[(String, String, Record)],
    before: u64,
    tagged: &BTreeSet<(String, String)>,
    named: &BTreeSet<(String, String)>,
) -> BTreeSet<(String, String)> {
    let mut live = BTreeSet::new();
    loop {
        let known = live.len();
        for (repo, digest, record) in records {
            let key = (repo.clone(), digest.clone());
            let of = |digest: &String| (repo.clone(), digest.clone());
            let kept = tagged.contains(&key)
                || record.pushed >= before
                || record.subject.as_ref().is_some_and(|subject| live.contains(&of(subject)));
            if kept || live.contains(&key) {
                // What refers to it would go with it.
                live.extend(record.subject.iter().filter(|_| named.contains(&key)).map(of));
                live.insert(key);
                live.extend(record.manifests.iter().map(of));
            }
        }
        if live.len() == known {
            return live;
        }
    }
}

type Pairs = (&'static str, &'static str);
type Triples = (&'static str, &'static str, &'static str);

/// What repositories hold without using it, no lease in the table running: (repository, digest).
fn unused(
    held: &impl ReadableTable<Pairs, u64>,
    uses: &impl ReadableTable<Triples, ()>,
    now: u64,
) -> Result<Vec<(String, String)>, redb::Error> {
    let mut unused = Vec::new();
    for entry in held.iter()? {
        let (key, until) = entry?;
        let (repo, digest) = key.value();
        if until.value() <= now && !is_used(uses, repo, digest)? {
            unused.push((repo.to_owned(), digest.to_owned()));
        }
    }
    Ok(unused)
}

/// Blobs that nobody holds, and their sizes.
fn unheld(
    blobs: &impl ReadableTable<&'static str, u64>,
    holders: &impl ReadableTable<Pairs, ()>,
) -> Result<Vec<(String, u64)>, redb::Error> {
    let mut unheld = Vec::new();
    for entry in blobs.iter()? {
        let (digest, size) = entry?;
        if !is_held(holders, digest.value())? {
            unheld.push((digest.value().to_owned(), size.value()));
        }
    }
    Ok(unheld)
}

fn is_used(
    uses: &impl ReadableTable<Triples, ()>,
    repo: &str,
    digest: &str,
) -> Result<bool, redb::Error> {
    match uses.range((repo, digest, "")..)?.next() {
        Some(entry) => {
            let entry = entry?;
            let (of, used, _) = entry.0.value();
            Ok(of == repo && used == digest)
        }
        None => Ok(false),
    }
}

fn is_held(holders: &impl ReadableTable<Pairs, ()>, digest: &str) -> Result<bool, redb::Error> {
    match holders.range((digest, "")..)?.next() {
        Some(entry) => Ok(entry?.0.value().0 == digest),
        None => Ok(false),
    }
}
