//! Gates: limits that a model must keep to be let through.

use serde::Serialize;

use super::Report;

/// Limits; those that are `None` are not looked at.
#[derive(Debug, Clone, Copy, Default)]
pub struct Gates {
    /// Mean divergence at most, in nats.
    pub max_kld: Option<f64>,
    /// Perplexity over the base's at most.
    pub max_ppl_ratio: Option<f64>,
    /// Share of same top tokens at least.
    pub min_top1: Option<f64>,
}

/// One gate's decision.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verdict {
    /// Which gate: the name of its flag.
    pub gate: &'static str,
    /// The limit.
    pub limit: f64,
    /// What was measured.
    pub found: f64,
    /// Whether the model may pass.
    pub passed: bool,
}

impl Gates {
    /// Every gate's decision on a report. A figure that is not a number passes no gate.
    pub fn decide(&self, report: &Report) -> Vec<Verdict> {
        let Some(divergence) = &report.divergence else { return Vec::new() };
        let at_most = |gate, limit: Option<f64>, found: f64| {
            limit.map(|limit| Verdict { gate, limit, found, passed: found <= limit })
        };
        let at_least = |gate, limit: Option<f64>, found: f64| {
            limit.map(|limit| Verdict { gate, limit, found, passed: found >= limit })
        };
        [
            at_most("max-kld", self.max_kld, divergence.kld.mean.value),
            at_most("max-ppl-ratio", self.max_ppl_ratio, divergence.perplexity_ratio.value),
            at_least("min-top1", self.min_top1, divergence.same_top.value),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}
