//! Bodies of answers: nothing, a few bytes, or pieces of a blob as they are read.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::sync::mpsc;

use crate::log::Entry;

/// The body of an answer.
#[derive(Debug)]
pub(crate) struct Body {
    content: Content,
    /// Written to the log when the body ends, however it ends.
    entry: Option<Box<Entry>>,
}

/// Pieces that come from somewhere that may have to be waited for.
pub(crate) trait Pieces: std::fmt::Debug + Send {
    /// The next one, where it need not be waited for.
    fn now(&mut self) -> Option<Bytes>;
    /// All from here on, as they come.
    fn later(self: Box<Self>) -> mpsc::Receiver<io::Result<Bytes>>;
}

#[derive(Debug)]
enum Content {
    Whole(Bytes),
    Pieces {
        ready: VecDeque<Bytes>,
        now: Option<Box<dyn Pieces>>,
        more: Option<mpsc::Receiver<io::Result<Bytes>>>,
        /// Bytes that are still to come.
        left: u64,
    },
}

impl Body {
    /// Nothing.
    pub(crate) fn empty() -> Self {
        Self::whole(Bytes::new())
    }

    /// All of it.
    pub(crate) fn whole(bytes: Bytes) -> Self {
        Self { content: Content::Whole(bytes), entry: None }
    }

    /// `length` bytes: those that are there, and those that come.
    pub(crate) fn pieces(
        ready: VecDeque<Bytes>,
        now: Option<Box<dyn Pieces>>,
        length: u64,
    ) -> Self {
        Self { content: Content::Pieces { ready, now, more: None, left: length }, entry: None }
    }

    /// Writes this to the log when it ends.
    pub(crate) fn logged(mut self, entry: Box<Entry>) -> Self {
        self.entry = Some(entry);
        self
    }

    fn next(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        let piece = match &mut self.content {
            Content::Whole(bytes) if bytes.is_empty() => return Poll::Ready(None),
            Content::Whole(bytes) => std::mem::take(bytes),
            Content::Pieces { left: 0, .. } => return Poll::Ready(None),
            Content::Pieces { ready, now, more, left } => {
                if ready.is_empty()
                    && let Some(mut pieces) = now.take()
                {
                    match pieces.now() {
                        Some(piece) => {
                            ready.push_back(piece);
                            *now = Some(pieces);
                        }
                        None => *more = Some(pieces.later()),
                    }
                }
                let piece = match (ready.pop_front(), more) {
                    (Some(piece), _) => Some(Ok(piece)),
                    (None, Some(more)) => match more.poll_recv(cx) {
                        Poll::Ready(piece) => piece,
                        Poll::Pending => return Poll::Pending,
                    },
                    (None, None) => None,
                };
                // Whoever stated a length and cannot keep it breaks the connection.
                let missing = || Err(io::ErrorKind::UnexpectedEof.into());
                let piece = match piece.unwrap_or_else(missing) {
                    Ok(piece) => piece,
                    Err(error) => return Poll::Ready(Some(Err(error))),
                };
                *left = left.saturating_sub(piece.len() as u64);
                piece
            }
        };
        Poll::Ready(Some(Ok(piece)))
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let next = self.next(cx);
        if let (Poll::Ready(Some(Ok(piece))), Some(entry)) = (&next, &mut self.entry) {
            entry.sent += piece.len() as u64;
        }
        next.map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.size_hint().exact() == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(match &self.content {
            Content::Whole(bytes) => bytes.len() as u64,
            Content::Pieces { left, .. } => *left,
        })
    }
}
