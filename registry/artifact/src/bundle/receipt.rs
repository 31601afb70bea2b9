//! What comes back from a site: which models of which bundle it took in.

use mdl_store::Digest;
use serde::{Deserialize, Serialize};

use crate::{
    Result,
    keys::PrivateKey,
    signing::{Bundle, Statement, Subject},
};

/// Predicate type of a receipt.
pub const RECEIPT: &str = "https://mdl.org/receipt/v1";

/// What a site says of a bundle that it took in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// When, as RFC 3339 has it.
    pub imported: String,
    /// Where to: a registry, a folder, or `the local store`.
    pub to: String,
    /// The models, as they are called there.
    pub models: Vec<Received>,
}

/// A model that was taken in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Received {
    /// What it is called there.
    pub name: String,
    /// Of its manifest.
    pub digest: String,
    /// Whether a trust policy let it in.
    pub verified: bool,
    /// Fingerprints of the keys that vouch for it.
    pub signers: Vec<String>,
}

impl Receipt {
    /// As a statement about the bundle's index.
    ///
    /// # Errors
    /// [`crate::Error::Signature`], which does not happen.
    pub fn statement(&self, index: &Digest) -> Result<Statement> {
        let predicate = serde_json::to_value(self)
            .map_err(|error| crate::Error::Signature(error.to_string()))?;
        Ok(Statement::new(Subject::of(index), RECEIPT, predicate))
    }

    /// As the file that is carried back: a Sigstore bundle where there is a key, else the statement as it is.
    ///
    /// # Errors
    /// [`crate::Error::Key`].
    pub fn to_bytes(&self, index: &Digest, key: Option<&PrivateKey>) -> Result<Vec<u8>> {
        let statement = self.statement(index)?;
        match key {
            Some(key) => Bundle::sign(&statement, key),
            None => statement.to_bytes(),
        }
    }
}
