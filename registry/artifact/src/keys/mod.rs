//! Keys that sign and verify: ECDSA over P-256 (P-384 and P-521 are verified too) and Ed25519, as files on a disk.
//!
//! Public keys are PEM `PUBLIC KEY` (SPKI, RFC 5280); private ones are cosign's encrypted files ([`sealed`]) or plain
//! PKCS #8, so that keys made here and there work on both sides. The primitives are aws-lc's.

mod private;
mod sealed;
#[cfg(test)]
mod tests;

use std::fmt;

use aws_lc_rs::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use mdl_formats::digest::hex;
use spki::{ObjectIdentifier, SubjectPublicKeyInfoRef, der::Decode as _};

use crate::{Error, Result};

pub use private::PrivateKey;

/// Bytes of a key file; real ones have a few hundred.
pub const KEY_BYTES: u64 = 64 << 10;

/// What kind of key it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyType {
    /// ECDSA over P-256 with SHA-256.
    P256,
    /// ECDSA over P-384 with SHA-384: verified only.
    P384,
    /// ECDSA over P-521 with SHA-512: verified only.
    P521,
    /// Ed25519.
    Ed25519,
}

/// `id-ecPublicKey` (RFC 5480).
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
/// `id-Ed25519` (RFC 8410).
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
/// The curves of RFC 5480 that are used for signing.
const CURVES: [(ObjectIdentifier, KeyType); 3] = [
    (ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7"), KeyType::P256),
    (ObjectIdentifier::new_unwrap("1.3.132.0.34"), KeyType::P384),
    (ObjectIdentifier::new_unwrap("1.3.132.0.35"), KeyType::P521),
];

impl KeyType {
    /// As users write and read it.
    pub fn name(self) -> &'static str {
        match self {
            Self::P256 => "ecdsa-p256",
            Self::P384 => "ecdsa-p384",
            Self::P521 => "ecdsa-p521",
            Self::Ed25519 => "ed25519",
        }
    }

    fn algorithm(self) -> &'static dyn VerificationAlgorithm {
        match self {
            Self::P256 => &signature::ECDSA_P256_SHA256_ASN1,
            Self::P384 => &signature::ECDSA_P384_SHA384_ASN1,
            Self::P521 => &signature::ECDSA_P521_SHA512_ASN1,
            Self::Ed25519 => &signature::ED25519,
        }
    }
}

/// A key that signatures are verified by.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey {
    kind: KeyType,
    /// SubjectPublicKeyInfo in DER.
    spki: Vec<u8>,
    /// The point, or Ed25519's 32 bytes.
    raw: Vec<u8>,
}

impl PublicKey {
    /// Reads PEM; `what` names it in errors.
    ///
    /// # Errors
    /// [`Error::Key`] for a private key, for kinds that are not used here, and for what is no key.
    pub fn from_pem(text: &str, what: &str) -> Result<Self> {
        let parsed = pem::parse(text).map_err(|_| {
            Error::key(what, "it is no public key in PEM", "`mdl key public` prints one")
        })?;
        match parsed.tag() {
            "PUBLIC KEY" => Self::from_spki(parsed.contents(), what),
            tag if tag.contains("PRIVATE KEY") => Err(Error::key(
                what,
                "it is a private key, and a public one is asked for",
                "`mdl key public FILE` prints its public part",
            )),
            tag => {
                let tag: String = tag.chars().take(60).flat_map(char::escape_default).collect();
                Err(Error::key(what, format!("it holds `{tag}`, not a PUBLIC KEY"), ""))
            }
        }
    }

    /// Reads SubjectPublicKeyInfo in DER.
    ///
    /// # Errors
    /// As [`PublicKey::from_pem`].
    pub fn from_spki(der: &[u8], what: &str) -> Result<Self> {
        let broken = || Error::key(what, "its public key is broken", "");
        let info = SubjectPublicKeyInfoRef::from_der(der).map_err(|_| broken())?;
        let raw = info.subject_public_key.as_bytes().ok_or_else(broken)?.to_vec();
        let kind = if info.algorithm.oid == ED25519 {
            (raw.len() == 32).then_some(KeyType::Ed25519).ok_or_else(broken)?
        } else if info.algorithm.oid == EC {
            let curve = info.algorithm.parameters_oid().map_err(|_| broken())?;
            let known = CURVES.into_iter().find(|(oid, _)| *oid == curve);
            known.map(|(_, kind)| kind).ok_or_else(|| unusable(what))?
        } else {
            return Err(unusable(what));
        };
        Ok(Self { kind, spki: der.to_vec(), raw })
    }

    /// What kind of key it is.
    pub fn kind(&self) -> KeyType {
        self.kind
    }

    /// As PEM, in lines of 64 letters.
    pub fn to_pem(&self) -> String {
        private::pem_text("PUBLIC KEY", self.spki.clone())
    }

    /// SHA-256 of its DER form in hex: one name for one key, whatever its file looks like.
    pub fn fingerprint(&self) -> String {
        mdl_store::Digest::of(&self.spki).hex().to_owned()
    }

    /// The beginning of its fingerprint, as messages show it.
    pub fn short(&self) -> String {
        self.fingerprint().chars().take(16).collect()
    }

    /// Whether a signature over a message is this key's.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(self.kind.algorithm(), &self.raw).verify(message, signature).is_ok()
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({} {})", self.kind.name(), hex(self.spki.get(..8).unwrap_or_default()))
    }
}

fn unusable(what: &str) -> Error {
    Error::key(
        what,
        "it is of a kind that is not used here",
        "ECDSA over P-256, P-384 or P-521 and Ed25519 are",
    )
}
