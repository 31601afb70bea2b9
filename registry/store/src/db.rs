//! The metadata: which tables there are, and redb over the store's own disk.
//!
//! One file, `metadata.redb`; a commit is atomic and durable when it returns. Blobs' bytes are files of their own.

use std::{fmt, io, path::Path};

use redb::{Database, StorageBackend, TableDefinition};
use serde::{Deserialize, Serialize};

use crate::{
    Error, Result,
    disk::{Disk, DiskFile},
};

/// Digest → size of every blob whose file is there.
pub(crate) const BLOBS: TableDefinition<'_, &str, u64> = TableDefinition::new("blobs");
/// (repository, digest): the repository holds the blob. The value: leased until then, seconds since 1970.
pub(crate) const HELD: TableDefinition<'_, (&str, &str), u64> = TableDefinition::new("held");
/// (digest, repository): the same, to find the holders of a blob.
pub(crate) const HOLDERS: TableDefinition<'_, (&str, &str), ()> = TableDefinition::new("holders");
/// (repository, digest) → [`Record`] as JSON.
pub(crate) const MANIFESTS: TableDefinition<'_, (&str, &str), &[u8]> =
    TableDefinition::new("manifests");
/// (repository, digest) → the manifest's bytes.
pub(crate) const CONTENT: TableDefinition<'_, (&str, &str), &[u8]> =
    TableDefinition::new("content");
/// (repository, tag) → (digest, when it was set).
pub(crate) const TAGS: TableDefinition<'_, (&str, &str), (&str, u64)> =
    TableDefinition::new("tags");
/// (repository, subject, referrer).
pub(crate) const REFERRERS: TableDefinition<'_, (&str, &str, &str), ()> =
    TableDefinition::new("referrers");
/// (repository, what is used, the manifest that uses it).
pub(crate) const USES: TableDefinition<'_, (&str, &str, &str), ()> = TableDefinition::new("uses");
/// (repository, manifest, kind) → what was derived from it.
pub(crate) const VIEWS: TableDefinition<'_, (&str, &str, &str), &[u8]> =
    TableDefinition::new("views");
/// Upload → [`Session`] as JSON.
pub(crate) const UPLOADS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("uploads");

/// What is kept of a manifest beside its bytes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) media_type: String,
    pub(crate) size: u64,
    pub(crate) pushed: u64,
    /// Digests of config and layers.
    pub(crate) blobs: Vec<String>,
    /// Digests of an index's manifests.
    pub(crate) manifests: Vec<String>,
    pub(crate) subject: Option<String>,
    pub(crate) artifact_type: Option<String>,
    pub(crate) annotations: std::collections::BTreeMap<String, String>,
    /// What was not there when it was pushed: absent, not lost.
    pub(crate) lacking: Vec<String>,
}

/// An upload under way.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Session {
    pub(crate) repo: String,
    pub(crate) algorithm: String,
    /// Bytes that are flushed, and that `state` has taken in.
    pub(crate) offset: u64,
    pub(crate) state: Vec<u8>,
    /// Where the last chunk began, and the hash there.
    pub(crate) last_chunk: u64,
    pub(crate) last_state: Vec<u8>,
    pub(crate) touched: u64,
}

/// Opens the metadata, made anew where there is none.
pub(crate) fn open(disk: &dyn Disk, root: &Path) -> Result<Database> {
    let path = root.join("metadata.redb");
    let failed = |what, source| Error::Io { what, path: path.clone(), source };
    let file = match disk.open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let file = disk.create(&path).map_err(|error| failed("create", error))?;
            disk.sync_folder(root).map_err(|error| failed("flush the folder of", error))?;
            file
        }
        other => other.map_err(|error| failed("open", error))?,
    };
    let database = Database::builder().set_cache_size(32 << 20).create_with_backend(Backend(file));
    let database = database.map_err(|error| broken(root, error))?;
    let write = database.begin_write().map_err(|error| broken(root, error))?;
    make_tables(&write).map_err(|error| broken(root, error))?;
    write.commit().map_err(|error| broken(root, error))?;
    Ok(database)
}

/// Digests and sizes of all blobs whose files are there.
pub(crate) fn blobs(read: &redb::ReadTransaction) -> Result<Vec<(String, u64)>, redb::Error> {
    use redb::ReadableTable as _;
    let mut all = Vec::new();
    for entry in read.open_table(BLOBS)?.iter()? {
        let (digest, size) = entry?;
        all.push((digest.value().to_owned(), size.value()));
    }
    Ok(all)
}

/// So that reading never meets a table that is not there.
fn make_tables(write: &redb::WriteTransaction) -> Result<(), redb::TableError> {
    write.open_table(BLOBS)?;
    write.open_table(HELD)?;
    write.open_table(HOLDERS)?;
    write.open_table(MANIFESTS)?;
    write.open_table(CONTENT)?;
    write.open_table(TAGS)?;
    write.open_table(REFERRERS)?;
    write.open_table(USES)?;
    write.open_table(VIEWS)?;
    write.open_table(UPLOADS)?;
    Ok(())
}

/// What redb says, as ours: a full disk, another failure of the disk, or broken metadata.
pub(crate) fn broken(root: &Path, error: impl Into<redb::Error>) -> Error {
    let path = root.join("metadata.redb");
    match error.into() {
        redb::Error::Io(source) if source.kind() == io::ErrorKind::StorageFull => {
            Error::NoSpace(path)
        }
        redb::Error::Io(source) => Error::Io { what: "read or write", path, source },
        redb::Error::DatabaseAlreadyOpen => Error::Locked(root.to_owned()),
        other => Error::Corrupt { path, what: other.to_string() },
    }
}

/// A file of the store's disk under redb.
struct Backend(Box<dyn DiskFile>);

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Backend")
    }
}

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if self.0.read_at(offset, out)? < out.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync()
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_at(offset, bytes)
    }
}
