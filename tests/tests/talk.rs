//! `mdl run`: what is said about an answer that was cut off, about models without a chat template, and in a
//! conversation that outgrows its context.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    fs,
    io::Write,
    path::Path,
    process::{Command, Output, Stdio},
};

use mdl_tests::{Place, data, mdl, skipped};
use serde_json::{Value, json};

/// A copy of the tiny model with another length of context, and a chat template where asked for.
fn model(folder: &Path, context: usize, template: Option<&str>) {
    fs::create_dir(folder).unwrap();
    for entry in fs::read_dir(data().join("tiny")).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, folder.join(path.file_name().unwrap())).unwrap();
    }
    let change = |name: &str, key: &str, value: Value| {
        let path = folder.join(name);
        let mut json: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        json[key] = value;
        fs::write(path, json.to_string()).unwrap();
    };
    change("config.json", "max_position_embeddings", json!(context));
    if let Some(template) = template {
        change("tokenizer_config.json", "chat_template", json!(template));
    }
}

fn stderr(done: &Output) -> String {
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8_lossy(&done.stderr).into_owned()
}

#[test]
fn an_answer_that_was_cut_off_says_why() {
    let place = Place::new();
    let run = ["run", "data/tiny", "--raw", "--prompt", "And it came to pass"];
    let say = |arguments: &[&str]| place.run(&[&run[..], arguments].concat());
    let done = stderr(&say(&["--max-tokens", "5"]));
    assert_eq!(done, "[cut off after 5 tokens: --max-tokens allows more]\n");
    let done = stderr(&say(&["--context", "12"]));
    let full = "[cut off: the context of 12 tokens is full; --context makes room for more]\n";
    assert_eq!(done, full);
    // Nothing on what was not cut, and nothing when quiet or as JSON.
    assert_eq!(stderr(&say(&["--stop", "the"])), "");
    assert_eq!(stderr(&say(&["--max-tokens", "5", "--quiet"])), "");
    assert_eq!(stderr(&say(&["--max-tokens", "5", "--json"])), "");
}

#[test]
fn a_prompt_without_a_template_is_said_to_be_raw() {
    let place = Place::new();
    let run = ["run", "data/tiny", "--max-tokens", "3", "--prompt", "And"];
    let note = "The model has no chat template: it is given the prompt as it is, as with --raw.";
    let done = place.run(&run);
    assert!(stderr(&done).contains(note));
    let raw = place.run(&[&run[..], &["--raw"]].concat());
    assert!(!stderr(&raw).contains("template"));
    assert_eq!(raw.stdout, done.stdout, "the same text");
    let system = stderr(&place.run(&[&run[..], &["--system", "Be brief."]].concat()));
    assert!(system.contains("warning: ") && system.contains("--system has no effect"), "{system}");
}

#[test]
fn more_context_than_was_trained_is_warned_of() {
    let place = Place::new();
    model(&place.path("small"), 64, None);
    let warning = "warning: small was trained for a context of 64 tokens";
    let run = ["run", "small", "--raw", "--quiet", "--max-tokens", "2", "--prompt", "And"];
    let run = |context: &str| place.run(&[&run[..], &["--context", context]].concat());
    assert!(stderr(&run("65")).contains(warning));
    assert_eq!(stderr(&run("64")), "");
    let eval = ["eval", "small", "--quiet", "--data", "data/tiny/held-out.txt", "--chunks", "1"];
    let eval = |arguments: &[&str]| place.run(&[&eval[..], arguments].concat());
    assert!(stderr(&eval(&["--context", "128"])).contains(warning));
    assert_eq!(stderr(&eval(&["--context", "64"])), "");
    let against = stderr(&eval(&["--context", "128", "--against", "data/tiny"]));
    assert_eq!(against.matches("warning").count(), 1, "{against}");
}

/// Also where the model's context is longer than what `run` makes room for unasked.
#[test]
fn a_model_is_loaded_once() {
    let place = Place::new();
    model(&place.path("long"), 8192, None);
    let run = ["run", "long", "--raw", "-v", "--max-tokens", "2", "--prompt", "And"];
    let done = stderr(&place.run(&run));
    assert_eq!(done.matches("long is loaded").count(), 1, "{done}");
}

/// On a terminal, which `script` makes.
#[test]
fn a_conversation_that_fills_its_context_says_so() {
    if Command::new("script").arg("--version").output().is_err() {
        return skipped("a_conversation_that_fills_its_context_says_so", "script (bsdutils)");
    }
    let place = Place::new();
    model(&place.path("talker"), 512, Some("{% for m in messages %}{{ m.content }}\n{% endfor %}"));
    let program = mdl(&place.path("home"));
    let words = format!(
        "{} run talker --context 40 --max-tokens 20",
        program.get_program().to_str().unwrap()
    );
    let mut talk = Command::new("script");
    talk.args(["--quiet", "--return", "--command", &words, "/dev/null"]);
    for (name, value) in program.get_envs().filter_map(|(name, value)| Some((name, value?))) {
        talk.env(name, value);
    }
    let talk = talk.current_dir(place.folder()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut talk = talk.spawn().unwrap();
    let mut stdin = talk.stdin.take().unwrap();
    stdin.write_all(b"And it came to pass\nin those days\nthat there went out\n").unwrap();
    let done = talk.wait_with_output().unwrap();
    drop(stdin);
    let text = String::from_utf8_lossy(&done.stdout).replace("\r\n", "\n");
    assert!(text.contains("[cut off after 20 tokens: --max-tokens allows more]"), "{text}");
    assert!(text.contains("[cut off: the context of 40 tokens is full"), "{text}");
    let (_, error) =
        text.split_once("error: the conversation takes ").unwrap_or_else(|| panic!("{text}"));
    assert!(error.contains("tokens, but the context holds 40"), "{text}");
    assert!(error.contains("begin a new one, or make room with --context"), "{text}");
    assert!(error.contains("trained for 512"), "{text}");
    assert_eq!(done.status.code(), Some(1), "{text}");
}
