//! `mdl pull`: a model comes from a registry, a Hugging Face hub or Ollama's registry.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use mdl_artifact::{
    Limits, Origins,
    pack::{Plan, Provenance},
    signing::SIGNATURE_FILE,
    trust::{Evidence, Signer},
};
use mdl_client::{
    Address, Client, Hub, HubName, Pattern, Progress, Pulled, Source, run as transfer,
};
use mdl_formats::digest::DigestCache;
use mdl_store::{
    Reference,
    layout::{Ingest, Layout},
};
use serde::Serialize;

use super::{local, pack, reach, trust::Gate};
use crate::{
    args::Pull, failure::Failure, printer::Printer, settings::Settings, table::Table, units::Size,
};

/// The shape of `--json`.
#[derive(Debug, Serialize)]
struct Report {
    version: u32,
    reference: String,
    /// Of the package; none of a hub's files in a folder, which are no package.
    digest: Option<String>,
    /// The folder that holds the files, where they were asked for.
    folder: Option<String>,
    files: Vec<String>,
    bytes: u64,
    fetched: u64,
    fetched_bytes: u64,
    kept: u64,
    referrers: u64,
    /// Whether a trust policy let it in; without one nothing was verified.
    verified: bool,
    /// Who vouches for it.
    signers: Vec<Signer>,
    /// Where it came from, of a model from a hub.
    source: Option<String>,
    revision: Option<String>,
    license: Option<String>,
}

pub(crate) fn run(args: &Pull, settings: &Settings, printer: Printer) -> Result<(), Failure> {
    let report = if let Some(name) = args.reference.strip_prefix("hf://") {
        from_hub(args, &name.parse()?, settings, printer)?
    } else if let Some(name) = args.reference.strip_prefix("ollama://") {
        from_registry(args, &ollama_address(name)?, true, settings, printer)?
    } else {
        let address = reach::address(&local::parse(&args.reference, settings)?)?;
        from_registry(args, &address, false, settings, printer)?
    };
    if args.json { printer.json(&report) } else { printer.line(text(&report)) }
}

fn include(args: &Pull) -> Vec<Pattern> {
    args.include.iter().map(|text| Pattern::new(text)).collect()
}

/// `[host/]NAME[:TAG]` as Ollama's users write it: a name alone is of `library`, and is in lower case.
fn ollama_address(text: &str) -> Result<Address, Failure> {
    let reference: mdl_artifact::ModelRef = text.to_lowercase().parse()?;
    let reference = reference.or_latest();
    let host = reference.host.clone().unwrap_or_else(|| "registry.ollama.ai".to_owned());
    let name = if reference.name.as_str().contains('/') {
        reference.name.clone()
    } else {
        format!("library/{}", reference.name).parse()?
    };
    // A tag keeps its case.
    let tag = text.rsplit_once(':').map(|(_, tag)| tag).filter(|tag| !tag.contains('/'));
    let tag: Reference = match (tag, reference.reference) {
        (Some(tag), _) => tag.parse()?,
        (None, Some(reference)) => reference,
        (None, None) => "latest".parse()?,
    };
    Ok(Address { host, name, reference: tag })
}

fn from_registry(
    args: &Pull,
    address: &Address,
    ollama: bool,
    settings: &Settings,
    printer: Printer,
) -> Result<Report, Failure> {
    if args.to.is_none() && !args.include.is_empty() {
        return Err(Failure::new("a package comes into the local store whole")
            .hint("give --to DIR to choose files with --include")
            .status(Failure::USAGE));
    }
    let gate = Gate::open(&args.trust, settings)?;
    let (client, shown) = reach::transfers(&args.reach, settings, printer)?;
    let name = address.to_string();
    let key = matches!(address.reference, Reference::Tag(_)).then_some(name.as_str());
    let evidence = match (gate.policy(), ollama) {
        (Some(_), true) => Some(transfer(&*shown, client.ollama_evidence(address))?),
        (Some(_), false) => Some(transfer(&*shown, client.evidence(address))?),
        // For the signature that is to lie beside the files.
        (None, false) if args.to.is_some() => {
            Some(transfer(&*shown, client.evidence_if_any(address))?)
        }
        (None, _) => None,
    };
    let verdict = match &evidence {
        Some(evidence) => gate.admit(evidence, &name, key, printer)?,
        None => {
            gate.note_unverified(&name, printer);
            None
        }
    };
    let judged = evidence.as_ref().map(|evidence| &evidence.manifest.digest);
    let source = Source { at: address, ollama, judged };
    let fetched = fetched(args, &client, &*shown, source, settings);
    shown.finish();
    let pulled = fetched?;
    gate.keep(verdict.as_ref(), key, &pulled.manifest.digest)?;
    if let (Some(evidence), Some(folder)) = (&evidence, &args.to) {
        leave_signature(evidence, &gate, folder, args.force, printer)?;
    }
    let mut report = report(name, pulled, args.to.as_deref());
    report.verified = verdict.is_some();
    report.signers = verdict.map(|verdict| verdict.signers).unwrap_or_default();
    Ok(report)
}

/// Fetches a package to where it was asked for.
fn fetched(
    args: &Pull,
    client: &Client,
    progress: &dyn Progress,
    source: Source<'_>,
    settings: &Settings,
) -> Result<Pulled, Failure> {
    if let Some(folder) = args.to.as_deref().filter(|_| !args.link) {
        let include = include(args);
        return Ok(transfer(progress, client.pull_to(source, &include, folder, args.force))?);
    }
    let layout = Arc::new(local::open(settings)?);
    let pulled = transfer(progress, client.pull(source, &layout, &source.at.to_string()))?;
    if let Some(folder) = &args.to {
        linked(&layout, &pulled, folder)?;
    }
    Ok(pulled)
}

/// Leaves the signature over a package's files beside them, for `mdl verify` and `model_signing`.
fn leave_signature(
    evidence: &Evidence,
    gate: &Gate,
    folder: &Path,
    replace: bool,
    printer: Printer,
) -> Result<(), Failure> {
    if evidence.package.files.iter().any(|file| file.name == SIGNATURE_FILE) {
        return Ok(());
    }
    let Some(bundle) = evidence.model_signature(gate.policy()) else { return Ok(()) };
    let path = folder.join(SIGNATURE_FILE);
    match fs::symlink_metadata(&path) {
        Ok(_) if fs::read(&path).is_ok_and(|there| there == bundle.bytes()) => Ok(()),
        Ok(_) if !replace => {
            printer.warn(format!("{} is another signature, and is left as it is", path.display()));
            Ok(())
        }
        _ => super::sign::write(&path, bundle.bytes()),
    }
}

/// Lays the files of a package in the local store into a folder, as read-only links.
fn linked(layout: &Layout, pulled: &Pulled, folder: &Path) -> Result<(), Failure> {
    let package = local::package(layout, &pulled.manifest)?;
    if let Some(problem) = package.problems.first() {
        return Err(Failure::new(format!("the package cannot be laid out as files: {problem}")));
    }
    for file in package.files.iter().filter(|file| !file.archive) {
        let path = folder.join(&file.name);
        if path.symlink_metadata().is_ok() {
            return Err(Failure::new(format!("{} is there already", path.display()))
                .hint("links replace nothing; choose another folder"));
        }
    }
    for file in package.files.iter().filter(|file| !file.archive) {
        let path = folder.join(&file.name);
        if let Some(parent) = path.parent() {
            let failed = |error| Failure::new(format!("{}: {error}", parent.display()));
            fs::create_dir_all(parent).map_err(failed)?;
        }
        layout.export(&file.descriptor.digest, &path, Ingest::Link)?;
    }
    Ok(())
}

fn report(reference: String, pulled: Pulled, folder: Option<&Path>) -> Report {
    Report {
        version: 1,
        reference,
        digest: Some(pulled.manifest.digest.to_string()),
        folder: folder.map(|folder| folder.display().to_string()),
        files: pulled.files,
        bytes: pulled.bytes,
        fetched: pulled.fetched,
        fetched_bytes: pulled.fetched_bytes,
        kept: pulled.kept,
        referrers: pulled.referrers,
        verified: false,
        signers: Vec::new(),
        source: None,
        revision: None,
        license: None,
    }
}

/// Files of a hub go into the folder that was named, else by way of a folder of ours into the local store.
fn from_hub(
    args: &Pull,
    name: &HubName,
    settings: &Settings,
    printer: Printer,
) -> Result<Report, Failure> {
    Gate::open(&args.trust, settings)?.admit_unsigned(&args.reference, &name.id, printer)?;
    let (client, shown) = reach::transfers(&args.reach, settings, printer)?;
    let folder = match &args.to {
        Some(folder) => folder.clone(),
        None => staging(name, settings)?,
    };
    let (hub, include) = (Hub::from_variables(), include(args));
    let replace = args.force || args.to.is_none();
    let pulled = transfer(&*shown, client.pull_hub_to(&hub, name, &include, &folder, replace));
    shown.finish();
    let pulled = pulled?;
    let from = Provenance {
        source: pulled.origin.repository.clone(),
        revision: Some(pulled.origin.commit.clone()),
        license: pulled.origin.license.clone(),
    };
    if let Some(home) = &settings.home {
        Origins::open(home).keep(&pulled.digests, &from)?;
    }
    let digest = match &args.to {
        Some(_) => None,
        None => Some(taken_in(name, &folder, from.clone(), settings, printer)?),
    };
    Ok(Report {
        version: 1,
        reference: name.to_string(),
        digest,
        folder: args.to.as_ref().map(|folder| folder.display().to_string()),
        fetched: pulled.files.len() as u64 - pulled.kept,
        fetched_bytes: pulled.fetched_bytes,
        files: pulled.files,
        bytes: pulled.bytes,
        kept: pulled.kept,
        referrers: 0,
        verified: false,
        signers: Vec::new(),
        source: Some(from.source),
        revision: from.revision,
        license: from.license,
    })
}

/// Where the files of a hub's model gather on their way into the local store.
fn staging(name: &HubName, settings: &Settings) -> Result<PathBuf, Failure> {
    let home = settings.home.as_deref().ok_or_else(|| {
        Failure::new("there is no folder for the local store: HOME is not set")
            .hint("name one with --home or MDL_HOME, or give --to DIR")
    })?;
    let key = mdl_store::Digest::of(name.to_string().as_bytes());
    let short: String = key.hex().chars().take(16).collect();
    Ok(home.join("transfers").join(format!("hub-{short}")))
}

/// Packs the files of a hub's model into the local store. Gives the digest of the package.
fn taken_in(
    name: &HubName,
    folder: &Path,
    from: Provenance,
    settings: &Settings,
    printer: Printer,
) -> Result<String, Failure> {
    let mut plan = Plan::of(folder, &Limits::default())?;
    let mut cache = DigestCache::open(settings.home.as_deref());
    let digests = pack::hashed(&plan, &mut cache, printer)?;
    plan.provenance = Some(from);
    let packed = plan.finish(&digests, None)?;
    let layout = local::open(settings)?;
    for file in &plan.files {
        layout.put_file(&file.path, digests.get(&file.name).cloned(), Ingest::Copy)?;
    }
    pack::publish(&layout, &packed, &local::name(&hub_key(name), settings)?)?;
    // It is all in the store now.
    let _ = fs::remove_dir_all(folder);
    Ok(packed.manifest.digest.to_string())
}

/// What the local store calls a model of a hub.
fn hub_key(name: &HubName) -> String {
    let sound = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
    let tag: String = name.revision.chars().map(sound).take(128).collect();
    format!("{}:{}", name.id.to_lowercase(), tag.trim_start_matches(['.', '-']))
}

fn text(report: &Report) -> String {
    let mut lines = vec![
        format!("pulled      {}", report.reference),
        format!(
            "size        {}: {} fetched ({}), {} there already",
            Size(report.bytes),
            report.fetched,
            Size(report.fetched_bytes),
            report.kept
        ),
    ];
    if let Some(digest) = &report.digest {
        lines.insert(1, format!("digest      {digest}"));
    }
    if report.referrers > 0 {
        lines.push(format!("referrers   {}", report.referrers));
    }
    for signer in &report.signers {
        let at = signer.signed.as_ref().map(|at| format!(" at {at}")).unwrap_or_default();
        lines.push(format!("signed by   {}, over its {}{at}", signer.key, signer.over));
    }
    if let (Some(source), Some(revision)) = (&report.source, &report.revision) {
        lines.push(format!("from        {source} at {revision}"));
    }
    if let Some(license) = &report.license {
        lines.push(format!("licence     {license}"));
    }
    let Some(folder) = &report.folder else { return lines.join("\n") };
    lines.push(format!("folder      {folder}"));
    let mut table = Table::new(&["file"]);
    for file in &report.files {
        table.row(vec![file.clone()]);
    }
    format!("{}\n\n{}", lines.join("\n"), table.text())
}
