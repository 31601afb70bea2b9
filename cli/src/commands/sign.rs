//! `mdl sign`: a package gets signatures where it is, or a file or folder one beside it.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use mdl_artifact::{
    Limits, ModelRef, Package,
    keys::{KeyType, PrivateKey},
    pack::{Plan, ReferrerPackage},
    signing::{self, Bundle, SIGNATURE_FILE, SignedFiles, Statement, WHOLE},
};
use mdl_formats::{atomic, digest::DigestCache};
use mdl_store::Descriptor;
use serde::Serialize;

use super::{attach, pack, secret};
use crate::{
    args::Sign,
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
    /// The manifest that was signed; none of a file or folder.
    digest: Option<String>,
    key: String,
    signed: String,
    /// What was made: `manifest`, `files`, or both.
    signatures: Vec<Made>,
    /// Where it was put: the registry, `the local store`, or a file.
    places: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Made {
    over: &'static str,
    /// Of the referrer's manifest.
    digest: Option<String>,
}

pub(crate) fn run(args: &Sign, settings: &Settings, printer: Printer) -> Result<(), Failure> {
    let report = match model_argument::read(&args.model)? {
        Argument::Path(path) => files(args, &path, settings, printer)?,
        Argument::Reference(_) => package(args, settings, printer)?,
    };
    if args.json { printer.json(&report) } else { printer.line(text(&report)) }
}

/// The time of a signature: now, in whole seconds.
pub(crate) fn now() -> String {
    let now = jiff::Timestamp::now();
    jiff::Timestamp::from_second(now.as_second()).unwrap_or(now).to_string()
}

fn package(args: &Sign, settings: &Settings, printer: Printer) -> Result<Report, Failure> {
    if args.signature.is_some() {
        return Err(Failure::new("--signature goes with a file or folder")
            .hint("the signatures of a package are put beside it, as referrers")
            .status(Failure::USAGE));
    }
    let target = attach::find(&args.model, &args.reach, settings, printer)?;
    let key = secret::signing_key(&args.key.key)?;
    let signed = now();
    let (referrers, made) =
        signatures(&target.reference, &target.manifest, &target.package, &key, &signed, printer)?;
    let places = target.put(&referrers)?;
    Ok(Report {
        version: 1,
        model: target.reference.to_string(),
        digest: Some(target.manifest.digest.to_string()),
        key: key.public().fingerprint(),
        signed,
        signatures: made,
        places,
    })
}

/// The two signatures of a package, as manifests that refer to it.
fn signatures(
    reference: &ModelRef,
    manifest: &Descriptor,
    package: &Package,
    key: &PrivateKey,
    signed: &str,
    printer: Printer,
) -> Result<(Vec<ReferrerPackage>, Vec<Made>), Failure> {
    let mut statements = vec![(
        "manifest",
        signing::manifest_signature(manifest, &reference.name, reference.tag(), signed),
    )];
    match over_files(reference, package, key) {
        Ok(statement) => statements.push(("files", statement)),
        Err(why) => printer.warn(format!("the manifest alone is signed: {why}")),
    }
    let (mut referrers, mut made) = (Vec::new(), Vec::new());
    for (over, statement) in statements {
        let bundle = Bundle::sign(&statement, key)?;
        let referrer = signing::referrer(&bundle, &statement, manifest, Some(signed));
        made.push(Made { over, digest: Some(referrer.manifest.digest.to_string()) });
        referrers.push(referrer);
    }
    Ok((referrers, made))
}

fn over_files(
    reference: &ModelRef,
    package: &Package,
    key: &PrivateKey,
) -> Result<Statement, String> {
    if key.public().kind() == KeyType::Ed25519 {
        return Err("OpenSSF model signatures know no Ed25519 keys".to_owned());
    }
    let files = SignedFiles::of_package(package).map_err(|error| error.to_string())?;
    let name = reference.name.as_str();
    Ok(files.statement(name.rsplit('/').next().unwrap_or(name)))
}

/// Where the signature of a file or folder lies, unless somebody says otherwise.
pub(crate) fn beside(path: &Path) -> PathBuf {
    if path.is_dir() {
        return path.join(SIGNATURE_FILE);
    }
    let mut name = path.as_os_str().to_owned();
    name.push(".sig");
    PathBuf::from(name)
}

fn files(
    args: &Sign,
    path: &Path,
    settings: &Settings,
    printer: Printer,
) -> Result<Report, Failure> {
    stop_on_interrupt()?;
    let key = secret::signing_key(&args.key.key)?;
    if key.public().kind() == KeyType::Ed25519 {
        return Err(Failure::new("OpenSSF model signatures know no Ed25519 keys")
            .hint("sign files with an ECDSA key: `mdl key generate`")
            .status(Failure::USAGE));
    }
    let to = args.signature.clone().unwrap_or_else(|| beside(path));
    let plan = Plan::of(path, &Limits::default())?;
    let mut cache = DigestCache::open(settings.home.as_deref());
    let mut digests: BTreeMap<_, _> = pack::hashed(&plan, &mut cache, printer)?;
    for note in &plan.notes {
        printer.warn(note);
    }
    if path.is_file() {
        // One file alone, as `model_signing` has it; of a split model each is signed for itself, or their folder.
        let own = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let digest = digests.remove(own);
        digests = digest.into_iter().map(|digest| (WHOLE.to_owned(), digest)).collect();
    }
    let signed = SignedFiles::of_files(digests)?;
    let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let name = real.file_name().and_then(|name| name.to_str()).unwrap_or("model");
    let bundle = Bundle::sign(&signed.statement(name), &key)?;
    write(&to, &bundle)?;
    Ok(Report {
        version: 1,
        model: path.display().to_string(),
        digest: None,
        key: key.public().fingerprint(),
        signed: now(),
        signatures: vec![Made { over: "files", digest: None }],
        places: vec![to.display().to_string()],
    })
}

/// Writes a file that appears whole, in place of an older one.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    Ok(atomic::write(path, bytes)?)
}

fn text(report: &Report) -> String {
    let over: Vec<&str> = report.signatures.iter().map(|it| it.over).collect();
    let mut lines = vec![format!("signed      {} ({})", report.model, over.join(" and "))];
    if let Some(digest) = &report.digest {
        lines.push(format!("digest      {digest}"));
    }
    lines.push(format!("key         {}", report.key));
    lines.push(format!("where       {}", report.places.join(", ")));
    lines.join("\n")
}
