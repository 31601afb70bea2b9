//! A blob as an answer: whole or a range of it, read ahead by a piece or two, and never held as a whole.

mod buffers;
mod range;

pub(crate) use buffers::Buffers;

use std::{collections::VecDeque, io, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use mdl_store::{BlobReader, Digest, Name};
use tokio::sync::mpsc;

use self::{
    buffers::PIECE,
    range::{Conditions, Part},
};
use crate::{
    app::{App, Call},
    body::{Body, Pieces},
    refusal::Refusal,
};

/// Pieces that are read before the answer begins: most small blobs need no more.
const FIRST: usize = 2;

/// Bytes in memory that are worth being sent without those behind them.
const LEAST: usize = 64 << 10;

/// Files are data, whatever they hold: a browser saves them and runs nothing in them.
pub(crate) const POLICY: &str = "default-src 'none'; sandbox";

/// What an answer needs to know of an open blob.
struct Opened {
    size: u64,
    part: Part,
    reader: Option<Arc<dyn BlobReader>>,
    ready: VecDeque<Bytes>,
}

/// Answers with a blob, or with what a HEAD of it says. `extra` are headers beside those that every blob has; an `etag`
/// among them stands in place of the digest.
pub(crate) async fn answer(
    call: &Call,
    repo: Name,
    digest: Digest,
    extra: &[(&'static str, String)],
) -> Result<Response<Body>, Refusal> {
    let app = &call.app;
    let head = call.parts.method == http::Method::HEAD;
    let conditions = Conditions::of(&call.parts.headers);
    let given = extra.iter().find(|(name, _)| *name == "etag").map(|(_, value)| value.clone());
    let etag = given.unwrap_or_else(|| format!("\"{digest}\""));
    let (buffers, tag, named) = (Arc::clone(&app.buffers), etag.clone(), digest.clone());
    let opened = call
        .blocking(move |store| {
            if head {
                // A look at a blob promises that it stays for the manifest that may follow.
                let size = store.stat_blob(&repo, &named)?;
                let part = conditions.part(size, &tag);
                return Ok(Opened { size, part, reader: None, ready: VecDeque::new() });
            }
            let reader: Arc<dyn BlobReader> = store.open_blob(&repo, &named)?.into();
            let size = reader.size();
            let part = conditions.part(size, &tag);
            let mut ready = VecDeque::new();
            if let Some((mut at, end)) = span(part, size) {
                while at < end && ready.len() < FIRST {
                    let piece = read(&*reader, &buffers, at, end)?;
                    at += piece.len() as u64;
                    ready.push_back(piece);
                }
            }
            Ok(Opened { size, part, reader: Some(reader), ready })
        })
        .await?;
    let idle = call.config.timeouts.idle.0;
    let mut answer = begun(app, opened, idle);
    let headers = answer.headers_mut();
    headers.insert(header::ETAG, text(&etag));
    headers.insert(HeaderName::from_static("docker-content-digest"), text(&digest.to_string()));
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    for (name, value) in extra {
        headers.insert(HeaderName::from_static(name), text(value));
    }
    Ok(answer)
}

/// The answer with its status, its length, and the body that follows.
fn begun(app: &Arc<App>, opened: Opened, idle: Duration) -> Response<Body> {
    let Opened { size, part, reader, ready } = opened;
    let Some((at, end)) = span(part, size) else {
        let mut answer = Response::new(Body::empty());
        if part == Part::Known {
            *answer.status_mut() = StatusCode::NOT_MODIFIED;
        } else {
            let what = format!("the blob has {size} bytes");
            let refusal = Refusal::new(StatusCode::RANGE_NOT_SATISFIABLE, "RANGE_INVALID", what);
            answer = refusal.answer();
            answer.headers_mut().insert(header::CONTENT_RANGE, text(&format!("bytes */{size}")));
        }
        return answer;
    };
    let length = end - at;
    let body = match reader {
        None => Body::empty(),
        Some(reader) => {
            let read: u64 = ready.iter().map(|piece| piece.len() as u64).sum();
            let rest = Rest { app: Arc::clone(app), reader, at: at + read, end, idle };
            let rest = (read < length).then(|| Box::new(rest) as Box<dyn Pieces>);
            Body::pieces(ready, rest, length)
        }
    };
    let mut answer = Response::new(body);
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    let media_type = HeaderValue::from_static("application/octet-stream");
    headers.insert(header::CONTENT_TYPE, media_type);
    if let Part::Some(..) = part {
        let range = format!("bytes {at}-{}/{size}", end.saturating_sub(1));
        headers.insert(header::CONTENT_RANGE, text(&range));
        *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    answer
}

/// First byte and end of what is to be sent, where something is.
fn span(part: Part, size: u64) -> Option<(u64, u64)> {
    match part {
        Part::Whole => Some((0, size)),
        Part::Some(at, end) => Some((at, end)),
        Part::Outside | Part::Known => None,
    }
}

/// The piece at `at`, of a part that ends at `end`.
fn read(
    reader: &dyn BlobReader,
    buffers: &Arc<Buffers>,
    at: u64,
    end: u64,
) -> mdl_store::Result<Bytes> {
    let wanted = (end - at).min(PIECE as u64);
    let mut buffer = buffers.take(wanted);
    let read = reader.read_at(at, buffer.room(wanted))?;
    if read == 0 {
        let path = reader.path().unwrap_or_default();
        return Err(mdl_store::Error::Corrupt { path, what: "it is shorter than noted".into() });
    }
    Ok(buffer.piece(read))
}

/// What is still to be sent of a blob. From memory it is read where it is sent, by a thread of its own from a device.
struct Rest {
    app: Arc<App>,
    reader: Arc<dyn BlobReader>,
    at: u64,
    end: u64,
    idle: Duration,
}

impl std::fmt::Debug for Rest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rest").field("at", &self.at).field("end", &self.end).finish_non_exhaustive()
    }
}

impl Pieces for Rest {
    fn now(&mut self) -> Option<Bytes> {
        let wanted = (self.end - self.at).min(PIECE as u64);
        let mut buffer = self.app.buffers.take(wanted);
        let room = buffer.room(wanted);
        let least = room.len().min(LEAST);
        let read = self.reader.read_now(self.at, room).filter(|read| *read >= least.max(1))?;
        self.at += read as u64;
        Some(buffer.piece(read))
    }

    fn later(self: Box<Self>) -> mpsc::Receiver<io::Result<Bytes>> {
        pump(&self.app, self.reader, self.at, self.end, self.idle)
    }
}

/// Reads on while the connection sends; ends when nobody takes the pieces any more.
fn pump(
    app: &Arc<App>,
    reader: Arc<dyn BlobReader>,
    mut at: u64,
    end: u64,
    idle: Duration,
) -> mpsc::Receiver<io::Result<Bytes>> {
    let (pieces, taken) = mpsc::channel(1);
    let buffers = Arc::clone(&app.buffers);
    app.tasks.spawn(async move {
        while at < end {
            let (reader, buffers) = (Arc::clone(&reader), Arc::clone(&buffers));
            let piece = tokio::task::spawn_blocking(move || read(&*reader, &buffers, at, end));
            let piece = match piece.await {
                Ok(Ok(piece)) => Ok(piece),
                Ok(Err(error)) => Err(error.to_string()),
                Err(failed) => Err(failed.to_string()),
            };
            let piece = piece.map_err(|what| {
                tracing::error!("an answer breaks off: {what}");
                io::Error::other(what)
            });
            at += piece.as_ref().map_or(end, |piece| piece.len() as u64);
            match tokio::time::timeout(idle, pieces.send(piece)).await {
                Ok(Ok(())) => {}
                // The client went away, or takes nothing.
                Ok(Err(_)) | Err(_) => return,
            }
        }
    });
    taken
}

fn text(value: &str) -> HeaderValue {
    HeaderValue::from_str(value).unwrap_or(HeaderValue::from_static(""))
}
