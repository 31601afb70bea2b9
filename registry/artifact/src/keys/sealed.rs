//! cosign's encrypted key files: JSON that names scrypt's parameters and holds a NaCl secretbox over PKCS #8.
//!
//! `{"kdf":{"name":"scrypt","params":{"N":65536,"r":8,"p":1},"salt":…},"cipher":{"name":"nacl/secretbox","nonce":…},
//! "ciphertext":…}`, binary values in base64 (go-securesystemslib's `encrypted` package, as cosign 3.1.3 writes it).

use aws_lc_rs::rand;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use crypto_secretbox::{Key, KeyInit as _, Nonce, XSalsa20Poly1305, aead::Aead as _};
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

#[derive(Serialize, Deserialize)]
struct Sealed {
    kdf: Kdf,
    cipher: Cipher,
    ciphertext: String,
}

#[derive(Serialize, Deserialize)]
struct Kdf {
    name: String,
    params: Params,
    salt: String,
}

#[derive(Serialize, Deserialize)]
struct Params {
    #[serde(rename = "N")]
    n: u64,
    r: u32,
    p: u32,
}

#[derive(Serialize, Deserialize)]
struct Cipher {
    name: String,
    nonce: String,
}

/// log2 of scrypt's N, as cosign writes it; 128 N r bytes, 64 MiB, are worked on.
const LOG_N: u8 = 16;
/// log2 of the largest N that is opened: a file must not ask for more than 1 GiB with r = 8.
const LOG_N_MOST: u32 = 20;
const R: u32 = 8;
const P: u32 = 1;

/// Encrypts a private key.
pub(super) fn seal(der: &[u8], passphrase: &[u8]) -> Result<Vec<u8>> {
    let (mut salt, mut nonce) = ([0; 32], [0; 24]);
    let failed = || Error::key("the key", "it cannot be encrypted", "");
    rand::fill(&mut salt).map_err(|_| failed())?;
    rand::fill(&mut nonce).map_err(|_| failed())?;
    let cipher = cipher(passphrase, &salt, LOG_N, R, P).ok_or_else(failed)?;
    let ciphertext = cipher.encrypt(&Nonce::from(nonce), der).map_err(|_| failed())?;
    let sealed = Sealed {
        kdf: Kdf {
            name: "scrypt".to_owned(),
            params: Params { n: 1 << LOG_N, r: R, p: P },
            salt: STANDARD.encode(salt),
        },
        cipher: Cipher { name: "nacl/secretbox".to_owned(), nonce: STANDARD.encode(nonce) },
        ciphertext: STANDARD.encode(ciphertext),
    };
    serde_json::to_vec(&sealed).map_err(|_| failed())
}

/// Decrypts a private key; `what` names it in errors.
pub(super) fn open(json: &[u8], passphrase: &[u8], what: &str) -> Result<Vec<u8>> {
    let broken = |problem: &str| Error::key(what, format!("its encryption {problem}"), "");
    let sealed: Sealed = serde_json::from_slice(json).map_err(|_| broken("is broken"))?;
    if sealed.kdf.name != "scrypt" || sealed.cipher.name != "nacl/secretbox" {
        return Err(broken("is of an unknown kind"));
    }
    let Params { n, r, p } = sealed.kdf.params;
    let sound = n.is_power_of_two()
        && (1..=LOG_N_MOST).contains(&n.trailing_zeros())
        && (1..=R).contains(&r)
        && (1..=4).contains(&p);
    if !sound {
        return Err(broken("asks for too much or too little work"));
    }
    let decode = |text: &str| STANDARD.decode(text).map_err(|_| broken("is broken"));
    let (salt, nonce) = (decode(&sealed.kdf.salt)?, decode(&sealed.cipher.nonce)?);
    let nonce: [u8; 24] = nonce.try_into().map_err(|_| broken("is broken"))?;
    let log_n = n.trailing_zeros() as u8;
    let cipher = cipher(passphrase, &salt, log_n, r, p).ok_or_else(|| broken("is broken"))?;
    cipher.decrypt(&Nonce::from(nonce), &*decode(&sealed.ciphertext)?).map_err(|_| {
        Error::key(
            what,
            "it does not open with this passphrase",
            "MDL_KEY_PASSPHRASE holds it, or it is asked for on a terminal",
        )
    })
}

fn cipher(passphrase: &[u8], salt: &[u8], log_n: u8, r: u32, p: u32) -> Option<XSalsa20Poly1305> {
    let params = scrypt::Params::new(log_n, r, p).ok()?;
    let mut key = Key::default();
    scrypt::scrypt(passphrase, salt, &params, &mut key).ok()?;
    Some(XSalsa20Poly1305::new(&key))
}
