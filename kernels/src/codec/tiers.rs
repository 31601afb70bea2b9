//! Compiling one kernel body for every tier.

/// Defines `fn name(tier, arguments)` that runs `body(arguments)` compiled for the tier.
///
/// The body is an `#[inline(always)]` function of plain Rust: every tier runs the same operations in
/// the same order and the compiler only picks the instructions. It never fuses a multiplication with
/// an addition, so all tiers give the same bits.
macro_rules! per_tier {
    ($(#[$doc:meta])* $vis:vis fn $name:ident($($arg:ident: $ty:ty),*) = $body:expr) => {
        $(#[$doc])*
        $vis fn $name(tier: $crate::Tier, $($arg: $ty),*) {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2,f16c")]
                fn avx2($($arg: $ty),*) {
                    $body($($arg),*);
                }
                #[target_feature(enable = "avx2,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
                fn avx512($($arg: $ty),*) {
                    $body($($arg),*);
                }
                match tier.kind() {
                    $crate::tier::Kind::Portable => $body($($arg),*),
                    // SAFETY: this tier is only made where detection found these instructions.
                    $crate::tier::Kind::Avx2 => unsafe { avx2($($arg),*) },
                    // SAFETY: as above.
                    $crate::tier::Kind::Avx512 => unsafe { avx512($($arg),*) },
                }
            }
            #[cfg(not(target_arch = "x86_64"))]
            {
                let _ = tier;
                $body($($arg),*);
            }
        }
    };
}

pub(super) use per_tier;

/// Defines `fn name(tier, rows, out)`, an encoder, that runs `body::<L>(rows, out)` with the sixteen
/// [`Lanes`](super::lanes::Lanes) of the tier.
macro_rules! lane_encoder {
    ($(#[$doc:meta])* $vis:vis fn $name:ident = $body:ident) => {
        $(#[$doc])*
        $vis fn $name(tier: $crate::Tier, rows: &$crate::codec::Rows<'_>, out: &mut [u8]) {
            use $crate::codec::lanes::Array;
            #[cfg(target_arch = "x86_64")]
            {
                use $crate::codec::lanes_x86::{Avx2, Avx512};
                #[target_feature(enable = "avx2,f16c")]
                fn avx2(rows: &$crate::codec::Rows<'_>, out: &mut [u8]) {
                    $body::<Avx2>(rows, out);
                }
                #[target_feature(enable = "avx2,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
                fn avx512(rows: &$crate::codec::Rows<'_>, out: &mut [u8]) {
                    $body::<Avx512>(rows, out);
                }
                match tier.kind() {
                    $crate::tier::Kind::Portable => $body::<Array>(rows, out),
                    // SAFETY: this tier is only made where detection found these instructions.
                    $crate::tier::Kind::Avx2 => unsafe { avx2(rows, out) },
                    // SAFETY: as above.
                    $crate::tier::Kind::Avx512 => unsafe { avx512(rows, out) },
                }
            }
            #[cfg(not(target_arch = "x86_64"))]
            {
                let _ = tier;
                $body::<Array>(rows, out);
            }
        }
    };
}

pub(super) use lane_encoder;

/// Runs `decode` on every block of `BYTES` bytes, which holds `VALUES` values.
#[inline(always)]
pub(super) fn blocks<const BYTES: usize, const VALUES: usize>(
    bytes: &[u8],
    out: &mut [f32],
    decode: impl Fn(&[u8; BYTES], &mut [f32; VALUES]),
) {
    let (blocks, _) = bytes.as_chunks::<BYTES>();
    let (values, _) = out.as_chunks_mut::<VALUES>();
    for (block, values) in blocks.iter().zip(values) {
        decode(block, values);
    }
}

/// The F16 at byte `at`, as F32. Exact: every F16 is an F32.
#[inline(always)]
pub(super) fn f16_at<const BYTES: usize>(block: &[u8; BYTES], at: usize) -> f32 {
    f16_to_f32(u16_at(block, at))
}

/// The little-endian 16-bit number at byte `at`.
#[inline(always)]
pub(super) fn u16_at<const BYTES: usize>(block: &[u8; BYTES], at: usize) -> u16 {
    u16::from_le_bytes([block[at], block[at + 1]])
}

/// The little-endian 32-bit number at byte `at`.
#[inline(always)]
pub(super) fn u32_at<const BYTES: usize>(block: &[u8; BYTES], at: usize) -> u32 {
    u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]])
}

/// F16 to F32 by arithmetic on the bits, without asking the CPU what it has.
///
/// With the exponent field moved into place the value is short by 2^(127 − 15), for subnormals too;
/// infinity and NaN get the full exponent.
#[inline(always)]
pub(super) fn f16_to_f32(half: u16) -> f32 {
    const REBIAS: f32 = f32::from_bits((127 + 127 - 15) << 23);
    let sign = u32::from(half & 0x8000) << 16;
    let magnitude = u32::from(half & 0x7fff) << 13;
    let scaled = (f32::from_bits(magnitude) * REBIAS).to_bits();
    let special = if half & 0x7c00 == 0x7c00 { 0x7f80_0000 } else { 0 };
    f32::from_bits(sign | scaled | special)
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_f16_is_converted() {
        for half in 0..=u16::MAX {
            let ours = super::f16_to_f32(half);
            let theirs = half::f16::from_bits(half).to_f32();
            assert!(ours.to_bits() == theirs.to_bits() || ours.is_nan() && theirs.is_nan());
        }
    }
}
