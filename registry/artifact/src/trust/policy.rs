//! What a site demands of packages.

use jiff::Timestamp;
use mdl_store::Name;

use super::{Attestation, Openness};
use crate::{Pattern, keys::PublicKey, signing::Bundle};

/// Rules in order, the first that matches a repository decides; and keys that no longer count.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// The rules.
    pub rules: Vec<Rule>,
    /// Keys that were revoked.
    pub revoked: Vec<Revoked>,
    /// What the reader of the policy should know: it says yes to more than its writer may think.
    pub warnings: Vec<String>,
}

/// What is demanded of some repositories.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Patterns of repositories' names, as they were written.
    pub repositories: Vec<String>,
    pub(super) patterns: Vec<Pattern>,
    /// Who may sign.
    pub keys: Vec<NamedKey>,
    /// How many of them must.
    pub threshold: usize,
    /// Signatures from before do not count.
    pub not_before: Option<Timestamp>,
    /// Whether a signature must name the repository and tag.
    pub bound: bool,
    /// Attestations that must be there, each with who may make it.
    pub require: Vec<(Attestation, Vec<NamedKey>)>,
    /// The largest mean divergence, in nats per token, that the quantization report may state.
    pub max_kld: Option<f64>,
    /// Licences that are accepted; none for any.
    pub licenses: Vec<String>,
    /// The least class of openness.
    pub openness: Option<Openness>,
}

/// A key with the name that the policy has for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedKey {
    /// A file name, or the beginning of its fingerprint.
    pub name: String,
    /// The key.
    pub key: PublicKey,
}

/// A key that no longer counts.
#[derive(Debug, Clone)]
pub struct Revoked {
    /// The key.
    pub key: NamedKey,
    /// Signatures made earlier still count, as far as the signature's own word for its time goes.
    pub since: Option<Timestamp>,
}

impl Rule {
    /// Whether a bundle was made with a key that this rule names, whatever it says.
    pub fn signed(&self, bundle: &[u8]) -> bool {
        let attesters = self.require.iter().flat_map(|(_, keys)| keys);
        let keys: Vec<&PublicKey> = self.keys.iter().chain(attesters).map(|it| &it.key).collect();
        Bundle::is_signed_by(bundle, &keys)
    }
}

impl Policy {
    /// The policy of somebody who names keys alone: one signature by any of them, for any repository.
    pub fn of_keys(keys: Vec<NamedKey>) -> Self {
        let rule = Rule {
            repositories: vec!["**".to_owned()],
            patterns: vec![Pattern::new("**")],
            keys,
            threshold: 1,
            not_before: None,
            bound: false,
            require: Vec::new(),
            max_kld: None,
            licenses: Vec::new(),
            openness: None,
        };
        Self { rules: vec![rule], ..Self::default() }
    }

    /// The rule that decides for a repository.
    pub fn rule_for(&self, repository: &Name) -> Option<&Rule> {
        self.rules.iter().find(|rule| {
            rule.patterns.iter().any(|pattern| pattern.fits_whole(repository.as_str()))
        })
    }

    /// Every key that may sign something and was never revoked, with the repositories that it may sign for.
    pub fn signers(&self) -> Vec<(&NamedKey, &[String])> {
        let all = self
            .rules
            .iter()
            .flat_map(|rule| rule.keys.iter().map(move |key| (key, &rule.repositories[..])));
        all.filter(|(named, _)| !self.is_revoked(&named.key, None)).collect()
    }

    /// Whether a signature of a key, made at some time as it says itself, no longer counts.
    pub(super) fn is_revoked(&self, key: &PublicKey, signed: Option<Timestamp>) -> bool {
        self.revoked.iter().any(|revoked| {
            let before = match (revoked.since, signed) {
                (Some(since), Some(signed)) => signed < since,
                _ => false,
            };
            revoked.key.key == *key && !before
        })
    }
}
