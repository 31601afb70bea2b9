//! Sixteen virtual lanes, each running the same scalar program on its own sub-block.
//!
//! A search over sub-blocks is written once, generic over [`Lanes`], and instantiated per tier by
//! [`dispatch`]. Lanes never mix except through [`Lanes::store`], and every operation is the IEEE
//! one, so the tiers cannot differ: a sum over the values of a sub-block is sequential in each lane.

use crate::{Tier, tier::Kind};

/// Number of virtual lanes.
pub(super) const LANES: usize = 16;

/// 1.5 · 2²³: adding and subtracting it rounds |v| < 2²² to the nearest integer, ties to even.
const ROUND: f32 = 12_582_912.0;

/// Sixteen F32 values. No operation is fused or reordered.
pub(super) trait Lanes: Copy {
    fn splat(value: f32) -> Self;
    fn load(values: &[f32; LANES]) -> Self;
    fn store(self) -> [f32; LANES];
    fn add(self, other: Self) -> Self;
    fn sub(self, other: Self) -> Self;
    fn mul(self, other: Self) -> Self;
    fn div(self, other: Self) -> Self;
    /// `self < other ? self : other` in each lane.
    fn min(self, other: Self) -> Self;
    /// `self > other ? self : other` in each lane.
    fn max(self, other: Self) -> Self;
    /// `a < b ? yes : no` in each lane; `no` where either is NaN.
    fn select_lt(a: Self, b: Self, yes: Self, no: Self) -> Self;

    /// To the nearest integer, ties to even. Only for |v| < 2²²; a zero comes out positive.
    #[inline(always)]
    fn round(self) -> Self {
        self.add(Self::splat(ROUND)).sub(Self::splat(ROUND))
    }

    #[inline(always)]
    fn clamp(self, low: Self, high: Self) -> Self {
        self.max(low).min(high)
    }

    #[inline(always)]
    fn abs(self) -> Self {
        self.max(Self::splat(0.0).sub(self))
    }

    /// 1 / v, and 0 where v is 0.
    #[inline(always)]
    fn recip_or_zero(self) -> Self {
        let zero = Self::splat(0.0);
        let recip = Self::splat(1.0).div(self);
        Self::select_lt(zero, self.abs(), recip, zero)
    }
}

/// Something to run on the lanes of a tier. `run` and all it calls must be `#[inline(always)]`, or
/// the instructions of the tier are not used.
pub(super) trait Task {
    fn run<L: Lanes>(self);
}

/// Runs `task` on the lanes of `tier`.
pub(super) fn dispatch<T: Task>(tier: Tier, task: T) {
    match tier.kind() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a `Tier` of this kind proves that the CPU has the instructions of `run_avx512`.
        Kind::Avx512 => unsafe { x86::run_avx512(task) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a `Tier` of this kind proves that the CPU has the instructions of `run_avx2`.
        Kind::Avx2 => unsafe { x86::run_avx2(task) },
        _ => task.run::<Plain>(),
    }
}

/// The portable form.
#[derive(Clone, Copy)]
struct Plain([f32; LANES]);

impl Plain {
    #[inline(always)]
    fn zip(self, other: Self, op: impl Fn(f32, f32) -> f32) -> Self {
        let mut out = self.0;
        for (out, other) in out.iter_mut().zip(&other.0) {
            *out = op(*out, *other);
        }
        Self(out)
    }
}

impl Lanes for Plain {
    #[inline(always)]
    fn splat(value: f32) -> Self {
        Self([value; LANES])
    }
    #[inline(always)]
    fn load(values: &[f32; LANES]) -> Self {
        Self(*values)
    }
    #[inline(always)]
    fn store(self) -> [f32; LANES] {
        self.0
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        self.zip(other, |a, b| a + b)
    }
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        self.zip(other, |a, b| a - b)
    }
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        self.zip(other, |a, b| a * b)
    }
    #[inline(always)]
    fn div(self, other: Self) -> Self {
        self.zip(other, |a, b| a / b)
    }
    // Written out because `f32::min` treats NaN and signed zero otherwise than MINPS does.
    #[inline(always)]
    fn min(self, other: Self) -> Self {
        self.zip(other, |a, b| if a < b { a } else { b })
    }
    #[inline(always)]
    fn max(self, other: Self) -> Self {
        self.zip(other, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    fn select_lt(a: Self, b: Self, yes: Self, no: Self) -> Self {
        let mut out = no.0;
        for (lane, out) in out.iter_mut().enumerate() {
            *out = if a.0[lane] < b.0[lane] { yes.0[lane] } else { *out };
        }
        Self(out)
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    //! The types here are private and only made by `run_avx2` and `run_avx512`, so that a value of
    //! one of them, or code generic over it, exists only where the CPU has its instructions.

    use super::{LANES, Lanes, Task};
    use std::arch::x86_64::*;

    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) fn run_avx2<T: Task>(task: T) {
        task.run::<Two256>();
    }

    #[target_feature(
        enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512bf16"
    )]
    pub(super) fn run_avx512<T: Task>(task: T) {
        task.run::<One512>();
    }

    #[derive(Clone, Copy)]
    struct Two256(__m256, __m256);

    /// Applies one AVX intrinsic to both halves.
    macro_rules! both {
        ($op:ident, $a:expr, $b:expr) => {
            // SAFETY: `Two256` exists only below `run_avx2`, which has AVX2 enabled.
            unsafe { Two256($op($a.0, $b.0), $op($a.1, $b.1)) }
        };
    }

    impl Lanes for Two256 {
        #[inline(always)]
        fn splat(value: f32) -> Self {
            // SAFETY: `Two256` exists only below `run_avx2`, which has AVX2 enabled.
            let half = unsafe { _mm256_set1_ps(value) };
            Self(half, half)
        }
        #[inline(always)]
        fn load(values: &[f32; LANES]) -> Self {
            let at = values.as_ptr();
            // SAFETY: AVX2 as above; both loads of 8 lie in the array of 16.
            unsafe { Self(_mm256_loadu_ps(at), _mm256_loadu_ps(at.add(8))) }
        }
        #[inline(always)]
        fn store(self) -> [f32; LANES] {
            let mut out = [0.0; LANES];
            let at = out.as_mut_ptr();
            // SAFETY: AVX2 as above; both stores of 8 lie in the array of 16.
            unsafe {
                _mm256_storeu_ps(at, self.0);
                _mm256_storeu_ps(at.add(8), self.1);
            }
            out
        }
        #[inline(always)]
        fn add(self, other: Self) -> Self {
            both!(_mm256_add_ps, self, other)
        }
        #[inline(always)]
        fn sub(self, other: Self) -> Self {
            both!(_mm256_sub_ps, self, other)
        }
        #[inline(always)]
        fn mul(self, other: Self) -> Self {
            both!(_mm256_mul_ps, self, other)
        }
        #[inline(always)]
        fn div(self, other: Self) -> Self {
            both!(_mm256_div_ps, self, other)
        }
        #[inline(always)]
        fn min(self, other: Self) -> Self {
            both!(_mm256_min_ps, self, other)
        }
        #[inline(always)]
        fn max(self, other: Self) -> Self {
            both!(_mm256_max_ps, self, other)
        }
        #[inline(always)]
        fn select_lt(a: Self, b: Self, yes: Self, no: Self) -> Self {
            // SAFETY: `Two256` exists only below `run_avx2`, which has AVX2 enabled.
            unsafe {
                let low = _mm256_cmp_ps::<_CMP_LT_OQ>(a.0, b.0);
                let high = _mm256_cmp_ps::<_CMP_LT_OQ>(a.1, b.1);
                Self(_mm256_blendv_ps(no.0, yes.0, low), _mm256_blendv_ps(no.1, yes.1, high))
            }
        }
    }

    #[derive(Clone, Copy)]
    struct One512(__m512);

    /// Applies one AVX-512 intrinsic.
    macro_rules! one {
        ($op:ident, $($a:expr),+) => {
            // SAFETY: `One512` exists only below `run_avx512`, which has AVX-512 F enabled.
            unsafe { One512($op($($a),+)) }
        };
    }

    impl Lanes for One512 {
        #[inline(always)]
        fn splat(value: f32) -> Self {
            one!(_mm512_set1_ps, value)
        }
        #[inline(always)]
        fn load(values: &[f32; LANES]) -> Self {
            // SAFETY: AVX-512 as above; the array holds 16 values.
            unsafe { Self(_mm512_loadu_ps(values.as_ptr())) }
        }
        #[inline(always)]
        fn store(self) -> [f32; LANES] {
            let mut out = [0.0; LANES];
            // SAFETY: AVX-512 as above; the array holds 16 values.
            unsafe { _mm512_storeu_ps(out.as_mut_ptr(), self.0) };
            out
        }
        #[inline(always)]
        fn add(self, other: Self) -> Self {
            one!(_mm512_add_ps, self.0, other.0)
        }
        #[inline(always)]
        fn sub(self, other: Self) -> Self {
            one!(_mm512_sub_ps, self.0, other.0)
        }
        #[inline(always)]
        fn mul(self, other: Self) -> Self {
            one!(_mm512_mul_ps, self.0, other.0)
        }
        #[inline(always)]
        fn div(self, other: Self) -> Self {
            one!(_mm512_div_ps, self.0, other.0)
        }
        #[inline(always)]
        fn min(self, other: Self) -> Self {
            one!(_mm512_min_ps, self.0, other.0)
        }
        #[inline(always)]
        fn max(self, other: Self) -> Self {
            one!(_mm512_max_ps, self.0, other.0)
        }
        #[inline(always)]
        fn select_lt(a: Self, b: Self, yes: Self, no: Self) -> Self {
            // SAFETY: `One512` exists only below `run_avx512`, which has AVX-512 F enabled.
            unsafe {
                let mask = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(a.0, b.0);
                Self(_mm512_mask_blend_ps(mask, no.0, yes.0))
            }
        }
    }
}
