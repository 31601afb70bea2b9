//! Blocks to codes and scales, one small function per type.
//!
//! Each is written once, in plain Rust, and compiled for every tier. Formats: `ggml-common.h` and
//! the reference decoders in `ggml-quants.c` of llama.cpp (ggml 0.25).

pub(in crate::matrix::q8) mod iq;
pub(in crate::matrix::q8) mod kquant;
pub(in crate::matrix::q8) mod small;
pub(in crate::matrix::q8) mod ternary;

/// A way to read F16 numbers: the one thing that the tiers do differently.
pub(super) trait Half {
    /// The F16 number at byte `at`.
    fn at(bytes: &[u8], at: usize) -> f32;
}

/// By integer arithmetic.
pub(super) struct Soft;

impl Half for Soft {
    #[inline(always)]
    fn at(bytes: &[u8], at: usize) -> f32 {
        let bits = u32::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
        let sign = (bits & 0x8000) << 16;
        let rest = (bits & 0x7fff) << 13;
        // Exponents differ by 127 − 15 = 112; the product is exact, and right for subnormals too.
        let finite = (f32::from_bits(rest) * f32::from_bits((127 + 112) << 23)).to_bits();
        let special = if bits & 0x7c00 == 0x7c00 { 0x7f80_0000 } else { 0 };
        f32::from_bits(sign | finite | special)
    }
}

/// By the F16C instruction.
#[cfg(target_arch = "x86_64")]
pub(super) struct F16c;

#[cfg(target_arch = "x86_64")]
impl Half for F16c {
    #[inline(always)]
    fn at(bytes: &[u8], at: usize) -> f32 {
        use std::arch::x86_64::{_mm_cvtph_ps, _mm_cvtsi32_si128, _mm_cvtss_f32};
        let bits = u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        // SAFETY: this type is only used in functions compiled for F16C, which run where a tier
        // proves that the machine has it.
        unsafe { _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(i32::from(bits)))) }
    }
}
