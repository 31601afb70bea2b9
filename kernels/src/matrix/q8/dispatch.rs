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

/// Asks for the bytes of a row some way ahead of this one, at the address where it would be.
#[inline]
pub(super) fn fetch_ahead(row: &[u8], stride: usize) {
    #[cfg(target_arch = "x86_64")]
    for line in row.as_chunks::<64>().0 {
        avx512::prefetch(line, avx512::prefetch_distance(ROWS * stride));
    }
}

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

/// Tiles that are multiplied together: 12 sums for four rows, which hides the latency of a product
/// and leaves registers for their scales.
pub(super) const TILES: usize = 3;

/// Four rows with up to [`TILES`] tiles of `per` records, small form.
pub(super) fn small_tiles(
    tier: Tier,
    format: &Format,
    weights: &[SmallWeights],
    per: usize,
    tiles: &[SmallTile],
    out: &mut [TileSums],
) {
    let tile = |at: usize| &tiles[at * per..][..per];
    match (tier.kind(), out) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the tier proves that the machine has the instructions.
        (Kind::Avx512, [a, b, c]) => unsafe {
            avx512::small_tiles(format, weights, [tile(0), tile(1), tile(2)], [a, b, c]);
        },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        (Kind::Avx512, [a, b]) => unsafe {
            avx512::small_tiles(format, weights, [tile(0), tile(1)], [a, b]);
        },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        (Kind::Avx512, [a]) => unsafe { avx512::small_tiles(format, weights, [tile(0)], [a]) },
        #[cfg(target_arch = "x86_64")]
        (Kind::Avx2, out) => {
            for (at, out) in out.iter_mut().enumerate() {
                // SAFETY: as above.
                unsafe { avx2::small_tile(format, weights, tile(at), out) };
            }
        }
        _ => {}
    }
}

/// Four rows with up to [`TILES`] tiles of `per` records, large form.
pub(super) fn large_tiles(
    tier: Tier,
    format: &Format,
    weights: &[LargeWeights],
    per: usize,
    tiles: &[LargeTile],
    out: &mut [TileSums],
) {
    let tile = |at: usize| &tiles[at * per..][..per];
    match (tier.kind(), out) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the tier proves that the machine has the instructions.
        (Kind::Avx512, [a, b, c]) => unsafe {
            avx512::large_tiles(format, weights, [tile(0), tile(1), tile(2)], [a, b, c]);
        },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        (Kind::Avx512, [a, b]) => unsafe {
            avx512::large_tiles(format, weights, [tile(0), tile(1)], [a, b]);
        },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        (Kind::Avx512, [a]) => unsafe { avx512::large_tiles(format, weights, [tile(0)], [a]) },
        #[cfg(target_arch = "x86_64")]
        (Kind::Avx2, out) => {
            for (at, out) in out.iter_mut().enumerate() {
                // SAFETY: as above.
                unsafe { avx2::large_tile(format, weights, tile(at), out) };
            }
        }
        _ => {}
    }
}
