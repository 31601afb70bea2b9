//! What an evaluation found, in the shape that `--json` prints.

use serde::Serialize;

/// A measured figure with its standard error.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Figure {
    /// The value.
    pub value: f64,
    /// Its standard error.
    pub error: f64,
}

/// How a quantity is distributed over positions.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(missing_docs, reason = "percentiles are named by their number")]
pub struct Spread {
    pub mean: Figure,
    pub minimum: f64,
    pub p0_1: f64,
    pub p1: f64,
    pub p5: f64,
    pub p10: f64,
    pub p25: f64,
    pub median: f64,
    pub p75: f64,
    pub p90: f64,
    pub p95: f64,
    pub p99: f64,
    pub p99_9: f64,
    pub maximum: f64,
}

/// How far a model's predictions are from its base's.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Divergence {
    /// Perplexity of the base.
    pub perplexity_base: Figure,
    /// Correlation of the two models' log-perplexities over positions.
    pub perplexity_correlation: f64,
    /// Mean of ln(PPL / PPL of the base).
    pub log_perplexity_ratio: Figure,
    /// PPL / PPL of the base.
    pub perplexity_ratio: Figure,
    /// PPL − PPL of the base.
    pub perplexity_difference: Figure,
    /// Kullback-Leibler divergence from the base, in nats.
    pub kld: Spread,
    /// Change in the probability of the text's own next token.
    pub delta_p: Spread,
    /// Root of the mean square of that change.
    pub delta_p_rms: Figure,
    /// Share of positions where both find the same token most likely.
    pub same_top: Figure,
}

/// What an evaluation found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Version of this shape: 1.
    pub version: u32,
    /// Tokens in a chunk.
    pub context: usize,
    /// Chunks used.
    pub chunks: usize,
    /// Positions scored.
    pub tokens: usize,
    /// Perplexity.
    pub perplexity: Figure,
    /// Against the base, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub divergence: Option<Divergence>,
}
