//! What a registry holds: repositories, tags, and all blobs that they lead to.

use http::{StatusCode, header};
use mdl_artifact::bundle::Inventory;
use mdl_store::{Links, Name, Reference, Tag};
use serde::Deserialize;

use crate::{
    Client, Error, Result,
    http::Call,
    peer::{Peer, Scope},
    registry::{MANIFESTS, next_page},
};

/// Names in one listing.
const NAMES: usize = 1_000_000;
/// Manifests within manifests that are followed.
const DEPTH: usize = 4;

#[derive(Deserialize)]
struct Names {
    #[serde(alias = "repositories", alias = "tags")]
    names: Option<Vec<String>>,
}

impl Client {
    /// The repositories of a registry, as far as it shows them.
    ///
    /// # Errors
    /// [`Error::Unauthorized`], [`Error::Status`] where it has no such list.
    pub async fn repositories(&self, host: &str) -> Result<Vec<Name>> {
        let peer = self.peer(host);
        let scope = Scope(vec!["registry:catalog:*".to_owned()]);
        let names = names(&peer, "v2/_catalog?n=1000", &scope).await?;
        names.iter().map(|name| Ok(name.parse()?)).collect()
    }

    /// The tags of a repository.
    ///
    /// # Errors
    /// As [`Client::repositories`].
    pub async fn tags(&self, host: &str, name: &Name) -> Result<Vec<Tag>> {
        let repository = self.repository(host, name);
        let below = format!("v2/{}/tags/list?n=1000", repository.peer.repository(name));
        let tags = names(&repository.peer, &below, &repository.scope(false)).await?;
        tags.iter().map(|tag| Ok(tag.parse()?)).collect()
    }

    /// Every blob that a tag of a registry leads to.
    ///
    /// # Errors
    /// As [`Client::repositories`].
    pub async fn inventory(&self, host: &str) -> Result<Inventory> {
        let mut found = Inventory::default();
        for name in self.repositories(host).await? {
            let repository = self.repository(host, &name);
            for tag in self.tags(host, &name).await? {
                let mut open = vec![(Reference::Tag(tag), DEPTH)];
                while let Some((reference, depth)) = open.pop() {
                    let Some(manifest) = repository.find_manifest(&reference, MANIFESTS).await?
                    else {
                        continue;
                    };
                    let limits = &self.options.limits.manifest;
                    let links = Links::read(&manifest.media_type, &manifest.bytes, limits);
                    // What cannot be understood has nothing that could be relied on.
                    let Ok(links) = links else { continue };
                    for blob in links.blobs {
                        found.add(&blob.digest, blob.size, Some(&name));
                    }
                    let deeper = links.manifests.into_iter().filter(|_| depth > 0);
                    open.extend(deeper.map(|it| (Reference::Digest(it.digest), depth - 1)));
                }
            }
        }
        Ok(found)
    }
}

/// All pages of a list of names.
async fn names(peer: &Peer, below: &str, scope: &Scope) -> Result<Vec<String>> {
    let mut url = peer.url(below).await?;
    let mut found = Vec::new();
    for _ in 0..peer.http.limits.pages {
        let call = Call::get(url.clone()).header(header::ACCEPT, "application/json");
        let answer = peer.ask(&call, scope).await?;
        if answer.status() != StatusCode::OK {
            return Err(answer.failure().await);
        }
        let next = next_page(&answer)?;
        let page: Names = answer.json("the list").await?;
        found.extend(page.names.unwrap_or_default());
        if found.len() > NAMES {
            break;
        }
        match next {
            Some(next) => url = next,
            None => return Ok(found),
        }
    }
    Err(Error::broken(crate::address::place(&url), "a list without end"))
}
