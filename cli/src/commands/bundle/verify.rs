//! `mdl bundle verify`.

use mdl_artifact::{
    bundle::{Import, Media},
    keys::PublicKey,
    trust::{NamedKey, Policy},
};
use serde::Serialize;

use super::numbers;
use crate::{
    args::BundleVerify,
    commands::{local, trust::Gate},
    failure::Failure,
    printer::Printer,
    progress::{Hashing, stop_on_interrupt},
    settings::Settings,
};

/// The shape of `--json`.
#[derive(Debug, Serialize)]
struct Report {
    version: u32,
    /// Of the index.
    digest: String,
    volumes: u32,
    missing: Vec<u32>,
    /// Whose signature of the index is known.
    signed_by: Option<String>,
    altered: Vec<Altered>,
    models: Vec<Model>,
}

#[derive(Debug, Serialize)]
struct Altered {
    file: String,
    problem: String,
}

#[derive(Debug, Serialize)]
struct Model {
    name: String,
    digest: String,
    /// None without a trust policy.
    trusted: Option<bool>,
    refusals: Vec<String>,
}

pub(super) fn run(
    args: &BundleVerify,
    settings: &Settings,
    printer: Printer,
) -> Result<(), Failure> {
    stop_on_interrupt()?;
    let gate = Gate::open(&args.trust, settings)?;
    let key = args.key.as_deref().map(NamedKey::read).transpose()?;
    let media = Media::open(&args.folder)?;
    let progress = Hashing::named(printer, "reading");
    let faults = media.check(&progress);
    progress.finish();
    let altered: Vec<Altered> = faults?
        .into_iter()
        .map(|fault| Altered { file: fault.path.display().to_string(), problem: fault.problem })
        .collect();
    let mut report = Report {
        version: 1,
        digest: media.digest.to_string(),
        volumes: media.index.volumes,
        missing: media.missing().into_iter().collect(),
        signed_by: signer(&media, key.as_ref(), gate.policy()),
        altered,
        models: Vec::new(),
    };
    if report.altered.is_empty() {
        report.models = models(&media, &gate, settings)?;
    }
    if args.json {
        printer.json(&report)?;
    } else {
        printer.line(text(&report))?;
    }
    judge(&report, key.as_ref())
}

/// Who signed the index: the key that was asked for, else one that the policy names.
fn signer(media: &Media, key: Option<&NamedKey>, policy: Option<&Policy>) -> Option<String> {
    let known = policy.map(Policy::signers).unwrap_or_default();
    let keys: Vec<&NamedKey> = match key {
        Some(key) => vec![key],
        None => known.into_iter().map(|(named, _)| named).collect(),
    };
    let found: &PublicKey = media.signed_by(keys.iter().map(|it| &it.key))?;
    keys.iter().find(|it| it.key == *found).map(|it| it.name.clone())
}

fn models(media: &Media, gate: &Gate, settings: &Settings) -> Result<Vec<Model>, Failure> {
    let layout = local::open(settings)?;
    let import = Import::open(media, &layout, None)?;
    let mut models = Vec::new();
    for (at, (named, model)) in import.models().zip(&media.index.models).enumerate() {
        let evidence = import.evidence(at, named.repository.clone(), named.tag.clone())?;
        let verdict = gate.judge(&evidence, None)?;
        let refusals = verdict.iter().flat_map(mdl_artifact::trust::Verdict::refusals);
        models.push(Model {
            name: model.name(),
            digest: model.digest.clone(),
            refusals: refusals
                .map(|it| format!("asked: {}; found: {}", it.asked, it.found))
                .collect(),
            trusted: verdict.map(|verdict| verdict.trusted()),
        });
    }
    Ok(models)
}

fn judge(report: &Report, key: Option<&NamedKey>) -> Result<(), Failure> {
    if let Some(first) = report.altered.first() {
        return Err(
            Failure::new(format!("{}: {}", first.file, first.problem)).status(Failure::REFUSED)
        );
    }
    if let Some(key) = key.filter(|_| report.signed_by.is_none()) {
        return Err(Failure::new(format!("the index is not signed by {}", key.name))
            .status(Failure::REFUSED));
    }
    if let Some(model) = report.models.iter().find(|model| model.trusted == Some(false)) {
        return Err(Failure::new(format!("{} is not trusted", model.name)).status(Failure::REFUSED));
    }
    if report.missing.is_empty() {
        return Ok(());
    }
    let missing = numbers(report.missing.iter().copied());
    Err(Failure::new(format!("volumes are missing: {missing}"))
        .hint("what is at hand is in order; verify the others as they come"))
}

fn text(report: &Report) -> String {
    let mut lines = vec![format!("bundle      {}", report.digest)];
    let there = report.volumes as usize - report.missing.len();
    lines.push(format!("volumes     {there} of {} at hand", report.volumes));
    let by = report.signed_by.as_deref().unwrap_or("nobody who is known here");
    lines.push(format!("signed by   {by}"));
    for altered in &report.altered {
        lines.push(format!("altered     {}: {}", altered.file, altered.problem));
    }
    for model in &report.models {
        let word = match model.trusted {
            Some(true) => "trusted",
            Some(false) => "not trusted",
            None => "not verified: there is no trust policy",
        };
        lines.push(format!("model       {} ({word})", model.name));
        lines.extend(model.refusals.iter().map(|why| format!("            {why}")));
    }
    lines.join("\n")
}
