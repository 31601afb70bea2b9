//! The types whose values are points of a fixed set; the sets are the codecs'.
//!
//! Factors of `(½ + s)` become integer scales `2 s + 1` under half the block's scale; IQ1's shift of
//! an eighth makes its points `8 p ± 1` under an eighth of it. Codes are points plus 64.

use super::Half;
use crate::TensorType;
use crate::codec::lattice::{IQ1, IQ2_S, IQ2_XS, IQ2_XXS, IQ3_S, IQ3_XXS, even_signs};
use crate::matrix::q8::format::{Block, Large};

/// What is added to points to make codes.
const OFFSET: u8 = 64;

/// Codes of magnitudes, negative where the sign bit is set.
#[inline(always)]
fn put<const N: usize>(codes: &mut [u8], points: [u8; N], signs: u8) {
    for (at, (code, point)) in codes.iter_mut().zip(points).enumerate() {
        let negative = 0_u8.wrapping_sub(signs >> at & 1);
        *code = (point ^ negative).wrapping_sub(negative).wrapping_add(OFFSET);
    }
}

/// Codes of IQ1's points.
#[inline(always)]
fn put_shifted(codes: &mut [u8], points: [i8; 8], down: bool) {
    let shifted = if down { OFFSET - 1 } else { OFFSET + 1 };
    for (code, point) in codes.iter_mut().zip(points) {
        *code = (8 * point).cast_unsigned().wrapping_add(shifted);
    }
}

#[inline(always)]
fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

#[inline(always)]
fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// `2 s + 1` for both halves of a group of 32.
#[inline(always)]
fn set_scale(block: &mut Block<'_>, group: usize, first: u32, second: u32) {
    block.scales[2 * group] = (2 * first + 1).cast_signed();
    block.scales[2 * group + 1] = (2 * second + 1).cast_signed();
}

pub(crate) struct Iq2Xxs;
impl Large for Iq2Xxs {
    const TYPE: TensorType = TensorType::IQ2_XXS;
    const PER_SCALE: usize = 32;
    const OFFSET: i32 = OFFSET as i32;
    const MAX_CODE: u8 = 64 + 43;
    #[inline(always)]
    fn open<H: Half>(stored: &[u8], block: &mut Block<'_>) -> (f32, f32) {
        for group in 0..8 {
            let at = 2 + group * 8;
            let word = u32_at(stored, at + 4);
            set_scale(block, group, word >> 28, word >> 28);
            for (part, codes) in block.codes[group * 32..][..32].chunks_exact_mut(8).enumerate() {
                let point = IQ2_XXS[usize::from(stored[at + part])];
                put(codes, point, even_signs(word >> (7 * part)));
            }
        }
        (H::at(stored, 0) * 0.125, 0.0)
    }
}

/// Scales of four bits, two in a byte.
#[inline(always)]
fn nibble_scales(bytes: &[u8], block: &mut Block<'_>) {
    for (group, byte) in bytes[..8].iter().enumerate() {
        set_scale(block, group, u32::from(byte & 15), u32::from(byte >> 4));
    }
}

pub(crate) struct Iq2Xs;
impl Large for Iq2Xs {
    const TYPE: TensorType = TensorType::IQ2_XS;
    const PER_SCALE: usize = 16;
    const OFFSET: i32 = OFFSET as i32;
    const MAX_CODE: u8 = 64 + 43;
    #[inline(always)]
    fn open<H: Half>(stored: &[u8], block: &mut Block<'_>) -> (f32, f32) {
        nibble_scales(&stored[66..74], block);
        for (part, codes) in block.codes.chunks_exact_mut(8).enumerate() {
            let word = u16_at(stored, 2 + 2 * part);
            put(codes, IQ2_XS[usize::from(word & 511)], even_signs(u32::from(word >> 9)));
        }
        (H::at(stored, 0) * 0.125, 0.0)
    }
}

pub(crate) struct Iq2S;
impl Large for Iq2S {
    const TYPE: TensorType = TensorType::IQ2_S;
    const PER_SCALE: usize = 16;
    const OFFSET: i32 = OFFSET as i32;
    const MAX_CODE: u8 = 64 + 43;
    #[inline(always)]
    fn open<H: Half>(stored: &[u8], block: &mut Block<'_>) -> (f32, f32) {
        nibble_scales(&stored[74..82], block);
        for (part, codes) in block.codes.chunks_exact_mut(8).enumerate() {
            let high = usize::from(stored[66 + part / 4] >> (part % 4 * 2) & 3);
            let point = IQ2_S[usize::from(stored[2 + part]) | high << 8];
            put(codes, point, stored[34 + part]);
        }
        (H::at(stored, 0) * 0.125, 0.0)
    }
}

pub(crate) struct Iq3Xxs;
impl Large for Iq3Xxs {
    const TYPE: TensorType = TensorType::IQ3_XXS;
    const PER_SCALE: usize = 32;
    const OFFSET: i32 = OFFSET as i32;
    const MAX_CODE: u8 = 64 + 62;
    #[inline(always)]
    fn open<H: Half>(stored: &[u8], block: &mut Block<'_>) -> (f32, f32) {
        for group in 0..8 {
            let word = u32_at(stored, 66 + group * 4);
            set_scale(block, group, word >> 28, word >> 28);
            for (part, codes) in block.codes[group * 32..][..32].chunks_exact_mut(8).enumerate() {
                let signs = even_signs(word >> (7 * part));
                let at = 2 + group * 8 + part * 2;
                put(&mut codes[..4], IQ3_XXS[usize::from(stored[at])], signs);
                put(&mut codes[4..], IQ3_XXS[usize::from(stored[at + 1])], signs >> 4);
            }
        }
        (H::at(stored, 0) * 0.25, 0.0)
    }
}

pub(crate) struct Iq3S;
impl Large for Iq3S {
    const TYPE: TensorType = TensorType::IQ3_S;
    const PER_SCALE: usize = 32;
    const OFFSET: i32 = OFFSET as i32;
    const MAX_CODE: u8 = 64 + 15;
    #[inline(always)]
    fn open<H: Half>(stored: &[u8], block: &mut Block<'_>) -> (f32, f32) {
        for group in 0..8 {
            let scale = u32::from(stored[106 + group / 2] >> (group % 2 * 4) & 15);
            set_scale(block, group, scale, scale);
            for (part, codes) in block.codes[group * 32..][..32].chunks_exact_mut(4).enumerate() {
                let high = usize::from(stored[66 + group] >> part & 1);
                let point = IQ3_S[usize::from(stored[2 + group * 8 + part]) | high << 8];
                put(codes, point, stored[74 + group * 4 + part / 2] >> (part % 2 * 4));
            }
        }
        (H::at(stored, 0), 0.0)
    }
}

pub(crate) struct Iq1S;
impl Large for Iq1S {
    const TYPE: TensorType = TensorType::IQ1_S;
    const PER_SCALE: usize = 32;
    const OFFSET: i32 = OFFSET as i32;
    const MAX_CODE: u8 = 64 + 9;
    #[inline(always)]
    fn open<H: Half>(stored: &[u8], block: &mut Block<'_>) -> (f32, f32) {
        for group in 0..8 {
            let word = u16_at(stored, 34 + group * 2);
            let scale = u32::from(word >> 12 & 7);
            set_scale(block, group, scale, scale);
            for (part, codes) in block.codes[group * 32..][..32].chunks_exact_mut(8).enumerate() {
                let high = usize::from(word >> (3 * part) & 7);
                let point = IQ1[usize::from(stored[2 + group * 4 + part]) | high << 8];
                put_shifted(codes, point, word & 0x8000 != 0);
            }
        }
        (H::at(stored, 0) * 0.125, 0.0)
    }
}

pub(crate) struct Iq1M;
impl Large for Iq1M {
    const TYPE: TensorType = TensorType::IQ1_M;
    const PER_SCALE: usize = 16;
    const OFFSET: i32 = OFFSET as i32;
    const MAX_CODE: u8 = 64 + 9;
    #[inline(always)]
    fn open<H: Half>(stored: &[u8], block: &mut Block<'_>) -> (f32, f32) {
        // The F16 scale stands in the top four bits of four words, low bits first.
        let mut bits = 0;
        for word in 0..4 {
            let scales = u16_at(stored, 48 + word * 2);
            bits |= (scales >> 12) << (4 * word);
            for half in 0..2 {
                let pair = u32::from(scales >> (6 * half));
                set_scale(block, 2 * word + half, pair & 7, pair >> 3 & 7);
            }
        }
        for (part, codes) in block.codes.chunks_exact_mut(8).enumerate() {
            let high = stored[32 + part / 2] >> (part % 2 * 4);
            let point = IQ1[usize::from(stored[part]) | usize::from(high & 7) << 8];
            put_shifted(codes, point, high & 8 != 0);
        }
        (H::at(&bits.to_le_bytes(), 0) * 0.125, 0.0)
    }
}
