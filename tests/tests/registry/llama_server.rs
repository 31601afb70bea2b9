//! `llama-server -hf`: llama.cpp fetches from a registry of ours by itself.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use mdl_tests::{
    Place, need, peer,
    server::{Server, free_port},
};

fn files(folder: &Path, found: &mut Vec<Vec<u8>>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|it| it == "gguf") {
            found.push(fs::read(path).unwrap());
        }
    }
}

#[test]
fn it_fetches_and_runs_a_model() {
    let program = need!(peer("llama-server"));
    let place = Place::new();
    place.says(&["quantize", "data/tiny", "tiny-Q4_K_M.gguf", "--scheme", "Q4_K_M", "--quiet"]);
    let server = Server::start(&place.path("root"));
    place.says(&["push", "tiny-Q4_K_M.gguf", &server.at("team/tiny:latest"), "--quiet"]);
    let port = free_port();
    let mut command = Command::new(program);
    command.args([
        "-hf",
        "team/tiny:Q4_K_M",
        "--host",
        "127.0.0.1",
        "--threads",
        "2",
        "--no-warmup",
    ]);
    command.args(["--ctx-size", "128", "--port", &port.to_string()]);
    command.env("HF_ENDPOINT", server.url("/")).env("HOME", place.path("elsewhere"));
    command.env("HF_HOME", place.path("hf")).env("LLAMA_CACHE", place.path("cache"));
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let llama = Server::other(command, format!("127.0.0.1:{port}"), "/health");
    let question = br#"{"prompt": "the", "n_predict": 4, "temperature": 0}"#;
    let json = [("Content-Type", "application/json")];
    let answer = llama.ask("POST", "/completion", &json, question);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["tokens_predicted"], 4, "{}", answer.text());
    let mut found = Vec::new();
    files(place.folder(), &mut found);
    let pushed = fs::read(place.path("tiny-Q4_K_M.gguf")).unwrap();
    let alike = found.iter().filter(|it| **it == pushed).count();
    assert!(alike >= 2, "what it fetched is not what was pushed: {} files", found.len());
}
