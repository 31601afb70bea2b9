//! The search for the types with mins: x̂ = d·s·q − dmin·t with q, s, t ≥ 0.
//!
//! 1. Each sub-block for itself finds a scale a and an offset b with real values: trial codes, and
//!    for each the least-squares a and b in closed form; then codes from a and b, and again.
//! 2. Several pairs of F16 d and dmin are tried. For each, every sub-block takes the best of some
//!    neighbouring (s, t), by the true error of what will be decoded.
//! 3. d and dmin are refitted to the codes by least squares, and step 2 is done around them.

use super::lanes::{LANES, Lanes};
use super::{Found, Search, group_extreme, group_sum, round_to_half};

/// How a type is searched.
pub(super) struct Spec<const N: usize> {
    /// The largest code.
    codes: f32,
    /// The largest integer scale and min.
    scales: f32,
    /// Sub-blocks in a super-block.
    group: usize,
    /// Trial codes round((x − min) · (codes + .0) / range + .1).
    trials: &'static [(f32, f32)],
    /// Trial d = max a / (scales + .0), dmin = max b / (scales + .1).
    supers: &'static [(f32, f32)],
    /// How often d and dmin are refitted.
    refits: usize,
}

pub(super) const Q2_K: Spec<16> = Spec {
    codes: 3.0,
    scales: 15.0,
    group: 16,
    trials: &[
        (0.0, 0.0),
        (-0.75, 0.0),
        (-0.5, 0.0),
        (-0.25, 0.0),
        (0.25, 0.0),
        (0.5, 0.0),
        (0.75, 0.0),
        (1.0, 0.0),
        (0.25, -0.25),
        (0.5, -0.25),
        (0.75, -0.5),
        (1.0, -0.5),
    ],
    supers: &[(0.0, 0.0), (-0.5, -0.5), (-1.0, 0.0), (0.0, -1.0), (1.0, 1.0), (2.0, 2.0)],
    refits: 3,
};

/// For `Q4_K` and `Q5_K`.
const TRIALS: &[(f32, f32)] = &[
    (0.0, 0.0),
    (-0.9, 0.0),
    (-0.6, 0.0),
    (-0.3, 0.0),
    (0.3, 0.0),
    (0.6, 0.0),
    (0.9, 0.0),
    (0.4, -0.4),
    (0.8, -0.4),
    (1.2, -0.6),
    (-0.4, 0.4),
    (1.5, 0.0),
];

const SUPERS: &[(f32, f32)] = &[(0.0, 0.0), (-1.0, -1.0), (-2.5, -2.0), (1.0, 1.0)];

pub(super) const Q4_K: Spec<32> =
    Spec { codes: 15.0, scales: 63.0, group: 8, trials: TRIALS, supers: SUPERS, refits: 2 };

pub(super) const Q5_K: Spec<32> =
    Spec { codes: 31.0, scales: 63.0, group: 8, trials: TRIALS, supers: SUPERS, refits: 2 };

/// The values of the sub-blocks, and what all trials need of them.
struct Data<'a, L, const N: usize> {
    x: &'a [L; N],
    w: &'a [L; N],
    /// x less its weighted mean: keeps the sums well-conditioned.
    centred: [L; N],
    mean: L,
    sum_w: L,
}

/// Weighted sums over one sub-block's codes q: Σwq, Σwq², Σwq(x − mean).
struct Sums<L> {
    q: L,
    qq: L,
    xq: L,
}

/// A sub-block's scale and offset, x̂ = a·q − b, and the mean code, from which b follows for
/// another a.
#[derive(Clone, Copy)]
struct Fit<L> {
    gain: L,
    a: L,
    b: L,
    mean_q: L,
}

/// The integers of each sub-block under its super-block's F16 scale and min, and their error.
#[derive(Clone, Copy)]
struct State<L> {
    error: L,
    d: L,
    dmin: L,
    s: L,
    t: L,
}

impl<const N: usize> Search<N> for Spec<N> {
    #[inline(always)]
    fn bias(&self) -> f32 {
        0.0
    }

    #[inline(always)]
    fn find<L: Lanes>(&self, x: &[L; N], w: &[L; N]) -> Found<N> {
        let data = Data::new(x, w);
        let fit = self.free_fit(&data);
        let (a, b) = (group_extreme(fit.a, self.group), group_extreme(fit.b, self.group));
        let zero = L::splat(0.0);
        let mut best =
            State { error: L::splat(f32::INFINITY), d: zero, dmin: zero, s: zero, t: zero };
        for (da, db) in self.supers {
            let d = a.div(L::splat(self.scales + da));
            let dmin = b.div(L::splat(self.scales + db));
            best = self.with_supers(&data, &fit, d, dmin, best);
        }
        for _ in 0..self.refits {
            let (d, dmin) = self.refit(&data, &best);
            best = self.with_supers(&data, &fit, d, dmin, best);
        }
        self.finish(&data, &best)
    }
}

impl<'a, L: Lanes, const N: usize> Data<'a, L, N> {
    #[inline(always)]
    fn new(x: &'a [L; N], w: &'a [L; N]) -> Self {
        let mut sum_w = L::splat(0.0);
        let mut sum_x = L::splat(0.0);
        for (x, w) in x.iter().zip(w) {
            sum_w = sum_w.add(*w);
            sum_x = sum_x.add(w.mul(*x));
        }
        let mean = sum_x.div(sum_w);
        let mut centred = *x;
        for x in &mut centred {
            *x = x.sub(mean);
        }
        Self { x, w, centred, mean, sum_w }
    }

    /// Sums over the codes clamp(round((x − mean) · inverse + shift)). 12 operations per 16 values.
    #[inline(always)]
    fn sums(&self, inverse: L, shift: L, codes: L) -> Sums<L> {
        let zero = L::splat(0.0);
        let mut sums = Sums { q: zero, qq: zero, xq: zero };
        for (x, w) in self.centred.iter().zip(self.w) {
            let q = x.mul(inverse).add(shift).clamp(zero, codes).round();
            let wq = w.mul(q);
            sums.q = sums.q.add(wq);
            sums.qq = sums.qq.add(wq.mul(q));
            sums.xq = sums.xq.add(wq.mul(*x));
        }
        sums
    }

    /// The true error of decoding with scale a and offset b. 12 operations per 16 values.
    #[inline(always)]
    fn error(&self, a: L, b: L, codes: L) -> L {
        let (zero, inverse) = (L::splat(0.0), a.recip_or_zero());
        let mut error = zero;
        for (x, w) in self.x.iter().zip(self.w) {
            let q = x.add(b).mul(inverse).clamp(zero, codes).round();
            let off = x.sub(a.mul(q).sub(b));
            error = error.add(w.mul(off.mul(off)));
        }
        error
    }

    /// The better of `best` and the least-squares scale and offset for codes with these sums.
    ///
    /// The gain is the squared error less than that of the constant b = −mean.
    #[inline(always)]
    fn fitted(&self, sums: &Sums<L>, best: Fit<L>) -> Fit<L> {
        let zero = L::splat(0.0);
        let mean_q = sums.q.div(self.sum_w);
        let variance = sums.qq.sub(sums.q.mul(mean_q));
        let a = sums.xq.div(variance);
        let b = a.mul(mean_q).sub(self.mean);
        let gain = a.mul(sums.xq);
        // b < 0 cannot be stored, and one code for all leaves a open: then b = 0.
        let xq = sums.xq.add(self.mean.mul(sums.q));
        let a0 = xq.mul(sums.qq.recip_or_zero());
        let gain0 = a0.mul(xq).sub(self.mean.mul(self.mean).mul(self.sum_w));
        let spread = variance.sub(sums.qq.mul(L::splat(1e-6)));
        let usable = L::select_lt(zero, spread, b, L::splat(-1.0));
        let pick = |free, bound| L::select_lt(usable, zero, bound, free);
        let (a, b, gain) = (pick(a, a0), pick(b, zero), pick(gain, gain0));
        let take = |new, old| L::select_lt(best.gain, gain, new, old);
        // A negative scale cannot be stored either.
        let take = |new, old| L::select_lt(zero, a, take(new, old), old);
        Fit {
            gain: take(gain, best.gain),
            a: take(a, best.a),
            b: take(b, best.b),
            mean_q: take(mean_q, best.mean_q),
        }
    }
}

impl<const N: usize> Spec<N> {
    /// Step 1: the best scale and offset of each sub-block by itself.
    #[inline(always)]
    fn free_fit<L: Lanes>(&self, data: &Data<'_, L, N>) -> Fit<L> {
        let zero = L::splat(0.0);
        let codes = L::splat(self.codes);
        let mut low = zero.sub(data.mean);
        for x in &data.centred {
            low = low.min(*x);
        }
        let mut high = low;
        for x in &data.centred {
            high = high.max(*x);
        }
        let step = high.sub(low).recip_or_zero();
        // To start with, the constant −b; the gain counts from the unbounded one.
        let b = zero.sub(data.mean).max(zero);
        let rest = data.mean.max(zero);
        let gain = zero.sub(rest.mul(rest).mul(data.sum_w));
        let mut fit = Fit { gain, a: zero, b, mean_q: zero };
        for (stretch, shift) in self.trials {
            let inverse = step.mul(L::splat(self.codes + stretch));
            let shift = L::splat(*shift).sub(low.mul(inverse));
            fit = data.fitted(&data.sums(inverse, shift, codes), fit);
        }
        for _ in 0..2 {
            let inverse = fit.a.recip_or_zero();
            let shift = fit.b.add(data.mean).mul(inverse);
            fit = data.fitted(&data.sums(inverse, shift, codes), fit);
        }
        fit
    }

    /// Step 2: the better, for each super-block, of `best` and the best integers under d and dmin.
    #[inline(always)]
    fn with_supers<L: Lanes>(
        &self,
        data: &Data<'_, L, N>,
        fit: &Fit<L>,
        d: L,
        dmin: L,
        best: State<L>,
    ) -> State<L> {
        let (zero, codes, scales) = (L::splat(0.0), L::splat(self.codes), L::splat(self.scales));
        let d = round_to_half(d, self.group);
        let dmin = round_to_half(dmin, self.group);
        let (per_d, per_dmin) = (d.recip_or_zero(), dmin.recip_or_zero());
        let nearest = fit.a.mul(per_d).clamp(zero, scales).round();
        let (mut error, mut best_s, mut best_t) = (L::splat(f32::INFINITY), zero, zero);
        for ds in [0.0, -1.0, 1.0] {
            let s = nearest.add(L::splat(ds)).clamp(zero, scales);
            let a = d.mul(s);
            let t = a.mul(fit.mean_q).sub(data.mean).mul(per_dmin).clamp(zero, scales);
            let below = t.sub(L::splat(0.5)).max(zero).round();
            for dt in [0.0, 1.0] {
                let t = below.add(L::splat(dt)).min(scales);
                let tried = data.error(a, dmin.mul(t), codes);
                best_s = L::select_lt(tried, error, s, best_s);
                best_t = L::select_lt(tried, error, t, best_t);
                error = tried.min(error);
            }
        }
        let error = group_sum(error, self.group);
        let take = |new, old| L::select_lt(error, best.error, new, old);
        State {
            error: take(error, best.error),
            d: take(d, best.d),
            dmin: take(dmin, best.dmin),
            s: take(best_s, best.s),
            t: take(best_t, best.t),
        }
    }

    /// Step 3: the least-squares d and dmin for the codes of `state`, unrounded.
    #[inline(always)]
    fn refit<L: Lanes>(&self, data: &Data<'_, L, N>, state: &State<L>) -> (L, L) {
        let zero = L::splat(0.0);
        let a = state.d.mul(state.s);
        let b = state.dmin.mul(state.t);
        let inverse = a.recip_or_zero();
        let shift = data.mean.add(b).mul(inverse);
        let sums = data.sums(inverse, shift, L::splat(self.codes));
        let (s, t) = (state.s, state.t);
        let xq = sums.xq.add(data.mean.mul(sums.q));
        let total = |v: L| group_sum(v, self.group);
        let ss = total(s.mul(s).mul(sums.qq));
        let st = total(s.mul(t).mul(sums.q));
        let tt = total(t.mul(t).mul(data.sum_w));
        let xs = total(s.mul(xq));
        let xt = total(t.mul(data.mean.mul(data.sum_w)));
        let det = ss.mul(tt).sub(st.mul(st));
        let d = xs.mul(tt).sub(st.mul(xt)).div(det);
        let dmin = xs.mul(st).sub(ss.mul(xt)).div(det);
        let sound = det.sub(ss.mul(tt).mul(L::splat(1e-6)));
        let sound = L::select_lt(zero, dmin, L::select_lt(zero, d, sound, zero), zero);
        // Without mins (or with codes all alike) only one of the two can be fitted.
        let alone = L::select_lt(zero, tt, state.d, xs.mul(ss.recip_or_zero()));
        (L::select_lt(zero, sound, d, alone), L::select_lt(zero, sound, dmin, state.dmin))
    }

    #[inline(always)]
    fn finish<L: Lanes>(&self, data: &Data<'_, L, N>, state: &State<L>) -> Found<N> {
        let (zero, limit) = (L::splat(0.0), L::splat(self.codes));
        let b = state.dmin.mul(state.t);
        let inverse = state.d.mul(state.s).recip_or_zero();
        let mut codes = [[0.0; LANES]; N];
        for (codes, x) in codes.iter_mut().zip(data.x) {
            *codes = x.add(b).mul(inverse).clamp(zero, limit).round().store();
        }
        Found {
            codes,
            scales: state.s.store(),
            mins: state.t.store(),
            d: state.d.store(),
            dmin: state.dmin.store(),
        }
    }
}
