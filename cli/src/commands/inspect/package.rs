//! A package: what its manifest says, in the local store or on a registry.

use std::{collections::BTreeMap, fmt::Write as _};

use mdl_artifact::{
    Facts, LayerKind, ModelRef, Package, media, signing::PREDICATE_TYPE, stored_document,
};
use mdl_client::{Address, Client};
use mdl_store::{Descriptor, Digest, layout::Layout};
use serde::Serialize;

use super::{
    super::{local, reach},
    model,
    words::{count, type_table},
};
use crate::{
    args::Inspect, failure::Failure, printer::Printer, settings::Settings, table::Table,
    units::Size,
};

/// The shape of `--json`.
#[derive(Debug, Serialize)]
struct Report {
    version: u32,
    reference: String,
    digest: String,
    media_type: String,
    kind: &'static str,
    size: u64,
    facts: Facts,
    files: Vec<FileRow>,
    referrers: Vec<local::ReferrerRow>,
    annotations: BTreeMap<String, String>,
    problems: Vec<String>,
}

#[derive(Debug, Serialize)]
struct FileRow {
    name: String,
    kind: &'static str,
    media_type: String,
    digest: String,
    size: u64,
    archive: bool,
}

/// Shows a package of the local store.
pub(super) fn local(args: &Inspect, settings: &Settings, printer: Printer) -> Result<(), Failure> {
    let layout = local::open(settings)?;
    let found = if args.local {
        local::find(&layout, &args.model, settings)?
    } else {
        // It could have been meant as a path.
        local::search(&layout, &args.model, settings)?.ok_or_else(|| {
            let text = format!("{}: no such file, folder or package of the local store", args.model);
            Failure::new(text).hint("models are given by path (a GGUF file, a safetensors file, a Hugging Face folder) or by reference; `mdl list` shows the local store")
        })?
    };
    let package = local::package(&layout, &found.manifest)?;
    if args.tensors || args.metadata {
        return headers(&layout, &package, &found.key, args, printer);
    }
    let referrers = layout.referrers(&found.manifest.digest)?;
    let rows = referrers.iter().map(local::ReferrerRow::of).collect();
    let mut report = report(found.key, &found.manifest, package, rows);
    for referrer in referrers {
        if referrer.artifact_type.as_deref() == Some(media::RECIPE) && report.facts.recipe.is_none()
        {
            report.facts.recipe = document(&layout, &referrer.descriptor);
        }
    }
    show(&report, args, printer)
}

/// Shows the header of the model that a package holds.
fn headers(
    layout: &Layout,
    package: &Package,
    key: &str,
    args: &Inspect,
    printer: Printer,
) -> Result<(), Failure> {
    let ggufs = package.ggufs();
    let [gguf] = &ggufs[..] else {
        return Err(Failure::new(format!(
            "{key} is not one GGUF file: its headers are not shown here"
        ))
        .hint(format!("run `mdl pull {key} --to DIR`, then `mdl inspect DIR`")));
    };
    model::run(&layout.blob_path(&gguf.descriptor.digest), key, args, printer)
}

/// The text of a referrer's first layer.
fn document(layout: &Layout, manifest: &Descriptor) -> Option<String> {
    String::from_utf8(stored_document(layout, manifest).ok()?).ok()
}

/// Shows a package on a registry.
pub(super) fn remote(
    reference: &ModelRef,
    args: &Inspect,
    settings: &Settings,
    printer: Printer,
) -> Result<(), Failure> {
    if args.tensors || args.metadata {
        return Err(Failure::new("tensors and metadata are in the files, not in the manifest")
            .hint(format!("run `mdl pull {reference}`, then this with --local"))
            .status(Failure::USAGE));
    }
    let reference = reference.clone().or_latest();
    let address = reach::address(&reference)?;
    let (client, watch) = reach::client(&args.reach, settings, printer)?;
    let report = mdl_client::run(watch.as_ref(), ask(&client, &reference, &address))?;
    show(&report, args, printer)
}

async fn ask(client: &Client, reference: &ModelRef, at: &Address) -> mdl_client::Result<Report> {
    let found = client.manifest(at).await?;
    let manifest = Descriptor {
        media_type: found.media_type.clone(),
        digest: found.digest.clone(),
        size: found.bytes.len() as u64,
    };
    let mut package = Package::read(&found.media_type, &found.bytes, None);
    if let Some(config) = &package.config
        && config.size <= CONFIG_BYTES
    {
        let config = client.blob(at, config).await?;
        package = Package::read(&found.media_type, &found.bytes, Some(&config));
    }
    let row = |it: mdl_client::Referring| local::ReferrerRow {
        predicate: it.annotations.get(PREDICATE_TYPE).cloned(),
        kind: it.artifact_type,
        digest: it.descriptor.digest.to_string(),
        size: it.descriptor.size,
    };
    let referrers = client.referrers(at, &found.digest).await?.into_iter().map(row).collect();
    Ok(report(reference.to_string(), &manifest, package, referrers))
}

/// Bytes of a config that are asked for.
const CONFIG_BYTES: u64 = 4 << 20;

fn report(
    reference: String,
    manifest: &Descriptor,
    package: Package,
    mut referrers: Vec<local::ReferrerRow>,
) -> Report {
    referrers.sort_by(|one, other| (&one.kind, &one.digest).cmp(&(&other.kind, &other.digest)));
    let file = |file: &mdl_artifact::PackageFile| FileRow {
        name: file.name.clone(),
        kind: kind(file.kind),
        media_type: file.descriptor.media_type.clone(),
        digest: file.descriptor.digest.to_string(),
        size: file.descriptor.size,
        archive: file.archive,
    };
    Report {
        version: 1,
        reference,
        digest: manifest.digest.to_string(),
        media_type: manifest.media_type.clone(),
        kind: package.kind.name(),
        size: package.bytes(),
        files: package.files.iter().map(file).collect(),
        facts: package.facts,
        referrers,
        annotations: package.annotations,
        problems: package.problems,
    }
}

fn kind(kind: LayerKind) -> &'static str {
    match kind {
        LayerKind::Weights => "weights",
        LayerKind::Config => "config",
        LayerKind::Doc => "doc",
        LayerKind::Code => "code",
        LayerKind::Dataset => "dataset",
        LayerKind::Other => "other",
    }
}

fn show(report: &Report, args: &Inspect, printer: Printer) -> Result<(), Failure> {
    for problem in &report.problems {
        printer.warn(problem);
    }
    if args.json { printer.json(report) } else { printer.line(text(report)) }
}

fn text(report: &Report) -> String {
    let facts = &report.facts;
    let mut lines = String::new();
    let mut line = |label: &str, value: Option<String>| {
        if let Some(value) = value {
            let _ = writeln!(lines, "{label:<18}{value}");
        }
    };
    line("reference", Some(report.reference.clone()));
    line("digest", Some(report.digest.clone()));
    line("kind", Some(report.kind.to_owned()));
    line("name", facts.name.clone());
    line("family", facts.architecture.clone());
    line("parameters", facts.parameters.map(count));
    line("size", Some(Size(report.size).to_string()));
    line("bits per weight", facts.bits_per_weight.map(|it| format!("{it:.2}")));
    line("quantization", facts.quantization.clone());
    line("layers", facts.layers.map(|n| n.to_string()));
    line("context", facts.context_length.map(|n| format!("{n} tokens")));
    line("tokenizer", tokenizer(facts));
    line("chat template", facts.chat_template.map(|it| if it { "yes" } else { "none" }.to_owned()));
    line("licence", Some(facts.license.clone().unwrap_or_else(|| "not stated".to_owned())));
    line("source", report.annotations.get(media::SOURCE).cloned());
    line("revision", report.annotations.get(media::REVISION).cloned());
    evaluation(facts, &mut line);
    for referrer in &report.referrers {
        line(local::referrer_label(referrer), Some(referrer.digest.clone()));
    }

    let mut text = lines;
    if !facts.types.is_empty() {
        let _ = write!(text, "\n{}\n", type_table(&facts.types));
    }
    let mut table = Table::new(&["file", "kind", ">size", "digest"]);
    for file in &report.files {
        let kind =
            if file.archive { format!("{}, archive", file.kind) } else { file.kind.to_owned() };
        let digest = file.digest.parse::<Digest>().map(|it| local::short(&it)).unwrap_or_default();
        table.row(vec![file.name.clone(), kind, Size(file.size).to_string(), digest]);
    }
    format!("{text}\n{}", table.text())
}

fn tokenizer(facts: &Facts) -> Option<String> {
    let mut text = facts.tokenizer.clone()?;
    if let Some(pre) = &facts.pre_tokenizer {
        let _ = write!(text, " ({pre})");
    }
    if let Some(tokens) = facts.vocabulary {
        let _ = write!(text, ", {tokens} tokens");
    }
    Some(text)
}

fn evaluation(facts: &Facts, line: &mut dyn FnMut(&str, Option<String>)) {
    let Some(found) = &facts.evaluation else { return };
    line("perplexity", Some(format!("{:.4} ± {:.4}", found.perplexity, found.perplexity_error)));
    if let Some(divergence) = found.divergence {
        line(
            "KL divergence",
            Some(format!("{:.6} ± {:.6} (mean)", divergence.mean, divergence.error)),
        );
    }
    line("same top token", found.same_top.map(|share| format!("{:.2} %", share * 100.0)));
}
