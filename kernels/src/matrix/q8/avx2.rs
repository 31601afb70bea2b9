//! The products with AVX2.
//!
//! `vpmaddubsw` multiplies 32 codes and adds them in pairs, saturating at 16 bits. Nothing here
//! saturates: a pair of codes up to 127 with activations up to 127 gives 32258 at most, and as many
//! pairs are added at 16 bits as the type's largest code allows. Codes up to 255 are taken as signed
//! numbers (their offset is 128): magnitudes up to 128 with activations under the codes' signs.

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

/// Registers that hold a 32-bit number for each token of a tile.
type Tokens<T> = [T; 2];

#[inline]
#[target_feature(enable = "avx2")]
fn load<T: Copy>(from: &T) -> __m256i {
    const { assert!(size_of::<T>() == 32) };
    // SAFETY: the reference is to 32 bytes.
    unsafe { _mm256_loadu_si256(ptr::from_ref(from).cast()) }
}

/// 64 bytes as two registers.
#[inline]
#[target_feature(enable = "avx2")]
fn load_2<T: Copy>(from: &T) -> [__m256i; 2] {
    const { assert!(size_of::<T>() == 64) };
    let from = ptr::from_ref(from).cast::<__m256i>();
    // SAFETY: the reference is to 64 bytes.
    unsafe { [_mm256_loadu_si256(from), _mm256_loadu_si256(from.add(1))] }
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_ps_2<T: Copy>(from: &T) -> [__m256; 2] {
    let [first, second] = load_2(from);
    [_mm256_castsi256_ps(first), _mm256_castsi256_ps(second)]
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_128(from: &[f32; 4]) -> __m128 {
    // SAFETY: the reference is to 16 bytes.
    unsafe { _mm_loadu_ps(from.as_ptr()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store_128(to: &mut [f32; 4], value: __m128) {
    // SAFETY: the reference is to 16 bytes.
    unsafe { _mm_storeu_ps(to.as_mut_ptr(), value) };
}

/// How many products of four codes (two pairs in two places) may be added at 16 bits; 0 where codes
/// are signed.
fn run(format: &Format) -> usize {
    match format.max_code {
        0..=31 => 4,
        32..=63 => 2,
        64..=127 => 1,
        128.. => 0,
    }
}

/// Calls a kernel for the type's largest code.
macro_rules! by_run {
    ($format:expr, $kernel:ident($($arg:expr),*)) => {
        match run($format) {
            0 => $kernel::<0>($($arg),*),
            1 => $kernel::<1>($($arg),*),
            2 => $kernel::<2>($($arg),*),
            _ => $kernel::<4>($($arg),*),
        }
    };
}

/// Pairs of codes times activations, at 16 bits.
#[inline]
#[target_feature(enable = "avx2")]
fn pairs<const RUN: usize>(codes: __m256i, x: __m256i) -> __m256i {
    if RUN == 0 {
        let codes = _mm256_xor_si256(codes, _mm256_set1_epi8(-128));
        _mm256_maddubs_epi16(_mm256_abs_epi8(codes), _mm256_sign_epi8(x, codes))
    } else {
        _mm256_maddubs_epi16(codes, x)
    }
}

/// What is subtracted from codes before the product; signed codes have it out already.
fn offset<const RUN: usize>(format: &Format) -> i32 {
    if RUN == 0 { 0 } else { format.offset }
}

/// In each 128-bit lane, the sums of that lane of the four registers.
#[inline]
#[target_feature(enable = "avx2")]
fn reduce(p: [__m256i; 4]) -> __m256i {
    _mm256_hadd_epi32(_mm256_hadd_epi32(p[0], p[1]), _mm256_hadd_epi32(p[2], p[3]))
}

/// The two lanes added too.
#[inline]
#[target_feature(enable = "avx2")]
fn reduce_all(p: [__m256i; 4]) -> __m128i {
    let both = reduce(p);
    _mm_add_epi32(_mm256_castsi256_si128(both), _mm256_extracti128_si256::<1>(both))
}

/// Four rows with one token, small form.
#[target_feature(enable = "avx2,fma")]
pub(super) fn small(format: &Format, weights: &[SmallWeights], token: &[SmallRow]) -> [f32; ROWS] {
    by_run!(format, small_run(format, weights, token))
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn small_run<const RUN: usize>(
    format: &Format,
    weights: &[SmallWeights],
    token: &[SmallRow],
) -> [f32; ROWS] {
    let halves = format.per_scale < SMALL;
    let ones = _mm256_set1_epi16(1);
    let offset = _mm256_set1_epi32(offset::<RUN>(format));
    // 128-bit lane: virtual lane; place in it: row.
    let mut lanes = [_mm256_setzero_ps(); 2];
    for (w, x) in weights.iter().zip(token) {
        let mut dots = [[_mm256_setzero_si256(); 2]; 2];
        for half in 0..2 {
            let (codes, sums) = (load_2(&x.codes[half]), load_2(&x.sums[half]));
            for two in 0..2 {
                let dot = w.codes.each_ref().map(|row| {
                    let pairs = pairs::<RUN>(load_2(&row[half])[two], codes[two]);
                    _mm256_madd_epi16(pairs, ones)
                });
                let sums = _mm256_mullo_epi32(offset, sums[two]);
                dots[half][two] = _mm256_sub_epi32(reduce(dot), sums);
            }
        }
        let x_scales = load_ps_2(&x.scales);
        for two in 0..2 {
            let lane = &mut lanes[two];
            let scale = _mm256_mul_ps(load_ps_2(&w.scales[0])[two], x_scales[two]);
            if halves {
                *lane = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dots[0][two]), scale, *lane);
                let scale = _mm256_mul_ps(load_ps_2(&w.scales[1])[two], x_scales[two]);
                *lane = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dots[1][two]), scale, *lane);
            } else {
                let dot = _mm256_add_epi32(dots[0][two], dots[1][two]);
                *lane = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot), scale, *lane);
            }
            if format.mins {
                let (mins, sums) = (load_ps_2(&w.mins)[two], load_ps_2(&x.value_sums)[two]);
                *lane = _mm256_fmadd_ps(mins, sums, *lane);
            }
        }
    }
    let sum = _mm256_add_ps(lanes[0], lanes[1]);
    let sum = _mm_add_ps(_mm256_castps256_ps128(sum), _mm256_extractf128_ps::<1>(sum));
    let mut out = [0.0; ROWS];
    store_128(&mut out, _mm_add_ps(sum, _mm_setzero_ps()));
    out
}

/// Four rows with one token, large form.
#[target_feature(enable = "avx2,fma")]
pub(super) fn large(format: &Format, weights: &[LargeWeights], token: &[LargeRow]) -> [f32; ROWS] {
    by_run!(format, large_run(format, weights, token))
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn large_run<const RUN: usize>(
    format: &Format,
    weights: &[LargeWeights],
    token: &[LargeRow],
) -> [f32; ROWS] {
    let offset = _mm256_set1_epi32(offset::<RUN>(format));
    // The first 16-bit number of each place to the lower lane, the second to the upper.
    let first = _mm_set1_epi16(0x0100);
    let spread = _mm256_set_m128i(_mm_add_epi8(first, _mm_set1_epi8(2)), first);
    let mut result = _mm_setzero_ps();
    for (w, x) in weights.iter().zip(token) {
        let x_codes = x.codes.as_chunks::<32>().0;
        let short_sums = load(&x.short_sums);
        let mut dots = [_mm256_setzero_si256(); ROWS];
        for (row, dots) in dots.iter_mut().enumerate() {
            let [low, high] = load_2(&w.sub[row]);
            let scales = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packs_epi32(low, high));
            let sums = _mm256_mullo_epi32(offset, _mm256_madd_epi16(scales, short_sums));
            let mut sum = _mm256_sub_epi32(*dots, sums);
            let codes = w.codes[row].as_chunks::<32>().0;
            for part in 0..LARGE / 32 {
                let pairs = pairs::<RUN>(load(&codes[part]), load(&x_codes[part]));
                let two = _mm256_permutevar8x32_epi32(scales, _mm256_set1_epi32(part as i32));
                let scale = _mm256_shuffle_epi8(two, spread);
                sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, scale));
            }
            *dots = sum;
        }
        let scale = _mm_set1_ps(x.scale);
        let by = _mm_mul_ps(load_128(&w.scales), scale);
        result = _mm_fmadd_ps(_mm_cvtepi32_ps(reduce_all(dots)), by, result);
        if format.mins {
            let mins = w.sub_mins.each_ref().map(|row| _mm256_madd_epi16(load(row), short_sums));
            let by = _mm_mul_ps(load_128(&w.mins), scale);
            result = _mm_fmadd_ps(_mm_cvtepi32_ps(reduce_all(mins)), by, result);
        }
    }
    let mut out = [0.0; ROWS];
    store_128(&mut out, result);
    out
}

/// Adds to `sums` the products of 16 codes of each row with those of 16 tokens, times a factor of
/// the row.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn tile_dots<const RUN: usize>(
    codes: [&[[u8; 4]; 4]; ROWS],
    x: &[[[i8; 4]; 16]; 4],
    factors: [i16; ROWS],
    sums: &mut [Tokens<__m256i>; ROWS],
) {
    for row in 0..ROWS {
        let factor = _mm256_set1_epi16(factors[row]);
        let mut sum = sums[row];
        if RUN == 0 {
            for at in 0..4 {
                let x = load_2(&x[at]);
                let codes = _mm256_set1_epi32(i32::from_ne_bytes(codes[row][at]));
                for (sum, x) in sum.iter_mut().zip(x) {
                    let pairs = pairs::<RUN>(codes, x);
                    *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(pairs, factor));
                }
            }
        } else {
            for from in (0..4).step_by(RUN) {
                let mut short = [_mm256_setzero_si256(); 2];
                for at in from..from + RUN {
                    let x = load_2(&x[at]);
                    let codes = _mm256_set1_epi32(i32::from_ne_bytes(codes[row][at]));
                    for (short, x) in short.iter_mut().zip(x) {
                        *short = _mm256_add_epi16(*short, pairs::<RUN>(codes, x));
                    }
                }
                for (sum, short) in sum.iter_mut().zip(short) {
                    *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(short, factor));
                }
            }
        }
        sums[row] = sum;
    }
}

/// Two 16-bit numbers in every place.
#[inline]
#[target_feature(enable = "avx2")]
fn spread_pair(first: i32, second: i32) -> __m256i {
    _mm256_set1_epi32(second << 16 | first & 0xffff)
}

/// `sum + dot · (w · x)` for every token of a row.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn accumulate(
    sum: &mut Tokens<__m256>,
    dots: Tokens<__m256i>,
    scale: f32,
    x_scales: Tokens<__m256>,
) {
    for two in 0..2 {
        let scale = _mm256_mul_ps(_mm256_set1_ps(scale), x_scales[two]);
        sum[two] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dots[two]), scale, sum[two]);
    }
}

/// From registers of tokens per row to the results of each token.
#[inline]
#[target_feature(enable = "avx2")]
fn by_token(rows: [Tokens<__m256>; ROWS], out: &mut TileSums) {
    for two in 0..2 {
        let row = |row: usize| rows[row][two];
        let low = [_mm256_unpacklo_ps(row(0), row(1)), _mm256_unpacklo_ps(row(2), row(3))];
        let high = [_mm256_unpackhi_ps(row(0), row(1)), _mm256_unpackhi_ps(row(2), row(3))];
        for (at, [first, second]) in [low, high].into_iter().enumerate() {
            let (first, second) = (_mm256_castps_pd(first), _mm256_castps_pd(second));
            let tokens = [_mm256_unpacklo_pd(first, second), _mm256_unpackhi_pd(first, second)];
            for (next, tokens) in tokens.into_iter().enumerate() {
                let tokens = _mm256_castpd_ps(tokens);
                let token = 8 * two + 2 * at + next;
                store_128(&mut out[token], _mm256_castps256_ps128(tokens));
                store_128(&mut out[token + 4], _mm256_extractf128_ps::<1>(tokens));
            }
        }
    }
}

/// Four rows with a tile of tokens, small form.
#[target_feature(enable = "avx2,fma")]
pub(super) fn small_tile(
    format: &Format,
    weights: &[SmallWeights],
    tile: &[SmallTile],
    out: &mut TileSums,
) {
    by_run!(format, small_tile_run(format, weights, tile, out));
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn small_tile_run<const RUN: usize>(
    format: &Format,
    weights: &[SmallWeights],
    tile: &[SmallTile],
    out: &mut TileSums,
) {
    let halves = format.per_scale < SMALL;
    let minus = -offset::<RUN>(format);
    let mut lanes = [[[_mm256_setzero_ps(); 2]; ROWS]; LANES];
    for (block, x) in tile.iter().enumerate() {
        let (record, lane) = (&weights[block / LANES], block % LANES);
        let sums = &mut lanes[lane];
        let x_scales = load_ps_2(&x.scales);
        let (x_halves, _) = x.codes.as_chunks::<4>();
        let mut dots = [[_mm256_setzero_si256(); 2]; ROWS];
        for half in 0..2 {
            if halves || half == 0 {
                let minus = match (halves, half) {
                    (false, _) => spread_pair(minus, minus),
                    (true, 0) => spread_pair(minus, 0),
                    (true, _) => spread_pair(0, minus),
                };
                dots = [load_2(&x.sums).map(|sums| _mm256_madd_epi16(sums, minus)); ROWS];
            }
            let codes = record.codes.each_ref().map(|row| {
                let place: &[u8; 16] = &row[half].as_chunks().0[lane];
                chunks_of_4(place)
            });
            tile_dots::<RUN>(codes, &x_halves[half], [1; ROWS], &mut dots);
            if halves || half == 1 {
                let scales = &record.scales[if halves { half } else { 0 }][lane];
                for row in 0..ROWS {
                    accumulate(&mut sums[row], dots[row], scales[row], x_scales);
                }
            }
        }
        if format.mins {
            let values = load_ps_2(&x.value_sums);
            for row in 0..ROWS {
                let min = _mm256_set1_ps(record.mins[lane][row]);
                for two in 0..2 {
                    sums[row][two] = _mm256_fmadd_ps(min, values[two], sums[row][two]);
                }
            }
        }
    }
    let mut rows = [[_mm256_setzero_ps(); 2]; ROWS];
    for (row, total) in rows.iter_mut().enumerate() {
        for (two, total) in total.iter_mut().enumerate() {
            let lane = |lane: usize| lanes[lane][row][two];
            let even = _mm256_add_ps(lane(0), lane(2));
            let odd = _mm256_add_ps(lane(1), lane(3));
            *total = _mm256_add_ps(_mm256_add_ps(even, odd), *total);
        }
    }
    by_token(rows, out);
}

#[inline(always)]
fn chunks_of_4(codes: &[u8; 16]) -> &[[u8; 4]; 4] {
    bytemuck::cast_ref(codes)
}

/// Four rows with a tile of tokens, large form.
#[target_feature(enable = "avx2,fma")]
pub(super) fn large_tile(
    format: &Format,
    weights: &[LargeWeights],
    tile: &[LargeTile],
    out: &mut TileSums,
) {
    by_run!(format, large_tile_run(format, weights, tile, out));
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn large_tile_run<const RUN: usize>(
    format: &Format,
    weights: &[LargeWeights],
    tile: &[LargeTile],
    out: &mut TileSums,
) {
    let minus = -offset::<RUN>(format);
    let mut sums = [[_mm256_setzero_ps(); 2]; ROWS];
    for (w, x) in weights.iter().zip(tile) {
        let x_scales = load_ps_2(&x.scales);
        let mut dots = [[_mm256_setzero_si256(); 2]; ROWS];
        let (x_parts, _) = x.codes.as_chunks::<4>();
        for part in 0..16 {
            let codes = w.codes.each_ref().map(|row| chunks_of_4(&row.as_chunks().0[part]));
            let factors = w.sub.each_ref().map(|row| row[part] as i16);
            tile_dots::<RUN>(codes, &x_parts[part], factors, &mut dots);
        }
        if minus != 0 {
            add_sums(&mut dots, x, |row, part| minus * w.sub[row][part]);
        }
        for row in 0..ROWS {
            accumulate(&mut sums[row], dots[row], w.scales[row], x_scales);
        }
        if format.mins {
            let mut mins = [[_mm256_setzero_si256(); 2]; ROWS];
            add_sums(&mut mins, x, |row, part| i32::from(w.sub_mins[row][part]));
            for row in 0..ROWS {
                accumulate(&mut sums[row], mins[row], w.mins[row], x_scales);
            }
        }
    }
    by_token(sums, out);
}

/// Adds the tokens' sums of 16 codes, each times a factor that fits 16 bits.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn add_sums(
    totals: &mut [Tokens<__m256i>; ROWS],
    x: &LargeTile,
    factor: impl Fn(usize, usize) -> i32,
) {
    for (part, sums) in x.sums.iter().enumerate() {
        let sums = load_2(sums);
        for (row, totals) in totals.iter_mut().enumerate() {
            let pair = spread_pair(factor(row, 2 * part), factor(row, 2 * part + 1));
            for (total, sums) in totals.iter_mut().zip(sums) {
                *total = _mm256_add_epi32(*total, _mm256_madd_epi16(sums, pair));
            }
        }
    }
}
