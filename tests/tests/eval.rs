//! `mdl eval` against the reference's and llama.cpp's figures, and its gates.

#![allow(
    clippy::unwrap_used,
    clippy::float_cmp,
    clippy::print_stdout,
    reason = "a test that cannot go on has failed; equal floats are meant"
)]

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use mdl_tests::{data, mdl, model, need, output, peer, shared};
use serde_json::Value;

fn held_out() -> PathBuf {
    data().join("tiny/held-out.txt")
}

/// The JSON report of `mdl eval MODEL --data TEXT …`.
fn eval(home: &Path, model: &Path, text: &Path, arguments: &[&str]) -> Value {
    let mut command = mdl(home);
    command.arg("eval").arg(model).arg("--data").arg(text).args(["--json", "--quiet"]);
    serde_json::from_str(&output(command.args(arguments))).unwrap()
}

fn number(report: &Value, pointer: &str) -> f64 {
    report.pointer(pointer).and_then(Value::as_f64).unwrap_or_else(|| panic!("{pointer}: {report}"))
}

/// What the reference implementation finds in the same chunks, without a begin token as the tokenizer says.
#[test]
fn the_tiny_model_has_the_references_perplexity() {
    let home = tempfile::tempdir().unwrap();
    let report = eval(home.path(), &data().join("tiny"), &held_out(), &["--chunks", "40"]);
    let found = number(&report, "/perplexity/value");
    assert!((found - 41.0290).abs() < 0.01, "{found}");
}

/// What llama.cpp's program says: `Final estimate: PPL = 22.1066 +/- 2.21471`.
fn llama_perplexity(program: &Path, model: &Path, text: &Path, arguments: &[&str]) -> (f64, f64) {
    let mut command = Command::new(program);
    command.arg("-m").arg(model).arg("-f").arg(text).args(["-t", "2"]).args(arguments);
    let done = command.output().unwrap();
    let printed = [done.stdout, done.stderr].concat();
    let printed = String::from_utf8_lossy(&printed);
    let (_, found) = printed.split_once("PPL = ").unwrap_or_else(|| panic!("{printed}"));
    let mut words = found.split_whitespace();
    let value = words.next().unwrap().parse().unwrap();
    (value, words.nth(1).unwrap().parse().unwrap())
}

/// F16: llama.cpp rounds activations to 11 bits, we do not; over a text that averages out. Q8_0 with
/// quantized activations on both sides: llama.cpp's own figures with and without flash attention
/// are 0.3 % apart here.
#[test]
fn a_real_model_has_llama_cpps_perplexity() {
    let source = need!(model("SmolLM2-135M-Instruct.Q4_1.gguf"));
    let (program, text) = (need!(peer("llama-perplexity")), need!(shared("wikitext-2-test.txt")));
    let dir = tempfile::tempdir().unwrap();
    let (float, small) = (dir.path().join("f16.gguf"), dir.path().join("q8_0.gguf"));
    output(mdl(dir.path()).arg("convert").arg(source).arg(&float).args(["--type", "f16"]));
    output(mdl(dir.path()).arg("quantize").arg(&float).arg(&small).args(["-s", "Q8_0"]));
    let cases = [
        (&float, ["--chunks", "2", "--context", "128", "--activations", "f32"], 0.001),
        (&small, ["--chunks", "4", "--context", "512", "--activations", "q8"], 0.005),
    ];
    for (file, arguments, tolerance) in cases {
        let report = eval(dir.path(), file, &text, &arguments);
        let [chunks, n, _, context, ..] = arguments;
        let theirs = llama_perplexity(&program, file, &text, &[chunks, n, "-c", context]);
        let ours = (number(&report, "/perplexity/value"), number(&report, "/perplexity/error"));
        println!("{}: {ours:?}, llama.cpp {theirs:?}", file.display());
        assert!((ours.0 / theirs.0 - 1.0).abs() < tolerance, "{ours:?}, llama.cpp {theirs:?}");
        assert!((ours.1 / theirs.1 - 1.0).abs() < 0.02, "{ours:?}, llama.cpp {theirs:?}");
    }
}

/// The tiny model in a scheme.
fn quantized(dir: &Path, scheme: &str) -> PathBuf {
    let file = dir.join(format!("{scheme}.gguf"));
    let mut command = mdl(dir);
    output(command.arg("quantize").arg(data().join("tiny")).arg(&file).args(["-s", scheme]));
    file
}

#[test]
fn divergence_of_a_file_from_itself_is_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let file = quantized(dir.path(), "Q4_K_M");
    let against = ["--chunks", "2", "--context", "256", "--against", file.to_str().unwrap()];
    let report = eval(dir.path(), &file, &held_out(), &against);
    assert_eq!(number(&report, "/divergence/same_top/value"), 1.0);
    assert_eq!(number(&report, "/divergence/perplexity_ratio/value"), 1.0);
    assert_eq!(number(&report, "/divergence/delta_p_rms/value"), 0.0);
    for of in ["mean/value", "maximum", "median"] {
        assert!(number(&report, &format!("/divergence/kld/{of}")).abs() < 1e-9, "{report}");
    }
}

/// Fewer bits, more divergence; and the percentiles are in order.
#[test]
fn divergence_grows_as_bits_shrink() {
    let dir = tempfile::tempdir().unwrap();
    let base = data().join("tiny");
    let arguments = ["--chunks", "2", "--against", base.to_str().unwrap()];
    let mut last = (0.0, 1.0);
    for (scheme, least, most) in [("Q8_0", 1e-6, 1e-3), ("Q4_K_M", 1e-3, 0.1), ("Q2_K", 0.01, 1.0)]
    {
        let file = quantized(dir.path(), scheme);
        let report = eval(dir.path(), &file, &held_out(), &arguments);
        let mean = number(&report, "/divergence/kld/mean/value");
        let same = number(&report, "/divergence/same_top/value");
        println!("{scheme}: {mean:.6}, same top {same:.4}");
        assert!(mean > least && mean < most, "{scheme}: {mean}");
        assert!(mean > last.0 && same < last.1, "{scheme}: {mean}, {same} after {last:?}");
        last = (mean, same);
        let order = ["minimum", "p1", "p10", "median", "p90", "p99", "maximum"]
            .map(|of| number(&report, &format!("/divergence/kld/{of}")));
        assert!(order.is_sorted() && order[0] > -1e-9, "{scheme}: {order:?}");
        let ratio = number(&report, "/perplexity/value")
            / number(&report, "/divergence/perplexity_base/value");
        assert!((ratio - number(&report, "/divergence/perplexity_ratio/value")).abs() < 1e-9);
    }
}

/// Status 3 and a line naming each gate that was broken; what was measured is printed all the same.
#[test]
fn gates_refuse_with_status_3() {
    let dir = tempfile::tempdir().unwrap();
    let file = quantized(dir.path(), "Q4_K_M");
    let run = |gates: &[&str]| {
        let mut command = mdl(dir.path());
        command.arg("eval").arg(&file).arg("--data").arg(held_out());
        command.args(["--chunks", "1", "--context", "128", "--json", "--quiet", "--against"]);
        command.arg(data().join("tiny")).args(gates).output().unwrap()
    };
    let passed = run(&["--max-kld", "0.5", "--max-ppl-ratio", "1.5", "--min-top1", "0.5"]);
    assert_eq!((passed.status.code(), passed.stderr.as_slice()), (Some(0), &b""[..]));

    let broken = run(&["--max-kld", "0.0001", "--max-ppl-ratio", "1.5", "--min-top1", "0.9999"]);
    assert_eq!(broken.status.code(), Some(3));
    let stderr = String::from_utf8_lossy(&broken.stderr);
    assert!(
        stderr.starts_with("error: the model does not pass: --max-kld 0.0001: found "),
        "{stderr}"
    );
    assert!(stderr.contains("--min-top1 0.9999: found 0."), "{stderr}");
    assert!(!stderr.contains("ppl-ratio"), "{stderr}");
    let report: Value = serde_json::from_slice(&broken.stdout).unwrap();
    let verdicts: Vec<bool> =
        report["gates"].as_array().unwrap().iter().map(|gate| gate["passed"] == true).collect();
    assert_eq!(verdicts, [false, true, false]);
}

/// The shape of the report: every measured number is left out.
#[test]
fn the_report_has_its_shape() {
    fn redact(value: &mut Value) {
        match value {
            Value::Number(number) if number.is_f64() => *value = "[measured]".into(),
            Value::Array(items) => items.iter_mut().for_each(redact),
            Value::Object(fields) => fields.values_mut().for_each(redact),
            _ => {}
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let base = data().join("tiny");
    let arguments =
        ["--chunks", "1", "--context", "64", "--against", base.to_str().unwrap(), "--max-kld", "9"];
    let mut report = eval(dir.path(), &base, &held_out(), &arguments);
    redact(&mut report);
    insta::assert_snapshot!(serde_json::to_string_pretty(&report).unwrap());
}
