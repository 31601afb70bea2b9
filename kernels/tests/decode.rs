//! Decoding against golden blocks, which `tests/scripts/golden_blocks.py` made with ggml and with
//! the Python package `gguf`.

#![allow(clippy::expect_used, clippy::panic, reason = "a test that fails may say so")]

use std::path::Path;

use mdl_kernels::{TensorType, Tier, codec};

/// The types that are stored in files but have no golden blocks: `plain_numbers` covers them.
const PLAIN: [TensorType; 6] = [
    TensorType::F32,
    TensorType::I8,
    TensorType::I16,
    TensorType::I32,
    TensorType::I64,
    TensorType::F64,
];

/// The blocks and the values that they decode to.
fn golden(ty: TensorType) -> Option<(Vec<u8>, Vec<f32>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/decode");
    let file = std::fs::read(folder.join(format!("{ty}.bin"))).ok()?;
    let (head, rest) = file.split_first_chunk::<4>().expect("a count");
    let count = u32::from_le_bytes(*head) as usize;
    let (blocks, values) = rest.split_at(rest.len() - 4 * count);
    let values = values.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
    Some((blocks.to_vec(), values))
}

fn same(a: f32, b: f32) -> bool {
    a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan()
}

#[test]
fn every_type_equals_ggml_in_every_tier() {
    for ty in TensorType::all() {
        if PLAIN.contains(&ty) || matches!(ty, TensorType::Q8_1 | TensorType::Q8_K) {
            continue;
        }
        let (blocks, expected) = golden(ty).unwrap_or_else(|| panic!("no golden blocks for {ty}"));
        for tier in Tier::available() {
            let mut values = vec![0.0; expected.len()];
            match codec::decode(tier, ty, &blocks, &mut values) {
                Ok(()) => {}

                Err(error) => panic!("{ty} in {tier}: {error}"),
            }
            for (i, (ours, theirs)) in values.iter().zip(&expected).enumerate() {
                assert!(same(*ours, *theirs), "{ty} in {tier}, value {i}: {ours} for {theirs}");
            }
        }
    }
}

#[test]
fn a_block_more_or_less_changes_nothing() {
    for ty in TensorType::all() {
        let Some((blocks, expected)) = golden(ty) else { continue };
        for tier in Tier::available() {
            for count in 1..blocks.len() / ty.block_bytes() {
                let mut values = vec![0.0; count * ty.block_len()];
                let some = &blocks[..count * ty.block_bytes()];
                codec::decode(tier, ty, some, &mut values).expect("decodes");
                let equal = values.iter().zip(&expected).all(|(a, b)| same(*a, *b));
                assert!(equal, "{ty} in {tier}, {count} blocks");
            }
        }
    }
}

#[test]
fn plain_numbers() {
    let decode = |ty: TensorType, bytes: &[u8]| {
        let mut out = vec![0.0; bytes.len() / ty.block_bytes()];
        codec::decode(Tier::detect(), ty, bytes, &mut out).expect("decodes");
        out
    };
    assert_eq!(decode(TensorType::F32, &1.5f32.to_le_bytes()), [1.5]);
    assert_eq!(decode(TensorType::F64, &0.1f64.to_le_bytes()), [0.1]);
    assert_eq!(decode(TensorType::I8, &[0xff, 0x7f]), [-1.0, 127.0]);
    assert_eq!(decode(TensorType::I16, &(-300i16).to_le_bytes()), [-300.0]);
    assert_eq!(decode(TensorType::I32, &i32::MIN.to_le_bytes()), [-2147483648.0]);
    assert_eq!(decode(TensorType::I64, &(1i64 << 40).to_le_bytes()), [1099511627776.0]);
}
