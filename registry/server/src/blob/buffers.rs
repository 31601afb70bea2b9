//! Memory for the pieces of blobs on their way out: a bounded number of large buffers, used over and over.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// Bytes of a piece.
pub(crate) const PIECE: usize = 512 << 10;

/// Bytes of a piece where all large buffers are in use.
const SMALL_PIECE: usize = 32 << 10;

/// Large buffers in use at once.
const LARGE: usize = 128;

/// Large buffers that are kept when nobody needs them.
const KEPT: usize = 16;

/// The buffers of one registry.
#[derive(Debug, Default)]
pub(crate) struct Buffers(Mutex<Pool>);

#[derive(Debug, Default)]
struct Pool {
    free: Vec<Vec<u8>>,
    used: usize,
}

/// Memory to read a piece into.
#[derive(Debug)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    filled: usize,
    /// Where a large one goes back to.
    home: Option<Arc<Buffers>>,
}

impl Buffers {
    /// A buffer for the next piece of which at most `wanted` bytes are needed.
    pub(crate) fn take(self: &Arc<Self>, wanted: u64) -> Buffer {
        let wanted = usize::try_from(wanted).unwrap_or(PIECE).min(PIECE);
        let large = (wanted > SMALL_PIECE).then(|| self.large()).flatten();
        match large {
            Some(bytes) => Buffer { bytes, filled: 0, home: Some(Arc::clone(self)) },
            None => Buffer { bytes: vec![0; wanted.min(SMALL_PIECE)], filled: 0, home: None },
        }
    }

    fn large(&self) -> Option<Vec<u8>> {
        let mut pool = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if pool.used >= LARGE {
            return None;
        }
        pool.used += 1;
        let free = pool.free.pop();
        drop(pool);
        Some(free.unwrap_or_else(|| vec![0; PIECE]))
    }

    fn put_back(&self, bytes: Vec<u8>) {
        let mut pool = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pool.used = pool.used.saturating_sub(1);
        if pool.free.len() < KEPT {
            pool.free.push(bytes);
        }
    }
}

impl Buffer {
    /// The memory, at most `wanted` bytes of it.
    pub(crate) fn room(&mut self, wanted: u64) -> &mut [u8] {
        let end = usize::try_from(wanted).unwrap_or(usize::MAX).min(self.bytes.len());
        self.bytes.get_mut(..end).unwrap_or_default()
    }

    /// The first bytes of it, as a piece that gives the memory back when it is gone.
    pub(crate) fn piece(mut self, filled: usize) -> Bytes {
        self.filled = filled.min(self.bytes.len());
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        self.bytes.get(..self.filled).unwrap_or_default()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(home) = self.home.take() {
            home.put_back(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_buffers_are_bounded_and_come_back() {
        let buffers = Arc::new(Buffers::default());
        let mut taken: Vec<Buffer> = (0..LARGE).map(|_| buffers.take(u64::MAX)).collect();
        assert!(taken.iter_mut().all(|buffer| buffer.room(u64::MAX).len() == PIECE));
        assert_eq!(buffers.take(u64::MAX).room(u64::MAX).len(), SMALL_PIECE);
        let piece = taken.pop().unwrap().piece(7);
        assert_eq!(piece.len(), 7);
        drop(piece);
        assert_eq!(buffers.take(u64::MAX).room(u64::MAX).len(), PIECE);
        assert_eq!(buffers.take(100).room(u64::MAX).len(), 100);
        drop(taken);
        let pool = buffers.0.lock().unwrap();
        assert_eq!((pool.used, pool.free.len()), (0, KEPT));
    }
}
