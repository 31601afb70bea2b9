//! DSSE envelopes: a payload with its type, signed together (secure-systems-lab/dsse, protocol version 1).

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose::STANDARD},
};
use serde::{Deserialize, Serialize};

use crate::{
    Error, Result,
    keys::{PrivateKey, PublicKey},
};

/// The payload type of in-toto statements.
pub(super) const IN_TOTO: &str = "application/vnd.in-toto+json";

/// Signatures of one envelope that are looked at.
const SIGNATURES: usize = 64;

/// Both alphabets of base64 are written by somebody, with and without padding.
const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);
const PLAIN: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);

/// An envelope as it stands in a bundle.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Envelope {
    payload: String,
    payload_type: String,
    signatures: Vec<Signature>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Signature {
    sig: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    keyid: Option<String>,
}

impl Envelope {
    /// Signs an in-toto statement.
    pub(super) fn sign(payload: &[u8], key: &PrivateKey) -> Result<Self> {
        let sig = key.sign(&encoded(IN_TOTO, payload))?;
        Ok(Self {
            payload: STANDARD.encode(payload),
            payload_type: IN_TOTO.to_owned(),
            signatures: vec![Signature { sig: STANDARD.encode(sig), keyid: Some(String::new()) }],
        })
    }

    /// The payload, whoever signed it.
    pub(super) fn payload(&self) -> Result<Vec<u8>> {
        if self.payload_type != IN_TOTO {
            let shown: String = self.payload_type.chars().take(100).collect();
            return Err(Error::Signature(format!("its payload is {shown:?}, not in-toto's")));
        }
        decode(&self.payload)
    }

    /// Whether one of its signatures over this payload is the key's.
    pub(super) fn is_by(&self, payload: &[u8], key: &PublicKey) -> bool {
        let message = encoded(&self.payload_type, payload);
        self.signatures
            .iter()
            .take(SIGNATURES)
            .filter_map(|signature| decode(&signature.sig).ok())
            .any(|signature| key.verifies(&message, &signature))
    }
}

/// What is signed: `DSSEv1 <length of type> <type> <length of payload> <payload>`.
fn encoded(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut message =
        format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len()).into_bytes();
    message.extend_from_slice(payload);
    message
}

fn decode(text: &str) -> Result<Vec<u8>> {
    let engine = if text.contains(['-', '_']) { &URL_SAFE } else { &PLAIN };
    engine.decode(text).map_err(|_| Error::Signature("it holds broken base64".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_signed_is_as_the_protocol_has_it() {
        // The example of the protocol's text.
        let message = encoded("http://example.com/HelloWorld", b"hello world");
        assert_eq!(message, b"DSSEv1 29 http://example.com/HelloWorld 11 hello world");
    }

    #[test]
    fn base64_of_both_alphabets_is_read() {
        for text in ["+/+/", "-_-_", "+/8=", "-_8=", "+/8", "-_8"] {
            assert!(decode(text).is_ok(), "{text}");
        }
        assert!(decode("+_+_").is_err() && decode("a").is_err());
    }
}
