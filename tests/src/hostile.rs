//! What the hostile-file suites share: bytes of GGUF and safetensors files put together by hand, and the
//! claim that a file is refused with the right words, at once and without memory.
#![allow(clippy::unwrap_used, reason = "a test that cannot write its files cannot go on")]

use std::{fs, path::Path, time::Instant};

use mdl_formats::{Checkpoint, Limits};

/// The fixed fields at the beginning of a GGUF file.
pub fn header(version: u32, tensors: u64, keys: u64) -> Vec<u8> {
    let mut out = b"GGUF".to_vec();
    out.extend(version.to_le_bytes());
    out.extend(tensors.to_le_bytes());
    out.extend(keys.to_le_bytes());
    out
}

/// A GGUF string: its length, then its bytes.
pub fn string(text: &[u8]) -> Vec<u8> {
    let mut out = (text.len() as u64).to_le_bytes().to_vec();
    out.extend(text);
    out
}

/// A GGUF key with the number of its type and the bytes of its value.
pub fn key(name: &str, kind: u32, value: &[u8]) -> Vec<u8> {
    let mut out = string(name.as_bytes());
    out.extend(kind.to_le_bytes());
    out.extend(value);
    out
}

/// The bytes of an array value: type of its elements, stated count, content.
pub fn array(kind: u32, count: u64, content: &[u8]) -> Vec<u8> {
    let mut out = kind.to_le_bytes().to_vec();
    out.extend(count.to_le_bytes());
    out.extend(content);
    out
}

/// A GGUF tensor's entry.
pub fn info(name: &str, shape: &[u64], kind: u32, offset: u64) -> Vec<u8> {
    let mut out = string(name.as_bytes());
    out.extend((shape.len() as u32).to_le_bytes());
    for size in shape {
        out.extend(size.to_le_bytes());
    }
    out.extend(kind.to_le_bytes());
    out.extend(offset.to_le_bytes());
    out
}

/// A GGUF file of these keys and tensors, padded to 32, with `data` bytes after its header.
pub fn gguf(keys: &[Vec<u8>], infos: &[Vec<u8>], data: usize) -> Vec<u8> {
    let mut out = header(3, infos.len() as u64, keys.len() as u64);
    out.extend(keys.concat());
    out.extend(infos.concat());
    out.resize(out.len().next_multiple_of(32), 0);
    out.resize(out.len() + data, 0xab);
    out
}

/// A safetensors file with this header text and `data` bytes after it.
pub fn safetensors(json: &str, data: usize) -> Vec<u8> {
    let mut out = string(json.as_bytes());
    out.resize(out.len() + data, 0xab);
    out
}

/// Claims that a file with these bytes is refused: the message names the file and says `words`; within a
/// second, and without this process having grown beyond what any small test takes.
///
/// # Panics
/// Where the claim does not hold.
pub fn assert_rejects(name: &str, bytes: &[u8], words: &str) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    fs::write(&path, bytes).unwrap();
    assert_path_rejects(&path, name, words);
}

/// As [`assert_rejects`], for a file or folder that stands there; the message names `name`.
///
/// # Panics
/// Where the claim does not hold.
pub fn assert_path_rejects(path: &Path, name: &str, words: &str) {
    let start = Instant::now();
    let error = match Checkpoint::open(path, &Limits::default()) {
        Ok(_) => panic!("{} opened, but should be refused: {words}", path.display()),
        Err(error) => error.to_string(),
    };
    assert!(start.elapsed().as_secs_f64() < 1.0, "{error}: took {:?}", start.elapsed());
    assert!(error.contains(words), "`{error}` does not say `{words}`");
    assert!(error.contains(name), "`{error}` does not name `{name}`");
    if let Some(peak) = peak_memory() {
        assert!(peak < 512 << 20, "{error}: this process has taken {peak} bytes");
    }
}

/// The most memory that this process ever had, where the system says so.
fn peak_memory() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? << 10)
}
