//! File operations of the layout: everything appears whole or not at all, and stays.

use std::{
    fs::{self, File, OpenOptions},
    io::{self as system, Read as _, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

use tempfile::{Builder, NamedTempFile};

use super::Ingest;
use crate::{Algorithm, Digest, Error, Hasher, Result};

/// A closure for `map_err` that adds what was attempted and where.
pub(super) fn io(what: &'static str, path: &Path) -> impl FnOnce(system::Error) -> Error {
    let path = path.to_owned();
    move |source| match source.kind() {
        system::ErrorKind::StorageFull | system::ErrorKind::QuotaExceeded => Error::NoSpace(path),
        _ => Error::Io { what, path, source },
    }
}

/// A file that is there to be locked.
pub(super) fn open_lock(path: &Path) -> Result<File> {
    let opened = OpenOptions::new().create(true).truncate(false).write(true).open(path);
    opened.map_err(io("open", path))
}

/// Makes durable that a name stands in its folder.
pub(super) fn sync_folder(path: &Path) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    File::open(folder).and_then(|it| it.sync_all()).map_err(io("flush", folder))
}

/// SHA-256 of a file.
pub(super) fn hash(path: &Path) -> Result<Digest> {
    let mut file = File::open(path).map_err(io("open", path))?;
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer).map_err(io("read", path))? {
            0 => return Ok(hasher.finish()),
            read => hasher.update(buffer.get(..read).unwrap_or_default()),
        }
    }
}

fn temporary(folder: &Path) -> Result<NamedTempFile> {
    let mode = fs::Permissions::from_mode(0o644);
    let made = Builder::new().prefix(".mdl-").suffix(".tmp").permissions(mode).tempfile_in(folder);
    made.map_err(io("create a file in", folder))
}

/// Writes a file by way of a temporary one in `folder`.
pub(super) fn write(folder: &Path, path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = temporary(folder)?;
    file.write_all(bytes).map_err(io("write", path))?;
    persist(file, path)
}

/// Copies a file by way of a temporary one in `folder`; a reflink where the file system can.
pub(super) fn copy(folder: &Path, from: &Path, to: &Path) -> Result<()> {
    let mut source = File::open(from).map_err(io("open", from))?;
    let mut file = temporary(folder)?;
    if rustix::fs::ioctl_ficlone(file.as_file(), &source).is_err() {
        system::copy(&mut source, file.as_file_mut()).map_err(io("copy", from))?;
    }
    persist(file, to)
}

fn persist(file: NamedTempFile, path: &Path) -> Result<()> {
    file.as_file().sync_all().map_err(io("flush", path))?;
    file.persist(path).map_err(|error| io("rename to", path)(error.error))?;
    sync_folder(path)
}

/// Flushes a file and gives it its name.
pub(super) fn finish(from: &Path, to: &Path) -> Result<()> {
    File::open(from).and_then(|it| it.sync_all()).map_err(io("flush", from))?;
    fs::rename(from, to).map_err(io("rename", from))?;
    sync_folder(to)?;
    sync_folder(from)
}

/// A second name for a file, which becomes read-only first: two names never share a writable file.
pub(super) fn link(from: &Path, to: &Path) -> Result<()> {
    let real = fs::canonicalize(from).map_err(io("open", from))?;
    let facts = fs::metadata(&real).map_err(io("open", from))?;
    let mode = facts.permissions().mode() & !0o222;
    fs::set_permissions(&real, fs::Permissions::from_mode(mode))
        .map_err(io("make read-only", from))?;
    File::open(&real).and_then(|it| it.sync_all()).map_err(io("flush", from))?;
    match fs::hard_link(&real, to) {
        Err(error) if error.kind() == system::ErrorKind::AlreadyExists => Ok(()),
        linked => linked.map_err(io("link", from)),
    }
}

/// Puts a blob's content at a path where nothing stands.
pub(super) fn export(blob: &Path, to: &Path, ingest: Ingest) -> Result<()> {
    if ingest == Ingest::Link {
        let mode = fs::metadata(blob).map_err(io("open", blob))?.permissions().mode() & !0o222;
        fs::set_permissions(blob, fs::Permissions::from_mode(mode))
            .map_err(io("make read-only", blob))?;
        fs::hard_link(blob, to).map_err(io("link to", to))?;
        return sync_folder(to);
    }
    let folder = to.parent().unwrap_or(Path::new("."));
    let mut source = File::open(blob).map_err(io("open", blob))?;
    let mut file = temporary(folder)?;
    if rustix::fs::ioctl_ficlone(file.as_file(), &source).is_err() {
        system::copy(&mut source, file.as_file_mut()).map_err(io("copy", blob))?;
    }
    file.as_file().sync_all().map_err(io("flush", to))?;
    file.persist_noclobber(to).map_err(|error| io("rename to", to)(error.error))?;
    sync_folder(to)
}
