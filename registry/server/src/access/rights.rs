//! What whoever asks may do.

use std::{collections::BTreeMap, sync::Arc};

use super::policy::{Action, Grant, Place};

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Who {
    /// Nobody is asked: there are no accounts.
    Anybody,
    /// Somebody without an account.
    Anonymous,
    /// An account.
    Account(String),
    /// One of a CI system, known by its token.
    Outside(String),
}

/// What a key is limited to.
#[derive(Debug, Clone)]
pub(crate) struct Limit {
    pub(crate) places: Vec<Place>,
    pub(crate) actions: Vec<Action>,
}

/// What a token is for: actions by repository.
pub(crate) type Scopes = BTreeMap<String, Vec<Action>>;

/// What whoever asks may do.
#[derive(Debug, Clone)]
pub(crate) struct Rights {
    pub(crate) who: Who,
    /// All, everywhere: there are no accounts, or it is an administrator's.
    pub(crate) all: bool,
    pub(crate) grants: Vec<Arc<Grant>>,
    pub(crate) limit: Option<Limit>,
    /// Of a token, which is for some repositories alone.
    pub(crate) scopes: Option<Arc<Scopes>>,
    /// Whether that token is for the list of repositories too.
    pub(crate) catalog: bool,
}

impl Default for Rights {
    /// Nothing, for nobody: until it is known who asks.
    fn default() -> Self {
        Self {
            who: Who::Anonymous,
            all: false,
            grants: Vec::new(),
            limit: None,
            scopes: None,
            catalog: false,
        }
    }
}

impl Rights {
    /// Where there are no accounts.
    pub(crate) fn anybody() -> Self {
        Self {
            who: Who::Anybody,
            all: true,
            grants: Vec::new(),
            limit: None,
            scopes: None,
            catalog: false,
        }
    }

    /// Whether something may be done in a repository.
    pub(crate) fn may(&self, repository: &str, action: Action) -> bool {
        self.granted(repository, action) && self.scopes_allow(repository, action)
    }

    /// The same, whatever the token at hand is for.
    fn granted(&self, repository: &str, action: Action) -> bool {
        (self.all || self.grants.iter().any(|it| it.allows(repository, action)))
            && self.limit_allows(repository, action)
    }

    fn limit_allows(&self, repository: &str, action: Action) -> bool {
        self.limit.as_ref().is_none_or(|limit| {
            limit.actions.iter().any(|it| it.covers(action))
                && limit.places.iter().any(|place| place.holds(repository))
        })
    }

    fn scopes_allow(&self, repository: &str, action: Action) -> bool {
        self.scopes.as_ref().is_none_or(|scopes| {
            scopes.get(repository).is_some_and(|actions| actions.contains(&action))
        })
    }

    /// Whether a repository is there for whoever asks: it may be read, or written to.
    pub(crate) fn sees(&self, repository: &str) -> bool {
        self.may(repository, Action::Pull) || self.may(repository, Action::Push)
    }

    /// Whether a repository stands in lists: it may be read. A token that is for lists limits nothing of them.
    pub(crate) fn lists(&self, repository: &str) -> bool {
        self.granted(repository, Action::Pull)
            && (self.catalog || self.scopes_allow(repository, Action::Pull))
    }

    /// Whether whoever asks is one who may push there, whatever the token at hand is for.
    pub(crate) fn pushes(&self, repository: &str) -> bool {
        self.granted(repository, Action::Push)
    }

    /// Whether anything at all may be done.
    pub(crate) fn has_any(&self) -> bool {
        self.all || !self.grants.is_empty()
    }

    /// Whether it is nobody in particular.
    pub(crate) fn is_anonymous(&self) -> bool {
        self.who == Who::Anonymous
    }

    /// The account's name.
    pub(crate) fn account(&self) -> Option<&str> {
        match &self.who {
            Who::Account(name) | Who::Outside(name) => Some(name),
            Who::Anybody | Who::Anonymous => None,
        }
    }

    /// Whose uploads are those of whoever asks: an account of a CI system is not the one of ours that is called as it is.
    pub(crate) fn owner(&self) -> Option<String> {
        match &self.who {
            Who::Outside(name) => Some(format!("outside {name}")),
            _ => self.account().map(str::to_owned),
        }
    }
}
