//! Encoding of blocks with a scale and no minimum: Q4_0, Q5_0, IQ4_NL.
//!
//! # Search
//! For a scale d the best code of each value is its nearest level q, and for given codes the best scale
//! is Σwxq / Σwq². Trials start from scales that map the block's value of greatest magnitude near one
//! end of the levels (ggml's own starts among them); each is rounded to F16, the codes are taken, the
//! best scale for them is rounded to F16, and what it gains over all zeros, d(2Σwxq − dΣwq²), decides.
//! The best is improved twice by the same step. The codes stored are the nearest ones for the scale
//! stored, so the true error is never more than what the search saw.

use super::Rows;
use super::groups::{BLOCK, GroupEncoder, Weights, encode_groups, nibbles};
use super::lanes::{LANES, Lanes};
use super::lookup::IQ4_LEVELS;
use super::tiers::lane_encoder;

/// Scales that are tried at once.
const AT_ONCE: usize = 2;

/// Trials of a search: the levels that the extreme value is mapped to, and the times that the best is
/// improved.
pub(super) type Trials = (&'static [[f32; AT_ONCE]], usize);

/// Without and with column weights.
static Q4_TRIALS: [Trials; 2] = [
    (&[[-8.0, -7.4]], 1),
    (
        &[
            [-8.0, -7.1],
            [-7.2, -7.3],
            [-7.4, -7.5],
            [-7.6, -7.7],
            [-7.8, -7.9],
            [-8.1, -8.2],
            [-8.3, -8.4],
            [-8.5, -8.6],
            [-8.7, -8.8],
            [-8.9, 7.0],
            [7.4, 6.6],
        ],
        2,
    ),
];

static Q5_TRIALS: [Trials; 2] = [
    (&[[-16.0, -15.4]], 1),
    (
        &[
            [-16.0, -15.1],
            [-15.2, -15.3],
            [-15.4, -15.5],
            [-15.6, -15.7],
            [-15.8, -15.9],
            [-16.1, -16.2],
            [-16.3, -16.4],
            [-16.5, -16.6],
            [-16.7, -16.8],
            [-16.9, 15.0],
            [15.4, 14.6],
        ],
        2,
    ),
];

pub(super) static IQ4_TRIALS: [Trials; 2] = [
    (
        &[
            [127.0, -127.0],
            [-126.0, -125.0],
            [-124.0, -123.0],
            [-122.0, -121.0],
            [-120.0, -128.0],
            [-129.0, -130.0],
            [-131.0, -132.0],
            [-133.0, -134.0],
        ],
        2,
    ),
    (
        &[
            [127.0, -127.0],
            [-126.0, -125.0],
            [-124.0, -123.0],
            [-122.0, -121.0],
            [-120.0, -128.0],
            [-129.0, -130.0],
            [-131.0, -132.0],
            [-133.0, -134.0],
        ],
        2,
    ),
];

/// The levels that multiples of the scale can take.
pub(super) trait Levels {
    /// What [`Levels::nearest`] multiplies with, from 1/scale.
    fn factor<L: Lanes>(inverse: L) -> L;
    /// The nearest level.
    fn nearest<L: Lanes>(x: L, factor: L) -> L;
}

/// −N, …, N − 1.
pub(super) struct Linear<const N: i16>;

impl<const N: i16> Levels for Linear<N> {
    #[inline(always)]
    fn factor<L: Lanes>(inverse: L) -> L {
        inverse
    }

    #[inline(always)]
    fn nearest<L: Lanes>(x: L, factor: L) -> L {
        (x * factor).round().clamp(-f32::from(N), f32::from(N) - 1.0)
    }
}

/// The levels of IQ4_NL and IQ4_XS.
pub(super) struct Iq4;

impl Levels for Iq4 {
    #[inline(always)]
    fn factor<L: Lanes>(inverse: L) -> L {
        inverse + inverse
    }

    #[inline(always)]
    fn nearest<L: Lanes>(x: L, factor: L) -> L {
        (x * factor + L::splat(254.0)).iq4_level()
    }
}

/// Σwxq and Σwq² of each lane, in the order of the values, for `K` scales at once: their chains of
/// additions do not wait for each other.
#[inline(always)]
pub(super) fn sums<L: Lanes, Q: Levels, const K: usize>(
    x: &[L; BLOCK],
    weights: impl Weights<L>,
    scales: &[L; K],
) -> [(L, L); K] {
    let mut factors = *scales;
    for factor in &mut factors {
        *factor = Q::factor(factor.reciprocal());
    }
    let mut sums = [(L::splat(0.0), L::splat(0.0)); K];
    for (place, x) in x.iter().enumerate() {
        for (sums, factor) in sums.iter_mut().zip(factors) {
            let q = Q::nearest(*x, factor);
            let wq = weights.times(place, q);
            sums.0 = sums.0 + wq * *x;
            sums.1 = sums.1 + wq * q;
        }
    }
    sums
}

/// What a scale gains over all zeros.
#[inline(always)]
pub(super) fn gain<L: Lanes>(scale: L, (xq, qq): (L, L)) -> L {
    scale * (xq + xq - scale * qq)
}

/// Each lane's value of greatest magnitude, the first of equals.
#[inline(always)]
pub(super) fn extreme<L: Lanes>(x: &[L; BLOCK]) -> L {
    let (mut greatest, mut value) = (L::splat(0.0), L::splat(0.0));
    for x in x {
        let more = greatest.less(x.abs());
        greatest = L::select(more, x.abs(), greatest);
        value = L::select(more, *x, value);
    }
    value
}

/// The best scale so far, what it gains, and Σwq² of its codes.
struct Best<L> {
    scale: L,
    gain: L,
    square: L,
}

impl<L: Lanes> Best<L> {
    /// Takes the codes for each scale, then the best scale for these codes, and keeps it if it is
    /// better.
    #[inline(always)]
    fn consider<Q: Levels, const F16: bool, const K: usize>(
        &mut self,
        x: &[L; BLOCK],
        weights: impl Weights<L>,
        scales: &[L; K],
    ) {
        for sums in sums::<L, Q, K>(x, weights, scales) {
            let scale = sums.0.ratio(sums.1);
            let scale = if F16 { scale.through_f16() } else { scale };
            let gain = gain(scale, sums);
            let better = self.gain.less(gain);
            self.scale = L::select(better, scale, self.scale);
            self.gain = L::select(better, gain, self.gain);
            self.square = L::select(better, sums.1, self.square);
        }
    }
}

/// The best F16 scale found.
#[inline(always)]
fn search<L: Lanes, Q: Levels>(x: &[L; BLOCK], weights: impl Weights<L>, trials: Trials) -> L {
    rounded_search::<L, Q, true>(x, weights, trials).scale
}

/// The best scale found, in F32, and Σwq² of its codes.
#[inline(always)]
pub(super) fn best_scale<L: Lanes, Q: Levels>(
    x: &[L; BLOCK],
    weights: impl Weights<L>,
    trials: Trials,
) -> (L, L) {
    let best = rounded_search::<L, Q, false>(x, weights, trials);
    (best.scale, best.square)
}

#[inline(always)]
fn rounded_search<L: Lanes, Q: Levels, const F16: bool>(
    x: &[L; BLOCK],
    weights: impl Weights<L>,
    (ends, rounds): Trials,
) -> Best<L> {
    let extreme = extreme(x);
    let zero = L::splat(0.0);
    let mut best = Best { scale: zero, gain: zero, square: zero };
    for ends in ends {
        let mut scales = [extreme; AT_ONCE];
        for (scale, end) in scales.iter_mut().zip(ends) {
            *scale = *scale * L::splat(1.0 / end);
            *scale = if F16 { scale.through_f16() } else { *scale };
        }
        best.consider::<Q, F16, AT_ONCE>(x, weights, &scales);
    }
    for _ in 0..rounds {
        let scale = best.scale;
        best.consider::<Q, F16, 1>(x, weights, &[scale]);
    }
    best
}

/// The codes of the nearest levels, 0 to 2N − 1.
#[inline(always)]
fn linear_codes<L: Lanes, const N: i16>(x: &[L; BLOCK], scale: L) -> [L; BLOCK] {
    let factor = scale.reciprocal();
    let mut codes = *x;
    for code in &mut codes {
        *code = Linear::<N>::nearest(*code, factor) + L::splat(f32::from(N));
    }
    codes
}

lane_encoder! {
    /// LIMIT_Q4_0
    pub(super) fn encode_q4_0 = q4_0
}

#[inline(always)]
fn q4_0<L: Lanes>(rows: &Rows<'_>, out: &mut [u8]) {
    encode_groups::<L, Q40, 18>(rows, out);
}

struct Q40;

impl<L: Lanes> GroupEncoder<L, 18> for Q40 {
    #[inline(always)]
    fn group<W: Weights<L>>(x: &[L; BLOCK], weights: W, out: &mut [[u8; 18]]) {
        let scale = search::<L, Linear<8>>(x, weights, Q4_TRIALS[usize::from(W::EACH)]);
        let codes = linear_codes::<L, 8>(x, scale);
        let (scales, packed) = (scale.to_f16(), nibbles(&codes));
        for ((out, scale), packed) in out.iter_mut().zip(scales).zip(packed) {
            out[..2].copy_from_slice(&scale.to_le_bytes());
            out[2..].copy_from_slice(&packed);
        }
    }
}

lane_encoder! {
    /// LIMIT_Q5_0
    pub(super) fn encode_q5_0 = q5_0
}

#[inline(always)]
fn q5_0<L: Lanes>(rows: &Rows<'_>, out: &mut [u8]) {
    encode_groups::<L, Q50, 22>(rows, out);
}

struct Q50;

impl<L: Lanes> GroupEncoder<L, 22> for Q50 {
    #[inline(always)]
    fn group<W: Weights<L>>(x: &[L; BLOCK], weights: W, out: &mut [[u8; 22]]) {
        let scale = search::<L, Linear<16>>(x, weights, Q5_TRIALS[usize::from(W::EACH)]);
        let codes = linear_codes::<L, 16>(x, scale);
        let (high, low) = split_fifth_bit(codes);
        let (scales, packed) = (scale.to_f16(), nibbles(&low));
        for (lane, out) in out.iter_mut().enumerate() {
            out[..2].copy_from_slice(&scales[lane].to_le_bytes());
            out[2..6].copy_from_slice(&high[lane].to_le_bytes());
            out[6..].copy_from_slice(&packed[lane]);
        }
    }
}

/// Codes of 0 to 31 → for each lane the fifth bits of all its codes, and the codes without them.
#[inline(always)]
pub(super) fn split_fifth_bit<L: Lanes>(codes: [L; BLOCK]) -> ([u32; LANES], [L; BLOCK]) {
    let (zero, sixteen) = (L::splat(0.0), L::splat(16.0));
    // Sixteen bits are a whole number that F32 holds exactly.
    let mut words = [zero; 2];
    let mut low = codes;
    for (place, code) in low.iter_mut().enumerate() {
        let small = code.less(sixteen);
        let bit = L::splat(f32::from(1u16 << (place % 16)));
        words[place / 16] = words[place / 16] + L::select(small, zero, bit);
        *code = L::select(small, *code, *code - sixteen);
    }
    let (first, second) = (words[0].array(), words[1].array());
    (std::array::from_fn(|lane| first[lane] as u32 | (second[lane] as u32) << 16), low)
}

lane_encoder! {
    /// LIMIT_IQ4_NL
    pub(super) fn encode_iq4_nl = iq4_nl
}

#[inline(always)]
fn iq4_nl<L: Lanes>(rows: &Rows<'_>, out: &mut [u8]) {
    encode_groups::<L, Iq4Nl, 18>(rows, out);
}

struct Iq4Nl;

impl<L: Lanes> GroupEncoder<L, 18> for Iq4Nl {
    #[inline(always)]
    fn group<W: Weights<L>>(x: &[L; BLOCK], weights: W, out: &mut [[u8; 18]]) {
        let scale = search::<L, Iq4>(x, weights, IQ4_TRIALS[usize::from(W::EACH)]);
        let (scales, packed) = (scale.to_f16(), nibbles(&iq4_codes(x, scale)));
        for ((out, scale), packed) in out.iter_mut().zip(scales).zip(packed) {
            out[..2].copy_from_slice(&scale.to_le_bytes());
            out[2..].copy_from_slice(&packed);
        }
    }
}

/// The codes of the nearest levels: how many thresholds do not lie above. The same comparison as in
/// [`Lanes::iq4_level`], on the same scale.
#[inline(always)]
pub(super) fn iq4_codes<L: Lanes>(x: &[L; BLOCK], scale: L) -> [L; BLOCK] {
    let factor = Iq4::factor(scale.reciprocal());
    let mut codes = *x;
    for code in &mut codes {
        let u = *code * factor + L::splat(254.0);
        *code = L::splat(0.0);
        for pair in IQ4_LEVELS.windows(2) {
            let threshold = f32::from(i16::from(pair[0]) + i16::from(pair[1]) + 254);
            let next = *code + L::splat(1.0);
            *code = L::select(u.less(L::splat(threshold)), *code, next);
        }
    }
    codes
}
