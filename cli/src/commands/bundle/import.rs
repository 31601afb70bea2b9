//! `mdl bundle import`.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use mdl_artifact::{
    ModelRef, Package,
    bundle::{Import, Media, Named, Receipt, Received},
    signing::SIGNATURE_FILE,
    trust::{Evidence, Policy, Verdict},
};
use mdl_client::{Address, run as transfer};
use mdl_store::{
    Digest, Name, Reference,
    layout::{Ingest, Layout},
};
use serde::Serialize;

use super::numbers;
use crate::{
    args::BundleImport,
    commands::{
        local, reach, secret,
        sign::{now, write},
        trust::Gate,
    },
    failure::Failure,
    printer::Printer,
    progress::{Hashing, stop_on_interrupt},
    settings::Settings,
    units::Size,
};

/// Where models go.
enum Place {
    Store,
    Folder(PathBuf),
    Registry { host: String, prefix: Option<Name> },
}

/// The shape of `--json`.
#[derive(Debug, Serialize)]
struct Report {
    version: u32,
    /// Of the bundle's index.
    digest: String,
    /// Whether all is there; else volumes are awaited, and nothing is visible yet.
    complete: bool,
    awaited: Vec<u32>,
    copied: u64,
    to: String,
    models: Vec<Received>,
    receipt: Option<String>,
}

/// A model, what it is to be called, and what the policy says.
struct Admitted {
    named: Named,
    name: Name,
    evidence: Evidence,
    verdict: Option<Verdict>,
}

impl Admitted {
    fn label(&self, place: &Place) -> String {
        let host = match place {
            Place::Registry { host, .. } => Some(host.clone()),
            _ => None,
        };
        let tag = self.named.tag.clone().map(Reference::Tag);
        let reference = tag.unwrap_or(Reference::Digest(self.named.manifest.digest.clone()));
        ModelRef { host, name: self.name.clone(), reference: Some(reference) }.to_string()
    }
}

pub(super) fn run(
    args: &BundleImport,
    settings: &Settings,
    printer: Printer,
) -> Result<(), Failure> {
    stop_on_interrupt()?;
    let gate = Gate::open(&args.trust, settings)?;
    let place = place(args.to.as_deref())?;
    // A passphrase is asked for before an hour of copying, not after it.
    let key = args.key.as_deref().map(secret::signing_key).transpose()?;
    let media = Media::open(&args.folder)?;
    note_signature(&media, &gate, printer);
    let store = local::open(settings)?;
    let staging = staging(&media, settings)?;
    let (layout, also) = match &place {
        Place::Store => (&store, None),
        Place::Folder(_) | Place::Registry { .. } => (&Layout::open(&staging)?, Some(&store)),
    };
    let import = Import::open(&media, layout, also)?;
    let admitted = admit(&import, &place, &gate, printer)?;
    let progress = Hashing::named(printer, "copying");
    let copied = import.copy(&progress);
    progress.finish();
    let copied = copied?;
    let absent = absent(&media, &copied.absent, &place)?;
    let mut report = Report {
        version: 1,
        digest: media.digest.to_string(),
        complete: copied.awaited.is_empty(),
        awaited: copied.awaited.iter().copied().collect(),
        copied: copied.copied,
        to: shown(&place),
        models: Vec::new(),
        receipt: None,
    };
    if !report.complete {
        if args.json {
            printer.json(&report)?;
        }
        let awaited = numbers(report.awaited.iter().copied());
        return Err(Failure::new(format!("volumes are still to come: {awaited}")).hint(
            "run the same command with each of them; nothing is visible before all is there",
        ));
    }
    publish(&import, layout, &admitted, &absent, &place, args, settings, printer)?;
    for model in &admitted {
        let label = model.label(&place);
        let tag = model.named.tag.as_ref().map(|_| label.as_str());
        gate.keep(model.verdict.as_ref(), tag, &model.named.manifest.digest)?;
    }
    report.models = admitted.iter().map(|model| received(model, &place)).collect();
    report.receipt = Some(receipt(&report, &media, key.as_ref(), args, settings)?);
    if staging.exists() {
        // All of it is where it was to go.
        let _ = fs::remove_dir_all(&staging);
    }
    if args.json { printer.json(&report) } else { printer.line(text(&report)) }
}

fn place(to: Option<&str>) -> Result<Place, Failure> {
    let Some(text) = to else { return Ok(Place::Store) };
    if text.starts_with(['.', '/', '~']) {
        return Ok(Place::Folder(crate::model_argument::expand_home(text)));
    }
    let neither = || {
        Failure::new(format!("`{text}` is neither a registry nor a folder"))
            .hint("write HOST[:PORT][/PREFIX], or a folder with ./ or /")
            .status(Failure::USAGE)
    };
    let (host, prefix) = match text.split_once('/') {
        Some((host, prefix)) => {
            let prefix = prefix.trim_end_matches('/');
            (host, Some(prefix.parse().map_err(|_| neither())?))
        }
        None => (text, None),
    };
    // It is read as the host of a reference would be.
    let probe: ModelRef = format!("{host}/x").parse().map_err(|_| neither())?;
    Ok(Place::Registry { host: probe.host.ok_or_else(neither)?, prefix })
}

fn shown(place: &Place) -> String {
    match place {
        Place::Store => "the local store".to_owned(),
        Place::Folder(path) => path.display().to_string(),
        Place::Registry { host, prefix: None } => host.clone(),
        Place::Registry { host, prefix: Some(prefix) } => format!("{host}/{prefix}"),
    }
}

/// Where blobs gather on their way elsewhere than the local store.
fn staging(media: &Media, settings: &Settings) -> Result<PathBuf, Failure> {
    let home = settings.home.as_deref().ok_or_else(|| {
        Failure::new("there is no folder to gather blobs in: HOME is not set")
            .hint("name one with --home or MDL_HOME")
    })?;
    let short: String = media.digest.hex().chars().take(16).collect();
    Ok(home.join("imports").join(short))
}

/// Says what is known of the index's signature. It only proposes names, so that it stops nothing.
fn note_signature(media: &Media, gate: &Gate, printer: Printer) {
    let signers = gate.policy().map(Policy::signers).unwrap_or_default();
    match media.signed_by(signers.iter().map(|(named, _)| &named.key)) {
        Some(key) => printer.note(format!("the bundle's index is signed by {}", key.short())),
        None if media.is_signed() => {
            printer.note("the bundle's index is signed by nobody who is known here");
        }
        None => {}
    }
}

/// What the policy says of every model, under the name that it is to have; one that is refused stops all.
fn admit(
    import: &Import<'_>,
    place: &Place,
    gate: &Gate,
    printer: Printer,
) -> Result<Vec<Admitted>, Failure> {
    let mut admitted = Vec::new();
    for (at, named) in import.models().enumerate() {
        let name = match place {
            Place::Registry { prefix: Some(prefix), .. } => {
                format!("{prefix}/{}", named.repository).parse()?
            }
            _ => named.repository.clone(),
        };
        let evidence = import.evidence(at, name.clone(), named.tag.clone())?;
        let mut model = Admitted { named: named.clone(), name, evidence, verdict: None };
        let label = model.label(place);
        let key = model.named.tag.as_ref().map(|_| label.as_str());
        model.verdict = gate.admit(&model.evidence, &label, key, printer)?;
        admitted.push(model);
    }
    Ok(admitted)
}

/// Blobs that the bundle leaves out: the registry must have them.
fn absent(
    media: &Media,
    absent: &BTreeMap<Digest, u64>,
    place: &Place,
) -> Result<BTreeMap<Digest, (u64, Vec<Name>)>, Failure> {
    let mut found = BTreeMap::new();
    for (digest, size) in absent {
        let at = media.index.absent.get(&digest.to_string()).cloned().unwrap_or_default();
        let at: Vec<Name> = at.iter().filter_map(|name| name.parse().ok()).collect();
        if at.is_empty() || !matches!(place, Place::Registry { .. }) {
            return Err(Failure::new(format!("{} lacks {digest}, which the bundle leaves out", shown(place)))
                .hint("the inventory that it was made with is of another place: make it again with `mdl bundle inventory` of this one, or without"));
        }
        found.insert(digest.clone(), (*size, at));
    }
    Ok(found)
}

#[expect(clippy::too_many_arguments, reason = "one call, of all that an import has at hand")]
fn publish(
    import: &Import<'_>,
    layout: &Layout,
    admitted: &[Admitted],
    absent: &BTreeMap<Digest, (u64, Vec<Name>)>,
    place: &Place,
    args: &BundleImport,
    settings: &Settings,
    printer: Printer,
) -> Result<(), Failure> {
    let keys: Vec<String> = admitted.iter().map(|model| model.label(place)).collect();
    import.publish(&keys)?;
    match place {
        Place::Store => Ok(()),
        Place::Folder(root) => admitted.iter().try_for_each(|model| laid_out(layout, model, root)),
        Place::Registry { host, .. } => {
            let (client, shown) = reach::transfers(&args.reach, settings, printer)?;
            for model in admitted {
                let tag = model.named.tag.clone().map(Reference::Tag);
                let manifest = &model.named.manifest;
                let reference = tag.unwrap_or(Reference::Digest(manifest.digest.clone()));
                let to = Address { host: host.clone(), name: model.name.clone(), reference };
                let pushed = transfer(&*shown, client.push_with(layout, manifest, &to, absent));
                if pushed.is_err() {
                    shown.finish();
                }
                pushed?;
            }
            shown.finish();
            Ok(())
        }
    }
}

/// Lays a model's files out below `ROOT/REPOSITORY/TAG`, by way of a folder beside it.
fn laid_out(layout: &Layout, model: &Admitted, root: &Path) -> Result<(), Failure> {
    let tag = match &model.named.tag {
        Some(tag) => tag.to_string(),
        None => model.named.manifest.digest.to_string().replace(':', "-"),
    };
    let to = root.join(model.name.as_str()).join(&tag);
    if to.symlink_metadata().is_ok() {
        return Err(Failure::new(format!("{} is there already", to.display()))
            .hint("nothing is replaced: choose another folder, or move it away"));
    }
    let package: Package = local::package(layout, &model.named.manifest)?;
    if let Some(problem) = package.problems.first() {
        return Err(Failure::new(format!(
            "{} cannot be laid out as files: {problem}",
            model.named.repository
        )));
    }
    let failed = |path: &Path| {
        let path = path.display().to_string();
        move |error: std::io::Error| Failure::new(format!("{path}: {error}"))
    };
    let partial = to.with_file_name(format!(".mdl-{tag}.partial"));
    let _ = fs::remove_dir_all(&partial);
    for file in package.files.iter().filter(|file| !file.archive) {
        let path = partial.join(&file.name);
        let folder = path.parent().unwrap_or(&partial);
        fs::create_dir_all(folder).map_err(failed(folder))?;
        layout.export(&file.descriptor.digest, &path, Ingest::Copy)?;
    }
    if let Some(bundle) = model.evidence.model_signature(None) {
        write(&partial.join(SIGNATURE_FILE), bundle.bytes())?;
    }
    fs::rename(&partial, &to).map_err(failed(&to))
}

fn received(model: &Admitted, place: &Place) -> Received {
    let signers = model.verdict.iter().flat_map(|it| &it.signers);
    let mut signers: Vec<String> = signers.map(|it| it.fingerprint.clone()).collect();
    signers.dedup();
    Received {
        name: model.label(place),
        digest: model.named.manifest.digest.to_string(),
        verified: model.verdict.is_some(),
        signers,
    }
}

/// Writes the receipt; gives its path.
fn receipt(
    report: &Report,
    media: &Media,
    key: Option<&mdl_artifact::keys::PrivateKey>,
    args: &BundleImport,
    settings: &Settings,
) -> Result<String, Failure> {
    let receipt = Receipt { imported: now(), to: report.to.clone(), models: report.models.clone() };
    let bytes = receipt.to_bytes(&media.digest, key)?;
    let path = match (&args.receipt, &settings.home) {
        (Some(path), _) => path.clone(),
        (None, Some(home)) => {
            let short: String = media.digest.hex().chars().take(16).collect();
            let folder = home.join("receipts");
            fs::create_dir_all(&folder)
                .map_err(|error| Failure::new(format!("{}: {error}", folder.display())))?;
            folder.join(format!("receipt-{short}.json"))
        }
        (None, None) => PathBuf::from("receipt.json"),
    };
    write(&path, &bytes)?;
    Ok(path.display().to_string())
}

fn text(report: &Report) -> String {
    let mut lines = vec![
        format!("imported    {}", report.digest),
        format!("to          {}", report.to),
        format!("copied      {}", Size(report.copied)),
    ];
    for model in &report.models {
        let word = if model.verified { "verified" } else { "not verified" };
        lines.push(format!("model       {} ({word})", model.name));
    }
    if let Some(receipt) = &report.receipt {
        lines.push(format!("receipt     {receipt}"));
    }
    lines.join("\n")
}
