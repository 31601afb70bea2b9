//! Files on a disk against what was signed.
//!
//! The limit is SHA-256 on all cores: files are hashed side by side, the largest first, and one file on one core, as
//! SHA-256 goes no other way.

use std::{
    cmp::Reverse,
    fs,
    path::{Path, PathBuf},
};

use mdl_formats::{
    Error as FormatError,
    digest::{DigestCache, Watch},
};
use mdl_store::Digest;

use super::{SignedFiles, WHOLE};
use crate::{Error, Limits, Result};

/// What is wrong with the files, by their names in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FolderCheck {
    /// Files that are as they were signed.
    pub good: u64,
    /// Bytes of all files that were read.
    pub bytes: u64,
    /// Signed, and otherwise now.
    pub altered: Vec<String>,
    /// Signed, and not there.
    pub missing: Vec<String>,
    /// There, and not signed. Symbolic links are among them: what they lead to may change.
    pub unsigned: Vec<String>,
}

impl FolderCheck {
    /// Reads a folder, or a file where one alone was signed; nothing is taken from a cache.
    ///
    /// # Errors
    /// [`Error::Formats`] for what cannot be read and where somebody asked to stop; [`Error::Unpackable`] for a folder with
    /// more than is read.
    pub fn run(root: &Path, signed: &SignedFiles, watch: &dyn Watch) -> Result<Self> {
        let mut check = Self::default();
        let mut there = Vec::new();
        if root.is_file() {
            there.push((WHOLE.to_owned(), root.to_owned()));
        } else {
            walk(root, "", signed, &mut there, &mut check)?;
        }
        let is_there = |name: &String| there.iter().any(|(it, _)| it == name);
        check.missing = signed.files.keys().filter(|name| !is_there(name)).cloned().collect();
        let mut known: Vec<(u64, &Digest, &str, &PathBuf)> = Vec::new();
        for (name, path) in &there {
            let Some(digest) = signed.files.get(name) else {
                check.unsigned.push(name.clone());
                continue;
            };
            let size = fs::metadata(path).map_err(FormatError::io(path, "open"))?.len();
            known.push((size, digest, name, path));
        }
        known.sort_by_key(|(size, ..)| Reverse(*size));
        let paths: Vec<PathBuf> = known.iter().map(|(_, _, _, path)| (*path).clone()).collect();
        let found = DigestCache::default().sha256_all(&paths, watch)?;
        for ((size, digest, name, _), hex) in known.into_iter().zip(found) {
            check.bytes += size;
            if digest.hex() == hex {
                check.good += 1;
            } else {
                check.altered.push(name.to_owned());
            }
        }
        check.altered.sort();
        check.unsigned.sort();
        Ok(check)
    }
}

fn walk(
    folder: &Path,
    name: &str,
    signed: &SignedFiles,
    there: &mut Vec<(String, PathBuf)>,
    check: &mut FolderCheck,
) -> Result<()> {
    let limits = Limits::default();
    if name.split('/').count() > limits.depth {
        return Err(Error::unpackable(folder, "folders lie deeper than the limit", ""));
    }
    for entry in fs::read_dir(folder).map_err(FormatError::io(folder, "list"))? {
        let entry = entry.map_err(FormatError::io(folder, "list"))?;
        let (path, own) = (entry.path(), entry.file_name());
        let own = own.to_string_lossy();
        let name = if name.is_empty() { own.into_owned() } else { format!("{name}/{own}") };
        if signed.ignores(&name) {
            continue;
        }
        let kind = entry.file_type().map_err(FormatError::io(&path, "open"))?;
        if kind.is_dir() {
            walk(&path, &name, signed, there, check)?;
        } else if kind.is_file() {
            there.push((name, path));
        } else {
            check.unsigned.push(name);
        }
        if there.len() + check.unsigned.len() > limits.files {
            return Err(Error::unpackable(folder, "it holds more files than the limit", ""));
        }
    }
    Ok(())
}
