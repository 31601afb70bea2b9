//! Metadata and tensors against llama.cpp's converter, on the golden folders of every family.
#![allow(
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test stops where its premises fail, and says what it saw"
)]

use std::{collections::BTreeMap, path::Path, process::Command};

use mdl_formats::{Checkpoint, Limits, gguf::Value};
use mdl_kernels::Tier;
use mdl_tests::{golden, need, output, peer_source, python_converter};

/// Converts folders in one process. The folders have no tokenizer, which the converter does not
/// foresee: its vocabulary is left out, and Gemma's trimming of the embedding gets one to count.
const SCRIPT: &str = r#"
import sys, json, shutil, logging
from pathlib import Path
sys.path.insert(0, sys.argv[1]); sys.path.insert(1, sys.argv[1] + "/gguf-py")
import gguf, torch
from conversion import ModelBase, ModelType, get_model_architecture, get_model_class
logging.disable(logging.WARNING)
out = Path(sys.argv[2])
for source in map(Path, sys.argv[3:]):
    folder = out / source.name
    shutil.copytree(source, folder)
    vocab = {str(i): i for i in range(320)}
    (folder / "tokenizer.json").write_text(json.dumps({"model": {"vocab": vocab}, "added_tokens": []}))
    with torch.inference_mode():
        hparams = ModelBase.load_hparams(folder, False)
        kind = get_model_class(get_model_architecture(hparams, ModelType.TEXT))
        kind.set_vocab = lambda self: self._set_vocab_none()
        kind(folder, gguf.LlamaFileType.MOSTLY_BF16, out / (source.name + ".gguf")).write()
"#;

const FOLDERS: &[&str] = &[
    "gemma3",
    "gemma3_wrapped",
    "llama2",
    "llama31",
    "mistral",
    "mistral_whole",
    "olmo2",
    "phi3",
    "phi3_long",
    "qwen2",
    "qwen3",
    "qwen3_yarn",
    "smollm3",
    "smollm3_4",
];

/// Keys that differ on purpose: the converter names a model after its folder, and says `none` where
/// we say `no_vocab`; it also guesses the rest from that name.
fn is_of_the_name(key: &str) -> bool {
    matches!(
        key,
        "general.name"
            | "general.basename"
            | "general.finetune"
            | "general.version"
            | "general.size_label"
            | "tokenizer.ggml.model"
            | "general.organization"
    )
}

/// Keys of ours that the converter does not write.
fn is_ours(key: &str) -> bool {
    key == "phi3.rope.scaling.type"
        || [".vocab_size", ".attention.sliding_window", ".attention.rope_pattern"]
            .iter()
            .any(|end| key.ends_with(end))
}

fn values(checkpoint: &Checkpoint, name: &str) -> Vec<f32> {
    let tensor = checkpoint.tensor(name).expect("a tensor");
    let mut out = vec![0.0; tensor.elements()];
    checkpoint.decode_rows(tensor, 0..tensor.rows(), Tier::detect(), &mut out).expect("rows");
    out
}

fn compare(name: &str, ours: &Checkpoint, theirs: &Checkpoint, wrong: &mut Vec<String>) {
    let keys = |checkpoint: &Checkpoint| -> BTreeMap<String, Value> {
        checkpoint.metadata.iter().map(|(key, value)| (key.to_owned(), value.clone())).collect()
    };
    let (our_keys, their_keys) = (keys(ours), keys(theirs));
    for (key, value) in &their_keys {
        if !is_of_the_name(key) && our_keys.get(key) != Some(value) {
            wrong.push(format!("{name}: {key}: {:?}, converter {value:?}", our_keys.get(key)));
        }
    }
    for (key, value) in &our_keys {
        if !their_keys.contains_key(key) && !is_of_the_name(key) && !is_ours(key) {
            wrong.push(format!("{name}: {key}: {value:?} is ours alone"));
        }
    }
    let names = |checkpoint: &Checkpoint| {
        let mut all: Vec<_> = checkpoint
            .tensors
            .iter()
            .map(|tensor| (tensor.name.clone(), tensor.ty, tensor.shape.clone()))
            .collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    };
    for (ours, theirs) in names(ours).iter().zip(&names(theirs)) {
        if ours != theirs {
            wrong.push(format!("{name}: tensor {ours:?}, converter {theirs:?}"));
            return;
        }
    }
    if ours.tensors.len() != theirs.tensors.len() {
        wrong.push(format!("{name}: {} tensors", ours.tensors.len()));
        return;
    }
    for tensor in &ours.tensors {
        let (a, b) = (values(ours, &tensor.name), values(theirs, &tensor.name));
        // The divisors are computed with another library's powers: a unit in the last place.
        let near = |(a, b): (&f32, &f32)| (a - b).abs() <= 2e-6 * a.abs();
        let same =
            if tensor.name == "rope_freqs.weight" { a.iter().zip(&b).all(near) } else { a == b };
        if !same {
            wrong.push(format!("{name}: values of {}", tensor.name));
        }
    }
}

#[test]
fn the_converter_writes_the_same() {
    let (python, source) = (need!(python_converter()), need!(peer_source()));
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(python);
    command.args(["-c", SCRIPT]).arg(source).arg(folder.path());
    output(command.args(FOLDERS.iter().map(|name| golden(name))));
    let mut wrong = Vec::new();
    let open = |path: &Path| Checkpoint::open(path, &Limits::default()).expect("a model");
    for name in FOLDERS {
        let theirs = open(&folder.path().join(format!("{name}.gguf")));
        compare(name, &open(&golden(name)), &theirs, &mut wrong);
    }
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
}
