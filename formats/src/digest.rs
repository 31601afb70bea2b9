//! SHA-256 of files, cached by inode, size and modification time so that nothing is hashed twice.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs::{self, File},
    io::{Read, Write as _},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::{Error, Result, atomic::AtomicFile};

/// A digest in lower-case hex.
pub fn hex(digest: &[u8]) -> String {
    digest.iter().fold(String::with_capacity(digest.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The bytes of a digest in hex; what is no pair of digits is left out.
pub fn unhex(digits: &str) -> Vec<u8> {
    let byte = |at: usize| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
    (0..digits.len()).step_by(2).filter_map(byte).collect()
}

/// Told how far hashing is, and asked whether to go on; from several threads.
pub trait Watch: Sync {
    /// Bytes to read in all.
    fn begin(&self, total: u64);
    /// So many more were read.
    fn read(&self, bytes: u64);
    /// Whether to stop.
    fn interrupted(&self) -> bool;
}

/// Hashing that nobody watches or stops.
#[derive(Debug, Clone, Copy)]
pub struct Unwatched;

impl Watch for Unwatched {
    fn begin(&self, _: u64) {}
    fn read(&self, _: u64) {}
    fn interrupted(&self) -> bool {
        false
    }
}

/// SHA-256 of a file's content, in hex. Reads it once, a megabyte at a time.
///
/// # Errors
/// [`Error::Io`].
pub fn sha256_file(path: &Path) -> Result<String> {
    sha256_watched(path, &Unwatched)
}

fn sha256_watched(path: &Path, watch: &dyn Watch) -> Result<String> {
    let mut file = File::open(path).map_err(Error::io(path, "open"))?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        if watch.interrupted() {
            return Err(Error::Interrupted);
        }
        let read = file.read(&mut buffer).map_err(Error::io(path, "read"))?;
        if read == 0 {
            return Ok(hex(&hasher.finalize()));
        }
        hasher.update(buffer.get(..read).unwrap_or_default());
        watch.read(read as u64);
    }
}

/// Digests of files seen before, in one file of lines. It holds no promise: a line that does not fit is ignored, and a
/// cache that cannot be written costs time only.
#[derive(Debug, Default)]
pub struct DigestCache {
    path: Option<PathBuf>,
    known: BTreeMap<String, String>,
}

/// Lines that the cache keeps at most.
const KEPT: usize = 10_000;

impl DigestCache {
    /// The cache in a folder; without one nothing is kept.
    pub fn open(folder: Option<&Path>) -> Self {
        let path = folder.map(|folder| folder.join("digests.txt"));
        let text =
            path.as_deref().and_then(|path| fs::read_to_string(path).ok()).unwrap_or_default();
        let line = |line: &str| {
            let (key, digest) = line.rsplit_once(' ')?;
            let sound = digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
            sound.then(|| (key.to_owned(), digest.to_owned()))
        };
        Self { path, known: text.lines().filter_map(line).take(KEPT).collect() }
    }

    /// SHA-256 of every file, in order, in hex: known ones from the cache, the others hashed on all cores. What was
    /// hashed before an error or an interruption is kept in the cache.
    ///
    /// # Errors
    /// [`Error::Io`] for the first file that cannot be read, [`Error::Interrupted`].
    pub fn sha256_all(&mut self, files: &[PathBuf], watch: &dyn Watch) -> Result<Vec<String>> {
        let facts = files.iter().map(|path| facts(path)).collect::<Result<Vec<_>>>()?;
        let unknown = facts.iter().filter(|(key, _)| !self.known.contains_key(key));
        watch.begin(unknown.map(|(_, size)| size).sum());
        let hashed: Vec<Result<String>> = files
            .par_iter()
            .zip(&facts)
            .map(|(path, (key, _))| match self.known.get(key) {
                Some(digest) => Ok(digest.clone()),
                None => sha256_watched(path, watch),
            })
            .collect();
        let mut fresh = false;
        for ((key, _), digest) in facts.into_iter().zip(&hashed) {
            if let Ok(digest) = digest {
                fresh |= self.known.insert(key, digest.clone()).is_none();
            }
        }
        if fresh {
            self.save();
        }
        hashed.into_iter().collect()
    }

    /// Takes in the digests of files that were just written, in hex. A file that is gone already is left out.
    pub fn note<'a>(&mut self, files: impl IntoIterator<Item = (&'a Path, &'a str)>) {
        for (path, sha256) in files {
            if let Ok((key, _)) = facts(path) {
                self.known.insert(key, sha256.to_owned());
            }
        }
        self.save();
    }

    fn save(&self) {
        let Some(path) = &self.path else { return };
        let folder = path.parent().unwrap_or(Path::new("."));
        let lines = self.known.iter().rev().take(KEPT);
        let text =
            lines.fold(String::new(), |text, (key, digest)| text + key + " " + digest + "\n");
        let written =
            fs::create_dir_all(folder).map_err(Error::io(folder, "create")).and_then(|()| {
                let mut file = AtomicFile::create(path, true)?;
                file.write_all(text.as_bytes()).map_err(Error::io(path, "write"))?;
                file.commit()
            });
        if let Err(error) = written {
            tracing::info!("digests are not kept: {error}");
        }
    }
}

/// What tells a file from all others and from itself after a change; and its length in bytes.
fn facts(path: &Path) -> Result<(String, u64)> {
    let facts = fs::metadata(path).map_err(Error::io(path, "read the size of"))?;
    let (device, inode, size) = (facts.dev(), facts.ino(), facts.len());
    Ok((format!("{device}:{inode}:{size}:{}.{:09}", facts.mtime(), facts.mtime_nsec()), size))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn known_files_are_not_read_again_and_changed_ones_are() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("home");
        let file = dir.path().join("file");
        fs::write(&file, "abc").unwrap();
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let files = [file.clone()];
        assert_eq!(DigestCache::open(Some(&home)).sha256_all(&files, &Unwatched).unwrap(), [abc]);

        // A false digest in the cache shows that it is used.
        let cache = home.join("digests.txt");
        let text = fs::read_to_string(&cache).unwrap().replace(abc, &"0".repeat(64));
        fs::write(&cache, text).unwrap();
        assert_eq!(
            DigestCache::open(Some(&home)).sha256_all(&files, &Unwatched).unwrap(),
            ["0".repeat(64)]
        );

        fs::write(&file, "abcd").unwrap();
        assert_ne!(
            DigestCache::open(Some(&home)).sha256_all(&files, &Unwatched).unwrap(),
            ["0".repeat(64)]
        );

        // One that was just written is known.
        let mut noting = DigestCache::open(Some(&home));
        noting.note([(file.as_path(), "1".repeat(64).as_str())]);
        let known = DigestCache::open(Some(&home)).sha256_all(&files, &Unwatched).unwrap();
        assert_eq!(known, ["1".repeat(64)]);

        fs::write(&cache, "rubbish \u{0}\nx y z\n").unwrap();
        assert_eq!(DigestCache::open(None).sha256_all(&files, &Unwatched).unwrap().len(), 1);
    }

    /// Stops after some bytes.
    struct Impatient {
        total: AtomicU64,
        left: AtomicU64,
    }

    impl Watch for Impatient {
        fn begin(&self, total: u64) {
            self.total.store(total, Ordering::Relaxed);
        }
        fn read(&self, bytes: u64) {
            let _ = self
                .left
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes));
        }
        fn interrupted(&self) -> bool {
            self.left.load(Ordering::Relaxed) < 1 << 20
        }
    }

    #[test]
    fn hashing_stops_within_a_file_and_finished_files_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let (small, large) = (dir.path().join("small"), dir.path().join("large"));
        fs::write(&small, "abc").unwrap();
        File::create(&large).unwrap().set_len(8 << 20).unwrap();
        let mut cache = DigestCache::open(None);
        cache.sha256_all(std::slice::from_ref(&small), &Unwatched).unwrap();
        let watch = Impatient { total: AtomicU64::new(0), left: AtomicU64::new(4 << 20) };
        let stopped = cache.sha256_all(&[small.clone(), large], &watch);
        assert!(matches!(stopped, Err(Error::Interrupted)), "{stopped:?}");
        assert_eq!(watch.total.into_inner(), 8 << 20, "known files are not read");
        let read = (4 << 20) - watch.left.into_inner();
        assert!(read > 0 && read < 8 << 20, "{read}");

        // What is known needs no reading, so that nothing is there to be interrupted.
        let watch = Impatient { total: AtomicU64::new(1), left: AtomicU64::new(0) };
        assert!(cache.sha256_all(&[small], &watch).is_ok());
        assert_eq!(watch.total.into_inner(), 0);
    }
}
