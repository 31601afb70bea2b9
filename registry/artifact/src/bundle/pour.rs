//! Bytes from one file into another, hashed on the way.
//!
//! The limit is the slower of the disks and SHA-256 on one core; reading and writing go on beside the hash, on a thread
//! of their own, over a few buffers.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    path::Path,
    sync::mpsc::{channel, sync_channel},
    thread,
};

use mdl_formats::{Error as FormatError, digest::Watch};
use mdl_store::Hasher;

use crate::{Error, Result};

/// Bytes of a buffer, and how many of them are on their way.
const BUFFER: usize = 1 << 20;
const BUFFERS: usize = 4;

/// Where bytes come from or go to, with its name for errors.
pub(super) struct End<'a> {
    pub(super) file: &'a mut File,
    pub(super) path: &'a Path,
}

/// Copies `size` bytes (or only reads them, where there is no `to`), and feeds them to hashes in order.
///
/// # Errors
/// [`Error::Volume`] where the source ends early, [`Error::Formats`] for what the system says and where somebody asked to
/// stop.
pub(super) fn pour(
    from: End<'_>,
    to: Option<End<'_>>,
    size: u64,
    hashers: &mut [&mut Hasher],
    watch: &dyn Watch,
) -> Result<()> {
    let (filled, to_hash) = sync_channel::<(Vec<u8>, usize)>(BUFFERS);
    let (emptied, free) = channel::<Vec<u8>>();
    thread::scope(|scope| {
        // The hashes stay on this thread, the files go to the other.
        let moving = scope.spawn(move || -> Result<()> {
            let (mut left, mut to, mut made) = (size, to, 0);
            while left > 0 {
                if watch.interrupted() {
                    return Err(FormatError::Interrupted.into());
                }
                let mut buffer = if made < BUFFERS {
                    made += 1;
                    vec![0; BUFFER]
                } else {
                    // The other side is gone only with this scope.
                    let Ok(buffer) = free.recv() else { return Ok(()) };
                    buffer
                };
                let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(BUFFER);
                let space = buffer.get_mut(..wanted).unwrap_or_default();
                let read = from.file.read(space).map_err(FormatError::io(from.path, "read"))?;
                if read == 0 {
                    return Err(Error::volume(from.path, format!("it ends {left} bytes early")));
                }
                let bytes = buffer.get(..read).unwrap_or_default();
                if let Some(to) = &mut to {
                    to.file.write_all(bytes).map_err(FormatError::io(to.path, "write"))?;
                }
                left -= read as u64;
                watch.read(read as u64);
                if filled.send((buffer, read)).is_err() {
                    return Ok(());
                }
            }
            Ok(())
        });
        for (buffer, read) in to_hash {
            for hasher in hashers.iter_mut() {
                hasher.update(buffer.get(..read).unwrap_or_default());
            }
            // Nobody waits for it once all is read.
            let _ = emptied.send(buffer);
        }
        moving.join().map_err(|_| Error::Bundle("a thread ended early".to_owned()))?
    })
}
