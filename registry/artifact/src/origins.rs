//! Where files came from: kept by digest when a model is fetched from a hub, found again when it is packed.

use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use mdl_formats::{Error as FormatError, atomic::AtomicFile};
use mdl_store::Digest;
use serde::{Deserialize, Serialize};

use crate::{Result, pack::Provenance};

/// Files whose origin is kept.
const KEPT: usize = 100_000;

/// Bytes of the file that keeps them.
const BYTES: u64 = 64 << 20;

/// The origins of files, kept in a folder.
#[derive(Debug, Default)]
pub struct Origins {
    path: PathBuf,
    kept: Kept,
}

/// The shape of the file.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Kept {
    version: u32,
    /// By the digest of a file.
    files: BTreeMap<String, Provenance>,
}

impl Origins {
    /// Those that a folder keeps; none where it keeps none, or something else.
    pub fn open(folder: &Path) -> Self {
        let path = folder.join("origins.json");
        let small = fs::metadata(&path).is_ok_and(|facts| facts.len() <= BYTES);
        let text = if small { fs::read(&path).unwrap_or_default() } else { Vec::new() };
        Self { path, kept: serde_json::from_slice(&text).unwrap_or_default() }
    }

    /// Keeps that these files came from there.
    ///
    /// # Errors
    /// [`crate::Error::Formats`] where the file cannot be written.
    pub fn keep(&mut self, files: &[Digest], from: &Provenance) -> Result<()> {
        let known = |it: &Digest| self.kept.files.get(&it.to_string()) == Some(from);
        if files.iter().all(known) {
            return Ok(());
        }
        self.kept.version = 1;
        for digest in files {
            self.kept.files.insert(digest.to_string(), from.clone());
        }
        while self.kept.files.len() > KEPT {
            self.kept.files.pop_first();
        }
        let folder = self.path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder).map_err(FormatError::io(folder, "create"))?;
        let mut file = AtomicFile::create(&self.path, true)?;
        let text = serde_json::to_vec(&self.kept).unwrap_or_default();
        file.write_all(&text).map_err(FormatError::io(&self.path, "write"))?;
        Ok(file.commit()?)
    }

    /// Where all of these files came from, if that is one place.
    pub fn of<'a>(&self, files: impl IntoIterator<Item = &'a Digest>) -> Option<Provenance> {
        let mut files = files.into_iter();
        let first = self.kept.files.get(&files.next()?.to_string())?;
        files.all(|it| self.kept.files.get(&it.to_string()) == Some(first)).then(|| first.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_kept_and_found() {
        let dir = tempfile::tempdir().unwrap();
        let [a, b, c] = [b"a", b"b", b"c"].map(|it| Digest::of(it));
        let from = Provenance { source: "https://x/y".into(), revision: None, license: None };
        Origins::open(dir.path()).keep(&[a.clone(), b.clone()], &from).unwrap();
        let origins = Origins::open(dir.path());
        assert_eq!(origins.of([&a, &b]).as_ref(), Some(&from));
        assert_eq!(origins.of([&a, &c]), None);
        assert_eq!(origins.of([]), None);
        fs::write(dir.path().join("origins.json"), "rubbish").unwrap();
        assert_eq!(Origins::open(dir.path()).of([&a]), None);
    }
}
