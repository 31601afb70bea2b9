//! Unmodified llama.cpp loads what we write and computes what the reference implementation computes.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that fails may say so, and figures are for its reader"
)]

use std::{path::Path, process::Command};

use mdl_tests::{data, golden, mdl, need, output, peer};
use serde_json::Value;

/// Every family whose model llama.cpp computes as it is; what it ignores (a sliding window in the llama architecture)
/// or hard-codes (SmolLM3's interval) is left out and covered by `notes_on_what_llama_cpp_ignores`.
const FAMILIES: [&str; 12] = [
    "llama2",
    "llama31",
    "mistral_whole",
    "qwen2",
    "qwen3",
    "qwen3_yarn",
    "gemma3",
    "gemma3_wrapped",
    "phi3",
    "phi3_long",
    "smollm3_4",
    "olmo2",
];

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn floats(value: &Value) -> Vec<f32> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap() as f32).collect()
}

fn ids(value: &Value) -> Vec<String> {
    value.as_array().unwrap().iter().map(Value::to_string).collect()
}

fn llama_logits(program: &Path, model: &Path, ids: &[String]) -> Vec<f32> {
    let text = output(Command::new(program).arg(model).args(ids));
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// F32 files: llama.cpp multiplies in F32 in another order, and its `exp` and `cos` differ in the last bits. Its GELU
/// (Gemma) is a table of F16 results (`GGML_GELU_FP16` in ggml-cpu/vec.h), 11 bits of mantissa.
#[test]
fn converted_families_give_transformers_logits_in_llama_cpp() {
    let program = need!(peer("llama_logits"));
    let dir = tempfile::tempdir().unwrap();
    for name in FAMILIES {
        let file = dir.path().join("model.gguf");
        output(
            mdl(dir.path())
                .arg("convert")
                .arg(golden(name))
                .arg(&file)
                .args(["--type", "f32", "--force"]),
        );
        let expected = json(&golden(name).join("golden.json"));
        let logits = llama_logits(&program, &file, &ids(&expected["ids"]));
        let difference = largest_difference(&logits, &floats(&expected["logits_last"]));
        println!("{name}: {difference:.1e}");
        let tolerance = if name.starts_with("gemma3") { 5e-3 } else { 1e-4 };
        assert!(difference < tolerance, "{name}: {difference}");
    }
}

#[test]
fn the_tiny_model_gives_transformers_logits_in_llama_cpp_without_loss() {
    let program = need!(peer("llama_logits"));
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("tiny.gguf");
    output(mdl(dir.path()).arg("convert").arg(data().join("tiny")).arg(&file));
    let expected = json(&data().join("tiny/golden.json"));
    let logits = llama_logits(&program, &file, &ids(&expected["ids"]));
    // BF16 weights: llama.cpp rounds the activations to BF16 too, 8 bits of mantissa.
    let difference = largest_difference(&logits, &floats(&expected["logits_last"]));
    assert!(difference < 0.25, "{difference}");
    let argmax =
        output(Command::new(&program).arg(&file).arg("--argmax").args(ids(&expected["ids"])));
    let argmax: Vec<String> = argmax.lines().map(str::to_owned).collect();
    assert_eq!(argmax, ids(&expected["argmax"]));
}

/// Models that llama.cpp computes otherwise than the reference: whoever converts one is told.
#[test]
fn notes_on_what_llama_cpp_ignores() {
    let dir = tempfile::tempdir().unwrap();
    for (name, says) in
        [("mistral", "sliding window"), ("smollm3", "are not every fourth in this model")]
    {
        let file = dir.path().join(format!("{name}.gguf"));
        let done = mdl(dir.path()).arg("convert").arg(golden(name)).arg(&file).output().unwrap();
        let stderr = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{name}: {stderr}");
        let note = stderr.lines().find(|line| line.starts_with("warning: ") && line.contains(says));
        assert!(note.is_some_and(|note| note.contains("llama.cpp")), "{name}: {stderr}");
    }
    // A family without such options says nothing.
    let file = dir.path().join("llama2.gguf");
    let done = mdl(dir.path()).arg("convert").arg(golden("llama2")).arg(&file).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&done.stderr), "");
}
