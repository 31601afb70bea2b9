//! Receiving part of a blob.
//!
//! The network side collects batches while a thread that may block hashes and writes those before: so many are held that
//! neither waits for the other's hiccups. It runs as a task of its own, so that a connection that breaks cannot take with it
//! what has arrived.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::StatusCode;
use mdl_store::{Error, Name, Piece, UploadId, UploadStatus, UploadWriter};
use tokio::{sync::mpsc, task::JoinHandle};

use super::{Broken, Incoming, Pace, linger, next};
use crate::{app::App, refusal::Refusal};

/// Bytes of a batch, while few uploads are received at once; waking the threads that hash and write it takes as long as
/// hashing some 100 KB.
const BATCH: usize = 2 << 20;

/// Bytes of a batch when many are.
const SMALL_BATCH: usize = 256 << 10;

/// What few uploads are.
const FEW: usize = 8;

/// Batches between those that are collected and written.
const WAITING: usize = 2;

/// Part of a blob that a request sends.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) repo: Name,
    pub(crate) id: UploadId,
    /// Where it begins; without it, where the upload is.
    pub(crate) start: Option<u64>,
    /// How long it says to be.
    pub(crate) length: Option<u64>,
    pub(crate) body: Incoming,
    pub(crate) idle: Duration,
}

/// What came of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Received {
    pub(crate) status: UploadStatus,
    /// Bytes of this chunk.
    pub(crate) bytes: u64,
}

/// Receives a chunk. What arrived before a failure stays.
pub(crate) async fn receive(app: &Arc<App>, chunk: Chunk) -> Result<Received, Refusal> {
    let Ok(permit) = Arc::clone(&app.receiving).try_acquire_owned() else {
        linger(app, chunk.body);
        return Err(Refusal::too_many("too many uploads are being received"));
    };
    let app = Arc::clone(app);
    let task = app.tasks.clone();
    let received = task.spawn(async move {
        let _permit = permit;
        app.metrics.uploads.inc();
        let received = run(&app, chunk).await;
        app.metrics.uploads.dec();
        received
    });
    received.await.unwrap_or_else(|failed| Err(Refusal::internal(&failed)))
}

/// How the receiving ended.
enum End {
    Complete,
    Broken(Broken),
    /// Another request took over, or the registry stops.
    Over,
    TooLong,
    /// Nothing more can be written; closing says why.
    Full,
    Failed(Error),
}

async fn run(app: &Arc<App>, chunk: Chunk) -> Result<Received, Refusal> {
    let Chunk { repo, id, start, length, mut body, idle } = chunk;
    let named = id.clone();
    let begun = app.alone(&id, move |store| {
        let at = match start {
            Some(at) => at,
            None => store.upload(&repo, &named)?.offset,
        };
        store.write_upload(&repo, &named, at)
    });
    // What is too much by its own word is refused before it comes.
    let fits = |writer: Box<dyn UploadWriter>| match length.map(|length| writer.takes(length)) {
        Some(Err(error)) => Err(Refusal::from(error)),
        _ => Ok(writer),
    };
    let writer = match begun.await.and_then(fits) {
        Ok(writer) => writer,
        Err(refusal) => {
            linger(app, body);
            return Err(refusal);
        }
    };
    let writing = app.writers.begin(&id);
    let others = app.config().limits.uploads as usize - app.receiving.available_permits();
    let mut batches = Batches::new(writer, if others <= FEW { BATCH } else { SMALL_BATCH });
    let mut bytes = 0;
    let end = tokio::select! {
        biased;
        () = writing.over.cancelled() => End::Over,
        () = app.stop.cancelled() => End::Over,
        end = fill(&mut batches, &mut body, length, idle, &mut bytes) => end,
    };
    app.metrics.received.inc_by(bytes);
    // Whatever happened: what arrived is made durable.
    let closed = batches.close().await;
    drop(writing);
    let status = match (end, closed) {
        (End::Complete, closed) => closed?,
        (end, closed) => {
            let end = match (end, closed) {
                (End::Full, Err(error)) => End::Failed(error),
                (other, _) => other,
            };
            // The sender is still at it: let it come to the answer.
            linger(app, body);
            return Err(refused(end));
        }
    };
    if length.is_some_and(|length| length != bytes) {
        return Err(Refusal::bad("SIZE_INVALID", "the body is shorter than its range"));
    }
    Ok(Received { status, bytes })
}

fn refused(end: End) -> Refusal {
    match end {
        End::Failed(error) => error.into(),
        End::Broken(Broken::Slow) => Refusal::slow(),
        End::TooLong => Refusal::bad("SIZE_INVALID", "the body is longer than its range"),
        End::Over => {
            let what = "another request took over the upload, or the registry stops; go on later";
            Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "BLOB_UPLOAD_INVALID", what)
                .with(http::header::RETRY_AFTER, "1")
        }
        _ => Refusal::bad("BLOB_UPLOAD_INVALID", "the body breaks off"),
    }
}

/// Takes the body until it ends.
async fn fill(
    batches: &mut Batches,
    body: &mut Incoming,
    length: Option<u64>,
    idle: Duration,
    bytes: &mut u64,
) -> End {
    let mut pace = Pace::new(idle);
    loop {
        match next(body, &mut pace, idle).await {
            Ok(Some(mut piece)) => {
                let left = length.map_or(u64::MAX, |length| length - *bytes);
                let fits = piece.len() as u64 <= left;
                if !fits {
                    piece.truncate(left as usize);
                }
                *bytes += piece.len() as u64;
                if !batches.put(piece).await {
                    return End::Full;
                }
                if !fits {
                    return End::TooLong;
                }
            }
            Ok(None) => return End::Complete,
            Err(broken) => return End::Broken(broken),
        }
    }
}

/// What a thread that writes comes back with.
type Written = mdl_store::Result<UploadStatus>;

/// Pieces on their way to the thread that writes them.
struct Batches {
    /// Being collected.
    batch: Vec<Bytes>,
    held: usize,
    size: usize,
    queue: mpsc::Sender<Vec<Bytes>>,
    writing: JoinHandle<Written>,
}

impl Batches {
    fn new(writer: Box<dyn UploadWriter>, size: usize) -> Self {
        let (queue, batches) = mpsc::channel(WAITING);
        let writing = tokio::task::spawn_blocking(move || write(writer, batches));
        Self { batch: Vec::new(), held: 0, size, queue, writing }
    }

    /// Takes a piece; whether more can be taken. What it was given is kept if the waiting ends early.
    async fn put(&mut self, piece: Bytes) -> bool {
        self.held += piece.len();
        self.batch.push(piece);
        if self.held < self.size {
            return true;
        }
        let Ok(room) = self.queue.reserve().await else { return false };
        room.send(std::mem::take(&mut self.batch));
        self.held = 0;
        true
    }

    /// Lets all that was taken be written, and ends the writing; a failure before leaves what was written.
    async fn close(self) -> Written {
        let Self { batch, queue, writing, .. } = self;
        // Nobody is there any more who could take it: the writing failed, as it will say.
        let _ = queue.send(batch).await;
        drop(queue);
        writing.await.map_err(|_| lost())?
    }
}

fn write(mut writer: Box<dyn UploadWriter>, mut batches: mpsc::Receiver<Vec<Bytes>>) -> Written {
    let mut written = Ok(());
    while let Some(batch) = batches.blocking_recv() {
        let pieces = batch.into_iter().map(|piece| Box::new(piece) as Piece);
        written = writer.write_batch(pieces.collect());
        if written.is_err() {
            break;
        }
    }
    drop(batches);
    let closed = writer.close();
    written.and(closed)
}

/// A thread of ours that panicked took the writer with it.
fn lost() -> Error {
    let source = std::io::Error::other("its writer failed");
    Error::Io { what: "write", path: "the upload".into(), source }
}
