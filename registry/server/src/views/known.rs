//! What is known of a model: derived once from its manifest and its files' headers, and kept beside the manifest.

use mdl_store::Digest;
use serde::{Deserialize, Serialize};

/// Version of [`Known`]'s shape and of how it is derived; what an older version kept is derived anew.
pub(crate) const VERSION: u32 = 1;

/// What is known of a model. What its files and its manifest do not say is absent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Known {
    pub(crate) version: u32,
    /// What it is, for people: `GGUF`, `Hugging Face folder`, or a media type.
    pub(crate) kind: String,
    /// What the model calls itself.
    pub(crate) title: Option<String>,
    pub(crate) family: Option<String>,
    pub(crate) quantization: Option<String>,
    pub(crate) parameters: Option<u64>,
    pub(crate) bits_per_weight: Option<f64>,
    /// Tokens.
    pub(crate) context: Option<u64>,
    pub(crate) layers: Option<u64>,
    /// Kind and number of tokens.
    pub(crate) tokenizer: Option<String>,
    pub(crate) template: Option<bool>,
    pub(crate) licence: Option<String>,
    /// What it was made from.
    pub(crate) base: Option<String>,
    pub(crate) perplexity: Option<f64>,
    /// Mean KL divergence from the original.
    pub(crate) divergence: Option<f64>,
    pub(crate) same_top: Option<f64>,
    pub(crate) types: Vec<KnownType>,
    /// Its files, in order of names.
    pub(crate) files: Vec<KnownFile>,
    /// What a reader should know: blobs that are lacking, headers that could not be read.
    pub(crate) notes: Vec<String>,
}

/// How much of a model is stored in one type.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct KnownType {
    pub(crate) name: String,
    pub(crate) tensors: u64,
    pub(crate) parameters: u64,
    pub(crate) bytes: u64,
}

/// A file of a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct KnownFile {
    /// With `/` between parts.
    pub(crate) name: String,
    pub(crate) kind: FileKind,
    pub(crate) size: u64,
    pub(crate) digest: String,
    /// Git's name for it.
    pub(crate) oid: String,
    /// Whether Hugging Face clients see it as a large file, named by its SHA-256.
    pub(crate) lfs: bool,
}

/// What a file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum FileKind {
    Weights,
    Config,
    Doc,
    Code,
    Dataset,
    Other,
}

impl FileKind {
    /// As the pages have it.
    pub(crate) fn shown(self) -> &'static str {
        match self {
            Self::Weights => "weights",
            Self::Config => "config",
            Self::Doc => "doc",
            Self::Code => "code",
            Self::Dataset => "dataset",
            Self::Other => "other",
        }
    }
}

impl KnownFile {
    /// Its digest; `None` only where what was kept is damaged.
    pub(crate) fn digest(&self) -> Option<Digest> {
        self.digest.parse().ok()
    }

    fn is_gguf(&self) -> bool {
        self.kind == FileKind::Weights && has_extension(&self.name, "gguf")
    }
}

impl Known {
    /// Bytes of all files.
    pub(crate) fn bytes(&self) -> u64 {
        self.files.iter().fold(0, |sum, file| sum.saturating_add(file.size))
    }

    /// Its first GGUF file with weights of a language model.
    pub(crate) fn gguf(&self) -> Option<&KnownFile> {
        self.files.iter().find(|file| file.is_gguf() && !file.name.contains("mmproj"))
    }

    /// Whether it is a folder that transformers and vLLM load.
    pub(crate) fn is_folder(&self) -> bool {
        let has = |name: &str| self.files.iter().any(|file| file.name == name);
        let weights = |file: &KnownFile| {
            file.kind == FileKind::Weights
                && ["safetensors", "bin"].iter().any(|end| has_extension(&file.name, end))
        };
        has("config.json") && self.files.iter().any(weights)
    }

    /// The model card, by the name that the Hub gives it.
    pub(crate) fn card(&self) -> Option<&KnownFile> {
        self.files.iter().find(|file| file.name.eq_ignore_ascii_case("readme.md"))
    }
}

fn has_extension(name: &str, extension: &str) -> bool {
    let found = name.rsplit_once('.').map(|(_, found)| found);
    found.is_some_and(|found| found.eq_ignore_ascii_case(extension))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, kind: FileKind) -> KnownFile {
        KnownFile {
            name: name.to_owned(),
            kind,
            size: 7,
            digest: Digest::of(name.as_bytes()).to_string(),
            oid: String::new(),
            lfs: false,
        }
    }

    #[test]
    fn files_say_which_clients_can_load_a_model() {
        let mut known = Known {
            files: vec![
                file("mmproj-f16.gguf", FileKind::Weights),
                file("model.GGUF", FileKind::Weights),
                file("Readme.md", FileKind::Doc),
            ],
            ..Known::default()
        };
        assert_eq!(known.gguf().map(|file| file.name.as_str()), Some("model.GGUF"));
        assert_eq!(known.card().map(|file| file.name.as_str()), Some("Readme.md"));
        assert!(!known.is_folder());
        assert_eq!(known.bytes(), 21);
        known.files.push(file("config.json", FileKind::Config));
        assert!(!known.is_folder());
        known.files.push(file("model.safetensors", FileKind::Weights));
        assert!(known.is_folder());
    }

    #[test]
    fn what_is_kept_can_be_read_by_later_versions() {
        let known: Known = serde_json::from_str("{\"version\":1,\"later\":[1]}").unwrap();
        assert_eq!(known, Known { version: 1, ..Known::default() });
    }
}
