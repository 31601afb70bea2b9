//! The credentials that `mdl login` keeps: one file that only its owner reads.

use std::{
    collections::BTreeMap,
    fs, io,
    io::Write as _,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{Credential, canonical};
use crate::{Error, Result};

/// Our file of credentials.
#[derive(Debug, Clone)]
pub(crate) struct Own {
    path: PathBuf,
}

#[derive(Default, Serialize, Deserialize)]
struct File {
    version: u32,
    registries: BTreeMap<String, Entry>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Entry {
    username: String,
    password: String,
}

impl Own {
    pub(crate) fn new(home: &Path) -> Self {
        Self { path: home.join("credentials.json") }
    }

    pub(crate) fn get(&self, host: &str) -> Result<Option<Credential>> {
        let entry = self.read()?.registries.remove(&canonical(host));
        Ok(entry.map(|Entry { username, password }| match username.as_str() {
            "<token>" => Credential::Identity(password),
            _ => Credential::Password { user: username, password },
        }))
    }

    pub(crate) fn set(&self, host: &str, user: &str, password: &str) -> Result<()> {
        let mut file = self.read()?;
        let entry = Entry { username: user.to_owned(), password: password.to_owned() };
        file.registries.insert(canonical(host), entry);
        self.write(&file)
    }

    /// Whether there was something to forget.
    pub(crate) fn forget(&self, host: &str) -> Result<bool> {
        let mut file = self.read()?;
        let known = file.registries.remove(&canonical(host)).is_some();
        if known {
            self.write(&file)?;
        }
        Ok(known)
    }

    fn read(&self) -> Result<File> {
        let text = match fs::read(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(File::default()),
            Err(error) => return Err(Error::io(&self.path, "read")(error)),
        };
        serde_json::from_slice(&text).map_err(|error| {
            Error::refused(
                format!("{} cannot be read: {error}", self.path.display()),
                "remove it and log in again",
            )
        })
    }

    fn write(&self, file: &File) -> Result<()> {
        let folder = mdl_formats::atomic::folder_of(&self.path);
        fs::create_dir_all(&folder).map_err(Error::io(&folder, "create"))?;
        let file = File { version: 1, registries: file.registries.clone() };
        let text = serde_json::to_vec_pretty(&file)
            .map_err(|error| Error::io(&self.path, "write")(error.into()))?;
        // Temporary files are readable by their owner alone.
        let mut temporary =
            tempfile::NamedTempFile::new_in(&folder).map_err(Error::io(&self.path, "write"))?;
        temporary
            .write_all(&text)
            .and_then(|()| temporary.as_file().sync_all())
            .map_err(Error::io(&self.path, "write"))?;
        temporary
            .persist(&self.path)
            .map_err(|error| Error::io(&self.path, "write")(error.error))?;
        Ok(mdl_formats::atomic::sync_folder(&folder)?)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn kept_for_the_owner_and_forgotten() {
        let home = tempfile::tempdir().unwrap();
        let own = Own::new(&home.path().join("home"));
        assert_eq!(own.get("a.example").unwrap(), None);
        own.set("A.example", "me", "secret").unwrap();
        own.set("index.docker.io", "hub", "too").unwrap();
        let mode = fs::metadata(&own.path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let password = |user: &str, password: &str| {
            Some(Credential::Password { user: user.to_owned(), password: password.to_owned() })
        };
        assert_eq!(own.get("a.example").unwrap(), password("me", "secret"));
        assert_eq!(own.get("docker.io").unwrap(), password("hub", "too"));
        assert!(own.forget("a.example").unwrap());
        assert!(!own.forget("a.example").unwrap());
        assert_eq!(own.get("a.example").unwrap(), None);
        fs::write(&own.path, "{").unwrap();
        assert!(own.get("docker.io").is_err(), "a broken file is said, not overwritten");
    }
}
