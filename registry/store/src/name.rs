//! Names of repositories and tags, as the OCI distribution specification allows them.

use std::{fmt, str::FromStr};

use crate::{Digest, Error, Result};

/// A repository's name: parts of lower-case letters and digits, with `.`, `_`, `__` or dashes between, joined by `/`;
/// 255 bytes at most.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

impl Name {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Name {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if text.len() <= 255 && text.split('/').all(is_part) {
            return Ok(Self(text.to_owned()));
        }
        Err(Error::NameInvalid(text.chars().take(300).collect()))
    }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_part(part: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = part.as_bytes();
    let ends = [bytes.first(), bytes.last()];
    if !ends.iter().all(|end| end.is_some_and(|byte| alphanumeric(*byte))) {
        return false;
    }
    bytes.split(|byte| alphanumeric(*byte)).all(|between| {
        matches!(between, b"" | b"." | b"_" | b"__") || between.iter().all(|byte| *byte == b'-')
    })
}

/// A tag: letters, digits, `_`, `.` and `-`, the first no `.` or `-`; 128 bytes at most.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(String);

/// Hex digits of a digest in a tag by which something is attached to it.
const ATTACHED_HEX: usize = 64;

impl Tag {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is one of those (`sha256-…`) by which clients attach something to a digest where a registry has no
    /// referrers, rather than one that people use.
    pub fn is_attachment(&self) -> bool {
        self.attached().is_some()
    }

    /// Whether it is such a tag for this digest.
    pub fn is_attached_to(&self, digest: &Digest) -> bool {
        let hex = digest.hex().get(..ATTACHED_HEX).unwrap_or_default();
        self.attached() == Some((digest.algorithm().name(), hex))
    }

    /// The digest that it is attached to, where it names it whole.
    pub fn subject(&self) -> Option<Digest> {
        let (algorithm, hex) = self.attached()?;
        format!("{algorithm}:{hex}").parse().ok()
    }

    /// Algorithm and hex digits; `.sig` and the like may follow.
    fn attached(&self) -> Option<(&str, &str)> {
        let (algorithm, rest) = self.0.split_once('-')?;
        let hex = rest.split('.').next()?;
        let is_hex = hex.len() == ATTACHED_HEX
            && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        (matches!(algorithm, "sha256" | "sha512") && is_hex).then_some((algorithm, hex))
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Tag {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let good = text.len() <= 128
            && text.bytes().next().is_some_and(word)
            && text.bytes().all(|byte| word(byte) || byte == b'.' || byte == b'-');
        if good {
            return Ok(Self(text.to_owned()));
        }
        Err(Error::TagInvalid(text.chars().take(200).collect()))
    }
}

/// What a manifest is asked for by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference {
    /// Whatever the tag points at.
    Tag(Tag),
    /// Exactly this one.
    Digest(Digest),
}

impl FromStr for Reference {
    type Err = Error;

    /// What has a colon is a digest, for tags have none.
    fn from_str(text: &str) -> Result<Self> {
        if text.contains(':') {
            text.parse().map(Self::Digest)
        } else {
            text.parse().map(Self::Tag)
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(f),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_repositories() {
        for good in ["a", "a/b", "library/smollm2.135m", "a__b/c-d--e", "0/1", "a.b_c"] {
            assert!(good.parse::<Name>().is_ok(), "{good}");
        }
        let long = "a".repeat(256);
        for bad in ["", "/", "a/", "/a", "a//b", "A", "a..b", "a___b", ".a", "a-", "a/../b", &long]
        {
            assert!(bad.parse::<Name>().is_err(), "{bad}");
        }
    }

    #[test]
    fn tags_and_references() {
        for good in ["latest", "V1.0", "_x", "q4_K_M"] {
            assert!(matches!(good.parse(), Ok(Reference::Tag(_))), "{good}");
        }
        let long = "a".repeat(129);
        for bad in ["", ".a", "-a", "a/b", "a b", "sha256:abc", &long] {
            assert!(bad.parse::<Reference>().is_err(), "{bad}");
        }
        let digest = Digest::of(b"x").to_string();
        assert!(matches!(digest.parse(), Ok(Reference::Digest(_))));
    }
}
