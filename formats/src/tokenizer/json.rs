//! `tokenizer.json`, as far as GGUF keys need it. Read without building a tree of its vocabulary.

use std::{fmt, path::Path};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_json::Value;

use crate::{Error, Limits, Result, json};

/// The file.
#[derive(Debug, Deserialize)]
pub(crate) struct TokenizerJson {
    #[serde(default)]
    pub(crate) added_tokens: Vec<AddedToken>,
    #[serde(default)]
    pub(crate) normalizer: Value,
    #[serde(default)]
    pub(crate) pre_tokenizer: Value,
    #[serde(default)]
    pub(crate) post_processor: Value,
    #[serde(default)]
    pub(crate) decoder: Value,
    pub(crate) model: Model,
}

/// A token that is found in text before anything else is done to it.
#[expect(
    clippy::struct_excessive_bools,
    reason = "the flags are the format's own, and independent"
)]
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct AddedToken {
    pub(crate) id: u32,
    pub(crate) content: String,
    #[serde(default)]
    pub(crate) special: bool,
    #[serde(default)]
    pub(crate) lstrip: bool,
    #[serde(default)]
    pub(crate) rstrip: bool,
    #[serde(default)]
    pub(crate) single_word: bool,
    #[serde(default)]
    pub(crate) normalized: bool,
}

/// Vocabulary and merges.
#[derive(Debug, Deserialize)]
pub(crate) struct Model {
    #[serde(default, rename = "type")]
    pub(crate) kind: Option<String>,
    pub(crate) vocab: Vocabulary,
    #[serde(default)]
    pub(crate) merges: Vec<Merge>,
    #[serde(default)]
    pub(crate) unk_token: Option<String>,
    #[serde(default)]
    pub(crate) byte_fallback: bool,
    #[serde(default)]
    pub(crate) ignore_merges: Option<bool>,
    #[serde(default)]
    pub(crate) continuing_subword_prefix: Option<String>,
    #[serde(default)]
    pub(crate) end_of_word_suffix: Option<String>,
}

/// Tokens with their ids, in file order. A list with scores (unigram) gives nothing.
#[derive(Debug)]
pub(crate) struct Vocabulary(pub(crate) Vec<(String, u32)>);

impl<'de> Deserialize<'de> for Vocabulary {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Tokens;
        impl<'de> Visitor<'de> for Tokens {
            type Value = Vocabulary;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("tokens with their ids")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vocabulary, A::Error> {
                let mut all = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    all.push(entry);
                }
                Ok(Vocabulary(all))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vocabulary, A::Error> {
                while seq.next_element::<serde::de::IgnoredAny>()?.is_some() {}
                Ok(Vocabulary(Vec::new()))
            }
        }
        deserializer.deserialize_any(Tokens)
    }
}

/// A merge, as older and newer files write it.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Merge {
    Text(String),
    Pair(String, String),
}

impl Merge {
    /// Its two parts. Text has one space between them.
    pub(crate) fn parts(&self) -> Option<(&str, &str)> {
        match self {
            Self::Text(text) => text.split_once(' '),
            Self::Pair(left, right) => Some((left, right)),
        }
    }
}

impl TokenizerJson {
    /// Reads the file; its size, depth and number of tokens are bounded.
    pub(crate) fn read(path: &Path, limits: &Limits) -> Result<Self> {
        let text = json::read_text(path, limits)?;
        json::check_depth(path, &text, limits.depth)?;
        let this: Self = serde_json::from_str(&text).map_err(|error| {
            let place = format!("line {} column {}", error.line(), error.column());
            Error::malformed(path, place, format!("is not a tokenizer.json: {error}"))
        })?;
        let tokens = this.model.vocab.0.len() + this.added_tokens.len();
        if tokens as u64 > limits.array_len || this.model.merges.len() as u64 > limits.array_len {
            let problem =
                format!("has more tokens or merges than the limit of {}", limits.array_len);
            return Err(Error::malformed(path, "model", problem));
        }
        Ok(this)
    }

    /// Whether words are bytes in GPT-2's alphabet, as opposed to text with spaces as ▁.
    pub(crate) fn is_byte_level(&self) -> bool {
        let decoders = self.decoder.get("decoders").and_then(Value::as_array);
        let level = |value: &Value| value.get("type").and_then(Value::as_str) == Some("ByteLevel");
        level(&self.decoder) || decoders.is_some_and(|decoders| decoders.iter().any(level))
    }
}
