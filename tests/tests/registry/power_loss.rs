//! Power loss: thousands of histories of a store on a disk that forgets what was not flushed.
//!
//! A seed makes a history: blobs, uploads in chunks, manifests, tags, views, deletions and collections; in the middle of
//! any file operation the power goes, the program is killed, or the disk is full; the store is opened again, and must be
//! what was promised before, or what the interrupted call was about to make of it. `MDL_POWER_LOSS_SEED=…` lives one
//! history again, `MDL_POWER_LOSS_HISTORIES=…` so many.

mod history;
mod model;
mod steps;

use std::{
    env, io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use mdl_store::{
    disk::{Disk, DiskFile},
    simulation::SimDisk,
};

use history::{Face, History, Outcome};

/// Histories that the test lives, unless told otherwise.
const HISTORIES: u64 = 6000;

/// Lives one history; where it fails, what was done and why.
fn live(seed: u64, face: Face) -> Result<Outcome, String> {
    let mut history = History::new(seed, face);
    let result = catch_unwind(AssertUnwindSafe(|| history.run()));
    let result = result.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        Err(format!("panicked: {:?}", text.or(panic.downcast_ref::<&str>().copied())))
    });
    result.map_err(|reason| {
        let log = history.log.join("\n");
        format!("{log}\n{reason}\nMDL_POWER_LOSS_SEED={seed} lives this history again")
    })
}

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok().map(|text| text.parse().unwrap())
}

#[test]
fn nothing_that_was_promised_is_lost() {
    if let Some(seed) = number("MDL_POWER_LOSS_SEED") {
        let outcome = live(seed, |disk| Arc::new(disk)).unwrap_or_else(|error| panic!("{error}"));
        assert!(outcome.steps > 0, "{outcome:?}");
        return;
    }
    let histories = number("MDL_POWER_LOSS_HISTORIES").unwrap_or(HISTORIES);
    let (next, steps, crashes) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= histories {
                return;
            }
            match live(seed, |disk| Arc::new(disk)) {
                Ok(outcome) => {
                    steps.fetch_add(outcome.steps, Ordering::Relaxed);
                    crashes.fetch_add(outcome.crashes, Ordering::Relaxed);
                }
                Err(error) => {
                    next.store(histories, Ordering::Relaxed);
                    panic!("{error}");
                }
            }
        }
    };
    thread::scope(|scope| {
        let cores = thread::available_parallelism().map_or(2, usize::from);
        for _ in 0..cores {
            scope.spawn(work);
        }
    });
    let (steps, crashes) = (steps.into_inner(), crashes.into_inner());
    assert!(steps > histories * 20 && crashes > histories * 2, "{steps} steps, {crashes} crashes");
}

#[test]
fn a_seed_gives_the_same_history_again() {
    for seed in [1, 2, 3] {
        let [one, other] = [(); 2].map(|()| live(seed, |disk| Arc::new(disk)).unwrap());
        assert_eq!(one, other);
    }
}

/// A mistake that a store could make, between it and the disk.
#[derive(Debug, Clone, Copy)]
enum Mistake {
    /// An upload's file is never flushed.
    FileUnflushed,
    /// No folder is ever flushed.
    FolderUnflushed,
    /// An upload's file is flushed after it was renamed.
    NamedTooEarly,
}

#[derive(Debug)]
struct Mistaken(SimDisk, Mistake);

#[derive(Debug)]
struct Unflushed(Box<dyn DiskFile>);

impl Mistaken {
    fn file(&self, path: &Path, file: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        let upload = path.starts_with("/uploads");
        match self.1 {
            Mistake::FileUnflushed | Mistake::NamedTooEarly if upload => Box::new(Unflushed(file)),
            _ => file,
        }
    }

    fn named(&self, path: &Path) -> io::Result<()> {
        match self.1 {
            Mistake::NamedTooEarly => self.0.open(path)?.sync(),
            _ => Ok(()),
        }
    }
}

impl Disk for Mistaken {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(self.file(path, self.0.create(path)?))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(self.file(path, self.0.open(path)?))
    }

    fn open_read(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.0.open_read(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.rename(from, to)?;
        self.named(to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.link(from, to)?;
        self.named(to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.remove(path)
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        self.0.create_folder(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        self.0.list(path)
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        match self.1 {
            Mistake::FolderUnflushed => Ok(()),
            _ => self.0.sync_folder(path),
        }
    }

    fn real_path(&self, path: &Path) -> Option<PathBuf> {
        self.0.real_path(path)
    }
}

impl DiskFile for Unflushed {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(offset, out)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_at(offset, bytes)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

/// Why the first history that a mistake spoils fails.
fn found(face: Face) -> String {
    let failure = (0..200).find_map(|seed| live(seed, face).err());
    let text = failure.unwrap_or_default();
    text.lines().rev().nth(1).unwrap_or_default().to_owned()
}

#[test]
fn a_missing_flush_is_found() {
    let why = found(|disk| Arc::new(Mistaken(disk, Mistake::FileUnflushed)));
    assert!(why.contains("has other bytes"), "{why}");
}

#[test]
fn a_missing_flush_of_a_folder_is_found() {
    let why = found(|disk| Arc::new(Mistaken(disk, Mistake::FolderUnflushed)));
    assert!(why.contains("is lost"), "{why}");
}

#[test]
fn a_rename_before_the_flush_is_found() {
    let why = found(|disk| Arc::new(Mistaken(disk, Mistake::NamedTooEarly)));
    assert!(why.contains("has other bytes"), "{why}");
}
