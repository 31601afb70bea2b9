//! Manifests: read, pushed, deleted.

use std::fmt::Write as _;

use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode, header};
use mdl_store::{Digest, Error, Links, Name, Reference, StoredManifest, Tag};
use serde::Deserialize;

use super::{Answer, created, empty, repo, set};
use crate::{
    app::Call,
    audit::{Event, Kind},
    blob::POLICY,
    body::Body,
    receive::{Incoming, small},
    refusal::Refusal,
    route,
    views::ollama,
};

/// Tags that one request may set.
const TAGS: usize = 100;

/// Digests that one Warning names, and Warnings of one answer.
const NAMED: usize = 16;
const WARNINGS: usize = 12;

/// `GET`, `HEAD`, `PUT` and `DELETE /v2/NAME/manifests/REFERENCE`
pub(super) async fn answer(
    call: &Call,
    name: &str,
    reference: &str,
    body: Option<Incoming>,
) -> Answer {
    let reference = route::reference(reference)?;
    match (&call.parts.method, body) {
        (&Method::GET | &Method::HEAD, _) => read(call, name, reference).await,
        (&Method::PUT, Some(body)) => put(call, repo(call, name)?, reference, body).await,
        (&Method::DELETE, _) => delete(call, repo(call, name)?, reference).await,
        _ => Err(Refusal::method("GET, HEAD, PUT, DELETE")),
    }
}

async fn read(call: &Call, name: &str, reference: Reference) -> Answer {
    let headers = &call.parts.headers;
    let docker = ollama::wants_docker(headers);
    let named = if docker || ollama::is_ollama(headers) { None } else { Some(route::name(name)?) };
    let name = name.to_owned();
    let tag = match &reference {
        Reference::Tag(tag) => Some(tag.clone()),
        Reference::Digest(_) => None,
    };
    let stored = call.blocking(move |store| {
        let repo = match named {
            Some(repo) => repo,
            None => ollama::repository(store, &name).ok_or(Error::NameInvalid(name))?,
        };
        let stored = store.manifest(&repo, &reference)?;
        let digest = stored.digest.clone();
        let stored = if docker { ollama::manifest(store, &repo, stored)? } else { stored };
        Ok((repo, digest, stored))
    });
    let (repo, digest, stored) = stored.await?;
    let answer = shown(call, stored);
    if answer.status() == StatusCode::OK {
        call.pulled(|event| pulled(event, &repo, tag.as_ref(), &digest, docker)).await;
    }
    Ok(answer)
}

/// What the audit log says of a manifest that was read: which was pushed, whatever was made of it.
fn pulled(event: Event, repo: &Name, tag: Option<&Tag>, digest: &Digest, docker: bool) -> Event {
    let event = event.text("repository", repo.as_str()).list("tags", tag.map(Tag::as_str));
    event.text("digest", &digest.to_string()).maybe("view", docker.then_some("ollama"))
}

fn shown(call: &Call, stored: StoredManifest) -> Response<Body> {
    let etag = format!("\"{}\"", stored.digest);
    let known = call.header(&header::IF_NONE_MATCH);
    let known = known.is_some_and(|known| known.split(',').any(|tag| tag.trim() == etag));
    let length = stored.bytes.len();
    let body = match call.parts.method {
        _ if known => Body::empty(),
        Method::HEAD => Body::empty(),
        _ => Body::whole(Bytes::from(stored.bytes)),
    };
    let mut answer = Response::new(body);
    if known {
        *answer.status_mut() = StatusCode::NOT_MODIFIED;
    } else {
        answer.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    set(&mut answer, "content-type", &stored.media_type);
    set(&mut answer, "docker-content-digest", &stored.digest.to_string());
    set(&mut answer, "etag", &etag);
    set(&mut answer, "vary", "Accept");
    set(&mut answer, "content-disposition", "attachment");
    set(&mut answer, "content-security-policy", POLICY);
    answer
}

async fn put(call: &Call, repo: Name, reference: Reference, body: Incoming) -> Answer {
    let limits = call.config.store_limits();
    let stated = media_type(call)?;
    let tags = tags(call, &reference)?;
    let bytes = small(call, body, limits.manifest_bytes, "MANIFEST_INVALID").await?;
    let put = call.blocking({
        let repo = repo.clone();
        let tags = tags.clone();
        move |store| {
            let media_type = stated.or_else(|| own_type(&bytes)).ok_or_else(|| {
                Error::ManifestInvalid("neither it nor the request says its media type".to_owned())
            })?;
            let digest = match &reference {
                Reference::Digest(stated) => {
                    let found = Digest::with(stated.algorithm(), &bytes);
                    if found != *stated {
                        return Err(Error::DigestMismatch { stated: stated.clone(), found });
                    }
                    found
                }
                Reference::Tag(_) => Digest::of(&bytes),
            };
            let links = Links::read(&media_type, &bytes, &limits)?;
            let pushed = store.put_manifest(&repo, &digest, &media_type, &bytes, &links, &tags)?;
            Ok((digest, links.subject, pushed.lacking))
        }
    });
    let said = (repo.to_string(), tags.clone());
    let pushed = call.changed(Kind::Push, put, move |(digest, ..), event| {
        let event = event.text("repository", &said.0).list("tags", said.1.iter().map(Tag::as_str));
        Some(event.text("digest", &digest.to_string()))
    });
    let (digest, subject, lacking) = pushed.await?;
    // What refers to another is there with that.
    let hidden = match &subject {
        None => call.lacks(&repo, tags.first(), &digest).await?,
        Some(subject) => {
            call.referred_to(&repo, &subject.digest).await?;
            Vec::new()
        }
    };
    let mut answer = created(call, &format!("/v2/{repo}/manifests/{digest}"), &digest);
    for tag in &tags {
        set(&mut answer, "oci-tag", tag.as_str());
    }
    if let Some(subject) = subject {
        set(&mut answer, "oci-subject", &subject.digest.to_string());
    }
    for text in warnings(&lacking).into_iter().chain(hidden.iter().map(|it| demanded(it))) {
        set(&mut answer, "warning", &text);
    }
    Ok(answer)
}

/// The media type that a request states, without its parameters.
fn media_type(call: &Call) -> Result<Option<String>, Refusal> {
    let Some(stated) = call.parts.headers.get(header::CONTENT_TYPE) else { return Ok(None) };
    let stated = stated.to_str().unwrap_or_default();
    let media_type = stated.split(';').next().unwrap_or_default().trim();
    let word = |text: &str| {
        let other = |byte| b"!#$&-^_.+".contains(&byte);
        (1..=127).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || other(byte))
    };
    match media_type.split_once('/') {
        Some((kind, subtype)) if word(kind) && word(subtype) => Ok(Some(media_type.to_owned())),
        _ => Err(Refusal::bad("MANIFEST_INVALID", "the Content-Type is no media type")),
    }
}

/// The media type that a manifest states in itself.
fn own_type(bytes: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Typed {
        media_type: String,
    }
    serde_json::from_slice(bytes).ok().map(|typed: Typed| typed.media_type)
}

/// Tags to set: the one in the path, or those in the query.
fn tags(call: &Call, reference: &Reference) -> Result<Vec<Tag>, Refusal> {
    if let Reference::Tag(tag) = reference {
        return Ok(vec![tag.clone()]);
    }
    let mut tags = Vec::new();
    for text in call.parameters("tag") {
        let tag: Tag = text.parse()?;
        if !tags.contains(&tag) {
            tags.push(tag);
        }
        if tags.len() > TAGS {
            let what = format!("a request sets at most {TAGS} tags");
            return Err(Refusal::bad("TAG_INVALID", what));
        }
    }
    Ok(tags)
}

/// Says what a manifest names that is not there. More than a header holds is counted.
fn warnings(lacking: &[Digest]) -> Vec<String> {
    let mut texts = Vec::new();
    for part in lacking.chunks(NAMED).take(WARNINGS) {
        let mut text = "299 - \"this repository lacks".to_owned();
        for digest in part {
            // Writing to a String cannot fail.
            let _ = write!(text, " {digest}");
        }
        text.push('"');
        texts.push(text);
    }
    let more = lacking.len().saturating_sub(NAMED * WARNINGS);
    if more > 0 {
        texts.push(format!("299 - \"and {more} more\""));
    }
    texts
}

/// Says what a manifest lacks before others see it.
fn demanded(lack: &str) -> String {
    let plain =
        |c: char| if c.is_ascii_graphic() && c != '"' && c != '\\' || c == ' ' { c } else { '?' };
    let text: String = lack.chars().take(400).map(plain).collect();
    format!("299 - \"others see this when it has {text}\"")
}

async fn delete(call: &Call, repo: Name, reference: Reference) -> Answer {
    let said = (repo.to_string(), reference.clone());
    let delete = call.blocking(move |store| match &reference {
        Reference::Tag(tag) => store.delete_tag(&repo, tag),
        Reference::Digest(digest) => store.delete_manifest(&repo, digest),
    });
    let deleted = call.changed(Kind::Delete, delete, move |(), event| {
        let event = event.text("repository", &said.0);
        Some(match &said.1 {
            Reference::Tag(tag) => event.list("tags", [tag.as_str()]),
            Reference::Digest(digest) => event.text("digest", &digest.to_string()),
        })
    });
    deleted.await?;
    Ok(empty(StatusCode::ACCEPTED))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lacking_is_named_in_headers_of_bounded_length() {
        let digests: Vec<Digest> = (0..1000u32).map(|n| Digest::of(&n.to_le_bytes())).collect();
        assert!(warnings(&[]).is_empty());
        let few = warnings(&digests[..2]);
        assert_eq!(few.len(), 1);
        assert!(few[0].starts_with("299 - \"") && few[0].contains(&digests[1].to_string()));
        let many = warnings(&digests);
        assert_eq!(many.len(), WARNINGS + 1);
        assert!(many.iter().map(String::len).sum::<usize>() < 16 << 10);
        assert!(many[WARNINGS].contains(&format!("{} more", 1000 - NAMED * WARNINGS)));
    }
}
