//! Attestations: what can be said of a package beyond that somebody signed it, each as the predicate of a statement.
//!
//! What is said is made from what the package holds and what refers to it, so that anybody may make it again and
//! compare. None of it holds a clock or a machine's name.

mod bom;
mod openness;
mod provenance;
mod report;
#[cfg(test)]
mod tests;

use mdl_store::{Descriptor, Digest, layout::Layout};
use serde::Deserialize;
use serde_json::Value;

use crate::{
    Evaluation, Limits, Origins, Package, Result, media,
    signing::{Statement, Subject},
    stored_document,
    trust::Attestation,
};

pub use openness::{Component, OpennessReport};
pub use provenance::source_of;

/// What attestations are made from.
#[derive(Debug, Clone)]
pub struct Material {
    /// What the package is called, without host and tag.
    pub name: String,
    /// Its tag.
    pub tag: Option<String>,
    /// Its manifest.
    pub manifest: Descriptor,
    /// What the manifest and its config say.
    pub package: Package,
    /// The recipe that refers to it.
    pub recipe: Option<String>,
    /// The evaluation report that refers to it, as `mdl eval --json` printed it.
    pub evaluation: Option<Vec<u8>>,
}

/// The head of a recipe, as far as attestations tell it.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct RecipeHead {
    #[serde(default)]
    pub(crate) mdl: String,
    #[serde(default)]
    pub(crate) scheme: String,
    pub(crate) imatrix: Option<RecipeFile>,
    #[serde(default)]
    pub(crate) source: Vec<RecipeFile>,
}

/// A file that a recipe names.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct RecipeFile {
    pub(crate) name: String,
    pub(crate) sha256: String,
}

impl Material {
    /// Of a package, with no documents so far.
    pub fn new(name: &str, tag: Option<String>, manifest: Descriptor, package: Package) -> Self {
        let name = name.to_owned();
        Self { name, tag, manifest, package, recipe: None, evaluation: None }
    }

    /// Takes up a document that refers to the package, by its type.
    pub fn add(&mut self, kind: Option<&str>, bytes: Vec<u8>) {
        match kind {
            Some(media::RECIPE) => self.recipe = String::from_utf8(bytes).ok(),
            Some(media::EVALUATION) => self.evaluation = Some(bytes),
            _ => {}
        }
    }

    /// Whether a referrer of that type is a document that is taken up.
    pub fn wants(kind: Option<&str>) -> bool {
        matches!(kind, Some(media::RECIPE | media::EVALUATION))
    }

    /// Of a package in a local store, with what refers to it.
    ///
    /// # Errors
    /// [`crate::Error::Store`].
    pub fn of_layout(
        layout: &Layout,
        manifest: &Descriptor,
        name: &str,
        tag: Option<String>,
    ) -> Result<Self> {
        let package = Package::of_layout(layout, manifest)?;
        let mut found = Self::new(name, tag, manifest.clone(), package);
        for referrer in layout.referrers(&manifest.digest)? {
            let kind = referrer.artifact_type.as_deref();
            if Self::wants(kind) {
                found.add(kind, stored_document(layout, &referrer.descriptor)?);
            }
        }
        Ok(found)
    }

    /// The figures of its evaluation: of the report, else of the manifest.
    pub fn figures(&self) -> Option<Evaluation> {
        let read = |bytes: &Vec<u8>| Evaluation::read(bytes, &Limits::default()).ok();
        let report = self.evaluation.as_ref().and_then(read);
        report.or_else(|| self.package.facts.evaluation.clone())
    }

    pub(crate) fn recipe_head(&self) -> Option<RecipeHead> {
        toml::from_str(self.recipe.as_deref()?).ok()
    }

    /// What can be said of that kind; `None` where there is nothing to say it from.
    pub fn predicate(&self, kind: Attestation, origins: Option<&Origins>) -> Option<Value> {
        match kind {
            Attestation::QuantizationReport => report::predicate(self),
            Attestation::Provenance => provenance::predicate(self, origins),
            Attestation::Bom => Some(self.bom()),
            Attestation::Openness => serde_json::to_value(self.openness()).ok(),
        }
    }

    /// The same as a statement about the package's manifest.
    pub fn statement(&self, kind: Attestation, origins: Option<&Origins>) -> Option<Statement> {
        let predicate = self.predicate(kind, origins)?;
        let subject = Subject { name: self.name.clone(), ..Subject::of(&self.manifest.digest) };
        Some(Statement::new(subject, kind.predicate_type(), predicate))
    }

    /// Its CycloneDX bill of materials.
    pub fn bom(&self) -> Value {
        bom::bom(self)
    }

    /// Which class of the Model Openness Framework it is of, as far as what it holds shows.
    pub fn openness(&self) -> OpennessReport {
        openness::report(self)
    }
}

/// A digest as in-toto and SLSA write it.
fn digest_set(digest: &Digest) -> Value {
    serde_json::json!({ digest.algorithm().name(): digest.hex() })
}
