//! What a user of the program reads: help, tables, errors and text.

#![allow(
    clippy::unwrap_used,
    clippy::float_cmp,
    clippy::print_stdout,
    reason = "a test that cannot go on has failed; equal floats are meant"
)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use mdl_formats::{
    Tensor,
    gguf::{Layout, Metadata},
};
use mdl_kernels::TensorType;
use mdl_tests::{Place, data, mdl, output};
use serde_json::{Value, json};

fn tiny() -> PathBuf {
    data().join("tiny")
}

#[test]
fn help() {
    let place = Place::new();
    insta::assert_snapshot!("help", place.says(&["--help"]));
    for verb in ["inspect", "convert", "quantize", "eval", "run"] {
        insta::assert_snapshot!(format!("help_{verb}"), place.says(&[verb, "--help"]));
    }
}

#[test]
fn tables() {
    let place = Place::new();
    insta::assert_snapshot!("inspect", place.says(&["inspect", "data/tiny"]));
    let dry = ["quantize", "data/tiny", "--scheme", "Q4_K_M", "--dry-run"];
    insta::assert_snapshot!("dry_run", place.says(&dry));
    assert!(!place.path("home").exists(), "a dry run writes nothing");
}

/// llama.cpp's older form, with one call an entry.
fn imatrix(path: &Path, entries: &[(&str, usize)]) {
    let mut bytes = (entries.len() as i32).to_le_bytes().to_vec();
    for (name, cols) in entries {
        bytes.extend((name.len() as i32).to_le_bytes());
        bytes.extend(name.as_bytes());
        bytes.extend([1_i32, *cols as i32].map(i32::to_le_bytes).as_flattened());
        bytes.extend(vec![1.0_f32; *cols].iter().flat_map(|value| value.to_le_bytes()));
    }
    fs::write(path, bytes).unwrap();
}

/// Which types stand in for others and why, and what the importance matrix does not cover.
#[test]
fn a_dry_run_tells_what_is_odd() {
    let place = Place::new();
    let covered = ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up"];
    let covered = [0, 1].map(|layer| covered.map(|name| format!("blk.{layer}.{name}.weight")));
    let covered: Vec<_> = covered.as_flattened().iter().map(|name| (name.as_str(), 64)).collect();
    imatrix(&place.path("im.dat"), &covered);
    let source = "data/golden/llama2";
    let with = ["--scheme", "Q4_K_M", "--imatrix", "im.dat", "--dry-run"];
    let done = place.run(&[&["quantize", source][..], &with].concat());
    assert!(done.status.success());
    let text = [done.stderr, done.stdout].concat();
    insta::assert_snapshot!("dry_run_notes", String::from_utf8_lossy(&text));
}

/// A dry run refuses what the run would refuse.
#[test]
fn a_dry_run_knows_the_recipes_source() {
    let place = Place::new();
    place.says(&["quantize", "data/tiny", "q4.gguf", "--scheme", "Q4_0"]);
    let shown: Value =
        serde_json::from_str(&place.says(&["inspect", "q4.gguf", "--json"])).unwrap();
    let recipe = shown["recipe"].as_str().unwrap();
    fs::write(place.path("recipe.toml"), recipe).unwrap();
    let dry = ["quantize", "data/tiny", "--recipe", "recipe.toml", "--dry-run"];
    assert!(place.says(&dry).contains("blk.0.ffn_up.weight"));
    let (before, digest) = recipe.split_once("sha256 = \"").unwrap();
    let other = format!("{before}sha256 = \"{}{}", "0".repeat(8), &digest[8..]);
    fs::write(place.path("recipe.toml"), other).unwrap();
    let refused = place.fails(&dry);
    assert!(
        refused.contains("the source is not the one that the recipe was made for"),
        "{refused}"
    );
    assert!(refused.contains("(sha256 00000000") && refused.contains("[status 1]"), "{refused}");
}

/// Every message on one page: they should read alike.
#[test]
fn errors() {
    let place = Place::new();
    place.says(&["quantize", "data/tiny", "q8.gguf", "--scheme", "Q8_0"]);
    place.says(&["quantize", "data/tiny", "q4.gguf", "--scheme", "Q4_0"]);
    let pointer = "version https://git-lfs.github.com/spec/v1\n\
                   oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\n\
                   size 12345\n";
    fs::write(place.path("pointer.gguf"), pointer).unwrap();
    fs::write(place.path("text.gguf"), "no model").unwrap();
    fs::write(place.path("cut.gguf"), &fs::read(place.path("q8.gguf")).unwrap()[..1 << 20])
        .unwrap();
    let newer = "version = 2\nmdl = \"9.1.0\"\nrotation = \"hadamard\"\n";
    fs::write(place.path("recipe.toml"), newer).unwrap();
    quantized_folder(&place.path("gptq"));
    let long: &[&[&str]] = &[
        &["inspect", "missing.gguf"],
        &["inspect", "./missing"],
        &["inspect", "text.gguf"],
        &["inspect", "cut.gguf"],
        &["inspect", "pointer.gguf"],
        &["inspect", "gptq"],
        &["--tier", "mmx", "inspect", "q8.gguf"],
        &["quantize", "data/tiny", "x.gguf"],
        &["quantize", "data/tiny", "x.gguf", "--scheme", "Q4_Z"],
        &["quantize", "data/tiny", "x.gguf", "--recipe", "recipe.toml"],
        &["quantize", "q8.gguf", "x.gguf", "--scheme", "Q4_K_M"],
        &["quantize", "data/tiny", "q8.gguf", "--scheme", "Q4_K_M"],
        &["quantize", "data/golden/llama2", "x.gguf", "--scheme", "Q4_K_M", "--strict"],
        &["quantize", "data/tiny", "x.gguf", "--scheme", "Q4_K_M", "--tensor-type", "ffn_down"],
        &["quantize", "data/tiny", "x.gguf", "--scheme", "Q4_K_M", "--tensor-type", "(=Q8_0"],
        &["quantize", "data/tiny", "x.gguf", "--scheme", "Q4_K_M", "--tensor-type", "ffn=Q9"],
        &["quantize", "data/tiny", "x.gguf", "--scheme", "Q4_K_M", "--tensor-type", "=Q8_0"],
        &[
            "quantize",
            "data/tiny",
            "x.gguf",
            "--scheme",
            "Q4_K_M",
            "--tensor-type",
            "fnn_down=Q6_K",
        ],
        &[
            "quantize",
            "data/tiny",
            "x.gguf",
            "--scheme",
            "Q4_K_M",
            "--tensor-type",
            "attn_norm=Q8_0",
        ],
        &["quantize", "data/tiny", "x.gguf", "--scheme", "Q4_K_M", "--imatrix", "text.gguf"],
        &["convert", "data/tiny", "folder", "--type", "q8_0"],
        &["convert", "q4.gguf", "x.gguf", "--type", "q8_0"],
        &["eval", "q8.gguf", "--data", "missing.txt"],
        &["eval", "q8.gguf", "--data", "q8.gguf"],
        &["eval", "q8.gguf", "--data", "x", "--against", "y", "--max-kld", "-0.1"],
        &["eval", "q8.gguf", "--data", "x", "--context", "-1"],
        &["run", "q8.gguf", "--raw", "--prompt", "And", "--temperature", "-1"],
        &["run", "q8.gguf", "--raw", "--prompt", "And", "--temperature", "nan"],
        &["run", "q8.gguf", "--raw", "--prompt", "And", "--top-p", "0"],
        &["run", "q8.gguf", "--raw", "--prompt", "And", "--min-p", "1.5"],
        &["run", "q8.gguf", "--raw", "--prompt", "And", "--max-tokens", "-1"],
        &["run", "q8.gguf", "--raw", "--prompt", "And it came to pass", "--context", "2"],
    ];
    let page: String = long.iter().map(|arguments| place.fails(arguments)).collect();
    insta::assert_snapshot!("errors", page);
    assert!(!place.path("x.gguf").exists() && !place.path("folder").exists());
}

/// A folder whose config says that its weights are quantized already.
fn quantized_folder(folder: &Path) {
    fs::create_dir(folder).unwrap();
    for name in ["tokenizer.json", "tokenizer_config.json", "model.safetensors"] {
        fs::write(folder.join(name), fs::read(tiny().join(name)).unwrap()).unwrap();
    }
    let config = fs::read_to_string(tiny().join("config.json")).unwrap();
    let mut config: Value = serde_json::from_str(&config).unwrap();
    config["quantization_config"] = json!({ "quant_method": "gptq", "bits": 4 });
    fs::write(folder.join("config.json"), config.to_string()).unwrap();
}

/// Quantized tensors are quantized anew only when asked to, but made floats of or copied freely.
#[test]
fn convert_asks_before_it_requantizes() {
    let place = Place::new();
    place.says(&["quantize", "data/tiny", "q4.gguf", "--scheme", "Q4_0"]);
    place.says(&["convert", "q4.gguf", "float.gguf", "--type", "f16"]);
    place.says(&["quantize", "q4.gguf", "f32.gguf", "--scheme", "F32"]);
    place.says(&["convert", "q4.gguf", "copy.gguf"]);
    place.says(&["convert", "float.gguf", "q8.gguf", "--type", "q8_0"]);
    place.says(&["convert", "q4.gguf", "twice.gguf", "--type", "q8_0", "--allow-requantize"]);
    let types = |file: &str| {
        let text = place.says(&["inspect", file, "--tensors", "--json"]);
        let report: Value = serde_json::from_str(&text).unwrap();
        let tensors = report["tensors"].as_array().unwrap();
        let find = |name: &str| tensors.iter().find(|tensor| tensor["name"] == name).unwrap();
        find("blk.0.ffn_up.weight")["type"].as_str().unwrap().to_owned()
    };
    let files = ["float.gguf", "f32.gguf", "copy.gguf", "q8.gguf", "twice.gguf"];
    assert_eq!(files.map(types), ["F16", "F32", "Q4_0", "Q8_0", "Q8_0"]);
}

/// A GGUF file of one F32 matrix: columns and rows, bytes.
fn one_matrix(path: &Path, shape: [usize; 2], bytes: &[u8]) {
    let name = "blk.0.ffn_up.weight".to_owned();
    let tensor = Tensor { name, ty: TensorType::F32, shape: shape.to_vec() };
    let layout = Layout::new(path, &Metadata::new(), &[tensor]).unwrap();
    let mut file = layout.header;
    file.extend_from_slice(bytes);
    file.resize(layout.len as usize, 0);
    fs::write(path, file).unwrap();
}

/// What is copied, rounded or encoded is looked at alike; the file, tensor and place are named.
#[test]
fn values_that_are_no_numbers_are_refused() {
    let place = Place::new();
    for (value, index) in [(f32::NAN, 0), (f32::INFINITY, 3 * 64 + 5), (f32::NEG_INFINITY, 319)] {
        let mut values = vec![0.25_f32; 5 * 64];
        values[index] = value;
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        one_matrix(&place.path("bad.gguf"), [64, 5], &bytes);
        let (row, column) = (index / 64, index % 64);
        let says = format!(
            "error: bad.gguf: tensor `blk.0.ffn_up.weight`, row {row}, column {column}: NaN or infinite"
        );
        for arguments in [
            &["convert", "bad.gguf", "x.gguf"][..],
            &["convert", "bad.gguf", "x.gguf", "--type", "bf16"],
            &["quantize", "bad.gguf", "x.gguf", "--scheme", "F16"],
            &["quantize", "bad.gguf", "x.gguf", "--scheme", "Q8_0"],
        ] {
            let refused = place.fails(arguments);
            assert!(refused.contains(&says) && refused.contains("[status 1]"), "{refused}");
            assert!(!place.path("x.gguf").exists());
        }
    }
    // A finite value that a narrower type cannot hold.
    one_matrix(&place.path("bad.gguf"), [64, 5], &1e6_f32.to_le_bytes().repeat(320));
    let refused = place.fails(&["convert", "bad.gguf", "x.gguf", "--type", "f16"]);
    assert!(refused.contains("row 0, column 0: too large for F16"), "{refused}");
}

/// In a folder too, where the file of several that holds the value is named.
#[test]
fn a_folders_bad_file_is_named() {
    let place = Place::new();
    place.says(&["convert", "data/tiny", "split", "--split-max-size", "2MB"]);
    let names = fs::read_dir(place.path("split")).unwrap();
    let mut names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let name = names.find(|name| name.starts_with("model-00002")).unwrap();
    let bad = place.path("split").join(&name);
    let mut bytes = fs::read(&bad).unwrap();
    let last = bytes.len() - 2;
    // The upper half of a BF16 value.
    bytes[last..].copy_from_slice(&0x7fc0_u16.to_le_bytes());
    fs::write(&bad, bytes).unwrap();
    for arguments in [
        &["convert", "split", "x.gguf"][..],
        &["convert", "split", "folder"],
        &["convert", "split", "folder", "--type", "f32"],
    ] {
        let refused = place.fails(arguments);
        assert!(refused.contains(&format!("{name}: tensor `blk.")), "{refused}");
        assert!(refused.contains("NaN or infinite"), "{refused}");
    }
    assert!(!place.path("folder").exists());
}

/// Misfits are said, not hidden.
#[test]
fn fallbacks_are_warned_of() {
    let place = Place::new();
    one_matrix(&place.path("odd.gguf"), [40, 4], &[0; 640]);
    let quantize = ["quantize", "data/golden/llama2", "x.gguf", "--scheme", "Q4_K_M"];
    let convert = ["convert", "odd.gguf", "y.gguf", "--type", "q8_0"];
    for arguments in [quantize, convert] {
        let done = place.run(&arguments);
        let stderr = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{stderr}");
        assert!(
            stderr.contains("warning: ") && stderr.contains("cannot take the type"),
            "{stderr}"
        );
    }
}

const PROMPT: &str = "<|begin|>And it came to pass in those days";

/// What `mdl run --raw --json` gives.
fn run(place: &Place, model: &str, arguments: &[&str]) -> Value {
    let begin = ["run", model, "--raw", "--json", "--prompt", PROMPT];
    serde_json::from_str(&place.says(&[&begin[..], arguments].concat())).unwrap()
}

/// The begin token is written into the prompt, since this tokenizer adds none.
#[test]
fn run_writes_transformers_text() {
    let place = Place::new();
    let text = fs::read_to_string(tiny().join("golden.json")).unwrap();
    let golden: Value = serde_json::from_str(&text).unwrap();
    let expected = golden["greedy_text"].as_str().unwrap().strip_prefix(PROMPT).unwrap();
    for activations in ["f32", "q8"] {
        let arguments = ["--max-tokens", "24", "--activations", activations];
        let found = run(&place, "data/tiny", &arguments);
        assert_eq!(found["text"], expected, "{activations}");
        assert_eq!(found["prompt_tokens"], golden["ids"].as_array().unwrap().len());
        assert_eq!(found["tokens"].as_array().unwrap().len(), 24);
        assert_eq!(found["ended"], "max tokens");
    }
    // The same as plain text, from standard input too.
    let plain = ["run", "data/tiny", "--raw", "--quiet", "--max-tokens", "24", "-p", PROMPT];
    let plain = place.says(&plain);
    assert_eq!(plain, format!("{expected}\n"));
    let mut piped = Command::new("sh");
    let program = mdl(&place.path("home")).get_program().to_owned();
    piped.arg("-c").arg("printf %s \"$2\" | \"$1\" run \"$3\" --raw --max-tokens 24");
    assert_eq!(output(piped.arg("sh").arg(program).arg(PROMPT).arg(tiny())), plain);
}

#[test]
fn run_stops_where_it_is_told() {
    let place = Place::new();
    let found = run(&place, "data/tiny", &["--stop", "unto Mos", "--stop", "never"]);
    assert_eq!(found["text"], ", that the LORD said ");
    assert_eq!(found["ended"], "stop string \"unto Mos\"");
    let found = run(&place, "data/tiny", &["--max-tokens", "3"]);
    assert_eq!(found["tokens"].as_array().unwrap().len(), 3);
}

#[test]
fn the_same_seed_gives_the_same_text() {
    let place = Place::new();
    let sample = |seed: &str, threads: &str| {
        let arguments =
            ["--temperature", "1", "--seed", seed, "--max-tokens", "24", "--threads", threads];
        run(&place, "data/tiny", &arguments)["tokens"].clone()
    };
    let first = sample("7", "1");
    assert_eq!(sample("7", "1"), first);
    assert_eq!(sample("7", "2"), first, "threads do not change the result");
    assert_ne!(sample("8", "1"), first);
}

#[test]
fn split_files_load_as_one() {
    let place = Place::new();
    place.says(&["convert", "data/tiny", "whole.gguf"]);
    place.says(&["convert", "data/tiny", "split.gguf", "--split-max-size", "2MiB"]);
    let mut parts: Vec<PathBuf> =
        fs::read_dir(place.folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    parts.retain(|path| path.to_string_lossy().contains("split-"));
    assert!(parts.len() > 3, "{parts:?}");
    let first = format!("split-00001-of-{:05}.gguf", parts.len());
    let tensors = |file: &str| {
        let text = place.says(&["inspect", file, "--tensors", "--json"]);
        let report: Value = serde_json::from_str(&text).unwrap();
        (report["tensors"].clone(), report["parameters"].clone())
    };
    assert_eq!(tensors(&first), tensors("whole.gguf"));
    let arguments = ["--max-tokens", "12"];
    assert_eq!(run(&place, &first, &arguments), run(&place, "whole.gguf", &arguments));
}
