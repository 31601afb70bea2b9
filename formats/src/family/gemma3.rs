//! Gemma 3, its text model: bare, or inside a folder with a vision part, which is left out.
//!
//! Norm weights are stored as their distance from 1; GGUF has the weights themselves. Sources:
//! transformers' `modeling_gemma3.py`; llama.cpp's `conversion/gemma.py` and
//! `src/models/gemma3.cpp`.

use std::borrow::Cow;

use serde_json::{Map, Value, json};

use super::{Dims, Family, Keys, Layer, Need, Part, Spec, Transform, window};
use crate::{Config, Error, Result, gguf::Metadata};

/// The family.
#[derive(Debug)]
pub(super) struct Gemma3;

/// A folder's names for the text model inside a model with vision, old and new, and what they stand
/// for.
const WRAPPERS: &[(&str, &str)] = &[
    ("language_model.model.", "model."),
    ("model.language_model.", "model."),
    ("language_model.lm_head.", "lm_head."),
];

/// Beginnings of the names of the other parts.
const OTHERS: &[&str] = &[
    "vision_tower.",
    "model.vision_tower.",
    "multi_modal_projector.",
    "model.multi_modal_projector.",
];

/// Which layers have the window: as listed, else all but every n-th.
fn layers(config: &Config, dims: &Dims) -> Result<Vec<bool>> {
    if let Some(listed) = window::listed(config, dims)? {
        return Ok(listed);
    }
    let every = match config.optional_size("sliding_window_pattern")? {
        Some(every) => every,
        None => config.optional_size("_sliding_window_pattern")?.unwrap_or(6),
    };
    Ok((0..dims.layers).map(|layer| (layer + 1) % every != 0).collect())
}

/// What llama.cpp multiplies the scores with.
fn usual_scale(dims: &Dims) -> f64 {
    let length = if dims.layers == 62 { dims.embedding / dims.heads } else { dims.head };
    1.0 / (length as f64).sqrt()
}

impl Family for Gemma3 {
    fn architecture(&self) -> &'static str {
        "gemma3"
    }

    fn model_types(&self) -> &'static [&'static str] {
        &["gemma3_text", "gemma3"]
    }

    fn class(&self) -> &'static str {
        "Gemma3ForCausalLM"
    }

    fn defaults(&self) -> Value {
        json!({"vocab_size": 262_208, "hidden_size": 2304, "intermediate_size": 9216,
            "num_hidden_layers": 26, "num_attention_heads": 8, "num_key_value_heads": 4,
            "head_dim": 256, "max_position_embeddings": 131_072, "rms_norm_eps": 1e-6,
            "tie_word_embeddings": true, "rope_theta": 1_000_000.0,
            "rope_local_base_freq": 10000.0, "query_pre_attn_scalar": 256,
            "sliding_window": 4096, "hidden_activation": "gelu_pytorch_tanh"})
    }

    fn part<'a>(&self, name: &'a str) -> Part<'a> {
        if OTHERS.iter().any(|other| name.starts_with(other)) {
            return Part::Other;
        }
        let found = WRAPPERS.iter().find_map(|(prefix, plain)| {
            name.strip_prefix(prefix).map(|rest| format!("{plain}{rest}"))
        });
        Part::Text(found.map_or(Cow::Borrowed(name), Cow::Owned))
    }

    fn keys(
        &self,
        config: &Config,
        dims: &Dims,
        out: &mut Keys<'_>,
        notes: &mut Vec<String>,
    ) -> Result<()> {
        let refuse = |problem: String| Err(Error::unsupported(config.path(), problem, ""));
        if let Some(kind) = config.str("hidden_activation")?
            && kind != "gelu_pytorch_tanh"
        {
            return refuse(format!("the activation {kind:?} is not gemma3's (gelu_pytorch_tanh)"));
        }
        if config.f64("attn_logit_softcapping")?.is_some() {
            return refuse("attn_logit_softcapping is not part of gemma3".into());
        }
        if config.flag("use_bidirectional_attention", false)? {
            return refuse("use_bidirectional_attention is for embedding models".into());
        }
        if let Some(cap) = config.f64("final_logit_softcapping")? {
            out.f32("final_logit_softcapping", cap);
        }
        let layers = layers(config, dims)?;
        if layers.contains(&true) {
            let window = config.size("sliding_window")?;
            out.u32("attention.sliding_window", window);
            let usual = (0..dims.layers).map(|layer| (layer + 1) % 6 != 0);
            if !layers.iter().copied().eq(usual) {
                out.bools("attention.sliding_window_pattern", layers);
            }
        }
        let scale = 1.0 / config.number("query_pre_attn_scalar")?.sqrt();
        if !scale.is_finite() {
            return Err(Error::malformed(config.path(), "query_pre_attn_scalar", "is not above 0"));
        }
        if (scale - usual_scale(dims)).abs() > 1e-6 * scale {
            out.f32("attention.scale", scale);
            notes.push(format!(
                "Attention scores are multiplied with {scale:.6} in this model; llama.cpp takes \
                 {:.6} from its sizes, so its results are wrong.",
                usual_scale(dims)
            ));
        }
        Ok(())
    }

    fn layer(&self, dims: &Dims, layer: &mut Layer<'_>) {
        let width = dims.embedding;
        let norm = |layer: &mut Layer<'_>, gguf: &str, hf: &str, length| {
            layer.norm(gguf, hf, length).transform = Transform::PlusOne;
        };
        norm(layer, "attn_norm", "input_layernorm", width);
        layer.attention(dims, false, dims.attention_bias, dims.attention_bias);
        norm(layer, "attn_q_norm", "self_attn.q_norm", dims.head);
        norm(layer, "attn_k_norm", "self_attn.k_norm", dims.head);
        norm(layer, "post_attention_norm", "post_attention_layernorm", width);
        norm(layer, "ffn_norm", "pre_feedforward_layernorm", width);
        layer.gated(dims, false);
        norm(layer, "post_ffw_norm", "post_feedforward_layernorm", width);
    }

    fn tensors(&self, dims: &Dims) -> Vec<Spec> {
        let tokens = [dims.embedding, dims.vocabulary];
        let mut all = vec![Spec::new("token_embd.weight", "model.embed_tokens.weight", &tokens)];
        for index in 0..dims.layers {
            self.layer(dims, &mut Layer::new(index, &mut all));
        }
        let mut norm = Spec::new("output_norm.weight", "model.norm.weight", &[dims.embedding]);
        norm.transform = Transform::PlusOne;
        all.push(norm);
        if !dims.tied {
            let mut output = Spec::new("output.weight", "lm_head.weight", &tokens);
            output.need = Need::Required;
            all.push(output);
        }
        all
    }

    fn config(&self, metadata: &Metadata, dims: &Dims, out: &mut Map<String, Value>) {
        let layers = window::pattern(metadata, dims.layers, 6);
        let scale = metadata.f32("gemma3.attention.scale").map(f64::from);
        let scale = scale.unwrap_or_else(|| usual_scale(dims));
        let scalar = (1.0 / (scale * scale) * 1024.0).round() / 1024.0;
        let cap = metadata.f32("gemma3.final_logit_softcapping").filter(|cap| *cap != 0.0);
        out.insert("hidden_activation".into(), json!("gelu_pytorch_tanh"));
        out.insert("attention_bias".into(), json!(dims.attention_bias));
        out.insert("attn_logit_softcapping".into(), Value::Null);
        out.insert("final_logit_softcapping".into(), json!(cap));
        out.insert(
            "query_pre_attn_scalar".into(),
            if scalar.fract() == 0.0 { json!(scalar as u64) } else { json!(scalar) },
        );
        // Without a window transformers still wants a number; no layer uses it then.
        out.insert("sliding_window".into(), json!(window::length(metadata).unwrap_or(4096)));
        out.insert("layer_types".into(), window::types(&layers));
    }
}
