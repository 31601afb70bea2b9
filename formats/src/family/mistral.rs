//! Mistral: GGUF's llama architecture, with a sliding window in the first version.
//!
//! llama.cpp has no window for that architecture. Ours stands in `llama.attention.sliding_window`,
//! and a note says so. Sources: transformers' `modeling_mistral.py`; llama.cpp's
//! `conversion/llama.py`.

use serde_json::{Map, Value, json};

use super::{Dims, Family, Keys, Layer, llama::Llama, window};
use crate::{Config, Result, gguf::Metadata};

/// The family.
#[derive(Debug)]
pub(super) struct Mistral;

impl Family for Mistral {
    fn architecture(&self) -> &'static str {
        "llama"
    }

    fn model_types(&self) -> &'static [&'static str] {
        &["mistral"]
    }

    fn class(&self) -> &'static str {
        "MistralForCausalLM"
    }

    fn defaults(&self) -> Value {
        json!({"vocab_size": 32000, "max_position_embeddings": 131_072, "rms_norm_eps": 1e-6,
            "num_key_value_heads": 8, "sliding_window": 4096})
    }

    fn claims(&self, metadata: &Metadata) -> bool {
        window::length(metadata).is_some()
    }

    fn keys(
        &self,
        config: &Config,
        dims: &Dims,
        out: &mut Keys<'_>,
        notes: &mut Vec<String>,
    ) -> Result<()> {
        Llama.keys(config, dims, out, notes)?;
        if let Some(window) = config.optional_size("sliding_window")? {
            window::write_ignored(window, &vec![true; dims.layers], dims, out, notes);
        }
        Ok(())
    }

    fn layer(&self, dims: &Dims, layer: &mut Layer<'_>) {
        Llama.layer(&Dims { attention_bias: false, mlp_bias: false, ..dims.clone() }, layer);
    }

    fn config(&self, metadata: &Metadata, _dims: &Dims, out: &mut Map<String, Value>) {
        out.insert("hidden_act".into(), json!("silu"));
        out.insert("sliding_window".into(), json!(window::length(metadata)));
    }
}
