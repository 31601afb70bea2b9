//! An answer, read within limits.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, StatusCode, header};
use serde::Deserialize;
use url::Url;

use super::connection;
use crate::{Error, Limits, Result, address::place, error::shown};

/// The head of an answer, whose body is still to come.
pub(crate) struct Response {
    inner: reqwest::Response,
    url: Url,
    limits: Limits,
}

/// What registries say beside an error's status.
#[derive(Debug, Deserialize)]
struct Envelope {
    errors: Vec<Stated>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Stated {
    code: String,
    message: String,
}

/// What hubs say.
#[derive(Debug, Deserialize)]
struct Plain {
    error: String,
}

impl Response {
    pub(crate) fn new(inner: reqwest::Response, url: Url, limits: Limits) -> Self {
        Self { inner, url, limits }
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.inner.status()
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        self.inner.headers()
    }

    /// Where the answer came from.
    pub(crate) fn url(&self) -> &Url {
        &self.url
    }

    pub(crate) fn place(&self) -> String {
        place(&self.url)
    }

    pub(crate) fn header(&self, name: &HeaderName) -> Option<&str> {
        self.inner.headers().get(name)?.to_str().ok()
    }

    pub(crate) fn named(&self, name: &str) -> Option<&str> {
        self.inner.headers().get(name)?.to_str().ok()
    }

    /// What `Content-Length` says.
    pub(crate) fn length(&self) -> Option<u64> {
        self.header(&header::CONTENT_LENGTH)?.parse().ok()
    }

    /// `Location`, which may be relative.
    ///
    /// # Errors
    /// [`Error::Broken`] where there is none, or one that is no address.
    pub(crate) fn location(&self) -> Result<Url> {
        let text = self
            .header(&header::LOCATION)
            .ok_or_else(|| Error::broken(self.place(), "an answer without its Location"))?;
        let url = self.url.join(text).map_err(|_| {
            Error::broken(self.place(), format!("a Location that is no address: {}", shown(text)))
        })?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Error::broken(self.place(), "a Location with credentials in it"));
        }
        Ok(url)
    }

    /// The next piece of the body. A body that others decode would not be what its digest says.
    ///
    /// # Errors
    /// [`Error::Connection`], [`Error::Idle`], [`Error::Broken`].
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>> {
        let idle = self.limits.idle;
        match tokio::time::timeout(idle, self.inner.chunk()).await {
            Ok(Ok(chunk)) => Ok(chunk),
            Ok(Err(error)) => Err(connection(&self.url, &error)),
            Err(_) => Err(Error::Idle { place: self.place(), after: idle }),
        }
    }

    /// Refuses a body that is encoded though we asked for it as it is.
    ///
    /// # Errors
    /// [`Error::Broken`].
    pub(crate) fn plain(self) -> Result<Self> {
        match self.header(&header::CONTENT_ENCODING) {
            None | Some("identity" | "") => Ok(self),
            Some(coding) => {
                let what = format!("the body comes encoded as `{}`, unasked", shown(coding));
                Err(Error::broken(self.place(), what))
            }
        }
    }

    /// The whole body, when it is not larger than this.
    ///
    /// # Errors
    /// [`Error::Broken`] for a larger one, and as [`Response::chunk`].
    pub(crate) async fn whole(mut self, what: &str, limit: u64) -> Result<Vec<u8>> {
        let large = |place: String| {
            Error::broken(place, format!("{what} is larger than the limit of {limit} bytes"))
        };
        if self.length().is_some_and(|length| length > limit) {
            return Err(large(self.place()));
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            if (bytes.len() + chunk.len()) as u64 > limit {
                return Err(large(self.place()));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }

    /// A small JSON document.
    ///
    /// # Errors
    /// [`Error::Broken`], and as [`Response::chunk`].
    pub(crate) async fn json<T: for<'a> Deserialize<'a>>(self, what: &str) -> Result<T> {
        let (place, limit) = (self.place(), self.limits.document_bytes);
        let bytes = self.whole(what, limit).await?;
        serde_json::from_slice(&bytes).map_err(|error| {
            Error::broken(place, format!("{what} is not what it should be: {error}"))
        })
    }

    /// The error that this answer is.
    pub(crate) async fn failure(self) -> Error {
        let (place, status) = (self.place(), self.status().as_u16());
        let retry_after = self.header(&header::RETRY_AFTER).and_then(pause);
        Error::Status { place, status, detail: self.detail().await, retry_after }
    }

    /// What the peer says about an error; empty where it says nothing readable.
    pub(crate) async fn detail(mut self) -> String {
        let headline = self.named("x-error-message").map(shown);
        let mut text = Vec::new();
        while let Ok(Some(chunk)) = self.chunk().await {
            let room = (self.limits.error_bytes as usize).saturating_sub(text.len());
            text.extend_from_slice(chunk.get(..room.min(chunk.len())).unwrap_or_default());
            if room <= chunk.len() {
                break;
            }
        }
        if let Some(headline) = headline {
            return headline;
        }
        if let Ok(Envelope { errors }) = serde_json::from_slice(&text) {
            let said = errors.iter().take(3).map(|stated| match stated.message.as_str() {
                "" => stated.code.clone(),
                message => message.to_owned(),
            });
            return shown(&said.collect::<Vec<_>>().join("; "));
        }
        if let Ok(Plain { error }) = serde_json::from_slice(&text) {
            return shown(&error);
        }
        let text = String::from_utf8_lossy(&text);
        // A proxy's page is for browsers.
        if text.trim_start().starts_with('<') { String::new() } else { shown(&text) }
    }
}

/// `Retry-After`: seconds, or a date.
fn pause(text: &str) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = httpdate::parse_http_date(text).ok()?;
    Some(until.duration_since(SystemTime::now()).unwrap_or_default())
}
