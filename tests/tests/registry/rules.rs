//! What an organization lets be kept: immutable tags, quotas, retention; and the ways around them that are closed.

use std::{fs, thread, time::Duration};

use mdl_store::Digest;
use mdl_tests::{Place, http::Answer, server::Server};

use super::accounts::{Scene, manifest};

const OCI: (&str, &str) = ("Content-Type", "application/vnd.oci.image.manifest.v1+json");

/// Puts a manifest with a blob that was put there before.
fn put(scene: &Scene, account: &str, path: &str, content: &[u8]) -> Answer {
    scene.with_headers(account, "PUT", path, &[OCI], manifest(content).as_bytes())
}

fn refused(answer: &Answer, what: &str) {
    assert_eq!(answer.status, 403, "{}", answer.text());
    let text = answer.text();
    assert!(text.contains("DENIED") && text.contains(what), "{text}");
}

#[test]
fn a_tag_is_not_moved_though_an_administrator_asks() {
    let rules = "[[immutable]]\nrepositories = ['acme/**']\ntags = ['v*']\n";
    let scene = Scene::with(rules);
    let before = scene.ask("root", "GET", "/v2/acme/secret/manifests/v1", b"").text();
    let digest = Digest::of(before.as_bytes());
    let at = |rest: &str| format!("/v2/acme/secret/manifests/{rest}");
    // The same again, and a new tag.
    assert_eq!(put(&scene, "root", &at("v1"), b"what is secret").status, 201);
    assert_eq!(put(&scene, "root", &at("v2"), b"what is secret").status, 201);
    let other = manifest(b"other");
    let other_digest = Digest::of(other.as_bytes());
    for path in [at("v1"), at(&format!("{other_digest}?tag=new&tag=v1"))] {
        refused(&put(&scene, "root", &path, b"other"), "immutable");
    }
    for path in [at("new"), at(&other_digest.to_string())] {
        assert_eq!(scene.ask("root", "GET", &path, b"").status, 404, "nothing of it was done");
    }
    for path in [at("v1"), at(&digest.to_string())] {
        refused(&scene.ask("root", "DELETE", &path, b""), "immutable");
    }
    assert_eq!(scene.ask("root", "GET", &at("v1"), b"").text(), before);
    // Elsewhere, and under other tags, all is as before.
    assert_eq!(put(&scene, "root", &at("latest"), b"what is secret").status, 201);
    assert_eq!(put(&scene, "root", &at("latest"), b"other").status, 201);
    let elsewhere = "/v2/public/model/manifests/v1";
    assert_eq!(put(&scene, "root", elsewhere, b"other").status, 201);
    assert_eq!(scene.ask("root", "DELETE", elsewhere, b"").status, 202);
    // Taken from the configuration, it is over; and back again.
    let config = scene.place.path("root.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("['v*']", "['rel-*']")).unwrap();
    scene.server.signal("HUP");
    let mut answer = put(&scene, "root", &at("v1"), b"other");
    for _ in 0..100 {
        if answer.status == 201 {
            break;
        }
        thread::sleep(Duration::from_millis(50));
        answer = put(&scene, "root", &at("v1"), b"other");
    }
    assert_eq!(answer.status, 201);
}

#[test]
fn of_pushes_at_once_a_quota_takes_what_fits_and_not_one_more() {
    let rules =
        "[[quota]]\nprefix = 'acme'\nbytes = '1 KiB'\n[[quota]]\nprefix = 'full'\nbytes = 0\n";
    let scene = Scene::with(rules);
    // Besides what the scene holds there.
    let blob = |n: u8| vec![n; 200];
    let push = |n: u8| {
        let path = format!("/v2/acme/m{n}/blobs/uploads/?digest={}", Digest::of(&blob(n)));
        scene.ask("root", "POST", &path, &blob(n))
    };
    let answers: Vec<Answer> = thread::scope(|scope| {
        let pushing: Vec<_> = (0..8).map(|n| scope.spawn(move || push(n))).collect();
        pushing.into_iter().map(|it| it.join().unwrap()).collect()
    });
    let taken = answers.iter().filter(|answer| answer.status == 201).count();
    let held = manifest(b"what is secret").len() + b"what is secret".len() + b"{}".len();
    assert_eq!(taken, (1024 - held) / 200);
    for answer in answers.iter().filter(|answer| answer.status != 201) {
        refused(answer, "acme and what is below it may hold 1024 bytes");
    }
    refused(&scene.ask("root", "POST", "/v2/full/m/blobs/uploads/", b""), "may hold 0 bytes");
    // What is not below it is not in its way, whatever it is called.
    let path = format!("/v2/acme-two/m/blobs/uploads/?digest={}", Digest::of(&blob(0)));
    assert_eq!(scene.ask("root", "POST", &path, &blob(0)).status, 201);
    // Nor does a mount lead around it.
    let path = format!(
        "/v2/full/m/blobs/uploads/?mount={}&from=public/model",
        Digest::of(b"what is secret")
    );
    refused(&scene.ask("root", "POST", &path, b""), "may hold 0 bytes");
}

#[test]
fn what_says_to_be_too_large_is_refused_before_it_comes_and_a_program_hears_why() {
    let place = Place::new();
    let settings = "[[quota]]\nprefix = 'small'\nbytes = '1 MiB'\n";
    let server = Server::with(&place.path("root"), "127.0.0.1:0", settings);
    let began = server.ask("POST", "/v2/small/m/blobs/uploads/", &[], b"");
    assert_eq!(began.status, 202);
    let head = format!(
        "PATCH {} HTTP/1.1\r\nHost: {}\r\nContent-Length: 2000000\r\n\r\n",
        began.location(),
        server.host
    );
    let answer = mdl_tests::http::raw(&server.host, head.as_bytes(), false).unwrap();
    refused(&answer, "may hold 1048576 bytes");
    let said = place.fails(&["push", "data/tiny", &server.at("small/tiny:v1"), "--quiet"]);
    let said = said.replace(&server.host, "HOST");
    insta::assert_snapshot!("rules_quota", said);
    assert_eq!(server.get("/v2/small/tiny/manifests/v1").status, 404);
    place.says(&["push", "data/tiny", &server.at("other/tiny:v1"), "--quiet"]);
    let report = super::json(&place, &["registry", "stats", "--root", "root"]);
    let used = &report["quotas"][0];
    assert_eq!((&used["prefix"], &used["limit"]), (&"small".into(), &1_048_576.into()));
    assert!(used["bytes"].as_u64().unwrap() < 1 << 20, "{used}");
}

#[test]
fn what_is_there_is_read_also_where_its_quota_is_used_up() {
    let place = Place::new();
    place.says(&["convert", "data/tiny", "tiny.gguf", "--quiet"]);
    let server = Server::start(&place.path("root"));
    place.says(&["push", "tiny.gguf", &server.at("acme/tiny:v1"), "--quiet"]);
    drop(server);
    let settings = "[[quota]]\nprefix = 'acme'\nbytes = 1\n";
    let server = Server::with(&place.path("root"), "127.0.0.1:0", settings);
    // What Ollama needs is made, and kept, when it is asked for first.
    let accept = [("Accept", "application/vnd.docker.distribution.manifest.v2+json")];
    let answer = server.ask("GET", "/v2/acme/tiny/manifests/v1", &accept, b"");
    assert_eq!((answer.status, answer.header("content-type")), (200, Some(accept[0].1)));
    let config = answer.json()["config"]["digest"].as_str().unwrap().to_owned();
    assert_eq!(server.get(&format!("/v2/acme/tiny/blobs/{config}")).status, 200);
    assert_eq!(server.get("/acme/tiny").status, 200);
    assert_eq!(server.get("/api/models/acme/tiny").status, 200);
    refused(&server.ask("POST", "/v2/acme/tiny/blobs/uploads/", &[], b""), "may hold 1 bytes");
}

#[test]
fn retention_is_tried_and_then_done() {
    let place = Place::new();
    let rules = "[[retention]]\nrepositories = ['ci/**']\ntags = ['keep']\nnewest = 2\n";
    fs::write(place.path("rules.toml"), rules).unwrap();
    let server = Server::start(&place.path("root"));
    for tag in ["1", "2", "3", "4", "keep"] {
        let folder = place.path(tag);
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("notes.txt"), tag).unwrap();
        place.says(&["push", tag, &server.at(&format!("ci/m:{tag}")), "--quiet"]);
    }
    place.says(&["push", "1", &server.at("other:1"), "--quiet"]);
    let trial = ["registry", "retain", "--root", "root", "--config", "rules.toml", "--dry-run"];
    let tags = |report: &serde_json::Value| -> Vec<String> {
        let tags = report["tags"].as_array().unwrap().iter();
        tags.map(|it| format!("{}:{}", it["repository"], it["tag"]).replace('"', "")).collect()
    };
    assert_eq!(tags(&super::json(&place, &trial)), ["ci/m:2", "ci/m:1"]);
    let listed = |server: &Server, repository: &str| {
        server.get(&format!("/v2/{repository}/tags/list")).json()["tags"].to_string()
    };
    assert_eq!(listed(&server, "ci/m"), r#"["1","2","3","4","keep"]"#, "it was a trial");
    // The registry itself has no such rules, and nobody guesses them.
    let none = super::json(&place, &["registry", "retain", "--root", "root"]);
    assert!(tags(&none).is_empty());
    let done = place.says(&["registry", "retain", "--root", "root", "--config", "rules.toml"]);
    assert!(done.ends_with("let go of 2 tags\n"), "{done}");
    assert_eq!(listed(&server, "ci/m"), r#"["3","4","keep"]"#);
    assert_eq!(listed(&server, "other"), r#"["1"]"#);
    drop(server);
    // Of a folder that nobody serves, and by a registry that does it by itself.
    let said = place.fails(&["registry", "retain", "--root", "root"]);
    assert!(said.contains("--config") && said.contains("[status 2]"), "{said}");
    let settings = rules.replace("newest = 2", "newest = 1") + "[collect]\ninterval = '1s'\n";
    let server = Server::with(&place.path("root"), "127.0.0.1:0", &settings);
    for _ in 0..200 {
        if listed(&server, "ci/m") == r#"["4","keep"]"# {
            break;
        }
        thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(listed(&server, "ci/m"), r#"["4","keep"]"#);
}
