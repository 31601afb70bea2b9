//! Causal attention over a cache of keys and values.
//!
//! Keys lie in blocks of sixteen positions, the positions of one coordinate side by side, so that
//! scores come out in lanes, a position each, with nothing to fold. Values lie in rows, padded to
//! whole vectors, so that outputs come out in lanes, a coordinate each. Every score adds up over the
//! coordinates in order and every output over the positions in order; the softmax's sum runs in
//! sixteen lanes, position p in lane p mod 16.

use std::{cell::RefCell, ops::Range};

use super::lanes::{LANES, Vector, exp, fold, larger, per_tier, scale_add};
use crate::{Compute, parts::Parts, tier::Kind};

/// The shape of an attention call.
#[derive(Debug, Clone, Copy)]
pub struct Attention {
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; divides `heads`.
    pub kv_heads: usize,
    /// Values in a query or key head.
    pub head_dim: usize,
    /// Values in a value head.
    pub value_dim: usize,
    /// Positions before the first query token.
    pub past: usize,
    /// Positions that the cache has room for; a multiple of sixteen.
    pub capacity: usize,
    /// A query sees this many positions at most, itself counted.
    pub window: Option<usize>,
    /// What scores are multiplied with.
    pub scale: f32,
}

impl Attention {
    /// Values of a row of the value cache.
    fn value_row(&self) -> usize {
        self.value_dim.next_multiple_of(LANES)
    }
}

/// Values that the keys of one layer take: `kv_heads` × `capacity / 16` × `head_dim` × 16.
pub fn keys_len(kv_heads: usize, capacity: usize, head_dim: usize) -> usize {
    kv_heads * capacity * head_dim
}

/// Values that the values of one layer take: `kv_heads` × `capacity` × `value_dim` rounded up to 16.
pub fn values_len(kv_heads: usize, capacity: usize, value_dim: usize) -> usize {
    kv_heads * capacity * value_dim.next_multiple_of(LANES)
}

/// Puts the keys and values of new tokens into the cache, from position `shape.past` on.
///
/// `key` and `value` hold a row of `kv_heads` heads for each token.
pub fn remember(
    shape: &Attention,
    key: &[f32],
    value: &[f32],
    keys: &mut [f32],
    values: &mut [f32],
) {
    let (dim, value_dim, row) = (shape.head_dim, shape.value_dim, shape.value_row());
    for (token, heads) in key.chunks_exact(shape.kv_heads * dim).enumerate() {
        let (block, lane) = ((shape.past + token) / LANES, (shape.past + token) % LANES);
        for (head, cached) in
            heads.chunks_exact(dim).zip(keys.chunks_exact_mut(shape.capacity * dim))
        {
            let (vectors, _) = cached[block * dim * LANES..].as_chunks_mut::<LANES>();
            for (vector, x) in vectors.iter_mut().zip(head) {
                vector[lane] = *x;
            }
        }
    }
    for (token, heads) in value.chunks_exact(shape.kv_heads * value_dim).enumerate() {
        let start = (shape.past + token) * row;
        let cached = values.chunks_exact_mut(shape.capacity * row);
        for (head, cached) in heads.chunks_exact(value_dim).zip(cached) {
            cached[start..start + value_dim].copy_from_slice(head);
        }
    }
}

/// Query rows (a token's head each) that share a pass over keys and values.
const ROWS: usize = 4;

thread_local! {
    /// Scores, then weights, of the rows of one pass.
    static SCORES: RefCell<Vec<Vector>> = const { RefCell::new(Vec::new()) };
}

/// Causal attention of `tokens` queries over `past + tokens` cached positions.
///
/// `q`: `tokens` rows of `heads * head_dim`. `keys` and `values`: as [`remember`] fills them, the new
/// tokens' included. `out`: `tokens` rows of `heads * value_dim`.
pub fn attention(
    compute: &Compute,
    shape: &Attention,
    q: &[f32],
    keys: &[f32],
    values: &[f32],
    out: &mut [f32],
) {
    let group = shape.heads / shape.kv_heads;
    let tokens = out.len() / (shape.heads * shape.value_dim);
    let passes = (tokens * group).div_ceil(ROWS);
    let out = Parts::new(out);
    let (key_head, value_head) =
        (shape.capacity * shape.head_dim, shape.capacity * shape.value_row());
    // The last tokens see most positions: they go first, so that no thread is left with one of them.
    compute.run(shape.kv_heads * passes, |task| {
        let (pass, head) = (passes - 1 - task / shape.kv_heads, task % shape.kv_heads);
        let first = pass * ROWS;
        let rows: [Row; ROWS] = std::array::from_fn(|row| {
            let row = (first + row).min(tokens * group - 1);
            let (token, in_group) = (row / group, row % group);
            let end = shape.past + token + 1;
            let start = shape.window.map_or(0, |window| end.saturating_sub(window));
            Row { index: token * shape.heads + head * group + in_group, start, end }
        });
        let pass = Pass {
            shape,
            rows,
            count: ROWS.min(tokens * group - first),
            keys: &keys[head * key_head..(head + 1) * key_head],
            values: &values[head * value_head..(head + 1) * value_head],
            out: &out,
        };
        SCORES.with_borrow_mut(|scores| match compute.tier().kind() {
            Kind::Avx512 => wide(compute.tier(), &pass, q, scores),
            Kind::Portable | Kind::Avx2 => narrow(compute.tier(), &pass, q, scores),
        });
    });
}

/// One query head of one token.
#[derive(Clone, Copy)]
struct Row {
    /// Its number among all heads of all tokens.
    index: usize,
    /// The positions it sees.
    start: usize,
    end: usize,
}

/// Rows that share a key head.
struct Pass<'a> {
    shape: &'a Attention,
    /// Those beyond `count` repeat the last.
    rows: [Row; ROWS],
    count: usize,
    keys: &'a [f32],
    values: &'a [f32],
    out: &'a Parts<'a>,
}

per_tier! { fn wide(pass: &Pass<'_>, q: &[f32], scores: &mut Vec<Vector>) = pass_body::<2> }
per_tier! { fn narrow(pass: &Pass<'_>, q: &[f32], scores: &mut Vec<Vector>) = pass_body::<1> }

/// `WIDTH` vectors of each row are accumulated at once: as many as there are registers for.
#[inline(always)]
fn pass_body<const WIDTH: usize>(pass: &Pass<'_>, q: &[f32], scores: &mut Vec<Vector>) {
    let first = pass.rows.iter().map(|row| row.start).min().unwrap_or(0) / LANES;
    let last = pass.rows.iter().map(|row| row.end).max().unwrap_or(0).div_ceil(LANES);
    let blocks = (last - first).next_multiple_of(WIDTH);
    if scores.len() < ROWS * blocks {
        scores.resize(ROWS * blocks, [0.0; LANES]);
    }
    let scores = &mut scores[..ROWS * blocks];
    fill_scores::<WIDTH>(pass, q, first, last, scores);
    let mut scales = [0.0; ROWS];
    for ((scores, row), scale) in scores.chunks_exact_mut(blocks).zip(&pass.rows).zip(&mut scales) {
        *scale = 1.0 / softmax(&mut scores[..last - first], row, first);
    }
    weigh::<WIDTH>(pass, scores, first, &scales);
}

/// Scores of blocks `first..last`, times the shape's scale.
#[inline(always)]
fn fill_scores<const WIDTH: usize>(
    pass: &Pass<'_>,
    q: &[f32],
    first: usize,
    last: usize,
    scores: &mut [Vector],
) {
    let dim = pass.shape.head_dim;
    let blocks = scores.len() / ROWS;
    let queries: [&[f32]; ROWS] =
        std::array::from_fn(|row| &q[pass.rows[row].index * dim..(pass.rows[row].index + 1) * dim]);
    let (vectors, _) = pass.keys.as_chunks::<LANES>();
    let mut block = first;
    while block < last {
        // At the end the last block may be computed twice.
        let keys: [&[Vector]; WIDTH] = std::array::from_fn(|i| {
            let block = (block + i).min(last - 1);
            &vectors[block * dim..(block + 1) * dim]
        });
        let mut sums = [[[0.0; LANES]; WIDTH]; ROWS];
        for d in 0..dim {
            for (sums, query) in sums.iter_mut().zip(&queries) {
                for (sum, keys) in sums.iter_mut().zip(&keys) {
                    *sum = scale_add(query[d], &keys[d], sum);
                }
            }
        }
        for (row, sums) in sums.iter().enumerate() {
            let place = row * blocks + block - first;
            for (score, sum) in scores[place..place + WIDTH].iter_mut().zip(sums) {
                for (score, sum) in score.iter_mut().zip(sum) {
                    *score = sum * pass.shape.scale;
                }
            }
        }
        block += WIDTH;
    }
}

/// Turns a row's scores into weights, 0 where it does not see; gives their sum.
#[inline(always)]
fn softmax(scores: &mut [Vector], row: &Row, first: usize) -> f32 {
    let mut largest = [f32::NEG_INFINITY; LANES];
    for (block, scores) in scores.iter_mut().enumerate() {
        let position = (first + block) * LANES;
        if position < row.start || position + LANES > row.end {
            for (lane, score) in scores.iter_mut().enumerate() {
                let seen = position + lane >= row.start && position + lane < row.end;
                *score = if seen { *score } else { f32::NEG_INFINITY };
            }
        }
        for (largest, score) in largest.iter_mut().zip(scores) {
            *largest = larger(*score, *largest);
        }
    }
    let largest = fold(&largest, larger);
    let mut sums = [0.0; LANES];
    for scores in scores {
        for (score, sum) in scores.iter_mut().zip(&mut sums) {
            *score = exp(*score - largest);
            *sum += *score;
        }
    }
    fold(&sums, |a, b| a + b)
}

/// Outputs: values weighted and added up.
#[inline(always)]
fn weigh<const WIDTH: usize>(
    pass: &Pass<'_>,
    weights: &[Vector],
    first: usize,
    scales: &[f32; ROWS],
) {
    let row_vectors = pass.shape.value_row() / LANES;
    let blocks = weights.len() / ROWS;
    let start = pass.rows.iter().map(|row| row.start).min().unwrap_or(0);
    let end = pass.rows.iter().map(|row| row.end).max().unwrap_or(0);
    // What all rows see lies between these; before and after, some do not.
    let from = pass.rows.iter().map(|row| row.start).max().unwrap_or(0);
    let to = pass.rows.iter().map(|row| row.end).min().unwrap_or(0).max(from);
    let weights: [&[f32]; ROWS] = std::array::from_fn(|row| {
        &weights[row * blocks..(row + 1) * blocks].as_flattened()[start - first * LANES..]
    });
    let sum =
        Sum { rows: &pass.rows, start, weights, vectors: pass.values.as_chunks().0, row_vectors };
    let mut column = 0;
    while column < row_vectors {
        // At the end the last column may be computed twice.
        let columns: [usize; WIDTH] = std::array::from_fn(|i| (column + i).min(row_vectors - 1));
        let mut sums = [[[0.0; LANES]; WIDTH]; ROWS];
        sum.add::<WIDTH, false>(start..from, columns, &mut sums);
        sum.add::<WIDTH, true>(from..to, columns, &mut sums);
        sum.add::<WIDTH, false>(to..end, columns, &mut sums);
        for row in 0..pass.count {
            for (sum, column) in sums[row].iter().zip(columns) {
                pass.store(row, column, sum, scales[row]);
            }
        }
        column += WIDTH;
    }
}

/// Sums of weighted values.
struct Sum<'a> {
    rows: &'a [Row; ROWS],
    /// Position of the first weight.
    start: usize,
    weights: [&'a [f32]; ROWS],
    vectors: &'a [Vector],
    /// Vectors of a position.
    row_vectors: usize,
}

impl Sum<'_> {
    /// Adds `positions`, which `ALL` rows see; else each row's own only: a weight of 0 does not make 0 of an infinite value.
    #[inline(always)]
    fn add<const WIDTH: usize, const ALL: bool>(
        &self,
        positions: Range<usize>,
        columns: [usize; WIDTH],
        sums: &mut [[Vector; WIDTH]; ROWS],
    ) {
        let vectors = &self.vectors[positions.start * self.row_vectors..];
        let skip = positions.start - self.start;
        let weights = self.weights.map(|weights| &weights[skip..skip + positions.len()]);
        for ((index, position), values) in
            positions.enumerate().zip(vectors.chunks_exact(self.row_vectors))
        {
            let values: [&Vector; WIDTH] = columns.map(|column| &values[column]);
            for ((sums, weights), row) in sums.iter_mut().zip(&weights).zip(self.rows) {
                if ALL || (row.start..row.end).contains(&position) {
                    for (sum, values) in sums.iter_mut().zip(values) {
                        *sum = scale_add(weights[index], values, sum);
                    }
                }
            }
        }
    }
}

impl Pass<'_> {
    /// Writes vector `column` of a row's output.
    #[inline(always)]
    fn store(&self, row: usize, column: usize, sum: &Vector, scale: f32) {
        let dim = self.shape.value_dim;
        let start = column * LANES;
        let len = LANES.min(dim - start);
        // SAFETY: a row's output is written by the one task that has this row, and rows do not overlap.
        let out = unsafe { self.out.part(self.rows[row].index * dim + start, len) };
        for (out, sum) in out.iter_mut().zip(sum) {
            *out = sum * scale;
        }
    }
}
