//! The ternary types: TQ1_0 (five values in a byte) and TQ2_0 (four).
//!
//! Source of the layouts: `block_tq1_0`, `block_tq2_0` and `dequantize_row_*` of ggml 0.25. A block
//! is 256 values of −d, 0 or d; the F16 scale d stands last.

use super::tiers::{blocks, f16_at, per_tier};

per_tier! {
    /// A byte is the fraction Σ tᵢ · 3^(−1−i) in 256ths, rounded up: multiplied by 3ⁱ and once more by
    /// 3, digit i is what overflows. 32 bytes × 5 digits, then 16 × 5, then 4 × 4.
    pub(super) fn decode_tq1_0(bytes: &[u8], out: &mut [f32]) = tq1_0
}

#[inline(always)]
fn tq1_0(bytes: &[u8], out: &mut [f32]) {
    blocks(bytes, out, |block: &[u8; 54], out: &mut [f32; 256]| {
        let d = f16_at(block, 52);
        let (wide, rest) = out.split_at_mut(160);
        let (narrow, last) = rest.split_at_mut(80);
        digits::<32>(&block[..32], d, wide);
        digits::<16>(&block[32..48], d, narrow);
        digits::<4>(&block[48..52], d, last);
    });
}

#[inline(always)]
fn digits<const BYTES: usize>(packed: &[u8], d: f32, out: &mut [f32]) {
    let mut power = 1u8;
    for out in out.chunks_exact_mut(BYTES) {
        for (out, byte) in out.iter_mut().zip(packed) {
            let digit = (u16::from(byte.wrapping_mul(power)) * 3) >> 8;
            *out = f32::from(digit as i16 - 1) * d;
        }
        power = power.wrapping_mul(3);
    }
}

per_tier! {
    /// Two bits a value: 32 bytes hold four rows of 32 values, lowest bits first, twice.
    pub(super) fn decode_tq2_0(bytes: &[u8], out: &mut [f32]) = tq2_0
}

#[inline(always)]
fn tq2_0(bytes: &[u8], out: &mut [f32]) {
    blocks(bytes, out, |block: &[u8; 66], out: &mut [f32; 256]| {
        let d = f16_at(block, 64);
        for (row, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            for (j, out) in out.iter_mut().enumerate() {
                let q = block[row / 4 * 32 + j] >> (row % 4 * 2) & 3;
                *out = f32::from(i16::from(q) - 1) * d;
            }
        }
    });
}
