//! The few file operations that the store needs, as a trait: the real disk, or a simulated one that crashes.

use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, IoSliceMut},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use rustix::io::{ReadWriteFlags, preadv2};

/// A place for files. Nothing is durable until the file, and the folder that names it, are flushed.
pub trait Disk: fmt::Debug + Send + Sync {
    /// Creates a file that is not there.
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// Opens a file for reading and writing.
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// Opens a file for reading.
    fn open_read(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// Gives a file another name, replacing what has it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Gives a file a second name, where nothing has it.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes a folder, unless it is there.
    fn create_folder(&self, path: &Path) -> io::Result<()>;
    /// Names in a folder, in order.
    fn list(&self, path: &Path) -> io::Result<Vec<String>>;
    /// Makes durable what names a folder holds.
    fn sync_folder(&self, path: &Path) -> io::Result<()>;
    /// The path as the system knows it; `None` where there is no such file outside this program.
    fn real_path(&self, path: &Path) -> Option<PathBuf>;
}

/// An open file.
#[allow(clippy::len_without_is_empty, reason = "nobody asks whether a file is empty")]
pub trait DiskFile: fmt::Debug + Send + Sync {
    /// Its length.
    fn len(&self) -> io::Result<u64>;
    /// Reads up to `out.len()` bytes; fewer only at the end.
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize>;
    /// The same without waiting for a device: `None` where what is at `offset` is not in memory, or that is not known.
    fn read_now(&self, offset: u64, out: &mut [u8]) -> Option<usize> {
        let _ = (offset, out);
        None
    }
    /// Writes all of `bytes`.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Cuts or extends with zeros.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Makes its content and length durable.
    fn sync(&self) -> io::Result<()>;
}

/// The system's own files.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
        Ok(Box::new(RealFile { file, in_memory: false }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        Ok(Box::new(RealFile { file, in_memory: false }))
    }

    fn open_read(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = File::open(path)?;
        let in_memory = rustix::fs::fstatfs(&file).is_ok_and(|facts| facts.f_type == TMPFS);
        Ok(Box::new(RealFile { file, in_memory }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::hard_link(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        match fs::create_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other,
        }
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(path)? {
            // Names that are no text are none of ours.
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn real_path(&self, path: &Path) -> Option<PathBuf> {
        Some(path.to_owned())
    }
}

#[derive(Debug)]
struct RealFile {
    file: File,
    /// Of a file system that is nowhere else.
    in_memory: bool,
}

/// What the kernel calls a file system in memory (`TMPFS_MAGIC`, statfs(2)).
const TMPFS: rustix::fs::FsWord = 0x0102_1994;

impl DiskFile for RealFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while let Some(rest) = out.get_mut(done..).filter(|rest| !rest.is_empty()) {
            match self.file.read_at(rest, offset + done as u64) {
                Ok(0) => break,
                Ok(read) => done += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn read_now(&self, offset: u64, out: &mut [u8]) -> Option<usize> {
        if self.in_memory {
            return self.read_at(offset, out).ok();
        }
        let mut parts = [IoSliceMut::new(out)];
        preadv2(&self.file, &mut parts, offset, ReadWriteFlags::NOWAIT).ok()
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}
