//! Phi-3, Phi-3.5 and Phi-4: fused matrices, kept fused; rotation of a part of the head; long rope.
//!
//! Sources: transformers' `modeling_phi3.py`; llama.cpp's `conversion/phi.py` and
//! `src/models/phi3.cpp`.

use serde_json::{Map, Value, json};

use super::{Dims, Family, Keys, Layer, Rope, Transform, window};
use crate::{Config, Result, gguf::Metadata};

/// The family.
#[derive(Debug)]
pub(super) struct Phi3;

impl Family for Phi3 {
    fn architecture(&self) -> &'static str {
        "phi3"
    }

    fn model_types(&self) -> &'static [&'static str] {
        &["phi3"]
    }

    fn class(&self) -> &'static str {
        "Phi3ForCausalLM"
    }

    fn defaults(&self) -> Value {
        json!({"vocab_size": 32064, "max_position_embeddings": 4096, "rms_norm_eps": 1e-5,
            "original_max_position_embeddings": 4096})
    }

    fn keys(
        &self,
        config: &Config,
        dims: &Dims,
        out: &mut Keys<'_>,
        notes: &mut Vec<String>,
    ) -> Result<()> {
        let rope = Rope::read(config, dims.head)?;
        let original = config.size("original_max_position_embeddings")?;
        // llama.cpp chooses the long factors by this key, and its converter writes it always.
        out.u32("rope.scaling.original_context_length", original);
        out.u32("rope.dimension_count", rope.dimensions(dims.head));
        // 0 stands for none; llama.cpp tells Phi-4 from Phi-3 by it.
        let window = config.optional_size("sliding_window")?.unwrap_or(0);
        out.u32("attention.sliding_window", window);
        if window > 0 {
            window::note(window, dims, notes);
        }
        Ok(())
    }

    fn layer(&self, dims: &Dims, layer: &mut Layer<'_>) {
        let (width, inner) = (dims.embedding, dims.feed_forward);
        let fused = dims.queries() + 2 * dims.keys();
        let none = Transform::None;
        layer.norm("attn_norm", "input_layernorm", width);
        layer.linear("attn_qkv", "self_attn.qkv_proj", [width, fused], false, none);
        layer.linear("attn_output", "self_attn.o_proj", [dims.queries(), width], false, none);
        layer.norm("ffn_norm", "post_attention_layernorm", width);
        layer.linear("ffn_up", "mlp.gate_up_proj", [width, 2 * inner], false, none);
        layer.linear("ffn_down", "mlp.down_proj", [inner, width], false, none);
    }

    fn config(&self, metadata: &Metadata, dims: &Dims, out: &mut Map<String, Value>) {
        let original = metadata.u64("phi3.rope.scaling.original_context_length");
        out.insert("hidden_act".into(), json!("silu"));
        out.insert("sliding_window".into(), json!(window::length(metadata)));
        out.insert(
            "original_max_position_embeddings".into(),
            json!(original.unwrap_or(dims.context as u64)),
        );
        out.insert("attention_bias".into(), json!(false));
    }
}
