//! `mdl pack`: a model becomes a package of the local store.

use std::{collections::BTreeMap, fs, sync::atomic::Ordering};

use mdl_artifact::{
    Evaluation, Limits, Origins,
    pack::{Packed, Plan},
};
use mdl_formats::digest::{DigestCache, Unwatched};
use mdl_quant::pipeline;
use mdl_store::{
    Digest,
    layout::{Ingest, Layout},
};
use serde::Serialize;

use super::local;
use crate::{
    args::Pack,
    failure::Failure,
    printer::Printer,
    progress::{Hashing, INTERRUPTED, Progress, stop_on_interrupt},
    settings::Settings,
    table::Table,
    units::Size,
};

/// The shape of `--json`.
#[derive(Debug, Serialize)]
struct Report {
    version: u32,
    reference: String,
    digest: String,
    size: u64,
    files: Vec<FileRow>,
    referrers: Vec<local::ReferrerRow>,
    notes: Vec<String>,
}

#[derive(Debug, Serialize)]
struct FileRow {
    name: String,
    media_type: String,
    digest: String,
    size: u64,
}

pub(crate) fn run(args: &Pack, settings: &Settings, printer: Printer) -> Result<(), Failure> {
    stop_on_interrupt()?;
    let key = local::name(&args.reference, settings)?;
    let mut plan = Plan::of(&args.path, &Limits::default())?;
    for note in &plan.notes {
        printer.warn(note);
    }
    let report = args.report.as_deref().map(fs::read).transpose().map_err(|error| {
        let path = args.report.as_deref().map(|path| path.display().to_string());
        Failure::new(format!("{}: {error}", path.unwrap_or_default()))
    })?;
    if let Some(report) = &report {
        Evaluation::read(report, &Limits::default())?;
    }
    let layout = local::open(settings)?;
    let mut cache = DigestCache::open(settings.home.as_deref());
    let digests = hashed(&plan, &mut cache, printer)?;
    if let Some(home) = &settings.home {
        plan.take_origin(&Origins::open(home), &digests);
    }
    let packed = plan.finish(&digests, report.as_deref())?;
    let ingest = if args.link { Ingest::Link } else { Ingest::Copy };
    take_in(&layout, &plan, &digests, ingest, printer)?;
    // What the cache knows costs nothing; what has changed since is hashed again and found.
    if plan.digests(&mut cache, &Unwatched)? != digests {
        return Err(Failure::new("the files changed while they were packed: nothing is packed")
            .hint("pack them again when nothing writes to them"));
    }
    publish(&layout, &packed, &key)?;
    let report = report_of(&plan, &digests, &packed, key);
    if args.json { printer.json(&report) } else { printer.line(text(&report)) }
}

/// The digests of the files, with progress.
pub(crate) fn hashed(
    plan: &Plan,
    cache: &mut DigestCache,
    printer: Printer,
) -> Result<BTreeMap<String, Digest>, Failure> {
    let hashing = Hashing::new(printer);
    let digests = plan.digests(cache, &hashing);
    hashing.finish();
    Ok(digests?)
}

/// Takes the files into the store; those that are there already are left as they are.
fn take_in(
    layout: &Layout,
    plan: &Plan,
    digests: &BTreeMap<String, Digest>,
    ingest: Ingest,
    printer: Printer,
) -> Result<(), Failure> {
    let progress = Progress::bytes(printer);
    pipeline::Progress::begin(&progress, plan.bytes(), 0);
    let mut done = 0;
    for file in &plan.files {
        if INTERRUPTED.load(Ordering::Relaxed) {
            return Err(Failure::new("interrupted")
                .hint("run the same command again: what is in the store already stays")
                .status(Failure::INTERRUPTED));
        }
        layout.put_file(&file.path, digests.get(&file.name).cloned(), ingest)?;
        done += file.size;
        pipeline::Progress::advance(&progress, done, &file.name);
    }
    progress.finish();
    Ok(())
}

/// Puts down manifests and their small blobs, and last the reference, so that it leads to something whole.
pub(crate) fn publish(layout: &Layout, packed: &Packed, key: &str) -> Result<(), Failure> {
    layout.put_bytes(&packed.config.bytes)?;
    layout.put_bytes(&packed.manifest.bytes)?;
    for referrer in &packed.referrers {
        for blob in referrer.blobs.iter().chain([&referrer.manifest]) {
            layout.put_bytes(&blob.bytes)?;
        }
        layout.add_referrer(referrer.manifest.descriptor())?;
    }
    layout.set_reference(key, packed.manifest.descriptor())?;
    Ok(())
}

fn report_of(
    plan: &Plan,
    digests: &BTreeMap<String, Digest>,
    packed: &Packed,
    reference: String,
) -> Report {
    let file = |file: &mdl_artifact::pack::PlanFile| FileRow {
        name: file.name.clone(),
        media_type: file.media_type.to_owned(),
        digest: digests.get(&file.name).map(ToString::to_string).unwrap_or_default(),
        size: file.size,
    };
    let referrer = |it: &mdl_artifact::pack::ReferrerPackage| local::ReferrerRow {
        kind: Some(it.artifact_type.clone()),
        predicate: None,
        digest: it.manifest.digest.to_string(),
        size: it.manifest.bytes.len() as u64,
    };
    Report {
        version: 1,
        reference,
        digest: packed.manifest.digest.to_string(),
        size: plan.bytes(),
        files: plan.files.iter().map(file).collect(),
        referrers: packed.referrers.iter().map(referrer).collect(),
        notes: plan.notes.clone(),
    }
}

fn text(report: &Report) -> String {
    let count = report.files.len();
    let mut lines = vec![
        format!("packed      {}", report.reference),
        format!("digest      {}", report.digest),
        format!(
            "size        {} in {count} {}",
            Size(report.size),
            if count == 1 { "file" } else { "files" }
        ),
    ];
    for referrer in &report.referrers {
        let name = local::referrer_label(referrer);
        lines.push(format!("{name:<12}{}", referrer.digest));
    }
    let mut table = Table::new(&["file", "kind", ">size"]);
    for file in &report.files {
        table.row(vec![file.name.clone(), kind(&file.media_type), Size(file.size).to_string()]);
    }
    format!("{}\n\n{}", lines.join("\n"), table.text())
}

/// The kind that a layer's type names.
fn kind(media_type: &str) -> String {
    let rest = media_type.strip_prefix(mdl_artifact::media::MODEL_PREFIX).unwrap_or(media_type);
    let rest = rest.split(".v1").next().unwrap_or(rest);
    match rest {
        "weight" => "weights",
        "weight.config" => "config",
        other => other,
    }
    .to_owned()
}
