//! What a connection does right now, so that one that does nothing can be ended.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Stands for "not".
const NOT: u64 = u64::MAX;

/// The pulse of a connection.
#[derive(Debug)]
pub(crate) struct Pulse {
    begun: Instant,
    /// Requests that are not yet answered to the end.
    active: AtomicUsize,
    /// Milliseconds after `begun` when the last of them ended.
    quiet: AtomicU64,
    /// Milliseconds after `begun` since when the peer takes nothing.
    blocked: AtomicU64,
}

impl Default for Pulse {
    fn default() -> Self {
        Self {
            begun: Instant::now(),
            active: AtomicUsize::new(0),
            quiet: AtomicU64::new(0),
            blocked: AtomicU64::new(NOT),
        }
    }
}

impl Pulse {
    fn now(&self) -> u64 {
        self.begun.elapsed().as_millis() as u64
    }

    fn since(&self, then: u64) -> Duration {
        Duration::from_millis(self.now().saturating_sub(then))
    }

    /// For how long there has been no request.
    pub(super) fn quiet(&self) -> Duration {
        match self.active.load(Ordering::Acquire) {
            0 => self.since(self.quiet.load(Ordering::Acquire)),
            _ => Duration::ZERO,
        }
    }

    /// For how long the peer has taken nothing of what is there for it.
    pub(super) fn blocked(&self) -> Duration {
        match self.blocked.load(Ordering::Acquire) {
            NOT => Duration::ZERO,
            then => self.since(then),
        }
    }

    /// A request begins; it ends when what is returned is dropped.
    pub(crate) fn active(self: &Arc<Self>) -> Active {
        self.active.fetch_add(1, Ordering::AcqRel);
        Active(Arc::clone(self))
    }
}

/// A request under way.
#[derive(Debug)]
pub(crate) struct Active(Arc<Pulse>);

impl Drop for Active {
    fn drop(&mut self) {
        self.0.quiet.store(self.0.now(), Ordering::Release);
        self.0.active.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A connection whose writes are watched.
#[derive(Debug)]
pub(super) struct Watched<I> {
    io: I,
    pulse: Arc<Pulse>,
    blocked: bool,
}

impl<I> Watched<I> {
    pub(super) fn new(io: I, pulse: Arc<Pulse>) -> Self {
        Self { io, pulse, blocked: false }
    }

    fn note<T>(&mut self, poll: Poll<T>) -> Poll<T> {
        match (poll.is_pending(), self.blocked) {
            (true, false) => self.pulse.blocked.store(self.pulse.now(), Ordering::Release),
            (false, true) => self.pulse.blocked.store(NOT, Ordering::Release),
            _ => {}
        }
        self.blocked = poll.is_pending();
        poll
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Watched<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, to)
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Watched<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.note(poll)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.io).poll_write_vectored(cx, bytes);
        self.note(poll)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
