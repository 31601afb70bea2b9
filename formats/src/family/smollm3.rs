//! SmolLM3: Llama's layers, some of which do not rotate.
//!
//! llama.cpp leaves out every fourth layer, whatever the file says; a model with others gets
//! `smollm3.attention.rope_pattern` and a note. Sources: transformers' `modeling_smollm3.py`;
//! llama.cpp's `conversion/llama.py` and `src/models/smollm3.cpp`.

use serde_json::{Map, Value, json};

use super::{Dims, Family, Keys, Layer, llama::Llama, window};
use crate::{
    Config, Error, Result,
    gguf::{Array, Metadata, Value as Gguf},
};

/// The family.
#[derive(Debug)]
pub(super) struct SmolLm3;

/// llama.cpp's fixed interval.
fn usual(layers: usize) -> Vec<bool> {
    (0..layers).map(|layer| (layer + 1) % 4 != 0).collect()
}

/// Which layers rotate: `no_rope_layers` (1 for those that do), else every `no_rope_layer_interval`th
/// does not.
fn rotated(config: &Config, dims: &Dims) -> Result<Vec<bool>> {
    let error = |key, problem: String| Error::malformed(config.path(), key, problem);
    let Some(list) = config.list("no_rope_layers")? else {
        let interval = config.size("no_rope_layer_interval")?;
        return Ok((0..dims.layers).map(|layer| (layer + 1) % interval != 0).collect());
    };
    if list.len() != dims.layers {
        let problem = format!("lists {} layers of {}", list.len(), dims.layers);
        return Err(error("no_rope_layers", problem));
    }
    let flag = |value: &Value| match value.as_u64() {
        Some(flag @ 0..=1) => Ok(flag == 1),
        _ => Err(error("no_rope_layers", format!("{value} is neither 0 nor 1"))),
    };
    list.iter().map(flag).collect()
}

impl Family for SmolLm3 {
    fn architecture(&self) -> &'static str {
        "smollm3"
    }

    fn model_types(&self) -> &'static [&'static str] {
        &["smollm3"]
    }

    fn class(&self) -> &'static str {
        "SmolLM3ForCausalLM"
    }

    fn defaults(&self) -> Value {
        json!({"vocab_size": 128_256, "max_position_embeddings": 32768, "rms_norm_eps": 1e-6,
            "num_key_value_heads": 4, "rope_theta": 2_000_000.0, "tie_word_embeddings": true,
            "no_rope_layer_interval": 4})
    }

    fn keys(
        &self,
        config: &Config,
        dims: &Dims,
        out: &mut Keys<'_>,
        notes: &mut Vec<String>,
    ) -> Result<()> {
        Llama.keys(config, dims, out, notes)?;
        let rotated = rotated(config, dims)?;
        if rotated != usual(dims.layers) {
            out.bools("attention.rope_pattern", rotated);
            notes.push(
                "The layers without rotary positions are not every fourth in this model; llama.cpp \
                 takes every fourth, so its results are wrong."
                    .into(),
            );
        }
        if dims.attention_bias || dims.mlp_bias {
            notes.push("llama.cpp does not load this architecture with biases.".into());
        }
        window::switched(config, dims, out, notes)
    }

    fn layer(&self, dims: &Dims, layer: &mut Layer<'_>) {
        Llama.layer(dims, layer);
    }

    fn config(&self, metadata: &Metadata, dims: &Dims, out: &mut Map<String, Value>) {
        let rotated = match metadata.get("smollm3.attention.rope_pattern") {
            Some(Gguf::Array(Array::Bool(flags))) if flags.len() == dims.layers => flags.clone(),
            _ => usual(dims.layers),
        };
        let flags: Vec<u8> = rotated.into_iter().map(u8::from).collect();
        out.insert("hidden_act".into(), json!("silu"));
        out.insert("attention_bias".into(), json!(dims.attention_bias));
        out.insert("mlp_bias".into(), json!(dims.mlp_bias));
        out.insert("no_rope_layers".into(), json!(flags));
        out.insert("no_rope_layer_interval".into(), json!(4));
        window::switched_json(metadata, dims, out);
    }
}
