//! The figures of an evaluation report that a package carries along.

use serde::{Deserialize, Serialize};

use crate::{Error, Limits, Result};

/// How good a model was found. The divergence's figures are there where it was compared with what it was made from.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Evaluation {
    /// Tokens in a chunk of text.
    pub context: u64,
    /// Chunks used.
    pub chunks: u64,
    /// Positions scored.
    pub tokens: u64,
    /// Perplexity.
    pub perplexity: f64,
    /// Its standard error.
    pub perplexity_error: f64,
    /// Perplexity of the model that it was made from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base_perplexity: Option<f64>,
    /// Perplexity over the base's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub perplexity_ratio: Option<f64>,
    /// KL divergence: mean, its error, median, percentiles, maximum.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub divergence: Option<Spread>,
    /// Share of positions whose most likely token is the base's, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub same_top: Option<f64>,
}

/// How the divergence is distributed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Spread {
    /// Mean.
    pub mean: f64,
    /// Its standard error.
    pub error: f64,
    /// Median.
    pub median: f64,
    /// 99th percentile.
    pub p99: f64,
    /// 99.9th percentile.
    pub p99_9: f64,
    /// Maximum.
    pub maximum: f64,
}

/// The report's shape, as far as it is read.
#[derive(Debug, Deserialize)]
struct Report {
    version: u64,
    context: u64,
    chunks: u64,
    tokens: u64,
    perplexity: Figure,
    divergence: Option<Divergence>,
}

#[derive(Debug, Deserialize)]
struct Figure {
    value: f64,
    error: f64,
}

#[derive(Debug, Deserialize)]
struct Divergence {
    perplexity_base: Figure,
    perplexity_ratio: Figure,
    kld: Kld,
    same_top: Figure,
}

#[derive(Debug, Deserialize)]
struct Kld {
    mean: Figure,
    median: f64,
    p99: f64,
    p99_9: f64,
    maximum: f64,
}

impl Evaluation {
    /// The figures of a report, as `mdl eval --json` prints it.
    ///
    /// # Errors
    /// [`Error::Report`].
    pub fn read(bytes: &[u8], limits: &Limits) -> Result<Self> {
        if bytes.len() > limits.document_bytes {
            let problem = format!("it has {} bytes, more than the limit", bytes.len());
            return Err(Error::Report(problem));
        }
        let report: Report =
            serde_json::from_slice(bytes).map_err(|error| Error::Report(error.to_string()))?;
        if report.version != 1 {
            return Err(Error::Report(format!("its version is {}, not 1", report.version)));
        }
        let divergence = report.divergence.as_ref();
        Ok(Self {
            context: report.context,
            chunks: report.chunks,
            tokens: report.tokens,
            perplexity: report.perplexity.value,
            perplexity_error: report.perplexity.error,
            base_perplexity: divergence.map(|it| it.perplexity_base.value),
            perplexity_ratio: divergence.map(|it| it.perplexity_ratio.value),
            divergence: divergence.map(|it| Spread {
                mean: it.kld.mean.value,
                error: it.kld.mean.error,
                median: it.kld.median,
                p99: it.kld.p99,
                p99_9: it.kld.p99_9,
                maximum: it.kld.maximum,
            }),
            same_top: divergence.map(|it| it.same_top.value),
        })
    }
}
