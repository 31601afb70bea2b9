//! Copies of a whole store: made while it serves, and turned into a store again.
//!
//! A backup is a folder laid out as a store is. Blobs lie under their digests, so that a later backup into the same
//! folder copies only what is new; the metadata are a snapshot of one moment, put in place last. Uploads under way are
//! not part of it.

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    sync::PoisonError,
};

use redb::{
    Database, Key, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition, Value,
};

use super::{FsStore, Inner, io_error};
use crate::{
    Digest, Error, Found, Hasher, Result, db,
    disk::{Disk, DiskFile, RealDisk},
};

const METADATA: &str = "metadata.redb";

impl FsStore {
    /// Copies everything to a folder, which is made if need be. What an earlier backup left there under the right name
    /// and size is not copied again.
    ///
    /// # Errors
    /// [`Error::NoSpace`], [`Error::Io`], [`Error::Corrupt`]. Damaged blobs are told in [`Found::problems`].
    pub fn backup(&self, to: &Path) -> Result<Found> {
        // Meanwhile no collection removes a file that the snapshot names.
        let _alone = self.0.maintenance.lock().unwrap_or_else(PoisonError::into_inner);
        let snapshot = self.0.read()?;
        make_folder(to)?;
        let mut found = Found::default();
        for (key, size) in self.0.blobs_of(&snapshot)? {
            let digest: Digest = key.parse()?;
            let target = blob_path(to, &digest);
            found.blobs += 1;
            found.bytes = found.bytes.saturating_add(size);
            if fs::metadata(&target).is_ok_and(|there| there.len() == size) {
                continue;
            }
            let path = self.0.blob_path(&digest);
            let file =
                self.0.disk.open_read(&path).map_err(|error| io_error("open", &path, error))?;
            if let Err(problem) = copy_blob(&*file, &path, &digest, size, &target) {
                found.bad_blobs += 1;
                found.bad_bytes = found.bad_bytes.saturating_add(size);
                match problem {
                    Error::DigestMismatch { .. } => {
                        found.problems.push(format!("blob {key}: {problem}"));
                    }
                    other => return Err(other),
                }
            }
        }
        copy_metadata(&snapshot, to)?;
        Ok(found)
    }

    /// Makes a store from a backup in a folder that holds none. Every blob is read and checked.
    ///
    /// # Errors
    /// [`Error::Io`] where there is no backup, or a store already; [`Error::DigestMismatch`] for a damaged blob. Until
    /// all is there the folder is no store.
    pub fn restore(root: &Path, from: &Path) -> Result<Found> {
        let target = root.join(METADATA);
        if target.exists() {
            let source = std::io::Error::from(std::io::ErrorKind::AlreadyExists);
            return Err(Error::Io { what: "restore over", path: target, source });
        }
        let source = from.join(METADATA);
        make_folder(root)?;
        let part = root.join("metadata.redb.part");
        fs::copy(&source, &part).map_err(|error| io_error("copy", &source, error))?;
        let database = Database::open(&part).map_err(|error| db::broken(from, error))?;
        let snapshot = database.begin_read().map_err(|error| db::broken(from, error))?;
        let mut found = Found::default();
        for (key, size) in db::blobs(&snapshot).map_err(|error| db::broken(from, error))? {
            let digest: Digest = key.parse()?;
            let path = blob_path(from, &digest);
            let file = RealDisk.open_read(&path).map_err(|error| io_error("open", &path, error))?;
            copy_blob(&*file, &path, &digest, size, &blob_path(root, &digest))?;
            found.blobs += 1;
            found.bytes = found.bytes.saturating_add(size);
        }
        drop(snapshot);
        drop(database);
        put_in_place(&part, &target)?;
        Ok(found)
    }
}

impl Inner {
    fn blobs_of(&self, snapshot: &ReadTransaction) -> Result<Vec<(String, u64)>> {
        db::blobs(snapshot).map_err(|error| self.broken(error))
    }
}

fn copy_metadata(snapshot: &ReadTransaction, to: &Path) -> Result<()> {
    let part = to.join("metadata.redb.part");
    match fs::remove_file(&part) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(io_error("remove", &part, error));
        }
        _ => {}
    }
    copy_tables(snapshot, &part).map_err(|error| db::broken(to, error))?;
    put_in_place(&part, &to.join(METADATA))
}

fn copy_tables(snapshot: &ReadTransaction, to: &Path) -> Result<(), redb::Error> {
    let database = Database::create(to)?;
    let write = database.begin_write()?;
    copy(snapshot, &write, db::BLOBS)?;
    copy(snapshot, &write, db::HELD)?;
    copy(snapshot, &write, db::HOLDERS)?;
    copy(snapshot, &write, db::MANIFESTS)?;
    copy(snapshot, &write, db::CONTENT)?;
    copy(snapshot, &write, db::TAGS)?;
    copy(snapshot, &write, db::REFERRERS)?;
    copy(snapshot, &write, db::USES)?;
    copy(snapshot, &write, db::VIEWS)?;
    write.open_table(db::UPLOADS)?;
    write.commit()?;
    Ok(())
}

fn copy<K: Key, V: Value>(
    from: &ReadTransaction,
    to: &redb::WriteTransaction,
    table: TableDefinition<'_, K, V>,
) -> Result<(), redb::Error> {
    let (from, mut to) = (from.open_table(table)?, to.open_table(table)?);
    for entry in from.iter()? {
        let (key, value) = entry?;
        to.insert(key.value(), value.value())?;
    }
    Ok(())
}

fn blob_path(root: &Path, digest: &Digest) -> PathBuf {
    let folder = digest.hex().get(..2).unwrap_or_default();
    root.join("blobs").join(digest.algorithm().name()).join(folder).join(digest.hex())
}

/// Copies a blob to where it is not yet, checked against its digest on the way.
fn copy_blob(
    from: &dyn DiskFile,
    path: &Path,
    digest: &Digest,
    size: u64,
    to: &Path,
) -> Result<()> {
    let folder = to.parent().unwrap_or(Path::new("."));
    make_folder(folder)?;
    let part = to.with_extension("part");
    let mut file = File::create(&part).map_err(|error| io_error("create", &part, error))?;
    let (mut at, mut buffer, mut hasher) = (0, vec![0; 1 << 20], Hasher::new(digest.algorithm()));
    loop {
        let read = from.read_at(at, &mut buffer).map_err(|error| io_error("read", path, error))?;
        let bytes = buffer.get(..read).unwrap_or_default();
        if bytes.is_empty() || at > size {
            break;
        }
        hasher.update(bytes);
        file.write_all(bytes).map_err(|error| io_error("write", &part, error))?;
        at += read as u64;
    }
    let found = hasher.finish();
    if found != *digest {
        drop(file);
        fs::remove_file(&part).map_err(|error| io_error("remove", &part, error))?;
        return Err(Error::DigestMismatch { stated: digest.clone(), found });
    }
    put_in_place(&part, to)
}

/// Flushes a file, gives it its name, and flushes the folder.
fn put_in_place(part: &Path, to: &Path) -> Result<()> {
    let flush = |path: &Path| File::open(path).and_then(|file| file.sync_all());
    flush(part).map_err(|error| io_error("flush", part, error))?;
    fs::rename(part, to).map_err(|error| io_error("rename to", to, error))?;
    let folder = to.parent().unwrap_or(Path::new("."));
    flush(folder).map_err(|error| io_error("flush the folder", folder, error))
}

fn make_folder(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(|error| io_error("create", path, error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Limits, Links, Maintain as _, Name, Reference, Store as _, Tag};

    #[test]
    fn a_backup_becomes_a_store_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let store = FsStore::open(&path("store"), Limits::default()).unwrap();
        let (repo, tag): (Name, Tag) = ("a/b".parse().unwrap(), "v1".parse().unwrap());
        let blob = Digest::of(b"blob");
        store.put_blob(&repo, &blob, b"blob").unwrap();
        let manifest = Digest::of(b"{}");
        store
            .put_manifest(
                &repo,
                &manifest,
                "x/y",
                b"{}",
                &Links::default(),
                std::slice::from_ref(&tag),
            )
            .unwrap();
        let found = store.backup(&path("backup")).unwrap();
        assert_eq!((found.blobs, found.bytes, found.problems.len()), (1, 4, 0));
        store.backup(&path("backup")).unwrap();

        FsStore::restore(&path("again"), &path("backup")).unwrap();
        assert!(FsStore::restore(&path("again"), &path("backup")).is_err(), "it holds a store");
        let again = FsStore::open(&path("again"), Limits::default()).unwrap();
        assert_eq!(again.manifest(&repo, &Reference::Tag(tag)).unwrap().bytes, b"{}");
        assert_eq!(again.stat_blob(&repo, &blob).unwrap(), 4);
        assert!(again.scrub().unwrap().problems.is_empty());

        fs::write(blob_path(&path("backup"), &blob), b"blub").unwrap();
        let refused = FsStore::restore(&path("third"), &path("backup"));
        assert!(matches!(refused, Err(Error::DigestMismatch { .. })), "{refused:?}");
        assert!(!path("third").join(METADATA).exists(), "it is no store");
    }
}
