//! Addresses of the pages: `/`, `/repository`, `/repository:tag` and `/repository@digest`, as a reference is written.

use mdl_store::{Name, Reference};
use percent_encoding::percent_decode_str;

use super::super::hf::address::folded;

/// What a reader asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    /// The list of repositories.
    Home,
    /// A repository.
    Repository(Name),
    /// A model by tag or digest.
    Model(Name, Reference),
    /// The style sheet.
    Style,
    /// The icon.
    Icon,
    /// Nothing that a page is for.
    Nothing,
}

impl Address {
    /// The repository that the page is about.
    pub(crate) fn repository(&self) -> Option<&Name> {
        match self {
            Self::Repository(name) | Self::Model(name, _) => Some(name),
            Self::Home | Self::Style | Self::Icon | Self::Nothing => None,
        }
    }

    /// Reads a path.
    pub(crate) fn read(path: &str) -> Self {
        let decoded = percent_decode_str(path).decode_utf8();
        let Some(rest) = decoded.as_deref().ok().and_then(|path| path.strip_prefix('/')) else {
            return Self::Nothing;
        };
        match rest {
            "" => Self::Home,
            "-/style.css" => Self::Style,
            "-/icon.svg" => Self::Icon,
            _ => Self::reference(rest.strip_suffix('/').unwrap_or(rest)).unwrap_or(Self::Nothing),
        }
    }

    /// A colon after the last slash begins a tag, an `@` a digest.
    fn reference(text: &str) -> Option<Self> {
        if let Some((name, digest)) = text.split_once('@') {
            return Some(Self::Model(folded(name)?, Reference::Digest(digest.parse().ok()?)));
        }
        let last = text.rfind('/').map_or(0, |slash| slash + 1);
        match text.get(last..)?.find(':') {
            Some(colon) => {
                let (name, tag) = text.split_at_checked(last + colon)?;
                let tag = tag.strip_prefix(':')?.parse().ok()?;
                Some(Self::Model(folded(name)?, Reference::Tag(tag)))
            }
            None => Some(Self::Repository(folded(text)?)),
        }
    }
}

#[cfg(test)]
mod tests {
    use mdl_store::Digest;

    use super::*;

    #[test]
    fn pages_are_found_by_reference() {
        let name = |text: &str| text.parse::<Name>().unwrap();
        let tag = |text: &str| Reference::Tag(text.parse().unwrap());
        let digest = Digest::of(b"x");
        for (path, address) in [
            ("/", Address::Home),
            ("/-/style.css", Address::Style),
            ("/tiny", Address::Repository(name("tiny"))),
            ("/Team/Tiny/", Address::Repository(name("team/tiny"))),
            ("/a/b/c:Q4_K_M", Address::Model(name("a/b/c"), tag("Q4_K_M"))),
            ("/a/b%3Av1", Address::Model(name("a/b"), tag("v1"))),
            (
                &format!("/a/b@{digest}"),
                Address::Model(name("a/b"), Reference::Digest(digest.clone())),
            ),
        ] {
            assert_eq!(Address::read(path), address, "{path}");
        }
    }

    #[test]
    fn nothing_else_is_a_page() {
        for path in [
            "",
            "//",
            "/a//b",
            "/../x",
            "/%2e%2e/x",
            "/a:b/c",
            "/a/b:",
            "/a@sha256:1",
            "/%ff",
            "/-/x",
            "/é",
        ] {
            assert_eq!(Address::read(path), Address::Nothing, "{path}");
        }
    }
}
