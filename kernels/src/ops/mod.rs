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
    let _ = compute;
    for (x, out) in x.chunks_exact(cols).zip(out.chunks_exact_mut(cols)) {
        let mean = x.iter().map(|v| f64::from(*v) * f64::from(*v)).sum::<f64>() / cols as f64;
        let scale = (1.0 / (mean + f64::from(eps)).sqrt()) as f32;
        for ((o, x), w) in out.iter_mut().zip(x).zip(weight) {
            *o = x * scale * w;
        }
    }
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
    let _ = compute;
    let half = rotary / 2;
    for ((row, cos), sin) in
        x.chunks_exact_mut(heads * head_dim).zip(cos.chunks_exact(half)).zip(sin.chunks_exact(half))
    {
        for head in row.chunks_exact_mut(head_dim) {
            for i in 0..half {
                let (a, b) = match pairs {
                    RopePairs::Interleaved => (2 * i, 2 * i + 1),
                    RopePairs::Halves => (i, i + half),
                };
                let (x, y) = (head[a], head[b]);
                head[a] = x * cos[i] - y * sin[i];
                head[b] = x * sin[i] + y * cos[i];
            }
        }
    }
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
    let _ = compute;
    let s = shape;
    let group = s.heads / s.kv_heads;
    for (t, (q, out)) in q
        .chunks_exact(s.heads * s.head_dim)
        .zip(out.chunks_exact_mut(s.heads * s.value_dim))
        .enumerate()
    {
        let end = s.past + t + 1;
        let start = s.window.map_or(0, |w| end.saturating_sub(w));
        for h in 0..s.heads {
            let q = &q[h * s.head_dim..][..s.head_dim];
            let kv = h / group;
            let mut scores: Vec<f32> = (start..end)
                .map(|p| {
                    let k = &k[(kv * s.capacity + p) * s.head_dim..][..s.head_dim];
                    q.iter().zip(k).map(|(a, b)| a * b).sum::<f32>() * s.scale
                })
                .collect();
            let max = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let mut sum = 0.0;
            for x in &mut scores {
                *x = (*x - max).exp();
                sum += *x;
            }
            let out = &mut out[h * s.value_dim..][..s.value_dim];
            out.fill(0.0);
            for (p, w) in (start..end).zip(&scores) {
                let v = &v[(kv * s.capacity + p) * s.value_dim..][..s.value_dim];
                for (o, v) in out.iter_mut().zip(v) {
                    *o += w / sum * v;
                }
            }
        }
    }
}

/// `gate = silu(gate) * up`.
pub fn silu_mul(compute: &Compute, gate: &mut [f32], up: &[f32]) {
    let _ = compute;
    for (g, u) in gate.iter_mut().zip(up) {
        *g = *g / (1.0 + (-*g).exp()) * u;
    }
}

/// `gate = gelu_tanh(gate) * up`.
pub fn gelu_mul(compute: &Compute, gate: &mut [f32], up: &[f32]) {
    let _ = compute;
    for (g, u) in gate.iter_mut().zip(up) {
        let x = *g;
        *g = 0.5 * x * (1.0 + (0.797_884_6 * (x + 0.044715 * x * x * x)).tanh()) * u;
    }
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
