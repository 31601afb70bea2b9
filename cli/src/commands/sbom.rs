//! `mdl sbom`: the bill of materials of a model.

use mdl_artifact::{
    attest::Material,
    media,
    pack::{ReferrerPackage, referrer},
    signing::{self, Bundle},
    trust::Attestation,
};

use super::{
    attach, attest, secret,
    sign::{now, write},
};
use crate::{args::Sbom, failure::Failure, printer::Printer, settings::Settings};

pub(crate) fn run(args: &Sbom, settings: &Settings, printer: Printer) -> Result<(), Failure> {
    let attaches = args.attach || args.key.is_some();
    let target = if attaches {
        Some(attach::find(&args.model, &args.reach, settings, printer)?)
    } else {
        None
    };
    let material = match &target {
        Some(target) => target.material()?,
        None => attest::material(&args.model, false, &args.reach, settings, printer)?,
    };
    let text = serde_json::to_string_pretty(&material.bom())
        .map_err(|error| Failure::new(format!("cannot write JSON: {error}")))?;
    match &args.out {
        Some(path) => write(path, format!("{text}\n").as_bytes())?,
        None if attaches => {}
        None => return printer.line(text),
    }
    let Some(target) = target else { return Ok(()) };
    let mut referrers =
        vec![referrer(media::CYCLONEDX, "bom.cdx.json", text.as_bytes(), &material.manifest)];
    if let Some(path) = &args.key {
        referrers.extend(signed(&material, path)?);
    }
    let places = target.put(&referrers)?;
    printer.line(format!("attached    {}\nwhere       {}", target.reference, places.join(", ")))
}

/// The same as an attestation.
fn signed(material: &Material, key: &std::path::Path) -> Result<Option<ReferrerPackage>, Failure> {
    let key = secret::signing_key(key)?;
    let Some(statement) = material.statement(Attestation::Bom, None) else { return Ok(None) };
    let bundle = Bundle::sign(&statement, &key)?;
    Ok(Some(signing::referrer(&bundle, &statement, &material.manifest, Some(&now()))))
}
