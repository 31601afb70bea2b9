//! Comparing what is demanded with what was found.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use jiff::Timestamp;
use mdl_store::{Descriptor, Digest, Name};
use serde::Serialize;

use super::{Attestation, Evidence, NamedKey, Openness, Policy, Rule};
use crate::{
    Evaluation, Package, license,
    signing::{
        Bundle, COSIGN_SIGN, MODEL_SIGNATURE, REPOSITORY, SIGNED, SignedFiles, Statement, Subject,
        TAG,
    },
};

/// One demand, and what was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was asked.
    pub asked: String,
    /// What was found.
    pub found: String,
    /// Whether that is enough.
    pub passed: bool,
}

/// A key that vouches for the package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Signer {
    /// As the policy calls it.
    pub key: String,
    /// Of its public key.
    pub fingerprint: String,
    /// `manifest` or `files`: what is signed.
    pub over: &'static str,
    /// When, as the signature itself says.
    pub signed: Option<String>,
    /// The repository that it names.
    pub repository: Option<String>,
    /// The tag that it names.
    pub tag: Option<String>,
}

/// What a policy says of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Every demand.
    pub checks: Vec<Check>,
    /// Signatures that count, one for each key and what it is over.
    pub signers: Vec<Signer>,
    /// Why others do not count.
    pub ignored: Vec<String>,
    /// The time of the newest that counts.
    pub signed: Option<Timestamp>,
}

impl Verdict {
    /// Whether the package may be used.
    pub fn trusted(&self) -> bool {
        self.checks.iter().all(|check| check.passed)
    }

    /// The demands that were not met.
    pub fn refusals(&self) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(|check| !check.passed)
    }

    /// Adds the demand that nothing older than what was seen for this tag is taken for it.
    pub fn not_older_than(&mut self, seen: Option<Timestamp>) {
        let Some(seen) = seen else { return };
        let found = match self.signed {
            Some(signed) => format!("signed at {signed}"),
            None => "no signature that says when it was made".to_owned(),
        };
        self.checks.push(Check {
            asked: format!("nothing older than what was seen for this tag, signed at {seen}"),
            found,
            passed: self.signed.is_some_and(|signed| signed >= seen),
        });
    }

    fn check(&mut self, asked: impl Into<String>, found: impl Into<String>, passed: bool) {
        self.checks.push(Check { asked: asked.into(), found: found.into(), passed });
    }
}

impl Policy {
    /// What this policy says of something that cannot carry signatures, and of which nothing is known before it is
    /// there: a model of a hub.
    pub fn judge_unsigned(&self, repository: &Name) -> Verdict {
        let media_type = crate::media::OCI_MANIFEST.to_owned();
        let manifest = Descriptor { media_type, digest: Digest::of(b""), size: 0 };
        let package = Package::read(&manifest.media_type, b"{}", None);
        self.judge(&Evidence::new(repository.clone(), None, manifest, package))
    }

    /// What this policy says of a package.
    pub fn judge(&self, evidence: &Evidence) -> Verdict {
        let mut verdict =
            Verdict { checks: Vec::new(), signers: Vec::new(), ignored: Vec::new(), signed: None };
        let Some(rule) = self.rule_for(&evidence.repository) else {
            let asked = format!("a rule for {}", evidence.repository);
            let found = match self.rules.len() {
                0 => "a policy without rules".to_owned(),
                1 => "one rule, for other repositories".to_owned(),
                many => format!("{many} rules, all for other repositories"),
            };
            verdict.check(asked, found, false);
            return verdict;
        };
        Judge { policy: self, rule, evidence, verdict: &mut verdict }.all();
        verdict
    }
}

struct Judge<'a> {
    policy: &'a Policy,
    rule: &'a Rule,
    evidence: &'a Evidence,
    verdict: &'a mut Verdict,
}

impl Judge<'_> {
    fn all(&mut self) {
        for problem in &self.evidence.problems {
            self.verdict.ignored.push(problem.clone());
        }
        self.signatures();
        for (kind, attesters) in &self.rule.require {
            self.attestation(*kind, attesters);
        }
        self.license();
    }

    fn signatures(&mut self) {
        let signers = self.signers();
        let mut names: Vec<(&str, &str)> =
            signers.iter().map(|(_, it)| (it.fingerprint.as_str(), it.key.as_str())).collect();
        names.dedup_by_key(|(fingerprint, _)| *fingerprint);
        if self.rule.threshold > 0 {
            let found = match names.len() {
                0 => "none that counts".to_owned(),
                many => {
                    let names: Vec<&str> = names.iter().map(|(_, name)| *name).collect();
                    format!("{many}, by {}", names.join(", "))
                }
            };
            let passed = names.len() >= self.rule.threshold;
            self.verdict.check(self.asked_signatures(), found, passed);
        }
        self.verdict.signed = signers.iter().filter_map(|(signed, _)| *signed).max();
        self.verdict.signers = signers.into_iter().map(|(_, signer)| signer).collect();
    }

    /// The signatures that count, in order of keys: of each key one over the manifest and one over the files, the newest.
    fn signers(&mut self) -> Vec<(Option<Timestamp>, Signer)> {
        let mut counted: BTreeMap<(String, &'static str), (Option<Timestamp>, Signer)> =
            BTreeMap::new();
        let (mut strangers, mut refused) = (0, BTreeSet::new());
        for bundle in &self.evidence.bundles {
            let over = match bundle.unverified().predicate_type.as_str() {
                COSIGN_SIGN => "manifest",
                MODEL_SIGNATURE => "files",
                _ => continue,
            };
            let by =
                self.rule.keys.iter().find_map(|named| Some((named, bundle.verify(&named.key)?)));
            let Some((named, statement)) = by else {
                strangers += 1;
                continue;
            };
            let fingerprint = named.key.fingerprint();
            match self.counts(named, statement, over) {
                Ok(found) => {
                    let kept = counted.entry((fingerprint, over)).or_insert_with(|| found.clone());
                    if found.0 > kept.0 {
                        *kept = found;
                    }
                }
                Err(why) => {
                    self.verdict.ignored.push(format!("a signature by {}: {why}", named.name));
                    if statement.subject_of(&self.evidence.manifest.digest).is_some() {
                        refused.insert(fingerprint);
                    }
                }
            }
        }
        if strangers > 0 {
            let text = format!("{strangers} made by keys that the rule does not name, or altered");
            self.verdict.ignored.push(text);
        }
        // Who signed this manifest for another place has not signed it for this one by signing its files, which name none.
        let names =
            |key: &(String, &'static str)| counted.contains_key(&(key.0.clone(), "manifest"));
        let moved: Vec<_> =
            counted.keys().filter(|key| refused.contains(&key.0) && !names(key)).cloned().collect();
        for key in moved {
            counted.remove(&key);
        }
        counted.into_values().collect()
    }

    fn asked_signatures(&self) -> String {
        let names: Vec<&str> = self.rule.keys.iter().map(|it| it.name.as_str()).collect();
        let names = names.join(", ");
        let mut text = match (self.rule.threshold, self.rule.keys.len()) {
            (1, 1) => format!("a signature by {names}"),
            (1, _) => format!("a signature by one of {names}"),
            (many, _) => format!("signatures by {many} of {names}"),
        };
        if self.rule.bound {
            text.push_str(", naming the repository and tag");
        }
        if let Some(time) = self.rule.not_before {
            let _ = write!(text, ", not from before {time}");
        }
        text
    }

    /// Whether a signature, verified, is one over this package under this name.
    fn counts(
        &self,
        named: &NamedKey,
        statement: &Statement,
        over: &'static str,
    ) -> Result<(Option<Timestamp>, Signer), String> {
        let empty = Subject::default();
        let subject = if over == "manifest" {
            let digest = &self.evidence.manifest.digest;
            statement.subject_of(digest).ok_or("it is over another manifest")?
        } else {
            let signed = SignedFiles::read(statement).map_err(|error| error.to_string())?;
            let here = SignedFiles::of_package(&self.evidence.package);
            let here = here.map_err(|error| error.to_string())?;
            if signed.files != here.files {
                return Err("it is over other files".to_owned());
            }
            &empty
        };
        let (repository, tag) = (subject.text(REPOSITORY), subject.text(TAG));
        if let Some(name) = repository
            && !is_end_of(name, &self.evidence.repository)
        {
            return Err(format!("it is for {}", shown(name)));
        }
        if self.rule.bound {
            let (Some(_), Some(tag)) = (repository, tag) else {
                return Err("it names no repository and tag".to_owned());
            };
            if let Some(asked) = self.evidence.tag.as_ref().filter(|asked| asked.as_str() != tag) {
                return Err(format!("it is for the tag {}, not {asked}", shown(tag)));
            }
        }
        let signed = subject.text(SIGNED).and_then(|text| text.parse::<Timestamp>().ok());
        if let Some(from) = self.rule.not_before
            && signed.is_none_or(|signed| signed < from)
        {
            return Err(match signed {
                Some(signed) => format!("it is from {signed}, before {from}"),
                None => "it does not say when it was made".to_owned(),
            });
        }
        if self.policy.is_revoked(&named.key, signed) {
            return Err("the key is revoked".to_owned());
        }
        let signer = Signer {
            key: named.name.clone(),
            fingerprint: named.key.fingerprint(),
            over,
            signed: signed.map(|it| it.to_string()),
            repository: repository.map(shown),
            tag: tag.map(shown),
        };
        Ok((signed, signer))
    }

    fn attestation(&mut self, kind: Attestation, attesters: &[NamedKey]) {
        let names: Vec<&str> = attesters.iter().map(|it| it.name.as_str()).collect();
        let asked = format!("{} by {}", kind.name(), names.join(" or "));
        let mut found: Vec<(&str, &Statement)> = Vec::new();
        let mut others = 0;
        for bundle in &self.evidence.bundles {
            if Attestation::of_predicate_type(&bundle.unverified().predicate_type) != Some(kind) {
                continue;
            }
            match self.attested(bundle, attesters) {
                Some(it) => found.push(it),
                None => others += 1,
            }
        }
        let text = match (found.first(), others) {
            (Some((name, _)), _) => format!("one by {name}"),
            (None, 0) => "none".to_owned(),
            (None, others) => format!("{others}, none by these keys over this package"),
        };
        self.verdict.check(asked, text, !found.is_empty());
        if let (Attestation::QuantizationReport, Some(most)) = (kind, self.rule.max_kld) {
            // Of several reports, the worst counts.
            let mean = |(_, it): &(&str, &Statement)| divergence(it);
            let means: Option<Vec<f64>> = found.iter().map(mean).collect();
            let worst = means.and_then(|all| all.into_iter().reduce(f64::max));
            let text = match worst {
                Some(worst) => format!("{worst:.6}"),
                None => "no report that states one".to_owned(),
            };
            let passed = worst.is_some_and(|worst| worst <= most);
            self.verdict.check(format!("a mean divergence of at most {most}"), text, passed);
        }
        if let (Attestation::Openness, Some(least)) = (kind, self.rule.openness) {
            let classes = found.iter().map(|(_, it)| class(it));
            let worst = classes.min().flatten();
            let text = worst.map_or("no class", Openness::name);
            let asked = format!("openness class {} or better", least.name());
            self.verdict.check(asked, text, worst >= Some(least));
        }
    }

    /// The statement of an attestation over this package by one of these keys. Its time is not known, so that a key that
    /// was revoked at any time does not count.
    fn attested<'b>(
        &self,
        bundle: &'b Bundle,
        attesters: &'b [NamedKey],
    ) -> Option<(&'b str, &'b Statement)> {
        let digest = &self.evidence.manifest.digest;
        let usable = attesters.iter().filter(|it| !self.policy.is_revoked(&it.key, None));
        let mut by = usable.filter_map(|it| Some((it.name.as_str(), bundle.verify(&it.key)?)));
        by.next().filter(|(_, statement)| statement.subject_of(digest).is_some())
    }

    fn license(&mut self) {
        let accepted = &self.rule.licenses;
        if accepted.is_empty() {
            return;
        }
        let asked = format!("a licence of {}", accepted.join(", "));
        // It stands in the manifest, which a signature over files says nothing about.
        let manifest_signed = self.verdict.signers.iter().any(|it| it.over == "manifest");
        match &self.evidence.package.facts.license {
            None => self.verdict.check(asked, "none stated", false),
            Some(license) if !manifest_signed && self.rule.threshold > 0 => {
                let found = format!("{}, in a manifest that nobody signed", shown(license));
                self.verdict.check(asked, found, false);
            }
            Some(license) => {
                let listed = |name: &str| accepted.iter().any(|it| it.eq_ignore_ascii_case(name));
                let passed = license::allows(license, listed);
                self.verdict.check(asked, shown(license), passed);
            }
        }
    }
}

/// Whether a name is a repository's, or its end after a `/`.
fn is_end_of(name: &str, repository: &Name) -> bool {
    let rest = repository.as_str().strip_suffix(name);
    !name.is_empty() && rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('/'))
}

/// The mean divergence that a quantization report states.
fn divergence(report: &Statement) -> Option<f64> {
    let evaluation = report.predicate.get("evaluation")?;
    let evaluation: Evaluation = serde_json::from_value(evaluation.clone()).ok()?;
    evaluation.divergence.map(|it| it.mean).filter(|mean| mean.is_finite())
}

/// The class that an attestation of openness states.
fn class(attestation: &Statement) -> Option<Openness> {
    serde_json::from_value(attestation.predicate.get("class")?.clone()).ok()
}

/// What others wrote, for people.
fn shown(text: &str) -> String {
    text.chars().take(200).flat_map(char::escape_default).collect()
}
