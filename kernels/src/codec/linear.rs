//! Decoding of blocks of 32 values with evenly spaced levels: Q4_0, Q4_1, Q5_0, Q5_1, Q8_0; and of
//! the two types with very few levels, Q1_0 and Q2_0.
//!
//! Source of the layouts: the block structs and `dequantize_row_*` of ggml 0.25. A block is an F16
//! scale `d`, for the `_1` types an F16 minimum `m`, for Q5 the fifth bits of all values, then the
//! levels; in a byte of two, value j has the low half and value j + 16 the high half.

use super::tiers::{blocks, f16_at, per_tier, u32_at};

per_tier! {
    /// Two roundings a value at most: (q − 8) · d.
    pub(super) fn decode_q4_0(bytes: &[u8], out: &mut [f32]) = q4_0
}

#[inline(always)]
fn q4_0(bytes: &[u8], out: &mut [f32]) {
    blocks(bytes, out, |block: &[u8; 18], out: &mut [f32; 32]| {
        let d = f16_at(block, 0);
        for j in 0..16 {
            let q = i32::from(block[2 + j]);
            out[j] = ((q & 15) - 8) as f32 * d;
            out[j + 16] = ((q >> 4) - 8) as f32 * d;
        }
    });
}

per_tier! {
    /// q · d + m, rounded twice.
    pub(super) fn decode_q4_1(bytes: &[u8], out: &mut [f32]) = q4_1
}

#[inline(always)]
fn q4_1(bytes: &[u8], out: &mut [f32]) {
    blocks(bytes, out, |block: &[u8; 20], out: &mut [f32; 32]| {
        let (d, m) = (f16_at(block, 0), f16_at(block, 2));
        for j in 0..16 {
            let q = i32::from(block[4 + j]);
            out[j] = (q & 15) as f32 * d + m;
            out[j + 16] = (q >> 4) as f32 * d + m;
        }
    });
}

per_tier! {
    /// (q − 16) · d.
    pub(super) fn decode_q5_0(bytes: &[u8], out: &mut [f32]) = q5_0
}

#[inline(always)]
fn q5_0(bytes: &[u8], out: &mut [f32]) {
    blocks(bytes, out, |block: &[u8; 22], out: &mut [f32; 32]| {
        let (d, high) = (f16_at(block, 0), u32_at(block, 2));
        for j in 0..16 {
            let q = u32::from(block[6 + j]);
            let low = (q & 15) | ((high >> j) & 1) << 4;
            let up = (q >> 4) | ((high >> (j + 16)) & 1) << 4;
            out[j] = (low as i32 - 16) as f32 * d;
            out[j + 16] = (up as i32 - 16) as f32 * d;
        }
    });
}

per_tier! {
    /// q · d + m, rounded twice.
    pub(super) fn decode_q5_1(bytes: &[u8], out: &mut [f32]) = q5_1
}

#[inline(always)]
fn q5_1(bytes: &[u8], out: &mut [f32]) {
    blocks(bytes, out, |block: &[u8; 24], out: &mut [f32; 32]| {
        let (d, m, high) = (f16_at(block, 0), f16_at(block, 2), u32_at(block, 4));
        for j in 0..16 {
            let q = u32::from(block[8 + j]);
            let low = (q & 15) | ((high >> j) & 1) << 4;
            let up = (q >> 4) | ((high >> (j + 16)) & 1) << 4;
            out[j] = low as i32 as f32 * d + m;
            out[j + 16] = up as i32 as f32 * d + m;
        }
    });
}

per_tier! {
    /// q · d.
    pub(super) fn decode_q8_0(bytes: &[u8], out: &mut [f32]) = q8_0
}

#[inline(always)]
fn q8_0(bytes: &[u8], out: &mut [f32]) {
    blocks(bytes, out, |block: &[u8; 34], out: &mut [f32; 32]| {
        let d = f16_at(block, 0);
        for j in 0..32 {
            out[j] = f32::from(block[2 + j] as i8) * d;
        }
    });
}

per_tier! {
    /// 128 values: d where the bit is set, else −d.
    pub(super) fn decode_q1_0(bytes: &[u8], out: &mut [f32]) = q1_0
}

#[inline(always)]
fn q1_0(bytes: &[u8], out: &mut [f32]) {
    blocks(bytes, out, |block: &[u8; 18], out: &mut [f32; 128]| {
        let d = f16_at(block, 0);
        for j in 0..128 {
            out[j] = if block[2 + j / 8] >> (j % 8) & 1 == 1 { d } else { -d };
        }
    });
}

per_tier! {
    /// 64 values: (q − 1) · d with q of two bits, lowest first.
    pub(super) fn decode_q2_0(bytes: &[u8], out: &mut [f32]) = q2_0
}

#[inline(always)]
fn q2_0(bytes: &[u8], out: &mut [f32]) {
    blocks(bytes, out, |block: &[u8; 18], out: &mut [f32; 64]| {
        let d = f16_at(block, 0);
        for j in 0..64 {
            let q = i32::from(block[2 + j / 4]) >> (j % 4 * 2) & 3;
            out[j] = (q - 1) as f32 * d;
        }
    });
}
