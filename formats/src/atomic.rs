//! Files that appear whole or not at all.
//!
//! Everything that others rely on is written under a temporary name in its destination's folder, flushed, renamed, and
//! the folder flushed: after a crash there is either the old file or the new one.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{CWD, RenameFlags, renameat_with},
    io::Errno,
};
use tempfile::{Builder, NamedTempFile, TempDir};

use crate::{Error, Result};

/// Writes a small file whole, in place of an older one.
///
/// # Errors
/// As [`AtomicFile::create`] and [`AtomicFile::commit`].
pub fn write(destination: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = AtomicFile::create(destination, true)?;
    file.write_all(bytes).map_err(Error::io(destination, "write"))?;
    file.commit()
}

/// A file being written beside its destination. Dropped without [`AtomicFile::commit`], it vanishes.
#[derive(Debug)]
pub struct AtomicFile {
    destination: PathBuf,
    writer: BufWriter<NamedTempFile>,
    replace: bool,
}

impl AtomicFile {
    /// Begins a file that will stand at `destination`.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where something stands there and `replace` is false, [`Error::Io`].
    pub fn create(destination: &Path, replace: bool) -> Result<Self> {
        refuse_file(destination, replace)?;
        // The umask takes away from this what the user does not want.
        let mode = fs::Permissions::from_mode(0o666);
        let file = Builder::new()
            .prefix(".mdl-")
            .suffix(".tmp")
            .permissions(mode)
            .tempfile_in(folder_of(destination));
        let file = file.map_err(Error::io(destination, "create a temporary file beside"))?;
        Ok(Self {
            destination: destination.to_owned(),
            writer: BufWriter::with_capacity(1 << 20, file),
            replace,
        })
    }

    /// Makes the file visible under its name.
    ///
    /// # Errors
    /// [`Error::Io`]; nothing is then visible.
    pub fn commit(self) -> Result<()> {
        let Self { destination, writer, replace } = self;
        let file = writer
            .into_inner()
            .map_err(|error| Error::io(&destination, "write")(error.into_error()))?;
        file.as_file().sync_all().map_err(Error::io(&destination, "flush"))?;
        // What came to stand there meanwhile is not replaced unasked either.
        let renamed =
            if replace { file.persist(&destination) } else { file.persist_noclobber(&destination) };
        renamed.map_err(|error| Error::io(&destination, "rename to")(error.error))?;
        sync_folder(&folder_of(&destination))
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// A folder being filled beside its destination. Dropped without [`AtomicFolder::commit`], it vanishes.
#[derive(Debug)]
pub struct AtomicFolder {
    destination: PathBuf,
    folder: TempDir,
    replace: bool,
}

impl AtomicFolder {
    /// Begins a folder that will stand at `destination`. An empty folder there is taken over.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where something stands there and `replace` is false, [`Error::Io`].
    pub fn create(destination: &Path, replace: bool) -> Result<Self> {
        let empty = fs::read_dir(destination).is_ok_and(|mut entries| entries.next().is_none());
        refuse_existing(destination, replace || empty)?;
        if destination.exists() && !destination.is_dir() {
            return Err(Error::unsupported(
                destination,
                "a file, which a folder does not replace",
                "write elsewhere, or remove it first",
            ));
        }
        let mode = fs::Permissions::from_mode(0o777);
        let folder = Builder::new()
            .prefix(".mdl-")
            .suffix(".tmp")
            .permissions(mode)
            .tempdir_in(folder_of(destination));
        let folder = folder.map_err(Error::io(destination, "create a temporary folder beside"))?;
        Ok(Self { destination: destination.to_owned(), folder, replace })
    }

    /// Where to put the files.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Makes the folder visible under its name; with `replace` the old one goes.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn commit(self) -> Result<()> {
        let Self { destination, folder, replace } = self;
        for entry in fs::read_dir(folder.path()).map_err(Error::io(folder.path(), "list"))? {
            let path = entry.map_err(Error::io(folder.path(), "list"))?.path();
            File::open(&path)
                .and_then(|file| file.sync_all())
                .map_err(Error::io(&path, "flush"))?;
        }
        sync_folder(folder.path())?;
        let parent = folder_of(&destination);
        let mut old = None;
        let full = || fs::read_dir(&destination).is_ok_and(|mut entries| entries.next().is_some());
        if replace && full() {
            // The old folder moves aside first: a folder cannot be renamed over a full one.
            let aside = Builder::new().prefix(".mdl-").suffix(".old").tempdir_in(&parent);
            let aside = aside.map_err(Error::io(&destination, "move aside"))?;
            fs::rename(&destination, aside.path().join("old"))
                .map_err(Error::io(&destination, "move aside"))?;
            old = Some(aside);
        }
        fs::rename(folder.path(), &destination).map_err(Error::io(&destination, "rename to"))?;
        // Nothing stands under its temporary name any more.
        let _ = folder.keep();
        sync_folder(&parent)?;
        drop(old);
        Ok(())
    }
}

/// Refuses a destination where something stands.
///
/// # Errors
/// [`Error::Unsupported`].
pub fn refuse_existing(destination: &Path, replace: bool) -> Result<()> {
    if destination.symlink_metadata().is_ok() && !replace {
        return Err(Error::unsupported(
            destination,
            "exists already",
            "give --force to replace it",
        ));
    }
    let folder = folder_of(destination);
    if !folder.is_dir() {
        return Err(Error::unsupported(&folder, "no such folder", "create it first"));
    }
    Ok(())
}

/// Refuses a file's destination where something stands: always a folder, else unless `replace`.
///
/// # Errors
/// [`Error::Unsupported`].
pub fn refuse_file(destination: &Path, replace: bool) -> Result<()> {
    refuse_existing(destination, replace)?;
    if destination.is_dir() {
        return Err(Error::unsupported(
            destination,
            "a folder, which a file does not replace",
            "name a file to write",
        ));
    }
    Ok(())
}

/// Gives a file another name in the same folder. Without `replace` what stands there stays, whenever it came.
///
/// # Errors
/// [`Error::Unsupported`] where something stands there, [`Error::Io`]; the file then keeps its name.
pub fn rename(from: &Path, to: &Path, replace: bool) -> Result<()> {
    let failed = Error::io(to, "rename to");
    if replace {
        return fs::rename(from, to).map_err(failed);
    }
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(()),
        Err(Errno::EXIST) => Err(Error::unsupported(
            to,
            "exists already",
            "give --force to replace it, or move it away; finished work is kept",
        )),
        // A file system without such a rename: what appears between these two lines is lost.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
            refuse_existing(to, false)?;
            fs::rename(from, to).map_err(failed)
        }
        Err(errno) => Err(failed(errno.into())),
    }
}

/// Flushes a folder's entries: what was renamed into it is then there after a crash.
///
/// # Errors
/// [`Error::Io`].
pub fn sync_folder(folder: &Path) -> Result<()> {
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(Error::io(folder, "flush the folder"))
}

/// The folder that holds a path.
pub fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_appears_on_commit_and_not_before() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let mut file = AtomicFile::create(&path, false).unwrap();
        file.write_all(b"whole").unwrap();
        assert!(!path.exists());
        file.commit().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"whole");
        assert!(AtomicFile::create(&path, false).is_err());

        let late = dir.path().join("late");
        let file = AtomicFile::create(&late, false).unwrap();
        fs::write(&late, "another's").unwrap();
        assert!(file.commit().is_err(), "what appeared meanwhile stays");
        assert_eq!(fs::read(&late).unwrap(), b"another's");
        fs::remove_file(&late).unwrap();

        let mut file = AtomicFile::create(&path, true).unwrap();
        file.write_all(b"half").unwrap();
        drop(file);
        assert_eq!(fs::read(&path).unwrap(), b"whole");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no temporary file is left");
    }

    #[test]
    fn a_folder_replaces_another_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("folder");
        for (name, replace) in [("old", false), ("new", true)] {
            let folder = AtomicFolder::create(&path, replace).unwrap();
            fs::write(folder.path().join(name), name).unwrap();
            folder.commit().unwrap();
        }
        assert!(path.join("new").exists() && !path.join("old").exists());
        assert!(AtomicFolder::create(&path, false).is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else is left");
    }

    #[test]
    fn files_and_folders_do_not_replace_each_other() {
        let dir = tempfile::tempdir().unwrap();
        let (file, folder) = (dir.path().join("file"), dir.path().join("folder"));
        fs::write(&file, "mine").unwrap();
        fs::create_dir(&folder).unwrap();
        let refused = AtomicFile::create(&folder, true).unwrap_err();
        assert!(refused.to_string().contains("a folder"), "{refused}");
        let refused = AtomicFolder::create(&file, true).unwrap_err();
        assert!(refused.to_string().contains("a file"), "{refused}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "nothing else is left");
    }

    #[test]
    fn what_appears_meanwhile_stays() {
        let dir = tempfile::tempdir().unwrap();
        let (new, old) = (dir.path().join("new"), dir.path().join("old"));
        fs::write(&new, "new").unwrap();
        fs::write(&old, "old").unwrap();
        assert!(rename(&new, &old, false).is_err());
        assert_eq!(
            (fs::read(&new).unwrap(), fs::read(&old).unwrap()),
            (b"new".into(), b"old".into())
        );
        rename(&new, &old, true).unwrap();
        assert_eq!(fs::read(&old).unwrap(), b"new");
        rename(&old, &new, false).unwrap();
        assert!(new.exists() && !old.exists());

        let late = dir.path().join("late");
        let folder = AtomicFolder::create(&late, false).unwrap();
        fs::write(&late, "another's").unwrap();
        assert!(folder.commit().is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "no temporary folder is left");
    }

    #[test]
    fn a_missing_folder_is_named() {
        let error = AtomicFile::create(Path::new("/nowhere-at-all/file"), false).unwrap_err();
        assert!(error.to_string().contains("/nowhere-at-all"), "{error}");
    }
}
