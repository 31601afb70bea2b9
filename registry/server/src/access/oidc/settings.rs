//! The `[[oidc]]` sections of the configuration.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use url::{Host, Url};

use super::keys::Keys;
use crate::{Result, access::accounts::check_name};

/// Bytes of an issuer or audience: what a token may hold of them, by far.
const TEXT: usize = 2048;

/// An `[[oidc]]`: an issuer whose tokens are taken, and for which accounts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Oidc {
    /// Exactly the tokens' `iss`.
    pub issuer: String,
    /// One of a token's `aud`.
    pub audience: String,
    /// Its public keys.
    pub jwks: Jwks,
    /// Whose a token is: the first account that all claims fit.
    pub account: Vec<OidcAccount>,
}

/// An `[[oidc.account]]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OidcAccount {
    /// The subject that policies name.
    #[serde(deserialize_with = "name")]
    pub name: String,
    /// Patterns by claim, all of which must fit: `*` within a part, `**` across.
    pub claims: BTreeMap<String, String>,
}

/// Where public keys are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Jwks {
    /// In a file.
    File(PathBuf),
    /// At an address.
    Address(Url),
}

fn name<'de, D: Deserializer<'de>>(from: D) -> std::result::Result<String, D::Error> {
    let name = String::deserialize(from)?;
    check_name(&name).map_err(D::Error::custom)?;
    Ok(name)
}

impl TryFrom<String> for Jwks {
    type Error = String;

    fn try_from(text: String) -> std::result::Result<Self, String> {
        if text.is_empty() {
            return Err("jwks is empty: write a file or an address".to_owned());
        }
        if !text.contains("://") {
            return Ok(Self::File(text.into()));
        }
        let wrong = |what: &str| format!("jwks is `{text}`: {what}");
        let url = Url::parse(&text).map_err(|error| wrong(&error.to_string()))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(wrong("leave out the user"));
        }
        match url.scheme() {
            "https" => Ok(Self::Address(url)),
            "http" if is_loopback(&url) => Ok(Self::Address(url)),
            "http" => Err(wrong("without TLS anybody on the way could change the keys")),
            _ => Err(wrong("write a file or https://")),
        }
    }
}

/// Whether an address is of this machine.
pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

impl From<Jwks> for String {
    fn from(jwks: Jwks) -> Self {
        jwks.to_string()
    }
}

impl fmt::Display for Jwks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Address(url) => url.fmt(f),
        }
    }
}

impl Oidc {
    /// What is wrong with it.
    ///
    /// # Errors
    /// In words.
    fn check(&self) -> std::result::Result<(), String> {
        let wrong = |what: String| format!("[[oidc]] of `{}`: {what}", self.issuer.escape_debug());
        for (name, text) in [("issuer", &self.issuer), ("audience", &self.audience)] {
            if text.is_empty() || text.len() > TEXT {
                return Err(wrong(format!("`{name}` has to have 1 to {TEXT} bytes")));
            }
        }
        if self.account.is_empty() {
            return Err(wrong("without an [[oidc.account]] its tokens are for nobody".to_owned()));
        }
        if let Some(account) = self.account.iter().find(|account| account.claims.is_empty()) {
            let name = &account.name;
            return Err(wrong(format!(
                "`{name}` has no `claims`, so that every token of the issuer would be its"
            )));
        }
        Ok(())
    }

    /// What is wrong with all of them.
    ///
    /// # Errors
    /// In words.
    pub(crate) fn check_all(all: &[Self], has_policy: bool) -> std::result::Result<(), String> {
        all.iter().try_for_each(Self::check)?;
        let twice = all
            .iter()
            .enumerate()
            .find(|(at, one)| all.iter().skip(at + 1).any(|other| other.issuer == one.issuer));
        if let Some((_, oidc)) = twice {
            let issuer = oidc.issuer.escape_debug();
            return Err(format!("[[oidc]] of `{issuer}` stands twice: write all accounts in one"));
        }
        if !all.is_empty() && !has_policy {
            return Err("[[oidc]] needs a [[policy]]: without one every account may change \
                        everything, and those of other systems are not to"
                .to_owned());
        }
        Ok(())
    }

    /// Takes a file's name as one in a folder, and looks whether there are keys in it.
    ///
    /// # Errors
    /// As [`Keys::of_file`].
    pub(crate) fn place(&mut self, folder: &Path) -> Result<()> {
        if let Jwks::File(path) = &mut self.jwks {
            *path = folder.join(&*path);
            Keys::of_file(path)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_from_a_file_or_securely() {
        let read = |text: &str| Jwks::try_from(text.to_owned());
        assert_eq!(read("keys.json"), Ok(Jwks::File("keys.json".into())));
        for text in [
            "https://ci.example.org/jwks",
            "http://127.0.0.1:9/jwks",
            "http://[::1]/jwks",
            "http://localhost:9/",
        ] {
            assert!(matches!(read(text), Ok(Jwks::Address(_))), "{text}");
        }
        for text in [
            "",
            "http://ci.example.org/jwks",
            "http://localhost.example.org/",
            "http://127.0.0.1.example.org/",
            "ftp://ci.example.org/",
            "file:///etc/keys",
            "https://user@ci.example.org/",
            "https://",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
