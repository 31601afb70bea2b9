//! One token with four rows straight from their packed blocks, large form, AVX-512.
//!
//! The same sums as [`super::avx512::large`]. Codes of up to six bits go through `vpmaddubsw` (pairs
//! fit 16 bits: 2 · 63 · 127 < 2^15) and `vpdpwssd` with the 16-bit integer scales, two instructions
//! for 64 products and their scales.

#![expect(
    clippy::needless_range_loop,
    reason = "rows, tiles and halves index several arrays of registers at once"
)]

use std::arch::x86_64::*;
use std::ptr;

use super::avx512::{load, prefetch, prefetch_distance, reduce, reduce_256, store_128};
use super::quantized::LargeRow;
use super::scratch::ROWS;
use super::unpack::small::IQ4_CODES;

/// One block of four rows: the integer sums, spread over lanes, and what they are multiplied with.
struct Sums {
    /// Σ scale · dot of each row.
    dots: [__m512i; ROWS],
    /// What the offsets add to them, `[row]` in the first lane of 128 bits.
    offsets: __m128i,
    /// Σ min · sum, likewise.
    mins: __m128i,
    scales: __m128,
    min_scales: __m128,
}

/// The bytes from `at` on as one register.
#[inline]
#[target_feature(enable = "avx512f")]
fn line<const N: usize>(bytes: &[u8; N], at: usize) -> __m512i {
    assert!(at + 64 <= N);
    // SAFETY: the assertion; it is decided at compile time.
    unsafe { _mm512_loadu_si512(ptr::from_ref(&bytes[at]).cast()) }
}

/// 32 bytes from `at` on, twice.
#[inline]
#[target_feature(enable = "avx512f")]
fn twice<const N: usize>(bytes: &[u8; N], at: usize) -> __m512i {
    assert!(at + 32 <= N);
    // SAFETY: the assertion; it is decided at compile time.
    _mm512_broadcast_i64x4(unsafe { _mm256_loadu_si256(ptr::from_ref(&bytes[at]).cast()) })
}

/// 16 bytes from `at` on.
#[inline]
#[target_feature(enable = "sse2")]
fn quarter<const N: usize>(bytes: &[u8; N], at: usize) -> __m128i {
    assert!(at + 16 <= N);
    // SAFETY: the assertion; it is decided at compile time.
    unsafe { _mm_loadu_si128(ptr::from_ref(&bytes[at]).cast()) }
}

/// 16 bytes of each row, a row to a lane.
#[inline]
#[target_feature(enable = "avx512f")]
fn by_row<const N: usize>(rows: [&[u8; N]; ROWS], at: usize) -> __m512i {
    let lanes = _mm512_castsi128_si512(quarter(rows[0], at));
    let lanes = _mm512_inserti32x4::<1>(lanes, quarter(rows[1], at));
    let lanes = _mm512_inserti32x4::<2>(lanes, quarter(rows[2], at));
    _mm512_inserti32x4::<3>(lanes, quarter(rows[3], at))
}

/// Two runs of 32 activation codes.
#[inline]
#[target_feature(enable = "avx512f")]
fn codes(x: &LargeRow, first: usize, second: usize) -> __m512i {
    let run = |at: usize| {
        let run: &[i8; 32] = &x.codes.as_chunks::<32>().0[at];
        // SAFETY: the reference is to 32 bytes.
        unsafe { _mm256_loadu_si256(run.as_ptr().cast()) }
    };
    _mm512_inserti64x4::<1>(_mm512_castsi256_si512(run(first)), run(second))
}

/// The sums of 16 activation codes, as 16-bit numbers.
#[inline]
#[target_feature(enable = "avx2")]
fn short_sums(x: &LargeRow) -> __m256i {
    // SAFETY: the field has 32 bytes.
    unsafe { _mm256_loadu_si256(x.short_sums.as_ptr().cast()) }
}

/// `sum + Σ of pairs codes · activations · scale`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn add(sum: __m512i, codes: __m512i, x: __m512i, scale: __m512i) -> __m512i {
    _mm512_dpwssd_epi32(sum, _mm512_maddubs_epi16(codes, x), scale)
}

/// In each lane of 128 bits, the sum of its four numbers; the lanes side by side.
#[inline]
#[target_feature(enable = "avx512f")]
fn lane_sums(lanes: __m512i) -> __m128i {
    let pairs = _mm512_add_epi32(lanes, _mm512_shuffle_epi32::<0b10_11_00_01>(lanes));
    let sums = _mm512_add_epi32(pairs, _mm512_shuffle_epi32::<0b01_00_11_10>(pairs));
    let first = _mm512_set_epi32(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 12, 8, 4, 0);
    _mm512_castsi512_si128(_mm512_permutexvar_epi32(first, sums))
}

/// The F16 number in the low half of each 32-bit lane.
#[inline]
#[target_feature(enable = "avx2,f16c")]
fn low_f16(lanes: __m128i) -> __m128 {
    let low = _mm_set_epi8(-1, -1, -1, -1, -1, -1, -1, -1, 13, 12, 9, 8, 5, 4, 1, 0);
    _mm_cvtph_ps(_mm_shuffle_epi8(lanes, low))
}

/// The F16 number in the high half.
#[inline]
#[target_feature(enable = "avx2,f16c")]
fn high_f16(lanes: __m128i) -> __m128 {
    low_f16(_mm_srli_epi32::<16>(lanes))
}

/// Four bytes of each row.
#[inline]
#[target_feature(enable = "sse4.1")]
fn words<const N: usize>(rows: [&[u8; N]; ROWS], at: usize) -> __m128i {
    let word = |row: usize| {
        i32::from_le_bytes([rows[row][at], rows[row][at + 1], rows[row][at + 2], rows[row][at + 3]])
    };
    _mm_set_epi32(word(3), word(2), word(1), word(0))
}

/// The F16 number of each row at `at`.
#[inline]
#[target_feature(enable = "avx2,f16c")]
fn halves<const N: usize>(rows: [&[u8; N]; ROWS], at: usize) -> __m128 {
    let half = |row: usize| i16::from_le_bytes([rows[row][at], rows[row][at + 1]]);
    _mm_cvtph_ps(_mm_set_epi16(0, 0, 0, 0, half(3), half(2), half(1), half(0)))
}

/// Scales and minima of Q4_K and Q5_K, whose first 16 bytes hold the F16 scales and eight of six bits
/// each: a row to a lane, 16 bits each.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn six_bits(heads: __m512i) -> [__m512i; 2] {
    // Words of a lane: F16 scales, a, b, c. Scales 0–3 are the low bits of a, 4–7 the low nibbles of
    // c under the top bits of a; minima 0–3 are the low bits of b, 4–7 the high nibbles of c under
    // the top bits of b.
    let low = _mm512_shuffle_epi32::<0b11_10_11_01>(heads);
    let shift = _mm512_set4_epi32(4, 0, 0, 0);
    let mask = _mm512_set4_epi32(0x0f0f_0f0f, 0x3f3f_3f3f, 0x0f0f_0f0f, 0x3f3f_3f3f);
    let low = _mm512_and_si512(_mm512_srlv_epi32(low, shift), mask);
    let top = _mm512_shuffle_epi32::<0b10_10_01_01>(heads);
    let mask = _mm512_set4_epi32(0x3030_3030, 0, 0x3030_3030, 0);
    let top = _mm512_and_si512(_mm512_srli_epi32::<2>(top), mask);
    let bytes = _mm512_or_si512(low, top);
    let zero = _mm512_setzero_si512();
    [_mm512_unpacklo_epi8(bytes, zero), _mm512_unpackhi_epi8(bytes, zero)]
}

/// Spreads the 16-bit numbers `first` and `second` of a lane over the lower and upper 256 bits.
const fn pair_mask(first: u8, second: u8) -> [u8; 64] {
    let mut mask = [0; 64];
    let mut at = 0;
    while at < 64 {
        let number = if at < 32 { first } else { second };
        mask[at] = 2 * number + (at % 2) as u8;
        at += 1;
    }
    mask
}

/// Low nibbles of 64 bytes are parts 0 and 2 of 32 codes, high nibbles parts 1 and 3; then 4 to 7.
const PAIRS: [[u8; 64]; 4] = [pair_mask(0, 2), pair_mask(1, 3), pair_mask(4, 6), pair_mask(5, 7)];

/// What Q4_K and Q5_K share: everything but the codes, which `codes` gives in the order of [`PAIRS`].
macro_rules! six_bit_block {
    ($rows:ident, $x:ident, $codes:expr) => {{
        let heads = by_row($rows, 0);
        let [scales, mins] = six_bits(heads);
        let x_codes = [codes($x, 0, 2), codes($x, 1, 3), codes($x, 4, 6), codes($x, 5, 7)];
        let by_lane = [
            _mm512_shuffle_i32x4::<0b00_00_00_00>(scales, scales),
            _mm512_shuffle_i32x4::<0b01_01_01_01>(scales, scales),
            _mm512_shuffle_i32x4::<0b10_10_10_10>(scales, scales),
            _mm512_shuffle_i32x4::<0b11_11_11_11>(scales, scales),
        ];
        let mut dots = [_mm512_setzero_si512(); ROWS];
        for (row, dots) in dots.iter_mut().enumerate() {
            let codes = $codes($rows[row]);
            for part in 0..4 {
                let scale = _mm512_shuffle_epi8(by_lane[row], load(&PAIRS[part]));
                *dots = add(*dots, codes[part], x_codes[part], scale);
            }
        }
        // Sums of 32 codes in every lane: those of 16, added in pairs.
        let sums = _mm256_madd_epi16(short_sums($x), _mm256_set1_epi16(1));
        let sums = _mm256_cvtepi32_epi16(sums);
        let mins = _mm512_madd_epi16(mins, _mm512_broadcast_i32x4(sums));
        let both = words($rows, 0);
        Sums {
            dots,
            offsets: _mm_setzero_si128(),
            mins: lane_sums(mins),
            scales: low_f16(both),
            min_scales: _mm_xor_ps(high_f16(both), _mm_set1_ps(-0.0)),
        }
    }};
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
fn q4_k(rows: [&[u8; 144]; ROWS], x: &LargeRow) -> Sums {
    let low = _mm512_set1_epi8(15);
    let open = |row: &[u8; 144]| {
        let (first, second) = (line(row, 16), line(row, 80));
        [
            _mm512_and_si512(first, low),
            _mm512_and_si512(_mm512_srli_epi16::<4>(first), low),
            _mm512_and_si512(second, low),
            _mm512_and_si512(_mm512_srli_epi16::<4>(second), low),
        ]
    };
    six_bit_block!(rows, x, open)
}

/// `(bits & mask) | low`.
#[inline]
#[target_feature(enable = "avx512f")]
fn under(bits: __m512i, mask: __m512i, low: __m512i) -> __m512i {
    _mm512_ternarylogic_epi32::<0xea>(bits, mask, low)
}

/// Different shifts for the lower and the upper 256 bits.
#[inline]
#[target_feature(enable = "avx512f")]
fn shifts(lower: i16, upper: i16) -> __m512i {
    let (lower, upper) = (_mm256_set1_epi16(lower), _mm256_set1_epi16(upper));
    _mm512_inserti64x4::<1>(_mm512_castsi256_si512(lower), upper)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
fn q5_k(rows: [&[u8; 176]; ROWS], x: &LargeRow) -> Sums {
    let low = _mm512_set1_epi8(15);
    let bit = _mm512_set1_epi8(16);
    // Bit `part` of a byte belongs to that part of 32 codes.
    let left = [shifts(4, 2), shifts(3, 1)];
    let right = [shifts(0, 2), shifts(1, 3)];
    let open = |row: &[u8; 176]| {
        let (first, second, high) = (line(row, 48), line(row, 112), twice(row, 16));
        let low = |line: __m512i| _mm512_and_si512(line, low);
        [
            under(_mm512_sllv_epi16(high, left[0]), bit, low(first)),
            under(_mm512_sllv_epi16(high, left[1]), bit, low(_mm512_srli_epi16::<4>(first))),
            under(_mm512_srlv_epi16(high, right[0]), bit, low(second)),
            under(_mm512_srlv_epi16(high, right[1]), bit, low(_mm512_srli_epi16::<4>(second))),
        ]
    };
    six_bit_block!(rows, x, open)
}

/// Spreads the 16-bit numbers of `at` over a lane each, of a register of 16.
const fn quads(at: [u16; 4]) -> [u16; 32] {
    let mut spread = [0; 32];
    let mut place = 0;
    while place < 32 {
        spread[place] = at[place / 8];
        place += 1;
    }
    spread
}

/// What the types with a scale per 16 values share: codes in four registers per row, integer scales
/// as 16 numbers of 16 bits, and where the scales of each register stand.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn by_sixteen(
    codes: [__m512i; 4],
    x: [__m512i; 4],
    scales: __m256i,
    places: &[[u16; 32]; 4],
) -> __m512i {
    let scales = _mm512_castsi256_si512(scales);
    let mut sum = _mm512_setzero_si512();
    for part in 0..4 {
        let scale = _mm512_permutexvar_epi16(load(&places[part]), scales);
        sum = add(sum, codes[part], x[part], scale);
    }
    sum
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
fn q6_k(rows: [&[u8; 210]; ROWS], x: &LargeRow) -> Sums {
    const PLACES: [[u16; 32]; 4] =
        [quads([0, 1, 2, 3]), quads([4, 5, 6, 7]), quads([8, 9, 10, 11]), quads([12, 13, 14, 15])];
    let x_codes = [codes(x, 0, 1), codes(x, 2, 3), codes(x, 4, 5), codes(x, 6, 7)];
    let low = _mm512_set1_epi8(15);
    let bits = _mm512_set1_epi8(0x30);
    let (left, right) = (shifts(4, 2), shifts(0, 2));
    let sums = short_sums(x);
    let mut dots = [_mm512_setzero_si512(); ROWS];
    let mut offsets = [_mm256_setzero_si256(); ROWS];
    for (row, bytes) in rows.into_iter().enumerate() {
        let open = |half: usize| {
            let (line, high) = (line(bytes, 64 * half), twice(bytes, 128 + 32 * half));
            let upper = _mm512_and_si512(_mm512_srli_epi16::<4>(line), low);
            [
                under(_mm512_sllv_epi16(high, left), bits, _mm512_and_si512(line, low)),
                under(_mm512_srlv_epi16(high, right), bits, upper),
            ]
        };
        let ([first, second], [third, fourth]) = (open(0), open(1));
        let scales = _mm256_cvtepi8_epi16(quarter(bytes, 192));
        dots[row] = by_sixteen([first, second, third, fourth], x_codes, scales, &PLACES);
        offsets[row] = _mm256_madd_epi16(scales, sums);
    }
    Sums {
        dots,
        offsets: _mm_slli_epi32::<5>(reduce_256(offsets)),
        mins: _mm_setzero_si128(),
        scales: halves(rows, 208),
        min_scales: _mm_setzero_ps(),
    }
}

/// Two bits of 64 bytes at a time: the runs of 32 codes `n` and `4 + n`, with 16 scales in order.
const TWO_BIT_PLACES: [[u16; 32]; 4] =
    [quads([0, 1, 8, 9]), quads([2, 3, 10, 11]), quads([4, 5, 12, 13]), quads([6, 7, 14, 15])];

/// The four pairs of bits of each byte.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn two_bits(line: __m512i) -> [__m512i; 4] {
    let low = _mm512_set1_epi8(3);
    [
        _mm512_and_si512(line, low),
        _mm512_and_si512(_mm512_srli_epi16::<2>(line), low),
        _mm512_and_si512(_mm512_srli_epi16::<4>(line), low),
        _mm512_and_si512(_mm512_srli_epi16::<6>(line), low),
    ]
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
fn q2_k(rows: [&[u8; 84]; ROWS], x: &LargeRow) -> Sums {
    let x_codes = [codes(x, 0, 4), codes(x, 1, 5), codes(x, 2, 6), codes(x, 3, 7)];
    let sums = short_sums(x);
    let low = _mm_set1_epi8(15);
    let mut dots = [_mm512_setzero_si512(); ROWS];
    let mut mins = [_mm256_setzero_si256(); ROWS];
    for (row, bytes) in rows.into_iter().enumerate() {
        let both = quarter(bytes, 0);
        let scales = _mm256_cvtepu8_epi16(_mm_and_si128(both, low));
        let row_mins = _mm256_cvtepu8_epi16(_mm_and_si128(_mm_srli_epi16::<4>(both), low));
        dots[row] = by_sixteen(two_bits(line(bytes, 16)), x_codes, scales, &TWO_BIT_PLACES);
        mins[row] = _mm256_madd_epi16(row_mins, sums);
    }
    let both = words(rows, 80);
    Sums {
        dots,
        offsets: _mm_setzero_si128(),
        mins: reduce_256(mins),
        scales: low_f16(both),
        min_scales: _mm_xor_ps(high_f16(both), _mm_set1_ps(-0.0)),
    }
}

/// The 16 scales of Q3_K, six bits each less 32, from twelve bytes.
#[inline]
#[target_feature(enable = "avx2")]
fn three_bit_scales(bytes: &[u8; 110]) -> __m256i {
    let word =
        |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let (a, b, c) = (word(96), word(100), word(104));
    let join = |low: u32, top: u32| ((low & 0x0f0f_0f0f) | (top & 0x0303_0303) << 4).cast_signed();
    let packed =
        _mm_set_epi32(join(b >> 4, c >> 6), join(a >> 4, c >> 4), join(b, c >> 2), join(a, c));
    _mm256_cvtepi8_epi16(_mm_sub_epi8(packed, _mm_set1_epi8(32)))
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
fn q3_k(rows: [&[u8; 110]; ROWS], x: &LargeRow) -> Sums {
    let x_codes = [codes(x, 0, 4), codes(x, 1, 5), codes(x, 2, 6), codes(x, 3, 7)];
    let sums = short_sums(x);
    let bit = _mm512_set1_epi8(4);
    let mut dots = [_mm512_setzero_si512(); ROWS];
    let mut offsets = [_mm256_setzero_si256(); ROWS];
    for (row, bytes) in rows.into_iter().enumerate() {
        // The third bit of run `n` is bit `n` of a byte.
        let high = twice(bytes, 0);
        let high = [
            _mm512_sllv_epi16(_mm512_srlv_epi16(high, shifts(0, 4)), shifts(2, 2)),
            _mm512_sllv_epi16(_mm512_srlv_epi16(high, shifts(1, 5)), shifts(2, 2)),
            _mm512_srlv_epi16(high, shifts(0, 4)),
            _mm512_srlv_epi16(high, shifts(1, 5)),
        ];
        let low = two_bits(line(bytes, 32));
        let codes = std::array::from_fn(|part| under(high[part], bit, low[part]));
        let scales = three_bit_scales(bytes);
        dots[row] = by_sixteen(codes, x_codes, scales, &TWO_BIT_PLACES);
        offsets[row] = _mm256_madd_epi16(scales, sums);
    }
    Sums {
        dots,
        offsets: _mm_slli_epi32::<2>(reduce_256(offsets)),
        mins: _mm_setzero_si128(),
        scales: halves(rows, 108),
        min_scales: _mm_setzero_ps(),
    }
}

/// The eight scales of IQ4_XS, six bits each less 32, each twice.
#[inline]
#[target_feature(enable = "avx2")]
fn iq4_scales(bytes: &[u8; 136]) -> __m256i {
    let high = u64::from(u16::from_le_bytes([bytes[2], bytes[3]]));
    let low = u64::from(u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]));
    // Nibbles to bytes, pairs of bits to bytes.
    let low = (low | low << 16) & 0x0000_ffff_0000_ffff;
    let low = (low | low << 8) & 0x00ff_00ff_00ff_00ff;
    let low = (low | low << 4) & 0x0f0f_0f0f_0f0f_0f0f;
    let high = (high | high << 24) & 0x0000_00ff_0000_00ff;
    let high = (high | high << 12) & 0x000f_000f_000f_000f;
    let high = (high | high << 6) & 0x0303_0303_0303_0303;
    let packed = _mm_cvtsi64_si128((low | high << 4).cast_signed());
    let packed = _mm_sub_epi8(packed, _mm_set1_epi8(32));
    _mm256_cvtepi8_epi16(_mm_unpacklo_epi8(packed, packed))
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
fn iq4_xs(rows: [&[u8; 136]; ROWS], x: &LargeRow) -> Sums {
    let values = _mm512_broadcast_i32x4(quarter(&IQ4_CODES, 0));
    let low = _mm512_set1_epi8(15);
    let zero = _mm512_setzero_si512();
    let sums = short_sums(x);
    // The first 16 codes of four runs of 32, and the last 16.
    let even = _mm512_set_epi64(13, 12, 9, 8, 5, 4, 1, 0);
    let odd = _mm512_set_epi64(15, 14, 11, 10, 7, 6, 3, 2);
    let x_codes: [[__m512i; 2]; 2] = std::array::from_fn(|half| {
        let (first, second) =
            (codes(x, 4 * half, 4 * half + 1), codes(x, 4 * half + 2, 4 * half + 3));
        [even, odd].map(|which| _mm512_permutex2var_epi64(first, which, second))
    });
    let mut dots = [zero; ROWS];
    let mut offsets = [_mm256_setzero_si256(); ROWS];
    for (row, bytes) in rows.into_iter().enumerate() {
        let scales = iq4_scales(bytes);
        // Every lane of 128 bits takes one of the eight scales.
        let wide = _mm512_cvtepi16_epi32(scales);
        for half in 0..2 {
            let line = line(bytes, 8 + 64 * half);
            let first = _mm512_shuffle_epi8(values, _mm512_and_si512(line, low));
            let second = _mm512_and_si512(_mm512_srli_epi16::<4>(line), low);
            let second = _mm512_shuffle_epi8(values, second);
            let dot = _mm512_dpbusd_epi32(zero, first, x_codes[half][0]);
            let dot = _mm512_dpbusd_epi32(dot, second, x_codes[half][1]);
            let from = 8 * half as i32;
            let place = _mm512_set_epi32(6, 6, 6, 6, 4, 4, 4, 4, 2, 2, 2, 2, 0, 0, 0, 0);
            let place = _mm512_add_epi32(place, _mm512_set1_epi32(from));
            let scale = _mm512_permutexvar_epi32(place, wide);
            dots[row] = _mm512_add_epi32(dots[row], _mm512_mullo_epi32(dot, scale));
        }
        offsets[row] = _mm256_madd_epi16(scales, sums);
    }
    Sums {
        dots,
        offsets: _mm_slli_epi32::<7>(reduce_256(offsets)),
        mins: _mm_setzero_si128(),
        scales: halves(rows, 0),
        min_scales: _mm_setzero_ps(),
    }
}

/// The whole product of four rows with a token for a type.
macro_rules! product {
    ($name:ident, $open:ident, $block:literal, $mins:literal) => {
        /// Four packed rows with one token.
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
        pub(super) fn $name(rows: [&[u8]; ROWS], token: &[LargeRow]) -> [f32; ROWS] {
            let blocks = rows.map(|row| &row.as_chunks::<$block>().0[..token.len()]);
            let ahead = prefetch_distance(ROWS * token.len() * $block);
            let mut result = _mm_setzero_ps();
            for (at, x) in token.iter().enumerate() {
                for row in blocks {
                    prefetch(&row[at], ahead);
                }
                let sums = $open(blocks.map(|row| &row[at]), x);
                let dots = reduce(sums.dots);
                let upper = _mm512_extracti64x4_epi64::<1>(dots);
                let dots = _mm256_add_epi32(_mm512_castsi512_si256(dots), upper);
                let upper = _mm256_extracti128_si256::<1>(dots);
                let dots = _mm_add_epi32(_mm256_castsi256_si128(dots), upper);
                let dots = _mm_sub_epi32(dots, sums.offsets);
                let scale = _mm_mul_ps(sums.scales, _mm_set1_ps(x.scale));
                result = _mm_fmadd_ps(_mm_cvtepi32_ps(dots), scale, result);
                if $mins {
                    let scale = _mm_mul_ps(sums.min_scales, _mm_set1_ps(x.scale));
                    result = _mm_fmadd_ps(_mm_cvtepi32_ps(sums.mins), scale, result);
                }
            }
            let mut out = [0.0; ROWS];
            store_128(&mut out, result);
            out
        }
    };
}

product!(q2_k_row, q2_k, 84, true);
product!(q3_k_row, q3_k, 110, false);
product!(q4_k_row, q4_k, 144, true);
product!(q5_k_row, q5_k, 176, true);
product!(q6_k_row, q6_k, 210, false);
product!(iq4_xs_row, iq4_xs, 136, false);
