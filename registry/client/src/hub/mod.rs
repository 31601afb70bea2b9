//! Hugging Face hubs: models where they are published, each file checked against what the hub states.

use std::{fmt, str::FromStr, sync::Arc};

use http::StatusCode;
use mdl_artifact::Pattern;
use mdl_store::Digest;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use url::Url;

use crate::{
    Client, Error, Result,
    error::shown,
    fetch::{Check, Wanted},
    folder::{Folder, Placed, safe},
    http::Call,
    peer::{Identity, Peer, Scope},
    registry::next_page,
    source::Source,
};

/// What an address keeps as it is in a path.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A hub: where it is, and who we are to it.
#[derive(Clone)]
pub struct Hub {
    /// `HF_ENDPOINT`.
    pub endpoint: String,
    /// `HF_TOKEN`.
    pub token: Option<String>,
}

/// It shows no token.
impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hub({})", self.endpoint)
    }
}

impl Hub {
    /// The hub that the variables name, else Hugging Face's.
    pub fn from_variables() -> Self {
        let set = |name| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
        Self {
            endpoint: set("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".to_owned()),
            token: set("HF_TOKEN").map(|token| token.trim().to_owned()),
        }
    }
}

/// `ORG/NAME[@REVISION]` on a hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubName {
    /// `ORG/NAME`.
    pub id: String,
    /// A branch, tag or commit.
    pub revision: String,
}

impl FromStr for HubName {
    type Err = Error;

    /// With or without `hf://` before it.
    fn from_str(text: &str) -> Result<Self> {
        let bare = text.strip_prefix("hf://").unwrap_or(text);
        let (id, revision) = bare.split_once('@').unwrap_or((bare, "main"));
        let part = |part: &str| {
            !part.is_empty()
                && part.len() <= 96
                && !matches!(part, "." | "..")
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        };
        let sound = !revision.is_empty()
            && revision.len() <= 255
            && !revision.contains(|c: char| c.is_control() || c.is_whitespace());
        match id.split_once('/') {
            Some((org, name)) if part(org) && part(name) && sound => {
                Ok(Self { id: id.to_owned(), revision: revision.to_owned() })
            }
            _ => Err(Error::refused(
                format!("`{}` names no model on a hub", shown(text)),
                "write hf://ORG/NAME or hf://ORG/NAME@REVISION",
            )),
        }
    }
}

impl fmt::Display for HubName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "hf://{}@{}", self.id, self.revision)
    }
}

/// Where something came from.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Origin {
    /// Address of the repository.
    pub repository: String,
    /// The commit.
    pub commit: String,
    /// What the hub states as its licence.
    pub license: Option<String>,
}

/// A model on a hub.
#[derive(Debug, Clone)]
pub(crate) struct Listing {
    pub(crate) origin: Origin,
    pub(crate) files: Vec<Placed>,
}

/// What was fetched from a hub.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HubPulled {
    /// Where it came from.
    pub origin: Origin,
    /// Names of its files, those that were there already too.
    pub files: Vec<String>,
    /// Digests of the large ones.
    pub digests: Vec<Digest>,
    /// Bytes of all files.
    pub bytes: u64,
    /// Files that were there already.
    pub kept: u64,
    /// Bytes that were fetched.
    pub fetched_bytes: u64,
}

#[derive(Deserialize)]
struct Info {
    sha: Option<String>,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default, rename = "cardData")]
    card: serde_json::Value,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "type")]
    kind: String,
    path: String,
    #[serde(default)]
    size: u64,
    #[serde(default)]
    oid: String,
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    oid: String,
    size: u64,
}

impl Client {
    /// Fetches a model's files from a hub into a folder, under their own names.
    ///
    /// # Errors
    /// [`Error::Unknown`], [`Error::Unauthorized`], [`Error::Refused`], [`Error::Broken`] where the hub does not keep
    /// its word.
    pub async fn pull_hub_to(
        &self,
        hub: &Hub,
        name: &HubName,
        include: &[Pattern],
        folder: &std::path::Path,
        replace: bool,
    ) -> Result<HubPulled> {
        let open = self.hub_model(hub, name, include).await?;
        let (root, files) = (folder.to_owned(), open.listing.files.clone());
        let progress = self.options.progress.clone();
        let looked = tokio::task::spawn_blocking(move || {
            let folder = Folder::open(&root, replace)?;
            let lacking = folder.lacking(&files, progress.as_ref())?;
            Ok::<_, Error>((folder, lacking))
        });
        let (folder, lacking) = looked.await.map_err(|_| Error::Interrupted)??;
        let mut wanted = Vec::new();
        for file in &lacking {
            wanted.push(open.wanted(file, folder.partial(&file.check)?)?);
        }
        self.fetch_all(wanted).await?;
        let kept = (open.listing.files.len() - lacking.len()) as u64;
        let fetched_bytes = lacking.iter().map(|file| file.size).sum();
        tokio::task::spawn_blocking(move || folder.place(&lacking))
            .await
            .map_err(|_| Error::Interrupted)??;
        Ok(open.pulled(kept, fetched_bytes))
    }

    pub(crate) async fn hub_model(
        &self,
        hub: &Hub,
        name: &HubName,
        include: &[Pattern],
    ) -> Result<OpenModel> {
        let endpoint = Url::parse(hub.endpoint.trim_end_matches('/')).ok();
        let endpoint = endpoint.filter(|url| url.has_host() && url.query().is_none());
        let Some(endpoint) = endpoint else {
            let what = format!("`{}` is no address of a hub", shown(&hub.endpoint));
            return Err(Error::refused(what, "HF_ENDPOINT is written https://HOST"));
        };
        self.http.allow(&endpoint)?;
        let identity = Identity::Token(hub.token.clone());
        let peer = Arc::new(Peer::at(self.http.clone(), endpoint, identity));
        let mut listing = list(&peer, name).await?;
        listing.files.retain(|file| Pattern::wanted(include, &file.name));
        if listing.files.is_empty() {
            let what = format!("{name} has no file that is wanted");
            return Err(Error::refused(what, "look at --include: `*.gguf`, `**/*.json`"));
        }
        let id = name.id.clone();
        let mut urls = Vec::new();
        for file in &listing.files {
            let path: Vec<String> = file.name.split('/').map(encoded).collect();
            let below = format!("{id}/resolve/{}/{}", listing.origin.commit, path.join("/"));
            urls.push((file.name.clone(), peer.url(&below).await?));
        }
        Ok(OpenModel { peer, listing, urls: urls.into_iter().collect() })
    }
}

/// A model whose files can be fetched.
pub(crate) struct OpenModel {
    peer: Arc<Peer>,
    pub(crate) listing: Listing,
    urls: std::collections::BTreeMap<String, Url>,
}

impl OpenModel {
    fn wanted(&self, file: &Placed, partial: std::path::PathBuf) -> Result<Wanted> {
        let url = self.urls.get(&file.name).cloned();
        let url =
            url.ok_or_else(|| Error::broken(self.peer.host.clone(), "a file without address"))?;
        Ok(Wanted {
            source: Source {
                peer: self.peer.clone(),
                url,
                scope: Scope::default(),
                what: file.name.clone(),
                size: file.size,
            },
            check: file.check.clone(),
            partial,
        })
    }

    fn pulled(&self, kept: u64, fetched_bytes: u64) -> HubPulled {
        HubPulled {
            origin: self.listing.origin.clone(),
            files: self.listing.files.iter().map(|file| file.name.clone()).collect(),
            digests: self.listing.files.iter().filter_map(|file| file.check.digest()).collect(),
            bytes: self.listing.files.iter().map(|file| file.size).sum(),
            kept,
            fetched_bytes,
        }
    }
}

/// What a revision of a model holds.
async fn list(peer: &Arc<Peer>, name: &HubName) -> Result<Listing> {
    let limits = &peer.http.limits;
    let revision = encoded(&name.revision);
    let url = peer.url(&format!("api/models/{}/revision/{revision}", name.id)).await?;
    let info: Info = asked(peer, url, name).await?.json("what the hub says of a model").await?;
    let commit = info.sha.unwrap_or_default();
    if commit.len() != 40 || !commit.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        let what = format!("it names no commit for {name}");
        return Err(Error::broken(peer.host.clone(), what));
    }
    let mut url = peer.url(&format!("api/models/{}/tree/{commit}?recursive=true", name.id)).await?;
    let mut files = Vec::new();
    for _ in 0..limits.pages {
        let answer = asked(peer, url, name).await?;
        let next = next_page(&answer)?;
        let entries: Vec<Entry> = answer.json("the list of files").await?;
        for entry in entries.into_iter().filter(|entry| entry.kind == "file") {
            if files.len() >= limits.files {
                let what = format!("more than {} files", limits.files);
                return Err(Error::broken(peer.host.clone(), what));
            }
            files.push(entry.placed(&peer.host)?);
        }
        match next {
            Some(next) => url = next,
            None => {
                let license = license(&info.card, &info.tags);
                let repository = peer.url(&name.id).await?.to_string();
                return Ok(Listing { origin: Origin { repository, commit, license }, files });
            }
        }
    }
    Err(Error::broken(peer.host.clone(), "a list of files without end"))
}

async fn asked(peer: &Arc<Peer>, url: Url, name: &HubName) -> Result<crate::http::Response> {
    let answer = peer.ask(&Call::get(url), &Scope::default()).await?;
    match answer.status() {
        StatusCode::OK => Ok(answer),
        StatusCode::NOT_FOUND => {
            Err(Error::Unknown { host: peer.host.clone(), what: format!("model {name}") })
        }
        _ => Err(answer.failure().await),
    }
}

impl Entry {
    /// What the hub states of a file, checked.
    fn placed(self, host: &str) -> Result<Placed> {
        safe(&self.path)?;
        let odd =
            |what: &str| Err(Error::broken(host, format!("{} has {what}", shown(&self.path))));
        let (check, size) = match &self.lfs {
            Some(lfs) => match Digest::sha256(lfs.oid.trim_start_matches("sha256:")) {
                Ok(digest) => (Check::Digest(digest), lfs.size),
                Err(_) => return odd("no SHA-256"),
            },
            None if self.oid.len() == 40 && self.oid.bytes().all(|it| it.is_ascii_hexdigit()) => {
                (Check::GitBlob(self.oid.to_ascii_lowercase()), self.size)
            }
            None => return odd("no name that git gives"),
        };
        Ok(Placed { name: self.path, check, size })
    }
}

/// The licence that a card states, else the one among the tags.
fn license(card: &serde_json::Value, tags: &[String]) -> Option<String> {
    let stated = card.get("license").and_then(serde_json::Value::as_str).map(str::to_owned);
    let tagged = || tags.iter().find_map(|tag| tag.strip_prefix("license:")).map(str::to_owned);
    let name = card.get("license_name").and_then(serde_json::Value::as_str);
    match stated.or_else(tagged) {
        Some(other) if other == "other" => name.map(str::to_owned),
        license => license,
    }
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, PATH).to_string()
}
