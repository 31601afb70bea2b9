//! A package as Ollama sees it: Docker's manifest over the same GGUF blob, with a Go template, parameters and licence.

mod config;
mod families;
mod template;
#[cfg(test)]
mod tests;
mod turns;

use std::path::Path;

use mdl_formats::gguf::{self, Metadata};
use mdl_store::{Descriptor, Digest};
use serde_json::{Value, json};

use crate::{
    Facts, LayerKind, Limits, Package, PackageFile, PackageKind, media, name::is_projector,
};

pub use template::{Template, template};

/// A manifest for Ollama, and the blobs that it names and the package does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OllamaView {
    /// The manifest, of type [`media::DOCKER_MANIFEST`].
    pub manifest: Vec<u8>,
    /// Config, template and parameters, as far as they are made.
    pub blobs: Vec<Vec<u8>>,
}

/// Bytes of a licence's text that are taken along.
const LICENSE_BYTES: u64 = 1 << 20;

/// Ollama's manifest for a package that is one GGUF file; `None` where it is none (Ollama reads no split ones), or is
/// Ollama's already. `gguf` is that file, where it is at hand: without it there is no template. `read` gives small
/// blobs. Same package, same bytes.
pub fn view(
    package: &Package,
    gguf: Option<&Path>,
    read: &dyn Fn(&Digest) -> Option<Vec<u8>>,
) -> Option<OllamaView> {
    if package.kind == PackageKind::Ollama {
        return None;
    }
    let ggufs = package.ggufs();
    let [model] = &ggufs[..] else { return None };
    let mut facts = package.facts.clone();
    let mut keys = Metadata::new();
    if let Some(path) = gguf {
        // The file's own word counts more than what annotations say of it.
        let limits = Limits::default();
        keys = gguf::open(path, &limits.formats).ok()?.metadata;
        let mut found = Facts::of_parts(&[path], &limits).ok()?;
        found.fill(facts);
        facts = found;
    }
    let mut view = Building::default();
    view.layer("model", &model.descriptor);
    for file in
        package.of_kind(LayerKind::Weights).filter(|file| !file.archive && is_projector(&file.name))
    {
        view.layer("projector", &file.descriptor);
    }
    if let Some(template) = template(&keys) {
        view.blob("template", template.text.as_bytes().to_vec());
    }
    for file in package.of_kind(LayerKind::Doc).filter(|file| is_license(file)) {
        // Ollama shows it as text.
        if read(&file.descriptor.digest).is_some_and(|bytes| std::str::from_utf8(&bytes).is_ok()) {
            view.layer("license", &file.descriptor);
        }
    }
    if let Some(params) = config::params(&keys) {
        view.blob("params", params.to_string().into_bytes());
    }
    Some(view.finish(&facts))
}

fn is_license(file: &PackageFile) -> bool {
    let stem = file.name.to_ascii_lowercase();
    !file.archive
        && file.descriptor.size <= LICENSE_BYTES
        && ["license", "licence", "copying"].iter().any(|word| stem.starts_with(word))
}

/// A manifest being put together.
#[derive(Debug, Default)]
struct Building {
    layers: Vec<Value>,
    digests: Vec<String>,
    blobs: Vec<Vec<u8>>,
}

impl Building {
    /// A layer whose blob is there.
    fn layer(&mut self, kind: &str, it: &Descriptor) {
        self.digests.push(it.digest.to_string());
        self.layers.push(json!({
            "mediaType": format!("{}{kind}", media::OLLAMA_PREFIX),
            "digest": it.digest.to_string(),
            "size": it.size,
        }));
    }

    /// A layer whose blob is made.
    fn blob(&mut self, kind: &str, bytes: Vec<u8>) {
        let digest = Digest::of(&bytes);
        let size = bytes.len() as u64;
        self.layer(kind, &Descriptor { media_type: String::new(), digest, size });
        self.blobs.push(bytes);
    }

    fn finish(mut self, facts: &Facts) -> OllamaView {
        let config = config::config(facts, &self.digests).to_string().into_bytes();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": media::DOCKER_MANIFEST,
            "config": {
                "mediaType": media::DOCKER_CONFIG,
                "digest": Digest::of(&config).to_string(),
                "size": config.len(),
            },
            "layers": self.layers,
        });
        self.blobs.push(config);
        OllamaView { manifest: manifest.to_string().into_bytes(), blobs: self.blobs }
    }
}
