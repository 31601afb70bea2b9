//! Reading `trust.toml`.

use std::{
    collections::BTreeMap,
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
};

use jiff::{Timestamp, civil};
use serde::Deserialize;
use toml::value::Datetime;

use super::{Attestation, NamedKey, Openness, Policy, Revoked, Rule};
use crate::{
    Error, Pattern, Result,
    keys::{KEY_BYTES, PublicKey},
};

/// Bytes of a policy.
const POLICY_BYTES: u64 = 4 << 20;
/// Keys of one rule: each may have to be tried on each signature.
const KEYS: usize = 64;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    rule: Vec<RawRule>,
    #[serde(default)]
    revoked: Vec<RawRevoked>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRule {
    repositories: Vec<String>,
    #[serde(default)]
    keys: Vec<String>,
    #[serde(default = "one")]
    threshold: usize,
    not_before: Option<Datetime>,
    #[serde(default)]
    bound: bool,
    #[serde(default)]
    require: Vec<Attestation>,
    #[serde(default)]
    attesters: BTreeMap<Attestation, Vec<String>>,
    max_kld: Option<f64>,
    #[serde(default)]
    licenses: Vec<String>,
    openness: Option<Openness>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRevoked {
    key: String,
    since: Option<Datetime>,
}

fn one() -> usize {
    1
}

impl Policy {
    /// Reads a policy. Keys are files, relative to the policy's folder or absolute, or PEM text.
    ///
    /// # Errors
    /// [`Error::Policy`] with the place of a mistake, [`Error::Key`] for a key that cannot be used, [`Error::Formats`]
    /// for files that cannot be read.
    pub fn read(path: &Path) -> Result<Self> {
        let text = read_text(path, POLICY_BYTES)?;
        let problem = |problem: String| Error::Policy { path: path.to_owned(), problem };
        let document: Document =
            toml::from_str(&text).map_err(|error| problem(error.to_string()))?;
        let reader = Reader { path, folder: path.parent().unwrap_or(Path::new(".")) };
        let mut policy = Self::default();
        for (at, raw) in document.rule.iter().enumerate() {
            let rule = reader.rule(raw).map_err(|error| match error {
                Error::Policy { problem: what, .. } => problem(format!("rule {}: {what}", at + 1)),
                error => error,
            })?;
            if rule.threshold == 0 {
                policy.warnings.push(format!(
                    "rule {} ({}) asks for no signature: anything is accepted there",
                    at + 1,
                    rule.repositories.join(", ")
                ));
            }
            policy.rules.push(rule);
        }
        for raw in &document.revoked {
            let since = raw.since.as_ref().map(|it| reader.time(it)).transpose()?;
            policy.revoked.push(Revoked { key: reader.key(&raw.key)?, since });
        }
        if policy.rules.is_empty() {
            policy.warnings.push("there is no rule: nothing is accepted".to_owned());
        }
        Ok(policy)
    }
}

struct Reader<'a> {
    path: &'a Path,
    folder: &'a Path,
}

impl Reader<'_> {
    fn problem(&self, problem: impl Into<String>) -> Error {
        Error::Policy { path: self.path.to_owned(), problem: problem.into() }
    }

    fn rule(&self, raw: &RawRule) -> Result<Rule> {
        if raw.repositories.is_empty() {
            return Err(self.problem("`repositories` is empty, so that it never matches"));
        }
        let keys = self.keys(&raw.keys)?;
        let mut distinct: Vec<&PublicKey> = keys.iter().map(|it| &it.key).collect();
        distinct.sort();
        distinct.dedup();
        if distinct.len() < raw.threshold {
            return Err(self.problem(format!(
                "`threshold` is {}, but `keys` names {} different keys",
                raw.threshold,
                distinct.len()
            )));
        }
        if raw.max_kld.is_some_and(|it| !it.is_finite() || it < 0.0) {
            return Err(self.problem("`max_kld` is no number of nats"));
        }
        let mut wanted = raw.require.clone();
        // A figure or class is only worth something in an attestation.
        if raw.max_kld.is_some() {
            wanted.push(Attestation::QuantizationReport);
        }
        if raw.openness.is_some() {
            wanted.push(Attestation::Openness);
        }
        if let Some(unused) = raw.attesters.keys().find(|kind| !wanted.contains(kind)) {
            let name = unused.name();
            return Err(self.problem(format!("`attesters` names {name}, which is not required")));
        }
        wanted.sort();
        wanted.dedup();
        let mut require = Vec::new();
        for kind in wanted {
            let attesters = match raw.attesters.get(&kind) {
                Some(texts) => self.keys(texts)?,
                None => keys.clone(),
            };
            if attesters.is_empty() {
                let name = kind.name();
                return Err(
                    self.problem(format!("nobody may attest {name}: name keys or attesters"))
                );
            }
            require.push((kind, attesters));
        }
        Ok(Rule {
            repositories: raw.repositories.clone(),
            patterns: raw.repositories.iter().map(|it| Pattern::new(it)).collect(),
            keys,
            threshold: raw.threshold,
            not_before: raw.not_before.as_ref().map(|it| self.time(it)).transpose()?,
            bound: raw.bound,
            require,
            max_kld: raw.max_kld,
            licenses: raw.licenses.clone(),
            openness: raw.openness,
        })
    }

    fn keys(&self, texts: &[String]) -> Result<Vec<NamedKey>> {
        if texts.len() > KEYS {
            return Err(self.problem(format!("more than {KEYS} keys")));
        }
        texts.iter().map(|text| self.key(text)).collect()
    }

    fn key(&self, text: &str) -> Result<NamedKey> {
        if text.trim_start().starts_with("-----BEGIN") {
            let key = PublicKey::from_pem(text, &format!("a key in {}", self.path.display()))?;
            return Ok(NamedKey { name: key.short(), key });
        }
        NamedKey::read(&self.folder.join(text)).map(|it| NamedKey { name: text.to_owned(), ..it })
    }

    /// A day is meant from its beginning, in UTC, as is a time without an offset.
    fn time(&self, at: &Datetime) -> Result<Timestamp> {
        let text = at.to_string();
        let utc = |civil: civil::DateTime| civil.to_zoned(jiff::tz::TimeZone::UTC).ok();
        let found = text.parse::<Timestamp>().ok().or_else(|| {
            let civil = text.parse::<civil::DateTime>().ok();
            let day = || text.parse::<civil::Date>().ok().map(civil::DateTime::from);
            civil.or_else(day).and_then(utc).map(|zoned| zoned.timestamp())
        });
        found.ok_or_else(|| self.problem(format!("`{text}` is no day or time")))
    }
}

impl NamedKey {
    /// Reads a public key's file.
    ///
    /// # Errors
    /// [`Error::Key`], [`Error::Formats`].
    pub fn read(path: &Path) -> Result<Self> {
        let what = path.display().to_string();
        let key = PublicKey::from_pem(&read_text(path, KEY_BYTES)?, &what)?;
        Ok(Self { name: what, key })
    }
}

fn read_text(path: &Path, limit: u64) -> Result<String> {
    let mut text = String::new();
    let file = File::open(path).map_err(mdl_formats::Error::io(path, "open"))?;
    file.take(limit + 1).read_to_string(&mut text).map_err(mdl_formats::Error::io(path, "read"))?;
    if text.len() as u64 > limit {
        let problem = format!("it has more than {limit} bytes");
        return Err(Error::Policy { path: PathBuf::from(path), problem });
    }
    Ok(text)
}
