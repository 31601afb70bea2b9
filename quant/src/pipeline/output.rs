//! The file in the making: `NAME.partial`, its journal, and the rename at the end.
//!
//! The journal outlives the rename, until all parts of a split file have their names: a run that is interrupted between
//! two of them finds the first by its journal and goes on with the second.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use mdl_formats::{Error as FormatError, atomic, digest::hex, gguf::Layout};
use sha2::{Digest, Sha256};

use super::{
    encode::{Encoded, Slab},
    journal::{Entry, Journal},
};
use crate::{Error, Result};

/// A file as a run finds it.
#[derive(Debug)]
pub(super) enum Opened {
    /// To be begun or gone on with.
    Growing(Output),
    /// An interrupted run had given it its name already.
    Published(Sealed),
}

/// Refuses a destination where something stands that this program may not replace. What an interrupted run may have put
/// there passes; [`open`] looks closer.
pub(super) fn refuse(destination: &Path, replace: bool) -> Result<()> {
    let ours =
        beside(destination, ".journal").exists() && !beside(destination, ".partial").exists();
    Ok(atomic::refuse_file(destination, replace || ours)?)
}

/// Begins a file, or takes up what an interrupted run left, as far as it is sound.
pub(super) fn open(
    destination: &Path,
    layout: &Layout,
    slabs: &[Slab],
    replace: bool,
) -> Result<Opened> {
    let (journal, entries) = Journal::open(&beside(destination, ".journal"), &layout.header)?;
    let partial = beside(destination, ".partial");
    if !partial.exists() && entries.len() == slabs.len() {
        let found = published(destination, layout, slabs, &entries);
        if let Some(sha256) = found.map_err(FormatError::io(destination, "read"))? {
            let destination = destination.to_owned();
            return Ok(Opened::Published(Sealed {
                destination,
                partial,
                journal,
                sha256,
                renamed: true,
            }));
        }
    }
    if let Err(error) = atomic::refuse_file(destination, replace) {
        if !partial.exists() {
            journal.remove()?;
        }
        return Err(error.into());
    }
    Output::open(destination, partial, journal, &entries, layout, slabs).map(Opened::Growing)
}

/// The digest of the finished file at `destination`, if it is what the journal says.
fn published(
    destination: &Path,
    layout: &Layout,
    slabs: &[Slab],
    entries: &[Entry],
) -> io::Result<Option<String>> {
    let mut file = match File::open(destination) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    if file.metadata()?.len() != layout.len {
        return Ok(None);
    }
    let mut hasher = Sha256::new();
    let (done, _) = check(&mut file, layout, slabs, entries, &mut hasher)?;
    let mut rest = Vec::new();
    if done < slabs.len() {
        return Ok(None);
    }
    file.read_to_end(&mut rest)?;
    hasher.update(&rest);
    Ok(rest.iter().all(|byte| *byte == 0).then(|| hex(&hasher.finalize())))
}

/// A file that grows in order.
#[derive(Debug)]
pub(super) struct Output {
    destination: PathBuf,
    partial: PathBuf,
    file: File,
    journal: Journal,
    /// Over everything up to `written`.
    hasher: Sha256,
    written: u64,
    done: usize,
}

impl Output {
    fn open(
        destination: &Path,
        partial: PathBuf,
        mut journal: Journal,
        entries: &[Entry],
        layout: &Layout,
        slabs: &[Slab],
    ) -> Result<Self> {
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&partial);
        let mut file = file.map_err(FormatError::io(&partial, "open"))?;
        let mut hasher = Sha256::new();
        let (done, written) = if entries.is_empty() {
            (0, 0)
        } else {
            check(&mut file, layout, slabs, entries, &mut hasher)
                .map_err(FormatError::io(&partial, "read"))?
        };
        if done < entries.len() {
            journal.keep(&layout.header, entries.get(..done).unwrap_or_default())?;
        }
        let mut output = Self {
            destination: destination.to_owned(),
            partial,
            file,
            journal,
            hasher,
            written,
            done,
        };
        if done == 0 {
            output.hasher = Sha256::new();
            output.written = 0;
        }
        let keep = output.written;
        output.file.set_len(keep).map_err(FormatError::io(&output.partial, "cut"))?;
        output
            .file
            .seek(SeekFrom::Start(keep))
            .map_err(FormatError::io(&output.partial, "seek in"))?;
        if done == 0 {
            output.put(&layout.header)?;
        }
        Ok(output)
    }

    /// Slabs that are already there.
    pub(super) fn done(&self) -> usize {
        self.done
    }

    /// Bytes of an earlier run that are used.
    pub(super) fn resumed(&self) -> u64 {
        if self.done > 0 { self.written } else { 0 }
    }

    /// Bytes that are there.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// Adds the next slab.
    pub(super) fn write(&mut self, slab: &Slab, encoded: &Encoded) -> Result<()> {
        self.pad_to(slab.offset)?;
        self.put(&encoded.bytes)?;
        let entry = Entry { offset: slab.offset, len: slab.len, sha256: hex(&encoded.sha256) };
        self.journal.add(&entry)
    }

    /// Completes and flushes the file, still under its temporary name.
    pub(super) fn seal(mut self, layout: &Layout) -> Result<Sealed> {
        self.pad_to(layout.len)?;
        self.file.sync_all().map_err(FormatError::io(&self.partial, "flush"))?;
        let sha256 = hex(&self.hasher.finalize());
        let Self { destination, partial, journal, .. } = self;
        Ok(Sealed { destination, partial, journal, sha256, renamed: false })
    }

    /// Padding between tensors is shorter than the alignment.
    fn pad_to(&mut self, offset: u64) -> Result<()> {
        let missing = usize::try_from(offset.saturating_sub(self.written)).unwrap_or(0);
        if missing > 0 { self.put(&vec![0; missing]) } else { Ok(()) }
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(|error| self.explain(error))?;
        self.hasher.update(bytes);
        self.written += bytes.len() as u64;
        Ok(())
    }

    fn explain(&self, error: io::Error) -> Error {
        if error.kind() == io::ErrorKind::StorageFull {
            let problem = format!(
                "{}: the disk is full after {} bytes",
                self.partial.display(),
                self.written
            );
            return Error::refused(
                problem,
                "make room and give the same command again: it goes on from there",
            );
        }
        FormatError::io(&self.partial, "write")(error).into()
    }
}

/// A complete file, under its temporary name until it is published.
#[derive(Debug)]
pub(super) struct Sealed {
    destination: PathBuf,
    partial: PathBuf,
    journal: Journal,
    sha256: String,
    renamed: bool,
}

/// Makes all files visible; gives their paths and SHA-256. Without `replace` what came to stand there meanwhile stays.
pub(super) fn publish(files: Vec<Sealed>, replace: bool) -> Result<Vec<(PathBuf, String)>> {
    let hidden = || files.iter().filter(|file| !file.renamed);
    // Before the first gets its name, so that an obstacle leaves no half of them.
    hidden().try_for_each(|file| atomic::refuse_file(&file.destination, replace))?;
    hidden().try_for_each(|file| atomic::rename(&file.partial, &file.destination, replace))?;
    if let Some(first) = files.first() {
        atomic::sync_folder(&atomic::folder_of(&first.destination))?;
    }
    let forget = |file: Sealed| {
        file.journal.remove()?;
        Ok((file.destination, file.sha256))
    };
    files.into_iter().map(forget).collect()
}

/// Reads what an earlier run left and compares it with its journal. Gives the number of sound slabs and where they end;
/// `hasher` has then seen the file up to there.
fn check(
    file: &mut File,
    layout: &Layout,
    slabs: &[Slab],
    entries: &[Entry],
    hasher: &mut Sha256,
) -> io::Result<(usize, u64)> {
    let mut buffer = vec![0; layout.header.len()];
    if !read_whole(file, &mut buffer)? || buffer != layout.header {
        return Ok((0, 0));
    }
    hasher.update(&buffer);
    let mut end = buffer.len() as u64;
    let mut done = 0;
    for (slab, entry) in slabs.iter().zip(entries) {
        let padding = usize::try_from(slab.offset.saturating_sub(end)).unwrap_or(0);
        buffer.resize(padding + slab.len, 0);
        if entry.offset != slab.offset || entry.len != slab.len || !read_whole(file, &mut buffer)? {
            break;
        }
        let (zeros, content) = buffer.split_at(padding);
        if zeros.iter().any(|byte| *byte != 0) || hex(&Sha256::digest(content)) != entry.sha256 {
            break;
        }
        hasher.update(&buffer);
        end = slab.offset + slab.len as u64;
        done += 1;
    }
    Ok((done, end))
}

/// Fills the buffer; false where the file ends before.
fn read_whole(file: &mut File, buffer: &mut [u8]) -> io::Result<bool> {
    match file.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
