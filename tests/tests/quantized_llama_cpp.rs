//! Files of every type that `mdl quantize` writes: unmodified llama.cpp computes what we compute from them, and the
//! `gguf` package of Python reads in them what we read.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that fails may say so, and figures are for its reader"
)]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, OnceLock},
};

use mdl_formats::{Checkpoint, Limits};
use mdl_infer::{Model, Options, Precision, Session};
use mdl_kernels::{Compute, TensorType, Tier, codec};
use mdl_tests::{data, mdl, need, output, peer, python};
use serde_json::Value;

/// Every block type that can be written.
fn block_types() -> Vec<TensorType> {
    TensorType::all().filter(|ty| ty.block_len() > 1 && codec::encodable(*ty)).collect()
}

/// Types of one value each: not quantized, but written all the same.
const PLAIN: [TensorType; 3] = [TensorType::F32, TensorType::F16, TensorType::BF16];

/// The tiny model with every matrix in one type. All files of this test program are made once.
fn file(ty: TensorType) -> PathBuf {
    static FOLDER: OnceLock<tempfile::TempDir> = OnceLock::new();
    static FILES: std::sync::Mutex<BTreeMap<TensorType, PathBuf>> =
        std::sync::Mutex::new(BTreeMap::new());
    let folder = FOLDER.get_or_init(|| tempfile::tempdir().unwrap());
    let mut files = FILES.lock().unwrap();
    let make = || {
        let path = folder.path().join(format!("{ty}.gguf"));
        let pattern = format!(".*={ty}");
        let mut command = mdl(folder.path());
        command.arg("quantize").arg(data().join("tiny")).arg(&path);
        output(command.args(["--scheme", "Q8_0", "--tensor-type", &pattern]));
        path
    };
    files.entry(ty).or_insert_with(make).clone()
}

fn ids() -> Vec<u32> {
    let text = fs::read_to_string(data().join("tiny/golden.json")).unwrap();
    let json: Value = serde_json::from_str(&text).unwrap();
    json["ids"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

fn ours(path: &Path, precision: Precision, ids: &[u32]) -> Vec<f32> {
    let checkpoint = Checkpoint::open(path, &Limits::default()).unwrap();
    let compute = Arc::new(Compute::new(Tier::detect(), 2));
    let options = Options { precision, ..Options::new(compute) };
    let model = Model::load(&checkpoint, &options).unwrap();
    let mut session = Session::new(&model);
    session.next_logits(ids).unwrap().to_vec()
}

fn theirs(program: &Path, path: &Path, ids: &[u32]) -> Vec<f32> {
    let text = output(Command::new(program).arg(path).args(ids.iter().map(u32::to_string)));
    text.lines().map(|line| line.parse().unwrap()).collect()
}

/// Root mean square of the difference.
fn distance(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    (a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f32>() / a.len() as f32).sqrt()
}

/// Both sides quantize activations, and a last-bit difference of sums grows to the size of a
/// quantization step within a few layers: two right programs are about as far from each other as
/// each is from unquantized activations. A wrong scale, minimum or order of values is many times
/// farther: the logits themselves have an rms of several.
#[test]
fn block_types_give_our_logits_in_llama_cpp() {
    let program = need!(peer("llama_logits"));
    let ids = ids();
    assert!(block_types().len() >= 15, "{:?}", block_types());
    for ty in block_types() {
        let path = file(ty);
        let (quantized, exact) =
            (ours(&path, Precision::Q8, &ids), ours(&path, Precision::F32, &ids));
        let theirs = theirs(&program, &path, &ids);
        let (far, noise) = (distance(&quantized, &theirs), distance(&quantized, &exact));
        println!("{ty}: {far:.4} from llama.cpp, {noise:.4} from unquantized activations");
        assert!(far < 3.0 * noise, "{ty}: {far} from llama.cpp, noise of activations {noise}");
        assert!(noise < 0.5, "{ty}: noise of activations {noise}");
    }
}

/// F32: only the order of sums differs. F16 and BF16: llama.cpp rounds activations to the weights' type (11 and 8 bits of
/// mantissa), we do not.
#[test]
fn plain_types_give_our_logits_in_llama_cpp() {
    let program = need!(peer("llama_logits"));
    let ids = ids();
    for (ty, tolerance) in PLAIN.into_iter().zip([1e-4, 5e-3, 5e-2]) {
        let path = file(ty);
        let far = distance(&ours(&path, Precision::Q8, &ids), &theirs(&program, &path, &ids));
        println!("{ty}: {far:.1e}");
        assert!(far < tolerance, "{ty}: {far}");
    }
}

/// Prints what `gguf` reads as JSON lines, and writes the values it dequantizes beside the file.
const READER: &str = r"
import json, sys
import numpy
from gguf import GGUFReader
from gguf.quants import dequantize
for path in sys.argv[1:]:
    reader = GGUFReader(path)
    tensors = []
    with open(path + '.values', 'wb') as out:
        for tensor in reader.tensors:
            try:
                values = dequantize(tensor.data, tensor.tensor_type)
            except NotImplementedError:
                values = None
            if values is not None:
                out.write(numpy.ascontiguousarray(values, dtype='<f4').tobytes())
            tensors.append([tensor.name, tensor.tensor_type.name, [int(n) for n in tensor.shape], values is not None])
    keys = [name for name in reader.fields if not name.startswith('GGUF.')]
    recipe = reader.fields['mdl.recipe'].contents()
    tokens = len(reader.fields['tokenizer.ggml.tokens'].contents())
    print(json.dumps({'keys': keys, 'tensors': tensors, 'recipe': recipe, 'tokens': tokens}))
";

#[test]
fn python_gguf_reads_every_file() {
    let python = need!(python());
    let files: Vec<PathBuf> = PLAIN.into_iter().chain(block_types()).map(file).collect();
    let text = output(Command::new(python).args(["-c", READER]).args(&files));
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), files.len());
    let mut compared = 0;
    for (line, path) in lines.into_iter().zip(&files) {
        let read: Value = serde_json::from_str(line).unwrap();
        let checkpoint = Checkpoint::open(path, &Limits::default()).unwrap();
        compared += compare(&read, &checkpoint, path);
    }
    // gguf decodes nearly all types; what it does not decode is compared with ggml in golden_blocks.
    assert!(compared >= 16, "only {compared} types were decoded");
}

/// Compares a file's keys, tensors and values; 1 where the values of all its tensors could be compared.
fn compare(read: &Value, checkpoint: &Checkpoint, path: &Path) -> usize {
    let name = path.display();
    let keys: Vec<&str> =
        read["keys"].as_array().unwrap().iter().map(|key| key.as_str().unwrap()).collect();
    let ours: Vec<&str> = checkpoint.metadata.iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ours, "{name}: keys");
    assert_eq!(read["recipe"].as_str(), checkpoint.metadata.str("mdl.recipe"), "{name}: recipe");
    let tokens = checkpoint.metadata.strings("tokenizer.ggml.tokens").unwrap().len();
    assert_eq!(read["tokens"].as_u64(), Some(tokens as u64), "{name}: tokens");

    let values = fs::read(path.with_extension("gguf.values")).unwrap();
    let mut values = values.as_slice();
    let tensors = read["tensors"].as_array().unwrap();
    assert_eq!(tensors.len(), checkpoint.tensors.len(), "{name}");
    for (theirs, ours) in tensors.iter().zip(&checkpoint.tensors) {
        let expected = serde_json::json!([ours.name, ours.ty.name(), ours.shape, theirs[3]]);
        assert_eq!(theirs, &expected, "{name}");
        if theirs[3] == Value::Bool(true) {
            let (now, later) = values.split_at(ours.elements() * 4);
            values = later;
            same_values(now, checkpoint, ours, &name.to_string());
        }
    }
    assert!(values.is_empty());
    usize::from(tensors.iter().all(|tensor| tensor[3] == Value::Bool(true)))
}

fn same_values(theirs: &[u8], checkpoint: &Checkpoint, tensor: &mdl_formats::Tensor, name: &str) {
    let bytes = checkpoint.bytes(tensor).unwrap();
    let mut decoded = vec![0.0; tensor.elements()];
    codec::decode(Tier::detect(), tensor.ty, &bytes, &mut decoded).unwrap();
    let theirs = theirs.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap()));
    for (at, (theirs, ours)) in theirs.zip(decoded).enumerate() {
        assert_eq!(theirs, ours, "{name}: `{}`, value {at}", tensor.name);
    }
}
