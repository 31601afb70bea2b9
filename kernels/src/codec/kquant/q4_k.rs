//! `Q4_K`: 8 sub-blocks of 32; x = d · s · q − dmin · t, q of 4 bits, s and t of 6.
//!
//! Layout (ggml's `block_q4_K`, 144 bytes): F16 d; F16 dmin; 12 bytes of scales and mins; 128 bytes
//! of codes. Byte 32 h + l holds the codes of values 64 h + l (low half) and 64 h + 32 + l.

use super::{BLOCK, Fields, half_at, put_half};

/// Bytes in a block.
pub(super) const BYTES: usize = 144;

/// Writes the values of one block.
#[inline(always)]
pub(super) fn decode(block: &[u8; BYTES], out: &mut [f32; BLOCK]) {
    let (d, dmin) = (half_at(block, 0), half_at(block, 2));
    for (sub, values) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        let (s, t) = scale_and_min(&block[4..16], sub);
        let (scale, min) = (d * s as f32, dmin * t as f32);
        let shift = 4 * (sub % 2);
        for (value, code) in values.iter_mut().zip(&block[16 + 32 * (sub / 2)..][..32]) {
            *value = scale * ((code >> shift) & 15) as f32 - min;
        }
    }
}

/// Writes one block; codes are 0..16.
#[inline(always)]
pub(super) fn pack(fields: &Fields, block: &mut [u8; BYTES]) {
    block.fill(0);
    put_half(block, 0, fields.d);
    put_half(block, 2, fields.dmin);
    pack_scales_and_mins(fields, &mut block[4..16]);
    pack_nibbles(&fields.codes, &mut block[16..]);
}

/// The scale and the min of sub-block `sub` of `Q4_K` and `Q5_K`: for the first four, 6 bits of byte
/// `sub` and of byte `sub + 4`; for the others, the halves of byte `sub + 4` with the top 2 bits of
/// bytes `sub − 4` and `sub`.
#[inline(always)]
pub(super) fn scale_and_min(bytes: &[u8], sub: usize) -> (u8, u8) {
    if sub < 4 {
        (bytes[sub] & 63, bytes[sub + 4] & 63)
    } else {
        let low = bytes[sub + 4];
        (low & 15 | bytes[sub - 4] >> 6 << 4, low >> 4 | bytes[sub] >> 6 << 4)
    }
}

/// The inverse of [`scale_and_min`] for all eight; `out` holds zeros.
#[inline(always)]
pub(super) fn pack_scales_and_mins(fields: &Fields, out: &mut [u8]) {
    for sub in 0..8 {
        let (scale, min) = (fields.scales[sub] as u8, fields.mins[sub]);
        if sub < 4 {
            out[sub] |= scale;
            out[sub + 4] |= min;
        } else {
            out[sub + 4] = scale & 15 | min << 4;
            out[sub - 4] |= scale >> 4 << 6;
            out[sub] |= min >> 4 << 6;
        }
    }
}

/// The four low bits of the codes, two to a byte: `Q4_K` and `Q5_K` share the layout.
#[inline(always)]
pub(super) fn pack_nibbles(codes: &[u8; BLOCK], out: &mut [u8]) {
    for (codes, out) in codes.as_chunks::<64>().0.iter().zip(out.as_chunks_mut::<32>().0) {
        for (l, byte) in out.iter_mut().enumerate() {
            *byte = codes[l] & 15 | codes[l + 32] << 4;
        }
    }
}
