//! Products of quantized weights with quantized activations.
//!
//! # What is computed
//! Activations are quantized as llama.cpp's CPU path does: to `Q8_0` or `Q8_1` blocks of 32 for the
//! types with float scales ("small form"), to `Q8_K` blocks of 256 for those with integer scales
//! below a float one ("large form"). Products within a block are exact integers. They are summed in
//! F32 in one order, whatever the tier, the number of threads or of tokens:
//!
//! - Small form: four virtual lanes; block `b` goes to lane `b mod 4`, in order, by
//!   `lane = fma(dot, weight scale · activation scale, lane)` (two such where a type has a scale per
//!   16 values, first half first), then, where the type has minima, by
//!   `lane = fma(min, sum of the activations, lane)`. The result is `(l0 + l2) + (l1 + l3) + 0`.
//! - Large form: one lane; for each block in order `sum = fma(Σ scale · dot, d · activation scale,
//!   sum)`, then, where the type has minima, `sum = fma(Σ min · sum of codes, −dmin · activation
//!   scale, sum)`. Both Σ are exact integers.
//!
//! # How
//! Rows are unpacked four at a time into a buffer of the thread (see [`scratch`]) and multiplied
//! with each token's codes ([`quantized`]); for many tokens, a tile of 16 of them fills the lanes of
//! a register.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod avx512_large;
#[cfg(target_arch = "x86_64")]
mod avx512_small;
mod dispatch;
mod format;
mod portable;
mod quantized;
mod scratch;
mod unpack;

pub(super) use quantized::Quantized;

use std::cell::RefCell;
use std::marker::PhantomData;

use super::Matrix;
use crate::tier::Kind;
use crate::{Compute, KernelError, TensorType, Tier};
use dispatch::TILES;
use format::Format;
use quantized::{Records, TILE};
use scratch::{Group, LANES, ROWS, SMALL};

/// Whether this module multiplies that type.
pub(super) fn takes(ty: TensorType) -> bool {
    Format::of(ty).is_some()
}

thread_local! {
    /// The unpacked rows of a thread, kept between products.
    static SCRATCH: RefCell<Vec<Group>> = const { RefCell::new(Vec::new()) };
}

/// The results, written by several threads at once, each its own rows.
struct Out<'a> {
    start: *mut f32,
    tokens: usize,
    rows: usize,
    borrow: PhantomData<&'a mut [f32]>,
}

// SAFETY: threads write through `put` alone, whose contract keeps their places apart.
unsafe impl Sync for Out<'_> {}

impl<'a> Out<'a> {
    fn new(out: &'a mut [f32], tokens: usize, rows: usize) -> Self {
        assert_eq!(out.len(), tokens * rows);
        Self { start: out.as_mut_ptr(), tokens, rows, borrow: PhantomData }
    }

    /// Writes the results of `token` from row `row` on.
    ///
    /// # Safety
    /// No two threads may write the same row.
    unsafe fn put(&self, token: usize, row: usize, values: &[f32]) {
        assert!(token < self.tokens && row + values.len() <= self.rows);
        // SAFETY: the assertions keep the place inside the borrowed slice; no other thread writes
        // or reads these rows.
        unsafe {
            let place = self.start.add(token * self.rows + row);
            place.copy_from_nonoverlapping(values.as_ptr(), values.len());
        }
    }
}

/// `out[t][r] = Σ_c w[r][c] · x[t][c]` for `x` of rows of `cols` values, which `forms` caches.
///
/// # Errors
/// [`KernelError::Unsupported`] for a type that [`takes`] refuses; [`KernelError::Length`] where the
/// shapes do not meet.
pub(super) fn matmul(
    compute: &Compute,
    w: &Matrix<'_>,
    x: &[f32],
    forms: &mut Quantized,
    out: &mut [f32],
) -> Result<(), KernelError> {
    let ty = w.ty();
    let format = Format::of(ty).ok_or(KernelError::Unsupported { ty, what: "multiplied" })?;
    let (rows, cols) = (w.rows(), w.cols());
    let tokens = x.len().checked_div(cols).unwrap_or(0);
    for (what, found, expected) in
        [("activations", x.len(), tokens * cols), ("products", out.len(), tokens * rows)]
    {
        if found != expected {
            return Err(KernelError::Length { what, found, expected });
        }
    }
    if tokens == 0 || rows == 0 {
        return Ok(());
    }
    let tiled = tokens >= TILED_FROM && compute.tier().kind() != Kind::Portable;
    let records = forms.records(compute, x, cols, format.form, tiled);
    let out = Out::new(out, tokens, rows);
    let work = Work { tier: compute.tier(), format, w, records, out: &out };
    let chunk = if tiled { TILED_ROWS } else { rows_per_task(compute, rows) };
    compute.run(rows.div_ceil(chunk), |task| {
        let first = task * chunk;
        let end = rows.min(first + chunk);
        SCRATCH.with_borrow_mut(|groups| {
            groups.resize_with(groups.len().max(TILED_ROWS / ROWS), Group::default);
            if tiled {
                work.tiles(groups, first, end);
            } else {
                work.rows(&mut groups[0], first, end);
            }
        });
    });
    Ok(())
}

/// From this many tokens on they are laid out in tiles.
const TILED_FROM: usize = 6;

/// Rows that are unpacked together where tokens are tiled. They stay in the second-level cache
/// while all tokens pass: 150 KiB for rows of 4864 values.
const TILED_ROWS: usize = 32;

/// Whole groups of rows, few enough that threads share the work evenly, and enough for what is
/// fetched ahead to be the same thread's.
fn rows_per_task(compute: &Compute, rows: usize) -> usize {
    (rows / (compute.threads() * 4)).next_multiple_of(ROWS).clamp(16, 1024)
}

/// One product, as its tasks see it.
struct Work<'a> {
    tier: Tier,
    format: &'static Format,
    w: &'a Matrix<'a>,
    records: Records<'a>,
    out: &'a Out<'a>,
}

impl Work<'_> {
    /// Unpacks the rows from `row` on, up to four, below `end`.
    fn unpack(&self, group: &mut Group, row: usize, end: usize) -> usize {
        let bytes = self.w.bytes();
        let stride = bytes.len() / self.w.rows();
        let count = ROWS.min(end - row);
        group.prepare(self.format, self.w.cols());
        for slot in 0..count {
            let from = (row + slot) * stride;
            dispatch::fetch_ahead(&bytes[from..from + stride], stride);
            self.format.unpack(self.tier, &bytes[from..from + stride], slot, group);
        }
        count
    }

    /// The rows `first..end` with every token, token by token.
    fn rows(&self, group: &mut Group, first: usize, end: usize) {
        if self.direct(group, first, end) {
            return;
        }
        for row in (first..end).step_by(ROWS) {
            let count = self.unpack(group, row, end);
            for token in 0..self.out.tokens {
                let sums = match self.records {
                    Records::SmallRows { per, records } => {
                        let x = &records[token * per..][..per];
                        dispatch::small(self.tier, self.format, &group.small, x)
                    }
                    Records::LargeRows { per, records } => {
                        let x = &records[token * per..][..per];
                        dispatch::large(self.tier, self.format, &group.large, x)
                    }
                    Records::SmallTiles { .. } | Records::LargeTiles { .. } => return,
                };
                // SAFETY: tasks have rows of their own.
                unsafe { self.out.put(token, row, &sums[..count]) };
            }
        }
    }

    /// The same without unpacking, if the type has such a product.
    fn direct(&self, group: &mut Group, first: usize, end: usize) -> bool {
        let direct = &self.format.direct;
        let block = self.format.ty.block_bytes();
        match (self.tier.kind(), self.records) {
            (Kind::Avx512, Records::SmallRows { per, records }) => {
                let Some(product) = direct.small_avx512 else { return false };
                let blocks = self.w.cols() / SMALL;
                let padded = per * LANES * block;
                self.packed(&mut group.padded, padded, first, end, |rows, token| {
                    // SAFETY: the tier proves that the machine has the instructions.
                    unsafe { product(rows, blocks, &records[token * per..][..per]) }
                });
            }
            (Kind::Avx512, Records::LargeRows { per, records }) => {
                let Some(product) = direct.large_avx512 else { return false };
                self.packed(&mut group.padded, per * block, first, end, |rows, token| {
                    // SAFETY: as above.
                    unsafe { product(rows, &records[token * per..][..per]) }
                });
            }
            _ => return false,
        }
        true
    }

    /// Gives each four packed rows (the last repeated, where there are fewer) and each token to
    /// `product`. Rows are `padded` bytes long: what follows in memory, or zeros after the last.
    fn packed(
        &self,
        copy: &mut Vec<u8>,
        padded: usize,
        first: usize,
        end: usize,
        product: impl Fn([&[u8]; ROWS], usize) -> [f32; ROWS],
    ) {
        let bytes = self.w.bytes();
        let stride = bytes.len() / self.w.rows();
        for row in (first..end).step_by(ROWS) {
            let start = |slot: usize| (row + slot).min(end - 1) * stride;
            let rows: [&[u8]; ROWS] = if start(ROWS - 1) + padded <= bytes.len() {
                std::array::from_fn(|slot| &bytes[start(slot)..][..padded])
            } else {
                copy.clear();
                copy.resize(ROWS * padded, 0);
                for slot in 0..ROWS {
                    let row = &bytes[start(slot)..][..stride];
                    copy[slot * padded..][..stride].copy_from_slice(row);
                }
                std::array::from_fn(|slot| &copy[slot * padded..][..padded])
            };
            for token in 0..self.out.tokens {
                let sums = product(rows, token);
                // SAFETY: tasks have rows of their own.
                unsafe { self.out.put(token, row, &sums[..ROWS.min(end - row)]) };
            }
        }
    }

    /// The rows `first..end`, at most [`TILED_ROWS`], with every token, a few tiles at a time.
    fn tiles(&self, groups: &mut [Group], first: usize, end: usize) {
        for (group, row) in groups.iter_mut().zip((first..end).step_by(ROWS)) {
            self.unpack(group, row, end);
        }
        let tiles = self.out.tokens.div_ceil(TILE);
        for tile in (0..tiles).step_by(TILES) {
            for (group, row) in groups.iter().zip((first..end).step_by(ROWS)) {
                let mut sums = [[[0.0; ROWS]; TILE]; TILES];
                let sums = &mut sums[..TILES.min(tiles - tile)];
                match self.records {
                    Records::SmallTiles { per, records } => {
                        let (w, x) = (&group.small, &records[tile * per..]);
                        dispatch::small_tiles(self.tier, self.format, w, per, x, sums);
                    }
                    Records::LargeTiles { per, records } => {
                        let (w, x) = (&group.large, &records[tile * per..]);
                        dispatch::large_tiles(self.tier, self.format, w, per, x, sums);
                    }
                    Records::SmallRows { .. } | Records::LargeRows { .. } => return,
                }
                for (token, sums) in (tile * TILE..self.out.tokens).zip(sums.as_flattened()) {
                    // SAFETY: tasks have rows of their own.
                    unsafe { self.out.put(token, row, &sums[..ROWS.min(end - row)]) };
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
