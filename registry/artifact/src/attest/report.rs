//! The quantization report: by which recipe, into which types, and how good it was found.

use mdl_store::Digest;
use serde_json::{Map, Value, json};

use super::{Material, digest_set};

/// `{recipe: {mdl, scheme, imatrix, digest}, types, bitsPerWeight, evaluation, report: {digest}}`; the evaluation has the
/// shape of [`crate::Evaluation`].
pub(super) fn predicate(material: &Material) -> Option<Value> {
    let (figures, recipe) = (material.figures(), material.recipe_head());
    if figures.is_none() && recipe.is_none() {
        return None;
    }
    let mut predicate = Map::new();
    let mut put = |key: &str, value: Value| predicate.insert(key.to_owned(), value);
    if let (Some(head), Some(text)) = (recipe, &material.recipe) {
        let mut recipe = json!({
            "mdl": head.mdl,
            "scheme": head.scheme,
            "digest": digest_set(&Digest::of(text.as_bytes())),
        });
        if let (Some(imatrix), Some(recipe)) = (head.imatrix, recipe.as_object_mut()) {
            let imatrix = json!({ "name": imatrix.name, "digest": { "sha256": imatrix.sha256 } });
            recipe.insert("imatrix".to_owned(), imatrix);
        }
        put("recipe", recipe);
    }
    let facts = &material.package.facts;
    put("types", json!(facts.types));
    put("bitsPerWeight", json!(facts.bits_per_weight));
    if let Some(figures) = figures {
        put("evaluation", json!(figures));
    }
    if let Some(report) = &material.evaluation {
        put("report", json!({ "digest": digest_set(&Digest::of(report)) }));
    }
    Some(Value::Object(predicate))
}
