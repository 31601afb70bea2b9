//! What an unpatched Ollama needs beyond the OCI protocol.
//!
//! It takes one type of manifest only, follows the address that the first answer to a blob's GET names and reads ranges
//! there without credentials, and gives names in whatever case its user typed.

use http::{HeaderMap, header};
use mdl_artifact::views::ollama;
use mdl_store::{Digest, Name, Result, Store, StoredManifest};

use super::{derive, hf::address::folded, origin::Origin, signed::Signer};

/// The only type of manifest that Ollama takes.
pub(crate) const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// The kind of view under which a manifest made for Ollama is kept; the number grows with how it is made.
const KIND: &str = "ollama-1";

/// Bytes of a blob that are read to make a view (a template, a licence, a chat template's file).
const SMALL_BYTES: usize = 8 << 20;

/// How a blob's GET is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Direction {
    /// As always.
    Plain,
    /// With the blob, and this in `Location`, where ranges may be read.
    Located(String),
    /// With 307 to this address.
    Redirected(String),
}

/// Whether a client is Ollama, by its `User-Agent`.
pub(crate) fn is_ollama(headers: &HeaderMap) -> bool {
    agent(headers).is_some_and(|agent| agent.starts_with("ollama"))
}

/// Ollama's client for tensor models.
fn is_transfer(headers: &HeaderMap) -> bool {
    agent(headers).is_some_and(|agent| agent.starts_with("ollama-transfer/"))
}

fn agent(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::USER_AGENT)?.to_str().ok()
}

/// Whether a client takes Docker's manifest and none of OCI's.
pub(crate) fn wants_docker(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let types: Vec<&str> = accepted
        .flat_map(|value| value.split(','))
        .map(|part| part.split(';').next().unwrap_or_default().trim())
        .collect();
    types.iter().any(|ty| ty.eq_ignore_ascii_case(MANIFEST))
        && !types.iter().any(|ty| ty.to_ascii_lowercase().starts_with("application/vnd.oci."))
}

/// The repository that Ollama means: its name in lower case; and `model` for `library/model` where only that is there,
/// because Ollama has no names without a namespace.
pub(crate) fn repository(store: &dyn Store, name: &str) -> Option<Name> {
    let named = folded(name)?;
    let is_here = |name: &Name| store.tags(name, None, 1).is_ok();
    match named.as_str().strip_prefix("library/").and_then(folded) {
        Some(short) if !is_here(&named) && is_here(&short) => Some(short),
        _ => Some(named),
    }
}

/// How a GET of a blob without a range and without a signature is answered; `now` in seconds since 1970.
pub(crate) fn direction(
    signer: &Signer,
    origin: &Origin,
    headers: &HeaderMap,
    repo: &Name,
    digest: &Digest,
    now: u64,
) -> Direction {
    if !is_ollama(headers) {
        return Direction::Plain;
    }
    let address = signer.address(repo, digest, now);
    match origin.alias() {
        Some(host) if is_transfer(headers) => Direction::Redirected(format!("//{host}{address}")),
        _ => Direction::Located(address),
    }
}

/// The manifest to give to Ollama for one that is stored: itself where it is Docker's, else one that is made of it and
/// kept beside it, else itself. Reads and writes the store: to be called from a blocking thread.
pub(crate) fn manifest(
    store: &dyn Store,
    repo: &Name,
    stored: StoredManifest,
) -> Result<StoredManifest> {
    if stored.media_type == MANIFEST {
        return Ok(stored);
    }
    let kept = store.view(repo, &stored.digest, KIND)?;
    let Some(bytes) = (match kept {
        Some(bytes) => Some(bytes),
        None => made(store, repo, &stored)?,
    }) else {
        return Ok(stored);
    };
    Ok(StoredManifest {
        digest: Digest::of(&bytes),
        media_type: MANIFEST.to_owned(),
        bytes,
        pushed: stored.pushed,
    })
}

/// Makes a manifest for Ollama, with the small blobs that it needs; `None` where the model is no GGUF.
fn made(store: &dyn Store, repo: &Name, stored: &StoredManifest) -> Result<Option<Vec<u8>>> {
    let package = derive::package(store, repo, stored)?;
    let gguf = derive::gguf_path(store, repo, &package)?;
    let read = |digest: &Digest| derive::beginning(store, repo, digest, SMALL_BYTES).ok().flatten();
    let Some(view) = ollama::view(&package, gguf.as_deref(), &read) else { return Ok(None) };
    let mut digests = Vec::new();
    for blob in &view.blobs {
        let digest = Digest::of(blob);
        store.put_blob(repo, &digest, blob)?;
        digests.push(digest);
    }
    store.put_view(repo, &stored.digest, KIND, &view.manifest, &digests)?;
    Ok(Some(view.manifest))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(pairs: &[(header::HeaderName, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn ollama_is_known_by_what_it_accepts() {
        let accept = |value: &'static str| wants_docker(&headers(&[(header::ACCEPT, value)]));
        assert!(accept("application/vnd.docker.distribution.manifest.v2+json"));
        assert!(accept("Application/vnd.docker.distribution.manifest.v2+json;q=0.5, */*"));
        for other in [
            "",
            "*/*",
            "application/vnd.oci.image.manifest.v1+json",
            "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.index.v1+json",
            "application/vnd.docker.distribution.manifest.list.v2+json",
        ] {
            assert!(!accept(other), "{other}");
        }
        let two = [
            (header::ACCEPT, "application/vnd.docker.distribution.manifest.v2+json"),
            (header::ACCEPT, "application/vnd.oci.image.manifest.v1+json"),
        ];
        let mut both = HeaderMap::new();
        for (name, value) in two {
            both.append(name, HeaderValue::from_static(value));
        }
        assert!(!wants_docker(&both));
    }

    #[test]
    fn a_blob_is_located_for_ollama_and_elsewhere_for_its_transfers() {
        let signer = Signer::new([1; 32]);
        let (repo, digest) = ("ns/m".parse().unwrap(), Digest::of(b"x"));
        let at = |host: &str, agent: &'static str| {
            let origin = Origin { host: host.to_owned(), secure: false };
            let headers = headers(&[(header::USER_AGENT, agent)]);
            direction(&signer, &origin, &headers, &repo, &digest, 1000)
        };
        assert_eq!(at("h:5050", "curl/8"), Direction::Plain);
        let address = signer.address(&repo, &digest, 1000);
        assert_eq!(
            at("h:5050", "ollama/0.17.4 (amd64 linux)"),
            Direction::Located(address.clone())
        );
        assert_eq!(at("h", "ollama-transfer/1.0"), Direction::Located(address.clone()));
        let elsewhere = Direction::Redirected(format!("//h:05050{address}"));
        assert_eq!(at("h:5050", "ollama-transfer/1.0"), elsewhere);
    }
}
