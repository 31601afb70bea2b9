//! What every family has in common.

use std::path::Path;

use serde_json::json;

use super::*;
use crate::Limits;

fn describe(value: Value) -> Result<Description> {
    let Value::Object(map) = value else { panic!("an object") };
    Description::read(Config::new(Path::new("config.json"), map)?, &Limits::default())
}

fn small(model_type: &str, more: &Value) -> Value {
    let mut value = json!({"model_type": model_type, "vocab_size": 320, "hidden_size": 64,
        "intermediate_size": 128, "num_hidden_layers": 3, "num_attention_heads": 4,
        "num_key_value_heads": 2, "max_position_embeddings": 256, "rms_norm_eps": 1e-5});
    value.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
    value
}

#[test]
fn every_family_reads_its_own_type_and_lists_each_tensor_once() {
    for family in FAMILIES {
        let found = describe(small(family.model_types()[0], &json!({}))).unwrap();
        assert_eq!(found.family.model_types(), family.model_types());
        let specs = family.tensors(&found.dims);
        let mut names: Vec<_> = specs.iter().map(|spec| spec.gguf.as_str()).collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
        assert!(specs.len() > 3 * 6);
        let architecture = family.architecture();
        let layers = found.metadata.u64(&format!("{architecture}.block_count"));
        assert_eq!(layers, Some(3));
    }
}

#[test]
fn unknown_types_are_refused_by_name() {
    let error = describe(small("rwkv9", &json!({}))).unwrap_err();
    assert!(error.to_string().contains("rwkv9"), "{error}");
    assert!(error.hint().unwrap().contains("llama, qwen2"), "{:?}", error.hint());
    let mut metadata = Metadata::new();
    metadata.set("general.architecture", "rwkv9");
    assert!(of_metadata(&metadata).unwrap_err().contains("rwkv9"));
}

#[test]
fn sizes_that_do_not_fit_are_refused() {
    let cases = [
        (json!({"num_key_value_heads": 3}), "num_key_value_heads"),
        (json!({"num_attention_heads": 5}), "hidden_size"),
        (json!({"num_hidden_layers": 100_000}), "num_hidden_layers"),
        (json!({"head_dim": 7}), "head_dim"),
        (json!({"vocab_size": "many"}), "vocab_size"),
        (json!({"hidden_act": "relu"}), "relu"),
        (json!({"hidden_size": 1u64 << 40}), "hidden_size"),
    ];
    for (more, part) in cases {
        let error = describe(small("llama", &more)).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn what_llama_cpp_ignores_is_noted_and_kept() {
    let found = describe(small("mistral", &json!({"sliding_window": 8}))).unwrap();
    assert_eq!(found.metadata.u64("llama.attention.sliding_window"), Some(8));
    assert!(found.notes[0].contains("window of 8"), "{:?}", found.notes);
    let found = describe(small("mistral", &json!({"sliding_window": null}))).unwrap();
    assert!(found.notes.is_empty() && !Metadata::is_empty(&found.metadata));
    assert_eq!(found.metadata.get("llama.attention.sliding_window"), None);
    let found = describe(small("smollm3", &json!({"no_rope_layer_interval": 2}))).unwrap();
    assert!(found.notes[0].contains("fourth"));
    assert!(found.metadata.get("smollm3.attention.rope_pattern").is_some());
    let found = describe(small("smollm3", &json!({}))).unwrap();
    assert!(found.notes.is_empty());
    let found = describe(small("gemma3_text", &json!({"query_pre_attn_scalar": 99}))).unwrap();
    assert!(found.metadata.f32("gemma3.attention.scale").is_some() && found.notes.len() == 1);
}

#[test]
fn gemma_names_lose_their_wrapper() {
    let gemma = gemma3::Gemma3;
    for name in ["language_model.model.norm.weight", "model.language_model.norm.weight"] {
        assert_eq!(gemma.part(name), Part::Text("model.norm.weight".into()));
    }
    assert_eq!(gemma.part("model.vision_tower.x"), Part::Other);
    assert_eq!(gemma.part("multi_modal_projector.x"), Part::Other);
    assert_eq!(gemma.part("model.norm.weight"), Part::Text("model.norm.weight".into()));
}
