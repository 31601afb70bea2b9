//! `mdl bundle create`.

use std::sync::Arc;

use mdl_artifact::{
    ModelRef,
    bundle::{self, Inventory, Named, Request},
};
use mdl_client::run as transfer;
use mdl_store::layout::Layout;
use serde::Serialize;

use crate::{
    args::BundleCreate,
    commands::{local, reach, secret, sign::now},
    failure::Failure,
    printer::Printer,
    progress::{Hashing, stop_on_interrupt},
    settings::Settings,
    units::Size,
};

/// The shape of `--json`.
#[derive(Debug, Serialize)]
struct Report {
    version: u32,
    /// Of the index: what names the bundle.
    digest: String,
    volumes: Vec<String>,
    models: Vec<String>,
    blobs: u64,
    bytes: u64,
    /// Blobs that the site has.
    absent: u64,
    /// Models that nobody signed.
    unsigned: Vec<String>,
    /// Of the key that signed the index.
    signed_by: Option<String>,
}

pub(super) fn run(
    args: &BundleCreate,
    settings: &Settings,
    printer: Printer,
) -> Result<(), Failure> {
    let layout = Arc::new(local::open(settings)?);
    let inventory = args.inventory.as_deref().map(Inventory::read).transpose()?;
    let key = args.key.as_deref().map(secret::signing_key).transpose()?;
    let models = args.references.iter().map(|text| model(text, args, &layout, settings, printer));
    let models = models.collect::<Result<Vec<Named>, Failure>>()?;
    stop_on_interrupt()?;
    let signed = now();
    let request = Request {
        layout: &layout,
        models: &models,
        inventory: inventory.as_ref(),
        volume_size: args.volume_size.map(|size| size.0),
        file_size: args.file_size.0.max(1),
        key: key.as_ref().map(|key| (key, signed.as_str())),
    };
    let progress = Hashing::named(printer, "copying");
    let created = bundle::create(request, &args.out, &progress);
    progress.finish();
    let created = created?;
    for name in &created.unsigned {
        printer.warn(format!("{name} is signed by nobody; a site with a trust policy refuses it"));
    }
    let named = |it: &Named| match &it.tag {
        Some(tag) => format!("{}:{tag}", it.repository),
        None => format!("{}@{}", it.repository, it.manifest.digest),
    };
    let report = Report {
        version: 1,
        digest: created.digest.to_string(),
        volumes: created.volumes.iter().map(|path| path.display().to_string()).collect(),
        models: models.iter().map(named).collect(),
        blobs: created.blobs,
        bytes: created.bytes,
        absent: created.absent,
        unsigned: created.unsigned,
        signed_by: key.map(|key| key.public().fingerprint()),
    };
    if args.json { printer.json(&report) } else { printer.line(text(&report)) }
}

/// A model in the local store, fetched there if its registry has it.
fn model(
    text: &str,
    args: &BundleCreate,
    layout: &Arc<Layout>,
    settings: &Settings,
    printer: Printer,
) -> Result<Named, Failure> {
    let reference: ModelRef = local::parse(text, settings)?.or_latest();
    if reference.host.is_some() && !args.local {
        let address = reach::address(&reference)?;
        let (client, shown) = reach::transfers(&args.reach, settings, printer)?;
        let pulled =
            transfer(&*shown, client.pull((&address).into(), layout, &address.to_string()));
        shown.finish();
        pulled?;
    }
    let found = local::find(layout, text, settings)?;
    let tag = reference.tag().cloned();
    Ok(Named { repository: reference.name, tag, manifest: found.manifest })
}

fn text(report: &Report) -> String {
    let mut lines = vec![
        format!("bundle      {}", report.digest),
        format!("models      {}", report.models.join(", ")),
        format!("blobs       {} ({})", report.blobs, Size(report.bytes)),
    ];
    if report.absent > 0 {
        lines.push(format!("left out    {} that the site has", report.absent));
    }
    match &report.signed_by {
        Some(key) => lines.push(format!("signed by   {key}")),
        None => lines.push("signed by   nobody; the models' own signatures decide".to_owned()),
    }
    lines.extend(report.volumes.iter().map(|volume| format!("volume      {volume}")));
    lines.join("\n")
}
