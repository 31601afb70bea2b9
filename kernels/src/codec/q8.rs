//! Encoding of Q8_0.
//!
//! The scale is the greatest magnitude over 127, rounded to F16, and the codes are the nearest ones
//! for the rounded scale. ggml takes them for the scale before rounding, which is never nearer. A
//! greatest value does not depend on the order of comparisons, so blocks are encoded one by one.

use super::Rows;
use super::tiers::{f16_to_f32, per_tier};

/// Adding this leaves the nearest integer, halves to even, in the low bits.
const ROUND: f32 = 12582912.0;

/// LIMIT_Q8_0
pub(super) fn encode_q8_0(tier: crate::Tier, rows: &Rows<'_>, out: &mut [u8]) {
    q8_0(tier, rows.values, out);
}

per_tier! {
    fn q8_0(values: &[f32], out: &mut [u8]) = blocks
}

#[inline(always)]
fn blocks(values: &[f32], out: &mut [u8]) {
    let (blocks, _) = out.as_chunks_mut::<34>();
    for (x, out) in values.as_chunks::<32>().0.iter().zip(blocks) {
        let greatest = x.iter().fold(0, |m, x| m.max(x.to_bits() & 0x7fff_ffff));
        let bits = to_f16(f32::from_bits(greatest) / 127.0);
        let scale = f16_to_f32(bits);
        let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
        let (head, codes) = out.split_at_mut(2);
        head.copy_from_slice(&bits.to_le_bytes());
        for (code, x) in codes.iter_mut().zip(x) {
            let scaled = x * inverse;
            let scaled = if scaled > -127.0 { scaled } else { -127.0 };
            let scaled = if scaled < 127.0 { scaled } else { 127.0 };
            *code = (scaled + ROUND).to_bits() as u8;
        }
    }
}

/// The nearest finite F16 of a positive number, halves to even.
///
/// The bits of a normal number are rounded where they are; a subnormal one is rounded by adding a
/// number whose last place is F16's least.
#[inline(always)]
fn to_f16(x: f32) -> u16 {
    const LEAST_NORMAL: f32 = 6.103515625e-5;
    let x = if x < 65504.0 { x } else { 65504.0 };
    if x < LEAST_NORMAL {
        // 0.5 has its last place at 2⁻²⁴.
        return ((x + 0.5).to_bits() - 0.5f32.to_bits()) as u16;
    }
    let bits = x.to_bits() - ((127 - 15) << 23);
    ((bits + 0xfff + (bits >> 13 & 1)) >> 13) as u16
}

#[cfg(test)]
mod tests {
    #[test]
    fn f16_is_rounded_as_half_does() {
        for bits in (0..0x4780_0000u32).step_by(977) {
            let x = f32::from_bits(bits).min(65504.0);
            assert_eq!(super::to_f16(x), half::f16::from_f32(x).to_bits(), "{x}");
        }
    }
}
