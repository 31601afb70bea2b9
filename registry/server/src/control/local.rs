//! Maintenance of a folder that nobody serves.

use std::{io, path::Path};

use mdl_store::{Found, FsStore, Limits};

use super::{
    carry_head, event,
    words::{Outcome, Work, done},
};
use crate::{
    Error, Result,
    access::accounts,
    audit::{self, Event, Kind},
};

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
    let outcome = done(&store, work)?;
    if let Some(event) = event(work, &outcome) {
        audit::note(root, &event.by_user(rustix::process::geteuid().as_raw()))?;
    }
    carry_head(root, work)?;
    Ok(outcome)
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
    audit::restored(from, root)?;
    let event = Event::here(Kind::Restore).text("folder", &from.to_string_lossy());
    audit::note(root, &event.count("blobs", found.blobs).count("bytes", found.bytes))?;
    mdl_artifact::trust::Seen::new(from).carry(root).map_err(|error| Error::Io {
        what: "take what was seen of tags along to",
        path: root.to_owned(),
        source: io::Error::other(error.to_string()),
    })?;
    Ok(found)
}
