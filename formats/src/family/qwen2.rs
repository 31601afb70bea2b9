//! Qwen2 and Qwen2.5: biases on query, key and value; rows in transformers' order.
//!
//! Sources: transformers' `modeling_qwen2.py`; llama.cpp's `conversion/qwen.py` and
//! `src/models/qwen2.cpp`.

use serde_json::{Map, Value, json};

use super::{Dims, Family, Keys, Layer, window};
use crate::{Config, Result, gguf::Metadata};

/// The family.
#[derive(Debug)]
pub(super) struct Qwen2;

impl Family for Qwen2 {
    fn architecture(&self) -> &'static str {
        "qwen2"
    }

    fn model_types(&self) -> &'static [&'static str] {
        &["qwen2"]
    }

    fn class(&self) -> &'static str {
        "Qwen2ForCausalLM"
    }

    fn defaults(&self) -> Value {
        json!({"vocab_size": 151_936, "max_position_embeddings": 32768, "rms_norm_eps": 1e-6,
            "num_key_value_heads": 32, "max_window_layers": 28, "sliding_window": 4096})
    }

    fn keys(
        &self,
        config: &Config,
        dims: &Dims,
        out: &mut Keys<'_>,
        notes: &mut Vec<String>,
    ) -> Result<()> {
        window::switched(config, dims, out, notes)
    }

    fn layer(&self, dims: &Dims, layer: &mut Layer<'_>) {
        layer.norm("attn_norm", "input_layernorm", dims.embedding);
        layer.attention(dims, false, true, false);
        layer.norm("ffn_norm", "post_attention_layernorm", dims.embedding);
        layer.gated(dims, false);
    }

    fn config(&self, metadata: &Metadata, dims: &Dims, out: &mut Map<String, Value>) {
        out.insert("hidden_act".into(), json!("silu"));
        window::switched_json(metadata, dims, out);
    }
}
