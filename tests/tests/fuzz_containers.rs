//! A fuzz target per container parser, run for a moment each: sound files with bytes changed at random are
//! opened and, where they open, read to the end. Nothing may panic; the seed is fixed, so a failure repeats.
#![allow(clippy::unwrap_used, reason = "a test ends where its own files fail")]

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use mdl_formats::{Checkpoint, Limits, gguf::Layout, safetensors};
use mdl_kernels::Tier;
use mdl_tests::{data, golden, hostile};

const MOMENT: Duration = Duration::from_millis(1500);

/// Marsaglia's xorshift64*: enough for choosing places.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    /// Changes a few places: a bit, a byte, a number at its extremes, a piece cut out or doubled.
    fn damage(&mut self, bytes: &mut Vec<u8>, header: usize) {
        const NUMBERS: [u64; 8] = [0, 1, 255, 1 << 31, 1 << 32, 1 << 60, u64::MAX, u64::MAX - 31];
        for _ in 0..=self.below(3) {
            let at = self.below(header.min(bytes.len()));
            let end = (at + 1 + self.below(16)).min(bytes.len());
            match self.below(6) {
                0 => bytes.truncate(at),
                1 => drop(bytes.drain(at..end)),
                2 => {
                    let piece = bytes[at..end].to_vec();
                    bytes.splice(at..at, piece);
                }
                3 => {
                    let number = NUMBERS[self.below(NUMBERS.len())].to_le_bytes();
                    bytes.iter_mut().skip(at).zip(number).for_each(|(byte, new)| *byte = new);
                }
                4 => {
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte = self.next() as u8;
                    }
                }
                _ => {
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte ^= 1 << self.below(8);
                    }
                }
            }
        }
    }
}

/// Damages the seeds in turn until the moment is over; gives how many were tried and how many `read` took.
fn fuzz(seeds: &[(Vec<u8>, usize)], mut read: impl FnMut(&[u8]) -> bool) -> (usize, usize) {
    let (mut random, start) = (Random(0x9e37_79b9_7f4a_7c15), Instant::now());
    let (mut tried, mut opened) = (0, 0);
    assert!(seeds.iter().all(|(seed, _)| read(seed)), "a sound file is refused");
    while start.elapsed() < MOMENT {
        let (seed, header) = &seeds[tried % seeds.len()];
        let mut bytes = seed.clone();
        random.damage(&mut bytes, *header);
        tried += 1;
        opened += usize::from(read(&bytes));
    }
    (tried, opened)
}

/// Reads all values and bytes; a type without a decoder gives an error, which is sound.
fn read_all(checkpoint: &Checkpoint) {
    for tensor in &checkpoint.tensors {
        let mut out = vec![0.0; tensor.elements()];
        let _ = checkpoint.decode_rows(tensor, 0..tensor.rows(), Tier::detect(), &mut out);
        assert!(checkpoint.bytes(tensor).is_ok_and(|bytes| bytes.len() == tensor.bytes()));
        checkpoint.release_rows(tensor, 0..tensor.rows());
    }
}

/// What opened can be written again, and the header read from that is the same.
fn write_again(checkpoint: &Checkpoint, path: &Path) {
    let layout =
        |checkpoint: &Checkpoint| Layout::new(path, &checkpoint.metadata, &checkpoint.tensors);
    // Readers take longer names than llama.cpp, for which we write.
    let Ok(first) = layout(checkpoint) else { return };
    let mut bytes = first.header.clone();
    bytes.resize(first.len as usize, 0);
    fs::write(path, bytes).unwrap();
    let again = Checkpoint::open(path, &Limits::default()).unwrap();
    assert_eq!(layout(&again).unwrap(), first);
}

#[test]
fn gguf_files() {
    let words = [hostile::string(b"one"), hostile::string(b"two")].concat();
    let keys = [
        hostile::key("general.architecture", 8, &hostile::string(b"llama")),
        hostile::key("general.alignment", 4, &32_u32.to_le_bytes()),
        hostile::key("list", 9, &hostile::array(8, 2, &words)),
        hostile::key("numbers", 9, &hostile::array(6, 3, &[1; 12])),
        hostile::key("flag", 7, &[1]),
    ];
    let infos = [
        hostile::info("a", &[32, 2], 8, 0),
        hostile::info("b", &[4], 0, 96),
        hostile::info("c", &[256, 2], 12, 128),
    ];
    let with_keys = hostile::gguf(&keys, &infos, 128 + 288);
    let bare = hostile::gguf(&[], &infos[..1], 96);
    let seeds = [(with_keys.clone(), with_keys.len() - 416), (bare.clone(), bare.len() - 96)];
    let dir = tempfile::tempdir().unwrap();
    let (path, copy) = (dir.path().join("fuzz.gguf"), dir.path().join("copy.gguf"));
    let (tried, opened) = fuzz(&seeds, |bytes| {
        fs::write(&path, bytes).unwrap();
        let Ok(checkpoint) = Checkpoint::open(&path, &Limits::default()) else { return false };
        read_all(&checkpoint);
        write_again(&checkpoint, &copy);
        true
    });
    assert!(tried > 10 && opened < tried, "{opened} of {tried} opened");
}

#[test]
fn safetensors_files() {
    let header = r#"{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"b":{"dtype":"BF16","shape":[4],"data_offsets":[24,32]}}"#;
    let bytes = hostile::safetensors(header, 32);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("fuzz.safetensors");
    let len = bytes.len() - 32;
    let (tried, opened) = fuzz(&[(bytes, len)], |bytes| {
        fs::write(&path, bytes).unwrap();
        let Ok(raws) = safetensors::open(&path, &Limits::default()) else { return false };
        for raw in &raws.tensors {
            let _ = raw.source();
        }
        true
    });
    assert!(tried > 10 && opened < tried, "{opened} of {tried} opened");
}

/// Damages one file of a model folder, the others sound.
fn fuzz_folder(source: &Path, names: &[&str], damaged: &str) {
    let dir = tempfile::tempdir().unwrap();
    for name in names {
        fs::copy(source.join(name), dir.path().join(name)).unwrap();
    }
    let bytes = fs::read(source.join(damaged)).unwrap();
    let len = bytes.len();
    let (tried, opened) = fuzz(&[(bytes, len)], |bytes| {
        fs::write(dir.path().join(damaged), bytes).unwrap();
        Checkpoint::open(dir.path(), &Limits::default()).is_ok()
    });
    assert!(tried > 10 && opened < tried, "{opened} of {tried} opened");
}

#[test]
fn config_json() {
    fuzz_folder(&golden("llama31"), &["config.json", "model.safetensors"], "config.json");
    fuzz_folder(&golden("gemma3"), &["config.json", "model.safetensors"], "config.json");
}

#[test]
fn tokenizer_json() {
    let names = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"];
    fuzz_folder(&data().join("tiny"), &names, "tokenizer.json");
    fuzz_folder(&data().join("tiny"), &names, "tokenizer_config.json");
}
