//! Listening, and taking connections.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{connection, tls::Secrets};
use crate::{
    Error, Result,
    app::{App, Arrival},
    front::one_too_many,
};

/// Connections beyond the limit that are told so at once; others are just closed.
const TOLD: usize = 64;

/// Addresses that a host and port mean. Where nobody is asked who they are, all have to be of this machine.
pub(super) async fn resolved(listen: &str, asks: bool) -> Result<Vec<SocketAddr>> {
    let failed = |source| Error::Listen { address: listen.to_owned(), source };
    let mut found: Vec<SocketAddr> =
        tokio::net::lookup_host(listen).await.map_err(failed)?.collect();
    found.sort();
    found.dedup();
    if !asks && found.iter().any(|address| !address.ip().to_canonical().is_loopback()) {
        return Err(Error::NotLoopback(listen.to_owned()));
    }
    Ok(found)
}

/// Listens on every address that this machine has, at one port.
pub(super) async fn bind(listen: &str, found: &[SocketAddr]) -> Result<Vec<TcpListener>> {
    let failed = |source| Error::Listen { address: listen.to_owned(), source };
    let mut listeners: Vec<TcpListener> = Vec::new();
    let mut last = std::io::Error::from(std::io::ErrorKind::AddrNotAvailable);
    for address in found {
        let mut address = *address;
        // Port 0 asks for any, but the same one for all.
        if let Some(first) = listeners.first()
            && address.port() == 0
        {
            address.set_port(first.local_addr().map_err(failed)?.port());
        }
        match TcpListener::bind(address).await {
            Ok(listener) => listeners.push(listener),
            // `localhost` may mean an address of a protocol that the machine does not speak.
            Err(error) if error.kind() == std::io::ErrorKind::AddrNotAvailable => last = error,
            Err(error) => return Err(failed(error)),
        }
    }
    if listeners.is_empty() { Err(failed(last)) } else { Ok(listeners) }
}

/// What taking connections needs.
pub(super) struct Accepting {
    pub(super) app: Arc<App>,
    pub(super) secrets: Arc<Secrets>,
    pub(super) connections: TaskTracker,
    /// One permit for each connection.
    pub(super) open: Arc<Semaphore>,
    pub(super) cut: CancellationToken,
}

impl Accepting {
    /// Takes connections until the registry stops.
    pub(super) async fn run(self, listener: TcpListener) {
        let told = Arc::new(Semaphore::new(TOLD));
        loop {
            let accepted = tokio::select! {
                () = self.app.stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Of the connection that ended before it began, or of too many open files.
                    tracing::warn!("cannot take a connection: {error}");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    continue;
                }
            };
            let Ok(permit) = Arc::clone(&self.open).try_acquire_owned() else {
                self.app.metrics.refused.inc();
                if let Ok(told) = Arc::clone(&told).try_acquire_owned() {
                    let secure = self.secrets.current().is_some();
                    self.connections.spawn(async move {
                        refuse(stream, secure).await;
                        drop(told);
                    });
                }
                continue;
            };
            let Ok(local) = stream.local_addr() else { continue };
            // Small answers go out at once.
            let _ = stream.set_nodelay(true);
            let (app, acceptor) = (Arc::clone(&self.app), self.secrets.current());
            let cut = self.cut.clone();
            self.connections.spawn(async move {
                app.metrics.connections.inc();
                let client = peer.ip().to_canonical();
                let arrival = Arrival { peer, client, local, secure: acceptor.is_some() };
                connection::serve(&app, stream, acceptor, arrival, &cut).await;
                app.metrics.connections.dec();
                drop(permit);
            });
        }
    }
}

/// Says that there are too many, where that can be said in the clear.
async fn refuse(mut stream: TcpStream, secure: bool) {
    if secure {
        return;
    }
    let telling = async {
        stream.write_all(&one_too_many()).await?;
        stream.shutdown().await?;
        // What the client sent is read, else it would not see the answer.
        let mut unread = [0; 4096];
        while stream.read(&mut unread).await? > 0 {}
        Ok::<_, std::io::Error>(())
    };
    // It may have gone.
    let _ = tokio::time::timeout(Duration::from_secs(1), telling).await;
}
