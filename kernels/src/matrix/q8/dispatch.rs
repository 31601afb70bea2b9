//! Which kernel a tier runs.

use super::format::Format;
use super::portable;
use super::quantized::{LargeRow, LargeTile, SmallRow, SmallTile, TILE};
use super::scratch::{LargeWeights, ROWS, SmallWeights};
#[cfg(target_arch = "x86_64")]
use super::{avx2, avx512};
use crate::Tier;
use crate::tier::Kind;

/// Results of four rows for the 16 tokens of a tile.
pub(super) type TileSums = [[f32; ROWS]; TILE];

/// Four rows with one token, small form.
#[inline]
pub(super) fn small(
    tier: Tier,
    format: &Format,
    weights: &[SmallWeights],
    token: &[SmallRow],
) -> [f32; ROWS] {
    match tier.kind() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the tier proves that the machine has the instructions.
        Kind::Avx512 => unsafe { avx512::small(format, weights, token) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Kind::Avx2 => unsafe { avx2::small(format, weights, token) },
        _ => portable::small(format, weights, token),
    }
}

/// Four rows with one token, large form.
#[inline]
pub(super) fn large(
    tier: Tier,
    format: &Format,
    weights: &[LargeWeights],
    token: &[LargeRow],
) -> [f32; ROWS] {
    match tier.kind() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the tier proves that the machine has the instructions.
        Kind::Avx512 => unsafe { avx512::large(format, weights, token) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Kind::Avx2 => unsafe { avx2::large(format, weights, token) },
        _ => portable::large(format, weights, token),
    }
}

/// Four rows with one or two tiles, small form.
pub(super) fn small_tiles(
    tier: Tier,
    format: &Format,
    weights: &[SmallWeights],
    first: &[SmallTile],
    second: Option<&[SmallTile]>,
    out: &mut [TileSums; 2],
) {
    match (tier.kind(), second) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the tier proves that the machine has the instructions.
        (Kind::Avx512, Some(second)) => unsafe {
            avx512::small_tiles(format, weights, [first, second], out);
        },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        (Kind::Avx512, None) => unsafe {
            let [out, _] = out;
            avx512::small_tiles(format, weights, [first], std::array::from_mut(out));
        },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        (Kind::Avx2, second) => unsafe {
            avx2::small_tile(format, weights, first, &mut out[0]);
            if let Some(second) = second {
                avx2::small_tile(format, weights, second, &mut out[1]);
            }
        },
        _ => {}
    }
}

/// Four rows with one or two tiles, large form.
pub(super) fn large_tiles(
    tier: Tier,
    format: &Format,
    weights: &[LargeWeights],
    first: &[LargeTile],
    second: Option<&[LargeTile]>,
    out: &mut [TileSums; 2],
) {
    match (tier.kind(), second) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the tier proves that the machine has the instructions.
        (Kind::Avx512, Some(second)) => unsafe {
            avx512::large_tiles(format, weights, [first, second], out);
        },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        (Kind::Avx512, None) => unsafe {
            let [out, _] = out;
            avx512::large_tiles(format, weights, [first], std::array::from_mut(out));
        },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        (Kind::Avx2, second) => unsafe {
            avx2::large_tile(format, weights, first, &mut out[0]);
            if let Some(second) = second {
                avx2::large_tile(format, weights, second, &mut out[1]);
            }
        },
        _ => {}
    }
}
