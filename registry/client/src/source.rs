//! Where bytes come from: an address on a peer, asked for whole or in ranges.

use std::sync::Arc;

use http::{StatusCode, header};
use url::Url;

use crate::{
    Error, Result,
    http::{Call, Response},
    peer::{Peer, Scope},
};

/// A file or blob on a peer.
#[derive(Clone)]
pub(crate) struct Source {
    pub(crate) peer: Arc<Peer>,
    pub(crate) url: Url,
    pub(crate) scope: Scope,
    /// What it is, for errors.
    pub(crate) what: String,
    /// Bytes that it must have.
    pub(crate) size: u64,
}

/// An answer whose head was checked.
pub(crate) enum Opened {
    /// The bytes from here to there.
    Range(Response, u64, u64),
    /// All of them: the peer knows no ranges, or was not asked for one.
    Whole(Response),
}

impl Source {
    /// Asks for bytes `start..end`, or for all of them.
    ///
    /// # Errors
    /// [`Error::Broken`] for an answer that is not what was asked for, [`Error::Unknown`], and as [`Peer::send`].
    pub(crate) async fn open(&self, range: Option<(u64, u64)>) -> Result<Opened> {
        let mut call = Call::get(self.url.clone());
        if let Some((start, end)) = range {
            call = call.header(header::RANGE, &format!("bytes={start}-{}", end.saturating_sub(1)));
        }
        let answer = self.peer.send(call, &self.scope).await?;
        match (answer.status(), range) {
            (StatusCode::OK, _) => {
                let answer = answer.plain()?;
                let length = answer.length();
                if length.is_some_and(|length| length != self.size) {
                    let length = length.unwrap_or_default();
                    let what = format!("{length} bytes, but {} has {}", self.what, self.size);
                    return Err(Error::broken(answer.place(), what));
                }
                Ok(Opened::Whole(answer))
            }
            (StatusCode::PARTIAL_CONTENT, Some((start, end))) => {
                self.range(answer.plain()?, start, end)
            }
            (StatusCode::NOT_FOUND, _) => {
                let (host, what) = (self.peer.host.clone(), self.what.clone());
                Err(Error::Unknown { host, what })
            }
            (StatusCode::RANGE_NOT_SATISFIABLE, _) => {
                let what = format!("it lacks bytes that {} should have", self.what);
                Err(Error::broken(answer.place(), what))
            }
            _ => Err(answer.failure().await),
        }
    }

    /// From `offset` on, for a relay; a peer without ranges serves only from the start.
    ///
    /// # Errors
    /// As [`Source::open`].
    pub(crate) async fn open_from(&self, offset: u64, length: u64) -> Result<Response> {
        let whole = offset == 0 && length == self.size;
        match self.open((!whole).then_some((offset, offset + length))).await? {
            Opened::Whole(answer) if whole => Ok(answer),
            Opened::Range(answer, _, end) if end == offset + length => Ok(answer),
            Opened::Whole(answer) | Opened::Range(answer, ..) => {
                let what = format!("it gives no part of {}", self.what);
                Err(Error::broken(answer.place(), what))
            }
        }
    }

    fn range(&self, answer: Response, start: u64, end: u64) -> Result<Opened> {
        let stated = answer.header(&header::CONTENT_RANGE).unwrap_or_default();
        let lies = |answer: &Response, stated: &str| {
            let what = format!(
                "asked for bytes {start}-{} of {}, it answers `{}`",
                end.saturating_sub(1),
                self.size,
                crate::error::shown(stated)
            );
            Err(Error::broken(answer.place(), what))
        };
        let Some((first, last, total)) = content_range(stated) else {
            return lies(&answer, stated);
        };
        let right = first == start
            && last >= first
            && last < end
            && total.is_none_or(|total| total == self.size)
            && answer.length().is_none_or(|length| length == last - first + 1);
        if !right {
            return lies(&answer, stated);
        }
        Ok(Opened::Range(answer, first, last + 1))
    }
}

/// `bytes FIRST-LAST/TOTAL`, the total perhaps `*`.
fn content_range(text: &str) -> Option<(u64, u64, Option<u64>)> {
    let (range, total) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let total = if total == "*" { None } else { Some(total.parse().ok()?) };
    Some((first.trim().parse().ok()?, last.trim().parse().ok()?, total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges() {
        assert_eq!(content_range("bytes 0-9/100"), Some((0, 9, Some(100))));
        assert_eq!(content_range("bytes 5-5/*"), Some((5, 5, None)));
        for bad in ["", "bytes */100", "bytes 0-9", "items 0-9/10", "bytes -1-9/10", "bytes a-b/c"]
        {
            assert_eq!(content_range(bad), None, "{bad}");
        }
    }
}
