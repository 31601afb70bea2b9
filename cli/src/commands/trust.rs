//! The trust policy: what commands ask before they let a package in, and `mdl trust check`.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
};

use mdl_artifact::trust::{Evidence, NamedKey, Policy, Rule, Seen, Verdict};
use mdl_store::Digest;
use serde::Serialize;

use crate::{
    args::{Trust, TrustCheck, TrustCommand, TrustPolicy},
    failure::Failure,
    printer::Printer,
    settings::Settings,
};

/// What stands between a package and its use.
#[derive(Debug)]
pub(crate) struct Gate {
    /// The policy and where it was read; without one, everything passes.
    policy: Option<(PathBuf, Policy)>,
    seen: Option<Seen>,
    allow_older: bool,
}

/// Where the policy is to be found, and whether somebody named it.
fn place(named: Option<&Path>, settings: &Settings) -> (Option<PathBuf>, bool) {
    match named {
        Some(path) => (Some(path.to_owned()), true),
        None => (settings.home.as_ref().map(|home| home.join("trust.toml")), false),
    }
}

impl Gate {
    /// The gate that flags and settings ask for.
    pub(crate) fn open(args: &Trust, settings: &Settings) -> Result<Self, Failure> {
        let (path, named) = place(args.trust.as_deref(), settings);
        let policy = match path {
            // A policy that cannot be looked at is no reason to go on without.
            Some(path) if named || path.symlink_metadata().is_ok() => {
                let policy = Policy::read(&path)?;
                Some((path, policy))
            }
            _ => None,
        };
        let seen = settings.home.as_deref().map(Seen::new);
        Ok(Self { policy, seen, allow_older: args.allow_older })
    }

    /// A gate that lets in what one of some keys signed.
    pub(crate) fn of_keys(paths: &[PathBuf]) -> Result<Self, Failure> {
        let keys = paths.iter().map(|path| NamedKey::read(path)).collect::<Result<_, _>>()?;
        let policy = Policy::of_keys(keys);
        Ok(Self { policy: Some((PathBuf::from("--key"), policy)), seen: None, allow_older: true })
    }

    /// The policy, where there is one.
    pub(crate) fn policy(&self) -> Option<&Policy> {
        self.policy.as_ref().map(|(_, policy)| policy)
    }

    /// What the policy says of a package; `key` is the tag's whole name, where it was asked for by one.
    pub(crate) fn judge(
        &self,
        evidence: &Evidence,
        key: Option<&str>,
    ) -> Result<Option<Verdict>, Failure> {
        let Some((_, policy)) = &self.policy else { return Ok(None) };
        let mut verdict = policy.judge(evidence);
        if let (Some(seen), Some(key), false) = (&self.seen, key, self.allow_older) {
            verdict.not_older_than(seen.newest(key)?);
        }
        Ok(Some(verdict))
    }

    /// As [`Gate::judge`]; what is not trusted is a failure that says why.
    pub(crate) fn admit(
        &self,
        evidence: &Evidence,
        name: &str,
        key: Option<&str>,
        printer: Printer,
    ) -> Result<Option<Verdict>, Failure> {
        let Some(verdict) = self.judge(evidence, key)? else {
            self.note_unverified(name, printer);
            return Ok(None);
        };
        if verdict.trusted() {
            return Ok(Some(verdict));
        }
        let policy = self.policy.as_ref().map(|(path, _)| path.display().to_string());
        Err(refusal(name, &policy.unwrap_or_default(), &verdict))
    }

    /// Says that nothing is verified, where there is no policy.
    pub(crate) fn note_unverified(&self, name: &str, printer: Printer) {
        if self.policy.is_none() {
            printer.note(format!("{name}: nothing is verified, as there is no trust policy"));
        }
    }

    /// As [`Gate::admit`], for a model of a hub, which carries no signatures.
    pub(crate) fn admit_unsigned(
        &self,
        name: &str,
        repository: &str,
        printer: Printer,
    ) -> Result<(), Failure> {
        let Some((path, policy)) = &self.policy else {
            self.note_unverified(name, printer);
            return Ok(());
        };
        let verdict = policy.judge_unsigned(&repository.to_lowercase().parse()?);
        if verdict.trusted() {
            return Ok(());
        }
        Err(refusal(name, &path.display().to_string(), &verdict).hint(
            "models of hubs carry no signatures; a rule with `threshold = 0` accepts those of its repositories",
        ))
    }

    /// Notes that a package was let in under its tag.
    pub(crate) fn keep(
        &self,
        verdict: Option<&Verdict>,
        key: Option<&str>,
        digest: &Digest,
    ) -> Result<(), Failure> {
        let signed = verdict.and_then(|verdict| verdict.signed);
        if let (Some(seen), Some(key), Some(signed)) = (&self.seen, key, signed) {
            seen.keep(key, signed, digest)?;
        }
        Ok(())
    }
}

/// Why a package is not let in.
pub(crate) fn refusal(name: &str, policy: &str, verdict: &Verdict) -> Failure {
    let mut text = format!("{name} is refused by {policy}");
    for check in verdict.refusals() {
        let _ = write!(text, "\n  asked: {}\n  found: {}", check.asked, check.found);
    }
    for ignored in &verdict.ignored {
        let _ = write!(text, "\n  does not count: {ignored}");
    }
    Failure::new(text)
        .hint("`mdl verify` shows all that was found; `mdl trust check` says what the policy means")
        .status(Failure::REFUSED)
}

pub(crate) fn run(
    args: &TrustPolicy,
    settings: &Settings,
    printer: Printer,
) -> Result<(), Failure> {
    match &args.command {
        TrustCommand::Check(args) => check(args, settings, printer),
    }
}

/// The shape of `mdl trust check --json`.
#[derive(Debug, Serialize)]
struct Report {
    version: u32,
    file: String,
    rules: Vec<RuleRow>,
    revoked: Vec<RevokedRow>,
    warnings: Vec<String>,
}

#[derive(Debug, Serialize)]
struct RuleRow {
    repositories: Vec<String>,
    threshold: usize,
    keys: Vec<KeyRow>,
    /// What it asks, in sentences.
    asks: Vec<String>,
}

#[derive(Debug, Serialize)]
struct KeyRow {
    name: String,
    #[serde(rename = "type")]
    ty: &'static str,
    fingerprint: String,
}

#[derive(Debug, Serialize)]
struct RevokedRow {
    key: KeyRow,
    since: Option<String>,
}

fn check(args: &TrustCheck, settings: &Settings, printer: Printer) -> Result<(), Failure> {
    let (path, _) = place(args.file.as_deref(), settings);
    let path = path.ok_or_else(|| {
        Failure::new("no trust policy is named, and HOME is not set").status(Failure::USAGE)
    })?;
    let policy = Policy::read(&path)?;
    let revoked = |it: &mdl_artifact::trust::Revoked| RevokedRow {
        key: key_row(&it.key),
        since: it.since.map(|since| since.to_string()),
    };
    let report = Report {
        version: 1,
        file: path.display().to_string(),
        rules: policy.rules.iter().map(rule_row).collect(),
        revoked: policy.revoked.iter().map(revoked).collect(),
        warnings: policy.warnings,
    };
    for warning in &report.warnings {
        printer.warn(warning);
    }
    if args.json { printer.json(&report) } else { printer.line(text(&report)) }
}

fn key_row(named: &NamedKey) -> KeyRow {
    KeyRow {
        name: named.name.clone(),
        ty: named.key.kind().name(),
        fingerprint: named.key.fingerprint(),
    }
}

fn rule_row(rule: &Rule) -> RuleRow {
    let names =
        |keys: &[NamedKey]| keys.iter().map(|it| it.name.as_str()).collect::<Vec<_>>().join(" or ");
    let mut asks = vec![match rule.threshold {
        0 => "no signature".to_owned(),
        1 => format!("a signature by {}", names(&rule.keys)),
        many => format!("signatures by {many} of {}", names(&rule.keys)),
    }];
    if let Some(time) = rule.not_before {
        asks.push(format!("signed not before {time}"));
    }
    if rule.bound {
        asks.push("signed for this repository and tag by name".to_owned());
    }
    for (kind, attesters) in &rule.require {
        asks.push(format!("{} by {}", kind.name(), names(attesters)));
    }
    if let Some(most) = rule.max_kld {
        asks.push(format!("a mean divergence of at most {most} in the quantization report"));
    }
    if !rule.licenses.is_empty() {
        asks.push(format!("a licence of {}", rule.licenses.join(", ")));
    }
    if let Some(least) = rule.openness {
        asks.push(format!("openness class {} or better", least.name()));
    }
    RuleRow {
        repositories: rule.repositories.clone(),
        threshold: rule.threshold,
        keys: rule.keys.iter().map(key_row).collect(),
        asks,
    }
}

fn text(report: &Report) -> String {
    let mut lines = vec![report.file.clone()];
    for (at, rule) in report.rules.iter().enumerate() {
        lines.push(format!("\nrule {}: {}", at + 1, rule.repositories.join(", ")));
        lines.extend(rule.asks.iter().map(|asked| format!("  asks  {asked}")));
        for key in &rule.keys {
            lines.push(format!("  key   {} ({}, {})", key.name, key.ty, key.fingerprint));
        }
    }
    for revoked in &report.revoked {
        let since = revoked.since.as_ref().map(|it| format!(" since {it}")).unwrap_or_default();
        lines.push(format!("\nrevoked{since}: {} ({})", revoked.key.name, revoked.key.fingerprint));
    }
    lines.push("\nany other repository: refused".to_owned());
    lines.join("\n")
}
