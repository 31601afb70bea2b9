//! Files and folders of a model, as the Hub lists them.

use std::collections::BTreeMap;

use mdl_store::Digest;
use serde::Serialize;

use super::{super::known::KnownFile, revision::commit_of};

/// Items on a page of a list, as the Hub has it.
pub(crate) const PAGE: usize = 1000;

/// A line of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(crate) enum Item {
    /// A file.
    File {
        path: String,
        size: u64,
        oid: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        lfs: Option<Lfs>,
    },
    /// A folder.
    Directory { path: String, size: u64, oid: String },
}

/// What a large file's pointer says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Lfs {
    oid: String,
    size: u64,
    pointer_size: u64,
}

impl Item {
    fn path(&self) -> &str {
        match self {
            Self::File { path, .. } | Self::Directory { path, .. } => path,
        }
    }
}

/// A file's line in a list.
pub(crate) fn item(file: &KnownFile) -> Item {
    let lfs = file.digest().filter(|_| file.lfs).map(|digest| Lfs {
        oid: digest.hex().to_owned(),
        size: file.size,
        pointer_size: pointer_size(file.size),
    });
    Item::File { path: file.name.clone(), size: file.size, oid: file.oid.clone(), lfs }
}

/// Length of the three lines of a pointer.
pub(crate) fn pointer_size(size: u64) -> u64 {
    let digits = size.checked_ilog10().unwrap_or(0) + 1;
    (43 + 76 + 6) + u64::from(digits)
}

/// What lies below a folder (the empty path: all), in order of paths; `None` where there is no such folder.
pub(crate) fn list(files: &[KnownFile], folder: &str, recursive: bool) -> Option<Vec<Item>> {
    let folder = folder.trim_matches('/');
    let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
    let mut items = BTreeMap::new();
    for file in files {
        let Some(rest) = file.name.strip_prefix(&prefix) else { continue };
        let parents = rest.match_indices('/').map(|(end, _)| rest.get(..end).unwrap_or_default());
        for parent in parents.take(if recursive { usize::MAX } else { 1 }) {
            let item = directory(&format!("{prefix}{parent}"));
            items.insert(item.path().to_owned(), item);
        }
        if recursive || !rest.contains('/') {
            items.insert(file.name.clone(), item(file));
        }
    }
    (folder.is_empty() || !items.is_empty()).then(|| items.into_values().collect())
}

/// The lines of some paths; those that are not there are left out.
pub(crate) fn some(files: &[KnownFile], paths: &[String]) -> Vec<Item> {
    let one = |path: &String| {
        let path = path.trim_matches('/');
        if let Some(file) = files.iter().find(|file| file.name == path) {
            return Some(item(file));
        }
        let inside =
            |file: &KnownFile| file.name.strip_prefix(path).is_some_and(|it| it.starts_with('/'));
        files.iter().any(inside).then(|| directory(path))
    };
    paths.iter().filter_map(one).collect()
}

/// Git would hash what a folder holds; clients ask only that the name be 40 hex digits.
fn directory(path: &str) -> Item {
    Item::Directory { path: path.to_owned(), size: 0, oid: commit_of(&Digest::of(path.as_bytes())) }
}

#[cfg(test)]
mod tests {
    use super::{super::super::known::FileKind, *};

    fn files() -> Vec<KnownFile> {
        let file = |path: &str, lfs| KnownFile {
            name: path.to_owned(),
            kind: FileKind::Other,
            size: 123,
            digest: Digest::of(path.as_bytes()).to_string(),
            oid: "0".repeat(40),
            lfs,
        };
        vec![
            file("README.md", false),
            file("a/b/c.json", false),
            file("a/d.txt", false),
            file("ab.txt", false),
            file("model.gguf", true),
        ]
    }

    fn paths(items: Option<Vec<Item>>) -> Vec<String> {
        items.unwrap().iter().map(|item| item.path().to_owned()).collect()
    }

    #[test]
    fn lists_are_of_one_folder_or_of_all_below() {
        let files = files();
        assert_eq!(paths(list(&files, "", false)), ["README.md", "a", "ab.txt", "model.gguf"]);
        assert_eq!(
            paths(list(&files, "/", true)),
            ["README.md", "a", "a/b", "a/b/c.json", "a/d.txt", "ab.txt", "model.gguf"]
        );
        assert_eq!(paths(list(&files, "a", false)), ["a/b", "a/d.txt"]);
        assert_eq!(paths(list(&files, "a/b/", true)), ["a/b/c.json"]);
        for nothing in ["b", "a/b/c", "README.md", "a/b/c.json", "..", "A"] {
            assert_eq!(list(&files, nothing, true), None, "{nothing}");
        }
        assert_eq!(paths(list(&[], "", true)), [""; 0]);
    }

    #[test]
    fn some_paths_are_found() {
        let asked = ["a", "model.gguf", "none", "a/b/c.json"].map(str::to_owned);
        assert_eq!(paths(Some(some(&files(), &asked))), ["a", "model.gguf", "a/b/c.json"]);
    }

    #[test]
    fn lines_have_the_shape_that_clients_read() {
        let item = item(&files().pop().unwrap());
        let json = serde_json::to_value(&item).unwrap();
        assert_eq!(json["type"], "file");
        assert_eq!(json["lfs"]["oid"], Digest::of(b"model.gguf").hex());
        assert_eq!(json["lfs"]["pointerSize"], 128);
        let pointer = format!(
            "version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize 123\n",
            "0".repeat(64)
        );
        assert_eq!(pointer.len(), 128);
        let json = serde_json::to_value(directory("a")).unwrap();
        assert_eq!(json["type"], "directory");
        assert_eq!(json["oid"].as_str().map(str::len), Some(40));
    }
}
