//! Folders made here, read as checkpoints.

use mdl_kernels::Tier;
use serde_json::json;

use super::*;

/// Writes a safetensors file of F32 tensors; `shape` as the folder lists it.
fn safetensors_file(path: &Path, tensors: &[(&str, Vec<usize>, Vec<f32>)]) {
    let mut header = serde_json::Map::new();
    let mut data = Vec::new();
    for (name, shape, values) in tensors {
        let start = data.len();
        data.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        header.insert(
            (*name).to_owned(),
            json!({"dtype": "F32", "shape": shape, "data_offsets": [start, data.len()]}),
        );
    }
    let header = serde_json::to_vec(&header).unwrap();
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header);
    bytes.extend(data);
    std::fs::write(path, bytes).unwrap();
}

/// A one-layer folder of that family whose values count upwards.
pub(crate) fn folder(model_type: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let config = json!({"model_type": model_type, "vocab_size": 6, "hidden_size": 8,
        "intermediate_size": 4, "num_hidden_layers": 1, "num_attention_heads": 2,
        "num_key_value_heads": 1, "head_dim": 4, "max_position_embeddings": 16,
        "rms_norm_eps": 1e-5, "tie_word_embeddings": true, "eos_token_id": 2});
    std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    let config = Config::read(folder.path(), &Limits::default()).unwrap();
    let found = Description::read(config, &Limits::default()).unwrap();
    let mut specs = found.family.tensors(&found.dims);
    // OLMo 2's output is the embedding a second time.
    specs.retain(|spec| spec.gguf != "output.weight");
    let tensors: Vec<_> = specs
        .into_iter()
        .map(|spec| {
            let count: usize = spec.shape.iter().product();
            let shape = spec.shape.into_iter().rev().collect();
            (spec.hf, shape, (0..count).map(|value| value as f32).collect())
        })
        .collect();
    let views: Vec<_> = tensors
        .iter()
        .map(|(name, shape, values): &(String, Vec<usize>, Vec<f32>)| {
            (name.as_str(), shape.clone(), values.clone())
        })
        .collect();
    safetensors_file(&folder.path().join("model.safetensors"), &views);
    folder
}

fn values(checkpoint: &Checkpoint, name: &str) -> Vec<f32> {
    let tensor = checkpoint.tensor(name).unwrap();
    let mut out = vec![0.0; tensor.elements()];
    checkpoint.decode_rows(tensor, 0..tensor.rows(), Tier::detect(), &mut out).unwrap();
    let bytes = checkpoint.bytes(tensor).unwrap();
    let stored: Vec<f32> =
        bytes.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect();
    assert_eq!(stored, out);
    out
}

#[test]
fn a_llama_folder_has_permuted_rows() {
    let folder = folder("llama");
    let checkpoint = Checkpoint::open(folder.path(), &Limits::default()).unwrap();
    assert_eq!(checkpoint.architecture(), Some("llama"));
    let q = values(&checkpoint, "blk.0.attn_q.weight");
    let firsts: Vec<f32> = q.iter().step_by(8).copied().collect();
    assert_eq!(firsts, [0.0, 16.0, 8.0, 24.0, 32.0, 48.0, 40.0, 56.0]);
    let v = values(&checkpoint, "blk.0.attn_v.weight");
    assert!(v.iter().enumerate().all(|(index, value)| *value == index as f32));
    assert_eq!(checkpoint.metadata.str("tokenizer.ggml.model"), Some("no_vocab"));
    assert_eq!(checkpoint.metadata.u64("llama.vocab_size"), Some(6));
    assert_eq!(checkpoint.metadata.u64("general.file_type"), Some(0));
    let name = |path: &std::path::PathBuf| path.file_name().unwrap().to_owned();
    let names: Vec<_> = checkpoint.sources.iter().map(name).collect();
    assert_eq!(names, ["model.safetensors", "config.json"]);
}

#[test]
fn gemma_norms_have_one_added() {
    let folder = folder("gemma3_text");
    let checkpoint = Checkpoint::open(folder.path(), &Limits::default()).unwrap();
    assert_eq!(values(&checkpoint, "output_norm.weight")[..3], [1.0, 2.0, 3.0]);
    assert_eq!(values(&checkpoint, "token_embd.weight")[..3], [0.0, 1.0, 2.0]);
}

#[test]
fn a_part_of_the_rows_is_read_alone() {
    let folder = folder("llama");
    let checkpoint = Checkpoint::open(folder.path(), &Limits::default()).unwrap();
    let tensor = checkpoint.tensor("blk.0.attn_q.weight").unwrap();
    let all = values(&checkpoint, "blk.0.attn_q.weight");
    let mut out = vec![0.0; 16];
    checkpoint.decode_rows(tensor, 3..5, Tier::detect(), &mut out).unwrap();
    assert_eq!(out, all[24..40]);
    checkpoint.release_rows(tensor, 0..6);
    checkpoint.decode_rows(tensor, 3..5, Tier::detect(), &mut out).unwrap();
    assert_eq!(out, all[24..40]);
}

#[test]
fn a_folder_without_config_says_so() {
    let folder = folder("llama");
    std::fs::remove_file(folder.path().join("config.json")).unwrap();
    let error = Checkpoint::open(folder.path(), &Limits::default()).unwrap_err().to_string();
    assert!(error.contains("config.json"), "{error}");
}
