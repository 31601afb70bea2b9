//! Keys that sign.

use aws_lc_rs::{
    encoding::{AsDer as _, PublicKeyX509Der},
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _},
};

use super::{KeyType, PublicKey, sealed};
use crate::{Error, Result};

/// A key that signs. Its secret is wiped by aws-lc when it is dropped, and never printed.
pub struct PrivateKey {
    pair: Pair,
    public: PublicKey,
}

enum Pair {
    P256(Box<EcdsaKeyPair>),
    Ed25519(Box<Ed25519KeyPair>),
}

impl PrivateKey {
    /// A new key: P-256 or Ed25519.
    ///
    /// # Errors
    /// [`Error::Key`] for other kinds, and where the system gives no randomness.
    pub fn generate(kind: KeyType) -> Result<Self> {
        let failed = |_| Error::key("a new key", "the system gives no randomness", "");
        let pair = match kind {
            KeyType::P256 => EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING)
                .map(|pair| Pair::P256(Box::new(pair))),
            KeyType::Ed25519 => {
                Ed25519KeyPair::generate().map(|pair| Pair::Ed25519(Box::new(pair)))
            }
            KeyType::P384 | KeyType::P521 => {
                return Err(Error::key("a new key", "keys of this kind only verify here", ""));
            }
        };
        Self::of(pair.map_err(failed)?, "a new key")
    }

    /// Reads a key file: cosign's encrypted form, for which `passphrase` is asked, or plain PKCS #8 or SEC 1 in PEM.
    ///
    /// # Errors
    /// [`Error::Key`]: what is no key, of another kind, or does not open with this passphrase; what `passphrase` says.
    pub fn from_pem(
        text: &str,
        what: &str,
        passphrase: impl FnOnce() -> Result<Vec<u8>>,
    ) -> Result<Self> {
        let parsed = pem::parse(text).map_err(|_| {
            Error::key(what, "it is no private key in PEM", "`mdl key generate` makes one")
        })?;
        match parsed.tag() {
            "ENCRYPTED SIGSTORE PRIVATE KEY" | "ENCRYPTED COSIGN PRIVATE KEY" => {
                let der = sealed::open(parsed.contents(), &passphrase()?, what)?;
                Self::from_der(&der, what)
            }
            "PRIVATE KEY" | "EC PRIVATE KEY" => Self::from_der(parsed.contents(), what),
            "PUBLIC KEY" => Err(Error::key(
                what,
                "it is a public key, and a private one is asked for",
                "give the .key file",
            )),
            "ENCRYPTED PRIVATE KEY" => Err(Error::key(
                what,
                "PKCS #8 keys with a passphrase are not read",
                "decrypt it with `openssl pkcs8 -in FILE`, or make a key with `mdl key generate`",
            )),
            tag => {
                let tag: String = tag.chars().take(60).flat_map(char::escape_default).collect();
                Err(Error::key(what, format!("it holds `{tag}`, not a private key"), ""))
            }
        }
    }

    fn from_der(der: &[u8], what: &str) -> Result<Self> {
        let ecdsa = EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_ASN1_SIGNING, der);
        let pair = match ecdsa {
            Ok(pair) => Pair::P256(Box::new(pair)),
            Err(_) => match Ed25519KeyPair::from_pkcs8_maybe_unchecked(der) {
                Ok(pair) => Pair::Ed25519(Box::new(pair)),
                Err(_) => {
                    return Err(Error::key(
                        what,
                        "it is no private key that signs here",
                        "ECDSA over P-256 and Ed25519 do",
                    ));
                }
            },
        };
        Self::of(pair, what)
    }

    fn of(pair: Pair, what: &str) -> Result<Self> {
        let failed = |_| Error::key(what, "its public part cannot be told", "");
        let der: PublicKeyX509Der<'static> = match &pair {
            Pair::P256(pair) => pair.public_key().as_der().map_err(failed)?,
            Pair::Ed25519(pair) => pair.public_key().as_der().map_err(failed)?,
        };
        let public = PublicKey::from_spki(der.as_ref(), what)?;
        Ok(Self { pair, public })
    }

    /// Its public part.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Signs a message: ASN.1 of ECDSA with SHA-256, or Ed25519's 64 bytes.
    ///
    /// # Errors
    /// [`Error::Key`] where the system gives no randomness.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>> {
        match &self.pair {
            Pair::P256(pair) => pair
                .sign(&SystemRandom::new(), message)
                .map(|signature| signature.as_ref().to_vec())
                .map_err(|_| Error::key("the key", "the system gives no randomness", "")),
            Pair::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
        }
    }

    /// As a file of cosign's encrypted form.
    ///
    /// # Errors
    /// [`Error::Key`] where the system gives no randomness.
    pub fn to_sealed_pem(&self, passphrase: &[u8]) -> Result<String> {
        let failed = |_| Error::key("the key", "it cannot be written as PKCS #8", "");
        let der = match &self.pair {
            Pair::P256(pair) => pair.to_pkcs8v1(),
            Pair::Ed25519(pair) => pair.to_pkcs8v1(),
        };
        let sealed = sealed::seal(der.map_err(failed)?.as_ref(), passphrase)?;
        Ok(pem_text("ENCRYPTED SIGSTORE PRIVATE KEY", sealed))
    }
}

impl std::fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PrivateKey({:?})", self.public)
    }
}

/// PEM with `\n` at line ends, as OpenSSL and Go write it.
pub(super) fn pem_text(tag: &str, contents: Vec<u8>) -> String {
    let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    pem::encode_config(&pem::Pem::new(tag, contents), config)
}
