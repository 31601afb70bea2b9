//! A registry or hub: where it is, who we are to it, redirects followed without telling others.

use std::sync::Arc;

use http::{Method, StatusCode};
use mdl_store::Name;
use tokio::sync::OnceCell;
use url::Url;

use crate::{
    Error, Result,
    address::{is_loopback, place, remote_name, root, same_origin},
    auth::Auth,
    http::{Call, Content, Http, Response, is_redirect},
};

/// A registry or hub.
pub(crate) struct Peer {
    pub(crate) http: Arc<Http>,
    /// As the user calls it.
    pub(crate) host: String,
    root: OnceCell<Url>,
    identity: Identity,
}

/// Who we are to a peer.
pub(crate) enum Identity {
    /// Whoever the registry asks for.
    Registry(Box<Auth>),
    /// The bearer of this token, to this server only.
    Token(Option<String>),
}

/// What the requests are for, as token servers name it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scope(pub(crate) Vec<String>);

/// A body that is streamed.
pub(crate) struct Part<'a> {
    pub(crate) content: &'a Content,
    pub(crate) offset: u64,
    pub(crate) length: u64,
}

impl Peer {
    /// The registry of that name; how it is reached is found out by the first request.
    pub(crate) fn registry(http: Arc<Http>, host: &str, auth: Auth) -> Self {
        let identity = Identity::Registry(Box::new(auth));
        Self { http, host: host.to_owned(), root: OnceCell::new(), identity }
    }

    /// A server at a known address.
    pub(crate) fn at(http: Arc<Http>, root: Url, identity: Identity) -> Self {
        let port = root.port().map(|port| format!(":{port}")).unwrap_or_default();
        let host = format!("{}{port}", root.host_str().unwrap_or_default());
        Self { http, host, root: OnceCell::new_with(Some(root)), identity }
    }

    /// Its root address. On loopback a registry mostly speaks plain HTTP, but it need not.
    pub(crate) async fn root(&self) -> Result<&Url> {
        self.root
            .get_or_try_init(async || {
                let plain = root("http", &self.host)?;
                let secure = root("https", &self.host)?;
                if self.http.plain {
                    return Ok(plain);
                }
                if !is_loopback(&plain) {
                    return Ok(secure);
                }
                let probe = |root: &Url| Call::get(path(root, "v2/"));
                match self.http.once(&probe(&plain), None).await {
                    Ok(answer) if answer.status() != 400 => Ok(plain),
                    Ok(_) | Err(_) => match self.http.once(&probe(&secure), None).await {
                        Ok(_) => Ok(secure),
                        Err(error) if error.to_string().contains("certificate") => Err(error),
                        Err(_) => Ok(plain),
                    },
                }
            })
            .await
    }

    /// An address below the root; `path` is made of checked parts.
    pub(crate) async fn url(&self, below: &str) -> Result<Url> {
        Ok(path(self.root().await?, below))
    }

    /// What this peer calls a repository.
    pub(crate) fn repository(&self, name: &Name) -> String {
        remote_name(&self.host, name)
    }

    /// What reading a repository needs, and writing it.
    pub(crate) fn scope(&self, name: &Name, write: bool) -> Scope {
        let actions = if write { "pull,push" } else { "pull" };
        Scope(vec![format!("repository:{}:{actions}", self.repository(name))])
    }

    /// Sends a request; credentials are added, challenges answered, redirects followed. Any other status is an answer.
    ///
    /// # Errors
    /// [`Error::Unauthorized`], [`Error::Connection`], [`Error::Idle`], [`Error::Broken`].
    pub(crate) async fn send(&self, call: Call, scope: &Scope) -> Result<Response> {
        self.exchange(call, scope, None).await
    }

    /// The same, with a body that is streamed.
    ///
    /// # Errors
    /// As [`Peer::send`], and what reading the content says.
    pub(crate) async fn send_part(
        &self,
        call: Call,
        scope: &Scope,
        part: &Part<'_>,
    ) -> Result<Response> {
        self.exchange(call, scope, Some(part)).await
    }

    /// Sends a request that changes nothing when it comes twice, until it is answered.
    ///
    /// # Errors
    /// As [`Peer::send`], and a status that stays transient.
    pub(crate) async fn ask(&self, call: &Call, scope: &Scope) -> Result<Response> {
        self.http
            .retrying(async || {
                let answer = self.send(call.clone(), scope).await?;
                if matches!(answer.status().as_u16(), 408 | 425 | 429 | 500 | 502 | 503 | 504) {
                    return Err(answer.failure().await);
                }
                Ok(answer)
            })
            .await
    }

    async fn exchange(
        &self,
        mut call: Call,
        scope: &Scope,
        part: Option<&Part<'_>>,
    ) -> Result<Response> {
        let root = self.root().await?;
        let (mut challenged, mut redirected) = (0, 0);
        loop {
            let ours = same_origin(&call.url, root);
            let credentials = if ours { self.credentials(scope).await? } else { None };
            let answer = match part {
                None => self.http.once(&call, credentials.as_deref()).await?,
                Some(part) => {
                    let progress = &self.http.progress;
                    let opened = part.content.open(part.offset, part.length, progress).await?;
                    let state = opened.state.clone();
                    let answer = self.http.stream(&call, credentials.as_deref(), opened).await;
                    if !answer.as_ref().is_ok_and(|answer| answer.status().is_success()) {
                        progress.undo(state.sent());
                    }
                    answer?
                }
            };
            let status = answer.status();
            if matches!(status.as_u16(), 401 | 403) {
                if !ours {
                    return Err(answer.failure().await);
                }
                if status == 403 || challenged == 2 {
                    return Err(self.unauthorized(answer).await);
                }
                challenged += 1;
                self.challenged(answer, scope, credentials.as_deref()).await?;
            } else if is_redirect(status) {
                redirected += 1;
                if redirected > self.http.limits.redirects {
                    let what = format!("more than {} redirects", self.http.limits.redirects);
                    return Err(Error::broken(answer.place(), what));
                }
                let reading = matches!(call.method, Method::GET | Method::HEAD);
                if !reading && !matches!(status.as_u16(), 307 | 308) {
                    let what = format!("redirects a {} with status {status}", call.method);
                    return Err(Error::broken(answer.place(), what));
                }
                call.url = self.follow(&answer)?;
            } else {
                return Ok(answer);
            }
        }
    }

    /// Where an answer sends us on to, if that is acceptable.
    ///
    /// # Errors
    /// [`Error::Broken`], [`Error::Refused`].
    pub(crate) fn follow(&self, answer: &Response) -> Result<Url> {
        let (from, to) = (answer.url(), answer.location()?);
        if from.scheme() == "https" && to.scheme() != "https" {
            let what = format!("sends us on without TLS, to {}", place(&to));
            return Err(Error::broken(place(from), what));
        }
        if is_loopback(&to) && !is_loopback(from) {
            let what = format!("sends us on to this machine, to {}", place(&to));
            return Err(Error::broken(place(from), what));
        }
        self.http.allow(&to)?;
        Ok(to)
    }

    async fn credentials(&self, scope: &Scope) -> Result<Option<String>> {
        match &self.identity {
            Identity::Registry(auth) => auth.header(&self.http, &scope.0).await,
            Identity::Token(token) => Ok(token.as_ref().map(|token| format!("Bearer {token}"))),
        }
    }

    async fn challenged(&self, answer: Response, scope: &Scope, used: Option<&str>) -> Result<()> {
        match &self.identity {
            Identity::Registry(auth) => {
                auth.challenged(&self.http, answer.url(), answer.headers(), &scope.0, used).await
            }
            Identity::Token(_) => Err(self.unauthorized(answer).await),
        }
    }

    async fn unauthorized(&self, answer: Response) -> Error {
        let forbidden = answer.status() == StatusCode::FORBIDDEN;
        let detail = answer.detail().await;
        let detail = if detail.is_empty() { "not allowed".to_owned() } else { detail };
        match &self.identity {
            // It knows who asks, or does not care.
            Identity::Registry(_) if forbidden => {
                let host = self.host.clone();
                let hint = format!(
                    "ask whoever runs {host}, or `mdl login {host}` as somebody who may do this"
                );
                Error::Unauthorized { host, detail, hint }
            }
            Identity::Registry(auth) => auth.refused(&detail),
            Identity::Token(token) => {
                let hint = match token {
                    Some(_) => "the token in HF_TOKEN may lack access to it",
                    None => "a gated or private repository needs a token in HF_TOKEN",
                };
                Error::Unauthorized { host: self.host.clone(), detail, hint: hint.to_owned() }
            }
        }
    }
}

/// An address below a root.
fn path(root: &Url, below: &str) -> Url {
    let mut url = root.clone();
    let base = url.path().trim_end_matches('/').to_owned();
    let (path, query) = below.split_once('?').map_or((below, None), |(p, q)| (p, Some(q)));
    url.set_path(&format!("{base}/{path}"));
    url.set_query(query);
    url
}
