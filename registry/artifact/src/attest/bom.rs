//! CycloneDX 1.6: what a model is made of, with a model card. Nothing in it tells when or where it was made.

use mdl_store::{Algorithm, Digest};
use serde_json::{Map, Value, json};

use super::Material;
use crate::{Evaluation, PackageFile, license};

/// The bill of materials of a package.
pub(super) fn bom(material: &Material) -> Value {
    let digest = &material.manifest.digest;
    json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": format!("urn:uuid:{}", uuid(digest)),
        "version": 1,
        "metadata": {
            "tools": { "components": [{ "type": "application", "name": "mdl", "version": env!("CARGO_PKG_VERSION") }] },
            "component": model(material),
        },
        "components": material.package.files.iter().map(file).collect::<Vec<_>>(),
        "dependencies": [{
            "ref": digest.to_string(),
            "dependsOn": unique_refs(material),
        }],
    })
}

fn unique_refs(material: &Material) -> Vec<String> {
    material.package.files.iter().map(reference).collect()
}

fn reference(file: &PackageFile) -> String {
    format!("{}#{}", file.descriptor.digest, file.name)
}

/// A UUID of the form for such things (version 8, RFC 9562) from a digest: the same package has the same.
fn uuid(digest: &Digest) -> String {
    let mut hex: Vec<char> = digest.hex().chars().take(32).collect();
    if let Some(version) = hex.get_mut(12) {
        *version = '8';
    }
    if let Some(variant) = hex.get_mut(16) {
        *variant = 'a';
    }
    let part =
        |from: usize, to: usize| hex.get(from..to).unwrap_or_default().iter().collect::<String>();
    [part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-")
}

fn hashes(digest: &Digest) -> Value {
    let algorithm = match digest.algorithm() {
        Algorithm::Sha256 => "SHA-256",
        Algorithm::Sha512 => "SHA-512",
    };
    json!([{ "alg": algorithm, "content": digest.hex() }])
}

fn file(file: &PackageFile) -> Value {
    json!({
        "type": "file",
        "bom-ref": reference(file),
        "name": file.name,
        "hashes": hashes(&file.descriptor.digest),
    })
}

fn model(material: &Material) -> Value {
    let facts = &material.package.facts;
    let mut model = Map::new();
    let mut put = |key: &str, value: Value| model.insert(key.to_owned(), value);
    put("type", "machine-learning-model".into());
    put("bom-ref", material.manifest.digest.to_string().into());
    put("name", material.name.clone().into());
    if let Some(tag) = &material.tag {
        put("version", tag.clone().into());
    }
    put("hashes", hashes(&material.manifest.digest));
    if let Some(stated) = &facts.license {
        put("licenses", license::listed(stated));
    }
    let references: Vec<Value> = material
        .package
        .annotations
        .get(crate::media::SOURCE)
        .map(|source| json!({ "type": "distribution", "url": source }))
        .into_iter()
        .collect();
    if !references.is_empty() {
        put("externalReferences", references.into());
    }
    let ancestors: Vec<Value> = facts
        .base_models
        .iter()
        .map(|name| json!({ "type": "machine-learning-model", "name": name }))
        .collect();
    if !ancestors.is_empty() {
        put("pedigree", json!({ "ancestors": ancestors }));
    }
    put("modelCard", card(material));
    let properties = properties(material);
    if !properties.is_empty() {
        put("properties", properties.into());
    }
    Value::Object(model)
}

fn card(material: &Material) -> Value {
    let facts = &material.package.facts;
    let mut parameters = Map::new();
    parameters.insert("task".to_owned(), "text-generation".into());
    if let Some(family) = &facts.architecture {
        parameters.insert("architectureFamily".to_owned(), family.clone().into());
    }
    if let Some(name) = &facts.name {
        parameters.insert("modelArchitecture".to_owned(), name.clone().into());
    }
    parameters.insert("inputs".to_owned(), json!([{ "format": "text" }]));
    parameters.insert("outputs".to_owned(), json!([{ "format": "text" }]));
    let mut card = json!({ "modelParameters": parameters });
    if let (Some(figures), Some(card)) = (material.figures(), card.as_object_mut()) {
        let metrics = json!({ "performanceMetrics": metrics(&figures) });
        card.insert("quantitativeAnalysis".to_owned(), metrics);
    }
    card
}

fn metrics(figures: &Evaluation) -> Vec<Value> {
    let with_error = |name: &str, value: f64, error: f64| {
        json!({
            "type": name,
            "value": value.to_string(),
            "confidenceInterval": {
                "lowerBound": (value - error).to_string(),
                "upperBound": (value + error).to_string(),
            },
        })
    };
    let mut metrics = vec![with_error("perplexity", figures.perplexity, figures.perplexity_error)];
    if let Some(spread) = figures.divergence {
        metrics.push(with_error("mean KL divergence", spread.mean, spread.error));
    }
    if let Some(share) = figures.same_top {
        metrics.push(json!({ "type": "same top token", "value": share.to_string() }));
    }
    metrics
}

fn properties(material: &Material) -> Vec<Value> {
    let facts = &material.package.facts;
    let all = [
        ("mdl:parameters", facts.parameters.map(|it| it.to_string())),
        ("mdl:quantization", facts.quantization.clone()),
        ("mdl:bits-per-weight", facts.bits_per_weight.map(|it| it.to_string())),
        ("mdl:context-length", facts.context_length.map(|it| it.to_string())),
        ("mdl:format", facts.format.clone()),
    ];
    let property =
        |(name, value): (&str, Option<String>)| Some(json!({ "name": name, "value": value? }));
    all.into_iter().filter_map(property).collect()
}
