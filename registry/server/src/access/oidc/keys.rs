//! An issuer's public keys, of a JSON Web Key Set. What cannot verify one of the algorithms that are taken is left out:
//! symmetric keys above all, which would let whoever knows a public key sign.

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

use crate::{Error, Result};

/// Bytes of a set.
pub(super) const BYTES: u64 = 1 << 20;
/// Keys of a set.
const MOST: usize = 100;
/// Bits of an RSA modulus.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// The algorithms that are taken, by name. None is symmetric, and `none` is none.
const RSA: [(&str, Algorithm); 6] = [
    ("RS256", Algorithm::RS256),
    ("RS384", Algorithm::RS384),
    ("RS512", Algorithm::RS512),
    ("PS256", Algorithm::PS256),
    ("PS384", Algorithm::PS384),
    ("PS512", Algorithm::PS512),
];
const P256: [(&str, Algorithm); 1] = [("ES256", Algorithm::ES256)];
const P384: [(&str, Algorithm); 1] = [("ES384", Algorithm::ES384)];
const ED25519: [(&str, Algorithm); 1] = [("EdDSA", Algorithm::EdDSA)];

/// The keys that can be used.
#[derive(Debug, Default)]
pub(super) struct Keys(Vec<Key>);

/// A key that can be used.
#[derive(Debug)]
struct Key {
    identifier: Option<String>,
    /// What it may verify.
    algorithms: Vec<(&'static str, Algorithm)>,
    with: DecodingKey,
}

/// Which key a token is to be verified with.
pub(super) enum Found<'a> {
    Key(&'a DecodingKey, Algorithm),
    /// None of that name; there may be one by now.
    Unknown,
    /// The one of that name is not for that algorithm, or several are.
    Unfit,
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<Value>,
}

/// A key as it is written. What else stands in it, certificates and their addresses too, is not looked at.
#[derive(Deserialize)]
struct Written {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
}

impl Keys {
    /// Reads a set.
    ///
    /// # Errors
    /// In words, where it is none or has no key that can be used.
    pub(super) fn read(text: &[u8]) -> std::result::Result<Self, String> {
        if text.len() as u64 > BYTES {
            return Err(format!("it has more than {BYTES} bytes"));
        }
        let set: Set = serde_json::from_slice(text)
            .map_err(|error| format!("it is no JSON Web Key Set: {error}"))?;
        if set.keys.len() > MOST {
            return Err(format!("it has {} keys: {MOST} at most are taken", set.keys.len()));
        }
        let keys: Vec<Key> = set.keys.into_iter().filter_map(Key::read).collect();
        if keys.is_empty() {
            return Err(
                "it has no key that could verify a token: RSA of 2048 to 8192 bits, P-256, \
                        P-384 or Ed25519, for signatures"
                    .to_owned(),
            );
        }
        Ok(Self(keys))
    }

    /// Reads those of a file.
    ///
    /// # Errors
    /// [`Error::Config`], [`Error::Io`].
    pub(super) fn of_file(path: &Path) -> Result<Self> {
        let mut text = Vec::new();
        let read = File::open(path).and_then(|file| {
            // A pipe or device might never end.
            if !file.metadata()?.is_file() {
                return Err(io::Error::other("it is no file"));
            }
            file.take(BYTES + 1).read_to_end(&mut text)
        });
        read.map_err(|source| Error::Io { what: "read", path: path.to_owned(), source })?;
        Self::read(&text).map_err(|what| Error::Config { path: path.to_owned(), what })
    }

    /// The key for a token that names it, or names none, and its algorithm.
    pub(super) fn find(&self, identifier: Option<&str>, algorithm: &str) -> Found<'_> {
        let named = |key: &&Key| identifier.is_none() || key.identifier.as_deref() == identifier;
        let known = self.0.iter().any(|key| named(&key));
        let mut fit = self.0.iter().filter(named).filter_map(|key| {
            let found = key.algorithms.iter().find(|(name, _)| *name == algorithm);
            found.map(|(_, algorithm)| (&key.with, *algorithm))
        });
        match (fit.next(), fit.next()) {
            (Some((key, algorithm)), None) => Found::Key(key, algorithm),
            (None, _) if identifier.is_none() || !known => Found::Unknown,
            _ => Found::Unfit,
        }
    }
}

impl Key {
    /// The key, if it can be used.
    fn read(value: Value) -> Option<Self> {
        let written: Written = serde_json::from_value(value).ok()?;
        if written.purpose.as_ref().is_some_and(|purpose| purpose != "sig") {
            return None;
        }
        if written.key_ops.as_ref().is_some_and(|all| all.iter().all(|it| it != "verify")) {
            return None;
        }
        let (all, with): (&[_], _) = match (written.kty.as_str(), written.crv.as_deref()) {
            ("RSA", _) => (&RSA, rsa(&written)?),
            ("EC", Some("P-256")) => (&P256, point(&written, 32)?),
            ("EC", Some("P-384")) => (&P384, point(&written, 48)?),
            ("OKP", Some("Ed25519")) => {
                (&ED25519, DecodingKey::from_ed_der(&decoded(written.x.as_ref()?, 32)?))
            }
            _ => return None,
        };
        let may = |name: &str| written.alg.as_ref().is_none_or(|alg| alg == name);
        let algorithms: Vec<_> = all.iter().filter(|(name, _)| may(name)).copied().collect();
        (!algorithms.is_empty()).then_some(Self { identifier: written.kid, algorithms, with })
    }
}

fn rsa(written: &Written) -> Option<DecodingKey> {
    let bytes = |text: &Option<String>| {
        let bytes = URL_SAFE_NO_PAD.decode(text.as_ref()?).ok()?;
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        bytes.get(zeros..).map(<[u8]>::to_vec)
    };
    let (n, e) = (bytes(&written.n)?, bytes(&written.e)?);
    let bits = (n.len() * 8).checked_sub(n.first()?.leading_zeros() as usize)?;
    // With 1 as its exponent every message would be its own signature.
    let exponent = e
        .iter()
        .try_fold(0_u64, |sum, byte| sum.checked_mul(256).map(|sum| sum + u64::from(*byte)))?;
    let sound = RSA_BITS.contains(&bits) && exponent >= 3 && exponent % 2 == 1;
    sound.then(|| DecodingKey::from_rsa_raw_components(&n, &e))
}

fn point(written: &Written, bytes: usize) -> Option<DecodingKey> {
    let (x, y) = (decoded(written.x.as_ref()?, bytes)?, decoded(written.y.as_ref()?, bytes)?);
    Some(DecodingKey::from_ec_der(&[&[4], &x[..], &y[..]].concat()))
}

/// Bytes of that number.
fn decoded(text: &str, bytes: usize) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok().filter(|decoded| decoded.len() == bytes)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn modulus(bytes: usize) -> String {
        URL_SAFE_NO_PAD.encode(vec![0xc5; bytes])
    }

    fn words(bytes: usize) -> String {
        URL_SAFE_NO_PAD.encode(vec![7; bytes])
    }

    fn found(keys: &Keys, identifier: Option<&str>, algorithm: &str) -> &'static str {
        match keys.find(identifier, algorithm) {
            Found::Key(..) => "key",
            Found::Unknown => "unknown",
            Found::Unfit => "unfit",
        }
    }

    #[test]
    fn only_keys_that_can_verify_are_kept() {
        for (key, usable) in [
            (json!({ "kty": "RSA", "n": modulus(256), "e": "AQAB" }), true),
            (json!({ "kty": "RSA", "n": modulus(256), "e": "AQAB", "x5u": "https://evil" }), true),
            (json!({ "kty": "RSA", "n": modulus(256), "e": "AQAB", "alg": "PS384" }), true),
            (json!({ "kty": "RSA", "n": modulus(256), "e": "AQAB", "alg": "RSA-OAEP" }), false),
            (json!({ "kty": "RSA", "n": modulus(256), "e": "AQAB", "alg": "HS256" }), false),
            (json!({ "kty": "RSA", "n": modulus(256), "e": "AQAB", "alg": "none" }), false),
            (json!({ "kty": "RSA", "n": modulus(256), "e": "AQAB", "use": "enc" }), false),
            (json!({ "kty": "RSA", "n": modulus(256), "e": "AQAB", "key_ops": ["sign"] }), false),
            (json!({ "kty": "RSA", "n": modulus(256), "e": "AQAB", "key_ops": ["verify"] }), true),
            (json!({ "kty": "RSA", "n": modulus(256), "e": "AQ" }), false),
            (json!({ "kty": "RSA", "n": modulus(256), "e": "Ag" }), false),
            (json!({ "kty": "RSA", "n": modulus(256) }), false),
            (json!({ "kty": "RSA", "n": modulus(128), "e": "AQAB" }), false),
            (json!({ "kty": "RSA", "n": modulus(2000), "e": "AQAB" }), false),
            (json!({ "kty": "RSA", "n": "", "e": "AQAB" }), false),
            (json!({ "kty": "RSA", "n": "!", "e": "AQAB" }), false),
            (json!({ "kty": "EC", "crv": "P-256", "x": words(32), "y": words(32) }), true),
            (json!({ "kty": "EC", "crv": "P-384", "x": words(48), "y": words(48) }), true),
            (json!({ "kty": "EC", "crv": "P-256", "x": words(48), "y": words(48) }), false),
            (
                json!({ "kty": "EC", "crv": "P-256", "x": words(32), "y": words(32), "alg": "ES384" }),
                false,
            ),
            (json!({ "kty": "EC", "crv": "secp256k1", "x": words(32), "y": words(32) }), false),
            (json!({ "kty": "OKP", "crv": "Ed25519", "x": words(32) }), true),
            (json!({ "kty": "OKP", "crv": "Ed25519", "x": words(31) }), false),
            (json!({ "kty": "oct", "k": words(32), "alg": "HS256" }), false),
            (json!({ "kty": "oct", "k": words(32), "n": modulus(256), "e": "AQAB" }), false),
            (json!({ "kty": 1 }), false),
            (json!("RSA"), false),
        ] {
            let text = json!({ "keys": [key] }).to_string();
            assert_eq!(Keys::read(text.as_bytes()).is_ok(), usable, "{text}");
        }
    }

    #[test]
    fn sets_are_bounded() {
        let one = json!({ "kty": "OKP", "crv": "Ed25519", "x": words(32) });
        let set = |count: usize| json!({ "keys": vec![one.clone(); count] }).to_string();
        assert!(Keys::read(set(MOST).as_bytes()).is_ok());
        assert!(Keys::read(set(MOST + 1).as_bytes()).unwrap_err().contains("at most"));
        let large = " ".repeat(BYTES as usize) + &set(1);
        assert!(Keys::read(large.as_bytes()).unwrap_err().contains("bytes"));
        for text in ["", "[]", "{}", "{\"keys\":{}}", "{\"keys\":[]}", "<html>"] {
            assert!(Keys::read(text.as_bytes()).is_err(), "{text}");
        }
        assert!(Keys::read("[".repeat(100_000).as_bytes()).is_err());
    }

    #[test]
    fn a_key_is_found_by_its_name_and_for_its_algorithm() {
        let text = json!({ "keys": [
            { "kty": "RSA", "n": modulus(256), "e": "AQAB", "kid": "r" },
            { "kty": "RSA", "n": modulus(256), "e": "AQAB", "kid": "s", "alg": "RS256" },
            { "kty": "EC", "crv": "P-256", "x": words(32), "y": words(32), "kid": "e" },
            { "kty": "EC", "crv": "P-256", "x": words(32), "y": words(32), "kid": "twice" },
            { "kty": "EC", "crv": "P-256", "x": words(32), "y": words(32), "kid": "twice" },
            { "kty": "EC", "crv": "P-384", "x": words(48), "y": words(48) },
        ] });
        let keys = Keys::read(text.to_string().as_bytes()).unwrap();
        for (identifier, algorithm, expected) in [
            (Some("r"), "RS256", "key"),
            (Some("r"), "PS512", "key"),
            (Some("r"), "ES256", "unfit"),
            (Some("r"), "HS256", "unfit"),
            (Some("r"), "none", "unfit"),
            (Some("r"), "rs256", "unfit"),
            (Some("s"), "RS256", "key"),
            (Some("s"), "PS256", "unfit"),
            (Some("e"), "ES256", "key"),
            (Some("e"), "ES384", "unfit"),
            (Some("twice"), "ES256", "unfit"),
            (Some("x"), "ES256", "unknown"),
            (Some(""), "ES384", "unknown"),
            (None, "ES384", "key"),
            (None, "RS256", "unfit"),
            (None, "PS256", "key"),
            (None, "HS256", "unknown"),
        ] {
            assert_eq!(found(&keys, identifier, algorithm), expected, "{identifier:?} {algorithm}");
        }
    }
}
