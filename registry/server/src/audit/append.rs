//! Adding lines to the log, for any number of processes at once.
//!
//! Who adds holds a lock on `audit.lock` in the registry's folder, and writes there, after the log is durable, how far
//! the chain is. So that file is never ahead of the log, and a log that is behind it was cut or replaced: the chain then
//! goes on from what was noted, and the gap stays to be seen. Where a log begins anew, because it was renamed or because
//! the folder came out of a backup, it goes on from there too, or from `audit-head.json`.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use super::{
    chain::{Head, LINE_BYTES, Link, is_hash},
    event::{Event, Kind},
};

/// The file that is locked, and that says how far the chain is.
pub(super) const LOCK: &str = "audit.lock";

/// The head as it was when the log was last closed, begun anew or backed up.
pub(super) const HEAD: &str = "audit-head.json";

/// Bytes at the end of a log that hold its last line and what a crash left after it.
const TAIL: u64 = 2 * LINE_BYTES as u64 + 2;

/// Bytes of what stands in the locked file.
const NOTED: usize = 20 + 1 + 64 + 1;

/// A log that lines are added to.
#[derive(Debug)]
pub(super) struct Log {
    root: PathBuf,
    path: PathBuf,
    lock: Option<File>,
    open: Option<Open>,
}

/// The log's file as this process left it.
#[derive(Debug)]
struct Open {
    file: File,
    end: u64,
    head: Head,
    /// Bytes after the end that are no whole line.
    torn: u64,
}

impl Log {
    /// The log at a path, of the registry in a folder. Nothing is opened yet.
    pub(super) fn new(root: &Path, path: &Path) -> Self {
        Self { root: root.to_owned(), path: path.to_owned(), lock: None, open: None }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Whether anything was added to it by this process.
    pub(super) fn was_used(&self) -> bool {
        self.lock.is_some()
    }

    /// Whether lines could be added, as far as can be told without adding any.
    pub(super) fn check(&mut self) -> io::Result<()> {
        self.locked(|log, lock| log.current(lock).map(|_| ()))
    }

    /// Adds a line for each event; they are durable when it returns. Where it fails none is there, unless the system could
    /// not take them back either: then they may come twice.
    pub(super) fn append(&mut self, events: &[&Event]) -> io::Result<Head> {
        self.locked(|log, lock| {
            let mut open = log.current(lock)?;
            let added = open.append(events);
            match added {
                Ok(()) => {
                    // The lines are there: whoever looks next learns from them how far the chain is.
                    if let Err(error) = note(lock, &open.head) {
                        tracing::warn!("how far the audit log is cannot be noted: {error}");
                    }
                    let head = open.head.clone();
                    log.open = Some(open);
                    Ok(head)
                }
                Err(error) => {
                    let _ = open.file.set_len(open.end);
                    Err(error)
                }
            }
        })
    }

    /// Writes down durably how far the chain is, for a log that begins anew.
    pub(super) fn keep_head(&mut self) -> io::Result<()> {
        let head = self.locked(|log, lock| {
            let open = log.current(lock)?;
            let head = open.head.clone();
            log.open = Some(open);
            Ok(head)
        })?;
        if head.seq == 0 {
            return Ok(());
        }
        head.write(&self.root.join(HEAD)).map_err(io::Error::other)
    }

    fn locked<T>(&mut self, work: impl FnOnce(&mut Self, &File) -> io::Result<T>) -> io::Result<T> {
        let lock = match self.lock.take() {
            Some(lock) => lock,
            None => open_lock(&self.root)?,
        };
        lock.lock()?;
        let done = work(self, &lock);
        // It ends with the file at the latest.
        if lock.unlock().is_ok() {
            self.lock = Some(lock);
        }
        done
    }

    /// The log's file: as this process left it where that is so, else as it is found.
    fn current(&mut self, lock: &File) -> io::Result<Open> {
        if let Some(open) = self.open.take()
            && open.is_at(&self.path)
        {
            return Ok(open);
        }
        let file = opened(&self.path)?;
        let (last, end, torn) = ending(&file)?;
        let head = furthest(last, noted(lock), Head::read(&self.root.join(HEAD)).ok());
        Ok(Open { file, end, head, torn })
    }
}

impl Open {
    /// Whether it is still the file at that path, and ends where this process left it.
    fn is_at(&self, path: &Path) -> bool {
        let (Ok(own), Ok(there)) = (self.file.metadata(), fs::metadata(path)) else { return false };
        (own.dev(), own.ino()) == (there.dev(), there.ino()) && there.len() == self.end
    }

    fn append(&mut self, events: &[&Event]) -> io::Result<()> {
        let (mut head, mut text) = (self.head.clone(), Vec::new());
        let mut add = |event: &Event| {
            let seq = head.seq.checked_add(1).ok_or(io::ErrorKind::InvalidData)?;
            let line = event.line(&head, seq);
            head = Head::after(seq, line.as_bytes());
            text.extend_from_slice(line.as_bytes());
            text.push(b'\n');
            io::Result::Ok(())
        };
        if self.torn > 0 {
            add(&Event::new(Kind::Cut).count("bytes", self.torn))?;
        }
        events.iter().try_for_each(|event| add(event))?;
        if self.torn > 0 {
            self.file.set_len(self.end)?;
        }
        // It is open for appending: also where the system lets nobody do more to it.
        self.file.write_all(&text)?;
        self.file.sync_data()?;
        self.end += text.len() as u64;
        (self.head, self.torn) = (head, 0);
        Ok(())
    }
}

pub(super) fn open_lock(root: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    options.open(root.join(LOCK))
}

fn opened(path: &Path) -> io::Result<File> {
    if fs::metadata(path).is_ok_and(|facts| !facts.is_file()) {
        return Err(io::Error::other("it is no file"));
    }
    let is_new = !path.exists();
    let file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
    if is_new && let Some(folder) = path.parent() {
        let folder = if folder == Path::new("") { Path::new(".") } else { folder };
        File::open(folder)?.sync_all()?;
    }
    Ok(file)
}

/// The last whole line as a head, where it ends, and how many bytes follow that are no whole line.
pub(super) fn ending(file: &File) -> io::Result<(Option<Head>, u64, u64)> {
    let length = file.metadata()?.len();
    let from = length.saturating_sub(TAIL);
    let mut tail = vec![0; (length - from) as usize];
    file.read_exact_at(&mut tail, from)?;
    let wrong = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
    let Some(end) = tail.iter().rposition(|byte| *byte == b'\n') else {
        if from > 0 {
            return Err(wrong("its last line is too long for an audit log".to_owned()));
        }
        return Ok((None, 0, length));
    };
    let whole = tail.get(..end).unwrap_or_default();
    let begin = whole.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let line = whole.get(begin..).unwrap_or_default();
    let link = Link::read(line).map_err(|what| {
        wrong(format!("its last line is {what}; move it away, and the chain goes on in a new one"))
    })?;
    let end = from + end as u64 + 1;
    Ok((Some(Head::after(link.seq, line)), end, length - end))
}

/// From where a chain goes on: a log that is behind what was noted, or says something else, was tampered with, and going
/// on from what was noted lets that be seen.
pub(super) fn furthest(last: Option<Head>, noted: Option<Head>, kept: Option<Head>) -> Head {
    let known = [noted, kept].into_iter().flatten().max_by_key(|head| head.seq);
    let known = known.unwrap_or_else(Head::genesis);
    match last {
        Some(last) if last.seq > known.seq => last,
        _ => known,
    }
}

/// What the locked file says.
pub(super) fn noted(lock: &File) -> Option<Head> {
    let mut bytes = [0; NOTED];
    lock.read_exact_at(&mut bytes, 0).ok()?;
    let (seq, rest) = std::str::from_utf8(&bytes).ok()?.split_once(' ')?;
    let sha256 = rest.strip_suffix('\n')?;
    is_hash(sha256).then_some(())?;
    Some(Head { seq: seq.parse().ok()?, sha256: sha256.to_owned() })
}

/// Always as many bytes, so that one write replaces another whole. It need not be durable: a log that is further counts.
fn note(lock: &File, head: &Head) -> io::Result<()> {
    lock.write_all_at(format!("{:020} {}\n", head.seq, head.sha256).as_bytes(), 0)
}
