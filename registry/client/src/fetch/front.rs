//! One hash in order over a file that is filled out of order: it follows the front of what is there.

use std::{
    fs::File,
    os::unix::fs::FileExt as _,
    path::Path,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

use mdl_store::{Digest, Hasher};
use sha1::{Digest as _, Sha1};

use super::ranges::Ranges;
use crate::{Error, Result};

/// What a file must hash to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Check {
    /// The digest of its bytes.
    Digest(Digest),
    /// The name that git gives to it, in hex: SHA-1 over `blob SIZE`, a zero byte and its bytes.
    GitBlob(String),
}

impl Check {
    /// The digest, where that is what is checked.
    pub(crate) fn digest(&self) -> Option<Digest> {
        match self {
            Self::Digest(digest) => Some(digest.clone()),
            Self::GitBlob(_) => None,
        }
    }
}

impl std::fmt::Display for Check {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Digest(digest) => digest.fmt(f),
            Self::GitBlob(name) => write!(f, "git:{name}"),
        }
    }
}

enum Running {
    Digest(Hasher),
    GitBlob(Sha1),
}

impl Running {
    fn new(check: &Check, size: u64) -> Self {
        match check {
            Check::Digest(digest) => Self::Digest(Hasher::new(digest.algorithm())),
            Check::GitBlob(_) => {
                let mut hasher = Sha1::new();
                hasher.update(format!("blob {size}\0"));
                Self::GitBlob(hasher)
            }
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Digest(hasher) => hasher.update(bytes),
            Self::GitBlob(hasher) => hasher.update(bytes),
        }
    }

    fn finish(self) -> Check {
        match self {
            Self::Digest(hasher) => Check::Digest(hasher.finish()),
            Self::GitBlob(hasher) => Check::GitBlob(mdl_formats::digest::hex(&hasher.finalize())),
        }
    }
}

/// Hashes a whole file: what it is, by the kind of `check`.
pub(crate) fn hash_file(path: &Path, check: &Check) -> Result<Check> {
    let file = File::open(path).map_err(Error::io(path, "open"))?;
    let size = file.metadata().map_err(Error::io(path, "read the size of"))?.len();
    let front = Front::default();
    front.mark(0, size);
    let found = front.follow(&file, path, check, size)?;
    found.ok_or(Error::Interrupted)
}

/// What is there of a file, for the writers that add to it and the hash that follows.
#[derive(Debug, Default)]
pub(super) struct Front {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    done: Ranges,
    ended: bool,
}

/// Read at once: it is still in a core's cache when it is hashed.
const READ: usize = 256 << 10;

impl Front {
    pub(super) fn new(done: Ranges) -> Self {
        Self { state: Mutex::new(State { done, ended: false }), changed: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `start..end` is written.
    pub(super) fn mark(&self, start: u64, end: u64) {
        let mut state = self.state();
        let before = state.done.front();
        state.done.add(start, end);
        if state.done.front() != before {
            self.changed.notify_all();
        }
    }

    /// Bytes that are there.
    pub(super) fn total(&self) -> u64 {
        self.state().done.total()
    }

    /// A copy of what is there.
    pub(super) fn done(&self) -> Ranges {
        self.state().done.clone()
    }

    /// Only what is there from the beginning on is still there. Bytes forgotten.
    pub(super) fn keep_front(&self) -> u64 {
        let mut state = self.state();
        let before = state.done.total();
        state.done.keep_front();
        before - state.done.total()
    }

    /// Nothing more comes.
    pub(super) fn end(&self) {
        self.state().ended = true;
        self.changed.notify_all();
    }

    /// Hashes the file behind the front until all is there; `None` where that never comes.
    pub(super) fn follow(
        &self,
        file: &File,
        path: &Path,
        check: &Check,
        size: u64,
    ) -> Result<Option<Check>> {
        let mut running = Running::new(check, size);
        let mut buffer = vec![0; READ];
        let mut at = 0;
        while at < size {
            let Some(front) = self.beyond(at, size) else { return Ok(None) };
            while at < front.min(size) {
                let wanted = READ.min((front.min(size) - at) as usize);
                let part = buffer.get_mut(..wanted).unwrap_or_default();
                file.read_exact_at(part, at).map_err(Error::io(path, "read"))?;
                running.update(part);
                at += wanted as u64;
            }
        }
        Ok(Some(running.finish()))
    }

    /// Waits until the front is beyond `at`; `None` once it will never come to `size`.
    fn beyond(&self, at: u64, size: u64) -> Option<u64> {
        let mut state = self.state();
        loop {
            let front = state.done.front();
            if state.ended && front < size {
                return None;
            }
            if front > at {
                return Some(front);
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Ends the hash however the work ends.
#[derive(Debug)]
pub(super) struct EndOnDrop<'a>(pub(super) &'a Front);

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn names_that_git_gives() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, "hello\n").unwrap();
        let git = Check::GitBlob("ce013625030ba8dba906f756967f9e9ca394464a".to_owned());
        assert_eq!(hash_file(&path, &git).unwrap(), git);
        let digest = Check::Digest(Digest::of(b"hello\n"));
        assert_eq!(hash_file(&path, &digest).unwrap(), digest);
    }

    #[test]
    fn the_hash_follows_whatever_the_order() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let bytes: Vec<u8> = (0..1_000_000_u32).map(|n| (n % 251) as u8).collect();
        std::fs::write(&path, &bytes).unwrap();
        let check = Check::Digest(Digest::of(&bytes));
        let front = Arc::new(Front::default());
        let follower = {
            let (front, check, path) = (front.clone(), check.clone(), path.clone());
            std::thread::spawn(move || {
                front.follow(&File::open(&path).unwrap(), &path, &check, 1_000_000)
            })
        };
        for start in [500_000, 0, 250_000, 750_000] {
            front.mark(start, start + 250_000);
        }
        assert_eq!(follower.join().unwrap().unwrap(), Some(check.clone()));
        let front = Front::default();
        front.mark(0, 10);
        drop(EndOnDrop(&front));
        assert_eq!(front.follow(&File::open(&path).unwrap(), &path, &check, 20).unwrap(), None);
    }
}
