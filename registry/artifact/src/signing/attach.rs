//! Bundles as referrers: a manifest without a config whose one layer is the bundle (cosign 3 and OCI 1.1).

use serde_json::{Value, json};

use super::{MODEL_SIGNATURE, Statement};
use crate::{
    media,
    pack::{Blob, ReferrerPackage},
    trust::Attestation,
};
use mdl_store::Descriptor;

/// The annotation that says what kind of statement a bundle holds. Whoever reads it checks the statement itself.
pub const PREDICATE_TYPE: &str = "dev.sigstore.bundle.predicateType";
/// What a referrer is called for people, by its type and, of a bundle, the predicate type that its annotation claims.
pub fn referrer_name<'a>(artifact_type: Option<&'a str>, predicate_type: Option<&str>) -> &'a str {
    match artifact_type {
        Some(media::RECIPE) => "recipe",
        Some(media::EVALUATION) => "evaluation",
        Some(media::CYCLONEDX) => "bill of materials",
        Some(kind) if kind.starts_with(media::BUNDLE_PREFIX) => match predicate_type {
            Some(MODEL_SIGNATURE) => "model signature",
            Some(other) => match Attestation::of_predicate_type(other) {
                Some(Attestation::QuantizationReport) => "signed report",
                Some(Attestation::Provenance) => "signed provenance",
                Some(Attestation::Bom) => "signed BOM",
                Some(Attestation::Openness) => "signed openness",
                None => "signature",
            },
            None => "signature",
        },
        Some(other) => other,
        None => "document",
    }
}

/// The annotation that says that a bundle holds an envelope.
const CONTENT: &str = "dev.sigstore.bundle.content";

/// A bundle as a manifest that refers to another. `created` is a time as RFC 3339 has it; without one, the same bundle
/// gives the same manifest whenever it is attached.
pub fn referrer(
    bundle: &[u8],
    statement: &Statement,
    subject: &Descriptor,
    created: Option<&str>,
) -> ReferrerPackage {
    let config = Blob::new(media::EMPTY, media::EMPTY_BYTES.to_vec());
    let layer = Blob::new(media::BUNDLE, bundle.to_vec());
    let mut manifest = json!({
        "schemaVersion": 2,
        "mediaType": media::OCI_MANIFEST,
        "artifactType": media::BUNDLE,
        "config": { "mediaType": config.media_type, "digest": config.digest.to_string(), "size": config.bytes.len() },
        "layers": [{
            "mediaType": layer.media_type,
            "digest": layer.digest.to_string(),
            "size": layer.bytes.len(),
        }],
        "subject": {
            "mediaType": subject.media_type,
            "digest": subject.digest.to_string(),
            "size": subject.size,
        },
        "annotations": {
            CONTENT: "dsse-envelope",
            PREDICATE_TYPE: statement.predicate_type,
        },
    });
    let annotations = manifest.get_mut("annotations").and_then(Value::as_object_mut);
    if let (Some(created), Some(annotations)) = (created, annotations) {
        annotations.insert("org.opencontainers.image.created".to_owned(), created.into());
    }
    let manifest = Blob::new(media::OCI_MANIFEST, manifest.to_string().into_bytes());
    ReferrerPackage {
        artifact_type: media::BUNDLE.to_owned(),
        manifest,
        blobs: vec![config, layer],
    }
}
