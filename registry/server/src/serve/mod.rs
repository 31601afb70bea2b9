//! Running a registry: from its folder and its listeners to the last request.

mod collect;
mod connection;
mod key;
mod listen;
mod pulse;
mod tls;

pub(crate) use pulse::Active;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use mdl_store::FsStore;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::tls::Secrets;
use crate::{
    Config, Error, Outputs, Result,
    access::Access,
    app::App,
    audit::{Audit, Event, Kind},
    control,
    log::Log,
};

/// How long what was received is given to become durable when the registry stops.
const CLOSING: Duration = Duration::from_secs(5);

/// Files that the process may have open, where the system lets it.
const FILES: u64 = 16 << 10;

/// Bytes of the block that raises the limit of memory kept.
const KEPT_BYTES: usize = 4 << 20;

/// A registry that serves.
#[derive(Debug)]
pub struct Server {
    app: Arc<App>,
    secrets: Arc<Secrets>,
    addresses: Vec<SocketAddr>,
    connections: TaskTracker,
    /// Cancelled when connections have had the time to end.
    cut: CancellationToken,
}

impl Server {
    /// Opens the folder and begins to listen. Without accounts only addresses of this machine will do.
    ///
    /// # Errors
    /// [`Error::NotLoopback`], [`Error::Listen`], [`Error::Store`], [`Error::Tls`], [`Error::Io`].
    pub async fn start(config: Config, outputs: Outputs) -> Result<Self> {
        let root = config.root.clone().ok_or_else(|| Error::Config {
            path: "registry.toml".into(),
            what: "`root` is missing: the folder with the registry's data".to_owned(),
        })?;
        let access = Access::open(&root, &config)?;
        let found = listen::resolved(&config.listen, access.is_on()).await?;
        let secrets = Arc::new(Secrets::read(config.tls.as_ref())?);
        let (limits, keep) = (config.store_limits(), config.store_keep());
        let rules = config.store_rules();
        let folder = root.clone();
        let opening = tokio::task::spawn_blocking(move || -> Result<(FsStore, [u8; 32])> {
            let store = FsStore::open_keeping(&folder, limits, keep)?;
            store.obey(rules)?;
            let key = key::of(&folder)?;
            Ok((store, key))
        });
        let (store, secret) = opening.await.map_err(|failed| Error::Io {
            what: "open",
            path: root.clone(),
            source: std::io::Error::other(failed.to_string()),
        })??;
        let listeners = listen::bind(&config.listen, &found).await?;
        let log = Log::open(&config.access_log, outputs)?;
        let audit = Audit::open(&root, &config, access.is_on())?;
        let app = Arc::new(App::new(config, store, secret, access, log, audit));
        let addresses = listeners.iter().filter_map(|it| it.local_addr().ok()).collect();
        let server = Self {
            app,
            secrets,
            addresses,
            connections: TaskTracker::new(),
            cut: CancellationToken::new(),
        };
        control::open(&server.app, &root)?;
        server.app.noted(said(Kind::Started, &server.app.config()));
        server.begin(listeners);
        Ok(server)
    }

    fn begin(&self, listeners: Vec<TcpListener>) {
        let open = self.app.config().limits.connections as usize;
        let open = Arc::new(tokio::sync::Semaphore::new(open));
        for listener in listeners {
            let accepting = listen::Accepting {
                app: Arc::clone(&self.app),
                secrets: Arc::clone(&self.secrets),
                connections: self.connections.clone(),
                open: Arc::clone(&open),
                cut: self.cut.clone(),
            };
            self.connections.spawn(accepting.run(listener));
        }
        self.app.tasks.spawn(collect::run(Arc::clone(&self.app)));
    }

    /// Where it listens.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// How many accounts there are; `None` where nobody is asked who they are.
    pub fn accounts(&self) -> Option<usize> {
        let state = self.app.access.state(&self.app.config());
        state.on.then(|| state.accounts.users.len())
    }

    /// Takes another configuration, as far as that goes while it serves, and says what will wait for a restart.
    /// Certificates are read again, and the log is opened anew, in any case.
    ///
    /// # Errors
    /// [`Error::Tls`], [`Error::Io`]: all stays as it was.
    pub fn reload(&self, config: Config) -> Result<Vec<&'static str>> {
        self.secrets.reread(config.tls.as_ref())?;
        self.app.log.reopen(&config.access_log)?;
        self.app.audit.reopen(&config, self.app.access.is_on())?;
        self.app.files.obey(config.store_rules())?;
        let old = self.app.config();
        let waits = [
            (old.listen != config.listen, "listen"),
            (old.root != config.root, "root"),
            (old.tls.is_some() != config.tls.is_some(), "tls, where it begins or ends"),
            (old.limits != config.limits, "limits"),
            (old.keep != config.keep, "keep"),
        ];
        let mut config = config;
        // What is shown and checked is what is in force.
        config.listen.clone_from(&old.listen);
        config.root.clone_from(&old.root);
        config.limits.clone_from(&old.limits);
        config.keep.clone_from(&old.keep);
        self.app.reconfigure(config);
        self.app.noted(said(Kind::Configured, &self.app.config()));
        Ok(waits.into_iter().filter(|(differs, _)| *differs).map(|(_, name)| name).collect())
    }

    /// Stops: no new connection is taken, uploads are kept as far as they are, other requests get the time that the
    /// configuration gives them. Over in 20 s, whatever clients do.
    pub async fn stop(self) {
        let Self { app, connections, cut, .. } = self;
        app.stop.cancel();
        connections.close();
        let grace = app.config().timeouts.stop.0;
        if tokio::time::timeout(grace, connections.wait()).await.is_err() {
            tracing::warn!("requests are cut off after {}s", grace.as_secs());
        }
        cut.cancel();
        app.tasks.close();
        let closing = async {
            connections.wait().await;
            app.tasks.wait().await;
        };
        if tokio::time::timeout(CLOSING, closing).await.is_err() {
            tracing::warn!("work in the background is cut off");
        }
        app.noted(Event::new(Kind::Stopped));
        app.audit.close();
        app.log.close();
    }
}

/// Whether certificate and key can be used.
///
/// # Errors
/// [`Error::Tls`].
pub(crate) fn check_tls(tls: Option<&crate::config::Tls>) -> Result<()> {
    Secrets::read(tls).map(|_| ())
}

/// Serves until SIGTERM or SIGINT. At SIGHUP `again` gives the configuration anew. `ready` hears of the server when it listens.
///
/// # Errors
/// As [`Server::start`].
pub fn serve(
    config: Config,
    outputs: Outputs,
    again: &dyn Fn() -> Result<Config>,
    ready: &dyn Fn(&Server),
) -> Result<()> {
    raise_limit();
    keep_memory();
    let failed = |source| Error::Io { what: "start", path: "the threads".into(), source };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(failed)?;
    let served = runtime.block_on(async {
        // Before anything else, so that no signal is missed.
        let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        let mut hangup = signal(SignalKind::hangup()).map_err(failed)?;
        let server = Server::start(config, outputs).await?;
        ready(&server);
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = hangup.recv() => reload(&server, again),
            }
        }
        tokio::select! {
            () = server.stop() => {}
            // Who insists does not wait.
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        Ok(())
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
    served
}

/// What the audit log says of a configuration.
fn said(kind: Kind, config: &Config) -> Event {
    Event::new(kind)
        .text("version", env!("CARGO_PKG_VERSION"))
        .maybe("configuration", config.sha256.as_deref())
}

fn reload(server: &Server, again: &dyn Fn() -> Result<Config>) {
    match again().and_then(|config| server.reload(config)) {
        Ok(waits) => {
            for name in waits {
                tracing::warn!("a change of `{name}` waits for a restart");
            }
            tracing::info!("the configuration was read again");
        }
        Err(error) => tracing::error!("the configuration stays as it was: {error}"),
    }
}

/// glibc gives memory back to the system when some hundred KB at the end of a heap are free, and takes it again page by page
/// for the next body; freeing one large block once raises that limit to twice its size (mallopt(3), M_MMAP_THRESHOLD). A
/// tenth of the time of receiving a blob. Elsewhere it does nothing.
fn keep_memory() {
    drop(std::hint::black_box(vec![0_u8; KEPT_BYTES]));
}

/// Every connection is a file, and so is every blob that is read.
fn raise_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.map_or(FILES, |maximum| maximum.min(FILES));
    if limit.current.is_some_and(|current| current < wanted) {
        limit.current = Some(wanted);
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            tracing::warn!("cannot raise the limit of open files: {error}");
        }
    }
}
