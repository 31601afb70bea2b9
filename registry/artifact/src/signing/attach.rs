//! Bundles as referrers: a manifest without a config whose one layer is the bundle (cosign 3 and OCI 1.1).

use mdl_store::Descriptor;
use serde_json::{Map, Value};

use super::{MODEL_SIGNATURE, Statement};
use crate::{
    media,
    pack::{ReferrerPackage, artifact},
    trust::Attestation,
};

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
    let mut annotations = Map::from_iter([
        (CONTENT.to_owned(), Value::from("dsse-envelope")),
        (PREDICATE_TYPE.to_owned(), statement.predicate_type.clone().into()),
    ]);
    if let Some(created) = created {
        annotations.insert("org.opencontainers.image.created".to_owned(), created.into());
    }
    artifact(media::BUNDLE, bundle, subject, None, &annotations)
}
