//! GGUF files that we write, read by others: the `gguf` Python package and llama.cpp's `llama-gguf-split`.
#![allow(clippy::unwrap_used, reason = "a test ends where its own files fail")]

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

use mdl_formats::{
    Checkpoint, Limits, Tensor,
    atomic::AtomicFile,
    gguf::{Array, Layout, Metadata, Value},
};
use mdl_kernels::TensorType;
use mdl_tests::{need, output, peer, python, shared};

/// Writes one file of a layout, `data` giving the bytes of a tensor by its index.
fn write(path: &Path, layout: &Layout, data: impl Fn(usize) -> Vec<u8>) {
    let mut file = AtomicFile::create(path, true).unwrap();
    file.write_all(&layout.header).unwrap();
    let mut at = layout.header.len() as u64;
    for (index, offset) in &layout.tensors {
        file.write_all(&vec![0; (offset - at) as usize]).unwrap();
        let bytes = data(*index);
        file.write_all(&bytes).unwrap();
        at = offset + bytes.len() as u64;
    }
    file.write_all(&vec![0; (layout.len - at) as usize]).unwrap();
    file.commit().unwrap();
}

/// Writes a checkpoint in files of at most so many bytes of tensors.
fn write_split(checkpoint: &Checkpoint, path: &Path, max_bytes: u64) -> Vec<PathBuf> {
    let tensors = &checkpoint.tensors;
    let files = Layout::split(path, &checkpoint.metadata, tensors, max_bytes).unwrap();
    let bytes = |index: usize| checkpoint.bytes(&tensors[index]).unwrap().to_vec();
    for (path, layout) in &files {
        write(path, layout, bytes);
    }
    files.into_iter().map(|(path, _)| path).collect()
}

fn assert_same(a: &Checkpoint, b: &Checkpoint) {
    assert_eq!(a.metadata, b.metadata);
    assert_eq!(a.tensors, b.tensors);
    for tensor in &a.tensors {
        assert!(a.bytes(tensor).unwrap()[..] == b.bytes(tensor).unwrap()[..], "{}", tensor.name);
    }
}

fn open(path: &Path) -> Checkpoint {
    Checkpoint::open(path, &Limits::default()).unwrap()
}

#[test]
fn llama_gguf_split_merges_our_parts_and_writes_the_same_ones() {
    let original = need!(shared("stories260K.gguf"));
    let program = need!(peer("llama-gguf-split"));
    let checkpoint = open(&original);
    let dir = tempfile::tempdir().unwrap();

    let small = write_split(&checkpoint, &dir.path().join("small.gguf"), 100_000);
    assert!(small.len() > 5, "{small:?}");
    assert_same(&checkpoint, &open(&small[3]));
    let merged = dir.path().join("merged.gguf");
    output(Command::new(&program).arg("--merge").arg(&small[0]).arg(&merged));
    assert_same(&checkpoint, &open(&merged));

    let ours = write_split(&checkpoint, &dir.path().join("ours.gguf"), 1_000_000);
    let prefix = dir.path().join("theirs");
    let mut command = Command::new(&program);
    output(command.args(["--split", "--split-max-size", "1M"]).arg(&original).arg(&prefix));
    assert_eq!(ours.len(), 2);
    for (number, ours) in (1..).zip(&ours) {
        let theirs = dir.path().join(format!("theirs-{number:05}-of-00002.gguf"));
        assert!(fs::read(ours).unwrap() == fs::read(theirs).unwrap(), "part {number}");
    }
}

#[test]
fn a_whole_file_written_again_is_the_same() {
    let original = need!(shared("stories260K.gguf"));
    let dir = tempfile::tempdir().unwrap();
    let copy = write_split(&open(&original), &dir.path().join("copy.gguf"), u64::MAX);
    assert_eq!(copy, [dir.path().join("copy.gguf")]);
    assert!(fs::read(&copy[0]).unwrap() == fs::read(&original).unwrap());
}

/// A value of every type that a key can have.
fn all_values() -> Metadata {
    let mut keys = Metadata::new();
    keys.set("general.architecture", "llama");
    keys.set("general.alignment", 64_u32);
    keys.set("u8", 200_u8);
    keys.set("i8", -100_i8);
    keys.set("u16", 60_000_u16);
    keys.set("i16", -30_000_i16);
    keys.set("u32", 4_000_000_000_u32);
    keys.set("i32", -2_000_000_000_i32);
    keys.set("u64", u64::MAX);
    keys.set("i64", i64::MIN);
    keys.set("f32", 0.15625_f32);
    keys.set("f64", -1e300_f64);
    keys.set("bool", true);
    keys.set("text", "Zw\u{f6}lf \u{1f40e}\n");
    keys.set("words", vec!["a".to_owned(), String::new(), "\u{4e2d}".to_owned()]);
    keys.set("floats", vec![1.5_f32, -2.0]);
    keys.set("flags", Value::Array(Array::Bool(vec![true, false])));
    keys.set("numbers", vec![-1_i32, 0, 7]);
    keys.set("bytes", vec![1_u8, 255]);
    keys.set("long", vec![1_u64 << 60]);
    keys
}

/// Prints what the package reads, one line a key and a tensor.
const PRINT: &str = r#"
import hashlib, sys
from gguf import GGUFReader
reader = GGUFReader(sys.argv[1])
for field in reader.fields.values():
    if not field.name.startswith("GGUF."):
        print("key", field.name, "/".join(t.name for t in field.types), repr(field.contents()))
for t in reader.tensors:
    raw = hashlib.sha256(t.data.tobytes()).hexdigest()
    print("tensor", t.name, t.tensor_type.name, t.shape.tolist(), t.data_offset % 64, raw)
"#;

#[test]
fn python_gguf_reads_every_value_and_tensor_type() {
    let python = need!(python());
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("all.gguf");
    // The package knows neither Q1_0 nor Q2_0, and nobody stores Q8_1 or Q8_K.
    let unknown = [TensorType::Q1_0, TensorType::Q2_0, TensorType::Q8_1, TensorType::Q8_K];
    let types: Vec<_> = TensorType::all().filter(|ty| !unknown.contains(ty)).collect();
    let tensors: Vec<_> = types
        .iter()
        .map(|ty| Tensor { name: format!("t.{ty}"), ty: *ty, shape: vec![256, 3, 2] })
        .collect();
    let data = |index: usize| -> Vec<u8> {
        (0..tensors[index].bytes()).map(|at| (at * 7 + index) as u8).collect()
    };
    let layout = Layout::new(&path, &all_values(), &tensors).unwrap();
    write(&path, &layout, data);

    let read = open(&path);
    assert_eq!(read.metadata, all_values());
    assert_eq!(read.tensors, tensors);

    let printed = output(Command::new(python).args(["-c", PRINT]).arg(&path));
    let lines: Vec<_> = printed.lines().collect();
    for line in [
        "key general.alignment UINT32 64",
        "key u8 UINT8 200",
        "key i8 INT8 -100",
        "key u16 UINT16 60000",
        "key i16 INT16 -30000",
        "key u32 UINT32 4000000000",
        "key i32 INT32 -2000000000",
        "key u64 UINT64 18446744073709551615",
        "key i64 INT64 -9223372036854775808",
        "key f32 FLOAT32 0.15625",
        "key f64 FLOAT64 -1e+300",
        "key bool BOOL True",
        "key text STRING 'Zw\u{f6}lf \u{1f40e}\\n'",
        "key words ARRAY/STRING ['a', '', '\u{4e2d}']",
        "key floats ARRAY/FLOAT32 [1.5, -2.0]",
        "key flags ARRAY/BOOL [True, False]",
        "key numbers ARRAY/INT32 [-1, 0, 7]",
        "key bytes ARRAY/UINT8 [1, 255]",
        "key long ARRAY/UINT64 [1152921504606846976]",
    ] {
        assert!(lines.contains(&line), "`{line}` is not in\n{printed}");
    }
    for (index, tensor) in tensors.iter().enumerate() {
        let file = dir.path().join("tensor");
        fs::write(&file, data(index)).unwrap();
        let digest = mdl_formats::digest::sha256_file(&file).unwrap();
        let line = format!("tensor {} {} [256, 3, 2] 0 {digest}", tensor.name, tensor.ty);
        assert!(lines.contains(&line.as_str()), "`{line}` is not in\n{printed}");
    }
}
