//! Encoding of IQ4_XS: super-blocks of eight IQ4 sub-blocks whose scales are d · factor, factors from
//! −32 to 31.
//!
//! # Search
//! 1. For each sub-block, as for IQ4_NL but without rounding to F16: the best scale s and Σwq², how
//!    fast the error grows with the square of the distance from it.
//! 2. For sixteen trial values of d, one a lane: the nearest factors, and Σ(Σwq²)(d·factor − s)².
//! 3. With the best d: codes, what d and the factors gain together, the best d for these factors and
//!    the nearest factors for that d; a few times over, keeping the best.
//!
//! Sums over a super-block's sub-blocks are taken in their order.

use super::Rows;
use super::groups::{BLOCK, Each, Uniform, Weights, lanes, nibbles, normalized, transposed};
use super::lanes::{LANES, Lanes};
use super::symmetric::{Iq4, Trials, best_scale, gain, iq4_codes, sums};
use super::tiers::{f16_to_f32, lane_encoder};

/// Sub-blocks in a super-block.
const SUBS: usize = 8;

/// Factors that the sub-block scale of greatest magnitude is mapped to.
const ENDS: [f32; LANES] = [
    -32.0, -31.5, -31.0, -30.5, -30.0, -29.0, -28.0, -27.0, -26.0, -25.0, -24.0, -23.0, 31.0, 30.0,
    29.0, 28.0,
];

/// Times that a super-block's scale and factors are improved.
const ROUNDS: usize = 3;

/// A super-block's scale and its factors.
#[derive(Clone, Copy)]
struct Scales {
    d: u16,
    factors: [f32; SUBS],
    gain: f32,
}

lane_encoder! {
    /// LIMIT_IQ4_XS
    pub(super) fn encode_iq4_xs = iq4_xs
}

#[inline(always)]
fn iq4_xs<L: Lanes>(rows: &Rows<'_>, out: &mut [u8]) {
    let weights = rows.weights.map(|weights| normalized(weights, SUBS * BLOCK));
    let (blocks, _) = out.as_chunks_mut::<136>();
    for (group, out) in blocks.chunks_mut(LANES / SUBS).enumerate() {
        let x = lanes::<L>(rows.values, group);
        let Some(weights) = &weights else {
            encode_group(&x, Uniform, out);
            continue;
        };
        let mut buffer = [0.0; BLOCK * LANES];
        for (lane, buffer) in buffer.as_chunks_mut::<BLOCK>().0.iter_mut().enumerate() {
            let block = (group * LANES + lane) % (rows.cols / BLOCK);
            buffer.copy_from_slice(&weights[BLOCK * block..BLOCK * (block + 1)]);
        }
        encode_group(&x, Each(&transposed(&buffer)), out);
    }
}

/// Two super-blocks, or one and zeros.
#[inline(always)]
fn encode_group<L: Lanes, W: Weights<L>>(x: &[L; BLOCK], weights: W, out: &mut [[u8; 136]]) {
    let trials: Trials = super::symmetric::IQ4_TRIALS[usize::from(W::EACH)];
    let (scale, square) = best_scale::<L, Iq4>(x, weights, trials);
    let (scale, square) = (scale.array(), square.array());
    let mut best = [start::<L>(&scale[..SUBS], &square[..SUBS]); LANES / SUBS];
    best[1] = start::<L>(&scale[SUBS..], &square[SUBS..]);
    let mut next = best;
    for _ in 0..=ROUNDS {
        let sub_scale = sub_scales::<L>(&next);
        let sums = sums::<L, Iq4, 1>(x, weights, &[sub_scale])[0];
        let gains = gain(sub_scale, sums).array();
        let (xq, qq) = (sums.0.array(), sums.1.array());
        for (i, (best, next)) in best.iter_mut().zip(&mut next).enumerate() {
            let subs = SUBS * i..SUBS * (i + 1);
            next.gain = gains[subs.clone()].iter().fold(0.0, |sum, gain| sum + gain);
            if next.gain > best.gain {
                *best = *next;
            }
            *next = improved(next, &xq[subs.clone()], &qq[subs]);
        }
    }
    let packed = nibbles(&iq4_codes(x, sub_scales::<L>(&best)));
    for ((out, best), packed) in out.iter_mut().zip(best).zip(packed.as_chunks::<SUBS>().0) {
        write(out, &best, packed);
    }
}

/// d · factor of every sub-block, as decoding computes it.
#[inline(always)]
fn sub_scales<L: Lanes>(scales: &[Scales; LANES / SUBS]) -> L {
    let mut out = [0.0; LANES];
    for (out, scales) in out.chunks_exact_mut(SUBS).zip(scales) {
        let d = f16_to_f32(scales.d);
        for (out, factor) in out.iter_mut().zip(scales.factors) {
            *out = d * factor;
        }
    }
    L::load(&out)
}

/// The nearest factor.
#[inline(always)]
fn factor<L: Lanes>(scale: L, inverse: L) -> L {
    (scale * inverse).round().clamp(-32.0, 31.0)
}

/// Step 2: the best of sixteen trial values of d.
#[inline(always)]
fn start<L: Lanes>(scale: &[f32], square: &[f32]) -> Scales {
    let mut extreme = 0.0f32;
    for scale in scale {
        extreme = if scale.abs() > extreme.abs() { *scale } else { extreme };
    }
    let d = (L::splat(extreme) / L::load(&ENDS)).through_f16();
    let inverse = d.reciprocal();
    let mut error = L::splat(0.0);
    for (scale, square) in scale.iter().zip(square) {
        let scale = L::splat(*scale);
        let miss = d * factor(scale, inverse) - scale;
        error = error + L::splat(*square) * (miss * miss);
    }
    let error = error.array();
    let mut lane = 0;
    for (i, e) in error.iter().enumerate() {
        lane = if *e < error[lane] { i } else { lane };
    }
    let d = d.to_f16()[lane];
    Scales { d, factors: factors_for(d, scale), gain: 0.0 }
}

/// The nearest factors for sub-block scales.
#[inline(always)]
fn factors_for(d: u16, scale: &[f32]) -> [f32; SUBS] {
    let d = f16_to_f32(d);
    let mut factors = [0.0; SUBS];
    if d != 0.0 {
        for (factor, scale) in factors.iter_mut().zip(scale) {
            *factor = (scale * (1.0 / d)).round_ties_even().clamp(-32.0, 31.0);
        }
    }
    factors
}

/// Step 3: the best d for the factors and codes behind these sums, and the nearest factors for it.
#[inline(always)]
fn improved(scales: &Scales, xq: &[f32], qq: &[f32]) -> Scales {
    let (mut along, mut square) = (0.0f32, 0.0f32);
    for ((factor, xq), qq) in scales.factors.iter().zip(xq).zip(qq) {
        along += factor * xq;
        square += factor * factor * qq;
    }
    let d = if square > 0.0 { along / square } else { 0.0 };
    let d = half::f16::from_f32_const(d.clamp(-65504.0, 65504.0)).to_bits();
    let mut scale = [0.0; SUBS];
    for ((scale, xq), qq) in scale.iter_mut().zip(xq).zip(qq) {
        *scale = if *qq > 0.0 { xq / qq } else { 0.0 };
    }
    Scales { d, factors: factors_for(d, &scale), gain: 0.0 }
}

/// d, the factors' high bits, their low halves, the codes.
#[inline(always)]
fn write(out: &mut [u8; 136], scales: &Scales, packed: &[[u8; 16]; SUBS]) {
    let (mut high, mut low) = (0u16, [0u8; SUBS / 2]);
    for (sub, factor) in scales.factors.iter().enumerate() {
        let factor = (*factor as i32 + 32) as u16;
        high |= (factor >> 4) << (2 * sub);
        low[sub / 2] |= ((factor & 15) as u8) << (sub % 2 * 4);
    }
    out[..2].copy_from_slice(&scales.d.to_le_bytes());
    out[2..4].copy_from_slice(&high.to_le_bytes());
    out[4..8].copy_from_slice(&low);
    out[8..].copy_from_slice(packed.as_flattened());
}
