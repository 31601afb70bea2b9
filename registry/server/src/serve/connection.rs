//! One connection: HTTP/1.1 or 2, with TLS or without.

use std::{convert::Infallible, pin::pin, sync::Arc, time::Duration};

use http::Request;
use http_body_util::BodyExt as _;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::Instant,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::pulse::{Pulse, Watched};
use crate::{
    app::{App, Arrival},
    front,
    receive::BodyError,
};

/// Bytes of a head, and of what is read at once.
const READ_BYTES: usize = 256 << 10;

/// Requests at once on one HTTP/2 connection.
const STREAMS: u32 = 64;

/// How long a connection that is told to end may take.
const ENDING: Duration = Duration::from_secs(1);

/// Serves a connection until it ends, is idle for too long, or is cut off.
pub(super) async fn serve(
    app: &Arc<App>,
    stream: TcpStream,
    acceptor: Option<TlsAcceptor>,
    arrival: Arrival,
    cut: &CancellationToken,
) {
    let pulse = Arc::new(Pulse::default());
    let stream = Watched::new(stream, Arc::clone(&pulse));
    let Some(acceptor) = acceptor else {
        return http(app, stream, arrival, &pulse, cut).await;
    };
    let shaking = tokio::time::timeout(app.config().timeouts.head.0, acceptor.accept(stream));
    tokio::select! {
        shaken = shaking => match shaken {
            Ok(Ok(stream)) => http(app, stream, arrival, &pulse, cut).await,
            Ok(Err(error)) => tracing::debug!("{}: {error}", arrival.peer),
            Err(_) => tracing::debug!("{}: no TLS in time", arrival.peer),
        },
        () = app.stop.cancelled() => {}
    }
}

async fn http<I>(
    app: &Arc<App>,
    io: I,
    arrival: Arrival,
    pulse: &Arc<Pulse>,
    cut: &CancellationToken,
) where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(|request: Request<Incoming>| {
        let active = pulse.active();
        let app = Arc::clone(app);
        async move {
            let request = request.map(|body| body.map_err(BodyError::from).boxed_unsync());
            Ok::<_, Infallible>(front::respond(&app, arrival, request, Some(active)).await)
        }
    });
    let builder = builder();
    let mut connection = pin!(builder.serve_connection(TokioIo::new(io), service));
    let config = app.config();
    let (head, idle) = (config.timeouts.head.0, config.timeouts.idle.0);
    let look = (head.min(idle) / 4).clamp(Duration::from_millis(50), Duration::from_secs(5));
    let mut looks = tokio::time::interval(look);
    let mut ending: Option<Instant> = None;
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!("{}: {error}", arrival.peer);
                }
                return;
            }
            () = cut.cancelled() => return,
            () = app.stop.cancelled(), if ending.is_none() => {
                connection.as_mut().graceful_shutdown();
                // Requests under way have the time that the configuration gives them.
                ending = Some(Instant::now() + Duration::from_mins(1));
            }
            _ = looks.tick() => {
                if pulse.blocked() > idle || ending.is_some_and(|until| Instant::now() > until) {
                    tracing::debug!("{}: cut off, it does nothing", arrival.peer);
                    return;
                }
                if pulse.quiet() > head && ending.is_none() {
                    connection.as_mut().graceful_shutdown();
                    ending = Some(Instant::now() + ENDING);
                }
            }
        }
    }
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().max_buf_size(READ_BYTES).timer(TokioTimer::new()).header_read_timeout(None);
    builder
        .http2()
        .timer(TokioTimer::new())
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(2 << 20)
        .max_frame_size(64 << 10)
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(32 << 10)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(30));
    builder
}
