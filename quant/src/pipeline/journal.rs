//! The journal of an unfinished file: which slabs are in it, with their digests.
//!
//! Text, one line a slab: offset, length, SHA-256; the first line names the work by the digest of the file's header,
//! which holds the recipe, and with it the digests of the sources. Another recipe or source makes another first line, and
//! the old work is not used.

use std::{
    fs::{File, OpenOptions},
    io::{BufRead, BufReader, Write},
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
        let file = OpenOptions::new().read(true).append(true).create(true).open(path);
        let file = file.map_err(FormatError::io(path, "open"))?;
        if file.try_lock().is_err() {
            return Err(Error::refused(
                format!("{}: another run is writing this file", path.display()),
                "wait for it, or write elsewhere",
            ));
        }
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

    /// The work is done: the journal goes.
    pub(super) fn remove(self) -> Result<()> {
        std::fs::remove_file(&self.path).map_err(FormatError::io(&self.path, "remove"))?;
        Ok(())
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
