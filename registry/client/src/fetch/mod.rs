//! Fetching one blob into a partial file: parallel ranges, resumed after any end, hashed once, on its way.

use std::{
    collections::VecDeque,
    fs::{File, OpenOptions, TryLockError},
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use tokio::{sync::Semaphore, task::JoinSet};

use crate::{
    Error, Result,
    http::{Patience, Response},
    source::{Opened, Source},
};

mod front;
mod ranges;

pub(crate) use front::{Check, hash_file};
use front::{EndOnDrop, Front};
use ranges::{Journal, Ranges};
pub(crate) use ranges::{discard, discard_journal};

/// What is to be fetched, and where to.
#[derive(Clone)]
pub(crate) struct Wanted {
    pub(crate) source: Source,
    pub(crate) check: Check,
    /// The partial file, kept across runs with a journal beside it.
    pub(crate) partial: PathBuf,
}

/// Between two lines of the journal.
const JOURNAL_EVERY: u64 = 8 << 20;
/// Between two marks for the hash that follows.
const MARK_EVERY: u64 = 1 << 20;
/// How long one connection is tried before it gets company.
const TRIAL: Duration = Duration::from_millis(100);
/// Bytes that a connection fast enough brings in that time: 400 MB/s.
const FAST: u64 = 40_000_000;
/// Connections of one blob beside its first, as far as there are free lanes.
const LANES: usize = 15;
/// Parts of a large blob: the hash follows at most so far behind.
const PARTS: u64 = 64;

/// Fetches a blob. When this returns, the partial file holds exactly what was wanted; it still has its journal, so that
/// a run that ends before it gets its name finds it again.
///
/// # Errors
/// [`Error::Broken`] for content that is not what it should be: nothing of it is kept.
pub(crate) async fn fetch(wanted: &Wanted, lanes: &Arc<Semaphore>) -> Result<()> {
    for last_try in [false, true] {
        let begun = Job::begin(wanted).await?;
        let resumed = begun.front.done().total();
        let progress = wanted.source.peer.http.progress.clone();
        progress.skip(resumed);
        let found = begun.run(lanes).await?;
        if found == wanted.check {
            return Ok(());
        }
        discard(&wanted.partial)?;
        progress.undo(wanted.source.size);
        if last_try || resumed == 0 {
            let (what, check) = (&wanted.source.what, &wanted.check);
            let what = format!("{what} has the digest {found}, not {check}");
            return Err(Error::broken(crate::address::place(&wanted.source.url), what));
        }
        progress.note(&format!(
            "what was kept of {} does not fit; fetching it anew",
            wanted.source.what
        ));
    }
    Ok(())
}

/// A blob being fetched.
struct Job {
    wanted: Wanted,
    file: Arc<File>,
    journal: Journal,
    front: Arc<Front>,
    queue: Mutex<VecDeque<(u64, u64)>>,
}

impl Job {
    async fn begin(wanted: &Wanted) -> Result<Self> {
        let wanted = wanted.clone();
        let opening = tokio::task::spawn_blocking(move || {
            let size = wanted.source.size;
            let file = open(&wanted.partial)?;
            let (journal, mut done) = Journal::open(&wanted.partial, size)?;
            let held = file.metadata().map_err(Error::io(&wanted.partial, "read the size of"))?;
            if held.len() != size {
                done = Ranges::default();
                journal.rewrite(&done, size)?;
            }
            room_for(&wanted.partial, size - done.total())?;
            file.set_len(size).map_err(Error::io(&wanted.partial, "make room in"))?;
            let front = Arc::new(Front::new(done));
            Ok(Self { wanted, file: Arc::new(file), journal, front, queue: Mutex::default() })
        });
        opening.await.map_err(|_| Error::Interrupted)?
    }

    /// Fetches what lacks, and says what the whole is.
    async fn run(self, lanes: &Arc<Semaphore>) -> Result<Check> {
        let (file, path) = (self.file.clone(), self.wanted.partial.clone());
        let (front, check) = (self.front.clone(), self.wanted.check.clone());
        let size = self.wanted.source.size;
        let hashing = tokio::task::spawn_blocking(move || front.follow(&file, &path, &check, size));
        let job = Arc::new(self);
        {
            let _end = EndOnDrop(&job.front);
            job.clone().transfer(lanes).await?;
        }
        let found = hashing.await.map_err(|_| Error::Interrupted)??;
        found.ok_or(Error::Interrupted)
    }

    async fn transfer(self: Arc<Self>, lanes: &Arc<Semaphore>) -> Result<()> {
        let (source, limits) = (&self.wanted.source, &self.wanted.source.peer.http.limits);
        let large = source.size >= limits.ranges_from;
        let piece =
            if large { limits.range_bytes.max(source.size.div_ceil(PARTS)) } else { source.size };
        let lacks = self.front.done().missing(source.size, piece);
        let Some(&(start, end)) = lacks.first() else { return Ok(()) };
        let permit = lanes.clone().acquire_owned().await.map_err(|_| Error::Interrupted)?;
        // The first answer tells whether the peer knows ranges.
        let range = (start != 0 || end != source.size).then_some((start, end));
        let http = &source.peer.http;
        let first = http.retrying(async || source.open(range).await).await?;
        let serial = matches!(first, Opened::Whole(_)) && range.is_some();
        if serial {
            let forgotten = self.front.keep_front();
            self.journal.rewrite(&self.front.done(), source.size)?;
            http.progress.undo(forgotten);
        }
        let mut rest: VecDeque<_> =
            if serial { VecDeque::from([(start, source.size)]) } else { lacks.into() };
        let begin = rest.pop_front().unwrap_or((start, end));
        let further = if large { rest.len() } else { 0 };
        *self.queue.lock().unwrap_or_else(PoisonError::into_inner) = rest;
        let mut running = JoinSet::new();
        let job = self.clone();
        let all_lanes = lanes.clone();
        running.spawn(async move {
            job.segment(begin.0, begin.1, Some(first)).await?;
            drop(permit);
            job.lane(&all_lanes).await
        });
        let mut slow = std::pin::pin!(self.slow());
        let mut alone = further > 0;
        loop {
            tokio::select! {
                ended = running.join_next() => match ended {
                    Some(ended) => ended.map_err(|_| Error::Interrupted)??,
                    None => return Ok(()),
                },
                () = &mut slow, if alone => {
                    alone = false;
                    for _ in 0..further.min(LANES) {
                        let (job, lanes) = (self.clone(), lanes.clone());
                        running.spawn(async move { job.lane(&lanes).await });
                    }
                }
            }
        }
    }

    /// Returns once one connection is not as fast as the hash: then more of them may be. Where it is, they would only be in
    /// each other's way.
    async fn slow(&self) {
        let mut before = self.front.total();
        loop {
            tokio::time::sleep(TRIAL).await;
            let now = self.front.total();
            if now.saturating_sub(before) < FAST {
                return;
            }
            before = now;
        }
    }

    /// Takes one segment after the other.
    async fn lane(&self, lanes: &Semaphore) -> Result<()> {
        loop {
            let _permit = lanes.acquire().await.map_err(|_| Error::Interrupted)?;
            let next = self.queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            let Some((start, end)) = next else { return Ok(()) };
            self.segment(start, end, None).await?;
        }
    }

    /// Fetches `start..end`, through as many connections as it takes.
    async fn segment(&self, start: u64, end: u64, first: Option<Opened>) -> Result<()> {
        let (source, http) = (&self.wanted.source, &self.wanted.source.peer.http);
        let mut patience = Patience::new(http);
        let mut at = start;
        let mut opened = first;
        while at < end {
            let before = at;
            let range = (at != 0 || end != source.size).then_some((at, end));
            let done = match opened.take() {
                Some(opened) => self.drain(opened, &mut at, end).await,
                None => match source.open(range).await {
                    Ok(opened) => self.drain(opened, &mut at, end).await,
                    Err(error) => Err(error),
                },
            };
            if at > before {
                patience.renew();
            }
            if let Err(error) = done {
                patience.wait(error).await?;
            }
        }
        Ok(())
    }

    /// Writes what one answer brings, up to `end`.
    async fn drain(&self, opened: Opened, at: &mut u64, end: u64) -> Result<()> {
        let (answer, behind, until, to_the_end) = match opened {
            Opened::Range(answer, first, last) => (answer, *at - first, last.min(end), true),
            Opened::Whole(answer) => (answer, *at, end, end == self.wanted.source.size),
        };
        let mut written = Written { job: self, journaled: *at, marked: *at, at };
        let drained = written.drain(answer, behind, until, to_the_end).await;
        // What came before an error is kept.
        let noted = written.note(true);
        drained.and(noted)
    }
}

/// What one answer has brought.
struct Written<'a> {
    job: &'a Job,
    journaled: u64,
    marked: u64,
    at: &'a mut u64,
}

impl Written<'_> {
    /// Skips `behind` bytes and writes what comes up to `until`, where the body ends if it is read `to_the_end`.
    async fn drain(
        &mut self,
        mut answer: Response,
        mut behind: u64,
        until: u64,
        to_the_end: bool,
    ) -> Result<()> {
        while *self.at < until || to_the_end {
            let mut chunk = match answer.chunk().await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => break,
                // All is there; how the connection ends does not matter.
                Err(_) if *self.at == until => break,
                Err(error) => return Err(error),
            };
            let skipped = behind.min(chunk.len() as u64);
            behind -= skipped;
            let mut chunk = chunk.split_off(skipped as usize);
            let room = until - *self.at;
            if chunk.len() as u64 > room {
                if to_the_end {
                    let wanted = &self.job.wanted.source;
                    let what = format!("more bytes than {} has: {}", wanted.what, wanted.size);
                    return Err(Error::broken(answer.place(), what));
                }
                chunk.truncate(room as usize);
            }
            self.write(&chunk)?;
        }
        if *self.at < until {
            let what = format!("the body ends {} bytes early", until - *self.at);
            return Err(Error::Connection { place: answer.place(), what });
        }
        Ok(())
    }

    fn write(&mut self, chunk: &Bytes) -> Result<()> {
        let (file, path) = (&self.job.file, &self.job.wanted.partial);
        file.write_all_at(chunk, *self.at).map_err(Error::io(path, "write"))?;
        *self.at += chunk.len() as u64;
        self.job.wanted.source.peer.http.progress.advance(chunk.len() as u64);
        self.note(false)
    }

    /// Tells the hash and the journal, at times.
    fn note(&mut self, now: bool) -> Result<()> {
        let at = *self.at;
        if now || at - self.marked >= MARK_EVERY {
            self.job.front.mark(self.marked, at);
            self.marked = at;
        }
        if now || at - self.journaled >= JOURNAL_EVERY {
            self.job.journal.add(self.journaled, at)?;
            self.journaled = at;
        }
        Ok(())
    }
}

/// Opens a partial file for one process.
fn open(path: &Path) -> Result<File> {
    for _ in 0..3 {
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(path)
            .map_err(Error::io(path, "open"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::refused(
                    format!("{} is being fetched by another process", path.display()),
                    "wait for it to end",
                ));
            }
            Err(TryLockError::Error(error)) => return Err(Error::io(path, "lock")(error)),
        }
        // Another process may have given the file its name before we had the lock.
        let ours = file.metadata().map_err(Error::io(path, "read the size of"))?;
        if std::fs::metadata(path).is_ok_and(|named| named.ino() == ours.ino()) {
            return Ok(file);
        }
    }
    Err(Error::refused(
        format!("{} is being fetched by another process", path.display()),
        "wait for it to end",
    ))
}

/// Says early what would come late.
fn room_for(path: &Path, needed: u64) -> Result<()> {
    let folder = mdl_formats::atomic::folder_of(path);
    let Ok(facts) = rustix::fs::statvfs(&folder) else { return Ok(()) };
    let free = facts.f_bavail.saturating_mul(facts.f_frsize);
    if free < needed {
        return Err(Error::NoSpace { path: path.to_owned(), needed, free });
    }
    Ok(())
}
