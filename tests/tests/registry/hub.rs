//! `mdl pull hf://` and `ollama://`, from a registry of ours in the place of those hubs.

use std::{fs, path::Path};

use mdl_tests::{Place, mdl, server::Server};
use serde_json::Value;

/// `mdl` with the hub's address; its JSON.
fn pulled(place: &Place, server: &Server, arguments: &[&str]) -> Value {
    let done = mdl(&place.path("home"))
        .current_dir(place.folder())
        .args(arguments)
        .args(["--json", "--quiet"])
        .env("HF_ENDPOINT", server.url(""))
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    serde_json::from_slice(&done.stdout).unwrap()
}

fn has_extension(file: &Value, wanted: &str) -> bool {
    Path::new(file.as_str().unwrap()).extension().is_some_and(|it| it == wanted)
}

#[test]
fn a_folder_comes_with_its_provenance() {
    let place = Place::new();
    let server = Server::start(&place.path("root"));
    place.says(&["push", "data/tiny", &server.at("team/tiny:latest"), "--quiet"]);
    let report = pulled(&place, &server, &["pull", "hf://team/tiny", "--to", "here"]);
    assert_eq!(report["source"], server.url("/team/tiny"), "{report}");
    let commit = report["revision"].as_str().unwrap();
    assert_eq!(commit.len(), 40);
    for entry in fs::read_dir(mdl_tests::data().join("tiny")).unwrap() {
        let path = entry.unwrap().path();
        let here = place.path("here").join(path.file_name().unwrap());
        assert_eq!(fs::read(&here).unwrap(), fs::read(&path).unwrap(), "{}", path.display());
    }
    // What was made of it knows where it came from.
    let packed = super::json(&place, &["pack", "here", "mine:v1"]);
    let shown = super::json(&place, &["inspect", "mine:v1"]).to_string();
    assert!(
        shown.contains(commit) && shown.contains(&server.url("/team/tiny")),
        "{packed} {shown}"
    );
    // Again: all is there. By its commit, into the local store: the same.
    let again = pulled(&place, &server, &["pull", "hf://team/tiny", "--to", "here"]);
    assert_eq!((&again["fetched"], &again["kept"]), (&Value::from(0), &report["fetched"]));
    let by_commit = format!("hf://team/tiny@{commit}");
    let stored = pulled(&place, &server, &["pull", &by_commit]);
    assert!(stored["digest"].as_str().unwrap().starts_with("sha256:"), "{stored}");
    let listed = super::json(&place, &["list"]).to_string();
    assert!(listed.contains(&format!("team/tiny:{commit}")), "{listed}");
}

#[test]
fn chosen_files_alone_come() {
    let place = Place::new();
    let server = Server::start(&place.path("root"));
    place.says(&["push", "data/tiny", &server.at("team/tiny:latest"), "--quiet"]);
    let some = ["pull", "hf://team/tiny", "--to", "some", "--include", "*.json"];
    let report = pulled(&place, &server, &some);
    let files = report["files"].as_array().unwrap();
    assert!(!files.is_empty());
    assert!(files.iter().all(|file| has_extension(file, "json")), "{report}");
    assert_eq!(fs::read_dir(place.path("some")).unwrap().count(), files.len());
    let none = mdl(&place.path("home"))
        .current_dir(place.folder())
        .args(["pull", "hf://team/none", "--to", "none"])
        .env("HF_ENDPOINT", server.url(""))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&none.stderr).into_owned();
    assert!(!none.status.success() && said.contains("has no model hf://team/none"), "{said}");
}

#[test]
fn a_gguf_comes_as_ollama_would_take_it() {
    let place = Place::new();
    place.says(&["quantize", "data/tiny", "tiny.gguf", "--scheme", "Q8_0", "--quiet"]);
    let server = Server::start(&place.path("root"));
    place.says(&["push", "tiny.gguf", &server.at("team/tiny:q8"), "--quiet"]);
    let name = format!("ollama://{}", server.at("team/tiny:q8"));
    let report = super::json(&place, &["pull", &name, "--to", "out"]);
    let files = report["files"].as_array().unwrap();
    let gguf = files.iter().find(|file| has_extension(file, "gguf")).unwrap();
    let got = fs::read(place.path("out").join(gguf.as_str().unwrap())).unwrap();
    assert_eq!(got, fs::read(place.path("tiny.gguf")).unwrap());
    let stored = super::json(&place, &["pull", &name]);
    assert!(stored["digest"].as_str().unwrap().starts_with("sha256:"), "{stored}");
}
