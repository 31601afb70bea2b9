//! The types without blocks: floats and integers, one value after the other, little-endian.

use half::{bf16, f16};

use super::Rows;
use crate::Tier;

/// Reads values of `N` bytes each.
fn each<const N: usize>(bytes: &[u8], out: &mut [f32], read: impl Fn([u8; N]) -> f32) {
    let (values, _) = bytes.as_chunks::<N>();
    for (out, bytes) in out.iter_mut().zip(values) {
        *out = read(*bytes);
    }
}

pub(super) fn decode_f32(_: Tier, bytes: &[u8], out: &mut [f32]) {
    each(bytes, out, f32::from_le_bytes);
}

pub(super) fn decode_f64(_: Tier, bytes: &[u8], out: &mut [f32]) {
    each(bytes, out, |b| f64::from_le_bytes(b) as f32);
}

pub(super) fn decode_i8(_: Tier, bytes: &[u8], out: &mut [f32]) {
    each(bytes, out, |b| i8::from_le_bytes(b) as f32);
}

pub(super) fn decode_i16(_: Tier, bytes: &[u8], out: &mut [f32]) {
    each(bytes, out, |b| i16::from_le_bytes(b) as f32);
}

pub(super) fn decode_i32(_: Tier, bytes: &[u8], out: &mut [f32]) {
    each(bytes, out, |b| i32::from_le_bytes(b) as f32);
}

pub(super) fn decode_i64(_: Tier, bytes: &[u8], out: &mut [f32]) {
    each(bytes, out, |b| i64::from_le_bytes(b) as f32);
}

pub(super) fn decode_f16(_: Tier, bytes: &[u8], out: &mut [f32]) {
    each(bytes, out, |b| f16::from_le_bytes(b).to_f32());
}

pub(super) fn decode_bf16(_: Tier, bytes: &[u8], out: &mut [f32]) {
    // BF16 is the upper half of an F32.
    each(bytes, out, |b| f32::from_bits(u32::from(u16::from_le_bytes(b)) << 16));
}

pub(super) fn encode_f32(_: Tier, rows: &Rows<'_>, out: &mut [u8]) {
    let (out, _) = out.as_chunks_mut::<4>();
    for (out, x) in out.iter_mut().zip(rows.values) {
        *out = x.to_le_bytes();
    }
}

pub(super) fn encode_f16(_: Tier, rows: &Rows<'_>, out: &mut [u8]) {
    let (out, _) = out.as_chunks_mut::<2>();
    for (out, x) in out.iter_mut().zip(rows.values) {
        *out = f16::from_f32(*x).to_le_bytes();
    }
}

pub(super) fn encode_bf16(_: Tier, rows: &Rows<'_>, out: &mut [u8]) {
    let (out, _) = out.as_chunks_mut::<2>();
    for (out, x) in out.iter_mut().zip(rows.values) {
        *out = bf16::from_f32(*x).to_le_bytes();
    }
}
