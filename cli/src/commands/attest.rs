//! `mdl attest`: what can be said of a package is signed, and attached where the package is.

use mdl_artifact::{
    Limits, ModelRef, Origins,
    attest::Material,
    pack::Plan,
    signing::{self, Bundle},
    trust::Attestation,
};
use mdl_client::run as transfer;
use mdl_formats::digest::DigestCache;
use serde::Serialize;

use super::{attach, local, pack, reach, secret, sign::now};
use crate::{
    args::{Attest, Reach},
    failure::Failure,
    model_argument::{self, Argument},
    printer::Printer,
    progress::stop_on_interrupt,
    settings::Settings,
};

/// The shape of `--json`.
#[derive(Debug, Serialize)]
struct Report {
    version: u32,
    model: String,
    digest: String,
    key: String,
    attestations: Vec<Made>,
    /// Where they were put.
    places: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Made {
    kind: &'static str,
    predicate_type: &'static str,
    /// Of the referrer's manifest.
    digest: String,
}

pub(crate) fn run(args: &Attest, settings: &Settings, printer: Printer) -> Result<(), Failure> {
    let wanted = Attestation::ALL
        .into_iter()
        .filter(|kind| args.kind.is_empty() || args.kind.iter().any(|name| name == kind.name()));
    let target = attach::find(&args.model, &args.reach, settings, printer)?;
    let material = target.material()?;
    let key = secret::signing_key(&args.key.key)?;
    let origins = settings.home.as_deref().map(Origins::open);
    let signed = now();
    let (mut referrers, mut made) = (Vec::new(), Vec::new());
    for kind in wanted {
        let Some(statement) = material.statement(kind, origins.as_ref()) else {
            let why =
                "the package has neither a recipe, nor an evaluation or origin, to say it from";
            if args.kind.is_empty() {
                printer.note(format!("no {}: {why}", kind.name()));
                continue;
            }
            return Err(Failure::new(format!("nothing can be said for {}: {why}", kind.name()))
                .hint(
                    "pack a model that `mdl quantize` made, with `--report` of `mdl eval --json`",
                ));
        };
        let bundle = Bundle::sign(&statement, &key)?;
        let referrer = signing::referrer(&bundle, &statement, &material.manifest, Some(&signed));
        made.push(Made {
            kind: kind.name(),
            predicate_type: kind.predicate_type(),
            digest: referrer.manifest.digest.to_string(),
        });
        referrers.push(referrer);
    }
    let report = Report {
        version: 1,
        model: target.reference.to_string(),
        digest: material.manifest.digest.to_string(),
        key: key.public().fingerprint(),
        attestations: made,
        places: target.put(&referrers)?,
    };
    if args.json { printer.json(&report) } else { printer.line(text(&report)) }
}

fn text(report: &Report) -> String {
    let mut lines = vec![
        format!("attested    {}", report.model),
        format!("digest      {}", report.digest),
        format!("key         {}", report.key),
        format!("where       {}", report.places.join(", ")),
    ];
    for made in &report.attestations {
        lines.push(format!("{:<20} {}", made.kind, made.digest));
    }
    lines.join("\n")
}

/// What can be told of a model: a package on a registry or in the local store, or a file or folder as it would be packed.
pub(crate) fn material(
    model: &str,
    here: bool,
    reach_args: &Reach,
    settings: &Settings,
    printer: Printer,
) -> Result<Material, Failure> {
    if !here && let Argument::Path(path) = model_argument::read(model)? {
        stop_on_interrupt()?;
        let plan = Plan::of(&path, &Limits::default())?;
        let mut cache = DigestCache::open(settings.home.as_deref());
        let digests = pack::hashed(&plan, &mut cache, printer)?;
        let packed = plan.finish(&digests, None)?;
        let real = path.canonicalize().unwrap_or(path);
        let name = real.file_name().and_then(|name| name.to_str()).unwrap_or("model");
        return Ok(packed.material(name));
    }
    let reference: ModelRef = local::parse(model, settings)?.or_latest();
    if here || reference.host.is_none() {
        let layout = local::open(settings)?;
        let found = local::find(&layout, model, settings)?;
        let tag = reference.tag().map(ToString::to_string);
        let name = reference.name.as_str();
        return Ok(Material::of_layout(&layout, &found.manifest, name, tag)?);
    }
    let (client, watch) = reach::client(reach_args, settings, printer)?;
    Ok(transfer(&*watch, client.material(&reach::address(&reference)?))?)
}
