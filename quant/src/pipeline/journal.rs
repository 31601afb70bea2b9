//! The journal of an unfinished file: which slabs are in it, with their digests.
//!
//! Text, one line a slab: offset, length, SHA-256; the first line names the work by the digest of the file's header,
//! which holds the recipe, and with it the digests of the sources. Another recipe or source makes another first line, and
//! the old work is not used.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, BufRead, BufReader, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use mdl_formats::{Error as FormatError, digest::hex};
use sha2::{Digest, Sha256};

use crate::Error;

type Result<T, E = Error> = std::result::Result<T, E>;

/// An open journal, locked against other runs.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: File,
}

/// One line: a slab that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) offset: u64,
    pub(super) len: usize,
    pub(super) sha256: String,
}

impl Journal {
    /// Opens or begins the journal for the work that `header` names, and gives the entries of earlier runs.
    pub(super) fn open(path: &Path, header: &[u8]) -> Result<(Self, Vec<Entry>)> {
        let file = locked(path)?;
        let title = format!("mdl journal 1 {}", hex(&Sha256::digest(header)));
        let mut lines = BufReader::new(&file).lines().map_while(Result::ok);
        let known = lines.next().is_some_and(|first| first == title);
        let entries =
            if known { lines.map_while(|line| Entry::parse(&line)).collect() } else { Vec::new() };
        let mut journal = Self { path: path.to_owned(), file };
        if !known {
            journal.restart(&title)?;
        }
        Ok((journal, entries))
    }

    /// Keeps the first entries only.
    pub(super) fn keep(&mut self, header: &[u8], entries: &[Entry]) -> Result<()> {
        self.restart(&format!("mdl journal 1 {}", hex(&Sha256::digest(header))))?;
        entries.iter().try_for_each(|entry| self.line(&entry.text()))
    }

    /// Adds a slab that is in the file.
    pub(super) fn add(&mut self, entry: &Entry) -> Result<()> {
        self.line(&entry.text())
    }

    /// The work is done: the journal goes. That somebody was faster is as good.
    pub(super) fn remove(self) -> Result<()> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(FormatError::io(&self.path, "remove")(error).into())
            }
            _ => Ok(()),
        }
    }

    fn restart(&mut self, title: &str) -> Result<()> {
        self.file.set_len(0).map_err(FormatError::io(&self.path, "empty"))?;
        self.line(title)
    }

    fn line(&mut self, text: &str) -> Result<()> {
        self.file
            .write_all(format!("{text}\n").as_bytes())
            .map_err(FormatError::io(&self.path, "write"))?;
        Ok(())
    }
}

/// The file, created if need be, locked, and still the one of that name: another run may have removed it between our
/// opening and our lock.
fn locked(path: &Path) -> Result<File> {
    loop {
        let file = OpenOptions::new().read(true).append(true).create(true).open(path);
        let file = file.map_err(FormatError::io(path, "open"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::refused(
                    format!("{}: another run is writing this file", path.display()),
                    "wait for it, or write elsewhere",
                ));
            }
            Err(TryLockError::Error(error)) => {
                return Err(FormatError::io(path, "lock")(error).into());
            }
        }
        let held = file.metadata().map_err(FormatError::io(path, "read the facts of"))?;
        match fs::metadata(path) {
            Ok(named) if (named.dev(), named.ino()) == (held.dev(), held.ino()) => return Ok(file),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(FormatError::io(path, "read the facts of")(error).into()),
        }
    }
}

impl Entry {
    fn text(&self) -> String {
        format!("{} {} {}", self.offset, self.len, self.sha256)
    }

    /// `None` for a line that was cut short by a crash.
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let (offset, len) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let sha256 = words.next().filter(|word| word.len() == 64)?.to_owned();
        words.next().is_none().then_some(Self { offset, len, sha256 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removed_by_another_run_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let (journal, entries) = Journal::open(&path, b"header").unwrap();
        assert!(entries.is_empty());
        assert!(Journal::open(&path, b"header").is_err(), "locked");
        fs::remove_file(&path).unwrap();
        journal.remove().unwrap();
        let (journal, _) = Journal::open(&path, b"header").unwrap();
        journal.remove().unwrap();
        assert!(!path.exists());
    }
}
