//! `Q6_K`: 16 sub-blocks of 16; x = d · s · q, q of 6 bits in −32..32, s of 8 bits, signed.
//!
//! Layout (ggml's `block_q6_K`, 210 bytes): 128 bytes of low bits, 64 of high bits, 16 scales, F16 d.
//! Codes are stored as q + 32. Of value 128 h + 32 k + l, the low 4 bits stand in byte
//! 64 h + 32 (k % 2) + l, in its upper half for k ≥ 2; the high 2 in byte 32 h + l at bit 2 k.

use super::{BLOCK, Fields, half_at, put_half};

/// Bytes in a block.
pub(super) const BYTES: usize = 210;

/// Writes the values of one block.
#[inline(always)]
pub(super) fn decode(block: &[u8; BYTES], out: &mut [f32; BLOCK]) {
    let d = half_at(block, 208);
    for (sub, values) in out.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        let scale = d * (block[192 + sub] as i8) as f32;
        let (h, k, part) = (sub / 8, sub % 8 / 2, 16 * (sub % 2));
        let low = &block[64 * h + 32 * (k % 2) + part..][..16];
        let high = &block[128 + 32 * h + part..][..16];
        for ((value, low), high) in values.iter_mut().zip(low).zip(high) {
            let code = ((low >> (4 * (k / 2))) & 15) | ((high >> (2 * k)) & 3) << 4;
            *value = scale * (code as i32 - 32) as f32;
        }
    }
}

/// Writes one block; codes are q + 32.
#[inline(always)]
pub(super) fn pack(fields: &Fields, block: &mut [u8; BYTES]) {
    for (h, codes) in fields.codes.as_chunks::<128>().0.iter().enumerate() {
        for l in 0..32 {
            let (a, b, c, d) = (codes[l], codes[l + 32], codes[l + 64], codes[l + 96]);
            block[64 * h + l] = a & 15 | c << 4;
            block[64 * h + 32 + l] = b & 15 | d << 4;
            block[128 + 32 * h + l] = a >> 4 | b >> 4 << 2 | c >> 4 << 4 | d >> 4 << 6;
        }
    }
    for (byte, scale) in block[192..208].iter_mut().zip(&fields.scales) {
        *byte = *scale as u8;
    }
    put_half(block, 208, fields.d);
}
