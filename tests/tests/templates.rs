//! Chat templates against transformers' own rendering.
#![allow(
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test stops where its premises fail, and says what it saw"
)]

use std::{path::Path, process::Command, time::SystemTime};

use mdl_formats::{
    Limits,
    template::{ChatTemplate, Message, Settings},
};
use mdl_tests::{need, output, peer_source, python, tokenizer};

/// Renders every template of a list with transformers; the date is nailed.
const SCRIPT: &str = r#"
import sys, json, datetime
import transformers.utils.chat_template_utils as t
class Fixed(datetime.datetime):
    @classmethod
    def now(cls, tz=None): return cls(2024, 2, 29, 12, 34, 56)
t.datetime = Fixed
out = []
for case in json.load(open(sys.argv[1])):
    try:
        template = t._compile_jinja_template(case["template"])
        out.append(template.render(messages=case["messages"], tools=None, documents=None,
            add_generation_prompt=True, bos_token="<BOS>", eos_token="<EOS>"))
    except Exception as e:
        out.append(None)
print(json.dumps(out))
"#;

fn templates() -> Vec<(String, String)> {
    let mut all = Vec::new();
    for name in ["llama3_1", "qwen3", "gemma3", "deepseek_v3"] {
        let Some(folder) = tokenizer(name) else { continue };
        let text = std::fs::read_to_string(folder.join("tokenizer_config.json")).expect("text");
        let config: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        if let Some(template) = config["chat_template"].as_str() {
            all.push((name.to_owned(), template.to_owned()));
        }
    }
    let Some(source) = peer_source() else { return all };
    let mut paths: Vec<_> = std::fs::read_dir(source.join("models/templates"))
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|end| end == "jinja"))
        .collect();
    paths.sort();
    for path in paths {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        all.push((name, std::fs::read_to_string(&path).expect("text")));
    }
    all
}

#[test]
fn templates_render_as_in_transformers() {
    let python = need!(python());
    let templates = templates();
    let conversations = [
        vec![Message::new("user", "Hello <you> & \"all\"\n  ")],
        vec![
            Message::new("system", "Be brief."),
            Message::new("user", "2+2?"),
            Message::new("assistant", "4"),
            Message::new("user", "thanks"),
        ],
    ];
    let mut cases = Vec::new();
    for (_, template) in &templates {
        for messages in &conversations {
            let list: Vec<_> = messages
                .iter()
                .map(|m| serde_json::json!({"role": m.role, "content": m.content}))
                .collect();
            cases.push(serde_json::json!({"template": template, "messages": list}));
        }
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("cases.json");
    std::fs::write(&path, serde_json::to_vec(&cases).expect("JSON")).expect("a file");
    let printed = output(Command::new(python).args(["-c", SCRIPT]).arg(&path));
    let expected: Vec<Option<String>> = serde_json::from_str(printed.trim()).expect("JSON");
    let now = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_709_210_096);
    let settings = Settings { now, ..Settings::default() };
    let mut wrong = Vec::new();
    let mut rendered = 0;
    for (index, expected) in expected.iter().enumerate() {
        let (name, source) = &templates[index / conversations.len()];
        let messages = &conversations[index % conversations.len()];
        let limits = Limits::default();
        let found = ChatTemplate::new(Path::new(name), source, "<BOS>", "<EOS>", &limits)
            .and_then(|template| template.render(messages, &settings));
        match (found, expected) {
            (Ok(found), Some(expected)) if found == *expected => rendered += 1,
            // Where transformers fails (tools that were not given) ours may do as it likes.
            (_, None) => {}
            (found, expected) => wrong.push(format!("{name}:\n{found:?}\n{expected:?}")),
        }
    }
    eprintln!("{rendered} of {} cases rendered alike", expected.len());
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n\n"));
    assert!(rendered > 20);
}
