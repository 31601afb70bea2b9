//! Running a registry: where it listens, its figures and logs, collection, backup and restore, and what a policy of
//! deletion protects.

use std::fs;

use mdl_store::Digest;
use mdl_tests::{Place, server::Server};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const DOCKER: &str = "application/vnd.docker.distribution.manifest.v2+json";

fn quantized() -> Place {
    let place = Place::new();
    place.says(&["quantize", "data/tiny", "q4.gguf", "--scheme", "Q4_K_M", "--quiet"]);
    place
}

#[test]
fn without_accounts_it_listens_on_loopback_alone() {
    let place = Place::new();
    for address in ["0.0.0.0:0", "[::]:0"] {
        let serve = ["registry", "serve", "--root", "root", "--listen", address];
        let refused = place.fails(&serve);
        assert!(refused.contains("127.0.0.1") && refused.contains("accounts"), "{refused}");
    }
    let wrong = place.fails(&["registry", "serve", "--root", "root", "--listen", "nonsense"]);
    assert!(wrong.contains("nonsense"), "{wrong}");
}

#[test]
fn settings_are_explained_and_mistakes_located() {
    let place = Place::new();
    let text = "listen = \"127.0.0.1:7000\"\nroot = \"data\"\npublic_url = \"https://models.example\"\n\
                [keep]\nlease = \"2h\"\nuntagged = \"30d\"\n[limits]\nuploads = 9\n\
                [access_log]\nto = \"off\"\n";
    fs::write(place.path("registry.toml"), text).unwrap();
    let told = place.says(&["registry", "check-config", "registry.toml"]);
    insta::assert_snapshot!("check_config", told.replace(place.folder().to_str().unwrap(), "DIR"));
    let mut told = String::new();
    for wrong in ["listen = 5", "lisen = \"x\"", "[keep]\nlease = \"soon\"", "[tls]\nkey = \"x\""] {
        fs::write(place.path("wrong.toml"), wrong).unwrap();
        told += &place.fails(&["registry", "check-config", "wrong.toml"]);
    }
    insta::assert_snapshot!("check_config_wrong", told);
}

#[test]
fn figures_and_logs() {
    let place = quantized();
    let log = place.path("access.log");
    let settings = format!("[access_log]\nto = \"{}\"\n", log.display());
    let server = Server::logging(&place.path("root"), &settings);
    place.says(&["push", "q4.gguf", &server.at("team/tiny:q4"), "--quiet"]);
    // What a client of Ollama does: the manifest of its type, then a blob, by way of a signed address that it is given beside it.
    let accept = [("Accept", DOCKER)];
    let manifest = server.ask("GET", "/v2/team/tiny/manifests/q4", &accept, b"");
    assert_eq!(manifest.header("content-type"), Some(DOCKER), "{}", manifest.text());
    let layers = manifest.json()["layers"].clone();
    let layer = layers
        .as_array()
        .unwrap()
        .iter()
        .find(|layer| layer["mediaType"] == "application/vnd.ollama.image.model");
    let digest = layer.unwrap()["digest"].as_str().unwrap().to_owned();
    let agent = [("User-Agent", "ollama/0.17.4 (amd64 linux) Go/go1.24.1")];
    let blob = server.ask("GET", &format!("/v2/team/tiny/blobs/{digest}"), &agent, b"");
    assert_eq!(blob.status, 200);
    let address = blob.location();
    let (path, signature) = address.split_once('?').unwrap();
    let range = server.ask("GET", &address, &[("Range", "bytes=0-3")], b"");
    assert_eq!((range.status, range.text().as_str()), (206, "GGUF"));
    // For that digest, repository and method alone.
    let other = Digest::of(b"{}").to_string();
    let wrong = server.get(&format!("{}?{signature}", path.replace(&digest, &other)));
    assert!([403, 404].contains(&wrong.status), "{}", wrong.status);
    assert_ne!(server.ask("PUT", &address, &[], b"x").status, 201);
    let secret = signature.rsplit('=').next().unwrap();
    let text = fs::read_to_string(&log).unwrap();
    assert!(text.contains(path) && !text.contains(secret), "{text}");
    for line in text.lines() {
        let entry: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(entry["status"].is_number() && entry["target"].is_string(), "{line}");
    }
    let metrics = server.get("/metrics").text();
    for name in ["requests", "bytes", "# EOF"] {
        assert!(metrics.contains(name), "{name}: {metrics}");
    }
    assert_eq!((server.get("/healthz").status, server.get("/readyz").status), (200, 200));
}

#[test]
fn a_backup_while_it_serves_becomes_another_registry() {
    let place = quantized();
    let server = Server::start(&place.path("root"));
    let name = server.at("team/tiny:q4");
    let pushed = super::json(&place, &["push", "q4.gguf", &name]);
    super::json(&place, &["registry", "backup", "--root", "root", "copy"]);
    // Another one copies what is new.
    place.says(&["push", "data/tiny", &server.at("team/folder:v1"), "--quiet"]);
    super::json(&place, &["registry", "backup", "--root", "root", "copy"]);
    server.kill();
    super::json(&place, &["registry", "restore", "--root", "again", "copy"]);
    let again = Server::start(&place.path("again"));
    for name in ["team/tiny:q4", "team/folder:v1"] {
        let to = name.replace(['/', ':'], "-");
        place.says(&["pull", &again.at(name), "--to", &to, "--quiet"]);
    }
    let report = super::json(&place, &["inspect", &again.at("team/tiny:q4")]);
    assert_eq!(report["digest"], pushed["digest"]);
    let scrubbed = super::json(&place, &["registry", "scrub", "--root", "again"]);
    assert_eq!(scrubbed["problems"].as_array().unwrap().len(), 0, "{scrubbed}");
    // What is damaged is found.
    drop(again);
    let pulled = fs::read(place.path("q4.gguf")).unwrap();
    let digest = Digest::of(&pulled);
    let blob = place.path("again/blobs/sha256").join(&digest.hex()[..2]).join(digest.hex());
    let mut bytes = pulled;
    bytes[5000] ^= 1;
    fs::remove_file(&blob).unwrap();
    fs::write(&blob, bytes).unwrap();
    let said = place.run(&["registry", "scrub", "--root", "again"]);
    let text =
        String::from_utf8_lossy(&said.stdout).into_owned() + &String::from_utf8_lossy(&said.stderr);
    assert!(!said.status.success() && text.contains(digest.hex()), "{text}");
}

#[test]
fn what_is_used_is_not_deleted_and_what_lacks_is_told() {
    let place = quantized();
    let server = Server::start(&place.path("root"));
    place.says(&["push", "q4.gguf", &server.at("team/tiny:q4"), "--quiet"]);
    let typed = [("Accept", MANIFEST)];
    let manifest = server.ask("GET", "/v2/team/tiny/manifests/q4", &typed, b"");
    let layer = manifest.json()["layers"][0]["digest"].as_str().unwrap().to_owned();
    let blob = format!("/v2/team/tiny/blobs/{layer}");
    assert_eq!(server.ask("DELETE", &blob, &[], b"").status, 405);
    // Elsewhere the manifest lacks its blobs, and the answer names them.
    let there = "/v2/team/sparse/manifests/v1";
    let sparse = server.ask("PUT", there, &[("Content-Type", MANIFEST)], &manifest.body);
    assert_eq!(sparse.status, 201, "{}", sparse.text());
    let warning = sparse.header("warning").unwrap();
    assert!(warning.starts_with("299 ") && warning.contains(&layer), "{warning}");
    // A push does not leave it so.
    place.says(&["push", "q4.gguf", &server.at("team/sparse:v1"), "--quiet"]);
    assert_eq!(server.get(&format!("/v2/team/sparse/blobs/{layer}")).status, 200);
    // An upload that is only a question.
    let probe = |repo: &str| {
        server.ask("POST", &format!("/v2/team/{repo}/blobs/uploads/?digest={layer}"), &[], b"")
    };
    assert_eq!((probe("tiny").status, probe("none").status), (201, 202));
    let empty = Digest::of(b"");
    let nothing = format!("/v2/team/none/blobs/uploads/?digest={empty}");
    assert_eq!(server.ask("POST", &nothing, &[], b"").status, 201);
    // Names as people write them elsewhere.
    assert_eq!(server.get("/api/models/Team/Tiny/revision/main").status, 200);
    let docker = [("Accept", DOCKER)];
    assert_eq!(server.ask("GET", "/v2/Team/Tiny/manifests/q4", &docker, b"").status, 200);
}

#[test]
fn a_collection_while_it_serves_takes_what_nobody_needs() {
    let place = quantized();
    let settings = "[keep]\nlease = \"1s\"\nuntagged = \"1s\"\n";
    let server = Server::with(&place.path("root"), "127.0.0.1:0", settings);
    place.says(&["push", "q4.gguf", &server.at("team/tiny:q4"), "--quiet"]);
    place.says(&["push", "data/tiny", &server.at("team/gone:v1"), "--quiet"]);
    assert_eq!(server.ask("DELETE", "/v2/team/gone/manifests/v1", &[], b"").status, 202);
    std::thread::sleep(std::time::Duration::from_millis(2500));
    let gc = |more: &[&str]| {
        super::json(&place, &[&["registry", "gc", "--root", "root"], more].concat())
    };
    let would = gc(&["--dry-run"]);
    let did = gc(&[]);
    assert!(did["blobs"].as_u64().unwrap() > 5, "{did}");
    assert_eq!((&would["blobs"], &would["bytes"]), (&did["blobs"], &did["bytes"]));
    assert_eq!(gc(&[])["blobs"], 0);
    place.says(&["pull", &server.at("team/tiny:q4"), "--to", "out", "--quiet"]);
    let report = super::json(&place, &["inspect", &server.at("team/tiny:q4")]);
    assert_eq!(report["referrers"].as_array().unwrap().len(), 1, "{report}");
}
