//! The element-wise and row-wise operations of a transformer, in F32.
//!
//! Every reduction runs in the sixteen virtual lanes of `lanes`; results depend neither on the tier
//! nor on the number of threads, nor on how many tokens are worked on at once.

mod attention;
pub(crate) mod lanes;

use std::sync::OnceLock;

use crate::{Compute, Tier};
use lanes::{LANES, Vector, exp, fma, fold, larger, map, per_tier};

pub use attention::{Attention, attention, keys_len, remember, values_len};

/// Values in all from which on work is shared between threads: below, one thread is done before
/// another has noticed.
const SHARED_FROM: usize = 1 << 14;

/// Runs `task` on pieces of whole rows of `out`, in parallel where there is enough to do. The task
/// gets the number of its first row.
fn by_rows(
    compute: &Compute,
    out: &mut [f32],
    row: usize,
    task: impl Fn(usize, &mut [f32]) + Sync,
) {
    if row == 0 || out.is_empty() {
        return;
    }
    if out.len() < SHARED_FROM {
        return task(0, out);
    }
    let rows = (out.len() / row / (compute.threads() * 4)).max(1);
    compute.chunks(out, rows * row, |index, piece| task(index * rows, piece));
}

/// `out = x / sqrt(mean(x²) + eps) * weight` for each row of `cols` values.
///
/// Σx² runs in 64 lanes, value i in lane i mod 64; lanes k, k + 16, k + 32, k + 48 are added as
/// (a + b) + (c + d), the sixteen sums folded in halves.
pub fn rms_norm(
    compute: &Compute,
    x: &[f32],
    cols: usize,
    weight: &[f32],
    eps: f32,
    out: &mut [f32],
) {
    let tier = compute.tier();
    by_rows(compute, out, cols, |first, out| {
        let start = first * cols;
        norm_rows(tier, &x[start..start + out.len()], cols, weight, eps, out);
    });
}

per_tier! {
    fn norm_rows(x: &[f32], cols: usize, weight: &[f32], eps: f32, out: &mut [f32]) = norm_body
}

#[inline(always)]
fn norm_body(x: &[f32], cols: usize, weight: &[f32], eps: f32, out: &mut [f32]) {
    for (x, out) in x.chunks_exact(cols).zip(out.chunks_exact_mut(cols)) {
        let scale = 1.0 / (sum_of_squares(x) / cols as f32 + eps).sqrt();
        for ((out, x), weight) in out.iter_mut().zip(x).zip(weight) {
            *out = x * scale * weight;
        }
    }
}

#[inline(always)]
fn sum_of_squares(x: &[f32]) -> f32 {
    let mut sums = [[0.0; LANES]; 4];
    let (blocks, tail) = x.as_chunks::<{ 4 * LANES }>();
    for block in blocks {
        let (vectors, _) = block.as_chunks::<LANES>();
        for (sum, x) in sums.iter_mut().zip(vectors) {
            *sum = fma(x, x, sum);
        }
    }
    for (index, x) in tail.iter().enumerate() {
        let sum = &mut sums[index / LANES][index % LANES];
        *sum = x.mul_add(*x, *sum);
    }
    let mut total = [0.0; LANES];
    for (i, total) in total.iter_mut().enumerate() {
        *total = (sums[0][i] + sums[1][i]) + (sums[2][i] + sums[3][i]);
    }
    fold(&total, |a, b| a + b)
}

/// How the two halves of a rotated pair lie in a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RopePairs {
    /// Values 2i and 2i + 1: GGUF's `llama` architecture after its permutation ("normal").
    Interleaved,
    /// Values i and i + n/2: Hugging Face's layout ("neox").
    Halves,
}

/// Rotates the first `rotary` values of every head in place.
///
/// `x` holds `tokens` rows of `heads * head_dim` values; `cos` and `sin` hold `tokens` rows of
/// `rotary / 2`.
#[allow(clippy::too_many_arguments, reason = "these are the operation's shape")]
pub fn rope(
    compute: &Compute,
    x: &mut [f32],
    heads: usize,
    head_dim: usize,
    rotary: usize,
    pairs: RopePairs,
    cos: &[f32],
    sin: &[f32],
) {
    let (tier, half) = (compute.tier(), rotary / 2);
    if half == 0 {
        return;
    }
    by_rows(compute, x, heads * head_dim, |first, x| {
        let tokens = x.len() / (heads * head_dim);
        let place = first * half..(first + tokens) * half;
        let (cos, sin) = (&cos[place.clone()], &sin[place]);
        match pairs {
            RopePairs::Interleaved => rope_interleaved(tier, x, heads, head_dim, cos, sin, half),
            RopePairs::Halves => rope_halves(tier, x, heads, head_dim, cos, sin, half),
        }
    });
}

per_tier! {
    fn rope_interleaved(x: &mut [f32], heads: usize, head_dim: usize, cos: &[f32], sin: &[f32], half: usize)
        = rope_interleaved_body
}
per_tier! {
    fn rope_halves(x: &mut [f32], heads: usize, head_dim: usize, cos: &[f32], sin: &[f32], half: usize)
        = rope_halves_body
}

#[inline(always)]
fn rope_interleaved_body(
    x: &mut [f32],
    heads: usize,
    head_dim: usize,
    cos: &[f32],
    sin: &[f32],
    half: usize,
) {
    let rows = x.chunks_exact_mut(heads * head_dim);
    for ((row, cos), sin) in rows.zip(cos.chunks_exact(half)).zip(sin.chunks_exact(half)) {
        for head in row.chunks_exact_mut(head_dim) {
            let (pairs, _) = head[..2 * half].as_chunks_mut::<2>();
            for ((pair, cos), sin) in pairs.iter_mut().zip(cos).zip(sin) {
                let [a, b] = *pair;
                *pair = [a * cos - b * sin, a * sin + b * cos];
            }
        }
    }
}

#[inline(always)]
fn rope_halves_body(
    x: &mut [f32],
    heads: usize,
    head_dim: usize,
    cos: &[f32],
    sin: &[f32],
    half: usize,
) {
    let rows = x.chunks_exact_mut(heads * head_dim);
    for ((row, cos), sin) in rows.zip(cos.chunks_exact(half)).zip(sin.chunks_exact(half)) {
        for head in row.chunks_exact_mut(head_dim) {
            let (first, second) = head[..2 * half].split_at_mut(half);
            for (((a, b), cos), sin) in first.iter_mut().zip(second).zip(cos).zip(sin) {
                let (x, y) = (*a, *b);
                *a = x * cos - y * sin;
                *b = x * sin + y * cos;
            }
        }
    }
}

/// `gate = silu(gate) * up`.
pub fn silu_mul(compute: &Compute, gate: &mut [f32], up: &[f32]) {
    let tier = compute.tier();
    by_rows(compute, gate, GATE_PIECE, |first, gate| {
        let start = first * GATE_PIECE;
        silu_piece(tier, gate, &up[start..start + gate.len()]);
    });
}

/// `gate = gelu_tanh(gate) * up`.
///
/// ½(1 + tanh u) is 1 / (1 + e^(−2u)), which is what is computed.
pub fn gelu_mul(compute: &Compute, gate: &mut [f32], up: &[f32]) {
    let tier = compute.tier();
    by_rows(compute, gate, GATE_PIECE, |first, gate| {
        let start = first * GATE_PIECE;
        gelu_piece(tier, gate, &up[start..start + gate.len()]);
    });
}

/// Values of a gate that are worked on at a time.
const GATE_PIECE: usize = 64;

per_tier! { fn silu_piece(gate: &mut [f32], up: &[f32]) = silu_body }
per_tier! { fn gelu_piece(gate: &mut [f32], up: &[f32]) = gelu_body }

#[inline(always)]
fn silu_body(gate: &mut [f32], up: &[f32]) {
    gated(gate, up, |x| x / (1.0 + exp(-x)));
}

#[inline(always)]
fn gelu_body(gate: &mut [f32], up: &[f32]) {
    // 2 √(2/π), and that times 0.044715.
    const LINEAR: f32 = 1.595_769_1;
    const CUBIC: f32 = 0.071_354_82;
    gated(gate, up, |x| x / (1.0 + exp(-x * (x * x).mul_add(CUBIC, LINEAR))));
}

#[inline(always)]
fn gated(gate: &mut [f32], up: &[f32], f: impl Fn(f32) -> f32) {
    let (gates, gate_tail) = gate.as_chunks_mut::<LANES>();
    let (ups, up_tail) = up.as_chunks::<LANES>();
    for (gate, up) in gates.iter_mut().zip(ups) {
        let activated = map(gate, &f);
        for ((gate, activated), up) in gate.iter_mut().zip(activated).zip(up) {
            *gate = activated * up;
        }
    }
    for (gate, up) in gate_tail.iter_mut().zip(up_tail) {
        *gate = f(*gate) * up;
    }
}

/// `x += y`.
pub fn add(x: &mut [f32], y: &[f32]) {
    for (x, y) in x.iter_mut().zip(y) {
        *x += y;
    }
}

/// Natural logarithm of Σ exp(x), in F64 for the sum: what turns logits into log-probabilities.
///
/// The sum runs in sixteen lanes of F64, value i in lane i mod 16, folded in halves.
pub fn log_sum_exp(x: &[f32]) -> f64 {
    static TIER: OnceLock<Tier> = OnceLock::new();
    log_sum_exp_in(*TIER.get_or_init(Tier::detect), x)
}

per_tier! { fn log_sum_exp_in(x: &[f32]) -> f64 = log_sum_exp_body }

#[inline(always)]
fn log_sum_exp_body(x: &[f32]) -> f64 {
    let (vectors, tail) = x.as_chunks::<LANES>();
    let mut largest: Vector = [f32::NEG_INFINITY; LANES];
    for x in vectors {
        for (largest, &x) in largest.iter_mut().zip(x) {
            *largest = larger(x, *largest);
        }
    }
    let largest = tail.iter().fold(fold(&largest, larger), |largest, &x| larger(x, largest));
    if largest == f32::NEG_INFINITY {
        return f64::NEG_INFINITY;
    }
    let mut sums = [0.0f64; LANES];
    for x in vectors {
        let powers = map(x, |x| exp(x - largest));
        for (sum, power) in sums.iter_mut().zip(powers) {
            *sum += f64::from(power);
        }
    }
    for (sum, &x) in sums.iter_mut().zip(tail) {
        *sum += f64::from(exp(x - largest));
    }
    let mut half = LANES / 2;
    while half > 0 {
        for i in 0..half {
            sums[i] += sums[i + half];
        }
        half /= 2;
    }
    f64::from(largest) + sums[0].ln()
}

#[cfg(test)]
mod tests;
