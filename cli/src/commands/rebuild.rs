//! `mdl rebuild`: a quantized model is made again from its source, and compared.

use std::{
    fs,
    path::{Path, PathBuf},
};

use mdl_artifact::{
    ModelRef,
    attest::{Material, source_of},
    trust::{Attestation, Evidence},
};
use mdl_client::{Client, Hub, HubName, run as transfer};
use mdl_formats::{Checkpoint, Limits};
use mdl_quant::{Imatrix, Plan, Recipe, Request};
use mdl_store::{
    Digest,
    layout::{Ingest, Layout},
};
use serde::Serialize;

use super::{attest, local, reach, write};
use crate::{
    args::Rebuild,
    failure::Failure,
    model_argument::{self, Argument},
    printer::Printer,
    settings::Settings,
};

/// The shape of `--json`.
#[derive(Debug, Serialize)]
struct Report {
    version: u32,
    model: String,
    /// The file that was to be made again.
    file: String,
    expected: String,
    found: String,
    same: bool,
    source: String,
    /// The version that made it, and this one.
    made_by: String,
    rebuilt_by: &'static str,
}

pub(crate) fn run(args: &Rebuild, settings: &Settings, printer: Printer) -> Result<(), Failure> {
    let material = attest::material(&args.model, args.local, &args.reach, settings, printer)?;
    let ggufs = material.package.ggufs();
    let (Some(text), [file]) = (&material.recipe, &ggufs[..]) else {
        return Err(Failure::new(format!(
            "{} has no recipe that one GGUF file was made by",
            args.model
        ))
        .hint("models that `mdl quantize` made carry one, as a referrer of their package"));
    };
    let what = format!("the recipe of {}", args.model);
    let recipe = Recipe::parse(Path::new(&what), text)?;
    let ours = env!("CARGO_PKG_VERSION");
    if recipe.mdl != ours {
        printer.warn(format!("it was made by mdl {}, and this is {ours}", recipe.mdl));
    }
    let work = Work::new(&material, settings)?;
    let source = source(args, &material, &recipe, &work, settings, printer)?;
    let built = build(args, &source, &recipe, &work, settings, printer)?;
    let expected = file.descriptor.digest.hex().to_owned();
    let report = Report {
        version: 1,
        model: args.model.clone(),
        file: file.name.clone(),
        same: built == expected,
        expected,
        found: built,
        source: source.display().to_string(),
        made_by: recipe.mdl.clone(),
        rebuilt_by: ours,
    };
    if let Some(keep) = &args.keep {
        let from = work.0.join("rebuilt.gguf");
        fs::rename(&from, keep)
            .or_else(|_| fs::copy(&from, keep).map(|_| ()))
            .map_err(|error| Failure::new(format!("{}: {error}", keep.display())))?;
    }
    work.done();
    if args.json {
        printer.json(&report)?;
    } else {
        printer.line(text_of(&report))?;
    }
    if report.same {
        return Ok(());
    }
    Err(Failure::new(format!("{} is not what its source and recipe make", args.model))
        .status(Failure::REFUSED))
}

/// The folder that the work is done in; it stays after an interruption, so that what was fetched is not fetched again.
struct Work(PathBuf);

impl Work {
    fn new(material: &Material, settings: &Settings) -> Result<Self, Failure> {
        let home = settings.home.as_deref().ok_or_else(|| {
            Failure::new("there is no folder to work in: HOME is not set")
                .hint("name one with --home or MDL_HOME")
        })?;
        let short: String = material.manifest.digest.hex().chars().take(16).collect();
        let path = home.join("rebuilds").join(short);
        fs::create_dir_all(&path)
            .map_err(|error| Failure::new(format!("{}: {error}", path.display())))?;
        Ok(Self(path))
    }

    fn done(self) {
        // It can be made again at any time.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What the model was made from, as files.
fn source(
    args: &Rebuild,
    material: &Material,
    recipe: &Recipe,
    work: &Work,
    settings: &Settings,
    printer: Printer,
) -> Result<PathBuf, Failure> {
    let folder = work.0.join("source");
    if let Some(text) = &args.source {
        return named(text, &folder, args, settings, printer);
    }
    if let Some(path) = stored(recipe, &folder, settings)? {
        return Ok(path);
    }
    let evidence = evidence(args, material, settings, printer)?;
    let provenance = evidence.bundles.iter().map(mdl_artifact::signing::Bundle::unverified);
    // Whoever says where it lies need not be trusted: the recipe has the digests of what is fetched.
    let uri = provenance
        .filter(|it| it.predicate_type == Attestation::Provenance.predicate_type())
        .find_map(source_of);
    match uri.as_deref().and_then(hub_name) {
        Some(name) => named(&name, &folder, args, settings, printer),
        None => Err(Failure::new(format!("where the source of {} lies is not known", args.model))
            .hint(
                "name it with --source: a file or folder, a reference, or hf://ORG/NAME@REVISION",
            )),
    }
}

fn evidence(
    args: &Rebuild,
    material: &Material,
    settings: &Settings,
    printer: Printer,
) -> Result<Evidence, Failure> {
    let reference: ModelRef = local::parse(&args.model, settings)?.or_latest();
    if args.local || reference.host.is_none() {
        let layout = local::open(settings)?;
        return Ok(Evidence::of_layout(&layout, &material.manifest, reference.name, None)?);
    }
    let (client, watch) = reach::client(&args.reach, settings, printer)?;
    Ok(transfer(&*watch, client.evidence(&reach::address(&reference)?))?)
}

/// `hf://ORG/NAME@COMMIT` for a hub's address of that repository and commit.
fn hub_name(uri: &str) -> Option<String> {
    let (page, commit) = uri.rsplit_once('@')?;
    let mut parts = page.rsplit('/');
    let (name, org) = (parts.next()?, parts.next()?);
    Some(format!("hf://{org}/{name}@{commit}"))
}

/// A source that somebody named: as it lies, or fetched into a folder.
fn named(
    text: &str,
    folder: &Path,
    args: &Rebuild,
    settings: &Settings,
    printer: Printer,
) -> Result<PathBuf, Failure> {
    if let Some(name) = text.strip_prefix("hf://") {
        let name: HubName = name.parse()?;
        let (client, shown) = reach::transfers(&args.reach, settings, printer)?;
        let pulled =
            transfer(&*shown, client.pull_hub_to(&Hub::from_variables(), &name, &[], folder, true));
        shown.finish();
        pulled?;
        return Ok(folder.to_owned());
    }
    if let Argument::Path(path) = model_argument::read(text)? {
        return Ok(path);
    }
    let address = reach::address(&local::parse(text, settings)?)?;
    let (client, shown): (Client, _) = reach::transfers(&args.reach, settings, printer)?;
    let pulled = transfer(&*shown, client.pull_to((&address).into(), &[], folder, true));
    shown.finish();
    Ok(match &pulled?.files[..] {
        [one] => folder.join(one),
        _ => folder.to_owned(),
    })
}

/// The source out of the local store, where that has all files that the recipe names.
fn stored(recipe: &Recipe, folder: &Path, settings: &Settings) -> Result<Option<PathBuf>, Failure> {
    let layout: Layout = local::open(settings)?;
    let mut found = Vec::new();
    for source in &recipe.sources {
        let digest = Digest::sha256(&source.sha256)?;
        // A name is one of a file alone, without folders.
        if layout.has_blob(&digest)?.is_none() || mdl_artifact::safe_name(&source.name).is_err() {
            return Ok(None);
        }
        found.push((digest, source.name.clone()));
    }
    if found.is_empty() {
        return Ok(None);
    }
    let _ = fs::remove_dir_all(folder);
    for (digest, name) in &found {
        let path = folder.join(name);
        let parent = path.parent().unwrap_or(folder);
        fs::create_dir_all(parent)
            .map_err(|error| Failure::new(format!("{}: {error}", parent.display())))?;
        layout.export(digest, &path, Ingest::Copy)?;
    }
    Ok(Some(match &found[..] {
        [(_, one)] => folder.join(one),
        _ => folder.to_owned(),
    }))
}

/// Makes the model; gives SHA-256 of its file.
fn build(
    args: &Rebuild,
    source: &Path,
    recipe: &Recipe,
    work: &Work,
    settings: &Settings,
    printer: Printer,
) -> Result<String, Failure> {
    let limits = Limits::default();
    let checkpoint = Checkpoint::open(source, &limits)?;
    let imatrix = args.imatrix.as_deref().map(|path| Imatrix::open(path, &limits)).transpose()?;
    let request = Request {
        overrides: Vec::new(),
        imatrix: imatrix.as_ref(),
        strict: false,
        // It was decided when the recipe was made.
        allow_requantize: true,
    };
    let plan = Plan::from_recipe(&checkpoint, recipe, &request)?;
    let destination = work.0.join("rebuilt.gguf");
    let job = write::Job {
        checkpoint: &checkpoint,
        plan: &plan,
        recipe: Some(recipe),
        imatrix: imatrix.as_ref(),
        destination: &destination,
        split: None,
        force: true,
    };
    let files = write::run(&job, settings, printer)?;
    Ok(files.first().map(|file| file.sha256.clone()).unwrap_or_default())
}

fn text_of(report: &Report) -> String {
    format!(
        "model       {}\nfile        {}\nsource      {}\nexpected    sha256:{}\nrebuilt     sha256:{}\n\n{}",
        report.model,
        report.file,
        report.source,
        report.expected,
        report.found,
        if report.same { "the same" } else { "not the same" },
    )
}
