//! Ollama's own login: it asks for a token with `Authorization: PUBLIC_KEY:SIGNATURE`, no scheme before it, where the key
//! is an Ed25519 key as OpenSSH's public files have it and the signature is over `GET,URL,HASH` (Ollama's
//! `server/auth.go`: the hash is base64 of the hex of SHA-256 of nothing). The address holds the time and a nonce, so that
//! an answer that was overheard is good for nothing once it was used, and soon for nothing at all.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::{Engine as _, engine::general_purpose::STANDARD};

/// Seconds by which clocks may differ.
const SKEW: u64 = 300;
/// Nonces that are remembered; with more in ten minutes nobody is let in this way.
const NONCES: usize = 100_000;
/// base64 of the hex of SHA-256 of nothing.
const NOTHING: &str =
    "ZTNiMGM0NDI5OGZjMWMxNDlhZmJmNGM4OTk2ZmI5MjQyN2FlNDFlNDY0OWI5MzRjYTQ5NTk5MWI3ODUyYjg1NQ==";
/// What an Ed25519 key begins with in OpenSSH's form: the lengths and the name of its kind, and the length of the key.
const SSH: &[u8] = b"\0\0\0\x0bssh-ed25519\0\0\0\x20";

/// The nonces that were used, with when they are too old to be used again.
#[derive(Debug, Default)]
pub(crate) struct Nonces(Mutex<BTreeMap<String, u64>>);

impl Nonces {
    /// Whether a nonce is used for the first time.
    fn is_new(&self, nonce: &str, now: u64) -> bool {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= NONCES {
            known.retain(|_, over| *over > now);
        }
        if known.len() >= NONCES || known.contains_key(nonce) {
            return false;
        }
        known.insert(nonce.to_owned(), now + 2 * SKEW);
        true
    }
}

/// The public key of a line of OpenSSH's (`ssh-ed25519 AAAA… comment`), in base64 as Ollama sends it.
pub(crate) fn key_of_line(line: &str) -> Option<String> {
    let mut words = line.split_whitespace();
    let (Some("ssh-ed25519"), Some(text)) = (words.next(), words.next()) else { return None };
    raw(text).map(|_| text.to_owned())
}

fn raw(text: &str) -> Option<Vec<u8>> {
    let bytes = STANDARD.decode(text).ok()?;
    let key = bytes.strip_prefix(SSH)?;
    (key.len() == 32).then(|| key.to_vec())
}

/// Whether the key in `PUBLIC_KEY:SIGNATURE` signed a request for a token, now and for the first time; `sent` is the
/// address as the client has it, with its query.
pub(crate) fn is_signed(authorization: &str, sent: &str, nonces: &Nonces, now: u64) -> bool {
    signed(authorization, sent, nonces, now).is_some()
}

fn signed(authorization: &str, sent: &str, nonces: &Nonces, now: u64) -> Option<()> {
    let url: url::Url = sent.parse().ok()?;
    let (text, signature) = authorization.split_once(':')?;
    let (key, signature) = (raw(text)?, STANDARD.decode(signature).ok()?);
    let parameter = |name: &str| {
        let mut all = url.query_pairs().filter(|(found, _)| found == name);
        all.next().map(|(_, value)| value.into_owned())
    };
    let at: u64 = parameter("ts")?.parse().ok()?;
    let nonce = parameter("nonce").filter(|nonce| !nonce.is_empty() && nonce.len() <= 200)?;
    if at.abs_diff(now) > SKEW {
        return None;
    }
    let message = format!("GET,{sent},{NOTHING}");
    UnparsedPublicKey::new(&ED25519, &key).verify(message.as_bytes(), &signature).ok()?;
    nonces.is_new(&format!("{text} {nonce}"), now).then_some(())
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};

    use super::*;

    #[test]
    fn a_challenge_is_answered_once_and_for_its_address() {
        let pair = Ed25519KeyPair::generate().unwrap();
        let key = STANDARD.encode([SSH, pair.public_key().as_ref()].concat());
        let sent = "http://h:1/-/token?nonce=abc&scope=repository%3Aa%2Fb%3Apull&service=h&ts=1000";
        let answer = |url: &str| {
            let message = format!("GET,{url},{NOTHING}");
            format!("{key}:{}", STANDARD.encode(pair.sign(message.as_bytes()).as_ref()))
        };
        let (good, nonces) = (answer(sent), Nonces::default());
        let ask = |text: &str, sent: &str, now: u64| is_signed(text, sent, &nonces, now);
        // Another address, and one that was altered; too early, too late.
        let other = sent.replace("a%2Fb", "a%2Fc");
        assert!(!ask(&good, &other, 1000));
        assert!(!ask(&answer(&other), sent, 1000));
        assert!(!ask(&good, sent, 1301) && !ask(&good, sent, 699));
        assert!(ask(&good, sent, 1300));
        assert!(!ask(&good, sent, 1300), "replayed");
        let bare = "http://h:1/-/token?ts=1000";
        assert!(!ask(&answer(bare), bare, 1000), "without a nonce");
        for broken in ["", ":", "a:b", &key, &format!("{key}:"), &format!("{}:x", &key[..8])] {
            assert!(!ask(broken, sent, 1000), "{broken}");
        }
        let line = format!("ssh-ed25519 {key} me@here");
        assert_eq!(key_of_line(&line), Some(key.clone()));
        for broken in ["", "ssh-ed25519", "ssh-rsa AAAA", "ssh-ed25519 AAAA"] {
            assert_eq!(key_of_line(broken), None, "{broken}");
        }
        let hash = mdl_store::Digest::of(b"");
        assert_eq!(NOTHING, STANDARD.encode(hash.hex()));
    }
}
