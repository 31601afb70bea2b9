//! Who writes to which upload. A client that lost its connection comes back before the server knows of the loss: the
//! newer request takes over.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use mdl_store::{Error, Store, UploadId};
use tokio_util::sync::CancellationToken;

use crate::{app::App, refusal::Refusal};

/// How long a newer request waits for an older one to let go.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often it looks.
const LOOK: Duration = Duration::from_millis(20);

/// The writers of one registry.
#[derive(Debug, Default, Clone)]
pub(crate) struct Writers(Arc<All>);

#[derive(Debug, Default)]
struct All {
    begun: AtomicU64,
    /// By upload: which of them it is, and how it is told to end.
    now: Mutex<BTreeMap<String, (u64, CancellationToken)>>,
}

/// A request that writes to an upload, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Writing {
    all: Writers,
    id: String,
    serial: u64,
    /// Cancelled when another request takes over.
    pub(crate) over: CancellationToken,
}

impl Writers {
    /// From now on this request writes to the upload.
    pub(crate) fn begin(&self, id: &UploadId) -> Writing {
        let over = CancellationToken::new();
        let serial = self.0.begun.fetch_add(1, Ordering::Relaxed);
        let mut now = self.0.now.lock().unwrap_or_else(PoisonError::into_inner);
        now.insert(id.0.clone(), (serial, over.clone()));
        Writing { all: self.clone(), id: id.0.clone(), serial, over }
    }

    /// Tells whoever writes to the upload to end.
    fn end(&self, id: &UploadId) {
        let now = self.0.now.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, over)) = now.get(&id.0) {
            over.cancel();
        }
    }

    /// Whether somebody writes to the upload.
    fn is_busy(&self, id: &UploadId) -> bool {
        self.0.now.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&id.0)
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        let mut now = self.all.0.now.lock().unwrap_or_else(PoisonError::into_inner);
        // A newer one may have come already.
        if now.get(&self.id).is_some_and(|(serial, _)| *serial == self.serial) {
            now.remove(&self.id);
        }
    }
}

impl App {
    /// Does something for which nobody else may write to the upload, and ends whoever does.
    pub(crate) async fn alone<T, F>(self: &Arc<Self>, id: &UploadId, work: F) -> Result<T, Refusal>
    where
        T: Send + 'static,
        F: Fn(&dyn Store) -> mdl_store::Result<T> + Clone + Send + 'static,
    {
        let until = tokio::time::Instant::now() + PATIENCE;
        loop {
            let work = work.clone();
            // The error as a value: this one is not yet an answer.
            let done = self
                .blocking(move |store| match work(store) {
                    Err(Error::UploadBusy) => Ok(None),
                    other => other.map(Some),
                })
                .await?;
            match done {
                Some(done) => return Ok(done),
                None if tokio::time::Instant::now() >= until => {
                    return Err(Error::UploadBusy.into());
                }
                None => {
                    self.writers.end(id);
                    tokio::time::sleep(LOOK).await;
                }
            }
        }
    }

    /// Waits a moment for a writer to end by itself: what it holds is known then.
    pub(crate) async fn settled(&self, id: &UploadId) {
        for _ in 0..50 {
            if !self.writers.is_busy(id) {
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}
