//! Each operation against a plain version in F64, in every tier, whose bytes must agree.

use super::*;

/// Numbers without a pattern, from −1 to 1.
fn noise(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

/// Runs `operation` in every tier with one and three threads; all must give the same bytes.
fn everywhere(operation: impl Fn(&Compute) -> Vec<f32>) -> Vec<f32> {
    let mut results = Tier::available().into_iter().flat_map(|tier| {
        [1, 3].map(|threads| {
            let bits = |x: &f32| x.to_bits();
            let result = operation(&Compute::new(tier, threads));
            (result.iter().map(bits).collect::<Vec<_>>(), result, tier, threads)
        })
    });
    let (bits, result, ..) = results.next().expect("the portable tier");
    for (other, _, tier, threads) in results {
        assert!(bits == other, "{tier:?} with {threads} threads differs");
    }
    result
}

fn assert_close(found: &[f32], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len());
    for (index, (&found, &expected)) in found.iter().zip(expected).enumerate() {
        let difference = (f64::from(found) - expected).abs();
        assert!(difference <= tolerance, "value {index}: {found} instead of {expected}");
    }
}

#[test]
fn norms() {
    for (cols, rows) in [(1, 3), (16, 2), (63, 5), (64, 1), (576, 40), (1000, 20)] {
        let (x, weight) = (noise(rows * cols, 1), noise(cols, 2));
        let found = everywhere(|compute| {
            let mut out = vec![0.0; x.len()];
            rms_norm(compute, &x, cols, &weight, 1e-5, &mut out);
            out
        });
        let expected: Vec<f64> = x
            .chunks_exact(cols)
            .flat_map(|row| {
                let squares: f64 = row.iter().map(|&x| f64::from(x).powi(2)).sum();
                let scale = 1.0 / (squares / cols as f64 + 1e-5).sqrt();
                let pairs = row.iter().zip(&weight);
                pairs.map(move |(&x, &w)| f64::from(x) * scale * f64::from(w)).collect::<Vec<_>>()
            })
            .collect();
        assert_close(&found, &expected, 2e-6);
    }
}

#[test]
fn rotations() {
    let (tokens, heads, dim) = (70, 3, 96);
    for (pairs, rotary) in
        [(RopePairs::Interleaved, 96), (RopePairs::Halves, 96), (RopePairs::Halves, 64)]
    {
        let x = noise(tokens * heads * dim, 3);
        let angles = noise(tokens * rotary / 2, 4);
        let cos: Vec<f32> = angles.iter().map(|x| x.cos()).collect();
        let sin: Vec<f32> = angles.iter().map(|x| x.sin()).collect();
        let found = everywhere(|compute| {
            let mut x = x.clone();
            rope(compute, &mut x, heads, dim, rotary, pairs, &cos, &sin);
            x
        });
        let mut expected: Vec<f64> = x.iter().map(|&x| x.into()).collect();
        for (head, values) in expected.chunks_exact_mut(dim).enumerate() {
            for pair in 0..rotary / 2 {
                let (a, b) = match pairs {
                    RopePairs::Interleaved => (2 * pair, 2 * pair + 1),
                    RopePairs::Halves => (pair, pair + rotary / 2),
                };
                let place = head / heads * rotary / 2 + pair;
                let (cos, sin) = (f64::from(cos[place]), f64::from(sin[place]));
                let (x, y) = (values[a], values[b]);
                (values[a], values[b]) = (x * cos - y * sin, x * sin + y * cos);
            }
        }
        assert_close(&found, &expected, 1e-6);
    }
}

#[test]
fn gates() {
    for len in [1, 15, 64, 1000, 40_000] {
        let gate: Vec<f32> = noise(len, 5).iter().map(|x| x * 12.0).collect();
        let up = noise(len, 6);
        let run = |operation: fn(&Compute, &mut [f32], &[f32])| {
            everywhere(|compute| {
                let mut gate = gate.clone();
                operation(compute, &mut gate, &up);
                gate
            })
        };
        let expect = |f: fn(f64) -> f64| -> Vec<f64> {
            gate.iter().zip(&up).map(|(&g, &u)| f(g.into()) * f64::from(u)).collect()
        };
        let silu = |x: f64| x / (1.0 + (-x).exp());
        assert_close(&run(silu_mul), &expect(silu), 3e-6);
        let gelu = |x: f64| {
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3));
            0.5 * x * (1.0 + inner.tanh())
        };
        assert_close(&run(gelu_mul), &expect(gelu), 3e-6);
    }
}

#[test]
fn logarithms_of_sums() {
    for len in [1, 7, 16, 1000] {
        let x: Vec<f32> = noise(len, 7).iter().map(|x| x * 20.0 + 50.0).collect();
        let expected = x.iter().map(|&x| (f64::from(x) - 50.0).exp()).sum::<f64>().ln() + 50.0;
        let results: Vec<f64> =
            Tier::available().into_iter().map(|tier| log_sum_exp_in(tier, &x)).collect();
        assert!(results.iter().all(|result| result.to_bits() == results[0].to_bits()));
        assert!((log_sum_exp(&x) - expected).abs() < 1e-6, "{} {expected}", results[0]);
    }
    assert_eq!(log_sum_exp(&[f32::NEG_INFINITY; 20]), f64::NEG_INFINITY);
}

/// A cache filled in two steps, and attention of the tokens of the second.
fn attend(compute: &Compute, shape: &Attention, q: &[f32], k: &[f32], v: &[f32]) -> Vec<f32> {
    let mut keys = vec![0.0; keys_len(shape.kv_heads, shape.capacity, shape.head_dim)];
    let mut values = vec![0.0; values_len(shape.kv_heads, shape.capacity, shape.value_dim)];
    let (k_past, k_new) = k.split_at(shape.past * shape.kv_heads * shape.head_dim);
    let (v_past, v_new) = v.split_at(shape.past * shape.kv_heads * shape.value_dim);
    remember(&Attention { past: 0, ..*shape }, k_past, v_past, &mut keys, &mut values);
    remember(shape, k_new, v_new, &mut keys, &mut values);
    let tokens = q.len() / (shape.heads * shape.head_dim);
    let mut out = vec![f32::NAN; tokens * shape.heads * shape.value_dim];
    attention(compute, shape, q, &keys, &values, &mut out);
    out
}

fn expected_attention(shape: &Attention, q: &[f32], k: &[f32], v: &[f32]) -> Vec<f64> {
    let mut out = Vec::new();
    let group = shape.heads / shape.kv_heads;
    for (row, q) in q.chunks_exact(shape.head_dim).enumerate() {
        let (token, head) = (row / shape.heads, row % shape.heads / group);
        let end = shape.past + token + 1;
        let start = shape.window.map_or(0, |window| end.saturating_sub(window));
        let dot = |position: usize| -> f64 {
            let k = &k[(position * shape.kv_heads + head) * shape.head_dim..][..shape.head_dim];
            q.iter().zip(k).map(|(&q, &k)| f64::from(q) * f64::from(k)).sum()
        };
        let weights: Vec<f64> =
            (start..end).map(|position| (dot(position) * f64::from(shape.scale)).exp()).collect();
        let total: f64 = weights.iter().sum();
        out.extend((0..shape.value_dim).map(|d| {
            let at = |position: usize| (position * shape.kv_heads + head) * shape.value_dim + d;
            let pairs = (start..end).zip(&weights);
            pairs.map(|(position, weight)| weight / total * f64::from(v[at(position)])).sum::<f64>()
        }));
    }
    out
}

#[test]
fn attention_with_groups_windows_and_odd_sizes() {
    let shapes = [
        // heads, kv_heads, head_dim, value_dim, past, tokens, window
        (4, 4, 8, 8, 0, 1, None),
        (9, 3, 64, 64, 0, 37, None),
        (14, 2, 64, 64, 100, 1, None),
        (4, 1, 32, 24, 5, 20, Some(8)),
        (3, 1, 16, 48, 40, 33, Some(17)),
        (2, 2, 80, 80, 15, 2, Some(1)),
    ];
    for (heads, kv_heads, head_dim, value_dim, past, tokens, window) in shapes {
        let shape = Attention {
            heads,
            kv_heads,
            head_dim,
            value_dim,
            past,
            capacity: 144,
            window,
            scale: 1.5,
        };
        let q = noise(tokens * heads * head_dim, 8);
        let k = noise((past + tokens) * kv_heads * head_dim, 9);
        let v = noise((past + tokens) * kv_heads * value_dim, 10);
        let found = everywhere(|compute| attend(compute, &shape, &q, &k, &v));
        assert_close(&found, &expected_attention(&shape, &q, &k, &v), 5e-6);

        // What a token does not see does not reach it, whatever it is.
        for bad in [f32::NAN, f32::INFINITY] {
            for token in 0..tokens {
                let end = past + token + 1;
                let start = window.map_or(0, |window| end.saturating_sub(window));
                let poison = |x: &[f32], width: usize| {
                    let mut x = x.to_vec();
                    x[..start * width].fill(bad);
                    x[end * width..].fill(bad);
                    x
                };
                let (k, v) = (poison(&k, kv_heads * head_dim), poison(&v, kv_heads * value_dim));
                let row = token * heads * value_dim..(token + 1) * heads * value_dim;
                for tier in Tier::available() {
                    let poisoned = attend(&Compute::new(tier, 1), &shape, &q, &k, &v);
                    assert!(
                        poisoned[row.clone()] == found[row.clone()],
                        "{tier:?}: {token}, {bad}"
                    );
                }
            }
        }

        // A token's result does not depend on how many others come with it.
        let one = Attention { past: past + tokens - 1, ..shape };
        let q = &q[(tokens - 1) * heads * head_dim..];
        let alone = attend(&Compute::new(Tier::detect(), 1), &one, q, &k, &v);
        assert_eq!(alone, found[(tokens - 1) * heads * value_dim..]);
    }
}
