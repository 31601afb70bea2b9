//! Which endpoint a path names. Names of repositories hold slashes, so paths are read from their end.

use mdl_store::{Digest, Error, Name, Reference, UploadId};
use percent_encoding::percent_decode_str;

/// Bytes of a path.
const PATH_BYTES: usize = 8 << 10;

/// An endpoint of the OCI distribution specification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// `/v2/`
    Base,
    /// `/v2/_catalog`
    Catalog,
    /// Something in a repository, whose name is not yet read.
    In(String, Thing),
}

/// What of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Thing {
    /// `tags/list`
    Tags,
    /// `manifests/REFERENCE`
    Manifest(String),
    /// `blobs/DIGEST`
    Blob(String),
    /// `blobs/uploads/`
    Uploads,
    /// `blobs/uploads/ID`
    Upload(UploadId),
    /// `referrers/DIGEST`
    Referrers(String),
}

impl Endpoint {
    /// The repository that the path names, as it does.
    pub(crate) fn repository(&self) -> Option<&str> {
        match self {
            Self::In(name, _) => Some(name),
            Self::Base | Self::Catalog => None,
        }
    }

    /// Reads a path that begins with `/v2`; `None` where no endpoint is.
    pub(crate) fn read(path: &str) -> Option<Self> {
        if path.len() > PATH_BYTES {
            return None;
        }
        // Once, and before anything is looked for in it.
        let path = percent_decode_str(path).decode_utf8().ok()?;
        let rest = path.strip_prefix("/v2")?;
        match rest.strip_prefix('/') {
            None if rest.is_empty() => return Some(Self::Base),
            None => return None,
            Some("") => return Some(Self::Base),
            Some("_catalog") => return Some(Self::Catalog),
            Some(_) => {}
        }
        let (before, last) = rest.rsplit_once('/')?;
        let (name, kind) = before.rsplit_once('/')?;
        let (name, thing) = match (kind, last) {
            ("tags", "list") => (name, Thing::Tags),
            ("blobs", "uploads") => (name, Thing::Uploads),
            ("uploads", "") => (name.strip_suffix("/blobs")?, Thing::Uploads),
            (_, "") => return None,
            ("uploads", id) => {
                let id = UploadId(id.to_owned());
                (name.strip_suffix("/blobs")?, Thing::Upload(id))
            }
            ("manifests", reference) => (name, Thing::Manifest(reference.to_owned())),
            ("blobs", digest) => (name, Thing::Blob(digest.to_owned())),
            ("referrers", digest) => (name, Thing::Referrers(digest.to_owned())),
            _ => return None,
        };
        Some(Self::In(name.strip_prefix('/')?.to_owned(), thing))
    }
}

/// The name of a repository in a path.
pub(crate) fn name(text: &str) -> Result<Name, Error> {
    text.parse()
}

/// A tag or a digest in a path.
pub(crate) fn reference(text: &str) -> Result<Reference, Error> {
    text.parse()
}

/// A digest in a path or a query.
pub(crate) fn digest(text: &str) -> Result<Digest, Error> {
    text.parse()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::unnecessary_wraps, reason = "as what it is compared with")]
    fn of(name: &str, thing: Thing) -> Option<Endpoint> {
        Some(Endpoint::In(name.to_owned(), thing))
    }

    #[test]
    fn endpoints_are_found_from_the_end() {
        let read = Endpoint::read;
        assert_eq!(read("/v2"), Some(Endpoint::Base));
        assert_eq!(read("/v2/"), Some(Endpoint::Base));
        assert_eq!(read("/v2/_catalog"), Some(Endpoint::Catalog));
        assert_eq!(read("/v2/a/b/c/tags/list"), of("a/b/c", Thing::Tags));
        assert_eq!(read("/v2/a/manifests/v1"), of("a", Thing::Manifest("v1".into())));
        assert_eq!(read("/v2/a/blobs/uploads/"), of("a", Thing::Uploads));
        assert_eq!(read("/v2/a/blobs/uploads"), of("a", Thing::Uploads));
        let upload = Thing::Upload(UploadId("x1".into()));
        assert_eq!(read("/v2/a/blobs/uploads/x1"), of("a", upload));
        let digest = Digest::of(b"").to_string();
        let encoded = digest.replace(':', "%3A");
        for path in [format!("/v2/a/b/blobs/{digest}"), format!("/v2/a/b/blobs/{encoded}")] {
            assert_eq!(read(&path), of("a/b", Thing::Blob(digest.clone())));
        }
        assert_eq!(read(&format!("/v2/a/referrers/{digest}")), of("a", Thing::Referrers(digest)));
        // Repositories may be called as the endpoints are.
        let inner = Thing::Manifest("latest".into());
        assert_eq!(read("/v2/tags/list/manifests/latest"), of("tags/list", inner.clone()));
        assert_eq!(read("/v2/blobs/uploads/manifests/latest"), of("blobs/uploads", inner));
        assert_eq!(read("/v2/manifests/blobs/x"), of("manifests", Thing::Blob("x".into())));
    }

    #[test]
    fn nothing_else_is_an_endpoint() {
        let long = format!("/v2/{}/tags/list", "a/".repeat(5000));
        for path in [
            "/v1/",
            "/v2x/",
            "/v2/a",
            "/v2/a/",
            "/v2/tags/list",
            "/v2/a/manifests/",
            "/v2/a/blobs/",
            "/v2/a/uploads/x",
            "/v2/a/%ff/tags/list",
            "/v2//",
            &long,
        ] {
            assert_eq!(Endpoint::read(path), None, "{path}");
        }
    }

    #[test]
    fn tricks_in_names_are_no_names() {
        for path in [
            "/v2/../../etc/manifests/x",
            "/v2/%2e%2e/manifests/x",
            "/v2/a%2f..%2fb/manifests/x",
            "/v2/a%00b/manifests/x",
            "/v2/A/manifests/x",
            "/v2/a//b/manifests/x",
            "/v2/./manifests/x",
            "/v2/a%252fb/manifests/x",
        ] {
            let Some(Endpoint::In(text, _)) = Endpoint::read(path) else { panic!("{path}") };
            assert!(name(&text).is_err(), "{path}");
        }
    }
}
