//! The JSON of manifests, as far as it is read.

use std::collections::BTreeMap;

use mdl_store::{Descriptor, Digest};
use serde::Deserialize;

use super::Layer;
use crate::Limits;

/// Layers of one manifest that are read.
const LAYERS: usize = 20_000;

/// A manifest or index.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Manifest {
    pub(super) artifact_type: Option<String>,
    pub(super) config: Option<Raw>,
    #[serde(deserialize_with = "or_none")]
    layers: Vec<Raw>,
    #[serde(deserialize_with = "or_none")]
    pub(super) manifests: Vec<Raw>,
    pub(super) subject: Option<Raw>,
    #[serde(deserialize_with = "or_none")]
    pub(super) annotations: BTreeMap<String, String>,
}

/// A descriptor.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Raw {
    media_type: String,
    digest: String,
    size: u64,
    #[serde(deserialize_with = "or_none")]
    annotations: BTreeMap<String, String>,
    name: Option<String>,
}

/// Takes `null` for nothing, as Go writes empty lists.
fn or_none<'de, D: serde::Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

impl Manifest {
    /// Reads it; an empty one, and the problem, where the bytes are no manifest.
    pub(super) fn read(bytes: &[u8], problems: &mut Vec<String>) -> Self {
        let limit = Limits::default().manifest_bytes;
        let found = if bytes.len() > limit {
            Err(format!("the manifest has {} bytes, more than the limit of {limit}", bytes.len()))
        } else if bytes.trim_ascii_start().starts_with(b"{") {
            let parsed = serde_json::from_slice::<Self>(bytes);
            parsed.map_err(|error| format!("not a manifest: {error}"))
        } else {
            Err("not a manifest: no JSON object".to_owned())
        };
        let found = found.and_then(|manifest| {
            let count = manifest.layers.len().max(manifest.manifests.len());
            if count > LAYERS {
                Err(format!("{count} layers are more than the limit"))
            } else {
                Ok(manifest)
            }
        });
        found.unwrap_or_else(|problem| {
            problems.push(problem);
            Self::default()
        })
    }

    pub(super) fn layers(&self, problems: &mut Vec<String>) -> Vec<Layer> {
        let layer = |raw: &Raw| {
            Some(Layer {
                descriptor: raw.descriptor(problems)?,
                annotations: raw.annotations.clone(),
                name: raw.name.clone(),
            })
        };
        self.layers.iter().filter_map(layer).collect()
    }
}

impl Raw {
    /// With its digest checked.
    pub(super) fn descriptor(&self, problems: &mut Vec<String>) -> Option<Descriptor> {
        match self.digest.parse::<Digest>() {
            Ok(digest) => {
                Some(Descriptor { media_type: self.media_type.clone(), digest, size: self.size })
            }
            Err(error) => {
                problems.push(error.to_string());
                None
            }
        }
    }
}
