//! Addresses that Hugging Face clients ask for.

use mdl_store::Name;
use percent_encoding::percent_decode_str;

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    /// The list of models.
    Models,
    /// Who the caller is.
    WhoAmI,
    /// Something about one model.
    Of(Name, About),
    /// An address of that protocol that nothing answers to.
    Unknown,
}

/// What about a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum About {
    /// Its facts, at a revision; without one at `main`.
    Info(Option<String>),
    /// Files and folders below a path.
    Tree(String, String),
    /// Files and folders by their paths, which the body names.
    Paths(String),
    /// Branches and tags.
    Refs,
    /// The commits that led to a revision.
    Commits(String),
    /// A file at a revision.
    File(String, String),
}

impl Address {
    /// Reads a path; `None` where it belongs to no Hugging Face endpoint.
    ///
    /// Names are folded to lower case, as other hosts ignore their case.
    pub(crate) fn read(path: &str) -> Option<Self> {
        let parts: Vec<&str> = path.strip_prefix('/')?.split('/').collect();
        match parts.as_slice() {
            ["api", "whoami-v2"] => Some(Self::WhoAmI),
            ["api", "models"] => Some(Self::Models),
            ["api", "models", namespace, name, rest @ ..] => {
                let about = api(rest);
                Some(Self::of(namespace, name, about))
            }
            ["api", ..] => Some(Self::Unknown),
            [namespace, name, "resolve" | "raw", revision, file @ ..] if !file.is_empty() => {
                let about = decoded(revision).zip(joined(file)).map(|(a, b)| About::File(a, b));
                Some(Self::of(namespace, name, about))
            }
            _ => None,
        }
    }

    fn of(namespace: &str, name: &str, about: Option<About>) -> Self {
        let id = decoded(namespace).zip(decoded(name));
        let name = id.and_then(|(namespace, name)| folded(&format!("{namespace}/{name}")));
        match name.zip(about) {
            Some((name, about)) => Self::Of(name, about),
            None => Self::Unknown,
        }
    }
}

/// What follows the model's name under `/api/models/`.
fn api(parts: &[&str]) -> Option<About> {
    Some(match parts {
        [] => About::Info(None),
        ["revision", revision] => About::Info(Some(decoded(revision)?)),
        ["tree", revision, path @ ..] => About::Tree(decoded(revision)?, joined(path)?),
        ["paths-info", revision] => About::Paths(decoded(revision)?),
        ["refs"] => About::Refs,
        ["commits", revision] => About::Commits(decoded(revision)?),
        ["resolve", revision, file @ ..] if !file.is_empty() => {
            About::File(decoded(revision)?, joined(file)?)
        }
        _ => return None,
    })
}

/// A repository's name in lower case; `None` where it is none that a repository can have.
pub(crate) fn folded(name: &str) -> Option<Name> {
    name.to_ascii_lowercase().parse().ok()
}

fn decoded(part: &str) -> Option<String> {
    percent_decode_str(part).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

/// Parts of a path, which may also come as one part with its slashes encoded.
fn joined(parts: &[&str]) -> Option<String> {
    decoded(&parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::unnecessary_wraps, reason = "as what it is compared with")]
    fn of(name: &str, about: About) -> Option<Address> {
        Some(Address::Of(name.parse().unwrap(), about))
    }

    #[test]
    fn addresses_of_the_hub_are_read() {
        let read = Address::read;
        assert_eq!(read("/api/models"), Some(Address::Models));
        assert_eq!(read("/api/whoami-v2"), Some(Address::WhoAmI));
        assert_eq!(read("/api/models/Org/Tiny"), of("org/tiny", About::Info(None)));
        let revision = About::Info(Some("refs/pr/1".to_owned()));
        assert_eq!(read("/api/models/a/b/revision/refs%2Fpr%2F1"), of("a/b", revision));
        let tree = |path: &str| of("a/b", About::Tree("main".to_owned(), path.to_owned()));
        assert_eq!(read("/api/models/a/b/tree/main"), tree(""));
        assert_eq!(read("/api/models/a/b/tree/main/x/y"), tree("x/y"));
        assert_eq!(read("/api/models/a/b/tree/main/x%2Fy"), tree("x/y"));
        let file = About::File("v1".to_owned(), "x/a b.json".to_owned());
        assert_eq!(read("/A/b/resolve/v1/x/a%20b.json"), of("a/b", file.clone()));
        assert_eq!(read("/api/models/a/b/resolve/v1/x/a%20b.json"), of("a/b", file));
        assert_eq!(read("/api/models/a/b/refs"), of("a/b", About::Refs));
        assert_eq!(read("/api/models/a/b/commits/m"), of("a/b", About::Commits("m".to_owned())));
        assert_eq!(read("/api/models/a/b/paths-info/m"), of("a/b", About::Paths("m".to_owned())));
    }

    #[test]
    fn others_are_left_or_unknown() {
        for path in ["/", "/a/b", "/a/b:tag", "/v2/", "/a/b/resolve/main", "/a/b/tree/main", "no"] {
            assert_eq!(Address::read(path), None, "{path}");
        }
        for path in [
            "/api/datasets/a/b",
            "/api/models/gpt2",
            "/api/models/a/b/commit/main",
            "/api/models/a/b/tree",
            "/api/models/a../b",
            "/api/models/a%2Fb/c/refs/x",
            "/%FF/b/resolve/main/x",
            "/a/b/resolve/main/%FF",
        ] {
            assert_eq!(Address::read(path), Some(Address::Unknown), "{path}");
        }
    }
}
