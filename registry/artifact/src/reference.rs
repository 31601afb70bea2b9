//! How a package is named: `[host[:port]/]name[/name][:tag|@digest]`.

use std::{fmt, str::FromStr};

use mdl_store::{Name, Reference};

use crate::{Error, Result};

/// The tag that is meant where none is named.
const LATEST: &str = "latest";

/// A package's name, perhaps with the registry that holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelRef {
    /// The registry, `host[:port]` in lower case. Without one, the local store or the registry of the settings is meant.
    pub host: Option<String>,
    /// The repository.
    pub name: Name,
    /// The tag or digest.
    pub reference: Option<Reference>,
}

impl ModelRef {
    /// With the tag `latest`, where neither tag nor digest is named.
    #[must_use]
    pub fn or_latest(mut self) -> Self {
        if self.reference.is_none() {
            // It is a sound tag, so that it always is one.
            self.reference = LATEST.parse().ok();
        }
        self
    }

    /// With this registry, where none is named.
    #[must_use]
    pub fn full(mut self, default_host: Option<&str>) -> Self {
        if self.host.is_none() {
            self.host = default_host.map(str::to_owned);
        }
        self
    }

    /// What the local store calls it: all of it, with `latest` where neither tag nor digest is named.
    pub fn local_key(&self) -> String {
        self.clone().or_latest().to_string()
    }

    /// The tag, where it is one.
    pub fn tag(&self) -> Option<&mdl_store::Tag> {
        match &self.reference {
            Some(Reference::Tag(tag)) => Some(tag),
            _ => None,
        }
    }

    /// The digest, where it is one.
    pub fn digest(&self) -> Option<&mdl_store::Digest> {
        match &self.reference {
            Some(Reference::Digest(digest)) => Some(digest),
            _ => None,
        }
    }
}

impl fmt::Display for ModelRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(host) = &self.host {
            write!(f, "{host}/")?;
        }
        write!(f, "{}", self.name)?;
        match &self.reference {
            Some(Reference::Tag(tag)) => write!(f, ":{tag}"),
            Some(Reference::Digest(digest)) => write!(f, "@{digest}"),
            None => Ok(()),
        }
    }
}

impl FromStr for ModelRef {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        parse(text).map_err(|problem| {
            let text = text.chars().take(300).collect();
            Error::Reference { text, problem }
        })
    }
}

fn parse(text: &str) -> Result<ModelRef, String> {
    if text.is_empty() {
        return Err("it is empty".to_owned());
    }
    if let Some((scheme, rest)) = text.split_once("://") {
        return Err(match scheme {
            "hf" | "ollama" => format!("{scheme}:// is understood by `mdl pull` alone"),
            _ => format!("write it without the scheme: {rest}"),
        });
    }
    let (host, rest) = match text.split_once('/') {
        Some((first, rest)) if is_host(first) => (Some(host(first)?), rest),
        _ => (None, text),
    };
    let (name, reference) = if let Some((name, digest)) = rest.split_once('@') {
        if name.contains(':') {
            return Err("name a tag or a digest, not both".to_owned());
        }
        let digest: mdl_store::Digest = digest.parse().map_err(|error| format!("{error}"))?;
        (name, Some(Reference::Digest(digest)))
    } else if let Some((name, tag)) = rest.rsplit_once(':') {
        let tag: mdl_store::Tag = tag.parse().map_err(|error| format!("{error}"))?;
        (name, Some(Reference::Tag(tag)))
    } else {
        (rest, None)
    };
    if name.is_empty() {
        return Err("the name is missing".to_owned());
    }
    let lower = name.to_ascii_lowercase();
    match name.parse() {
        Ok(name) => Ok(ModelRef { host, name, reference }),
        Err(_) if lower.parse::<Name>().is_ok() => Err(format!("names are in lower case: {lower}")),
        Err(_) if name.contains(':') => Err(format!("the name `{name}` holds a colon")),
        Err(error) => Err(error.to_string()),
    }
}

/// Whether the first part is a registry, as Docker tells it.
fn is_host(part: &str) -> bool {
    part.contains(['.', ':']) || part.eq_ignore_ascii_case("localhost")
}

fn host(text: &str) -> Result<String, String> {
    let bad = |what: &str| Err(format!("`{text}` is no host: {what}"));
    let (name, port) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, "")) => (address, None),
            Some((address, port)) => (address, Some(port.strip_prefix(':').unwrap_or_default())),
            None => return bad("a bracket is not closed"),
        },
        None => match text.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (text, None),
        },
    };
    if port.is_some_and(|port| port.parse::<u16>().is_err() || port.starts_with(['+', '0'])) {
        return bad("the port is a number from 1 to 65535");
    }
    let sound = if text.starts_with('[') {
        name.parse::<std::net::Ipv6Addr>().is_ok()
    } else {
        name.len() <= 253 && name.split('.').all(is_label)
    };
    if sound {
        Ok(text.to_ascii_lowercase())
    } else {
        bad("write it as name, name:port or [IPv6]:port")
    }
}

fn is_label(label: &str) -> bool {
    let sound = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    !label.is_empty()
        && label.len() <= 63
        && label.bytes().all(sound)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> ModelRef {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn references_have_up_to_three_parts() {
        let digest = mdl_store::Digest::of(b"x").to_string();
        for (text, host, name, reference) in [
            ("model", None, "model", None),
            ("team/model:Q4_K_M", None, "team/model", Some("Q4_K_M")),
            ("localhost/model", Some("localhost"), "model", None),
            ("localhost:5050/a/b/c:1.0", Some("localhost:5050"), "a/b/c", Some("1.0")),
            ("Registry.Example.org/a", Some("registry.example.org"), "a", None),
            ("[::1]:80/a:b", Some("[::1]:80"), "a", Some("b")),
            ("[::1]/a", Some("[::1]"), "a", None),
            ("10.0.0.1:1/a", Some("10.0.0.1:1"), "a", None),
        ] {
            let found = parsed(text);
            assert_eq!(found.host.as_deref(), host, "{text}");
            assert_eq!(found.name.as_str(), name, "{text}");
            assert_eq!(found.reference.as_ref().map(ToString::to_string).as_deref(), reference);
            assert_eq!(parsed(&found.to_string()), found);
        }
        let by_digest = parsed(&format!("h.x/a@{digest}"));
        assert_eq!(by_digest.digest().map(ToString::to_string), Some(digest));
        assert!(by_digest.tag().is_none());
    }

    #[test]
    fn what_is_missing_is_filled_in() {
        assert_eq!(parsed("a").local_key(), "a:latest");
        assert_eq!(parsed("a").full(Some("h:1")).or_latest().to_string(), "h:1/a:latest");
        assert_eq!(parsed("x.y/a:b").full(Some("h:1")).or_latest().to_string(), "x.y/a:b");
        assert_eq!(parsed("a").full(None), parsed("a"));
    }

    #[test]
    fn errors_say_what_is_wrong() {
        let digest = mdl_store::Digest::of(b"x");
        let both = format!("a:b@{digest}");
        for (text, says) in [
            ("", "it is empty"),
            ("https://h.x/a", "write it without the scheme: h.x/a"),
            ("hf://a/b", "`mdl pull` alone"),
            ("Team/Model", "names are in lower case: team/model"),
            ("a:", "`` is no tag"),
            ("a:b c", "`b c` is no tag"),
            ("a@sha256:12", "`sha256:12` is no digest"),
            (&both, "not both"),
            ("h.x/", "the name is missing"),
            ("a:b:c", "holds a colon"),
            ("h.x:0/a", "port"),
            ("h.x:70000/a", "port"),
            ("-.x/a", "is no host"),
            ("[::1/a", "bracket"),
            ("../a", "is no host"),
            ("a//b", "is no name of a repository"),
        ] {
            let error = text.parse::<ModelRef>().unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
