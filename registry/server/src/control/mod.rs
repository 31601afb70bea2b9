//! Maintenance of a registry's folder: by the server that has it open, or else right here.
//!
//! A server listens on a Unix socket in its folder, which only its own user can open. The protocol is one line of JSON
//! each way.

mod local;
mod socket;
mod words;

pub use local::restore;
pub(crate) use socket::open;
pub use words::{Outcome, Work};

use std::path::Path;

use crate::{
    Result,
    audit::{self, Event, Kind},
};

/// What the audit log says of work that was done.
fn event(work: &Work, outcome: &Outcome) -> Option<Event> {
    match (work, outcome) {
        (Work::Collect { dry_run: false }, Outcome::Found(found)) => Some(Event::collected(found)),
        (Work::Retain { dry_run: false, .. }, Outcome::Retained(gone)) if !gone.is_empty() => {
            Some(Event::retained(gone))
        }
        (Work::Backup { to }, Outcome::Found(found)) => Some(
            Event::new(Kind::Backup)
                .text("folder", &to.to_string_lossy())
                .count("blobs", found.blobs)
                .count("bytes", found.bytes),
        ),
        _ => None,
    }
}

/// Takes along into a backup how far the audit log is.
fn carry_head(root: &Path, work: &Work) -> Result<()> {
    match work {
        Work::Backup { to } => audit::carry(root, to),
        _ => Ok(()),
    }
}

/// Does some work on the registry in a folder.
///
/// # Errors
/// [`Error::Remote`](crate::Error::Remote) for what failed in the server, and as the work itself.
pub fn ask(root: &Path, work: &Work) -> Result<Outcome> {
    match socket::ask(root, work)? {
        Some(outcome) => Ok(outcome),
        None => local::run(root, work),
    }
}
