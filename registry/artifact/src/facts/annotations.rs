//! Facts as annotations `org.mdl.*`, and back.

use std::{collections::BTreeMap, str::FromStr};

use serde::{Serialize, de::DeserializeOwned};

use super::Facts;
use crate::media;

/// What a key is called in annotations.
fn key(name: &str) -> String {
    format!("{}{name}", media::MDL_PREFIX)
}

impl Facts {
    /// As annotations of a manifest: a title and a licence under the names that OCI gives them, all else under
    /// `org.mdl.`.
    pub fn annotations(&self) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        let mut put = |key: String, value: Option<String>| {
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                all.insert(key, value);
            }
        };
        put(media::TITLE.to_owned(), self.name.clone());
        put(media::LICENSES.to_owned(), self.license.clone());
        put(key("format"), self.format.clone());
        put(key("architecture"), self.architecture.clone());
        put(key("parameters"), self.parameters.map(|it| it.to_string()));
        put(key("tensor-bytes"), self.tensor_bytes.map(|it| it.to_string()));
        put(key("bits-per-weight"), self.bits_per_weight.map(|it| it.to_string()));
        put(key("quantization"), self.quantization.clone());
        put(key("context-length"), self.context_length.map(|it| it.to_string()));
        put(key("layers"), self.layers.map(|it| it.to_string()));
        put(key("embedding-length"), self.embedding_length.map(|it| it.to_string()));
        put(key("vocabulary"), self.vocabulary.map(|it| it.to_string()));
        put(key("tokenizer"), self.tokenizer.clone());
        put(key("pre-tokenizer"), self.pre_tokenizer.clone());
        put(key("chat-template"), self.chat_template.map(|it| it.to_string()));
        put(key("base-models"), list(&self.base_models));
        put(key("languages"), list(&self.languages));
        put(key("types"), list(&self.types));
        put(key("evaluation"), self.evaluation.as_ref().and_then(json));
        all
    }

    /// From annotations; what is not there, or not as it should be, stays unknown.
    pub fn from_annotations(annotations: &BTreeMap<String, String>) -> Self {
        let text = |name: &str| annotations.get(&key(name)).cloned();
        Self {
            name: annotations.get(media::TITLE).cloned(),
            license: annotations.get(media::LICENSES).cloned(),
            format: text("format"),
            architecture: text("architecture"),
            parameters: parsed(text("parameters")),
            tensor_bytes: parsed(text("tensor-bytes")),
            bits_per_weight: parsed(text("bits-per-weight")).filter(|it: &f64| it.is_finite()),
            quantization: text("quantization"),
            context_length: parsed(text("context-length")),
            layers: parsed(text("layers")),
            embedding_length: parsed(text("embedding-length")),
            vocabulary: parsed(text("vocabulary")),
            tokenizer: text("tokenizer"),
            pre_tokenizer: text("pre-tokenizer"),
            chat_template: parsed(text("chat-template")),
            base_models: read(text("base-models")).unwrap_or_default(),
            languages: read(text("languages")).unwrap_or_default(),
            types: read(text("types")).unwrap_or_default(),
            evaluation: read(text("evaluation")),
            ..Self::default()
        }
    }
}

/// A list as JSON; nothing for an empty one.
fn list<T: Serialize>(items: &[T]) -> Option<String> {
    if items.is_empty() { None } else { json(items) }
}

fn json<T: Serialize + ?Sized>(value: &T) -> Option<String> {
    serde_json::to_string(value).ok()
}

fn parsed<T: FromStr>(text: Option<String>) -> Option<T> {
    text?.parse().ok()
}

fn read<T: DeserializeOwned>(text: Option<String>) -> Option<T> {
    serde_json::from_str(&text?).ok()
}
