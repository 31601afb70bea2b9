//! Which file a layer is: its name, what it is for, whether it is archived.

use std::collections::BTreeMap;

use super::{Layer, LayerKind, PackageKind};
use crate::{media, pack::sort};

/// A layer's file.
#[derive(Debug)]
pub(super) struct Named {
    pub(super) name: String,
    pub(super) kind: LayerKind,
    pub(super) archive: bool,
}

/// How often a name that we give was given.
#[derive(Debug, Default)]
pub(super) struct Taken(BTreeMap<&'static str, usize>);

impl Taken {
    /// `stem.end`, then `stem-2.end` and so on.
    fn next(&mut self, stem: &'static str, end: &str) -> String {
        let count = self.0.entry(stem).or_default();
        *count += 1;
        if *count == 1 { format!("{stem}{end}") } else { format!("{stem}-{count}{end}") }
    }
}

/// The file that a layer is; `None` where it is none.
pub(super) fn named(kind: PackageKind, layer: &Layer, taken: &mut Taken) -> Option<Named> {
    let ty = layer.descriptor.media_type.as_str();
    if let Some(rest) = ty.strip_prefix(media::OLLAMA_PREFIX) {
        return ollama(rest, layer, taken);
    }
    let annotated = [media::FILEPATH, media::TITLE]
        .iter()
        .find_map(|key| layer.annotations.get(*key))
        .filter(|name| !name.is_empty())
        .cloned();
    let archive = is_archive(ty);
    if let Some(rest) = ty.strip_prefix(media::MODEL_PREFIX) {
        let kind = model_pack(rest);
        let name = annotated.unwrap_or_else(|| unnamed(kind, archive, taken));
        return Some(Named { name, kind, archive });
    }
    if let Some(rest) = ty.strip_prefix(media::DOCKER_AI_PREFIX) {
        let (kind, stem, end) = docker(rest);
        let name = annotated.unwrap_or_else(|| taken.next(stem, end));
        return Some(Named { name, kind, archive });
    }
    if let Some(rest) = ty.strip_prefix(media::KITOPS_PREFIX) {
        let kind = match rest.split('.').next() {
            Some("model" | "modelpart") => LayerKind::Weights,
            Some("dataset") => LayerKind::Dataset,
            Some("code") => LayerKind::Code,
            Some("docs") => LayerKind::Doc,
            _ => LayerKind::Other,
        };
        let name = annotated.unwrap_or_else(|| unnamed(kind, archive, taken));
        return Some(Named { name, kind, archive });
    }
    let name = annotated?;
    // oras calls every file a tar, unless told otherwise; what it packed from a folder says so in an annotation.
    let archive =
        layer.annotations.get("io.deis.oras.content.unpack").is_some_and(|it| it == "true");
    let kind = match kind {
        PackageKind::Other => sort::by_name(&name).unwrap_or(LayerKind::Other),
        _ => LayerKind::Other,
    };
    Some(Named { name, kind, archive })
}

/// Whether a type's end says that the blob is an archive or compressed.
fn is_archive(ty: &str) -> bool {
    // Docker's end in `.tar`, those of OCI in `.tar+gzip`, ModelPack's in `.v1.tar+zstd`.
    ["tar", "+gzip", "+zstd", ".gzip", "tar.gz"].iter().any(|end| ty.ends_with(end))
}

/// The kind of a ModelPack layer, by its type behind the prefix.
fn model_pack(rest: &str) -> LayerKind {
    if rest.starts_with("weight.config.") {
        return LayerKind::Config;
    }
    match rest.split('.').next() {
        Some("weight") => LayerKind::Weights,
        Some("doc") => LayerKind::Doc,
        Some("code") => LayerKind::Code,
        Some("dataset") => LayerKind::Dataset,
        _ => LayerKind::Other,
    }
}

/// A name for a layer that has none.
fn unnamed(kind: LayerKind, archive: bool, taken: &mut Taken) -> String {
    let stem = match kind {
        LayerKind::Weights => "weights",
        LayerKind::Config => "config",
        LayerKind::Doc => "doc",
        LayerKind::Code => "code",
        LayerKind::Dataset => "dataset",
        LayerKind::Other => "file",
    };
    taken.next(stem, if archive { ".tar" } else { "" })
}

/// Kind, name and its end for a layer of Docker Model Runner.
fn docker(rest: &str) -> (LayerKind, &'static str, &'static str) {
    match rest {
        "safetensors" => (LayerKind::Weights, "model", ".safetensors"),
        "dduf" => (LayerKind::Weights, "model", ".dduf"),
        "mmproj" => (LayerKind::Weights, "mmproj", ".gguf"),
        "license" => (LayerKind::Doc, "LICENSE", ""),
        "chat.template.jinja" => (LayerKind::Config, "chat_template", ".jinja"),
        "vllm.config.tar" => (LayerKind::Config, "vllm-config", ".tar"),
        "dir.tar" => (LayerKind::Other, "files", ".tar"),
        "model.file" => (LayerKind::Config, "file", ""),
        _ if rest.starts_with("gguf") => (LayerKind::Weights, "model", ".gguf"),
        _ => (LayerKind::Other, "file", ""),
    }
}

/// The file of an Ollama layer.
fn ollama(rest: &str, layer: &Layer, taken: &mut Taken) -> Option<Named> {
    let given = layer.name.clone().filter(|name| !name.is_empty());
    let (kind, name) = match rest {
        "model" => (LayerKind::Weights, taken.next("model", ".gguf")),
        "adapter" => (LayerKind::Weights, taken.next("adapter", ".gguf")),
        "projector" => (LayerKind::Weights, taken.next("mmproj", ".gguf")),
        "embed" => (LayerKind::Weights, taken.next("embed", ".gguf")),
        "draft" => (LayerKind::Weights, taken.next("draft", ".gguf")),
        "tensor" => (LayerKind::Weights, format!("tensors/{}.safetensors", given?)),
        "json" => (LayerKind::Config, given?),
        "template" | "prompt" => (LayerKind::Config, taken.next("template", ".txt")),
        "system" => (LayerKind::Config, taken.next("system", ".txt")),
        "params" => (LayerKind::Config, taken.next("params", ".json")),
        "messages" => (LayerKind::Config, taken.next("messages", ".json")),
        "license" => (LayerKind::Doc, taken.next("LICENSE", "")),
        _ => return None,
    };
    Some(Named { name, kind, archive: false })
}
