//! Where the log of a folder's registry is, for commands on its machine: the server writes that down where its
//! configuration says so. And what commands and backups do with it.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{
    append::{HEAD, LOCK, Log, ending, furthest, noted},
    chain::Head,
    event::Event,
};
use crate::{Config, Error, Result, access::accounts};

/// The log, unless the configuration says otherwise.
const NAME: &str = "audit.jsonl";

/// Where a configuration puts the log, for those who know the folder alone.
const PLACE: &str = "audit-log.json";

#[derive(Debug, Serialize, Deserialize, PartialEq, Eq)]
struct PlaceFile {
    version: u32,
    /// None where none is to be kept.
    to: Option<PathBuf>,
}

/// When there is a log, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// None.
    Off,
    /// There, in any case.
    At(PathBuf),
    /// There, as soon as somebody is asked who they are.
    WithAccounts(PathBuf),
}

impl Place {
    pub(super) fn of(root: &Path, config: &Config) -> Self {
        match &config.audit {
            None => Self::WithAccounts(root.join(NAME)),
            Some(audit) if audit.is_off() => Self::Off,
            Some(audit) => Self::At(audit.to.clone().unwrap_or_else(|| root.join(NAME))),
        }
    }

    /// The file, where there may be one.
    pub(super) fn path(&self) -> Option<&Path> {
        match self {
            Self::Off => None,
            Self::At(path) | Self::WithAccounts(path) => Some(path),
        }
    }

    /// Writes it down where commands could not know it.
    pub(super) fn tell(&self, root: &Path) -> Result<()> {
        let path = root.join(PLACE);
        let failed = |source| Error::Io { what: "write", path: path.clone(), source };
        let to = match self {
            Self::Off => None,
            Self::At(path) => Some(std::path::absolute(path).map_err(failed)?),
            Self::WithAccounts(_) => {
                return match fs::remove_file(&path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(error)),
                    _ => Ok(()),
                };
            }
        };
        let told = PlaceFile { version: 1, to };
        if read(root)?.as_ref() == Some(&told) {
            return Ok(());
        }
        let text = serde_json::to_string(&told).map_err(|error| failed(error.into()))?;
        let part = root.join(format!("{PLACE}.new"));
        fs::write(&part, text).and_then(|()| fs::rename(&part, &path)).map_err(failed)
    }
}

fn read(root: &Path) -> Result<Option<PlaceFile>> {
    let path = root.join(PLACE);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(Error::Io { what: "read", path, source }),
    };
    let read = serde_json::from_slice(&text);
    read.map(Some).map_err(|error| Error::Config { path, what: error.to_string() })
}

/// Where the log of a folder's registry is; `None` where it keeps none.
///
/// # Errors
/// [`Error::Config`], [`Error::Io`].
pub fn log(root: &Path) -> Result<Option<PathBuf>> {
    let is_kept =
        accounts::exist(root) || [NAME, LOCK, HEAD].iter().any(|it| root.join(it).exists());
    log_if(root, is_kept)
}

/// The same; whether one is kept where the configuration does not say so is told.
fn log_if(root: &Path, is_kept: bool) -> Result<Option<PathBuf>> {
    Ok(match read(root)? {
        Some(told) => told.to,
        None => is_kept.then(|| root.join(NAME)),
    })
}

/// Adds a line about what a command does, where the folder's registry keeps a log.
///
/// # Errors
/// [`Error::Io`]: then it must not be done.
pub(crate) fn note(root: &Path, event: &Event) -> Result<()> {
    match log(root)? {
        Some(path) => add(root, path, event),
        None => Ok(()),
    }
}

/// The same of accounts: from the first on there is a log.
pub(crate) fn note_account(root: &Path, event: &Event) -> Result<()> {
    match log_if(root, true)? {
        Some(path) => add(root, path, event),
        None => Ok(()),
    }
}

fn add(root: &Path, path: PathBuf, event: &Event) -> Result<()> {
    Log::new(root, &path).append(&[event]).map(|_| ()).map_err(|source| Error::Io {
        what: "write the audit log",
        path,
        source,
    })
}

/// How far the chain of a folder's registry is; `None` where nothing is in it yet. What a crash left at its end does not
/// count.
///
/// # Errors
/// [`Error::Config`], [`Error::Io`].
pub fn head(root: &Path) -> Result<Option<Head>> {
    let Some(path) = log(root)? else { return Ok(None) };
    let failed = |source| Error::Io { what: "read the audit log", path: path.clone(), source };
    let lock = shared(root).map_err(failed)?;
    let last = match File::open(&path) {
        Ok(file) => ending(&file).map_err(failed)?.0,
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(failed(error)),
    };
    let noted = lock.as_ref().and_then(noted);
    let head = furthest(last, noted, Head::read(&root.join(HEAD)).ok());
    Ok((head.seq > 0).then_some(head))
}

/// The locked file, held by readers; `None` where nobody ever wrote.
pub(super) fn shared(root: &Path) -> io::Result<Option<File>> {
    match File::open(root.join(LOCK)) {
        Ok(lock) => {
            lock.lock_shared()?;
            Ok(Some(lock))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Takes the head along into a backup.
pub(crate) fn carry(root: &Path, to: &Path) -> Result<()> {
    match head(root)? {
        Some(head) => head.write(&to.join(HEAD)),
        None => Ok(()),
    }
}

/// Takes the head out of a backup: the chain goes on from there.
pub(crate) fn restored(from: &Path, root: &Path) -> Result<()> {
    let path = from.join(HEAD);
    if !path.exists() {
        return Ok(());
    }
    Head::read(&path)?.write(&root.join(HEAD))
}
