//! The client: what commands and tests call.

use std::{
    collections::BTreeMap,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use mdl_store::{Descriptor, Digest, Name};
use tokio::sync::Semaphore;

use crate::{
    Address, Error, Manifest, Options, Progress, Referring, Result,
    auth::Auth,
    credentials::Credentials,
    http::Http,
    journal::Journal,
    peer::Peer,
    registry::{MANIFESTS, Repository},
};

/// Speaks with registries and hubs.
pub struct Client {
    pub(crate) options: Options,
    pub(crate) http: Arc<Http>,
    pub(crate) lanes: Arc<Semaphore>,
    credentials: Arc<Credentials>,
    peers: Mutex<BTreeMap<String, Arc<Peer>>>,
}

impl Client {
    /// A client that works this way.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Refused`] for a file of certificates that holds none.
    pub fn new(options: Options) -> Result<Self> {
        let credentials = Credentials::new(options.home.as_deref(), options.docker.clone());
        Ok(Self {
            http: Arc::new(Http::new(&options)?),
            lanes: Arc::new(Semaphore::new(options.parallel.max(1))),
            credentials: Arc::new(credentials),
            peers: Mutex::default(),
            options,
        })
    }

    pub(crate) fn peer(&self, host: &str) -> Arc<Peer> {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || {
            let auth = Auth::kept(host, self.credentials.clone());
            Arc::new(Peer::registry(self.http.clone(), host, auth))
        };
        peers.entry(host.to_owned()).or_insert_with(new).clone()
    }

    pub(crate) fn repository(&self, host: &str, name: &Name) -> Repository {
        Repository::new(self.peer(host), name)
    }

    pub(crate) fn journal(&self) -> Option<Journal> {
        self.options.home.as_deref().map(Journal::new)
    }

    /// A manifest, its digest checked.
    ///
    /// # Errors
    /// [`Error::Unknown`], [`Error::Unauthorized`], [`Error::Connection`], [`Error::Broken`].
    pub async fn manifest(&self, at: &Address) -> Result<Manifest> {
        self.repository(&at.host, &at.name).manifest(&at.reference, MANIFESTS).await
    }

    /// A small blob (a config), its digest checked.
    ///
    /// # Errors
    /// As [`Client::manifest`].
    pub async fn blob(&self, at: &Address, blob: &Descriptor) -> Result<Vec<u8>> {
        self.repository(&at.host, &at.name).small_blob(blob).await
    }

    /// The manifests that refer to one.
    ///
    /// # Errors
    /// As [`Client::manifest`].
    pub async fn referrers(&self, at: &Address, subject: &Digest) -> Result<Vec<Referring>> {
        self.repository(&at.host, &at.name).referrers(subject).await
    }
}

/// Runs work of a [`Client`] to its end, or until the progress wants to stop.
///
/// # Errors
/// What the work says, [`Error::Interrupted`], [`Error::Refused`] where the system gives no threads.
pub fn run<T>(progress: &dyn Progress, work: impl Future<Output = Result<T>>) -> Result<T> {
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        // Tasks write to files; while some wait for a disk, others go on.
        .worker_threads(cores.clamp(4, 16))
        .enable_all()
        .build()
        .map_err(|error| Error::refused(format!("cannot start threads: {error}"), ""))?;
    let stopped = async {
        while !progress.interrupted() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let ended = runtime.block_on(async {
        tokio::select! {
            ended = work => ended,
            () = stopped => Err(Error::Interrupted),
        }
    });
    // A hash that nobody waits for any more must not hold the program.
    runtime.shutdown_background();
    ended
}
