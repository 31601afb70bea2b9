//! The metadata: which tables there are, and redb over the store's own disk.
//!
//! One file, `metadata.redb`; a commit is atomic and durable when it returns. Blobs' bytes are files of their own.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

use redb::{
    Database, ReadTransaction, ReadableDatabase as _, StorageBackend, TableDefinition,
    WriteTransaction,
};
use serde::{Deserialize, Serialize};

use crate::{
    Error, Result,
    disk::{Disk, DiskFile},
    error::io_error,
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

/// The metadata before they are whole.
const PART: &str = "metadata.redb.part";

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

/// The opened metadata. After a failure of the disk (it is full, say) redb takes nothing more; they are then opened anew.
pub(crate) struct Metadata {
    root: PathBuf,
    disk: Arc<dyn Disk>,
    current: RwLock<Arc<Opened>>,
}

struct Opened {
    database: Database,
    /// Whether an operation on the file failed.
    failed: Arc<AtomicBool>,
}

impl Metadata {
    /// Opens the metadata, made anew where there are none.
    pub(crate) fn open(disk: Arc<dyn Disk>, root: &Path) -> Result<Self> {
        let current = RwLock::new(Arc::new(Opened::open(&*disk, root)?));
        // Where a crash made of its renaming a second name.
        let _ = disk.remove(&root.join(PART));
        Ok(Self { root: root.to_owned(), disk, current })
    }

    pub(crate) fn read(&self) -> Result<ReadTransaction> {
        self.working()?.database.begin_read().map_err(|error| broken(&self.root, error))
    }

    /// Waits for the writer before.
    pub(crate) fn write(&self) -> Result<WriteTransaction> {
        let mut current = self.working()?;
        loop {
            match current.database.begin_write().map_err(redb::Error::from) {
                // Of the writer that was waited for.
                Err(redb::Error::PreviousIo) => current = self.working()?,
                other => return other.map_err(|error| broken(&self.root, error)),
            }
        }
    }

    fn working(&self) -> Result<Arc<Opened>> {
        let current = Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner));
        if !current.failed.load(Ordering::Acquire) {
            return Ok(current);
        }
        drop(current);
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if current.failed.load(Ordering::Acquire) {
            // Whoever still works with the failed one gets nothing but errors from it.
            *current = Arc::new(Opened::open(&*self.disk, &self.root)?);
        }
        Ok(Arc::clone(&current))
    }
}

impl Opened {
    fn open(disk: &dyn Disk, root: &Path) -> Result<Self> {
        let path = root.join("metadata.redb");
        let file = match disk.open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Self::make(disk, root)?;
                disk.open(&path)
            }
            other => other,
        };
        Self::with(file.map_err(|error| io_error("open", &path, error))?, root)
    }

    /// Makes the metadata under another name: what has theirs is whole.
    fn make(disk: &dyn Disk, root: &Path) -> Result<()> {
        let (path, part) = (root.join("metadata.redb"), root.join(PART));
        // Of a crash.
        let _ = disk.remove(&part);
        let file = disk.create(&part).map_err(|error| io_error("create", &part, error))?;
        let made = Self::with(file, root)?;
        let write = made.database.begin_write().map_err(|error| broken(root, error))?;
        make_tables(&write).map_err(|error| broken(root, error))?;
        write.commit().map_err(|error| broken(root, error))?;
        drop(made);
        let named = disk.rename(&part, &path).and_then(|()| disk.sync_folder(root));
        named.map_err(|error| io_error("rename to", &path, error))
    }

    fn with(file: Box<dyn DiskFile>, root: &Path) -> Result<Self> {
        let failed = Arc::new(AtomicBool::new(false));
        let backend = Backend { file, failed: Arc::clone(&failed) };
        let database = Database::builder().set_cache_size(32 << 20).create_with_backend(backend);
        Ok(Self { database: database.map_err(|error| broken(root, error))?, failed })
    }
}

/// Digests and sizes of all blobs whose files are there.
pub(crate) fn blobs(read: &ReadTransaction) -> Result<Vec<(String, u64)>, redb::Error> {
    use redb::ReadableTable as _;
    let mut all = Vec::new();
    for entry in read.open_table(BLOBS)?.iter()? {
        let (digest, size) = entry?;
        all.push((digest.value().to_owned(), size.value()));
    }
    Ok(all)
}

/// So that reading never meets a table that is not there.
fn make_tables(write: &WriteTransaction) -> Result<(), redb::TableError> {
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
        redb::Error::Io(source) => io_error("read or write", &path, source),
        redb::Error::PreviousIo => {
            let source = io::Error::other("an operation on it failed meanwhile");
            Error::Io { what: "read or write", path, source }
        }
        redb::Error::DatabaseAlreadyOpen => Error::Locked(root.to_owned()),
        other => Error::Corrupt { path, what: other.to_string() },
    }
}

/// A file of the store's disk under redb.
struct Backend {
    file: Box<dyn DiskFile>,
    failed: Arc<AtomicBool>,
}

impl Backend {
    fn noted<T>(&self, result: io::Result<T>) -> io::Result<T> {
        if result.is_err() {
            self.failed.store(true, Ordering::Release);
        }
        result
    }
}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Backend")
    }
}

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.noted(self.file.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        match self.noted(self.file.read_at(offset, out))? {
            read if read < out.len() => self.noted(Err(io::ErrorKind::UnexpectedEof.into())),
            _ => Ok(()),
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.noted(self.file.set_len(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.noted(self.file.sync())
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.noted(self.file.write_at(offset, bytes))
    }
}
