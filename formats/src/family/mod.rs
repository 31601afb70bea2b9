//! Architecture families: one file each, both ways between Hugging Face and GGUF.
//!
//! A family states its names, the keys of its hyper-parameters and the layout of its tensors once;
//! reading a folder and writing one follow from the same list. To add a family: a file like
//! [`qwen3`](self), a line in [`FAMILIES`], a golden folder for the tests.
//!
//! Keys, `A` standing for the architecture (source: llama.cpp's `src/llama-arch.cpp`):
//!
//! | key | type | meaning |
//! | --- | --- | --- |
//! | `A.block_count`, `.context_length`, `.embedding_length`, `.feed_forward_length` | u32 | |
//! | `A.attention.head_count`, `.head_count_kv` | u32 | query heads, key and value heads |
//! | `A.attention.key_length`, `.value_length` | u32 | head length; absent: embedding / heads |
//! | `A.attention.layer_norm_rms_epsilon` | f32 | |
//! | `A.vocab_size` | u32 | absent: length of `tokenizer.ggml.tokens` |
//! | `A.rope.dimension_count` | u32 | values of a head that are rotated; absent: all |
//! | `A.rope.freq_base` | f32 | absent: 10000 |
//! | `A.rope.freq_base_swa` | f32 | base in layers with a window; gemma3, absent: 10000 |
//! | `A.rope.scaling.type` | string | `linear`, `yarn`, `longrope` (phi3); absent: none |
//! | `A.rope.scaling.factor` | f32 | positions are divided by it (gemma3: in full layers only) |
//! | `A.rope.scaling.original_context_length` | u32 | yarn, longrope: the trained context |
//! | `A.rope.scaling.attn_factor` | f32 | multiplies rotated q and k; for yarn besides 0.1 ln factor + 1 |
//! | `A.rope.scaling.yarn_beta_fast`, `.yarn_beta_slow` | f32 | absent: 32, 1 |
//! | `A.attention.sliding_window` | u32 | a query sees this many tokens, itself included; 0 or absent: all |
//! | `A.attention.sliding_window_pattern` | bool[] or u32 | which layers have the window; see below |
//! | `gemma3.final_logit_softcapping` | f32 | absent or 0: none |
//!
//! A pattern that is a number n leaves every n-th layer full (`il % n == n − 1`). Absent: 6 for
//! gemma3, else every layer has the window.
//!
//! Tensors of divisors: `rope_freqs.weight` (Llama 3.1), `rope_factors_long.weight` and
//! `rope_factors_short.weight` (phi3): each frequency is divided by its number.
//!
//! Keys that llama.cpp knows elsewhere or not at all, and ignores here. A model that has one computes
//! otherwise there, so a note says so:
//!
//! | key | type | meaning |
//! | --- | --- | --- |
//! | `A.attention.sliding_window` for llama, qwen2, qwen3, phi3, smollm3 | u32 | as above |
//! | `A.attention.rope_pattern` (smollm3) | bool[] | layers that rotate; absent: all but every fourth |
//! | `A.attention.scale` (gemma3) | f32 | instead of 1 / √head (at 62 layers 1 / √(embedding / heads)) |
//! | `A.rope.scaling.yarn_truncate` | bool | false: YaRN's band is not rounded to whole dimensions |

mod dims;
mod gemma3;
mod keys;
mod llama;
mod mistral;
mod olmo2;
mod phi3;
mod qwen2;
mod qwen3;
mod rope;
mod smollm3;
mod spec;
mod window;

use std::borrow::Cow;

use serde_json::{Map, Value};

pub use dims::Dims;
pub use keys::Keys;
pub use rope::{Rope, Scaling};
pub(crate) use rope::{fit_llama3, shortest, yarn_attention};
pub use spec::{Layer, Need, Spec, Transform};

use crate::{Config, Error, Result, gguf::Metadata};

/// Every family. Where two share a GGUF architecture the first that claims the metadata has it.
pub const FAMILIES: &[&dyn Family] = &[
    &mistral::Mistral,
    &llama::Llama,
    &qwen2::Qwen2,
    &qwen3::Qwen3,
    &gemma3::Gemma3,
    &phi3::Phi3,
    &smollm3::SmolLm3,
    &olmo2::Olmo2,
];

/// What a tensor of a Hugging Face folder is to the text model.
#[derive(Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// A tensor of it, under its name without a wrapper's prefix.
    Text(Cow<'a, str>),
    /// A tensor of another part (vision …), or one that readers compute for themselves.
    Other,
}

/// One architecture family.
pub trait Family: Sync {
    /// `general.architecture`.
    fn architecture(&self) -> &'static str;

    /// The `model_type`s that it reads; the first is the one it writes.
    fn model_types(&self) -> &'static [&'static str];

    /// The transformers class for text generation.
    fn class(&self) -> &'static str;

    /// What transformers assumes for keys that a `config.json` leaves out.
    fn defaults(&self) -> Value;

    /// Whether GGUF metadata of this architecture are this family's.
    fn claims(&self, _metadata: &Metadata) -> bool {
        true
    }

    /// Sorts a folder's tensor name.
    fn part<'a>(&self, name: &'a str) -> Part<'a> {
        // Buffers that old checkpoints saved along.
        if name.ends_with(".rotary_emb.inv_freq") {
            return Part::Other;
        }
        Part::Text(Cow::Borrowed(name))
    }

    /// Keys beyond the common ones, and notes about what llama.cpp does differently.
    fn keys(
        &self,
        config: &Config,
        dims: &Dims,
        out: &mut Keys<'_>,
        notes: &mut Vec<String>,
    ) -> Result<()>;

    /// Lists one layer's tensors.
    fn layer(&self, dims: &Dims, layer: &mut Layer<'_>);

    /// Whether GGUF readers want an `output.weight` even where it is the embedding.
    fn needs_output(&self) -> bool {
        false
    }

    /// Adds this family's own keys to a `config.json` that has the common ones.
    fn config(&self, metadata: &Metadata, dims: &Dims, out: &mut Map<String, Value>);

    /// All tensors, in the order in which they are written.
    fn tensors(&self, dims: &Dims) -> Vec<Spec> {
        let mut all = vec![Spec::new(
            "token_embd.weight",
            "model.embed_tokens.weight",
            &[dims.embedding, dims.vocabulary],
        )];
        for index in 0..dims.layers {
            self.layer(dims, &mut Layer::new(index, &mut all));
        }
        all.push(Spec::new("output_norm.weight", "model.norm.weight", &[dims.embedding]));
        if !dims.tied {
            all.push(Spec::new(
                "output.weight",
                "lm_head.weight",
                &[dims.embedding, dims.vocabulary],
            ));
        } else if self.needs_output() {
            all.push(Spec::new(
                "output.weight",
                "model.embed_tokens.weight",
                &[dims.embedding, dims.vocabulary],
            ));
        }
        all
    }
}

impl std::fmt::Debug for dyn Family {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.model_types().first().copied().unwrap_or("family"))
    }
}

/// The family of a `config.json`.
pub fn of_config(config: &Config) -> Result<&'static dyn Family> {
    let wanted = config.model_type()?;
    let found = FAMILIES.iter().find(|family| family.model_types().contains(&wanted));
    found.copied().ok_or_else(|| {
        let known: Vec<_> = FAMILIES.iter().flat_map(|family| family.model_types()).collect();
        let known: Vec<_> = known.into_iter().copied().collect();
        Error::unsupported(
            config.path(),
            format!("the model type {wanted:?} is not known"),
            format!("known are {}", known.join(", ")),
        )
    })
}

/// The family of GGUF metadata, or the names of those that there are.
pub fn of_metadata(metadata: &Metadata) -> Result<&'static dyn Family, String> {
    let architecture = metadata.str("general.architecture").unwrap_or("(none)");
    let found = FAMILIES
        .iter()
        .find(|family| family.architecture() == architecture && family.claims(metadata));
    found.copied().ok_or_else(|| {
        let mut known: Vec<_> = FAMILIES.iter().map(|family| family.architecture()).collect();
        known.dedup();
        format!("the architecture {architecture:?} is not known; known are {}", known.join(", "))
    })
}

/// What a configuration says about the text model, in GGUF terms.
#[derive(Debug)]
pub struct Description {
    /// The family.
    pub family: &'static dyn Family,
    /// Sizes.
    pub dims: Dims,
    /// Rotary positions.
    pub rope: Rope,
    /// The architecture's keys.
    pub metadata: Metadata,
    /// Where GGUF readers are known to compute otherwise.
    pub notes: Vec<String>,
}

impl Description {
    /// Reads the configuration, with the family's defaults where it is silent.
    pub fn read(config: Config, limits: &crate::Limits) -> Result<Self> {
        let family = of_config(&config)?;
        let config = config.with_defaults(&family.defaults());
        let dims = Dims::from_config(&config, limits)?;
        let rope = Rope::read(&config, dims.head)?;
        let mut metadata = Metadata::new();
        let mut notes = Vec::new();
        let mut out = Keys::new(family.architecture(), &mut metadata);
        dims.write(&config, &mut out)?;
        rope.scaling.write(&mut out, &mut notes);
        out.f32("rope.freq_base", rope.theta);
        if let Some(theta) = rope.local_theta {
            out.f32("rope.freq_base_swa", theta);
        }
        out.f32("attention.layer_norm_rms_epsilon", config.number("rms_norm_eps")?);
        if config.names("head_dim") && config.get("head_dim").is_some() {
            out.u32("attention.key_length", dims.head);
            out.u32("attention.value_length", dims.head);
        }
        family.keys(&config, &dims, &mut out, &mut notes)?;
        Ok(Self { family, dims, rope, metadata, notes })
    }
}

#[cfg(test)]
mod tests;
