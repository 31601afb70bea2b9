//! What a model is: the facts that annotations, pages and `mdl inspect` show.

mod annotations;
mod config;
mod files;
mod report;

use std::{cmp::Reverse, collections::BTreeMap, path::Path};

use mdl_formats::{
    Checkpoint, Tensor,
    gguf::{Metadata, Value},
};
use serde::{Deserialize, Serialize};

use crate::{Limits, Result};

pub(crate) use files::borrowed;
pub use report::{Evaluation, Spread};

/// What a model is, as far as its files, its annotations or its config say.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Facts {
    /// `gguf`, `safetensors`, `pytorch` …
    pub format: Option<String>,
    /// What it calls itself.
    pub name: Option<String>,
    /// Its family: llama, qwen3 …
    pub architecture: Option<String>,
    /// Parameters in all.
    pub parameters: Option<u64>,
    /// Bytes of its tensors.
    pub tensor_bytes: Option<u64>,
    /// Bits per weight.
    pub bits_per_weight: Option<f64>,
    /// The scheme of its types, `Q4_K_M` …
    pub quantization: Option<String>,
    /// Tokens of context that it was trained for.
    pub context_length: Option<u64>,
    /// Transformer layers.
    pub layers: Option<u64>,
    /// Values that stand for a token between layers.
    pub embedding_length: Option<u64>,
    /// Tokens that it knows.
    pub vocabulary: Option<u64>,
    /// The kind of its tokenizer.
    pub tokenizer: Option<String>,
    /// How text is cut before it.
    pub pre_tokenizer: Option<String>,
    /// Whether it has a chat template.
    pub chat_template: Option<bool>,
    /// Its licence.
    pub license: Option<String>,
    /// Models that it was made from.
    pub base_models: Vec<String>,
    /// Languages, as its card says.
    pub languages: Vec<String>,
    /// How much of it is stored in which type, largest first.
    pub types: Vec<TypeShare>,
    /// How good it was found.
    pub evaluation: Option<Evaluation>,
    /// The recipe that it was quantized by; not in annotations.
    pub recipe: Option<String>,
    /// Names and digests of the files that it was quantized from, by `0.name`, `0.sha256` …; not in annotations.
    pub sources: BTreeMap<String, String>,
    /// What a reader should know, in sentences; not in annotations.
    pub notes: Vec<String>,
}

/// How much of a model is stored in one type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TypeShare {
    /// The type.
    #[serde(rename = "type")]
    pub ty: String,
    /// Tensors that have it.
    pub tensors: u64,
    /// Their parameters.
    pub parameters: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Facts {
    /// Of an opened model.
    pub fn of_checkpoint(checkpoint: &Checkpoint) -> Self {
        let mut facts = Self::default();
        facts.add_metadata(&checkpoint.metadata);
        facts.add_tensors(checkpoint.tensors.iter());
        facts.notes.clone_from(&checkpoint.notes);
        facts
    }

    /// Of one file with weights, whatever it is called: a GGUF file (of a split one, the part alone) or a safetensors
    /// file.
    ///
    /// # Errors
    /// [`crate::Error::Formats`] where it is neither.
    pub fn of_file(path: &Path) -> Result<Self> {
        Self::of_parts(&[path], &Limits::default())
    }

    /// What GGUF keys say.
    fn add_metadata(&mut self, keys: &Metadata) {
        let text = |key: &str| keys.str(key).filter(|text| !text.is_empty()).map(str::to_owned);
        self.architecture = text("general.architecture");
        let family = self.architecture.clone().unwrap_or_default();
        let of_family = |key: &str| keys.u64(&format!("{family}.{key}"));
        self.name = text("general.name");
        self.quantization = keys
            .u64("general.file_type")
            .and_then(mdl_quant::scheme::name_of_file_type)
            .map(str::to_owned);
        self.context_length = of_family("context_length");
        self.layers = of_family("block_count");
        self.embedding_length = of_family("embedding_length");
        self.vocabulary = keys.strings("tokenizer.ggml.tokens").map(|tokens| tokens.len() as u64);
        self.tokenizer = text("tokenizer.ggml.model");
        self.pre_tokenizer = text("tokenizer.ggml.pre");
        self.chat_template = Some(keys.str("tokenizer.chat_template").is_some());
        self.license = text("general.license");
        self.languages =
            keys.strings("general.languages").map(<[String]>::to_vec).unwrap_or_default();
        let bases = keys.u64("general.base_model.count").unwrap_or(0).min(64);
        self.base_models = (0..bases)
            .filter_map(|index| {
                let key = |name: &str| text(&format!("general.base_model.{index}.{name}"));
                let hub = key("repo_url").and_then(|url| {
                    Some(
                        url.strip_prefix("https://huggingface.co/")?
                            .trim_end_matches('/')
                            .to_owned(),
                    )
                });
                hub.or_else(|| key("name"))
            })
            .collect();
        self.recipe = text("mdl.recipe");
        let source = |(key, value): (&str, &Value)| match value {
            Value::String(value) => {
                Some((key.strip_prefix("mdl.source.")?.to_owned(), value.clone()))
            }
            _ => None,
        };
        self.sources = keys.iter().filter_map(source).collect();
    }

    /// Counts tensors.
    fn add_tensors<'a>(&mut self, tensors: impl Iterator<Item = &'a Tensor>) {
        let mut shares: BTreeMap<_, TypeShare> = BTreeMap::new();
        for tensor in tensors {
            let share = shares.entry(tensor.ty).or_insert_with(|| TypeShare {
                ty: tensor.ty.to_string(),
                tensors: 0,
                parameters: 0,
                bytes: 0,
            });
            share.tensors += 1;
            share.parameters = share.parameters.saturating_add(tensor.elements() as u64);
            share.bytes = share.bytes.saturating_add(tensor.bytes() as u64);
        }
        self.types = shares.into_values().collect();
        self.types.sort_by_key(|share| Reverse(share.bytes));
        let sum = |part: fn(&TypeShare) -> u64| {
            self.types.iter().fold(0_u64, |sum, share| sum.saturating_add(part(share)))
        };
        let (parameters, bytes) = (sum(|share| share.parameters), sum(|share| share.bytes));
        self.parameters = Some(parameters);
        self.tensor_bytes = Some(bytes);
        self.bits_per_weight = Some(bytes as f64 * 8.0 / (parameters as f64).max(1.0));
    }

    /// Parameters as people say them: `135M`, `8.0B`.
    pub fn size_label(&self) -> Option<String> {
        let values = self.parameters? as f64;
        let (scaled, letter) = match values {
            _ if values >= 1e12 => (values / 1e12, "T"),
            _ if values >= 1e9 => (values / 1e9, "B"),
            _ if values >= 1e6 => (values / 1e6, "M"),
            _ => (values / 1e3, "K"),
        };
        Some(if scaled < 10.0 {
            format!("{scaled:.1}{letter}")
        } else {
            format!("{scaled:.0}{letter}")
        })
    }
}

#[cfg(test)]
mod tests;
