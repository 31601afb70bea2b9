//! Decoding of the types whose groups of 4 or 8 values are points of a fixed set: IQ1_S, IQ1_M,
//! IQ2_XXS, IQ2_XS, IQ2_S, IQ3_XXS, IQ3_S.
//!
//! Source of the layouts: the block structs and `dequantize_row_iq*` of ggml 0.25; the sets are in
//! `grids`. A block is 256 values with one F16 scale `d`; groups of 8, 16 or 32 have a factor of 3 or
//! 4 bits; magnitudes come from the set and signs from bits of their own (IQ1: the set has signs, and
//! a common shift of ±1/8).

use super::grids;
use super::tiers::{blocks, f16_at, f16_to_f32, per_tier, u16_at, u32_at};

/// The points of a set with eight values in three magnitudes, one byte each.
const fn three_level<const N: usize>(packed: &[u16; N]) -> [[u8; 8]; N] {
    const LEVELS: [u8; 4] = [0x08, 0x19, 0x2b, 0];
    let mut points = [[0; 8]; N];
    let mut i = 0;
    while i < N {
        let mut j = 0;
        while j < 8 {
            points[i][j] = LEVELS[(packed[i] >> (2 * j) & 3) as usize];
            j += 1;
        }
        i += 1;
    }
    points
}

/// The points of a set with four values in eight magnitudes.
const fn eight_level<const N: usize>(packed: &[u16; N], levels: [u8; 8]) -> [[u8; 4]; N] {
    let mut points = [[0; 4]; N];
    let mut i = 0;
    while i < N {
        let mut j = 0;
        while j < 4 {
            points[i][j] = levels[(packed[i] >> (4 * j) & 7) as usize];
            j += 1;
        }
        i += 1;
    }
    points
}

/// The points of IQ1's set: −1, 0 or 1.
const fn signed<const N: usize>(packed: &[u16; N]) -> [[i8; 8]; N] {
    let mut points = [[0; 8]; N];
    let mut i = 0;
    while i < N {
        let mut j = 0;
        while j < 8 {
            points[i][j] = (packed[i] >> (2 * j) & 3) as i8 - 1;
            j += 1;
        }
        i += 1;
    }
    points
}

pub(crate) static IQ2_XXS: [[u8; 8]; 256] = three_level(&grids::IQ2_XXS);
pub(crate) static IQ2_XS: [[u8; 8]; 512] = three_level(&grids::IQ2_XS);
pub(crate) static IQ2_S: [[u8; 8]; 1024] = three_level(&grids::IQ2_S);
pub(crate) static IQ3_XXS: [[u8; 4]; 256] =
    eight_level(&grids::IQ3_XXS, [0x04, 0x0c, 0x14, 0x1c, 0x24, 0x2c, 0x34, 0x3e]);
pub(crate) static IQ3_S: [[u8; 4]; 512] =
    eight_level(&grids::IQ3_S, [0x01, 0x03, 0x05, 0x07, 0x09, 0x0b, 0x0d, 0x0f]);
pub(crate) static IQ1: [[i8; 8]; 2048] = signed(&grids::IQ1);

/// IQ1's shift of all values of a group.
const DELTA: f32 = 0.125;

/// Seven stored signs and an eighth that makes the number of minus signs even.
#[inline(always)]
pub(crate) fn even_signs(seven: u32) -> u8 {
    let seven = (seven & 127) as u8;
    seven | (seven.count_ones() as u8 & 1) << 7
}

/// Magnitudes times scale, negated where the sign bit is set.
#[inline(always)]
fn put(out: &mut [f32], scale: f32, magnitudes: &[u8], signs: u8) {
    for (j, (out, magnitude)) in out.iter_mut().zip(magnitudes).enumerate() {
        let sign = u32::from(signs >> j & 1) << 31;
        *out = f32::from_bits((scale * f32::from(*magnitude)).to_bits() ^ sign);
    }
}

per_tier! {
    /// For each 32 values: four set indices, then four times seven signs and a 4-bit factor.
    pub(super) fn decode_iq2_xxs(bytes: &[u8], out: &mut [f32]) = iq2_xxs
}

#[inline(always)]
fn iq2_xxs(bytes: &[u8], out: &mut [f32]) {
    blocks(bytes, out, |block: &[u8; 66], out: &mut [f32; 256]| {
        let d = f16_at(block, 0);
        for (sub, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            let at = 2 + 8 * sub;
            let word = u32_at(block, at + 4);
            let scale = d * (0.5 + (word >> 28) as f32) * 0.25;
            for (l, out) in out.as_chunks_mut::<8>().0.iter_mut().enumerate() {
                let point = &IQ2_XXS[usize::from(block[at + l])];
                put(out, scale, point, even_signs(word >> (7 * l)));
            }
        }
    });
}

per_tier! {
    /// For each 8 values a 9-bit index and seven signs; for each 16 a 4-bit factor.
    pub(super) fn decode_iq2_xs(bytes: &[u8], out: &mut [f32]) = iq2_xs
}

#[inline(always)]
fn iq2_xs(bytes: &[u8], out: &mut [f32]) {
    blocks(bytes, out, |block: &[u8; 74], out: &mut [f32; 256]| {
        let d = f16_at(block, 0);
        for (group, out) in out.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            let factor = block[66 + group / 4] >> (group % 4 / 2 * 4) & 15;
            let scale = d * (0.5 + f32::from(factor)) * 0.25;
            let code = u16_at(block, 2 + 2 * group);
            put(out, scale, &IQ2_XS[usize::from(code & 511)], even_signs(u32::from(code >> 9)));
        }
    });
}

per_tier! {
    /// For each 8 values a 10-bit index (low byte, then two high bits) and eight signs; for each 16 a
    /// 4-bit factor.
    pub(super) fn decode_iq2_s(bytes: &[u8], out: &mut [f32]) = iq2_s
}

#[inline(always)]
fn iq2_s(bytes: &[u8], out: &mut [f32]) {
    blocks(bytes, out, |block: &[u8; 82], out: &mut [f32; 256]| {
        let d = f16_at(block, 0);
        for (group, out) in out.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            let factor = block[74 + group / 4] >> (group % 4 / 2 * 4) & 15;
            let scale = d * (0.5 + f32::from(factor)) * 0.25;
            let high = usize::from(block[66 + group / 4] >> (group % 4 * 2) & 3);
            let index = usize::from(block[2 + group]) | high << 8;
            put(out, scale, &IQ2_S[index], block[34 + group]);
        }
    });
}

per_tier! {
    /// 64 set indices for four values each; then for each 32 values four times seven signs and a
    /// 4-bit factor.
    pub(super) fn decode_iq3_xxs(bytes: &[u8], out: &mut [f32]) = iq3_xxs
}

#[inline(always)]
fn iq3_xxs(bytes: &[u8], out: &mut [f32]) {
    blocks(bytes, out, |block: &[u8; 98], out: &mut [f32; 256]| {
        let d = f16_at(block, 0);
        for (group, out) in out.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            let word = u32_at(block, 66 + group / 4 * 4);
            let scale = d * (0.5 + (word >> 28) as f32) * 0.5;
            let signs = even_signs(word >> (group % 4 * 7));
            let (first, second) = out.split_at_mut(4);
            put(first, scale, &IQ3_XXS[usize::from(block[2 + 2 * group])], signs);
            put(second, scale, &IQ3_XXS[usize::from(block[3 + 2 * group])], signs >> 4);
        }
    });
}

per_tier! {
    /// 64 indices of 9 bits (low bytes, then high bits), 256 signs, and for each 32 values a 4-bit
    /// factor.
    pub(super) fn decode_iq3_s(bytes: &[u8], out: &mut [f32]) = iq3_s
}

#[inline(always)]
fn iq3_s(bytes: &[u8], out: &mut [f32]) {
    blocks(bytes, out, |block: &[u8; 110], out: &mut [f32; 256]| {
        let d = f16_at(block, 0);
        for (group, out) in out.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            let sub = group / 4;
            let factor = block[106 + sub / 2] >> (sub % 2 * 4) & 15;
            let scale = d * (1 + 2 * i32::from(factor)) as f32;
            let signs = block[74 + group];
            for (half, out) in out.as_chunks_mut::<4>().0.iter_mut().enumerate() {
                let high = usize::from(block[66 + sub] >> (group % 4 * 2 + half) & 1);
                let index = usize::from(block[2 + 2 * group + half]) | high << 8;
                put(out, scale, &IQ3_S[index], signs >> (4 * half));
            }
        }
    });
}

/// `scale · (point + delta)`, the delta negative where `down` is set.
#[inline(always)]
fn put_shifted(out: &mut [f32; 8], scale: f32, point: &[i8; 8], down: bool) {
    let delta = if down { -DELTA } else { DELTA };
    for (out, value) in out.iter_mut().zip(point) {
        *out = scale * (f32::from(*value) + delta);
    }
}

per_tier! {
    /// For each 8 values an 11-bit index; for each 32 a 3-bit factor and the sign of the shift.
    pub(super) fn decode_iq1_s(bytes: &[u8], out: &mut [f32]) = iq1_s
}

#[inline(always)]
fn iq1_s(bytes: &[u8], out: &mut [f32]) {
    blocks(bytes, out, |block: &[u8; 50], out: &mut [f32; 256]| {
        let d = f16_at(block, 0);
        for (group, out) in out.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            let word = u16_at(block, 34 + group / 4 * 2);
            let scale = d * f32::from(2 * (word >> 12 & 7) + 1);
            let high = usize::from(word >> (group % 4 * 3) & 7);
            let index = usize::from(block[2 + group]) | high << 8;
            put_shifted(out, scale, &IQ1[index], word & 0x8000 != 0);
        }
    });
}

per_tier! {
    /// For each 8 values an 11-bit index and the sign of the shift; for each 16 a 3-bit factor. The
    /// F16 scale lies in the top four bits of the four words of factors.
    pub(super) fn decode_iq1_m(bytes: &[u8], out: &mut [f32]) = iq1_m
}

#[inline(always)]
fn iq1_m(bytes: &[u8], out: &mut [f32]) {
    blocks(bytes, out, |block: &[u8; 56], out: &mut [f32; 256]| {
        let words = [48, 50, 52, 54].map(|at| u16_at(block, at));
        let scale = words.iter().rev().fold(0, |scale, word| scale << 4 | word >> 12);
        let d = f16_to_f32(scale);
        for (group, out) in out.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            let pair = group / 2;
            let factor = words[pair / 4] >> (pair % 4 * 3) & 7;
            let scale = d * f32::from(2 * factor + 1);
            let high = block[32 + pair] >> (group % 2 * 4);
            let index = usize::from(block[group]) | usize::from(high & 7) << 8;
            put_shifted(out, scale, &IQ1[index], high & 8 != 0);
        }
    });
}
