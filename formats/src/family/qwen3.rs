//! Qwen3: heads of a length of their own, queries and keys normed per head, no biases.
//!
//! Sources: transformers' `modeling_qwen3.py`; llama.cpp's `conversion/qwen.py` and
//! `src/models/qwen3.cpp`.

use serde_json::{Map, Value, json};

use super::{Dims, Family, Keys, Layer, window};
use crate::{Config, Result, gguf::Metadata};

/// The family.
#[derive(Debug)]
pub(super) struct Qwen3;

impl Family for Qwen3 {
    fn architecture(&self) -> &'static str {
        "qwen3"
    }

    fn model_types(&self) -> &'static [&'static str] {
        &["qwen3"]
    }

    fn class(&self) -> &'static str {
        "Qwen3ForCausalLM"
    }

    fn defaults(&self) -> Value {
        json!({"vocab_size": 151_936, "max_position_embeddings": 32768, "rms_norm_eps": 1e-6,
            "num_key_value_heads": 32, "head_dim": 128, "max_window_layers": 28,
            "sliding_window": 4096})
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
        layer.attention(dims, false, dims.attention_bias, dims.attention_bias);
        layer.norm("attn_q_norm", "self_attn.q_norm", dims.head);
        layer.norm("attn_k_norm", "self_attn.k_norm", dims.head);
        layer.norm("ffn_norm", "post_attention_layernorm", dims.embedding);
        layer.gated(dims, false);
    }

    fn config(&self, metadata: &Metadata, dims: &Dims, out: &mut Map<String, Value>) {
        out.insert("hidden_act".into(), json!("silu"));
        out.insert("attention_bias".into(), json!(dims.attention_bias));
        window::switched_json(metadata, dims, out);
    }
}
