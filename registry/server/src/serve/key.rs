//! The secret with which addresses of blobs are signed. It is kept, so that a download goes on after a restart.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use crate::{Error, Result};

/// Its file in the registry's folder.
const NAME: &str = "signing.key";

/// The key of a registry, made if there is none.
pub(super) fn of(root: &Path) -> Result<[u8; 32]> {
    let path = root.join(NAME);
    let failed = |what, source| Error::Io { what, path: path.clone(), source };
    match fs::read(&path) {
        Ok(bytes) => {
            if let Ok(key) = bytes.try_into() {
                return Ok(key);
            }
            tracing::warn!("{} is damaged: signed addresses end", path.display());
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed("read", error)),
    }
    let mut key = [0; 32];
    File::open("/dev/urandom")
        .and_then(|mut random| random.read_exact(&mut key))
        .map_err(|error| failed("read randomness for", error))?;
    write(root, &path, &key).map_err(|error| failed("write", error))?;
    Ok(key)
}

fn write(root: &Path, path: &Path, key: &[u8]) -> io::Result<()> {
    let temporary = root.join(format!("{NAME}.new"));
    let _ = fs::remove_file(&temporary);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    file.write_all(key)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    File::open(root)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_key_is_made_once_and_for_its_owner_alone() {
        let root = tempfile::tempdir().unwrap();
        let key = of(root.path()).unwrap();
        assert_ne!(key, [0; 32]);
        assert_eq!(of(root.path()).unwrap(), key);
        let path = root.path().join(NAME);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(&path, "short").unwrap();
        assert_ne!(of(root.path()).unwrap(), key);
    }
}
