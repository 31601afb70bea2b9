//! Random metadata and tensors: what is written as GGUF is read back the same.
#![allow(clippy::unwrap_used, reason = "a test ends where its own files fail")]

use std::fs;

use mdl_formats::{
    Checkpoint, Limits, Tensor,
    gguf::{Array, Layout, Metadata, Value},
};
use mdl_kernels::TensorType;
use proptest::{collection::vec, prelude::*};

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<u8>().prop_map(Value::U8),
        any::<i8>().prop_map(Value::I8),
        any::<u16>().prop_map(Value::U16),
        any::<i16>().prop_map(Value::I16),
        any::<u32>().prop_map(Value::U32),
        any::<i32>().prop_map(Value::I32),
        (-1e30_f32..1e30).prop_map(Value::F32),
        any::<bool>().prop_map(Value::Bool),
        any::<String>().prop_map(Value::String),
        any::<u64>().prop_map(Value::U64),
        any::<i64>().prop_map(Value::I64),
        (-1e200_f64..1e200).prop_map(Value::F64),
        array().prop_map(Value::Array),
    ]
}

fn array() -> impl Strategy<Value = Array> {
    prop_oneof![
        vec(any::<u8>(), 0..9).prop_map(Array::U8),
        vec(any::<i8>(), 0..9).prop_map(Array::I8),
        vec(any::<u16>(), 0..9).prop_map(Array::U16),
        vec(any::<i16>(), 0..9).prop_map(Array::I16),
        vec(any::<u32>(), 0..9).prop_map(Array::U32),
        vec(any::<i32>(), 0..9).prop_map(Array::I32),
        vec(-1e30_f32..1e30, 0..9).prop_map(Array::F32),
        vec(any::<bool>(), 0..9).prop_map(Array::Bool),
        vec(any::<String>(), 0..9).prop_map(Array::String),
        vec(any::<u64>(), 0..9).prop_map(Array::U64),
        vec(any::<i64>(), 0..9).prop_map(Array::I64),
        vec(-1e200_f64..1e200, 0..9).prop_map(Array::F64),
    ]
}

/// A tensor of any type, its rows a few blocks, one to four dimensions.
fn tensor() -> impl Strategy<Value = (TensorType, Vec<usize>)> {
    let types: Vec<_> = TensorType::all().collect();
    (proptest::sample::select(types), 1..4_usize, vec(1..4_usize, 0..4))
        .prop_map(|(ty, blocks, more)| (ty, [vec![blocks * ty.block_len()], more].concat()))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() })]

    #[test]
    fn gguf(
        values in vec(value(), 0..12),
        tensors in vec(tensor(), 0..6),
        alignment in proptest::option::of(0_u32..10),
        max_bytes in 1_u64..5000,
    ) {
        let mut metadata = Metadata::new();
        for (index, value) in values.into_iter().enumerate() {
            metadata.set(format!("key.{index}"), value);
        }
        if let Some(power) = alignment {
            metadata.set("general.alignment", 1_u32 << power);
        }
        let tensors: Vec<_> = tensors
            .into_iter()
            .enumerate()
            .map(|(index, (ty, shape))| Tensor { name: format!("t{index}"), ty, shape })
            .collect();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.gguf");
        let files = Layout::split(&path, &metadata, &tensors, max_bytes).unwrap();
        for (path, layout) in &files {
            let mut bytes = layout.header.clone();
            bytes.resize(usize::try_from(layout.len).unwrap(), 0);
            for (index, offset) in &layout.tensors {
                let begin = usize::try_from(*offset).unwrap();
                bytes[begin..][..tensors[*index].bytes()].fill(*index as u8 + 1);
            }
            fs::write(path, bytes).unwrap();
        }
        let read = Checkpoint::open(&files[0].0, &Limits::default()).unwrap();
        prop_assert_eq!(&read.metadata, &metadata);
        prop_assert_eq!(&read.tensors, &tensors);
        for (index, tensor) in tensors.iter().enumerate() {
            let bytes = read.bytes(tensor).unwrap();
            prop_assert_eq!(bytes.len(), tensor.bytes());
            prop_assert!(bytes.iter().all(|byte| *byte == index as u8 + 1));
        }
    }
}
