//! Uploads under way, noted so that another process goes on with them.

use std::{
    fs::{self, File, OpenOptions},
    io::Read as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use mdl_store::{Digest, Name};
use serde::{Deserialize, Serialize};
use url::Url;

/// The folder of notes, a file for each upload.
#[derive(Debug, Clone)]
pub(crate) struct Journal {
    folder: PathBuf,
}

/// One upload's note, locked for this process.
#[derive(Debug)]
pub(crate) struct Held {
    path: PathBuf,
    file: File,
}

#[derive(Serialize, Deserialize)]
struct Note {
    version: u32,
    url: String,
}

/// Bytes of a note.
const LIMIT: u64 = 64 << 10;

impl Journal {
    pub(crate) fn new(home: &Path) -> Self {
        Self { folder: home.join("transfers") }
    }

    /// Takes the note of an upload; `None` where another process has it, or none can be kept. It costs time only.
    pub(crate) fn hold(&self, host: &str, name: &Name, digest: &Digest) -> Option<Held> {
        let key = Digest::of(format!("{host}\n{name}\n{digest}").as_bytes());
        let path = self.folder.join(format!("{}.json", key.hex()));
        let open = || {
            fs::create_dir_all(&self.folder)?;
            // The address of an upload may be all that it takes to write there.
            OpenOptions::new()
                .create(true)
                .truncate(false)
                .read(true)
                .write(true)
                .mode(0o600)
                .open(&path)
        };
        let file =
            open().inspect_err(|error| tracing::info!("{}: {error}", path.display())).ok()?;
        file.try_lock().ok()?;
        Some(Held { path, file })
    }
}

impl Held {
    /// Where an earlier process left the upload.
    pub(crate) fn url(&self) -> Option<Url> {
        let mut text = Vec::new();
        (&self.file).take(LIMIT).read_to_end(&mut text).ok()?;
        let note: Note = serde_json::from_slice(&text).ok()?;
        Url::parse(&note.url).ok().filter(|_| note.version == 1)
    }

    /// Notes where the upload is.
    pub(crate) fn keep(&self, url: &Url) {
        let note = Note { version: 1, url: url.to_string() };
        let write = || {
            let text = serde_json::to_vec(&note)?;
            self.file.set_len(0)?;
            std::os::unix::fs::FileExt::write_all_at(&self.file, &text, 0)
        };
        if let Err(error) = write() {
            tracing::info!("{}: {error}", self.path.display());
        }
    }

    /// The upload is over.
    pub(crate) fn forget(&self) {
        // A note that stays leads to an upload that is not there, and is then ignored.
        let _ = fs::remove_file(&self.path);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // One that holds nothing is of no use.
        if self.file.metadata().is_ok_and(|facts| facts.len() == 0) {
            self.forget();
        }
    }
}
