//! Activations as the integer kernels take them: quantized, and laid out for them.
//!
//! Codes, scales and sums are those of ggml's reference (`quantize_row_q8_0_ref`, `_q8_1_ref` and
//! `_q8_K_ref` in ggml-quants.c), in every tier. Two layouts: a row per token, for the product with
//! one token or a few; and tiles of 16 tokens, a token to a 32-bit lane, for many.
//!
//! A block with a value that is not finite gets a scale that is not a number and codes of zero, so
//! that it spoils its token's results and no other's.

use super::format::Form;
use super::scratch::{LANES, LARGE, SMALL};
use crate::Compute;
use crate::tier::{Kind, Tier};

/// Tokens in a tile: 32-bit lanes of a 512-bit register.
pub(super) const TILE: usize = 16;

/// Four small blocks of one token. What is not a code is repeated four times, once per weight row.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct SmallRow {
    /// `[half][block * 16 + …]`: in half order, see [`super::scratch::SmallWeights`].
    pub(super) codes: [[i8; 64]; 2],
    /// `[block]`: F16-rounded scales.
    pub(super) scales: [[f32; 4]; LANES],
    /// `[half][block]`: sums of 16 codes.
    pub(super) sums: [[[i32; 4]; LANES]; 2],
    /// `[block]`: F16-rounded sums of the values.
    pub(super) value_sums: [[f32; 4]; LANES],
}

/// One large block of one token.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct LargeRow {
    pub(super) codes: [i8; LARGE],
    /// Sums of 16 codes.
    pub(super) sums: [i32; 16],
    /// The same.
    pub(super) short_sums: [i16; 16],
    pub(super) scale: f32,
}

/// One small block of 16 tokens.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct SmallTile {
    /// `[column / 4][token][column % 4]`
    pub(super) codes: [[[i8; 4]; TILE]; SMALL / 4],
    /// `[token]`: the sums of the first and the last 16 codes.
    pub(super) sums: [[i16; 2]; TILE],
    pub(super) scales: [f32; TILE],
    pub(super) value_sums: [f32; TILE],
}

/// One large block of 16 tokens.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct LargeTile {
    /// `[column / 4][token][column % 4]`
    pub(super) codes: [[[i8; 4]; TILE]; LARGE / 4],
    /// `[column / 32][token]`: the sums of the first and the last 16 codes.
    pub(super) sums: [[[i16; 2]; TILE]; LARGE / 32],
    pub(super) scales: [f32; TILE],
}

const NO_SMALL_ROW: SmallRow = SmallRow {
    codes: [[0; 64]; 2],
    scales: [[0.0; 4]; LANES],
    sums: [[[0; 4]; LANES]; 2],
    value_sums: [[0.0; 4]; LANES],
};

const NO_LARGE_ROW: LargeRow =
    LargeRow { codes: [0; LARGE], sums: [0; 16], short_sums: [0; 16], scale: 0.0 };

const NO_SMALL_TILE: SmallTile = SmallTile {
    codes: [[[0; 4]; TILE]; SMALL / 4],
    sums: [[0; 2]; TILE],
    scales: [0.0; TILE],
    value_sums: [0.0; TILE],
};

const NO_LARGE_TILE: LargeTile = LargeTile {
    codes: [[[0; 4]; TILE]; LARGE / 4],
    sums: [[[0; 2]; TILE]; LARGE / 32],
    scales: [0.0; TILE],
};

/// A buffer and whether it holds the present activations.
#[derive(Debug)]
struct Cached<T> {
    records: Vec<T>,
    valid: bool,
}

impl<T> Default for Cached<T> {
    fn default() -> Self {
        Self { records: Vec::new(), valid: false }
    }
}

/// The present activations in each form and layout that a product asked for.
#[derive(Debug, Default)]
pub(in crate::matrix) struct Quantized {
    cols: usize,
    small_rows: Cached<SmallRow>,
    large_rows: Cached<LargeRow>,
    small_tiles: Cached<SmallTile>,
    large_tiles: Cached<LargeTile>,
}

/// What a product reads.
#[derive(Debug, Clone, Copy)]
pub(super) enum Records<'a> {
    /// `per` records a token.
    SmallRows { per: usize, records: &'a [SmallRow] },
    /// `per` records a token.
    LargeRows { per: usize, records: &'a [LargeRow] },
    /// `per` records a tile.
    SmallTiles { per: usize, records: &'a [SmallTile] },
    /// `per` records a tile.
    LargeTiles { per: usize, records: &'a [LargeTile] },
}

impl Quantized {
    /// Forgets the activations, not the memory.
    pub(in crate::matrix) fn clear(&mut self) {
        self.small_rows.valid = false;
        self.large_rows.valid = false;
        self.small_tiles.valid = false;
        self.large_tiles.valid = false;
    }

    /// The activations `x`, rows of `cols` values, in a form and layout; made if they are not there.
    pub(super) fn records(
        &mut self,
        compute: &Compute,
        x: &[f32],
        cols: usize,
        form: Form,
        tiled: bool,
    ) -> Records<'_> {
        if self.cols != cols {
            self.clear();
            self.cols = cols;
        }
        let tier = compute.tier();
        match (form, tiled) {
            (Form::Small, false) => {
                let per = cols.div_ceil(LANES * SMALL);
                let fill = |records: &mut [SmallRow], x: &[f32]| small_row(tier, records, x);
                let records =
                    fill_rows(compute, &mut self.small_rows, NO_SMALL_ROW, x, cols, per, fill);
                Records::SmallRows { per, records }
            }
            (Form::Large, false) => {
                let per = cols / LARGE;
                let fill = |records: &mut [LargeRow], x: &[f32]| large_row(tier, records, x);
                let records =
                    fill_rows(compute, &mut self.large_rows, NO_LARGE_ROW, x, cols, per, fill);
                Records::LargeRows { per, records }
            }
            (Form::Small, true) => {
                let per = cols / SMALL;
                let fill =
                    |records: &mut [SmallTile], x: &[f32]| small_tile(tier, records, x, cols);
                let tile = TILE * cols;
                let records =
                    fill_rows(compute, &mut self.small_tiles, NO_SMALL_TILE, x, tile, per, fill);
                Records::SmallTiles { per, records }
            }
            (Form::Large, true) => {
                let per = cols / LARGE;
                let fill =
                    |records: &mut [LargeTile], x: &[f32]| large_tile(tier, records, x, cols);
                let tile = TILE * cols;
                let records =
                    fill_rows(compute, &mut self.large_tiles, NO_LARGE_TILE, x, tile, per, fill);
                Records::LargeTiles { per, records }
            }
        }
    }
}

/// Fills `per` records from each `values` values of `x`, unless they are there already.
fn fill_rows<'a, T: Copy + Send + Sync>(
    compute: &Compute,
    cached: &'a mut Cached<T>,
    empty: T,
    x: &[f32],
    values: usize,
    per: usize,
    fill: impl Fn(&mut [T], &[f32]) + Sync,
) -> &'a [T] {
    let rows = x.len().div_ceil(values);
    if !cached.valid {
        cached.records.resize(rows * per, empty);
        if rows == 1 {
            fill(&mut cached.records, x);
        } else {
            compute.chunks(&mut cached.records, per, |index, records| {
                let from = index * values;
                fill(records, &x[from..x.len().min(from + values)]);
            });
        }
        cached.valid = true;
    }
    &cached.records
}

/// A quantized block.
struct Codes<const N: usize> {
    codes: [i8; N],
    scale: f32,
}

/// The bits of the largest magnitude: infinities and NaN are above all finite numbers.
#[inline(always)]
fn largest<const N: usize>(x: &[f32; N]) -> u32 {
    let mut lanes = [0_u32; 16];
    for x in x.as_chunks::<16>().0 {
        for (lane, x) in lanes.iter_mut().zip(x) {
            *lane = (*lane).max(x.to_bits() & 0x7fff_ffff);
        }
    }
    lanes.into_iter().fold(0, u32::max)
}

const INFINITE: u32 = 0x7f80_0000;

/// ggml's `quantize_row_q8_0_ref`, with the scale before it is rounded to F16.
#[inline(always)]
fn quantize_small(x: &[f32; SMALL]) -> Codes<SMALL> {
    let largest = largest(x);
    let scale = f32::from_bits(largest) / 127.0;
    let inverse = 1.0 / scale;
    let mut codes = [0; SMALL];
    if largest >= INFINITE {
        return Codes { codes, scale: f32::NAN };
    }
    // Where the scale is so small that its inverse is infinite, its F16 form is zero anyhow.
    if inverse.is_finite() {
        for (code, x) in codes.iter_mut().zip(x) {
            // Rounds halves away from zero, as roundf does: adding the number below a half carries
            // exactly the values from a half on over the next integer, at this magnitude.
            let scaled = x * inverse;
            *code = (scaled + 0.49999997_f32.copysign(scaled)) as i32 as i8;
        }
    }
    Codes { codes, scale }
}

/// ggml's `quantize_row_q8_K_ref`.
#[inline(always)]
fn quantize_large(x: &[f32; LARGE]) -> Codes<LARGE> {
    let largest = largest(x);
    let mut codes = [0; LARGE];
    if largest >= INFINITE {
        return Codes { codes, scale: f32::NAN };
    }
    // The first value of the largest magnitude decides the sign of the scale.
    let first = x.iter().find(|x| x.to_bits() & 0x7fff_ffff == largest).copied().unwrap_or(0.0);
    let inverse = -127.0 / first;
    if !inverse.is_finite() {
        return Codes { codes, scale: 0.0 };
    }
    for (code, x) in codes.iter_mut().zip(x) {
        // Adding 1.5 · 2^23 rounds to the nearest integer, halves to even.
        let rounded = (x * inverse + 12582912.0).to_bits() as i32 - 0x4b40_0000;
        *code = rounded.min(127) as i8;
    }
    Codes { codes, scale: 1.0 / inverse }
}

/// To F16 and back, rounding to nearest, halves to even; overflows to infinity.
#[inline(always)]
fn f16_round(x: f32) -> f32 {
    let magnitude = x.to_bits() & 0x7fff_ffff;
    let rounded = if magnitude >= 0x3880_0000 {
        // Normal: ten bits of mantissa stay.
        let rounded = (magnitude + 0xfff + (magnitude >> 13 & 1)) & !0x1fff;
        if rounded >= 0x4780_0000 && magnitude <= INFINITE { INFINITE } else { rounded }
    } else {
        // Subnormal: multiples of 2^-24, which the last place of 0.5 is.
        (f32::from_bits(magnitude) + 0.5 - 0.5).to_bits()
    };
    f32::from_bits(rounded | x.to_bits() & 0x8000_0000)
}

#[inline(always)]
fn sum(codes: &[i8]) -> i32 {
    codes.iter().map(|code| i32::from(*code)).sum()
}

#[inline(always)]
fn small_row_body(records: &mut [SmallRow], x: &[f32]) {
    if let Some(last) = records.last_mut() {
        *last = NO_SMALL_ROW;
    }
    for (index, x) in x.as_chunks::<SMALL>().0.iter().enumerate() {
        let (record, lane) = (&mut records[index / LANES], index % LANES);
        let Codes { codes, scale } = quantize_small(x);
        record.codes[0][lane * 16..lane * 16 + 16].copy_from_slice(&codes[..16]);
        record.codes[1][lane * 16..lane * 16 + 16].copy_from_slice(&codes[16..]);
        let sums = [sum(&codes[..16]), sum(&codes[16..])];
        record.sums[0][lane] = [sums[0]; 4];
        record.sums[1][lane] = [sums[1]; 4];
        record.scales[lane] = [f16_round(scale); 4];
        record.value_sums[lane] = [f16_round((sums[0] + sums[1]) as f32 * scale); 4];
    }
}

#[inline(always)]
fn large_row_body(records: &mut [LargeRow], x: &[f32]) {
    for (record, x) in records.iter_mut().zip(x.as_chunks::<LARGE>().0) {
        let Codes { codes, scale } = quantize_large(x);
        record.codes = codes;
        for (at, codes) in codes.as_chunks::<16>().0.iter().enumerate() {
            record.sums[at] = sum(codes);
            record.short_sums[at] = record.sums[at] as i16;
        }
        record.scale = scale;
    }
}

#[inline(always)]
fn small_tile_body(records: &mut [SmallTile], x: &[f32], cols: usize) {
    if x.len() < TILE * cols {
        records.fill(NO_SMALL_TILE);
    }
    for (token, x) in x.chunks_exact(cols).enumerate() {
        for (record, x) in records.iter_mut().zip(x.as_chunks::<SMALL>().0) {
            let Codes { codes, scale } = quantize_small(x);
            for (place, codes) in record.codes.iter_mut().zip(codes.as_chunks::<4>().0) {
                place[token] = *codes;
            }
            let sums = [sum(&codes[..16]), sum(&codes[16..])];
            record.sums[token] = sums.map(|sum| sum as i16);
            record.scales[token] = f16_round(scale);
            record.value_sums[token] = f16_round((sums[0] + sums[1]) as f32 * scale);
        }
    }
}

#[inline(always)]
fn large_tile_body(records: &mut [LargeTile], x: &[f32], cols: usize) {
    if x.len() < TILE * cols {
        records.fill(NO_LARGE_TILE);
    }
    for (token, x) in x.chunks_exact(cols).enumerate() {
        for (record, x) in records.iter_mut().zip(x.as_chunks::<LARGE>().0) {
            let Codes { codes, scale } = quantize_large(x);
            for (place, codes) in record.codes.iter_mut().zip(codes.as_chunks::<4>().0) {
                place[token] = *codes;
            }
            for (place, codes) in record.sums.iter_mut().zip(codes.as_chunks::<32>().0) {
                place[token] = [sum(&codes[..16]) as i16, sum(&codes[16..]) as i16];
            }
            record.scales[token] = scale;
        }
    }
}

/// Compiles a body for every tier.
macro_rules! tiers {
    ($name:ident, $body:ident, ($($arg:ident: $ty:ty),*)) => {
        fn $name(tier: Tier, $($arg: $ty),*) {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,f16c")]
            fn avx2($($arg: $ty),*) {
                $body($($arg),*);
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
            fn avx512($($arg: $ty),*) {
                $body($($arg),*);
            }
            match tier.kind() {
                #[cfg(target_arch = "x86_64")]
                // SAFETY: the tier proves that the machine has the instructions.
                Kind::Avx512 => unsafe { avx512($($arg),*) },
                #[cfg(target_arch = "x86_64")]
                // SAFETY: as above.
                Kind::Avx2 => unsafe { avx2($($arg),*) },
                _ => $body($($arg),*),
            }
        }
    };
}

tiers!(small_row, small_row_body, (records: &mut [SmallRow], x: &[f32]));
tiers!(large_row, large_row_body, (records: &mut [LargeRow], x: &[f32]));
tiers!(small_tile, small_tile_body, (records: &mut [SmallTile], x: &[f32], cols: usize));
tiers!(large_tile, large_tile_body, (records: &mut [LargeTile], x: &[f32], cols: usize));
