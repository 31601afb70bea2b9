//! Sixteen virtual lanes: the order in which every reduction here adds up.
//!
//! All loops run over arrays of sixteen values, each lane by itself, with fused multiply-add; lanes
//! are folded in halves, lane i with lane i + 8, then i + 4, i + 2, i + 1. The compiler makes one
//! AVX-512 register of an array, or two AVX2 ones, and has no liberty to change the order, so that
//! every tier gives the same bytes.

/// Lanes of a vector.
pub(crate) const LANES: usize = 16;

/// Sixteen values.
pub(crate) type Vector = [f32; LANES];

/// Defines `fn name(tier, arguments)` that runs the `#[inline(always)]` function `body`, compiled for
/// the tier.
macro_rules! per_tier {
    ($(#[$doc:meta])* $vis:vis fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $result:ty)? = $body:expr) => {
        $(#[$doc])*
        #[allow(clippy::too_many_arguments, reason = "the operation's shape")]
        $vis fn $name(tier: $crate::Tier, $($arg: $ty),*) $(-> $result)? {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2,fma,f16c")]
                #[allow(clippy::too_many_arguments, reason = "the operation's shape")]
                fn avx2($($arg: $ty),*) $(-> $result)? {
                    $body($($arg),*)
                }
                #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
                #[allow(clippy::too_many_arguments, reason = "the operation's shape")]
                fn avx512($($arg: $ty),*) $(-> $result)? {
                    $body($($arg),*)
                }
                match tier.kind() {
                    $crate::tier::Kind::Portable => $body($($arg),*),
                    // SAFETY: this tier is only made where detection found these instructions.
                    $crate::tier::Kind::Avx2 => unsafe { avx2($($arg),*) },
                    // SAFETY: as above.
                    $crate::tier::Kind::Avx512 => unsafe { avx512($($arg),*) },
                }
            }
            #[cfg(not(target_arch = "x86_64"))]
            {
                let _ = tier;
                $body($($arg),*)
            }
        }
    };
}
pub(crate) use per_tier;

/// `a · b + c`, fused, lane by lane.
#[inline(always)]
pub(crate) fn fma(a: &Vector, b: &Vector, c: &Vector) -> Vector {
    let mut out = [0.0; LANES];
    for i in 0..LANES {
        out[i] = a[i].mul_add(b[i], c[i]);
    }
    out
}

/// `a · b + c`, fused, with the same `a` in every lane.
#[inline(always)]
pub(crate) fn scale_add(a: f32, b: &Vector, c: &Vector) -> Vector {
    let mut out = [0.0; LANES];
    for i in 0..LANES {
        out[i] = a.mul_add(b[i], c[i]);
    }
    out
}

/// `f` of each lane.
#[inline(always)]
pub(crate) fn map(x: &Vector, f: impl Fn(f32) -> f32) -> Vector {
    let mut out = [0.0; LANES];
    for i in 0..LANES {
        out[i] = f(x[i]);
    }
    out
}

/// Lanes folded in halves by `f`.
#[inline(always)]
pub(crate) fn fold(x: &Vector, f: impl Fn(f32, f32) -> f32) -> f32 {
    let mut x = *x;
    let mut half = LANES / 2;
    while half > 0 {
        for i in 0..half {
            x[i] = f(x[i], x[i + half]);
        }
        half /= 2;
    }
    x[0]
}

/// The larger; the second where they cannot be compared.
#[inline(always)]
pub(crate) fn larger(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

/// e to the power `x`, within some 2 units in the last place; 0 below −87.3, and not above e^88.3.
///
/// The usual way: x = n ln 2 + r, e^r by a polynomial (its coefficients are Cephes' `expf`'s), 2^n by
/// putting n in the exponent. Adding 1.5 · 2²³ rounds to a whole number, which then stands in the
/// low bits.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0;
    const LN_2_HIGH: f32 = 0.693_359_375;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    // Written so that not-a-number stays what it is.
    let within = if x > 88.3 { 88.3 } else { x };
    let within = if within < -87.3 { -87.3 } else { within };
    let shifted = within.mul_add(std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = n.mul_add(-LN_2_LOW, n.mul_add(-LN_2_HIGH, within));
    let mut p = 1.987_569_1e-4f32;
    p = p.mul_add(r, 1.398_199_9e-3);
    p = p.mul_add(r, 8.333_452e-3);
    p = p.mul_add(r, 4.166_579_6e-2);
    p = p.mul_add(r, 1.666_666_5e-1);
    p = p.mul_add(r, 0.5);
    let value = (p * r).mul_add(r, r) + 1.0;
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(0x3f80_0000));
    if x < -87.3 { 0.0 } else { value * power }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_close_to_the_true_one() {
        let mut worst = 0.0f64;
        for step in -87_200..88_200 {
            let x = step as f32 / 1000.0;
            let (ours, exact) = (f64::from(exp(x)), f64::from(x).exp());
            worst = worst.max((ours / exact - 1.0).abs());
        }
        assert!(worst < 2.5e-7, "{worst}");
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(-200.0), 0.0);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert!(exp(1000.0).is_finite());
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn lanes_fold_in_halves() {
        let x: Vector = std::array::from_fn(|i| i as f32);
        assert_eq!(fold(&x, |a, b| a + b), 120.0);
        assert_eq!(fold(&x, larger), 15.0);
    }
}
