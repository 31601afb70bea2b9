//! Credentials: our own, then Docker's.

use std::path::{Path, PathBuf};

use crate::Result;

mod docker;
mod own;

pub(crate) use own::Own;

/// What somebody is known by.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Credential {
    /// A user name and a password.
    Password { user: String, password: String },
    /// A token that token servers exchange for others.
    Identity(String),
    /// A token as it is sent.
    Bearer(String),
}

/// It is never shown.
impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credential")
    }
}

/// Where credentials are looked for.
#[derive(Debug, Clone)]
pub(crate) struct Credentials {
    own: Option<Own>,
    docker: Option<PathBuf>,
}

impl Credentials {
    /// Those in our folder, and Docker's in `$DOCKER_CONFIG` or `~/.docker`.
    pub(crate) fn new(home: Option<&Path>, docker: Option<PathBuf>) -> Self {
        Self { own: home.map(Own::new), docker }
    }

    /// What is known for a registry.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) or [`Error::Refused`](crate::Error::Refused) for a file that cannot be used.
    pub(crate) fn find(&self, host: &str) -> Result<Option<Credential>> {
        if let Some(own) = &self.own
            && let Some(found) = own.get(host)?
        {
            return Ok(Some(found));
        }
        match &self.docker {
            Some(folder) => docker::find(&folder.join("config.json"), host),
            None => Ok(None),
        }
    }
}

/// The folder of Docker's settings.
pub(crate) fn docker_folder() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("DOCKER_CONFIG").or_else(|| Some(set("HOME")?.join(".docker")))
}

/// The name under which credentials are kept: Docker Hub has several.
fn canonical(host: &str) -> String {
    let host = host.trim_end_matches('/').to_ascii_lowercase();
    match host.as_str() {
        "index.docker.io" | "registry-1.docker.io" => "docker.io".to_owned(),
        _ => host,
    }
}
