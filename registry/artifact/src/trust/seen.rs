//! The newest signature that was seen for each tag: who serves an older one serves an old model for the new.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use mdl_formats::{Error as FormatError, atomic};
use mdl_store::Digest;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Bytes of the file.
const BYTES: u64 = 64 << 20;

/// The memory of a site, a file in its folder.
#[derive(Debug)]
pub struct Seen {
    path: PathBuf,
}

#[derive(Default, Serialize, Deserialize)]
struct Kept {
    version: u32,
    /// By `[host/]name:tag`.
    tags: BTreeMap<String, Entry>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Entry {
    signed: Timestamp,
    digest: String,
}

impl Seen {
    /// In this folder.
    pub fn new(folder: &Path) -> Self {
        Self { path: folder.join("trust-seen.json") }
    }

    /// The newest time that was kept for a tag.
    ///
    /// # Errors
    /// [`Error::Policy`] where the file is not what it should be: it is not taken for empty.
    pub fn newest(&self, key: &str) -> Result<Option<Timestamp>> {
        Ok(self.read()?.tags.get(key).map(|entry| entry.signed))
    }

    /// Keeps what was accepted, also where it is older than what is kept: then somebody asked for it.
    ///
    /// # Errors
    /// As [`Seen::newest`]; [`Error::Formats`] where it cannot be written.
    pub fn keep(&self, key: &str, signed: Timestamp, digest: &Digest) -> Result<()> {
        let entry = Entry { signed, digest: digest.to_string() };
        let is_same = |old: &Entry| old.signed == signed && old.digest == entry.digest;
        if self.read()?.tags.get(key).is_some_and(is_same) {
            return Ok(());
        }
        self.change(|kept| {
            kept.tags.insert(key.to_owned(), entry);
        })
    }

    /// All that is kept: the newest time by tag.
    ///
    /// # Errors
    /// As [`Seen::newest`].
    pub fn all(&self) -> Result<BTreeMap<String, Timestamp>> {
        Ok(self.read()?.tags.into_iter().map(|(key, entry)| (key, entry.signed)).collect())
    }

    /// Keeps what was accepted of several tags, where it is newer than what is kept.
    ///
    /// # Errors
    /// As [`Seen::keep`].
    pub fn advance(&self, seen: &[(String, Timestamp, Digest)]) -> Result<()> {
        self.change(|kept| {
            for (key, signed, digest) in seen {
                if kept.tags.get(key).is_none_or(|old| old.signed < *signed) {
                    let entry = Entry { signed: *signed, digest: digest.to_string() };
                    kept.tags.insert(key.clone(), entry);
                }
            }
        })
    }

    /// Takes what is kept along to another folder: into a backup, or out of one.
    ///
    /// # Errors
    /// As [`Seen::keep`].
    pub fn carry(&self, to: &Path) -> Result<()> {
        let kept = self.read()?;
        if kept.tags.is_empty() {
            return Ok(());
        }
        Self::new(to).change(|there| *there = kept)
    }

    /// Changes the file, one at a time.
    fn change(&self, change: impl FnOnce(&mut Kept)) -> Result<()> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder).map_err(FormatError::io(folder, "create"))?;
        let lock = self.path.with_extension("lock");
        let held = File::create(&lock).map_err(FormatError::io(&lock, "open"))?;
        held.lock().map_err(FormatError::io(&lock, "lock"))?;
        let mut kept = self.read()?;
        change(&mut kept);
        kept.version = 1;
        let text = serde_json::to_vec(&kept).map_err(|error| self.broken(error.to_string()))?;
        Ok(atomic::write(&self.path, &text)?)
    }

    fn read(&self) -> Result<Kept> {
        match fs::metadata(&self.path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Kept::default());
            }
            Err(error) => return Err(FormatError::io(&self.path, "open")(error).into()),
            Ok(facts) if facts.len() > BYTES => {
                return Err(self.broken(format!("it has more than {BYTES} bytes")));
            }
            Ok(_) => {}
        }
        let text = fs::read(&self.path).map_err(FormatError::io(&self.path, "read"))?;
        serde_json::from_slice(&text).map_err(|error| self.broken(error.to_string()))
    }

    fn broken(&self, problem: String) -> Error {
        Error::Policy { path: self.path.clone(), problem }
    }
}
