//! Who asks, by what a request carries.

use std::net::IpAddr;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, header};

use super::{
    Access, Shown, State,
    accounts::{KEY_PREFIX, Key, digest},
    oidc::{Outside, jwt},
    ollama,
    policy::Place,
    rates::Beyond,
    rights::{Limit, Rights, Who},
    token::{self, Origin, Tokens},
};
use crate::{app::now, config::Config, refusal::Refusal};

/// Bytes of credentials: a token of an issuer's as a password.
const BYTES: usize = 24 << 10;

/// A request, as far as it tells who asks.
pub(crate) struct Asking<'a> {
    pub(crate) headers: &'a HeaderMap,
    /// The address that tokens are given at, as it was asked for, where it is what was asked for.
    pub(crate) token_url: Option<&'a str>,
    /// The address that it comes from.
    pub(crate) client: IpAddr,
}

/// Who asks and what they may do, and what they showed for it; or that what they carry holds for nobody, or is not looked
/// at after too much that did not.
pub(crate) enum Asked {
    Known(Rights, Shown),
    Unknown,
    Beyond(Beyond),
}

/// What a request carries.
enum Carried<'a> {
    Bearer(&'a str),
    Basic(&'a str, &'a str),
    /// Without a scheme, as Ollama has it.
    Bare(&'a str),
}

impl Access {
    /// Who asks.
    ///
    /// # Errors
    /// 400 for credentials that stand twice or are none, 429 where too many passwords are checked.
    pub(crate) async fn who(
        &self,
        config: &Config,
        tokens: &Tokens,
        asking: &Asking<'_>,
    ) -> Result<Asked, Refusal> {
        let state = self.state(config);
        if !state.on {
            return Ok(Asked::Known(Rights::anybody(), Shown::Nothing));
        }
        let mut given = asking.headers.get_all(header::AUTHORIZATION).iter();
        let Some(text) = given.next() else {
            return Ok(Asked::Known(state.anonymous(), Shown::Nothing));
        };
        // Two of them: a proxy and we might each believe another.
        if given.next().is_some() {
            return Err(Refusal::bad("UNAUTHORIZED", "the request has two Authorization headers"));
        }
        let broken = || Refusal::bad("UNAUTHORIZED", "the Authorization header is broken");
        let text = text.to_str().ok().filter(|text| text.len() <= BYTES).ok_or_else(broken)?;
        let (scheme, rest) = text.split_once(' ').unwrap_or((text, ""));
        let rest = rest.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            if rest.starts_with(token::PREFIX) {
                // One that is over is no login that failed: its client has to be told to log in anew.
                return Ok(ours(&state, tokens, rest).unwrap_or(Asked::Unknown));
            }
            return self.login(&state, asking, Carried::Bearer(rest)).await;
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return self.login(&state, asking, Carried::Bare(text)).await;
        }
        let decoded = STANDARD.decode(rest).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let basic = decoded.as_deref().and_then(|text| text.split_once(':'));
        let (name, password) = basic.ok_or_else(broken)?;
        self.login(&state, asking, Carried::Basic(name, password)).await
    }

    /// Who logs in. What is known to be good is so however much of the same address was not; all else counts as a login
    /// that fails until it did not.
    async fn login(
        &self,
        state: &State,
        asking: &Asking<'_>,
        carried: Carried<'_>,
    ) -> Result<Asked, Refusal> {
        let known = match carried {
            Carried::Bearer(text) | Carried::Basic(_, text) if jwt::is_one(text) => {
                let outside = state.issuers.who(text, now()).await;
                outside.map(|outside| state.of_outside(outside))
            }
            // A key names its account; whatever name comes with it says nothing else.
            Carried::Bearer(text) | Carried::Basic(_, text) if text.starts_with(KEY_PREFIX) => {
                state.key(text).map(|(key, it)| Asked::Known(state.of_key(it), Shown::Key(key)))
            }
            Carried::Bearer(_) | Carried::Basic(..) => None,
            Carried::Bare(text) => self.ollama(state, text, asking.token_url),
        };
        if let Some(known) = known {
            return Ok(known);
        }
        let password = match carried {
            Carried::Basic(name, password) if !jwt::is_one(password) => Some((name, password)),
            _ => None,
        };
        let of = |name| Asked::Known(state.of_account(name), Shown::Nothing);
        if let Some((name, password)) = password
            && self.passwords().is_known(&state.accounts, name, password)
        {
            return Ok(of(name));
        }
        if let Err(beyond) = self.rates().login(asking.client) {
            return Ok(Asked::Beyond(beyond));
        }
        let Some((name, password)) = password else { return Ok(Asked::Unknown) };
        let right = self.passwords().check(&state.accounts, name, password).await;
        if !matches!(right, Ok(false)) {
            self.rates().forgive(asking.client);
        }
        Ok(if right? { of(name) } else { Asked::Unknown })
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
        Some(Asked::Known(rights, Shown::Key(identifier.clone())))
    }
}

/// Whose a token of ours is, if what it was given for still stands.
fn ours(state: &State, tokens: &Tokens, text: &str) -> Option<Asked> {
    let held = tokens.open(text, now())?;
    let (rights, shown) = match (&held.account, &held.key, &held.outside) {
        (None, None, Some(origin)) => {
            let rights = state.outside(state.issuers.named(&origin.mark)?);
            (rights, Shown::Outside(origin.clone()))
        }
        (None, ..) => (state.anonymous(), Shown::Nothing),
        (Some(_), Some(key), _) => (state.of_key(state.held_key(key)?), Shown::Key(key.clone())),
        (Some(name), None, _) => {
            state.accounts.users.get(name)?;
            (state.of_account(name), Shown::Nothing)
        }
    };
    Some(Asked::Known(token::narrowed(rights, &held), shown))
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

    /// An account of an issuer's, which is no administrator, whatever it is called.
    fn outside(&self, name: &str) -> Rights {
        let who = Who::Outside(name.to_owned());
        Rights { who, all: false, ..self.of_account(name) }
    }

    fn of_outside(&self, outside: Outside) -> Asked {
        let Outside { name, mark, subject, expires } = outside;
        Asked::Known(self.outside(&name), Shown::Outside(Origin { mark, subject, expires }))
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
