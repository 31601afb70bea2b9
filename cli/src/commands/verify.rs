//! `mdl verify`: who vouches for a package, or whether files are as they were signed.

use std::{fmt::Write as _, path::Path};

use mdl_artifact::{
    ModelRef,
    signing::{Bundle, FolderCheck, SignedFiles},
    trust::{Check, Evidence, Policy, Rule, Signer, Verdict},
};
use mdl_client::run as transfer;
use serde::Serialize;

use super::{local, reach, sign::beside, trust::Gate};
use crate::{
    args::Verify,
    failure::Failure,
    model_argument::{self, Argument},
    printer::Printer,
    progress::{Hashing, stop_on_interrupt},
    settings::Settings,
    table::Table,
    units::Size,
};

pub(crate) fn run(args: &Verify, settings: &Settings, printer: Printer) -> Result<(), Failure> {
    let gate = if args.key.is_empty() {
        Gate::open(&args.trust, settings)?
    } else {
        Gate::of_keys(&args.key)?
    };
    let Some(policy) = gate.policy() else {
        return Err(Failure::new("there is nothing to verify against")
            .hint(
                "give --key FILE, or write a trust policy: trust.toml in MDL_HOME, or --trust FILE",
            )
            .status(Failure::USAGE));
    };
    match model_argument::read(&args.model)? {
        Argument::Path(path) if !args.local => files(args, &path, policy, printer),
        _ => package(args, &gate, settings, printer),
    }
}

/// The shape of `--json` for a package.
#[derive(Debug, Serialize)]
struct PackageReport {
    version: u32,
    reference: String,
    digest: String,
    trusted: bool,
    checks: Vec<Check>,
    signers: Vec<Signer>,
    /// Signatures that do not count, and why.
    ignored: Vec<String>,
}

fn package(
    args: &Verify,
    gate: &Gate,
    settings: &Settings,
    printer: Printer,
) -> Result<(), Failure> {
    let reference = local::parse(&args.model, settings)?.or_latest();
    let evidence = evidence(args, &reference, settings, printer)?;
    let name = reference.to_string();
    let key = reference.tag().map(|_| name.as_str());
    let Some(verdict) = gate.judge(&evidence, key)? else {
        return Err(Failure::new("there is no trust policy").status(Failure::USAGE));
    };
    let Verdict { checks, signers, ignored, .. } = &verdict;
    let report = PackageReport {
        version: 1,
        reference: name.clone(),
        digest: evidence.manifest.digest.to_string(),
        trusted: verdict.trusted(),
        checks: checks.clone(),
        signers: signers.clone(),
        ignored: ignored.clone(),
    };
    if args.json {
        printer.json(&report)?;
    } else {
        printer.line(package_text(&report))?;
    }
    if report.trusted {
        return Ok(());
    }
    Err(Failure::new(format!("{name} is not trusted")).status(Failure::REFUSED))
}

fn evidence(
    args: &Verify,
    reference: &ModelRef,
    settings: &Settings,
    printer: Printer,
) -> Result<Evidence, Failure> {
    if args.local || reference.host.is_none() {
        let layout = local::open(settings)?;
        let found = local::find(&layout, &args.model, settings)?;
        let tag = reference.tag().cloned();
        return Ok(Evidence::of_layout(&layout, &found.manifest, reference.name.clone(), tag)?);
    }
    let address = reach::address(reference)?;
    let (client, watch) = reach::client(&args.reach, settings, printer)?;
    Ok(transfer(&*watch, client.evidence(&address))?)
}

fn package_text(report: &PackageReport) -> String {
    let mut table = Table::new(&["", "asked", "found"]);
    for check in &report.checks {
        let mark = if check.passed { "ok" } else { "NO" };
        table.row(vec![mark.to_owned(), check.asked.clone(), check.found.clone()]);
    }
    let mut text = format!(
        "reference   {}\ndigest      {}\n\n{}",
        report.reference,
        report.digest,
        table.text()
    );
    if !report.signers.is_empty() {
        let mut table = Table::new(&["signed by", "over", "at", "for"]);
        for signer in &report.signers {
            let named = match (&signer.repository, &signer.tag) {
                (Some(repository), Some(tag)) => format!("{repository}:{tag}"),
                (Some(repository), None) => repository.clone(),
                _ => String::new(),
            };
            let at = signer.signed.clone().unwrap_or_default();
            table.row(vec![signer.key.clone(), signer.over.to_owned(), at, named]);
        }
        let _ = write!(text, "\n\n{}", table.text());
    }
    for ignored in &report.ignored {
        let _ = write!(text, "\n\ndoes not count: {ignored}");
    }
    text.push_str(if report.trusted { "\n\ntrusted" } else { "\n\nnot trusted" });
    text
}

/// The shape of `--json` for a file or folder.
#[derive(Debug, Serialize)]
struct FilesReport {
    version: u32,
    path: String,
    signature: String,
    /// Who signed, as the policy or the flag calls the key.
    key: String,
    fingerprint: String,
    /// Repositories that the policy lets this key sign for.
    repositories: Vec<String>,
    trusted: bool,
    good: u64,
    bytes: u64,
    altered: Vec<String>,
    missing: Vec<String>,
    unsigned: Vec<String>,
}

fn files(args: &Verify, path: &Path, policy: &Policy, printer: Printer) -> Result<(), Failure> {
    stop_on_interrupt()?;
    let signature = args.signature.clone().unwrap_or_else(|| beside(path));
    let failed =
        |error: &dyn std::fmt::Display| Failure::new(format!("{}: {error}", signature.display()));
    let bytes = read_bounded(&signature).map_err(|error| {
        failed(&error)
            .hint("`mdl pull --to` leaves model.sig in the folder; name another with --signature")
    })?;
    let bundle = Bundle::read(&bytes).map_err(|error| failed(&error))?;
    let by = policy
        .signers()
        .into_iter()
        .find_map(|(named, repositories)| Some((named, repositories, bundle.verify(&named.key)?)));
    let Some((named, repositories, statement)) = by else {
        let what = "the signature is by none of the keys that are trusted, or was altered";
        return Err(failed(&what).status(Failure::REFUSED));
    };
    let signed =
        SignedFiles::read(statement).map_err(|error| failed(&error).status(Failure::REFUSED))?;
    let hashing = Hashing::new(printer);
    let check = FolderCheck::run(path, &signed, &hashing);
    hashing.finish();
    let check = check?;
    let complete = check.missing.is_empty() || (args.partial && check.good > 0);
    let report = FilesReport {
        version: 1,
        path: path.display().to_string(),
        signature: signature.display().to_string(),
        key: named.name.clone(),
        fingerprint: named.key.fingerprint(),
        repositories: if args.key.is_empty() { repositories.to_vec() } else { Vec::new() },
        trusted: complete && check.altered.is_empty() && check.unsigned.is_empty(),
        good: check.good,
        bytes: check.bytes,
        altered: check.altered,
        missing: check.missing,
        unsigned: check.unsigned,
    };
    if args.json {
        printer.json(&report)?;
    } else {
        printer.line(files_text(&report))?;
    }
    if report.trusted {
        let asks_more = |rule: &Rule| {
            rule.threshold > 1
                || rule.bound
                || !rule.require.is_empty()
                || !rule.licenses.is_empty()
        };
        if policy.rules.iter().any(asks_more) {
            let what = "a folder shows who signed its files; what else the policy asks (how many signers, \
                        attestations, licences) is asked of packages: `mdl verify REF`";
            printer.note(what);
        }
        return Ok(());
    }
    Err(Failure::new(format!("{} is not as it was signed", report.path)).status(Failure::REFUSED))
}

/// Bytes of a signature's file.
const SIGNATURE_BYTES: u64 = 16 << 20;

fn read_bounded(path: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(SIGNATURE_BYTES + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn files_text(report: &FilesReport) -> String {
    let mut lines = vec![
        format!("path        {}", report.path),
        format!("signed by   {} ({})", report.key, report.fingerprint),
    ];
    if !report.repositories.is_empty() {
        lines.push(format!("which signs {}", report.repositories.join(", ")));
    }
    let files = if report.good == 1 { "file" } else { "files" };
    lines.push(format!("as signed   {} {files}, {}", report.good, Size(report.bytes)));
    for (what, names) in
        [("altered", &report.altered), ("missing", &report.missing), ("unsigned", &report.unsigned)]
    {
        let shown = |name: &String| format!("{what:<12}{}", name.escape_default());
        lines.extend(names.iter().map(shown));
    }
    lines.push(if report.trusted { "\ntrusted" } else { "\nnot trusted" }.to_owned());
    lines.join("\n")
}
