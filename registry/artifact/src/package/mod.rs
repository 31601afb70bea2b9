//! What a manifest says, whoever wrote it: ModelPack, Ollama, Docker Model Runner, KitOps, or any OCI artifact.

mod names;
mod raw;
mod stored;
#[cfg(test)]
mod tests;

pub use stored::{CONFIG_BYTES, stored_document};

use std::collections::{BTreeMap, BTreeSet};

use mdl_store::Descriptor;

use crate::{
    Facts, media,
    name::{has_extension, is_projector},
    safe_name,
};

/// Whose manifest it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PackageKind {
    /// CNCF ModelPack, ours among them.
    ModelPack,
    /// Ollama's.
    Ollama,
    /// Docker Model Runner's.
    DockerAi,
    /// KitOps'.
    KitOps,
    /// Any other OCI artifact or image.
    Other,
}

impl PackageKind {
    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Self::ModelPack => "ModelPack",
            Self::Ollama => "Ollama",
            Self::DockerAi => "Docker Model Runner",
            Self::KitOps => "KitOps",
            Self::Other => "OCI artifact",
        }
    }
}

/// What a layer or file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LayerKind {
    /// Weights.
    Weights,
    /// What a program needs beside them: configuration, tokenizer, templates, parameters.
    Config,
    /// Texts for people.
    Doc,
    /// Programs.
    Code,
    /// Data.
    Dataset,
    /// Anything else.
    Other,
}

/// A layer as the manifest has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// Type, digest and size.
    pub descriptor: Descriptor,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// The name that Ollama gives to layers of tensors.
    pub name: Option<String>,
}

/// A file of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageFile {
    /// Its name below the package's folder, with `/` between parts; checked by [`safe_name`].
    pub name: String,
    /// Type, digest and size of the blob that holds it.
    pub descriptor: Descriptor,
    /// What it is for.
    pub kind: LayerKind,
    /// Whether the blob is not the file itself but an archive of it and perhaps others.
    pub archive: bool,
}

/// What a manifest says.
#[derive(Debug, Clone)]
pub struct Package {
    /// Whose manifest it is.
    pub kind: PackageKind,
    /// Its `artifactType`, where it has one.
    pub artifact_type: Option<String>,
    /// Its config.
    pub config: Option<Descriptor>,
    /// All layers, in order.
    pub layers: Vec<Layer>,
    /// Those that are files with a sound name, in order of names.
    pub files: Vec<PackageFile>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// What it refers to.
    pub subject: Option<Descriptor>,
    /// Manifests, where it is an index.
    pub manifests: Vec<Descriptor>,
    /// What annotations and config say of the model.
    pub facts: Facts,
    /// What is wrong with it: not a manifest, bad digests, names that leave the folder. Who writes its files to a disk
    /// refuses a package with problems.
    pub problems: Vec<String>,
}

impl Package {
    /// Reads a manifest and, where it is at hand, its config. Reads everything; what is wrong is in
    /// [`Package::problems`].
    pub fn read(media_type: &str, manifest: &[u8], config: Option<&[u8]>) -> Self {
        let mut problems = Vec::new();
        let raw = raw::Manifest::read(manifest, &mut problems);
        let config_descriptor = raw.config.as_ref().and_then(|it| it.descriptor(&mut problems));
        let layers = raw.layers(&mut problems);
        let kind =
            kind(media_type, raw.artifact_type.as_deref(), config_descriptor.as_ref(), &layers);
        let files = files(kind, &layers, &mut problems);
        let mut facts = Facts::from_annotations(&raw.annotations);
        if let Some(config) = config {
            facts.add_config(kind, config);
        }
        Self {
            kind,
            artifact_type: raw.artifact_type,
            config: config_descriptor,
            layers,
            files,
            annotations: raw.annotations,
            subject: raw.subject.as_ref().and_then(|it| it.descriptor(&mut problems)),
            manifests: raw.manifests.iter().filter_map(|it| it.descriptor(&mut problems)).collect(),
            facts,
            problems,
        }
    }

    /// Bytes of all layers.
    pub fn bytes(&self) -> u64 {
        self.layers.iter().fold(0, |sum, layer| sum.saturating_add(layer.descriptor.size))
    }

    /// The files of a kind.
    pub fn of_kind(&self, kind: LayerKind) -> impl Iterator<Item = &PackageFile> {
        self.files.iter().filter(move |file| file.kind == kind)
    }

    /// Its GGUF files with the weights of a language model, in order of names: one, or the parts of a split one.
    pub fn ggufs(&self) -> Vec<&PackageFile> {
        let gguf = |file: &&PackageFile| {
            !file.archive && has_extension(&file.name, "gguf") && !is_projector(&file.name)
        };
        self.of_kind(LayerKind::Weights).filter(gguf).collect()
    }
}

/// Whose manifest it is, told by its types.
fn kind(
    media_type: &str,
    artifact_type: Option<&str>,
    config: Option<&Descriptor>,
    layers: &[Layer],
) -> PackageKind {
    let config = config.map_or("", |config| config.media_type.as_str());
    let any = |prefix: &str| layers.iter().any(|it| it.descriptor.media_type.starts_with(prefix));
    if artifact_type == Some(media::MODEL_MANIFEST) || config == media::MODEL_CONFIG {
        PackageKind::ModelPack
    } else if config.starts_with(media::DOCKER_AI_PREFIX) {
        PackageKind::DockerAi
    } else if config.starts_with(media::KITOPS_PREFIX) {
        PackageKind::KitOps
    } else if any(media::OLLAMA_PREFIX)
        && (media_type == media::DOCKER_MANIFEST || config == media::DOCKER_CONFIG)
    {
        PackageKind::Ollama
    } else if any(media::MODEL_PREFIX) {
        PackageKind::ModelPack
    } else {
        PackageKind::Other
    }
}

/// The layers that are files, with names that are sound and do not meet.
fn files(kind: PackageKind, layers: &[Layer], problems: &mut Vec<String>) -> Vec<PackageFile> {
    let mut files: BTreeMap<String, PackageFile> = BTreeMap::new();
    let mut folders = BTreeSet::new();
    let mut taken = names::Taken::default();
    for layer in layers {
        let Some(named) = names::named(kind, layer, &mut taken) else { continue };
        if let Err(error) = safe_name(&named.name) {
            problems.push(error.to_string());
            continue;
        }
        let name = named.name;
        // The same blob under the same name twice is one file.
        let same = files.get(&name);
        if same.is_some_and(|file| file.descriptor.digest == layer.descriptor.digest) {
            continue;
        }
        let parents: Vec<&str> =
            name.match_indices('/').filter_map(|(end, _)| name.get(..end)).collect();
        if same.is_some() {
            problems.push(format!("two files are called {name}"));
            continue;
        }
        if folders.contains(&name) || parents.iter().any(|parent| files.contains_key(*parent)) {
            problems.push(format!("{name} is a file and a folder at once, or lies in a file"));
            continue;
        }
        folders.extend(parents.into_iter().map(str::to_owned));
        let descriptor = layer.descriptor.clone();
        let names::Named { kind, archive, .. } = named;
        files.insert(name.clone(), PackageFile { name, descriptor, kind, archive });
    }
    files.into_values().collect()
}
