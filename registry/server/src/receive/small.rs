//! Bodies that are held whole: manifests, forms.

use std::time::Duration;

use http::{StatusCode, header};
use http_body::Body as _;

use super::{Broken, Incoming, Pace, next};
use crate::{
    app::{App, Call},
    refusal::Refusal,
};

/// What is read of a body that nobody wants, so that its sender comes to read the answer.
const LINGER_BYTES: usize = 32 << 20;

/// For how long.
const LINGER: Duration = Duration::from_secs(3);

/// Reads a body of at most `limit` bytes.
pub(crate) async fn small(
    call: &Call,
    mut body: Incoming,
    limit: u64,
    code: &'static str,
) -> Result<Vec<u8>, Refusal> {
    let too_large = || {
        let what = format!("the body is larger than the limit of {limit} bytes");
        Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, code, what)
    };
    let stated = body.size_hint();
    if stated.lower() > limit {
        linger(&call.app, body);
        return Err(too_large());
    }
    // Memory is taken from what all requests share, before a byte is read.
    let room = stated.upper().unwrap_or(limit).min(limit);
    let room_kib = u32::try_from(room.div_ceil(1024)).unwrap_or(u32::MAX).max(1);
    let idle = call.config.timeouts.idle.0;
    let permit = tokio::time::timeout(idle, call.app.bodies.acquire_many(room_kib)).await;
    let Ok(Ok(_permit)) = permit else {
        return Err(Refusal::too_many("too many bodies are being received"));
    };
    let mut bytes = Vec::with_capacity(usize::try_from(stated.lower()).unwrap_or(0));
    let mut pace = Pace::new(idle);
    loop {
        match next(&mut body, &mut pace, idle).await {
            Ok(Some(more)) if bytes.len() as u64 + more.len() as u64 > limit => {
                linger(&call.app, body);
                return Err(too_large());
            }
            Ok(Some(more)) => bytes.extend_from_slice(&more),
            Ok(None) => {
                call.app.metrics.received.inc_by(bytes.len() as u64);
                return Ok(bytes);
            }
            Err(Broken::Slow) => return Err(Refusal::slow()),
            Err(Broken::Gone) => {
                return Err(
                    Refusal::bad(code, "the body breaks off").with(header::CONNECTION, "close")
                );
            }
        }
    }
}

/// Reads on for a while after a refusal: whose connection is cut while it sends does not see the answer.
pub(crate) fn linger(app: &App, mut body: Incoming) {
    if body.is_end_stream() {
        return;
    }
    let drain = async move {
        let mut pace = Pace::new(LINGER);
        let mut read = 0;
        while read < LINGER_BYTES {
            match next(&mut body, &mut pace, LINGER).await {
                Ok(Some(bytes)) => read += bytes.len(),
                Ok(None) | Err(_) => return,
            }
        }
    };
    app.tasks.spawn(async move {
        // Whether it ended or not: enough was done.
        let _ = tokio::time::timeout(LINGER, drain).await;
    });
}
