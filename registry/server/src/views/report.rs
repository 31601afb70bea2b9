//! Documents that refer to a model: how it was made, and how good it was found.
//!
//! To a registry they are JSON and TOML of a documented shape; of what it does not know it shows nothing.

use mdl_artifact::{
    media::{BUNDLE_PREFIX, EVALUATION, RECIPE},
    signing::{PREDICATE_TYPE, referrer_name},
};
use mdl_store::{Name, Reference, Referrer, Result, Store};
use serde::Deserialize;

use super::{derive, units::figure};

/// Bytes of a report that are read.
const REPORT_BYTES: usize = 4 << 20;

/// A measured figure with its standard error.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub(crate) struct Figure {
    pub(crate) value: f64,
    #[serde(default)]
    pub(crate) error: f64,
}

/// How a quantity is distributed over positions.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Spread {
    pub(crate) mean: Figure,
    minimum: f64,
    p1: f64,
    p5: f64,
    p10: f64,
    p25: f64,
    pub(crate) median: f64,
    p75: f64,
    p90: f64,
    p95: f64,
    pub(crate) p99: f64,
    p99_9: f64,
    maximum: f64,
}

/// How far a model's predictions are from the original's.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Divergence {
    pub(crate) perplexity_base: Figure,
    pub(crate) perplexity_ratio: Figure,
    pub(crate) kld: Spread,
    pub(crate) same_top: Figure,
}

/// What `mdl eval --json` found.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Report {
    pub(crate) context: u64,
    pub(crate) chunks: u64,
    pub(crate) tokens: u64,
    pub(crate) perplexity: Figure,
    #[serde(default)]
    pub(crate) divergence: Option<Divergence>,
}

impl Figure {
    /// With its error, where there is one.
    pub(crate) fn shown(self) -> String {
        if self.error > 0.0 {
            format!("{} ± {}", figure(self.value), figure(self.error))
        } else {
            figure(self.value)
        }
    }
}

impl Spread {
    /// Its percentiles, for a plot.
    pub(crate) fn points(&self) -> [(&'static str, f64); 12] {
        [
            ("min", self.minimum),
            ("1", self.p1),
            ("5", self.p5),
            ("10", self.p10),
            ("25", self.p25),
            ("50", self.median),
            ("75", self.p75),
            ("90", self.p90),
            ("95", self.p95),
            ("99", self.p99),
            ("99.9", self.p99_9),
            ("max", self.maximum),
        ]
    }
}

/// The evaluation report among a model's referrers.
pub(crate) fn evaluation(
    store: &dyn Store,
    repo: &Name,
    referrers: &[Referrer],
) -> Result<Option<Report>> {
    let document = document(store, repo, referrers, EVALUATION, REPORT_BYTES)?;
    Ok(document.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}

/// The recipe among a model's referrers, as text.
pub(crate) fn recipe(
    store: &dyn Store,
    repo: &Name,
    referrers: &[Referrer],
    limit: usize,
) -> Result<Option<String>> {
    let document = document(store, repo, referrers, RECIPE, limit)?;
    Ok(document.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

/// The first layer of the first referrer of a kind.
fn document(
    store: &dyn Store,
    repo: &Name,
    referrers: &[Referrer],
    kind: &str,
    limit: usize,
) -> Result<Option<Vec<u8>>> {
    let found = referrers.iter().find(|it| it.artifact_type.as_deref() == Some(kind));
    let Some(referrer) = found else { return Ok(None) };
    let reference = Reference::Digest(referrer.descriptor.digest.clone());
    let manifest = store.manifest(repo, &reference)?;
    let layer = derive::first_layer(&manifest);
    let Some(layer) = layer else { return Ok(None) };
    derive::beginning(store, repo, &layer, limit)
}

/// What a kind of referrer is called.
pub(crate) fn name_of(referrer: &Referrer) -> String {
    let predicate = referrer.annotations.get(PREDICATE_TYPE).map(String::as_str);
    match referrer.artifact_type.as_deref() {
        Some(EVALUATION) => "Evaluation report".to_owned(),
        Some(RECIPE) => "Quantization recipe".to_owned(),
        Some(kind) if kind.starts_with(BUNDLE_PREFIX) => {
            let mut name = referrer_name(Some(kind), predicate).to_owned();
            if let Some(first) = name.get_mut(..1) {
                first.make_ascii_uppercase();
            }
            name
        }
        Some("application/vnd.cyclonedx+json") => "Bill of materials (CycloneDX)".to_owned(),
        Some("application/spdx+json") => "Bill of materials (SPDX)".to_owned(),
        Some(other) => other.to_owned(),
        None => "unknown".to_owned(),
    }
}
