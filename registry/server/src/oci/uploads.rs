//! Uploads: begun, gone on with, finished, cancelled.

use std::sync::Arc;

use http::{Method, Response, StatusCode, header};
use http_body::Body as _;
use mdl_store::{Algorithm, Digest, Error, Name, Store, UploadId, UploadStatus};

use super::{Answer, created, empty, set};
use crate::{
    app::Call,
    audit::Kind,
    body::Body,
    receive::{Chunk, Incoming, Received, linger, receive},
    refusal::Refusal,
    route,
};

/// `POST /v2/NAME/blobs/uploads/`
pub(super) async fn begin(call: &Call, repo: Name, body: Incoming) -> Answer {
    if call.parts.method != Method::POST {
        linger(&call.app, body);
        return Err(Refusal::method("POST"));
    }
    let digest = call.parameter("digest").map(|text| route::digest(&text)).transpose()?;
    let mount = call.parameter("mount").map(|text| route::digest(&text)).transpose()?;
    let algorithm = algorithm(call, digest.as_ref().or(mount.as_ref()))?;
    if let Some(digest) = mount {
        let from = call.parameter("from").map(|text| text.parse::<Name>());
        let to = repo.clone();
        let named = digest.clone();
        let mounted = call.blocking(move |store| mount_blob(store, from, &to, &named));
        let said = (repo.to_string(), digest.to_string());
        let mounted = call.changed(Kind::Mount, mounted, move |from, event| {
            let event = event.text("repository", &said.0).text("digest", &said.1);
            from.as_ref().map(|from| event.text("from", from.as_str()))
        });
        if mounted.await?.is_some() {
            linger(&call.app, body);
            return Ok(made(call, &repo, &digest));
        }
    }
    match digest {
        Some(digest) if body.is_end_stream() => probe(call, repo, digest, algorithm).await,
        Some(digest) => at_once(call, repo, digest, body).await,
        None => {
            linger(&call.app, body);
            let named = repo.clone();
            let id = call.blocking(move |store| store.begin_upload(&named, algorithm)).await?;
            Ok(going_on(call, &repo, &id, 0))
        }
    }
}

/// The hash that is to run while bytes come in.
fn algorithm(call: &Call, digest: Option<&Digest>) -> Result<Algorithm, Refusal> {
    let Some(name) = call.parameter("digest-algorithm") else {
        return Ok(digest.map_or(Algorithm::Sha256, Digest::algorithm));
    };
    Algorithm::named(&name).ok_or_else(|| {
        let what = "digest-algorithm is neither sha256 nor sha512";
        Refusal::bad("DIGEST_INVALID", what)
    })
}

/// From where a blob could be mounted: from the repository that is named, or without a name from any that holds it.
fn mount_blob(
    store: &dyn Store,
    from: Option<mdl_store::Result<Name>>,
    to: &Name,
    digest: &Digest,
) -> mdl_store::Result<Option<Name>> {
    let from = match from {
        Some(Ok(from)) => vec![from],
        // Nothing is in a repository that cannot be.
        Some(Err(_)) => return Ok(None),
        None => store.holders(digest, 1)?,
    };
    let Some(from) = from.into_iter().next() else { return Ok(None) };
    match store.mount_blob(&from, to, digest) {
        Ok(()) => Ok(Some(from)),
        Err(Error::BlobUnknown { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// POST with a digest and nothing else: Ollama asks whether the blob is there.
async fn probe(call: &Call, repo: Name, digest: Digest, algorithm: Algorithm) -> Answer {
    let named = (repo.clone(), digest.clone());
    let begun = call.blocking(move |store| {
        let (repo, digest) = &named;
        if *digest == Digest::with(digest.algorithm(), b"") {
            store.put_blob(repo, digest, b"")?;
            return Ok(None);
        }
        match store.stat_blob(repo, digest) {
            Ok(_) => Ok(None),
            Err(Error::BlobUnknown { .. }) => store.begin_upload(repo, algorithm).map(Some),
            Err(error) => Err(error),
        }
    });
    Ok(match begun.await? {
        None => made(call, &repo, &digest),
        Some(id) => going_on(call, &repo, &id, 0),
    })
}

/// POST with a digest and the blob.
async fn at_once(call: &Call, repo: Name, digest: Digest, body: Incoming) -> Answer {
    let (named, algorithm) = (repo.clone(), digest.algorithm());
    let begun = call.blocking(move |store| store.begin_upload(&named, algorithm)).await;
    let id = match begun {
        Ok(id) => id,
        Err(refusal) => {
            linger(&call.app, body);
            return Err(refusal);
        }
    };
    let length = body.size_hint().exact();
    let received = receive(&call.app, chunk(call, &repo, &id, Some(0), length, body)).await;
    let is_empty = |received: &Received| received.bytes == 0;
    match received {
        // It was empty after all.
        Ok(received) if is_empty(&received) && digest != Digest::with(algorithm, b"") => {
            Ok(going_on(call, &repo, &id, 0))
        }
        Ok(_) => finish(call, repo, id, digest).await,
        Err(refusal) => {
            // Nobody knows of the upload who could go on with it.
            let named = id.clone();
            let cancel = call.app.alone(&id, move |store| store.cancel_upload(&repo, &named));
            let _ = cancel.await;
            Err(refusal)
        }
    }
}

/// `GET`, `PATCH`, `PUT` and `DELETE /v2/NAME/blobs/uploads/ID`
pub(super) async fn go_on(call: &Call, repo: Name, id: UploadId, body: Incoming) -> Answer {
    if !call.owns(&id) {
        linger(&call.app, body);
        return Err(Error::UploadUnknown(repo).into());
    }
    match call.parts.method {
        Method::PATCH => patch(call, repo, id, body).await,
        Method::PUT => put(call, repo, id, body).await,
        Method::GET | Method::HEAD => {
            let status = status(call, &repo, &id).await?;
            let mut answer = going_on(call, &repo, &id, status.offset);
            *answer.status_mut() = StatusCode::NO_CONTENT;
            Ok(answer)
        }
        Method::DELETE => {
            let named = id.clone();
            call.app.alone(&id, move |store| store.cancel_upload(&repo, &named)).await?;
            Ok(empty(StatusCode::NO_CONTENT))
        }
        _ => {
            linger(&call.app, body);
            Err(Refusal::method("GET, PATCH, PUT, DELETE"))
        }
    }
}

async fn status(call: &Call, repo: &Name, id: &UploadId) -> Result<UploadStatus, Refusal> {
    call.app.settled(id).await;
    let (repo, id) = (repo.clone(), id.clone());
    call.blocking(move |store| store.upload(&repo, &id)).await
}

async fn patch(call: &Call, repo: Name, id: UploadId, body: Incoming) -> Answer {
    let stated = match stated(call, &body) {
        Ok(stated) => stated,
        Err(refusal) => {
            linger(&call.app, body);
            return Err(refusal);
        }
    };
    let received = taken(call, &repo, &id, stated, body).await?;
    Ok(going_on(call, &repo, &id, received.status.offset))
}

async fn put(call: &Call, repo: Name, id: UploadId, body: Incoming) -> Answer {
    let digest = call.parameter("digest");
    let digest = digest.ok_or_else(|| Refusal::bad("DIGEST_INVALID", "the digest is missing"));
    let digest = digest.and_then(|text| route::digest(&text).map_err(Refusal::from));
    let checked = digest.and_then(|digest| Ok((digest, stated(call, &body)?)));
    let (digest, stated) = match checked {
        Ok(checked) => checked,
        Err(refusal) => {
            linger(&call.app, body);
            return Err(refusal);
        }
    };
    if !body.is_end_stream() {
        taken(call, &repo, &id, stated, body).await?;
    }
    finish(call, repo, id, digest).await
}

/// Where a chunk says to begin, and how long it says to be.
type Stated = (Option<u64>, Option<u64>);

fn stated(call: &Call, body: &Incoming) -> Result<Stated, Refusal> {
    let length = body.size_hint().exact();
    let Some(range) = call.parts.headers.get(header::CONTENT_RANGE) else {
        return Ok((None, length));
    };
    let range = range.to_str().ok().and_then(content_range);
    let Some((first, last)) = range else {
        let what = "the Content-Range is none: write FIRST-LAST";
        return Err(Refusal::bad("BLOB_UPLOAD_INVALID", what));
    };
    let range = last - first + 1;
    if length.is_some_and(|length| length != range) {
        let what = "the Content-Range and the length of the body differ";
        return Err(Refusal::bad("SIZE_INVALID", what));
    }
    Ok((Some(first), Some(range)))
}

/// `FIRST-LAST`, as the specification has it, or as other protocols do `bytes FIRST-LAST/ALL`.
fn content_range(text: &str) -> Option<(u64, u64)> {
    let text = text.trim();
    let text = text.strip_prefix("bytes").map_or(text, |rest| rest.trim_start_matches([' ', '=']));
    let range = text.split_once('/').map_or(text, |(range, _)| range);
    let (first, last) = range.split_once('-')?;
    let number = |text: &str| {
        text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u64>().ok())?
    };
    let (first, last) = (number(first)?, number(last)?);
    (first <= last && last < u64::MAX).then_some((first, last))
}

/// Receives a chunk; where it does not go on from what is held, says what is.
async fn taken(
    call: &Call,
    repo: &Name,
    id: &UploadId,
    (start, length): Stated,
    body: Incoming,
) -> Result<Received, Refusal> {
    let taken = receive(&call.app, chunk(call, repo, id, start, length, body)).await;
    match taken {
        Err(refusal) if refusal.status == StatusCode::RANGE_NOT_SATISFIABLE => {
            let held = status(call, repo, id).await?.offset;
            Err(refusal
                .with(header::RANGE, &range(held))
                .with(header::LOCATION, &call.address(&call.owned(&path(repo, id), id))))
        }
        other => other,
    }
}

fn chunk(
    call: &Call,
    repo: &Name,
    id: &UploadId,
    start: Option<u64>,
    length: Option<u64>,
    body: Incoming,
) -> Chunk {
    let (repo, id, idle) = (repo.clone(), id.clone(), call.config.timeouts.idle.0);
    Chunk { repo, id, start, length, body, idle }
}

async fn finish(call: &Call, repo: Name, id: UploadId, digest: Digest) -> Answer {
    let named = (repo.clone(), id.clone(), digest.clone());
    let app = Arc::clone(&call.app);
    let finished = async move {
        let (_, id, _) = &named;
        let work = named.clone();
        app.alone(id, move |store| store.finish_upload(&work.0, &work.1, &work.2)).await
    };
    let said = (repo.to_string(), digest.to_string());
    let finished = call.changed(Kind::Upload, finished, move |_, event| {
        Some(event.text("repository", &said.0).text("digest", &said.1))
    });
    finished.await?;
    Ok(made(call, &repo, &digest))
}

/// 201 for a blob.
fn made(call: &Call, repo: &Name, digest: &Digest) -> Response<Body> {
    created(call, &format!("/v2/{repo}/blobs/{digest}"), digest)
}

fn path(repo: &Name, id: &UploadId) -> String {
    format!("/v2/{repo}/blobs/uploads/{}", id.0)
}

/// 202 for an upload that holds so many bytes. Its address is absolute: Ollama needs that.
fn going_on(call: &Call, repo: &Name, id: &UploadId, held: u64) -> Response<Body> {
    let mut answer = empty(StatusCode::ACCEPTED);
    set(&mut answer, "location", &call.address(&call.owned(&path(repo, id), id)));
    set(&mut answer, "range", &range(held));
    set(&mut answer, "docker-upload-uuid", &id.0);
    answer
}

/// What is held, as a range; of nothing registries say the same as of one byte.
fn range(held: u64) -> String {
    format!("0-{}", held.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_chunks_are_read() {
        for (text, range) in [
            ("0-9", Some((0, 9))),
            ("5-5", Some((5, 5))),
            ("bytes 5-9/10", Some((5, 9))),
            ("bytes=5-9/*", Some((5, 9))),
            (" 5-9 ", Some((5, 9))),
            ("9-5", None),
            ("0-18446744073709551615", None),
            ("0-99999999999999999999", None),
            ("-5", None),
            ("5-", None),
            ("+1-2", None),
            ("a-b", None),
            ("", None),
        ] {
            assert_eq!(content_range(text), range, "{text}");
        }
        assert_eq!(
            (range(0).as_str(), range(1).as_str(), range(9).as_str()),
            ("0-0", "0-0", "0-8")
        );
    }
}
