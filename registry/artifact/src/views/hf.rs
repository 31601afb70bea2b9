//! A package as Hugging Face clients see it.

use mdl_store::Digest;
use sha1::{Digest as _, Sha1};

use crate::{LayerKind, Package};

/// Files from here on are large ones to these clients, named by their SHA-256.
const LARGE: u64 = 1 << 20;

/// A file as the Hub lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HfEntry {
    /// Its name.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// Git's name for it: of a large file, that of the pointer which stands for it.
    pub oid: String,
    /// The SHA-256 of a large file, in hex.
    pub lfs: Option<String>,
    /// The blob that holds it.
    pub digest: Digest,
}

/// The commit that stands for a manifest: 40 hex digits.
pub fn commit_of(manifest: &Digest) -> String {
    manifest.hex().chars().take(40).collect()
}

/// The files of a package, in order of names; archives are left out, for their files are not at hand. `read` gives a
/// small blob's bytes: where it cannot, the file is listed as a large one.
pub fn tree(package: &Package, read: &dyn Fn(&Digest) -> Option<Vec<u8>>) -> Vec<HfEntry> {
    let entry = |file: &crate::PackageFile| {
        let (digest, size) = (&file.descriptor.digest, file.descriptor.size);
        let large = file.kind == LayerKind::Weights || size >= LARGE;
        let bytes = if large { None } else { read(digest) };
        let (oid, lfs) = match bytes {
            Some(bytes) => (git_oid(&bytes), None),
            None => (git_oid(pointer(digest, size).as_bytes()), Some(digest.hex().to_owned())),
        };
        HfEntry { path: file.name.clone(), size, oid, lfs, digest: digest.clone() }
    };
    package.files.iter().filter(|file| !file.archive).map(entry).collect()
}

/// Git's name for a file: SHA-1 of a short header and its bytes.
pub fn git_oid(bytes: &[u8]) -> String {
    let mut hasher = Sha1::new();
    hasher.update(format!("blob {}\0", bytes.len()));
    hasher.update(bytes);
    mdl_formats::digest::hex(&hasher.finalize())
}

/// What Git holds in place of a large file.
pub fn pointer(digest: &Digest, size: u64) -> String {
    format!(
        "version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize {size}\n",
        digest.hex()
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::media;

    #[test]
    fn files_are_named_as_git_names_them() {
        // `printf hello | git hash-object --stdin`
        assert_eq!(git_oid(b"hello"), "b6fc4c620b67d95f953a5c1c1230aaab5db5a1b0");
        assert_eq!(git_oid(b""), "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
    }

    #[test]
    fn trees_list_files_with_their_kind() {
        let layer = |ty: &str, name: &str, size: u64| {
            let digest = Digest::of(name.as_bytes()).to_string();
            let annotations = json!({ "org.cncf.model.filepath": name });
            json!({ "mediaType": ty, "digest": digest, "size": size, "annotations": annotations })
        };
        let manifest = json!({ "layers": [
            layer(media::WEIGHT, "m.safetensors", 5),
            layer(media::WEIGHT_CONFIG, "config.json", 11),
            layer(media::DOC, "large.md", LARGE),
            layer("application/vnd.cncf.model.doc.v1.tar", "docs", 3),
        ]});
        let package = Package::read(media::OCI_MANIFEST, manifest.to_string().as_bytes(), None);
        let read = |digest: &Digest| {
            (*digest == Digest::of(b"config.json")).then(|| b"config.json".to_vec())
        };
        let found = tree(&package, &read);
        let shown: Vec<_> = found.iter().map(|it| (it.path.as_str(), it.lfs.is_some())).collect();
        assert_eq!(shown, [("config.json", false), ("large.md", true), ("m.safetensors", true)]);
        assert_eq!(found[0].oid, git_oid(b"config.json"));
        assert_eq!(found[2].lfs.as_deref(), Some(Digest::of(b"m.safetensors").hex()));
        assert_eq!(commit_of(&found[0].digest).len(), 40);
    }
}
