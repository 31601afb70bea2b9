//! Sums over scored positions, and the figures with their standard errors.
//!
//! Errors are those of the mean over positions taken as independent, as llama-perplexity states them; figures made from
//! two means carry their covariance.

use super::report::{Divergence, Figure, Report, Spread};

/// Natural logarithm of Σ exp(x).
fn log_sum_exp(logits: &[f32]) -> f64 {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|x| f64::from((x - max).exp())).sum();
    f64::from(max) + sum.ln()
}

/// Negative log-probability of the target.
pub(super) fn nll(logits: &[f32], target: u32) -> f64 {
    let logit = logits.get(target as usize).copied().unwrap_or(f32::NEG_INFINITY);
    log_sum_exp(logits) - f64::from(logit)
}

/// What one position says about two models.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pair {
    nll: f64,
    nll_base: f64,
    kld: f64,
    same_top: bool,
}

impl Pair {
    /// Compares the logits of a model with those of its base.
    pub(super) fn of(ours: &[f32], base: &[f32], target: u32) -> Self {
        let (norm, norm_base) = (log_sum_exp(ours), log_sum_exp(base));
        let mut kld = 0.0;
        for (our, base) in ours.iter().zip(base) {
            let log_base = f64::from(*base) - norm_base;
            // Below this a probability adds less than 1e-13 over the largest vocabularies.
            if log_base > -44.0 {
                let probability = f64::from((log_base as f32).exp());
                kld += probability * (log_base - (f64::from(*our) - norm));
            }
        }
        let logit = |logits: &[f32]| {
            logits.get(target as usize).copied().map_or(f64::NEG_INFINITY, f64::from)
        };
        Self {
            nll: norm - logit(ours),
            nll_base: norm_base - logit(base),
            kld: kld.max(0.0),
            same_top: mdl_infer::greedy(ours) == mdl_infer::greedy(base),
        }
    }

    /// Difference in the target's probability.
    fn delta_p(&self) -> f64 {
        (-self.nll).exp() - (-self.nll_base).exp()
    }
}

/// Everything seen so far.
#[derive(Debug, Default)]
pub(super) struct Tally {
    nll: Vec<f64>,
    pairs: Vec<Pair>,
}

impl Tally {
    pub(super) fn single(&mut self, nll: f64) {
        self.nll.push(nll);
    }

    pub(super) fn pair(&mut self, pair: &Pair) {
        self.nll.push(pair.nll);
        self.pairs.push(*pair);
    }

    /// Perplexity so far.
    pub(super) fn perplexity(&self) -> f64 {
        (self.nll.iter().sum::<f64>() / self.nll.len() as f64).exp()
    }

    pub(super) fn report(&self, chunks: usize, context: usize) -> Report {
        let log = mean(&self.nll);
        Report {
            version: 1,
            context,
            chunks,
            tokens: self.nll.len(),
            perplexity: Figure { value: log.value.exp(), error: log.value.exp() * log.error },
            divergence: (!self.pairs.is_empty()).then(|| self.divergence(log)),
        }
    }

    fn divergence(&self, log: Figure) -> Divergence {
        let column = |pick: fn(&Pair) -> f64| self.pairs.iter().map(pick).collect::<Vec<f64>>();
        let base_nll = column(|pair| pair.nll_base);
        let log_base = mean(&base_nll);
        let covariance = covariance(&self.nll, &base_nll);
        let (ppl, ppl_base) = (log.value.exp(), log_base.value.exp());
        let ratio_error =
            (log.error.powi(2) + log_base.error.powi(2) - 2.0 * covariance).max(0.0).sqrt();
        let difference_error = (ppl * log.error).powi(2) + (ppl_base * log_base.error).powi(2)
            - 2.0 * ppl * ppl_base * covariance;
        let log_ratio = Figure { value: log.value - log_base.value, error: ratio_error };
        let kld = column(|pair| pair.kld);
        let delta = column(Pair::delta_p);
        let squared = mean(&delta.iter().map(|delta| delta * delta).collect::<Vec<_>>());
        let rms = squared.value.sqrt();
        let count = self.pairs.len() as f64;
        let same = self.pairs.iter().filter(|pair| pair.same_top).count() as f64 / count;
        Divergence {
            perplexity_base: Figure { value: ppl_base, error: ppl_base * log_base.error },
            perplexity_correlation: covariance / (log.error * log_base.error),
            log_perplexity_ratio: log_ratio,
            perplexity_ratio: Figure {
                value: log_ratio.value.exp(),
                error: log_ratio.value.exp() * ratio_error,
            },
            perplexity_difference: Figure {
                value: ppl - ppl_base,
                error: difference_error.max(0.0).sqrt(),
            },
            kld: spread(kld),
            delta_p: spread(delta),
            delta_p_rms: Figure {
                value: rms,
                error: if rms > 0.0 { 0.5 / rms * squared.error } else { 0.0 },
            },
            same_top: Figure {
                value: same,
                error: (same * (1.0 - same) / (count - 1.0).max(1.0)).sqrt(),
            },
        }
    }
}

fn mean(values: &[f64]) -> Figure {
    let count = values.len() as f64;
    let value = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|x| (x - value).powi(2)).sum::<f64>() / count;
    Figure { value, error: (variance / (count - 1.0).max(1.0)).sqrt() }
}

/// Covariance of two means.
fn covariance(a: &[f64], b: &[f64]) -> f64 {
    let count = a.len() as f64;
    let (mean_a, mean_b) = (mean(a).value, mean(b).value);
    let sum: f64 = a.iter().zip(b).map(|(a, b)| (a - mean_a) * (b - mean_b)).sum();
    sum / count / (count - 1.0).max(1.0)
}

fn spread(mut values: Vec<f64>) -> Spread {
    let mean = mean(&values);
    values.sort_by(f64::total_cmp);
    let at = |fraction: f64| percentile(&values, fraction);
    Spread {
        mean,
        minimum: at(0.0),
        p0_1: at(0.001),
        p1: at(0.01),
        p5: at(0.05),
        p10: at(0.1),
        p25: at(0.25),
        median: at(0.5),
        p75: at(0.75),
        p90: at(0.9),
        p95: at(0.95),
        p99: at(0.99),
        p99_9: at(0.999),
        maximum: at(1.0),
    }
}

/// Between two values of the sorted list, the point in between.
fn percentile(sorted: &[f64], fraction: f64) -> f64 {
    let place = fraction * (sorted.len().max(1) - 1) as f64;
    let at = |index: usize| sorted.get(index).or(sorted.last()).copied().unwrap_or(0.0);
    let low = place.floor() as usize;
    at(low) + (at(low + 1) - at(low)) * place.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_models_do_not_diverge() {
        let logits = [0.5, -1.0, 3.0, 2.0];
        let mut tally = Tally::default();
        for target in 0..4 {
            tally.pair(&Pair::of(&logits, &logits, target));
        }
        let divergence = tally.report(1, 8).divergence.unwrap();
        assert_eq!(divergence.kld.maximum, 0.0);
        assert_eq!(divergence.same_top.value, 1.0);
        assert!((divergence.perplexity_ratio.value - 1.0).abs() < 1e-12);
        assert!(divergence.perplexity_ratio.error < 1e-6);
    }

    #[test]
    fn divergence_is_that_of_the_formula() {
        // Probabilities 1/2, 1/2 against 3/4, 1/4.
        let base = [0.0, 0.0];
        let ours = [3.0_f32.ln(), 0.0];
        let pair = Pair::of(&ours, &base, 0);
        let expected = 0.5 * (0.5_f64 / 0.75).ln() + 0.5 * (0.5_f64 / 0.25).ln();
        assert!((pair.kld - expected).abs() < 1e-6);
        assert!((pair.delta_p() - 0.25).abs() < 1e-6);
        assert!((nll(&ours, 1) - 4.0_f64.ln()).abs() < 1e-6);
    }

    #[test]
    fn percentiles_lie_between_values() {
        let values = [1.0, 2.0, 3.0, 4.0, 5.0];
        assert_eq!(percentile(&values, 0.5), 3.0);
        assert_eq!(percentile(&values, 0.125), 1.5);
        assert_eq!(percentile(&values, 1.0), 5.0);
        assert_eq!(percentile(&[], 0.5), 0.0);
    }

    #[test]
    fn errors_are_those_of_the_mean() {
        let figure = mean(&[1.0, 2.0, 3.0, 4.0]);
        assert_eq!(figure.value, 2.5);
        // Variance 1.25 over 4, divided by 3.
        assert!((figure.error - (1.25_f64 / 3.0).sqrt()).abs() < 1e-12);
    }
}
