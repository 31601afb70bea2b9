//! `Q3_K`: 16 sub-blocks of 16; x = d · s · q, q of 3 bits in −4..4, s of 6 bits in −32..32.
//!
//! Layout (ggml's `block_q3_K`, 110 bytes): 32 bytes of high bits; 64 bytes of low bits, laid as in
//! `Q2_K`; 12 bytes of scales; F16 d. Codes are stored as q + 4, scales as s + 32. The high bit of
//! value 32 k + l is bit k of byte l. Scale j: low 4 bits in byte j % 8, in its upper half for
//! j ≥ 8; high 2 bits in byte 8 + j % 4 at bit 2 (j / 4).

use super::{BLOCK, Fields, half_at, put_half, q2_k::pack_pairs};

/// Bytes in a block.
pub(super) const BYTES: usize = 110;

/// Writes the values of one block.
#[inline(always)]
pub(super) fn decode(block: &[u8; BYTES], out: &mut [f32; BLOCK]) {
    let d = half_at(block, 108);
    let (high, low, scales) = (&block[..32], &block[32..96], &block[96..108]);
    for (sub, values) in out.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        let lower = (scales[sub % 8] >> (4 * (sub / 8))) & 15;
        let upper = (scales[8 + sub % 4] >> (2 * (sub / 4))) & 3;
        let scale = d * ((lower | upper << 4) as i32 - 32) as f32;
        let part = 16 * (sub % 2);
        let low = &low[32 * (sub / 8) + part..][..16];
        let high = &high[part..part + 16];
        let (shift, bit) = (2 * (sub % 8 / 2), sub / 2);
        for ((value, low), high) in values.iter_mut().zip(low).zip(high) {
            let code = ((low >> shift) & 3) | ((high >> bit) & 1) << 2;
            *value = scale * (code as i32 - 4) as f32;
        }
    }
}

/// Writes one block; codes are q + 4.
#[inline(always)]
pub(super) fn pack(fields: &Fields, block: &mut [u8; BYTES]) {
    block.fill(0);
    for (k, codes) in fields.codes.as_chunks::<32>().0.iter().enumerate() {
        for (byte, code) in block[..32].iter_mut().zip(codes) {
            *byte |= (code >> 2) << k;
        }
    }
    pack_pairs(&fields.codes, &mut block[32..96]);
    for (sub, scale) in fields.scales.iter().enumerate() {
        let stored = (scale + 32) as u8;
        block[96 + sub % 8] |= (stored & 15) << (4 * (sub / 8));
        block[104 + sub % 4] |= (stored >> 4) << (2 * (sub / 4));
    }
    put_half(block, 108, fields.d);
}
