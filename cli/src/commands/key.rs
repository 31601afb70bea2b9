//! `mdl key`: keys that sign models, as files.

use std::{
    ffi::OsStr,
    fs::{self, OpenOptions},
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use mdl_artifact::keys::{KeyType, PrivateKey, PublicKey};
use serde::Serialize;

use super::secret;
use crate::{
    args::{Key, KeyCommand, KeyGenerate, KeyList, KeyPublic},
    failure::Failure,
    printer::Printer,
    table::Table,
};

pub(crate) fn run(args: &Key, printer: Printer) -> Result<(), Failure> {
    match &args.command {
        KeyCommand::Generate(args) => generate(args, printer),
        KeyCommand::Public(args) => public(args, printer),
        KeyCommand::List(args) => list(args, printer),
    }
}

fn generate(args: &KeyGenerate, printer: Printer) -> Result<(), Failure> {
    let named = |ending: &str| {
        let mut name = args.out.clone().into_os_string();
        name.push(ending);
        PathBuf::from(name)
    };
    let (private, public) = (named(".key"), named(".pub"));
    for path in [&private, &public] {
        if path.symlink_metadata().is_ok() {
            return Err(Failure::new(format!("{} is there already", path.display()))
                .hint("a key is never replaced: choose another name, or move it away"));
        }
    }
    let kind = if args.kind == "ed25519" { KeyType::Ed25519 } else { KeyType::P256 };
    let passphrase = secret::new_passphrase()?;
    let key = PrivateKey::generate(kind)?;
    write_new(&private, 0o600, &key.to_sealed_pem(&passphrase)?)?;
    write_new(&public, 0o644, &key.public().to_pem())?;
    printer.line(format!(
        "private     {} (keep it, and its passphrase, to yourself)\npublic      {}\ntype        {}\nfingerprint {}",
        private.display(),
        public.display(),
        kind.name(),
        key.public().fingerprint(),
    ))
}

/// Writes a file that was not there, with no moment in which others may read what is private.
fn write_new(path: &Path, mode: u32, text: &str) -> Result<(), Failure> {
    let failed = |error| Failure::new(format!("{}: {error}", path.display()));
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(mode).open(path).map_err(failed)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    written.map_err(|error| {
        // Half a key is none.
        let _ = fs::remove_file(path);
        failed(error)
    })
}

fn public(args: &KeyPublic, printer: Printer) -> Result<(), Failure> {
    let text = secret::key_text(&args.file)?;
    let what = args.file.display().to_string();
    let key = if text.contains("PRIVATE KEY") {
        secret::signing_key(&args.file)?.public().clone()
    } else {
        PublicKey::from_pem(&text, &what)?
    };
    printer.line(key.to_pem().trim_end())
}

/// A key in a list, the shape of `--json`.
#[derive(Debug, Serialize)]
struct Row {
    file: String,
    /// `public`, `private`, or `private, encrypted`.
    kind: &'static str,
    #[serde(rename = "type")]
    ty: Option<&'static str>,
    /// Of an encrypted key it cannot be told without its passphrase.
    fingerprint: Option<String>,
    problem: Option<String>,
}

fn list(args: &KeyList, printer: Printer) -> Result<(), Failure> {
    let here = [PathBuf::from(".")];
    let paths = if args.paths.is_empty() { &here[..] } else { &args.paths };
    let mut rows = Vec::new();
    for path in paths {
        if !path.exists() {
            return Err(Failure::new(format!("{}: there is no such file", path.display())));
        }
        if path.is_dir() {
            rows.extend(keys_of(path)?.iter().map(|path| row(path)));
        } else {
            rows.push(row(path));
        }
    }
    if args.json {
        return printer.json(&rows);
    }
    if rows.is_empty() {
        return printer.line("no keys here; `mdl key generate --out NAME` makes one");
    }
    let mut table = Table::new(&["file", "kind", "type", "fingerprint"]);
    for row in rows {
        let unknown = match row.kind {
            "private, encrypted" => "see its .pub".to_owned(),
            _ => row.problem.unwrap_or_default(),
        };
        let fingerprint = row.fingerprint.unwrap_or(unknown);
        table.row(vec![
            row.file,
            row.kind.to_owned(),
            row.ty.unwrap_or("").to_owned(),
            fingerprint,
        ]);
    }
    printer.line(table.text())
}

/// Files of a folder that are called like keys, in order.
fn keys_of(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let failed = |error| Failure::new(format!("{}: {error}", folder.display()));
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let ending = path.extension().and_then(OsStr::to_str);
        if matches!(ending, Some("key" | "pub")) && path.is_file() {
            found.push(path.strip_prefix(".").map(Path::to_owned).unwrap_or(path));
        }
    }
    found.sort();
    Ok(found)
}

fn row(path: &Path) -> Row {
    let file = path.display().to_string();
    let mut row =
        Row { file: file.clone(), kind: "public", ty: None, fingerprint: None, problem: None };
    let read = || -> Result<Option<PublicKey>, Failure> {
        let text = secret::key_text(path)?;
        if text.contains("ENCRYPTED") && text.contains("PRIVATE KEY") {
            return Ok(None);
        }
        if text.contains("PRIVATE KEY") {
            let none = || Err(mdl_artifact::Error::Signature(String::new()));
            return Ok(Some(PrivateKey::from_pem(&text, &file, none)?.public().clone()));
        }
        Ok(Some(PublicKey::from_pem(&text, &file)?))
    };
    if secret::key_text(path).is_ok_and(|text| text.contains("PRIVATE KEY")) {
        row.kind = "private";
    }
    match read() {
        Ok(Some(key)) => {
            row.ty = Some(key.kind().name());
            row.fingerprint = Some(key.fingerprint());
        }
        Ok(None) => row.kind = "private, encrypted",
        Err(failure) => row.problem = Some(failure.message().to_owned()),
    }
    row
}
