//! `mdl copy`: a package goes from one registry to another.

use mdl_client::run as transfer;
use serde::Serialize;

use super::{local, reach};
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
    let copied = transfer(&*shown, client.copy(&from, &to));
    shown.finish();
    let (manifest, pushed) = copied?;
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
