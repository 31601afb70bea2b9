//! GGUF files that lie: each is refused with words that name the file and the place, without a panic and
//! without allocating what it asks for.
#![allow(clippy::unwrap_used, reason = "a test ends where its own files fail")]

use std::fs;

use mdl_formats::{Checkpoint, Limits, gguf};
use mdl_tests::hostile::{
    array, assert_path_rejects, assert_rejects, gguf, header, info, key, string,
};

const HUGE: u64 = 1 << 60;

fn rejects(bytes: &[u8], words: &str) {
    assert_rejects("bad.gguf", bytes, words);
}

/// A sound file: three keys, two tensors, data up to its last byte.
fn sound() -> Vec<u8> {
    let words = [string(b"one"), string("zw\u{f6}lf".as_bytes())].concat();
    let keys = [
        key("general.architecture", 8, &string(b"llama")),
        key("list", 9, &array(8, 2, &words)),
        key("numbers", 9, &array(5, 3, &[1; 12])),
    ];
    gguf(&keys, &[info("a", &[32, 2], 8, 0), info("b", &[4], 0, 96)], 96 + 16)
}

#[test]
fn the_sound_file_opens_and_every_prefix_is_refused() {
    let bytes = sound();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sound.gguf");
    fs::write(&path, &bytes).unwrap();
    let checkpoint = Checkpoint::open(&path, &Limits::default()).unwrap();
    assert_eq!(checkpoint.tensors.len(), 2);
    assert_eq!(checkpoint.metadata.strings("list").unwrap()[1], "zw\u{f6}lf");
    for len in 0..bytes.len() {
        fs::write(&path, &bytes[..len]).unwrap();
        assert_path_rejects(&path, "sound.gguf", "");
        gguf::open(&path, &Limits::default()).unwrap_err();
    }
}

#[test]
fn versions_and_byte_orders() {
    rejects(&header(1, 0, 0), "version 1 is not read");
    rejects(&header(3_u32.swap_bytes(), 0, 0), "big-endian");
    rejects(&header(0, 0, 0), "unknown version 0");
    rejects(&header(4, 0, 0), "unknown version 4");
    rejects(b"GGUF", "cut short");
}

#[test]
fn what_is_no_gguf_file_at_all() {
    rejects(b"", "the file is empty");
    rejects(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "git-lfs pointer");
    rejects(b"PK\x03\x04zip", "PyTorch");
    rejects(b"ggml, an older format", "neither GGUF nor safetensors");
}

#[test]
fn counts_and_lengths_beyond_the_file() {
    rejects(&header(3, HUGE, 0), "tensor count");
    rejects(&header(3, 0, HUGE), "key count");
    rejects(&header(3, 1000, 0), "1000 entries do not fit");
    rejects(&header(3, 0, 1000), "1000 entries do not fit");
    let mut long = header(3, 0, 1);
    long.extend(HUGE.to_le_bytes());
    long.resize(100, 0);
    rejects(&long, "metadata key");
    let value = |kind, count: u64| gguf(&[key("k", 9, &array(kind, count, &[0; 8]))], &[], 64);
    for kind in [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12] {
        for count in [HUGE, u64::MAX, 1 << 20, u64::MAX / 8 + 2] {
            rejects(&value(kind, count), "k, byte");
        }
    }
    let text = key("k", 8, &[&u64::MAX.to_le_bytes()[..], b"abc"].concat());
    rejects(&gguf(&[text], &[], 64), "k, byte");
    let mut limits = Limits::default();
    limits.tensors = 1;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("two.gguf");
    fs::write(&path, sound()).unwrap();
    let error = Checkpoint::open(&path, &limits).unwrap_err().to_string();
    assert!(error.contains("limit of 1"), "{error}");
}

#[test]
fn keys_and_values() {
    let one = key("twin", 4, &[1, 0, 0, 0]);
    rejects(&gguf(&[one.clone(), one], &[], 0), "twice");
    rejects(&gguf(&[key("", 0, &[1])], &[], 0), "empty");
    rejects(&gguf(&[key("k", 13, &[0; 8])], &[], 0), "unknown value type 13");
    rejects(&gguf(&[key("k", 7, &[2])], &[], 0), "no truth value");
    rejects(&gguf(&[key("k", 9, &array(7, 2, &[1, 3]))], &[], 0), "no truth value");
    rejects(&gguf(&[key("k", 9, &array(77, 1, &[0; 8]))], &[], 0), "unknown array type 77");
    let nested = array(9, 1, &array(0, 1, &[0]));
    rejects(&gguf(&[key("k", 9, &nested)], &[], 0), "arrays of arrays");
    rejects(&gguf(&[key("k", 8, &string(b"\xff\xfe"))], &[], 0), "not UTF-8");
    let tokens = array(8, 2, &[string(b"fine"), string(b"\xc3\x28")].concat());
    rejects(&gguf(&[key("tokenizer.ggml.tokens", 9, &tokens)], &[], 0), "not UTF-8");
    let mut raw = header(3, 0, 1);
    raw.extend(string(b"\xff"));
    raw.resize(64, 0);
    rejects(&raw, "not UTF-8");
}

#[test]
fn alignments() {
    let aligned = |kind, bytes: &[u8]| {
        gguf(&[key("general.alignment", kind, bytes)], &[info("t", &[4], 0, 0)], 64)
    };
    for bytes in [0_u32, 3, 24, 33, u32::MAX] {
        rejects(&aligned(4, &bytes.to_le_bytes()), "general.alignment");
    }
    rejects(&aligned(10, &32_u64.to_le_bytes()), "general.alignment");
    rejects(&aligned(8, &string(b"32")), "general.alignment");
    rejects(&aligned(4, &(1_u32 << 31).to_le_bytes()), "cut short");
}

#[test]
fn tensor_entries() {
    let one = |entry: Vec<u8>| gguf(&[], &[entry], 1024);
    rejects(&one(info("t", &[4], 4, 0)), "tensor type 4");
    rejects(&one(info("t", &[4], u32::MAX, 0)), "tensor type 4294967295");
    rejects(&one(info("", &[4], 0, 0)), "a name of 0 bytes");
    rejects(&one(info(&"n".repeat(5000), &[4], 0, 0)), "a name of 5000 bytes");
    rejects(&one(info("t", &[], 0, 0)), "0 dimensions");
    rejects(&one(info("t", &[1; 5], 0, 0)), "5 dimensions");
    rejects(&one(info("t", &[33], 8, 0)), "do not divide");
    rejects(&one(info("t", &[128, 2], 12, 0)), "do not divide");
    rejects(&one(info("t", &[4, 0], 0, 0)), "empty or overflow");
    rejects(&one(info("t", &[0], 0, 0)), "empty or overflow");
    rejects(&one(info("t", &[1 << 32, 1 << 32], 0, 0)), "empty or overflow");
    rejects(&one(info("t", &[1 << 62], 0, 0)), "tensor `t`");
    rejects(&one(info("t", &[u64::MAX, 2, 2, 2], 0, 0)), "empty or overflow");
    rejects(&one(info("t", &[1 << 61, 2], 27, 0)), "tensor `t`");
    rejects(&one(info("t", &[1 << 30], 0, 0)), "cut short");
    let twin = [info("t", &[8], 0, 0), info("t", &[8], 0, 32)];
    rejects(&gguf(&[], &twin, 64), "twice");
}

#[test]
fn offsets() {
    let two = |offset| [info("a", &[8], 0, 0), info("b", &[8], 0, offset)];
    for (offset, what) in
        [(0, "overlap"), (16, "unaligned"), (64, "gap"), (u64::MAX, "wraps"), (HUGE, "far")]
    {
        let words = format!("begins at {offset} of the data, where 32 follows");
        assert!(!what.is_empty());
        rejects(&gguf(&[], &two(offset), 1024), &words);
    }
    rejects(&gguf(&[], &[info("a", &[8], 0, 32)], 1024), "where 0 follows");
    rejects(&gguf(&[], &two(32), 63), "tensor `b`: ends at byte");
}

/// The keys of one part of a split model.
fn split(number: u16, count: u16, tensors: i32) -> Vec<Vec<u8>> {
    vec![
        key("split.no", 2, &number.to_le_bytes()),
        key("split.count", 2, &count.to_le_bytes()),
        key("split.tensors.count", 5, &tensors.to_le_bytes()),
    ]
}

#[test]
fn split_models() {
    let part = |number, count, total, name: &str| {
        gguf(&split(number, count, total), &[info(name, &[8], 0, 0)], 32)
    };
    let dir = tempfile::tempdir().unwrap();
    let paths =
        ["m-00001-of-00002.gguf", "m-00002-of-00002.gguf"].map(|name| dir.path().join(name));
    let put = |first: &[u8], second: &[u8]| {
        fs::write(&paths[0], first).unwrap();
        fs::write(&paths[1], second).unwrap();
    };
    let (first, second) = (part(0, 2, 2, "a"), part(1, 2, 2, "b"));
    put(&first, &second);
    for path in &paths {
        let checkpoint = Checkpoint::open(path, &Limits::default()).unwrap();
        assert_eq!(checkpoint.tensors.len(), 2, "any part opens the whole");
        assert!(checkpoint.metadata.get("split.count").is_none());
    }
    for (first, second, words) in [
        (part(0, 3, 2, "a"), second.clone(), "3 parts"),
        (part(0, 2, 5, "a"), second.clone(), "split.tensors.count"),
        (part(1, 2, 2, "a"), second.clone(), "not part 1"),
        (first.clone(), part(0, 2, 2, "b"), "not part 2"),
        (first.clone(), gguf(&[], &[info("b", &[8], 0, 0)], 32), "not part 2"),
        (first.clone(), part(1, 2, 2, "a"), "twice"),
        (first.clone(), second[..second.len() - 1].to_vec(), "cut short"),
        (first.clone(), Vec::new(), ""),
    ] {
        put(&first, &second);
        assert_path_rejects(&paths[0], "m-0000", words);
    }
    put(&first, &second);
    fs::remove_file(&paths[1]).unwrap();
    assert_path_rejects(&paths[0], "m-00002-of-00002.gguf", "missing");
    rejects(&part(0, u16::MAX, 2, "a"), "more than the limit");
    rejects(&part(0, 2, 2, "a"), "not named as one");
}
