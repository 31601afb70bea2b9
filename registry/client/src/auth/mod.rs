//! Who we are to a registry: challenges answered, tokens fetched and kept for as long as they hold.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, Method, header};
use serde::Deserialize;
use tokio::sync::Mutex;
use url::{Url, form_urlencoded};

use crate::{
    Error, Result,
    address::{is_loopback, place, same_origin},
    credentials::{Credential, Credentials},
    error::shown,
    http::{Call, Http},
};

mod challenge;

/// Identity at one registry.
pub(crate) struct Auth {
    host: String,
    source: Source,
    state: Mutex<State>,
}

/// Where credentials come from.
enum Source {
    Kept(Arc<Credentials>),
    Given(Option<Credential>),
}

#[derive(Default)]
struct State {
    #[expect(clippy::option_option, reason = "not looked for yet, or found to be none")]
    credential: Option<Option<Credential>>,
    scheme: Option<Scheme>,
    tokens: BTreeMap<String, Token>,
}

#[derive(Clone)]
enum Scheme {
    Basic,
    Bearer { realm: Url, service: Option<String> },
}

struct Token {
    text: String,
    until: Instant,
}

/// What a token server answers.
#[derive(Deserialize)]
struct Answer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

/// What the specification gives a token whose life is not stated.
const TOKEN_LIFE: u64 = 60;
/// Used no more when it ends this soon.
const TOKEN_MARGIN: Duration = Duration::from_secs(10);
/// Bytes of a token, at most: it has to fit into a header.
const TOKEN_BYTES: usize = 32 << 10;

impl Auth {
    pub(crate) fn kept(host: &str, credentials: Arc<Credentials>) -> Self {
        Self::from(host, Source::Kept(credentials))
    }

    pub(crate) fn given(host: &str, credential: Option<Credential>) -> Self {
        Self::from(host, Source::Given(credential))
    }

    fn from(host: &str, source: Source) -> Self {
        Self { host: host.to_owned(), source, state: Mutex::default() }
    }

    /// What to send with a request, as far as the registry has said what it wants.
    ///
    /// # Errors
    /// What fetching a token says.
    pub(crate) async fn header(&self, http: &Http, scopes: &[String]) -> Result<Option<String>> {
        let mut state = self.state.lock().await;
        let Some(scheme) = state.scheme.clone() else { return Ok(None) };
        self.answer(http, &mut state, &scheme, scopes, None).await
    }

    /// Takes up a challenge; what [`Auth::header`] gives from now on answers it.
    ///
    /// # Errors
    /// [`Error::Unauthorized`] where there is nothing to answer with, [`Error::Broken`] for a challenge that no honest
    /// registry makes, and what fetching a token says.
    pub(crate) async fn challenged(
        &self,
        http: &Http,
        from: &Url,
        headers: &HeaderMap,
        scopes: &[String],
        used: Option<&str>,
    ) -> Result<()> {
        let mut state = self.state.lock().await;
        let key = scopes.join(" ");
        // Another request may have got a new token meanwhile.
        let fresh = state.tokens.get(&key).map(|token| format!("Bearer {}", token.text));
        if fresh.as_deref().is_some_and(|fresh| used != Some(fresh)) {
            return Ok(());
        }
        state.tokens.remove(&key);
        let found: Vec<_> = headers
            .get_all(header::WWW_AUTHENTICATE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(challenge::parse)
            .collect();
        let asked = |scheme: &str| found.iter().find(|one| one.scheme == scheme);
        if let Some(bearer) = asked("bearer") {
            let realm = bearer.get("realm").unwrap_or_default();
            let scheme = Scheme::Bearer {
                realm: realm_of(realm, from)?,
                service: bearer.get("service").map(str::to_owned),
            };
            state.scheme = Some(scheme.clone());
            self.answer(http, &mut state, &scheme, scopes, bearer.get("scope")).await?;
            return Ok(());
        }
        if asked("basic").is_none() {
            let what = "it asks for credentials in no way that we know";
            return Err(Error::broken(place(from), what));
        }
        state.scheme = Some(Scheme::Basic);
        let answer = self.answer(http, &mut state, &Scheme::Basic, scopes, None).await?;
        match answer {
            Some(answer) if used != Some(answer.as_str()) => Ok(()),
            Some(_) => Err(self.refused("the user name or password is wrong")),
            None => Err(self.refused("it asks for credentials")),
        }
    }

    /// A refusal, with what to do about it.
    pub(crate) fn refused(&self, detail: &str) -> Error {
        let host = self.host.clone();
        let hint = format!("`mdl login {host}` keeps credentials for it");
        Error::Unauthorized { host, detail: detail.to_owned(), hint }
    }

    async fn answer(
        &self,
        http: &Http,
        state: &mut State,
        scheme: &Scheme,
        scopes: &[String],
        asked: Option<&str>,
    ) -> Result<Option<String>> {
        let credential = self.credential(state).await?;
        let (realm, service) = match (scheme, &credential) {
            (_, Some(Credential::Bearer(token))) => return Ok(Some(format!("Bearer {token}"))),
            (Scheme::Basic, Some(Credential::Password { user, password })) => {
                return Ok(Some(basic(user, password)));
            }
            (Scheme::Basic, _) => return Ok(None),
            (Scheme::Bearer { realm, service }, _) => (realm, service),
        };
        let key = scopes.join(" ");
        if let Some(token) = state.tokens.get(&key)
            && token.until > Instant::now()
        {
            return Ok(Some(format!("Bearer {}", token.text)));
        }
        let mut wanted = scopes.to_vec();
        wanted.extend(asked.into_iter().flat_map(str::split_whitespace).map(str::to_owned));
        let wanted = covering(wanted);
        let fetch = Fetch { realm, service: service.as_deref(), scopes: &wanted };
        let token = self.fetch(http, &fetch, credential.as_ref()).await?;
        let header = format!("Bearer {}", token.text);
        state.tokens.insert(key, token);
        Ok(Some(header))
    }

    async fn credential(&self, state: &mut State) -> Result<Option<Credential>> {
        if let Some(known) = &state.credential {
            return Ok(known.clone());
        }
        let found = match &self.source {
            Source::Given(credential) => credential.clone(),
            Source::Kept(kept) => {
                let (kept, host) = (kept.clone(), self.host.clone());
                // A helper program may take its time.
                let found = tokio::task::spawn_blocking(move || kept.find(&host)).await;
                found.map_err(|_| Error::Interrupted)??
            }
        };
        state.credential = Some(found.clone());
        Ok(found)
    }

    async fn fetch(
        &self,
        http: &Http,
        fetch: &Fetch<'_>,
        credential: Option<&Credential>,
    ) -> Result<Token> {
        let (call, authorization) = fetch.call(credential);
        let answer = http
            .retrying(async || {
                let answer = http.once(&call, authorization.as_deref()).await?;
                let status = answer.status();
                if status.is_server_error() || status == 429 {
                    return Err(answer.failure().await);
                }
                Ok(answer)
            })
            .await?;
        match answer.status().as_u16() {
            200 => {}
            400 | 401 | 403 => {
                let detail = answer.detail().await;
                let who = if credential.is_some() { "the credentials do not suffice" } else { "" };
                return Err(self.refused(if detail.is_empty() { who } else { &detail }));
            }
            _ => return Err(answer.failure().await),
        }
        let place = answer.place();
        let answer: Answer = answer.json("the token server's answer").await?;
        let text = answer.token.or(answer.access_token).unwrap_or_default();
        let odd = |byte: u8| !byte.is_ascii_graphic();
        if text.is_empty() || text.len() > TOKEN_BYTES || text.bytes().any(odd) {
            return Err(Error::broken(place, "the token server's answer holds no usable token"));
        }
        let life = Duration::from_secs(answer.expires_in.unwrap_or(TOKEN_LIFE).min(86_400));
        Ok(Token { text, until: Instant::now() + life.saturating_sub(TOKEN_MARGIN.min(life / 2)) })
    }
}

/// A question to a token server.
struct Fetch<'a> {
    realm: &'a Url,
    service: Option<&'a str>,
    scopes: &'a [String],
}

impl Fetch<'_> {
    fn call(&self, credential: Option<&Credential>) -> (Call, Option<String>) {
        if let Some(Credential::Identity(identity)) = credential {
            let mut form = form_urlencoded::Serializer::new(String::new());
            form.append_pair("grant_type", "refresh_token").append_pair("client_id", "mdl");
            form.append_pair("refresh_token", identity);
            form.append_pair("service", self.service.unwrap_or_default());
            form.append_pair("scope", &self.scopes.join(" "));
            let call = Call::new(Method::POST, self.realm.clone())
                .body("application/x-www-form-urlencoded", form.finish());
            return (call, None);
        }
        let mut url = self.realm.clone();
        {
            let mut query = url.query_pairs_mut();
            if let Some(service) = self.service {
                query.append_pair("service", service);
            }
            for scope in self.scopes {
                query.append_pair("scope", scope);
            }
        }
        let authorization = match credential {
            Some(Credential::Password { user, password }) => Some(basic(user, password)),
            _ => None,
        };
        (Call::get(url), authorization)
    }
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

/// Where tokens come from. A registry names that place; it must not make us carry credentials over an open wire, nor
/// to a service of this machine.
fn realm_of(text: &str, from: &Url) -> Result<Url> {
    let broken = |what: &str| {
        Error::broken(place(from), format!("its token server `{}` {what}", shown(text)))
    };
    let realm = from.join(text).map_err(|_| broken("is no address"))?;
    if text.is_empty() {
        return Err(broken("is not named"));
    }
    if !realm.username().is_empty() || realm.password().is_some() {
        return Err(broken("has credentials in its address"));
    }
    match realm.scheme() {
        "https" => {}
        "http" if from.scheme() == "http" => {}
        "http" => return Err(broken("would be asked without TLS")),
        _ => return Err(broken("is not reached by HTTP")),
    }
    if is_loopback(&realm) && !is_loopback(from) && !same_origin(&realm, from) {
        return Err(broken("is said to be on this machine"));
    }
    Ok(realm)
}

/// Leaves out what another scope covers: `repository:a:pull` beside `repository:a:pull,push`.
fn covering(mut scopes: Vec<String>) -> Vec<String> {
    scopes.sort_unstable();
    scopes.dedup();
    let covers = |by: &str, of: &str| {
        let (Some((a, by)), Some((b, of))) = (by.rsplit_once(':'), of.rsplit_once(':')) else {
            return false;
        };
        a == b && of.split(',').all(|action| by.split(',').any(|other| other == action))
    };
    let all = scopes.clone();
    scopes.retain(|scope| {
        !all.iter().any(|other| {
            other != scope && covers(other, scope) && (!covers(scope, other) || other < scope)
        })
    });
    scopes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_that_others_cover_are_left_out() {
        let scopes = ["repository:a:pull", "repository:a:push,pull", "repository:b:pull"];
        let kept = covering(scopes.map(str::to_owned).to_vec());
        assert_eq!(kept, ["repository:a:push,pull", "repository:b:pull"]);
        let same = ["repository:a:pull,push", "repository:a:push,pull", "registry:catalog:*"];
        assert_eq!(covering(same.map(str::to_owned).to_vec()).len(), 2);
    }

    #[test]
    fn realms_that_no_honest_registry_names() {
        let from = Url::parse("https://registry.example/v2/").unwrap();
        assert!(realm_of("https://auth.example/token", &from).is_ok());
        for bad in [
            "",
            "http://auth.example/token",
            "file:///etc/passwd",
            "https://127.0.0.1/token",
            "https://me:pw@auth.example/",
            "https://",
        ] {
            assert!(realm_of(bad, &from).is_err(), "{bad}");
        }
        let home = Url::parse("http://127.0.0.1:5000/v2/").unwrap();
        assert!(realm_of("http://127.0.0.1:5001/token", &home).is_ok());
        assert!(realm_of("/token", &home).is_ok(), "relative to the registry");
    }
}
