//! Types with float scales: blocks of 32 to 128 values that go with `Q8_0` and `Q8_1` activations.

use super::Half;
use crate::TensorType;
use crate::matrix::q8::format::{Part, Small};

/// The values of IQ4_NL and IQ4_XS plus 128.
///
/// Source: `kvalues_iq4nl` in ggml-common.h.
pub(in crate::matrix::q8) const IQ4_CODES: [u8; 16] =
    [1, 24, 45, 63, 79, 93, 106, 118, 129, 141, 153, 166, 181, 197, 217, 241];

/// Twice the values of the 4-bit float E2M1, plus 12.
///
/// Source: `kvalues_fp4` in ggml-common.h.
pub(in crate::matrix::q8) const FP4_CODES: [u8; 16] =
    [12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0];

/// Low nibbles, then high nibbles.
#[inline(always)]
pub(super) fn nibbles(bytes: &[u8]) -> [u8; 32] {
    let mut codes = [0; 32];
    for (at, byte) in bytes[..16].iter().enumerate() {
        codes[at] = byte & 15;
        codes[at + 16] = byte >> 4;
    }
    codes
}

/// The fifth bits of 32 codes, at their place.
#[inline(always)]
fn fifth_bits(bytes: &[u8]) -> [u8; 32] {
    let mut codes = [0; 32];
    for (codes, byte) in codes.as_chunks_mut::<8>().0.iter_mut().zip(bytes) {
        // A copy of the byte for each bit, the bit alone, its top bit set if it was, moved to 16.
        let spread = (u64::from(*byte) * 0x0101_0101_0101_0101) & 0x8040_2010_0804_0201;
        let set = (spread + 0x7f7f_7f7f_7f7f_7f7f) & 0x8080_8080_8080_8080;
        *codes = (set >> 3).to_le_bytes();
    }
    codes
}

#[inline(always)]
fn or(mut codes: [u8; 32], other: [u8; 32]) -> [u8; 32] {
    for (code, other) in codes.iter_mut().zip(other) {
        *code |= other;
    }
    codes
}

pub(crate) struct Q4_0;
impl Small for Q4_0 {
    const TYPE: TensorType = TensorType::Q4_0;
    const OFFSET: i32 = 8;
    const MAX_CODE: u8 = 15;
    #[inline(always)]
    fn part<H: Half>(block: &[u8], _: usize) -> Part {
        Part { codes: nibbles(&block[2..18]), scales: [H::at(block, 0); 2], min: 0.0 }
    }
}

pub(crate) struct Q4_1;
impl Small for Q4_1 {
    const TYPE: TensorType = TensorType::Q4_1;
    const OFFSET: i32 = 0;
    const MAX_CODE: u8 = 15;
    const MINS: bool = true;
    #[inline(always)]
    fn part<H: Half>(block: &[u8], _: usize) -> Part {
        Part { codes: nibbles(&block[4..20]), scales: [H::at(block, 0); 2], min: H::at(block, 2) }
    }
}

pub(crate) struct Q5_0;
impl Small for Q5_0 {
    const TYPE: TensorType = TensorType::Q5_0;
    const OFFSET: i32 = 16;
    const MAX_CODE: u8 = 31;
    #[inline(always)]
    fn part<H: Half>(block: &[u8], _: usize) -> Part {
        let codes = or(nibbles(&block[6..22]), fifth_bits(&block[2..6]));
        Part { codes, scales: [H::at(block, 0); 2], min: 0.0 }
    }
}

pub(crate) struct Q5_1;
impl Small for Q5_1 {
    const TYPE: TensorType = TensorType::Q5_1;
    const OFFSET: i32 = 0;
    const MAX_CODE: u8 = 31;
    const MINS: bool = true;
    #[inline(always)]
    fn part<H: Half>(block: &[u8], _: usize) -> Part {
        let codes = or(nibbles(&block[8..24]), fifth_bits(&block[4..8]));
        Part { codes, scales: [H::at(block, 0); 2], min: H::at(block, 2) }
    }
}

pub(crate) struct Q8_0;
impl Small for Q8_0 {
    const TYPE: TensorType = TensorType::Q8_0;
    const OFFSET: i32 = 128;
    const MAX_CODE: u8 = 255;
    #[inline(always)]
    fn part<H: Half>(block: &[u8], _: usize) -> Part {
        let mut codes = [0; 32];
        for (code, byte) in codes.iter_mut().zip(&block[2..34]) {
            *code = byte ^ 0x80;
        }
        Part { codes, scales: [H::at(block, 0); 2], min: 0.0 }
    }
}

pub(crate) struct Iq4Nl;
impl Small for Iq4Nl {
    const TYPE: TensorType = TensorType::IQ4_NL;
    const OFFSET: i32 = 128;
    const MAX_CODE: u8 = 255;
    #[inline(always)]
    fn part<H: Half>(block: &[u8], _: usize) -> Part {
        let codes = nibbles(&block[2..18]).map(|nibble| IQ4_CODES[usize::from(nibble & 15)]);
        Part { codes, scales: [H::at(block, 0); 2], min: 0.0 }
    }
}

pub(crate) struct Mxfp4;
impl Small for Mxfp4 {
    const TYPE: TensorType = TensorType::MXFP4;
    const OFFSET: i32 = 12;
    const MAX_CODE: u8 = 24;
    #[inline(always)]
    fn part<H: Half>(block: &[u8], _: usize) -> Part {
        // 2^(e − 128): half the E8M0 number, since the codes are doubled.
        let exponent = u32::from(block[0]);
        let bits = if exponent < 2 { 0x0020_0000 << exponent } else { (exponent - 1) << 23 };
        let codes = nibbles(&block[1..17]).map(|nibble| FP4_CODES[usize::from(nibble & 15)]);
        Part { codes, scales: [f32::from_bits(bits); 2], min: 0.0 }
    }
}

/// Half an unsigned E4M3 number (the codes are doubled). 0x7f, its NaN, counts as zero, as in ggml.
#[inline(always)]
fn half_ue4m3(byte: u8) -> f32 {
    if byte == 0 || byte == 0x7f {
        return 0.0;
    }
    let (exponent, mantissa) = (u32::from(byte >> 3 & 15), f32::from(byte & 7));
    if exponent == 0 {
        mantissa * (1.0 / 1024.0)
    } else {
        (1.0 + mantissa / 8.0) * f32::from_bits((127 + exponent - 8) << 23)
    }
}

pub(crate) struct Nvfp4;
impl Small for Nvfp4 {
    const TYPE: TensorType = TensorType::NVFP4;
    const PER_SCALE: usize = 16;
    const OFFSET: i32 = 12;
    const MAX_CODE: u8 = 24;
    #[inline(always)]
    fn part<H: Half>(block: &[u8], part: usize) -> Part {
        let mut codes = [0; 32];
        let packed = &block[4 + part * 16..][..16];
        // Each 16 values: eight low nibbles, then the eight high ones.
        for half in 0..2 {
            for at in 0..8 {
                let byte = packed[half * 8 + at];
                codes[half * 16 + at] = FP4_CODES[usize::from(byte & 15)];
                codes[half * 16 + at + 8] = FP4_CODES[usize::from(byte >> 4)];
            }
        }
        let scales = [half_ue4m3(block[part * 2]), half_ue4m3(block[part * 2 + 1])];
        Part { codes, scales, min: 0.0 }
    }
}

pub(crate) struct Q1_0;
impl Small for Q1_0 {
    const TYPE: TensorType = TensorType::Q1_0;
    const OFFSET: i32 = 1;
    const MAX_CODE: u8 = 2;
    #[inline(always)]
    fn part<H: Half>(block: &[u8], part: usize) -> Part {
        let bytes = &block[2 + part * 4..][..4];
        let codes = fifth_bits(bytes).map(|bit| bit >> 3);
        Part { codes, scales: [H::at(block, 0); 2], min: 0.0 }
    }
}

pub(crate) struct Q2_0;
impl Small for Q2_0 {
    const TYPE: TensorType = TensorType::Q2_0;
    const OFFSET: i32 = 1;
    const MAX_CODE: u8 = 3;
    #[inline(always)]
    fn part<H: Half>(block: &[u8], part: usize) -> Part {
        let bytes = &block[2 + part * 8..][..8];
        let mut codes = [0; 32];
        for (at, code) in codes.iter_mut().enumerate() {
            *code = bytes[at / 4] >> (at % 4 * 2) & 3;
        }
        Part { codes, scales: [H::at(block, 0); 2], min: 0.0 }
    }
}
