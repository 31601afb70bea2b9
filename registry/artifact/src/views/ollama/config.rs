//! Ollama's config and parameters.

use std::collections::BTreeSet;

use mdl_formats::gguf::{Array, Metadata, Value as Key};
use serde_json::{Map, Value, json};

use crate::Facts;

/// The config: what `ollama list` and `ollama show` say of a model.
pub(super) fn config(facts: &Facts, layers: &[String]) -> Value {
    let family = facts.architecture.clone().unwrap_or_default();
    let mut config = json!({
        "model_format": "gguf",
        "model_family": family,
        "model_families": [family],
        "model_type": facts.parameters.map(size).unwrap_or_default(),
        "file_type": facts.quantization.clone().unwrap_or_else(|| "unknown".to_owned()),
        "architecture": "amd64",
        "os": "linux",
        "rootfs": { "type": "layers", "diff_ids": layers },
    });
    if let Some(config) = config.as_object_mut() {
        let mut put = |key: &str, value: Option<u64>| {
            if let Some(value) = value {
                config.insert(key.to_owned(), json!(value));
            }
        };
        put("context_length", facts.context_length);
        put("embedding_length", facts.embedding_length);
    }
    config
}

/// Parameters as Ollama says them: `134.52M`, `8.03B`.
fn size(parameters: u64) -> String {
    let values = parameters as f64;
    match parameters {
        0..1_000 => parameters.to_string(),
        1_000..1_000_000 => format!("{:.2}K", values / 1e3),
        1_000_000..1_000_000_000 => format!("{:.2}M", values / 1e6),
        _ => format!("{:.1}B", values / 1e9),
    }
}

/// Where text ends, and how tokens are drawn, as the GGUF says; `None` where it says nothing.
pub(super) fn params(keys: &Metadata) -> Option<Value> {
    let mut params = Map::new();
    let stops = stops(keys);
    if !stops.is_empty() {
        params.insert("stop".to_owned(), json!(stops));
    }
    for (key, name) in [
        ("general.sampling.temp", "temperature"),
        ("general.sampling.top_p", "top_p"),
        ("general.sampling.min_p", "min_p"),
        ("general.sampling.penalty_repeat", "repeat_penalty"),
    ] {
        // As decimal text the number is what its author wrote, not the binary fraction next to it.
        let value = keys.f32(key).filter(|it| it.is_finite());
        if let Some(value) = value.and_then(|it| it.to_string().parse::<f64>().ok()) {
            params.insert(name.to_owned(), json!(value));
        }
    }
    if let Some(k) = keys.u64("general.sampling.top_k") {
        params.insert("top_k".to_owned(), json!(k));
    }
    (!params.is_empty()).then_some(Value::Object(params))
}

/// The texts of tokens that end a turn, where the model has turns.
fn stops(keys: &Metadata) -> Vec<String> {
    if keys.str("tokenizer.chat_template").is_none() {
        return Vec::new();
    }
    let Some(tokens) = keys.strings("tokenizer.ggml.tokens") else { return Vec::new() };
    let mut ids: Vec<u64> = ["eos", "eot", "eom"]
        .iter()
        .filter_map(|kind| keys.u64(&format!("tokenizer.ggml.{kind}_token_id")))
        .collect();
    match keys.get("mdl.tokenizer.end_ids") {
        Some(Key::Array(Array::U32(more))) => ids.extend(more.iter().map(|id| u64::from(*id))),
        Some(Key::Array(Array::I32(more))) => {
            ids.extend(more.iter().filter_map(|id| u64::try_from(*id).ok()));
        }
        _ => {}
    }
    let mut seen = BTreeSet::new();
    let text = |id: u64| tokens.get(usize::try_from(id).ok()?).filter(|it| !it.is_empty()).cloned();
    ids.into_iter().filter_map(text).filter(|text| seen.insert(text.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_as_ollama_says_them() {
        let sizes = [999, 260_032, 134_515_008, 8_030_261_248].map(size);
        assert_eq!(sizes, ["999", "260.03K", "134.52M", "8.0B"]);
    }

    #[test]
    fn parameters_are_the_gguf_s() {
        let mut keys = Metadata::new();
        keys.set("general.sampling.temp", 0.6_f32);
        keys.set("general.sampling.top_k", 20_i32);
        keys.set("tokenizer.ggml.eos_token_id", 1_u32);
        keys.set("tokenizer.ggml.eot_token_id", 2_u32);
        keys.set("mdl.tokenizer.end_ids", vec![1_u32, 9]);
        let words = ["a", "<|im_end|>", "<|end|>"].map(str::to_owned);
        keys.set("tokenizer.ggml.tokens", words.to_vec());
        assert_eq!(params(&keys).unwrap().to_string(), r#"{"temperature":0.6,"top_k":20}"#);
        keys.set("tokenizer.chat_template", "x");
        let found = params(&keys).unwrap().to_string();
        assert_eq!(found, r#"{"stop":["<|im_end|>","<|end|>"],"temperature":0.6,"top_k":20}"#);
        assert!(params(&Metadata::new()).is_none());
    }
}
