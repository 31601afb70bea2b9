//! `index.json`. What other tools put there is kept as it is.

use std::{fs, path::Path};

use serde_json::{Value, json};

use super::{REF_NAME, entry, files::io};
use crate::{Descriptor, Digest, Error, Result};

/// The index of a layout.
#[derive(Debug)]
pub(super) struct Index(Value);

impl Default for Index {
    fn default() -> Self {
        Self(json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [],
        }))
    }
}

impl Index {
    pub(super) fn read(path: &Path) -> Result<Self> {
        let bytes = fs::read(path).map_err(io("read", path))?;
        let corrupt = |what: String| Error::Corrupt { path: path.to_owned(), what };
        let whole: Value =
            serde_json::from_slice(&bytes).map_err(|error| corrupt(error.to_string()))?;
        if whole.get("manifests").is_some_and(Value::is_array) {
            return Ok(Self(whole));
        }
        Err(corrupt("holds no list of manifests".to_owned()))
    }

    pub(super) fn text(&self) -> String {
        self.0.to_string()
    }

    fn entries(&self) -> &[Value] {
        self.0.get("manifests").and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    /// Keeps the entries that pass.
    pub(super) fn retain(&mut self, keep: impl FnMut(&Value) -> bool) {
        if let Some(entries) = self.0.get_mut("manifests").and_then(Value::as_array_mut) {
            entries.retain(keep);
        }
    }

    /// Every manifest that it names.
    pub(super) fn manifests(&self) -> Vec<Descriptor> {
        self.entries().iter().filter_map(descriptor).collect()
    }

    pub(super) fn references(&self) -> Vec<(String, Descriptor)> {
        let named = |it: &Value| Some((name(it)?.to_owned(), descriptor(it)?));
        self.entries().iter().filter_map(named).collect()
    }

    pub(super) fn holds(&self, digest: &Digest) -> bool {
        self.manifests().iter().any(|it| it.digest == *digest)
    }

    pub(super) fn add(&mut self, manifest: Descriptor, reference: Option<&str>) {
        if let Some(entries) = self.0.get_mut("manifests").and_then(Value::as_array_mut) {
            entries.push(entry(manifest, reference));
        }
    }

    /// Whether the reference was there.
    pub(super) fn remove(&mut self, reference: &str) -> bool {
        let before = self.entries().len();
        self.retain(|it| name(it) != Some(reference));
        self.entries().len() < before
    }
}

/// The reference that an entry is.
pub(super) fn name(entry: &Value) -> Option<&str> {
    entry.get("annotations")?.get(REF_NAME)?.as_str()
}

/// What an entry names; `None` where another tool wrote something else.
pub(super) fn descriptor(entry: &Value) -> Option<Descriptor> {
    Some(Descriptor {
        media_type: entry.get("mediaType").and_then(Value::as_str).unwrap_or_default().to_owned(),
        digest: entry.get("digest")?.as_str()?.parse().ok()?,
        size: entry.get("size")?.as_u64()?,
    })
}
