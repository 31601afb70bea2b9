//! Go templates made for Ollama, rendered by Go: they give the text that the model's own chat template gives.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use mdl_artifact::views::ollama;
use mdl_formats::{
    Limits,
    gguf::{self, Metadata},
    template::{ChatTemplate, Message, Settings},
};
use mdl_tests::{need, output};
use serde_json::{Value, json};

fn go() -> Option<PathBuf> {
    let paths = std::env::var_os("PATH")?;
    let places = std::env::split_paths(&paths).chain([PathBuf::from("/usr/local/go/bin")]);
    places.map(|folder| folder.join("go")).find(|program| program.is_file())
}

/// What Go renders for every job: a template and its messages.
fn rendered(go: &Path, jobs: &[Value]) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("render");
    let source = mdl_tests::data().join("ollama/render.go");
    output(
        Command::new(go).arg("build").arg("-o").arg(&program).arg(source).current_dir(dir.path()),
    );
    let mut child =
        Command::new(program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(json!(jobs).to_string().as_bytes()).unwrap();
    let done = child.wait_with_output().unwrap();
    assert!(done.status.success());
    serde_json::from_slice(&done.stdout).unwrap()
}

fn conversations() -> Vec<Vec<Message>> {
    let message = |(role, content): &(&str, &str)| Message::new(*role, *content);
    [
        &[("user", "Hello?")][..],
        &[("system", "Be brief."), ("user", "Why \"is\" it {so}?")],
        &[("user", "a"), ("assistant", "b\n\nc"), ("user", "d <e> & f")],
        &[
            ("system", "S"),
            ("user", "1"),
            ("assistant", "2"),
            ("user", "3"),
            ("assistant", "4"),
            ("user", "5"),
        ],
    ]
    .iter()
    .map(|turns| turns.iter().map(message).collect())
    .collect()
}

/// Checks the template made for a model; gives the family that stands in, if one does.
fn check(go: &Path, name: &str, keys: &Metadata) -> Option<&'static str> {
    let made = ollama::template(keys).unwrap_or_else(|| panic!("{name}: no template"));
    let chat = ChatTemplate::from_metadata(keys, Path::new(name), &Limits::default());
    let chat = chat.unwrap().unwrap();
    let begin = keys.u64("tokenizer.ggml.bos_token_id").and_then(|id| {
        keys.strings("tokenizer.ggml.tokens")?.get(usize::try_from(id).ok()?).cloned()
    });
    let begin = begin.filter(|_| keys.bool("tokenizer.ggml.add_bos_token") != Some(false));
    let jobs: Vec<Value> = conversations()
        .iter()
        .map(|messages| json!({ "template": made.text, "messages": messages }))
        .collect();
    for (messages, found) in conversations().iter().zip(rendered(go, &jobs)) {
        let expected = chat.render(messages, &Settings::default()).unwrap();
        let expected =
            expected.strip_prefix(&begin.clone().unwrap_or_default()).unwrap_or(&expected);
        if made.family.is_none() {
            assert_eq!(found, expected, "{name}: {}", made.text);
        } else {
            // A family stands in: every word is there, in order, and the answer begins alike.
            let mut rest = found.as_str();
            for message in messages {
                rest = rest
                    .split_once(&message.content)
                    .unwrap_or_else(|| panic!("{name}: {found}"))
                    .1;
            }
            assert!(expected.ends_with(rest), "{name}: {rest} {expected}");
        }
    }
    made.family
}

#[test]
fn real_models() {
    let go = need!(go());
    for name in ["SmolLM2-135M-Instruct.Q4_1.gguf", "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf"] {
        let path = need!(mdl_tests::model(name));
        let model = gguf::open(&path, &Limits::default()).unwrap();
        assert_eq!(check(&go, name, &model.metadata), None, "{name}");
    }
}

#[test]
fn published_templates() {
    let go = need!(go());
    for (name, family) in
        [("llama3_1", None), ("qwen3", None), ("gemma3", None), ("deepseek_v3", None)]
    {
        let folder = need!(mdl_tests::tokenizer(name));
        assert_eq!(check(&go, name, &keys(&folder)), family, "{name}");
    }
}

/// GGUF keys with a folder's chat template, and its begin and end tokens.
fn keys(folder: &Path) -> Metadata {
    let config = fs::read(folder.join("tokenizer_config.json")).unwrap();
    let config: Value = serde_json::from_slice(&config).unwrap();
    let token = |kind: &str| {
        let value = &config[format!("{kind}_token")];
        value.as_str().or_else(|| value["content"].as_str()).unwrap_or_default().to_owned()
    };
    let mut keys = Metadata::new();
    let has_begin = !token("bos").is_empty();
    keys.set("tokenizer.ggml.tokens", vec![token("bos"), token("eos")]);
    keys.set("tokenizer.ggml.bos_token_id", 0_u32);
    keys.set("tokenizer.ggml.eos_token_id", 1_u32);
    keys.set("tokenizer.ggml.add_bos_token", has_begin);
    keys.set("tokenizer.chat_template", config["chat_template"].as_str().unwrap());
    keys
}
