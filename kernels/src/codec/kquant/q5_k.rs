//! `Q5_K`: 8 sub-blocks of 32; x = d · s · q − dmin · t, q of 5 bits, s and t of 6.
//!
//! Layout (ggml's `block_q5_K`, 176 bytes): F16 d; F16 dmin; 12 bytes of scales and mins and 128
//! bytes of low bits as in `Q4_K`, between them 32 bytes of high bits: bit k of byte l belongs to
//! value 32 k + l.

use super::q4_k::{pack_nibbles, pack_scales_and_mins, scale_and_min};
use super::{BLOCK, Fields, half_at, put_half};

/// Bytes in a block.
pub(super) const BYTES: usize = 176;

/// Writes the values of one block.
#[inline(always)]
pub(super) fn decode(block: &[u8; BYTES], out: &mut [f32; BLOCK]) {
    let (d, dmin) = (half_at(block, 0), half_at(block, 2));
    for (sub, values) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        let (s, t) = scale_and_min(&block[4..16], sub);
        let (scale, min) = (d * s as f32, dmin * t as f32);
        let shift = 4 * (sub % 2);
        let low = &block[48 + 32 * (sub / 2)..][..32];
        for ((value, low), high) in values.iter_mut().zip(low).zip(&block[16..48]) {
            let code = ((low >> shift) & 15) | ((high >> sub) & 1) << 4;
            *value = scale * code as f32 - min;
        }
    }
}

/// Writes one block; codes are 0..32.
#[inline(always)]
pub(super) fn pack(fields: &Fields, block: &mut [u8; BYTES]) {
    block.fill(0);
    put_half(block, 0, fields.d);
    put_half(block, 2, fields.dmin);
    pack_scales_and_mins(fields, &mut block[4..16]);
    for (k, codes) in fields.codes.as_chunks::<32>().0.iter().enumerate() {
        for (byte, code) in block[16..48].iter_mut().zip(codes) {
            *byte |= (code >> 4) << k;
        }
    }
    pack_nibbles(&fields.codes, &mut block[48..]);
}
