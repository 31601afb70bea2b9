//! Signatures and attestations: in-toto statements in DSSE envelopes in Sigstore bundles, made and verified with keys
//! alone, so that no network is needed.
//!
//! A package gets two: [`manifest_signature`], which cosign verifies, over the manifest's digest, and a model signature
//! ([`SignedFiles`]), which `model_signing` verifies, over the digests of its files.

mod attach;
mod bundle;
mod dsse;
mod folder;
mod model;
mod statement;
#[cfg(test)]
mod tests;

use mdl_store::{Descriptor, Name, Tag};
use serde_json::{Value, json};

pub use attach::{PREDICATE_TYPE, referrer, referrer_name};
pub use bundle::Bundle;
pub use folder::FolderCheck;
pub use model::{SIGNATURE_FILE, SignedFiles, WHOLE};
pub use statement::{COSIGN_SIGN, MODEL_SIGNATURE, Statement, Subject};

/// The repository that a signature is for, without its host.
pub const REPOSITORY: &str = "org.mdl.repository";
/// The tag that a signature is for.
pub const TAG: &str = "org.mdl.tag";
/// When a signature was made, as RFC 3339 has it.
pub const SIGNED: &str = "org.mdl.signed";

/// What is signed for a manifest: cosign's statement over its digest, with what it is to be called and when in
/// annotations of its subject.
pub fn manifest_signature(
    manifest: &Descriptor,
    repository: &Name,
    tag: Option<&Tag>,
    signed: &str,
) -> Statement {
    let mut subject = Subject::of(&manifest.digest);
    let mut put = |key: &str, value: &str| {
        subject.annotations.insert(key.to_owned(), Value::from(value));
    };
    put(REPOSITORY, repository.as_str());
    if let Some(tag) = tag {
        put(TAG, tag.as_str());
    }
    put(SIGNED, signed);
    Statement::new(subject, COSIGN_SIGN, json!({}))
}
