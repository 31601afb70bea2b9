//! A disk in memory that loses power, a clock that stands still, and randomness from a seed: for tests.
//!
//! What was not flushed is at the mercy of the crash. Of a file's writes and changes of length since its last flush, each
//! is kept, lost, torn by sectors, or leaves only the length behind. Of a folder's names since its last flush, each is,
//! alone, any of what it was meanwhile: a rename may show at both of its names, or at none.

mod tree;

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::{
    World,
    disk::{Disk, DiskFile},
};
use tree::Tree;

/// Numbers that follow from a seed (SplitMix64).
#[derive(Debug, Clone)]
pub struct Rng(u64);

impl Rng {
    /// From a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Any number.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, or 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next_u64().checked_rem(end).unwrap_or_default()
    }

    /// Whether something happens that does once in `times`.
    pub fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// One of some things.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        from.get(self.below(from.len() as u64) as usize)
    }
}

/// A clock that a test moves, and randomness from a seed.
#[derive(Debug)]
pub struct SimWorld {
    now: AtomicU64,
    rng: Mutex<Rng>,
}

impl SimWorld {
    /// From a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { now: AtomicU64::new(1_000_000), rng: Mutex::new(Rng::new(seed)) }
    }

    /// Lets time pass.
    pub fn advance(&self, seconds: u64) {
        self.now.fetch_add(seconds, Ordering::Relaxed);
    }
}

impl World for SimWorld {
    fn now(&self) -> u64 {
        self.now.load(Ordering::Relaxed)
    }

    fn random(&self, out: &mut [u8]) -> io::Result<()> {
        let mut rng = self.rng.lock().unwrap_or_else(PoisonError::into_inner);
        out.fill_with(|| rng.next_u64() as u8);
        Ok(())
    }
}

/// The disk. Clones are the same disk.
#[derive(Debug, Clone)]
pub struct SimDisk(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    tree: Tree,
    rng: Rng,
    /// Changing operations that are left before the power goes.
    fuse: Option<u64>,
    out: bool,
    full: bool,
    /// Counts crashes: files that were open before one are gone.
    life: u64,
    operations: u64,
    /// Over all that was written.
    sum: u64,
}

impl State {
    /// Admits a changing operation; `true` where the power goes while it runs.
    fn admit(&mut self) -> io::Result<bool> {
        self.powered()?;
        self.operations += 1;
        match &mut self.fuse {
            Some(0) => {
                self.out = true;
                Ok(true)
            }
            Some(left) => {
                *left -= 1;
                Ok(false)
            }
            None => Ok(false),
        }
    }

    fn powered(&self) -> io::Result<()> {
        if self.out { Err(power()) } else { Ok(()) }
    }

    /// Refuses what needs space now and then while the disk is full.
    fn space(&mut self) -> io::Result<()> {
        if self.full && self.rng.once_in(2) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    /// An operation that changes names or content, but makes nothing durable: where the power goes meanwhile, it may
    /// have happened.
    fn change<T>(
        &mut self,
        needs_space: bool,
        change: impl FnOnce(&mut Tree) -> io::Result<T>,
    ) -> io::Result<T> {
        let going = self.admit()?;
        if needs_space {
            self.space()?;
        }
        let done = change(&mut self.tree);
        if going { Err(power()) } else { done }
    }

    /// An operation that makes something durable: where the power goes meanwhile, it is as if it had not begun, for what
    /// was not flushed may be kept anyway.
    fn flush(&mut self, flush: impl FnOnce(&mut Tree) -> io::Result<()>) -> io::Result<()> {
        if self.admit()? {
            return Err(power());
        }
        self.space()?;
        flush(&mut self.tree)
    }
}

fn power() -> io::Error {
    io::Error::other("the power is out")
}

impl SimDisk {
    /// An empty disk that has one folder, `/`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            tree: Tree::default(),
            rng: Rng::new(seed),
            fuse: None,
            out: false,
            full: false,
            life: 0,
            operations: 0,
            sum: 0,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the power go during the changing operation after `operations` more; `None` takes it back.
    pub fn cut_power_after(&self, operations: Option<u64>) {
        self.state().fuse = operations;
    }

    /// Whether the power went.
    #[must_use]
    pub fn is_out(&self) -> bool {
        self.state().out
    }

    /// The power goes, if it has not, and comes back: what was not flushed is decided on.
    pub fn crash(&self) {
        let mut state = self.state();
        let State { tree, rng, .. } = &mut *state;
        tree.crash(rng);
        state.out = false;
        state.fuse = None;
        state.life += 1;
    }

    /// The program is killed, if the power did not go before, and starts anew: what it had open is gone, and all else is as
    /// it was, flushed or not.
    pub fn kill(&self) {
        let mut state = self.state();
        state.out = false;
        state.fuse = None;
        state.life += 1;
    }

    /// Lets the power go now.
    pub fn cut_power(&self) {
        self.state().out = true;
    }

    /// While the disk is full, about half of what needs space fails, writes after some of their bytes.
    pub fn fill(&self, full: bool) {
        self.state().full = full;
    }

    /// Changing operations so far, and a sum over them: the same for the same history.
    #[must_use]
    pub fn trace(&self) -> (u64, u64) {
        let state = self.state();
        (state.operations, state.sum)
    }

    /// All files with their lengths, in order of their paths.
    #[must_use]
    pub fn files(&self) -> Vec<(PathBuf, u64)> {
        self.state().tree.files()
    }

    /// Changes a byte of a file where it lies, as failing hardware would.
    ///
    /// # Errors
    /// Where there is no such file, or it is shorter.
    pub fn damage(&self, path: &Path, at: u64) -> io::Result<()> {
        let mut state = self.state();
        let id = state.tree.file_at(path)?;
        state.tree.damage(id, at)
    }

    fn handle(&self, id: usize, life: u64) -> Box<dyn DiskFile> {
        Box::new(SimFile { disk: self.clone(), id, life })
    }
}

impl Disk for SimDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.state();
        let id = state.change(true, |tree| tree.create(path))?;
        Ok(self.handle(id, state.life))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let state = self.state();
        state.powered()?;
        Ok(self.handle(state.tree.file_at(path)?, state.life))
    }

    fn open_read(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.open(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.state().change(true, |tree| tree.rename(from, to))
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.state().change(true, |tree| tree.link(from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.state().change(false, |tree| tree.remove(path))
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        self.state().change(true, |tree| tree.create_folder(path))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let state = self.state();
        state.powered()?;
        state.tree.list(path)
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        self.state().flush(|tree| tree.sync_folder(path))
    }

    fn real_path(&self, _path: &Path) -> Option<PathBuf> {
        None
    }
}

/// An open file: the file itself, whatever its name is by now.
#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    id: usize,
    life: u64,
}

impl SimFile {
    fn state(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.disk.state();
        state.powered()?;
        if state.life == self.life { Ok(state) } else { Err(power()) }
    }
}

impl DiskFile for SimFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state()?.tree.content(self.id)?.len() as u64)
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        let state = self.state()?;
        let content = state.tree.content(self.id)?;
        let rest = content.get(offset as usize..).unwrap_or_default();
        let len = rest.len().min(out.len());
        if let (Some(out), Some(rest)) = (out.get_mut(..len), rest.get(..len)) {
            out.copy_from_slice(rest);
        }
        Ok(len)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.state()?;
        if let Err(full) = state.space() {
            let fits = state.rng.below(bytes.len() as u64) as usize;
            let part = bytes.get(..fits).unwrap_or_default();
            state.change(false, |tree| tree.write(self.id, offset, part))?;
            return Err(full);
        }
        state.sum = bytes.iter().fold(state.sum ^ offset, |sum, byte| {
            sum.rotate_left(5).wrapping_add(u64::from(*byte))
        });
        state.change(false, |tree| tree.write(self.id, offset, bytes))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.state()?;
        let grows = (state.tree.content(self.id)?.len() as u64) < len;
        state.change(grows, |tree| tree.set_len(self.id, len))
    }

    fn sync(&self) -> io::Result<()> {
        self.state()?.flush(|tree| tree.sync(self.id))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// What a crash leaves of `work`, over many seeds: the paths with their contents.
    fn outcomes(work: impl Fn(&SimDisk) -> io::Result<()>) -> BTreeSet<Vec<(String, String)>> {
        let mut all = BTreeSet::new();
        for seed in 0..300 {
            let disk = SimDisk::new(seed);
            work(&disk).unwrap();
            disk.crash();
            let text = |(path, len): (PathBuf, u64)| {
                let mut bytes = vec![0; len as usize];
                disk.open(&path).unwrap().read_at(0, &mut bytes).unwrap();
                (path.display().to_string(), String::from_utf8_lossy(&bytes).into_owned())
            };
            all.insert(disk.files().into_iter().map(text).collect());
        }
        all
    }

    fn written(disk: &SimDisk, path: &str, text: &str) -> io::Result<Box<dyn DiskFile>> {
        let file = disk.create(Path::new(path))?;
        file.write_at(0, text.as_bytes())?;
        Ok(file)
    }

    #[test]
    fn what_is_flushed_stays_and_the_rest_may_go() {
        let root = Path::new("/");
        let safe = outcomes(|disk| {
            written(disk, "/a", "one")?.sync()?;
            disk.sync_folder(root)
        });
        assert_eq!(safe.into_iter().collect::<Vec<_>>(), [[("/a".to_owned(), "one".to_owned())]]);
        let unnamed = outcomes(|disk| written(disk, "/a", "one")?.sync());
        assert_eq!(unnamed.len(), 2, "there with its content, or not there");
        let unflushed = outcomes(|disk| {
            written(disk, "/a", "one")?;
            disk.sync_folder(root)
        });
        assert!(unflushed.len() >= 3, "whole, empty, zeros …: {unflushed:?}");
    }

    #[test]
    fn names_of_a_rename_are_lost_alone() {
        let found = outcomes(|disk| {
            written(disk, "/a", "one")?.sync()?;
            disk.sync_folder(Path::new("/"))?;
            disk.rename(Path::new("/a"), Path::new("/b"))
        });
        let names = |files: Vec<(String, String)>| -> String {
            files.into_iter().map(|(path, _)| path).collect()
        };
        let found: Vec<String> = found.into_iter().map(names).collect();
        assert_eq!(found, ["", "/a", "/a/b", "/b"]);
    }

    #[test]
    fn the_power_goes_when_it_is_told_to_and_a_full_disk_refuses() {
        let disk = SimDisk::new(1);
        disk.cut_power_after(Some(1));
        let file = disk.create(Path::new("/a")).unwrap();
        assert!(file.write_at(0, b"x").is_err() && disk.is_out());
        assert!(disk.list(Path::new("/")).is_err());
        disk.crash();
        assert!(file.len().is_err(), "of a former life");
        assert!(disk.list(Path::new("/")).is_ok());
        disk.fill(true);
        let tries: Vec<bool> =
            (0..20).map(|n| disk.create(&PathBuf::from(format!("/{n}"))).is_ok()).collect();
        assert!(tries.contains(&true) && tries.contains(&false));
    }
}
