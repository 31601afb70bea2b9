//! The k-quants and IQ4_XS: blocks of 256 with integer scales below an F16 one.

use super::Half;
use super::small::{IQ4_CODES, nibbles};
use crate::TensorType;
use crate::matrix::q8::format::{Block, Large};

/// Two bits of each of 32 bytes, for the four shifts: 128 codes in the order of the columns.
#[inline(always)]
fn two_bits(bytes: &[u8], codes: &mut [u8]) {
    for (shift, codes) in codes.chunks_exact_mut(32).enumerate() {
        for (code, byte) in codes.iter_mut().zip(&bytes[..32]) {
            *code = byte >> (2 * shift) & 3;
        }
    }
}

/// Scales and minima of Q4_K and Q5_K: eight of six bits each, in twelve bytes.
#[inline(always)]
fn six_bits(bytes: &[u8], block: &mut Block<'_>) {
    for at in 0..4 {
        let (low, mid, high) = (bytes[at], bytes[at + 4], bytes[at + 8]);
        let values = [
            (at, low & 63, mid & 63),
            (at + 4, high & 15 | low >> 6 << 4, high >> 4 | mid >> 6 << 4),
        ];
        for (at, scale, min) in values {
            block.scales[2 * at..2 * at + 2].fill(i32::from(scale));
            block.mins[2 * at..2 * at + 2].fill(i16::from(min));
        }
    }
}

pub(crate) struct Q2K;
impl Large for Q2K {
    const TYPE: TensorType = TensorType::Q2_K;
    const PER_SCALE: usize = 16;
    const OFFSET: i32 = 0;
    const MAX_CODE: u8 = 3;
    const MINS: bool = true;
    #[inline(always)]
    fn open<H: Half>(stored: &[u8], block: &mut Block<'_>) -> (f32, f32) {
        for (at, both) in stored[..16].iter().enumerate() {
            block.scales[at] = i32::from(both & 15);
            block.mins[at] = i16::from(both >> 4);
        }
        two_bits(&stored[16..48], &mut block.codes[..128]);
        two_bits(&stored[48..80], &mut block.codes[128..]);
        (H::at(stored, 80), -H::at(stored, 82))
    }
}

pub(crate) struct Q3K;
impl Large for Q3K {
    const TYPE: TensorType = TensorType::Q3_K;
    const PER_SCALE: usize = 16;
    const OFFSET: i32 = 4;
    const MAX_CODE: u8 = 7;
    #[inline(always)]
    fn open<H: Half>(stored: &[u8], block: &mut Block<'_>) -> (f32, f32) {
        let high = &stored[..32];
        two_bits(&stored[32..64], &mut block.codes[..128]);
        two_bits(&stored[64..96], &mut block.codes[128..]);
        for (bit, codes) in block.codes.chunks_exact_mut(32).enumerate() {
            for (code, high) in codes.iter_mut().zip(high) {
                *code |= (high >> bit & 1) << 2;
            }
        }
        let scales = &stored[96..108];
        for at in 0..16 {
            let low = scales[at % 8] >> (at / 8 * 4) & 15;
            let top = scales[8 + at % 4] >> (at / 4 * 2) & 3;
            block.scales[at] = i32::from(low | top << 4) - 32;
        }
        (H::at(stored, 108), 0.0)
    }
}

pub(crate) struct Q4K;
impl Large for Q4K {
    const TYPE: TensorType = TensorType::Q4_K;
    const PER_SCALE: usize = 32;
    const OFFSET: i32 = 0;
    const MAX_CODE: u8 = 15;
    const MINS: bool = true;
    #[inline(always)]
    fn open<H: Half>(stored: &[u8], block: &mut Block<'_>) -> (f32, f32) {
        six_bits(&stored[4..16], block);
        let pairs = block.codes.chunks_exact_mut(64).zip(stored[16..144].chunks_exact(32));
        for (codes, bytes) in pairs {
            for at in 0..32 {
                codes[at] = bytes[at] & 15;
                codes[at + 32] = bytes[at] >> 4;
            }
        }
        (H::at(stored, 0), -H::at(stored, 2))
    }
}

pub(crate) struct Q5K;
impl Large for Q5K {
    const TYPE: TensorType = TensorType::Q5_K;
    const PER_SCALE: usize = 32;
    const OFFSET: i32 = 0;
    const MAX_CODE: u8 = 31;
    const MINS: bool = true;
    #[inline(always)]
    fn open<H: Half>(stored: &[u8], block: &mut Block<'_>) -> (f32, f32) {
        six_bits(&stored[4..16], block);
        let high = &stored[16..48];
        let pairs = block.codes.chunks_exact_mut(64).zip(stored[48..176].chunks_exact(32));
        for (pair, (codes, bytes)) in pairs.enumerate() {
            for at in 0..32 {
                codes[at] = bytes[at] & 15 | (high[at] >> (2 * pair) & 1) << 4;
                codes[at + 32] = bytes[at] >> 4 | (high[at] >> (2 * pair + 1) & 1) << 4;
            }
        }
        (H::at(stored, 0), -H::at(stored, 2))
    }
}

pub(crate) struct Q6K;
impl Large for Q6K {
    const TYPE: TensorType = TensorType::Q6_K;
    const PER_SCALE: usize = 16;
    const OFFSET: i32 = 32;
    const MAX_CODE: u8 = 63;
    #[inline(always)]
    fn open<H: Half>(stored: &[u8], block: &mut Block<'_>) -> (f32, f32) {
        for (half, codes) in block.codes.chunks_exact_mut(128).enumerate() {
            let low = &stored[half * 64..][..64];
            let high = &stored[128 + half * 32..][..32];
            for at in 0..32 {
                let (first, second, high) = (low[at], low[at + 32], high[at]);
                codes[at] = first & 15 | (high & 3) << 4;
                codes[at + 32] = second & 15 | (high >> 2 & 3) << 4;
                codes[at + 64] = first >> 4 | (high >> 4 & 3) << 4;
                codes[at + 96] = second >> 4 | (high >> 6) << 4;
            }
        }
        for (scale, byte) in block.scales.iter_mut().zip(&stored[192..208]) {
            *scale = i32::from(byte.cast_signed());
        }
        (H::at(stored, 208), 0.0)
    }
}

pub(crate) struct Iq4Xs;
impl Large for Iq4Xs {
    const TYPE: TensorType = TensorType::IQ4_XS;
    const PER_SCALE: usize = 32;
    const OFFSET: i32 = 128;
    const MAX_CODE: u8 = 255;
    #[inline(always)]
    fn open<H: Half>(stored: &[u8], block: &mut Block<'_>) -> (f32, f32) {
        let high = u16::from_le_bytes([stored[2], stored[3]]);
        let parts = block.codes.chunks_exact_mut(32).zip(stored[8..136].chunks_exact(16));
        for (part, (codes, bytes)) in parts.enumerate() {
            codes
                .copy_from_slice(&nibbles(bytes).map(|nibble| IQ4_CODES[usize::from(nibble & 15)]));
            let low = stored[4 + part / 2] >> (part % 2 * 4) & 15;
            let scale = i32::from(low) | i32::from(high >> (2 * part) & 3) << 4;
            block.scales[2 * part..2 * part + 2].fill(scale - 32);
        }
        (H::at(stored, 0), 0.0)
    }
}
