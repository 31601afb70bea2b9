//! What a site has: digests of blobs, so that only what it lacks travels.
//!
//! Lines of text, `DIGEST SIZE REPOSITORY…`, in order of digests; `#` begins a comment.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs::File,
    io::Read as _,
    path::Path,
};

use mdl_store::{Digest, Links, Name, layout::Layout};

use crate::{Error, ModelRef, Result};

/// Bytes of an inventory's file.
const BYTES: u64 = 256 << 20;

/// The blobs that a site has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inventory {
    /// Sizes of blobs and the repositories that hold them; none for those of a local store.
    pub blobs: BTreeMap<Digest, (u64, BTreeSet<Name>)>,
}

impl Inventory {
    /// Notes a blob.
    pub fn add(&mut self, digest: &Digest, size: u64, repository: Option<&Name>) {
        let entry = self.blobs.entry(digest.clone()).or_insert((size, BTreeSet::new()));
        entry.1.extend(repository.cloned());
    }

    /// What the packages of a local store need and have.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn of_layout(layout: &Layout) -> Result<Self> {
        let mut found = Self::default();
        for (key, manifest) in layout.references()? {
            let repository = key.parse::<ModelRef>().ok().map(|reference| reference.name);
            // A package that cannot be read has nothing that could be relied on.
            let Ok(bytes) = layout.manifest(&manifest.digest) else { continue };
            let limits = mdl_store::Limits::default();
            let Ok(links) = Links::read(&manifest.media_type, &bytes, &limits) else { continue };
            for blob in links.blobs {
                if layout.has_blob(&blob.digest)? == Some(blob.size) {
                    found.add(&blob.digest, blob.size, repository.as_ref());
                }
            }
        }
        Ok(found)
    }

    /// Reads a file of [`Inventory::to_text`].
    ///
    /// # Errors
    /// [`Error::Inventory`] with the line, [`Error::Formats`].
    pub fn read(path: &Path) -> Result<Self> {
        let bad = |at: usize, problem: &str| Error::Inventory {
            path: path.to_owned(),
            problem: if at == 0 { problem.to_owned() } else { format!("line {at}: {problem}") },
        };
        let mut text = String::new();
        let file = File::open(path).map_err(mdl_formats::Error::io(path, "open"))?;
        let read = file.take(BYTES + 1).read_to_string(&mut text);
        read.map_err(|_| bad(0, "it is no text"))?;
        if text.len() as u64 > BYTES {
            return Err(bad(0, "it is larger than the limit"));
        }
        let mut found = Self::default();
        for (at, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default();
            let mut words = line.split_whitespace();
            let Some(digest) = words.next() else { continue };
            let digest = digest.parse().map_err(|_| bad(at + 1, "it begins with no digest"))?;
            let size = words.next().and_then(|size| size.parse().ok());
            let size = size.ok_or_else(|| bad(at + 1, "its second word is no size"))?;
            found.add(&digest, size, None);
            for name in words {
                let name = name.parse().map_err(|_| bad(at + 1, "it names no repository"))?;
                found.add(&digest, size, Some(&name));
            }
        }
        Ok(found)
    }

    /// As it is carried to where bundles are made.
    pub fn to_text(&self) -> String {
        let mut text = "# mdl inventory, version 1: digest, size, repositories\n".to_owned();
        for (digest, (size, repositories)) in &self.blobs {
            let _ = write!(text, "{digest} {size}");
            for name in repositories {
                let _ = write!(text, " {name}");
            }
            text.push('\n');
        }
        text
    }

    /// Whether the site has a blob of that size.
    pub fn has(&self, digest: &Digest, size: u64) -> bool {
        self.blobs.get(digest).is_some_and(|(known, _)| *known == size)
    }
}
