//! Decoding of 4-bit types whose levels come from a table: IQ4_NL, IQ4_XS, MXFP4, NVFP4.
//!
//! Source of layouts and levels: `ggml-common.h` (`kvalues_iq4nl`, `kvalues_fp4`), `ggml-impl.h`
//! (E8M0 and UE4M3 scales) and `dequantize_row_*` of ggml 0.25. The FP4 levels are E2M1 doubled, so
//! that they are integers; the scales are halved in return.

use super::tiers::{blocks, f16_at, per_tier, u16_at};

/// The levels of IQ4_NL and IQ4_XS, ascending.
pub(super) const IQ4_LEVELS: [i8; 16] =
    [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

/// Twice the values of E2M1; code 8 is a negative zero, here 0 as in ggml.
pub(super) const FP4_LEVELS: [i8; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

/// All sixteen values a sub-block can hold. Each is one product, so a look-up is exact.
#[inline(always)]
fn scaled(levels: &[i8; 16], scale: f32) -> [f32; 16] {
    levels.map(|level| f32::from(level) * scale)
}

/// `HALF` bytes of two codes: low halves first, then high halves.
#[inline(always)]
fn codes(values: &[f32; 16], packed: &[u8], out: &mut [f32]) {
    let (low, high) = out.split_at_mut(packed.len());
    for ((low, high), byte) in low.iter_mut().zip(high).zip(packed) {
        *low = values[usize::from(byte & 15)];
        *high = values[usize::from(byte >> 4)];
    }
}

per_tier! {
    /// An F16 scale and 32 codes.
    pub(super) fn decode_iq4_nl(bytes: &[u8], out: &mut [f32]) = iq4_nl
}

#[inline(always)]
fn iq4_nl(bytes: &[u8], out: &mut [f32]) {
    blocks(bytes, out, |block: &[u8; 18], out: &mut [f32; 32]| {
        codes(&scaled(&IQ4_LEVELS, f16_at(block, 0)), &block[2..18], out);
    });
}

per_tier! {
    /// An F16 scale, eight 6-bit factors (high bits in a 16-bit word, low halves in four bytes), and
    /// 256 codes. A sub-block of 32 has the scale d · (factor − 32).
    pub(super) fn decode_iq4_xs(bytes: &[u8], out: &mut [f32]) = iq4_xs
}

#[inline(always)]
fn iq4_xs(bytes: &[u8], out: &mut [f32]) {
    blocks(bytes, out, |block: &[u8; 136], out: &mut [f32; 256]| {
        let (d, high) = (f16_at(block, 0), u16_at(block, 2));
        let (subs, _) = out.as_chunks_mut::<32>();
        for (sub, out) in subs.iter_mut().enumerate() {
            let low = block[4 + sub / 2] >> (sub % 2 * 4) & 15;
            let factor = i32::from(low) | i32::from(high >> (2 * sub) & 3) << 4;
            let values = scaled(&IQ4_LEVELS, d * (factor - 32) as f32);
            codes(&values, &block[8 + 16 * sub..24 + 16 * sub], out);
        }
    });
}

/// Half of 2^(e − 127), the scale that goes with doubled levels. NaN (255) is not special in ggml.
#[inline(always)]
pub(super) fn e8m0_half(e: u8) -> f32 {
    f32::from_bits(if e < 2 { 0x0020_0000 << e } else { u32::from(e - 1) << 23 })
}

/// Half the value of an unsigned E4M3 number. The top bit is ignored; 0x7f (NaN) is 0, as in ggml.
#[inline(always)]
fn ue4m3_half(x: u8) -> f32 {
    if x == 0 || x == 0x7f {
        return 0.0;
    }
    let (exponent, mantissa) = (u32::from(x >> 3 & 15), f32::from(x & 7));
    if exponent == 0 {
        mantissa * f32::from_bits((127 - 10) << 23)
    } else {
        (1.0 + mantissa / 8.0) * f32::from_bits((exponent + 127 - 8) << 23)
    }
}

per_tier! {
    /// A power-of-two scale (E8M0) and 32 E2M1 codes.
    pub(super) fn decode_mxfp4(bytes: &[u8], out: &mut [f32]) = mxfp4
}

#[inline(always)]
fn mxfp4(bytes: &[u8], out: &mut [f32]) {
    blocks(bytes, out, |block: &[u8; 17], out: &mut [f32; 32]| {
        codes(&scaled(&FP4_LEVELS, e8m0_half(block[0])), &block[1..17], out);
    });
}

per_tier! {
    /// Four UE4M3 scales, one for each 16 values, and 64 E2M1 codes.
    pub(super) fn decode_nvfp4(bytes: &[u8], out: &mut [f32]) = nvfp4
}

#[inline(always)]
fn nvfp4(bytes: &[u8], out: &mut [f32]) {
    blocks(bytes, out, |block: &[u8; 36], out: &mut [f32; 64]| {
        let (subs, _) = out.as_chunks_mut::<16>();
        for (sub, out) in subs.iter_mut().enumerate() {
            let values = scaled(&FP4_LEVELS, ue4m3_half(block[sub]));
            codes(&values, &block[4 + 8 * sub..12 + 8 * sub], out);
        }
    });
}
