//! The Hugging Face Hub's addresses for downloading, over the same manifests and blobs.

pub(crate) mod address;
mod info;
pub(crate) mod revision;
mod tree;

use http::StatusCode;
use mdl_store::{Digest, Error, Name, Reference, Store, StoredManifest, TagInfo};
use serde_json::{Value, json};
use url::form_urlencoded;

use self::{
    address::{About, Address},
    info::Identity,
    revision::{Meaning, commit_of},
};
use super::{
    answer::{Answer, Headers},
    derive,
    known::Known,
    origin::Origin,
    units::Day,
};

/// Tags of a repository that are looked at.
const TAGS: usize = 10_000;

/// Manifests of a repository that are looked through for a commit without a tag.
const MANIFESTS: usize = 10_000;

/// Repositories that a search looks at.
const REPOSITORIES: usize = 20_000;

/// Paths that one request may ask for.
const PATHS: usize = 1000;

/// A request, as far as the answer depends on it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Question<'a> {
    /// Where the reader came to.
    pub(crate) origin: &'a Origin,
    /// What it asks for.
    pub(crate) address: &'a Address,
    /// The path as it was sent.
    pub(crate) path: &'a str,
    /// What follows the question mark.
    pub(crate) query: &'a str,
    /// `Content-Type` of the body.
    pub(crate) body_type: &'a str,
    /// The body.
    pub(crate) body: &'a [u8],
}

/// Why there is nothing: the Hub's codes.
enum Refusal {
    Repository,
    Revision,
    Entry { commit: String },
    Store(Error),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        match error {
            Error::NameUnknown(_) => Self::Repository,
            Error::ManifestUnknown { .. } => Self::Revision,
            other => Self::Store(other),
        }
    }
}

/// Answers a request of a Hugging Face client. Reads the store: to be called from a blocking thread.
pub(crate) fn answer(store: &dyn Store, question: &Question<'_>) -> Answer {
    let answer = match question.address {
        Address::Unknown => Err(Refusal::Repository),
        Address::WhoAmI => Ok(Answer::json(StatusCode::OK, &anonymous(), Headers::new())),
        Address::Models => models(store, question),
        Address::Of(repo, about) => of(store, question, repo, about),
    };
    answer.unwrap_or_else(|refusal| refused(&refusal))
}

fn refused(refusal: &Refusal) -> Answer {
    let (status, code, message) = match refusal {
        Refusal::Repository => (StatusCode::NOT_FOUND, "RepoNotFound", "Repository not found"),
        Refusal::Revision => (StatusCode::NOT_FOUND, "RevisionNotFound", "Invalid rev id"),
        Refusal::Entry { .. } => (StatusCode::NOT_FOUND, "EntryNotFound", "Entry not found"),
        Refusal::Store(error) => {
            tracing::error!("{error}");
            (StatusCode::INTERNAL_SERVER_ERROR, "InternalError", "The registry's store failed")
        }
    };
    let mut headers =
        vec![("x-error-code", code.to_owned()), ("x-error-message", message.to_owned())];
    if let Refusal::Entry { commit } = refusal {
        headers.push(("x-repo-commit", commit.clone()));
    }
    Answer::json(status, &json!({ "error": message }), headers)
}

/// Without accounts everybody is the same.
fn anonymous() -> Value {
    json!({
        "type": "user",
        "id": "anonymous",
        "name": "anonymous",
        "fullname": "anonymous",
        "isPro": false,
        "orgs": [],
        "auth": { "type": "access_token", "accessToken": { "displayName": "none", "role": "read" } },
    })
}

fn of(
    store: &dyn Store,
    question: &Question<'_>,
    repo: &Name,
    about: &About,
) -> Result<Answer, Refusal> {
    let tags = tags(store, repo)?;
    if let About::Refs = about {
        return Ok(Answer::json(StatusCode::OK, &refs(&tags)?, Headers::new()));
    }
    at_revision(store, question, repo, about, &tags)
}

fn at_revision(
    store: &dyn Store,
    question: &Question<'_>,
    repo: &Name,
    about: &About,
    tags: &[TagInfo],
) -> Result<Answer, Refusal> {
    let revision = match about {
        About::Info(revision) => revision.as_deref().unwrap_or("main"),
        About::Tree(revision, _)
        | About::Paths(revision)
        | About::Commits(revision)
        | About::File(revision, _) => revision,
        About::Refs => "main",
    };
    let manifest = resolved(store, repo, revision, tags)?;
    let commit = commit_of(&manifest.digest);
    let json = |value: &Value, mut headers: Headers| {
        headers.push(("x-repo-commit", commit.clone()));
        Ok(Answer::json(StatusCode::OK, value, headers))
    };
    if let About::Commits(_) = about {
        return json(&commits(&commit, &manifest), Headers::new());
    }
    let known = derive::known(store, repo, &manifest)?;
    match about {
        About::Info(_) => {
            let identity = Identity { id: repo.as_str(), commit: &commit, pushed: manifest.pushed };
            let blobs = parameter(question.query, "blobs").is_some_and(|value| is_true(&value));
            json(&info::whole(&identity, &known, blobs), Headers::new())
        }
        About::Tree(_, path) => {
            let recursive = parameter(question.query, "recursive").is_some_and(|it| is_true(&it));
            let items = tree::list(&known.files, path, recursive);
            let items = items.ok_or_else(|| Refusal::Entry { commit: commit.clone() })?;
            let (items, headers) = page(question, items);
            json(&json!(items), headers)
        }
        About::Paths(_) => {
            let paths = asked_paths(question.body_type, question.body);
            json(&json!(tree::some(&known.files, &paths)), Headers::new())
        }
        About::File(_, path) => file(repo, &known, path, commit),
        About::Commits(_) | About::Refs => Err(Refusal::Repository),
    }
}

/// A file, with the headers by which the Hub's clients name it in their caches.
fn file(repo: &Name, known: &Known, path: &str, commit: String) -> Result<Answer, Refusal> {
    let found = known.files.iter().find(|file| file.name == path);
    let Some((file, digest)) = found.and_then(|file| Some((file, file.digest()?))) else {
        return Err(Refusal::Entry { commit });
    };
    let etag = if file.lfs { digest.hex() } else { &file.oid };
    let mut headers = vec![("x-repo-commit", commit), ("etag", format!("\"{etag}\""))];
    if file.lfs {
        headers.push(("x-linked-etag", format!("\"{etag}\"")));
        headers.push(("x-linked-size", file.size.to_string()));
    }
    Ok(Answer::Blob { repo: repo.clone(), digest, headers })
}

/// All tags of a repository.
fn tags(store: &dyn Store, repo: &Name) -> Result<Vec<TagInfo>, Refusal> {
    Ok(store.tags(repo, None, TAGS)?.items)
}

/// The manifest that a revision names.
fn resolved(
    store: &dyn Store,
    repo: &Name,
    revision: &str,
    tags: &[TagInfo],
) -> Result<StoredManifest, Refusal> {
    let digest = match revision::meaning(revision, tags) {
        Meaning::Tagged(info) => info.digest.clone(),
        Meaning::Commit(hex) => untagged(store, repo, &hex)?.ok_or(Refusal::Revision)?,
        Meaning::Nothing => return Err(Refusal::Revision),
    };
    Ok(store.manifest(repo, &Reference::Digest(digest))?)
}

/// The manifest without a tag whose digest begins so.
fn untagged(store: &dyn Store, repo: &Name, hex: &str) -> Result<Option<Digest>, Refusal> {
    let manifests = store.manifests(repo, None, MANIFESTS)?.items;
    Ok(manifests.into_iter().map(|info| info.digest).find(|digest| digest.hex().starts_with(hex)))
}

/// Every tag is a branch; `main` is one in any case.
fn refs(tags: &[TagInfo]) -> Result<Value, Refusal> {
    let branch = |name: &str, digest: &Digest| {
        json!({
            "name": name,
            "ref": format!("refs/heads/{name}"),
            "targetCommit": commit_of(digest),
        })
    };
    let main = revision::main_of(tags).ok_or(Refusal::Revision)?;
    let others =
        tags.iter().filter(|info| info.tag.as_str() != "main" && !info.tag.is_attachment());
    let mut branches = vec![branch("main", &main.digest)];
    branches.extend(others.map(|info| branch(info.tag.as_str(), &info.digest)));
    Ok(json!({ "branches": branches, "tags": [], "converts": [], "pullRequests": [] }))
}

/// A manifest has no history: it is its own only commit.
fn commits(commit: &str, manifest: &StoredManifest) -> Value {
    json!([{
        "id": commit,
        "title": format!("Pushed as {}", manifest.digest),
        "message": "",
        "authors": [],
        "date": Day::of(manifest.pushed).timestamp(),
    }])
}

/// The list of models, those after a cursor, filtered.
fn models(store: &dyn Store, question: &Question<'_>) -> Result<Answer, Refusal> {
    let asked = |name: &str| parameter(question.query, name).map(|it| it.to_ascii_lowercase());
    let limit = asked("limit").and_then(|it| it.parse().ok()).unwrap_or(tree::PAGE);
    let limit = limit.clamp(1, tree::PAGE);
    let (search, author) = (asked("search").unwrap_or_default(), asked("author"));
    let filters: Vec<String> = form_urlencoded::parse(question.query.as_bytes())
        .filter(|(name, _)| name == "filter")
        .flat_map(|(_, value)| value.split(',').map(str::to_owned).collect::<Vec<_>>())
        .collect();
    let cursor = parameter(question.query, "cursor");
    let repos = store.repositories(cursor.as_deref(), REPOSITORIES)?;
    let (mut found, mut next) = (Vec::new(), None);
    for repo in &repos.items {
        let Some((namespace, name)) = repo.as_str().split_once('/') else { continue };
        let wanted = author.as_deref().is_none_or(|author| author == namespace)
            && repo.as_str().contains(&search)
            && !name.contains('/');
        if !wanted {
            continue;
        }
        if found.len() == limit {
            next = found.last().map(|(repo, _): &(&Name, Value)| repo.to_string());
            break;
        }
        let Some(line) = line(store, repo)? else { continue };
        let tagged = |filter: &String| {
            line["tags"].as_array().is_some_and(|tags| tags.iter().any(|tag| tag == filter))
        };
        if filters.iter().all(tagged) {
            found.push((repo, line));
        }
    }
    let headers = next.map(|next| link(question, &next)).into_iter().collect();
    let lines: Vec<Value> = found.into_iter().map(|(_, line)| line).collect();
    Ok(Answer::json(StatusCode::OK, &json!(lines), headers))
}

/// A repository's line in the list; none where `main` is nothing.
fn line(store: &dyn Store, repo: &Name) -> Result<Option<Value>, Refusal> {
    let found = tags(store, repo).and_then(|tags| {
        let manifest = resolved(store, repo, "main", &tags)?;
        let known = derive::known(store, repo, &manifest)?;
        let commit = commit_of(&manifest.digest);
        let identity = Identity { id: repo.as_str(), commit: &commit, pushed: manifest.pushed };
        Ok(Value::Object(info::brief(&identity, &known)))
    });
    match found {
        Ok(line) => Ok(Some(line)),
        // It may have been deleted since it was listed.
        Err(Refusal::Repository | Refusal::Revision | Refusal::Entry { .. }) => Ok(None),
        Err(failed @ Refusal::Store(_)) => Err(failed),
    }
}

/// Cuts a page from a list; its cursor counts items, for what a commit lists never changes.
fn page(question: &Question<'_>, items: Vec<tree::Item>) -> (Vec<tree::Item>, Headers) {
    let number = |name| parameter(question.query, name).and_then(|it| it.parse::<usize>().ok());
    let start = number("cursor").unwrap_or(0);
    let limit = number("limit").unwrap_or(tree::PAGE).clamp(1, tree::PAGE);
    let end = start.saturating_add(limit);
    let headers = (end < items.len()).then(|| link(question, &end.to_string()));
    (items.into_iter().skip(start).take(limit).collect(), headers.into_iter().collect())
}

/// The header that names the next page of a list.
fn link(question: &Question<'_>, cursor: &str) -> (&'static str, String) {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in form_urlencoded::parse(question.query.as_bytes()) {
        if name != "cursor" {
            query.append_pair(&name, &value);
        }
    }
    query.append_pair("cursor", cursor);
    let (base, path) = (question.origin.base(), question.path);
    ("link", format!("<{base}{path}?{}>; rel=\"next\"", query.finish()))
}

/// Paths that a body names: a form or JSON.
fn asked_paths(body_type: &str, body: &[u8]) -> Vec<String> {
    if body_type.starts_with("application/json") {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let paths = body["paths"].as_array().into_iter().flatten();
        return paths.filter_map(Value::as_str).take(PATHS).map(str::to_owned).collect();
    }
    form_urlencoded::parse(body)
        .filter(|(name, _)| name == "paths" || name == "paths[]")
        .take(PATHS)
        .map(|(_, value)| value.into_owned())
        .collect()
}

fn parameter(query: &str, name: &str) -> Option<String> {
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    pairs.find(|(found, _)| found == name).map(|(_, value)| value.into_owned())
}

fn is_true(value: &str) -> bool {
    ["1", "true"].iter().any(|it| it.eq_ignore_ascii_case(value))
}
