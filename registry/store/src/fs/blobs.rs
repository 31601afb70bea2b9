//! Blobs: who holds them, and reading them.

use std::{collections::BTreeMap, path::PathBuf};

use redb::ReadableTable;

use super::{Inner, io_error, sync_folder};
use crate::{
    BlobReader, Digest, Error, Name, Result,
    db::{BLOBS, HELD, HOLDERS, USES},
    disk::DiskFile,
};

impl Inner {
    /// Size of a blob whose file is there, whoever holds it.
    pub(super) fn blob_size(&self, digest: &Digest) -> Result<Option<u64>> {
        let read = self.read()?;
        let size = || -> Result<Option<u64>, redb::Error> {
            Ok(read.open_table(BLOBS)?.get(digest.to_string().as_str())?.map(|size| size.value()))
        };
        size().map_err(|error| self.broken(error))
    }

    /// Size of a blob that the repository holds.
    pub(super) fn held_size(&self, repo: &Name, digest: &Digest) -> Result<Option<u64>> {
        let read = self.read()?;
        let key = digest.to_string();
        let size = || -> Result<Option<u64>, redb::Error> {
            if read.open_table(HELD)?.get((repo.as_str(), key.as_str()))?.is_none() {
                return Ok(None);
            }
            Ok(read.open_table(BLOBS)?.get(key.as_str())?.map(|size| size.value()))
        };
        size().map_err(|error| self.broken(error))
    }

    /// Finds a blob and renews its lease, under its guard: a collection sees either nothing or the lease.
    pub(super) fn stat(&self, repo: &Name, digest: &Digest) -> Result<u64> {
        let until = self.now().saturating_add(self.keep.lease);
        let _guard = self.guards.of(digest);
        let size = self.held_size(repo, digest)?.ok_or_else(|| unknown(repo, digest))?;
        let mut seen = self.seen();
        seen.insert((repo.to_string(), digest.to_string()), until);
        if seen.len() > self.limits.leases_in_memory {
            let leases = std::mem::take(&mut *seen);
            drop(seen);
            if let Err(error) = self.note_leases(&leases) {
                self.seen().extend(leases);
                return Err(error);
            }
        }
        Ok(size)
    }

    /// Leases that were kept in memory go into the metadata. Under some guard, as no collection may come in between.
    fn note_leases(&self, leases: &BTreeMap<(String, String), u64>) -> Result<()> {
        let write = self.write()?;
        let put = || -> Result<(), redb::Error> {
            let mut held = write.open_table(HELD)?;
            for ((repo, digest), until) in leases {
                let key = (repo.as_str(), digest.as_str());
                let known = held.get(key)?.map(|until| until.value());
                if known.is_some_and(|known| known < *until) {
                    held.insert(key, *until)?;
                }
            }
            Ok(())
        };
        put().map_err(|error| self.broken(error))?;
        self.commit(write)
    }

    pub(super) fn open_reader(&self, repo: &Name, digest: &Digest) -> Result<Reader> {
        let size = self.held_size(repo, digest)?.ok_or_else(|| unknown(repo, digest))?;
        let path = self.blob_path(digest);
        let file = self.disk.open_read(&path).map_err(|error| io_error("open", &path, error))?;
        Ok(Reader { size, file, real: self.disk.real_path(&path), path })
    }

    pub(super) fn unlink(&self, repo: &Name, digest: &Digest) -> Result<()> {
        let (name, key) = (repo.as_str(), digest.to_string());
        let mut ledger = self.ledger()?;
        let write = self.write()?;
        let mut remove = || -> Result<Option<Error>, redb::Error> {
            let uses = write.open_table(USES)?;
            let mut users = uses.range((name, key.as_str(), "")..)?;
            if let Some(entry) = users.next().transpose()? {
                let (repo, used, user) = entry.0.value();
                if repo == name && used == key {
                    let user = user.parse().unwrap_or_else(|_| digest.clone());
                    return Ok(Some(Error::BlobInUse { digest: digest.clone(), user }));
                }
            }
            if write.open_table(HELD)?.remove((name, key.as_str()))?.is_none() {
                return Ok(Some(unknown(repo, digest)));
            }
            write.open_table(HOLDERS)?.remove((key.as_str(), name))?;
            let size = write.open_table(BLOBS)?.get(key.as_str())?.map_or(0, |size| size.value());
            ledger.went(name, &key, size);
            Ok(None)
        };
        if let Some(refused) = remove().map_err(|error| self.broken(error))? {
            return Err(refused);
        }
        self.commit_with(write, ledger)?;
        self.seen().remove(&(name.to_owned(), key));
        Ok(())
    }

    pub(super) fn holders_of(&self, digest: &Digest, limit: usize) -> Result<Vec<Name>> {
        let read = self.read()?;
        let key = digest.to_string();
        let names = || -> Result<Vec<String>, redb::Error> {
            let table = read.open_table(HOLDERS)?;
            let mut names = Vec::new();
            for entry in table.range((key.as_str(), "")..)? {
                let entry = entry?;
                let (digest, repo) = entry.0.value();
                if digest != key || names.len() >= limit {
                    break;
                }
                names.push(repo.to_owned());
            }
            Ok(names)
        };
        let names = names().map_err(|error| self.broken(error))?;
        names.iter().map(|name| name.parse()).collect()
    }

    pub(super) fn mount(&self, from: &Name, to: &Name, digest: &Digest) -> Result<()> {
        let until = self.now().saturating_add(self.keep.lease);
        let key = digest.to_string();
        let _guard = self.guards.of(digest);
        let size = self.held_size(from, digest)?.ok_or_else(|| unknown(from, digest))?;
        let mut ledger = self.ledger()?;
        let write = self.write()?;
        let mut put = || -> Result<(), redb::Error> {
            let mut held = write.open_table(HELD)?;
            if held.insert((to.as_str(), key.as_str()), until)?.is_none() {
                ledger.came(to.as_str(), &key, size);
            }
            write.open_table(HOLDERS)?.insert((key.as_str(), to.as_str()), ())?;
            Ok(())
        };
        put().map_err(|error| self.broken(error))?;
        ledger.check()?;
        self.blob_arrived(&write, to.as_str(), &key)?;
        self.commit_with(write, ledger)
    }

    pub(super) fn put_small(&self, repo: &Name, digest: &Digest, bytes: &[u8]) -> Result<()> {
        let found = Digest::with(digest.algorithm(), bytes);
        if found != *digest {
            return Err(Error::DigestMismatch { stated: digest.clone(), found });
        }
        let id = self.unguessable()?;
        let _busy = self.writers.begin(&id).ok_or(Error::UploadBusy)?;
        let path = self.upload_path(&id);
        let file = self.disk.create(&path).map_err(|error| io_error("create", &path, error))?;
        let written = file.write_at(0, bytes).and_then(|()| file.sync());
        drop(file);
        let done = written
            .map_err(|error| io_error("write", &path, error))
            .and_then(|()| self.adopt(repo, digest, bytes.len() as u64, &path, None));
        if done.is_err() {
            // Where this fails too, a collection takes it.
            let _ = self.disk.remove(&path);
        }
        done
    }

    /// Removes the file of a blob that nobody holds any more; it is out of the metadata already, and guarded.
    pub(super) fn remove_file(&self, digest: &Digest) -> Result<()> {
        let path = self.blob_path(digest);
        self.disk.remove(&path).map_err(|error| io_error("remove", &path, error))?;
        match path.parent() {
            Some(folder) => sync_folder(&*self.disk, folder),
            None => Ok(()),
        }
    }
}

pub(super) fn unknown(repo: &Name, digest: &Digest) -> Error {
    Error::BlobUnknown { repo: repo.clone(), digest: digest.clone() }
}

/// An open blob.
pub(super) struct Reader {
    size: u64,
    file: Box<dyn DiskFile>,
    path: PathBuf,
    real: Option<PathBuf>,
}

impl BlobReader for Reader {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<usize> {
        if offset >= self.size {
            return Ok(0);
        }
        self.file.read_at(offset, out).map_err(|error| io_error("read", &self.path, error))
    }

    fn read_now(&self, offset: u64, out: &mut [u8]) -> Option<usize> {
        if offset >= self.size { None } else { self.file.read_now(offset, out) }
    }

    fn path(&self) -> Option<PathBuf> {
        self.real.clone()
    }
}
