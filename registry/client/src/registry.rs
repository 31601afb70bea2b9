//! What registries are asked for: manifests, blobs, referrers.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use http::{Method, StatusCode, header};
use mdl_store::{Descriptor, Digest, Name, Reference};
use serde::Deserialize;

use crate::{
    Address, Error, Result,
    error::shown,
    http::{Call, Response},
    peer::{Peer, Scope},
    source::Source,
};

/// Media types of manifests, as registries are asked for them.
pub(crate) const MANIFESTS: &str = "application/vnd.oci.image.manifest.v1+json, \
    application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json, \
    application/vnd.docker.distribution.manifest.list.v2+json";
/// The only one that Ollama's registry has.
pub(crate) const OLLAMA_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// A manifest as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// As the registry states it.
    pub media_type: String,
    /// Of its bytes; checked.
    pub digest: Digest,
    /// Exactly as they came.
    pub bytes: Vec<u8>,
}

/// A manifest that refers to another, as a registry lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Referring {
    /// Digest, size and media type.
    pub descriptor: Descriptor,
    /// What kind of thing it is.
    pub artifact_type: Option<String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
}

/// One repository of one registry.
#[derive(Clone)]
pub(crate) struct Repository {
    pub(crate) peer: Arc<Peer>,
    pub(crate) name: Name,
    remote: String,
}

#[derive(Deserialize)]
struct Index {
    #[serde(default)]
    manifests: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "mediaType")]
    media_type: String,
    digest: String,
    size: u64,
    #[serde(rename = "artifactType")]
    artifact_type: Option<String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

impl Repository {
    pub(crate) fn new(peer: Arc<Peer>, name: &Name) -> Self {
        let remote = peer.repository(name);
        Self { peer, name: name.clone(), remote }
    }

    pub(crate) fn scope(&self, write: bool) -> Scope {
        self.peer.scope(&self.name, write)
    }

    /// An address below this repository.
    pub(crate) async fn url(&self, below: &str) -> Result<url::Url> {
        self.peer.url(&format!("v2/{}/{below}", self.remote)).await
    }

    fn address(&self, reference: &Reference) -> Address {
        Address {
            host: self.peer.host.clone(),
            name: self.name.clone(),
            reference: reference.clone(),
        }
    }

    /// Fetches a manifest.
    ///
    /// # Errors
    /// [`Error::Unknown`], [`Error::Broken`] where its bytes are not what was asked for.
    pub(crate) async fn manifest(&self, reference: &Reference, accept: &str) -> Result<Manifest> {
        match self.find_manifest(reference, accept).await? {
            Some(manifest) => Ok(manifest),
            None => {
                let host = self.peer.host.clone();
                let address = self.address(reference).to_string();
                let bare = address.strip_prefix(&format!("{host}/")).unwrap_or(&address);
                Err(Error::Unknown { what: format!("manifest {bare}"), host })
            }
        }
    }

    /// The same, where it may be lacking.
    pub(crate) async fn find_manifest(
        &self,
        reference: &Reference,
        accept: &str,
    ) -> Result<Option<Manifest>> {
        let url = self.url(&format!("manifests/{reference}")).await?;
        let call = Call::get(url).header(header::ACCEPT, accept);
        let limit = self.peer.http.limits.manifest.manifest_bytes;
        let read = self.peer.http.retrying(async || {
            let answer = self.peer.send(call.clone(), &self.scope(false)).await?;
            match answer.status() {
                StatusCode::OK => {}
                StatusCode::NOT_FOUND => return Ok(None),
                _ => return Err(answer.failure().await),
            }
            let answer = answer.plain()?;
            let media_type = answer.header(&header::CONTENT_TYPE).map(str::to_owned);
            let stated = answer.named("docker-content-digest").map(str::to_owned);
            let length = answer.length();
            let place = answer.place();
            let bytes = answer.whole("the manifest", limit).await?;
            if length.is_some_and(|length| length != bytes.len() as u64) {
                let what = "the manifest ends early".to_owned();
                return Err(Error::Connection { place, what });
            }
            Ok(Some((place, media_type, stated, bytes)))
        });
        let Some((place, media_type, stated, bytes)) = read.await? else { return Ok(None) };
        let digest = match reference {
            Reference::Digest(asked) => {
                let found = Digest::with(asked.algorithm(), &bytes);
                if found != *asked {
                    let what = format!("the manifest has the digest {found}, not {asked}");
                    return Err(Error::broken(place, what));
                }
                found
            }
            Reference::Tag(_) => stated_digest(&place, stated.as_deref(), &bytes)?,
        };
        let media_type = manifest_type(media_type.as_deref(), &bytes, &place)?;
        Ok(Some(Manifest { media_type, digest, bytes }))
    }

    /// Where a blob comes from.
    pub(crate) async fn blob(&self, digest: &Digest, size: u64) -> Result<Source> {
        Ok(Source {
            peer: self.peer.clone(),
            url: self.url(&format!("blobs/{digest}")).await?,
            scope: self.scope(false),
            what: format!("blob {digest}"),
            size,
        })
    }

    /// A small blob, checked.
    ///
    /// # Errors
    /// As for [`Repository::manifest`].
    pub(crate) async fn small_blob(&self, wanted: &Descriptor) -> Result<Vec<u8>> {
        let limit = self.peer.http.limits.document_bytes;
        let what = format!("blob {}", wanted.digest);
        if wanted.size > limit {
            let place = self.peer.host.clone();
            let what = format!("{what} has {} bytes, more than the limit of {limit}", wanted.size);
            return Err(Error::broken(place, what));
        }
        let source = self.blob(&wanted.digest, wanted.size).await?;
        let read = self.peer.http.retrying(async || {
            let answer = source.open_from(0, wanted.size).await?;
            let place = answer.place();
            let bytes = answer.whole(&what, wanted.size).await?;
            if (bytes.len() as u64) < wanted.size {
                let what = format!("{what} ends early");
                return Err(Error::Connection { place, what });
            }
            Ok((place, bytes))
        });
        let (place, bytes) = read.await?;
        let found = Digest::with(wanted.digest.algorithm(), &bytes);
        if found != wanted.digest {
            let what = format!("{what} has the digest {found}");
            return Err(Error::broken(place, what));
        }
        Ok(bytes)
    }

    /// Whether the repository holds a blob.
    pub(crate) async fn has_blob(&self, digest: &Digest, size: u64) -> Result<bool> {
        let call = Call::new(Method::HEAD, self.url(&format!("blobs/{digest}")).await?);
        // Reading needs less, but the token then serves the upload as well.
        let answer = self.peer.ask(&call, &self.scope(true)).await?;
        match answer.status() {
            // Another length under this digest is a registry's mistake that sending may mend.
            StatusCode::OK => Ok(answer.length().is_none_or(|length| length == size)),
            StatusCode::NOT_FOUND => Ok(false),
            _ => Err(answer.failure().await),
        }
    }

    /// Puts a manifest; gives back what the registry answered.
    ///
    /// # Errors
    /// [`Error::Status`], [`Error::Broken`] where it says to have stored something else.
    pub(crate) async fn put_manifest(
        &self,
        reference: &Reference,
        media_type: &str,
        digest: &Digest,
        bytes: Bytes,
    ) -> Result<Response> {
        let url = self.url(&format!("manifests/{reference}")).await?;
        let call = Call::new(Method::PUT, url).body(media_type, bytes);
        let answer = self.peer.ask(&call, &self.scope(true)).await?;
        if !answer.status().is_success() {
            return Err(answer.failure().await);
        }
        if let Some(stored) = answer.named("docker-content-digest")
            && stored.split_once(':').map(|(kind, _)| kind) == Some(digest.algorithm().name())
            && stored != digest.to_string()
        {
            let what = format!("it stored the manifest {digest} as {}", shown(stored));
            return Err(Error::broken(answer.place(), what));
        }
        Ok(answer)
    }

    /// Manifests that refer to one: by the API, else by the tag that older registries need.
    pub(crate) async fn referrers(&self, subject: &Digest) -> Result<Vec<Referring>> {
        let limits = &self.peer.http.limits;
        let mut url = self.url(&format!("referrers/{subject}")).await?;
        let mut found = Vec::new();
        for _ in 0..limits.pages {
            let call = Call::get(url.clone())
                .header(header::ACCEPT, "application/vnd.oci.image.index.v1+json");
            let answer = self.peer.ask(&call, &self.scope(false)).await?;
            match answer.status() {
                StatusCode::OK => {}
                // Registries without the API answer many things.
                _ if answer.status().is_client_error() && found.is_empty() => {
                    return self.tagged_referrers(subject).await;
                }
                _ => return Err(answer.failure().await),
            }
            let next = next_page(&answer)?;
            let index: Index = answer.json("the list of referrers").await?;
            add_entries(&mut found, index, limits.referrers, &self.peer.host)?;
            match next {
                Some(next) => url = next,
                None => return Ok(found),
            }
        }
        Err(Error::broken(crate::address::place(&url), "a list of referrers without end"))
    }

    async fn tagged_referrers(&self, subject: &Digest) -> Result<Vec<Referring>> {
        let mut found = Vec::new();
        let tag = Reference::Tag(referrers_tag(subject)?);
        if let Some(manifest) = self.find_manifest(&tag, MANIFESTS).await? {
            let index: Index = serde_json::from_slice(&manifest.bytes).map_err(|error| {
                let what = format!("the index of referrers is not what it should be: {error}");
                Error::broken(self.address(&tag).to_string(), what)
            })?;
            add_entries(&mut found, index, self.peer.http.limits.referrers, &self.peer.host)?;
        }
        Ok(found)
    }
}

/// The tag under which registries without the API keep an index of referrers.
pub(crate) fn referrers_tag(subject: &Digest) -> Result<mdl_store::Tag> {
    let hex: String = subject.hex().chars().take(64).collect();
    Ok(format!("{}-{hex}", subject.algorithm().name()).parse()?)
}

fn add_entries(found: &mut Vec<Referring>, index: Index, limit: usize, host: &str) -> Result<()> {
    for entry in index.manifests {
        if found.len() >= limit {
            return Err(Error::broken(host, format!("more than {limit} referrers")));
        }
        found.push(Referring {
            descriptor: Descriptor {
                media_type: entry.media_type,
                digest: entry.digest.parse()?,
                size: entry.size,
            },
            artifact_type: entry.artifact_type,
            annotations: entry.annotations,
        });
    }
    Ok(())
}

/// `Link: <…>; rel="next"`, which must stay on the same server.
pub(crate) fn next_page(answer: &Response) -> Result<Option<url::Url>> {
    let Some(link) = answer.header(&header::LINK) else { return Ok(None) };
    let next = link.split(',').find_map(|one| {
        let (target, rest) = one.trim().strip_prefix('<')?.split_once('>')?;
        let rel = rest.split(';').any(|param| matches!(param.trim(), "rel=next" | "rel=\"next\""));
        rel.then_some(target)
    });
    let Some(target) = next else { return Ok(None) };
    let url = answer.url().join(target).ok();
    match url.filter(|url| crate::address::same_origin(url, answer.url())) {
        Some(url) => Ok(Some(url)),
        None => {
            let what = format!("its next page is elsewhere: {}", shown(target));
            Err(Error::broken(answer.place(), what))
        }
    }
}

/// What the registry says is the digest of a tag's manifest, which its bytes must have.
fn stated_digest(place: &str, stated: Option<&str>, bytes: &[u8]) -> Result<Digest> {
    let Some(stated) = stated else { return Ok(Digest::of(bytes)) };
    let stated: Digest = stated.parse()?;
    let found = Digest::with(stated.algorithm(), bytes);
    if found != stated {
        let what = format!("the manifest has the digest {found}, but it says {stated}");
        return Err(Error::broken(place, what));
    }
    Ok(found)
}

/// What the registry states, unless it states nothing; a manifest's own word must not differ.
fn manifest_type(stated: Option<&str>, bytes: &[u8], place: &str) -> Result<String> {
    #[derive(Deserialize)]
    struct Own {
        #[serde(rename = "mediaType")]
        media_type: Option<String>,
    }
    let own: Own = serde_json::from_slice(bytes)
        .map_err(|error| Error::broken(place, format!("not a manifest: {error}")))?;
    let stated = stated.map(|text| text.split(';').next().unwrap_or_default().trim().to_owned());
    let stated = stated.filter(|text| text.ends_with("+json"));
    match (own.media_type, stated) {
        (Some(own), Some(stated)) if own != stated => {
            let (own, stated) = (shown(&own), shown(&stated));
            let what = format!("a manifest of type {own} comes as {stated}");
            Err(Error::broken(place, what))
        }
        (Some(own), _) => Ok(own),
        (None, Some(stated)) => Ok(stated),
        (None, None) => Ok("application/vnd.oci.image.manifest.v1+json".to_owned()),
    }
}
