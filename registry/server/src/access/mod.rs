//! Who may do what.
//!
//! Without accounts everybody may do everything, and the registry listens on this machine alone. From the first account
//! or an `[auth]` section on, whoever asks is told by what the request carries ([`authenticate`]): a password, an API
//! key, or a token that [`token`] gave for one of them. What that one may do is in [`Rights`]: the lines of the policy
//! for it, less what its key or token is limited to. A request is judged twice: by its endpoint, before its body is read
//! (`permit`), and by a [`guarded::Guarded`] store, through which every protocol and page looks at repositories, so that
//! no list, page or mount shows what may not be read.

pub mod accounts;
pub(crate) mod authenticate;
mod demand;
pub(crate) mod guarded;
mod ollama;
mod passwords;
pub(crate) mod permit;
mod policy;
mod rights;
pub(crate) mod token;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::SystemTime,
};

use self::{accounts::Accounts, demand::Demand, passwords::Passwords};
use crate::{Config, Result};

pub use policy::{Action, Auth, PolicyLine};
pub(crate) use policy::{Place, Policy, check_pattern};
pub(crate) use rights::{Rights, Who};

/// Accounts and policy of a registry at work.
pub(crate) struct Access {
    root: PathBuf,
    passwords: Passwords,
    nonces: ollama::Nonces,
    state: RwLock<Arc<State>>,
    /// When the accounts' file was last looked at, and what it was then.
    looked: Mutex<Option<(SystemTime, u64)>>,
}

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
        let looked = Mutex::new(accounts::mark(root));
        Ok(Self {
            root: root.to_owned(),
            passwords: Passwords::new()?,
            nonces: ollama::Nonces::default(),
            looked,
            state: RwLock::new(Arc::new(State::read(root, config)?)),
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

    /// What is in force by now: accounts that were changed meanwhile are read again. Ones that cannot be read change
    /// nothing, and are complained of once.
    pub(crate) fn state(&self, config: &Config) -> Arc<State> {
        let mark = accounts::mark(&self.root);
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        if *looked != mark {
            *looked = mark;
            self.read_again(config);
        }
        drop(looked);
        self.current()
    }

    /// Takes accounts and policy anew. Who was asked once is asked for as long as it serves: a registry that others can
    /// reach does not open itself to them when its last account goes.
    pub(crate) fn read_again(&self, config: &Config) {
        match State::read(&self.root, config) {
            Ok(mut state) => {
                state.on |= self.is_on();
                self.passwords.forget();
                *self.state.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(state);
            }
            Err(error) => tracing::error!("accounts stay as they were: {error}"),
        }
    }
}

impl State {
    fn read(root: &Path, config: &Config) -> Result<Self> {
        let mut accounts = Accounts::read(root)?;
        if let Some(file) = config.auth.as_ref().and_then(|auth| auth.htpasswd.as_deref()) {
            accounts.add_htpasswd(file)?;
        }
        let demand = config.trust.as_ref().map(|trust| Demand::read(root, &trust.policy));
        let demand = demand.transpose()?.map(Arc::new);
        let on = config.auth.is_some()
            || !config.policy.is_empty()
            || demand.is_some()
            || !accounts.users.is_empty();
        let (by_hash, by_ssh) = (accounts.by_hash(), accounts.by_ssh());
        Ok(Self { accounts, by_hash, by_ssh, policy: Policy::new(&config.policy), demand, on })
    }
}
