//! One token with four rows straight from their packed blocks, small form, AVX-512.
//!
//! The same sums as [`super::avx512::small`], without a detour through unpacked rows. Four blocks of
//! a row are opened at once into two registers in half order; block `i` stands in 128-bit lane `i`.

use std::arch::x86_64::*;
use std::ptr;

use super::avx512::{finish_small, load, load_ps, prefetch, prefetch_distance, reduce};
use super::quantized::SmallRow;
use super::scratch::{LANES, ROWS};
use super::unpack::small::{FP4_CODES, IQ4_CODES};

/// Four blocks of four rows: codes by row and half, scales and minima `[block][row]`.
struct Opened {
    codes: [[__m512i; 2]; ROWS],
    scales: __m512,
    mins: __m512,
}

/// The 64 bytes from `at` on.
#[inline]
#[target_feature(enable = "avx512f")]
fn line<const N: usize>(piece: &[u8; N], at: usize) -> __m512i {
    assert!(at + 64 <= N);
    // SAFETY: the assertion; it is decided at compile time.
    unsafe { _mm512_loadu_si512(ptr::from_ref(&piece[at]).cast()) }
}

/// The 16 bytes from `at` on.
#[inline]
#[target_feature(enable = "sse2")]
fn half_block<const N: usize>(piece: &[u8; N], at: usize) -> __m128i {
    assert!(at + 16 <= N);
    // SAFETY: the assertion; it is decided at compile time.
    unsafe { _mm_loadu_si128(ptr::from_ref(&piece[at]).cast()) }
}

/// 16 bytes of each of four blocks, `stride` apart.
#[inline]
#[target_feature(enable = "avx512f")]
fn four<const N: usize>(piece: &[u8; N], at: usize, stride: usize) -> __m512i {
    let lanes = _mm512_castsi128_si512(half_block(piece, at));
    let lanes = _mm512_inserti32x4::<1>(lanes, half_block(piece, at + stride));
    let lanes = _mm512_inserti32x4::<2>(lanes, half_block(piece, at + 2 * stride));
    _mm512_inserti32x4::<3>(lanes, half_block(piece, at + 3 * stride))
}

/// Low and high nibbles.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn nibbles(packed: __m512i) -> [__m512i; 2] {
    let low = _mm512_set1_epi8(15);
    [_mm512_and_si512(packed, low), _mm512_and_si512(_mm512_srli_epi16::<4>(packed), low)]
}

/// A table of 16 bytes in every lane.
#[inline]
#[target_feature(enable = "avx512f")]
fn table(bytes: &[u8; 16]) -> __m512i {
    _mm512_broadcast_i32x4(half_block(bytes, 0))
}

/// For row `row`: moves the bytes from `at[lane]` on to 32-bit place `row` of each lane.
const fn to_row(at: [u8; LANES], width: u8, row: usize) -> [u8; 64] {
    let mut mask = [0x80; 64];
    let mut lane = 0;
    while lane < LANES {
        let mut byte = 0;
        while byte < width {
            mask[lane * 16 + row * 4 + byte as usize] = at[lane] + byte;
            byte += 1;
        }
        lane += 1;
    }
    mask
}

const fn to_rows(at: [u8; LANES], width: u8) -> [[u8; 64]; ROWS] {
    [to_row(at, width, 0), to_row(at, width, 1), to_row(at, width, 2), to_row(at, width, 3)]
}

/// A number of each block of each row as `[block][row]`, zero-extended.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn gather(lines: [__m512i; ROWS], masks: &[[u8; 64]; ROWS]) -> __m512i {
    let pick = |row: usize| _mm512_shuffle_epi8(lines[row], load(&masks[row]));
    any(pick(0), pick(1), any(pick(2), pick(3), _mm512_setzero_si512()))
}

/// The union of three.
#[inline]
#[target_feature(enable = "avx512f")]
fn any(a: __m512i, b: __m512i, c: __m512i) -> __m512i {
    _mm512_ternarylogic_epi32::<0xfe>(a, b, c)
}

/// The F16 numbers in the low halves of 32-bit lanes.
#[inline]
#[target_feature(enable = "avx512f")]
fn low_f16(lanes: __m512i) -> __m512 {
    _mm512_cvtph_ps(_mm512_cvtepi32_epi16(lanes))
}

/// The F16 numbers in the high halves.
#[inline]
#[target_feature(enable = "avx512f")]
fn high_f16(lanes: __m512i) -> __m512 {
    low_f16(_mm512_srli_epi32::<16>(lanes))
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,f16c")]
fn q4_0(pieces: [&[u8; 72]; ROWS]) -> Opened {
    const AT: [[u8; 64]; ROWS] = to_rows([0, 2, 4, 6], 2);
    let scales = low_f16(gather(pieces.map(|piece| line(piece, 0)), &AT));
    let codes = pieces.map(|piece| nibbles(four(piece, 2, 18)));
    Opened { codes, scales, mins: _mm512_setzero_ps() }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,f16c")]
fn iq4_nl(pieces: [&[u8; 72]; ROWS]) -> Opened {
    let values = table(&IQ4_CODES);
    let mut opened = q4_0(pieces);
    opened.codes = opened.codes.map(|row| row.map(|half| _mm512_shuffle_epi8(values, half)));
    opened
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,f16c")]
fn mxfp4(pieces: [&[u8; 68]; ROWS]) -> Opened {
    const AT: [[u8; 64]; ROWS] = to_rows([0, 1, 2, 3], 1);
    let exponent = gather(pieces.map(|piece| line(piece, 0)), &AT);
    let normal = _mm512_slli_epi32::<23>(_mm512_sub_epi32(exponent, _mm512_set1_epi32(1)));
    let tiny = _mm512_cmplt_epi32_mask(exponent, _mm512_set1_epi32(2));
    let bits = _mm512_mask_sllv_epi32(normal, tiny, _mm512_set1_epi32(0x0020_0000), exponent);
    let values = table(&FP4_CODES);
    let codes = pieces
        .map(|piece| nibbles(four(piece, 1, 17)).map(|half| _mm512_shuffle_epi8(values, half)));
    Opened { codes, scales: _mm512_castsi512_ps(bits), mins: _mm512_setzero_ps() }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,f16c")]
fn q4_1(pieces: [&[u8; 80]; ROWS]) -> Opened {
    const AT: [[u8; 64]; ROWS] = to_rows([0, 4, 8, 12], 4);
    let both = gather(pieces.map(|piece| line(piece, 0)), &AT);
    let codes = pieces.map(|piece| nibbles(four(piece, 4, 20)));
    Opened { codes, scales: low_f16(both), mins: high_f16(both) }
}

/// For each half: which byte of a lane holds the fifth bit of each code.
const fn bit_bytes(first: u8) -> [[u8; 64]; 2] {
    let mut bytes = [[0; 64]; 2];
    let mut at = 0;
    while at < 64 {
        bytes[0][at] = first + (at % 16 / 8) as u8;
        bytes[1][at] = bytes[0][at] + 2;
        at += 1;
    }
    bytes
}

/// Adds the fifth bits, whose four bytes stand at `first` in the lanes of `heads`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn fifth_bits(codes: [__m512i; 2], heads: __m512i, bytes: &[[u8; 64]; 2]) -> [__m512i; 2] {
    let bits = _mm512_set1_epi64(0x8040_2010_0804_0201_u64.cast_signed());
    let sixteen = _mm512_set1_epi8(16);
    let add = |half: usize| {
        let spread = _mm512_shuffle_epi8(heads, load(&bytes[half]));
        let set = _mm512_test_epi8_mask(spread, bits);
        _mm512_mask_add_epi8(codes[half], set, codes[half], sixteen)
    };
    [add(0), add(1)]
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,f16c")]
fn q5_0(pieces: [&[u8; 88]; ROWS]) -> Opened {
    const AT: [[u8; 64]; ROWS] = to_rows([0; LANES], 2);
    const BITS: [[u8; 64]; 2] = bit_bytes(2);
    let heads = pieces.map(|piece| four(piece, 0, 22));
    let codes: [[__m512i; 2]; ROWS] =
        std::array::from_fn(|row| fifth_bits(nibbles(four(pieces[row], 6, 22)), heads[row], &BITS));
    Opened { codes, scales: low_f16(gather(heads, &AT)), mins: _mm512_setzero_ps() }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,f16c")]
fn q5_1(pieces: [&[u8; 96]; ROWS]) -> Opened {
    const AT: [[u8; 64]; ROWS] = to_rows([0; LANES], 4);
    const BITS: [[u8; 64]; 2] = bit_bytes(4);
    let heads = pieces.map(|piece| four(piece, 0, 24));
    let codes: [[__m512i; 2]; ROWS] =
        std::array::from_fn(|row| fifth_bits(nibbles(four(pieces[row], 8, 24)), heads[row], &BITS));
    let both = gather(heads, &AT);
    Opened { codes, scales: low_f16(both), mins: high_f16(both) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,f16c")]
fn q8_0(pieces: [&[u8; 136]; ROWS]) -> Opened {
    // Words of the scales in the bytes 0 to 63 and 64 to 127: at 0, 34, 68 and 102.
    let at = _mm512_set_epi32(51, 51, 51, 51, 34, 34, 34, 34, 17, 17, 17, 17, 0, 0, 0, 0);
    let pick = |row: usize| {
        let mask = 0x0101_0101 << (2 * row);
        _mm512_maskz_permutex2var_epi16(mask, line(pieces[row], 0), at, line(pieces[row], 64))
    };
    let scales = any(pick(0), pick(1), any(pick(2), pick(3), _mm512_setzero_si512()));
    let flip = _mm512_set1_epi8(-128);
    let codes = pieces.map(|piece| {
        [four(piece, 2, 34), four(piece, 18, 34)].map(|half| _mm512_xor_si512(half, flip))
    });
    Opened { codes, scales: low_f16(scales), mins: _mm512_setzero_ps() }
}

/// The whole product of four rows with a token for a type.
macro_rules! product {
    ($name:ident, $open:ident, $block:literal, $offset:literal, $mins:literal) => {
        /// Four packed rows with one token. What follows a row's last block up to a multiple of four
        /// is read, not used.
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
        pub(super) fn $name(rows: [&[u8]; ROWS], blocks: usize, token: &[SmallRow]) -> [f32; ROWS] {
            let chunks = rows.map(|row| &row.as_chunks::<{ LANES * $block }>().0[..token.len()]);
            let ahead = prefetch_distance(ROWS * blocks * $block);
            let zero = _mm512_setzero_si512();
            let mut lanes = _mm512_setzero_ps();
            let last = 0xffff_u16 >> (4 * ((LANES - blocks % LANES) % LANES));
            for (at, x) in token.iter().enumerate() {
                for row in chunks {
                    prefetch(&row[at], ahead);
                }
                let opened = $open(chunks.map(|row| &row[at]));
                let codes = [load(&x.codes[0]), load(&x.codes[1])];
                let dots = opened.codes.map(|row| {
                    let first = _mm512_dpbusd_epi32(zero, row[0], codes[0]);
                    _mm512_dpbusd_epi32(first, row[1], codes[1])
                });
                let mut dots = reduce(dots);
                if $offset != 0 {
                    let sums = _mm512_add_epi32(load(&x.sums[0]), load(&x.sums[1]));
                    let sums = _mm512_mullo_epi32(_mm512_set1_epi32($offset), sums);
                    dots = _mm512_sub_epi32(dots, sums);
                }
                let used = if at + 1 == token.len() { last } else { 0xffff };
                let scale = _mm512_maskz_mul_ps(used, opened.scales, load_ps(&x.scales));
                lanes = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dots), scale, lanes);
                if $mins {
                    let mins = _mm512_maskz_mov_ps(used, opened.mins);
                    lanes = _mm512_fmadd_ps(mins, load_ps(&x.value_sums), lanes);
                }
            }
            finish_small(lanes)
        }
    };
}

product!(q4_0_row, q4_0, 18, 8, false);
product!(q4_1_row, q4_1, 20, 0, true);
product!(q5_0_row, q5_0, 22, 16, false);
product!(q5_1_row, q5_1, 24, 0, true);
product!(q8_0_row, q8_0, 34, 128, false);
product!(iq4_nl_row, iq4_nl, 18, 128, false);
product!(mxfp4_row, mxfp4, 17, 12, false);
