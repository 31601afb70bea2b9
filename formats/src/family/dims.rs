//! A text model's sizes, from `config.json` or from GGUF keys.

use serde_json::{Map, Value, json};

use super::Keys;
use crate::{Config, Error, Limits, Result, gguf::Metadata};

/// Sizes that the tensors' shapes follow from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dims {
    /// Transformer layers.
    pub layers: usize,
    /// Values of a token's vector between the layers.
    pub embedding: usize,
    /// Values inside a feed-forward network.
    pub feed_forward: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// Values of a head.
    pub head: usize,
    /// Tokens: rows of the embedding.
    pub vocabulary: usize,
    /// Longest context.
    pub context: usize,
    /// Whether the output matrix is the embedding.
    pub tied: bool,
    /// Whether the attention's matrices have biases.
    pub attention_bias: bool,
    /// Whether the feed-forward network's matrices have biases.
    pub mlp_bias: bool,
}

impl Dims {
    /// Values of all query heads.
    pub fn queries(&self) -> usize {
        self.heads * self.head
    }

    /// Values of all key heads, or of all value heads.
    pub fn keys(&self) -> usize {
        self.kv_heads * self.head
    }

    /// From `config.json`, checked to fit together.
    pub fn from_config(config: &Config, limits: &Limits) -> Result<Self> {
        let embedding = config.size("hidden_size")?;
        let heads = config.size("num_attention_heads")?;
        let head = config.optional_size("head_dim")?;
        let dims = Self {
            layers: config.size("num_hidden_layers")?,
            embedding,
            feed_forward: config.size("intermediate_size")?,
            heads,
            kv_heads: config.optional_size("num_key_value_heads")?.unwrap_or(heads),
            head: head.unwrap_or(embedding / heads),
            vocabulary: config.size("vocab_size")?,
            context: config.size("max_position_embeddings")?,
            tied: config.flag("tie_word_embeddings", false)?,
            attention_bias: config.flag("attention_bias", false)?,
            mlp_bias: config.flag("mlp_bias", false)?,
        };
        if head.is_none() && embedding % heads != 0 {
            let problem = format!("{embedding} is not a multiple of the {heads} attention heads");
            return Err(Error::malformed(config.path(), "hidden_size", problem));
        }
        dims.check(limits)
            .map_err(|(key, problem)| Error::malformed(config.path(), key, problem))?;
        Ok(dims)
    }

    /// From GGUF keys. `vocabulary`, `tied` and the biases show in the tensors.
    pub fn from_metadata(metadata: &Metadata, limits: &Limits) -> Result<Self, (String, String)> {
        let architecture = metadata.str("general.architecture").unwrap_or_default();
        let optional = |key: &str| -> Result<Option<usize>, (String, String)> {
            let key = format!("{architecture}.{key}");
            if metadata.get(&key).is_none() {
                return Ok(None);
            }
            match metadata.u64(&key).map(u32::try_from) {
                Some(Ok(size)) if size > 0 => Ok(Some(size as usize)),
                _ => Err((key, format!("is not an integer from 1 to {}", u32::MAX))),
            }
        };
        let size = |key: &str| {
            optional(key)?.ok_or_else(|| (format!("{architecture}.{key}"), "is missing".to_owned()))
        };
        let embedding = size("embedding_length")?;
        let heads = size("attention.head_count")?;
        let dims = Self {
            layers: size("block_count")?,
            embedding,
            feed_forward: size("feed_forward_length")?,
            heads,
            kv_heads: optional("attention.head_count_kv")?.unwrap_or(heads),
            head: optional("attention.key_length")?.unwrap_or(embedding / heads),
            vocabulary: 0,
            context: size("context_length")?,
            tied: false,
            attention_bias: false,
            mlp_bias: false,
        };
        dims.check(limits).map_err(|(key, problem)| (key.to_owned(), problem))?;
        Ok(dims)
    }

    fn check(&self, limits: &Limits) -> Result<(), (&'static str, String)> {
        if self.layers as u64 > limits.layers {
            let problem = format!("{} is above the limit of {}", self.layers, limits.layers);
            return Err(("num_hidden_layers", problem));
        }
        if !self.heads.is_multiple_of(self.kv_heads) {
            let problem =
                format!("{} does not divide the {} query heads", self.kv_heads, self.heads);
            return Err(("num_key_value_heads", problem));
        }
        if self.head == 0 || !self.head.is_multiple_of(2) {
            return Err(("head_dim", format!("{} is not a positive even number", self.head)));
        }
        // Each factor fits 32 bits, so these products fit 64; shapes beyond that are nonsense.
        if self.heads as u64 * self.head as u64 > u64::from(u32::MAX) {
            return Err(("num_attention_heads", "heads of that length are too many".into()));
        }
        Ok(())
    }

    /// Writes the keys that every family has.
    pub(super) fn write(&self, config: &Config, out: &mut Keys<'_>) -> Result<()> {
        out.u32("block_count", self.layers);
        out.u32("context_length", self.context);
        out.u32("embedding_length", self.embedding);
        out.u32("feed_forward_length", self.feed_forward);
        out.u32("attention.head_count", self.heads);
        out.u32("attention.head_count_kv", self.kv_heads);
        if let Some(kind) = config.str("hidden_act")?
            && !matches!(kind, "silu" | "swish")
        {
            return Err(Error::unsupported(
                config.path(),
                format!("the activation {kind:?} is not this family's (silu)"),
                "",
            ));
        }
        Ok(())
    }

    /// The same sizes as `config.json` names them.
    pub(crate) fn to_json(&self) -> Map<String, Value> {
        let value = json!({
            "hidden_size": self.embedding,
            "intermediate_size": self.feed_forward,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads,
            "head_dim": self.head,
            "vocab_size": self.vocabulary,
            "max_position_embeddings": self.context,
            "tie_word_embeddings": self.tied,
        });
        value.as_object().cloned().unwrap_or_default()
    }
}
