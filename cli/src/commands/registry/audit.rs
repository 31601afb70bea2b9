//! `mdl registry audit`: whether the log of who did what is whole, and how far it is.

use std::path::Path;

use mdl_server::audit::{self, Fault, Head, Report, Verdict};
use serde::Serialize;

use super::root;
use crate::{
    args::{Audit, AuditCommand, AuditHead, AuditVerify},
    failure::Failure,
    printer::Printer,
    settings::Settings,
};

pub(super) fn run(args: &Audit, settings: &Settings, printer: Printer) -> Result<(), Failure> {
    match &args.command {
        AuditCommand::Verify(args) => verify(args, settings, printer),
        AuditCommand::Head(args) => head(args, settings, printer),
    }
}

/// The shape of `verify --json`.
#[derive(Debug, Serialize)]
struct Verified<'a> {
    version: u32,
    holds: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    chain: Option<Chain<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<Broken>,
}

#[derive(Debug, Serialize)]
struct Chain<'a> {
    lines: u64,
    begins: u64,
    from: &'a str,
    to: &'a str,
    head: &'a Head,
}

#[derive(Debug, Serialize)]
struct Broken {
    file: String,
    line: u64,
    what: String,
}

fn verify(args: &AuditVerify, settings: &Settings, printer: Printer) -> Result<(), Failure> {
    let folder = root(args.root.root.as_deref(), settings);
    // Files that are named need no folder.
    let folder = if args.files.is_empty() { Some(folder?) } else { folder.ok() };
    let exported = args.head.as_deref().map(Head::read).transpose()?;
    let verdict = audit::verify(folder.as_deref(), &args.files, exported.as_ref())?;
    match verdict {
        Verdict::Holds(report) => holds(&report, args.root.json, printer),
        Verdict::Broken(fault) => broken(&fault, args.root.json, printer),
        Verdict::Empty => Err(nothing(folder.as_deref())),
    }
}

fn nothing(folder: Option<&Path>) -> Failure {
    let place = folder.unwrap_or(Path::new("")).display();
    Failure::new(format!("there is nothing in the audit log of the registry in {place}"))
        .hint("it is kept from the first account on, or where the configuration has `[audit]`")
}

fn holds(report: &Report, json: bool, printer: Printer) -> Result<(), Failure> {
    let Report { lines, begins, from, to, head, torn } = report;
    if json {
        let chain = Some(Chain { lines: *lines, begins: *begins, from, to, head });
        return printer.json(&Verified { version: 1, holds: true, chain, fault: None });
    }
    printer.line(format!("lines  {lines}, from {from} to {to}"))?;
    printer.line(format!("head   {} {}", head.seq, head.sha256))?;
    if *begins > 1 {
        printer.note(format!("it begins with number {begins}: what came before was not looked at"));
    }
    if *torn > 0 {
        printer.note(format!(
            "{torn} bytes after it are no whole line: a crash left them, and the next line will say so"
        ));
    }
    printer.line("the chain holds")
}

fn broken(fault: &Fault, json: bool, printer: Printer) -> Result<(), Failure> {
    let Fault { file, line, what } = fault;
    if json {
        let fault = Broken { file: file.display().to_string(), line: *line, what: what.clone() };
        printer.json(&Verified { version: 1, holds: false, chain: None, fault: Some(fault) })?;
    }
    Err(Failure::new(format!("{}, line {line}: {what}", file.display()))
        .hint("what stands before that line holds; compare the rest with a copy")
        .status(Failure::REFUSED))
}

/// The shape of `head --json`.
#[derive(Debug, Serialize)]
struct Shown {
    version: u32,
    seq: u64,
    sha256: String,
}

fn head(args: &AuditHead, settings: &Settings, printer: Printer) -> Result<(), Failure> {
    let folder = root(args.root.root.as_deref(), settings)?;
    let Some(head) = audit::head(&folder)? else { return Err(nothing(Some(&folder))) };
    if let Some(out) = &args.out {
        head.write(out)?;
    }
    let Head { seq, sha256 } = head;
    if args.root.json {
        return printer.json(&Shown { version: 1, seq, sha256 });
    }
    printer.line(format!("seq     {seq}\nsha256  {sha256}"))
}
