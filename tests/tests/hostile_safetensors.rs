//! safetensors files and indices that lie: each is refused with words that name the file and the place.
#![allow(clippy::unwrap_used, reason = "a test ends where its own files fail")]

use std::{fs, path::Path};

use mdl_formats::{Limits, safetensors};
use mdl_tests::{
    golden,
    hostile::{assert_path_rejects, safetensors as file},
};

/// Puts a sound model's folder with other weights into `folder`, and claims that it is refused.
fn rejects(bytes: &[u8], words: &str) {
    let dir = tempfile::tempdir().unwrap();
    fs::copy(golden("llama2").join("config.json"), dir.path().join("config.json")).unwrap();
    let path = dir.path().join("model.safetensors");
    fs::write(&path, bytes).unwrap();
    assert_path_rejects(dir.path(), "model.safetensors", words);
    assert_path_rejects(&path, "model.safetensors", words);
    safetensors::open(&path, &Limits::default()).unwrap_err();
}

fn one(entry: &str, data: usize) -> Vec<u8> {
    file(&format!("{{\"t\": {entry}}}"), data)
}

#[test]
fn the_sound_file_opens_and_every_prefix_is_refused() {
    let bytes = file(
        r#"{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},
        "b":{"dtype":"BF16","shape":[],"data_offsets":[24,26]}}"#,
        26,
    );
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sound.safetensors");
    fs::write(&path, &bytes).unwrap();
    let raws = safetensors::open(&path, &Limits::default()).unwrap();
    assert_eq!(raws.tensors.len(), 2);
    assert_eq!(raws.tensors[0].tensor.shape, [3, 2]);
    for raw in &raws.tensors {
        raw.source().unwrap();
    }
    for len in 0..bytes.len() {
        fs::write(&path, &bytes[..len]).unwrap();
        safetensors::open(&path, &Limits::default()).unwrap_err();
    }
    fs::write(&path, [&bytes[..], &[0]].concat()).unwrap();
    safetensors::open(&path, &Limits::default()).unwrap_err();
}

#[test]
fn header_lengths() {
    rejects(b"", "empty");
    rejects(b"1234567", "no safetensors file");
    rejects(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "git-lfs");
    for len in [u64::MAX, 1 << 60, u64::MAX - 7, 100_000_001, 3] {
        let mut bytes = len.to_le_bytes().to_vec();
        bytes.extend(b"{}");
        rejects(&bytes, "header length");
    }
    rejects(&[0; 8], "");
    rejects(&file("{\"a", 0), "not sound JSON");
    rejects(&[&4_u64.to_le_bytes()[..], b"{\"\xff\""].concat(), "not UTF-8");
}

#[test]
fn json_bombs() {
    for bomb in ["[", "{\"a\":"] {
        rejects(&file(&bomb.repeat(1 << 20), 0), "nests deeper");
    }
    rejects(&file("[1, 2]", 0), "");
    rejects(&file("{\"t\": 1", 0), "not sound JSON");
    let twin = r#""t":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}"#;
    rejects(&file(&format!("{{{twin},{twin}}}"), 4), "twice");
    rejects(&one(r#"{"dtype":"F32","dtype":"F16","shape":[1],"data_offsets":[0,4]}"#, 4), "twice");
}

#[test]
fn tensor_entries() {
    for (entry, words) in [
        (r#"{"dtype":"F33","shape":[1],"data_offsets":[0,4]}"#, "F33"),
        (r#"{"dtype":"BOOL","shape":[4],"data_offsets":[0,4]}"#, "not read"),
        (r#"{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}"#, "header"),
        (r#"{"dtype":"F32","shape":[1.5],"data_offsets":[0,4]}"#, "header"),
        (r#"{"dtype":"F32","shape":[2],"data_offsets":[0,4]}"#, "header"),
        (r#"{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,4]}"#, "header"),
        (r#"{"dtype":"F32","shape":[18446744073709551615],"data_offsets":[0,4]}"#, "header"),
        (r#"{"dtype":"F32","shape":[18446744073709551616],"data_offsets":[0,4]}"#, "header"),
        (r#"{"dtype":"F32","shape":[1],"data_offsets":[4,0]}"#, "header"),
        (r#"{"dtype":"F32","shape":[1],"data_offsets":[1,5]}"#, "header"),
        (r#"{"dtype":"F32","shape":[1],"data_offsets":[0,1152921504606846976]}"#, "header"),
        (r#"{"dtype":"F32","shape":[1],"data_offsets":[18446744073709551612,0]}"#, "header"),
        (r#"{"dtype":"F32","shape":[1]}"#, "header"),
        (r#"{"dtype":"F32","shape":[1,1,1,1,1],"data_offsets":[0,4]}"#, "5 dimensions"),
    ] {
        rejects(&one(entry, 4), words);
    }
    let name = "n".repeat(5000);
    let long = format!("{{\"{name}\":{{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}}}");
    rejects(&file(&long, 4), "5000 bytes");
}

#[test]
fn overlaps_and_gaps() {
    let two = |begin: usize, end: usize| {
        file(
            &format!(
                r#"{{"a":{{"dtype":"F32","shape":[2],"data_offsets":[0,8]}},
                "b":{{"dtype":"F32","shape":[2],"data_offsets":[{begin},{end}]}}}}"#
            ),
            24,
        )
    };
    for (begin, end) in [(0, 8), (4, 12), (12, 20), (16, 24), (8, 16)] {
        rejects(&two(begin, end), "header");
    }
}

fn index_rejects(index: &str, name: &str, words: &str) {
    let dir = tempfile::tempdir().unwrap();
    fs::copy(golden("llama2").join("config.json"), dir.path().join("config.json")).unwrap();
    let weights = r#"{"t":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;
    for shard in ["one.safetensors", "two.safetensors"] {
        fs::write(dir.path().join(shard), file(weights, 4)).unwrap();
    }
    fs::write(dir.path().join("model.safetensors.index.json"), index).unwrap();
    assert_path_rejects(dir.path(), name, words);
}

#[test]
fn indices_of_shards() {
    let index = "model.safetensors.index.json";
    let map = |names: &[&str]| {
        let entries: Vec<_> =
            names.iter().enumerate().map(|(i, name)| format!("\"t{i}\": {name}")).collect();
        format!("{{\"weight_map\": {{{}}}}}", entries.join(","))
    };
    index_rejects("", index, "not sound JSON");
    index_rejects("{}", index, "weight_map");
    index_rejects(&map(&[]), index, "names 0 files");
    for outside in ["\"../x.safetensors\"", "\"/etc/passwd\"", "\"a\\\\b\"", "\"..\"", "\"\"", "3"]
    {
        index_rejects(&map(&[outside]), index, "not a file name");
    }
    index_rejects(&map(&["\"three.safetensors\""]), "three.safetensors", "missing");
    let both = map(&["\"one.safetensors\"", "\"two.safetensors\""]);
    index_rejects(&both, "two.safetensors", "two shards hold it");
    index_rejects(&"[".repeat(1 << 20), index, "nests deeper");
}

#[test]
fn folders_without_weights() {
    let dir = tempfile::tempdir().unwrap();
    let name = dir.path().file_name().unwrap().to_string_lossy().into_owned();
    assert_path_rejects(dir.path(), &name, "no config.json");
    fs::copy(golden("llama2").join("config.json"), dir.path().join("config.json")).unwrap();
    assert_path_rejects(dir.path(), &name, "neither model.safetensors");
    fs::write(dir.path().join("pytorch_model.bin"), "PK").unwrap();
    assert_path_rejects(dir.path(), &name, "PyTorch pickles");
    assert_path_rejects(Path::new("/no/such/model"), "/no/such/model", "No such file");
}
