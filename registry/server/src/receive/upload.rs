//! Receiving part of a blob.
//!
//! The network side collects a batch while a thread that may block hashes and writes the one before: at most two are
//! held. It runs as a task of its own, so that a connection that breaks cannot take with it what has arrived.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::StatusCode;
use mdl_store::{Error, Name, UploadId, UploadStatus, UploadWriter};
use tokio::task::JoinHandle;

use super::{Broken, Incoming, Pace, linger, next};
use crate::{app::App, refusal::Refusal};

/// Bytes of a batch.
const BATCH: usize = 1 << 20;

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

/// A batch with the writer that takes it.
type Job = JoinHandle<(Box<dyn UploadWriter>, mdl_store::Result<()>)>;

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
    let writer = match begun.await {
        Ok(writer) => writer,
        Err(refusal) => {
            linger(app, body);
            return Err(refusal);
        }
    };
    let writing = app.writers.begin(&id);
    let mut batches = Batches { writer: Some(writer), job: None };
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
    let status = match end {
        End::Complete => closed?,
        other => {
            // The sender is still at it: let it come to the answer.
            linger(app, body);
            return Err(refused(other));
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
    let (mut batch, mut held) = (Vec::new(), 0);
    let end = loop {
        match next(body, &mut pace, idle).await {
            Ok(Some(mut piece)) => {
                let left = length.map_or(u64::MAX, |length| length - *bytes);
                let fits = piece.len() as u64 <= left;
                if !fits {
                    piece.truncate(left as usize);
                }
                *bytes += piece.len() as u64;
                held += piece.len();
                batch.push(piece);
                if !fits {
                    break End::TooLong;
                }
                if held >= BATCH {
                    held = 0;
                    if let Err(error) = batches.put(std::mem::take(&mut batch)).await {
                        return End::Failed(error);
                    }
                }
            }
            Ok(None) => break End::Complete,
            Err(broken) => break End::Broken(broken),
        }
    };
    match batches.put(batch).await {
        Ok(()) => end,
        Err(error) => End::Failed(error),
    }
}

/// The writer, or the thread that has it.
struct Batches {
    writer: Option<Box<dyn UploadWriter>>,
    job: Option<Job>,
}

impl Batches {
    /// Hands over a batch when the one before is written.
    async fn put(&mut self, batch: Vec<Bytes>) -> mdl_store::Result<()> {
        let mut writer = self.idle().await?;
        if batch.is_empty() {
            self.writer = Some(writer);
            return Ok(());
        }
        self.job = Some(tokio::task::spawn_blocking(move || {
            let written = batch.iter().try_for_each(|bytes| writer.write(bytes));
            (writer, written)
        }));
        Ok(())
    }

    /// The writer, when it has nothing to do.
    async fn idle(&mut self) -> mdl_store::Result<Box<dyn UploadWriter>> {
        if let Some(job) = &mut self.job {
            // By reference: who waits may be told to end meanwhile, and the writer must not be lost.
            let done = job.await;
            self.job = None;
            let (writer, written) = done.map_err(|_| lost())?;
            if let Err(error) = written {
                self.writer = Some(writer);
                return Err(error);
            }
            return Ok(writer);
        }
        self.writer.take().ok_or_else(lost)
    }

    /// Ends the writing; a failure before leaves what was written.
    async fn close(&mut self) -> mdl_store::Result<UploadStatus> {
        let mut failed = None;
        let writer = match self.idle().await {
            Ok(writer) => writer,
            Err(error) => {
                failed = Some(error);
                self.writer.take().ok_or_else(lost)?
            }
        };
        let closed = tokio::task::spawn_blocking(move || writer.close());
        let closed = closed.await.map_err(|_| lost())?;
        match failed {
            Some(error) => Err(error),
            None => closed,
        }
    }
}

/// A thread of ours that panicked took the writer with it.
fn lost() -> Error {
    let source = std::io::Error::other("its writer failed");
    Error::Io { what: "write", path: "the upload".into(), source }
}
