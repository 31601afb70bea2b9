//! An unmodified Ollama: it pulls from a registry of ours, runs what it pulled, and pushes back.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use mdl_tests::{
    Place, client, need, output,
    server::{Server, free_port},
};
use serde_json::{Value, json};

/// Its own server, with an empty home.
fn ollama(program: &Path, place: &Place) -> Server {
    let host = format!("127.0.0.1:{}", free_port());
    let mut command = Command::new(program);
    command.arg("serve").env("OLLAMA_HOST", &host).env("OLLAMA_MODELS", place.path("models"));
    command.env("HOME", place.path("ollama")).stdout(Stdio::null()).stderr(Stdio::null());
    Server::other(command, host, "/api/version")
}

/// Asks for text as a chat, greedily.
fn chat(ollama: &Server, model: &str) -> Value {
    let question = json!({
        "model": model, "stream": false,
        "messages": [{ "role": "user", "content": "hello" }],
        "options": { "temperature": 0, "num_predict": 8, "num_ctx": 128 },
    });
    let answer = ollama.ask("POST", "/api/chat", &[], question.to_string().as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

#[test]
fn it_pulls_runs_and_pushes_back() {
    let program = need!(client("ollama"));
    let place = Place::new();
    place.says(&["quantize", "data/tiny", "tiny.gguf", "--scheme", "Q8_0", "--quiet"]);
    let server = Server::start(&place.path("root"));
    let (from, back) = (server.at("team/tiny:q8"), server.at("team/back:v1"));
    place.says(&["push", "tiny.gguf", &from, "--quiet"]);
    let ollama = ollama(&program, &place);
    let run = |arguments: &[&str]| {
        let mut command = Command::new(&program);
        command.args(arguments).env("OLLAMA_HOST", &ollama.host);
        output(command.env("HOME", place.path("ollama")))
    };
    run(&["pull", "--insecure", &from]);
    let shown = run(&["show", &from]);
    assert!(shown.contains("llama") && shown.contains("Q8_0"), "{shown}");
    let answer = chat(&ollama, &from);
    assert_eq!(answer["done"], true, "{answer}");
    assert!(answer["eval_count"].as_u64().unwrap() > 0, "{answer}");
    run(&["cp", &from, &back]);
    run(&["push", "--insecure", &back]);
    // Listed and inspected like any model, and the same file whoever asks.
    let report = super::json(&place, &["inspect", &back]);
    assert_eq!(report["facts"]["quantization"], "Q8_0", "{report}");
    assert!(server.get("/").text().contains("team/back"));
    let pushed = fs::read(place.path("tiny.gguf")).unwrap();
    place.says(&["pull", &back, "--to", "back", "--quiet"]);
    let mut gguf = fs::read_dir(place.path("back")).unwrap().map(|entry| entry.unwrap().path());
    let gguf = gguf.find(|path| path.extension().is_some_and(|it| it == "gguf")).unwrap();
    assert_eq!(fs::read(gguf).unwrap(), pushed);
    let by_scheme = format!("ollama://{back}");
    place.says(&["pull", &by_scheme, "--to", "by-scheme", "--quiet"]);
    // A second Ollama, which has nothing yet, runs what the first one pushed.
    let other = Place::new();
    let second = self::ollama(&program, &other);
    let mut command = Command::new(&program);
    command.args(["pull", "--insecure", &back]).env("OLLAMA_HOST", &second.host);
    output(command.env("HOME", other.path("ollama")));
    assert_eq!(chat(&second, &back)["message"], answer["message"]);
}

/// A GGUF that Ollama makes a model of itself, with a template of its user's, is a model for all.
#[test]
fn a_model_made_by_ollama_is_one_for_all() {
    let program = need!(client("ollama"));
    let place = Place::new();
    place.says(&["quantize", "data/tiny", "tiny.gguf", "--scheme", "Q8_0", "--quiet"]);
    let server = Server::start(&place.path("root"));
    let ollama = ollama(&program, &place);
    let name = server.at("made/here:v1");
    let text = "FROM ./tiny.gguf\nTEMPLATE \"\"\"{{ .Prompt }}\"\"\"\nPARAMETER temperature 0.5\n";
    fs::write(place.path("Modelfile"), text).unwrap();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(&program);
        command.args(arguments).env("OLLAMA_HOST", &ollama.host).current_dir(place.folder());
        output(command.env("HOME", place.path("ollama")))
    };
    run(&["create", &name, "-f", "Modelfile"]);
    run(&["push", "--insecure", &name]);
    place.says(&["pull", &name, "--to", "made", "--quiet"]);
    let page = server.get("/made/here:v1").text();
    assert!(page.contains("Q8_0") && page.contains("Tensors by type"), "{page}");
    let tree = server.get("/api/models/made/here/tree/main?recursive=true");
    assert_eq!(tree.status, 200, "{}", tree.text());
    assert!(tree.text().contains(".gguf"), "{}", tree.text());
}

/// On a registry with accounts it logs in by its own key, once that is registered.
#[test]
fn it_logs_in_with_its_own_key() {
    let program = need!(client("ollama"));
    let place = Place::new();
    place.says(&["quantize", "data/tiny", "tiny.gguf", "--scheme", "Q8_0", "--quiet"]);
    super::accounts::user_add(&place, "alice", &[]);
    super::accounts::user_add(&place, "bob", &[]);
    let policy = |name: &str, actions: &str| {
        format!(
            "[[policy]]\nrepositories = [\"team/*\"]\nsubjects = [\"{name}\"]\nactions = {actions}\n"
        )
    };
    let policy = policy("alice", "[\"pull\", \"push\"]") + &policy("bob", "[\"pull\"]");
    let server = Server::with(&place.path("root"), "127.0.0.1:0", &policy);
    let made = super::json(&place, &["registry", "key", "add", "alice", "--root", "root"]);
    let key = made["key"].as_str().unwrap();
    let docker = place.path("docker");
    fs::create_dir(&docker).unwrap();
    let auth = json!({ "auths": { &server.host: { "username": "alice", "password": key } } });
    fs::write(docker.join("config.json"), auth.to_string()).unwrap();
    let (from, back) = (server.at("team/tiny:q8"), server.at("team/back:v1"));
    let mut push = place.command();
    push.env("DOCKER_CONFIG", &docker).args(["push", "tiny.gguf", &from, "--quiet"]);
    output(&mut push);

    let ollama = ollama(&program, &place);
    let run = |arguments: &[&str]| {
        let mut command = Command::new(&program);
        command.args(arguments).env("OLLAMA_HOST", &ollama.host).env("HOME", place.path("ollama"));
        command.output().unwrap()
    };
    let ok = |arguments: &[&str]| {
        let done = run(arguments);
        assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    };
    let pull = ["pull", "--insecure", &from];
    assert!(!run(&pull).status.success(), "its key is nobody's yet");
    let public = place.path("ollama/.ollama/id_ed25519.pub").display().to_string();
    let add = |user: &str| {
        place.says(&["registry", "key", "add", user, "--ollama", &public, "--root", "root"])
    };
    let identifier = add("bob").split_whitespace().nth(4).unwrap().to_owned();
    ok(&pull);
    assert_eq!(chat(&ollama, &from)["done"], true);
    ok(&["cp", &from, &back]);
    let pushes = ["push", "--insecure", &back];
    assert!(!run(&pushes).status.success(), "bob may not");
    place.says(&["registry", "key", "revoke", &identifier, "--root", "root"]);
    ok(&["rm", &from]);
    assert!(!run(&pull).status.success(), "it was revoked");
    add("alice");
    ok(&pushes);
    ok(&pull);
}
