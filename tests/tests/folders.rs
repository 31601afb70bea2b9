//! Folders that we write, loaded by unmodified transformers 4 and 5.
#![allow(
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test stops where its premises fail, and says what it saw"
)]

use std::{path::Path, process::Command};

use mdl_formats::{
    Checkpoint, Config, Limits,
    convert::{FolderOptions, side_files, write_folder},
    family::Description,
    gguf::{Array, Metadata, Value},
    tokenizer::Tokenizer,
};
use mdl_kernels::TensorType;
use mdl_tests::{golden, model, need, output, python, python_converter};
use serde_json::{Value as Json, json};

/// Loads folders as F32 and prints, for the ids of each one's `golden.json`, the logits of the last.
const LOGITS: &str = r#"
import sys, json, logging, torch
from transformers import AutoModelForCausalLM
logging.disable(logging.WARNING)
out = []
for folder in sys.argv[2:]:
    name = folder.rsplit("/", 1)[1]
    ids = json.load(open(f"{sys.argv[1]}/{name}/golden.json"))["ids"]
    model = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager", torch_dtype=torch.float32)
    with torch.no_grad(): out.append(model(torch.tensor([ids])).logits[0, -1].tolist())
print(json.dumps(out))
"#;

/// Tokenizes texts with and without special tokens, and decodes.
const TOKENS: &str = r#"
import sys, json, logging
logging.disable(logging.WARNING)
from transformers import AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
out = []
for text in json.load(open(sys.argv[2])):
    plain = tokenizer.encode(text, add_special_tokens=False)
    out.append([plain, tokenizer.encode(text), tokenizer.decode(plain, skip_special_tokens=True)])
special = [tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id]
chat = None
if tokenizer.chat_template: chat = tokenizer.apply_chat_template([{"role": "user", "content": "hi"}], tokenize=False)
print(json.dumps([out, special, chat is not None]))
"#;

const FAMILIES: &[&str] = &[
    "gemma3",
    "gemma3_wrapped",
    "llama2",
    "llama31",
    "mistral",
    "mistral_whole",
    "olmo2",
    "phi3",
    "phi3_long",
    "qwen2",
    "qwen3",
    "qwen3_yarn",
    "smollm3",
    "smollm3_4",
];

fn open(path: &Path) -> Checkpoint {
    Checkpoint::open(path, &Limits::default()).expect("a model")
}

#[test]
fn every_family_gives_the_same_logits() {
    let interpreters = [need!(python()), need!(python_converter())];
    let parent = tempfile::tempdir().expect("a folder");
    let mut folders = Vec::new();
    for name in FAMILIES {
        let path = parent.path().join(name);
        let checkpoint = open(&golden(name));
        let options = FolderOptions::default();
        write_folder(&checkpoint, &path, &options, &Limits::default(), &mut |_| {}).expect(name);
        folders.push(path);
    }
    for python in interpreters {
        let mut command = Command::new(&python);
        command.args(["-c", LOGITS]).arg(golden("x").parent().expect("a folder")).args(&folders);
        let found: Vec<Vec<f64>> = serde_json::from_str(output(&mut command).trim()).expect("JSON");
        for (name, found) in FAMILIES.iter().zip(&found) {
            let text = std::fs::read_to_string(golden(name).join("golden.json")).expect("text");
            let golden: Json = serde_json::from_str(&text).expect("JSON");
            let expected = golden["logits_last"].as_array().expect("logits");
            assert_eq!(found.len(), expected.len());
            let far = found
                .iter()
                .zip(expected)
                .map(|(a, b)| (a - b.as_f64().expect("a number")).abs())
                .fold(0.0, f64::max);
            assert!(far < 1e-4, "{name} in {}: {far}", python.display());
        }
    }
}

fn texts() -> Vec<&'static str> {
    vec![
        "Hello, world! I'm you're WE'LL",
        "  two  spaces\n\n\tand tabs\r\n",
        "3 33 333 1234567890 3.14159",
        "fn main() { println!(\"{:?}\", x); }\n\n\n// done",
        "我想在apple工作1314151天～ 日本語、カタカナ。한국어",
        "нещо на Български Ελληνικά עברית العربية हिन्दी ខ្មែរ",
        "🚀 (normal) 😶‍🌫️ (multiple emojis concatenated) ✅ 🦙🦙",
        "Cửa Việt naïve \u{a0}x\u{2003}y",
        "<|im_start|>user\nhi<|im_end|>\n<start_of_turn>x<end_of_turn> <b>y</b>",
        "------======= ''''''```````\"\"\"\"......!!!!!!??????",
    ]
}

fn check_tokens(folder: &Path, checkpoint: &Checkpoint) {
    let ours = Tokenizer::from_checkpoint(checkpoint).expect("a tokenizer");
    let list = folder.join("texts.json");
    std::fs::write(&list, json!(texts()).to_string()).expect("a file");
    // Both read the same file; the larger vocabularies take their time, so one does for them.
    let both = checkpoint.architecture() == Some("llama");
    let other = python_converter().filter(|_| both);
    for python in [python(), other].into_iter().flatten() {
        let mut command = Command::new(&python);
        let printed = output(command.args(["-c", TOKENS]).arg(folder).arg(&list));
        let found: Json = serde_json::from_str(printed.trim()).expect("JSON");
        let ids = |value: &Json| -> Vec<u64> {
            value.as_array().expect("ids").iter().filter_map(Json::as_u64).collect()
        };
        for (text, found) in texts().into_iter().zip(found[0].as_array().expect("a list")) {
            let expected = |special| -> Vec<u64> {
                let ids = ours.encode(text, special, true).expect("tokens");
                ids.into_iter().map(u64::from).collect()
            };
            let place = format!("{} in {}: {text:?}", folder.display(), python.display());
            assert_eq!(ids(&found[0]), expected(false), "{place}");
            assert_eq!(ids(&found[1]), expected(true), "{place}");
            let plain: Vec<u32> = ours.encode(text, false, true).expect("tokens");
            assert_eq!(found[2], ours.decode(&plain), "{place}");
        }
        assert_eq!(found[1][0].as_u64(), ours.bos().map(u64::from));
        assert_eq!(found[1][1].as_u64(), ours.eos().map(u64::from));
        assert_eq!(found[2], checkpoint.metadata.str("tokenizer.chat_template").is_some());
    }
}

#[test]
fn real_tokenizers_give_the_same_ids_in_transformers() {
    need!(python());
    for name in [
        "SmolLM2-135M-Instruct.Q4_1.gguf",
        "gemma-3-270m-q4_k_m.gguf",
        "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
    ] {
        let checkpoint = open(&need!(model(name)));
        let parent = tempfile::tempdir().expect("a folder");
        let limits = Limits::default();
        for (name, text) in side_files(&checkpoint, TensorType::F32, &limits).expect(name) {
            std::fs::write(parent.path().join(name), text).expect("a file");
        }
        check_tokens(parent.path(), &checkpoint);
    }
}

/// What differs between a GGUF file's keys and those of the folder made from it, read again.
fn differences(first: &Checkpoint, second: &Checkpoint) -> Vec<String> {
    let mut all = Vec::new();
    for (key, value) in first.metadata.iter() {
        match second.metadata.get(key) {
            None => all.push(format!("- {key}")),
            Some(other) if other != value => all.push(format!("~ {key}")),
            Some(_) => {}
        }
    }
    for (key, _) in second.metadata.iter() {
        if first.metadata.get(key).is_none() {
            all.push(format!("+ {key}"));
        }
    }
    all.sort();
    all
}

/// Greedy tokens in transformers.
const GREEDY: &str = r"
import sys, json, logging, torch
from transformers import AutoModelForCausalLM
logging.disable(logging.WARNING)
model = AutoModelForCausalLM.from_pretrained(sys.argv[1], torch_dtype=torch.float32)
ids = json.loads(sys.argv[2])
with torch.no_grad():
    for _ in range(5): ids.append(model(torch.tensor([ids])).logits[0, -1].argmax().item())
print(json.dumps(ids[-5:]))
";

#[test]
fn a_real_model_goes_to_a_folder_and_back() {
    let checkpoint = open(&need!(model("SmolLM2-135M-Instruct.Q4_1.gguf")));
    let parent = tempfile::tempdir().expect("a folder");
    let folder = parent.path().join("smollm2");
    // The dequantized values are kept whole in F32.
    let options = FolderOptions {
        ty: Some(TensorType::F32),
        max_shard: 200_000_000,
        ..FolderOptions::default()
    };
    write_folder(&checkpoint, &folder, &options, &Limits::default(), &mut |_| {})
        .expect("a folder");
    let again = open(&folder);
    let expected = [
        // What the file left to be guessed is stated now.
        "+ llama.attention.key_length",
        "+ llama.attention.value_length",
        "+ tokenizer.ggml.add_eos_token",
        // Means nothing for byte-level tokens.
        "- tokenizer.ggml.add_space_prefix",
        "~ general.file_type",
    ];
    assert_eq!(differences(&checkpoint, &again), expected);
    for tensor in &checkpoint.tensors {
        let back = again.tensor(&tensor.name).expect("a tensor");
        let read = |checkpoint: &Checkpoint, tensor| {
            let tensor: &mdl_formats::Tensor = tensor;
            let mut out = vec![0.0; tensor.elements()];
            let tier = mdl_kernels::Tier::detect();
            checkpoint.decode_rows(tensor, 0..tensor.rows(), tier, &mut out).expect("rows");
            out
        };
        assert!(read(&checkpoint, tensor) == read(&again, back), "{}", tensor.name);
    }
    let tokenizer = Tokenizer::from_checkpoint(&again).expect("a tokenizer");
    let prompt = tokenizer.encode("The capital of France is", true, false).expect("tokens");
    let python = need!(python());
    let mut command = Command::new(python);
    command.args(["-c", GREEDY]).arg(&folder).arg(json!(prompt).to_string());
    assert_eq!(output(&mut command).trim(), "[7042, 30, 198, 198, 504]");
}

/// Scores of pieces that merging makes.
fn check_scores(checkpoint: &Checkpoint, keys: &Metadata) {
    let key = "tokenizer.ggml.scores";
    if let (Some(Value::Array(Array::F32(a))), Some(Value::Array(Array::F32(b)))) =
        (checkpoint.metadata.get(key), keys.get(key))
    {
        let tokens = keys.strings("tokenizer.ggml.tokens").expect("tokens");
        for (token, (a, b)) in tokens.iter().zip(a.iter().zip(b)) {
            assert!(a == b || token.chars().count() == 1, "{token:?}: {a} {b}");
        }
    }
}

#[test]
fn real_keys_come_back() {
    for (name, expected) in [
        // An older key; scores of single characters, which decide nothing.
        (
            "gemma-3-270m-q4_k_m.gguf",
            &["tokenizer.ggml.add_sep_token", "tokenizer.ggml.scores"] as &[&str],
        ),
        ("qwen2.5-coder-0.5b-instruct-q4_k_m.gguf", &[][..]),
    ] {
        let checkpoint = open(&need!(model(name)));
        let parent = tempfile::tempdir().expect("a folder");
        let limits = Limits::default();
        for (name, text) in side_files(&checkpoint, TensorType::F32, &limits).expect(name) {
            std::fs::write(parent.path().join(name), text).expect("a file");
        }
        let config = Config::read(parent.path(), &limits).expect("a configuration");
        let described = Description::read(config.clone(), &limits).expect("a description");
        let mut notes = Vec::new();
        let tokens = mdl_formats::tokenizer::read(
            parent.path(),
            &config,
            described.dims.vocabulary,
            &limits,
            &mut notes,
        )
        .expect("keys");
        check_scores(&checkpoint, &tokens);
        let mut wrong = Vec::new();
        let architecture = checkpoint.architecture().expect("an architecture");
        for (key, value) in checkpoint.metadata.iter() {
            let read = if key.starts_with("tokenizer.") {
                tokens.get(key)
            } else if key.starts_with(architecture) {
                described.metadata.get(key)
            } else {
                continue;
            };
            if read != Some(value) {
                wrong.push(key);
            }
        }
        wrong.sort_unstable();
        assert_eq!(wrong, expected, "{name}, notes {notes:?}");
    }
}
