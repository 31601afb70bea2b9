//! Blocks to codes and scales, one small function per type.
//!
//! Each is written once, in plain Rust, and compiled for every tier. Formats: `ggml-common.h` and
//! the reference decoders in `ggml-quants.c` of llama.cpp (ggml 0.25).

pub(in crate::matrix::q8) mod iq;
pub(in crate::matrix::q8) mod kquant;
pub(in crate::matrix::q8) mod small;
pub(in crate::matrix::q8) mod ternary;

/// The F16 number at byte `at`. NaN and infinity come out as such.
#[inline(always)]
pub(super) fn f16_at(bytes: &[u8], at: usize) -> f32 {
    let bits = u32::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
    let sign = (bits & 0x8000) << 16;
    let rest = (bits & 0x7fff) << 13;
    // Exponents differ by 127 − 15 = 112; the product is exact, and right for subnormals too.
    let finite = (f32::from_bits(rest) * f32::from_bits((127 + 112) << 23)).to_bits();
    let special = if bits & 0x7c00 == 0x7c00 { 0x7f80_0000 } else { 0 };
    f32::from_bits(sign | finite | special)
}
