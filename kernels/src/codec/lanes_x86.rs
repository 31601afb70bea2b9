//! The sixteen lanes of [`Lanes`] in AVX2 (two registers) and AVX-512 (one).
//!
//! Every function here is compiled into functions of the tier whose instructions it uses: the
//! encoders are `#[inline(always)]` and entered through `lane_encoder!` only.

use std::arch::x86_64::*;
use std::ops::{Add, Div, Mul, Sub};

use super::lanes::{IQ4_BINS, LANES, Lanes};

/// AVX2 and F16C: lanes 0–7 and 8–15.
#[derive(Clone, Copy)]
pub(super) struct Avx2([__m256; 2]);

/// AVX-512 F, BW, DQ and VL.
#[derive(Clone, Copy)]
pub(super) struct Avx512(__m512);

/// Calls intrinsics.
macro_rules! with_tier {
    ($body:expr) => {
        // SAFETY: the vector types of a tier occur only in functions compiled for it, which are
        // reached only with a `Tier` that proves the instructions (see `Lanes`); loads and stores go
        // to arrays of the right length.
        unsafe { $body }
    };
}

macro_rules! operator {
    ($trait:ident, $method:ident, $avx2:ident, $avx512:ident) => {
        impl $trait for Avx2 {
            type Output = Self;
            #[inline(always)]
            fn $method(self, other: Self) -> Self {
                with_tier!(Self([$avx2(self.0[0], other.0[0]), $avx2(self.0[1], other.0[1])]))
            }
        }

        impl $trait for Avx512 {
            type Output = Self;
            #[inline(always)]
            fn $method(self, other: Self) -> Self {
                with_tier!(Self($avx512(self.0, other.0)))
            }
        }
    };
}

operator!(Add, add, _mm256_add_ps, _mm512_add_ps);
operator!(Sub, sub, _mm256_sub_ps, _mm512_sub_ps);
operator!(Mul, mul, _mm256_mul_ps, _mm512_mul_ps);
operator!(Div, div, _mm256_div_ps, _mm512_div_ps);

impl Lanes for Avx2 {
    type Mask = [__m256; 2];

    #[inline(always)]
    fn splat(x: f32) -> Self {
        with_tier!(Self([_mm256_set1_ps(x); 2]))
    }

    #[inline(always)]
    fn load(x: &[f32; LANES]) -> Self {
        with_tier!(Self([_mm256_loadu_ps(x.as_ptr()), _mm256_loadu_ps(x[8..].as_ptr())]))
    }

    #[inline(always)]
    fn array(self) -> [f32; LANES] {
        let mut out = [0.0; LANES];
        let (low, high) = out.split_at_mut(8);
        with_tier!({
            _mm256_storeu_ps(low.as_mut_ptr(), self.0[0]);
            _mm256_storeu_ps(high.as_mut_ptr(), self.0[1]);
        });
        out
    }

    #[inline(always)]
    fn min(self, other: Self) -> Self {
        with_tier!(Self([
            _mm256_min_ps(self.0[0], other.0[0]),
            _mm256_min_ps(self.0[1], other.0[1])
        ]))
    }

    #[inline(always)]
    fn max(self, other: Self) -> Self {
        with_tier!(Self([
            _mm256_max_ps(self.0[0], other.0[0]),
            _mm256_max_ps(self.0[1], other.0[1])
        ]))
    }

    #[inline(always)]
    fn abs(self) -> Self {
        with_tier!({
            let sign = _mm256_set1_ps(-0.0);
            Self([_mm256_andnot_ps(sign, self.0[0]), _mm256_andnot_ps(sign, self.0[1])])
        })
    }

    #[inline(always)]
    fn less(self, other: Self) -> [__m256; 2] {
        with_tier!([
            _mm256_cmp_ps::<_CMP_LT_OQ>(self.0[0], other.0[0]),
            _mm256_cmp_ps::<_CMP_LT_OQ>(self.0[1], other.0[1])
        ])
    }

    #[inline(always)]
    fn select(mask: [__m256; 2], a: Self, b: Self) -> Self {
        with_tier!(Self([
            _mm256_blendv_ps(b.0[0], a.0[0], mask[0]),
            _mm256_blendv_ps(b.0[1], a.0[1], mask[1])
        ]))
    }

    #[inline(always)]
    fn to_f16(self) -> [u16; LANES] {
        let mut out = [0; LANES];
        let (low, high) = out.split_at_mut(8);
        with_tier!({
            const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT;
            _mm_storeu_si128(low.as_mut_ptr().cast(), _mm256_cvtps_ph::<NEAREST>(self.0[0]));
            _mm_storeu_si128(high.as_mut_ptr().cast(), _mm256_cvtps_ph::<NEAREST>(self.0[1]));
        });
        out
    }

    #[inline(always)]
    fn from_f16(bits: [u16; LANES]) -> Self {
        with_tier!(Self([
            _mm256_cvtph_ps(_mm_loadu_si128(bits.as_ptr().cast())),
            _mm256_cvtph_ps(_mm_loadu_si128(bits[8..].as_ptr().cast()))
        ]))
    }

    #[inline(always)]
    fn to_bytes(self) -> [u8; LANES] {
        let mut out = [0; LANES];
        with_tier!({
            let low_byte = _mm256_set1_epi32(255);
            let a = _mm256_and_si256(_mm256_cvttps_epi32(self.0[0]), low_byte);
            let b = _mm256_and_si256(_mm256_cvttps_epi32(self.0[1]), low_byte);
            // Packing works within halves of a register: 64-bit groups come out as 0, 2, 1, 3.
            let words = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packus_epi32(a, b));
            let (low, high) = (_mm256_castsi256_si128(words), _mm256_extracti128_si256::<1>(words));
            _mm_storeu_si128(out.as_mut_ptr().cast(), _mm_packus_epi16(low, high));
        });
        out
    }

    #[inline(always)]
    fn iq4_level(self) -> Self {
        let u = self.clamp(0.0, 480.0);
        let table = IQ4_BINS.level.as_ptr();
        // The clamp keeps the indices inside the table's 481 entries.
        with_tier!(Self([
            _mm256_i32gather_ps::<4>(table, _mm256_cvttps_epi32(u.0[0])),
            _mm256_i32gather_ps::<4>(table, _mm256_cvttps_epi32(u.0[1]))
        ]))
    }

    #[inline(always)]
    fn transpose(blocks: &[f32; 32 * LANES], places: &mut [Self; 32]) {
        for (eight, places) in places.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            for half in 0..2 {
                let columns = transpose_8(rows_8(blocks, 8 * half, 8 * eight));
                for (place, column) in places.iter_mut().zip(columns) {
                    place.0[half] = column;
                }
            }
        }
    }
}

/// Eight places of eight blocks.
#[inline(always)]
fn rows_8(blocks: &[f32; 32 * LANES], lane: usize, place: usize) -> [__m256; 8] {
    with_tier!({
        let mut rows = [_mm256_setzero_ps(); 8];
        for (row, rows) in rows.iter_mut().enumerate() {
            *rows = _mm256_loadu_ps(blocks[32 * (lane + row) + place..].as_ptr());
        }
        rows
    })
}

/// Rows to columns: pairs, then quadruples, then halves.
#[inline(always)]
fn transpose_8(r: [__m256; 8]) -> [__m256; 8] {
    with_tier!({
        let mut quads = [_mm256_setzero_ps(); 8];
        for i in [0, 4] {
            let (a, b) = (_mm256_unpacklo_ps(r[i], r[i + 1]), _mm256_unpackhi_ps(r[i], r[i + 1]));
            let (c, d) =
                (_mm256_unpacklo_ps(r[i + 2], r[i + 3]), _mm256_unpackhi_ps(r[i + 2], r[i + 3]));
            quads[i] = _mm256_shuffle_ps::<0b01_00_01_00>(a, c);
            quads[i + 1] = _mm256_shuffle_ps::<0b11_10_11_10>(a, c);
            quads[i + 2] = _mm256_shuffle_ps::<0b01_00_01_00>(b, d);
            quads[i + 3] = _mm256_shuffle_ps::<0b11_10_11_10>(b, d);
        }
        let mut columns = [_mm256_setzero_ps(); 8];
        for i in 0..4 {
            columns[i] = _mm256_permute2f128_ps::<0x20>(quads[i], quads[i + 4]);
            columns[i + 4] = _mm256_permute2f128_ps::<0x31>(quads[i], quads[i + 4]);
        }
        columns
    })
}

impl Lanes for Avx512 {
    type Mask = __mmask16;

    #[inline(always)]
    fn splat(x: f32) -> Self {
        with_tier!(Self(_mm512_set1_ps(x)))
    }

    #[inline(always)]
    fn load(x: &[f32; LANES]) -> Self {
        with_tier!(Self(_mm512_loadu_ps(x.as_ptr())))
    }

    #[inline(always)]
    fn array(self) -> [f32; LANES] {
        let mut out = [0.0; LANES];
        with_tier!(_mm512_storeu_ps(out.as_mut_ptr(), self.0));
        out
    }

    #[inline(always)]
    fn min(self, other: Self) -> Self {
        with_tier!(Self(_mm512_min_ps(self.0, other.0)))
    }

    #[inline(always)]
    fn max(self, other: Self) -> Self {
        with_tier!(Self(_mm512_max_ps(self.0, other.0)))
    }

    #[inline(always)]
    fn abs(self) -> Self {
        with_tier!(Self(_mm512_abs_ps(self.0)))
    }

    #[inline(always)]
    fn less(self, other: Self) -> __mmask16 {
        with_tier!(_mm512_cmp_ps_mask::<_CMP_LT_OQ>(self.0, other.0))
    }

    #[inline(always)]
    fn select(mask: __mmask16, a: Self, b: Self) -> Self {
        with_tier!(Self(_mm512_mask_blend_ps(mask, b.0, a.0)))
    }

    #[inline(always)]
    fn to_f16(self) -> [u16; LANES] {
        let mut out = [0; LANES];
        with_tier!({
            let bits = _mm512_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(self.0);
            _mm256_storeu_si256(out.as_mut_ptr().cast(), bits);
        });
        out
    }

    #[inline(always)]
    fn from_f16(bits: [u16; LANES]) -> Self {
        with_tier!(Self(_mm512_cvtph_ps(_mm256_loadu_si256(bits.as_ptr().cast()))))
    }

    #[inline(always)]
    fn to_bytes(self) -> [u8; LANES] {
        let mut out = [0; LANES];
        with_tier!({
            let bytes = _mm512_cvtepi32_epi8(_mm512_cvttps_epi32(self.0));
            _mm_storeu_si128(out.as_mut_ptr().cast(), bytes);
        });
        out
    }

    #[inline(always)]
    fn iq4_level(self) -> Self {
        let u = self.clamp(0.0, 480.0);
        with_tier!({
            let bin = _mm512_cvttps_epi32(_mm512_mul_ps(u.0, _mm512_set1_ps(1.0 / 16.0)));
            let below = u.less(Self(pick(&IQ4_BINS.threshold, bin)));
            let (low, high) = (pick(&IQ4_BINS.below, bin), pick(&IQ4_BINS.above, bin));
            Self(_mm512_mask_blend_ps(below, high, low))
        })
    }

    #[inline(always)]
    fn transpose(blocks: &[f32; 32 * LANES], places: &mut [Self; 32]) {
        // The 8×8 transpose for each quarter, then pairs of columns are joined.
        for (eight, places) in places.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            let low = transpose_8(rows_8(blocks, 0, 8 * eight));
            let high = transpose_8(rows_8(blocks, 8, 8 * eight));
            for ((place, low), high) in places.iter_mut().zip(low).zip(high) {
                place.0 = with_tier!(_mm512_insertf32x8::<1>(_mm512_castps256_ps512(low), high));
            }
        }
    }
}

/// The entries of a table of 32 at the low five bits of each lane.
#[inline(always)]
fn pick(table: &[f32; 32], index: __m512i) -> __m512 {
    with_tier!({
        let (low, high) = (_mm512_loadu_ps(table.as_ptr()), _mm512_loadu_ps(table[16..].as_ptr()));
        _mm512_permutex2var_ps(low, index, high)
    })
}
