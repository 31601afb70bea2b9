//! Cutting rows into groups of sixteen blocks of 32, one block a lane, and putting codes back in
//! order.

use super::Rows;
use super::lanes::{LANES, Lanes};

/// Values in a block, and in a sub-block of the wider types.
pub(super) const BLOCK: usize = 32;

/// Sixteen blocks' values, one after the other.
pub(super) type Buffer = [f32; BLOCK * LANES];

/// How much an error counts.
pub(super) trait Weights<L: Lanes>: Copy {
    /// Whether there are weights at all.
    const EACH: bool;

    /// `value` times the weights of that place.
    fn times(self, place: usize, value: L) -> L;
}

/// Every error counts the same.
#[derive(Clone, Copy)]
pub(super) struct Uniform;

impl<L: Lanes> Weights<L> for Uniform {
    const EACH: bool = false;

    #[inline(always)]
    fn times(self, _: usize, value: L) -> L {
        value
    }
}

/// A weight for every place in every lane.
#[derive(Clone, Copy)]
pub(super) struct Each<'a, L>(pub(super) &'a [L; BLOCK]);

impl<L: Lanes> Weights<L> for Each<'_, L> {
    const EACH: bool = true;

    #[inline(always)]
    fn times(self, place: usize, value: L) -> L {
        self.0[place] * value
    }
}

/// An encoder of sixteen blocks.
pub(super) trait GroupEncoder<L: Lanes, const BYTES: usize> {
    /// Encodes as many blocks as `out` holds; the lanes beyond are zero.
    fn group<W: Weights<L>>(x: &[L; BLOCK], weights: W, out: &mut [[u8; BYTES]]);
}

/// Runs the encoder over all blocks of the rows.
#[inline(always)]
pub(super) fn encode_groups<L: Lanes, E: GroupEncoder<L, BYTES>, const BYTES: usize>(
    rows: &Rows<'_>,
    out: &mut [u8],
) {
    let weights = rows.weights.map(|weights| normalized(weights, BLOCK));
    let per_row = rows.cols / BLOCK;
    let (blocks, _) = out.as_chunks_mut::<BYTES>();
    for (group, out) in blocks.chunks_mut(LANES).enumerate() {
        let x = lanes(rows.values, group);
        match &weights {
            None => E::group(&x, Uniform, out),
            Some(weights) => {
                let mut buffer = [0.0; BLOCK * LANES];
                for (lane, buffer) in buffer.as_chunks_mut::<BLOCK>().0.iter_mut().enumerate() {
                    let block = (group * LANES + lane) % per_row;
                    buffer.copy_from_slice(&weights[BLOCK * block..BLOCK * (block + 1)]);
                }
                E::group(&x, Each(&transposed(&buffer)), out);
            }
        }
    }
}

/// The values of a group, a block in each lane; zeros where there are no more blocks.
#[inline(always)]
pub(super) fn lanes<L: Lanes>(values: &[f32], group: usize) -> [L; BLOCK] {
    let values = &values[group * LANES * BLOCK..];
    if let Some(full) = values.first_chunk() {
        return transposed(full);
    }
    let mut buffer = [0.0; BLOCK * LANES];
    buffer[..values.len()].copy_from_slice(values);
    transposed(&buffer)
}

/// Sixteen blocks, one in each lane.
#[inline(always)]
pub(super) fn transposed<L: Lanes>(blocks: &Buffer) -> [L; BLOCK] {
    let mut places = [L::splat(0.0); BLOCK];
    L::transpose(blocks, &mut places);
    places
}

/// Column weights that the sums of a search can take: each run of `unit` columns (whose scales depend
/// on each other) is multiplied with a power of two that brings its greatest to 1 … 2, which changes
/// no comparison. A block whose weights are all zero counts a little and evenly, so that it is encoded
/// as well as the others allow.
pub(super) fn normalized(weights: &[f32], unit: usize) -> Vec<f32> {
    let mut out = weights.to_vec();
    for run in out.chunks_mut(unit) {
        let greatest = run.iter().fold(0.0f32, |m, w| m.max(*w));
        if greatest == 0.0 {
            run.fill(1.0);
            continue;
        }
        let exponent = i32::try_from(greatest.to_bits() >> 23).unwrap_or(0) - 127;
        // In F64, where neither the power nor the product overflows.
        let factor = 2f64.powi(-exponent);
        for block in run.chunks_mut(BLOCK) {
            let unused = block.iter().all(|w| *w == 0.0);
            for w in block {
                *w = if unused { 1e-9 } else { (f64::from(*w) * factor) as f32 };
            }
        }
    }
    out
}

/// Codes of 0 to 15 as stored bytes: value j in the low half, value j + 16 in the high half.
#[inline(always)]
pub(super) fn nibbles<L: Lanes>(codes: &[L; BLOCK]) -> [[u8; 16]; LANES] {
    let sixteen = L::splat(16.0);
    let (low, high) = codes.split_at(16);
    let mut bytes = [[0; 16]; LANES];
    for ((bytes, low), high) in bytes.iter_mut().zip(low).zip(high) {
        *bytes = (*low + *high * sixteen).to_bytes();
    }
    transpose_bytes(&bytes)
}

/// Rows to columns. SSE2 is part of every x86-64.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(super) fn transpose_bytes(rows: &[[u8; 16]; 16]) -> [[u8; 16]; 16] {
    use std::arch::x86_64::{
        __m128i, _mm_loadu_si128, _mm_setzero_si128, _mm_storeu_si128, _mm_unpackhi_epi8,
        _mm_unpacklo_epi8,
    };
    let mut columns = [[0; 16]; 16];
    // Four rounds of weaving row i with row i + 8 turn rows into columns.
    // SAFETY: each load and store goes to one array of 16 bytes; SSE2 is in the target's baseline.
    unsafe {
        let mut r: [__m128i; 16] = [_mm_setzero_si128(); 16];
        for (r, row) in r.iter_mut().zip(rows) {
            *r = _mm_loadu_si128(row.as_ptr().cast());
        }
        for _ in 0..4 {
            let from = r;
            for i in 0..8 {
                r[2 * i] = _mm_unpacklo_epi8(from[i], from[i + 8]);
                r[2 * i + 1] = _mm_unpackhi_epi8(from[i], from[i + 8]);
            }
        }
        for (column, r) in columns.iter_mut().zip(r) {
            _mm_storeu_si128(column.as_mut_ptr().cast(), r);
        }
    }
    columns
}

/// Rows to columns.
#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
pub(super) fn transpose_bytes(rows: &[[u8; 16]; 16]) -> [[u8; 16]; 16] {
    std::array::from_fn(|column| std::array::from_fn(|row| rows[row][column]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_transposed() {
        let rows: [[u8; 16]; 16] =
            std::array::from_fn(|r| std::array::from_fn(|c| (16 * r + c) as u8));
        let columns = transpose_bytes(&rows);
        for r in 0..16 {
            for c in 0..16 {
                assert_eq!(columns[c][r], rows[r][c]);
            }
        }
    }

    #[test]
    fn weights_are_normalized() {
        let weights = [3e-38, 1e-45, 0.0, 0.0, 3e38, 1.0];
        let out = normalized(&weights, 2);
        assert!(out[0] >= 1.0 && out[0] < 2.0);
        assert_eq!(out[2..4], [1.0, 1.0]);
        assert!(out[4] >= 1.0 && out[4] < 2.0);
    }
}
