//! `mdl copy`: a package goes from one registry to another.

use mdl_client::run as transfer;
use mdl_store::Reference;
use serde::Serialize;

use super::{local, reach, trust::Gate};
use crate::{args::Copy, failure::Failure, printer::Printer, settings::Settings, units::Size};

/// The shape of `--json`.
#[derive(Debug, Serialize)]
struct Report {
    version: u32,
    source: String,
    reference: String,
    digest: String,
    sent: u64,
    sent_bytes: u64,
    mounted: u64,
    found: u64,
    referrers: u64,
}

pub(crate) fn run(args: &Copy, settings: &Settings, printer: Printer) -> Result<(), Failure> {
    let from = reach::address(&local::parse(&args.source, settings)?)?;
    let to = reach::address(&local::parse(&args.destination, settings)?)?;
    let (client, shown) = reach::transfers(&args.reach, settings, printer)?;
    let gate = Gate::open(&args.trust, settings)?;
    let name = to.to_string();
    let key = matches!(to.reference, Reference::Tag(_)).then_some(name.as_str());
    let (mut pinned, mut verdict) = (from.clone(), None);
    if gate.policy().is_some() {
        // It is judged as what it is to be called, and what was judged is copied.
        let mut evidence = transfer(&*shown, client.evidence(&from))?;
        evidence.repository = to.name.clone();
        evidence.tag = match &to.reference {
            Reference::Tag(tag) => Some(tag.clone()),
            Reference::Digest(_) => None,
        };
        pinned.reference = Reference::Digest(evidence.manifest.digest.clone());
        verdict = gate.admit(&evidence, &from.to_string(), key, printer)?;
    }
    gate.note_unverified(&from.to_string(), printer);
    let copied = transfer(&*shown, client.copy(&pinned, &to));
    shown.finish();
    let (manifest, pushed) = copied?;
    super::push::note(&pushed, printer);
    gate.keep(verdict.as_ref(), key, &manifest.digest)?;
    let report = Report {
        version: 1,
        source: from.to_string(),
        reference: to.to_string(),
        digest: manifest.digest.to_string(),
        sent: pushed.sent,
        sent_bytes: pushed.sent_bytes,
        mounted: pushed.mounted,
        found: pushed.found,
        referrers: pushed.referrers,
    };
    if args.json {
        return printer.json(&report);
    }
    let there = report.mounted + report.found;
    printer.line(format!(
        "copied      {}\nto          {}\ndigest      {}\nblobs       {} sent ({}), {there} there already\nreferrers   {}",
        report.source,
        report.reference,
        report.digest,
        report.sent,
        Size(report.sent_bytes),
        report.referrers,
    ))
}
