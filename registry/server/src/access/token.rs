//! Tokens for those who log in as Docker's clients do: short-lived, for one account and some repositories, signed by the
//! registry's own key. What the account may do is looked up when a token is used: one that was taken away ends with it.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{HeaderValue, Response, header};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::Sha256;

use super::{
    Shown,
    policy::Action,
    rights::{Rights, Scopes, Who},
};
use crate::{
    app::{Call, now},
    body::Body,
    refusal::Refusal,
};

/// Where tokens are given.
pub(crate) const PATH: &str = "/-/token";
/// Seconds that a token holds.
const LIFETIME: u64 = 300;
/// What tokens begin with.
pub(crate) const PREFIX: &str = "mdlt1.";
/// What the code is computed over begins with this, so that no other use of the key gives the same one.
const PURPOSE: &str = "mdl-token-1";
/// Scopes of one token, and bytes of one.
const SCOPES: usize = 64;

/// What a token says.
#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    /// The account; none of somebody without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    account: Option<String>,
    /// Identifier of the API key that it was given for: it ends with that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    /// The token of an issuer's that it was given for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    outside: Option<Origin>,
    /// Seconds since 1970.
    expires: u64,
    scopes: Scopes,
    /// Whether it is for the list of repositories too.
    #[serde(default)]
    catalog: bool,
}

/// A token of an issuer's for which one of ours was given, which ends no later.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Origin {
    /// The account that it is of, as the configuration has it.
    pub(crate) mark: String,
    /// What the issuer calls whoever it gave the token to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) subject: Option<String>,
    /// Seconds since 1970.
    pub(crate) expires: u64,
}

/// What a token that holds is for.
pub(crate) struct Held {
    pub(crate) account: Option<String>,
    pub(crate) key: Option<String>,
    pub(crate) outside: Option<Origin>,
    pub(crate) scopes: Arc<Scopes>,
    catalog: bool,
}

/// Makes and checks tokens.
#[derive(Clone)]
pub(crate) struct Tokens {
    key: [u8; 64],
}

impl Tokens {
    pub(crate) fn new(key: [u8; 32]) -> Self {
        let mut padded = [0; 64];
        for (to, from) in padded.iter_mut().zip(key) {
            *to = from;
        }
        Self { key: padded }
    }

    fn mac(&self, payload: &str) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new(&self.key.into());
        mac.update(format!("{PURPOSE}\n{payload}").as_bytes());
        mac
    }

    fn owner_mac(&self, account: Option<&str>, upload: &str) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new(&self.key.into());
        let account = account.unwrap_or_default();
        mac.update(format!("mdl-upload-owner-1\n{account}\n{upload}").as_bytes());
        mac
    }

    /// The mark of an upload that is an account's.
    pub(crate) fn owner(&self, account: Option<&str>, upload: &str) -> String {
        URL_SAFE_NO_PAD.encode(self.owner_mac(account, upload).finalize().as_bytes())
    }

    /// Whether a mark is that of this upload and account.
    pub(crate) fn is_owner(&self, account: Option<&str>, upload: &str, mark: &str) -> bool {
        let mark = URL_SAFE_NO_PAD.decode(mark).unwrap_or_default();
        self.owner_mac(account, upload).verify_slice(&mark).is_ok()
    }

    fn seal(&self, claims: &Claims) -> String {
        let payload = URL_SAFE_NO_PAD.encode(json!(claims).to_string());
        let code = URL_SAFE_NO_PAD.encode(self.mac(&payload).finalize().as_bytes());
        format!("{PREFIX}{payload}.{code}")
    }

    /// What a token says, if it is ours and holds.
    pub(crate) fn open(&self, token: &str, now: u64) -> Option<Held> {
        let (payload, code) = token.strip_prefix(PREFIX)?.split_once('.')?;
        let code = URL_SAFE_NO_PAD.decode(code).ok()?;
        self.mac(payload).verify_slice(&code).ok()?;
        let claims: Claims = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()?;
        let current = now < claims.expires && claims.expires <= now.saturating_add(LIFETIME);
        current.then(|| Held {
            account: claims.account,
            key: claims.key,
            outside: claims.outside,
            scopes: Arc::new(claims.scopes),
            catalog: claims.catalog,
        })
    }
}

/// `GET /-/token?service=…&scope=repository:NAME:pull,push`: for whoever the request's credentials are of. Of what is
/// asked for, the token is for what that one may do.
pub(crate) async fn answer(call: &Call) -> Result<Response<Body>, Refusal> {
    let rights = &call.rights;
    if rights.is_anonymous() && !rights.has_any() {
        return Err(super::permit::unauthorized(call, None));
    }
    let mut scopes = Scopes::new();
    let asked: Vec<String> = call
        .parameters("scope")
        .flat_map(|it| it.split(' ').map(str::to_owned).collect::<Vec<_>>())
        .collect();
    for scope in asked.iter().take(SCOPES) {
        let mut parts = scope.splitn(2, ':');
        let (Some("repository"), Some(rest)) = (parts.next(), parts.next()) else { continue };
        let Some((name, actions)) = rest.rsplit_once(':') else { continue };
        let wanted = actions.split(',').flat_map(|action| match action {
            "pull" => vec![Action::Pull],
            "push" => vec![Action::Push],
            "delete" => vec![Action::Delete],
            "*" => vec![Action::Pull, Action::Push, Action::Delete],
            _ => Vec::new(),
        });
        let granted: Vec<Action> = wanted.filter(|action| rights.may(name, *action)).collect();
        let kept = scopes.entry(name.to_owned()).or_default();
        kept.extend(granted);
        kept.sort_unstable();
        kept.dedup();
    }
    let (key, outside) = match call.shown.clone() {
        Shown::Nothing => (None, None),
        Shown::Key(key) => (Some(key), None),
        Shown::Outside(origin) => (None, Some(origin)),
    };
    let now = now();
    let ends = outside.as_ref().map_or(u64::MAX, |origin| origin.expires);
    let lifetime = LIFETIME.min(ends.saturating_sub(now));
    let claims = Claims {
        account: match &rights.who {
            Who::Account(name) => Some(name.clone()),
            Who::Anybody | Who::Anonymous | Who::Outside(_) => None,
        },
        key,
        outside,
        expires: now + lifetime,
        scopes,
        catalog: asked.iter().any(|scope| scope == "registry:catalog:*"),
    };
    let said = claims.scopes.iter().map(|(name, actions)| {
        let actions: Vec<&str> = actions.iter().map(|action| action.name()).collect();
        format!("repository:{name}:{}", actions.join(","))
    });
    let writes = claims.scopes.values().flatten().any(|action| *action != Action::Pull);
    call.given(said.collect(), writes).await?;
    let token = call.app.tokens.seal(&claims);
    let body = json!({ "token": token, "access_token": token, "expires_in": lifetime }).to_string();
    let mut answer = Response::new(Body::whole(body.into_bytes().into()));
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(answer)
}

/// Rights as far as a token is for them.
pub(crate) fn narrowed(mut rights: Rights, held: &Held) -> Rights {
    rights.scopes = Some(Arc::clone(&held.scopes));
    rights.catalog = held.catalog;
    rights
}
