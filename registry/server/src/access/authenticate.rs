//! Who asks, by what a request carries.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, header};

use super::{
    Access, State,
    accounts::{KEY_PREFIX, Key, digest},
    ollama,
    policy::Place,
    rights::{Limit, Rights, Who},
    token::{self, Tokens},
};
use crate::{app::now, config::Config, refusal::Refusal};

/// Bytes of credentials.
const BYTES: usize = 16 << 10;

/// Who asks and what they may do; the identifier of the key that they used; or that what they carry holds for nobody.
pub(crate) enum Asked {
    Known(Rights, Option<String>),
    Unknown,
}

impl Access {
    /// Who asks. `token_url` is the address that tokens are given at, as it was asked for, where it is what was asked for.
    ///
    /// # Errors
    /// 400 for credentials that stand twice or are none, 429 where too many passwords are checked.
    pub(crate) async fn who(
        &self,
        config: &Config,
        tokens: &Tokens,
        headers: &HeaderMap,
        token_url: Option<&str>,
    ) -> Result<Asked, Refusal> {
        let state = self.state(config);
        if !state.on {
            return Ok(Asked::Known(Rights::anybody(), None));
        }
        let mut given = headers.get_all(header::AUTHORIZATION).iter();
        let Some(text) = given.next() else {
            return Ok(Asked::Known(state.anonymous(), None));
        };
        // Two of them: a proxy and we might each believe another.
        if given.next().is_some() {
            return Err(Refusal::bad("UNAUTHORIZED", "the request has two Authorization headers"));
        }
        let text = text.to_str().ok().filter(|text| text.len() <= BYTES);
        let text =
            text.ok_or_else(|| Refusal::bad("UNAUTHORIZED", "the Authorization header is broken"))?;
        let (scheme, rest) = text.split_once(' ').unwrap_or((text, ""));
        let rest = rest.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            return Ok(bearer(&state, tokens, rest));
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return Ok(self.ollama(&state, text, token_url).unwrap_or(Asked::Unknown));
        }
        let decoded = STANDARD.decode(rest).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let Some((name, password)) = decoded.as_deref().and_then(|text| text.split_once(':'))
        else {
            return Err(Refusal::bad("UNAUTHORIZED", "the Authorization header is broken"));
        };
        if password.starts_with(KEY_PREFIX)
            && let Some((identifier, key)) = state.key(password)
        {
            // A key names its account; whatever name comes with it says nothing else.
            return Ok(Asked::Known(state.of_key(key), Some(identifier)));
        }
        if self.passwords().check(&state.accounts, name, password).await? {
            return Ok(Asked::Known(state.of_account(name), None));
        }
        Ok(Asked::Unknown)
    }

    /// Whoever answers as Ollama does, where tokens are given.
    fn ollama(&self, state: &State, text: &str, token_url: Option<&str>) -> Option<Asked> {
        let (sent, (key, _)) = (token_url?, text.split_once(':')?);
        // First, so that keys of nobody use up no nonces.
        let identifier = state.by_ssh.get(key)?;
        if !ollama::is_signed(text, sent, &self.nonces, now()) {
            return None;
        }
        let rights = state.of_key(state.held_key(identifier)?);
        Some(Asked::Known(rights, Some(identifier.clone())))
    }
}

fn bearer(state: &State, tokens: &Tokens, text: &str) -> Asked {
    if text.starts_with(KEY_PREFIX) {
        return match state.key(text) {
            Some((identifier, key)) => Asked::Known(state.of_key(key), Some(identifier)),
            None => Asked::Unknown,
        };
    }
    let Some(held) = tokens.open(text, now()) else { return Asked::Unknown };
    let rights = match (&held.account, &held.key) {
        (None, _) => state.anonymous(),
        (Some(_), Some(identifier)) => {
            let Some(key) = state.held_key(identifier) else { return Asked::Unknown };
            state.of_key(key)
        }
        (Some(name), None) if state.accounts.users.contains_key(name) => state.of_account(name),
        (Some(_), None) => return Asked::Unknown,
    };
    Asked::Known(token::narrowed(rights, &held), held.key)
}

impl State {
    fn anonymous(&self) -> Rights {
        let grants = self.policy.of(None);
        Rights {
            who: Who::Anonymous,
            all: false,
            grants,
            limit: None,
            scopes: None,
            catalog: false,
        }
    }

    fn of_account(&self, name: &str) -> Rights {
        Rights {
            who: Who::Account(name.to_owned()),
            all: self.accounts.users.get(name).is_some_and(|user| user.admin),
            grants: self.policy.of(Some(name)),
            limit: None,
            scopes: None,
            catalog: false,
        }
    }

    fn of_key(&self, key: &Key) -> Rights {
        let mut rights = self.of_account(&key.user);
        if !key.repositories.is_empty() || !key.actions.is_empty() {
            let all = [super::Action::Admin];
            let actions = if key.actions.is_empty() { &all[..] } else { &key.actions };
            let places = if key.repositories.is_empty() {
                vec![Place::All]
            } else {
                key.repositories.iter().map(|it| Place::new(it)).collect()
            };
            rights.limit = Some(Limit { places, actions: actions.to_vec() });
        }
        rights
    }

    /// The key of that text, if it is one and still holds.
    fn key(&self, secret: &str) -> Option<(String, &Key)> {
        let identifier = self.by_hash.get(&digest(secret))?;
        Some((identifier.clone(), self.held_key(identifier)?))
    }

    fn held_key(&self, identifier: &str) -> Option<&Key> {
        let key = self.accounts.keys.get(identifier)?;
        (key.holds(now()) && self.accounts.users.contains_key(&key.user)).then_some(key)
    }
}
