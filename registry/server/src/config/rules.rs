//! What an organization lets be kept: tags that stay where they are, quotas, and which tags go after a while.

use std::sync::Arc;

use mdl_artifact::Pattern;
use mdl_store::{Name, TagInfo};
use serde::{Deserialize, Serialize};

use super::{Bytes, Config, Span};
use crate::access::{Place, check_pattern};

/// An `[[immutable]]`: tags that are neither moved nor deleted, by nobody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Immutable {
    /// Patterns of repositories: `*` within a part, `**` across.
    pub repositories: Vec<String>,
    /// Patterns of tags; all of them where none is given.
    #[serde(default = "any")]
    pub tags: Vec<String>,
}

/// A `[[quota]]`: bytes of one repository and all below it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuotaLine {
    /// The beginning of their names, up to a `/`; the empty one is that of all.
    pub prefix: String,
    /// What they may hold together.
    pub bytes: Bytes,
}

/// A `[[retention]]`: which tags are kept; the others go. The first that matches a repository decides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retention {
    /// Patterns of repositories.
    pub repositories: Vec<String>,
    /// Patterns of tags that are kept for ever.
    #[serde(default)]
    pub tags: Vec<String>,
    /// How many others are kept, those that were set last.
    #[serde(default)]
    pub newest: Option<usize>,
    /// For how long others are kept after they were set.
    #[serde(default)]
    pub younger: Option<Span>,
}

fn any() -> Vec<String> {
    vec!["*".to_owned()]
}

/// Refuses a pattern that no tag can fit.
fn check_tag(pattern: &str) -> Result<(), String> {
    let odd = |c: char| !(c.is_ascii_alphanumeric() || "_.-*?".contains(c));
    if pattern.is_empty() || pattern.contains(odd) {
        let shown: String = pattern.chars().take(100).flat_map(char::escape_default).collect();
        return Err(format!("the pattern `{shown}` matches no tag"));
    }
    Ok(())
}

fn check_patterns(what: &str, repositories: &[String], tags: &[String]) -> Result<(), String> {
    if repositories.is_empty() {
        return Err(format!("{what}: `repositories` is empty, so that it never matches"));
    }
    let repositories = repositories.iter().try_for_each(|it| check_pattern(it));
    let all = repositories.and_then(|()| tags.iter().try_for_each(|it| check_tag(it)));
    all.map_err(|problem| format!("{what}: {problem}"))
}

impl Immutable {
    pub(super) fn check(&self) -> Result<(), String> {
        if self.tags.is_empty() {
            return Err("immutable: `tags` is empty, so that it never matches".to_owned());
        }
        check_patterns("immutable", &self.repositories, &self.tags)
    }
}

impl QuotaLine {
    pub(super) fn check_all(all: &[Self]) -> Result<(), String> {
        let mut prefixes: Vec<&str> = all.iter().map(|it| it.prefix.as_str()).collect();
        prefixes.sort_unstable();
        let twice = prefixes.iter().zip(prefixes.iter().skip(1)).find(|(one, next)| one == next);
        match twice {
            Some((prefix, _)) => Err(format!("quota: the prefix `{prefix}` stands twice")),
            None => Ok(()),
        }
    }

    pub(super) fn check(&self) -> Result<(), String> {
        if self.prefix.is_empty() || self.prefix.parse::<Name>().is_ok() {
            return Ok(());
        }
        let shown: String = self.prefix.chars().take(100).flat_map(char::escape_default).collect();
        Err(format!(
            "quota: `{shown}` is no name of a repository: write `acme` for acme and acme/**"
        ))
    }
}

impl Retention {
    pub(super) fn check(&self) -> Result<(), String> {
        if self.newest.unwrap_or(0) == 0 && self.younger.is_none() {
            let what =
                "retention: give `newest` or `younger`: without either, every tag goes at once";
            return Err(what.to_owned());
        }
        check_patterns("retention", &self.repositories, &self.tags)
    }
}

/// Rules as they are applied.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retaining {
    retention: Vec<Retention>,
    immutable: Vec<Immutable>,
}

struct Compiled {
    places: Vec<Place>,
    tags: Vec<Pattern>,
}

impl Compiled {
    fn new(repositories: &[String], tags: &[String]) -> Self {
        Self {
            places: repositories.iter().map(|it| Place::new(it)).collect(),
            tags: tags.iter().map(|it| Pattern::new(it)).collect(),
        }
    }

    fn covers(&self, repository: &str) -> bool {
        self.places.iter().any(|place| place.holds(repository))
    }

    fn names(&self, tag: &str) -> bool {
        self.tags.iter().any(|pattern| pattern.fits_whole(tag))
    }
}

/// Whether tags stay where they are; none where all may be moved. Attachments of clients that know no referrers are
/// rewritten with each signature, and so are never fixed.
fn fixed(immutable: &[Immutable]) -> Option<Arc<mdl_store::IsFixed>> {
    let compile = |it: &Immutable| Compiled::new(&it.repositories, &it.tags);
    let rules: Vec<Compiled> = immutable.iter().map(compile).collect();
    if rules.is_empty() {
        return None;
    }
    Some(Arc::new(move |repository, tag| {
        rules.iter().any(|rule| rule.covers(repository) && rule.names(tag))
            && !tag.parse::<mdl_store::Tag>().is_ok_and(|tag| tag.is_attachment())
    }))
}

impl Config {
    /// What the store is to obey.
    pub(crate) fn store_rules(&self) -> mdl_store::Rules {
        let quota =
            |it: &QuotaLine| mdl_store::Quota { prefix: it.prefix.clone(), bytes: it.bytes.0 };
        mdl_store::Rules {
            fixed: fixed(&self.immutable),
            quotas: self.quota.iter().map(quota).collect(),
        }
    }

    /// Which tags go, and which never do.
    pub fn retaining(&self) -> Retaining {
        Retaining { retention: self.retention.clone(), immutable: self.immutable.clone() }
    }
}

impl Retaining {
    /// Whether no tag ever goes.
    pub fn is_empty(&self) -> bool {
        self.retention.is_empty()
    }

    /// Chooses of all tags of a repository those that go; `now` in seconds since 1970.
    pub(crate) fn choice(&self, now: u64) -> impl Fn(&Name, &[TagInfo]) -> Vec<TagInfo> + use<> {
        let fixed = fixed(&self.immutable);
        let compile = |it: &Retention| {
            (Compiled::new(&it.repositories, &it.tags), it.newest.unwrap_or(0), it.younger)
        };
        let rules: Vec<_> = self.retention.iter().map(compile).collect();
        move |repository, tags| {
            let name = repository.as_str();
            let rule = rules.iter().find(|(rule, _, _)| rule.covers(name));
            let Some((rule, newest, younger)) = rule else { return Vec::new() };
            let stays =
                |tag: &str| rule.names(tag) || fixed.as_ref().is_some_and(|fixed| fixed(name, tag));
            let mut others: Vec<&TagInfo> =
                tags.iter().filter(|it| !stays(it.tag.as_str())).collect();
            others.sort_by(|a, b| b.updated.cmp(&a.updated).then_with(|| b.tag.cmp(&a.tag)));
            let since = younger.map(|span| now.saturating_sub(span.0.as_secs()));
            let old = |it: &&&TagInfo| since.is_none_or(|since| it.updated <= since);
            others.iter().skip(*newest).filter(old).map(|it| (*it).clone()).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use mdl_store::Digest;

    use super::*;

    fn config(text: &str) -> Config {
        let config: Config = toml::from_str(text).unwrap();
        config.check().unwrap();
        config
    }

    fn refused(text: &str) -> String {
        toml::from_str::<Config>(text).unwrap().check().unwrap_err()
    }

    /// What goes of tags that were set at these times.
    fn going(config: &Config, repository: &str, tags: &[(&str, u64)], now: u64) -> Vec<String> {
        let info = |(tag, updated): &(&str, u64)| TagInfo {
            tag: tag.parse().unwrap(),
            digest: Digest::of(b""),
            updated: *updated,
        };
        let tags: Vec<TagInfo> = tags.iter().map(info).collect();
        let chosen = config.retaining().choice(now)(&repository.parse().unwrap(), &tags);
        chosen.into_iter().map(|it| it.tag.to_string()).collect()
    }

    #[test]
    fn the_first_rule_that_matches_says_which_tags_go() {
        let text = "[[retention]]\nrepositories = ['ci/keep']\nnewest = 1000\n\
                    [[retention]]\nrepositories = ['ci/**']\ntags = ['v*', 'main']\nnewest = 2\n\
                    younger = '10s'\n[[immutable]]\nrepositories = ['**']\ntags = ['rel-*']";
        let tags = [("a", 1), ("b", 2), ("c", 3), ("d", 95), ("v1", 0), ("main", 0), ("rel-1", 0)];
        let config = config(text);
        // Two newest are d and c; of the others none is younger than ten seconds.
        assert_eq!(going(&config, "ci/x", &tags, 100), ["b", "a"]);
        assert_eq!(going(&config, "ci/x", &tags, 11), ["a"]);
        for repository in ["ci/keep", "other", "ci"] {
            assert!(going(&config, repository, &tags, 100).is_empty(), "{repository}");
        }
    }

    #[test]
    fn tags_are_fixed_by_pattern_and_attachments_never() {
        let config = config("[[immutable]]\nrepositories = ['acme/*']");
        let fixed = config.store_rules().fixed.unwrap();
        assert!(fixed("acme/m", "v1") && fixed("acme/m", "latest"));
        assert!(!fixed("acme/m/n", "v1") && !fixed("acme", "v1"));
        let attached = format!("sha256-{}", "a".repeat(64));
        assert!(!fixed("acme/m", &attached) && !fixed("acme/m", &format!("{attached}.sig")));
        assert!(fixed("acme/m", "sha256-v1"));
    }

    #[test]
    fn rules_that_cannot_be_meant_are_refused() {
        for (text, what) in [
            ("[[retention]]\nrepositories = ['a']", "every tag goes at once"),
            ("[[retention]]\nrepositories = []\nnewest = 1", "never matches"),
            ("[[retention]]\nrepositories = ['a']\nnewest = 0", "every tag goes at once"),
            (
                "[[quota]]\nprefix = 'a'\nbytes = 1\n[[quota]]\nprefix = 'a'\nbytes = 2",
                "stands twice",
            ),
            ("[[immutable]]\nrepositories = ['A']", "matches no repository"),
            ("[[immutable]]\nrepositories = ['a']\ntags = []", "never matches"),
            ("[[immutable]]\nrepositories = ['a']\ntags = ['a/b']", "matches no tag"),
            ("[[quota]]\nprefix = 'acme/'\nbytes = 1", "write `acme`"),
            ("[[quota]]\nprefix = 'acme/**'\nbytes = 1", "write `acme`"),
        ] {
            assert!(refused(text).contains(what), "{text}: {}", refused(text));
        }
    }
}
