//! Real files open at once, with the figures that others read from them.

use std::time::Instant;

use mdl_formats::{Checkpoint, Limits};
use mdl_kernels::TensorType;
use mdl_tests::{model, need, shared};

#[test]
fn real_models_open_from_their_headers() {
    for (name, tensors, family) in [
        ("SmolLM2-135M-Instruct.Q4_1.gguf", 272, "llama"),
        ("qwen2.5-coder-0.5b-instruct-q4_k_m.gguf", 291, "qwen2"),
        ("gemma-3-270m-q4_k_m.gguf", 236, "gemma3"),
    ] {
        let path = need!(model(name));
        let start = Instant::now();
        let checkpoint = Checkpoint::open(&path, &Limits::default()).unwrap();
        assert!(start.elapsed().as_secs() < 5, "{name}");
        assert_eq!(checkpoint.architecture(), Some(family));
        assert_eq!(checkpoint.tensors.len(), tensors, "{name}");
        let bytes: usize = checkpoint.tensors.iter().map(mdl_formats::Tensor::bytes).sum();
        assert!(bytes as u64 <= std::fs::metadata(&path).unwrap().len());
    }
}

#[test]
fn stories_is_a_whole_f32_llama() {
    let checkpoint =
        Checkpoint::open(&need!(shared("stories260K.gguf")), &Limits::default()).unwrap();
    assert!(checkpoint.tensors.iter().all(|tensor| tensor.ty == TensorType::F32));
    assert_eq!(checkpoint.metadata.u64("llama.block_count"), Some(5));
    let tensor = checkpoint.tensor("token_embd.weight").unwrap();
    assert_eq!(tensor.shape, [64, 512]);
    assert_eq!(checkpoint.bytes(tensor).unwrap().len(), 64 * 512 * 4);
}
