//! Kinds of attestations, told by their predicate types, and classes of openness.

use serde::{Deserialize, Serialize};

/// What a signed statement may say of a package, besides that it is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Attestation {
    /// By which recipe it was quantized, and how good it was found.
    QuantizationReport,
    /// What it was made from, how and by what (SLSA).
    Provenance,
    /// What it is made of (CycloneDX).
    Bom,
    /// Which parts of it are open (Model Openness Framework).
    Openness,
}

impl Attestation {
    /// All kinds.
    pub const ALL: [Self; 4] =
        [Self::QuantizationReport, Self::Provenance, Self::Bom, Self::Openness];

    /// As policies and reports have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::QuantizationReport => "quantization-report",
            Self::Provenance => "provenance",
            Self::Bom => "bom",
            Self::Openness => "openness",
        }
    }

    /// The predicate type of its statements. Two are others' formats, two are ours.
    pub fn predicate_type(self) -> &'static str {
        match self {
            Self::QuantizationReport => "https://mdl.org/quantization-report/v1",
            Self::Provenance => "https://slsa.dev/provenance/v1",
            Self::Bom => "https://cyclonedx.org/bom",
            Self::Openness => "https://mdl.org/openness/v1",
        }
    }

    /// The kind with a predicate type.
    pub fn of_predicate_type(predicate_type: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.predicate_type() == predicate_type)
    }
}

/// A class of the Model Openness Framework; a better one is greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Openness {
    /// Open model: the model itself, with its cards and reports.
    #[serde(rename = "III")]
    Model,
    /// Open tooling: its code as well.
    #[serde(rename = "II")]
    Tooling,
    /// Open science: its data and papers as well.
    #[serde(rename = "I")]
    Science,
}

impl Openness {
    /// As the framework numbers it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Model => "III",
            Self::Tooling => "II",
            Self::Science => "I",
        }
    }
}
