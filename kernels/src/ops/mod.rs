//! The element-wise and row-wise operations of a transformer, in F32.

use crate::Compute;

/// `out = x / sqrt(mean(x²) + eps) * weight` for each row of `cols` values.
pub fn rms_norm(
    compute: &Compute,
    x: &[f32],
    cols: usize,
    weight: &[f32],
    eps: f32,
    out: &mut [f32],
) {
    let _ = (compute, x, cols, weight, eps, out);
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
    let _ = (compute, x, heads, head_dim, rotary, pairs, cos, sin);
}

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
    /// Positions that the cache has room for: the distance between two heads in it.
    pub capacity: usize,
    /// A query sees this many positions at most, itself counted.
    pub window: Option<usize>,
    /// What scores are multiplied with.
    pub scale: f32,
}

/// Causal attention of `tokens` queries over `past + tokens` cached positions.
///
/// `q`: `tokens` rows of `heads * head_dim`. `k`: `kv_heads` × `capacity` × `head_dim`. `v`:
/// `kv_heads` × `capacity` × `value_dim`. `out`: `tokens` rows of `heads * value_dim`.
pub fn attention(
    compute: &Compute,
    shape: &Attention,
    q: &[f32],
    k: &[f32],
    v: &[f32],
    out: &mut [f32],
) {
    let _ = (compute, shape, q, k, v, out);
}

/// `gate = silu(gate) * up`.
pub fn silu_mul(compute: &Compute, gate: &mut [f32], up: &[f32]) {
    let _ = (compute, gate, up);
}

/// `gate = gelu_tanh(gate) * up`.
pub fn gelu_mul(compute: &Compute, gate: &mut [f32], up: &[f32]) {
    let _ = (compute, gate, up);
}

/// `x += y`.
pub fn add(x: &mut [f32], y: &[f32]) {
    for (x, y) in x.iter_mut().zip(y) {
        *x += y;
    }
}

/// Natural logarithm of Σ exp(x), in F64 for the sum: what turns logits into log-probabilities.
pub fn log_sum_exp(x: &[f32]) -> f64 {
    let _ = x;
    0.0
}
