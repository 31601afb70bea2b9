//! `mdl push`: a package of the local store, or a file or folder as it lies, goes to a registry.

use std::{collections::BTreeMap, fs, path::Path};

use mdl_artifact::{Evaluation, Limits, ModelRef, Origins, pack::Plan};
use mdl_client::{Address, Pushed, run as transfer};
use mdl_formats::digest::{DigestCache, Unwatched};
use mdl_store::Digest;
use serde::Serialize;

use super::{local, pack, reach};
use crate::{
    args::Push,
    failure::Failure,
    model_argument::{self, Argument},
    printer::Printer,
    settings::Settings,
    units::Size,
};

/// The shape of `--json`.
#[derive(Debug, Serialize)]
struct Report {
    version: u32,
    reference: String,
    digest: String,
    /// Blobs that were sent, their bytes, those that were mounted or there.
    sent: u64,
    sent_bytes: u64,
    mounted: u64,
    found: u64,
    referrers: u64,
}

pub(crate) fn run(args: &Push, settings: &Settings, printer: Printer) -> Result<(), Failure> {
    let report = if let Argument::Path(path) = model_argument::read(&args.source)? {
        files(args, &path, settings, printer)?
    } else {
        if args.report.is_some() {
            return Err(Failure::new("--report goes with a file or folder to push")
                .hint("a package of the local store takes its report along: `mdl pack --report`")
                .status(Failure::USAGE));
        }
        stored(args, settings, printer)?
    };
    if args.json { printer.json(&report) } else { printer.line(text(&report)) }
}

/// Where a package goes: the destination that was given, else where its own name says.
fn destination(text: &str, settings: &Settings) -> Result<Address, Failure> {
    let reference = local::parse(text, settings)?;
    reach::address(&reference)
}

fn stored(args: &Push, settings: &Settings, printer: Printer) -> Result<Report, Failure> {
    let layout = local::open(settings)?;
    let found = local::find(&layout, &args.source, settings)?;
    let to = match &args.destination {
        Some(text) => destination(text, settings)?,
        None => reach::address(&found.key.parse::<ModelRef>()?)?,
    };
    let (client, shown) = reach::transfers(&args.reach, settings, printer)?;
    let pushed = transfer(&*shown, client.push(&layout, &found.manifest, &to));
    shown.finish();
    let pushed = pushed?;
    note(&pushed, printer);
    Ok(report(&to, &found.manifest.digest, &pushed))
}

fn files(
    args: &Push,
    path: &Path,
    settings: &Settings,
    printer: Printer,
) -> Result<Report, Failure> {
    let Some(text) = &args.destination else {
        return Err(Failure::new(format!("where is {} to go?", path.display()))
            .hint("write `mdl push PATH host[:port]/name:tag`")
            .status(Failure::USAGE));
    };
    let to = destination(text, settings)?;
    // What is asked for in vain is said before anything is read.
    let (client, shown) = reach::transfers(&args.reach, settings, printer)?;
    let mut plan = Plan::of(path, &Limits::default())?;
    for note in &plan.notes {
        printer.warn(note);
    }
    let evaluation = args.report.as_deref().map(|file| {
        fs::read(file).map_err(|error| Failure::new(format!("{}: {error}", file.display())))
    });
    let evaluation = evaluation.transpose()?;
    if let Some(evaluation) = &evaluation {
        Evaluation::read(evaluation, &Limits::default())?;
    }
    let mut cache = DigestCache::open(settings.home.as_deref());
    let digests = pack::hashed(&plan, &mut cache, printer)?;
    if let Some(home) = &settings.home {
        plan.take_origin(&Origins::open(home), &digests);
    }
    let packed = plan.finish(&digests, evaluation.as_deref())?;
    let mut blobs = BTreeMap::new();
    for file in &plan.files {
        if let Some(digest) = digests.get(&file.name) {
            blobs.insert(digest.clone(), file.path.clone());
        }
    }
    let pushed = transfer(&*shown, client.push_files(&packed, &blobs, &to));
    shown.finish();
    let pushed = pushed.map_err(|error| changed(error, &plan, &digests, &mut cache))?;
    note(&pushed, printer);
    Ok(report(&to, &packed.manifest.digest, &pushed))
}

/// What the registry says besides.
pub(super) fn note(pushed: &Pushed, printer: Printer) {
    for text in &pushed.notes {
        printer.warn(format!("the registry says: {text}"));
    }
}

/// A registry that finds another digest may be right: then a file changed since it was hashed.
fn changed(
    error: mdl_client::Error,
    plan: &Plan,
    digests: &BTreeMap<String, Digest>,
    cache: &mut DigestCache,
) -> Failure {
    match plan.digests(cache, &Unwatched) {
        Ok(now) if now != *digests => Failure::new("the files changed while they were sent")
            .hint("push them again when nothing writes to them"),
        _ => error.into(),
    }
}

fn report(to: &Address, digest: &Digest, pushed: &Pushed) -> Report {
    Report {
        version: 1,
        reference: to.to_string(),
        digest: digest.to_string(),
        sent: pushed.sent,
        sent_bytes: pushed.sent_bytes,
        mounted: pushed.mounted,
        found: pushed.found,
        referrers: pushed.referrers,
    }
}

fn text(report: &Report) -> String {
    let mut parts = vec![format!("{} sent ({})", report.sent, Size(report.sent_bytes))];
    if report.mounted > 0 {
        parts.push(format!("{} mounted", report.mounted));
    }
    if report.found > 0 {
        parts.push(format!("{} there already", report.found));
    }
    let mut lines = vec![
        format!("pushed      {}", report.reference),
        format!("digest      {}", report.digest),
        format!("blobs       {}", parts.join(", ")),
    ];
    if report.referrers > 0 {
        lines.push(format!("referrers   {}", report.referrers));
    }
    lines.join("\n")
}
