//! Llama 1 to 3.3 and what shares its architecture: SmolLM 1 and 2, TinyLlama and others.
//!
//! Sources: transformers' `modeling_llama.py`; llama.cpp's `conversion/llama.py` and
//! `src/models/llama.cpp`.

use serde_json::{Map, Value, json};

use super::{Dims, Family, Keys, Layer};
use crate::{Config, Result, gguf::Metadata};

/// The family.
#[derive(Debug)]
pub(super) struct Llama;

impl Family for Llama {
    fn architecture(&self) -> &'static str {
        "llama"
    }

    fn model_types(&self) -> &'static [&'static str] {
        &["llama"]
    }

    fn class(&self) -> &'static str {
        "LlamaForCausalLM"
    }

    fn defaults(&self) -> Value {
        json!({"vocab_size": 32000, "max_position_embeddings": 2048, "rms_norm_eps": 1e-6})
    }

    fn keys(
        &self,
        _config: &Config,
        dims: &Dims,
        out: &mut Keys<'_>,
        _notes: &mut Vec<String>,
    ) -> Result<()> {
        out.u32("vocab_size", dims.vocabulary);
        out.u32("rope.dimension_count", dims.head);
        Ok(())
    }

    fn layer(&self, dims: &Dims, layer: &mut Layer<'_>) {
        layer.norm("attn_norm", "input_layernorm", dims.embedding);
        layer.attention(dims, true, dims.attention_bias, dims.attention_bias);
        layer.norm("ffn_norm", "post_attention_layernorm", dims.embedding);
        layer.gated(dims, dims.mlp_bias);
    }

    fn config(&self, _metadata: &Metadata, dims: &Dims, out: &mut Map<String, Value>) {
        out.insert("hidden_act".into(), json!("silu"));
        out.insert("attention_bias".into(), json!(dims.attention_bias));
        out.insert("mlp_bias".into(), json!(dims.mlp_bias));
        out.insert("pretraining_tp".into(), json!(1));
    }
}
