//! SLSA provenance, version 1: from which files, by which recipe, by which version of mdl.

use mdl_store::Digest;
use serde_json::{Map, Value, json};

use super::{Material, RecipeFile};
use crate::{Origins, media, pack::Provenance, signing::Statement};

/// How a quantized model is built: `externalParameters.recipe` is the recipe's text.
const QUANTIZE: &str = "https://mdl.org/quantize/v1";
/// How a package of files as they were is built.
const PACK: &str = "https://mdl.org/pack/v1";
/// Who builds.
const BUILDER: &str = "https://mdl.org/mdl";

/// None where neither a recipe nor an origin is known.
pub(super) fn predicate(material: &Material, origins: Option<&Origins>) -> Option<Value> {
    if let (Some(head), Some(text)) = (material.recipe_head(), &material.recipe) {
        let uri = |file: &RecipeFile| {
            let digest = Digest::sha256(&file.sha256).ok()?;
            origins?.of([&digest])
        };
        let dependency = |file: &RecipeFile| {
            dependency(&file.name, &json!({ "sha256": file.sha256 }), uri(file).as_ref())
        };
        let mut dependencies: Vec<Value> = head.source.iter().map(dependency).collect();
        dependencies.extend(head.imatrix.iter().map(dependency));
        return Some(build(QUANTIZE, &json!({ "recipe": text }), &dependencies, Some(&head.mdl)));
    }
    let annotations = &material.package.annotations;
    let source = annotations.get(media::SOURCE)?;
    let from = Provenance {
        source: source.clone(),
        revision: annotations.get(media::REVISION).cloned(),
        license: None,
    };
    let dependencies = material.package.files.iter().map(|file| {
        dependency(&file.name, &super::digest_set(&file.descriptor.digest), Some(&from))
    });
    Some(build(PACK, &json!({}), &dependencies.collect::<Vec<_>>(), None))
}

fn build(kind: &str, external: &Value, dependencies: &[Value], mdl: Option<&str>) -> Value {
    let mut builder = json!({ "id": BUILDER });
    if let (Some(version), Some(builder)) = (mdl, builder.as_object_mut()) {
        builder.insert("version".to_owned(), json!({ "mdl": version }));
    }
    json!({
        "buildDefinition": {
            "buildType": kind,
            "externalParameters": external,
            "resolvedDependencies": dependencies,
        },
        "runDetails": { "builder": builder },
    })
}

fn dependency(name: &str, digest: &Value, from: Option<&Provenance>) -> Value {
    let mut dependency = Map::new();
    dependency.insert("name".to_owned(), name.into());
    dependency.insert("digest".to_owned(), digest.clone());
    if let Some(from) = from {
        let revision = from.revision.as_ref().map(|it| format!("@{it}")).unwrap_or_default();
        dependency.insert("uri".to_owned(), format!("{}{revision}", from.source).into());
    }
    Value::Object(dependency)
}

/// Where the sources of a build are to be had, as a provenance statement says: the address that all of its dependencies
/// with one share.
pub fn source_of(statement: &Statement) -> Option<String> {
    let dependencies = statement.predicate.pointer("/buildDefinition/resolvedDependencies")?;
    let uri = |it: &Value| Some(it.get("uri")?.as_str()?.to_owned());
    let mut found: Vec<String> = dependencies.as_array()?.iter().filter_map(uri).collect();
    found.dedup();
    match &found[..] {
        [one] => Some(one.clone()),
        _ => None,
    }
}
