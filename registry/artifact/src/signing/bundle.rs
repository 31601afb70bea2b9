//! Sigstore bundles, version 0.3: an envelope with what is needed to verify it. Here that is a key which the verifier
//! has: certificates and transparency logs are of no use without a network, and are not looked at.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use mdl_formats::digest::unhex;
use mdl_store::Digest;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    dsse::Envelope,
    statement::{MODEL_SIGNATURE, Statement},
};
use crate::{
    Error, Limits, Result,
    keys::{PrivateKey, PublicKey},
    media,
};

/// A bundle that was read. What it says is not believed before [`Bundle::verify`].
#[derive(Debug, Clone)]
pub struct Bundle {
    bytes: Vec<u8>,
    envelope: Envelope,
    payload: Vec<u8>,
    statement: Statement,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    media_type: String,
    verification_material: Value,
    dsse_envelope: Option<Envelope>,
}

impl Bundle {
    /// Reads a bundle: version 0.3, or 0.1 and 0.2, which have the same parts for us.
    ///
    /// # Errors
    /// [`Error::Signature`] for what is none, or holds no in-toto statement.
    pub fn read(bytes: &[u8]) -> Result<Self> {
        let limit = Limits::default().document_bytes;
        if bytes.len() > limit {
            let what = format!("it has {} bytes, more than the limit of {limit}", bytes.len());
            return Err(Error::Signature(what));
        }
        let document: Document = serde_json::from_slice(bytes)
            .map_err(|error| Error::Signature(format!("it is no Sigstore bundle: {error}")))?;
        if !document.media_type.starts_with(media::BUNDLE_PREFIX) {
            return Err(Error::Signature("it is no Sigstore bundle".to_owned()));
        }
        let envelope = document
            .dsse_envelope
            .ok_or_else(|| Error::Signature("its bundle holds no DSSE envelope".to_owned()))?;
        let payload = envelope.payload()?;
        let statement = Statement::read(&payload)?;
        Ok(Self { bytes: bytes.to_vec(), envelope, payload, statement })
    }

    /// Whether a bundle is one that any of these keys signed: nothing else of it is read, so that one of a stranger's costs
    /// little more than its bytes.
    pub fn is_signed_by(bytes: &[u8], keys: &[&PublicKey]) -> bool {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Signed {
            dsse_envelope: Envelope,
        }
        let Ok(signed) = serde_json::from_slice::<Signed>(bytes) else { return false };
        let payload = signed.dsse_envelope.payload();
        payload
            .is_ok_and(|payload| keys.iter().any(|key| signed.dsse_envelope.is_by(&payload, key)))
    }

    /// As it was read.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Signs a statement; gives the bundle's bytes.
    ///
    /// # Errors
    /// [`Error::Key`].
    pub fn sign(statement: &Statement, key: &PrivateKey) -> Result<Vec<u8>> {
        let envelope = Envelope::sign(&statement.to_bytes()?, key)?;
        // Each of the two kinds of verifiers knows keys by a name of its own.
        let hint = if statement.predicate_type == MODEL_SIGNATURE {
            Digest::of(key.public().to_pem().as_bytes()).hex().to_owned()
        } else {
            STANDARD.encode(unhex(&key.public().fingerprint()))
        };
        let document = Document {
            media_type: media::BUNDLE.to_owned(),
            verification_material: json!({ "publicKey": { "hint": hint }, "tlogEntries": [] }),
            dsse_envelope: Some(envelope),
        };
        serde_json::to_vec(&document).map_err(|error| Error::Signature(error.to_string()))
    }

    /// Its statement, whether anybody signed it or not: to tell kinds apart and to show, not to believe.
    pub fn unverified(&self) -> &Statement {
        &self.statement
    }

    /// Its statement, if one of its signatures is this key's.
    pub fn verify(&self, key: &PublicKey) -> Option<&Statement> {
        self.envelope.is_by(&self.payload, key).then_some(&self.statement)
    }
}
