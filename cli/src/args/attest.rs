//! Arguments of the verbs about what can be said of a package: attest, sbom, openness, rebuild.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::{Reach, SigningKey};

/// Sign what can be said of a package, and attach it where the package is
///
/// A quantization report (recipe, evaluation with errors), provenance (SLSA v1: source digests, recipe, version), a bill
/// of materials (CycloneDX) and its openness (Model Openness Framework), each as a Sigstore bundle.
#[derive(Debug, Args)]
pub(crate) struct Attest {
    /// The package
    pub(crate) model: String,

    #[command(flatten)]
    pub(crate) key: SigningKey,

    /// Only this; may be given several times [default: all that there is something to say of]
    #[arg(long, value_name = "KIND", value_parser = ["quantization-report", "provenance", "bom", "openness"])]
    pub(crate) kind: Vec<String>,

    #[command(flatten)]
    pub(crate) reach: Reach,

    /// Print a report as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Print the bill of materials of a model (CycloneDX 1.6), or attach it
#[derive(Debug, Args)]
pub(crate) struct Sbom {
    /// A reference, or a file or folder
    #[arg(value_hint = ValueHint::AnyPath)]
    pub(crate) model: String,

    /// Attach it to the package, where that is
    #[arg(long)]
    pub(crate) attach: bool,

    /// Attach it signed as well, as `mdl attest --kind bom` does
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) key: Option<PathBuf>,

    /// File to write [default: standard output]
    #[arg(long, short, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) out: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) reach: Reach,
}

/// Tell which class of the Model Openness Framework a model is of, and what it lacks for the next
#[derive(Debug, Args)]
pub(crate) struct Openness {
    /// A reference, or a file or folder
    #[arg(value_hint = ValueHint::AnyPath)]
    pub(crate) model: String,

    /// Ask the local store, not the registry
    #[arg(long)]
    pub(crate) local: bool,

    #[command(flatten)]
    pub(crate) reach: Reach,

    /// Print a report as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Make a quantized model again from its source by its recipe, and compare
///
/// The source is found by the package's provenance or in the local store, or named by --source. Exit status 3: what was
/// made is not the same.
#[derive(Debug, Args)]
pub(crate) struct Rebuild {
    /// The package
    pub(crate) model: String,

    /// What it was made from: a file or folder, a reference, or hf://ORG/NAME[@REVISION]
    #[arg(long, value_name = "MODEL", value_hint = ValueHint::AnyPath)]
    pub(crate) source: Option<String>,

    /// The importance matrix that the recipe names
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) imatrix: Option<PathBuf>,

    /// Keep what was made in this file
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) keep: Option<PathBuf>,

    /// Ask the local store, not the registry
    #[arg(long)]
    pub(crate) local: bool,

    #[command(flatten)]
    pub(crate) reach: Reach,

    /// Print a report as JSON
    #[arg(long)]
    pub(crate) json: bool,
}
