//! Memory-mapped files: the one module of this crate with `unsafe`.
//!
//! A mapped file can change under us: if somebody truncates it, touching the lost pages ends the process with
//! SIGBUS, as it does in every program that maps files. Every offset is checked against the length at opening, and
//! no byte is ever reinterpreted as a type with invalid values, so a file that is overwritten meanwhile gives wrong
//! numbers, never undefined behaviour in safe code.
#![allow(
    unsafe_code,
    reason = "mapping a file is unsafe by nature; this module is the one place that does it"
)]

use std::{
    fs::File,
    ops::{Deref, Range},
    path::{Path, PathBuf},
    sync::Arc,
};

use memmap2::{Mmap, UncheckedAdvice};

use crate::{Error, Result};

/// A whole file, mapped for reading. Clones share the mapping.
#[derive(Debug, Clone)]
pub struct Mapping {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    /// `None` for an empty file, which cannot be mapped.
    map: Option<Mmap>,
}

impl Mapping {
    /// Maps the file at `path`.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(Error::io(path, "open"))?;
        let facts = file.metadata().map_err(Error::io(path, "read the size"))?;
        if !facts.is_file() {
            return Err(Error::unsupported(path, "not a regular file", ""));
        }
        let map = if facts.len() == 0 {
            None
        } else {
            // SAFETY: the mapping is private and read-only; what a concurrent change of the file can do is described
            // in the module comment, and the bytes are only read as plain numbers.
            Some(unsafe { Mmap::map(&file) }.map_err(Error::io(path, "map"))?)
        };
        Ok(Self { inner: Arc::new(Inner { path: path.to_owned(), map }) })
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// Tells the system that these bytes are not needed again, so that they leave this process's resident set. Only
    /// whole pages inside the range are dropped; reading them again brings them back from the file.
    pub fn release(&self, range: Range<usize>) {
        const PAGE: usize = 4096;
        let Some(map) = &self.inner.map else { return };
        let Some(start) = range.start.checked_next_multiple_of(PAGE) else { return };
        let end = range.end.min(map.len()) / PAGE * PAGE;
        if start < end {
            // SAFETY: the pages are file-backed, private and never written, so dropping them loses nothing: the next
            // read faults them in again with the same bytes.
            let _ = unsafe {
                map.unchecked_advise_range(UncheckedAdvice::DontNeed, start, end - start)
            };
        }
    }
}

impl Deref for Mapping {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.inner.map.as_deref().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_releases_and_reads_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let bytes: Vec<u8> = (0..20_000_u32).map(|i| (i % 251) as u8).collect();
        std::fs::write(&path, &bytes).unwrap();
        let mapping = Mapping::open(&path).unwrap();
        assert_eq!(&mapping[..], &bytes[..]);
        mapping.release(0..usize::MAX);
        mapping.release(100..200);
        assert_eq!(&mapping[..], &bytes[..]);
    }

    #[test]
    fn an_empty_file_is_an_empty_slice_and_a_folder_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("empty");
        std::fs::write(&path, "").unwrap();
        assert!(Mapping::open(&path).unwrap().is_empty());
        assert!(Mapping::open(dir.path()).is_err());
        assert!(Mapping::open(&dir.path().join("none")).is_err());
    }
}
