//! Encoding of blocks with a scale and a minimum: Q4_1 and Q5_1.
//!
//! # Search
//! A value is m + d·q with q from 0 to n. With y = x − least value and b = m − least value, trials map
//! the block's range to n and a bit more or less; for the codes of a trial the best d and b follow
//! from Σwq, Σwq², Σwy, Σwyq (a line through the points). d is rounded to F16, b is then taken for
//! that d, and m rounded. What decides is the gain over x̂ = least value,
//! d(2Σwyq − dΣwq²) + b(2Σwy − bΣw) − 2dbΣwq. The best is improved a few times by the same step. The
//! codes stored are the nearest ones for the scale and minimum stored.

use super::Rows;
use super::groups::{BLOCK, GroupEncoder, Weights, encode_groups, nibbles};
use super::lanes::Lanes;
use super::symmetric::split_fifth_bit;
use super::tiers::lane_encoder;

/// Scales that are tried at once.
const AT_ONCE: usize = 2;

/// The ranges of codes that the range of values is mapped to, less n; and the times that the best is
/// improved. Without and with column weights.
type Trials = [(&'static [[f32; AT_ONCE]], usize); 2];

static Q4_TRIALS: Trials = [(&[[0.0, -0.6]], 2), (&EIGHT, 3)];
static Q5_TRIALS: Trials = [(&[[0.0, -0.6]], 2), (&EIGHT, 3)];

static EIGHT: [[f32; AT_ONCE]; 6] =
    [[0.0, -0.3], [-0.6, -0.9], [0.3, 0.6], [0.9, -1.3], [-1.7, -2.2], [1.3, -2.8]];

/// Sums over a block that do not depend on codes.
struct Block<'a, L> {
    y: &'a [L; BLOCK],
    least: L,
    w: L,
    wy: L,
}

/// The best so far.
struct Best<L> {
    scale: L,
    minimum: L,
    gain: L,
}

impl<L: Lanes> Best<L> {
    /// Takes the codes for each scale and offset, then the best line for these codes.
    #[inline(always)]
    fn consider<const N: u8, const K: usize>(
        &mut self,
        block: &Block<'_, L>,
        weights: impl Weights<L>,
        scales: &[L; K],
        offset: L,
    ) {
        let mut factors = *scales;
        for factor in &mut factors {
            *factor = factor.reciprocal();
        }
        // Σwq, Σwyq, Σwq².
        let mut sums = [[L::splat(0.0); 3]; K];
        for (place, y) in block.y.iter().enumerate() {
            for (sums, factor) in sums.iter_mut().zip(factors) {
                let q = ((*y - offset) * factor).round().clamp(0.0, f32::from(N));
                let wq = weights.times(place, q);
                sums[0] = sums[0] + wq;
                sums[1] = sums[1] + wq * *y;
                sums[2] = sums[2] + wq * q;
            }
        }
        for sums in sums {
            self.fit(block, sums);
        }
    }

    /// The best line for codes with these sums.
    #[inline(always)]
    fn fit(&mut self, block: &Block<'_, L>, [q, yq, qq]: [L; 3]) {
        let scale = (block.w * yq - block.wy * q).ratio(block.w * qq - q * q);
        let scale = scale.through_f16();
        let offset = (block.wy - scale * q).ratio(block.w);
        let minimum = (block.least + offset).through_f16();
        let offset = minimum - block.least;
        let first = scale * (yq + yq - scale * qq);
        let second = offset * (block.wy + block.wy - offset * block.w);
        let both = scale * offset * q;
        let gain = first + second - (both + both);
        let better = self.gain.less(gain);
        self.scale = L::select(better, scale, self.scale);
        self.minimum = L::select(better, minimum, self.minimum);
        self.gain = L::select(better, gain, self.gain);
    }
}

/// The best F16 scale and minimum found.
#[inline(always)]
fn search<L: Lanes, W: Weights<L>, const N: u8>(
    x: &[L; BLOCK],
    weights: W,
    trials: &Trials,
) -> (L, L) {
    let (mut least, mut most) = (x[0], x[0]);
    for x in x {
        least = x.min(least);
        most = x.max(most);
    }
    let mut y = *x;
    let (mut w, mut wy) = (L::splat(0.0), L::splat(0.0));
    for (place, y) in y.iter_mut().enumerate() {
        *y = *y - least;
        w = w + weights.times(place, L::splat(1.0));
        wy = wy + weights.times(place, *y);
    }
    let block = Block { y: &y, least, w, wy };
    let minimum = least.through_f16();
    let mut best = Best { scale: L::splat(0.0), minimum, gain: L::splat(f32::MIN) };
    let (ends, rounds) = trials[usize::from(W::EACH)];
    for ends in ends {
        let mut scales = [most - least; AT_ONCE];
        for (scale, end) in scales.iter_mut().zip(ends) {
            *scale = (*scale * L::splat(1.0 / (f32::from(N) + end))).through_f16();
        }
        best.consider::<N, AT_ONCE>(&block, weights, &scales, L::splat(0.0));
    }
    for _ in 0..rounds {
        let (scale, offset) = (best.scale, best.minimum - least);
        best.consider::<N, 1>(&block, weights, &[scale], offset);
    }
    (best.scale, best.minimum)
}

/// The nearest codes.
#[inline(always)]
fn codes<L: Lanes, const N: u8>(x: &[L; BLOCK], scale: L, minimum: L) -> [L; BLOCK] {
    let factor = scale.reciprocal();
    let mut codes = *x;
    for code in &mut codes {
        *code = ((*code - minimum) * factor).round().clamp(0.0, f32::from(N));
    }
    codes
}

lane_encoder! {
    /// LIMIT_Q4_1
    pub(super) fn encode_q4_1 = q4_1
}

#[inline(always)]
fn q4_1<L: Lanes>(rows: &Rows<'_>, out: &mut [u8]) {
    encode_groups::<L, Q41, 20>(rows, out);
}

struct Q41;

impl<L: Lanes> GroupEncoder<L, 20> for Q41 {
    #[inline(always)]
    fn group<W: Weights<L>>(x: &[L; BLOCK], weights: W, out: &mut [[u8; 20]]) {
        let (scale, minimum) = search::<L, W, 15>(x, weights, &Q4_TRIALS);
        let packed = nibbles(&codes::<L, 15>(x, scale, minimum));
        let (scales, minima) = (scale.to_f16(), minimum.to_f16());
        for (lane, out) in out.iter_mut().enumerate() {
            out[..2].copy_from_slice(&scales[lane].to_le_bytes());
            out[2..4].copy_from_slice(&minima[lane].to_le_bytes());
            out[4..].copy_from_slice(&packed[lane]);
        }
    }
}

lane_encoder! {
    /// LIMIT_Q5_1
    pub(super) fn encode_q5_1 = q5_1
}

#[inline(always)]
fn q5_1<L: Lanes>(rows: &Rows<'_>, out: &mut [u8]) {
    encode_groups::<L, Q51, 24>(rows, out);
}

struct Q51;

impl<L: Lanes> GroupEncoder<L, 24> for Q51 {
    #[inline(always)]
    fn group<W: Weights<L>>(x: &[L; BLOCK], weights: W, out: &mut [[u8; 24]]) {
        let (scale, minimum) = search::<L, W, 31>(x, weights, &Q5_TRIALS);
        let (high, low) = split_fifth_bit(codes::<L, 31>(x, scale, minimum));
        let packed = nibbles(&low);
        let (scales, minima) = (scale.to_f16(), minimum.to_f16());
        for (lane, out) in out.iter_mut().enumerate() {
            out[..2].copy_from_slice(&scales[lane].to_le_bytes());
            out[2..4].copy_from_slice(&minima[lane].to_le_bytes());
            out[4..8].copy_from_slice(&high[lane].to_le_bytes());
            out[8..].copy_from_slice(&packed[lane]);
        }
    }
}
