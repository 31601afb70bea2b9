//! in-toto statements: what is said (a predicate) about what (subjects, by digest).

use std::collections::BTreeMap;

use mdl_store::Digest;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Error, Result};

/// `_type` of a statement (in-toto attestation framework, version 1).
const TYPE: &str = "https://in-toto.io/Statement/v1";
/// Its first version, which older tools write.
const TYPE_0_1: &str = "https://in-toto.io/Statement/v0.1";

/// cosign's signature of a manifest.
pub const COSIGN_SIGN: &str = "https://sigstore.dev/cosign/sign/v1";
/// OpenSSF's signature of a model's files.
pub const MODEL_SIGNATURE: &str = "https://model_signing/signature/v1.0";

/// Whatever was read: subjects and predicate are only worth something once a signature over them is known to be good.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    /// What it is about.
    pub subject: Vec<Subject>,
    /// What kind of thing is said.
    pub predicate_type: String,
    /// What is said.
    #[serde(default)]
    pub predicate: Value,
}

/// A thing by its digests.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Subject {
    /// What it is called.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Hex digests by the name of the hash function.
    #[serde(default)]
    pub digest: BTreeMap<String, String>,
    /// What else is said of it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, Value>,
}

impl Subject {
    /// A subject of that digest.
    pub fn of(digest: &Digest) -> Self {
        let digests =
            BTreeMap::from([(digest.algorithm().name().to_owned(), digest.hex().to_owned())]);
        Self { digest: digests, ..Self::default() }
    }

    /// Whether it is what has this digest.
    pub fn is(&self, digest: &Digest) -> bool {
        self.digest.get(digest.algorithm().name()).is_some_and(|hex| hex == digest.hex())
    }

    /// An annotation that is text.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.annotations.get(key)?.as_str()
    }
}

impl Statement {
    /// That a predicate holds for a subject.
    pub fn new(subject: Subject, predicate_type: &str, predicate: Value) -> Self {
        Self {
            kind: TYPE.to_owned(),
            subject: vec![subject],
            predicate_type: predicate_type.to_owned(),
            predicate,
        }
    }

    /// Reads one.
    ///
    /// # Errors
    /// [`Error::Signature`].
    pub fn read(bytes: &[u8]) -> Result<Self> {
        let read: Self = serde_json::from_slice(bytes)
            .map_err(|error| Error::Signature(format!("it holds no in-toto statement: {error}")))?;
        if read.kind != TYPE && read.kind != TYPE_0_1 {
            return Err(Error::Signature("it holds a statement of an unknown version".to_owned()));
        }
        Ok(read)
    }

    /// As it is signed.
    ///
    /// # Errors
    /// [`Error::Signature`], which does not happen.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self).map_err(|error| Error::Signature(error.to_string()))
    }

    /// The subject that has this digest.
    pub fn subject_of(&self, digest: &Digest) -> Option<&Subject> {
        self.subject.iter().find(|subject| subject.is(digest))
    }
}
