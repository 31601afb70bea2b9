//! Hashing beside writing: a thread that hashes what another one writes meanwhile.
//!
//! Hashing and writing into memory are about the same work, so that both at once take half the time. The thread may be a
//! little ahead of what is written, never behind for long: its queue is short.

use std::{
    io,
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
};

use crate::{Hasher, api::Piece};

/// Batches that wait to be hashed.
const WAITING: usize = 2;

enum Work {
    Hash(Arc<[Piece]>),
    /// Gives the hash of so many bytes.
    State(u64, SyncSender<Option<Hasher>>),
}

/// A thread that hashes; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Hashing(SyncSender<Work>);

impl Hashing {
    /// Goes on with a hash of `at` bytes.
    pub(super) fn begin(hasher: Hasher, at: u64) -> io::Result<Self> {
        let (queue, work) = sync_channel(WAITING);
        thread::Builder::new().name("hashing".to_owned()).spawn(move || run(hasher, at, &work))?;
        Ok(Self(queue))
    }

    /// Hashes a batch some time.
    pub(super) fn add(&self, batch: Arc<[Piece]>) -> io::Result<()> {
        self.0.send(Work::Hash(batch)).map_err(|_| gone())
    }

    /// The hash of the first `at` bytes: of all, or of all but the last batch.
    pub(super) fn state(&self, at: u64) -> io::Result<Hasher> {
        let (answer, found) = sync_channel(1);
        self.0.send(Work::State(at, answer)).map_err(|_| gone())?;
        found.recv().ok().flatten().ok_or_else(gone)
    }
}

fn run(mut hasher: Hasher, mut at: u64, work: &Receiver<Work>) {
    let mut before = (at, hasher.clone());
    while let Ok(work) = work.recv() {
        match work {
            Work::Hash(batch) => {
                before = (at, hasher.clone());
                for piece in batch.iter() {
                    let bytes = (**piece).as_ref();
                    hasher.update(bytes);
                    at += bytes.len() as u64;
                }
            }
            Work::State(wanted, answer) => {
                let found = match wanted {
                    _ if wanted == at => Some(hasher.clone()),
                    _ if wanted == before.0 => Some(before.1.clone()),
                    _ => None,
                };
                // Who asked waits for it.
                let _ = answer.send(found);
            }
        }
    }
}

fn gone() -> io::Error {
    io::Error::other("the thread that hashes failed")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Algorithm, Digest};

    #[test]
    fn the_hash_of_all_or_of_all_but_the_last() {
        let batch = |text: &'static str| -> Arc<[Piece]> {
            text.split_inclusive(' ').map(|part| Box::new(part.as_bytes()) as Piece).collect()
        };
        let mut hasher = Hasher::new(Algorithm::Sha256);
        hasher.update(b"so far: ");
        let hashing = Hashing::begin(hasher, 8).unwrap();
        assert_eq!(hashing.state(8).unwrap().finish(), Digest::of(b"so far: "));
        hashing.add(batch("a b c ")).unwrap();
        hashing.add(batch("d")).unwrap();
        assert_eq!(hashing.state(15).unwrap().finish(), Digest::of(b"so far: a b c d"));
        assert_eq!(hashing.state(14).unwrap().finish(), Digest::of(b"so far: a b c "));
        assert!(hashing.state(8).is_err(), "that is forgotten");
        hashing.add(batch("!")).unwrap();
        assert_eq!(hashing.state(16).unwrap().finish(), Digest::of(b"so far: a b c d!"));
    }
}
