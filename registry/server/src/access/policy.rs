//! Policies: lines that say which subjects may do what in which repositories. What no line allows is not allowed.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use mdl_artifact::Pattern;
use serde::{Deserialize, Serialize};

/// What may be done in a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Read it, and see that it is there.
    Pull,
    /// Add to it, and move its tags.
    Push,
    /// Delete from it.
    Delete,
    /// All of these.
    Admin,
}

impl Action {
    /// As tokens and policies have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "push",
            Self::Delete => "delete",
            Self::Admin => "admin",
        }
    }

    /// Whether who may do this may do that.
    pub fn covers(self, other: Self) -> bool {
        self == other || self == Self::Admin
    }
}

/// The `[auth]` section: with it, whoever asks is asked who they are, also while there are no accounts yet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Auth {
    /// A further file with accounts, `name:hash` a line, with bcrypt hashes, as `htpasswd -B` writes it.
    pub htpasswd: Option<PathBuf>,
}

/// A `[[policy]]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyLine {
    /// Patterns of repositories: `*` within a part, `**` across.
    pub repositories: Vec<String>,
    /// Names of accounts; `*` is every account, `anonymous` those without one.
    pub subjects: Vec<String>,
    /// What they may do there.
    pub actions: Vec<Action>,
}

/// Those without an account.
pub(crate) const ANONYMOUS: &str = "anonymous";
/// Every account.
const EVERYBODY: &str = "*";

/// A pattern for repositories, in the form in which it is decided fastest: an exact name, all below a prefix, or any.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    Exactly(String),
    Below(String),
    All,
    Like(Pattern),
}

impl Place {
    pub(crate) fn new(text: &str) -> Self {
        let is_plain = |text: &str| !text.contains(['*', '?']);
        match text.strip_suffix("**") {
            Some("") => Self::All,
            Some(prefix) if prefix.ends_with('/') && is_plain(prefix) => {
                Self::Below(prefix.to_owned())
            }
            _ if is_plain(text) => Self::Exactly(text.to_owned()),
            _ => Self::Like(Pattern::new(text)),
        }
    }

    pub(crate) fn holds(&self, repository: &str) -> bool {
        match self {
            Self::Exactly(name) => name == repository,
            Self::Below(prefix) => repository.starts_with(prefix.as_str()),
            Self::All => true,
            Self::Like(pattern) => pattern.fits_whole(repository),
        }
    }
}

/// What one line grants its subjects.
#[derive(Debug)]
pub(crate) struct Grant {
    places: Vec<Place>,
    actions: Vec<Action>,
}

impl Grant {
    pub(crate) fn allows(&self, repository: &str, action: Action) -> bool {
        self.actions.iter().any(|it| it.covers(action))
            && self.places.iter().any(|place| place.holds(repository))
    }
}

/// All lines, by subject.
#[derive(Debug, Default)]
pub(crate) struct Policy {
    by_subject: BTreeMap<String, Vec<Arc<Grant>>>,
    /// Without any line every account may do everything in repositories.
    is_empty: bool,
}

impl Policy {
    pub(crate) fn new(lines: &[PolicyLine]) -> Self {
        let mut by_subject: BTreeMap<String, Vec<Arc<Grant>>> = BTreeMap::new();
        for line in lines {
            let grant = Arc::new(Grant {
                places: line.repositories.iter().map(|it| Place::new(it)).collect(),
                actions: line.actions.clone(),
            });
            for subject in &line.subjects {
                by_subject.entry(subject.clone()).or_default().push(Arc::clone(&grant));
            }
        }
        Self { by_subject, is_empty: lines.is_empty() }
    }

    /// What an account may do, or with none those without.
    pub(crate) fn of(&self, account: Option<&str>) -> Vec<Arc<Grant>> {
        let Some(name) = account else {
            return self.by_subject.get(ANONYMOUS).cloned().unwrap_or_default();
        };
        if self.is_empty {
            let actions = vec![Action::Pull, Action::Push, Action::Delete];
            return vec![Arc::new(Grant { places: vec![Place::All], actions })];
        }
        let lines = [name, EVERYBODY].map(|subject| self.by_subject.get(subject));
        lines.into_iter().flatten().flatten().cloned().collect()
    }
}

/// Refuses a pattern that no repository's name can fit.
pub(crate) fn check_pattern(pattern: &str) -> std::result::Result<(), String> {
    let odd = |c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit() || "/*?._-".contains(c));
    if pattern.is_empty() || pattern.contains(odd) {
        let shown: String = pattern.chars().take(100).flat_map(char::escape_default).collect();
        return Err(format!("the pattern `{shown}` matches no repository's name"));
    }
    Ok(())
}

impl PolicyLine {
    /// What is wrong with it.
    ///
    /// # Errors
    /// In words.
    pub(crate) fn check(&self) -> std::result::Result<(), String> {
        let empty = [
            ("repositories", self.repositories.is_empty()),
            ("subjects", self.subjects.is_empty()),
            ("actions", self.actions.is_empty()),
        ];
        if let Some((name, _)) = empty.iter().find(|(_, empty)| *empty) {
            return Err(format!("a policy's `{name}` is empty, so that it grants nothing"));
        }
        self.repositories.iter().try_for_each(|pattern| check_pattern(pattern))?;
        let writes = self.actions.iter().any(|action| *action != Action::Pull);
        if writes && self.subjects.iter().any(|it| it == ANONYMOUS) {
            return Err("a policy lets those without an account do more than pull".to_owned());
        }
        Ok(())
    }
}
