//! How a client works.

use std::{path::PathBuf, sync::Arc};

use crate::{Limits, Progress, Unwatched};

/// How a client works.
#[derive(Clone)]
#[non_exhaustive]
pub struct Options {
    /// Speak plain HTTP with every peer, not with those on loopback alone.
    pub plain_http: bool,
    /// A PEM file of certificate authorities to trust as well.
    pub ca: Option<PathBuf>,
    /// Transfers at once.
    pub parallel: usize,
    /// `MDL_HOME`: our credentials, and the journals of what is under way.
    pub home: Option<PathBuf>,
    /// The folder of Docker's `config.json`.
    pub docker: Option<PathBuf>,
    /// What a peer may ask of us.
    pub limits: Limits,
    /// Who watches.
    pub progress: Arc<dyn Progress>,
}

impl Default for Options {
    /// Docker's credentials, no folder of ours, nobody watching.
    fn default() -> Self {
        Self {
            plain_http: false,
            ca: None,
            parallel: 4,
            home: None,
            docker: crate::credentials::docker_folder(),
            limits: Limits::default(),
            progress: Arc::new(Unwatched),
        }
    }
}
