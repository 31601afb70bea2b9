//! `mdl prune`: what no reference leads to leaves the local store.

use serde::Serialize;

use super::local;
use crate::{args::Prune, failure::Failure, printer::Printer, settings::Settings, units::Size};

/// The shape of `--json`.
#[derive(Debug, Serialize)]
struct Report {
    version: u32,
    dry_run: bool,
    blobs: u64,
    bytes: u64,
    problems: Vec<String>,
}

pub(crate) fn run(args: &Prune, settings: &Settings, printer: Printer) -> Result<(), Failure> {
    let found = local::open(settings)?.prune(args.dry_run)?;
    let (blobs, bytes) = (found.bad_blobs, found.bad_bytes);
    if args.json {
        let dry_run = args.dry_run;
        let problems = found.problems.clone();
        printer.json(&Report { version: 1, dry_run, blobs, bytes, problems })?;
    }
    for problem in &found.problems {
        printer.warn(problem);
    }
    if !found.problems.is_empty() {
        return Err(Failure::new("nothing is deleted: what that leads to cannot be known")
            .hint("pull or pack it again, or `mdl remove` what names it"));
    }
    if args.json {
        return Ok(());
    }
    let verb = if args.dry_run { "would delete" } else { "deleted" };
    let blobs = if blobs == 1 { "1 blob".to_owned() } else { format!("{blobs} blobs") };
    printer.line(format!("{verb} {blobs}, {}", Size(bytes)))
}
