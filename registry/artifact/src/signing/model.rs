//! OpenSSF model signatures: a statement that lists every file of a model with its SHA-256.
//!
//! The format is that of `model_signing` 1.x with the method `files`: one subject whose digest is the SHA-256 of the
//! files' 32-byte digests, one after the other in order of their paths, part by part; the predicate has the paths and
//! digests themselves. As layers are raw, a manifest alone is enough to make one: no weights are read.

use std::collections::BTreeMap;

use mdl_formats::digest::unhex;
use mdl_store::{Algorithm, Digest};
use serde::Deserialize;
use serde_json::{Value, json};

use super::statement::{MODEL_SIGNATURE, Statement, Subject};
use crate::{Error, Limits, Package, Result, safe_name};

/// The file that holds the signature, beside the files that it is over.
pub const SIGNATURE_FILE: &str = "model.sig";

/// What the files of a model that is one file alone are called.
pub const WHOLE: &str = ".";

/// What a folder may hold that is not signed: the signature, Git's files, which `model_signing` leaves out too, and what
/// Hugging Face's downloads leave behind.
const IGNORED: [&str; 6] =
    [SIGNATURE_FILE, ".cache", ".git", ".gitattributes", ".github", ".gitignore"];

/// The files that a model signature is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedFiles {
    /// Digest of each, by its path with `/` between parts.
    pub files: BTreeMap<String, Digest>,
    /// Paths that need no signature, with all below them.
    pub ignored: Vec<String>,
}

#[derive(Deserialize)]
struct Predicate {
    serialization: Serialization,
    resources: Vec<Resource>,
}

#[derive(Deserialize)]
struct Serialization {
    method: String,
    #[serde(default)]
    ignore_paths: Vec<String>,
}

#[derive(Deserialize)]
struct Resource {
    name: String,
    algorithm: String,
    digest: String,
}

impl SignedFiles {
    /// The files of a package, as its manifest names them.
    ///
    /// # Errors
    /// [`Error::Unsignable`] where some file is not a layer of its own (an archive), or has no SHA-256 digest, or the
    /// package is broken.
    pub fn of_package(package: &Package) -> Result<Self> {
        if let Some(problem) = package.problems.first() {
            return Err(Error::Unsignable(problem.clone()));
        }
        let mut files = BTreeMap::new();
        for file in &package.files {
            if file.archive {
                let what = format!(
                    "{} is an archive, so that its files' digests are not known",
                    file.name
                );
                return Err(Error::Unsignable(what));
            }
            files.insert(file.name.clone(), file.descriptor.digest.clone());
        }
        Self::of_files(files)
    }

    /// Files by their paths.
    ///
    /// # Errors
    /// As [`SignedFiles::of_package`].
    pub fn of_files(files: BTreeMap<String, Digest>) -> Result<Self> {
        let ignored: Vec<String> = IGNORED.map(str::to_owned).to_vec();
        let files: BTreeMap<_, _> =
            files.into_iter().filter(|(name, _)| !below_any(name, &ignored)).collect();
        if files.is_empty() {
            return Err(Error::Unsignable("it has no files".to_owned()));
        }
        if let Some((name, _)) = files.iter().find(|(_, it)| it.algorithm() != Algorithm::Sha256) {
            return Err(Error::Unsignable(format!("{name} has no SHA-256 digest")));
        }
        Ok(Self { files, ignored })
    }

    /// Whether a file of this path needs no signature.
    pub fn ignores(&self, path: &str) -> bool {
        below_any(path, &self.ignored)
    }

    /// What is signed; `name` is the model's.
    pub fn statement(&self, name: &str) -> Statement {
        let ordered = self.ordered();
        let resource = |(name, digest): &(&str, &Digest)| json!({ "name": name, "algorithm": "sha256", "digest": digest.hex() });
        let resources: Vec<Value> = ordered.iter().map(resource).collect();
        let root = root_digest(ordered.iter().map(|(_, digest)| digest.hex()));
        let subject = Subject { name: name.to_owned(), ..Subject::of(&root) };
        let predicate = json!({
            "serialization": {
                "method": "files",
                "hash_type": "sha256",
                "allow_symlinks": false,
                "ignore_paths": self.ignored,
            },
            "resources": resources,
        });
        Statement::new(subject, MODEL_SIGNATURE, predicate)
    }

    /// Reads what was signed. The statement's signature must have been verified.
    ///
    /// # Errors
    /// [`Error::Signature`] for other methods than whole files by SHA-256, for paths that leave the folder, and where the
    /// root digest is not that of the files.
    pub fn read(statement: &Statement) -> Result<Self> {
        let broken = |what: String| Error::Signature(what);
        if statement.predicate_type != MODEL_SIGNATURE {
            return Err(broken("it is no model signature".to_owned()));
        }
        let read: Predicate = serde_json::from_value(statement.predicate.clone())
            .map_err(|error| broken(format!("its list of files is broken: {error}")))?;
        if read.serialization.method != "files" {
            return Err(broken(
                "it is over parts of files (shards), which are not read here".to_owned(),
            ));
        }
        if read.resources.len() > Limits::default().files {
            return Err(broken("it lists more files than the limit".to_owned()));
        }
        let root = root_digest(read.resources.iter().map(|it| it.digest.as_str()));
        if !matches!(&statement.subject[..], [one] if one.is(&root)) {
            return Err(broken("its root digest is not that of its files".to_owned()));
        }
        let mut files = BTreeMap::new();
        for resource in read.resources {
            if resource.algorithm != "sha256" {
                return Err(broken("its files are not hashed by SHA-256".to_owned()));
            }
            if resource.name != WHOLE || !files.is_empty() {
                safe_name(&resource.name)?;
            }
            let digest = Digest::sha256(&resource.digest)
                .map_err(|_| broken("it holds a broken digest".to_owned()))?;
            if files.insert(resource.name, digest).is_some() {
                return Err(broken("it lists a file twice".to_owned()));
            }
        }
        Ok(Self { files, ignored: read.serialization.ignore_paths })
    }

    /// In order of paths, part by part.
    fn ordered(&self) -> Vec<(&str, &Digest)> {
        let mut all: Vec<_> = self.files.iter().map(|(name, it)| (name.as_str(), it)).collect();
        all.sort_by(|(one, _), (other, _)| one.split('/').cmp(other.split('/')));
        all
    }
}

/// SHA-256 of digests one after the other, each given in hex.
fn root_digest<'a>(digests: impl Iterator<Item = &'a str>) -> Digest {
    Digest::of(&digests.flat_map(unhex).collect::<Vec<u8>>())
}

/// Whether a path is one of some, or lies below one.
fn below_any(path: &str, some: &[String]) -> bool {
    some.iter().any(|one| {
        path.strip_prefix(one.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}
