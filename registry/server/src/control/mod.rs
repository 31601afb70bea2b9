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

use crate::Result;

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
