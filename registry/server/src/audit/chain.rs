//! How lines are chained: each has a number and the SHA-256 of the line before.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    path::Path,
};

use mdl_store::Digest;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Bytes of a line, without what ends it. [`super::event`] makes none that is longer.
pub(super) const LINE_BYTES: usize = 128 << 10;

/// Bytes of a file that holds a head.
const HEAD_BYTES: u64 = 4 << 10;

/// Version of such a file.
const VERSION: u32 = 1;

/// Bytes of a time.
const TIME: usize = 32;

/// Digits of a hash.
const HASH: usize = 64;

/// The end of a chain: the number of its last line, and the hash of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The line's number; 0 before the first.
    pub seq: u64,
    /// SHA-256 of the line without its end, in hex.
    pub sha256: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct HeadFile {
    version: u32,
    #[serde(flatten)]
    head: Head,
}

impl Head {
    /// Before the first line.
    pub(super) fn genesis() -> Self {
        Self { seq: 0, sha256: "0".repeat(HASH) }
    }

    /// After a line.
    pub(super) fn after(seq: u64, line: &[u8]) -> Self {
        Self { seq, sha256: Digest::of(line).hex().to_owned() }
    }

    fn is_sound(&self) -> bool {
        is_hash(&self.sha256)
    }

    /// Reads one that was written to a file.
    ///
    /// # Errors
    /// [`Error::Config`] for what is none, [`Error::Io`].
    pub fn read(path: &Path) -> Result<Self> {
        let io = |source| Error::Io { what: "read", path: path.to_owned(), source };
        let mut text = Vec::new();
        File::open(path)
            .and_then(|file| file.take(HEAD_BYTES).read_to_end(&mut text))
            .map_err(io)?;
        let wrong = |what: String| Error::Config { path: path.to_owned(), what };
        let found: HeadFile = serde_json::from_slice(&text)
            .map_err(|error| wrong(format!("it is no head of an audit log: {error}")))?;
        if found.version != VERSION || !found.head.is_sound() {
            return Err(wrong("it is no head of an audit log that this version knows".to_owned()));
        }
        Ok(found.head)
    }

    /// Writes it to a file, which is replaced as a whole.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(&self, path: &Path) -> Result<()> {
        let failed = |source| Error::Io { what: "write", path: path.to_owned(), source };
        let file = HeadFile { version: VERSION, head: self.clone() };
        let text = serde_json::to_string(&file).map_err(|error| failed(error.into()))?;
        let folder = match path.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        replace(folder, path, &text).map_err(failed)
    }
}

fn replace(folder: &Path, path: &Path, text: &str) -> io::Result<()> {
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.write_all(b"\n")?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    fs::File::open(folder)?.sync_all()
}

pub(super) fn is_hash(text: &str) -> bool {
    text.len() == HASH && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// What a line says of its place in the chain.
#[derive(Debug, Deserialize)]
pub(super) struct Link {
    pub(super) seq: u64,
    pub(super) time: String,
    pub(super) prev: String,
    /// There must be one.
    #[serde(rename = "event")]
    _event: String,
}

impl Link {
    /// Reads a line; where it is none of such a log, why.
    pub(super) fn read(line: &[u8]) -> std::result::Result<Self, String> {
        let link: Self = serde_json::from_slice(line)
            .map_err(|error| format!("no line of an audit log: {error}"))?;
        if !is_hash(&link.prev) {
            return Err("no line of an audit log: `prev` is no SHA-256".to_owned());
        }
        // It is shown.
        let is_time = |byte: u8| byte.is_ascii_digit() || b"TZ:.-".contains(&byte);
        if link.time.len() > TIME || !link.time.bytes().all(is_time) {
            return Err("no line of an audit log: `time` is no time".to_owned());
        }
        Ok(link)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_written_and_read_and_nothing_else_is_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("head.json");
        let head = Head::after(7, b"{}");
        head.write(&path).unwrap();
        assert_eq!(Head::read(&path).unwrap(), head);
        for wrong in [
            "",
            "{}",
            r#"{"version":1,"seq":1,"sha256":"abc"}"#,
            r#"{"version":2,"seq":1,"sha256":"0000000000000000000000000000000000000000000000000000000000000000"}"#,
        ] {
            fs::write(&path, wrong).unwrap();
            let error = Head::read(&path).unwrap_err().to_string();
            assert!(error.contains("head.json") && error.contains("no head"), "{error}");
        }
    }
}
