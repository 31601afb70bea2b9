//! `Q2_K`: 16 sub-blocks of 16; x = d · s · q − dmin · t, q of 2 bits, s and t of 4.
//!
//! Layout (ggml's `block_q2_K`, 84 bytes): 16 bytes `s | t << 4`; 64 bytes of codes; F16 d; F16 dmin.
//! Byte 32 h + l holds the codes of values 128 h + 32 k + l at bits 2 k, k in 0..4.

use super::{BLOCK, Fields, half_at, put_half};

/// Bytes in a block.
pub(super) const BYTES: usize = 84;

/// Writes the values of one block.
#[inline(always)]
pub(super) fn decode(block: &[u8; BYTES], out: &mut [f32; BLOCK]) {
    let (d, dmin) = (half_at(block, 80), half_at(block, 82));
    let (scales, rest) = block.split_at(16);
    for (h, codes) in rest.as_chunks::<32>().0.iter().take(2).enumerate() {
        for k in 0..4 {
            for part in 0..2 {
                let sub = 8 * h + 2 * k + part;
                let scale = d * (scales[sub] & 15) as f32;
                let min = dmin * (scales[sub] >> 4) as f32;
                let values = &mut out[16 * sub..16 * sub + 16];
                for (value, code) in values.iter_mut().zip(&codes[16 * part..16 * part + 16]) {
                    *value = scale * ((code >> (2 * k)) & 3) as f32 - min;
                }
            }
        }
    }
}

/// Writes one block; codes are 0..4.
#[inline(always)]
pub(super) fn pack(fields: &Fields, block: &mut [u8; BYTES]) {
    for (sub, byte) in block[..16].iter_mut().enumerate() {
        *byte = fields.scales[sub] as u8 | (fields.mins[sub] << 4);
    }
    pack_pairs(&fields.codes, &mut block[16..80]);
    put_half(block, 80, fields.d);
    put_half(block, 82, fields.dmin);
}

/// The two low bits of the codes, four to a byte: `Q2_K` and `Q3_K` share the layout.
#[inline(always)]
pub(super) fn pack_pairs(codes: &[u8; BLOCK], out: &mut [u8]) {
    for (codes, out) in codes.as_chunks::<128>().0.iter().zip(out.as_chunks_mut::<32>().0) {
        for (l, byte) in out.iter_mut().enumerate() {
            *byte = (codes[l] & 3)
                | (codes[l + 32] & 3) << 2
                | (codes[l + 64] & 3) << 4
                | (codes[l + 96] & 3) << 6;
        }
    }
}
