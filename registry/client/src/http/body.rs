//! Bodies that are streamed: from a file, or from another peer.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use rustix::fs::{Advice, fadvise};

use super::Response;
use crate::{Error, Progress, Result, error::shown, source::Source};

/// What is to be sent. It can be opened again from any place.
#[derive(Clone)]
pub(crate) enum Content {
    /// In memory.
    Bytes(Bytes),
    /// In a file.
    File(PathBuf),
    /// On another peer.
    Remote(Source),
}

/// A body about to be sent.
pub(crate) struct Opened {
    pub(crate) body: reqwest::Body,
    pub(crate) length: u64,
    pub(crate) state: Arc<State>,
}

/// How far a body is.
pub(crate) struct State {
    sent: AtomicU64,
    failure: Mutex<Option<Error>>,
    progress: Arc<dyn Progress>,
}

impl State {
    fn new(progress: Arc<dyn Progress>) -> Arc<Self> {
        Arc::new(Self { sent: AtomicU64::new(0), failure: Mutex::new(None), progress })
    }

    /// Bytes handed to the connection.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// What our own side failed at.
    pub(crate) fn failure(&self) -> Option<Error> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn advance(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
        self.progress.advance(bytes as u64);
    }

    fn fail(&self, error: Error) -> io::Error {
        let text = io::Error::other(error.to_string());
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        text
    }
}

impl Content {
    /// A body of `length` bytes from `offset` on.
    ///
    /// # Errors
    /// [`Error::Io`], and what opening a source says.
    pub(crate) async fn open(
        &self,
        offset: u64,
        length: u64,
        progress: &Arc<dyn Progress>,
    ) -> Result<Opened> {
        let state = State::new(progress.clone());
        let body = match self {
            Self::Bytes(bytes) => {
                let range = offset as usize..(offset + length) as usize;
                let part = if range.end <= bytes.len() { bytes.slice(range) } else { Bytes::new() };
                state.advance(part.len());
                reqwest::Body::from(part)
            }
            Self::File(path) => {
                reqwest::Body::wrap(FileBody::open(path, offset, length, state.clone())?)
            }
            Self::Remote(source) => {
                // A source is a peer again, whose requests have no content.
                let answer = Box::pin(source.open_from(offset, length)).await?;
                reqwest::Body::wrap_stream(relay(answer, length, state.clone()))
            }
        };
        Ok(Opened { body, length, state })
    }
}

/// Passes on exactly so many bytes.
fn relay(
    answer: Response,
    length: u64,
    state: Arc<State>,
) -> impl futures_util::Stream<Item = io::Result<Bytes>> + Send + 'static {
    futures_util::stream::unfold(Some((answer, length)), move |open| {
        let state = state.clone();
        async move {
            let (mut answer, left) = open?;
            if left == 0 {
                return None;
            }
            match answer.chunk().await {
                Ok(Some(chunk)) if chunk.len() as u64 <= left => {
                    state.advance(chunk.len());
                    let left = left - chunk.len() as u64;
                    Some((Ok(chunk), Some((answer, left))))
                }
                Ok(Some(_)) => {
                    let error = Error::broken(answer.place(), "more bytes than were asked for");
                    Some((Err(state.fail(error)), None))
                }
                Ok(None) => {
                    let what = format!("the body ends {left} bytes early");
                    let error = Error::Connection { place: answer.place(), what };
                    Some((Err(state.fail(error)), None))
                }
                Err(error) => Some((Err(state.fail(error)), None)),
            }
        }
    })
}

/// Bytes read at once. Small enough to stay in a core's cache until they are sent.
const READ: usize = 512 << 10;
/// How far ahead the system is asked to read.
const AHEAD: u64 = 16 << 20;

/// A part of a file, read as the connection takes it. Its buffers are used again.
struct FileBody {
    file: File,
    path: PathBuf,
    offset: u64,
    left: u64,
    advised: u64,
    spare: Arc<Mutex<Vec<Vec<u8>>>>,
    state: Arc<State>,
}

impl FileBody {
    fn open(path: &Path, offset: u64, length: u64, state: Arc<State>) -> Result<Self> {
        let file = File::open(path).map_err(Error::io(path, "open"))?;
        // Advice only.
        let _ = fadvise(&file, offset, None, Advice::Sequential);
        Ok(Self {
            file,
            path: path.to_owned(),
            offset,
            left: length,
            advised: offset,
            spare: Arc::default(),
            state,
        })
    }

    fn read(&mut self) -> io::Result<Bytes> {
        if self.offset + AHEAD / 2 >= self.advised {
            let _ = fadvise(&self.file, self.advised, AHEAD.try_into().ok(), Advice::WillNeed);
            self.advised += AHEAD;
        }
        let spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut buffer = spare.unwrap_or_else(|| vec![0; READ]);
        let wanted = READ.min(usize::try_from(self.left).unwrap_or(READ));
        let part = buffer.get_mut(..wanted).unwrap_or_default();
        self.file.read_exact_at(part, self.offset).map_err(|error| {
            if error.kind() == io::ErrorKind::UnexpectedEof {
                let what = format!("{} became shorter while it was sent", self.path.display());
                return self.state.fail(Error::refused(what, "let its writer finish first"));
            }
            self.state.fail(Error::io(&self.path, "read")(error))
        })?;
        self.offset += wanted as u64;
        self.left -= wanted as u64;
        self.state.advance(wanted);
        Ok(Bytes::from_owner(Lent { buffer, used: wanted, home: self.spare.clone() }))
    }
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        Poll::Ready(Some(self.read().map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// A buffer on its way, which comes back to be filled again.
struct Lent {
    buffer: Vec<u8>,
    used: usize,
    home: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        self.buffer.get(..self.used).unwrap_or_default()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let buffer = std::mem::take(&mut self.buffer);
        self.home.lock().unwrap_or_else(PoisonError::into_inner).push(buffer);
    }
}

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "{} bytes", bytes.len()),
            Self::File(path) => write!(f, "{}", shown(&path.display().to_string())),
            Self::Remote(_) => f.write_str("on another peer"),
        }
    }
}
