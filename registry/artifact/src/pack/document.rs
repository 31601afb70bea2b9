//! Documents about a package, each as a manifest that refers to it.

use mdl_store::Descriptor;
use serde_json::json;

use super::{Blob, ReferrerPackage};
use crate::media;

/// The recipe that a model was quantized by.
pub(super) fn recipe(toml: &[u8], subject: &Blob) -> ReferrerPackage {
    referrer(media::RECIPE, "recipe.toml", toml, &subject.descriptor())
}

/// What an evaluation found.
pub(super) fn evaluation(json: &[u8], subject: &Blob) -> ReferrerPackage {
    referrer(media::EVALUATION, "evaluation.json", json, &subject.descriptor())
}

/// A manifest of one document, its config empty, as OCI has it for artifacts without one.
pub fn referrer(kind: &str, name: &str, bytes: &[u8], subject: &Descriptor) -> ReferrerPackage {
    let config = Blob::new(media::EMPTY, media::EMPTY_BYTES.to_vec());
    let layer = Blob::new(kind, bytes.to_vec());
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": media::OCI_MANIFEST,
        "artifactType": kind,
        "config": { "mediaType": config.media_type, "digest": config.digest.to_string(), "size": config.bytes.len() },
        "layers": [{
            "mediaType": layer.media_type,
            "digest": layer.digest.to_string(),
            "size": layer.bytes.len(),
            "annotations": { media::TITLE: name },
        }],
        "subject": {
            "mediaType": subject.media_type,
            "digest": subject.digest.to_string(),
            "size": subject.size,
        },
    });
    let manifest = Blob::new(media::OCI_MANIFEST, manifest.to_string().into_bytes());
    ReferrerPackage { artifact_type: kind.to_owned(), manifest, blobs: vec![config, layer] }
}
