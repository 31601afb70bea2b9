//! One request and its answer: plain HTTP rules, idle limits, bounded reading, retries.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use reqwest::Certificate;
use url::Url;

use crate::{
    Error, Limits, Options, Progress, Result,
    address::{is_loopback, place},
    error::shown,
};

mod body;
mod response;

pub(crate) use body::{Content, Opened};
pub(crate) use response::Response;

/// The connections, shared by all that a client does.
pub(crate) struct Http {
    proxied: reqwest::Client,
    /// For this machine: a proxy would look for the peer on its own.
    direct: reqwest::Client,
    pub(crate) limits: Limits,
    pub(crate) plain: bool,
    pub(crate) progress: Arc<dyn Progress>,
    /// Whether any peer has answered: one that never did is likely misspelt or down.
    answered: AtomicBool,
}

/// A request, which can be sent again.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Call {
    pub(crate) fn new(method: Method, url: Url) -> Self {
        Self { method, url, headers: HeaderMap::new(), body: Bytes::new() }
    }

    pub(crate) fn get(url: Url) -> Self {
        Self::new(Method::GET, url)
    }

    pub(crate) fn header(mut self, name: HeaderName, value: &str) -> Self {
        // What we send is made of checked names, numbers and media types.
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.append(name, value);
        }
        self
    }

    pub(crate) fn body(mut self, media_type: &str, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self.header(header::CONTENT_TYPE, media_type)
    }
}

impl Http {
    pub(crate) fn new(options: &Options) -> Result<Self> {
        let certificates = match &options.ca {
            Some(path) => {
                let pem = std::fs::read(path).map_err(Error::io(path, "read"))?;
                let read = Certificate::from_pem_bundle(&pem).unwrap_or_default();
                if read.is_empty() {
                    return Err(Error::refused(
                        format!("{} holds no certificate", path.display()),
                        "--ca takes a file of PEM certificates",
                    ));
                }
                read
            }
            None => Vec::new(),
        };
        let build = |direct: bool| {
            let builder = || {
                let builder = reqwest::Client::builder()
                    .user_agent(concat!("mdl/", env!("CARGO_PKG_VERSION")))
                    .redirect(reqwest::redirect::Policy::none())
                    .connect_timeout(options.limits.connect)
                    .tcp_keepalive(Duration::from_secs(30))
                    .pool_idle_timeout(Duration::from_secs(30))
                    .retry(reqwest::retry::never())
                    // One connection a transfer: streams of HTTP/2 would share one window.
                    .http1_only();
                if direct { builder.no_proxy() } else { builder }
            };
            let with_ours = builder().tls_certs_merge(certificates.clone()).build();
            // A machine without certificate authorities can still speak plain HTTP, and use the one given.
            with_ours.or_else(|_| builder().tls_certs_only(certificates.clone()).build())
        };
        let failed = |error: reqwest::Error| {
            Error::refused(format!("cannot set up connections: {}", causes(&error)), "")
        };
        Ok(Self {
            proxied: build(false).map_err(failed)?,
            direct: build(true).map_err(failed)?,
            limits: options.limits.clone(),
            plain: options.plain_http,
            progress: options.progress.clone(),
            answered: AtomicBool::new(false),
        })
    }

    /// Refuses an address that is to be reached without TLS unasked.
    pub(crate) fn allow(&self, url: &Url) -> Result<()> {
        match url.scheme() {
            "https" => Ok(()),
            "http" if self.plain || is_loopback(url) => Ok(()),
            "http" => Err(Error::refused(
                format!("{} would be reached without TLS", place(url)),
                "give --plain-http to allow it",
            )),
            other => Err(Error::broken(place(url), format!("`{other}` is no scheme of HTTP"))),
        }
    }

    /// Sends a request once and waits for the head of its answer; follows no redirect.
    pub(crate) async fn once(&self, call: &Call, credentials: Option<&str>) -> Result<Response> {
        let request = self.request(call, credentials)?.body(call.body.clone());
        let wait = self.limits.idle;
        match tokio::time::timeout(wait, request.send()).await {
            Ok(sent) => self.answered(call, sent),
            Err(_) => Err(Error::Idle { place: place(&call.url), after: wait }),
        }
    }

    /// The same with a body that is streamed: as long as it moves, there is no end to the patience.
    pub(crate) async fn stream(
        &self,
        call: &Call,
        credentials: Option<&str>,
        opened: Opened,
    ) -> Result<Response> {
        let Opened { body, length, state } = opened;
        let request = self
            .request(call, credentials)?
            .header(header::CONTENT_TYPE, "application/octet-stream")
            .header(header::CONTENT_LENGTH, length)
            .body(body);
        let mut sending = std::pin::pin!(request.send());
        let mut seen = None;
        let mut answer_waited = Duration::ZERO;
        let sent = loop {
            match tokio::time::timeout(self.limits.idle, &mut sending).await {
                Ok(sent) => break sent,
                Err(_) => {
                    let sent = state.sent();
                    if sent == length && answer_waited + self.limits.idle < self.limits.answer {
                        answer_waited += self.limits.idle;
                    } else if seen == Some(sent) {
                        let after = self.limits.idle + answer_waited;
                        return Err(Error::Idle { place: place(&call.url), after });
                    }
                    seen = Some(sent);
                }
            }
        };
        // What our side failed at is not the peer's fault.
        if let Some(failure) = state.failure() {
            return Err(failure);
        }
        self.answered(call, sent)
    }

    fn request(&self, call: &Call, credentials: Option<&str>) -> Result<reqwest::RequestBuilder> {
        self.allow(&call.url)?;
        let client = if is_loopback(&call.url) { &self.direct } else { &self.proxied };
        let mut request = client
            .request(call.method.clone(), call.url.clone())
            .header(header::ACCEPT_ENCODING, "identity")
            .headers(call.headers.clone());
        if let Some(credentials) = credentials {
            let mut value = HeaderValue::from_str(credentials).map_err(|_| {
                Error::refused(
                    format!("the credentials for {} cannot be sent", place(&call.url)),
                    "they hold line breaks or other control characters",
                )
            })?;
            value.set_sensitive(true);
            request = request.header(header::AUTHORIZATION, value);
        }
        Ok(request)
    }

    fn answered(&self, call: &Call, sent: reqwest::Result<reqwest::Response>) -> Result<Response> {
        match sent {
            Ok(answer) => {
                self.answered.store(true, Ordering::Relaxed);
                Ok(Response::new(answer, call.url.clone(), self.limits.clone()))
            }
            Err(error) => Err(connection(&call.url, &error)),
        }
    }

    /// Tries again what may succeed later, with growing pauses.
    pub(crate) async fn retrying<T, F>(&self, mut attempt: impl FnMut() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let mut patience = Patience::new(self);
        loop {
            match attempt().await {
                Ok(done) => return Ok(done),
                Err(error) => patience.wait(error).await?,
            }
        }
    }
}

/// What is left of the tries of one piece of work.
pub(crate) struct Patience<'a> {
    tried: u32,
    http: &'a Http,
}

impl<'a> Patience<'a> {
    pub(crate) fn new(http: &'a Http) -> Self {
        Self { tried: 0, http }
    }

    /// The work moved on: the tries begin anew.
    pub(crate) fn renew(&mut self) {
        self.tried = 0;
    }

    /// Waits before the next try, or gives the error back when there is none.
    pub(crate) async fn wait(&mut self, error: Error) -> Result<()> {
        self.tried += 1;
        let limits = &self.http.limits;
        let unreached = matches!(error, Error::Connection { .. } | Error::Idle { .. })
            && !self.http.answered.load(Ordering::Relaxed);
        let attempts = if unreached { limits.attempts_to_reach } else { limits.attempts };
        if !error.is_transient() || self.tried >= attempts {
            return Err(error);
        }
        let asked = match &error {
            Error::Status { retry_after, .. } => *retry_after,
            _ => None,
        };
        let longest = limits.longest_pause;
        let grown = limits.pause.saturating_mul(1 << (self.tried - 1).min(16)).min(longest);
        let pause = match asked {
            Some(asked) if asked > longest => return Err(error),
            Some(asked) => asked.max(limits.pause.min(grown)),
            None => jittered(grown),
        };
        let progress = self.http.progress.as_ref();
        progress.note(&format!("{error}; trying again in {:.1} s", pause.as_secs_f32()));
        tokio::time::sleep(pause).await;
        Ok(())
    }
}

/// Between half and all of a pause, so that many clients do not come back at once.
fn jittered(pause: Duration) -> Duration {
    static STEP: AtomicU32 = AtomicU32::new(0);
    let clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let step = STEP.fetch_add(0x9e37_79b9, Ordering::Relaxed) ^ clock.subsec_nanos();
    pause.mul_f64(0.5 + f64::from(step.wrapping_mul(0x85eb_ca6b)) / f64::from(u32::MAX) / 2.0)
}

/// A connection that failed, in the words of the innermost cause.
pub(crate) fn connection(url: &Url, error: &reqwest::Error) -> Error {
    let (place, what) = (place(url), shown(&causes(error)));
    if error.is_builder() || is_no_http(error) {
        Error::Broken { place, what }
    } else {
        Error::Connection { place, what }
    }
}

/// Whether what came is no answer of HTTP, or its head is too large: the same again would be no better.
fn is_no_http(error: &dyn std::error::Error) -> bool {
    let mut cause = error.source();
    while let Some(inner) = cause {
        if inner.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse) {
            return true;
        }
        cause = inner.source();
    }
    false
}

/// The outer words say nothing; the address in them may hold a secret.
fn causes(error: &dyn std::error::Error) -> String {
    let mut cause = error.source();
    let mut words: Vec<String> = Vec::new();
    while let Some(inner) = cause {
        let text = inner.to_string();
        if !words.iter().any(|word| word.contains(&text)) {
            words.push(text);
        }
        cause = inner.source();
    }
    if words.is_empty() { "the connection failed".to_owned() } else { words.join(": ") }
}

/// Whether a status redirects to its `Location`.
pub(crate) fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}
