//! Where an issuer's keys come from, kept up to date: a file that is read again when it was changed, or an address that is
//! asked again after a while, and when a token names a key that is not known.

use std::{
    fmt, fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use tokio::sync::Semaphore;
use url::Url;

use super::{
    keys::{self, Keys},
    settings::{Jwks, is_loopback},
};
use crate::{Error, Result};

/// For how long keys from an address are kept.
const KEPT: Duration = Duration::from_mins(10);
/// The least time between two questions for keys that are not known, and after one that failed.
const PAUSE: Duration = Duration::from_mins(1);
/// How long an address is given to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Requests that wait for that; others go on with the keys that are there.
const WAITING: usize = 64;

/// Where keys come from.
#[derive(Debug)]
pub(super) enum Source {
    File(Kept),
    Address(Arc<Remote>),
}

impl Source {
    /// # Errors
    /// [`Error::Config`], [`Error::Io`] for a file that has no keys.
    pub(super) fn open(jwks: &Jwks) -> Result<Self> {
        Ok(match jwks {
            Jwks::File(path) => Self::File(Kept::read(path)?),
            Jwks::Address(url) => Self::Address(Arc::new(Remote::new(url)?)),
        })
    }

    /// The keys; `unknown` says that one was sought that those of before have not.
    pub(super) async fn keys(&self, unknown: bool) -> Arc<Keys> {
        match self {
            Self::File(file) => file.keys(),
            Self::Address(remote) => remote.keys(unknown).await,
        }
    }
}

/// What tells whether a file was changed.
type Mark = Option<(SystemTime, u64)>;

/// A file's keys.
#[derive(Debug)]
pub(super) struct Kept {
    path: PathBuf,
    known: Mutex<(Mark, Arc<Keys>)>,
}

fn mark(path: &Path) -> Mark {
    let facts = fs::metadata(path).ok()?;
    Some((facts.modified().ok()?, facts.ino() ^ facts.len()))
}

impl Kept {
    fn read(path: &Path) -> Result<Self> {
        // The mark first: what changes meanwhile is read again.
        let mark = mark(path);
        let keys = Arc::new(Keys::of_file(path)?);
        Ok(Self { path: path.to_owned(), known: Mutex::new((mark, keys)) })
    }

    /// Those of by now. A file that cannot be read changes nothing, and is complained of once.
    fn keys(&self) -> Arc<Keys> {
        let mark = mark(&self.path);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.0 != mark {
            known.0 = mark;
            match Keys::of_file(&self.path) {
                Ok(keys) => known.1 = Arc::new(keys),
                Err(error) => tracing::error!("an issuer's keys stay as they were: {error}"),
            }
        }
        Arc::clone(&known.1)
    }
}

/// An address's keys.
pub(super) struct Remote {
    url: Url,
    client: reqwest::Client,
    known: Mutex<Known>,
    /// Held by whoever asks: one at a time.
    asking: Arc<tokio::sync::Mutex<()>>,
    waiting: Semaphore,
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Remote").field(&self.url.as_str()).finish()
    }
}

/// What is known of an address.
#[derive(Debug, Default)]
struct Known {
    keys: Arc<Keys>,
    /// When these came.
    came: Option<Instant>,
    /// When it was asked in vain, if it was since.
    failed: Option<Instant>,
    /// When it was last asked for a key that is not known.
    sought: Option<Instant>,
    /// How often it was asked.
    asked: u64,
    /// Whether it is being asked: its answer may have what is not known.
    is_asked: bool,
}

impl Known {
    /// Whether the address is to be asked.
    fn is_due(&self, unknown: bool, now: Instant) -> bool {
        let within = |since: Option<Instant>, span| {
            since.is_some_and(|since| now.saturating_duration_since(since) < span)
        };
        if within(self.failed, PAUSE) {
            return false;
        }
        !within(self.came, KEPT) || unknown && !within(self.sought, PAUSE)
    }
}

impl Remote {
    fn new(url: &Url) -> Result<Self> {
        let build = |bare: bool| {
            let mut builder = reqwest::Client::builder()
                .user_agent(concat!("mdl/", env!("CARGO_PKG_VERSION")))
                .redirect(reqwest::redirect::Policy::none())
                .retry(reqwest::retry::never())
                .pool_max_idle_per_host(0)
                .timeout(PATIENCE);
            if is_loopback(url) {
                // A proxy would look for it on its own machine.
                builder = builder.no_proxy();
            }
            // A machine without certificate authorities can still speak plain HTTP.
            if bare { builder.tls_certs_only([]).build() } else { builder.build() }
        };
        let client = build(false).or_else(|_| build(true)).map_err(|error| Error::Config {
            path: url.as_str().into(),
            what: format!("cannot set up connections: {error}"),
        })?;
        Ok(Self {
            url: url.clone(),
            client,
            known: Mutex::default(),
            asking: Arc::default(),
            waiting: Semaphore::new(WAITING),
        })
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn current(&self) -> Arc<Keys> {
        Arc::clone(&self.known().keys)
    }

    async fn keys(self: &Arc<Self>, unknown: bool) -> Arc<Keys> {
        let seen = {
            let known = self.known();
            let waits = unknown && known.is_asked;
            if !waits && !known.is_due(unknown, Instant::now()) {
                return Arc::clone(&known.keys);
            }
            known.asked
        };
        let Ok(_waiting) = self.waiting.try_acquire() else { return self.current() };
        let asking = Arc::clone(&self.asking).lock_owned().await;
        {
            let mut known = self.known();
            let now = Instant::now();
            // Somebody else may have asked meanwhile.
            if known.asked != seen || !known.is_due(unknown, now) {
                return Arc::clone(&known.keys);
            }
            known.asked += 1;
            known.is_asked = true;
            if unknown {
                known.sought = Some(now);
            }
        }
        // On its own, so that a client who goes does not take the answer along.
        let remote = Arc::clone(self);
        let fetching = tokio::spawn(async move {
            let fetched = remote.fetch().await;
            remote.note(fetched);
            drop(asking);
        });
        if let Err(failed) = fetching.await {
            tracing::error!("{}: {failed}", self.url);
        }
        self.current()
    }

    fn note(&self, fetched: std::result::Result<Keys, String>) {
        let mut known = self.known();
        known.is_asked = false;
        match fetched {
            Ok(keys) => {
                if known.failed.take().is_some() {
                    tracing::info!("{} gives keys again", self.url);
                }
                known.keys = Arc::new(keys);
                known.came = Some(Instant::now());
            }
            Err(what) => {
                if known.failed.is_none() {
                    let url = &self.url;
                    tracing::error!("an issuer's keys stay as they were: {url}: {what}");
                }
                known.failed = Some(Instant::now());
            }
        }
    }

    async fn fetch(&self) -> std::result::Result<Keys, String> {
        let mut answer = self.client.get(self.url.clone()).send().await.map_err(causes)?;
        if answer.status() != reqwest::StatusCode::OK {
            return Err(format!("it answers {}", answer.status()));
        }
        let mut text = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(causes)? {
            if (text.len() + chunk.len()) as u64 > keys::BYTES {
                return Err(format!("it has more than {} bytes", keys::BYTES));
            }
            text.extend_from_slice(&chunk);
        }
        Keys::read(&text)
    }
}

/// An error with what led to it.
fn causes(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_asked_after_a_while_and_for_what_is_not_known() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut known = Known::default();
        assert!(known.is_due(false, start), "never asked");
        known.came = Some(start);
        assert!(!known.is_due(false, at(599)) && known.is_due(false, at(600)));
        // Once for a key that is not known, and then not for a minute.
        assert!(known.is_due(true, at(1)));
        (known.came, known.sought) = (Some(at(1)), Some(at(1)));
        assert!(!known.is_due(true, at(2)) && !known.is_due(true, at(60)));
        assert!(known.is_due(true, at(61)));
        // In vain: again after a minute, whatever is asked for.
        known.failed = Some(at(700));
        assert!(!known.is_due(false, at(759)) && !known.is_due(true, at(759)));
        assert!(known.is_due(false, at(760)) && known.is_due(true, at(760)));
    }
}
