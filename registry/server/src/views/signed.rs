//! Addresses that carry their own permission: one blob of one repository, to be read, for one day.
//!
//! Ollama reads a blob in ranges from the address that the registry's first answer names, and sends no credentials
//! there.

use std::{fmt, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use mdl_store::{Digest, Name};
use sha2::Sha256;

/// How long an address holds.
const LIFETIME: Duration = Duration::from_hours(24);

/// What the code is computed over begins with this, so that no other use of the key gives the same one.
const PURPOSE: &str = "mdl-signed-blob-1";

/// Names of the two query parameters.
const EXPIRES: &str = "expires";
const SIGNATURE: &str = "signature";

/// Makes and checks signed addresses.
#[derive(Clone)]
pub(crate) struct Signer {
    /// Padded with zeros to the block of the hash function, as HMAC has it.
    key: [u8; 64],
}

/// What a request's query says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Permission {
    /// Nothing about a signature: the usual rules decide.
    Unsigned,
    /// It may read this blob.
    Granted,
    /// It has a signature that does not hold here; to be answered with 403.
    Refused,
}

impl Signer {
    /// With a secret key; replicas that serve one registry share it.
    pub(crate) fn new(key: [u8; 32]) -> Self {
        let mut padded = [0; 64];
        for (to, from) in padded.iter_mut().zip(key) {
            *to = from;
        }
        Self { key: padded }
    }

    /// Path and query of a blob, good for a GET until a day from `now` (seconds since 1970).
    pub(crate) fn address(&self, repo: &Name, digest: &Digest, now: u64) -> String {
        let expires = now.saturating_add(LIFETIME.as_secs());
        let signature =
            URL_SAFE_NO_PAD.encode(self.mac(repo, digest, expires).finalize().as_bytes());
        format!("/v2/{repo}/blobs/{digest}?{EXPIRES}={expires}&{SIGNATURE}={signature}")
    }

    /// Whether `query` permits a GET of this blob at `now`.
    pub(crate) fn check(
        &self,
        query: Option<&str>,
        repo: &Name,
        digest: &Digest,
        now: u64,
    ) -> Permission {
        let (mut expires, mut signature) = (None, None);
        for (name, value) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            match name.as_ref() {
                EXPIRES => expires = value.parse::<u64>().ok(),
                SIGNATURE => signature = Some(value),
                _ => {}
            }
        }
        let Some(signature) = signature else { return Permission::Unsigned };
        let code = URL_SAFE_NO_PAD.decode(signature.as_bytes());
        let (Some(expires), Ok(code)) = (expires, code) else { return Permission::Refused };
        // An expiry further off than we grant is none of ours, whatever its code.
        let current = now <= expires && expires <= now.saturating_add(LIFETIME.as_secs());
        match self.mac(repo, digest, expires).verify_slice(&code) {
            Ok(()) if current => Permission::Granted,
            _ => Permission::Refused,
        }
    }

    fn mac(&self, repo: &Name, digest: &Digest, expires: u64) -> Hmac<Sha256> {
        // No part can hold a line feed, so that no two sets of parts read the same.
        let mut mac = Hmac::<Sha256>::new(&self.key.into());
        mac.update(format!("{PURPOSE}\nGET\n{repo}\n{digest}\n{expires}").as_bytes());
        mac
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signer(..)")
    }
}

/// A request's target as a log may show it: without the signature.
pub(crate) fn shown_in_log(target: &str) -> String {
    let Some((path, query)) = target.split_once('?') else { return target.to_owned() };
    let is_secret = |pair: &&str| {
        let (name, _) = pair.split_once('=').unwrap_or((pair, ""));
        let name = percent_encoding::percent_decode_str(name).decode_utf8_lossy();
        name.eq_ignore_ascii_case(SIGNATURE)
    };
    let shown: Vec<&str> =
        query.split('&').map(|pair| if is_secret(&pair) { "signature=…" } else { pair }).collect();
    format!("{path}?{}", shown.join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn query(address: &str) -> Option<&str> {
        address.split_once('?').map(|(_, query)| query)
    }

    #[test]
    fn an_address_permits_one_blob_of_one_repository_for_a_day() {
        let signer = Signer::new([7; 32]);
        let (repo, digest): (Name, _) = ("ns/model".parse().unwrap(), Digest::of(b"x"));
        let address = signer.address(&repo, &digest, NOW);
        assert!(address.starts_with(&format!("/v2/ns/model/blobs/{digest}?")), "{address}");
        let at = |repo: &str, digest: &Digest, now| {
            signer.check(query(&address), &repo.parse().unwrap(), digest, now)
        };
        assert_eq!(at("ns/model", &digest, NOW), Permission::Granted);
        assert_eq!(at("ns/model", &digest, NOW + 86_400), Permission::Granted);
        assert_eq!(at("ns/model", &digest, NOW + 86_401), Permission::Refused);
        assert_eq!(at("ns/other", &digest, NOW), Permission::Refused);
        assert_eq!(at("ns/model", &Digest::of(b"y"), NOW), Permission::Refused);
        let other_key = Signer::new([8; 32]);
        assert_eq!(other_key.check(query(&address), &repo, &digest, NOW), Permission::Refused);
    }

    #[test]
    fn what_is_altered_is_refused() {
        let signer = Signer::new([7; 32]);
        let (repo, digest): (Name, _) = ("ns/model".parse().unwrap(), Digest::of(b"x"));
        let address = signer.address(&repo, &digest, NOW);
        let good = query(&address).unwrap();
        let (expires, signature) = good.split_once('&').unwrap();
        let check = |query: &str| signer.check(Some(query), &repo, &digest, NOW);
        assert_eq!(check(&format!("{signature}&{expires}")), Permission::Granted);
        let last = &good[good.len() - 1..];
        let altered = format!("{}{}", &good[..good.len() - 1], if last == "A" { "E" } else { "A" });
        let cut = &good[..good.len() - 4];
        let later = good.replacen("expires=1", "expires=2", 1);
        for bad in [&altered, cut, &later, signature, "signature=", "expires=x&signature=%00"] {
            assert_eq!(check(bad), Permission::Refused, "{bad}");
        }
        assert_eq!(check(expires), Permission::Unsigned);
        assert_eq!(signer.check(None, &repo, &digest, NOW), Permission::Unsigned);
    }

    #[test]
    fn logs_do_not_show_the_signature() {
        assert_eq!(shown_in_log("/v2/a/blobs/x"), "/v2/a/blobs/x");
        assert_eq!(shown_in_log("/v2/?n=1"), "/v2/?n=1");
        assert_eq!(shown_in_log("/b?expires=5&signature=abc"), "/b?expires=5&signature=…");
        assert_eq!(shown_in_log("/b?SIGNATURE=abc&x=1"), "/b?signature=…&x=1");
        assert_eq!(shown_in_log("/b?%73ignature=abc"), "/b?signature=…");
    }
}
