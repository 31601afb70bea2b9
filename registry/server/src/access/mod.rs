//! Who may do what.
//!
//! Without accounts everybody may do everything, and the registry listens on this machine alone. From the first account
//! or an `[auth]` section on, whoever asks is told by what the request carries ([`authenticate`]): a password, an API
//! key, a token of a CI system ([`oidc`]), or a token that [`token`] gave for one of them. How often somebody may ask and
//! fail is kept by [`rates`]. What that one may do is in [`Rights`]: the lines of the policy
//! for it, less what its key or token is limited to. A request is judged twice: by its endpoint, before its body is read
//! (`permit`), and by a [`guarded::Guarded`] store, through which every protocol and page looks at repositories, so that
//! no list, page or mount shows what may not be read.

pub mod accounts;
pub(crate) mod authenticate;
mod demand;
pub(crate) mod guarded;
pub mod oidc;
mod ollama;
mod passwords;
pub(crate) mod permit;
mod policy;
pub(crate) mod rates;
mod rights;
pub(crate) mod token;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::{Duration, Instant, SystemTime},
};

use self::{accounts::Accounts, demand::Demand, oidc::Issuers, passwords::Passwords, rates::Rates};
use crate::{Config, Result};

pub use policy::{Action, Auth, PolicyLine};
pub(crate) use policy::{Place, Policy, check_pattern};
pub(crate) use rights::{Rights, Who};

/// What somebody showed for who they are, where a token that is given for it has to end with it.
#[derive(Debug, Clone)]
pub(crate) enum Shown {
    /// Nothing, or a password.
    Nothing,
    /// The API key of that identifier.
    Key(String),
    /// A token of an issuer's.
    Outside(token::Origin),
}

/// Accounts and policy of a registry at work.
pub(crate) struct Access {
    root: PathBuf,
    passwords: Passwords,
    nonces: ollama::Nonces,
    rates: Rates,
    state: RwLock<Arc<State>>,
    looked: Mutex<Looked>,
}

/// What the accounts' file was when it was last read, and when that failed.
struct Looked {
    mark: Option<(SystemTime, u64)>,
    failed: Option<Instant>,
}

/// How long accounts that cannot be read are not tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// What is in force.
pub(crate) struct State {
    pub(crate) accounts: Accounts,
    /// Identifiers of keys by their hashes.
    pub(crate) by_hash: BTreeMap<String, String>,
    /// Identifiers of Ollama's keys by the keys.
    pub(crate) by_ssh: BTreeMap<String, String>,
    pub(crate) policy: Policy,
    /// What packages must show before others than those who push see them.
    pub(crate) demand: Option<Arc<Demand>>,
    pub(crate) issuers: Arc<Issuers>,
    /// Whether anybody is asked who they are.
    pub(crate) on: bool,
}

impl Access {
    /// Those of a registry's folder.
    ///
    /// # Errors
    /// [`crate::Error::Config`] for accounts that cannot be read, [`crate::Error::Io`].
    pub(crate) fn open(root: &Path, config: &Config) -> Result<Self> {
        // The mark first: what changes meanwhile is read again.
        let looked = Mutex::new(Looked { mark: accounts::mark(root), failed: None });
        let issuers = Arc::new(Issuers::open(&config.oidc, None)?);
        let demand = Demand::of(root, config)?;
        Ok(Self {
            root: root.to_owned(),
            passwords: Passwords::new()?,
            nonces: ollama::Nonces::default(),
            rates: Rates::new(&config.rates),
            looked,
            state: RwLock::new(Arc::new(State::read(root, config, issuers, demand)?)),
        })
    }

    /// Whether anybody is asked who they are.
    pub(crate) fn is_on(&self) -> bool {
        self.current().on
    }

    fn current(&self) -> Arc<State> {
        Arc::clone(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// What packages must show.
    pub(crate) fn demand(&self) -> Option<Arc<Demand>> {
        self.current().demand.clone()
    }

    pub(crate) fn passwords(&self) -> &Passwords {
        &self.passwords
    }

    pub(crate) fn rates(&self) -> &Rates {
        &self.rates
    }

    /// What is in force by now: accounts that were changed meanwhile are read again. Ones that cannot be read change
    /// nothing, and are complained of and tried again.
    pub(crate) fn state(&self, config: &Config) -> Arc<State> {
        let mark = accounts::mark(&self.root);
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        let waits = looked.failed.is_some_and(|at| at.elapsed() < AGAIN);
        if looked.mark != mark && !waits {
            let State { issuers, demand, .. } = &*self.current();
            if self.read_again(config, Arc::clone(issuers), demand.clone()) {
                *looked = Looked { mark, failed: None };
            } else {
                looked.failed = Some(Instant::now());
            }
        }
        drop(looked);
        self.current()
    }

    /// Takes everything anew, as another configuration has it.
    pub(crate) fn reconfigure(&self, config: &Config) {
        self.rates.set(&config.rates);
        let opened = Issuers::open(&config.oidc, Some(&self.current().issuers));
        match opened.and_then(|issuers| Ok((issuers, Demand::of(&self.root, config)?))) {
            Ok((issuers, demand)) => {
                self.read_again(config, Arc::new(issuers), demand);
            }
            Err(error) => tracing::error!("accounts stay as they were: {error}"),
        }
    }

    /// Takes accounts and policy anew. Who was asked once is asked for as long as it serves: a registry that others can
    /// reach does not open itself to them when its last account goes. Whether that could be done.
    fn read_again(
        &self,
        config: &Config,
        issuers: Arc<Issuers>,
        demand: Option<Arc<Demand>>,
    ) -> bool {
        match State::read(&self.root, config, issuers, demand) {
            Ok(mut state) => {
                state.on |= self.is_on();
                self.passwords.forget();
                *self.state.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(state);
                true
            }
            Err(error) => {
                tracing::error!("accounts stay as they were: {error}");
                false
            }
        }
    }
}

impl State {
    fn read(
        root: &Path,
        config: &Config,
        issuers: Arc<Issuers>,
        demand: Option<Arc<Demand>>,
    ) -> Result<Self> {
        let mut accounts = Accounts::read(root)?;
        if let Some(file) = config.auth.as_ref().and_then(|auth| auth.htpasswd.as_deref()) {
            accounts.add_htpasswd(file)?;
        }
        let asks = config.auth.is_some()
            || !config.oidc.is_empty()
            || !config.policy.is_empty()
            || demand.is_some();
        let on = asks || !accounts.users.is_empty();
        let (by_hash, by_ssh) = (accounts.by_hash(), accounts.by_ssh());
        let policy = Policy::new(&config.policy);
        Ok(Self { accounts, by_hash, by_ssh, policy, demand, issuers, on })
    }
}
