//! The search for the types without mins: x̂ = d·s·q with q in −n..n and s signed.
//!
//! 1. Each sub-block for itself finds a real scale: trial codes, of both signs since −n reaches
//!    farther than n − 1, and the least-squares scale of each; then codes from it, and again.
//! 2. Several F16 d are tried. For each, every sub-block takes the best of three neighbouring s, by
//!    the true error of what will be decoded.
//! 3. d is refitted to the codes by least squares, and step 2 is done around it.

use super::lanes::{LANES, Lanes};
use super::{Found, Search, group_extreme, group_sum, round_to_half};

/// Values in a sub-block.
const SUB: usize = 16;

/// How a type is searched.
pub(super) struct Spec {
    /// Codes are −codes..codes.
    codes: f32,
    /// Integer scales are −scales..scales.
    scales: f32,
    /// Trial scales: the value of largest magnitude becomes this code, before rounding.
    trials: &'static [f32],
    /// Trial d: the scale of largest magnitude becomes this integer, before rounding.
    supers: &'static [f32],
    /// How often d is refitted.
    refits: usize,
}

pub(super) const Q3_K: Spec = Spec {
    codes: 4.0,
    scales: 32.0,
    trials: &[-4.0, -4.6, -4.3, -3.7, -3.4, -3.1, -5.0, 3.0, 2.7, 3.3, 3.7],
    supers: &[-32.0, -31.0, 31.0, -33.5],
    refits: 2,
};

/// Where all values count the same. There ggml searches less too: with these trials we are 2.9 times as fast as it,
/// with those of [`Q3_K`] 1.5 times, and the error is 0.1 % larger.
pub(super) const Q3_K_ALIKE: Spec = Spec {
    codes: 4.0,
    scales: 32.0,
    trials: &[-4.0, -4.6, -3.6, -3.2, 3.0, 3.4],
    supers: &[-32.0, 31.0],
    refits: 1,
};

pub(super) const Q6_K: Spec = Spec {
    codes: 32.0,
    scales: 128.0,
    trials: &[-32.0, -32.9, -32.6, -32.3, -31.7, -31.4, -31.1, 31.0, 30.7, 30.4, 30.1, 31.3, 31.6],
    supers: &[-128.0, -127.0],
    refits: 1,
};

struct Data<'a, L> {
    x: &'a [L; SUB],
    w: &'a [L; SUB],
    /// The smallest and the largest code.
    low: L,
    high: L,
}

/// A sub-block's real scale, x̂ = a·q.
#[derive(Clone, Copy)]
struct Fit<L> {
    gain: L,
    a: L,
}

/// The integer scales under each super-block's F16 scale, and their error.
#[derive(Clone, Copy)]
struct State<L> {
    error: L,
    d: L,
    s: L,
}

impl<L: Lanes> Data<'_, L> {
    #[inline(always)]
    fn code(&self, x: L, inverse: L) -> L {
        x.mul(inverse).clamp(self.low, self.high).round()
    }

    /// Σwq² and Σwqx over the codes that `inverse` gives. 10 operations per 16 values.
    #[inline(always)]
    fn sums(&self, inverse: L) -> (L, L) {
        let (mut qq, mut xq) = (L::splat(0.0), L::splat(0.0));
        for (x, w) in self.x.iter().zip(self.w) {
            let q = self.code(*x, inverse);
            let wq = w.mul(q);
            qq = qq.add(wq.mul(q));
            xq = xq.add(wq.mul(*x));
        }
        (qq, xq)
    }

    /// The true error of decoding with scale a. 10 operations per 16 values.
    #[inline(always)]
    fn error(&self, a: L) -> L {
        let inverse = a.recip_or_zero();
        let mut error = L::splat(0.0);
        for (x, w) in self.x.iter().zip(self.w) {
            let off = x.sub(a.mul(self.code(*x, inverse)));
            error = error.add(w.mul(off.mul(off)));
        }
        error
    }

    /// The better of `best` and the least-squares scale for the codes that `inverse` gives.
    #[inline(always)]
    fn fitted(&self, inverse: L, best: Fit<L>) -> Fit<L> {
        let (qq, xq) = self.sums(inverse);
        let a = xq.mul(qq.recip_or_zero());
        let gain = a.mul(xq);
        Fit {
            gain: L::select_lt(best.gain, gain, gain, best.gain),
            a: L::select_lt(best.gain, gain, a, best.a),
        }
    }
}

impl Search<SUB> for Spec {
    #[inline(always)]
    fn bias(&self) -> f32 {
        self.codes
    }

    #[inline(always)]
    fn find<L: Lanes>(&self, x: &[L; SUB], w: &[L; SUB]) -> Found<SUB> {
        let (low, high) = (L::splat(-self.codes), L::splat(self.codes - 1.0));
        let data = Data { x, w, low, high };
        let fit = self.free_fit(&data);
        let largest = group_extreme(fit.a, LANES);
        let zero = L::splat(0.0);
        let mut best = State { error: L::splat(f32::INFINITY), d: zero, s: zero };
        for target in self.supers {
            best = self.with_super(&data, &fit, largest.div(L::splat(*target)), best);
        }
        for _ in 0..self.refits {
            let (qq, xq) = data.sums(best.d.mul(best.s).recip_or_zero());
            let ss = group_sum(best.s.mul(best.s).mul(qq), LANES);
            let xs = group_sum(best.s.mul(xq), LANES);
            best = self.with_super(&data, &fit, xs.mul(ss.recip_or_zero()), best);
        }
        let inverse = best.d.mul(best.s).recip_or_zero();
        let mut codes = [[0.0; LANES]; SUB];
        for (codes, x) in codes.iter_mut().zip(x) {
            *codes = data.code(*x, inverse).store();
        }
        Found {
            codes,
            scales: best.s.store(),
            mins: [0.0; LANES],
            d: best.d.store(),
            dmin: [0.0; LANES],
        }
    }
}

impl Spec {
    /// Step 1: the best scale of each sub-block by itself.
    #[inline(always)]
    fn free_fit<L: Lanes>(&self, data: &Data<'_, L>) -> Fit<L> {
        let zero = L::splat(0.0);
        let mut extreme = zero;
        for x in data.x {
            extreme = L::select_lt(extreme.abs(), x.abs(), *x, extreme);
        }
        let step = extreme.recip_or_zero();
        let mut fit = Fit { gain: zero, a: zero };
        for target in self.trials {
            fit = data.fitted(step.mul(L::splat(*target)), fit);
        }
        for _ in 0..2 {
            fit = data.fitted(fit.a.recip_or_zero(), fit);
        }
        fit
    }

    /// Step 2: the better, for each super-block, of `best` and the best integers under d.
    #[inline(always)]
    fn with_super<L: Lanes>(
        &self,
        data: &Data<'_, L>,
        fit: &Fit<L>,
        d: L,
        best: State<L>,
    ) -> State<L> {
        let d = round_to_half(d, LANES);
        let (low, high) = (L::splat(-self.scales), L::splat(self.scales - 1.0));
        let nearest = fit.a.mul(d.recip_or_zero()).clamp(low, high).round();
        let (mut error, mut best_s) = (L::splat(f32::INFINITY), L::splat(0.0));
        for step in [0.0, -1.0, 1.0] {
            let s = nearest.add(L::splat(step)).clamp(low, high);
            let tried = data.error(d.mul(s));
            best_s = L::select_lt(tried, error, s, best_s);
            error = tried.min(error);
        }
        let error = group_sum(error, LANES);
        State {
            error: L::select_lt(error, best.error, error, best.error),
            d: L::select_lt(error, best.error, d, best.d),
            s: L::select_lt(error, best.error, best_s, best.s),
        }
    }
}
