//! Bodies on their way in: small ones whole, blobs in batches to a thread that hashes and writes them.

mod pace;
mod small;
mod upload;
mod writers;

pub(crate) use small::{linger, small};
pub(crate) use upload::{Chunk, Received, receive};
pub(crate) use writers::Writers;

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, combinators::UnsyncBoxBody};

use self::pace::Pace;

/// What a body fails with.
pub(crate) type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// The body of a request.
pub(crate) type Incoming = UnsyncBoxBody<Bytes, BodyError>;

/// Why no more of a body comes.
#[derive(Debug)]
pub(crate) enum Broken {
    /// The connection ended.
    Gone,
    /// The client sends too little.
    Slow,
}

/// The next bytes of a body; `None` at its end.
async fn next(
    body: &mut Incoming,
    pace: &mut Pace,
    idle: Duration,
) -> Result<Option<Bytes>, Broken> {
    loop {
        let Ok(frame) = tokio::time::timeout(idle, body.frame()).await else {
            return Err(Broken::Slow);
        };
        match frame {
            None => return Ok(None),
            Some(Err(error)) => {
                tracing::debug!("a body breaks off: {error}");
                return Err(Broken::Gone);
            }
            Some(Ok(frame)) => {
                // Trailers say nothing to us.
                let Ok(bytes) = frame.into_data() else { continue };
                if !pace.keeps(bytes.len()) {
                    return Err(Broken::Slow);
                }
                if !bytes.is_empty() {
                    return Ok(Some(bytes));
                }
            }
        }
    }
}
