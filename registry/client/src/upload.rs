//! Sending one blob: found, mounted, or uploaded in as few requests as the registry takes, resumed after any end.

use bytes::Bytes;
use http::{Method, StatusCode, header};
use mdl_store::{Algorithm, Digest, Name};
use url::Url;

use crate::{
    Error, Result,
    http::{Call, Content, Patience, Response},
    journal::{Held, Journal},
    peer::{Part, Scope},
    registry::Repository,
};

/// A blob to be sent.
#[derive(Debug, Clone)]
pub(crate) struct Blob {
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    pub(crate) content: Content,
    /// Repositories of the same registry that may hold it.
    pub(crate) mounts: Vec<Name>,
}

/// How a blob came to be in its repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    Found,
    Mounted,
    /// Sent, but for what an earlier run had sent of it.
    Uploaded {
        resumed: u64,
    },
}

/// Chunks that a proxy refuses are made smaller, down to this.
const SMALLEST_CHUNK: u64 = 5 << 20;

/// Sends a blob. With `anew` it is sent though the registry says to hold it.
///
/// # Errors
/// [`Error::Status`], [`Error::Broken`], [`Error::Connection`].
pub(crate) async fn send(
    to: &Repository,
    blob: &Blob,
    journal: Option<&Journal>,
    anew: bool,
) -> Result<Sent> {
    let progress = &to.peer.http.progress;
    if !anew && to.has_blob(&blob.digest, blob.size).await? {
        progress.skip(blob.size);
        return Ok(Sent::Found);
    }
    let large = blob.size > to.peer.http.limits.single_request;
    let held = if large {
        journal.and_then(|journal| journal.hold(&to.peer.host, &to.name, &blob.digest))
    } else {
        None
    };
    let mut upload = Upload { to, blob, scope: to.scope(true), held, chunk: u64::MAX, begun: None };
    for from in blob.mounts.iter().filter(|from| **from != to.name && !anew) {
        if upload.mount(from).await? {
            progress.skip(blob.size);
            return Ok(Sent::Mounted);
        }
    }
    let resumed = if large {
        upload.streamed().await?
    } else {
        upload.at_once().await?;
        0
    };
    if let Some(held) = &upload.held {
        held.forget();
    }
    Ok(Sent::Uploaded { resumed })
}

struct Upload<'a> {
    to: &'a Repository,
    blob: &'a Blob,
    scope: Scope,
    /// Our note about it, when no other process has it.
    held: Option<Held>,
    chunk: u64,
    /// What a registry began instead of mounting.
    begun: Option<Session>,
}

/// Where an upload is and how far.
struct Session {
    url: Url,
    offset: u64,
    /// Chunks that are not the last have at least so many bytes.
    least: u64,
}

impl Upload<'_> {
    /// Asks for the blob from another repository.
    async fn mount(&mut self, from: &Name) -> Result<bool> {
        let remote = self.to.peer.repository(from);
        let below = format!("&mount={}&from={remote}", self.blob.digest);
        let url = self.to.url(&self.uploads(&below)).await?;
        let mut scope = self.scope.clone();
        scope.0.extend(self.to.peer.scope(from, false).0);
        let answer = match self.to.peer.ask(&empty(Method::POST, url), &scope).await {
            Ok(answer) => answer,
            // Not to be read there: then it is sent.
            Err(Error::Unauthorized { .. }) => return Ok(false),
            Err(error) => return Err(error),
        };
        match answer.status() {
            StatusCode::CREATED => return Ok(true),
            StatusCode::ACCEPTED => self.begun = Some(self.session(&answer)?),
            status if status.is_client_error() => {}
            _ => return Err(answer.failure().await),
        }
        Ok(false)
    }

    /// Where uploads begin.
    fn uploads(&self, parameters: &str) -> String {
        let algorithm = match self.blob.digest.algorithm() {
            Algorithm::Sha256 => String::new(),
            other @ Algorithm::Sha512 => format!("&digest-algorithm={}", other.name()),
        };
        let parameters = format!("{algorithm}{parameters}");
        match parameters.strip_prefix('&') {
            Some(parameters) => format!("blobs/uploads/?{parameters}"),
            None => "blobs/uploads/".to_owned(),
        }
    }

    async fn begin(&mut self) -> Result<Session> {
        let session = match self.begun.take() {
            Some(session) => session,
            None => {
                let call = empty(Method::POST, self.to.url(&self.uploads("")).await?);
                let answer = self.to.peer.ask(&call, &self.scope).await?;
                if answer.status() != StatusCode::ACCEPTED {
                    return Err(answer.failure().await);
                }
                self.session(&answer)?
            }
        };
        self.keep(&session);
        Ok(session)
    }

    fn session(&self, answer: &Response) -> Result<Session> {
        let least = answer.named("oci-chunk-min-length").and_then(|text| text.parse().ok());
        let url = self.to.peer.follow(answer)?;
        Ok(Session { url, offset: 0, least: least.unwrap_or(0) })
    }

    fn keep(&self, session: &Session) {
        if let Some(held) = &self.held {
            held.keep(&session.url);
        }
    }

    /// POST and one PUT.
    async fn at_once(&mut self) -> Result<()> {
        let http = self.to.peer.http.clone();
        let mut patience = Patience::new(&http);
        loop {
            let session = self.begin().await?;
            let call = Call::new(Method::PUT, with_digest(&session.url, &self.blob.digest));
            let part = Part { content: &self.blob.content, offset: 0, length: self.blob.size };
            let sent = match self.to.peer.send_part(call, &self.scope, &part).await {
                Ok(answer) => self.created(answer).await,
                Err(error) => Err(error),
            };
            match sent {
                Ok(()) => return Ok(()),
                Err(error) => {
                    self.make_room(&session, &error).await;
                    patience.wait(error).await?;
                }
            }
        }
    }

    /// POST, one PATCH or as many as it takes, and an empty PUT. Gives how much was there before.
    async fn streamed(&mut self) -> Result<u64> {
        let http = self.to.peer.http.clone();
        let mut patience = Patience::new(&http);
        let mut session = self.kept_session().await?;
        let mut lost = 0;
        // Counted, so that what is undone later is what was counted.
        let mut counted = session.as_ref().map_or(0, |session| session.offset);
        let resumed = counted;
        http.progress.skip(counted);
        loop {
            let mut open = match session.take() {
                Some(open) => open,
                None => self.begin().await?,
            };
            match self.step(&mut open).await {
                Ok(Step::Done) => return Ok(resumed),
                Ok(Step::Moved) => {
                    counted = open.offset;
                    patience.renew();
                    session = Some(open);
                }
                Ok(Step::Lost(why)) => {
                    lost += 1;
                    if lost >= http.limits.attempts {
                        return Err(why);
                    }
                    http.progress.undo(counted);
                    counted = 0;
                    tokio::time::sleep(http.limits.pause).await;
                }
                Err(error) => {
                    self.make_room(&open, &error).await;
                    patience.wait(error).await?;
                    session = self.status(&open.url, open.least).await?;
                    let now = session.as_ref().map_or(0, |session| session.offset);
                    if now > counted {
                        patience.renew();
                        http.progress.skip(now - counted);
                    } else {
                        http.progress.undo(counted - now);
                    }
                    counted = now;
                }
            }
        }
    }

    /// What a full disk holds of a blob that does not fit is in everybody's way: it goes.
    async fn make_room(&self, session: &Session, error: &Error) {
        if !matches!(error, Error::Status { status: 507, .. }) {
            return;
        }
        // The registry will drop it at its time, where this fails.
        let call = empty(Method::DELETE, session.url.clone());
        let _ = self.to.peer.ask(&call, &self.scope).await;
        if let Some(held) = &self.held {
            held.forget();
        }
    }

    /// One request of an upload.
    async fn step(&mut self, open: &mut Session) -> Result<Step> {
        if open.offset == self.blob.size {
            return self.finish(open).await;
        }
        let left = self.blob.size - open.offset;
        let length = left.min(self.chunk.max(open.least));
        let mut call = Call::new(Method::PATCH, open.url.clone());
        // Where all goes in one request, as Docker sends it, no registry wants the range.
        if open.offset > 0 || length < left {
            let range = format!("{}-{}", open.offset, open.offset + length - 1);
            call = call.header(header::CONTENT_RANGE, &range);
        }
        let part = Part { content: &self.blob.content, offset: open.offset, length };
        let answer = self.to.peer.send_part(call, &self.scope, &part).await?;
        match answer.status() {
            StatusCode::ACCEPTED | StatusCode::CREATED | StatusCode::NO_CONTENT => {}
            StatusCode::PAYLOAD_TOO_LARGE if length > SMALLEST_CHUNK.max(open.least) => {
                self.chunk = (length / 4).clamp(SMALLEST_CHUNK, 64 << 20);
                return Ok(Step::Moved);
            }
            StatusCode::RANGE_NOT_SATISFIABLE => {
                let place = answer.place();
                return Err(Error::Connection { place, what: "it holds another part".to_owned() });
            }
            StatusCode::NOT_FOUND | StatusCode::GONE | StatusCode::BAD_REQUEST => {
                return Ok(Step::Lost(answer.failure().await));
            }
            _ => return Err(answer.failure().await),
        }
        let end = open.offset + length;
        if let Some(held) = answer.header(&header::RANGE).and_then(range_held)
            && held != end
        {
            self.to.peer.http.progress.undo(length);
            let what = format!("it was sent {end} bytes and says to hold {held}");
            return Ok(Step::Lost(Error::Connection { place: answer.place(), what }));
        }
        if answer.header(&header::LOCATION).is_some() {
            open.url = self.to.peer.follow(&answer)?;
        }
        open.offset = end;
        self.keep(open);
        Ok(Step::Moved)
    }

    async fn finish(&self, session: &Session) -> Result<Step> {
        let call = empty(Method::PUT, with_digest(&session.url, &self.blob.digest));
        let part = Part { content: &Content::Bytes(Bytes::new()), offset: 0, length: 0 };
        // A registry may take its time to check: that is what the patience of streams is for.
        let answer = match self.to.peer.send_part(call, &self.scope, &part).await {
            Ok(answer) => answer,
            Err(error) if error.is_transient() => {
                // The answer may have been lost, not the request.
                if self.to.has_blob(&self.blob.digest, self.blob.size).await? {
                    return Ok(Step::Done);
                }
                return Err(error);
            }
            Err(error) => return Err(error),
        };
        let status = answer.status();
        if matches!(status, StatusCode::NOT_FOUND | StatusCode::GONE) {
            if self.to.has_blob(&self.blob.digest, self.blob.size).await? {
                return Ok(Step::Done);
            }
            let place = answer.place();
            return Ok(Step::Lost(Error::Connection { place, what: "the upload is gone".into() }));
        }
        self.created(answer).await.map(|()| Step::Done)
    }

    /// The answer that ends an upload.
    async fn created(&self, answer: Response) -> Result<()> {
        match answer.status() {
            StatusCode::CREATED | StatusCode::NO_CONTENT | StatusCode::OK => Ok(()),
            StatusCode::BAD_REQUEST => {
                let (host, detail) = (self.to.peer.host.clone(), answer.detail().await);
                Err(Error::refused(
                    format!(
                        "{host} does not accept {:?} as {}: {detail}",
                        self.blob.content, self.blob.digest
                    ),
                    "did the file change since its digest was taken? then pack and push again",
                ))
            }
            _ => Err(answer.failure().await),
        }
    }

    /// The session that an earlier run left, if the registry still has it.
    async fn kept_session(&self) -> Result<Option<Session>> {
        let Some(url) = self.held.as_ref().and_then(Held::url) else { return Ok(None) };
        let session = match self.status(&url, 0).await {
            Ok(session) => session,
            // What is noted may be nonsense by now.
            Err(error @ (Error::Connection { .. } | Error::Idle { .. })) => return Err(error),
            Err(_) => None,
        };
        if let Some(session) = session.as_ref().filter(|session| session.offset > 0) {
            let (digest, at, size) = (&self.blob.digest, session.offset, self.blob.size);
            let progress = &self.to.peer.http.progress;
            progress.note(&format!("going on with {digest} after {at} of {size} bytes"));
        }
        Ok(session)
    }

    /// How far an upload is; `None` where it has to begin anew.
    async fn status(&self, url: &Url, least: u64) -> Result<Option<Session>> {
        let answer = self.to.peer.ask(&Call::get(url.clone()), &self.scope).await?;
        if answer.status() != StatusCode::NO_CONTENT {
            return Ok(None);
        }
        let Some(held) = answer.header(&header::RANGE).map_or(Some(0), range_held) else {
            return Ok(None);
        };
        // `0-0` says one byte, and registries say it of none.
        let offset = if held == 1 { 0 } else { held };
        let url = match answer.header(&header::LOCATION) {
            Some(_) => self.to.peer.follow(&answer)?,
            None => url.clone(),
        };
        let stated = answer.named("oci-chunk-min-length").and_then(|text| text.parse().ok());
        let session = Session { url, offset, least: stated.unwrap_or(least) };
        Ok((offset <= self.blob.size).then_some(session))
    }
}

enum Step {
    Moved,
    Done,
    /// The session is of no use any more.
    Lost(Error),
}

/// Bytes held by `Range: 0-LAST`.
fn range_held(text: &str) -> Option<u64> {
    let text = text.trim().strip_prefix("bytes=").unwrap_or(text.trim());
    let (first, last) = text.split_once('-')?;
    (first == "0").then_some(())?;
    last.parse::<u64>().ok()?.checked_add(1)
}

fn with_digest(url: &Url, digest: &Digest) -> Url {
    let mut url = url.clone();
    let before = url.query().filter(|query| !query.is_empty()).map(|query| format!("{query}&"));
    // A digest needs no escapes in a query, and what the registry wrote there stays as it is.
    url.set_query(Some(&format!("{}digest={digest}", before.unwrap_or_default())));
    url
}

/// A request that says itself that it has no body: some registries ask for the header.
fn empty(method: Method, url: Url) -> Call {
    Call::new(method, url).header(header::CONTENT_LENGTH, "0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_registries_write_as_range() {
        assert_eq!(range_held("0-9"), Some(10));
        assert_eq!(range_held("bytes=0-9"), Some(10));
        for bad in ["", "5-9", "0-", "0-x", "0-18446744073709551615"] {
            assert_eq!(range_held(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_session_keeps_its_own_words() {
        let url = Url::parse("https://r.example/up/1?_state=a%2Bb%3D").unwrap();
        let digest = Digest::of(b"");
        let with = with_digest(&url, &digest);
        assert_eq!(with.query(), Some(format!("_state=a%2Bb%3D&digest={digest}").as_str()));
        let bare = with_digest(&Url::parse("https://r.example/up/1").unwrap(), &digest);
        assert_eq!(bare.query(), Some(format!("digest={digest}").as_str()));
    }
}
