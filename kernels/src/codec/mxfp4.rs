//! Encoding of MXFP4: a power of two and 32 codes of E2M1.
//!
//! Three exponents are tried, the one that brings the greatest magnitude to 4 … 8 (ggml's choice; the
//! greatest level is 6) and its neighbours, and the true weighted error decides. Blocks are first
//! multiplied with a power of two that brings their greatest magnitude to 1 … 2, which changes no code:
//! the trials are then the same constants for every block and no square overflows.

use super::Rows;
use super::groups::{BLOCK, GroupEncoder, Weights, encode_groups, nibbles};
use super::lanes::{LANES, Lanes};
use super::tiers::lane_encoder;

lane_encoder! {
    /// LIMIT_MXFP4
    pub(super) fn encode_mxfp4 = mxfp4
}

#[inline(always)]
fn mxfp4<L: Lanes>(rows: &Rows<'_>, out: &mut [u8]) {
    encode_groups::<L, Mxfp4, 17>(rows, out);
}

/// Steps from ggml's exponent, ggml's first: it wins where errors are equal.
const STEPS: [i32; 3] = [0, 1, -1];

struct Mxfp4;

impl<L: Lanes> GroupEncoder<L, 17> for Mxfp4 {
    #[inline(always)]
    fn group<W: Weights<L>>(x: &[L; BLOCK], weights: W, out: &mut [[u8; 17]]) {
        let mut greatest = L::splat(0.0);
        for x in x {
            greatest = x.abs().max(greatest);
        }
        let exponents = greatest.array().map(|x| (x.to_bits() >> 23) as i32);
        // 2^(127 − E): at least 2⁻¹²⁷, a subnormal number, so exact.
        let lift = L::load(&exponents.map(|e| power(127 - e)));
        let mut lifted = *x;
        for x in &mut lifted {
            *x = *x * lift;
        }
        let mut errors = [[0.0; LANES]; STEPS.len()];
        for (errors, step) in errors.iter_mut().zip(STEPS) {
            *errors = error(&lifted, weights, power(step - 3)).array();
        }
        let mut stored = [0u8; LANES];
        let mut scales = [0.0; LANES];
        for lane in 0..LANES {
            let (mut best, mut least) = (0, f32::INFINITY);
            for (step, errors) in STEPS.iter().zip(&errors) {
                let e = exponents[lane] - 2 + step;
                if e >= 0 && errors[lane] < least {
                    (best, least) = (e, errors[lane]);
                }
            }
            stored[lane] = best as u8;
            scales[lane] = power(best - 1 - exponents[lane]);
        }
        let packed = nibbles(&codes(&lifted, L::load(&scales)));
        for ((out, stored), packed) in out.iter_mut().zip(stored).zip(packed) {
            out[0] = stored;
            out[1..].copy_from_slice(&packed);
        }
    }
}

/// 2^n for −149 ≤ n ≤ 127.
#[inline(always)]
fn power(n: i32) -> f32 {
    f32::from_bits(if n < -126 { 1 << (n + 149) } else { ((n + 127) as u32) << 23 })
}

/// The nearest level of a magnitude in units of the (halved) scale, and its code.
#[inline(always)]
fn nearest<L: Lanes>(a: L) -> (L, L) {
    let a = a.min(L::splat(12.0));
    let (fine, middle) = (a.less(L::splat(4.0)), a.less(L::splat(8.0)));
    // Steps of 1 below 4, of 2 below 8, of 4 above.
    let step = L::select(fine, L::splat(1.0), L::select(middle, L::splat(2.0), L::splat(4.0)));
    let inverse = L::select(fine, L::splat(1.0), L::select(middle, L::splat(0.5), L::splat(0.25)));
    let steps = (a * inverse).round();
    let first = L::select(fine, L::splat(0.0), L::select(middle, L::splat(2.0), L::splat(4.0)));
    (steps * step, steps + first)
}

/// Σw(x − x̂)² of each lane, in the order of the values.
#[inline(always)]
fn error<L: Lanes>(x: &[L; BLOCK], weights: impl Weights<L>, scale: f32) -> L {
    let (scale, inverse) = (L::splat(scale), L::splat(1.0 / scale));
    let mut sum = L::splat(0.0);
    for (place, x) in x.iter().enumerate() {
        let magnitude = x.abs();
        let miss = magnitude - nearest(magnitude * inverse).0 * scale;
        sum = sum + weights.times(place, miss) * miss;
    }
    sum
}

/// The codes: the level's number, and 8 for a minus sign.
#[inline(always)]
fn codes<L: Lanes>(x: &[L; BLOCK], scale: L) -> [L; BLOCK] {
    let (zero, inverse) = (L::splat(0.0), scale.reciprocal());
    let mut codes = *x;
    for code in &mut codes {
        let (_, number) = nearest(code.abs() * inverse);
        let negative = L::select(zero.less(number), number + L::splat(8.0), number);
        *code = L::select(code.less(zero), negative, number);
    }
    codes
}

#[cfg(test)]
mod tests {
    #[test]
    fn powers_of_two() {
        assert_eq!(super::power(-149), f32::from_bits(1));
        assert_eq!(super::power(-127), 2f32.powi(-127));
        assert_eq!(super::power(-126), f32::MIN_POSITIVE);
        assert_eq!(super::power(0), 1.0);
        assert_eq!(super::power(127), 2f32.powi(127));
    }
}
