//! What every request works with.

use std::{
    fmt,
    future::Future,
    net::{IpAddr, SocketAddr},
    sync::{Arc, PoisonError, RwLock},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use http::request::Parts;
use mdl_store::{Digest, FsStore, Maintain as _, Name, Stats, Store, Tag, UploadId};
use tokio::sync::{Mutex, Semaphore};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    access::{Access, Rights, Shown, Who, guarded::Guarded, token::Tokens},
    audit::Audit,
    blob::Buffers,
    config::Config,
    log::Log,
    metrics::Metrics,
    receive::Writers,
    refusal::Refusal,
    views::{origin::Origin, signed::Signer},
};

/// KiB of bodies that are held in memory at once, in all requests.
const BODIES_KIB: usize = 128 << 10;

/// A registry at work.
pub(crate) struct App {
    /// Blobs and manifests.
    pub(crate) store: Arc<dyn Store>,
    /// The same, for its maintenance.
    pub(crate) files: FsStore,
    pub(crate) signer: Signer,
    /// Who may do what.
    pub(crate) access: Access,
    pub(crate) tokens: Tokens,
    pub(crate) buffers: Arc<Buffers>,
    /// Who writes to which upload.
    pub(crate) writers: Writers,
    /// One permit for each upload that may be received.
    pub(crate) receiving: Arc<Semaphore>,
    /// One permit for each request.
    pub(crate) requests: Arc<Semaphore>,
    /// One permit for each KiB of a body that is held whole.
    pub(crate) bodies: Arc<Semaphore>,
    pub(crate) metrics: Metrics,
    pub(crate) log: Log,
    pub(crate) audit: Audit,
    /// Cancelled when the registry stops: what can be gone on with later ends here.
    pub(crate) stop: CancellationToken,
    /// Work that outlives its request.
    pub(crate) tasks: TaskTracker,
    config: RwLock<Arc<Config>>,
    stats: Mutex<Option<(Instant, Stats)>>,
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App").field("store", &self.files).finish_non_exhaustive()
    }
}

impl App {
    pub(crate) fn new(
        config: Config,
        files: FsStore,
        secret: [u8; 32],
        access: Access,
        log: Log,
        audit: Audit,
    ) -> Self {
        let limits = &config.limits;
        Self {
            store: Arc::new(files.clone()),
            files,
            signer: Signer::new(secret),
            access,
            tokens: Tokens::new(secret),
            buffers: Arc::new(Buffers::default()),
            writers: Writers::default(),
            receiving: Arc::new(Semaphore::new(limits.uploads as usize)),
            requests: Arc::new(Semaphore::new(limits.requests as usize)),
            bodies: Arc::new(Semaphore::new(BODIES_KIB)),
            metrics: Metrics::new(audit.figures()),
            log,
            audit,
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            config: RwLock::new(Arc::new(config)),
            stats: Mutex::new(None),
        }
    }

    /// How it runs, by now.
    pub(crate) fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on it runs so.
    pub(crate) fn reconfigure(&self, config: Config) {
        self.access.reconfigure(&config);
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
    }

    /// Calls the store on a thread that may block.
    pub(crate) async fn blocking<T, F>(self: &Arc<Self>, work: F) -> Result<T, Refusal>
    where
        T: Send + 'static,
        F: FnOnce(&dyn Store) -> mdl_store::Result<T> + Send + 'static,
    {
        let store = Arc::clone(&self.store);
        match tokio::task::spawn_blocking(move || work(&*store)).await {
            Ok(done) => done.map_err(Refusal::from),
            Err(failed) => Err(Refusal::internal(&failed)),
        }
    }

    /// How much is stored; counted anew when it was counted some time ago.
    pub(crate) async fn stats(self: &Arc<Self>) -> Option<Stats> {
        let mut kept = self.stats.lock().await;
        if let Some((counted, stats)) = &*kept
            && counted.elapsed().as_secs() < 30
        {
            return Some(*stats);
        }
        let files = self.files.clone();
        let counted = tokio::task::spawn_blocking(move || files.stats()).await.ok()?;
        match counted {
            Ok(stats) => {
                *kept = Some((Instant::now(), stats));
                Some(stats)
            }
            Err(error) => {
                tracing::error!("cannot count what is stored: {error}");
                None
            }
        }
    }
}

/// A request without its body, and how it came.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) app: Arc<App>,
    pub(crate) config: Arc<Config>,
    pub(crate) parts: Parts,
    /// Where it came from.
    pub(crate) client: IpAddr,
    /// How absolute addresses in the answer begin.
    pub(crate) origin: Origin,
    /// What whoever asks may do.
    pub(crate) rights: Arc<Rights>,
    /// What they showed for it.
    pub(crate) shown: Shown,
}

impl Call {
    /// Calls the store, as whoever asks may see it, on a thread that may block.
    pub(crate) fn blocking<T, F>(
        &self,
        work: F,
    ) -> impl Future<Output = Result<T, Refusal>> + Send + use<T, F>
    where
        T: Send + 'static,
        F: FnOnce(&dyn Store) -> mdl_store::Result<T> + Send + 'static,
    {
        let (app, rights) = (Arc::clone(&self.app), Arc::clone(&self.rights));
        let demand = app.access.demand();
        async move {
            app.blocking(move |store| {
                work(&Guarded { store, rights: &rights, demand: demand.as_deref() })
            })
            .await
        }
    }

    /// What a manifest that was just pushed lacks before others see it, where the registry demands anything.
    pub(crate) async fn lacks(
        &self,
        repo: &Name,
        tag: Option<&Tag>,
        digest: &Digest,
    ) -> Result<Vec<String>, Refusal> {
        let Some(demand) = self.app.access.demand() else { return Ok(Vec::new()) };
        let (repo, tag, digest) = (repo.clone(), tag.cloned(), digest.clone());
        self.app
            .blocking(move |store| {
                demand.note(store, &repo, &digest)?;
                demand.lacks(store, &repo, tag.as_ref(), &digest)
            })
            .await
    }

    /// Takes notice that something about a manifest was just pushed.
    pub(crate) async fn referred_to(&self, repo: &Name, subject: &Digest) -> Result<(), Refusal> {
        let Some(demand) = self.app.access.demand() else { return Ok(()) };
        let (repo, subject) = (repo.clone(), subject.clone());
        self.app.blocking(move |store| demand.note(store, &repo, &subject)).await
    }

    /// The address of an upload, with a mark of whose it is.
    pub(crate) fn owned(&self, path: &str, id: &UploadId) -> String {
        match self.rights.who {
            Who::Anybody => path.to_owned(),
            _ => format!(
                "{path}?owner={}",
                self.app.tokens.owner(self.rights.owner().as_deref(), &id.0)
            ),
        }
    }

    /// Whether an upload is that of whoever asks, as its address says.
    pub(crate) fn owns(&self, id: &UploadId) -> bool {
        if self.rights.who == Who::Anybody {
            return true;
        }
        let given = self.parameter("owner").unwrap_or_default();
        self.app.tokens.is_owner(self.rights.owner().as_deref(), &id.0, &given)
    }

    /// A parameter of the query, decoded; of several the first.
    pub(crate) fn parameter(&self, name: &str) -> Option<String> {
        self.parameters(name).next()
    }

    /// All values of a parameter of the query.
    pub(crate) fn parameters<'a>(&'a self, name: &'a str) -> impl Iterator<Item = String> + 'a {
        let query = self.parts.uri.query().unwrap_or_default();
        let pairs = url::form_urlencoded::parse(query.as_bytes());
        pairs.filter(move |(found, _)| found == name).map(|(_, value)| value.into_owned())
    }

    /// The text of a header.
    pub(crate) fn header(&self, name: &http::HeaderName) -> Option<&str> {
        self.parts.headers.get(name)?.to_str().ok()
    }

    /// An absolute address of this registry.
    pub(crate) fn address(&self, path: &str) -> String {
        format!("{}{path}", self.origin.base())
    }
}

/// How a connection came.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival {
    pub(crate) peer: SocketAddr,
    /// Who it is, also behind a proxy that is believed.
    pub(crate) client: IpAddr,
    pub(crate) local: SocketAddr,
    /// Whether it speaks TLS.
    pub(crate) secure: bool,
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
