//! Documents about a package, each as a manifest that refers to it.

use mdl_store::Descriptor;
use serde_json::{Map, Value, json};

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
    artifact(kind, bytes, subject, Some(name), &Map::new())
}

/// The same with a file name for the document, where it has one, and annotations of the manifest.
pub(crate) fn artifact(
    kind: &str,
    bytes: &[u8],
    subject: &Descriptor,
    name: Option<&str>,
    annotations: &Map<String, Value>,
) -> ReferrerPackage {
    let (config, layer) =
        (Blob::new(media::EMPTY, media::EMPTY_BYTES.to_vec()), Blob::new(kind, bytes.to_vec()));
    let described = |it: &Descriptor| json!({ "mediaType": it.media_type, "digest": it.digest.to_string(), "size": it.size });
    let mut of_layer = described(&layer.descriptor());
    if let (Some(name), Some(layer)) = (name, of_layer.as_object_mut()) {
        layer.insert("annotations".to_owned(), json!({ media::TITLE: name }));
    }
    let mut manifest = json!({
        "schemaVersion": 2,
        "mediaType": media::OCI_MANIFEST,
        "artifactType": kind,
        "config": described(&config.descriptor()),
        "layers": [of_layer],
        "subject": described(subject),
    });
    if let Some(manifest) = manifest.as_object_mut().filter(|_| !annotations.is_empty()) {
        manifest.insert("annotations".to_owned(), annotations.clone().into());
    }
    let manifest = Blob::new(media::OCI_MANIFEST, manifest.to_string().into_bytes());
    ReferrerPackage { artifact_type: kind.to_owned(), manifest, blobs: vec![config, layer] }
}
