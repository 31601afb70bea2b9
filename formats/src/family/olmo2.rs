//! OLMo 2: norms after attention and feed-forward instead of before, queries and keys normed whole.
//!
//! Sources: transformers' `modeling_olmo2.py`; llama.cpp's `conversion/olmo.py` and
//! `src/models/olmo2.cpp`.

use serde_json::{Map, Value, json};

use super::{Dims, Family, Keys, Layer};
use crate::{Config, Result, gguf::Metadata};

/// The family.
#[derive(Debug)]
pub(super) struct Olmo2;

impl Family for Olmo2 {
    fn architecture(&self) -> &'static str {
        "olmo2"
    }

    fn model_types(&self) -> &'static [&'static str] {
        &["olmo2"]
    }

    fn class(&self) -> &'static str {
        "Olmo2ForCausalLM"
    }

    fn defaults(&self) -> Value {
        json!({"vocab_size": 50304, "max_position_embeddings": 2048, "rms_norm_eps": 1e-5})
    }

    fn needs_output(&self) -> bool {
        true
    }

    fn keys(
        &self,
        _config: &Config,
        dims: &Dims,
        _out: &mut Keys<'_>,
        notes: &mut Vec<String>,
    ) -> Result<()> {
        if dims.attention_bias {
            notes.push("llama.cpp does not load this architecture with biases.".into());
        }
        Ok(())
    }

    fn layer(&self, dims: &Dims, layer: &mut Layer<'_>) {
        layer.attention(dims, false, dims.attention_bias, dims.attention_bias);
        layer.norm("attn_q_norm", "self_attn.q_norm", dims.queries());
        layer.norm("attn_k_norm", "self_attn.k_norm", dims.keys());
        layer.norm("post_attention_norm", "post_attention_layernorm", dims.embedding);
        layer.gated(dims, false);
        layer.norm("post_ffw_norm", "post_feedforward_layernorm", dims.embedding);
    }

    fn config(&self, _metadata: &Metadata, dims: &Dims, out: &mut Map<String, Value>) {
        out.insert("hidden_act".into(), json!("silu"));
        out.insert("attention_bias".into(), json!(dims.attention_bias));
    }
}
