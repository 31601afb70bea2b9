//! The ModelPack manifest and config (model-spec 0.0.7). The config's schema allows no keys of ours: they are
//! annotations of the manifest.

use std::collections::BTreeMap;

use mdl_store::{Descriptor, Digest};
use serde::Serialize;
use serde_json::{Value, json};

use super::{Blob, PlanFile, Provenance};
use crate::{Error, Facts, Result, media};

/// A layer of a manifest.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LayerOut {
    media_type: &'static str,
    digest: String,
    size: u64,
    annotations: BTreeMap<&'static str, String>,
}

/// The layers of files, in their order.
pub(super) fn layers(
    files: &[PlanFile],
    digests: &BTreeMap<String, Digest>,
) -> Result<Vec<LayerOut>> {
    let layer = |file: &PlanFile| {
        let digest = digests.get(&file.name).ok_or_else(|| Error::NoDigest(file.name.clone()))?;
        Ok(LayerOut {
            media_type: file.media_type,
            digest: digest.to_string(),
            size: file.size,
            annotations: [media::FILEPATH, media::TITLE]
                .into_iter()
                .map(|key| (key, file.name.clone()))
                .collect(),
        })
    };
    files.iter().map(layer).collect()
}

/// The config. Files are stored raw, so that a layer's digest is also that of its content.
pub(super) fn config(facts: &Facts, provenance: Option<&Provenance>, layers: &[LayerOut]) -> Blob {
    let mut descriptor = json!({});
    put(&mut descriptor, "family", facts.architecture.clone());
    put(&mut descriptor, "name", facts.name.clone());
    put(&mut descriptor, "sourceURL", provenance.map(|it| it.source.clone()));
    put(&mut descriptor, "revision", provenance.and_then(|it| it.revision.clone()));
    put(&mut descriptor, "licenses", facts.license.clone().map(|it| vec![it]));
    let mut config = json!({});
    put(&mut config, "architecture", facts.architecture.clone());
    put(&mut config, "format", facts.format.clone().or_else(|| Some("other".to_owned())));
    // Readers tell ModelPack's configs from others by this key, so that it is always there.
    put(&mut config, "paramSize", facts.size_label().or_else(|| Some("0".to_owned())));
    put(&mut config, "precision", precision(facts));
    put(&mut config, "quantization", quantization(facts));
    put(&mut config, "capabilities", capabilities(facts));
    let diff_ids: Vec<&str> = layers.iter().map(|layer| layer.digest.as_str()).collect();
    let whole = json!({
        "descriptor": descriptor,
        "config": config,
        "modelfs": { "type": "layers", "diffIds": diff_ids },
    });
    Blob::new(media::MODEL_CONFIG, whole.to_string().into_bytes())
}

/// The manifest.
pub(super) fn manifest(
    facts: &Facts,
    provenance: Option<&Provenance>,
    config: &Blob,
    layers: &[LayerOut],
) -> Blob {
    let mut annotations = facts.annotations();
    if let Some(provenance) = provenance {
        annotations.insert(media::SOURCE.to_owned(), provenance.source.clone());
        if let Some(revision) = &provenance.revision {
            annotations.insert(media::REVISION.to_owned(), revision.clone());
        }
    }
    let whole = json!({
        "schemaVersion": 2,
        "mediaType": media::OCI_MANIFEST,
        "artifactType": media::MODEL_MANIFEST,
        "config": descriptor(&config.descriptor()),
        "layers": layers,
        "annotations": annotations,
    });
    Blob::new(media::OCI_MANIFEST, whole.to_string().into_bytes())
}

fn descriptor(it: &Descriptor) -> Value {
    json!({ "mediaType": it.media_type, "digest": it.digest.to_string(), "size": it.size })
}

fn put(object: &mut Value, key: &str, value: Option<impl Serialize>) {
    if let (Some(object), Some(value)) = (object.as_object_mut(), value)
        && let Ok(value) = serde_json::to_value(value)
    {
        object.insert(key.to_owned(), value);
    }
}

/// The number types of weights that are stored as numbers, most bytes first, by the specification's names.
fn precision(facts: &Facts) -> Option<String> {
    let name = |ty: &str| match ty {
        "F64" => Some("float64"),
        "F32" => Some("float32"),
        "F16" => Some("float16"),
        "BF16" => Some("bfloat16"),
        "I8" => Some("int8"),
        _ => None,
    };
    // Beside blocks of quantized weights the few that are numbers say nothing of the whole.
    let first = facts.types.first().and_then(|share| name(&share.ty))?;
    Some(first.to_owned())
}

/// The scheme, where the weights are not plain numbers.
fn quantization(facts: &Facts) -> Option<String> {
    let plain = |name: &String| matches!(name.as_str(), "F32" | "F16" | "BF16");
    facts.quantization.clone().filter(|name| !plain(name))
}

/// Text in and out for a model of language, and the languages that its card names.
fn capabilities(facts: &Facts) -> Option<Value> {
    facts.tokenizer.as_ref()?;
    let mut found = json!({ "inputTypes": ["text"], "outputTypes": ["text"] });
    let two = |code: &&String| code.len() == 2 && code.bytes().all(|it| it.is_ascii_lowercase());
    let languages: Vec<&String> = facts.languages.iter().filter(two).collect();
    if !languages.is_empty() {
        put(&mut found, "languages", Some(languages));
    }
    Some(found)
}
