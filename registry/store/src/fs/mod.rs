//! The store on a file system: blobs are files, everything else is in redb.
//!
//! ```text
//! root/
//!   metadata.redb              repositories, manifests, tags, referrers, leases, uploads (see `db`)
//!   blobs/sha256/3a/3a7f…      a blob's bytes
//!   uploads/9f…                an upload's bytes
//!   lock                       held while a process has the store open
//! ```
//!
//! # Order of writing
//! A blob's file is flushed, gets its name, its folder is flushed, and only then is it named in the metadata. It is
//! removed from the metadata before its file goes. So the metadata never promise a file that is not there; what is
//! there without being named is garbage, and goes with the next collection. Between the look at the metadata and the
//! work on the file no other thread may touch the same digest: [`Guards`].

mod backup;
mod blobs;
mod collect;
mod hashing;
mod lacking;
mod maintain;
mod manifests;
mod retain;
mod rules;
#[cfg(test)]
mod rules_tests;
mod store;
#[cfg(test)]
mod tests;
mod uploads;

pub use maintain::{Maintain, Stats};
pub use retain::Choice;
pub use rules::{IsFixed, Quota, Rules, Used};

use std::{
    collections::BTreeMap,
    fs::{File, TryLockError},
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use redb::{ReadTransaction, WriteTransaction};

use crate::{
    Digest, Error, Limits, Result, db,
    disk::{Disk, RealDisk},
    error::io_error,
};

/// What a store gets from outside, so that a history can be replayed.
pub trait World: Send + Sync {
    /// Seconds since 1970.
    fn now(&self) -> u64;
    /// Bytes that nobody can guess.
    fn random(&self, out: &mut [u8]) -> io::Result<()>;
}

/// The clock and the randomness of the system.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealWorld;

impl World for RealWorld {
    fn now(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
    }

    fn random(&self, out: &mut [u8]) -> io::Result<()> {
        use std::io::Read;
        File::open("/dev/urandom")?.read_exact(out)
    }
}

/// For how long things are kept that nothing refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// A blob just uploaded, mounted or found, for a manifest to come: seconds.
    pub lease: u64,
    /// An upload that nobody continues: seconds.
    pub upload: u64,
    /// A manifest without a tag that nothing refers to: seconds, or for ever. For ever is the default: clients pull by
    /// digest, and a tag that moved on must be able to move back.
    pub untagged: Option<u64>,
}

impl Default for Keep {
    fn default() -> Self {
        Self { lease: 6 * 3600, upload: 7 * 24 * 3600, untagged: None }
    }
}

/// Many repositories in one folder.
#[derive(Debug, Clone)]
pub struct FsStore(Arc<Inner>);

struct Inner {
    root: PathBuf,
    disk: Arc<dyn Disk>,
    world: Arc<dyn World>,
    limits: Limits,
    keep: Keep,
    metadata: db::Metadata,
    /// Leases renewed by looking; those of before a restart are made up for by `opened`.
    seen: Mutex<BTreeMap<(String, String), u64>>,
    opened: u64,
    guards: Guards,
    /// Held while a collection or a backup runs: only a collection removes blobs' files.
    maintenance: Mutex<()>,
    /// Tags that stay where they are.
    fixed: RwLock<Option<Arc<IsFixed>>>,
    /// What repositories hold, of those that may not hold everything. Locked before a transaction is begun.
    usage: Mutex<rules::Usage>,
    writers: uploads::Writers,
    uploads: AtomicU64,
    #[allow(dead_code, reason = "held for as long as the store is open")]
    lock: Option<File>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FsStore").field("root", &self.root).finish_non_exhaustive()
    }
}

/// One lock for each class of digests.
struct Guards([Mutex<()>; 64]);

impl Guards {
    fn of(&self, digest: &Digest) -> MutexGuard<'_, ()> {
        let class =
            digest.hex().bytes().take(2).fold(0usize, |sum, byte| sum * 16 + usize::from(byte));
        let mutex = self.0.get(class % self.0.len()).unwrap_or(&self.0[0]);
        // What it guards is on the disk, not in it: a panic elsewhere spoils nothing.
        mutex.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All of them, always in the same order; who holds one takes no other.
    fn all(&self) -> Vec<MutexGuard<'_, ()>> {
        self.0.iter().map(|it| it.lock().unwrap_or_else(PoisonError::into_inner)).collect()
    }
}

impl FsStore {
    /// Opens the store in a folder, which is made if need be, with the default [`Keep`].
    ///
    /// # Errors
    /// As [`FsStore::open_keeping`].
    pub fn open(root: &Path, limits: Limits) -> Result<Self> {
        Self::open_keeping(root, limits, Keep::default())
    }

    /// Opens the store in a folder, which is made if need be.
    ///
    /// # Errors
    /// [`Error::Locked`] while another process has it open, [`Error::Corrupt`], [`Error::Io`].
    pub fn open_keeping(root: &Path, limits: Limits, keep: Keep) -> Result<Self> {
        std::fs::create_dir_all(root).map_err(|error| io_error("create", root, error))?;
        let lock = lock(root)?;
        let mut inner = Inner::open(Arc::new(RealDisk), Arc::new(RealWorld), root, limits, keep)?;
        inner.lock = Some(lock);
        Ok(Self(Arc::new(inner)))
    }

    /// Opens a store on any disk, with any clock and randomness. The folder must be there.
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::Io`].
    pub fn open_on(
        disk: Arc<dyn Disk>,
        world: Arc<dyn World>,
        root: &Path,
        limits: Limits,
        keep: Keep,
    ) -> Result<Self> {
        Ok(Self(Arc::new(Inner::open(disk, world, root, limits, keep)?)))
    }

    /// Where it lies.
    pub fn root(&self) -> &Path {
        &self.0.root
    }
}

impl Inner {
    fn open(
        disk: Arc<dyn Disk>,
        world: Arc<dyn World>,
        root: &Path,
        limits: Limits,
        keep: Keep,
    ) -> Result<Self> {
        let folders = ["blobs", "blobs/sha256", "blobs/sha512", "uploads"];
        for folder in folders {
            let path = root.join(folder);
            disk.create_folder(&path).map_err(|error| io_error("create", &path, error))?;
        }
        for folder in ["", "blobs"] {
            sync_folder(&*disk, &root.join(folder))?;
        }
        let metadata = db::Metadata::open(Arc::clone(&disk), root)?;
        let opened = world.now();
        let store = Self {
            root: root.to_owned(),
            disk,
            world,
            limits,
            keep,
            metadata,
            seen: Mutex::default(),
            opened,
            guards: Guards([const { Mutex::new(()) }; 64]),
            maintenance: Mutex::new(()),
            fixed: RwLock::new(None),
            usage: Mutex::default(),
            writers: uploads::Writers::default(),
            uploads: AtomicU64::new(0),
            lock: None,
        };
        store.clean_uploads()?;
        let uploads = store.count_uploads()?;
        store.uploads.store(uploads, Ordering::Relaxed);
        Ok(store)
    }

    fn now(&self) -> u64 {
        self.world.now()
    }

    fn read(&self) -> Result<ReadTransaction> {
        self.metadata.read()
    }

    fn write(&self) -> Result<WriteTransaction> {
        self.metadata.write()
    }

    fn commit(&self, write: WriteTransaction) -> Result<()> {
        write.commit().map_err(|error| self.broken(error))
    }

    fn broken(&self, error: impl Into<redb::Error>) -> Error {
        db::broken(&self.root, error)
    }

    /// Where a blob's file lies: 256 folders, so that none grows long.
    fn blob_path(&self, digest: &Digest) -> PathBuf {
        let folder = digest.hex().get(..2).unwrap_or_default();
        self.root.join("blobs").join(digest.algorithm().name()).join(folder).join(digest.hex())
    }

    fn upload_path(&self, id: &str) -> PathBuf {
        self.root.join("uploads").join(id)
    }

    /// A name that nobody can guess.
    fn unguessable(&self) -> Result<String> {
        let mut bytes = [0; 16];
        self.world.random(&mut bytes).map_err(|source| Error::Io {
            what: "read randomness for",
            path: self.root.clone(),
            source,
        })?;
        Ok(Digest::of(&bytes).hex().get(..32).unwrap_or_default().to_owned())
    }

    fn seen(&self) -> MutexGuard<'_, BTreeMap<(String, String), u64>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Locks a folder for as long as the file is open.
fn lock(root: &Path) -> Result<File> {
    let path = root.join("lock");
    let lock = File::options().create(true).truncate(false).write(true).open(&path);
    let lock = lock.map_err(|error| io_error("open", &path, error))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(Error::Locked(root.to_owned())),
        Err(TryLockError::Error(error)) => Err(io_error("lock", root, error)),
    }
}

fn sync_folder(disk: &dyn Disk, folder: &Path) -> Result<()> {
    disk.sync_folder(folder).map_err(|error| io_error("flush the folder", folder, error))
}
