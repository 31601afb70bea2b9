//! Maintenance of a folder that nobody serves.

use std::{io, path::Path};

use mdl_store::{Found, FsStore, Limits};

use super::words::{Outcome, Work, done};
use crate::{Error, Result, access::accounts};

pub(super) fn run(root: &Path, work: &Work) -> Result<Outcome> {
    // To look after a registry must not make one.
    if !root.join("metadata.redb").is_file() {
        let source = io::Error::new(io::ErrorKind::NotFound, "there is no registry in it");
        return Err(Error::Io { what: "open", path: root.to_owned(), source });
    }
    if matches!(work, Work::Retain { rules: None, .. }) {
        return Err(Error::NoRules(root.to_owned()));
    }
    let store = FsStore::open(root, Limits::default())?;
    Ok(done(&store, work)?)
}

/// Makes the data of a registry in a folder that holds none, from a backup.
///
/// # Errors
/// What the store says.
pub fn restore(root: &Path, from: &Path) -> Result<Found> {
    let found = FsStore::restore(root, from)?;
    accounts::carry(from, root).map_err(|source| Error::Io {
        what: "take accounts along to",
        path: root.to_owned(),
        source,
    })?;
    Ok(found)
}
