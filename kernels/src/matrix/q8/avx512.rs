//! The products with AVX-512 and VNNI.
//!
//! `vpdpbusd` multiplies 64 codes and adds them in fours into 16 lanes, exactly. Machines of 2025
//! start two a cycle: 128 multiplications, which is the limit for many tokens. For one token the
//! limit is the memory's rate.
//!
//! Measured on one thread of a Zen 5 that does 538 · 10^9 multiplications a second in registers and
//! reads 35 GB/s in a plain loop (`examples/matmul_rates.rs`): 512 tokens run at 250 to 315 · 10^9,
//! 46 to 58 % of the limit, the rest being scales, conversions and broadcasts of weights; one token
//! at 26 to 53 GB/s of weights.

#![expect(
    clippy::needless_range_loop,
    reason = "rows, tiles and halves index several arrays of registers at once"
)]

use std::arch::x86_64::*;
use std::ptr;

use super::dispatch::TileSums;
use super::format::Format;
use super::quantized::{LargeRow, LargeTile, SmallRow, SmallTile};
use super::scratch::{LANES, LARGE, LargeWeights, ROWS, SMALL, SmallWeights};

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn load<T: Copy>(from: &T) -> __m512i {
    const { assert!(size_of::<T>() == 64) };
    // SAFETY: the reference is to 64 bytes.
    unsafe { _mm512_loadu_si512(ptr::from_ref(from).cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn load_ps<T: Copy>(from: &T) -> __m512 {
    _mm512_castsi512_ps(load(from))
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn load_256<T: Copy>(from: &T) -> __m256i {
    const { assert!(size_of::<T>() == 32) };
    // SAFETY: the reference is to 32 bytes.
    unsafe { _mm256_loadu_si256(ptr::from_ref(from).cast()) }
}

#[inline]
#[target_feature(enable = "sse2")]
pub(super) fn load_128(from: &[f32; 4]) -> __m128 {
    // SAFETY: the reference is to 16 bytes.
    unsafe { _mm_loadu_ps(from.as_ptr()) }
}

#[inline]
#[target_feature(enable = "sse2")]
pub(super) fn store_128(to: &mut [f32; 4], value: __m128) {
    // SAFETY: the reference is to 16 bytes.
    unsafe { _mm_storeu_ps(to.as_mut_ptr(), value) };
}

/// How far ahead to ask for data where four rows have `group` bytes: whole groups, so that their
/// pieces are asked for in turn, and enough to cover the memory's latency at its rate (100 ns at
/// 40 GB/s are 4 KiB).
#[inline(always)]
pub(super) fn prefetch_distance(group: usize) -> usize {
    group * 8192_usize.div_ceil(group.max(1))
}

/// Asks for the bytes that stand `ahead` bytes behind these: the same piece of later rows. The
/// machine's own prefetching loses its way among four streams of odd strides: Q6_K came at 14 GB/s
/// without this and comes at 53 with it, on a machine where a plain loop reads 35.
#[inline(always)]
pub(super) fn prefetch<const N: usize>(piece: &[u8; N], ahead: usize) {
    let from = piece.as_ptr().wrapping_add(ahead).cast::<i8>();
    for line in 0..N.div_ceil(64) {
        // SAFETY: a prefetch reads nothing that the program sees, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(from.wrapping_add(64 * line)) };
    }
}

/// In each 128-bit lane, the sums of that lane of the four registers.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn reduce(p: [__m512i; 4]) -> __m512i {
    let first =
        _mm512_add_epi32(_mm512_unpacklo_epi32(p[0], p[1]), _mm512_unpackhi_epi32(p[0], p[1]));
    let second =
        _mm512_add_epi32(_mm512_unpacklo_epi32(p[2], p[3]), _mm512_unpackhi_epi32(p[2], p[3]));
    _mm512_add_epi32(_mm512_unpacklo_epi64(first, second), _mm512_unpackhi_epi64(first, second))
}

/// The same for 256 bits, whose two lanes are added too.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn reduce_256(p: [__m256i; 4]) -> __m128i {
    let first =
        _mm256_add_epi32(_mm256_unpacklo_epi32(p[0], p[1]), _mm256_unpackhi_epi32(p[0], p[1]));
    let second =
        _mm256_add_epi32(_mm256_unpacklo_epi32(p[2], p[3]), _mm256_unpackhi_epi32(p[2], p[3]));
    let both = _mm256_add_epi32(
        _mm256_unpacklo_epi64(first, second),
        _mm256_unpackhi_epi64(first, second),
    );
    _mm_add_epi32(_mm256_castsi256_si128(both), _mm256_extracti128_si256::<1>(both))
}

/// Four rows with one token, small form.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma")]
pub(super) fn small(format: &Format, weights: &[SmallWeights], token: &[SmallRow]) -> [f32; ROWS] {
    match (format.per_scale == SMALL, format.mins) {
        (true, false) => small_kind::<false, false>(format.offset, weights, token),
        (true, true) => small_kind::<false, true>(format.offset, weights, token),
        (false, false) => small_kind::<true, false>(format.offset, weights, token),
        (false, true) => small_kind::<true, true>(format.offset, weights, token),
    }
}

/// `HALVES`: a scale per 16 values.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma")]
fn small_kind<const HALVES: bool, const MINS: bool>(
    offset: i32,
    weights: &[SmallWeights],
    token: &[SmallRow],
) -> [f32; ROWS] {
    let zero = _mm512_setzero_si512();
    let offset = _mm512_set1_epi32(offset);
    // 128-bit lane: virtual lane; place in it: row.
    let mut lanes = _mm512_setzero_ps();
    for (w, x) in weights.iter().zip(token) {
        let scale = load_ps(&x.scales);
        let codes = [load(&x.codes[0]), load(&x.codes[1])];
        let first = w.codes.map(|row| _mm512_dpbusd_epi32(zero, load(&row[0]), codes[0]));
        let sums = [load(&x.sums[0]), load(&x.sums[1])];
        if HALVES {
            let second = w.codes.map(|row| _mm512_dpbusd_epi32(zero, load(&row[1]), codes[1]));
            for (half, dots) in [first, second].into_iter().enumerate() {
                let dots = _mm512_sub_epi32(reduce(dots), _mm512_mullo_epi32(offset, sums[half]));
                let scale = _mm512_mul_ps(load_ps(&w.scales[half]), scale);
                lanes = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dots), scale, lanes);
            }
        } else {
            let mut dots = first;
            for (dots, row) in dots.iter_mut().zip(&w.codes) {
                *dots = _mm512_dpbusd_epi32(*dots, load(&row[1]), codes[1]);
            }
            let sums = _mm512_mullo_epi32(offset, _mm512_add_epi32(sums[0], sums[1]));
            let dots = _mm512_sub_epi32(reduce(dots), sums);
            let scale = _mm512_mul_ps(load_ps(&w.scales[0]), scale);
            lanes = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dots), scale, lanes);
        }
        if MINS {
            lanes = _mm512_fmadd_ps(load_ps(&w.mins), load_ps(&x.value_sums), lanes);
        }
    }
    finish_small(lanes)
}

/// Folds the virtual lanes.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx2")]
pub(super) fn finish_small(lanes: __m512) -> [f32; ROWS] {
    let pairs = _mm256_add_ps(_mm512_castps512_ps256(lanes), _mm512_extractf32x8_ps::<1>(lanes));
    let sum = _mm_add_ps(_mm256_castps256_ps128(pairs), _mm256_extractf128_ps::<1>(pairs));
    let mut out = [0.0; ROWS];
    store_128(&mut out, _mm_add_ps(sum, _mm_setzero_ps()));
    out
}

/// Four rows with one token, large form.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma")]
pub(super) fn large(format: &Format, weights: &[LargeWeights], token: &[LargeRow]) -> [f32; ROWS] {
    if format.mins {
        large_kind::<true>(format.offset, weights, token)
    } else {
        large_kind::<false>(format.offset, weights, token)
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma")]
fn large_kind<const MINS: bool>(
    offset: i32,
    weights: &[LargeWeights],
    token: &[LargeRow],
) -> [f32; ROWS] {
    // Integer scale of each 16 values to the four lanes that hold their products.
    let spread = [0, 4, 8, 12].map(|first| {
        let lanes = _mm512_set_epi32(3, 3, 3, 3, 2, 2, 2, 2, 1, 1, 1, 1, 0, 0, 0, 0);
        _mm512_add_epi32(lanes, _mm512_set1_epi32(first))
    });
    let offset = _mm512_set1_epi32(offset);
    let mut result = _mm_setzero_ps();
    for (w, x) in weights.iter().zip(token) {
        let codes = x.codes.as_chunks::<64>().0;
        let codes = [load(&codes[0]), load(&codes[1]), load(&codes[2]), load(&codes[3])];
        let offsets = _mm512_mullo_epi32(offset, load(&x.sums));
        let mut dots = [_mm512_setzero_si512(); ROWS];
        for (row, dots) in dots.iter_mut().enumerate() {
            let sub = load(&w.sub[row]);
            let weights = w.codes[row].as_chunks::<64>().0;
            let mut sum = _mm512_sub_epi32(*dots, _mm512_mullo_epi32(sub, offsets));
            for part in 0..4 {
                let dot = _mm512_dpbusd_epi32(*dots, load(&weights[part]), codes[part]);
                let scale = _mm512_permutexvar_epi32(spread[part], sub);
                sum = _mm512_add_epi32(sum, _mm512_mullo_epi32(dot, scale));
            }
            *dots = sum;
        }
        let dots = reduce(dots);
        let dots =
            _mm256_add_epi32(_mm512_castsi512_si256(dots), _mm512_extracti64x4_epi64::<1>(dots));
        let dots = _mm_add_epi32(_mm256_castsi256_si128(dots), _mm256_extracti128_si256::<1>(dots));
        let scale = _mm_set1_ps(x.scale);
        let by = _mm_mul_ps(load_128(&w.scales), scale);
        result = _mm_fmadd_ps(_mm_cvtepi32_ps(dots), by, result);
        if MINS {
            let sums = load_256(&x.short_sums);
            let mins = w.sub_mins.map(|row| _mm256_madd_epi16(load_256(&row), sums));
            let by = _mm_mul_ps(load_128(&w.mins), scale);
            result = _mm_fmadd_ps(_mm_cvtepi32_ps(reduce_256(mins)), by, result);
        }
    }
    let mut out = [0.0; ROWS];
    store_128(&mut out, result);
    out
}

/// Four codes of a weight row in every lane.
#[inline]
#[target_feature(enable = "avx512f")]
fn spread_codes(codes: [u8; 4]) -> __m512i {
    _mm512_set1_epi32(i32::from_ne_bytes(codes))
}

/// Two 16-bit numbers in every lane.
#[inline]
#[target_feature(enable = "avx512f")]
fn spread_pair(first: i16, second: i16) -> __m512i {
    _mm512_set1_epi32(i32::from(second) << 16 | i32::from(first as u16))
}

/// From a register of tokens per row to the results of each token.
#[inline]
#[target_feature(enable = "avx512f,avx512dq")]
fn by_token(rows: [__m512; ROWS], out: &mut TileSums) {
    let low = [_mm512_unpacklo_ps(rows[0], rows[1]), _mm512_unpacklo_ps(rows[2], rows[3])];
    let high = [_mm512_unpackhi_ps(rows[0], rows[1]), _mm512_unpackhi_ps(rows[2], rows[3])];
    for (at, [first, second]) in [low, high].into_iter().enumerate() {
        let (first, second) = (_mm512_castps_pd(first), _mm512_castps_pd(second));
        let tokens = [_mm512_unpacklo_pd(first, second), _mm512_unpackhi_pd(first, second)];
        for (next, tokens) in tokens.into_iter().enumerate() {
            let tokens = _mm512_castpd_ps(tokens);
            let token = 2 * at + next;
            store_128(&mut out[token], _mm512_castps512_ps128(tokens));
            store_128(&mut out[token + 4], _mm512_extractf32x4_ps::<1>(tokens));
            store_128(&mut out[token + 8], _mm512_extractf32x4_ps::<2>(tokens));
            store_128(&mut out[token + 12], _mm512_extractf32x4_ps::<3>(tokens));
        }
    }
}

/// Four rows with `N` tiles of tokens, small form.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma")]
pub(super) fn small_tiles<const N: usize>(
    format: &Format,
    weights: &[SmallWeights],
    tiles: [&[SmallTile]; N],
    out: [&mut TileSums; N],
) {
    match (format.per_scale == SMALL, format.mins) {
        (true, false) => small_tiles_kind::<N, false, false>(format.offset, weights, tiles, out),
        (true, true) => small_tiles_kind::<N, false, true>(format.offset, weights, tiles, out),
        (false, false) => small_tiles_kind::<N, true, false>(format.offset, weights, tiles, out),
        (false, true) => small_tiles_kind::<N, true, true>(format.offset, weights, tiles, out),
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma")]
fn small_tiles_kind<const N: usize, const HALVES: bool, const MINS: bool>(
    offset: i32,
    weights: &[SmallWeights],
    tiles: [&[SmallTile]; N],
    out: [&mut TileSums; N],
) {
    let mut sums = [[[_mm512_setzero_ps(); N]; ROWS]; LANES];
    for (lane, sums) in sums.iter_mut().enumerate() {
        small_lane::<N, HALVES, MINS>(lane, offset, weights, tiles, sums);
    }
    for (tile, out) in out.into_iter().enumerate() {
        let mut rows = [_mm512_setzero_ps(); ROWS];
        for (row, total) in rows.iter_mut().enumerate() {
            let lane = |lane: usize| sums[lane][row][tile];
            let even = _mm512_add_ps(lane(0), lane(2));
            let odd = _mm512_add_ps(lane(1), lane(3));
            *total = _mm512_add_ps(_mm512_add_ps(even, odd), *total);
        }
        by_token(rows, out);
    }
}

/// One virtual lane: every fourth block.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma")]
fn small_lane<const N: usize, const HALVES: bool, const MINS: bool>(
    lane: usize,
    offset: i32,
    weights: &[SmallWeights],
    tiles: [&[SmallTile]; N],
    out: &mut [[__m512; N]; ROWS],
) {
    let zero = _mm512_setzero_si512();
    let minus = -offset as i16;
    let mut sums = *out;
    for (record, block) in weights.iter().zip((lane..tiles[0].len()).step_by(LANES)) {
        let x = tiles.map(|tile| &tile[block]);
        let places = record
            .codes
            .each_ref()
            .map(|row| row.each_ref().map(|half| &half.as_chunks::<16>().0[lane]));
        let mut dots = [[zero; N]; ROWS];
        for half in 0..2 {
            if HALVES || half == 0 {
                let minus = match (HALVES, half) {
                    (false, _) => spread_pair(minus, minus),
                    (true, 0) => spread_pair(minus, 0),
                    (true, _) => spread_pair(0, minus),
                };
                let start = x.map(|x| _mm512_dpwssd_epi32(zero, load(&x.sums), minus));
                dots = [start; ROWS];
            }
            for at in 0..SMALL / 8 {
                let codes = x.map(|x| load(&x.codes[half * (SMALL / 8) + at]));
                for row in 0..ROWS {
                    let w = spread_codes(places[row][half].as_chunks::<4>().0[at]);
                    for tile in 0..N {
                        dots[row][tile] = _mm512_dpbusd_epi32(dots[row][tile], w, codes[tile]);
                    }
                }
            }
            if HALVES || half == 1 {
                let which = if HALVES { half } else { 0 };
                for row in 0..ROWS {
                    let scale = _mm512_set1_ps(record.scales[which][lane][row]);
                    for tile in 0..N {
                        let scale = _mm512_mul_ps(scale, load_ps(&x[tile].scales));
                        let dot = _mm512_cvtepi32_ps(dots[row][tile]);
                        sums[row][tile] = _mm512_fmadd_ps(dot, scale, sums[row][tile]);
                    }
                }
            }
        }
        if MINS {
            for row in 0..ROWS {
                let min = _mm512_set1_ps(record.mins[lane][row]);
                for tile in 0..N {
                    let values = load_ps(&x[tile].value_sums);
                    sums[row][tile] = _mm512_fmadd_ps(min, values, sums[row][tile]);
                }
            }
        }
    }
    *out = sums;
}

/// Four rows with `N` tiles of tokens, large form.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma")]
pub(super) fn large_tiles<const N: usize>(
    format: &Format,
    weights: &[LargeWeights],
    tiles: [&[LargeTile]; N],
    out: [&mut TileSums; N],
) {
    match (format.per_scale == SMALL, format.mins) {
        (true, false) => large_tiles_kind::<N, false, false>(format.offset, weights, tiles, out),
        (true, true) => large_tiles_kind::<N, false, true>(format.offset, weights, tiles, out),
        (false, false) => large_tiles_kind::<N, true, false>(format.offset, weights, tiles, out),
        (false, true) => large_tiles_kind::<N, true, true>(format.offset, weights, tiles, out),
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma")]
fn large_tiles_kind<const N: usize, const HALVES: bool, const MINS: bool>(
    offset: i32,
    weights: &[LargeWeights],
    tiles: [&[LargeTile]; N],
    out: [&mut TileSums; N],
) {
    let mut sums = [[_mm512_setzero_ps(); N]; ROWS];
    for (at, w) in weights.iter().enumerate() {
        let x = tiles.map(|tile| &tile[at]);
        let dots = large_dots::<N, HALVES>(offset, w, x);
        for row in 0..ROWS {
            let scale = _mm512_set1_ps(w.scales[row]);
            for tile in 0..N {
                let scale = _mm512_mul_ps(scale, load_ps(&x[tile].scales));
                let dot = _mm512_cvtepi32_ps(dots[row][tile]);
                sums[row][tile] = _mm512_fmadd_ps(dot, scale, sums[row][tile]);
            }
        }
        if MINS {
            let mins = large_mins(w, x);
            for row in 0..ROWS {
                let scale = _mm512_set1_ps(w.mins[row]);
                for tile in 0..N {
                    let scale = _mm512_mul_ps(scale, load_ps(&x[tile].scales));
                    let min = _mm512_cvtepi32_ps(mins[row][tile]);
                    sums[row][tile] = _mm512_fmadd_ps(min, scale, sums[row][tile]);
                }
            }
        }
    }
    for (tile, out) in out.into_iter().enumerate() {
        by_token(sums.map(|row| row[tile]), out);
    }
}

/// Σ scale · dot of one block.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma")]
fn large_dots<const N: usize, const HALVES: bool>(
    offset: i32,
    w: &LargeWeights,
    x: [&LargeTile; N],
) -> [[__m512i; N]; ROWS] {
    let zero = _mm512_setzero_si512();
    let minus = -offset as i16;
    let mut totals = [[zero; N]; ROWS];
    for part in 0..LARGE / SMALL {
        let mut dots = [[zero; N]; ROWS];
        for half in 0..2 {
            if HALVES || half == 0 {
                let minus = match (HALVES, half) {
                    (false, _) => spread_pair(minus, minus),
                    (true, 0) => spread_pair(minus, 0),
                    (true, _) => spread_pair(0, minus),
                };
                let start = x.map(|x| _mm512_dpwssd_epi32(zero, load(&x.sums[part]), minus));
                dots = [start; ROWS];
            }
            for at in 0..SMALL / 8 {
                let place = part * (SMALL / 4) + half * (SMALL / 8) + at;
                let codes = x.map(|x| load(&x.codes[place]));
                for row in 0..ROWS {
                    let w = spread_codes(w.codes[row].as_chunks::<4>().0[place]);
                    for tile in 0..N {
                        dots[row][tile] = _mm512_dpbusd_epi32(dots[row][tile], w, codes[tile]);
                    }
                }
            }
            if HALVES || half == 1 {
                for row in 0..ROWS {
                    let scale = _mm512_set1_epi32(w.sub[row][2 * part + half]);
                    for tile in 0..N {
                        let dot = _mm512_mullo_epi32(dots[row][tile], scale);
                        totals[row][tile] = _mm512_add_epi32(totals[row][tile], dot);
                    }
                }
            }
        }
    }
    totals
}

/// Σ min · sum of codes of one block.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma")]
fn large_mins<const N: usize>(w: &LargeWeights, x: [&LargeTile; N]) -> [[__m512i; N]; ROWS] {
    let mut totals = [[_mm512_setzero_si512(); N]; ROWS];
    for part in 0..LARGE / SMALL {
        let sums = x.map(|x| load(&x.sums[part]));
        for row in 0..ROWS {
            let mins = &w.sub_mins[row];
            let pair = spread_pair(mins[2 * part], mins[2 * part + 1]);
            for tile in 0..N {
                totals[row][tile] = _mm512_dpwssd_epi32(totals[row][tile], sums[tile], pair);
            }
        }
    }
    totals
}
