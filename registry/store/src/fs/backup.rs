//! Copies of a whole store: made while it serves, and turned into a store again.
//!
//! A backup is a folder laid out as a store is. Blobs lie under their digests, so that a later backup into the same
//! folder copies only what is new; the metadata are a snapshot of one moment, put in place last. Uploads under way are
//! not part of it.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::PoisonError,
};

use redb::{
    Database, Key, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition, Value,
};

use super::{FsStore, lock};
use crate::{
    Digest, Error, Found, Hasher, Result, db,
    disk::{Disk, DiskFile, RealDisk},
    error::io_error,
};

const METADATA: &str = "metadata.redb";
const PART: &str = "metadata.redb.part";

impl FsStore {
    /// Copies everything to a folder, which is made if need be. What an earlier backup left there under the right name
    /// and size is not copied again, and what is no longer in the store is removed from it.
    ///
    /// # Errors
    /// [`Error::Locked`] where a store is open in that folder, [`Error::NoSpace`], [`Error::Io`], [`Error::Corrupt`].
    /// Damaged blobs are left out and told in [`Found::problems`].
    pub fn backup(&self, to: &Path) -> Result<Found> {
        make_folder(to)?;
        let _lock = lock(to)?;
        // Meanwhile no collection removes a file that the snapshot names.
        let _alone = self.0.maintenance.lock().unwrap_or_else(PoisonError::into_inner);
        let snapshot = self.0.read()?;
        let blobs = db::blobs(&snapshot).map_err(|error| self.0.broken(error))?;
        let part = to.join(PART);
        remove_if_there(&part)?;
        copy_tables(&snapshot, &part).map_err(|error| db::broken(to, error))?;
        drop(snapshot);
        let mut found = Found::default();
        for (key, size) in &blobs {
            let digest: Digest = key.parse()?;
            found.blobs += 1;
            found.bytes = found.bytes.saturating_add(*size);
            if let Err(error) = self.copy_out(&digest, *size, &blob_path(to, &digest)) {
                let of_target = |path: &PathBuf| path.starts_with(to);
                match &error {
                    Error::NoSpace(_) => return Err(error),
                    Error::Io { path, .. } if of_target(path) => return Err(error),
                    _ => {}
                }
                found.bad_blobs += 1;
                found.bad_bytes = found.bad_bytes.saturating_add(*size);
                found.problems.push(format!("blob {key}: {error}"));
            }
        }
        put_in_place(&part, &to.join(METADATA))?;
        sweep(to, &blobs)?;
        Ok(found)
    }

    fn copy_out(&self, digest: &Digest, size: u64, to: &Path) -> Result<()> {
        if fs::metadata(to).is_ok_and(|there| there.len() == size) {
            return Ok(());
        }
        let path = self.0.blob_path(digest);
        let file = self.0.disk.open_read(&path).map_err(|error| io_error("open", &path, error))?;
        copy_blob(&*file, &path, digest, to)
    }

    /// Makes a store from a backup in a folder that holds none. Every blob is read and checked.
    ///
    /// # Errors
    /// [`Error::Io`] where there is no backup, or a store already; [`Error::DigestMismatch`] for a damaged blob. Until
    /// all is there the folder is no store.
    pub fn restore(root: &Path, from: &Path) -> Result<Found> {
        let source = from.join(METADATA);
        fs::metadata(&source).map_err(|error| io_error("read the backup's", &source, error))?;
        make_folder(root)?;
        let _root = lock(root)?;
        // Perhaps it lies where nothing can be written.
        let _from = match lock(from) {
            Err(error @ Error::Locked(_)) => return Err(error),
            other => other.ok(),
        };
        let target = root.join(METADATA);
        if target.exists() {
            let source = io::Error::from(io::ErrorKind::AlreadyExists);
            return Err(Error::Io { what: "restore over", path: target, source });
        }
        let part = root.join(PART);
        fs::copy(&source, &part).map_err(|error| io_error("copy", &source, error))?;
        let mut found = Found::default();
        for (key, size) in listed(&part).map_err(|error| db::broken(from, error))? {
            let digest: Digest = key.parse()?;
            let path = blob_path(from, &digest);
            let file = RealDisk.open_read(&path).map_err(|error| io_error("open", &path, error))?;
            copy_blob(&*file, &path, &digest, &blob_path(root, &digest))?;
            found.blobs += 1;
            found.bytes = found.bytes.saturating_add(size);
        }
        put_in_place(&part, &target)?;
        Ok(found)
    }
}

/// The blobs that metadata in a file name.
fn listed(metadata: &Path) -> Result<Vec<(String, u64)>, redb::Error> {
    let database = Database::open(metadata)?;
    let read = database.begin_read()?;
    db::blobs(&read)
}

/// Removes blobs of earlier backups that the store no longer holds, and what an interrupted one left.
fn sweep(to: &Path, blobs: &[(String, u64)]) -> Result<()> {
    let list = |path: &Path| match RealDisk.list(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        other => other.map_err(|error| io_error("list", path, error)),
    };
    for algorithm in ["sha256", "sha512"] {
        let above = to.join("blobs").join(algorithm);
        for folder in list(&above)? {
            let folder = above.join(folder);
            for name in list(&folder)? {
                let key = format!("{algorithm}:{name}");
                if blobs.binary_search_by(|(blob, _)| blob.as_str().cmp(&key)).is_err() {
                    remove_if_there(&folder.join(name))?;
                }
            }
        }
    }
    Ok(())
}

fn remove_if_there(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(io_error("remove", path, error))
        }
        _ => Ok(()),
    }
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
fn copy_blob(from: &dyn DiskFile, path: &Path, digest: &Digest, to: &Path) -> Result<()> {
    make_folder(to.parent().unwrap_or(Path::new(".")))?;
    let part = to.with_extension("part");
    let mut file = File::create(&part).map_err(|error| io_error("create", &part, error))?;
    let (mut at, mut buffer, mut hasher) = (0, vec![0; 1 << 20], Hasher::new(digest.algorithm()));
    loop {
        let read = from.read_at(at, &mut buffer).map_err(|error| io_error("read", path, error))?;
        let bytes = buffer.get(..read).unwrap_or_default();
        if bytes.is_empty() {
            break;
        }
        hasher.update(bytes);
        file.write_all(bytes).map_err(|error| io_error("write", &part, error))?;
        at += read as u64;
    }
    let found = hasher.finish();
    if found != *digest {
        drop(file);
        remove_if_there(&part)?;
        return Err(Error::DigestMismatch { stated: digest.clone(), found });
    }
    put_in_place(&part, to)
}

fn flush(path: &Path) -> Result<()> {
    let flushed = File::open(path).and_then(|file| file.sync_all());
    flushed.map_err(|error| io_error("flush", path, error))
}

/// Flushes a file, gives it its name, and flushes the folder.
fn put_in_place(part: &Path, to: &Path) -> Result<()> {
    flush(part)?;
    fs::rename(part, to).map_err(|error| io_error("rename to", to, error))?;
    flush(to.parent().unwrap_or(Path::new(".")))
}

/// Makes a folder, with those above it, and makes their names durable.
fn make_folder(path: &Path) -> Result<()> {
    if path.as_os_str().is_empty() || path.is_dir() {
        return Ok(());
    }
    let above = path.parent().filter(|above| !above.as_os_str().is_empty());
    let above = above.unwrap_or(Path::new("."));
    make_folder(above)?;
    RealDisk.create_folder(path).map_err(|error| io_error("create", path, error))?;
    flush(above)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;
    use crate::{Descriptor, Keep, Limits, Links, Maintain as _, Name, Reference, Store as _, Tag};

    const NONE: Keep = Keep { lease: 0, upload: 0, untagged: None };

    #[test]
    fn a_backup_becomes_a_store_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let store = FsStore::open_keeping(&path("store"), Limits::default(), NONE).unwrap();
        let (repo, tag): (Name, Tag) = ("a/b".parse().unwrap(), "v1".parse().unwrap());
        let blob = Digest::of(b"blob");
        store.put_blob(&repo, &blob, b"blob").unwrap();
        let manifest = Digest::of(b"{}");
        let descriptor = Descriptor { media_type: "a/b".to_owned(), digest: blob.clone(), size: 4 };
        let links = Links { blobs: vec![descriptor], ..Links::default() };
        store
            .put_manifest(&repo, &manifest, "x/y", b"{}", &links, std::slice::from_ref(&tag))
            .unwrap();
        let found = store.backup(&path("backup")).unwrap();
        assert_eq!((found.blobs, found.bytes, found.problems.len()), (1, 4, 0));
        let gone = Digest::of(b"gone");
        store.put_blob(&repo, &gone, b"gone").unwrap();
        assert!(matches!(store.backup(&path("store")), Err(Error::Locked(_))));
        assert_eq!(store.backup(&path("backup")).unwrap().blobs, 2);
        let before = fs::metadata(blob_path(&path("backup"), &blob)).unwrap();
        store.delete_blob(&repo, &gone).unwrap();
        store.collect(false).unwrap();
        store.backup(&path("backup")).unwrap();
        let after = fs::metadata(blob_path(&path("backup"), &blob)).unwrap();
        assert_eq!(before.ino(), after.ino(), "not copied again");
        assert!(!blob_path(&path("backup"), &gone).exists());

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

        // A backup tells what is damaged, and goes on.
        fs::write(store.0.blob_path(&blob), b"blub").unwrap();
        let found = store.backup(&path("late")).unwrap();
        assert_eq!((found.blobs, found.bad_blobs, found.problems.len()), (1, 1, 1));
        fs::remove_file(store.0.blob_path(&blob)).unwrap();
        assert_eq!(store.backup(&path("late")).unwrap().bad_blobs, 1);
        let empty = FsStore::restore(&path("fourth"), &path("nowhere"));
        assert!(matches!(empty, Err(Error::Io { .. })) && !path("fourth").exists());
    }
}
