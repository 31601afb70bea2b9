//! Logits of tiny models of every family against transformers, and greedy text of trained models.
//!
//! The golden models are noise with every option of their family switched on; `golden.json` beside
//! each has the reference's argmax at every position and its logits at the last.

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test that fails may say so, and figures are for its reader"
)]

use std::{fs, path::Path, process::Command, sync::Arc};

use mdl_formats::{Checkpoint, Limits};
use mdl_infer::{Model, Options, Precision, Session, Wanted, greedy};
use mdl_kernels::{Compute, Tier};
use mdl_tests::{data, golden, shared, skipped};

fn load(path: &Path, precision: Precision) -> Model {
    let checkpoint = Checkpoint::open(path, &Limits::default()).expect("the model opens");
    let compute = Arc::new(Compute::new(Tier::detect(), 2));
    let options = Options { precision, ..Options::new(compute) };
    Model::load(&checkpoint, &options).expect("the model loads")
}

struct Golden {
    ids: Vec<u32>,
    argmax: Vec<u32>,
    logits_last: Vec<f32>,
    /// The ids and what greedy decoding appends to them; empty for models of noise.
    greedy: Vec<u32>,
}

fn read_golden(folder: &Path) -> Golden {
    let text = fs::read_to_string(folder.join("golden.json")).expect("golden.json");
    let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let tokens = |key: &str| -> Vec<u32> {
        let list = json[key].as_array().map_or(&[][..], Vec::as_slice);
        list.iter().map(|id| id.as_u64().expect("an id") as u32).collect()
    };
    let last = json["logits_last"].as_array().expect("logits");
    Golden {
        ids: tokens("ids"),
        argmax: tokens("argmax"),
        logits_last: last.iter().map(|x| x.as_f64().expect("a logit") as f32).collect(),
        greedy: tokens("greedy"),
    }
}

fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// All positions at once, then in pieces through the cache: both must agree with the reference.
fn check(folder: &Path) -> Model {
    const TOLERANCE: f32 = 1e-4;
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let golden = read_golden(folder);
    let model = load(folder, Precision::F32);
    let mut session = Session::new(&model);
    let mut rows = Vec::new();
    session
        .forward(&golden.ids, Wanted::From(0), &mut |tile| rows.extend_from_slice(tile.logits))
        .expect("a forward pass");
    let rows: Vec<&[f32]> = rows.chunks_exact(model.vocab()).collect();
    assert_eq!(rows.len(), golden.ids.len());
    let argmax: Vec<u32> = rows.iter().map(|row| greedy(row).expect("finite")).collect();
    assert_eq!(argmax, golden.argmax, "{name}: argmax at every position");
    let difference = largest_difference(rows[rows.len() - 1], &golden.logits_last);
    assert!(difference < TOLERANCE, "{name}: logits differ by {difference}");

    let mut session = Session::new(&model);
    let (most, last) = golden.ids.split_at(golden.ids.len() - 1);
    for piece in most.chunks(7) {
        session.forward(piece, Wanted::None, &mut |_| {}).expect("a forward pass");
    }
    let logits = session.next_logits(last).expect("a forward pass");
    let cached = largest_difference(logits, &golden.logits_last);
    assert!(cached < TOLERANCE, "{name}: through the cache, logits differ by {cached}");
    println!("{name}: largest difference {difference:.1e}, through the cache {cached:.1e}");
    model
}

macro_rules! families {
    ($($test:ident: $name:literal),* $(,)?) => { $(
        #[test]
        fn $test() {
            check(&golden($name));
        }
    )* };
}
families! {
    llama2: "llama2", llama31: "llama31",
    mistral: "mistral", mistral_whole: "mistral_whole",
    qwen2: "qwen2",
    qwen3: "qwen3", qwen3_yarn: "qwen3_yarn",
    gemma3: "gemma3", gemma3_wrapped: "gemma3_wrapped",
    phi3: "phi3", phi3_long: "phi3_long",
    smollm3: "smollm3", smollm3_4: "smollm3_4",
    olmo2: "olmo2",
}

/// Appends the most likely token `count` times.
fn continue_greedily(model: &Model, prompt: &[u32], count: usize) -> Vec<u32> {
    let mut session = Session::new(model);
    let mut tokens: Vec<u32> = Vec::new();
    while tokens.len() < count {
        let pending = if tokens.is_empty() { prompt } else { &tokens[tokens.len() - 1..] };
        let next = greedy(session.next_logits(pending).expect("a forward pass")).expect("finite");
        tokens.push(next);
    }
    tokens
}

/// The trained model, and what it writes.
#[test]
fn tiny_and_its_text() {
    let folder = data().join("tiny");
    let model = check(&folder);
    let Golden { ids, greedy, .. } = read_golden(&folder);
    let (prompt, expected) = greedy.split_at(ids.len());
    assert_eq!((prompt, expected.len()), (&ids[..], 24));
    assert_eq!(continue_greedily(&model, prompt, expected.len()), expected);
}

/// Karpathy's stories260K: what llama.cpp continues the begin token with.
#[test]
fn stories260k_continues_as_the_reference() {
    let Some(path) = shared("stories260K.gguf") else {
        return skipped("stories260k_continues_as_the_reference", "stories260K.gguf");
    };
    let model = load(&path, Precision::F32);
    let expected = [403, 407, 261, 378, 432, 383, 286, 261, 376, 298, 315, 421];
    assert_eq!(continue_greedily(&model, &[1], expected.len()), expected);
}

/// Real models: the continuation of "The capital of France is", the begin token first where the
/// tokenizer adds one. The first two as llama.cpp and transformers give them.
#[test]
fn real_models_continue_as_the_reference() {
    let cases: [(&str, &[u32], &[u32]); 2] = [
        (
            "SmolLM2-135M-Instruct.Q4_1.gguf",
            &[504, 3575, 282, 4649, 314],
            &[7042, 30, 198, 198, 504],
        ),
        (
            "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
            &[785, 6722, 315, 9625, 374],
            &[12095, 13, 12095, 374, 7407],
        ),
    ];
    for (name, prompt, expected) in cases {
        let Some(path) = mdl_tests::model(name) else {
            skipped("real_models_continue_as_the_reference", name);
            continue;
        };
        for precision in [Precision::F32, Precision::Q8] {
            let model = load(&path, precision);
            let tokens = continue_greedily(&model, prompt, expected.len());
            assert_eq!(tokens, expected, "{name}, {precision:?}");
        }
    }
}

/// What llama.cpp computes from the same file; `None` where it or the file is missing.
fn llama_cpp_logits(test: &str, path: Option<&Path>, ids: &[u32]) -> Option<Vec<f32>> {
    let (Some(peer), Some(path)) = (mdl_tests::peer("llama_logits"), path) else {
        skipped(test, "llama_logits or its model");
        return None;
    };
    let arguments = ids.iter().map(u32::to_string);
    let output = Command::new(peer).arg(path).args(arguments).output().expect("it runs");
    assert!(output.status.success());
    let text = String::from_utf8_lossy(&output.stdout);
    Some(text.lines().map(|line| line.parse().expect("a number")).collect())
}

/// Weights in F32, so that nothing is rounded on either side.
#[test]
fn stories260k_has_llama_cpps_logits() {
    let path = shared("stories260K.gguf");
    let ids = [1, 403, 407, 261, 378, 432, 383, 286];
    let theirs = llama_cpp_logits("stories260k_has_llama_cpps_logits", path.as_deref(), &ids);
    let (Some(theirs), Some(path)) = (theirs, path) else { return };
    let model = load(&path, Precision::F32);
    let mut session = Session::new(&model);
    let difference = largest_difference(session.next_logits(&ids).expect("a pass"), &theirs);
    assert!(difference < 1e-4, "{difference}");
}

/// Root mean square of the difference.
fn distance(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    (a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f32>() / a.len() as f32).sqrt()
}

/// Real models with quantized activations on both sides.
///
/// Quantizing activations makes any last-bit difference of sums grow to the size of a quantization
/// step within a few layers, so that two right programs are as far from each other as each is from
/// unquantized activations; more than twice that far would be a mistake.
#[test]
fn real_models_have_llama_cpps_logits() {
    let cases: [(&str, &[u32]); 3] = [
        ("SmolLM2-135M-Instruct.Q4_1.gguf", &[504, 3575, 282, 4649, 314]),
        ("qwen2.5-coder-0.5b-instruct-q4_k_m.gguf", &[785, 6722, 315, 9625, 374]),
        ("gemma-3-270m-q4_k_m.gguf", &[2, 818, 5279, 529, 7001, 563]),
    ];
    for (name, ids) in cases {
        let path = mdl_tests::model(name);
        let theirs = llama_cpp_logits("real_models_have_llama_cpps_logits", path.as_deref(), ids);
        let (Some(theirs), Some(path)) = (theirs, path) else { continue };
        let logits = |precision| {
            let model = load(&path, precision);
            let mut session = Session::new(&model);
            session.next_logits(ids).expect("a forward pass").to_vec()
        };
        let (exact, quantized) = (logits(Precision::F32), logits(Precision::Q8));
        let (far, noise) = (distance(&quantized, &theirs), distance(&quantized, &exact));
        println!("{name}: {far:.3} from llama.cpp, {noise:.3} from unquantized activations");
        assert!(far < 2.0 * noise, "{name}: {far} from llama.cpp's, noise {noise}");
        assert_eq!(greedy(&quantized), greedy(&theirs), "{name}");
    }
}
