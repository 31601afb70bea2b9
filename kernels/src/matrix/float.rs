//! Products in floating point: weights of any type, decoded, with activations as they are or rounded
//! to the weights' F16 or BF16.
//!
//! # Defined order
//! Eight virtual lanes: column c adds to lane c mod 8, in order, with fused multiply-add; lane i is
//! then added to lane i + 4, i + 2, i + 1. With few tokens the lanes are a vector's; with many each
//! lane is a vector of sixteen tokens, so that weights are decoded once for all tokens and nothing is
//! folded across a vector. Rows are padded with zeros to whole lanes in both.

use std::cell::RefCell;

use super::{Activations, Matrix, Precision};
use crate::{
    Compute, KernelError, TensorType, Tier, codec,
    ops::lanes::{LANES, Vector, per_tier, scale_add},
    parts::Parts,
    tier::Kind,
};

/// Virtual lanes.
const SUMS: usize = 8;

/// Up to so many tokens go one by one.
const FEW: usize = 4;

/// Rows of weights that a task decodes; they stay in the second-level cache.
const TASK_ROWS: usize = 16;

/// Columns of a tile of tokens that stay in the first-level cache while all rows of a task pass.
const BLOCK: usize = 384;

/// What activations are rounded to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rounding {
    None,
    F16,
    BF16,
}

/// Activations in the layouts of this module, made when first asked for.
#[derive(Debug, Default)]
pub(super) struct Floats {
    /// One for each rounding.
    forms: [Form; 3],
}

#[derive(Debug, Default)]
struct Form {
    filled: bool,
    /// Few tokens: rows padded to whole lanes.
    rows: Vec<f32>,
    /// Many tokens: for each sixteen tokens, for each column (padded to whole lanes), their values.
    tiles: Vec<Vector>,
}

impl Floats {
    /// Forgets the activations.
    pub(super) fn clear(&mut self) {
        for form in &mut self.forms {
            form.filled = false;
        }
    }
}

/// As [`super::matmul`], for every type that can be decoded.
pub(super) fn matmul(
    compute: &Compute,
    w: &Matrix<'_>,
    x: &mut Activations,
    out: &mut [f32],
) -> Result<(), KernelError> {
    let (rows, cols, tokens) = (w.rows(), w.cols(), x.tokens());
    for (what, found, expected) in
        [("activations", x.values.len(), tokens * cols), ("products", out.len(), tokens * rows)]
    {
        if found != expected {
            return Err(KernelError::Length { what, found, expected });
        }
    }
    if rows == 0 || cols == 0 || tokens == 0 {
        out.fill(0.0);
        return Ok(());
    }
    // Whether the type can be decoded is found out before threads start.
    codec::decode(compute.tier(), w.ty(), &[], &mut [])?;
    let rounding = match (x.precision, w.ty()) {
        (Precision::Q8, TensorType::F16) => Rounding::F16,
        (Precision::Q8, TensorType::BF16) => Rounding::BF16,
        _ => Rounding::None,
    };
    let form = &mut x.floats.forms[rounding as usize];
    if !form.filled {
        form.fill(compute, &x.values, cols, rounding);
    }
    let work = Work { tier: compute.tier(), w, form, tokens, out: &Parts::new(out) };
    compute.run(rows.div_ceil(TASK_ROWS), |task| {
        let first = task * TASK_ROWS;
        SCRATCH.with_borrow_mut(|scratch| work.rows(scratch, first, rows.min(first + TASK_ROWS)));
    });
    Ok(())
}

impl Form {
    fn fill(&mut self, compute: &Compute, x: &[f32], cols: usize, rounding: Rounding) {
        self.filled = true;
        let (tokens, padded) = (x.len() / cols, cols.next_multiple_of(SUMS));
        if tokens <= FEW {
            self.rows.clear();
            self.rows.resize(tokens * padded, 0.0);
            for (row, x) in self.rows.chunks_exact_mut(padded).zip(x.chunks_exact(cols)) {
                for (value, &x) in row.iter_mut().zip(x) {
                    *value = round(x, rounding);
                }
            }
            return;
        }
        let len = tokens.div_ceil(LANES) * padded;
        if self.tiles.len() < len {
            self.tiles.resize(len, [0.0; LANES]);
        }
        compute.chunks(&mut self.tiles[..len], padded, |tile, vectors| {
            let first = tile * LANES;
            let x = &x[first * cols..tokens.min(first + LANES) * cols];
            fill_tile(compute.tier(), x, cols, rounding, vectors);
        });
    }
}

per_tier! {
    fn fill_tile(x: &[f32], cols: usize, rounding: Rounding, vectors: &mut [Vector]) = fill_tile_body
}

/// Puts up to sixteen tokens side by side; the places of absent ones are zero.
#[inline(always)]
fn fill_tile_body(x: &[f32], cols: usize, rounding: Rounding, vectors: &mut [Vector]) {
    // A few columns at a time, so that the vectors being filled stay in the cache.
    for (block, vectors) in vectors.chunks_mut(LANES).enumerate() {
        vectors.fill([0.0; LANES]);
        let start = block * LANES;
        let end = cols.min(start + LANES);
        if start >= end {
            continue;
        }
        for (token, row) in x.chunks_exact(cols).enumerate() {
            for (vector, &x) in vectors.iter_mut().zip(&row[start..end]) {
                vector[token] = round(x, rounding);
            }
        }
    }
}

#[inline(always)]
fn round(x: f32, to: Rounding) -> f32 {
    match to {
        Rounding::None => x,
        // Beyond F16's range: its largest number, so that a product stays finite.
        Rounding::F16 => half::f16::from_f32(x.clamp(-65504.0, 65504.0)).to_f32(),
        Rounding::BF16 => half::bf16::from_f32(x).to_f32(),
    }
}

/// As [`codec::decode`], with the instruction for F16 where there is one: single tokens wait for it.
fn decode(tier: Tier, ty: TensorType, bytes: &[u8], out: &mut [f32]) -> Result<(), KernelError> {
    #[cfg(target_arch = "x86_64")]
    if ty == TensorType::F16 && tier.kind() != Kind::Portable {
        // SAFETY: these tiers are only made where detection found AVX2 and F16C.
        unsafe { decode_f16(bytes, out) };
        return Ok(());
    }
    codec::decode(tier, ty, bytes, out)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,f16c")]
fn decode_f16(bytes: &[u8], out: &mut [f32]) {
    use std::arch::x86_64::{_mm_loadu_si128, _mm256_cvtph_ps, _mm256_storeu_ps};
    let (halves, rest) = bytes.as_chunks::<16>();
    let (values, tail) = out.as_chunks_mut::<8>();
    for (halves, values) in halves.iter().zip(values) {
        // SAFETY: sixteen bytes are read and eight values written, as the arrays' types say.
        unsafe {
            let loaded = _mm_loadu_si128(halves.as_ptr().cast());
            _mm256_storeu_ps(values.as_mut_ptr(), _mm256_cvtph_ps(loaded));
        }
    }
    for (half, value) in rest.as_chunks::<2>().0.iter().zip(tail) {
        *value = half::f16::from_le_bytes(*half).to_f32();
    }
}

/// A thread's buffers.
#[derive(Default)]
struct Scratch {
    /// A task's rows, decoded and padded.
    weights: Vec<f32>,
    /// Sums of a tile of tokens: for each row, a vector for each virtual lane.
    sums: Vec<[Vector; SUMS]>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = const {
        RefCell::new(Scratch { weights: Vec::new(), sums: Vec::new() })
    };
}

/// One product, as its tasks see it.
struct Work<'a> {
    tier: Tier,
    w: &'a Matrix<'a>,
    form: &'a Form,
    tokens: usize,
    out: &'a Parts<'a>,
}

impl Work<'_> {
    /// Rows `first..end`, for all tokens.
    fn rows(&self, scratch: &mut Scratch, first: usize, end: usize) {
        let cols = self.w.cols();
        let padded = cols.next_multiple_of(SUMS);
        let row_bytes = self.w.bytes().len() / self.w.rows();
        let Scratch { weights, sums } = scratch;
        weights.clear();
        weights.resize((end - first) * padded, 0.0);
        for (row, weights) in (first..end).zip(weights.chunks_exact_mut(padded)) {
            let bytes = &self.w.bytes()[row * row_bytes..(row + 1) * row_bytes];
            let decoded = decode(self.tier, self.w.ty(), bytes, &mut weights[..cols]);
            debug_assert_eq!(decoded, Ok(()), "the type can be decoded, and a row is whole blocks");
        }
        if self.tokens <= FEW {
            few(self.tier, self, weights, first);
        } else if self.tier.kind() == Kind::Avx512 {
            sums.resize(TASK_ROWS, [[0.0; LANES]; SUMS]);
            many_wide(self.tier, self, weights, sums, first);
        } else {
            sums.resize(TASK_ROWS, [[0.0; LANES]; SUMS]);
            many_narrow(self.tier, self, weights, sums, first);
        }
    }

    /// Writes one value.
    #[inline(always)]
    fn put(&self, token: usize, row: usize, value: f32) {
        // SAFETY: a row belongs to one task, and `token` and `row` together to one value.
        unsafe { self.out.part(token * self.w.rows() + row, 1)[0] = value };
    }
}

per_tier! { fn few(work: &Work<'_>, weights: &[f32], first: usize) = few_body }
per_tier! {
    fn many_wide(work: &Work<'_>, weights: &[f32], sums: &mut [[Vector; SUMS]], first: usize)
        = many_body::<2, 16>
}
per_tier! {
    fn many_narrow(work: &Work<'_>, weights: &[f32], sums: &mut [[Vector; SUMS]], first: usize)
        = many_body::<1, 8>
}

/// Token by token, four rows at a time.
#[inline(always)]
fn few_body(work: &Work<'_>, weights: &[f32], first: usize) {
    const ROWS: usize = 4;
    let padded = work.w.cols().next_multiple_of(SUMS);
    for (token, x) in work.form.rows.chunks_exact(padded).enumerate() {
        let (x, _) = x.as_chunks::<SUMS>();
        for (group, weights) in weights.chunks(ROWS * padded).enumerate() {
            let rows = weights.len() / padded;
            // Rows that are not there repeat the last.
            let weights: [&[[f32; SUMS]]; ROWS] = std::array::from_fn(|row| {
                let row = row.min(rows - 1);
                &weights[row * padded..(row + 1) * padded].as_chunks().0[..x.len()]
            });
            let mut sums = [[0.0f32; SUMS]; ROWS];
            for (c, x) in x.iter().enumerate() {
                for (sum, weights) in sums.iter_mut().zip(&weights) {
                    for i in 0..SUMS {
                        sum[i] = weights[c][i].mul_add(x[i], sum[i]);
                    }
                }
            }
            for (row, s) in sums.iter().enumerate().take(rows) {
                let total = fold(s, |a, b| a + b);
                work.put(token, first + group * ROWS + row, total);
            }
        }
    }
}

/// The eight sums folded in halves.
#[inline(always)]
fn fold<T: Copy>(s: &[T; SUMS], add: impl Fn(T, T) -> T) -> T {
    add(add(add(s[0], s[4]), add(s[2], s[6])), add(add(s[1], s[5]), add(s[3], s[7])))
}

/// Tile by tile of sixteen tokens; `ROWS` rows and `TOKENS` tokens in registers.
#[inline(always)]
fn many_body<const ROWS: usize, const TOKENS: usize>(
    work: &Work<'_>,
    weights: &[f32],
    sums: &mut [[Vector; SUMS]],
    first: usize,
) {
    let padded = work.w.cols().next_multiple_of(SUMS);
    let rows = weights.len() / padded;
    for tile in 0..work.tokens.div_ceil(LANES) {
        let vectors = &work.form.tiles[tile * padded..(tile + 1) * padded];
        sums.fill([[0.0; LANES]; SUMS]);
        for start in (0..padded).step_by(BLOCK) {
            let end = padded.min(start + BLOCK);
            let (vectors, _) = vectors[start..end].as_chunks::<SUMS>();
            for row in (0..rows).step_by(ROWS) {
                let weights: [&[[f32; SUMS]]; ROWS] = std::array::from_fn(|i| {
                    let row = (row + i).min(rows - 1);
                    weights[row * padded + start..row * padded + end].as_chunks().0
                });
                for half in 0..LANES / TOKENS {
                    block::<ROWS, TOKENS>(vectors, &weights, half, &mut sums[row..row + ROWS]);
                }
            }
        }
        let tokens = LANES.min(work.tokens - tile * LANES);
        for (row, sums) in sums.iter().enumerate().take(rows) {
            let total = fold(sums, |a, b| scale_add(1.0, &a, &b));
            for (token, &value) in total.iter().enumerate().take(tokens) {
                work.put(tile * LANES + token, first + row, value);
            }
        }
    }
}

/// Adds a block of columns to the sums of `ROWS` rows and the `half`th `TOKENS` of a tile's tokens.
#[inline(always)]
fn block<const ROWS: usize, const TOKENS: usize>(
    vectors: &[[Vector; SUMS]],
    weights: &[&[[f32; SUMS]]; ROWS],
    half: usize,
    sums: &mut [[Vector; SUMS]],
) {
    let start = half * TOKENS;
    // One length for all, so that the loop below checks none.
    let weights = weights.map(|weights| &weights[..vectors.len()]);
    let mut local = [[[0.0f32; TOKENS]; SUMS]; ROWS];
    for (local, sums) in local.iter_mut().zip(sums.iter()) {
        for (local, sum) in local.iter_mut().zip(sums) {
            local.copy_from_slice(&sum[start..start + TOKENS]);
        }
    }
    for (c, vectors) in vectors.iter().enumerate() {
        for lane in 0..SUMS {
            for (local, weights) in local.iter_mut().zip(&weights) {
                let w = weights[c][lane];
                for token in 0..TOKENS {
                    local[lane][token] =
                        w.mul_add(vectors[lane][start + token], local[lane][token]);
                }
            }
        }
    }
    for (local, sums) in local.iter().zip(sums) {
        for (local, sum) in local.iter().zip(sums) {
            sum[start..start + TOKENS].copy_from_slice(local);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix;

    fn noise(len: usize, seed: u32) -> Vec<f32> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(1664525).wrapping_add(1013904223);
            (state >> 8) as f32 / (1u32 << 23) as f32 - 1.0
        };
        (0..len).map(|_| next()).collect()
    }

    /// Weights in `ty`, and what they decode to.
    fn weights(ty: TensorType, len: usize) -> (Vec<u8>, Vec<f32>) {
        let values = noise(len, 1);
        let bytes: Vec<u8> = match ty {
            TensorType::F16 => {
                values.iter().flat_map(|&x| half::f16::from_f32(x).to_le_bytes()).collect()
            }
            TensorType::BF16 => {
                values.iter().flat_map(|&x| half::bf16::from_f32(x).to_le_bytes()).collect()
            }
            TensorType::F32 => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
            _ => {
                let mut bytes = vec![0; ty.row_bytes(len).expect("whole blocks")];
                codec::encode(Tier::PORTABLE, ty, len, &values, None, &mut bytes).expect("encodes");
                bytes
            }
        };
        let mut decoded = vec![0.0; len];
        codec::decode(Tier::PORTABLE, ty, &bytes, &mut decoded).expect("decodes");
        (bytes, decoded)
    }

    fn product(compute: &Compute, w: &Matrix<'_>, precision: Precision, x: &[f32]) -> Vec<f32> {
        let mut activations = Activations::new(precision);
        activations.load(x, w.cols());
        let mut out = vec![f32::NAN; x.len() / w.cols() * w.rows()];
        matrix::matmul(compute, w, &mut activations, &mut out).expect("a product");
        out
    }

    fn bits(x: &[f32]) -> Vec<u32> {
        x.iter().map(|x| x.to_bits()).collect()
    }

    #[test]
    fn products_are_right_and_the_same_everywhere() {
        use TensorType::{BF16, F16, F32, Q4_0, Q8_0};
        for (ty, rows, cols) in [
            (F32, 3, 5),
            (F32, 33, 172),
            (F16, 40, 800),
            (BF16, 17, 64),
            (Q8_0, 18, 96),
            (Q4_0, 5, 32),
        ] {
            let (bytes, decoded) = weights(ty, rows * cols);
            let w = Matrix::new(ty, rows, cols, &bytes).expect("a matrix");
            for (tokens, precision) in [
                (1, Precision::F32),
                (3, Precision::F32),
                (21, Precision::F32),
                (40, Precision::F32),
                (1, Precision::Q8),
                (21, Precision::Q8),
            ] {
                if ty.is_quantized() && precision == Precision::Q8 {
                    continue;
                }
                let x = noise(tokens * cols, 2);
                let found = product(&Compute::new(Tier::PORTABLE, 1), &w, precision, &x);
                for tier in Tier::available() {
                    let again = product(&Compute::new(tier, 3), &w, precision, &x);
                    assert_eq!(bits(&found), bits(&again), "{ty} {tier:?}");
                }
                // The last token alone.
                let alone = &x[(tokens - 1) * cols..];
                let alone = product(&Compute::new(Tier::PORTABLE, 1), &w, precision, alone);
                assert_eq!(bits(&alone), bits(&found[(tokens - 1) * rows..]), "{ty}");
                let rounding = match (precision, ty) {
                    (Precision::Q8, F16) => Rounding::F16,
                    (Precision::Q8, BF16) => Rounding::BF16,
                    _ => Rounding::None,
                };
                for (index, &found) in found.iter().enumerate() {
                    let x = &x[index / rows * cols..][..cols];
                    let w = &decoded[index % rows * cols..][..cols];
                    let exact: f64 = x
                        .iter()
                        .zip(w)
                        .map(|(&x, &w)| f64::from(round(x, rounding)) * f64::from(w))
                        .sum();
                    let bound = 1e-6 * (cols as f64).sqrt();
                    assert!((f64::from(found) - exact).abs() < bound, "{ty}: {found} {exact}");
                }
            }
        }
    }

    #[test]
    fn shapes_and_types_are_checked() {
        let bytes = [0u8; 64];
        let compute = Compute::new(Tier::PORTABLE, 1);
        let w = Matrix::new(TensorType::F32, 4, 4, &bytes).expect("a matrix");
        let mut x = Activations::new(Precision::F32);
        x.load(&[0.0; 8], 4);
        let refused = matrix::matmul(&compute, &w, &mut x, &mut [0.0; 7]);
        assert!(matches!(refused, Err(KernelError::Length { what: "products", .. })));
        x.load(&[0.0; 8], 8);
        assert!(matrix::matmul(&compute, &w, &mut x, &mut [0.0; 4]).is_err());
    }
}
