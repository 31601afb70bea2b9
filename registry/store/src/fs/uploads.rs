//! Uploads: bytes that arrive in chunks and become a blob, over restarts.
//!
//! The metadata say how many bytes are flushed and what the hash was there; what lies behind that in the file is cut
//! off when the upload goes on. While a chunk comes in, this is brought up to date every [`CHECKPOINT`] bytes, so that a
//! killed server loses no more than that.

use std::{
    collections::BTreeSet,
    io,
    path::Path,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
};

use super::{Inner, hashing::Hashing, io_error, sync_folder};
use crate::{
    Algorithm, Digest, Error, Hasher, Name, Piece, Result, UploadId, UploadStatus, UploadWriter,
    db::{BLOBS, HELD, HOLDERS, Session, UPLOADS},
    disk::DiskFile,
};

/// Bytes after which a running chunk is flushed and noted.
const CHECKPOINT: u64 = 256 << 20;
/// Bytes that are collected before they go to the file.
const BUFFER: usize = 1 << 20;

/// Bytes of a batch from which on a second thread hashes it while this one writes.
const OVERLAPPED: usize = 1 << 20;

/// Uploads that somebody is writing to.
#[derive(Debug, Default, Clone)]
pub(super) struct Writers(Arc<Mutex<BTreeSet<String>>>);

impl Writers {
    pub(super) fn begin(&self, id: &str) -> Option<Busy> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(id.to_owned()).then(|| Busy { all: self.clone(), id: id.to_owned() })
    }
}

/// Ends when dropped.
#[derive(Debug)]
pub(super) struct Busy {
    all: Writers,
    id: String,
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.all.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

impl Inner {
    pub(super) fn count_uploads(&self) -> Result<u64> {
        let read = self.read()?;
        let count = || -> Result<u64, redb::Error> {
            use redb::ReadableTableMetadata;
            Ok(read.open_table(UPLOADS)?.len()?)
        };
        count().map_err(|error| self.broken(error))
    }

    pub(super) fn session(&self, repo: &Name, id: &UploadId) -> Result<Session> {
        let read = self.read()?;
        let found = || -> Result<Option<Vec<u8>>, redb::Error> {
            let table = read.open_table(UPLOADS)?;
            Ok(table.get(id.0.as_str())?.map(|value| value.value().to_vec()))
        };
        let found = found().map_err(|error| self.broken(error))?;
        let unknown = || Error::UploadUnknown(repo.clone());
        let session: Session = self.decode(&found.ok_or_else(unknown)?)?;
        if session.repo == repo.as_str() { Ok(session) } else { Err(unknown()) }
    }

    pub(super) fn put_session(&self, id: &str, session: &Session) -> Result<()> {
        let record = self.encode(session)?;
        let write = self.write()?;
        let put = || -> Result<(), redb::Error> {
            write.open_table(UPLOADS)?.insert(id, record.as_slice())?;
            Ok(())
        };
        put().map_err(|error| self.broken(error))?;
        self.commit(write)
    }

    pub(super) fn begin(&self, repo: &Name, algorithm: Algorithm) -> Result<UploadId> {
        let limit = self.limits.uploads as u64;
        if self.uploads.load(Ordering::Relaxed) >= limit {
            return Err(Error::TooLarge { what: "the number of uploads under way", limit });
        }
        self.reserve(repo.as_str(), "", 1, false)?;
        let id = self.unguessable()?;
        let state = Hasher::new(algorithm).state();
        let session = Session {
            repo: repo.to_string(),
            algorithm: algorithm.name().to_owned(),
            offset: 0,
            state: state.clone(),
            last_chunk: 0,
            last_state: state,
            touched: self.now(),
        };
        self.put_session(&id, &session)?;
        self.uploads.fetch_add(1, Ordering::Relaxed);
        Ok(UploadId(id))
    }

    pub(super) fn resume(self: &Arc<Self>, repo: &Name, id: &UploadId, at: u64) -> Result<Writer> {
        let busy = self.writers.begin(&id.0).ok_or(Error::UploadBusy)?;
        let mut session = self.session(repo, id)?;
        if at == session.offset {
            session.last_chunk = session.offset;
            session.last_state.clone_from(&session.state);
        } else if at == session.last_chunk {
            session.offset = session.last_chunk;
            session.state.clone_from(&session.last_state);
            // Before the file is cut: the metadata never promise more than it holds.
            self.put_session(&id.0, &session)?;
        } else {
            return Err(Error::RangeMismatch { stated: at, held: session.offset });
        }
        let hasher = self.hasher(&session)?;
        let file = self.session_file(repo, id, session.offset)?;
        Ok(Writer {
            store: Arc::clone(self),
            id: id.0.clone(),
            noted: session.offset,
            written: session.offset,
            buffer: Vec::new(),
            session,
            hasher,
            hashing: None,
            file,
            closed: false,
            _busy: busy,
        })
    }

    fn hasher(&self, session: &Session) -> Result<Hasher> {
        let algorithm = Algorithm::named(&session.algorithm);
        let hasher = algorithm.and_then(|algorithm| Hasher::resume(algorithm, &session.state));
        hasher.ok_or_else(|| self.corrupt("an upload's hash state is damaged"))
    }

    /// As [`Inner::upload_file`]. A session without a file (somebody removed it) is over.
    fn session_file(&self, repo: &Name, id: &UploadId, len: u64) -> Result<Box<dyn DiskFile>> {
        match self.upload_file(&id.0, len) {
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                self.forget(&id.0)?;
                Err(Error::UploadUnknown(repo.clone()))
            }
            other => other,
        }
    }

    /// The upload's file, cut to what is known of it.
    fn upload_file(&self, id: &str, len: u64) -> Result<Box<dyn DiskFile>> {
        let path = self.upload_path(id);
        if len == 0 {
            // Perhaps a crash left one.
            let _ = self.disk.remove(&path);
            let file = self.disk.create(&path).map_err(|error| io_error("create", &path, error))?;
            sync_folder(&*self.disk, &self.root.join("uploads"))?;
            return Ok(file);
        }
        let file = self.disk.open(&path).map_err(|error| io_error("open", &path, error))?;
        let held = file.len().map_err(|error| io_error("look at", &path, error))?;
        if held < len {
            return Err(self.corrupt("an upload's file is shorter than noted"));
        }
        file.set_len(len).map_err(|error| io_error("cut", &path, error))?;
        Ok(file)
    }

    pub(super) fn finish(&self, repo: &Name, id: &UploadId, digest: &Digest) -> Result<u64> {
        let busy = self.writers.begin(&id.0).ok_or(Error::UploadBusy)?;
        let session = self.session(repo, id)?;
        let file = self.session_file(repo, id, session.offset)?;
        let found = if session.algorithm == digest.algorithm().name() {
            self.hasher(&session)?.finish()
        } else {
            self.read_hash(digest.algorithm(), &*file, session.offset)?
        };
        if found != *digest {
            self.forget(&id.0)?;
            return Err(Error::DigestMismatch { stated: digest.clone(), found });
        }
        file.sync().map_err(|error| io_error("flush", &self.upload_path(&id.0), error))?;
        drop(file);
        let adopted =
            self.adopt(repo, digest, session.offset, &self.upload_path(&id.0), Some(&id.0));
        if let Err(Error::Quota { .. }) = adopted {
            // Whoever sent it can only give it up, and it would be in the way of others.
            self.forget(&id.0)?;
        }
        adopted?;
        self.uploads.fetch_sub(1, Ordering::Relaxed);
        drop(busy);
        Ok(session.offset)
    }

    /// The one case in which bytes are read again: a hash that is first named at the end.
    fn read_hash(&self, algorithm: Algorithm, file: &dyn DiskFile, len: u64) -> Result<Digest> {
        let mut hasher = Hasher::new(algorithm);
        let (mut at, mut buffer) = (0, vec![0; BUFFER]);
        while at < len {
            let read = file.read_at(at, &mut buffer);
            let read = read.map_err(|error| io_error("read", &self.root.join("uploads"), error))?;
            let bytes = buffer.get(..read.min((len - at) as usize)).unwrap_or_default();
            if bytes.is_empty() {
                return Err(self.corrupt("an upload's file is shorter than noted"));
            }
            hasher.update(bytes);
            at += bytes.len() as u64;
        }
        Ok(hasher.finish())
    }

    /// Makes a flushed file a blob that `repo` holds. The upload it comes from ends in the same commit.
    pub(super) fn adopt(
        &self,
        repo: &Name,
        digest: &Digest,
        size: u64,
        from: &Path,
        upload: Option<&str>,
    ) -> Result<()> {
        let path = self.blob_path(digest);
        let folder = path.parent().unwrap_or(&self.root).to_owned();
        if upload.is_some() {
            self.would_fit(repo, digest, size)?;
        }
        let guard = self.guards.of(digest);
        if self.blob_size(digest)?.is_none() {
            self.disk.create_folder(&folder).map_err(|error| io_error("create", &folder, error))?;
            if upload.is_some() {
                self.second_name(from, &path)?;
            } else {
                self.disk
                    .rename(from, &path)
                    .map_err(|error| io_error("rename to", &path, error))?;
            }
            sync_folder(&*self.disk, &folder)?;
            if let Some(above) = folder.parent() {
                sync_folder(&*self.disk, above)?;
            }
        }
        let until = self.now().saturating_add(self.keep.lease);
        let (name, key) = (repo.as_str(), digest.to_string());
        let mut ledger = self.ledger()?;
        let write = self.write()?;
        let mut put = || -> Result<(), redb::Error> {
            write.open_table(BLOBS)?.insert(key.as_str(), size)?;
            if write.open_table(HELD)?.insert((name, key.as_str()), until)?.is_none() {
                ledger.came(name, &key, size);
            }
            write.open_table(HOLDERS)?.insert((key.as_str(), name), ())?;
            if let Some(id) = upload {
                ledger.becomes_blob(id);
                write.open_table(UPLOADS)?.remove(id)?;
            }
            Ok(())
        };
        put().map_err(|error| self.broken(error))?;
        // What a view puts beside a model is counted and never refused: reading goes on where a quota is used up.
        if upload.is_some() {
            ledger.check()?;
        }
        self.blob_arrived(&write, name, &key)?;
        self.commit_with(write, ledger)?;
        drop(guard);
        // Gone where it was renamed. What cannot be removed is garbage, which goes when the store is opened next.
        let _ = self.disk.remove(from);
        Ok(())
    }

    /// Lets an upload's file have its blob's name too. It keeps its own until the metadata name the blob, so that a crash
    /// in between takes nothing from the upload.
    fn second_name(&self, from: &Path, to: &Path) -> Result<()> {
        let link = || match self.disk.link(from, to) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                // A crash left it, and nothing names it.
                self.disk.remove(to)?;
                self.disk.link(from, to)
            }
            other => other,
        };
        // Not every file system has links.
        let linked = link().or_else(|error| match error.kind() {
            io::ErrorKind::Unsupported | io::ErrorKind::PermissionDenied => {
                self.disk.rename(from, to)
            }
            _ => Err(error),
        });
        linked.map_err(|error| io_error("give its name to", to, error))
    }

    /// Forgets an upload: first in the metadata, then its file.
    pub(super) fn forget(&self, id: &str) -> Result<()> {
        let write = self.write()?;
        let remove = || -> Result<bool, redb::Error> {
            Ok(write.open_table(UPLOADS)?.remove(id)?.is_some())
        };
        let was = remove().map_err(|error| self.broken(error))?;
        self.commit(write)?;
        self.release_upload(id);
        if was {
            self.uploads.fetch_sub(1, Ordering::Relaxed);
        }
        // Not there where nothing was written yet; else garbage, which a collection takes.
        let _ = self.disk.remove(&self.upload_path(id));
        Ok(())
    }

    pub(super) fn cancel(&self, repo: &Name, id: &UploadId) -> Result<()> {
        let _busy = self.writers.begin(&id.0).ok_or(Error::UploadBusy)?;
        self.session(repo, id)?;
        self.forget(&id.0)
    }

    /// Uploads that nobody touched since `before`.
    pub(super) fn idle_uploads(&self, before: u64) -> Result<Vec<(String, Session)>> {
        let mut idle = self.sessions()?;
        idle.retain(|(_, session)| session.touched < before);
        Ok(idle)
    }
}

/// The writer of an upload.
pub(super) struct Writer {
    store: Arc<Inner>,
    id: String,
    session: Session,
    /// Of what is written, while no thread has it.
    hasher: Hasher,
    hashing: Option<Hashing>,
    file: Box<dyn DiskFile>,
    /// Bytes in the file, flushed or not.
    written: u64,
    /// Bytes that the metadata know of.
    noted: u64,
    buffer: Vec<u8>,
    closed: bool,
    _busy: Busy,
}

impl Writer {
    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.settle()?;
        let end = self.fits(bytes.len() as u64)?;
        let written = self.file.write_at(self.written, bytes);
        written.map_err(|error| self.failed("write", error))?;
        self.hasher.update(bytes);
        self.written = end;
        if end - self.noted >= CHECKPOINT { self.note() } else { Ok(()) }
    }

    /// The same with a thread that hashes meanwhile.
    fn put_batch(&mut self, batch: &Arc<[Piece]>, len: usize) -> Result<()> {
        let end = self.fits(len as u64)?;
        if self.hashing.is_none() {
            let begun = Hashing::begin(self.hasher.clone(), self.written);
            self.hashing = Some(begun.map_err(|error| self.failed("hash", error))?);
        }
        let hashing = self.hashing.as_ref().map_or(Ok(()), |it| it.add(Arc::clone(batch)));
        hashing.map_err(|error| self.failed("hash", error))?;
        let mut at = self.written;
        for piece in batch.iter() {
            let bytes = (**piece).as_ref();
            let written = self.file.write_at(at, bytes);
            written.map_err(|error| self.failed("write", error))?;
            at += bytes.len() as u64;
        }
        self.written = end;
        if end - self.noted >= CHECKPOINT { self.note() } else { Ok(()) }
    }

    /// Takes the hash of what is written back from its thread.
    fn settle(&mut self) -> Result<()> {
        if let Some(hashing) = self.hashing.take() {
            let state = hashing.state(self.written);
            self.hasher = state.map_err(|error| self.failed("hash", error))?;
        }
        Ok(())
    }

    /// Where so many more bytes end. They are this upload's from now on.
    fn fits(&self, len: u64) -> Result<u64> {
        let end = self.end_of(len)?;
        self.store.reserve(&self.session.repo, &self.id, end, true)?;
        Ok(end)
    }

    /// The same without taking them.
    fn end_of(&self, len: u64) -> Result<u64> {
        let (end, limit) = (self.written.saturating_add(len), self.store.limits.blob_bytes);
        if end > limit {
            return Err(Error::TooLarge { what: "the blob", limit });
        }
        Ok(end)
    }

    fn failed(&self, what: &'static str, error: io::Error) -> Error {
        io_error(what, &self.store.upload_path(&self.id), error)
    }

    fn drain(&mut self) -> Result<()> {
        let buffer = std::mem::take(&mut self.buffer);
        let done = self.put(&buffer);
        self.buffer = buffer;
        self.buffer.clear();
        done
    }

    /// Flushes, and then says so in the metadata.
    fn note(&mut self) -> Result<()> {
        self.settle()?;
        self.file.sync().map_err(|error| self.failed("flush", error))?;
        self.session.offset = self.written;
        self.session.state = self.hasher.state();
        self.session.touched = self.store.now();
        self.store.put_session(&self.id, &self.session)?;
        self.noted = self.written;
        Ok(())
    }

    fn end(&mut self) -> Result<UploadStatus> {
        self.closed = true;
        // Even where the last bytes did not fit, what is in the file is worth keeping.
        let drained = if self.buffer.is_empty() { Ok(()) } else { self.drain() };
        self.note()?;
        drained?;
        Ok(UploadStatus { offset: self.session.offset, last_chunk: self.session.last_chunk })
    }
}

impl UploadWriter for Writer {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        if self.buffer.is_empty() && bytes.len() >= BUFFER / 4 {
            return self.put(bytes);
        }
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= BUFFER { self.drain() } else { Ok(()) }
    }

    fn write_batch(&mut self, batch: Arc<[Piece]>) -> Result<()> {
        let len: usize = batch.iter().map(|piece| (**piece).as_ref().len()).sum();
        if len < OVERLAPPED {
            return batch.iter().try_for_each(|piece| self.write((**piece).as_ref()));
        }
        if !self.buffer.is_empty() {
            self.drain()?;
        }
        self.put_batch(&batch, len)
    }

    fn takes(&self, bytes: u64) -> Result<()> {
        let end = self.end_of(bytes.saturating_add(self.buffer.len() as u64))?;
        self.store.reserve(&self.session.repo, &self.id, end, false)
    }

    fn close(mut self: Box<Self>) -> Result<UploadStatus> {
        self.end()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if !self.closed {
            // Nobody is left to hear of a failure; what was noted before stays true.
            let _ = self.end();
        }
    }
}
